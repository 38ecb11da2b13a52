"""Where the gradient stops on its way back through time, and how far it reaches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tinygrad_seq.pictures.model import DATA, FORWARD, Edge, Graph, Node
from tinygrad_seq.pictures.places import loops_of
from tinygrad_seq.pictures.wiring import Wiring

Loop = Any


def add_detached(graph: Graph, loops: Mapping[int, Loop], fresh: Collection[int]) -> None:
    """Draw what `detach` leaves out: an edge, of kind cut, from the step before to a state that came off the tape.

    A detached state is data to the tape. What it was is told by the steps around it: where the others read what the
    step before has made, this one reads data. Data in `fresh` is a new state, no old one.
    """
    if not any(e.kind == "state" for e in graph.edges):
        return
    known = graph.by_id()
    inside = _locals(graph, loops)
    incoming: dict[int, list[Edge]] = {}
    for e in graph.edges:
        incoming.setdefault(e.dst, []).append(e)
    # What a step's argument is in most steps: (loop, which op of the step, which argument) -> what it is of.
    usual: dict[Any, tuple[int, int]] = {}
    taken: dict[Any, tuple[Node, int]] = {}
    for node in graph.nodes:
        where = inside.get(node.id)
        if where is None or node.op in ("cut", "pick"):
            continue
        loop, step, place = where
        for e in incoming.get(node.id, ()):
            source = _behind(e.src, known, incoming)
            if source.id in inside and inside[source.id][0] == loop and inside[source.id][1] != step:
                usual[loop, place, e.arg] = (inside[source.id][2], step - inside[source.id][1])
            elif source.phase == DATA and source.id not in fresh and source.dtype[:1] == "f":
                taken[loop, place, e.arg, step] = (source, e.src)
    at = {where: node for node, where in inside.items()}
    done: set[int] = set()
    for (loop, place, arg, step), (leaf, _) in taken.items():
        if (loop, place, arg) in usual and leaf.id not in done:
            made, back = usual[loop, place, arg]
            origin = at.get((loop, step - back, made))
            if origin is not None and known[origin].shape == leaf.shape:
                done.add(leaf.id)
                graph.edges.append(Edge(origin, leaf.id, "cut", -1, 0, 0, 1, abs(back)))


def _behind(slot: int, known: dict[int, Node], incoming: dict[int, list[Edge]]) -> Node:
    """The op or leaf that a cut, or a copy of a state, hands on."""
    node = known[slot]
    while node.op in ("cut", "reshape") and len(before := incoming.get(node.id, [])) == 1:
        ahead = known[before[0].src]
        if ahead.shape != node.shape:
            break
        node = ahead
    return node


def _locals(graph: Graph, loops: Mapping[int, Loop]) -> dict[int, tuple[Loop, int, int]]:
    """For each op in a loop: the loop, its step, and which of the step's ops it is, cuts and copies not counted."""
    count: dict[tuple[Loop, int], int] = {}
    shapes = {n.id: n.shape for n in graph.nodes}
    copies = {e.dst for e in graph.edges if shapes[e.src] == shapes[e.dst]}
    found = {}
    for n in graph.nodes:
        if n.t is None or n.is_leaf or n.phase != FORWARD or n.id not in loops:
            continue
        if n.op == "cut" or (n.op == "reshape" and n.id in copies):
            continue
        step = (loops[n.id], n.t)
        count[step] = count.get(step, -1) + 1
        found[n.id] = (loops[n.id], n.t, count[step])
    return found


def cut_steps(wiring: Wiring) -> list[int]:
    """The steps that a gradient does not go back beyond, in order."""
    found = {wiring.nodes[line.dst].t for line in wiring.lines if line.kind == "cut"}
    return sorted(t for t in found if t is not None)


def reach(wiring: Wiring) -> tuple[int, int, int]:
    """(the most steps in a row that a gradient passes, the most steps of a loop, the number of cuts).

    What steps only add to, such as a loss, is no way from step to step.
    """
    loops, nodes = loops_of(wiring.paths), wiring.nodes
    chains: dict[tuple[Loop, int], int] = {}
    steps: dict[Loop, set[int]] = {}
    before: dict[int, list[int]] = {}
    for line in wiring.lines:
        if line.kind == "state" and nodes[line.src].wants and not {line.src, line.dst} & wiring.sums.keys():
            before.setdefault(line.dst, []).append(line.src)
    for n in wiring.ops():
        if n.t is None or n.phase != FORWARD or n.id not in loops or not n.wants or n.id in wiring.sums:
            continue
        step = (loops[n.id], n.t)
        steps.setdefault(loops[n.id], set()).add(n.t)
        longest = max((chains.get((loops[s], nodes[s].t or 0), 0) for s in before.get(n.id, ())), default=0)
        chains[step] = max(chains.get(step, 1), longest + 1)
    far, most = max(chains.values(), default=0), max(map(len, steps.values()), default=0)
    return far, most, len(cut_steps(wiring))


def reach_line(wiring: Wiring) -> str:
    """`gradient reaches at most 16 steps back; 3 cuts`, or nothing where no gradient goes through time."""
    if not any(line.kind in ("state", "cut") for line in wiring.lines):
        return ""
    far, steps, cuts = reach(wiring)
    if steps < 2:
        return ""
    if far == steps and not cuts:
        return f"gradient reaches back through all {steps} steps; no cuts"
    said = f"{cuts or 'no'} cut{'s' * (cuts != 1)}"
    return f"gradient reaches at most {far} step{'s' * (far != 1)} back; {said}"
