"""Methods for size, dtype, device, format, and new tensors of the same dtype."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tinygrad_seq.arguments import axis_of, real, sizes_of, whole
from tinygrad_seq.engine import dtypes, ops
from tinygrad_seq.engine.apply import WANTS, Recorded, T, as_tensor, wrap
from tinygrad_seq.errors import DTypeError


class Count(builtins.int):
    """The number of elements, NumPy's `x.size`, which may be called for the shape, PyTorch's `x.size()`.

    >>> from tinygrad_seq import zeros
    >>> x = zeros(2, 3)
    >>> x.size, x.size(), x.size(-1)
    (6, (2, 3), 3)
    """

    tensor: Any

    def __call__(self, dim: builtins.int | None = None) -> Any:
        """The sizes of all axes, or of axis `dim`."""
        shape = self.tensor.array.shape
        return shape if dim is None else shape[axis_of("size", dim, len(shape), self.tensor)]


def dim(self: T) -> builtins.int:
    """The number of axes."""
    return self.array.ndim


def numel(self: T) -> builtins.int:
    """The number of elements."""
    return self.array.size


def element_size(self: T) -> builtins.int:
    """Bytes of an element."""
    return self.array.itemsize


def is_floating_point(self: T) -> builtins.bool:
    """True for a floating dtype."""
    return self.array.dtype.kind == "f"


# ---- dtypes and devices ----------------------------------------------------------------------------
def to(
    self: T, *place: Any, dtype: Any = None, device: Any = None, copy: builtins.bool = False, **hints: Any
) -> T:
    """The values in another dtype; the gradient comes back in this one, and none through integers.

    Takes a dtype, the device "cpu", both, or a tensor whose dtype is taken. Any other device is refused.
    """
    for given in place:
        if isinstance(given, Recorded):
            dtype = given.dtype
        elif dtypes.is_device(given):
            device = given
        elif given is not None and not isinstance(given, builtins.bool):
            dtype = given
    dtypes.check_device("to", device)
    if not set(hints) <= {"non_blocking", "memory_format"}:
        raise DTypeError("to: no such setting", hints, "expected dtype, device or copy.")
    x: Any = self
    kind = self.array.dtype if dtype is None else dtypes.dtype_of("to", dtype, self)
    if kind == self.array.dtype:
        return x * 1 if copy else x  # type: ignore[no-any-return]
    x = ops.cut(self) if self.mode & WANTS and kind.kind != "f" else self
    return ops.cast(x, dtype=kind)  # type: ignore[no-any-return]


def astype(self: T, dtype: Any) -> T:
    """NumPy's name for `to`."""
    return to(self, dtype)


def type(self: T, dtype: Any = None) -> Any:
    """The values in another dtype, as `to`; without one, the dtype's name."""
    return str(self.array.dtype) if dtype is None else to(self, dtype)


def type_as(self: T, other: Any) -> T:
    """The values in the dtype of `other`."""
    return to(self, as_tensor(other).dtype)


def float(self: T) -> T:
    """The values as float32."""
    return to(self, dtypes.float32)


def double(self: T) -> T:
    """The values as float64."""
    return to(self, dtypes.float64)


def long(self: T) -> T:
    """The values as int64, towards zero; no gradient."""
    return to(self, dtypes.int64)


def int(self: T) -> T:
    """The values as int32, towards zero; no gradient."""
    return to(self, dtypes.int32)


def bool(self: T) -> T:
    """Where the values are not 0."""
    return to(self, dtypes.bool)


def cpu(self: T) -> T:
    """The tensor itself: it is on the CPU."""
    return to(self, "cpu")


def cuda(self: T, device: Any = "cuda") -> T:
    """Refused: the CPU is the only device."""
    return to(self, device="cuda")


# ---- others like it --------------------------------------------------------------------------------
def new_full(
    self: T,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
) -> T:
    """A tensor of one value, of this one's dtype."""
    kind = _kind(self, dtype)
    value = (
        real("new_full", "fill_value", fill_value)
        if kind.kind == "f"
        else whole("new_full", "fill_value", fill_value)
    )
    return _new(self, np.full(sizes_of((size,)), value, kind), device, requires_grad)


def new_zeros(
    self: T, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> T:
    """Zeros of this dtype."""
    return _new(self, np.zeros(sizes_of(size, "new", 0), _kind(self, dtype)), device, requires_grad)


def new_empty(
    self: T, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> T:
    """A tensor of this dtype to be written to; zeros until then."""
    return new_zeros(self, *size, dtype=dtype, device=device, requires_grad=requires_grad)


def new_ones(
    self: T, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> T:
    """Ones of this dtype."""
    return _new(self, np.ones(sizes_of(size, "new", 0), _kind(self, dtype)), device, requires_grad)


def new_tensor(
    self: T, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> T:
    """A tensor of `data`, of this dtype."""
    dtypes.check_device("new_tensor", device)
    return self.tensor_type(data, _kind(self, dtype), requires_grad)  # type: ignore[no-any-return]


def _kind(self: T, dtype: Any) -> np.dtype[Any]:
    return self.array.dtype if dtype is None else dtypes.dtype_of("new", dtype)


def _new(self: T, array: Any, device: Any, requires_grad: builtins.bool) -> T:
    dtypes.check_device("new", device)
    return wrap(array).requires_grad_(requires_grad)


# ---- text ------------------------------------------------------------------------------------------
def formatted(self: T, spec: str) -> str:
    """`f"{loss:.3f}"`: a tensor of one element is written as its number."""
    if self.array.size == 1 and (spec or not self.array.ndim):
        self._looked_at("format")
        value = self.array.reshape(())[()]
        return format(value.item(), spec) if spec else str(value)
    if spec:
        rule, hint = f"expected 1 element, got {self.array.size}.", "Write each, or x.tolist()."
        raise DTypeError(f"format: {spec!r} is for one number", {"x": self}, rule, hint)
    return str(self)


def rounded(self: T, digits: builtins.int | None = None) -> Any:
    """`round(loss, 3)`: a Python number where there is one element, a tensor where there are more."""
    if self.array.size == 1:
        self._looked_at("round")
        return round(self.array.item(), digits)
    x: Any = self
    return x.round(digits or 0)


def count(x: Any) -> Count:
    """The value of `x.size`."""
    found = Count(x.array.size)
    found.tensor = x
    return found


def foreign_function(func: Any) -> DTypeError:
    """The error for a function of PyTorch's that was handed a tensor of ours."""
    name = getattr(func, "__name__", "function")
    rule = "a tensor of tinygrad_seq is not one of PyTorch's."
    hint = "Use torch.from_numpy(x.detach().numpy().copy()), or the function of this library."
    return DTypeError(f"torch.{name}: one argument is a tensor of ours", None, rule, hint)
