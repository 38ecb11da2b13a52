"""Functions that ran op by op, such as a sigmoid, as one box each; results without what only lays them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tinygrad_seq.viz.graph.model import Edge, Graph, Node

_ENDS = ("reshape", "permute", "expand", "cast", "concat")


def closed(graph: Graph, is_open: Callable[[Node], bool]) -> Graph:
    """The graph with each function as one node that lists its ops, but for those that `is_open` says yes to."""
    groups: dict[str, list[Node]] = {}
    for n in graph.nodes:
        if n.inside:
            groups.setdefault(n.inside, []).append(n)
    home: dict[int, int] = {}
    boxes: dict[int, Node] = {}
    for key, members in groups.items():
        name, _, last = key.rpartition("#")
        box = _box(name, int(last), [n for n in members if not n.is_leaf])
        if not is_open(box):
            boxes[box.id] = box
            home |= {n.id: box.id for n in members}
    if not boxes:
        return graph
    nodes = [boxes.get(n.id, n) for n in graph.nodes if home.get(n.id, n.id) == n.id]
    return Graph(nodes, _edges(graph, home), graph.outputs, graph.recipes, graph.note)


def _box(name: str, last: int, members: list[Node]) -> Node:
    head = next(n for n in members if n.id == last)
    saved = [n.saved for n in members if n.saved is not None]
    ops = Counter[str]()
    for n in members:
        ops.update(n.ops or {n.op: 1})
    return replace(
        head, op=name, detail="", inside="", flops=sum(n.flops for n in members),
        made=sum(n.made for n in members), saved=sum(saved) if saved else None, ops=dict(ops),
        members=tuple(m for n in members for m in n.members or (n.id,)),
    )  # fmt: skip


def _edges(graph: Graph, home: dict[int, int]) -> list[Edge]:
    """What a function reads several times leads into it once."""
    found: list[Edge] = []
    read: dict[int, list[int]] = {}
    for e in graph.edges:
        src, dst = home.get(e.src, e.src), home.get(e.dst, e.dst)
        if src == dst:
            continue
        if e.dst not in home:
            found.append(e if src == e.src else replace(e, src=src))
        elif src not in (sources := read.setdefault(dst, [])):
            found.append(replace(e, src=src, dst=dst, arg=len(sources)))
            sources.append(src)
    return found


def ended(graph: Graph) -> Graph:
    """The graph without the moves at its end: the input of a last concat or reshape is shown as the result.

    A move that is left out is counted with the last op that it read.
    """
    nodes, into, read = graph.by_id(), dict[int, list[Edge]](), Counter[int]()
    for e in graph.edges:
        into.setdefault(e.dst, []).append(e)
        read[e.src] += 1
    outputs, todo = dict.fromkeys(graph.outputs), list(graph.outputs)
    while todo:
        n = nodes[todo.pop(0)]
        ways = sorted(into.get(n.id, ()), key=lambda e: e.arg)
        sources = list(dict.fromkeys(e.src for e in ways))
        if n.op not in _ENDS or n.label or n.phase != "forward" or read[n.id] or not sources:
            continue
        if any(nodes[s].is_leaf for s in sources) or any(e.kind == "cut" for e in ways):
            continue
        del nodes[n.id], outputs[n.id]
        for s in sources:
            nodes[s] = replace(nodes[s], result=nodes[s].result or n.result)
        nodes[sources[-1]] = _with(nodes[sources[-1]], n)
        read.subtract(e.src for e in ways)
        outputs |= dict.fromkeys(sources)
        todo += sources
    edges = [e for e in graph.edges if e.dst in nodes]
    return Graph(
        [nodes[n.id] for n in graph.nodes if n.id in nodes], edges, tuple(outputs), graph.recipes, graph.note
    )


def _with(n: Node, move: Node) -> Node:
    """A node that counts a move of its result too."""
    ops = Counter(n.ops or {n.op: 1})
    ops.update(move.ops or {move.op: 1})
    saved = [m.saved for m in (n, move) if m.saved is not None]
    return replace(
        n, made=n.made + move.made, saved=sum(saved) if saved else None, ops=dict(ops),
        members=(*(n.members or (n.id,)), *(move.members or (move.id,))),
    )  # fmt: skip
