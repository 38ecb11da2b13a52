"""From the source that a user names to open binary files: paths, folders, globs, standard input.

This file does not know the built-in texts; it only points at them when there is no such file.
"""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tinygrad_seq.data.nearest import nearest, neighbors, shorten
from tinygrad_seq.data.sources.decode import CHUNK, UTF8, Decoding, decoded
from tinygrad_seq.data.sources.unpack import unpacked
from tinygrad_seq.errors import DataError, explain
from tinygrad_seq.runtime.untrusted_files import UnfitError, open_file, reason_of

__all__ = ["STANDARD_INPUT", "files_of", "left_out_of", "nearest", "opened", "shorten", "texts_of"]

STANDARD_INPUT = "-"
_TEXT_ENDINGS = (".txt", ".text", ".md")
_LOOKED_AT = 1 << 13  # bytes
_PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zip")


def files_of(source: str | os.PathLike[str], ext: str = "") -> list[str | os.PathLike[str]]:
    """The files that one source stands for, in the order of their paths.

    A folder stands for the text files in it and below it: those that end in .txt, .text or .md, packed ones included,
    and every other whose beginning is UTF-8; with `ext`, endings such as "py,md", for those that end so. Hidden ones,
    links to folders and the folders of runs are passed over. A string with `*`, `?` or `[` that is no file itself
    stands for the files that fit it (`**` for any folders). Everything else stands for itself, there or not.

    Raises `DataError` for a folder or a glob that stands for no file.
    """
    name = os.fspath(source)
    if source == STANDARD_INPUT or not isinstance(name, str):
        return [source]
    if os.path.isdir(name):
        found, left_out = _files_below(name, ext)
        if not found:
            raise DataError(_no_text(name, ext, left_out))
        return list(found)
    # No name holds a zero byte; opening it raises the error.
    is_glob = isinstance(source, str) and glob.has_magic(name) and "\0" not in name
    return list(_matches(name)) if is_glob and not os.path.lexists(name) else [source]


def left_out_of(sources: Iterable[str | os.PathLike[str]], ext: str = "") -> int:
    """How many files of the folders among the sources are no text, and so left out."""
    return sum(_files_below(os.fspath(one), ext)[1] for one in sources if os.path.isdir(one))


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


def _files_below(folder: str, ext: str) -> tuple[list[str], int]:
    """The text files below a folder, and how many others there are that might have been meant."""
    endings = tuple(f".{one.strip().lower().lstrip('.')}" for one in ext.split(",") if one.strip())
    found, left_out = [], 0
    # Links to folders are not followed: they may lead back here.
    for here, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if {"config.toml", "state.safetensors"} <= set(names):
            subfolders[:] = names[:] = []  # a run, which grows while its text is read
        for name in names:
            path = Path(here, name)
            if name.startswith(".") or not os.path.isfile(path):
                continue
            if endings and not _unpacked_name(name).endswith(endings):
                continue
            # Names that end like texts, and packed files, are accepted unread: reading them raises the error.
            named = _unpacked_name(name).endswith(endings or _TEXT_ENDINGS)
            if (named and (_is_packed_name(name) or not endings)) or _begins_as_text(path):
                found.append(path)
            else:
                left_out += 1
    return [os.fspath(path) for path in sorted(found, key=lambda path: path.parts)], left_out


def _begins_as_text(path: Path) -> bool:
    """Whether the beginning of a file is UTF-8 without zero bytes; True where it cannot be read, so that
    reading raises.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start, final=len(start) < _LOOKED_AT)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _no_text(folder: str, ext: str, left_out: int) -> str:
    endings = " or ".join(f".{one.strip().lstrip('.')}" for one in ext.split(","))
    kinds = f"files that end in {endings}" if ext else "files of UTF-8 text"
    binary = f"; {left_out:,} are there that are no text" if left_out else ""
    return explain(
        f"read_text: the folder {shorten(folder)} holds no text file",
        expected=f"expected {kinds}, hidden ones not, in it or below it{binary}.",
        hint=f"Name the files themselves, or with a glob: {os.path.join(folder, '*.py')}",
    )


def _is_packed_name(name: str) -> bool:
    return name.lower().endswith(_PACKED_ENDINGS)


def _unpacked_name(name: str) -> str:
    name = name.lower()
    for ending in _PACKED_ENDINGS:
        name = name.removesuffix(ending)
    return name


def _matches(pattern: str) -> list[str]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
    if not found:
        raise DataError(
            f"read_text: no file fits {shorten(pattern)}",
            expected="expected a glob such as books/*.txt, or books/**/*.txt for the folders below too.",
            hint=nearest(pattern, neighbors(pattern)) + "Without a file: builtin:topics or builtin:stdlib.",
        )
    return [os.fspath(path) for path in sorted(found, key=lambda path: path.parts)]


def _standard_input() -> BinaryIO:
    # A program without a console has no standard input; a notebook's is text only.
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError(
            "read_text: there is no standard input to read from",
            expected="expected bytes on standard input for the source '-'.",
            hint="Give the path of a file, or builtin:topics.",
        )
    return stream


def _refusal(name: str, error: OSError | ValueError) -> str:
    rule = "expected a UTF-8 text file."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        what = "does not exist"
        hint = nearest(name, neighbors(name)) + "Without a file: builtin:topics or builtin:stdlib."
    elif isinstance(error, IsADirectoryError):
        what = "is a folder"
        hint = "Name the files inside it; most shells write them all for folder/*.txt."
    elif isinstance(error, PermissionError):
        what = "may not be read: permission denied"
        hint = "Copy it to a place where you may read it."
    elif isinstance(error, UnfitError) and "\0" not in name:
        what = f"cannot be read: {reason_of(error)}"
        hint = "Pipe it in instead, with - as its name: tgs train - < FILE"
    else:
        what = f"cannot be read: {reason_of(error)}"
        hint = "Check that this is a path and not the text itself."
    return explain(f"read_text: {shorten(name)} {what}", None, rule, hint)
