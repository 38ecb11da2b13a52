"""Functions that ran op by op, such as a sigmoid, as one box each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tinygrad_seq.pictures.model import Edge, Graph, Node


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
