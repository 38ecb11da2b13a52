"""From what a user names to open files of bytes: paths, folders, globs, standard input.

This file does not know the built-in texts; it only points at them when there is no such file.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, explain
from ..reading import UnfitError, open_file, reason_of
from .decoding import CHUNK, UTF8, Decoding, decoded
from .naming import nearest, neighbours, shorten
from .unpacking import unpacked

__all__ = ["STANDARD_INPUT", "files_of", "nearest", "opened", "shorten", "texts_of"]

STANDARD_INPUT = "-"
_TEXT_ENDINGS = (".txt", ".text", ".md")
_PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zip")


def files_of(source: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """The files that one source stands for, in the order of their paths.

    A folder stands for the .txt, .text and .md files in it and below it, packed ones included, hidden ones
    not. A string with `*`, `?` or `[` that is no file itself stands for the files that fit it (`**` for any
    folders). Everything else stands for itself, there or not.

    Raises `DataError` for a folder or a glob that stands for no file.
    """
    name = os.fspath(source)
    if source == STANDARD_INPUT or not isinstance(name, str):
        return [source]
    if os.path.isdir(name):
        return list(_files_below(name))
    # A zero byte stands in no name; whoever opens it says so.
    is_glob = isinstance(source, str) and glob.has_magic(name) and "\0" not in name
    return list(_matches(name)) if is_glob and not os.path.lexists(name) else [source]


def texts_of(
    source: str | os.PathLike[str], how: Decoding = UTF8, chunk: int = CHUNK
) -> Iterator[Iterator[str]]:
    """The texts of a file or of standard input, each in pieces; a zip file may hold several.

    Each must be read before the next is asked for. Raises `DataError` for what cannot be read.
    """
    name = "standard input" if source == STANDARD_INPUT else os.fspath(source)
    with opened(source) as file:
        for part, text in unpacked(file, name, how.most):
            yield _closing(file, decoded(text, part, how, chunk))


def _closing(file: BinaryIO, pieces: Iterator[str]) -> Iterator[str]:
    """The pieces; where one cannot be read the file is closed at once, not when the error is forgotten."""
    try:
        yield from pieces
    except BaseException:
        file.close()
        raise


@contextmanager
def opened(source: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """An open file of bytes, or standard input for `-`; the one place that opens what a user names.

    Raises `DataError` for what cannot be opened, and inside for what cannot be read.
    """
    try:
        if source == STANDARD_INPUT:
            yield _standard_input()
            return
        with open_file(source) as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(_refusal(os.fspath(source), error)) from error


def _files_below(folder: str) -> list[str]:
    found: list[Path] = []
    for here, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(here, name) for name in names if not name.startswith(".") and _is_text_name(name)]
    if not found:
        raise DataError(
            explain(
                f"read_text: the folder {shorten(folder)} holds no text file",
                rule=f"expected files that end in {', '.join(_TEXT_ENDINGS)}, packed or not, in it or below it.",
                way_out=f"Name the files themselves, or with a glob: {os.path.join(folder, '*.py')}",
            )
        )
    return [os.fspath(path) for path in sorted(found, key=lambda path: path.parts)]


def _is_text_name(name: str) -> bool:
    name = name.lower()
    for ending in _PACKED_ENDINGS:
        name = name.removesuffix(ending)
    return name.endswith(_TEXT_ENDINGS)


def _matches(pattern: str) -> list[str]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
    if not found:
        raise DataError(
            explain(
                f"read_text: no file fits {shorten(pattern)}",
                rule="expected a glob such as books/*.txt, or books/**/*.txt for the folders below too.",
                way_out=nearest(pattern, neighbours(pattern))
                + "Without a file: builtin:topics or builtin:stdlib.",
            )
        )
    return [os.fspath(path) for path in sorted(found, key=lambda path: path.parts)]


def _standard_input() -> BinaryIO:
    # A program without a console has no standard input; a notebook's is text only.
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError(
            explain(
                "read_text: there is no standard input to read from",
                rule="expected bytes on standard input for the source '-'.",
                way_out="Give the path of a file, or builtin:topics.",
            )
        )
    return stream


def _refusal(name: str, error: OSError | ValueError) -> str:
    rule = "expected a UTF-8 text file."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        what = "does not exist"
        way_out = nearest(name, neighbours(name)) + "Without a file: builtin:topics or builtin:stdlib."
    elif isinstance(error, IsADirectoryError):
        what = "is a folder"
        way_out = "Name the files inside it; most shells write them all for folder/*.txt."
    elif isinstance(error, PermissionError):
        what = "may not be read: permission denied"
        way_out = "Copy it to a place where you may read it."
    elif isinstance(error, UnfitError) and "\0" not in name:
        what = f"cannot be read: {reason_of(error)}"
        way_out = "Pipe it in instead, with - as its name: tgs train - < FILE"
    else:
        what = f"cannot be read: {reason_of(error)}"
        way_out = "Check that this is a path and not the text itself."
    return explain(f"read_text: {shorten(name)} {what}", None, rule, way_out)
