"""The compositions of fused ops: the inside of a box with a double border."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import TRACED
from tinygrad_seq.engine.node import STATE, At, Leaf, Node, tracing
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.fuser.decorator import composed, specialization_of
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz.graph.labels import in_step
from tinygrad_seq.viz.graph.model import Edge, Graph
from tinygrad_seq.viz.graph.model import Node as Drawn

OPENED = " ▾"
"""What stands behind the name of a fused op whose composition is shown."""


def is_fused(node: object) -> bool:
    """True for the live node of a fused op."""
    return isinstance(node, Node) and node.op.kind == "fused"


def recipe_key(node: Node) -> str:
    """A name for the composition of a fused op at these shapes."""
    given = _settings(node)
    sizes = ",".join("x".join(map(str, p.shape)) + f":{p.dtype}" for p in node.parents)
    chosen = ",".join(f"{name}={value}" for name, value in given.items())
    return f"{node.op.name}({sizes}{';' if chosen else ''}{chosen})"


def composition(node: Node) -> tuple[Tape, dict[int, Node | Leaf]] | None:
    """The tape of a fused op's composition, traced on arbitrary numbers, with its nodes; None if there is none."""
    settings = _settings(node)
    inputs = [wrap(np.ones(p.shape, p.dtype), None, TRACED) for p in node.parents]
    watch, STATE.watch = STATE.watch, None
    try:
        with tracing(), composed(), At(Place()), np.errstate(all="ignore"):
            value = node.op.forward(*inputs, **settings)
        # Inputs first and in order, used or not: an unused result of each.
        return Tape.with_nodes(*inputs, *(value if isinstance(value, tuple) else (value,)))
    except Exception:  # a user's function may look at values; then the box has no inside
        return None
    finally:
        STATE.watch = watch


def _settings(node: Node) -> dict[str, Any]:
    made_by = specialization_of(node.op)
    return made_by.settings if made_by else {}


def opened(graph: Graph, wanted: Callable[[Drawn], bool], boxed: bool = True) -> Graph:
    """The graph with the fused ops that are `wanted` taken apart, each in a scope of its own where `boxed`."""
    chosen = {n.id: n for n in graph.nodes if n.fused in graph.recipes and wanted(n)}
    if not chosen:
        return graph
    number = max(n.id for n in graph.nodes) + 1
    nodes: list[Drawn] = []
    inside: list[Edge] = []
    ends: dict[tuple[int, int], int] = {}  # the id of what makes an output
    readers: dict[tuple[int, int], list[Edge]] = {}  # who reads an argument
    for node in graph.nodes:
        if node.id not in chosen:
            nodes.append(node)
            continue
        recipe = graph.recipes[node.fused]
        ids = {n.id: number + i for i, n in enumerate(recipe.nodes)}
        number += len(ids)
        outs = len(node.dtype) if isinstance(node.dtype, tuple) else 1
        leaves, results = recipe.outputs[:-outs], recipe.outputs[-outs:]
        own = [n for n in recipe.nodes if n.id not in leaves]
        place: dict[str, Any] = {
            "path": (*node.path, node.op + OPENED) if boxed else node.path,
            "t": node.t,
            "wants": node.wants,
            "result": "",
        }
        for n in own:
            head, _, last = n.inside.rpartition("#")
            inside_of = f"{head}#{ids[int(last)]}" if head else ""
            label = in_step(n.label, node.t) if n.label else ""
            nodes.append(replace(n, id=ids[n.id], phase=node.phase, label=label, inside=inside_of, **place))
        nodes[-1].saved = node.saved
        ends |= {(node.id, i): ids[slot] for i, slot in enumerate(results)}
        for e in recipe.edges:
            if e.src in leaves:
                readers.setdefault((node.id, leaves.index(e.src)), []).append(replace(e, dst=ids[e.dst]))
            else:
                inside.append(replace(e, src=ids[e.src], dst=ids[e.dst]))
    return _joined(graph, nodes, inside, ends, readers)


def _joined(
    graph: Graph,
    nodes: list[Drawn],
    inside: list[Edge],
    ends: dict[tuple[int, int], int],
    readers: dict[tuple[int, int], list[Edge]],
) -> Graph:
    """What was around the opened ops, hung on what is inside them."""
    gone = {node for node, _ in ends}
    picked = {e.dst: e.src for e in graph.edges if e.src in gone}
    picks = {n.id: (picked[n.id], int(n.detail)) for n in graph.nodes if n.op == "pick" and n.id in picked}

    def source(node: int) -> int:
        where = picks.get(node, (node, 0))
        # An output that only gradients see has no place in the composition: its last op stands for it.
        return ends.get(where, ends.get((where[0], 0), node))

    edges = list(inside)
    for e in graph.edges:
        if e.dst in picks:
            continue
        for reader in readers.get((e.dst, e.arg), ()) if e.dst in gone else (e,):
            edges.append(replace(e, src=source(e.src), dst=reader.dst, arg=reader.arg))
    kept = [n for n in nodes if n.id not in picks]
    marks = {source(n.id): n.result for n in graph.nodes if n.result}
    for i, n in enumerate(kept):
        if n.id in marks and not n.result:
            kept[i] = replace(n, result=marks[n.id])
    return Graph(kept, edges, tuple(map(source, graph.outputs)), graph.recipes, graph.note)
