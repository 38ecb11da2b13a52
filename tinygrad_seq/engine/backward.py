"""The backward pass: each node once, newest first; its gradient rules are applied to its accumulated gradient.

One loop serves every order of derivative. Without `create_graph` the rules run on plain arrays and nothing is
recorded; with it they run on Tensors and the gradient is itself on the tape.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.accumulate import Arrivals
from tinygrad_seq.engine.apply import TRACED, WANTS, Recorded, leaf, picked, wrap
from tinygrad_seq.engine.messages import refuse_assigned, refuse_changed, released
from tinygrad_seq.engine.node import PICK, STATE, At, Leaf, Node, next_index, recording
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.random import drawn_again
from tinygrad_seq.errors import ShapeError, describe_shape

AnyNode = Node | Leaf


CHECKPOINT = Op("checkpoint", lambda *_: None, "call")


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


_by_index = attrgetter("index")


def is_inside(node: AnyNode, start: int) -> bool:
    """True where this is an op, recorded at or after the creation index `start`."""
    return node.op is not None and node.index >= start


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` summed over the axes along which an array of `shape` was stretched: broadcasting undone."""
    extra = len(g.shape) - len(shape)
    if extra:
        g = ops.sum_(g, axis=tuple(range(extra)), keepdims=False)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return ops.sum_(g, axis=stretched, keepdims=True) if stretched else g


def walk(
    outputs: Sequence[Any],
    seeds: Sequence[Any],
    targets: Sequence[Any] | None,
    *,
    create_graph: bool = False,
    release: bool = True,
) -> tuple[dict[AnyNode, Any], set[AnyNode]]:
    """The gradients at the targets (at every leaf that wants one, where None), as arrays or as Tensors.

    Also returns the nodes whose array has no other owner. With `release` a node frees its saved values as soon as
    they have been used.
    """
    roots = [t.node or leaf(t) for t in outputs]
    ends = {t.node or leaf(t) for t in targets} if targets is not None else None
    order = _leading_to(roots, ends)
    useful = set(order)
    arrivals = Arrivals()
    for root, seed in zip(roots, seeds, strict=True):
        if root in useful:
            arrivals.add(root, seed if create_graph else seed.array)
    trip = Walk(set(roots), ends, useful, arrivals, create_graph, release)
    here = STATE.__dict__
    before, place = here["recording"], here["place"]
    here["recording"] = create_graph
    try:
        with np.errstate(all="ignore"):
            trip.visit(order)
    finally:  # the place of the node must not stay current where a rule or a hook raises
        here["recording"], here["place"] = before, place
    return trip.found, arrivals.mine


class Walk:
    """One walk: where it starts and ends, what leads there, and what has arrived."""

    def __init__(
        self,
        roots: set[AnyNode],
        ends: set[AnyNode] | None,
        useful: set[AnyNode],
        arrivals: Arrivals,
        create_graph: bool,
        release: bool,
    ):
        self.roots, self.ends, self.useful, self.arrivals = roots, ends, useful, arrivals
        self.create_graph, self.release = create_graph, release
        self.watch, self.suspicious = STATE.watch, nodes.any_changed()
        self.found: dict[AnyNode, Any] = {}

    def visit(self, order: Sequence[AnyNode]) -> None:
        """Take these nodes newest first, and propagate the gradient of each to its parents."""
        ends, create_graph = self.ends, self.create_graph
        sums, take, products = self.arrivals.sums, self.arrivals.take, self.arrivals.products
        heaps = self.arrivals.heaps
        for node in reversed(order):
            if node in products:
                self.arrivals.multiply(node)
            g = take(node) if create_graph or node in heaps else sums.pop(node, None)
            if g is None:
                continue
            if node.hooks:
                g = _hooked(node, g, create_graph)
            if self.watch is not None:
                self.watch.arrived(node, g)
            if type(node) is not Node:
                self.found[node] = g
                continue
            if ends is not None and node in ends:
                self.found[node] = g
                if not any(p in self.useful for p in node.parents):
                    continue  # the graph behind the last target stays whole
            if node.saved is None:
                raise released(node, node in self.roots)
            if self.suspicious:
                refuse_changed(node)
            if create_graph:
                STATE.place = node.place.backward()
                self.propagate(node, g, *_lifted(node))
            else:
                self.propagate(node, g, node.saved, node.out)
            if self.release:
                node.saved = node.out = None

    def propagate(self, node: Node, g: Any, saved: Any, out: Any) -> None:
        """Compute the contributions of one node to the gradients of its parents."""
        op, settings, parents = node.op, node.settings, node.parents
        useful, arrivals = self.useful, self.arrivals
        if not op.active:
            self.propagate_jointly(node, g, saved, out)
            return
        for i, rule in op.active:
            p = parents[i]
            if p not in useful:
                continue
            if op.part:
                if self.watch is not None:
                    self.watch.sent(node, p, g, g)
                arrivals.add_part(p, g, settings[op.part])  # type: ignore[index]
                continue
            if i == 1 and op.product and not self.create_graph:
                x = saved[0]
                if x.ndim == g.ndim == 2 and p.shape == (x.shape[1], g.shape[1]):
                    if self.watch is not None:
                        self.watch.sent(node, p, g, rule(g, out, *saved))  # only to be looked at
                    arrivals.add_product(p, x, g)
                    continue
            dx = rule(g, out, *saved, **settings) if settings else rule(g, out, *saved)
            if dx.shape != p.shape:
                dx = sum_to(dx, p.shape)
            arrivals.add(p, dx)
            if self.watch is not None:
                self.watch.sent(node, p, g, dx)

    def propagate_jointly(self, node: Node, g: Any, saved: Any, out: Any) -> None:
        """The same for ops whose gradients come from one call, and for the outputs of ops with several."""
        op, parents, settings = node.op, node.parents, node.settings or {}
        if op is PICK:
            # The outputs' gradients wait as one list at the node they were picked from.
            source, i = parents[0], settings["i"]
            waiting = self.arrivals.sums.setdefault(source, [None] * len(source.shape))
            waiting += [None] * (i + 1 - len(waiting))  # a fused op has outputs that only its gradient reads
            waiting[i] = g if waiting[i] is None else waiting[i] + g
            return
        gs = g if isinstance(g, list) else [g]
        if op is CHECKPOINT:
            self.replay(node, gs, saved)
            return
        wanted = tuple([p in self.useful for p in parents])
        if op.traced_vjp is not None and self.create_graph:
            found = op.traced_vjp(node, wanted, gs)
        else:
            found = op.joint_vjp(wanted, gs, out, *saved, **settings)  # type: ignore[misc]
        # A kernel writes into arrays of its own; two inputs may share one (x + y).
        memory = [id(dx if dx.base is None else dx.base) for dx in found if isinstance(dx, np.ndarray)]
        fresh = op.owned and not self.create_graph and len(set(memory)) == len(memory)
        for p, want, dx in zip(parents, wanted, found, strict=True):
            if want and dx is not None:
                self.arrivals.add(p, dx if dx.shape == p.shape else sum_to(dx, p.shape), fresh)
                if self.watch is not None:
                    self.watch.sent(node, p, g, dx)

    def replay(self, node: Node, gs: list[Any], saved: Any) -> None:
        """Record a checkpointed segment again on its original parents, and run the backward pass through it.

        Its gradients meet those of the rest in the same order as without it: the sums are bit-equal.
        """
        settings = node.settings or {}
        count, start = settings["inputs"], next_index()
        refuse_assigned(node)
        pairs = zip(saved[:count], node.parents[:count], strict=True)
        inputs = [x if isinstance(x, Recorded) else at_node(x, p) for x, p in pairs]
        with recording(True), At(node.place), drawn_again(settings["words"]):
            value = settings["fn"](*inputs)
        outs = value if isinstance(value, tuple) else (value,)
        roots = [o.node for o in outs if o.mode & WANTS]
        inside = [n for n in reachable(roots, wanting=True, since=start) if is_inside(n, start)]
        for n in inside:
            if any(p in self.useful for p in n.parents):
                self.useful.add(n)
        for o, g in zip(outs, gs, strict=True):
            if g is not None and o.node in self.useful:
                self.arrivals.add(o.node, g)
        self.visit([n for n in inside if n in self.useful])


def _leading_to(roots: Sequence[AnyNode], ends: set[AnyNode] | None) -> list[AnyNode]:
    """The nodes between the roots and the ends (any leaf that requires a gradient), oldest first."""
    order = reachable([r for r in roots if r.wants], wanting=True)
    if ends is None:
        return order
    useful: set[AnyNode] = set()
    for node in order:
        if node in ends or any(p in useful for p in node.parents):
            useful.add(node)
    return [node for node in order if node in useful]


def _lifted(node: Node) -> tuple[tuple[Any, ...], Any]:
    """The saved arrays as Tensors at their nodes on the tape."""
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
    """A tensor of this value at this node."""
    return wrap(array, node, (WANTS if node.wants else 0) | (TRACED if STATE.tracing else 0))


def _hooked(node: AnyNode, g: Any, create_graph: bool) -> Any:
    for hook in list((node.hooks or {}).values()):
        changed = hook(g if create_graph else wrap(np.array(g)))
        if changed is not None:
            if changed.shape != node.shape:
                rule = f"expected shape {describe_shape(node.shape)}."
                raise ShapeError("hook: it returned another shape", {"gradient": changed}, rule)
            changed = changed.to(node.dtype)
            g = changed if create_graph else np.array(changed.array)
    return g
