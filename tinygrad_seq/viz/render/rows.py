"""The order of nodes side by side in a time step: the same in every step, so that equal steps look equal.

Graphviz lays out each step separately, and might mirror one of two equal ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.labels import GATES
from tinygrad_seq.viz.graph.model import Node
from tinygrad_seq.viz.render.boxes import Box, Edge

Level = tuple[Node, Path, int]  # an op, the boxes around it, how many levels down it stands in its step


def order_gates(boxes: Mapping[Path, Box], levels: list[Level]) -> None:
    """Give the gates on one level the same order in every step."""
    rows: dict[tuple[Path, int], list[Node]] = {}
    paired = {name for box in boxes.values() for pair in box.pairs for name in pair}
    for n, path, depth in levels:
        if n.label in GATES and f"n{n.id}" not in paired:
            rows.setdefault((path, depth), []).append(n)
    for (path, _), gates in rows.items():
        if len(gates) > 1:
            order = sorted(gates, key=lambda n: GATES.index(n.label))
            boxes[path].orders.append([f"n{n.id}" for n in order])


def order_equal_steps(
    boxes: Mapping[Path, Box],
    edges: list[Edge],
    levels: list[Level],
    loops: Mapping[Path, int],
    bends: set[str],
) -> None:
    """In all steps of a loop what stands on one level has one order: what the state goes into, then the rest.

    Further down each stands under what it reads. `loops` counts the steps of each loop, `bends` are the points by way
    of which lines of a state climb. A leaf that stands beside its op stays there.
    """
    rows: dict[tuple[Path, int], list[Node]] = {}
    for n, path, depth in levels:
        step = step_of(path)
        if step is not None and loops[step[:-1]] > 1 and n.label not in GATES:
            rows.setdefault((path, depth), []).append(n)
    heads = {e.head for e in edges if e.look.get("constraint") == "false" or e.tail in bends}
    # By its kind, for in the first step it gets no state from a step before.
    carried = {(depth, n.op) for (_, depth), row in rows.items() for n in row if f"n{n.id}" in heads}
    above: dict[str, list[str]] = {}
    for e in edges:
        above.setdefault(e.head, []).append(e.tail)
    place: dict[str, int] = {}
    for (path, depth), row in sorted(rows.items(), key=lambda item: item[0][1]):
        keys = {}
        for n in row:
            tails = [place[tail] for tail in above.get(f"n{n.id}", ()) if tail in place]
            under = sum(tails) / len(tails) if tails else len(row) / 2
            keys[f"n{n.id}"] = ((depth, n.op) not in carried if depth == 1 else under, n.id)
        names = sorted(keys, key=keys.__getitem__)
        place |= {name: i for i, name in enumerate(names)}
        if len(names) > 1:
            box = boxes[path]
            beside = {op: leaf for leaf, op in box.pairs}
            box.orders.append([name for op in names for name in (beside.get(op), op) if name])
            box.pairs = [pair for pair in box.pairs if pair[1] not in names]


def join_labels(edges: list[Edge]) -> None:
    """Lines of a state that coincide get one label: `h, C`."""
    lines: dict[tuple[str, str], list[Edge]] = {}
    for e in edges:
        if e.look.get("constraint") == "false" and "label" in e.look:
            lines.setdefault((e.tail, e.head), []).append(e)
    for first, *others in lines.values():
        if others:
            said = [e.look["label"].removeprefix("<<i>").removesuffix("</i>>") for e in (first, *others)]
            first.look = {**first.look, "label": f"<<i>{', '.join(dict.fromkeys(said))}</i>>"}
            for e in others:
                e.look = {k: v for k, v in e.look.items() if k != "label"}
