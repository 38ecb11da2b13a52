"""Unicode form NFC of a text that comes in pieces: the same as of the whole text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from unicodedata import combining, normalize

__all__ = ["composed", "stands_alone"]

_CONTEXT = 16  # characters before a place that can have a part in what is composed there
_LONGEST = 1 << 16  # characters; more marks than that on one letter are no writing


def composed(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces in form NFC, cut only where nothing is composed across the cut.

    >>> list(composed(["caf", "e", "\u0301!"]))
    ['ca', 'f', 'é', '!']
    """
    held = ""
    for piece in pieces:
        held += piece
        cut = _last_cut(held)
        if cut:
            yield normalize("NFC", held[:cut])
            held = held[cut:]
    if held:
        yield normalize("NFC", held)


def stands_alone(before: str, char: str) -> bool:
    r"""Whether a character begins anew: neither it nor what follows it changes what was `before`.

    >>> stands_alone("a", "b"), stands_alone("a", "\u0301")
    (True, False)
    """
    if char < "\u0300":
        return True
    return combining(char) == 0 and normalize("NFC", before + char) == normalize("NFC", before) + normalize(
        "NFC", char
    )


def _last_cut(text: str) -> int:
    """The last place to cut a text at, 0 where there is none."""
    for place in range(len(text) - 1, max(0, len(text) - _LONGEST), -1):
        if stands_alone(text[max(0, place - _CONTEXT) : place], text[place]):
            return place
    return len(text) if len(text) > _LONGEST else 0
