"""Labels of values in pictures: names of the user, roles from the layer, and W_h for weight_hh."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_seq.engine.names import marks_of
from tinygrad_seq.engine.node import Leaf
from tinygrad_seq.engine.node import Node as Live
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.viz.graph.model import FORWARD, Graph, Node

Nodes = Mapping[int, Live | Leaf]

POINTWISE = ("sigmoid", "silu", "gelu", "gelu_by_tanh", "softplus", "logsigmoid")
WHOLE = (*POINTWISE, "softmax", "log_softmax", "logsumexp")
"""Functions that are one box though they ran op by op."""

GATES = ("f_t", "i_t", "C\u0303_t", "o_t", "r_t", "z_t", "h\u0303_t")
"""The order in which gates stand in every step."""

_WEIGHTS = {"weight_ih": "W_x", "weight_hh": "W_h", "weight_hr": "W_p", "bias_ih": "b_x", "bias_hh": "b_h"}
_OF_A_LAYER = re.compile(r"_l\d+(?:_reverse)?$")


def named(names: Any) -> dict[Live | Leaf, str]:
    """The nodes that a mapping from names to tensors, such as `locals()`, has a name for; lists by their places."""
    found: dict[Live | Leaf, str] = {}
    for name, value in dict(names).items():
        for text, tensor in _tensors(str(name), value):
            if tensor.node is not None:
                found.setdefault(tensor.node, text)
    return found


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif type(value) in (list, tuple):
        for i, one in enumerate(value):
            if isinstance(one, Tensor):
                yield f"{name}[{i}]", one


def add_labels(graph: Graph, nodes: Nodes, names: Mapping[Live | Leaf, str]) -> None:
    """Write names and roles into the nodes, and which ops a function is made of; the user's name comes first.

    A role in a time step has the index t, as in the lecture notes: f_t.
    """
    known = graph.by_id()
    for n in graph.nodes:
        live = nodes[n.id]
        marks = marks_of(live)
        given = names.get(live) or ("" if n.is_leaf else marks.name)
        if given:
            n.label = given
        elif marks.role:
            n.label = in_step(marks.role, n.t)
    _label_fused(graph, known)
    _mark_functions(graph, nodes, known)


def in_step(role: str, t: int | None) -> str:
    """`f_t` in a time step, else `f`."""
    return f"{role}_t" if t is not None else role


def _label_fused(graph: Graph, known: Mapping[int, Node]) -> None:
    """The label of a fused op is that of its outputs: `h_t, C_t`, and each output has its own."""
    roles: dict[str, list[str]] = {}
    for key, recipe in graph.recipes.items():
        inside = recipe.by_id()
        roles[key] = [inside[slot].label if slot in inside else "" for slot in recipe.outputs]
    picked: dict[int, list[str]] = {}
    for e in graph.edges:
        a, b = known[e.src], known[e.dst]
        if b.op == "pick" and a.fused in roles:
            outs = roles[a.fused][-len(a.dtype) :] if isinstance(a.dtype, tuple) else []
            i = int(b.detail)
            if i < len(outs) and outs[i]:
                b.label = b.label or in_step(outs[i], b.t)
                picked.setdefault(a.id, []).append(b.label)
    for n in graph.nodes:
        if n.fused in roles and not n.label:
            own = "" if isinstance(n.dtype, tuple) else roles[n.fused][-1]
            n.label = ", ".join(dict.fromkeys(picked.get(n.id, ()))) or (in_step(own, n.t) if own else "")


def _mark_functions(graph: Graph, nodes: Nodes, known: Mapping[int, Node]) -> None:
    """Note at each op of a function that is to be one box which one it is, and whose result: `sigmoid#17`."""
    made = []
    for n in graph.nodes:
        live = nodes[n.id]
        for name, start in marks_of(live).made if n.phase == FORWARD else ():
            if name in WHOLE:
                made.append((start, live.index, name, n.id))
    if not made:
        return
    # Data that a function computes inside, such as a comparison, has no op: it belongs to the function as well.
    own = (n for n in graph.nodes if n.phase == FORWARD or (n.op == "input" and not n.label))
    ops = sorted((nodes[n.id].index, n.id) for n in own)
    indices = [index for index, _ in ops]
    for start, end, name, slot in sorted(made):  # the outermost first
        inside = [known[i] for _, i in ops[bisect_left(indices, start) : bisect_right(indices, end)]]
        if len(inside) > 1 and not any(n.inside for n in inside):
            for n in inside:
                n.inside = f"{name}#{slot}"


def symbol(parameter: str) -> str:
    """`W_h` for `layers.0.weight_hh_l1`; the name itself where there is no such letter.

    >>> symbol("rnn.weight_hh_l1"), symbol("w")
    ('W_h', 'w')
    """
    return _WEIGHTS.get(_OF_A_LAYER.sub("", parameter.rpartition(".")[2]), parameter)


def letters(label: str) -> tuple[str, str]:
    """A label as a letter and its subscript: `h_t` is h with t; other labels have none.

    >>> letters("h_t"), letters("W_h"), letters("weight_hh")
    (('h', 't'), ('W', 'h'), ('weight_hh', ''))
    """
    parts = re.fullmatch(r"((?:\u2202L/\u2202)?\w\u0303?)_(\w|\d+)", label)
    return (parts[1], parts[2]) if parts else (label, "")
