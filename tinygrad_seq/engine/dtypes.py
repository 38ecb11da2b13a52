"""The dtypes by name, conversions to them, and the only device: the CPU."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinygrad_seq.errors import ArgumentError, DTypeError

__all__ = [
    "bool",
    "device",
    "double",
    "float",
    "float16",
    "float32",
    "float64",
    "half",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "short",
    "uint8",
]

float32 = float = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
float16 = half = np.dtype(np.float16)
int64 = long = np.dtype(np.int64)
int32 = int = np.dtype(np.int32)
int16 = short = np.dtype(np.int16)
int8 = np.dtype(np.int8)
uint8 = np.dtype(np.uint8)
bool = np.dtype(np.bool_)


class device:
    """The place where tensors are: always the CPU. `device("cuda")` is refused."""

    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: Any = None):
        check_device("device", type)

    def __eq__(self, other: object) -> Any:
        return isinstance(other, device) or other == "cpu"

    def __hash__(self) -> Any:
        return hash("cpu")

    def __str__(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return "device('cpu')"


CPU = device.__new__(device)


def check_device(call: str, given: Any) -> None:
    """Nothing for None and the CPU; ArgumentError for any other device."""
    name = str(given)  # ours, a string, or PyTorch's device
    if given is not None and name.split(":")[0] != "cpu":
        rule = "expected 'cpu' or None: everything here runs on the CPU."
        raise ArgumentError(f"{call}: no such device", {"device": given}, rule)


def is_bfloat16(given: Any) -> Any:
    """Whether this is a tensor of PyTorch's bfloat16, which NumPy does not know: `x.float()` widens it."""
    return str(getattr(given, "dtype", "")) == "torch.bfloat16"


def is_device(given: Any) -> Any:
    """Whether this names a device and not a dtype."""
    if isinstance(given, str):
        name = given.split(":")[0]
        return name in ("cpu", "cuda", "mps", "xpu", "meta", "gpu", "hpu", "xla", "tpu", "mtia")
    return isinstance(given, device) or type(given).__name__ == "device"


def computed(call: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype; DTypeError for float types in which nothing is computed: their sums overflow, or they have no
    kernels.
    """
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        rule = "expected float32 or float64."
        what = f"{call}: {dtype} is not computed in"
        raise DTypeError(what, None, rule, "Use x.astype(np.float32) of an array, or dtype='float32'.")
    return dtype


def numbers(call: str, array: Any, data: Any) -> None:
    """DTypeError for an array that came of `data` and holds no floats, integers or booleans."""
    if array.dtype.kind not in "fiub":
        rule = "expected floats, integers or booleans."
        raise DTypeError(f"{call}: no tensors of dtype {array.dtype}", {"data": data}, rule)


# One word. The letter a means bytes, and NumPy warns about it.
_NUMBERS = re.compile(r"[<>=|]?[b-zA-Z?]\w*", re.ASCII)


def dtype_of(call: str, given: Any, x: Any = None) -> np.dtype[Any]:
    """A dtype from NumPy's, PyTorch's or Python's, or from its name; DTypeError for what holds no numbers."""
    name = str(given)
    try:
        word = name.removeprefix("torch.")
        if isinstance(given, bytes) or (isinstance(given, str) and not _NUMBERS.fullmatch(word)):
            raise TypeError
        found = np.dtype(word if name.startswith("torch.") else given)
    except (TypeError, ValueError):
        found = None
    if given is None or found is None or found.kind not in "fiub":
        operands = {"dtype": given} if x is None else {"x": x}
        rule = "expected floats, integers or booleans."
        raise DTypeError(f"{call}: no tensors of dtype {given if found is None else found}", operands, rule)
    return computed(call, found)


def float_dtype(call: str, given: Any) -> np.dtype[Any]:
    """The dtype of parameters and masks: float32 where none is given; DTypeError for what is no float."""
    found = float32 if given is None else dtype_of(call, given)
    if found.kind != "f":
        raise DTypeError(f"{call}: no floats", {"dtype": found}, "expected float32 or float64.")
    return found
