"""The four levels: which ops share a box where a model, its cells, its gates or its ops are shown.

    op      every op by itself
    gate    an op with what is done to its one result before it is used; an inner scope of a time step
    cell    a time step of a layer; outside of loops a module
    model   the modules of the model

A box holds ops that ran one right after the other, so that no line can lead out of it and in again.
"""

from __future__ import annotations

from typing import Any

from tinygrad_seq.engine.op import OPS
from tinygrad_seq.viz.fold.folder import Folder
from tinygrad_seq.viz.fold.group import CHAIN, Box
from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.labels import POINTWISE
from tinygrad_seq.viz.graph.model import GROUP, MOVES, Node
from tinygrad_seq.viz.graph.recurrent_states import crowded

HANDED = ("cut", "state", "total")


def boxes(folder: Folder, level: str) -> dict[int, Box]:
    """By op, the box that it is in; ops without a box are left out."""
    found: dict[int, Box] = {}
    wiring = folder.wiring
    shared = _shared_prefix(folder) if level == "model" else 0
    whole_cells = crowded(wiring, folder.rolled)
    loops = {step[:-1] for step in map(step_of, wiring.paths.values()) if step} if level == "cell" else set()
    last: tuple[Any, Box] | None = None
    for n in wiring.ops():
        head = wiring.sums.get(n.id)
        if head is not None:
            found[n.id] = _sum_box(folder, head)
            continue
        path = folder.rolled.get(folder.aliases.get(n.id, n.id), wiring.path(n.id))
        key = _key(folder, n, path, level, shared, whole_cells)
        if key is None:
            last = None
            if n.id in folder.boxes and not _is_open(folder, n):
                found[n.id] = folder.boxes[n.id]
            continue
        if folder.aliases.get(n.id, n.id) != n.id:
            continue  # it belongs to the op that stands for it
        if last is None or last[0] != key:
            last = key, Box((GROUP, n.id), GROUP, _label(key), key if key in loops else _outside(key))
        found[n.id] = last[1]
    if level == "gate":
        _join_chains(folder, found)
    return found


def _is_open(folder: Folder, n: Node) -> bool:
    return folder.wish.expand.takes(n, folder.wiring.path(n.id))


def _key(folder: Folder, n: Node, path: Path, level: str, shared: int, whole_cells: set[Path]) -> Path | None:
    """The box whose ops this one joins, as the path to it; None for an op, or a fold, by itself."""
    if _is_open(folder, n):
        return None
    asked = folder.wish.collapse.depth(n, path)
    key = _key_at(level, path, shared, whole_cells)
    if asked >= 0 and (key is None or asked < len(key)):
        key = path[:asked]
    # A fold is a box too: of two boxes, one in the other, the larger one is drawn.
    inside = n.id in folder.boxes and (key is None or len(key) >= folder.depths[n.id])
    return None if inside else key


def _key_at(level: str, path: Path, shared: int, whole_cells: set[Path]) -> Path | None:
    if level == "op":
        return None
    step = step_of(path)
    if level == "gate":
        return path if step is not None and len(path) > len(step) else None
    if level == "model" and any(c.kind == "scope" for c in path) and path[0].kind != "step":
        return path[: max(1, _first_step(path, shared + 1))]
    if step is None:
        whole = [i for i in range(1, len(path)) if path[:i] in whole_cells]
        return path[: whole[0]] if whole else path
    return step if step in whole_cells else path[: len(step) + 1]


def _first_step(path: Path, most: int) -> int:
    """How many boxes to keep of a path: `most`, but none inside a time step."""
    phase = int(path[0].kind == "phase")
    steps = [i for i, c in enumerate(path) if c.kind == "step"]
    return min([most + phase, len(path), *steps[:1]])


def _shared_prefix(folder: Folder) -> int:
    """How many outer scopes hold all ops that are in any scope: such as the model's own."""
    paths = [n.path for n in folder.wiring.ops() if n.path]
    if not paths:
        return 0
    least, most = min(paths), max(paths)
    same = 0
    for a, b in zip(least, most, strict=False):
        if a != b:
            break
        same += 1
    return same


def _label(path: Path) -> str:
    named = [c.label for c in path if c.kind == "scope"]
    return named[-1] if named else "step" if path and path[-1].kind == "step" else ""


def _outside(path: Path) -> Path:
    """Where a box stands: in its time step, or in what is around its scope."""
    return (
        path if path and path[-1].kind == "step" else path[:-1] if path and path[-1].kind == "scope" else path
    )


def _sum_box(folder: Folder, head: int) -> Box:
    """Where all parts of a sum meet: outside of the steps that they come from."""
    known = folder.sum_boxes
    if head not in known:
        paths = [folder.wiring.path(a) for a, h in folder.wiring.sums.items() if h == head]
        same = 0
        for level in zip(*paths, strict=False):
            if any(c != level[0] for c in level):
                break
            same += 1
        known[head] = Box(("sum", head), "sum", "+", paths[0][:same])
    return known[head]


# ---- gates -----------------------------------------------------------------------------------------------
def _join_chains(folder: Folder, found: dict[int, Box]) -> None:
    """An op of one operand joins the op before it where that is done for it alone."""
    wiring = folder.wiring
    chains: dict[int, Box] = {}
    for n in wiring.ops():
        taken = n.id in found or (n.id in folder.aliases and folder.aliases[n.id] != n.id)
        before = wiring.into.get(n.id, ())
        if taken or len(before) != 1 or _is_open(folder, n):
            continue
        u = wiring.nodes[before[0].src]
        if u.is_leaf or u.id in wiring.turned or (u.id in found and u.id not in chains):
            continue
        one_reader = len(wiring.out_of.get(u.id, ())) == 1 and not u.result
        if not one_reader or wiring.path(u.id) != wiring.path(n.id) or before[0].kind in HANDED:
            continue
        single = len(wiring.into.get(u.id, ())) == 1 and _is_pointwise(u)
        if not (_is_pointwise(n) and (single or n.op in MOVES)) or _is_open(folder, u):
            continue
        path = folder.rolled.get(n.id, wiring.path(n.id))
        box = chains.get(u.id) or Box((CHAIN, u.id), GROUP, "", path)
        chains[u.id] = chains[n.id] = found[u.id] = found[n.id] = box


def _is_pointwise(n: Node) -> bool:
    op = OPS.get(n.op)
    if n.members and n.op in POINTWISE:
        return True
    return op is not None and (op.kind == "map" or n.op in MOVES) and n.op != "cut"
