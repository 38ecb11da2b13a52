"""`x[...]` as in NumPy: a basic index is one `slice`, integer and boolean arrays become one `gather`."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq import ops
from tinygrad_seq.errors import DTypeError, GraphError, RangeError, explain
from tinygrad_seq.nodes import STATE, Node, mark_changed
from tinygrad_seq.recording import WANTS, Recorded, as_tensor, unary
from tinygrad_seq.refusals import refuse
from tinygrad_seq.shapes import axis_of

if TYPE_CHECKING:
    from tinygrad_seq.tensor import Tensor


class IndexingMethods(Recorded):
    """`x[key]`, `x[key] = value` and `take`."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Tensor:
        kind = type(key)
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
            return _advanced(self, entries)
        return unary(ops.slice_, self, {"index": entries})

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write into the array itself; a tape that still holds it will refuse to use it."""
        if isinstance(self.node, Node) or (self.mode & WANTS and STATE.recording):
            raise GraphError(
                explain(
                    "assignment: x is on the tape and cannot be written to",
                    {"x": self},
                    "expected a leaf without gradient, or a leaf inside no_grad().",
                    "Build a new tensor with where() or concat(), or write to x.detach().",
                )
            )
        if isinstance(value, Recorded) and value.mode & WANTS and STATE.recording:
            raise GraphError(
                explain(
                    "assignment: the gradient of the value would be lost",
                    {"x": self, "value": value},
                    "expected a value without gradient.",
                    "Build x with stack(), concat() or where(), or write value.detach().",
                )
            )
        array = value.array if isinstance(value, Recorded) else value
        entries = tuple(e.array if isinstance(e, Recorded) else e for e in _entries(self, key))
        try:
            self.array[entries] = array
        except (ValueError, IndexError) as error:
            rule = f"NumPy says: {error}"
            named = {"x": self, "value": value}
            raise RangeError(explain("assignment: the value or index does not fit", named, rule)) from None
        mark_changed(self.array)

    def take(self, ids: Any, axis: int = 0) -> Tensor:
        """The entries at `ids` along `axis`; the axes of `ids` take its place."""
        axis = axis_of("take", axis, self.array.ndim, self)
        return self[(slice(None),) * axis + (ids,)]


def _entries(x: Any, key: Any) -> tuple[Any, ...]:
    entries = []
    for e in key if isinstance(key, tuple) else (key,):
        if isinstance(e, (list, bool, np.bool_)):
            e = np.asarray(e, dtype=None if not isinstance(e, list) or e else np.int64)
        if isinstance(e, (Recorded, np.ndarray)) and e.dtype.kind not in "iub":
            rule = "expected integers or booleans."
            raise DTypeError(explain("index: ids must be integers", {"x": x, "ids": e}, rule))
        if not isinstance(e, (Recorded, np.ndarray, slice, type(None), type(Ellipsis))):
            try:
                e = operator.index(e)
            except TypeError:
                rule = "expected an integer, a slice, None, ..., or an array of integers or booleans."
                raise DTypeError(
                    explain("index: cannot index with this", {"x": x, "index": e}, rule)
                ) from None
        entries.append(e)
    return tuple(entries)


def _advanced(x: Any, entries: tuple[Any, ...]) -> Tensor:
    """One basic slice, the indexed axes brought to the front, one gather, and the new axes put in place."""
    widths = [e.ndim if _is_mask(e) else 0 if e is None or e is Ellipsis else 1 for e in entries]
    missing = x.array.ndim - sum(widths)
    if missing < 0:
        raise refuse(ops.slice_, (x,), {"index": ()}, IndexError("too many indices"))
    if Ellipsis in [e if e is Ellipsis else None for e in entries]:
        i = next(i for i, e in enumerate(entries) if e is Ellipsis)
        entries = entries[:i] + (slice(None),) * missing + entries[i + 1 :]
    else:
        entries = entries + (slice(None),) * missing
    basic: list[Any] = []
    ids: list[Any] = []
    axes: list[int] = []
    for e in entries:
        if isinstance(e, int):  # beside an array, a number is an array without axes
            e = np.asarray(e)
        if _is_mask(e):
            _check_mask(x, e, len([b for b in basic if b is not None]))
            mask = e.array if isinstance(e, Recorded) else e
            places: Any = mask.nonzero() if mask.ndim else (np.zeros(int(mask), dtype=np.int64),)
            if not mask.ndim:
                basic.append(None)
                axes.append(len(basic) - 1)
                ids.append(places[0])
                continue
        elif isinstance(e, (Recorded, np.ndarray)):
            places = (e,)
        else:
            basic.append(e)
            continue
        for p in places:
            axes.append(len(basic))
            basic.append(slice(None))
            ids.append(p)
    if any(b != slice(None) for b in basic):
        x = unary(ops.slice_, x, {"index": tuple(basic)})
    return _gathered(x, axes, [as_tensor(i) for i in ids])


def _gathered(x: Any, axes: list[int], ids: list[Tensor]) -> Tensor:
    rest = [a for a in range(x.ndim) if a not in axes]
    if axes != list(range(len(axes))):
        x = unary(ops.permute, x, {"axes": (*axes, *rest)})
    out = ops.gather(x, *ids)
    new = out.ndim - len(rest)
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    if not together or axes[0] == 0:
        return out  # type: ignore[no-any-return]
    first = axes[0]  # NumPy's rule: indexed axes that lie together leave their new axes where they were
    order = (*range(new, new + first), *range(new), *range(new + first, out.ndim))
    return ops.permute(out, axes=order)  # type: ignore[no-any-return]


def _is_mask(e: Any) -> bool:
    return isinstance(e, (Recorded, np.ndarray)) and e.dtype.kind == "b"


def _check_mask(x: Any, mask: Any, axis: int) -> None:
    if tuple(x.shape[axis : axis + mask.ndim]) != tuple(mask.shape):
        rule = f"expected the mask's shape to equal the sizes of x from axis {axis}."
        raise RangeError(explain("index: the mask does not fit", {"x": x, "mask": mask}, rule))
