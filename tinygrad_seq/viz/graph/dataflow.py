"""The data flow between ops, without ops that only pass values on: cuts, picks of outputs, transposed weights."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_seq.viz.graph.clusters import Path, places
from tinygrad_seq.viz.graph.labels import letters
from tinygrad_seq.viz.graph.model import LEAVES, PARAMETER, TURNS, Edge, Graph, Node

_LEAST_SUM = 3


@dataclass(slots=True)
class Line:
    """One argument of one op: the op or leaf that its value comes from, behind all ops that only pass it on."""

    src: int
    dst: int
    kind: str
    arg: int
    out: int
    bytes: int
    back: int
    label: str = ""


class Wiring:
    """A graph with its boxes by op, its lines, and what has no node of its own but belongs to another.

    `lines` go from op or leaf to op. `belongs` says for each op without a node whose it is; `turned` are ops that
    are no more than another look at a parameter, by the parameter; `sums` the ops of a sum of many, by its last.
    Without `moves` ops that only move numbers have no nodes either.
    """

    def __init__(self, graph: Graph, moves: bool = True):
        self.moves = moves
        self.graph, self.nodes, self.paths = graph, graph.by_id(), places(graph)
        self.incoming: dict[int, list[Edge]] = {}
        self.readers: dict[int, list[Edge]] = {}
        for e in graph.edges:
            self.incoming.setdefault(e.dst, []).append(e)
            self.readers.setdefault(e.src, []).append(e)
        self.belongs: dict[int, int] = {}
        self.turned: dict[int, int] = {}
        self.flipped: dict[int, bool] = {}
        self.sums: dict[int, int] = {}
        for n in graph.nodes:
            self._settle(n)
        self._ops = [
            n for n in graph.nodes if not (n.phase in LEAVES or n.id in self.belongs or n.id in self.turned)
        ]
        self._find_sums()
        self.lines = [line for n in graph.nodes if n.id not in self.belongs for line in self._lines(n)]
        self.into: dict[int, list[Line]] = {}
        self.out_of: dict[int, list[Line]] = {}
        for line in self.lines:
            self.into.setdefault(line.dst, []).append(line)
            self.out_of.setdefault(line.src, []).append(line)

    def ops(self) -> list[Node]:
        """The ops that have nodes, in order."""
        return self._ops

    def path(self, node: int) -> Path:
        """The boxes an op stands in; none for a leaf."""
        return self.paths.get(node, ())

    def _settle(self, n: Node) -> None:
        before = self.incoming.get(n.id, ())
        if n.op == "pick" and before:
            self.belongs[n.id] = before[0].src
        elif n.op == "cut" and before and not n.result and n.id in self.readers:
            readers = [e.dst for e in self.readers[n.id]]
            self.belongs[n.id] = readers[0]
        elif (
            n.op == "reshape"
            and len(before) == 1
            and not n.result
            and n.id in self.readers
            and self._is_nothing(n)
        ):
            self.belongs[n.id] = before[0].src
        elif n.op in TURNS and len(before) == 1 and not n.result and n.id in self.readers:
            source = before[0].src
            if self.nodes[source].phase == PARAMETER or source in self.turned:
                self.turned[n.id] = self.turned.get(source, source)
                self.flipped[n.id] = self.flipped.get(source, False) != (
                    n.op == "permute" and len(n.shape) == 2
                )
            elif not self.moves and not n.label:
                self._hide(n, source)
        elif n.op == "pad" and before and not (self.moves or n.label or n.result) and n.id in self.readers:
            self._hide(n, before[0].src)

    def _hide(self, n: Node, source: int) -> None:
        self.belongs[n.id] = self.readers[n.id][0].dst if self.nodes[source].is_leaf else source

    def _is_nothing(self, n: Node) -> bool:
        """A reshape to the same shape; or, of a gradient, one that only lays a step's part beside the others."""
        source = self.nodes[self.incoming[n.id][0].src]
        if source.is_leaf or source.id in self.turned:
            return False
        readers = self.readers[n.id]
        gathers = len(readers) == 1 and self.nodes[readers[0].dst].op == "concat"
        return source.shape == n.shape or (gathers and n.t is None and source.t is not None)

    def _find_sums(self) -> None:
        """Sums of at least three parts, made one at a time: all parts meet in one plus.

        Of gradients that is where the uses of a shared weight meet.
        """
        heads: dict[int, list[int]] = {}
        for n in reversed(self.graph.nodes):
            if n.op != "add" or n.is_leaf:
                continue
            parts = self.incoming.get(n.id, ())
            if len(parts) != 2 or any(self.nodes[e.src].shape != n.shape for e in parts):
                continue
            readers = self.readers.get(n.id, ())
            head = self.sums.get(readers[0].dst) if len(readers) == 1 and not n.result else None
            head = n.id if head is None or self.nodes[head].phase != n.phase else head
            self.sums[n.id] = head
            heads.setdefault(head, []).append(n.id)
        for head, adds in heads.items():
            steps = {(self.nodes[a].t, self.paths[a]) for a in adds}
            enough = len(adds) >= _LEAST_SUM - 1 and (len(steps) > 1 or self.nodes[head].t is None)
            if not enough:
                for a in adds:
                    del self.sums[a]

    def _lines(self, n: Node) -> list[Line]:
        if n.is_leaf or n.id in self.turned:
            return []
        found = []
        for e in self.incoming.get(n.id, ()):
            src, kind, out, back, label = e.src, e.kind, 0, e.back, ""
            while True:
                before = self.incoming.get(src, [])
                source = self.nodes[src]
                label = label or source.label
                if source.op == "pick" and before:
                    out = int(source.detail)
                elif source.op == "cut" and before and src in self.belongs:
                    kind = "cut"
                elif src in self.belongs and source.op != "cut":
                    kind = "cut" if any(way.kind == "cut" for way in before) else kind
                elif not (source.is_leaf and before):
                    break
                else:
                    kind = "cut"
                ways = [way for way in before if way.kind == "cut"] or before
                back = max(back, ways[0].back)
                src = ways[0].src
            if kind in ("data", "state", "cut") and src in self.turned:
                kind = "parameter"
            label = letters(label)[0] if kind in ("state", "cut") else ""
            found.append(Line(src, n.id, kind, e.arg, out, e.bytes, back, label))
        return found
