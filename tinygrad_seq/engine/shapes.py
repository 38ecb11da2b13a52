"""Methods that move values without changing them: reshape, permute, split, ...; `concat` and `stack`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.arguments import axis_of, distinct_axes, first_axis, one_of_two, sequence, sizes_of, whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import T, as_tensor, unary
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.inplace import unshared
from tinygrad_seq.errors import ArgumentError, ShapeError


def reshape(self: T, *shape: Any) -> T:
    """The same elements in another shape; one size may be -1."""
    return unary(ops.reshape, self, {"shape": sizes_of(shape, "reshape")})


def flatten(self: T, start_dim: int = 0, end_dim: int = -1) -> T:
    """Axes `start_dim` to `end_dim` as one."""
    shape = self.array.shape
    if not shape and (start_dim, end_dim) == (0, -1):
        return reshape(self, 1)
    first, last = (axis_of("flatten", a, len(shape), self) for a in (start_dim, end_dim))
    if first > last:
        rule = f"expected the first axis at or before the last, got {first} and {last}."
        raise ShapeError("flatten: the axes are not in order", {"x": self}, rule)
    size = int(np.prod(shape[first : last + 1], dtype=np.int64))
    return reshape(self, *shape[:first], size, *shape[last + 1 :])


def permute(self: T, *axes: Any, dims: Any = None) -> T:
    """The axes in another order."""
    axes = axes if dims is None else (*axes, tuple(dims))
    axes = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    order = tuple(axis_of("permute", a, self.array.ndim, self) for a in axes)
    return unary(ops.permute, self, {"axes": order})


def transpose(self: T, *axes: Any, dim0: Any = None, dim1: Any = None) -> T:
    """Two axes exchanged, as in PyTorch; another order of all axes, NumPy's `transpose`, is `permute`."""
    places = (*axes, *(d for d in (dim0, dim1) if d is not None))
    if len(places) != 2:
        rule, hint = "expected two axes.", "Use x.permute(...) for an order of all axes, or x.T."
        given = {"x": self, "axes": axes[0] if len(axes) == 1 else axes}
        raise ArgumentError("transpose: it exchanges two axes", given, rule, hint)
    order = list(range(self.array.ndim))
    i, j = (axis_of("transpose", a, len(order), self) for a in places)
    order[i], order[j] = order[j], order[i]
    return unary(ops.permute, self, {"axes": tuple(order)})


def expand(self: T, *shape: Any) -> T:
    """Axes of size 1 repeated to `shape` without a copy; -1 keeps a size."""
    sizes = sizes_of(shape, "expand")
    own = (1,) * (len(sizes) - self.array.ndim) + self.array.shape
    sizes = tuple(o if n == -1 else n for n, o in zip(sizes, own, strict=False))
    return unary(ops.expand, self, {"shape": sizes})


def squeeze(self: T, axis: Any = None, *, dim: Any = None) -> T:
    """Without the axes of size 1, or without `axis` if its size is 1."""
    shape, axis = self.array.shape, one_of_two("squeeze", axis, dim)
    if axis is None:
        return reshape(self, tuple(n for n in shape if n != 1))
    if isinstance(axis, (tuple, list)):
        several = distinct_axes("squeeze", axis, len(shape), self)
        return reshape(self, tuple(n for i, n in enumerate(shape) if i not in several or n != 1))
    i = axis_of("squeeze", axis, len(shape), self)
    return reshape(self, shape[:i] + shape[i + 1 :]) if shape[i] == 1 else self


def unsqueeze(self: T, axis: Any = None, *, dim: Any = None) -> T:
    """With a new axis of size 1 at `axis`."""
    i = axis_of("unsqueeze", one_of_two("unsqueeze", axis, dim), self.array.ndim + 1, self)
    shape = self.array.shape
    return reshape(self, (*shape[:i], 1, *shape[i:]))


def flip(self: T, *axes: Any, dims: Any = None, axis: Any = None) -> T:
    """The order reversed along `axes` (all, where none is given)."""
    named = one_of_two("flip", axis, dims)
    axes = axes if named is None else (*axes, named)
    ndim = self.array.ndim
    axes = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    chosen = distinct_axes("flip", axes, ndim, self) if axes else range(ndim)
    index = tuple(slice(None, None, -1) if i in chosen else slice(None) for i in range(ndim))
    return unshared(unary(ops.slice_, self, {"index": index}))  # type: ignore[no-any-return]


def split(
    self: T, sizes: int | Sequence[int], axis: int | None = None, *, dim: int | None = None
) -> tuple[T, ...]:
    """Pieces along `axis`: of one size (the last may be shorter), or of the sizes listed."""
    axis = axis_of("split", first_axis("split", axis, dim), self.array.ndim, self)
    total = self.array.shape[axis]
    if isinstance(sizes, (tuple, list)):
        sizes = [whole("split", "size", n, 0) for n in sizes]
    else:
        size = whole("split", "size", sizes, 1)
        sizes = [min(size, total - start) for start in range(0, total, size)] or [0]
    if sum(sizes) != total:
        rule = f"expected sizes that sum to {total}, the size of axis {axis}; they sum to {sum(sizes)}."
        raise ShapeError("split: sizes do not add up", {"x": self, "sizes": tuple(sizes)}, rule)
    before, start, pieces = (slice(None),) * axis, 0, []
    for size in sizes:
        pieces.append(unary(ops.slice_, self, {"index": (*before, slice(start, start + size))}))
        start += size
    return tuple(pieces)


def chunk(self: T, chunks: int, axis: int | None = None, *, dim: int | None = None) -> tuple[T, ...]:
    """At most `chunks` pieces of equal size along `axis`; the last may be shorter."""
    axis = axis_of("chunk", first_axis("chunk", axis, dim), self.array.ndim, self)
    chunks = whole("chunk", "chunks", chunks, 1, 2**31)
    if not self.array.shape[axis]:  # as many empty ones as requested, so that they can be unpacked
        return split(self, [0] * chunks, axis)
    return split(self, max(1, -(-self.array.shape[axis] // chunks)), axis)


def concat(tensors: Sequence[Any], axis: int | None = None, *, dim: int | None = None) -> Any:
    """The tensors concatenated along `axis`."""
    pieces: list[Any] = [as_tensor(t) for t in sequence("concat", "tensors", tensors)]
    if not pieces:
        raise ShapeError("concat: no tensors given", None, "expected at least one.")
    axis = axis_of("concat", first_axis("concat", axis, dim), pieces[0].array.ndim, pieces[0])
    return ops.concat(*pieces, axis=axis)


cat = concat


def stack(tensors: Sequence[Any], axis: int | None = None, *, dim: int | None = None) -> Any:
    """Tensors of one shape along a new axis."""
    pieces: list[Any] = [as_tensor(t) for t in sequence("stack", "tensors", tensors)]
    if not pieces:
        raise ShapeError("stack: no tensors given", None, "expected at least one.")
    shape = pieces[0].array.shape
    for i, t in enumerate(pieces):
        if t.array.shape != shape:
            named = {"number 0": pieces[0], f"number {i}": t}
            raise ShapeError("stack: shapes differ", named, "expected one shape throughout.")
    axis = axis_of("stack", first_axis("stack", axis, dim), len(shape) + 1, pieces[0])
    if axis == 0 and shape:
        # One concat and one reshape for all, where a reshape for each would double a long sequence's tape.
        return ops.concat(*pieces, axis=0).reshape(len(pieces), *shape)
    return ops.concat(*(t.unsqueeze(axis) for t in pieces), axis=axis)


answer(globals(), "cat", "concat", "stack")
