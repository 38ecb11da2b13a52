"""Names of a value: of its user (`h.name = "h"`), of the layer (a role), of the function that returned it.

Pictures and listings use them. A node has no marks until it is given one, so that those without cost nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

from tinygrad_seq.engine.node import Leaf, Node
from tinygrad_seq.engine.place import Marks

T = TypeVar("T")


_NONE = Marks()


def marks_of(node: Node | Leaf) -> Marks:
    """The marks of a node; empty ones where it has none."""
    return getattr(node, "marks", _NONE)


def _own(node: Node) -> Marks:
    if not hasattr(node, "marks"):
        node.marks = Marks()
    return node.marks


def rename(node: Node | Leaf, name: str) -> None:
    """The user's name for what stands here."""
    if isinstance(node, Node):
        _own(node).name = name
    else:
        node.name = name


def role(name: str, t: T) -> T:
    """The tensor itself, marked with its role in its layer: "f" for a forget gate."""
    node = getattr(t, "node", None)
    if isinstance(node, Node):
        _own(node).role = name
    return t


def made_by(name: str, start: int, value: Any) -> Any:
    """The results of a function, marked as computed by its ops from the creation index `start` on."""
    for t in value if isinstance(value, tuple) else (value,):
        node = getattr(t, "node", None)
        if isinstance(node, Node) and node.index > start:
            marks = _own(node)
            marks.made = (*marks.made, (name, start))
    return value
