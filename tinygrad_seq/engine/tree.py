"""Trees: a tensor, or tuples, lists and dicts of them to any depth, such as a recurrent state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import Recorded, as_tensor
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DTypeError, ShapeError


def children(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The children of a container, by index or key; None for anything else.

    Containers are tuples (named ones too), lists and mappings.
    """
    if isinstance(value, (tuple, list)):
        return enumerate(value)
    return list(value.items()) if isinstance(value, Mapping) else None


def _remade(like: Any, parts: list[Any]) -> Any:
    """A container of the same form with other parts; a dict for any mapping."""
    if isinstance(like, Mapping):
        return dict(zip(like, parts, strict=True))
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)


def tree_map(
    f: Callable[[Any], Any], tree: Any, kind: type[Any] = Recorded, *, ignore_others: bool = False
) -> Any:
    """A tree of the same form with f(x) for each leaf x that is a `kind`, a tensor by default; None stays None.

    Raises DTypeError for another leaf. With `ignore_others` it stays as it is, and so does a container in which
    nothing changes.
    """
    parts = children(tree)
    if parts is not None:
        old = [part for _, part in parts]
        new = [tree_map(f, part, kind, ignore_others=ignore_others) for part in old]
        same = ignore_others and all(a is b for a, b in zip(old, new, strict=True))
        return tree if same else _remade(tree, new)
    if isinstance(tree, kind):
        return f(tree)
    if tree is None or ignore_others:
        return tree
    rule = "expected a tensor, None, or tuples, lists and dicts of them."
    raise DTypeError("state: not made of tensors", {"part": tree}, rule)


def leaves(tree: Any, kind: type[Any] = Recorded, *, ignore_others: bool = False) -> list[Any]:
    """The leaves that are a `kind`, in order; None is no leaf. Others are refused or passed over as in `tree_map`."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        if leaf is not None:
            found.append(leaf)
        return leaf

    tree_map(keep, tree, kind, ignore_others=ignore_others)
    return found


def rebuild(like: Any, leaves: Iterable[Any]) -> Any:
    """A tree of the form of `like`, whose leaves are the next of `leaves`."""
    following: Iterator[Any] = iter(leaves)
    return tree_map(lambda _: next(following), like)


def paired(call: str, join: Callable[[Any, Any], Any], new: Any, old: Any) -> Any:
    """`join(new, old)` for each tensor of two trees of one form, which is that of `new`; None stays None.

    Raises ShapeError, in which `call` stands, where the forms differ.
    """
    if new is None:
        return None
    parts = children(new)
    if parts is None:
        if old is None:
            rule = "expected a tensor: rows that have not begun keep the state they were given."
            raise ShapeError(f"{call}: there is no first state", {"returned": new}, rule)
        return join(as_tensor(new), old)
    if isinstance(new, Mapping):
        alike, rule = isinstance(old, Mapping) and set(new) == set(old), ", ".join(map(repr, new))
        rule = f"expected the parts {rule}, as the cell returns."
    else:
        alike = isinstance(old, (tuple, list)) and len(new) == len(old)
        rule = f"expected {len(new)} parts, as the cell returns."
    if not alike:
        raise ShapeError(f"{call}: the state changes its form", {"state": old}, rule)
    return _remade(new, [paired(call, join, part, old[key]) for key, part in parts])


def detach(state: Any, where: Any = None, *, axis: int | None = None) -> Any:
    """The same state off the tape; with `where`, only in the rows of the batch that the mask picks.

        h = where(mask, h.detach(), h)

    `where` is (B,), True = cut: such a row gets a gradient of exactly 0. The other rows are unchanged.
    `axis` is the batch's, by default the last but one: (B, H) and (L, B, H) alike; the only one of a (B,) state.
    Raises ShapeError for a mask that is not (B,), of booleans.

    >>> import tinygrad_seq as tgs
    >>> h = tgs.ones(2, 3, requires_grad=True)
    >>> tgs.detach(h, where=[True, False]).sum().backward()
    >>> h.grad.tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if where is None:
        return tree_map(lambda h: h.detach(), state)
    mask = np.asarray(where.array if isinstance(where, Recorded) else where)

    def rows(h: Any) -> Any:
        at = (-2 if h.ndim > 1 else -1) if axis is None else axis
        size = h.shape[at] if -h.ndim <= at < h.ndim else None
        if mask.dtype != np.bool_ or mask.shape != (size,):
            rule = f"expected ({size},) booleans, one for each row along axis {at}."
            raise ShapeError("detach: the mask does not fit", {"state": h, "where": mask}, rule)
        if mask.all():
            return h.detach()
        shape = [1] * h.ndim
        shape[at] = -1
        return ops.where(mask.reshape(shape), h.detach(), h) if mask.any() else h

    return tree_map(rows, state)


answer(globals(), "detach")
