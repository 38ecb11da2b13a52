"""Numbers and facts as texts for pictures."""

from __future__ import annotations

import math

from tinygrad_seq.tape.row import type_text
from tinygrad_seq.viz.graph.model import LEAVES, Edge, Node

_LONGEST = 300
_UNITS = ("", " k", " M", " G", " T", " P")


def printable(text: str) -> str:
    """A text for a picture: characters without a visible shape are written as escapes."""
    return (text if text.isprintable() else repr(text)[1:-1]) or "''"


def counted(number: float, unit: str = "") -> str:
    """A count with three digits.

    >>> counted(999), counted(12345), counted(4096, "B")
    ('999', '12.3 k', '4.1 kB')
    """
    for prefix in _UNITS:
        if abs(number) < 999.5 or prefix == _UNITS[-1]:
            break
        number /= 1000
    text = f"{number:.3g}" if number != int(number) else str(int(number))
    return f"{text}{prefix or ' ' * bool(unit)}{unit}"


def type_of(node: Node) -> str:
    """`f32[2,3]`; `(f32[2,3], f32[4])` for an op with several outputs."""
    if isinstance(node.dtype, tuple):
        return "(" + ", ".join(map(type_text, node.dtype, node.shape)) + ")"
    return type_text(node.dtype, node.shape) if node.dtype and node.dtype != "None" else ""


def elements(node: Node) -> int:
    """How many numbers its value has."""
    return math.prod(node.shape) if not isinstance(node.dtype, tuple) else 0


def norm(g: float) -> str:
    """The norm of a gradient in three digits."""
    return f"{g:.3g}" if math.isfinite(g) else f"⚠ {g}"


def gradient(node: Node) -> str:
    """`3.1e-05`, or the smallest and the largest of several steps."""
    if node.grad is None:
        return ""
    least = node.grad_least
    if least is not None and norm(least) != norm(node.grad):
        return f"{norm(least)} … {norm(node.grad)}"
    return norm(node.grad)


def facts(node: Node) -> list[str]:
    """All that is known of a node, a line each."""
    where = printable("/".join(node.path)) if node.path else ""
    if node.t is not None:
        where += f"  t = {node.t}" + (f" … {node.last}" if node.last is not None else "")
    head = " ".join(printable(part) for part in (node.op, node.label, node.detail) if part)
    said = [head, type_of(node), where.strip()]
    if node.phase not in LEAVES and node.phase != "forward":
        said.append(f"{node.phase} pass")
    if node.count > 1:
        said.append(f"{node.count} times")
    if node.ops:
        said.append(
            "ops: "
            + ", ".join(f"{n} {printable(op)}" if n > 1 else printable(op) for op, n in node.ops.items())
        )
    if node.params:
        said.append(f"parameters: {node.params:,}")
    if node.flops:
        said.append(f"FLOPs: {node.flops:,}")
    if node.made:
        said.append(f"bytes made: {node.made:,}")
    if node.saved:
        said.append(f"bytes kept for the backward pass: {node.saved:,}")
    if node.grad is not None:
        said.append(f"norm of the gradient: {gradient(node)}")
    v = node.values
    if v is not None:
        said.append(f"values: {v.least:.4g} to {v.most:.4g}, mean {v.mean:.4g}, deviation {v.deviation:.4g}")
        said.append(f"zeros: {100 * v.zeros:.3g} %, not finite: {v.bad}")
    return [line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…" for line in said if line]


def passes(edge: Edge, src: Node, dst: Node) -> str:
    """A sentence on the values that pass along an edge."""
    if edge.kind == "cut" and dst.phase == "backward":
        return f"cut: the gradient of step {dst.t} goes no further back"
    if edge.kind == "cut":
        when = f" (cut before t = {dst.t})" if dst.t is not None else ""
        return f"cut: the value flows forward, the gradient stops here{when}"
    said = {
        "state": "state: the value goes to the next step, its gradient comes back",
        "total": "running total: later steps add to it, and none is made from it",
        "parameter": "parameter",
        "gradient": "gradient",
        "data": "value",
    }[edge.kind]
    if edge.back:
        said += f"; from {edge.back} step{'s' * (edge.back > 1)} before (t-{edge.back})"
    more = f", {edge.count} of them" if edge.count > 1 else ""
    return f"{said}: {counted(edge.bytes, 'B')}{more}"
