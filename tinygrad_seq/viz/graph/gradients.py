"""Gradients for a picture: their norms at every node, and the backward pass as a tape of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.backward import run_backward
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.node import STATE, Leaf
from tinygrad_seq.engine.node import Node as Live
from tinygrad_seq.engine.partial_backward import Independent
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.engine.traversal import reachable
from tinygrad_seq.errors import GraphError
from tinygrad_seq.viz.graph import fingerprints
from tinygrad_seq.viz.graph.cuts import GROUND
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.labels import letters
from tinygrad_seq.viz.graph.model import BACKWARD, DATA, PARAMETER, TURNS, Graph, Node
from tinygrad_seq.viz.graph.recurrent_states import states

Nodes = Mapping[int, Live | Leaf]
_RETAIN = "retain_grad"


class _Norms:
    """An observer that notes the norm of each complete gradient, and for the `kept` nodes the gradient itself."""

    def __init__(self, kept: Collection[Any] = ()) -> None:
        self.found: dict[Any, float] = {}
        self.kept, self.whole = kept, dict[Any, Any]()

    def made(self, *_: Any) -> None:
        """Values do not matter here."""

    def sent(self, *_: Any) -> None:
        """Nor do parts of gradients."""

    def arrived(self, node: Any, g: Any) -> None:
        """Note its norm; that of all outputs together where an op has several."""
        parts = [p for p in g if p is not None] if isinstance(g, list) else [g]
        self.found[node] = _norm(parts)
        if node in self.kept:
            self.whole[node] = np.array(g)


def _norm(parts: Sequence[Any]) -> float:
    return float(np.sqrt(sum(float(np.square(np.asarray(p, np.float64)).sum()) for p in parts)))


def add_norms(
    graph: Graph, outputs: Sequence[Tensor], nodes: Nodes, whole: bool = False, norms: bool = True
) -> dict[int, Any]:
    """Write the norm of d (sum of outputs) / d node into each node; 0 where a gradient is required but no path leads.

    At a state of several parts, such as the h and C of an LSTM, the norm without the paths through the other parts is
    noted too. Returns the gradients themselves by slot if the `whole` of them is wanted; without `norms` none is
    written. Neither `.grad` nor the graph changes. Raises GraphError where nothing requires a gradient.
    """
    wanting = _wanting(outputs)
    wiring = Wiring(graph)
    handed = list(states(wiring, fingerprints.steps(wiring)).values())
    kept = {nodes[slot] for steps in handed for parts in steps for slot in parts}
    if whole:  # of an op with several outputs each has its own
        kept |= {node for node in nodes.values() if not isinstance(node.dtype, tuple)}
    watch = _Norms(kept)
    before, STATE.watch = STATE.watch, watch
    try:
        with _unhooked(wanting), np.errstate(all="ignore"):
            run_backward(wanting, [_ones(o) for o in wanting], None, release=False)
    finally:
        STATE.watch = before
    slopes = {slot: watch.whole[node] for slot, node in nodes.items() if whole and node in watch.whole}
    if not norms:
        return slopes
    for n in graph.nodes:
        if n.wants:
            n.grad = watch.found.get(nodes[n.id], 0.0)
    known = graph.by_id()
    for steps in handed:
        apart = Independent([[nodes[slot] for slot in parts] for parts in steps]).of(watch.whole)
        for slot in (slot for parts in steps for slot in parts):
            g = apart.get(nodes[slot])
            known[slot].state_grad = 0.0 if g is None else _norm([g])
    return slopes


def backward_of(outputs: Sequence[Tensor]) -> tuple[list[Tensor], list[str]]:
    """The gradients of the sum of the outputs at all parameters, recorded, and the name of each."""
    wanting = _wanting(outputs)
    leaves = []
    for node in reachable([o.node for o in wanting if o.node is not None], wanting=True):
        if isinstance(node, Leaf):
            # A new tensor on the same node: the original may be gone, or may have a new value and node.
            leaves.append(wrap(np.broadcast_to(np.zeros((), node.dtype), node.shape), node, WANTS))
            tensor = node.tensor()
            leaves[-1].name = node.name or (tensor.name if tensor is not None else "")
    with _unhooked(wanting):
        found = grad(wanting, leaves, [_ones(o) for o in wanting], create_graph=True)
    return list(found), [f"d loss / d {t.name or 'param'}" for t in leaves]


def only_backward(graph: Graph) -> Graph:
    """The backward pass by itself: values of the forward pass that it reads are leaves."""
    known = graph.by_id()
    read = {e.src for e in graph.edges if known[e.dst].phase == BACKWARD}
    weights = _looks_at_weights(graph, known)
    todo = [i for i in read if i in weights]
    while todo:
        i = todo.pop()
        for src in weights.get(i, ()):
            if src not in read:
                read.add(src)
                todo.append(src)
    made = {e.dst: known[e.src].op for e in graph.edges if known[e.dst].op == "pick"}
    nodes = []
    for n in graph.nodes:
        if (
            n.phase == BACKWARD
            or n.op == GROUND
            or (n.id in read and (n.is_leaf or n.id in weights))
            or n.result.startswith("d ")
        ):
            nodes.append(n)
        elif n.id in read:
            label = n.op if n.op != "pick" else made[n.id]
            if n.label:
                base, low = letters(n.label)
                label = f"{base}_{n.t}" if low == "t" and n.t is not None else n.label
            nodes.append(Node(n.id, "saved", label, "", n.path, n.t, DATA, n.shape, n.dtype, values=n.values))
    kept = {n.id: n for n in nodes}
    edges = [
        e
        for e in graph.edges
        if e.src in kept and e.dst in kept and (kept[e.dst].phase == BACKWARD or e.dst in weights)
    ]
    for e in edges:
        if kept[e.src].op == "input" and kept[e.src].label in ("", "ones") and kept[e.dst].op == "add":
            kept[e.src].label = "from the loss"
    outputs = tuple(slot for slot in graph.outputs if slot in kept and kept[slot].result.startswith("d "))
    return Graph(nodes, edges, outputs, graph.recipes, graph.note)


def _looks_at_weights(graph: Graph, known: Mapping[int, Node]) -> dict[int, list[int]]:
    """Ops of the forward pass that are another look at a parameter, with what they look at."""
    found: dict[int, list[int]] = {}
    sources: dict[int, list[int]] = {}
    for e in graph.edges:
        sources.setdefault(e.dst, []).append(e.src)
    for n in graph.nodes:
        before = sources.get(n.id, [])
        if n.op not in TURNS or n.phase != "forward" or len(before) != 1:
            continue
        if known[before[0]].phase == PARAMETER or before[0] in found:
            found[n.id] = before
    return found


def _wanting(outputs: Sequence[Tensor]) -> list[Tensor]:
    found = [o for o in dict.fromkeys(outputs) if o.mode & WANTS]
    if not found:
        named = {"output": outputs[0]} if outputs else None
        rule = "expected an output that depends on a tensor with requires_grad=True."
        raise GraphError("draw: no gradient flows here", named, rule)
    return found


def _ones(o: Tensor) -> Tensor:
    return Tensor(np.ones(o.shape, o.dtype), name="1")


@contextmanager
def _unhooked(outputs: Sequence[Tensor]) -> Iterator[None]:
    """The nodes without `retain_grad`, inside: drawing must set no `.grad`."""
    kept = []
    for node in reachable([o.node for o in outputs if o.node is not None], wanting=True):
        if node.hooks and _RETAIN in node.hooks:
            kept.append((node.hooks, node.hooks.pop(_RETAIN)))
    try:
        yield
    finally:
        for hooks, hook in kept:
            hooks[_RETAIN] = hook


__all__ = ["add_norms", "backward_of", "only_backward"]
