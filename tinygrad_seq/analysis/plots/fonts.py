"""Letters that the chosen font lacks, such as Hangul: taken from an installed font that has them, or drawn as boxes.

Matplotlib's own font has no Hangul; it would draw a box and warn, at whatever place the figure is drawn.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from tinygrad_seq.runtime.kernel_cache import say

BOX = "\u25a1"


def use_fonts_for(figure: Any) -> None:
    """Give each text of a figure the fonts that its letters need; one line says where none is installed."""
    for text in figure.findobj(import_module("matplotlib.text").Text):
        said = text.get_text()
        if said.isascii():
            continue
        fonts = import_module("matplotlib.font_manager").fontManager
        families = text.get_fontfamily()
        missing = {c for c in said if ord(c) > 127 and not c.isspace()}
        for path in fonts._find_fonts_by_props(text.get_fontproperties()):
            missing -= {c for c in missing if ord(c) in _letters_of(path)}
        for found in sorted({_family_with(c) for c in missing} - {""}):
            families = [*families, found]
        text.set_fontfamily(families)
        lost = sorted(c for c in missing if not _family_with(c))
        if lost:
            text.set_text("".join(BOX if c in lost else c for c in said))
            kinds = "".join(lost[:8]) + ("..." if len(lost) > 8 else "")
            say(
                "fonts",
                f"no installed font has {kinds}: charts show {BOX}. For Korean install Noto Sans CJK or Nanum.",
            )


@functools.cache
def _letters_of(path: str) -> frozenset[int]:
    """The code points that a font file has; none where it cannot be read."""
    try:
        return frozenset(import_module("matplotlib.ft2font").FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@functools.lru_cache(maxsize=4096)
def _family_with(letter: str) -> str:
    """The first installed family by its name that has a letter, upright and of usual weight; or nothing."""
    entries = import_module("matplotlib.font_manager").fontManager.ttflist
    usual = [e for e in entries if e.style == "normal" and e.weight in (400, "normal", "regular", "book")]
    # One font that comes with matplotlib has only boxes, one for every code point.
    usual = [e for e in usual if not e.name.startswith("Last Resort")]
    for entry in sorted(usual, key=lambda e: (e.name, e.fname)):
        if ord(letter) in _letters_of(entry.fname):
            return str(entry.name)
    return ""
