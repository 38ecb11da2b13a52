"""Gradients at chosen nodes: the basis of all readings of the gradient through time in `bptt`.

Unlike `backward` and `grad` this touches no `.grad`, keeps the graph, and may end at nodes inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tinygrad_seq.engine.apply import leaf
from tinygrad_seq.engine.backward import BackwardPass
from tinygrad_seq.engine.node import STATE, Watch
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.traversal import AnyNode, between

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
        self.order = between(self.roots, self.ends, closed)
        self.useful = set(self.order)

    def pull(
        self, seeds: Sequence[Any], *, create_graph: bool = False, watch: Watch | None = None
    ) -> dict[AnyNode, Any]:
        """The gradients at the ends by node, where a path leads: arrays, or Tensors with `create_graph`."""
        kept = [(n.hooks, n.hooks.pop(_RETAIN)) for n in self.order if n.hooks and _RETAIN in n.hooks]
        before, STATE.watch = STATE.watch, watch
        try:
            found = BackwardPass(self.roots, seeds, self.order, self.ends, create_graph=create_graph).run()
        finally:
            STATE.watch = before
            for hooks, hook in kept:
                hooks[_RETAIN] = hook
        return {node: g for node, g in found.items() if node in self.ends}


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
