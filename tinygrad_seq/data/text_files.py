"""From what a user names to a string: reading bytes, decoding them, and saying what is wrong with them.

This file does not know the built-in texts; it only points at them when there is no such file.
"""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

from ..errors import DataError, explain

__all__ = ["STANDARD_INPUT", "decode_bytes", "nearest", "read_bytes", "shorten"]

STANDARD_INPUT = "-"

_UTF16_OR_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BINARY_IF_NUL_WITHIN = 8192  # bytes


def read_bytes(source: str | os.PathLike[str]) -> bytes:
    """All bytes of a file, or of standard input for `-`; the one place that opens what a user names."""
    try:
        if source == STANDARD_INPUT:
            return _standard_input()
        path = Path(source)
        # Windows reports a folder as a lack of permission, so the question is asked first.
        if path.is_dir():
            raise IsADirectoryError
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(_refusal(os.fspath(source), error)) from error


def decode_bytes(data: bytes, name: str) -> str:
    r"""Text of UTF-8 bytes, without byte order mark and with `\r\n` as `\n`; `name` is for the error."""
    if data.startswith(_UTF16_OR_32_MARKS):
        raise DataError(
            explain(
                f"read_text: {shorten(name)} is not UTF-8 but looks like UTF-16 or UTF-32",
                {"first bytes": data[:4]},
                "expected UTF-8 text.",
                "Save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8.",
            )
        )
    nul = data.find(b"\0", 0, _BINARY_IF_NUL_WITHIN)
    if nul >= 0:
        raise DataError(
            explain(
                f"read_text: {shorten(name)} looks binary",
                {"first zero byte at offset": nul},
                f"expected UTF-8 text, which has no zero byte among the first {_BINARY_IF_NUL_WITHIN:,}.",
                "Unpack it or convert it to text first.",
            )
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        at = error.start
        raise DataError(
            explain(
                f"read_text: {shorten(name)} is not UTF-8",
                {"offset": at, "line": data.count(b"\n", 0, at) + 1, "bytes from there": data[at : at + 8]},
                f"expected UTF-8 text, in which the byte 0x{data[at]:02x} cannot stand at offset {at:,}.",
                "Save it as UTF-8, or convert it; from Latin-1: iconv -f latin1 -t utf-8.",
            )
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def nearest(word: str, known: list[str]) -> str:
    """`Did you mean 'x'? ` for the likeliest of `known`, or nothing when none is near."""
    found = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {found[0]!r}? " if found else ""


def shorten(name: str) -> str:
    """A name as a message shows it: quoted, and without its middle when it is very long."""
    quoted = repr(name)
    return quoted if len(quoted) <= 200 else f"{quoted[:98]}...{quoted[-98:]}"


def _standard_input() -> bytes:
    # A program without a console has no standard input; a notebook's is text only.
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError(
            explain(
                "read_text: there is no standard input to read from",
                rule="expected bytes on standard input for the source '-'.",
                way_out="Give the path of a file, or builtin:topics.",
            )
        )
    data: bytes = stream.read()
    return data


def _refusal(name: str, error: OSError | ValueError) -> str:
    rule = "expected a UTF-8 text file."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        what = "does not exist"
        way_out = nearest(name, _neighbours(name)) + "Without a file: builtin:topics or builtin:stdlib."
    elif isinstance(error, IsADirectoryError):
        what = "is a folder"
        way_out = "Name the files inside it; most shells write them all for folder/*.txt."
    elif isinstance(error, PermissionError):
        what = "may not be read: permission denied"
        way_out = "Copy it to a place where you may read it."
    else:
        what = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        way_out = "Check that this is a path and not the text itself."
    return explain(f"read_text: {shorten(name)} {what}", None, rule, way_out)


def _neighbours(name: str) -> list[str]:
    """Paths that exist in the folder where `name` was looked for, written as `name` was."""
    folder = os.path.dirname(name)
    try:
        return [os.path.join(folder, entry) for entry in sorted(os.listdir(folder or os.curdir))]
    except (OSError, ValueError):
        return []
