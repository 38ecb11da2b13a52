"""The backward pass: each node of the tape once, newest first; its whole gradient goes on to its inputs.

    for node in reversed(order):
        g = pending.pop(node)
        node.op.propagate(run, node, g, node.saved, node.out)

That is all of it: `BackwardPass.through`. How a gradient reaches the inputs is a property of the op (`propagate`);
how contributions are summed stands in `accumulate`. One loop serves every order of derivative: without
`create_graph` the rules run on plain arrays and nothing is recorded; with it they run on Tensors and the gradient is
itself on the tape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine.accumulate import Pending
from tinygrad_seq.engine.apply import TRACED, WANTS, leaf, picked, wrap
from tinygrad_seq.engine.messages import refuse_changed, released
from tinygrad_seq.engine.node import STATE, Node
from tinygrad_seq.engine.traversal import AnyNode, between, reachable
from tinygrad_seq.errors import ShapeError, describe_shape


def run_backward(
    outputs: Sequence[Any],
    cotangents: Sequence[Any],
    targets: Sequence[Any] | None,
    *,
    create_graph: bool = False,
    release: bool = True,
) -> tuple[dict[AnyNode, Any], set[AnyNode]]:
    """The gradients at the targets (at every leaf that wants one, where None), as arrays or as Tensors.

    Also returns the nodes whose array has no other owner. With `release` a node lets go of what it saved as
    soon as it has been used.
    """
    roots = [t.node or leaf(t) for t in outputs]
    given = cotangents if create_graph else [t.array for t in cotangents]
    if targets is None:
        ends, order = None, reachable([r for r in roots if r.wants], wanting=True)
    else:
        ends = {t.node or leaf(t) for t in targets}
        order = between(roots, ends)
    run = BackwardPass(roots, given, order, ends, create_graph=create_graph, release=release)
    return run.run(), run.pending.owned


class BackwardPass:
    """One pass: where it starts and ends, the nodes that lead there in `order`, and what has arrived."""

    def __init__(
        self,
        roots: Sequence[AnyNode],
        cotangents: Sequence[Any],
        order: Sequence[AnyNode],
        ends: set[AnyNode] | None = None,
        *,
        create_graph: bool = False,
        release: bool = False,
    ):
        self.roots, self.order, self.ends = set(roots), order, ends
        self.create_graph, self.release = create_graph, release
        self.useful = set(order)
        self.pending = Pending()
        for root, g in zip(roots, cotangents, strict=True):
            if g is not None and root in self.useful:
                self.pending.add(root, g)
        self.watch, self.any_changed = STATE.watch, nodes.any_changed()
        self.found: dict[AnyNode, Any] = {}

    def run(self) -> dict[AnyNode, Any]:
        """The gradients by node, at the leaves and ends."""
        here = STATE.__dict__
        before, place = here["recording"], here["place"]
        here["recording"] = self.create_graph
        try:
            with np.errstate(all="ignore"):
                self.through(self.order)
        finally:  # a rule or a hook that raises must not leave us in the place of its node
            here["recording"], here["place"] = before, place
        return self.found

    def through(self, order: Sequence[AnyNode]) -> None:
        """Take these nodes newest first and send each one's gradient on to its inputs."""
        pop, create_graph = self.pending.pop, self.create_graph
        node: Any
        for node in reversed(order):
            g = pop(node)
            if g is None:
                continue
            if node.hooks or self.watch is not None:
                g = self._observed(node, g)
            if type(node) is not Node or (self.ends is not None and node in self.ends):
                self.found[node] = g
                if not any(p in self.useful for p in node.parents):
                    continue  # a leaf; or the last target, and the graph behind it stays whole
            if node.saved is None or self.any_changed:
                self._refuse_gone(node)
            if create_graph:
                STATE.place = node.place.backward()
            saved, out = _lifted(node) if create_graph else (node.saved, node.out)
            node.op.propagate(self, node, g, saved, out)
            if self.release:
                node.saved = node.out = None

    def _observed(self, node: AnyNode, g: Any) -> Any:
        """The gradient as hooks leave it, and the watch has seen it."""
        for hook in list((node.hooks or {}).values()):
            changed = hook(g if self.create_graph else wrap(np.array(g)))
            if changed is None:
                continue
            if changed.shape != node.shape:
                rule = f"expected shape {describe_shape(node.shape)}."
                raise ShapeError("hook: it returned another shape", {"gradient": changed}, rule)
            changed = changed.to(node.dtype)
            g = changed if self.create_graph else np.array(changed.array)
        if self.watch is not None:
            self.watch.arrived(node, g)
        return g

    def _refuse_gone(self, node: Any) -> None:
        if node.saved is None:
            raise released(node, node in self.roots)
        refuse_changed(node)


def _lifted(node: Node) -> tuple[tuple[Any, ...], Any]:
    """The saved arrays as Tensors that hang on the tape where they hung before."""
    out = node.out
    if node.op.traced_vjp is not None:
        return node.saved or (), out
    saved = tuple(
        at_node(value, p) if isinstance(value, np.ndarray) else value
        for value, p in zip(node.saved or (), node.parents, strict=True)
    )
    if type(out) is tuple:
        return saved, picked(node, out, WANTS)
    return saved, None if out is None else at_node(out, node)


def at_node(array: Any, node: AnyNode) -> Any:
    """A tensor of this value that hangs at this node."""
    return wrap(array, node, (WANTS if node.wants else 0) | (TRACED if STATE.tracing else 0))
