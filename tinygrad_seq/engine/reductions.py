"""Methods that reduce axes: sum, mean, max, min, var. `axis=`/`keepdims=`, or PyTorch's `dim=`/`keepdim=`."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinygrad_seq.arguments import axis_of, distinct_axes, kept, one_of_two
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32, VALUES_ONLY, Recorded, T, unary
from tinygrad_seq.engine.operators import reverse
from tinygrad_seq.engine.shapes import concat
from tinygrad_seq.errors import ArgumentError, ShapeError


def axes_of(call: str, axis: Any, x: Recorded) -> tuple[int, ...]:
    """The axes meant by None (all), a number or a tuple, sorted and counted from 0."""
    ndim = x.array.ndim
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        return tuple(sorted(distinct_axes(call, axis, ndim, x)))
    return (axis_of(call, axis, ndim, x),)


class Extreme(NamedTuple):
    """The largest or smallest values along an axis and their indices, like PyTorch's `max(dim=...)`.

    >>> from tinygrad_seq import tensor
    >>> values, indices = tensor([[1.0, 3.0], [5.0, 2.0]]).max(dim=1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """

    values: Any
    indices: Any

    def _refuse(self) -> NoReturn:
        rule = "dim= gives values and indices, as in PyTorch; axis= gives the values alone, as in NumPy."
        hint = "Take .values, or write axis= for dim=."
        raise ArgumentError("a pair (values, indices) is no tensor", None, rule, hint)

    # A tuple would be repeated by `* 2`, concatenated by `+` and stacked by NumPy.
    def __add__(self, other: Any) -> NoReturn:
        self._refuse()

    def __radd__(self, other: Any) -> NoReturn:
        self._refuse()

    def __mul__(self, other: Any) -> NoReturn:
        self._refuse()

    def __rmul__(self, other: Any) -> NoReturn:
        self._refuse()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse()


def sum(
    self: T,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> T:
    """The sum over `axis` (all axes where None), of the values in `dtype` where one is given."""
    axes = axes_of("sum", one_of_two("sum", axis, dim), self)
    x: Any = self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]
    return unary(ops.sum_, x, {"axis": axes, "keepdims": kept(keepdims, keepdim)})  # type: ignore[no-any-return]


def prod(
    self: T,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> T:
    """The product over `axis` (all axes where None); that of integers is int64. Zeros make no gradient NaN."""
    x: Any = self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]
    axes, keeps = axes_of("prod", one_of_two("prod", axis, dim), self), kept(keepdims, keepdim)
    x = x if x.dtype.kind == "f" else x.long()
    for i in axes:
        before = (slice(None),) * i
        while x.shape[i] > 1:  # by halves: a product without divisions
            half, odd = divmod(x.shape[i], 2)
            y = x[(*before, slice(half))] * x[(*before, slice(half, 2 * half))]
            x = concat([y, x[(*before, slice(2 * half, None))]], i) if odd else y
        if not x.shape[i]:
            x = x.new_ones((*x.shape[:i], 1, *x.shape[i + 1 :]))
    return x if keeps else x.reshape([n for i, n in enumerate(x.shape) if i not in axes])  # type: ignore[no-any-return]


def max(
    self: T, *place: Any, axis: Any = None, keepdims: Any = None, dim: Any = None, keepdim: Any = None
) -> Any:
    """The largest value over `axis` (all axes where none is given); equal ones share the gradient.

    `axis=` or `keepdims=` gives the values, as in NumPy. `dim=` or `keepdim=` gives the pair (values,
    indices), as in PyTorch; its gradient goes to the places in `indices` alone. An axis without a name gives
    the values, which cannot be unpacked or indexed by a number: in PyTorch they would be that pair. With a
    tensor in its place it is `maximum`.
    """
    return _extreme(self, "max", place, axis, keepdims, dim, keepdim)


def min(
    self: T, *place: Any, axis: Any = None, keepdims: Any = None, dim: Any = None, keepdim: Any = None
) -> Any:
    """The smallest value over `axis`, in the forms that `max` has."""
    return _extreme(self, "min", place, axis, keepdims, dim, keepdim)


def _extreme(
    self: T, call: str, place: tuple[Any, ...], axis: Any, keepdims: Any, dim: Any, keepdim: Any
) -> Any:
    x: Any = self
    if len(place) == 1 and isinstance(place[0], (Recorded, np.ndarray)):
        return x.maximum(place[0]) if call == "max" else x.minimum(place[0])
    if len(place) > 2 or not isinstance((*place, False, False)[1], bool):
        rule = "expected an axis, and True where it is kept."
        raise ArgumentError(f"{call}: wrong arguments", {"arguments": place}, rule)
    at = one_of_two(call, one_of_two(call, place[0] if place else None, axis), dim)
    keeps = keepdims or keepdim or place[1:] == (True,)
    if (dim is not None or keepdim is not None) and keepdims is None and axis is None:
        return _pair(self, call, at, bool(keeps))
    y = x if call == "max" else reverse(x)
    out = unary(ops.max_, y, {"axis": axes_of(call, at, self), "keepdims": bool(keeps)})
    out = out if call == "max" else reverse(out)
    if place and place[0] is not None and keepdims is None:
        out.mode |= VALUES_ONLY
    return out


def _pair(self: T, call: str, axis: Any, keeps: bool) -> Extreme:
    x: Any = self
    i = axis_of(call, axis, builtins.max(1, x.ndim), self)
    indices = _place(x if x.ndim else x.reshape(1), getattr(np, f"arg{call}"), call, i, True)
    if not x.ndim:
        return Extreme(x, indices.reshape(()))
    values = x.gather(i, indices)
    return Extreme(values, indices) if keeps else Extreme(values.squeeze(i), indices.squeeze(i))


def amax(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """The largest value over `axis`; equal ones share the gradient. Values only, however `axis` is named."""
    return max(self, axis=one_of_two("amax", axis, dim), keepdims=kept(keepdims, keepdim))  # type: ignore[no-any-return]


def amin(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """The smallest value over `axis`; equal ones share the gradient. Values only, however `axis` is named."""
    return min(self, axis=one_of_two("amin", axis, dim), keepdims=kept(keepdims, keepdim))  # type: ignore[no-any-return]


def mean(
    self: T,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> T:
    """The mean over `axis`, of the values in `dtype` where one is given; of integers float32, rounded once."""
    if dtype is not None:
        return self.to(dtype).mean(one_of_two("mean", axis, dim), kept(keepdims, keepdim))  # type: ignore[attr-defined, no-any-return]
    axes = axes_of("mean", one_of_two("mean", axis, dim), self)
    x: Any = self
    if self.array.dtype.kind != "f":
        return x.to(np.float64).mean(axes, kept(keepdims, keepdim)).to(FLOAT32)  # type: ignore[no-any-return]
    count = math.prod(self.array.shape[a] for a in axes)
    total: Any = unary(ops.sum_, x, {"axis": axes, "keepdims": kept(keepdims, keepdim)})
    return total / float(count) if count else total * math.nan  # type: ignore[no-any-return]


def var(
    self: T,
    axis: Any = None,
    *place: bool,
    keepdims: bool = False,
    correction: float | None = None,
    unbiased: bool | None = None,
    ddof: float | None = None,
    dim: Any = None,
    keepdim: bool = False,
) -> T:
    """The variance over `axis`: the sum of squared deviations by n - correction.

    The correction is 1, as in PyTorch, where it is not given; NumPy's `ddof` is the same number, and `unbiased=False`
    is 0. It is taken from the deviations themselves, so that numbers far from 0 with a small spread keep it, and in
    float64, so that no square of a float32 number is lost. Where the sum of the numbers overflows it is infinite.
    """
    axes = axes_of("var", one_of_two("var", axis, dim), self)
    less = _correction("var", correction, unbiased, ddof, place)
    spread: Any = _spread(self, axes, kept(keepdims, keepdim) or place == (True,), less)
    return spread.to(self.array.dtype if self.array.dtype.kind == "f" else FLOAT32)  # type: ignore[no-any-return]


def _spread(self: T, axes: tuple[int, ...], keeps: bool, less: float) -> T:
    """The variance in float64: squares of float32 numbers neither overflow nor underflow there."""
    x: Any = self
    wide = x.to(np.float64)
    mean = x.mean(axes, keepdims=True) if self.array.dtype.kind == "f" else wide.mean(axes, keepdims=True)
    deviation = wide - mean.to(np.float64)
    # The mean is rounded: what the deviations still have in common is no spread. An infinite one, of numbers
    # whose sum overflows, makes the variance infinite, as in PyTorch.
    common = ops.cut(deviation).mean(axes, keepdims=True)
    deviation = deviation - ops.where(abs(common) == math.inf, 0.0, common)
    count = math.prod(self.array.shape[a] for a in axes) - less
    total: Any = unary(ops.sum_, deviation * deviation, {"axis": axes, "keepdims": keeps})
    return total / float(count) if count > 0 else total * math.nan  # type: ignore[no-any-return]


def std(
    self: T,
    axis: Any = None,
    *place: bool,
    keepdims: bool = False,
    correction: float | None = None,
    unbiased: bool | None = None,
    ddof: float | None = None,
    dim: Any = None,
    keepdim: bool = False,
) -> T:
    """The square root of `var`, with its settings; its gradient over equal numbers is 0."""
    less = _correction("std", correction, unbiased, ddof, place)
    axes = axes_of("std", one_of_two("std", axis, dim), self)
    var: Any = _spread(self, axes, kept(keepdims, keepdim) or place == (True,), less)
    # The root's derivative at 0 is infinite, and infinity times a deviation of 0 would be NaN.
    root = ops.where(var == 0.0, 1.0, var).sqrt()
    kind = self.array.dtype if self.array.dtype.kind == "f" else FLOAT32
    return ops.where(var == 0.0, 0.0, root).to(kind)  # type: ignore[no-any-return]


def argmax(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """The place of the first largest value (over all elements where `axis` is None); no gradient."""
    return _place(self, np.argmax, "argmax", one_of_two("argmax", axis, dim), kept(keepdims, keepdim))


def argmin(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """The place of the first smallest value; no gradient."""
    return _place(self, np.argmin, "argmin", one_of_two("argmin", axis, dim), kept(keepdims, keepdim))


def _place(self: T, find: Any, call: str, axis: Any, keeps: bool) -> T:
    from_zero = None if axis is None else axis_of(call, axis, self.array.ndim, self)
    try:
        places = find(self.array, axis=from_zero, keepdims=keeps)
    except ValueError:
        rule = "expected at least one element to search."
        raise ShapeError(f"{call}: nothing to search", {"x": self}, rule) from None
    return Recorded.tensor_type(np.asarray(places))  # type: ignore[no-any-return]


def all(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """True where no element is zero or False."""
    x: Any = self
    return (x == 0).sum(one_of_two("all", axis, dim), kept(keepdims, keepdim)) == 0  # type: ignore[no-any-return]


def any(self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
    """True where some element is neither zero nor False."""
    x: Any = self
    return (x != 0).sum(one_of_two("any", axis, dim), kept(keepdims, keepdim)) != 0  # type: ignore[no-any-return]


def _correction(call: str, correction: Any, unbiased: Any, ddof: Any, place: tuple[Any, ...]) -> float:
    """The number that is subtracted from the count: 1, or the value of one of the three names."""
    said = {"correction": correction, "unbiased": unbiased, "ddof": ddof}
    given = {name: value for name, value in said.items() if value is not None}
    if len(given) > 1:
        raise ArgumentError(f"{call}: one setting under two names", given, "expected one of them.")
    if place and (not given or place not in ((True,), (False,))):
        rule = "in PyTorch a truth value here is unbiased=, in NumPy a dtype."
        hint = "Write keepdims= or correction= by name."
        raise ArgumentError(f"{call}: only an axis is known by its place", {"second": place[0]}, rule, hint)
    return float(next(iter(given.values()), 1.0))
