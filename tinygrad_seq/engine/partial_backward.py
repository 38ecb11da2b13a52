"""Gradients that stop where they are told to: what all readings of the gradient through time are made of.

Unlike `backward` and `grad` this touches no `.grad`, keeps the graph, and may end at nodes inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_seq.engine.accumulate import Arrivals
from tinygrad_seq.engine.apply import leaf
from tinygrad_seq.engine.backward import AnyNode, Walk
from tinygrad_seq.engine.node import STATE, At, Watch, recording
from tinygrad_seq.engine.tensor import Tensor

_RETAIN = "retain_grad"


def node_of(t: Tensor) -> AnyNode:
    """Where a tensor hangs on the tape."""
    return t.node or leaf(t)


class Route:
    """The nodes between some roots and some ends, found once and walked as often as one likes.

    No node of `closed` is passed: what lies behind it gets nothing by way of it.
    """

    def __init__(self, roots: Sequence[AnyNode], ends: Collection[AnyNode], closed: Collection[AnyNode] = ()):
        self.roots, self.ends = list(roots), set(ends)
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
        self.useful: set[AnyNode] = set()
        for node in sorted(seen, key=attrgetter("index")):
            passed = node not in closed and any(p in self.useful for p in node.parents)
            if node in self.ends or passed:
                self.useful.add(node)
        self.order = sorted(self.useful, key=attrgetter("index"))

    def pull(
        self, seeds: Sequence[Any], *, create_graph: bool = False, watch: Watch | None = None
    ) -> dict[AnyNode, Any]:
        """The gradients at the ends by node, where any arrives: arrays, or Tensors with `create_graph`."""
        arrivals = Arrivals()
        for root, seed in zip(self.roots, seeds, strict=True):
            if root in self.useful and seed is not None:
                arrivals.add(root, seed)
        kept = [(n.hooks, n.hooks.pop(_RETAIN)) for n in self.order if n.hooks and _RETAIN in n.hooks]
        before = STATE.watch
        STATE.watch = watch
        try:
            # A copy: a checkpointed segment adds its own nodes.
            trip = Walk(set(self.roots), self.ends, set(self.useful), arrivals, create_graph, False)
            with recording(create_graph), At(STATE.place), np.errstate(all="ignore"):
                trip.visit(self.order)
        finally:
            STATE.watch = before
            for hooks, hook in kept:
                hooks[_RETAIN] = hook
        return {node: g for node, g in trip.found.items() if node in self.ends}


class Independent:
    """The gradients at the parts of each state as if the parts were given, each by itself.

    Whether h_t = o tanh(c_t) hangs on c_t on the tape, or both come out of one fused step, must not matter: what
    reaches c_t by way of h_t is taken off again.
    """

    def __init__(self, states: Sequence[Sequence[AnyNode]]):
        self.inside: list[tuple[AnyNode, AnyNode, Route]] = []
        before: Sequence[AnyNode] = ()
        for nodes in states:
            for root in nodes if len(nodes) > 1 else ():
                others = [n for n in nodes if n is not root]
                for end in others:
                    way = Route([root], [end], {*others, *before})
                    if root in way.useful:
                        self.inside.append((root, end, way))
            before = nodes

    def of(self, found: dict[AnyNode, Any]) -> dict[AnyNode, Any]:
        """The gradients at all parts, from those that one walk from the loss found."""
        apart = dict(found)
        for root, end, way in self.inside:
            if root in found and end in found:
                apart[end] = apart[end] - way.pull([found[root]])[end]
        return apart
