"""The folded graph from the box of each op: nodes with their sums, and the edges between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_seq.viz.fold.titles import chain_name, common_detail, summary
from tinygrad_seq.viz.graph import facts
from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.model import BLOCKS, DATA, GROUP, PARAMETER, STEPS, TOTAL, Edge, Graph, Node
from tinygrad_seq.viz.graph.recurrent_states import gradient

_MOST_WEIGHTS, _MOST_MARKED = 3, 3
CHAIN = "chain"
"""The key of a box that holds an op and what is done to its result."""


@dataclass(frozen=True)
class Box:
    """A box of ops. `key` identifies it."""

    key: Any
    kind: str
    label: str
    path: Path
    count: int = 1
    t: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Folded:
    """A graph to be drawn, and by id the boxes that its nodes stand in."""

    graph: Graph
    paths: dict[int, Path]


def gathered(
    wiring: Wiring, boxes: dict[int, Box], aliases: dict[int, int], rolled: dict[int, Path]
) -> Folded:
    """The graph with the ops of each box as one node."""
    return _Gathering(wiring, boxes, aliases, rolled).done()


class _Gathering:
    def __init__(
        self, wiring: Wiring, boxes: dict[int, Box], aliases: dict[int, int], rolled: dict[int, Path]
    ):
        self.wiring, self.boxes, self.aliases, self.rolled = wiring, boxes, aliases, rolled
        self.home: dict[int, int] = {}  # op -> the node that it is in
        self.box: dict[int, Box] = {}
        self.members: dict[int, list[int]] = {}
        self.bundles: set[int] = set()
        self._sort_ops()
        self._sort_rest()

    def _sort_ops(self) -> None:
        first: dict[Any, int] = {}
        for n in self.wiring.ops():
            model = self.aliases.get(n.id, n.id)
            box = self.boxes.get(model) or self.boxes.get(n.id)
            at = first.setdefault(box.key if box else ("op", model), model)
            self.home[n.id] = at
            self.members.setdefault(at, []).append(n.id)
            if box is not None:
                self.box[at] = box
        for at in [at for at, box in self.box.items() if box.kind == GROUP and len(self.members[at]) == 1]:
            del self.box[at]

    def _sort_rest(self) -> None:
        """Place the ops without a node of their own, and leaves: data that only one box reads is one leaf."""
        wiring = self.wiring
        for op, owner in wiring.belongs.items():
            while owner in wiring.belongs:
                owner = wiring.belongs[owner]
            if owner in self.home:
                self.home[op] = self.home[owner]
            else:
                self.home[op] = op
            self.members.setdefault(self.home[op], []).append(op)
        looks: dict[Any, int] = {}
        chains: dict[int, Any] = {}
        for n in wiring.graph.nodes:
            if n.id in wiring.turned:
                source = wiring.incoming[n.id][0].src
                chains[n.id] = (chains.get(source, (source,)), n.op, n.detail, n.shape)
                if any(e.dst not in wiring.turned for e in wiring.readers[n.id]):
                    self.home[n.id] = looks.setdefault(chains[n.id], n.id)
        for n in reversed(wiring.graph.nodes):  # on the way to another look
            if n.id in wiring.turned and n.id not in self.home:
                self.home[n.id] = self.home[wiring.readers[n.id][0].dst]
        for n in wiring.graph.nodes:
            if n.id in wiring.turned:
                self.members.setdefault(self.home[n.id], []).append(n.id)
        readers: dict[int, set[int]] = {}
        for line in wiring.lines:
            src = self.home.get(line.src, line.src)
            readers.setdefault(src, set()).add(self.home.get(line.dst, line.dst))
        self._gather_weights(readers)
        alike: dict[Any, int] = {}
        key: Any
        for n in wiring.graph.nodes:
            if n.is_leaf and n.id not in self.home:
                to = readers.get(n.id, set())
                key = (
                    (next(iter(to)), n.shape, n.dtype, n.label, n.op)
                    if len(to) == 1 and n.phase == DATA
                    else n.id
                )
                self.home[n.id] = alike.setdefault(key, n.id) if not n.result else n.id
                self.members.setdefault(self.home[n.id], []).append(n.id)

    def _gather_weights(self, readers: dict[int, set[int]]) -> None:
        """Many parameters that only one box, or one run of equal steps, reads become one leaf."""
        of: dict[frozenset[int], list[int]] = {}
        for n in self.wiring.graph.nodes:
            to = readers.get(n.id, set()) if self.home.get(n.id, n.id) == n.id else set()
            if (n.phase == PARAMETER or n.id in self.wiring.turned) and to and not n.result:
                of.setdefault(frozenset(to), []).append(n.id)
        for boxes, weights in of.items():
            most = _MOST_WEIGHTS if any(self.wiring.nodes[box].t is not None for box in boxes) else 1
            if len(weights) > most and all(box in self.box for box in boxes):
                members = [m for w in weights for m in self.members.get(w, [w])]
                self.home |= dict.fromkeys([*weights, *members], weights[0])
                self.members[weights[0]] = members
                self.bundles.add(weights[0])

    # ---- nodes -----------------------------------------------------------------------------------------
    def done(self) -> Folded:
        """The graph and the places of its nodes."""
        wiring = self.wiring
        shown = {line.src for line in wiring.lines} | set(wiring.graph.outputs)
        lost = {root for root in wiring.turned.values() if root not in shown}
        nodes, paths = [], {}
        carried = self._carried()
        owed = {root: wiring.nodes[root].params for root in lost}
        for n in wiring.graph.nodes:
            if self.home.get(n.id) != n.id or (n.id in lost and n.id not in self.bundles):
                continue
            if (
                n.is_leaf
                and n.id not in shown
                and n.op != "const"
                and not any(m in shown for m in self.members[n.id])
            ):
                continue
            node = self._node(n, carried)
            turned = [m for m in self.members[n.id] if m in wiring.turned]
            if turned:
                node.params += sum(owed.pop(wiring.turned[m], 0) for m in turned)
            if n.id in self.bundles:
                node.detail = f"({facts.counted(node.params)})"
            nodes.append(node)
            if not node.is_leaf:
                box = self.box.get(n.id)
                paths[n.id] = box.path if box else self.rolled.get(n.id, wiring.path(n.id))
                node.path = tuple(c.label for c in paths[n.id] if c.kind == "scope")
        graph = wiring.graph
        outputs = tuple(self.home[slot] for slot in graph.outputs)
        return Folded(Graph(nodes, self._edges(), outputs, graph.recipes, graph.note), paths)

    def _carried(self) -> set[int]:
        """The ops whose results are read outside of their node, or in another step."""
        return {
            line.src for line in self.wiring.lines if line.back or self.home[line.src] != self.home[line.dst]
        } | set(self.wiring.graph.outputs)

    def _node(self, n: Node, carried: set[int]) -> Node:
        wiring = self.wiring
        members = [wiring.nodes[m] for m in self.members[n.id]]
        if n.id in self.bundles:
            ops = Counter(m.op for m in members if not m.is_leaf)
            total = sum(m.params for m in members)
            roots = {wiring.turned.get(m.id, m.id) for m in members}
            found = Node(n.id, "param", f"{len(roots)} parameters", phase=PARAMETER, wants=True, params=total)
            found.path, found.count, found.ops = n.path, len(roots), dict(ops)
            found.members = _ids([m for m in members if not m.is_leaf])
            return found
        if n.id in wiring.turned:
            root = wiring.nodes[wiring.turned[n.id]]
            turned = "ᵀ" if wiring.flipped[n.id] else ""
            told = n.detail if n.op == "slice" else "" if n.op == "permute" and len(n.shape) == 2 else n.op
            return replace(
                n, op="param", label=(root.label or "param") + turned, detail=told, phase=PARAMETER, t=None,
                ops={n.op: len(members)}, members=tuple(m.id for m in members),
            )  # fmt: skip
        if n.is_leaf:
            return replace(n, count=len(members), t=None) if len(members) > 1 else replace(n)
        if len(members) == 1:
            return replace(n)
        main = [m for m in members if m.id not in wiring.belongs] or members
        found = _summed(n, members)
        box = self.box.get(n.id)
        found.grad, found.grad_least = self._gradient(members, main, box)
        if box is None:
            if len(main) > 1:  # one op of a rolled loop
                steps = {m.t for m in main}
                found.count, found.t, found.last = len(steps), None, None
                found.detail = common_detail(main)
            picks = [m for m in members if m.op == "pick" and m.result]
            found.result = n.result or (picks[0].result if picks else "")
            return found
        shown = [m for m in main if m.id in carried] or main
        found.op, found.label, found.detail = box.kind, box.label, summary(main, box.count)
        found.fused = ""
        found.shape, found.dtype = shown[-1].shape, shown[-1].dtype
        if isinstance(found.dtype, tuple):
            found.shape, found.dtype = found.shape[0], found.dtype[0]
        found.count, found.t, found.last = box.count, box.t if box.kind == STEPS else n.t, box.last
        results = [m.result for m in members if m.result]
        found.result = f"{len(results)} results" if len(results) > 1 else "".join(results)
        if box.kind == "sum":
            found.op, found.label, found.detail = "add", "", f"{len(main) + 1} terms"
        elif box.key[0] == CHAIN:
            found.label, found.detail = chain_name([m for m in main if m.t == main[0].t])
            if main[-1].label:
                found.detail = " ".join(part for part in (found.label, found.detail) if part)
                found.label = main[-1].label
        return found

    def _gradient(
        self, members: Sequence[Node], main: Sequence[Node], box: Box | None
    ) -> tuple[float | None, float | None]:
        """The norm at a node: at one of steps that of their state, else the largest of what is read outside."""
        wiring = self.wiring
        in_steps = box is not None and box.key[0] != CHAIN and step_of(box.path) is not None
        depth = len(box.path) if box is not None and box.kind == BLOCKS else None

        def part(m: Node) -> Any:
            return m.t if depth is None else wiring.path(m.id)[depth].label

        shown = [m if in_steps else replace(m, state_grad=None) for m in members]
        inside = {m.id: part(m) for m in members}
        leaving = set(wiring.graph.outputs)
        for m in members:
            for line in wiring.out_of.get(m.id, ()):
                gone = inside.get(line.dst, self) != inside[m.id] and line.kind != TOTAL
                if gone and wiring.nodes[line.dst].phase == m.phase and line.dst not in wiring.sums:
                    leaving.add(m.id)
        return gradient(shown, leaving, {m.id for m in main}, part)

    # ---- edges -----------------------------------------------------------------------------------------
    def _edges(self) -> list[Edge]:
        found: dict[Any, Edge] = {}
        nodes = self.wiring.nodes
        wide = Counter((self.home[line.src], self.home[line.dst]) for line in self.wiring.lines)
        for line in self.wiring.lines:
            src, dst = self.home[line.src], self.home[line.dst]
            loops = (
                bool(self.aliases)
                and line.back
                and (line.src in self.aliases or nodes[line.src].t is not None)
            )
            if src == dst and not loops:
                continue
            alone = (
                dst not in self.box
                and len([m for m in self.members[dst] if nodes[m].op not in ("pick", "cut")]) == 1
            )
            rolled = line.src in self.aliases and line.dst not in self.aliases
            arg = (
                line.arg if (alone or line.dst in self.aliases) and dst not in self.box and not rolled else -1
            )
            out = line.out if src not in self.box else 0
            back = line.back if loops else 0
            if wide[src, dst] > _MOST_MARKED:
                arg = -1
            key = (src, dst, line.kind, arg, out, bool(back))
            edge = found.get(key)
            if edge is None:
                found[key] = Edge(src, dst, line.kind, arg, out, line.bytes, 1, back, line.label)
            else:
                edge.count += 1
                edge.bytes += line.bytes
                known = edge.label.split(", ") if edge.label else []
                edge.label = ", ".join(known if line.label in (*known, "") else [*known, line.label])
        return list(found.values())


def _ids(members: Sequence[Node]) -> tuple[int, ...]:
    return tuple(i for m in members for i in m.members or (m.id,))


def _summed(n: Node, members: Sequence[Node]) -> Node:
    saved = [m.saved for m in members if m.saved is not None]
    ops = Counter[str]()
    for m in members:
        ops.update(m.ops or {m.op: 1})
    return replace(
        n,
        params=sum(m.params for m in members),
        flops=sum(m.flops for m in members),
        made=sum(m.made for m in members),
        saved=sum(saved) if saved else None,
        wants=any(m.wants for m in members),
        ops=dict(ops),
        members=_ids(members),
        numbers=() if len(members) > 1 and n.op != "pick" else n.numbers,
        values=None if len(members) > 1 and n.op != "pick" else n.values,
    )
