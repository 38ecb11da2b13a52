"""Tensors from nothing: `tensor zeros ones full arange eye rand randn` and their `_like` forms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinygrad_seq.arguments import number_as, real, sizes_of, too_large
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.dtypes import check_device, dtype_of
from tinygrad_seq.engine.foreign_keywords import answering
from tinygrad_seq.engine.numpy_protocols import may_leave
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, wrap
from tinygrad_seq.errors import ArgumentError, ShapeError

__all__ = [
    "arange",
    "eye",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "tensor",
    "zeros",
    "zeros_like",
]

R = TypeVar("R")


def on_cpu(create: Callable[..., R]) -> Callable[..., R]:
    """The function with a `device`, None or the CPU, and a dtype of any library."""
    call, create = create.__name__, answering(create)

    @functools.wraps(create)
    def placed(*args: Any, device: Any = None, dtype: Any = None, **settings: Any) -> R:
        if device is not None:
            check_device(call, device)
        if dtype is not None:
            settings["dtype"] = dtype_of(call, dtype)
        try:
            return create(*args, **settings)
        except MemoryError:
            if call not in ("empty", "ones", "rand", "randn", "zeros"):  # whose arguments are sizes
                raise
            sizes = tuple(n for n in args if isinstance(n, int))
            raise too_large(call, sizes_of(args, call) if not sizes and args else sizes) from None

    return placed


@on_cpu
def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor that owns a copy of `data`: Python floats become float32, arrays keep their dtype.

    Raises GraphError for tensors that require a gradient, also in lists: the copy would have none.

    >>> tensor([[1.0, 2.0]])
    Tensor([[1., 2.]], f32(1, 2))
    """
    if isinstance(data, Tensor) and not requires_grad:
        may_leave("tensor", data, "expected values alone.", "Write x.clone(), or x.detach().")
    return Tensor(data, dtype, requires_grad)


def _dtype(call: str, dtype: Any, x: Tensor) -> np.dtype[Any]:
    return x.array.dtype if dtype is None else dtype_of(call, dtype)


def _one(call: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as an array of no axes, in this dtype."""
    given_value = as_tensor(value)
    if given_value.ndim:
        raise ShapeError(f"{call}: more than one value", {"value": given_value}, "expected a number.")
    number = given_value.item()
    if dtype.kind in "iu" and isinstance(number, float) and not math.isfinite(number):
        raise ArgumentError(f"{call}: no integer is {number}", None, "expected a finite number.")
    return number_as(int(number) if dtype.kind in "iu" else number, dtype)


def _wants(t: Tensor, requires_grad: bool) -> Tensor:
    return t.requires_grad_(requires_grad) if requires_grad is not False else t


@on_cpu
def zeros(*shape: Any, dtype: Any = FLOAT32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _wants(wrap(np.zeros(sizes_of(shape, "zeros", 0), dtype)), requires_grad)


@on_cpu
def ones(*shape: Any, dtype: Any = FLOAT32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _wants(wrap(np.ones(sizes_of(shape, "ones", 0), dtype)), requires_grad)


@on_cpu
def full(size: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value; float32, int64 or bool by the value's kind."""
    sizes, value = sizes_of((size,), "full", 0), fill_value
    may_leave("full", value, "expected a number.", "Write x.expand(sizes).")
    value = _one("full", value, _dtype("full", dtype, as_tensor(value)))
    return _wants(wrap(np.full(sizes, value)), requires_grad)


@on_cpu
def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of `x`."""
    x = input_tensor("zeros_like", x)
    return _wants(wrap(np.zeros(x.shape, _dtype("zeros_like", dtype, x))), requires_grad)


@on_cpu
def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of `x`."""
    x = input_tensor("ones_like", x)
    return _wants(wrap(np.ones(x.shape, _dtype("ones_like", dtype, x))), requires_grad)


@on_cpu
def full_like(x: Tensor, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value, in the shape and dtype of `x`."""
    x = input_tensor("full_like", x)
    may_leave("full_like", fill_value, "expected a number.", "Write x.expand(sizes).")
    value = _one("full_like", fill_value, _dtype("full_like", dtype, x))
    return _wants(wrap(np.full(x.shape, value)), requires_grad)


@on_cpu
def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """Numbers from `start` (0 where only one is given) up to but without `stop`."""
    first, last = (0, start) if stop is None else (start, stop)
    for name, value in (("start", first), ("stop", last), ("step", step)):
        if not math.isfinite(real("arange", name, value)):
            rule = f"expected a finite number, got {value}."
            raise ArgumentError(f"arange: {name} is infinite", None, rule)
    first, last, step = (getattr(n, "item", lambda n=n: n)() for n in (first, last, step))
    if step == 0:
        raise ArgumentError("arange: the step is 0", None, "expected a step above or below 0.")
    if (last - first) / step > 2**40:
        raise too_large("arange", (int((last - first) / step),))
    try:
        array = np.arange(first, last, step, dtype=dtype)
    except (OverflowError, TypeError, ValueError) as error:
        named = {"start": first, "stop": last, "step": step}
        raise ArgumentError("arange: no such numbers", named, f"NumPy says: {error}.") from None
    return wrap(array.astype(FLOAT32) if dtype is None and array.dtype.kind == "f" else array)


def iota(n: int) -> Tensor:
    """The integers below n, under a name by which a kernel recognises them as its row numbers."""
    t = wrap(np.arange(n))
    t.name = "iota"
    return t


@on_cpu
def eye(n: int, m: int | None = None, dtype: Any = FLOAT32) -> Tensor:
    """Ones on the diagonal of an n by m matrix, zeros elsewhere."""
    rows, columns = sizes_of((n, n if m is None else m), "eye", 0)
    try:
        return wrap(np.eye(rows, columns, dtype=dtype_of("eye", dtype)))
    except (MemoryError, ValueError):
        raise too_large("eye", (rows, columns)) from None


@on_cpu
def rand(
    *shape: Any, dtype: Any = FLOAT32, requires_grad: bool = False, rng: Generator | None = None
) -> Tensor:
    """Numbers uniform on [0, 1), from `rng` or the default stream."""
    return _wants(given_or(rng, "default").rand(*sizes_of(shape, "rand", 0), dtype=dtype), requires_grad)


@on_cpu
def randn(
    *shape: Any, dtype: Any = FLOAT32, requires_grad: bool = False, rng: Generator | None = None
) -> Tensor:
    """Numbers of the standard normal distribution, from `rng` or the default stream."""
    return _wants(given_or(rng, "default").randn(*sizes_of(shape, "randn", 0), dtype=dtype), requires_grad)
