"""Texts inside every Python: the language reference and the standard library. They change with its version."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

from tinygrad_seq.data.nearest import nearest, shorten
from tinygrad_seq.data.sources.paths import texts_of
from tinygrad_seq.errors import DataError, explain

__all__ = ["PREFIX", "builtin_text", "joined"]

PREFIX = "builtin:"

_NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def builtin_text(source: str) -> str:
    """The text of `builtin:topics` or `builtin:stdlib`.

    Raises `DataError` for another name, and where this Python was installed without the text.
    """
    read = _BUILTINS.get(source)
    if read is None:
        raise DataError(
            f"read_text: there is no built-in text {shorten(source)}",
            expected=f"expected one of {', '.join(_BUILTINS)}.",
            hint=nearest(source, list(_BUILTINS)) + f"A file of this name is read as ./{source}.",
        )
    return read()


def joined(texts: Iterable[Iterable[str]]) -> Iterable[str]:
    r"""The pieces of several texts; where one does not end in a newline, one is put before the next.

    >>> "".join(joined([["one"], [], ["tw", "o"]]))
    'one\ntwo'
    """
    last = "\n"
    for text in texts:
        between = "" if last.endswith("\n") else "\n"
        for piece in filter(None, text):
            yield between + piece
            between, last = "", piece


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
    text = "".join(joined([_source_code(path)] for path in paths))
    if not text:
        raise DataError(_absent("builtin:stdlib", f"{root}{os.sep}*.py"))
    return text


def _source_code(path: Path) -> str:
    """Text of one library file, empty where it cannot be read."""
    try:
        return "".join(piece for text in texts_of(path) for piece in text)
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
