"""Text from files, from standard input, or from what every Python brings along.

Whatever the source, what comes out is the same kind of text: decoded from UTF-8 without a byte order mark,
lines ending in a bare newline, in Unicode form NFC.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError, DTypeError, explain
from .text_files import STANDARD_INPUT, decode_bytes, nearest, read_bytes, shorten

__all__ = ["Corpus", "read_text"]

Source = str | os.PathLike[str]

_PREFIX = "builtin:"
_NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class Corpus:
    """A text, the name of where it came from, and the SHA-256 of its UTF-8 in hexadecimal.

    Built-in texts change with the version of Python: losses compare only where `sha256` agrees.

    >>> print(Corpus("to be or not to be"))
    18 characters, 7 distinct
    """

    text: str = field(repr=False)
    name: str = "text"
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        # A lone surrogate has no UTF-8, but a text that holds one still needs a fingerprint.
        digest = hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()
        object.__setattr__(self, "sha256", digest)

    def __str__(self) -> str:
        length = len(self.text)
        return f"{length:,} character{'' if length == 1 else 's'}, {len(set(self.text)):,} distinct"


def read_text(source: Source | Sequence[Source]) -> Corpus:
    """The text of one source, or of several joined in the order given.

    A source is the path of a UTF-8 file, `-` for standard input, `builtin:topics` (the language reference
    that Python's `help` shows, about 0.5 million characters) or `builtin:stdlib` (the source code of the
    standard library without its tests, about 12 million). A `Path` object is always a file. Where a text
    does not end in a newline, one is put between it and the next.

    Raises `DataError` if a source is missing, unreadable, binary or not UTF-8, or if there is no text at all.

    >>> 'The "assert" statement' in read_text("builtin:topics").text
    True
    """
    sources = _listed(source)
    name = _joint_name([_name(one) for one in sources])
    text = unicodedata.normalize("NFC", _join(map(_text_of, sources)))
    if not text:
        raise DataError(
            explain(
                f"read_text: {shorten(name)} holds no text",
                rule="expected at least one character.",
                way_out="Give a file that is not empty. Without a file: builtin:topics or builtin:stdlib.",
            )
        )
    return Corpus(text, name)


def _listed(source: object) -> list[Source]:
    """Sources as a list, each one checked."""
    alone = isinstance(source, str | bytes | os.PathLike) or not isinstance(source, Iterable)
    sources: list[Source] = []
    for one in [source] if alone else source:  # type: ignore[attr-defined]
        if not isinstance(one, str | os.PathLike):
            raise DTypeError(
                explain(
                    "read_text: this is not a source of text",
                    {"source": one},
                    "expected a path, '-', builtin:topics, builtin:stdlib, or a list of these.",
                )
            )
        sources.append(one)
    if not sources:
        raise DataError(
            explain(
                "read_text: the list of sources is empty",
                rule="expected at least one source of text.",
                way_out="Give a file. Without a file: builtin:topics or builtin:stdlib.",
            )
        )
    return sources


def _name(source: Source) -> str:
    return "standard input" if source == STANDARD_INPUT else os.fspath(source)


def _joint_name(names: list[str]) -> str:
    return " + ".join(names) if len(names) <= 3 else f"{names[0]} + {len(names) - 1} more"


def _text_of(source: Source) -> str:
    if isinstance(source, str) and source.startswith(_PREFIX):
        return _builtin(source)
    return decode_bytes(read_bytes(source), _name(source))


def _join(texts: Iterable[str]) -> str:
    parts: list[str] = []
    for text in filter(None, texts):
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        parts.append(text)
    return "".join(parts)


def _builtin(source: str) -> str:
    read = _BUILTINS.get(source)
    if read is None:
        raise DataError(
            explain(
                f"read_text: there is no built-in text {shorten(source)}",
                rule=f"expected one of {', '.join(_BUILTINS)}.",
                way_out=nearest(source, list(_BUILTINS)) + f"A file of this name is read as ./{source}.",
            )
        )
    return read()


def _topics() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(_absent("builtin:topics", "pydoc_data.topics")) from error
    # Every topic ends in a newline, so one more leaves a blank line between two of them.
    return "\n".join(topics[key] for key in sorted(topics))


def _stdlib() -> str:
    """Every file of the library that is UTF-8, in the order of its path, the same on every system."""
    root = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _NOT_LIBRARY]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    paths.sort(key=lambda path: path.relative_to(root).parts)
    text = _join(filter(None, map(_source_code, paths)))
    if not text:
        raise DataError(_absent("builtin:stdlib", f"{root}{os.sep}*.py"))
    return text


def _source_code(path: Path) -> str:
    """Text of one library file, empty where it cannot be read: no user can mend another's Python."""
    try:
        return decode_bytes(read_bytes(path), os.fspath(path))
    except DataError:
        return ""


def _absent(source: str, missing: str) -> str:
    return explain(
        f"read_text: this Python was installed without the text of {source}",
        {"missing": missing},
        "expected a complete standard library; some small or embedded builds leave parts of it out.",
        "Give a text file of your own, or use a Python from python.org.",
    )


_BUILTINS: dict[str, Callable[[], str]] = {"builtin:topics": _topics, "builtin:stdlib": _stdlib}
