"""Texts for Graphviz's labels: escaped, shortened, letters with subscripts."""

from __future__ import annotations

import html
import re

from tinygrad_seq.viz.graph.labels import letters

_QUIET = "#57606a"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_LONGEST = 28
_NARROW = 24
SPACE = "&#160;"
"""Between two pieces of a line: SVG leaves out a plain space where a piece begins, and the pieces touch."""


def ports(operands: dict[int, str]) -> str:
    """The row of a box where lines arrive whose order matters: a cell for each, with its number or word."""
    cells = "".join(
        f'<td port="p{arg}"><font point-size="7" color="{_QUIET}">{name}</font></td>'
        for arg, name in sorted(operands.items())
    )
    return f'<tr><td><table border="0" cellspacing="4" cellpadding="0"><tr>{cells}</tr></table></td></tr>'


def title(text: str) -> str:
    """A name in bold; the t of `h_t` is a subscript."""
    said = []
    for one in text.split(", "):
        base, low = letters(one)
        below = f'<font point-size="7"><sub>{escape(low)}</sub></font>' if low else ""
        said.append(f"<b>{escape(base)}</b>{below}")
    return ", ".join(said)


def halved(text: str) -> list[str]:
    """A list in words on two lines, where it is long: steps stand side by side, and should be narrow."""
    commas = [i for i, sign in enumerate(text) if sign == ","]
    if len(text) < _NARROW or not commas:
        return [text]
    middle = min(commas, key=lambda i: abs(i - len(text) // 2)) + 1
    return [text[:middle], text[middle:].strip()]


# Graphviz puts the node's name for a backslash and an N, in HTML-like labels too, and reads tooltips twice over.
# Only an invisible character between the two helps.
_APART = "\\\\\N{WORD JOINER}"


def escape(text: str) -> str:
    """A text escaped for an HTML-like label."""
    return re.sub(r"\\(?=[NGETHL])", _APART, html.escape(text))


def hover(text: str) -> str:
    """A text escaped for a tooltip."""
    return re.sub(r"\\(?=[A-Za-z\\])", _APART, text.replace("&", "&amp;"))


def shortened(text: str, limit: int = _LONGEST) -> str:
    """A long text without its middle; the end of a name is the important part."""
    if len(text) <= limit:
        return text
    kept = limit - 1
    return text[: kept // 3] + _ELLIPSIS + text[-(kept - kept // 3) :]
