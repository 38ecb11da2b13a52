"""Graphviz's SVG without repetitions: the same picture in about half of the bytes."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_NAMED = re.compile(r'(<g id="(?:clust|edge)\d+" class="\w+">)\n<title>[^<]*</title>')
_WIDTH = re.compile(r'<svg [^>]*?width="([\d.]+)pt"')
_READABLE = 9 / 8  # pixels a point at which the smallest letters, of 8 points, are 9 pixels high
_EMPTY = re.compile(r"<g [^>]*>\s*</g>\n")
_PLACES = re.compile(r' (?:d|points|x|y|cx|cy|rx|ry)="[^"]*"')
_DECIMALS = re.compile(r"(\d+)\.(\d)\d*")
_CURVE = re.compile(r' d="M([^" C]+)C([^"A-Z]+)"')
_USUAL = ('font-family="Helvetica,Arial,sans-serif"', 'font-size="10.00"', 'xml:space="preserve"')

# A bold word and what stands behind it on its line: where the font here is wider than the one laid out with, the
# second would begin inside the first if it had a place of its own.
_PAIR = re.compile(
    r'<text( x="[^"]+"(?P<y> y="[^"]+"))( font-weight="bold"[^>]*)>([^<]*)</text>\n'
    r'<text x="[^"]+"(?P=y)([^>]*)>([^<]*)</text>'
)


def slimmed(svg: str) -> str:
    """The same picture: positions in tenths of a point, shared attributes of texts written once, no invisible groups.

    Names that Graphviz makes up for boxes and lines go too, for browsers show them as tooltips.

    >>> slimmed('<!-- n0 --><text text-anchor="start" x="1.26" y="-3.00" font-size="10.00">a</text>')
    '<text x="1.2" y="-3">a</text>'
    """
    svg = _EMPTY.sub("", _NAMED.sub(r"\1", _COMMENT.sub("", svg)))
    svg = _PLACES.sub(lambda found: _DECIMALS.sub(_tenths, found[0]), svg)
    svg = _CURVE.sub(_straightened, svg)
    for shared in _USUAL:
        svg = svg.replace(f" {shared}", "")
    svg = svg.replace(' text-anchor="start"', "")
    svg = _PAIR.sub(r"<text\1><tspan\3>\4</tspan><tspan\5>\6</tspan></text>", svg)
    return svg.replace('<g id="graph0"', f'<g id="graph0" {" ".join(_USUAL)}', 1)


def scaled(svg: str) -> str:
    """The same picture: it shrinks with its page as long as it can be read; then the page scrolls.

    >>> scaled('<svg width="80pt" height="8pt">')
    '<svg style="max-width: 100%; min-width: 90px; height: auto" width="80pt" height="8pt">'
    """
    width = _WIDTH.search(svg)
    least = f" min-width: {float(width[1]) * _READABLE:.0f}px;" if width else ""
    return svg.replace("<svg ", f'<svg style="max-width: 100%;{least} height: auto" ', 1)


def _tenths(found: re.Match[str]) -> str:
    return found[1] if found[2] == "0" else f"{found[1]}.{found[2]}"


def _straightened(found: re.Match[str]) -> str:
    """A path with lines where its curves are straight: four of the eight in the border of a rounded box."""
    here, points = found[1], found[2].split()
    said, kind = [f"M{here}"], ""
    for first, second, end in zip(points[::3], points[1::3], points[2::3], strict=False):
        if first == here and second == end:
            said.append(f"L{end}")
            kind = "L"
        else:
            said.append(f"{' ' if kind == 'C' else 'C'}{first} {second} {end}")
            kind = "C"
        here = end
    return f' d="{"".join(said)}"'
