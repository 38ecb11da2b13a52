"""Methods that repeat, roll, pick and mask values, composed of primitives that move and select."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.arguments import axis_of, exactly_in, first_axis, one_of_two, sizes_of, whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import Recorded, T, as_tensor, input_tensor
from tinygrad_seq.engine.indexing import ids_of
from tinygrad_seq.engine.inplace import unshared
from tinygrad_seq.errors import ArgumentError, DTypeError, RangeError, ShapeError


def contiguous(self: T) -> T:
    """The tensor itself where its elements lie in order; else, as in PyTorch, a copy of its own."""
    t: Any = self
    return t if t.array.flags.c_contiguous else unshared(t)  # type: ignore[no-any-return]


def t(self: T) -> T:
    """The transpose of a matrix; a vector as it is."""
    x: Any = self
    if x.ndim > 2:
        rule, hint = "expected at most 2 axes.", "Use x.T or x.transpose(0, 1)."
        raise ShapeError("t: not a matrix", {"x": self}, rule, hint)
    return x.T  # type: ignore[no-any-return]


def swapaxes(self: T, first: int, second: int) -> T:
    """Two axes exchanged, as `transpose`."""
    x: Any = self
    return x.transpose(first, second)  # type: ignore[no-any-return]


def movedim(self: T, source: int, destination: int) -> T:
    """One axis at another place, the others in their order."""
    x: Any = self
    i, j = (axis_of("movedim", a, x.ndim, self) for a in (source, destination))
    order = [a for a in range(x.ndim) if a != i]
    order.insert(j, i)
    return x.permute(order)  # type: ignore[no-any-return]


def expand_as(self: T, other: Any) -> T:
    """Expanded to the shape of `other`."""
    x: Any = self
    return x.expand(input_tensor("expand_as", other).shape)  # type: ignore[no-any-return]


def view_as(self: T, other: Any) -> T:
    """The elements in the shape of `other`."""
    x: Any = self
    return x.reshape(input_tensor("view_as", other).shape)  # type: ignore[no-any-return]


def repeat(self: T, *sizes: Any, axis: Any = None) -> T:
    """Whole copies laid side by side, as PyTorch's `repeat` and NumPy's `tile`: a number for each axis.

    NumPy's `repeat`, each element several times, is `repeat_interleave`.
    """
    counts = sizes_of(sizes)
    if axis is not None or len(counts) < self.array.ndim:
        rule = f"expected a number of copies for each of {self.array.ndim} axes."
        hint = "Each element several times, NumPy's repeat, is x.repeat_interleave(n, axis)."
        given = {"x": self, "sizes": counts}
        raise ArgumentError("repeat: it lays copies side by side", given, rule, hint)
    return tile(self, *counts)


def tile(self: T, *sizes: Any) -> T:
    """Whole copies side by side; axes without a number are left as they are."""
    x: Any = self
    counts = sizes_of(sizes)
    if any(n < 0 for n in counts):
        raise ArgumentError("tile: a number of copies below 0", {"x": self, "sizes": counts})
    counts = (1,) * (x.ndim - len(counts)) + counts
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    for i in (i for i, n in enumerate(counts) if n != 1):
        x = x.reshape(*shape[:i], 1, *shape[i:]).expand(*shape[:i], counts[i], *shape[i:])
        shape = (*shape[:i], counts[i] * shape[i], *shape[i + 1 :])
        x = x.reshape(shape)
    x = x.reshape(shape)
    return unshared(x) if all(n == 1 for n in counts) else x  # type: ignore[no-any-return]


def repeat_interleave(self: T, repeats: int, axis: Any = None, *, dim: Any = None) -> T:
    """Each element `repeats` times, along `axis` or over all elements: NumPy's `repeat`."""
    x: Any = self
    at = one_of_two("repeat_interleave", axis, dim)
    if at is None:
        x, at = x.reshape(-1), 0
    i = axis_of("repeat_interleave", at, x.ndim, self)
    times: Any = repeats.array if isinstance(repeats, Recorded) else repeats
    if isinstance(times, (list, tuple, range)):
        times = np.array([whole("repeat_interleave", "repeats", n, 0, 2**31) for n in times], np.int64)
    elif isinstance(times, np.ndarray) and times.ndim:
        times = ids_of("repeat_interleave", self, times).array
    if np.ndim(times) != 1 or times.min(initial=0) < 0:
        times = whole("repeat_interleave", "repeats", times, 0, 2**31)
    elif len(times) not in (1, x.shape[i]):
        rule = f"expected {x.shape[i]} numbers, got {len(times)}."
        raise ShapeError("repeat_interleave: not a number for each", {"x": self}, rule)
    return x.take(np.repeat(np.arange(x.shape[i]), times), i)  # type: ignore[no-any-return]


def roll(self: T, shifts: Any, dims: Any = None, *, axis: Any = None) -> T:
    """The values shifted by `shifts` along `dims`, circularly."""
    x: Any = self
    at = one_of_two("roll", axis, dims)
    if at is None:
        return x.reshape(-1).roll(shifts, 0).reshape(x.shape)  # type: ignore[no-any-return]
    steps = shifts if isinstance(shifts, (tuple, list)) else [shifts]
    axes = at if isinstance(at, (tuple, list)) else [at]
    if len(steps) != len(axes):
        rule = f"expected a shift for each axis, got {len(steps)} for {len(axes)}."
        raise ArgumentError("roll: shifts and axes differ in number", {"x": self}, rule)
    for shift, a in zip([whole("roll", "shift", n) for n in steps], axes, strict=True):
        i = axis_of("roll", a, x.ndim, self)
        x = x.take(np.roll(np.arange(x.shape[i]), shift % max(1, x.shape[i])), i)
    return x  # type: ignore[no-any-return]


def unfold(self: T, dimension: int, size: int, step: int) -> T:
    """All windows of `size` along an axis, `step` apart, each along a new last axis."""
    x: Any = self
    i = axis_of("unfold", dimension, x.ndim, self)
    size, step = whole("unfold", "size", size), whole("unfold", "step", step)
    if size < 1 or step < 1 or size > x.shape[i]:
        rule = f"expected a size from 1 to {x.shape[i]} and a step of at least 1, got {size} and {step}."
        raise ArgumentError("unfold: no such windows", {"x": self}, rule)
    places = np.arange(0, x.shape[i] - size + 1, step)[:, None] + np.arange(size)
    return x.take(places, i).movedim(i + 1, -1)  # type: ignore[no-any-return]


def narrow(self: T, dim: int, start: int, length: int) -> T:
    """`length` entries of an axis from `start` on."""
    x: Any = self
    i = axis_of("narrow", dim, x.ndim, self)
    start, length = whole("narrow", "start", start), whole("narrow", "length", length)
    if (
        length < 0
        or not -x.shape[i] <= start <= x.shape[i]
        or start % max(1, x.shape[i]) + length > x.shape[i]
    ):
        rule = f"expected entries of 0 to {x.shape[i] - 1}, got {length} from {start} on."
        raise RangeError("narrow: out of range", {"x": self}, rule)
    first = start + x.shape[i] if start < 0 else start
    return x[(slice(None),) * i + (slice(first, first + length),)]  # type: ignore[no-any-return]


def select(self: T, dim: int, index: int) -> T:
    """One entry of an axis, without this axis."""
    x: Any = self
    return x[(slice(None),) * axis_of("select", dim, x.ndim, self) + (index,)]  # type: ignore[no-any-return]


def index_select(self: T, dim: int, index: Any) -> T:
    """The entries of an axis at the ids of a list, as `take`."""
    x: Any = self
    return x.take(ids_of("index_select", self, index), dim)  # type: ignore[no-any-return]


def unbind(self: T, axis: Any = None, *, dim: Any = None) -> tuple[T, ...]:
    """The entries of an axis, one by one."""
    x: Any = self
    i = axis_of("unbind", first_axis("unbind", axis, dim), x.ndim, self)
    return tuple(x[(slice(None),) * i + (n,)] for n in range(x.shape[i]))


def tril(self: T, diagonal: int = 0) -> T:
    """The entries on and below a diagonal of the last two axes, 0 above."""
    return _triangle(self, np.tril, "tril", diagonal)


def triu(self: T, diagonal: int = 0) -> T:
    """The entries on and above a diagonal of the last two axes, 0 below."""
    return _triangle(self, np.triu, "triu", diagonal)


def _triangle(self: T, cut: Any, call: str, diagonal: int) -> T:
    if self.array.ndim < 2:
        raise ShapeError(f"{call}: not a matrix", {"x": self}, "expected at least 2 axes.")
    most = sum(self.array.shape[-2:])
    diagonal = min(max(whole(call, "diagonal", diagonal), -most), most)
    kept = cut(np.ones(self.array.shape[-2:], bool), diagonal)
    return ops.where(kept, self, 0)  # type: ignore[no-any-return]


def masked_fill(self: T, mask: Any, value: Any) -> T:
    """`value` where the mask is True, the values elsewhere."""
    where: Any = as_tensor(mask)
    if where.dtype.kind != "b":
        rule = "expected booleans."
        hint = "Compare first, as in mask == 0."
        raise DTypeError("masked_fill: no mask", {"x": self, "mask": where}, rule, hint)
    return ops.where(where, exactly_in(value, self.array.dtype), self)  # type: ignore[no-any-return]


def masked_select(self: T, mask: Any) -> T:
    """The values where the mask is True, in a row."""
    x: Any = self
    return x[as_tensor(mask)]  # type: ignore[no-any-return]
