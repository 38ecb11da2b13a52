"""What the steps of a loop pass on: states, from which later steps are computed, and running totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.fingerprints import Parts
from tinygrad_seq.viz.graph.model import FORWARD, STATE, TOTAL, Edge, Graph, Node

Value = tuple[int, int]
"""An op and which of its outputs."""


# ---- running totals --------------------------------------------------------------------------------------
def name_totals(graph: Graph, loops: Mapping[int, Any]) -> None:
    """Find the edges of running totals: each step only adds to the value of the step before.

    An example is a summed loss: in `total = total + x` no x depends on the total, and no later step reads it
    otherwise. A value from which a later step is computed stays a state, such as h = h + f(h).
    """
    known = graph.by_id()
    out: dict[int, list[Edge]] = {}
    for e in graph.edges:
        out.setdefault(e.src, []).append(e)
    added = {id(e): e for e in graph.edges if e.kind == STATE and _adds(e, known)}
    while added:
        feeding = _feeding(graph, loops, out, added)
        wrong = [key for key, e in added.items() if e.src in feeding]
        if not wrong:
            break
        for key in wrong:
            del added[key]
    for e in added.values():
        e.kind, e.back = TOTAL, 0


def _adds(e: Edge, known: Mapping[int, Node]) -> bool:
    a, b = known[e.src], known[e.dst]
    same = a.shape == b.shape and (b.op == "add" or (b.op == "sub" and e.arg == 0))
    return b.phase == FORWARD and (same or b.op == "concat")


def _feeding(
    graph: Graph, loops: Mapping[int, Any], out: Mapping[int, Sequence[Edge]], added: Mapping[int, Edge]
) -> set[int]:
    """The ops from whose results later steps are computed, not counting the edges that only add."""
    found: set[int] = set()
    for n in reversed(graph.nodes):
        for e in out.get(n.id, ()):
            if id(e) not in added and (
                e.kind == STATE or (e.dst in found and loops.get(e.dst) == loops.get(n.id))
            ):
                found.add(n.id)
                break
    return found


# ---- states ----------------------------------------------------------------------------------------------
def crowded(wiring: Wiring, rolled: Mapping[int, Path]) -> set[Path]:
    """The boxes that are one cell with all their inner scopes: time steps with ops of their own, modules with a
    product.
    """
    found = set()
    for n in wiring.ops():
        path = rolled.get(n.id, wiring.path(n.id))
        step = step_of(path)
        if path and (step == path or (step is None and n.op == "matmul")):
            found.add(path)
    return found


def states(wiring: Wiring, parts: Parts) -> dict[Any, list[list[int]]]:
    """By cell, the states that its steps pass on, in order of time, each as the ids of its parts.

    Of an op with several outputs these are its picks. The last step passes nothing on: its state is the value
    at the same place as in the other steps.
    """
    handed = _handed(wiring, parts)
    whole_cells = crowded(wiring, {})
    picks = _picks(wiring)
    found: dict[Any, dict[int, list[int]]] = {}
    for (whole, number), values in handed.items():
        for op, out in sorted(values):
            path = wiring.path(op)
            step = step_of(path)
            if step is None or not wiring.nodes[op].wants:
                continue
            cell = () if step in whole_cells else path[len(step) : len(step) + 1]
            slot = picks.get((op, out), None if isinstance(wiring.nodes[op].dtype, tuple) else op)
            if slot is None:
                continue  # an output that nothing reads
            found.setdefault((whole, cell), {}).setdefault(number, []).append(slot)
    falls = {key: _falls(wiring, steps) for key, steps in found.items()}
    return {key: [steps[t] for t in sorted(steps, reverse=falls[key])] for key, steps in found.items()}


def _falls(wiring: Wiring, steps: Mapping[int, Sequence[int]]) -> bool:
    """True where time runs backwards: the reverse direction of a layer."""
    order = sorted(steps, key=lambda t: steps[t][0])
    return len(order) > 1 and order[0] > order[-1]


def _handed(wiring: Wiring, parts: Parts) -> dict[tuple[Any, int], set[Value]]:
    found: dict[tuple[Any, int], set[Value]] = {}
    for line in wiring.lines:
        a, b = parts.where.get(line.src), parts.where.get(line.dst)
        if line.kind not in (STATE, "cut") or a is None or b is None or line.src not in parts.place:
            continue
        if a[0] == b[0] and a[1] != b[1] and wiring.nodes[line.src].phase == FORWARD:
            found.setdefault(a, set()).add((line.src, line.out))
    usual: dict[Any, Counter[Value]] = {}
    models: dict[tuple[Any, int], Node] = {}
    for (whole, _), values in found.items():
        for op, out in values:
            usual.setdefault(whole, Counter())[parts.place[op], out] += 1
            models.setdefault((whole, parts.place[op]), wiring.nodes[op])
    for whole, numbers in parts.wholes().items():
        for number in numbers:
            if whole in usual:
                members = parts.members[whole, number]
                own = found.get((whole, number), set())
                found[whole, number] = _usual(own, usual[whole], members, parts, models, whole)
    return {at: values for at, values in found.items() if values}


def _usual(
    own: set[Value],
    usual: Counter[Value],
    members: Sequence[Node],
    parts: Parts,
    models: Mapping[tuple[Any, int], Node],
    whole: Any,
) -> set[Value]:
    """What most steps pass on; anything else, such as a number that all share, is no state."""
    often = {value for value, times in usual.items() if times > 1} or set(usual)
    common = {(op, out) for op, out in own if (parts.place[op], out) in often}
    for place, out in often if len(common) < len(often) else ():
        if place < len(members):
            n, model = members[place], models[whole, place]
            if n.op == model.op and n.shape == model.shape:
                common.add((n.id, out))
    return common or own


def _picks(wiring: Wiring) -> dict[Value, int]:
    return {
        (wiring.belongs[n.id], int(n.detail)): n.id
        for n in wiring.graph.nodes
        if n.op == "pick" and n.id in wiring.belongs
    }


# ---- the gradient of a box ---------------------------------------------------------------------------------
def gradient(
    members: Iterable[Node], leaving: Collection[int], main: Collection[int], part: Any
) -> tuple[float | None, float | None]:
    """The norm at a box: of the state that leaves it, else the largest of what leaves; and the smallest of its steps.

    `part` tells the steps or blocks in a box apart. The parts of a state count together, h and C as if neither
    depended on the other; what leaves besides, such as a loss that is taken in the step, has its own gradient.
    """
    squares: dict[Any, float] = {}
    others: dict[Any, float] = {}
    rest: dict[Any, float] = {}
    for m in members:
        key = part(m)
        if m.state_grad is not None:
            squares[key] = squares.get(key, 0.0) + m.state_grad**2
        if m.grad is not None:
            for found, wanted in ((others, leaving), (rest, main)):
                if m.id in wanted:
                    before = found.get(key)
                    found[key] = m.grad if before is None or not before >= m.grad else before
    steps = {key: g**0.5 for key, g in squares.items()} or others or rest
    if not steps:
        return None, None
    bad = [g for g in steps.values() if g != g]
    return (bad[0] if bad else max(steps.values())), (min(steps.values()) if len(steps) > 1 else None)
