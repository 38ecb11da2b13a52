"""What is drawn: nodes in boxes, and edges between them. Not yet in anyone's language.

Values flow down. The steps of a loop stand side by side, time running to the right, joined by what they hand
on. Leaves stand beside their uses, once for each box, so that no line crosses the picture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tinygrad_seq.listing import line
from tinygrad_seq.pictures import look
from tinygrad_seq.pictures.look import Attributes
from tinygrad_seq.pictures.places import Path, places, step_of
from tinygrad_seq.tape import Row, Tape

# A line from step to step that climbs this many levels is led through the gap between them.
_STEEP = 3


@dataclass(slots=True)
class Edge:
    """A line from node to node."""

    tail: str
    head: str
    look: Attributes


@dataclass(slots=True)
class Box:
    """What stands directly in one cluster; `orders` are rows of unseen nodes that keep time steps in order."""

    nodes: dict[str, Attributes] = field(default_factory=dict)
    inner: list[Path] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)  # a leaf and the op it stands beside
    orders: list[list[str]] = field(default_factory=list)


class Scene:
    """The boxes by path, the edges, and the number of nodes that are seen."""

    def __init__(self, tape: Tape):
        self.boxes: dict[Path, Box] = {(): Box()}
        self.edges: list[Edge] = []
        self.count = 0
        self._rows = tape.rows
        self._places = places(tape)
        self._uses = Counter((self._places[row.slot], slot) for row in tape.rows for slot in row.args)
        self._steps = {step for path in self._places.values() if (step := step_of(path))}
        self._loops = Counter(step[:-1] for step in self._steps)
        self._leaves: dict[tuple[Path, int], str] = {}
        self._copies: Counter[int] = Counter()
        self._relays: dict[tuple[str, Path], str] = {}
        self._entries: dict[tuple[str, Path], str] = {}
        self._depths: dict[int, int] = {}
        self._bends: dict[tuple[str, Path], str] = {}
        outputs = list(dict.fromkeys(tape.outputs))
        self._marks = dict.fromkeys(outputs, "result")
        if len(outputs) > 1:
            self._marks = {slot: f"result {i}" for i, slot in enumerate(outputs, start=1)}
        for row in tape.rows:
            if not row.is_leaf:
                self._add_op(row)
        for slot in outputs:
            if tape.rows[slot].is_leaf and not self._copies[slot]:
                self._leaf(slot, ())
        self._hold_steps_in_order()

    def _add_op(self, row: Row) -> None:
        path, node = self._places[row.slot], f"n{row.slot}"
        self._add(path, node, row, look.op_node(row, self._rows, self._marks.get(row.slot, "")))
        step = step_of(path)
        before = [slot for slot in row.args if slot in self._places and step_of(self._places[slot]) == step]
        self._depths[row.slot] = 1 + max((self._depths[slot] for slot in before), default=0)
        names = look.argument_names(row)
        drawn = [(i, slot) for i, slot in enumerate(row.args) if self._rows[slot].op != "const"]
        beside = self._leaf_beside(path, [slot for _, slot in drawn])
        for i, slot in drawn:
            style = dict(look.CUT_OFF) if row.op == "cut" else {}
            if names and len(drawn) > 1:
                style |= look.argument_mark(names[i], slot == beside)
            if not self._rows[slot].is_leaf:
                self._join(slot, row, style)
                continue
            leaf = self._leaf(slot, path)
            self.edges.append(Edge(leaf, node, {**style, "arrowhead": "none"}))
            if slot == beside:
                self.boxes[path].pairs.append((leaf, node))

    def _leaf_beside(self, path: Path, slots: list[int]) -> int | None:
        """The argument that stands beside its op, not above it: a parameter, or data that joins the flow."""
        flows = any(not self._rows[slot].is_leaf for slot in slots)
        for slot in reversed(slots):
            row = self._rows[slot]
            if row.is_leaf and (flows or row.op == "param") and self._uses[path, slot] == 1:
                return slot
        return None

    def _join(self, slot: int, row: Row, style: Attributes) -> None:
        """An edge between ops: inside one step, from step to step, or into and out of a loop."""
        tail, head = f"n{slot}", f"n{row.slot}"
        origin, step = step_of(self._places[slot]), step_of(self._places[row.slot])
        if origin == step:
            self.edges.append(Edge(tail, head, {**style, "weight": "4"}))
        elif origin is not None and step is not None and origin[:-1] == step[:-1]:
            self._carry(slot, row, step, style)
        else:
            # Below the whole loop, not beside its last rank: else the steps may lose their order.
            leaves = {"minlen": "2"} if origin is not None and self._loops[origin[:-1]] > 1 else {}
            if step is None or self._loops[step[:-1]] < 2:
                self.edges.append(Edge(tail, head, {**style, "weight": "4", **leaves}))
                return
            relay = self._relay(tail, step[:-1], leaves)
            if self._depths[row.slot] > 1:
                relay = self._entry(relay, step)
            self.edges.append(Edge(relay, head, style))

    def _carry(self, slot: int, row: Row, step: Path, style: Attributes) -> None:
        """What one time step hands to another; where it climbs, by way of a bend in the gap between the two."""
        tail, head = f"n{slot}", f"n{row.slot}"
        if self._depths[slot] - self._depths[row.slot] < _STEEP:
            self.edges.append(Edge(tail, head, {**look.CARRIED, "constraint": "false", **style}))
            return
        bend = self._bends.get((tail, step))
        if bend is None:
            bend = self._bends[tail, step] = f"c{len(self._bends)}"
            self._box(step[:-1]).nodes[bend] = look.relay_node(joins=False)
            self.edges.append(Edge(bend, tail, {**look.CARRIED, "weight": "2", "dir": "none"}))
        # Without weight, for the bend belongs at the foot, next to where the line comes from.
        self.edges.append(Edge(bend, head, {**look.CARRIED, "weight": "0", **style}))

    def _relay(self, tail: str, loop: Path, leaves: Attributes) -> str:
        """A point above the steps where a line enters the loop; going straight in it would disorder them."""
        relay = self._relays.get((tail, loop))
        joins = relay is not None
        if relay is None:
            relay = self._relays[tail, loop] = f"r{len(self._relays)}"
            self.edges.append(Edge(tail, relay, {"weight": "4", "arrowhead": "none", **leaves}))
        self._box(loop).nodes[relay] = look.relay_node(joins)
        return relay

    def _entry(self, relay: str, step: Path) -> str:
        """A point where a line enters a step that goes on to deep inside, lest it pass between the steps."""
        entry = self._entries.get((relay, step))
        joins = entry is not None
        if entry is None:
            entry = self._entries[relay, step] = f"e{len(self._entries)}"
            self.edges.append(Edge(relay, entry, {"arrowhead": "none"}))
        self._box(step).nodes[entry] = look.relay_node(joins)
        return entry

    def _leaf(self, slot: int, path: Path) -> str:
        node = self._leaves.get((path, slot))
        if node is None:
            row, copies = self._rows[slot], self._copies[slot]
            self._copies[slot] += 1
            node = self._leaves[path, slot] = f"n{slot}_{copies}"
            mark = "" if copies else self._marks.get(slot, "")
            self._add(path, node, row, look.leaf_node(row, not copies, mark))
        return node

    def _add(self, path: Path, node: str, row: Row, attributes: Attributes) -> None:
        self.count += 1
        self._box(path).nodes[node] = {**attributes, "tooltip": look.hover(line(row, self._rows))}

    def _box(self, path: Path) -> Box:
        depth = len(path)
        while path[:depth] not in self.boxes:
            depth -= 1
        for outer in range(depth, len(path)):
            self.boxes[path[:outer]].inner.append(path[: outer + 1])
            self.boxes[path[: outer + 1]] = Box()
        return self.boxes[path]

    def _hold_steps_in_order(self) -> None:
        """Above the steps of a loop a row of unseen nodes in order of time, each tied to the top of its step.

        Graphviz has no other way to say which of two clusters stands to the left.
        """
        tops, number = self._tops(), 0
        for box in self.boxes.values():
            steps = [path for path in box.inner if path in tops]
            for run in sorted({path[-1].run for path in steps}):
                turns = sorted((p for p in steps if p[-1].run == run), key=lambda p: int(p[-1].label))
                anchors = [f"a{number + i}" for i in range(len(turns))]
                number += len(turns)
                if len(turns) > 1:
                    box.orders.append(anchors)
                    for anchor, step in zip(anchors, turns, strict=True):
                        self.edges += [Edge(anchor, top, dict(look.UNSEEN)) for top in tops[step]]

    def _tops(self) -> dict[Path, list[str]]:
        """For each time step, the nodes in it that nothing in it leads to."""
        steps = ((step_of(path), box) for path, box in self.boxes.items())
        home = {node: step for step, box in steps if step is not None for node in box.nodes}
        beside = {leaf for box in self.boxes.values() for leaf, _ in box.pairs}
        below = {e.head for e in self.edges if e.tail not in beside and home.get(e.tail) == home.get(e.head)}
        tops: dict[Path, list[str]] = {}
        for node, step in home.items():
            if node not in below and node not in beside:
                tops.setdefault(step, []).append(node)
        return tops
