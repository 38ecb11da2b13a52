"""Boxes with their content, and lines from node to node, as names and attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinygrad_seq.viz.graph.clusters import Path
from tinygrad_seq.viz.render.style import Attributes


@dataclass(slots=True)
class Edge:
    """A line from node to node."""

    tail: str
    head: str
    look: Attributes


@dataclass(slots=True)
class Box:
    """The content of one cluster; `orders` are rows of invisible nodes that keep time steps in order."""

    nodes: dict[str, Attributes] = field(default_factory=dict)
    inner: list[Path] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)  # a leaf and the op beside it
    orders: list[list[str]] = field(default_factory=list)
    # Time steps between two cuts, and their name.
    windows: list[tuple[str, list[Path]]] = field(default_factory=list)
