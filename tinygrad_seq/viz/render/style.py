"""The texts, shapes and colours of nodes, edges and clusters, as Graphviz attributes.

The colours are tints of Okabe and Ito's set, which colour-blind people can distinguish; shape, border or text
carry the same information. All text from outside goes through `escape`.
"""

from __future__ import annotations

import math

from tinygrad_seq.engine.op import OPS
from tinygrad_seq.tape import row as listing
from tinygrad_seq.viz.graph import facts
from tinygrad_seq.viz.graph.clusters import Cluster
from tinygrad_seq.viz.graph.cuts import GROUND
from tinygrad_seq.viz.graph.facts import printable
from tinygrad_seq.viz.graph.fused_bodies import OPENED
from tinygrad_seq.viz.graph.labels import letters
from tinygrad_seq.viz.graph.model import BLOCKS, GROUP, STEPS, SYMMETRIC, Edge, Node
from tinygrad_seq.viz.render.colors import BAD, Scale
from tinygrad_seq.viz.render.lettering import SPACE, escape, halved, hover, ports, shortened, title

Attributes = dict[str, str]

_FONT = "Helvetica,Arial,sans-serif"
_INK, _QUIET, _BLUE, _PURPLE, _GRAY = "#1b1f24", "#57606a", "#0072b2", "#a0457d", "#6e7781"
_SCISSORS = "\N{BLACK SCISSORS}"
_MOST_MARKED = 3

GRAPH = {
    "rankdir": "TB", "nodesep": "0.12", "ranksep": "0.25", "fontname": _FONT, "fontsize": "10",
    "remincross": "false",  # a second search for fewer crossings, over all boxes, breaks the order of nodes in them
}  # fmt: skip
NODE = {
    "shape": "box", "style": "rounded,filled", "fontname": _FONT, "fontsize": "10", "fontcolor": _INK,
    "margin": "0.09,0.045", "height": "0.25", "width": "0.2",
}  # fmt: skip
EDGE = {"arrowsize": "0.5", "color": _QUIET, "fontname": _FONT, "fontsize": "7", "fontcolor": _QUIET}

UNSEEN = {"style": "invis"}
UNSEEN_NODE = {"style": "invis", "shape": "point", "width": "0", "height": "0", "label": ""}
_BEND = {"shape": "point", "width": "0.01", "height": "0.01", "color": _QUIET, "tooltip": ""}
_JUNCTION = {"shape": "point", "width": "0.05", "height": "0.05", "color": _QUIET, "tooltip": ""}
PAIR = {"label": "", "peripheries": "0", "margin": "0", "style": ""}

_CUT = f'<<font point-size="20" color="{_INK}">{_SCISSORS}</font>>'

# A value that one time step passes to another; a running total; one whose gradient stops; a gradient.
CARRIED = {"color": _BLUE, "penwidth": "1.4"}
RUNNING = {"color": _QUIET, "penwidth": "1.0"}
CUT_OFF = {"color": _GRAY, "style": "dashed", "penwidth": "1.4"}
GRADIENT: dict[str, str] = {"color": _PURPLE}

_SCOPE = {"style": "rounded,filled", "fillcolor": _BLUE + "0c", "color": _BLUE + "55"}
_RECIPE = {"style": "rounded,filled,dashed", "fillcolor": "#ffffff", "color": _BLUE}
_STEP = {"style": "rounded,filled", "fillcolor": "#ffffff", "color": "#8c959f"}
_STEPS = {"style": "rounded,filled", "fillcolor": "#ffffff", "color": "#57606a", "penwidth": "2.2"}
_WINDOW = {"style": "rounded,dashed", "color": "#8c959f", "fontcolor": _QUIET, "fontsize": "9"}
_PHASE = {"style": "rounded,filled,dashed", "fillcolor": "#a0457d0c", "color": _PURPLE}

# Fill and border by family of ops; the op's name shows the family too.
_FILLS = {
    "matmul": ("#cfe6f5", _BLUE),
    "reduce": ("#fbe3cf", "#b8530a"),
    "move": ("#f3f4f6", "#8c959f"),
    "index": ("#f3f4f6", "#8c959f"),
    "random": ("#f6e1ee", _PURPLE),
}
_ARGUMENTS = {"where": ("if", "then", "else"), "gather": ("from", "at"), "scatter": ("add", "at")}


def op_node(node: Node, scale: Scale | None, operands: dict[int, str] | None = None) -> Attributes:
    """The node of an op or of a box of ops, in the colour of its gradient where there is a scale.

    `operands` has a number or a word for each argument where their order matters.
    """
    op = OPS.get(node.op)
    fill, border = _FILLS.get(op.kind if op else "", ("#ffffff", _QUIET))
    look = {"fillcolor": fill, "color": border}
    if node.op in (GROUP, STEPS, BLOCKS):
        look = {"fillcolor": "#e8eef6", "color": _BLUE, "penwidth": "1.2"}
        if node.op != GROUP:
            look |= {"shape": "box3d", "style": "filled", "penwidth": "1.5", "margin": "0.14,0.1"}
    elif node.op == "cut":
        look |= {"style": "rounded,dashed", "penwidth": "1.4"}
    elif node.op == "checkpoint":
        look["style"] = "rounded,filled,dotted"
    elif _is_sum(node):
        look |= {"shape": "circle", "margin": "0", "penwidth": "1.4"}
    if node.fused:
        look["peripheries"] = "2"
    if node.result:
        look["penwidth"] = "2.4"
    if scale is not None:
        look |= {"class": "norm"} | scale.fill(node)
    # In rows of a table, for an underscore would else touch the line below it.
    # Black can be read on some of the colours only.
    paper = ' bgcolor="#ffffffd8"' if ":" in look["fillcolor"] else ""
    said = _words(node, look.get("fontcolor", _QUIET), scale is not None)
    if _is_sum(node):
        text = "<br/>".join(said)
    else:
        rows = "".join(f"<tr><td>{line}</td></tr>" for line in said)
        cells = ports(operands) if operands else ""
        text = f'<table border="0" cellspacing="0" cellpadding="1"{paper}>{cells}{rows}</table>'
    return {"label": f"<{text}>", **look, **_wide_enough(node)}


def _is_sum(node: Node) -> bool:
    return (
        node.op == "add"
        and not node.label
        and node.count == 1
        and (bool(node.members) or node.phase == "backward")
    )


def _words(node: Node, quiet: str, colored: bool) -> list[str]:
    """The lines on a node: its name, the type, then the gradient or, for a box, its cost."""
    said = []
    if _is_sum(node):
        said = ["<b>+</b>", *([_small(node.detail, quiet)] if node.detail else [])]
    elif node.op in (GROUP, STEPS, BLOCKS):
        head = node.label or node.detail
        times = f"{SPACE}\N{MULTIPLICATION SIGN}{node.count}" if node.op == STEPS else ""
        said.append(title(shortened(printable(head), 40)) + times)
        if node.label and node.detail:
            told = shortened(node.detail, 44)
            said += [_small(line, quiet) for line in (halved(told) if node.t is not None else [told])]
    else:
        op = shortened(printable(node.op))
        mark = f"{_SCISSORS} " if node.op == "cut" else ""
        bold = f"<b>{escape(op)}</b>"
        if node.label:
            bold = f"{title(shortened(printable(node.label)))}{SPACE}{escape(op)}"
        said.append(f"{mark}{bold}{' ▸' * bool(node.fused)}" + _spaced(node.detail))
    if node.op != "checkpoint" and not _is_sum(node) and (kind := facts.type_of(node)):
        said.append(_small(shortened(kind, 32), quiet))
    said += _numbers(node, quiet)
    if colored and node.grad is not None:
        said.append(
            _small(f"\N{DOUBLE VERTICAL LINE}g\N{DOUBLE VERTICAL LINE} {facts.gradient(node)}", quiet)
        )
    elif node.op in (GROUP, STEPS, BLOCKS) and node.flops >= 1000:
        said.append(_small(facts.counted(node.flops, "FLOP"), quiet))
    if node.result:
        said.append(f'<font point-size="8"><i>{escape(shortened(printable(node.result), 40))}</i></font>')
    return said


def _numbers(node: Node, quiet: str) -> list[str]:
    """The first numbers of a value and of its gradient, four on a line."""
    lines = []
    for sign, part in zip(("=", "g ="), node.numbers, strict=False):
        texts = [f"{x:.3g}".replace("-", "\N{MINUS SIGN}") for x in part]
        more = ", ..." if facts.elements(node) > len(part) else ""
        rows = [", ".join(texts[i : i + 4]) for i in range(0, len(texts), 4)]
        lines += [f"{sign} {row}" if not i else row for i, row in enumerate(rows)]
        lines[-1:] = [lines[-1] + more] if rows else []
    return [_small(line, quiet) for line in lines]


def _spaced(text: str) -> str:
    return f"{SPACE}{escape(shortened(printable(text)))}" if text else ""


def _small(text: str, color: str) -> str:
    return f'<font point-size="8" color="{color}">{escape(text)}</font>'


def leaf_node(node: Node, first: bool, colored: bool = False) -> Attributes:
    """The node of a parameter, of data or of a constant; drawn again, it is a ghost without its type.

    Where gradients are shown it shows its own norm, with a frame where that is not finite.
    """
    text = node.detail if node.op == "const" else printable(node.label) if node.label else node.op
    name = title(shortened(text)).replace("<b>", "").replace("</b>", "")
    if node.op == "param":
        name += _spaced(node.detail) if first or node.count == 1 else ""
        look = {
            "shape": "box",
            "style": "filled",
            "fillcolor": "#e3f1dc",
            "color": "#2f7d4f",
            "penwidth": "1.6",
        }
    elif node.op == GROUND:
        name = f'<font point-size="20">{_SCISSORS}</font>{SPACE}{name}'
        look = {"shape": "box", "style": "dashed", "color": _GRAY, "fontcolor": _INK}
    elif node.op == "saved":
        look = {"shape": "box", "style": "rounded,dotted", "color": _QUIET, "fontcolor": _QUIET}
        name += (
            f"{SPACE}t={node.t}"
            if node.t is not None and not letters(node.label)[1]
            else f"{SPACE}\N{MULTIPLICATION SIGN}{node.count}"
            if node.count > 1
            else ""
        )
    else:
        look = {"shape": "ellipse", "style": "filled", "fillcolor": "#fff3d1", "color": "#a67c00"}
        name += f"{SPACE}\N{MULTIPLICATION SIGN}{node.count}" if node.count > 1 else ""
    if not first:
        look |= {"penwidth": "0.8", "fontcolor": _QUIET}
    if node.result:
        look["penwidth"] = "2.4"
    said = [name]
    if first and (kind := facts.type_of(node)):
        said.append(_small(shortened(kind), _QUIET))
    if colored and node.grad is not None:
        if not math.isfinite(node.grad):
            look |= {"color": BAD, "penwidth": "2.6"}
        if first:
            said.append(
                _small(f"\N{DOUBLE VERTICAL LINE}g\N{DOUBLE VERTICAL LINE} {facts.gradient(node)}", _QUIET)
            )
    if node.result and first:
        said.append(f'<font point-size="8"><i>{escape(node.result)}</i></font>')
    said += _numbers(node, _QUIET) if first else []
    # In rows of a table, for an underscore would else touch the line below it.
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in said)
    table = f'<table border="0" cellspacing="0" cellpadding="1">{rows}</table>'
    label = f"<{table if len(said) > 1 else name}>"
    return {"label": label, **look, "margin": "0.06,0.02", "height": "0.22", **_wide_enough(node)}


def _wide_enough(node: Node) -> Attributes:
    """Room for wide characters, which a renderer without their font takes for narrow ones."""
    texts = [shortened(printable(t), 40) for t in (node.label, node.op, node.result) if not t.isascii()]
    columns = max(map(listing.width, texts), default=0)
    if columns <= max((len(t) for t in texts), default=0):
        return {}
    return {"width": f"{columns * 0.09 + 0.25:.2f}"}


def relay_node(joins: bool) -> Attributes:
    """Where a line from outside enters a loop: a dot where it branches, else a bend."""
    return _JUNCTION if joins else _BEND


def cluster(box: Cluster, label: str) -> Attributes:
    """The box around a scope, a time step, several equal ones, or the backward pass."""
    look = {"scope": _SCOPE, "step": _STEPS if box.times > 1 else _STEP, "phase": _PHASE}[box.kind]
    if box.kind == "scope" and label.endswith(OPENED):
        look = _RECIPE
    text = {"scope": label, "step": f"t = {label}", "phase": f"{label} pass"}[box.kind]
    return {
        "label": f"<{escape(shortened(printable(text), 60))}>",
        "labeljust": "l",
        "labelloc": "t",
        **look,
    }


def window(name: str) -> Attributes:
    """The box around the time steps that a gradient goes through between two cuts."""
    return {"label": f"<{escape(name)}>", "labeljust": "l", "labelloc": "b", **_WINDOW}


def caption(lines: list[str], legend: str) -> Attributes:
    """The caption: lines of text, and the legend of the colours."""
    rows = [f'<tr><td align="left" colspan="9" border="0">{escape(line)}</td></tr>' for line in lines if line]
    if legend:
        rows.append(f"<tr>{legend}</tr>")
    if not rows:
        return {}
    table = f'<table border="0" cellborder="0" cellspacing="2" cellpadding="3">{"".join(rows)}</table>'
    return {"label": f"<{table}>", "labelloc": "b", "labeljust": "l"}


def edge_look(edge: Edge, src: Node, dst: Node) -> Attributes:
    """The line of an edge: blue and bold from step to step, dashed with scissors where the gradient stops."""
    look: Attributes = {"tooltip": hover(facts.passes(edge, src, dst))}
    if edge.kind == "cut" and src.op == GROUND:
        look |= CUT_OFF | {"arrowhead": "tee"}
    elif edge.kind == "cut" and src.is_leaf:
        look |= CUT_OFF | {"headlabel": _CUT, "labeldistance": "1.6", "labelangle": "50"}
    elif edge.kind == "cut":
        look |= CUT_OFF | {"headlabel": _CUT, "labeldistance": "1.7", "labelangle": "0"}
    elif edge.kind == "state":
        look |= CARRIED
    elif edge.kind == "total":
        look |= RUNNING
    elif edge.kind == "gradient":
        look |= GRADIENT | (CARRIED | GRADIENT if edge.back else {})
    if edge.label and edge.kind == "state":
        look |= {
            "label": f"<<i>{escape(shortened(printable(edge.label)))}</i>>",
            "fontsize": "9",
            "fontcolor": _BLUE,
        }
    if _is_sum(dst) and edge.count > 1:
        look |= {"label": f"\N{MULTIPLICATION SIGN}{edge.count}", "fontsize": "9"}
    return look


def argument_names(node: Node, edges: list[Edge], sources: dict[int, Node]) -> dict[int, str]:
    """A word for each argument where their order matters and has no obvious names, else none."""
    places = [e.arg for e in edges]
    by_weight = node.op == "matmul" and any(sources[e.src].op == "param" and e.arg == 1 for e in edges)
    if (
        node.op in (*SYMMETRIC, "checkpoint")
        or node.fused
        or by_weight
        or not 2 <= len(places) <= _MOST_MARKED
        or (node.ops and node.op == GROUP)
    ):
        return {}
    if -1 in places:
        return {}
    names = _ARGUMENTS.get(node.op, ())
    return {i: names[i] if i < len(names) else str(i + 1) for i in places}
