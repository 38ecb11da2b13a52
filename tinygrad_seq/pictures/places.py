"""Where each row of a tape is drawn: clusters for scopes, and in the scope that loops one for each time step.

A row knows its scope path and its step, not which of the two lies inside the other. The order in which the
rows ran tells: a scope whose steps only ever rise, or only ever fall, is gone through step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinygrad_seq.tape import Row, Tape

Path = tuple["Cluster", ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One box around nodes. `run` counts the times that one scope was gone through from its first step."""

    kind: str  # "scope", "step" or "phase"
    label: str
    run: int = 0


@dataclass(slots=True)
class _Loop:
    """What is known of the steps below one scope: how they move, and the deepest scope that has them all."""

    last: int
    common: list[str]
    rises: bool = True
    falls: bool = True
    run: int = 0


def places(tape: Tape) -> dict[int, Path]:
    """By slot, the clusters that an op stands in, outermost first."""
    rows = [row for row in tape.rows if not row.is_leaf]
    loops: dict[Any, _Loop] = {}
    for row in rows:
        if row.step is not None:
            parts = _parts(row)
            for key in _prefixes(row):
                _follow(loops, key, parts, row.step)
    runs: dict[Any, _Loop] = {}
    return {row.slot: _path(row, loops, runs) for row in rows}


def _parts(row: Row) -> list[str]:
    return row.scope.split("/") if row.scope else []


def _prefixes(row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The scopes a row is in, outermost first, each with the pass."""
    parts = tuple(_parts(row))
    return ((row.phase, parts[:depth]) for depth in range(len(parts) + 1))


def _follow(loops: dict[Any, _Loop], key: Any, parts: list[str], step: int) -> None:
    loop = loops.get(key)
    if loop is None:
        loops[key] = _Loop(step, parts)
        return
    loop.rises &= step >= loop.last
    loop.falls &= step <= loop.last
    loop.last = step
    same = 0
    for mine, theirs in zip(loop.common, parts, strict=False):
        if mine != theirs:
            break
        same += 1
    loop.common = loop.common[:same]


def _path(row: Row, loops: dict[Any, _Loop], runs: dict[Any, _Loop]) -> Path:
    parts = _parts(row)
    depth = len(parts) if row.step is None else _loop_depth(row, loops)
    run = 0 if depth is not None and row.step is not None else _run_of(row, runs)
    clusters = [Cluster("scope", part) for part in parts]
    if run and clusters:
        clusters[-1] = Cluster("scope", parts[-1], run)
    if row.step is not None:
        clusters.insert(
            len(parts) if depth is None else depth, Cluster("step", str(row.step), 0 if parts else run)
        )
    if row.phase != "forward":
        clusters.insert(0, Cluster("phase", row.phase))
    return tuple(clusters)


def _loop_depth(row: Row, loops: dict[Any, _Loop]) -> int | None:
    for key in _prefixes(row):
        if loops[key].rises or loops[key].falls:
            return len(loops[key].common)
    return None


def _run_of(row: Row, runs: dict[Any, _Loop]) -> int:
    """How often its scope was gone through before: a layer used on two sequences is drawn twice."""
    key = (row.phase, row.scope)
    if row.step is None:
        return runs[key].run if key in runs else 0
    loop = runs.setdefault(key, _Loop(row.step, []))
    loop.run += row.step < loop.last if row.phase == "forward" else row.step > loop.last
    loop.last = row.step
    return loop.run


def step_of(path: Path) -> Path | None:
    """The innermost time step that a path lies in, as the path to it; the loop is one shorter."""
    for depth in range(len(path), 0, -1):
        if path[depth - 1].kind == "step":
            return path[:depth]
    return None
