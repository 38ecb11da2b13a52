r"""Text from outside, made safe for a terminal: control characters become `\u001b` and the like.

Names of files, symbols of a vocabulary, the content of a weights file, and samples of a model may hold escape
sequences that clear a terminal or change its title, marks that reverse the order of letters, and lone surrogates,
which no encoding can write. One function makes them visible, and one stream, which the command line puts before
standard output and standard error, applies it to everything that is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

__all__ = ["VisibleStream", "bare", "one_line", "visible"]

# C0 but newline and tab, DEL and C1; soft hyphen, marks of direction, zero width space, separators of lines and
# paragraphs, overrides and isolates, invisible operators, lone surrogates, byte order mark, annotations, tags.
# The joiners U+200C and U+200D stay: scripts and emoji are written with them.
_HARMFUL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_ANYWHERE = re.compile(f"[{_HARMFUL}]")
_IN_A_LINE = re.compile(f"[{_HARMFUL}\t\n]")


def visible(text: str) -> str:
    r"""The text with control characters and invisible characters as `\uHHHH`; newlines and tabs stay.

    The notation is that of JSON (two halves above U+FFFF), so a line of JSON remains one with the same content.

    >>> print(visible("a\x1b[2Jb\u202ec"))
    a\u001b[2Jb\u202ec
    """
    return _ANYWHERE.sub(_escaped, text)


def one_line(value: object) -> str:
    r"""`visible` of a name or a path, which stays on its line: newlines and tabs are escaped too.

    >>> print(one_line("a\nb"))
    a\u000ab
    """
    return _IN_A_LINE.sub(_escaped, str(value))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


class VisibleStream:
    """A text stream before another one: what is written becomes `visible` on the way, all else is the other's."""

    def __init__(self, stream: TextIO):
        self.bare = stream

    def write(self, text: str) -> int:
        """Write the text, made visible."""
        self.bare.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, made visible."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)


def bare(stream: TextIO) -> TextIO:
    """The stream itself, for control codes of our own, and for text that goes into a pipe or a file as it is."""
    return stream.bare if isinstance(stream, VisibleStream) else stream
