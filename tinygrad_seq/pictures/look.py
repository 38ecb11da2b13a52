"""How things look: the words, shapes and colours of nodes, edges and clusters, as Graphviz attributes.

The colours are tints of Okabe and Ito's set, which colour-blind people can tell apart; shape, border or words
say the same once more. All text from outside goes through `escape`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from tinygrad_seq import listing
from tinygrad_seq.ops import OPS
from tinygrad_seq.refusals import describe_index
from tinygrad_seq.tape import Row

Attributes = dict[str, str]

_FONT = "Helvetica,Arial,sans-serif"
_INK, _QUIET, _BLUE = "#1b1f24", "#57606a", "#0072b2"
_SCISSORS = "\N{BLACK SCISSORS}"
_HOLE = "\N{MIDDLE DOT}"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_LONGEST = 28

GRAPH = {"rankdir": "TB", "nodesep": "0.12", "ranksep": "0.25", "fontname": _FONT, "fontsize": "10"}
NODE = {
    "shape": "box", "style": "rounded,filled", "fontname": _FONT, "fontsize": "10", "fontcolor": _INK,
    "margin": "0.09,0.045", "height": "0.25", "width": "0.2",
}  # fmt: skip
EDGE = {"arrowsize": "0.5", "color": _QUIET, "fontname": _FONT, "fontsize": "7", "fontcolor": _QUIET}

# A value that one time step hands to another.
CARRIED = {"color": _BLUE, "penwidth": "1.4"}
CUT_OFF = {"style": "dashed"}
UNSEEN = {"style": "invis"}
UNSEEN_NODE = {"style": "invis", "shape": "point", "width": "0", "height": "0", "label": ""}
_BEND = {"shape": "point", "width": "0.01", "height": "0.01", "color": _QUIET, "tooltip": ""}
_JUNCTION = {"shape": "point", "width": "0.05", "height": "0.05", "color": _QUIET, "tooltip": ""}
PAIR = {"label": "", "peripheries": "0", "margin": "0", "style": ""}

_SCOPE = {"style": "rounded,filled", "fillcolor": _BLUE + "0c", "color": _BLUE + "55"}
_STEP = {"style": "rounded,filled", "fillcolor": "#ffffff", "color": "#8c959f"}
_PHASE = {"style": "rounded,filled,dashed", "fillcolor": "#a0457d0c", "color": "#a0457d"}

# Fill and border by family of ops; the op's name shows the family too.
_FILLS = {
    "matmul": ("#cfe6f5", _BLUE),
    "reduce": ("#fbe3cf", "#b8530a"),
    "move": ("#f3f4f6", "#8c959f"),
    "index": ("#f3f4f6", "#8c959f"),
    "random": ("#f6e1ee", "#a0457d"),
}
_SYMMETRIC = ("add", "mul", "maximum", "equal")
_ARGUMENTS = {"where": ("if", "then", "else"), "gather": ("from", "at"), "scatter": ("add", "at")}


def op_node(row: Row, rows: Sequence[Row], result: str) -> Attributes:
    """The node of an op; `result` is the mark of an output, empty elsewhere."""
    op = OPS.get(row.op)
    fill, border = _FILLS.get(op.kind if op else "", ("#ffffff", _QUIET))
    words = f"<b>{escape(_title(row))}</b>{_detail(row, rows)}"
    look = {"fillcolor": fill, "color": border}
    if row.op == "cut":
        words = f"{_SCISSORS} {words}"
        look |= {"style": "rounded,dashed", "penwidth": "1.4"}
    elif row.op in ("checkpoint", "pick"):
        look["style"] = "rounded,filled,dotted"
    if result:
        look |= {"peripheries": "2", "penwidth": "1.4"}
    return {"label": _label(words, "" if row.op == "checkpoint" else listing.type_of(row), result), **look}


def leaf_node(row: Row, first: bool, result: str) -> Attributes:
    """The node of a parameter, of data or of a constant; drawn again, it is a ghost without its type."""
    if row.op == "const":
        return {"label": _label(_number(row.value), listing.type_of(row), result), "peripheries": "2"}
    name = escape(shortened(printable(row.name) if row.name else row.op))
    if row.op == "param":
        look = {
            "shape": "box",
            "style": "filled",
            "fillcolor": "#e3f1dc",
            "color": "#2f7d4f",
            "penwidth": "1.6",
        }
    else:
        look = {"shape": "ellipse", "style": "filled", "fillcolor": "#fff3d1", "color": "#a67c00"}
    if not first:
        look |= {"penwidth": "0.8", "fontcolor": _QUIET}
    if result:
        look["peripheries"] = "2"
    kind = listing.type_of(row) if first else ""
    return {"label": _label(name, kind, result), **look, "margin": "0.06,0.02", "height": "0.22"}


def relay_node(joins: bool) -> Attributes:
    """Where a line from outside enters a loop: a dot where it branches, else a bend."""
    return _JUNCTION if joins else _BEND


def cluster(kind: str, label: str) -> Attributes:
    """The box around a scope, a time step or the backward pass."""
    look = {"scope": _SCOPE, "step": _STEP, "phase": _PHASE}[kind]
    text = {"scope": label, "step": f"t = {label}", "phase": f"{label} pass"}[kind]
    return {"label": f"<{escape(shortened(printable(text), 60))}>", "labeljust": "l", **look}


def argument_names(row: Row) -> tuple[str, ...]:
    """A word for each argument where their order matters, else none."""
    if row.op in _SYMMETRIC or len(row.args) < 2 or row.op == "checkpoint":
        return ()
    names = _ARGUMENTS.get(row.op, ())
    return tuple(names[i] if i < len(names) else str(i + 1) for i in range(len(row.args)))


def argument_mark(name: str, beside: bool) -> Attributes:
    """The word at the head of an edge; `beside` says that the edge is a short level one."""
    return {"headlabel": name} if beside else {"headlabel": name, "labeldistance": "1.4", "labelangle": "40"}


# Graphviz puts the node's name for a backslash and an N, in HTML-like labels too, and reads tooltips twice over.
# Something unseen between the two is all that helps.
_APART = "\\\\\N{WORD JOINER}"


def escape(text: str) -> str:
    """A text as it may stand in an HTML-like label."""
    return re.sub(r"\\(?=[NGETHL])", _APART, html.escape(text))


def hover(text: str) -> str:
    """A text as it may stand in a tooltip."""
    return re.sub(r"\\(?=[A-Za-z\\])", _APART, text.replace("&", "&amp;"))


def printable(text: str) -> str:
    """A text that may stand in a picture: what has no shape of its own is written as an escape."""
    return (text if text.isprintable() else repr(text)[1:-1]) or "''"


def shortened(text: str, limit: int = _LONGEST) -> str:
    """A long text with its middle left out; the end of a name tells most."""
    if len(text) <= limit:
        return text
    kept = limit - 1
    return text[: kept // 3] + _ELLIPSIS + text[-(kept - kept // 3) :]


def _title(row: Row) -> str:
    return f"output {row.settings['i']}" if row.op == "pick" else shortened(printable(row.op))


def _detail(row: Row, rows: Sequence[Row]) -> str:
    """What else belongs to the op: a constant operand, the index of a slice, the axes of a sum."""
    text = " ".join(part for part in (_setting(row), _constants(row, rows)) if part)
    return f" {escape(shortened(text))}" if text else ""


def _setting(row: Row) -> str:
    settings = row.settings
    if "index" in settings:
        return f"[{describe_index(settings['index'])}]"
    if "axes" in settings:
        return str(settings["axes"])
    if "axis" in settings and row.shape:  # a sum over everything needs no axes
        return "axis " + str(settings["axis"]).strip("(),")
    return printable(str(settings["fn"]).rpartition(".")[2]) if "fn" in settings else ""


def _constants(row: Row, rows: Sequence[Row]) -> str:
    """`0.5` for x * 0.5, `(1, ·)` for 1 - x: constants stand in the op and have no node."""
    operands = [_number(rows[slot].value) if rows[slot].op == "const" else _HOLE for slot in row.args]
    constants = [text for text in operands if text != _HOLE]
    if len(constants) == 1 and row.op in _SYMMETRIC:
        return constants[0]
    return f"({', '.join(operands)})" if constants else ""


def _number(value: float | int | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _label(words: str, kind: str, result: str) -> str:
    lines = [words]
    if kind:
        lines.append(f'<font point-size="8" color="{_QUIET}">{escape(shortened(kind))}</font>')
    if result:
        lines.append(f'<font point-size="8"><i>{result}</i></font>')
    return f"<{'<br/>'.join(lines)}>"
