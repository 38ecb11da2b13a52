"""The colour of a gradient: log10 of its norm on a map that colour-blind people can read, with a numbered legend.

The map gets darker from end to end, so it can be read in grey too. Zero is hatched, norms that are not finite have
a frame, and every node shows its number: colour is never the only cue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygrad_seq.viz.graph.model import Node

_MAP = ("#fdf3c4", "#a9d8b8", "#4a9fb3", "#2c5d9b", "#1d2160")
_ZERO, _STRIPE, BAD = "#ffffff", "#b9bec4", "#c4161c"
_INK, _PAPER = "#1b1f24", "#ffffff"
_STEPS = 5


class Scale:
    """From a norm to a colour: the smallest norm that is not zero is lightest, the largest darkest."""

    def __init__(self, nodes: Sequence[Node]):
        norms = [g for n in nodes if not n.is_leaf for g in (n.grad, n.grad_least) if g is not None]
        found = [math.log10(g) for g in norms if 0 < g < math.inf]
        self.low, self.high = (min(found), max(found)) if found else (0.0, 0.0)
        self.zero = any(g == 0 for g in norms)
        self.bad = any(n.grad is not None and not math.isfinite(n.grad) for n in nodes)
        self.any = bool(norms)

    def at(self, norm: float) -> str:
        """The colour of a norm above zero."""
        width = self.high - self.low
        return mixed((math.log10(norm) - self.low) / width if width else 1.0)

    def fill(self, node: Node) -> dict[str, str]:
        """The attributes that colour a node."""
        g = node.grad
        if g is None:
            return {"fillcolor": "#ffffff"}
        if not math.isfinite(g):
            return {"fillcolor": "#fde3e1", "color": BAD, "penwidth": "2.6"}
        if g == 0:
            return {"style": "striped", "fillcolor": ":".join([_ZERO, _STRIPE] * 5), "color": "#57606a"}
        color = self.at(g)
        least = node.grad_least
        if least is not None and 0 < least < g:
            first = self.at(least)
            return {"fillcolor": f"{first}:{color}"}
        return {"fillcolor": color, "fontcolor": ink_on(color)}

    def legend(self) -> str:
        """Rows of an HTML-like table: colours with their numbers."""
        if not self.any:
            return ""
        first, last = math.floor(self.low), math.ceil(self.high)
        count = min(_STEPS, last - first + 1)
        cells = []
        for i in range(count):
            power = first + round(i * (last - first) / max(1, count - 1))
            color = self.at(10.0**power) if self.any else mixed(1.0)
            text = f'<font color="{ink_on(color)}">10<sup>{power}</sup></font>'.replace("-", "\N{MINUS SIGN}")
            cells.append(f'<td bgcolor="{color}">{text}</td>')
        if len(cells) > 1:
            cells = ["<td>weak</td>", *cells, "<td>strong</td>"]
        if self.zero:
            cells.append(
                f'<td bgcolor="{_ZERO}" border="1" color="{_STRIPE}">\N{SQUARE WITH VERTICAL FILL} exactly 0</td>'
            )
        if self.bad:
            cells.append(f'<td color="{BAD}" border="2">not finite</td>')
        return f"<td>norm of the gradient</td>{''.join(cells)}"


def mixed(share: float) -> str:
    """The colour at a place of the map, from 0 to 1.

    >>> mixed(0.0), mixed(1.0)
    ('#fdf3c4', '#1d2160')
    """
    place = min(max(share, 0.0), 1.0) * (len(_MAP) - 1)
    i = min(int(place), len(_MAP) - 2)
    return mixed_colors(_MAP[i], _MAP[i + 1], place - i)


def mixed_colors(a: str, b: str, share: float) -> str:
    """The colour between two."""
    parts = (round(x + (y - x) * share) for x, y in zip(_rgb(a), _rgb(b), strict=True))
    return "#" + "".join(f"{p:02x}" for p in parts)


def ink_on(color: str) -> str:
    """Black or white, whichever can be read on a colour."""
    r, g, b = _rgb(color)
    return _INK if 0.299 * r + 0.587 * g + 0.114 * b > 128 else _PAPER


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
