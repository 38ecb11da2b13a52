"""The one model of a picture: nodes and edges as plain data, JSON both ways. Every exporter reads it.

The same two classes hold a whole tape, one node for each op, and the folded graph, where a node stands for many ops.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from tinygrad_seq.engine.op import OPS
from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.malloc import collector_paused

FORMAT = "tinygrad_seq picture 1"
FORWARD, BACKWARD, PARAMETER, DATA, CONSTANT = "forward", "backward", "parameter", "data", "constant"
LEAVES = (PARAMETER, DATA, CONSTANT)
GROUP, STEPS, BLOCKS = "group", "steps", "blocks"
STATE, TOTAL = "state", "total"
MOVES = frozenset(name for name, op in OPS.items() if op.moves)
TURNS = MOVES - {"pad"}  # what shows the numbers of its input, and no others
SYMMETRIC = frozenset(name for name, op in OPS.items() if op.symmetric)


@dataclass(slots=True)
class Values:
    """The statistics of a node's numbers: `least mean most deviation` of the finite ones, counts of the others."""

    least: float
    mean: float
    most: float
    deviation: float
    bad: int
    zeros: float


@dataclass(slots=True)
class Node:
    """An op, a leaf, or a box of ops.

    `op` is the op's name, `param`, `input`, `const` or `saved` for a leaf, `group`, `steps` or `blocks` for a box.
    `label` is the name of a leaf or a box, or what a result is called: by its user, or `f_t` by its layer. `detail`
    is what else belongs to the op: an index, axes, constant operands. `path` are the scopes it stands in. `params`
    counts numbers that are learnt; `flops` arithmetic (a product and its sum are two, anything else one a number);
    `made` the bytes of the result; `saved` those of them that are kept for the backward pass, None where that is
    not known. `grad` is the norm of the gradient that arrives here, with `grad_least` the smallest among the steps
    of a box; `state_grad`, at a part of a step's state, that without the paths through its other parts.
    `fused` names the recipe of a fused op, `inside` the function that an op is of, and the id of its result. `ops`
    are the ops in a box and how often, `members` their ids; `count` is how many equal steps or blocks it stands for,
    `last` the last of its steps. `numbers` are a value and its gradient, where they are few.
    """

    id: int
    op: str
    label: str = ""
    detail: str = ""
    path: tuple[str, ...] = ()
    t: int | None = None
    phase: str = FORWARD
    shape: tuple[Any, ...] = ()
    dtype: Any = ""
    wants: bool = False
    params: int = 0
    flops: int = 0
    made: int = 0
    saved: int | None = None
    grad: float | None = None
    grad_least: float | None = None
    state_grad: float | None = None
    values: Values | None = None
    numbers: tuple[tuple[float, ...], ...] = ()
    fused: str = ""
    inside: str = ""
    result: str = ""
    count: int = 1
    last: int | None = None
    ops: dict[str, int] = field(default_factory=dict)
    members: tuple[int, ...] = ()

    @property
    def is_leaf(self) -> bool:
        """True for a parameter, data or a constant."""
        return self.phase in LEAVES


@dataclass(slots=True)
class Edge:
    """What goes from one node to another: `kind` is data, state, total, parameter, gradient or cut.

    It leaves the output `out` of its source and is argument `arg` of its target, -1 where either is a box. `back`
    counts the steps that a loop's edge goes back (t-1), `count` how many edges were folded into this one; `label` is
    what a state is called.
    """

    src: int
    dst: int
    kind: str = "data"
    arg: int = -1
    out: int = 0
    bytes: int = 0
    count: int = 1
    back: int = 0
    label: str = ""


@dataclass(frozen=True)
class Totals:
    """Sums over a picture: numbers learnt, arithmetic, bytes of all results, bytes kept for the backward pass."""

    params: int
    flops: int
    made: int
    saved: int | None


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which they could run, edges, the outputs, and the compositions of fused ops by name.

    >>> import tinygrad_seq as tgs
    >>> graph = tgs.draw(tgs.ones(3, requires_grad=True).exp().sum()).graph
    >>> [node.op for node in graph.nodes], graph.totals.flops
    (['param', 'exp', 'sum'], 6)
    >>> Graph.from_json(graph.to_json()) == graph
    True
    """

    nodes: list[Node]
    edges: list[Edge]
    outputs: tuple[int, ...] = ()
    recipes: dict[str, Graph] = field(default_factory=dict)
    note: str = ""

    @property
    def totals(self) -> Totals:
        """The sums over all nodes."""
        saved = [n.saved for n in self.nodes if n.saved is not None]
        return Totals(
            sum(n.params for n in self.nodes),
            sum(n.flops for n in self.nodes),
            sum(n.made for n in self.nodes),
            sum(saved) if saved else None,
        )

    def ops(self) -> Counter[str]:
        """How often each op occurs, those in boxes too; leaves are not counted."""
        found: Counter[str] = Counter()
        for node in self.nodes:
            found.update(node.ops or ({} if node.is_leaf else {node.op: 1}))
        return found

    def by_id(self) -> dict[int, Node]:
        """The nodes by id."""
        return {node.id: node for node in self.nodes}

    def to_json(self) -> str:
        """The graph as JSON text; NaN and infinities are written as strings, for JSON has none."""
        with collector_paused():
            return json.dumps(self._plain(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def _plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "nodes": [_written(node, _NODE) for node in self.nodes],
            "edges": [_written(edge, _EDGE) for edge in self.edges],
            "outputs": self.outputs,
            "recipes": {name: recipe._plain() for name, recipe in self.recipes.items()},
            "note": self.note,
        }

    @staticmethod
    def from_json(text: str) -> Graph:
        """The graph that `to_json` wrote. Raises DataError for text that is no such graph."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise ValueError(f"it has no format {FORMAT!r}")
            graph = _read(found)
            known = graph.by_id()
            if any(e.src not in known or e.dst not in known for e in graph.edges):
                raise ValueError("an edge has no node")
            return graph
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            rule = "expected what Graph.to_json or a picture saved as .json has written."
            raise DataError(f"picture: no graph in this JSON: {error}", None, rule) from error


_TUPLES = ("path", "shape", "dtype", "members", "numbers")
_FLOATS = ("grad", "grad_least", "state_grad")


class _Fields:
    """The fields of a class and their defaults, and all of an item's at once."""

    def __init__(self, kind: type[Node] | type[Edge]):
        found = fields(kind)
        self.names = [f.name for f in found]
        self.defaults: list[Any] = [{} if f.name == "ops" else f.default for f in found]
        self.of = attrgetter(*self.names)


_NODE, _EDGE = _Fields(Node), _Fields(Edge)


def _written(item: Node | Edge, known: _Fields) -> dict[str, Any]:
    """What differs from the defaults."""
    values = zip(known.names, known.of(item), known.defaults, strict=True)
    found = {name: value for name, value, default in values if value != default}
    for name in _FLOATS:
        if name in found:
            found[name] = _number(found[name])
    if "numbers" in found:
        found["numbers"] = [[_number(x) for x in part] for part in found["numbers"]]
    if "values" in found:
        found["values"] = [_number(getattr(found["values"], f.name)) for f in fields(Values)]
    return found


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _tupled(value: Any) -> Any:
    return tuple([_tupled(v) for v in value]) if isinstance(value, list) else value


def _read(found: dict[str, Any]) -> Graph:
    nodes = []
    for item in found["nodes"]:
        for name in _TUPLES:
            if name in item:
                item[name] = _tupled(item[name])
        for name in _FLOATS:
            if name in item:
                item[name] = float(item[name])
        if "numbers" in item:
            item["numbers"] = tuple(tuple(map(float, part)) for part in item["numbers"])
        if "values" in item:
            a, b, c, d, bad, zeros = item["values"]
            item["values"] = Values(float(a), float(b), float(c), float(d), int(bad), float(zeros))
        nodes.append(Node(**item))
    edges = [Edge(**item) for item in found["edges"]]
    recipes = {name: _read(recipe) for name, recipe in found["recipes"].items()}
    return Graph(nodes, edges, tuple(found["outputs"]), recipes, found["note"])
