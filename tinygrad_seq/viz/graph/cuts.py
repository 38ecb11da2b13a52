"""Where the gradient stops on its way back through time, and how far it reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from tinygrad_seq.viz.graph.clusters import Path, loops_of
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.model import BACKWARD, DATA, FORWARD, Edge, Graph, Node

Loop = Any
GROUND = "ground"
"""The op of a mark in the backward pass: no gradient goes on from here."""


def add_noted(graph: Graph, loops: Mapping[int, Loop], origins: Mapping[int, tuple[int | None, str]]) -> None:
    """Draw the cuts that `detach` has noted: by leaf, the op that computed it and its place.

    An op that is not in the picture, such as one of the window before, cannot be drawn: then the leaf has a
    text with its origin, and the cut is drawn behind it.
    """
    known = graph.by_id()
    steps = {e.src: known[e.dst].t for e in graph.edges if e.src in origins}
    homes = {e.src: loops.get(e.dst) for e in graph.edges if e.src in origins}
    for leaf, (origin, where) in origins.items():
        if origin is not None:
            begun, ended = steps.get(leaf), known[origin].t
            same = begun is not None and ended is not None and homes.get(leaf) == loops.get(origin)
            back = (begun or 0) - (ended or 0) if same else 0
            graph.edges.append(Edge(origin, leaf, "cut", -1, 0, 0, 1, abs(back)))
        else:
            known[leaf].label = known[leaf].label or "detached"
            known[leaf].detail = where
    lone = {leaf for leaf, (origin, _) in origins.items() if origin is None}
    for e in graph.edges if lone else ():
        if e.src in lone:
            e.kind = "cut"


def add_detached(graph: Graph, loops: Mapping[int, Loop], fresh: Collection[int]) -> None:
    """Draw what `detach` leaves out: an edge, of kind cut, from the step before to a state that came off the tape.

    On the tape a detached state is data. The other steps show what it was: where they read a result of the step
    before, this one reads data. Data in `fresh` is a new state, no detached one.
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
    done = {e.dst for e in graph.edges if e.kind == "cut"}  # those that have a note
    lone = {
        e.src for e in graph.edges if e.kind == "cut" and known[e.src].is_leaf
    }  # whose origin is not here
    ends: dict[Loop, int] = {}
    for loop, step, _ in inside.values():
        ends[loop] = max(step, ends.get(loop, step))
    for (loop, place, arg, step), (leaf, _) in taken.items():
        if (loop, place, arg) in usual and leaf.id not in done:
            made, back = usual[loop, place, arg]
            origin = at.get((loop, step - back, made))
            if origin is None and leaf.id in lone:  # the state that the window before ended with
                before = _before(loop)
                origin = at.get((before, ends.get(before, 0), made))
            if origin is not None and known[origin].shape == leaf.shape:
                done.add(leaf.id)
                graph.edges.append(Edge(origin, leaf.id, "cut", -1, 0, 0, 1, abs(back)))


def _before(loop: Loop) -> Loop:
    """The same loop in the previous run of its scope."""
    path, run = loop
    return tuple(c._replace(run=max(0, c.run - 1)) for c in path), max(0, run - 1)


def _behind(slot: int, known: dict[int, Node], incoming: dict[int, list[Edge]]) -> Node:
    """The op or leaf behind a cut, or behind a copy of a state."""
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


def cut_places(wiring: Wiring) -> set[tuple[int, int]]:
    """The steps that a gradient does not go back beyond, each with how often its scope was gone through before."""
    found = set()
    for line in wiring.lines:
        if line.kind == "cut" and wiring.nodes[line.dst].phase == FORWARD:
            t = wiring.nodes[line.dst].t
            if t is not None:
                found.add((t, max((c.run for c in wiring.path(line.dst)), default=0)))
    return found


def reach(wiring: Wiring) -> tuple[int, int, int]:
    """(the most steps in a row that a gradient passes, the most steps of a loop, the number of cuts).

    A running sum, such as a loss, is no path from step to step. A loop that is run again from its last state
    continues the count.
    """
    loops, nodes = loops_of(wiring.paths), wiring.nodes
    again = _gone_through_again(set(loops.values()))
    chains: dict[tuple[Loop, int], int] = {}
    steps: dict[Loop, set[int]] = {}
    ended: dict[
        int, dict[Loop, int]
    ] = {}  # the lengths of the paths that lead out of loops, by the op behind them
    for n in wiring.ops():
        if n.phase != FORWARD or not n.wants or n.id in wiring.sums:
            continue
        loop = loops.get(n.id) if n.t is not None else None
        if loop is None and not again:
            continue
        longest, out = 0, dict[Loop, int]()
        for line in wiring.into.get(n.id, ()):
            if not nodes[line.src].wants or line.src in wiring.sums or line.kind == "cut":
                continue
            of = loops.get(line.src)
            before = chains.get((of, nodes[line.src].t or 0), 0) if of is not None else 0
            if line.kind == "state" and loop is not None:
                longest = max(longest, before)
            elif again:
                found = {again[of]: before} if of in again else ended.get(line.src, {})
                if loop in again and of != loop:
                    longest = max(longest, found.get(again[loop], 0))
                out |= {key: max(length, out.get(key, 0)) for key, length in found.items()}
        if loop is None:
            ended[n.id] = out
        elif n.t is not None:
            steps.setdefault(loop, set()).add(n.t)
            chains[loop, n.t] = max(chains.get((loop, n.t), 1), longest + 1)
    far, most = max(chains.values(), default=0), max(map(len, steps.values()), default=0)
    return far, most, len(cut_places(wiring))


def _gone_through_again(loops: set[Loop]) -> dict[Loop, Path]:
    """The loops of scopes that run more than once, with what those of one scope share."""
    plain = {loop: tuple(c._replace(run=0) for c in loop[0]) for loop in loops}
    times = Counter(plain.values())
    return {loop: path for loop, path in plain.items() if times[path] > 1}


def reach_line(wiring: Wiring) -> str:
    """`gradient reaches at most 16 steps back; 3 cuts`, or nothing where no gradient goes through time."""
    if not any(line.kind in ("state", "cut") for line in wiring.lines):
        return ""
    far, steps, cuts = reach(wiring)
    if steps < 2:
        return ""
    if far >= steps and not cuts:
        return f"gradient reaches back through all {far} steps; no cuts"
    said = f"{cuts or 'no'} cut{'s' * (cuts != 1)}"
    return f"gradient reaches at most {far} step{'s' * (far != 1)} back; {said}"


def add_grounds(graph: Graph) -> None:
    """Mark in the backward pass where it ends early: at each cut of the forward pass, behind the step that it guards.

    The mark is a node that no arithmetic belongs to, GROUND, at the last op of that step's backward pass.
    """
    known = graph.by_id()
    readers: dict[int, list[Node]] = {}
    for e in graph.edges:
        readers.setdefault(e.src, []).append(known[e.dst])
    places: dict[Any, Any] = {}  # of the forward pass, with the shape of what is cut
    for e in graph.edges:
        if e.kind == "cut":
            into = (
                [known[e.dst]]
                if known[e.dst].op != "cut" and not known[e.dst].is_leaf
                else readers.get(e.dst, [])
            )
            shape = known[e.src].shape
            places |= {(n.path, n.t): shape for n in into if n.phase == FORWARD and n.t is not None}
    # What most others read is the gradient that would have gone on. Of a scope that is gone through again, with the
    # same steps again, the last is marked.
    last: dict[Any, Node] = {}
    most: dict[Any, tuple[bool, int]] = {}
    for n in graph.nodes:
        place = n.path, n.t
        if n.phase == BACKWARD and place in places:
            inside = sum((r.path, r.t, r.phase) == (*place, BACKWARD) for r in readers.get(n.id, ()))
            fits = n.shape == places[place], inside
            if fits >= most.get(place, fits):
                last[place], most[place] = n, fits
    ends = [last[place] for place in sorted(places, key=lambda p: (p[1] or 0, p[0])) if place in last]
    number = max((n.id for n in graph.nodes), default=0) + 1
    marks = [Node(number + i, GROUND, "gradient stops", "", n.path, n.t, DATA) for i, n in enumerate(ends)]
    graph.nodes[:0] = marks
    graph.edges += [Edge(mark.id, n.id, "cut") for mark, n in zip(marks, ends, strict=True)]
