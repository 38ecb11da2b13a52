"""`x[...]` as in NumPy: a basic index is one `slice`, integer and boolean arrays become one `gather`."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tinygrad_seq.arguments import axis_of, one_of_two
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import VALUES_ONLY, WANTS, Recorded, T, as_tensor, unary
from tinygrad_seq.engine.messages import refuse, refuse_foreign
from tinygrad_seq.engine.node import STATE, Node, mark_changed
from tinygrad_seq.errors import ArgumentError, DTypeError, GraphError, RangeError, ShapeError, explain
from tinygrad_seq.runtime.arrays import Array


def getitem(self: T, key: Any) -> T:
    """x[key], as in NumPy."""
    kind = type(key)
    if kind is int and self.mode & VALUES_ONLY:
        raise values_only(self)
    if kind is int or kind is slice:
        return unary(ops.slice_, self, {"index": (key,)})
    if kind is tuple:
        for e in key:
            if type(e) is not slice and type(e) is not int:
                break
        else:
            return unary(ops.slice_, self, {"index": key})
    entries = _entries(self, key)
    if any(isinstance(e, (Recorded, np.ndarray)) for e in entries):
        return _advanced(self, entries)  # type: ignore[no-any-return]
    return unary(ops.slice_, self, {"index": entries})


def setitem(self: T, key: Any, value: Any) -> None:
    """Write into the array itself; a tape that has saved it will refuse to use it."""
    if isinstance(self.node, Node) or (self.mode & WANTS and STATE.recording):
        raise GraphError(
            "assignment: x is on the tape and cannot be written to",
            {"x": self},
            "expected a leaf without gradient, or a leaf inside no_grad().",
            "Build a new tensor with where() or concat(), or write to x.detach().",
        )
    if isinstance(value, Recorded) and value.mode & WANTS and STATE.recording:
        raise GraphError(
            "assignment: the gradient of the value would be lost",
            {"x": self, "value": value},
            "expected a value without gradient.",
            "Build x with stack(), concat() or where(), or write value.detach().",
        )
    array = _written(self, value)
    entries = tuple(e.array if isinstance(e, Recorded) else e for e in _entries(self, key))
    try:
        STATE.run(self.array.__setitem__, entries, array)
    except (ValueError, IndexError) as error:
        kind, what = (RangeError, "index") if isinstance(error, IndexError) else (ShapeError, "value")
        named, rule = {"x": self, "value": value}, f"NumPy says: {error}"
        raise kind(explain(f"assignment: the {what} does not fit", named, rule)) from None
    mark_changed(self.array)


def take(self: T, ids: Any, axis: int = 0) -> T:
    """The entries at `ids` along `axis`; the axes of `ids` take its place."""
    axis = axis_of("take", axis, self.array.ndim, self)
    return getitem(self, (slice(None),) * axis + (ids,))


def gather(self: T, axis: int | None = None, ids: Any = None, *, dim: Any = None, index: Any = None) -> T:
    """One entry for each id along `axis`, as PyTorch's `gather(dim, index)`.

    out[i, j] = x[ids[i, j], j] for axis 0. `ids` has the axes of x, and at most its sizes on the others.
    """
    at, ids = one_of_two("gather", axis, dim), one_of_two("gather", ids, index)
    i = axis_of("gather", at, self.array.ndim, self)
    places = ids_of("gather", self, ids)
    sizes = self.array.shape[:i] + places.shape[i : i + 1] + self.array.shape[i + 1 :]
    if places.ndim != self.array.ndim or any(a > b for a, b in zip(places.shape, sizes, strict=True)):
        rule = f"expected the axes of x, and at most its sizes on all but axis {i}."
        raise ShapeError("gather: ids do not fit", {"x": self, "ids": places}, rule)
    if places.size and (places.array.min() < 0 or places.array.max() >= self.array.shape[i]):
        rule = f"expected ids from 0 to {self.array.shape[i] - 1}."
        raise RangeError("gather: an id is out of range", {"x": self, "ids": places}, rule)
    grid: list[Any] = [as_tensor(g) for g in np.ogrid[tuple(slice(n) for n in places.shape)]]
    grid[i] = places
    return ops.gather(self, *grid)  # type: ignore[no-any-return]


def _written(x: Any, value: Any) -> Any:
    """The value to be written, as an array; DTypeError for values that NumPy would convert to a number or NaN."""
    if isinstance(value, (list, tuple)) and value:
        return Recorded.tensor_type(value).array
    if isinstance(value, (list, tuple)):
        return np.zeros(0, x.dtype)
    if type(value) is float and x.dtype.kind in "iu":
        if not math.isfinite(value):
            rule = "expected a number that an integer holds."
            raise ArgumentError("assignment: not a whole number", {"x": x, "value": value}, rule)
        value = math.trunc(value)
    return as_tensor(value, x).array


def ids_of(call: str, x: Any, ids: Any) -> Any:
    """Ids as a tensor of integers."""
    found: Any = as_tensor(_listed(call, x, ids) if isinstance(ids, (list, tuple)) else ids)
    if found.dtype.kind not in "iu":
        rule = "expected an integer dtype."
        raise DTypeError(f"{call}: ids must be integers", {"x": x, "ids": found}, rule)
    return found


def _listed(call: str, x: Any, ids: Any) -> Array:
    """Ids in lists as an array; an empty list has an integer dtype. DTypeError for rows of unequal length."""
    try:
        found = np.asarray(ids)
    except ValueError:
        rule = "expected rows of one length."
        raise DTypeError(f"{call}: not ids in equal rows", {"x": x, "ids": ids}, rule) from None
    return found if found.size or found.dtype.kind in "iub" else found.astype(np.int64)


def values_only(x: Any) -> ArgumentError:
    """The error for values of `max(1)` that are used like PyTorch's pair."""
    rule = "axis=1 gives values alone, as in NumPy; dim=1 gives (values, indices), as in PyTorch."
    return ArgumentError(
        "max, min: an axis without a name gives values alone", {"values": x}, rule, "Name it."
    )


def _entries(x: Any, key: Any) -> tuple[Any, ...]:
    entries = []
    for e in key if isinstance(key, tuple) else (key,):
        if isinstance(e, (list, bool, np.bool_)):
            e = _listed("index", x, e)
        if isinstance(e, (Recorded, np.ndarray)) and e.dtype.kind not in "iub":
            rule = "expected integers or booleans."
            raise DTypeError("index: ids must be integers", {"x": x, "ids": e}, rule)
        if not isinstance(e, (Recorded, np.ndarray, slice, type(None), type(Ellipsis))):
            try:
                e = operator.index(e)
            except TypeError:
                refuse_foreign(e)
                rule = "expected an integer, a slice, None, ..., or an array of integers or booleans."
                raise DTypeError("index: cannot index with this", {"x": x, "index": e}, rule) from None
        entries.append(e)
    return tuple(entries)


def _advanced(x: Any, entries: tuple[Any, ...]) -> Any:
    """One basic slice, the indexed axes brought to the front, one gather, and the new axes put in place."""
    # NumPy's rule: adjacent indexed axes leave their new axes in place.
    indexed = [i for i, e in enumerate(entries) if isinstance(e, (Recorded, np.ndarray, int))]
    together = indexed[-1] - indexed[0] == len(indexed) - 1
    widths = [e.ndim if _is_mask(e) else 0 if e is None or e is Ellipsis else 1 for e in entries]
    missing = x.array.ndim - sum(widths)
    open_at = [i for i, e in enumerate(entries) if e is Ellipsis] or [len(entries)]
    if missing < 0 or len(open_at) > 1:
        what = "too many indices" if missing < 0 else "an index can only have a single ellipsis ('...')"
        raise refuse(ops.slice_, (x,), {"index": entries}, IndexError(what))
    entries = entries[: open_at[0]] + (slice(None),) * missing + entries[open_at[0] + 1 :]
    basic: list[Any] = []
    ids: list[Any] = []
    axes: list[int] = []
    for e in entries:
        if isinstance(e, int):  # beside an array, a number is an array without axes
            e = np.asarray(e)
        if not isinstance(e, (Recorded, np.ndarray)):
            basic.append(e)
            continue
        places: tuple[Any, ...] = (e,)
        new: Any = slice(None)
        if _is_mask(e):
            array = e.array if isinstance(e, Recorded) else e
            _check_mask(x, array, len([b for b in basic if b is not None]))
            places, new = _places(array), slice(None) if array.ndim else None
        for p in places:
            axes.append(len(basic))
            basic.append(new)
            ids.append(p)
    if any(b != slice(None) for b in basic):
        x = unary(ops.slice_, x, {"index": tuple(basic)})
    return _gathered(x, axes, [as_tensor(i) for i in ids], together)


def _gathered(x: Any, axes: list[int], ids: list[Any], together: bool) -> Any:
    rest = [a for a in range(x.ndim) if a not in axes]
    if axes != list(range(len(axes))):
        x = unary(ops.permute, x, {"axes": (*axes, *rest)})
    out = ops.gather(x, *ids)
    new, first = out.ndim - len(rest), axes[0]
    if not together or first == 0:
        return out
    order = (*range(new, new + first), *range(new), *range(new + first, out.ndim))
    return ops.permute(out, axes=order)


def _is_mask(e: Any) -> bool:
    return isinstance(e, (Recorded, np.ndarray)) and e.dtype.kind == "b"


def _places(mask: Array) -> tuple[Array, ...]:
    """Where a mask holds, one array per axis; a mask without axes picks from a new axis of size 1."""
    return tuple(mask.nonzero()) if mask.ndim else (np.zeros(int(mask), dtype=np.int64),)


def _check_mask(x: Any, mask: Any, axis: int) -> None:
    if tuple(x.shape[axis : axis + mask.ndim]) != tuple(mask.shape):
        rule = f"expected the mask's shape to equal the sizes of x from axis {axis}."
        raise RangeError("index: the mask does not fit", {"x": x, "mask": mask}, rule)
