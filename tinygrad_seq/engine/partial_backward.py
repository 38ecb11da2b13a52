"""Gradients at chosen nodes: the basis of all readings of the gradient through time in `bptt`.

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
    """The node of a tensor."""
    return t.node or leaf(t)


class Route:
    """The nodes between some roots and some ends, found once for any number of backward passes.

    No gradient passes a node of `closed`.
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
        """The gradients at the ends by node, where a path leads: arrays, or Tensors with `create_graph`."""
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
    """The gradients at the parts of each state as if the parts were independent.

    On the tape h_t = o tanh(c_t) may be computed from c_t, or both may be outputs of one fused step. To make
    both equal, the gradient that reaches c_t through h_t is subtracted.
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
        """The gradients at all parts, from those of one backward pass from the loss."""
        apart = dict(found)
        for root, end, way in self.inside:
            if root in found and end in found:
                apart[end] = apart[end] - way.pull([found[root]])[end]
        return apart
