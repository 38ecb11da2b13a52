"""The choice of `expand` and `collapse`: names, globs, or functions of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.viz.graph.clusters import Path, scopes_in
from tinygrad_seq.viz.graph.model import Node

Chosen = str | Callable[[Node], bool] | Iterable[str | Callable[[Node], bool]]


class Choice:
    """Names such as `lstm/layer0`, `lstm.layer0.t3`, `layer*` or `lstm_gates`, and functions of a node.

    A name means a scope or a time step with all that is in it, or an op. Globs work in each.
    """

    def __init__(self, call: str, chosen: Chosen):
        listed = [chosen] if isinstance(chosen, str) or callable(chosen) else list(chosen)
        for one in listed:
            if not (isinstance(one, str) or callable(one)):
                rule = "expected names, globs, or functions of a node."
                raise ArgumentError(f"draw: {call} has something else", {call: one}, rule)
        self.names = [one.replace("/", ".") for one in listed if isinstance(one, str)]
        self.tests = [one for one in listed if callable(one)]
        self._known: dict[Any, int] = {}

    def __bool__(self) -> bool:
        return bool(self.names or self.tests)

    def depth(self, node: Node, path: Path) -> int:
        """How many boxes deep the first is that is meant, -1 where none is; all of them for the node itself."""
        if not self:
            return -1
        found = self._known.get(path)
        if found is None:
            found = self._known[path] = self._depth(path)
        if found < 0 and (any(fnmatchcase(node.op, name) for name in self.names) or self.asks(node)):
            return len(path)
        return found

    def takes(self, node: Node, path: Path) -> bool:
        """True where the node, or a box that it is in, is meant."""
        return self.depth(node, path) >= 0

    def asks(self, node: Node) -> bool:
        """True where a function says so."""
        return any(test(node) for test in self.tests)

    def _depth(self, path: Path) -> int:
        phases = sum(cluster.kind == "phase" for cluster in path)
        for i, whole in enumerate(scopes_in(path), start=1 + phases):
            dotted = whole.replace("/", ".")
            last = whole.rpartition("/")[2]
            if any(fnmatchcase(dotted, name) or fnmatchcase(last, name) for name in self.names):
                return i
        return -1
