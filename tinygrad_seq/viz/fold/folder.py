"""Which steps and blocks of a graph are equal and drawn as one, before it is known at which level it is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tinygrad_seq.viz.fold.group import Box
from tinygrad_seq.viz.fold.select import Choice
from tinygrad_seq.viz.graph import fingerprints
from tinygrad_seq.viz.graph.clusters import Cluster, Path
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.fingerprints import Parts, runs
from tinygrad_seq.viz.graph.model import BLOCKS, STEPS, Graph, Node

LESSON = "lesson"
LONGEST_UNROLLED = 6
_FEWEST_BLOCKS = 5  # the first two and the last are drawn alone, and a single step is no run


@dataclass(frozen=True)
class Wish:
    """How a graph is to be folded."""

    level: str | None = None
    view: str = "auto"
    expand: Choice = field(default_factory=lambda: Choice("expand", ()))
    collapse: Choice = field(default_factory=lambda: Choice("collapse", ()))


class Folder:
    """What does not depend on the level: which steps and blocks are equal."""

    def __init__(self, graph: Graph, wish: Wish):
        self.wish = wish
        self.wiring = Wiring(graph, moves=wish.level != LESSON)
        self.steps = fingerprints.steps(self.wiring)
        self.boxes: dict[int, Box] = {}  # op -> the fold that it is in
        self.sum_boxes: dict[int, Box] = {}  # head of a sum -> where all parts of it meet, at any level
        self.depths: dict[int, int] = {}
        self.aliases: dict[int, int] = {}
        self.rolled: dict[int, Path] = {}
        if wish.view == "rolled":
            self._roll()
        elif wish.view != "unrolled":
            self._fold_blocks()
            self._fold_steps()

    # ---- steps -----------------------------------------------------------------------------------------
    def _fold_steps(self) -> None:
        least = LONGEST_UNROLLED if self.wish.view == "auto" else 0
        for whole, numbers in self.steps.wholes().items():
            if len(numbers) <= least:
                continue
            depth = len(whole[0]) + 1
            prints = [self.steps.signature(whole, t, lambda n: n.id, depth) for t in numbers]
            kept = {t for t in numbers if self._is_open(self.steps.members[whole, t])}
            for run in runs(numbers, prints, kept):
                told = f"{run[0]} … {run[-1]} (\N{MULTIPLICATION SIGN}{len(run)})"
                path = (*whole[0], Cluster("step", told, whole[1], run[0], len(run)))
                name = whole[0][-1].label if whole[0] and whole[0][-1].kind == "scope" else ""
                label = name or "step"
                box = Box((STEPS, path), STEPS, label, path, len(run), run[0], run[-1])
                for t in run:
                    for n in self.steps.members[whole, t]:
                        if n.id not in self.boxes:
                            self.boxes[n.id], self.depths[n.id] = box, len(path)

    def _is_open(self, members: list[Node]) -> bool:
        return any(self.wish.expand.takes(n, self.wiring.path(n.id)) for n in members)

    # ---- blocks ----------------------------------------------------------------------------------------
    def _fold_blocks(self) -> None:
        """Equal neighbours among numbered scopes, the outermost first: the blocks of a Transformer."""
        paths = list({id(path): path for path in self.wiring.paths.values()}.values())
        for depth in range(1, max(map(len, paths), default=0) + 1):
            scopes = {
                path[depth - 1].label
                for path in paths
                if len(path) >= depth and path[depth - 1].kind == "scope"
            }
            if sum(any(map(str.isdigit, label)) for label in scopes) < _FEWEST_BLOCKS:
                continue
            where, labels = self._numbered(depth)
            parts = Parts(self.wiring, where)
            for whole, numbers in parts.wholes().items():
                if len(numbers) < _FEWEST_BLOCKS:
                    continue
                prints = [
                    parts.signature(whole, i, lambda n: (n.shape, n.label.rpartition(".")[2]), depth)
                    for i in numbers
                ]
                kept = {i for i in numbers if self._is_open(parts.members[whole, i])}
                for run in runs(numbers, prints, kept):
                    first, last = labels[whole, run[0]], labels[whole, run[-1]]
                    path = whole[0]
                    label = f"{first} … {last} (\N{MULTIPLICATION SIGN}{len(run)})"
                    box = Box((BLOCKS, path, first), BLOCKS, label, path, len(run))
                    for i in run:
                        for n in parts.members[whole, i]:
                            self.boxes[n.id], self.depths[n.id] = box, depth

    def _numbered(self, depth: int) -> tuple[dict[int, tuple[Any, int]], dict[tuple[Any, int], str]]:
        """The ops in scopes with a number in their name at this depth, by stack and place in it."""
        where: dict[int, tuple[Any, int]] = {}
        labels: dict[tuple[Any, int], str] = {}
        known: dict[Path, tuple[Any, int] | None] = {}
        order: dict[Any, list[str]] = {}
        for n in self.wiring.ops():
            if n.id in self.boxes:
                continue
            path = self.wiring.path(n.id)
            if path not in known:
                known[path] = self._number(path, depth, order, labels)
            at = known[path]
            if at is not None:
                where[n.id] = at
        return where, labels

    @staticmethod
    def _number(
        path: Path, depth: int, order: dict[Any, list[str]], labels: dict[tuple[Any, int], str]
    ) -> tuple[Any, int] | None:
        if len(path) < depth or path[depth - 1].kind != "scope":
            return None
        label = path[depth - 1].label
        base = re.sub(r"\d+", "#", label)
        if base == label:
            return None
        whole = (path[: depth - 1], base, path[depth - 1].run)
        seen = order.setdefault(whole, [])
        if label not in seen:
            seen.append(label)
        number = seen.index(label)
        labels[whole, number] = label
        return whole, number

    # ---- rolled ----------------------------------------------------------------------------------------
    def _roll(self) -> None:
        """All steps of a loop that run the same ops are one cell: each op stands for those in its place."""
        for whole, numbers in self.steps.wholes().items():
            kinds: dict[Any, list[int]] = {}
            for t in numbers:
                ops = tuple((n.op, n.shape) for n in self.steps.members[whole, t])
                kinds.setdefault(ops, []).append(t)
            for same in kinds.values():
                first = self.steps.members[whole, same[0]]
                told = (
                    f"{same[0]} … {same[-1]} (\N{MULTIPLICATION SIGN}{len(same)})"
                    if len(same) > 1
                    else str(same[0])
                )
                box = Cluster("step", told, whole[1], same[0], len(same))
                depth = len(whole[0])
                for n in first:
                    path = self.wiring.path(n.id)
                    self.rolled[n.id] = (*path[:depth], box, *path[depth + 1 :])
                for t in same:
                    for n, model in zip(self.steps.members[whole, t], first, strict=True):
                        self.aliases[n.id] = model.id
