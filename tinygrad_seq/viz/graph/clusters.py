"""Where each op of a graph is drawn: boxes for scopes, and in the scope that loops one for each time step.

An op has a scope path and a step, but not which of the two lies inside the other. The order in which the ops ran
decides: a scope whose steps only rise, or only fall, is a loop over the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tinygrad_seq.viz.graph.model import Graph, Node

Path = tuple["Cluster", ...]


class Cluster(NamedTuple):
    """One box around nodes. `run` counts how often a scope was run from its first step.

    For a step `first` is its number, `times` how many equal ones it stands for.
    """

    kind: str  # "scope", "step" or "phase"
    label: str
    run: int = 0
    first: int = 0
    times: int = 1


@dataclass(slots=True)
class _Loop:
    """The steps below one scope: whether they rise or fall, and the deepest scope that holds all of them."""

    last: int
    common: tuple[str, ...]
    rises: bool = True
    falls: bool = True
    run: int = 0


def step_cluster(t: int, run: int = 0) -> Cluster:
    """The box of one time step."""
    return Cluster("step", str(t), run, t)


def places(graph: Graph) -> dict[int, Path]:
    """By id, the boxes that an op stands in, outermost first."""
    ops = [node for node in graph.nodes if not node.is_leaf]
    loops: dict[Any, _Loop] = {}
    before: Any = None
    for node in ops:
        here = node.phase, node.path, node.t
        if node.t is not None and here != before:
            before = here
            for depth in range(len(node.path) + 1):
                _follow(loops, (node.phase, node.path[:depth]), node.path, node.t)
    return _sorted_in(ops, loops)


def _sorted_in(ops: list[Node], loops: dict[Any, _Loop]) -> dict[int, Path]:
    runs: dict[Any, _Loop] = {}
    known: dict[Any, Path] = {}
    found = {}
    for node in ops:
        depth = len(node.path) if node.t is None else _loop_depth(node, loops)
        run = 0 if depth is not None and node.t is not None else _run_of(node, runs)
        key = (node.phase, node.path, node.t, run)
        path = known.get(key)
        if path is None:
            path = known[key] = _path(node, depth, run)
        found[node.id] = path
    return found


def _follow(loops: dict[Any, _Loop], key: Any, parts: tuple[str, ...], step: int) -> None:
    loop = loops.get(key)
    if loop is None:
        loops[key] = _Loop(step, parts)
        return
    loop.rises &= step >= loop.last
    loop.falls &= step <= loop.last
    loop.last = step
    if loop.common == parts:
        return
    same = 0
    for mine, theirs in zip(loop.common, parts, strict=False):
        if mine != theirs:
            break
        same += 1
    loop.common = loop.common[:same]


def _path(node: Node, depth: int | None, run: int) -> Path:
    clusters = [Cluster("scope", part) for part in node.path]
    if run and clusters:
        clusters[-1] = Cluster("scope", node.path[-1], run)
    if node.t is not None:
        at = len(node.path) if depth is None else depth
        clusters.insert(at, step_cluster(node.t, 0 if node.path else run))
    if node.phase == "backward":
        clusters.insert(0, Cluster("phase", node.phase))
    return tuple(clusters)


def _loop_depth(node: Node, loops: dict[Any, _Loop]) -> int | None:
    for depth in range(len(node.path) + 1):
        loop = loops[node.phase, node.path[:depth]]
        if loop.rises or loop.falls:
            return len(loop.common)
    return None


def _run_of(node: Node, runs: dict[Any, _Loop]) -> int:
    """How often its scope was run before: a layer used on two sequences is drawn twice."""
    key = (node.phase, node.path)
    if node.t is None:
        return runs[key].run if key in runs else 0
    loop = runs.setdefault(key, _Loop(node.t, ()))
    loop.run += node.t < loop.last if node.phase != "backward" else node.t > loop.last
    loop.last = node.t
    return loop.run


def step_of(path: Path) -> Path | None:
    """The innermost time step that a path lies in, as the path to it; the loop is one shorter."""
    for depth in range(len(path), 0, -1):
        if path[depth - 1].kind == "step":
            return path[:depth]
    return None


def loops_of(paths: Mapping[int, Path]) -> dict[int, Any]:
    """By id, the loop that an op with a time step is in: equal for all steps of one loop."""
    known: dict[Path, Any] = {}
    found = {}
    for node, path in paths.items():
        loop = known.get(path, "")
        if loop == "":
            step = step_of(path)
            loop = known[path] = None if step is None else (step[:-1], step[-1].run)
        if loop is not None:
            found[node] = loop
    return found


def scopes_in(path: Path) -> Iterator[str]:
    """The names of a box for `expand` and `collapse`: of each box in the path, from the root, joined."""
    parts: list[str] = []
    for cluster in path:
        if cluster.kind != "phase":
            parts.append(f"t{cluster.label}" if cluster.kind == "step" else cluster.label)
            yield "/".join(parts)
