"""The scene of a picture: nodes in boxes, and edges between them, independent of the output language.

Values flow down. The steps of a loop are side by side, time runs to the right, and states join them. Leaves
are beside their uses, once for each box, so that no line crosses the picture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tinygrad_seq.viz.fold.group import Folded
from tinygrad_seq.viz.graph import facts
from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.cuts import GROUND
from tinygrad_seq.viz.graph.model import DATA, GROUP, STEPS, Node
from tinygrad_seq.viz.graph.model import Edge as Line
from tinygrad_seq.viz.render import rows
from tinygrad_seq.viz.render import style as look
from tinygrad_seq.viz.render import truncation_windows as windows
from tinygrad_seq.viz.render.boxes import Box, Edge
from tinygrad_seq.viz.render.colors import Scale
from tinygrad_seq.viz.render.lettering import hover
from tinygrad_seq.viz.render.style import Attributes

# A line from step to step that climbs this many levels is led through the gap between them.
_STEEP = 3


class Scene:
    """The boxes by path, the edges, and the number of visible nodes; `caption` is the text under the picture."""

    def __init__(self, folded: Folded, colored: bool = False):
        self.boxes: dict[Path, Box] = {(): Box()}
        self.edges: list[Edge] = []
        self.count = 0
        self._nodes = folded.graph.by_id()
        self._places = folded.paths
        self._scale = Scale(folded.graph.nodes) if colored else None
        self._into: dict[int, list[Line]] = {}
        for e in folded.graph.edges:
            self._into.setdefault(e.dst, []).append(e)
        self._uses = Counter((self._places.get(e.dst), e.src) for e in folded.graph.edges)
        self._steps = {step for path in self._places.values() if (step := step_of(path))}
        # Alone, the backward pass runs from the last step to the first; beside the forward pass, time keeps its
        # direction.
        self._backwards = all(step[0].kind == "phase" for step in self._steps)
        self._loops = Counter(step[:-1] for step in self._steps)
        self._leaves: dict[tuple[Path, int], str] = {}
        self._copies: Counter[int] = Counter()
        self._relays: dict[tuple[str, Path], str] = {}
        self._entries: dict[tuple[str, Path], str] = {}
        self._depths: dict[int, int] = {}
        self._bends: dict[tuple[str, Path], str] = {}
        self._deepest: Counter[Path] = Counter()
        ops = [node for node in folded.graph.nodes if not node.is_leaf]
        for node in ops:
            self._measure(node)
        for node in ops:
            self._add_op(node)
        for slot in dict.fromkeys(folded.graph.outputs):
            if self._nodes[slot].is_leaf and not self._copies[slot]:
                self._leaf(slot, ())
        self._hold_steps_in_order()
        levels = [(node, self._places[node.id], self._depths[node.id]) for node in ops]
        rows.order_gates(self.boxes, levels)
        rows.order_equal_steps(self.boxes, self.edges, levels, self._loops, set(self._bends.values()))
        rows.join_labels(self.edges)
        windows.enclose(self.boxes, folded.graph, self._places)
        self.caption = look.caption([folded.graph.note], self._scale.legend() if self._scale else "")

    def _measure(self, node: Node) -> None:
        """How many levels down it stands in its step."""
        step = step_of(self._places[node.id])
        before = [e.src for e in self._into.get(node.id, ()) if e.src in self._depths]
        inside = [self._depths[slot] for slot in before if step_of(self._places[slot]) == step]
        self._depths[node.id] = depth = 1 + max(inside, default=0)
        if step is not None:
            self._deepest[step[:-1]] = max(self._deepest[step[:-1]], depth)

    def _add_op(self, node: Node) -> None:
        path, name = self._places[node.id], f"n{node.id}"
        edges = self._into.get(node.id, [])
        names = look.argument_names(node, edges, self._nodes)
        self._add(path, name, node, look.op_node(node, self._scale, names))
        beside = self._leaf_beside(path, [e.src for e in edges], node.op in (GROUP, STEPS))
        for e in edges:
            style = look.edge_look(e, self._nodes[e.src], node)
            if e.arg in names:
                style |= {"headport": f"p{e.arg}" if e.src == beside else f"p{e.arg}:n"}
            if not self._nodes[e.src].is_leaf:
                self._join(e, node, style)
                continue
            leaf = self._leaf(e.src, path)
            if self._nodes[e.src].op == GROUND:
                self.edges.append(Edge(name, leaf, style))
                continue
            self.edges.append(Edge(leaf, name, {"arrowhead": "none", **style}))
            if e.src == beside:
                self.boxes[path].pairs.append((leaf, name))

    def _leaf_beside(self, path: Path, slots: list[int], boxed: bool) -> int | None:
        """The argument that stands beside its op, not above it: a parameter, or data that joins the flow."""
        flows = any(not self._nodes[slot].is_leaf for slot in slots)
        for slot in reversed(slots):
            node = self._nodes[slot]
            if step_of(path) and (node.count > 1 or (node.phase == DATA and boxed)):
                continue  # above, for steps that stand side by side must be narrow
            if node.is_leaf and (flows or node.op == "param") and self._uses[path, slot] == 1:
                return slot
        return None

    def _join(self, e: Line, node: Node, style: Attributes) -> None:
        """An edge between ops: inside one step, from step to step, or into and out of a loop."""
        tail, head = f"n{e.src}", f"n{e.dst}"
        origin, step = step_of(self._places[e.src]), step_of(self._places[e.dst])
        if e.back and origin == step:  # a rolled loop's way back to its own start
            mark = {"label": f"\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}t\N{MINUS SIGN}{e.back}", "fontsize": "9"}
            if style.get("label"):
                said = style.pop("label").strip("<>").removeprefix("i>").removesuffix("</i")
                mark["label"] = f"{mark['label']} {said}"
            if tail != head and "headlabel" not in style:
                mark = {
                    "headlabel": mark["label"],
                    "labeldistance": "2.2",
                    "labelangle": "-40",
                    "tailport": "ne",
                    "headport": style.get("headport", "e"),
                }
            self.edges.append(Edge(tail, head, {**mark, **style, "constraint": "false"}))
        elif origin == step:
            self.edges.append(Edge(tail, head, {**style, "weight": "4"}))
        elif origin is not None and step is not None and origin[:-1] == step[:-1]:
            self._carry(e.src, node, step, style)
        else:
            # Below the whole loop, not beside its last rank: else the steps may lose their order.
            leaves = {}
            if origin is not None and self._loops[origin[:-1]] > 1:
                below = self._deepest[origin[:-1]] - self._depths.get(e.src, 1)
                leaves = {"minlen": str(2 + max(0, below))}
            if step is None or self._loops[step[:-1]] < 2:
                self.edges.append(Edge(tail, head, {**style, "weight": "4", **leaves}))
                return
            relay = self._relay(tail, step[:-1], leaves)
            if self._depths[node.id] > 1:
                relay = self._entry(relay, step)
            self.edges.append(Edge(relay, head, style))

    def _carry(self, slot: int, node: Node, step: Path, style: Attributes) -> None:
        """Draw the state that one time step passes to another; an upward line bends in the gap between the two."""
        tail, head = f"n{slot}", f"n{node.id}"
        if self._depths.get(slot, 0) - self._depths[node.id] < _STEEP:
            self.edges.append(Edge(tail, head, {**look.CARRIED, "constraint": "false", **style}))
            return
        bend = self._bends.get((tail, step))
        drawn = {name: style[name] for name in ("color", "style", "penwidth") if name in style}
        if bend is None:
            bend = self._bends[tail, step] = f"c{len(self._bends)}"
            self._box(step[:-1]).nodes[bend] = look.relay_node(joins=False)
            self.edges.append(Edge(bend, tail, look.CARRIED | drawn | {"weight": "2", "dir": "none"}))
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
        """A point where a line to a deep node enters its step, so that the line does not pass between the steps."""
        entry = self._entries.get((relay, step))
        joins = entry is not None
        if entry is None:
            entry = self._entries[relay, step] = f"e{len(self._entries)}"
            self.edges.append(Edge(relay, entry, {"arrowhead": "none"}))
        self._box(step).nodes[entry] = look.relay_node(joins)
        return entry

    def _leaf(self, slot: int, path: Path) -> str:
        name = self._leaves.get((path, slot))
        if name is None:
            node, copies = self._nodes[slot], self._copies[slot]
            self._copies[slot] += 1
            name = self._leaves[path, slot] = f"n{slot}_{copies}"
            self._add(
                path, name, node, look.leaf_node(self._short(node, path), not copies, self._scale is not None)
            )
        return name

    @staticmethod
    def _short(node: Node, path: Path) -> Node:
        """A parameter's name without the part that the boxes around it already show: `layers.0.norm1.weight`."""
        scopes = [c.label for c in path if c.kind == "scope"]
        names = (".".join(scopes[i:j]) + "." for i in range(len(scopes)) for j in range(len(scopes), i, -1))
        for around in names:
            if node.op == "param" and node.label.startswith(around):
                return replace(node, label=node.label.removeprefix(around))
        return node

    def _add(self, path: Path, name: str, node: Node, attributes: Attributes) -> None:
        self.count += 1
        self._box(path).nodes[name] = {**attributes, "tooltip": hover("\n".join(facts.facts(node)))}

    def _box(self, path: Path) -> Box:
        depth = len(path)
        while path[:depth] not in self.boxes:
            depth -= 1
        for outer in range(depth, len(path)):
            self.boxes[path[:outer]].inner.append(path[: outer + 1])
            self.boxes[path[: outer + 1]] = Box()
        return self.boxes[path]

    def _hold_steps_in_order(self) -> None:
        """Put a row of invisible nodes in order of time above the steps of a loop, each tied to the top of its step.

        Graphviz has no other way to order clusters from left to right.
        """
        tops, number = self._tops(), 0
        for box in self.boxes.values():
            steps = [path for path in box.inner if path in tops]
            for run in sorted({path[-1].run for path in steps}):
                turns = sorted((p for p in steps if p[-1].run == run), key=lambda p: p[-1].first)
                if self._backwards:
                    turns.reverse()
                anchors = [f"a{number + i}" for i in range(len(turns))]
                number += len(turns)
                if len(turns) > 1:
                    box.orders.append(anchors)
                    roomy = any("_" in top for step in turns for top in tops[step])
                    if roomy:
                        self._lift([node for node in box.nodes if node[0] == "r"])
                    for anchor, step in zip(anchors, turns, strict=True):
                        self._hold(anchor, step, tops[step], roomy)

    def _lift(self, relays: list[str]) -> None:
        """Keep the points where lines enter a loop above its steps, not between them."""
        lifted = set(relays)
        for e in self.edges:
            if e.tail in lifted:
                e.look = {**e.look, "minlen": "2"}

    def _hold(self, anchor: str, step: Path, tops: list[str], roomy: bool) -> None:
        """Tie a step to its anchor; in a loop with data above some step's ops, through an invisible node there.

        So the ops of all steps are level. A box for several steps must not float between two levels.
        """
        hold = {**look.UNSEEN, **({"weight": "50"} if step[-1].times > 1 else {})}
        under = anchor
        if roomy:
            under = f"s{anchor[1:]}"
            self.boxes[step].nodes[under] = {**look.UNSEEN_NODE, "tooltip": ""}
            self.edges.append(Edge(anchor, under, hold))
        for top in tops:
            self.edges.append(Edge(anchor if "_" in top else under, top, hold))
        if step[-1].times > 1:
            # As deep as its neighbours, or the order of the two is lost.
            last = next((top for top in tops if "_" not in top), tops[0])
            for depth in range(2, self._deepest[step[:-1]] + 1):
                below = f"b{anchor[1:]}_{depth}"
                self.boxes[step].nodes[below] = {**look.UNSEEN_NODE, "tooltip": ""}
                self.edges.append(Edge(last, below, dict(look.UNSEEN)))
                last = below

    def _tops(self) -> dict[Path, list[str]]:
        """For each time step, the nodes in it that nothing in it leads to."""
        steps = ((step_of(path), box) for path, box in self.boxes.items())
        home = {node: step for step, box in steps if step is not None for node in box.nodes}
        beside = {leaf for box in self.boxes.values() for leaf, _ in box.pairs}
        inside = [e for e in self.edges if e.tail not in beside and home.get(e.tail) == home.get(e.head)]
        below = {e.head for e in inside if "_" not in e.tail and e.look.get("constraint") != "false"}
        tops: dict[Path, list[str]] = {}
        for node, step in home.items():
            if node not in below and node not in beside:
                tops.setdefault(step, []).append(node)
        return tops
