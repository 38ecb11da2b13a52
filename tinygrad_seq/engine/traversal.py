"""Which nodes lead where: the tape, found from its newest nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter

from tinygrad_seq.engine.node import Leaf, Node

AnyNode = Node | Leaf
_by_index = attrgetter("index")


def reachable(roots: Sequence[AnyNode], *, wanting: bool = False, since: int = -1) -> list[AnyNode]:
    """The nodes that lead to `roots`, oldest first: the tape.

    With `wanting`, only through parents that require a gradient; the search stops at nodes made before `since`.
    """
    seen: set[AnyNode] = set(roots)
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node.index < since:
            continue
        for p in node.parents:
            if p not in seen and (p.wants or not wanting):
                seen.add(p)
                todo.append(p)
    return sorted(seen, key=_by_index)


def between(
    roots: Sequence[AnyNode], ends: Collection[AnyNode], closed: Collection[AnyNode] = ()
) -> list[AnyNode]:
    """The nodes by which a gradient goes from the roots to the ends, oldest first; none of `closed` is passed."""
    seen: set[AnyNode] = {r for r in roots if r.wants}
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node in closed:
            continue
        for p in node.parents:
            if p.wants and p not in seen:
                seen.add(p)
                todo.append(p)
    useful: set[AnyNode] = set()
    for node in sorted(seen, key=_by_index):
        if node in ends or (node not in closed and any(p in useful for p in node.parents)):
            useful.add(node)
    return sorted(useful, key=_by_index)


def is_inside(node: AnyNode, start: int) -> bool:
    """True where this is an op, recorded at or after the creation index `start`."""
    return node.op is not None and node.index >= start
