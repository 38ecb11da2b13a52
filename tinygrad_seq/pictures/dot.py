"""A tape as DOT text: a node for each op, boxes around scopes and time steps, leaves beside their uses.

Values flow down; the steps of a loop stand side by side, time running to the right, joined by what they hand on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tinygrad_seq.listing import line
from tinygrad_seq.pictures import look
from tinygrad_seq.pictures.look import Attributes
from tinygrad_seq.pictures.places import Path, loop_of, places
from tinygrad_seq.tape import Row, Tape


@dataclass(slots=True)
class Edge:
    """A line from node to node."""

    tail: str
    head: str
    look: Attributes


@dataclass(slots=True)
class Box:
    """What is drawn directly in one cluster, and the clusters inside it."""

    nodes: dict[str, Attributes] = field(default_factory=dict)
    inner: list[Path] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)  # (leaf, op) side by side
    row: list[str] = field(default_factory=list)  # unseen nodes that keep time steps in order


class Drawing:
    """The nodes and edges of a picture, by cluster."""

    def __init__(self, tape: Tape):
        self.tape = tape
        self.places = places(tape)
        self.boxes: dict[Path, Box] = {(): Box()}
        self.edges: list[Edge] = []
        self.count = 0
        self._leaves: dict[tuple[int, Path], str] = {}
        self._copies: dict[int, int] = {}
        self._relays: dict[tuple[str, Path], str] = {}
        outputs = list(dict.fromkeys(tape.outputs))
        self._marks = {
            slot: "result" if len(outputs) == 1 else f"result {i}" for i, slot in enumerate(outputs, start=1)
        }
        for row in tape.rows:
            if not row.is_leaf:
                self._add_op(row)
        for slot in outputs:
            if tape.rows[slot].is_leaf and slot not in self._copies:
                self._leaf(slot, ())
        self._keep_steps_in_order()

    def _add_op(self, row: Row) -> None:
        path, node, rows = self.places[row.slot], f"n{row.slot}", self.tape.rows
        self._add(path, node, row, look.op_node(row, rows, self._marks.get(row.slot, "")))
        names = look.argument_names(row)
        drawn = [(i, slot) for i, slot in enumerate(row.args) if rows[slot].op != "const"]
        beside = self._beside(row, [slot for _, slot in drawn])
        for i, slot in drawn:
            style = dict(look.CUT_OFF) if row.op == "cut" else {}
            if names and len(drawn) > 1:
                style |= look.argument_mark(names[i], slot == beside)
            if rows[slot].is_leaf:
                leaf = self._leaf(slot, path)
                self.edges.append(Edge(leaf, node, {**style, "arrowhead": "none"}))
                if slot == beside:
                    self.boxes[path].pairs.append((leaf, node))
            else:
                self._join(slot, row, style)

    def _beside(self, row: Row, slots: list[int]) -> int | None:
        """The leaf that stands beside the op rather than above it; the others, and those used elsewhere, above."""
        rows = self.tape.rows
        leaves = [slot for slot in slots if rows[slot].is_leaf and slots.count(slot) == 1]
        if len(slots) == len(leaves):
            leaves = [slot for slot in leaves if rows[slot].op == "param"]
        leaves = [slot for slot in leaves if self._uses_here(row)[slot] == 1]
        return leaves[-1] if leaves else None

    def _uses_here(self, row: Row) -> dict[int, int]:
        """How often each leaf is used in the cluster of this row."""
        if not hasattr(self, "_uses"):
            self._uses: dict[Path, dict[int, int]] = {}
            for other in self.tape.rows:
                if not other.is_leaf:
                    uses = self._uses.setdefault(self.places[other.slot], {})
                    for slot in other.args:
                        uses[slot] = uses.get(slot, 0) + 1
        return self._uses[self.places[row.slot]]

    def _join(self, slot: int, row: Row, style: Attributes) -> None:
        """An edge between ops: within a step, on to another step, or from outside into a loop by way of a relay."""
        tail, head = f"n{slot}", f"n{row.slot}"
        source, target = self.places[slot], self.places[row.slot]
        loop, step = loop_of(target)
        if loop is None or source[: len(loop) + 1] == target[: len(loop) + 1]:
            self.edges.append(Edge(tail, head, {**style, "weight": "4"}))
        elif loop_of(source)[0] == loop:
            self.edges.append(Edge(tail, head, {**style, **look.CARRIED}))
        else:
            relay = self._relays.get((tail, loop))
            if relay is None:
                relay = self._relays[tail, loop] = f"r{len(self._relays)}"
                self._box(loop).nodes[relay] = look.relay_node(joins=False)
                self.edges.append(Edge(tail, relay, {"weight": "4", "arrowhead": "none"}))
            else:
                self.boxes[loop].nodes[relay] = look.relay_node(joins=True)
            self.edges.append(Edge(relay, head, style))

    def _leaf(self, slot: int, path: Path) -> str:
        """The node of a leaf in this cluster; each cluster has its own, so that no edge crosses the picture."""
        node = self._leaves.get((slot, path))
        if node is None:
            row, copies = self.tape.rows[slot], self._copies.get(slot, 0)
            self._copies[slot] = copies + 1
            node = self._leaves[slot, path] = f"n{slot}_{copies}"
            mark = "" if copies else self._marks.get(slot, "")
            self._add(path, node, row, look.leaf_node(row, not copies, mark))
        return node

    def _add(self, path: Path, node: str, row: Row, attributes: Attributes) -> None:
        self.count += 1
        self._box(path).nodes[node] = {**attributes, "tooltip": line(row)}

    def _box(self, path: Path) -> Box:
        depth = len(path)
        while path[:depth] not in self.boxes:
            depth -= 1
        for outer in range(depth, len(path)):
            self.boxes[path[:outer]].inner.append(path[: outer + 1])
            self.boxes[path[: outer + 1]] = Box()
        return self.boxes[path]

    def _keep_steps_in_order(self) -> None:
        """Above the steps of each loop a row of unseen nodes in order of time, each tied to the tops of its step."""
        tops = self._tops()
        for box in self.boxes.values():
            steps = [path for path in box.inner if path[-1].kind == "step"]
            if len(steps) > 1:
                steps.sort(key=lambda path: (path[-1].run, int(path[-1].label)))
                for path in steps:
                    anchor = f"a{self._copies.setdefault(-1, 0)}"
                    self._copies[-1] += 1
                    box.row.append(anchor)
                    # Graphviz has no way to say it; three lines count for more than those that pull apart.
                    ties = [Edge(anchor, top, dict(look.UNSEEN)) for top in tops.get(path, ())]
                    self.edges.extend(tie for tie in ties for _ in range(3))
