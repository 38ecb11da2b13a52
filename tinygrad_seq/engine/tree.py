"""A recurrent state as it comes: a tensor, or tuples, lists and dicts of them, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_seq.engine import ops
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import DTypeError, ShapeError


def mapped(change: Callable[[Tensor], Tensor], state: Any) -> Any:
    """A state of the same form, each of its tensors changed. Raises DTypeError for anything but tensors."""
    if isinstance(state, Tensor):
        return change(state)
    if state is None:
        return None
    if isinstance(state, Mapping):
        return {name: mapped(change, s) for name, s in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(mapped(change, s) for s in state))
    if isinstance(state, (tuple, list)):
        return type(state)([mapped(change, s) for s in state])
    rule = "expected a tensor, None, or tuples, lists and dicts of them."
    raise DTypeError("state: not made of tensors", {"part": state}, rule)


def tensors_in(state: Any) -> list[Tensor]:
    """The tensors of a state, in order."""
    found: list[Tensor] = []

    def keep(t: Tensor) -> Tensor:
        found.append(t)
        return t

    mapped(keep, state)
    return found


def detach(state: Any, where: Any = None, *, axis: int | None = None) -> Any:
    """The same state off the tape; with `where`, only in the rows of the batch that the mask picks.

        h = where(mask, h.detach(), h)

    `where` is (B,), True = cut: no gradient goes back from such a row, exactly. The other rows are as they were.
    `axis` is the batch's, by default the last but one: (B, H) and (L, B, H) alike; the only one of a (B,) state.
    Raises ShapeError for a mask that is not (B,), of booleans.

    >>> import tinygrad_seq as tgs
    >>> h = tgs.ones(2, 3, requires_grad=True)
    >>> tgs.detach(h, where=[True, False]).sum().backward()
    >>> h.grad.tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if where is None:
        return mapped(Tensor.detach, state)
    mask = np.asarray(where.array if isinstance(where, Tensor) else where)

    def rows(h: Tensor) -> Tensor:
        at = (-2 if h.ndim > 1 else -1) if axis is None else axis
        size = h.shape[at] if -h.ndim <= at < h.ndim else None
        if mask.dtype != np.bool_ or mask.shape != (size,):
            rule = f"expected ({size},) booleans, one for each row along axis {at}."
            raise ShapeError("detach: the mask does not fit", {"state": h, "where": mask}, rule)
        if mask.all():
            return h.detach()
        shape = [1] * h.ndim
        shape[at] = -1
        chosen: Tensor = ops.where(mask.reshape(shape), h.detach(), h) if mask.any() else h
        return chosen

    return mapped(rows, state)


answer(globals(), "detach")
