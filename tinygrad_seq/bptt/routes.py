"""Gradients that stop where they are told to: what all readings of the gradient through time are made of.

Unlike `backward` and `grad` this touches no `.grad`, keeps the graph, and may end at nodes inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_seq.arrivals import Arrivals
from tinygrad_seq.errors import GraphError, explain
from tinygrad_seq.nodes import STATE, At, Watch, recording
from tinygrad_seq.recording import WANTS, leaf
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.walk import AnyNode, Walk, reachable

_RETAIN = "retain_grad"


def node_of(t: Tensor) -> AnyNode:
    """Where a tensor hangs on the tape."""
    return t.node or leaf(t)


def one(loss: Tensor) -> Any:
    """The seed of a loss, an array of one. Raises GraphError for what has several elements or no gradient."""
    if loss.size != 1 or not loss.mode & WANTS:
        rule = "expected one element that depends on a tensor with requires_grad=True."
        raise GraphError(explain("bptt: not a loss", {"loss": loss}, rule))
    return np.ones(loss.shape, loss.dtype)


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


def refuse_side_branches(call: str, roots: Sequence[AnyNode], states: Sequence[AnyNode]) -> None:
    """Raise GraphError where no root was made from any of the states: zeros would say that nothing arrives."""
    found = set(reachable(roots))
    if states and not found & set(states):
        rule = "expected states on the way there; slices of a layer's stacked outputs are side branches."
        way_out = "Take the states from a cell, or from a loop of your own."
        raise GraphError(explain(f"{call}: nothing was made from these states", None, rule, way_out))


def refuse_parts(call: str, states: Sequence[Sequence[AnyNode]]) -> None:
    """Raise GraphError where a way from one state to the next but one goes round the state between.

    So it is with the h of an LSTM: what c carries passes no h.
    """
    for j, (earlier, middle, later) in enumerate(zip(states, states[1:], states[2:], strict=False)):
        first = min((n.index for n in earlier), default=0)
        seen, todo = set(later), list(later)
        while todo:
            node = todo.pop()
            if node in middle or node.index < first:
                continue
            if node in earlier:
                rule = (
                    f"expected whole states: a way from state {j} to state {j + 2} goes round state {j + 1}."
                )
                way_out = "Give all that is carried: (h, c) for an LSTM."
                raise GraphError(explain(f"{call}: these are parts of the states", None, rule, way_out))
            fresh = [p for p in node.parents if p.wants and p not in seen]
            seen.update(fresh)
            todo += fresh


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


class Apart:
    """Partial derivatives at several ends: each as if the others did not depend on it.

    So d c_t / d c_(t-1) of an LSTM leaves out the way by h_(t-1), which is a part of the state itself.
    """

    def __init__(self, roots: Sequence[AnyNode], ends: Sequence[AnyNode]):
        self.ends = list(ends)
        together = Route(roots, ends, set(ends))
        # Where one end is made from another directly, one walk would run on from it.
        mixed = any(p in together.useful for e in ends for p in e.parents)
        self.routes = [Route(roots, [e], set(ends)) for e in ends] if mixed else [together]

    def pull(self, seeds: Sequence[Any], create_graph: bool = False) -> list[Any]:
        """The gradient at each end, None where none arrives."""
        found: dict[AnyNode, Any] = {}
        for route in self.routes:
            found.update(route.pull(seeds, create_graph=create_graph))
        return [found.get(e) for e in self.ends]
