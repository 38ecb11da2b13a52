"""Functions with PyTorch's names at the top of the package: `randint multinomial from_numpy linspace cuda ...`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.arguments import flag, real, sizes_of, whole
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.array_data import array_of
from tinygrad_seq.engine.creation import on_cpu
from tinygrad_seq.engine.dtypes import check_device, dtype_of, int64
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import STATE, recording
from tinygrad_seq.engine.random import Generator, given_or, stream
from tinygrad_seq.engine.tensor import Tensor, input_tensor, wrap
from tinygrad_seq.errors import ArgumentError, DTypeError, RangeError


# ---- tensors from numbers ---------------------------------------------------------------------------------
@on_cpu
def empty(*shape: Any, dtype: Any = FLOAT32, requires_grad: bool = False) -> Tensor:
    """A tensor to be written to; zeros until then."""
    zeros = np.zeros(sizes_of(shape, "empty", 0), dtype_of("empty", dtype))
    return wrap(zeros).requires_grad_(requires_grad)


@on_cpu
def linspace(start: float, end: float, steps: int, dtype: Any = FLOAT32) -> Tensor:
    """`steps` equally spaced numbers from `start` to `end`, both included."""
    first, last = real("linspace", "start", start), real("linspace", "end", end)
    count, kind = sizes_of((steps,), "linspace", 0)[0], dtype_of("linspace", dtype)
    return wrap(STATE.run(np.linspace, first, last, count).astype(kind))


def is_floating_point(x: Tensor) -> bool:
    """Whether the dtype is one of floats."""
    return input_tensor("is_floating_point", x).dtype.kind == "f"


def get_default_dtype() -> Any:
    """float32, always."""
    return FLOAT32


def empty_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the shape and dtype of `x`, to be written to; zeros until then."""
    x = input_tensor("empty_like", x)
    kind = x.dtype if dtype is None else dtype_of("empty_like", dtype)
    return wrap(np.zeros(x.shape, kind)).requires_grad_(requires_grad)


@on_cpu
def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """`data` as a tensor: a tensor of that dtype as it is, anything else copied."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    return Tensor(data, dtype)


def from_numpy(array: Any) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise ArgumentError("from_numpy: not an array", {"array": array}, "", "Use tgs.tensor(...).")
    return wrap(array) if array.dtype.kind in "fiub" else Tensor(array)


def is_tensor(x: object) -> bool:
    """Whether this is a tensor of ours."""
    return isinstance(x, Tensor)


def _typed(dtype: Any) -> Callable[..., Tensor]:
    """`LongTensor` and the like: of data in a list or array, or zeros of the sizes that are given."""

    def make(*data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], (int, np.integer)):
            return wrap(array_of(data[0], dtype))
        return wrap(np.zeros(sizes_of(data, "tensor", 0), dtype))

    make.__doc__ = f"A tensor of {dtype} from a list or array; zeros where sizes are given."
    return make


FloatTensor, DoubleTensor = _typed(FLOAT32), _typed(np.dtype(np.float64))
LongTensor, IntTensor = _typed(int64), _typed(np.dtype(np.int32))
ByteTensor, BoolTensor = _typed(np.dtype(np.uint8)), _typed(np.dtype(bool))


def _floating(call: str, kind: np.dtype[Any]) -> np.dtype[Any]:
    if kind.kind != "f":
        rule = "expected a floating dtype."
        raise DTypeError(f"{call}: draws are floats", {"dtype": str(kind)}, rule)
    return kind


# ---- random numbers ---------------------------------------------------------------------------------------
@on_cpu
def randint(
    low: int, high: Any = None, size: Any = None, *, dtype: Any = int64, generator: Generator | None = None
) -> Tensor:
    """Whole numbers from `low` to `high` - 1 (0 to `low` - 1 where `high` is left out), of shape `size`."""
    if size is None and isinstance(high, (tuple, list)):
        high, size = None, high
    first, last = (0, low) if high is None else (low, high)
    first, last = (
        whole("randint", "low", first, -(2**53), 2**53),
        whole("randint", "high", last, -(2**53), 2**53),
    )
    if not first < last:
        rule = f"expected low below high, got {first} and {last}."
        raise RangeError("randint: nothing to draw from", None, rule)
    if size is None:
        rule = "expected a shape, as in randint(0, 10, (3,))."
        raise ArgumentError("randint: no size given", None, rule)
    return given_or(generator, "default").integers(first, last, sizes_of((size,), "randint", 0)).to(dtype)  # type: ignore[no-any-return]


@on_cpu
def randperm(n: int, *, dtype: Any = int64, generator: Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    count = sizes_of((n,), "randperm", 0)
    return given_or(generator, "default").rand(*count, dtype=np.float64).argsort().to(dtype)  # type: ignore[no-any-return]


@on_cpu
def rand_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers evenly spread over [0, 1), in the shape and dtype of `x`."""
    x = input_tensor("rand_like", x)
    kind = x.dtype if dtype is None else dtype_of("rand_like", dtype)
    return stream("default").rand(*x.shape, dtype=_floating("rand_like", kind)).requires_grad_(requires_grad)  # type: ignore[no-any-return]


@on_cpu
def randn_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers of the standard normal distribution, in the shape and dtype of `x`."""
    x = input_tensor("randn_like", x)
    kind = x.dtype if dtype is None else dtype_of("randn_like", dtype)
    return (  # type: ignore[no-any-return]
        stream("default").randn(*x.shape, dtype=_floating("randn_like", kind)).requires_grad_(requires_grad)
    )


def normal(mean: Any, std: Any, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Numbers of a normal distribution, of shape `size` or that of `mean` and `std` together."""
    center, spread = input_tensor("normal", mean), input_tensor("normal", std)
    if (spread.array < 0).any():
        raise ArgumentError("normal: std below 0", {"std": spread}, "expected at least 0.")
    shape = (center + spread).shape if size is None else sizes_of((size,), "normal", 0)
    drawn: Tensor = given_or(generator, "default").randn(*shape) * spread + center
    return drawn


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability in each element, else 0."""
    p = input_tensor("bernoulli", p)
    kind = _floating("bernoulli", p.dtype)
    if not ((p.array >= 0) & (p.array <= 1)).all():
        rule = "expected probabilities from 0 to 1."
        raise ArgumentError("bernoulli: no probability", {"p": p}, rule)
    return (given_or(generator, "default").rand(*p.shape, dtype=kind) < p).to(kind)  # type: ignore[no-any-return]


def multinomial(
    probs: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Ids drawn with the weights in each row of `probs` (C,) or (N, C), which need not sum to 1.

    Without `replacement` no id comes twice in a row. An id of weight 0 is never drawn.
    """
    probs, num_samples = input_tensor("multinomial", probs), whole("multinomial", "num_samples", num_samples)
    replacement = flag("multinomial", "replacement", replacement)
    weights = probs.array.astype(np.float64)
    good = (weights >= 0).all() and np.isfinite(weights).all() and weights.ndim in (1, 2) and weights.size
    enough = bool(good) and bool(((weights > 0).sum(-1) >= (1 if replacement else num_samples)).all())
    if not enough or num_samples < 1:
        rule = "expected (C,) or (N, C) of weights of at least 0, finite, and enough of them above 0 in each row."
        given = {"probs": probs, "num_samples": num_samples}
        raise ArgumentError("multinomial: cannot draw from these", given, rule)
    rng = given_or(generator, "sampling")
    if replacement:
        ends = weights.cumsum(-1)
        u = rng.rand(*weights.shape[:-1], num_samples, dtype=np.float64).array * ends[..., -1:]
        last = weights.shape[-1] - 1 - (weights[..., ::-1] > 0).argmax(-1)
        return wrap(np.minimum((u[..., None] >= ends[..., None, :]).sum(-1), last[..., None]))
    # The first of exponential waiting times with these rates: the smallest k are drawn without replacement.
    waits = -np.log1p(-rng.rand(*weights.shape, dtype=np.float64).array)
    times = np.where(weights > 0, (waits + 5e-324) / np.where(weights > 0, weights, 1), math.inf)
    return wrap(np.argsort(times, -1, kind="stable")[..., :num_samples])


# ---- switches ----------------------------------------------------------------------------------------------
def is_grad_enabled() -> bool:
    """Whether ops are recorded."""
    return STATE.recording


def enable_grad(function: Any = None) -> Any:
    """Ops inside are recorded, also within `no_grad`."""
    return recording(True) if function is None else recording(True)(function)


class set_grad_enabled(recording):
    """Switch recording on or off: from here on where it is called, inside the block where it is used in `with`."""

    __slots__ = ("before",)

    def __init__(self, mode: bool):
        super().__init__(flag("set_grad_enabled", "mode", mode))
        self.before: bool | None = STATE.recording
        STATE.recording = self.on

    def __enter__(self) -> None:
        self._undo()  # the end of the block restores the setting before the call
        super().__enter__()

    def _undo(self) -> None:
        if self.before is not None:
            STATE.recording, self.before = self.before, None

    def __call__(self, function: Any) -> Any:
        """The function with recording switched inside; outside, the old setting holds."""
        self._undo()
        return super().__call__(function)


def inference_mode(mode: Any = True) -> Any:
    """`no_grad` by another name."""
    if callable(mode):
        return recording(False)(mode)
    return recording(STATE.recording and not flag("inference_mode", "mode", mode))


class _Accelerator:
    """The device queries of PyTorch's programs: there is only the CPU."""

    @staticmethod
    def is_available() -> bool:
        """False."""
        return False

    @staticmethod
    def device_count() -> int:
        """0."""
        return 0

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing: there is no other stream than the CPU's."""


cuda = mps = accelerator = _Accelerator()


class backends:
    """`backends.mps.is_available()` and `backends.cuda.is_available()`: False."""

    mps = cuda = cuda


def set_default_device(device: Any) -> None:
    """Nothing for the CPU; any other device is refused."""
    check_device("set_default_device", device)


def set_default_dtype(dtype: Any) -> None:
    """Nothing for float32; else refused: the default is no setting here."""
    if dtype_of("set_default_dtype", dtype) != FLOAT32:
        rule, hint = "expected float32.", "Write dtype=tgs.float64 where a tensor or layer is made."
        raise ArgumentError("set_default_dtype: the default stays float32", {"dtype": dtype}, rule, hint)


answer(globals())
