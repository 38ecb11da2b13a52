"""The colours of a picture on a dark screen: a style sheet inside the SVG, independent of the page around it."""

from __future__ import annotations

import re

# The dark counterpart of each colour: fills dark, texts light, borders a little lighter. Norms keep their colours.
_DARK = {
    "#ffffff": "#161b22", "white": "#0d1117", "#1b1f24": "#e6edf3", "black": "#e6edf3", "#57606a": "#9da7b3",
    "#cfe6f5": "#12324a", "#fbe3cf": "#46280f", "#f3f4f6": "#22272e", "#f6e1ee": "#432339", "#e8eef6": "#1b2a3d",
    "#e3f1dc": "#1d3521", "#fff3d1": "#3d3110", "#0072b2": "#58a6dd", "#b8530a": "#e0863f", "#8c959f": "#7d8792",
    "#a0457d": "#d27db3", "#6e7781": "#8b949e", "#2f7d4f": "#56b37c", "#a67c00": "#d1a93b", "#c4161c": "#ff7b72",
    "#fde3e1": "#4a1b1a",
}  # fmt: skip
_OPENING = re.compile(r"<svg [^>]*>\n?")


def with_dark(svg: str) -> str:
    """The SVG with a style sheet for dark screens; it names no colour that is not there, and touches nothing outside.

    >>> print(with_dark('<svg width="1"><path fill="white"/></svg>'))
    <svg class="tgs-picture" width="1"><style>@media (prefers-color-scheme: dark) {
    .tgs-picture [fill="white"] { fill: #0d1117 }
    .tgs-picture text:not([fill]) { fill: #e6edf3 }
    .tgs-picture .norm text:not([fill]), .tgs-picture .norm [fill="#1b1f24"] { fill: #1b1f24 }
    .tgs-picture .norm [fill="#ffffff"] { fill: #ffffff }
    }</style><path fill="white"/></svg>
    """
    if 'fill="' not in svg:
        return svg
    rules = [
        f'.tgs-picture [{kind}="{light}"] {{ {kind}: {dark} }}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
        if f'{kind}="{light}"' in svg
    ]
    rules.append(".tgs-picture text:not([fill]) { fill: #e6edf3 }")
    ink = '.tgs-picture .norm text:not([fill]), .tgs-picture .norm [fill="#1b1f24"]'
    rules += [f"{ink} {{ fill: #1b1f24 }}", '.tgs-picture .norm [fill="#ffffff"] { fill: #ffffff }']
    sheet = "\n".join(["<style>@media (prefers-color-scheme: dark) {", *rules, "}</style>"])
    svg = svg.replace("<svg ", '<svg class="tgs-picture" ', 1)
    return _OPENING.sub(lambda found: found[0] + sheet, svg, count=1)
