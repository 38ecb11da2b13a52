"""A tape as a graph: every fact that a picture can show, from the tape and from the live nodes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.messages import describe_index
from tinygrad_seq.engine.node import Leaf
from tinygrad_seq.engine.node import Node as Live
from tinygrad_seq.errors import short_dtype
from tinygrad_seq.tape.row import Row
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz.graph import costs, fused_bodies
from tinygrad_seq.viz.graph.clusters import loops_of, places
from tinygrad_seq.viz.graph.cuts import add_detached, add_noted
from tinygrad_seq.viz.graph.labels import add_labels
from tinygrad_seq.viz.graph.model import (
    BACKWARD,
    CONSTANT,
    DATA,
    PARAMETER,
    SYMMETRIC,
    Edge,
    Graph,
    Node,
    Values,
)
from tinygrad_seq.viz.graph.recurrent_states import name_totals
from tinygrad_seq.viz.graph.rerun import is_changed, value_of

_PHASES = {"param": PARAMETER, "input": DATA, "const": CONSTANT}
_HOLE = "\N{MIDDLE DOT}"
MOST_NUMBERS = 8
Nodes = Mapping[int, Live | Leaf]


def read(tape: Tape, nodes: Nodes | None = None, names: Mapping[Live | Leaf, str] | None = None) -> Graph:
    """The graph of a tape; from the live nodes behind it, kept bytes and what fused ops are made of.

    `names` are the user's, by node.
    """
    rows = tape.rows
    marks = _marks(tape.outputs)
    scopes: dict[str, tuple[str, ...]] = {}
    drawn: list[Node] = []
    constants = {row.slot for row in rows if row.op == "const"}
    for row in _in_order(rows):
        if row.op == "const" and row.slot not in marks:
            continue
        scope = row.place.scope
        path = scopes.get(scope)
        if path is None:
            path = scopes[scope] = tuple(scope.split("/")) if scope else ()
        node = Node(
            row.slot,
            row.op,
            row.name if row.is_leaf else "",
            _detail(row, rows, constants),
            path,
            row.place.step,
            _PHASES.get(row.op, row.place.phase),
            row.shape,
            _dtype(row.dtype),
            row.wants,
        )
        if row.op == "param":
            node.params = int(np.prod(row.shape, dtype=np.int64))
        elif row.op != "input":
            node.flops = costs.flops_of(row, rows)
            node.made = costs.made_by(row)
        node.result = marks.get(row.slot, "")
        drawn.append(node)
    graph = Graph(drawn, _edges(rows), tape.outputs)
    if nodes is not None:
        _part_inputs(graph, nodes)
        _join_views(graph, nodes)
        _add_live(graph, rows, nodes)
        add_labels(graph, nodes, names or {})
    loops = loops_of(places(graph))
    _name_kinds(graph, loops)
    name_totals(graph, loops)
    add_noted(graph, loops, _origins(graph, nodes or {}))
    add_detached(graph, loops, _named_data(graph, nodes or {}))
    return graph


def _part_inputs(graph: Graph, nodes: Nodes) -> None:
    """Where modules have parameters, other leaves that require a gradient are data: no optimiser updates them."""
    leaves = [(n, nodes[n.id]) for n in graph.nodes if n.op == "param"]
    if any(isinstance(live, Leaf) and live.learnt for _, live in leaves):
        for n, live in leaves:
            if isinstance(live, Leaf) and not live.learnt:
                n.op, n.phase, n.params = "input", DATA, 0


def _join_views(graph: Graph, nodes: Nodes) -> None:
    """Data that is read in two shapes is one leaf: else the way around a block would not be seen."""
    found: dict[Any, list[Node]] = {}
    arrays = arrays_of(nodes)
    for n in graph.nodes:
        array, live = arrays.get(n.id), nodes[n.id]
        plain = isinstance(live, Leaf) and live.origin is None and not n.wants and not n.result
        if n.op == "input" and plain and array is not None and array.size and array.flags.c_contiguous:
            found.setdefault((array.__array_interface__["data"][0], array.nbytes), []).append(n)
    home: dict[int, int] = {}
    for same in found.values():
        kept = max(same, key=lambda n: (len(n.shape), -n.id))
        kept.label = next((n.label for n in [kept, *same] if n.label), "")
        home |= {n.id: kept.id for n in same if n.shape != kept.shape}
    if not home:
        return
    for e in graph.edges:
        e.src = home.get(e.src, e.src)
    known = graph.by_id()
    # A leaf stands before its first use.
    graph.nodes[:] = [known[i] for i in dict.fromkeys(home.get(n.id, n.id) for n in graph.nodes)]


def _origins(graph: Graph, nodes: Nodes) -> dict[int, tuple[int | None, str]]:
    """Which data was detached: by slot, the slot of what made it, None where that is not here, and in words where."""
    found = {}
    for n in graph.nodes:
        live = nodes.get(n.id) if n.op == "input" else None
        if isinstance(live, Leaf) and live.origin is not None:
            found[n.id] = live.origin
    if not found:
        return {}
    slots = {live.index: slot for slot, live in nodes.items() if isinstance(live, Live)}
    return {slot: (slots.get(origin.made), str(origin.place)) for slot, origin in found.items()}


def _named_data(graph: Graph, nodes: Nodes) -> set[int]:
    """Name data without a name by what it is, where it is one number throughout; the slots of what is all zeros.

    Those are new states, not states of an earlier step.
    """
    data = [n for n in graph.nodes if n.op == "input" and n.dtype[:1] == "f"]
    arrays = arrays_of(nodes) if data and nodes else {}
    fresh = set()
    for n in data:
        array = arrays.get(n.id)
        if array is None or not array.size or not np.all(array == (first := array.flat[0])):
            continue
        if first == 0:
            fresh.add(n.id)
        if not n.label and (array.size == 1 or first in (0, 1)):
            n.label = number(float(first)) if array.size == 1 else "ones" if first else "zeros"
    return fresh


def _marks(outputs: Sequence[int]) -> dict[int, str]:
    found = list(dict.fromkeys(outputs))
    if len(found) == 1:
        return {found[0]: "result"}
    return {slot: f"result {i}" for i, slot in enumerate(found, start=1)}


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows, each output of an op right behind it: gradients ask for some of them much later."""
    picks: dict[int, list[Row]] = {}
    for row in rows:
        if row.op == "pick":
            picks.setdefault(row.args[0], []).append(row)
    if not picks:
        return list(rows)
    return [r for row in rows if row.op != "pick" for r in (row, *picks.get(row.slot, ()))]


def _edges(rows: Sequence[Row]) -> list[Edge]:
    edges = []
    sizes: dict[Any, int] = {}
    for row in rows:
        for i, slot in enumerate(row.args):
            source = rows[slot]
            if source.op == "const":
                continue
            key = source.shape, source.dtype
            size = sizes.get(key)
            if size is None:
                size = sizes[key] = costs.bytes_of(*key)
            edges.append(Edge(slot, row.slot, "data", i, 0, size))
    return edges


def _name_kinds(graph: Graph, loops: Mapping[int, Any]) -> None:
    """What each edge is: into a cut, from a parameter, of the backward pass, from one time step to another."""
    known = graph.by_id()
    for e in graph.edges:
        a, b = known[e.src], known[e.dst]
        if b.op == "cut":
            e.kind = "cut"
        elif a.phase == PARAMETER:
            e.kind = "parameter"
        elif a.phase == BACKWARD:
            e.kind = "gradient"
            e.back = (
                (a.t or 0) - (b.t or 0) if b.t is not None and loops.get(e.src) == loops.get(e.dst) else 0
            )
        elif a.t is not None and b.t is not None and a.t != b.t and loops.get(e.src) == loops.get(e.dst):
            e.kind, e.back = "state", abs(b.t - a.t)


@functools.lru_cache(maxsize=256)
def _dtype(dtype: Any) -> Any:
    return tuple(map(short_dtype, dtype)) if isinstance(dtype, tuple) else short_dtype(dtype)


def _detail(row: Row, rows: Sequence[Row], constants: set[int]) -> str:
    """The detail of an op: a constant operand, the index of a slice, the axes of a sum."""
    if row.op == "const":
        return number(row.value)
    if not row.args:
        return ""
    setting = _setting(row)
    if constants.isdisjoint(row.args):
        return setting
    return f"{setting} {_constants(row, rows)}".strip()


def _setting(row: Row) -> str:
    settings = row.settings
    if not settings:
        return ""
    if "i" in settings:
        return str(settings["i"])
    if "index" in settings:
        return f"[{describe_index(settings['index'])}]"
    if "axes" in settings:
        return str(settings["axes"])
    if "axis" in settings and row.shape:  # a sum over everything needs no axes
        return "axis " + str(settings["axis"]).strip("(),")
    return str(settings["fn"]).rpartition(".")[2] if row.op == "checkpoint" else ""


def _constants(row: Row, rows: Sequence[Row]) -> str:
    """`0.5` for x * 0.5, `(1, ·)` for 1 - x: constants stand in the op and have no node."""
    operands = [number(rows[slot].value) if rows[slot].op == "const" else _HOLE for slot in row.args]
    constants = [text for text in operands if text != _HOLE]
    if len(constants) == 1 and row.op in SYMMETRIC:
        return constants[0]
    return f"({', '.join(operands)})" if constants else ""


def number(value: float | int | bool | None) -> str:
    """A constant in four digits."""
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


# ---- from live nodes ---------------------------------------------------------------------------------------
def _add_live(graph: Graph, rows: Sequence[Row], nodes: Nodes) -> None:
    saved = costs.saved_by(rows, nodes)
    flops: dict[str, int] = {}
    for drawn in graph.nodes:
        live = nodes[drawn.id]
        if isinstance(live, Live):
            drawn.saved = saved.get(drawn.id, 0)
        if fused_bodies.is_fused(live):
            assert isinstance(live, Live)
            key = fused_bodies.recipe_key(live)
            if key not in flops:
                made = fused_bodies.composition(live)
                if made is not None:
                    graph.recipes[key] = read(made[0])
                    graph.recipes[key].nodes[:] = [_plain(n) for n in graph.recipes[key].nodes]
                    add_labels(graph.recipes[key], made[1], {})
                flops[key] = graph.recipes[key].totals.flops if made is not None else 0
            drawn.fused, drawn.flops = key, flops[key]
            drawn.made = costs.bytes_of(rows[drawn.id].shape, rows[drawn.id].dtype)


def add_values(graph: Graph, arrays: Mapping[int, Any], slopes: Mapping[int, Any]) -> None:
    """Write into each node the statistics of its numbers, and the first of them with their gradients, by slot."""
    for n in graph.nodes:
        array = arrays.get(n.id)
        if array is None or array.dtype.kind not in "fiub":
            continue
        n.values = statistics(array)
        parts = [array, slopes[n.id]] if n.id in slopes else [array]
        n.numbers = tuple(tuple(float(x) for x in np.ravel(part)[:MOST_NUMBERS]) for part in parts)


def _plain(node: Node) -> Node:
    node.result = ""
    return node


def arrays_of(nodes: Nodes) -> dict[int, Any]:
    """The values that are still in memory, by slot: of leaves, and those that a gradient rule keeps."""
    slots = {id(node): slot for slot, node in nodes.items()}
    found: dict[int, Any] = {}
    for slot, node in nodes.items():
        if isinstance(node, Leaf):
            array = value_of(node)
            if array is not None:
                found[slot] = array
            continue
        if isinstance(node.out, np.ndarray):
            found[slot] = node.out
        for parent in node.parents:
            if isinstance(parent, Leaf) and is_changed(parent, found.get(slots[id(parent)]), node):
                found.pop(slots[id(parent)], None)
        for parent, value in zip(node.parents, node.saved or (), strict=False):
            if isinstance(value, np.ndarray):
                found[slots[id(parent)]] = value
    return found


def statistics(array: Any) -> Values:
    """The statistics of the numbers of an array."""
    flat = np.asarray(array, np.float64).ravel()
    good = flat[np.isfinite(flat)]
    least, mean, most, deviation = (
        (float(good.min()), float(good.mean()), float(good.max()), float(good.std()))
        if good.size
        else (0.0,) * 4
    )
    zeros = float((flat == 0).mean()) if flat.size else 0.0
    return Values(least, mean, most, deviation, int(flat.size - good.size), zeros)
