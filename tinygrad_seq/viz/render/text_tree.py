"""A folded graph as an indented tree, for terminals: scopes and steps with their sums, ops with their types."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from tinygrad_seq.tape.row import width
from tinygrad_seq.viz.fold.group import Folded
from tinygrad_seq.viz.graph import facts
from tinygrad_seq.viz.graph.clusters import Path
from tinygrad_seq.viz.graph.facts import printable
from tinygrad_seq.viz.graph.model import BLOCKS, GROUP, STEPS, Graph, Node
from tinygrad_seq.viz.render.lettering import shortened

_WIDEST = 60
_HEADS = ("", "type", "params", "FLOP", "kept", "gradient")


@dataclass(slots=True)
class _Line:
    depth: int
    text: str
    kind: str = ""
    params: int = 0
    flops: int = 0
    saved: int = 0
    gradient: str = ""
    last: bool = False
    nodes: list[Node] = field(default_factory=list)


def text(folded: Folded) -> str:
    """The tree, a line of totals, and how far the gradient reaches."""
    lines = _lines(folded)
    _mark_last(lines)
    names = [_stem(lines, i) + line.text for i, line in enumerate(lines)]
    columns = [
        [line.kind for line in lines],
        [facts.counted(line.params) if line.params else "" for line in lines],
        [facts.counted(line.flops) if line.flops else "" for line in lines],
        [facts.counted(line.saved, "B") if line.saved else "" for line in lines],
        [line.gradient for line in lines],
    ]
    shown = [i for i, column in enumerate(columns) if any(column)]
    widest = min(max(map(width, names), default=0), _WIDEST)
    rows = [_padded("", widest, False) + _cells([_HEADS[i + 1] for i in shown], columns, shown)]
    for r, name in enumerate(names):
        rows.append(_padded(name, widest, False) + _cells([columns[i][r] for i in shown], columns, shown))
    return "\n".join([*(row.rstrip() for row in rows), *_end(folded.graph)])


def _cells(cells: list[str], columns: list[list[str]], shown: list[int]) -> str:
    widths = [max(map(width, [*columns[i], _HEADS[i + 1]])) for i in shown]
    pairs = zip(cells, widths, shown, strict=True)
    return "".join("  " + _padded(cell, w, right=i > 0) for cell, w, i in pairs)


def _padded(cell: str, columns: int, right: bool) -> str:
    space = " " * max(0, columns - width(cell))
    return space + cell if right else cell + space


def _end(graph: Graph) -> list[str]:
    total = graph.totals
    said = [f"{total.params:,} parameters", facts.counted(total.flops, "FLOP")]
    if total.saved is not None:
        said.append(f"{facts.counted(total.saved, 'B')} kept for the backward pass")
    return ["", ", ".join(said), *([graph.note] if graph.note else [])]


def _lines(folded: Folded) -> list[_Line]:
    """The boxes and nodes in order, each box where its first node is."""
    order: list[tuple[Path, Node]] = [
        (folded.paths[n.id], n) for n in folded.graph.nodes if not n.is_leaf and n.id in folded.paths
    ]
    tree: dict[Path, list[Path | Node]] = {(): []}
    for path, node in order:
        for depth in range(1, len(path) + 1):
            if path[:depth] not in tree:
                tree[path[:depth]] = []
                tree[path[: depth - 1]].append(path[:depth])
        tree[path].append(node)
    weights = _weights(folded)
    lines: list[_Line] = []
    todo: list[tuple[int, Path | Node]] = [(0, item) for item in reversed(tree[()])]
    open_boxes: list[_Line] = []
    while todo:
        depth, item = todo.pop()
        del open_boxes[depth:]
        if isinstance(item, tuple):
            box = item[-1]
            label = {"step": f"t = {box.label}", "phase": f"{box.label} pass"}.get(
                box.kind, printable(box.label)
            )
            line = _Line(depth, shortened(label, _WIDEST))
            todo += [(depth + 1, inner) for inner in reversed(tree[item])]
        else:
            line = _Line(depth, _title(item), facts.type_of(item))
            line.gradient = facts.gradient(item)
            for one in (*open_boxes, line):
                one.params += weights.get(item.id, 0)
                one.flops += item.flops
                one.saved += item.saved or 0
        open_boxes.append(line)
        lines.append(line)
    return lines


def _weights(folded: Folded) -> dict[int, int]:
    """The parameters of each node: counted where they are first used."""
    found: dict[int, int] = {}
    owed = {n.id: n.params for n in folded.graph.nodes if n.is_leaf and n.params}
    for e in folded.graph.edges:
        if e.src in owed:
            found[e.dst] = found.get(e.dst, 0) + owed.pop(e.src)
    return found


def _title(node: Node) -> str:
    if node.op in (GROUP, STEPS, BLOCKS):
        parts = [printable(node.label)] if node.label else []
        parts += [f"\N{MULTIPLICATION SIGN}{node.count}"] if node.op == STEPS else []
        parts += [f"({node.detail})" if node.label else node.detail] if node.detail else []
    else:
        named = f"{printable(node.label)} = " if node.label else ""
        parts = [
            f"{named}{printable(node.op)}" + " ▸" * bool(node.fused),
            printable(node.detail) if node.detail else "",
        ]
    mark = f"  = {node.result}" if node.result else ""
    return shortened(" ".join(part for part in parts if part) + mark, _WIDEST)


def _mark_last(lines: list[_Line]) -> None:
    """Which line is the last of its box."""
    seen: set[int] = set()
    for line in reversed(lines):
        seen = {depth for depth in seen if depth <= line.depth}
        line.last = line.depth not in seen
        seen.add(line.depth)


def _stem(lines: list[_Line], i: int) -> str:
    """The branches left of a line; that of a box continues unless the box is the last of its parent."""
    line = lines[i]
    if not line.depth:
        return ""
    return _above(tuple(_ancestors(lines, i))) + ("└─ " if line.last else "├─ ")


def _ancestors(lines: list[_Line], i: int) -> list[bool]:
    """For each box around a line but the outermost, whether it was the last of its own."""
    found: list[bool] = []
    depth = lines[i].depth
    while depth > 1:
        i -= 1
        if lines[i].depth == depth - 1:
            depth -= 1
            found.append(lines[i].last)
    return found[::-1]


@functools.lru_cache(maxsize=256)
def _above(lasts: tuple[bool, ...]) -> str:
    return "".join("   " if last else "│  " for last in lasts)
