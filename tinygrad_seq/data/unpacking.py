"""Bytes of a file, unpacked where they are packed: gzip, bzip2, xz, zip, told by how they begin.

The name of a file is not asked: downloads often bear a wrong one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import DataError, explain

__all__ = ["explained", "is_packed", "unpacked"]

_GZIP, _XZ, _ZIP = b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06\0\0"
_BZIP2, _BZIP2_AT_4 = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")
_LONGEST = 10  # bytes


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is packed.

    >>> is_packed(gzip.compress(b"text")), is_packed(b"text")
    (True, False)
    """
    return _kind(start) is not None


def unpacked(file: BinaryIO, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """The texts of an open binary file, each with its name: the file itself, or what is packed in it.

    Of a zip file these are its members that end in .txt, in the order of their names, or all of them where
    none ends so. `name` is for errors. A file that cannot seek, such as a pipe, may be anything but a zip.

    Raises `DataError` for a zip that is damaged, empty, encrypted, or not seekable.

    >>> [(name, text.read()) for name, text in unpacked(io.BytesIO(gzip.compress(b"text")), "a.gz")]
    [('a.gz', b'text')]
    """
    start, whole = _peeked(file)
    kind = _kind(start)
    if kind == "zip":
        yield from _members(whole, name)
    elif kind == "gzip":
        yield name, gzip.GzipFile(fileobj=whole, mode="rb")  # type: ignore[misc]
    elif kind == "bzip2":
        yield name, bz2.BZ2File(whole)  # type: ignore[misc]
    elif kind == "xz":
        yield name, lzma.open(whole)  # type: ignore[misc]  # noqa: SIM115
    else:
        yield name, whole


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Inside, what the unpackers say about damaged data becomes a `DataError` that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise DataError(_damaged(name, error)) from error
    except OSError as error:
        # bz2 says so and gives no number; what the system itself refuses has one.
        if error.errno is not None:
            raise
        raise DataError(_damaged(name, error)) from error


def _kind(start: bytes) -> str | None:
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(_XZ):
        return "xz"
    if start.startswith((_ZIP, _EMPTY_ZIP)):
        return "zip"
    return "bzip2" if start.startswith(_BZIP2) and start[4:10] in _BZIP2_AT_4 else None


def _peeked(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """How a file begins, and the file, still at its beginning."""
    if file.seekable():
        start = file.read(_LONGEST)
        file.seek(0)
        return start, file
    buffered = io.BufferedReader(_Joined(start := _read_full(file, _LONGEST), file))
    return start, buffered


def _read_full(file: BinaryIO, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class _Joined(io.RawIOBase):
    """Bytes that were read already, and then the rest of their file."""

    def __init__(self, start: bytes, file: BinaryIO):
        self.start, self.file = start, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        part, self.start = (
            (self.start[: len(view)], self.start[len(view) :])
            if self.start
            else (self.file.read(len(view)), b"")
        )
        view[: len(part)] = part
        return len(part)


def _members(file: BinaryIO, name: str) -> Iterator[tuple[str, BinaryIO]]:
    if not file.seekable():
        raise DataError(
            explain(
                f"read_text: {name!r} is a zip file, which cannot be read from a pipe",
                rule="expected a file on the disk, or text.",
                way_out="Unpack it into the pipe: unzip -p FILE.zip | tgs train -",
            )
        )
    with explained(name), zipfile.ZipFile(file) as packed:
        every = [one for one in packed.infolist() if not one.is_dir() and "__MACOSX/" not in one.filename]
        members = [one for one in every if one.filename.lower().endswith(".txt")] or every
        if not members:
            raise DataError(explain(f"read_text: the zip file {name!r} holds no file"))
        for member in sorted(members, key=lambda one: one.filename):
            if member.flag_bits & 1:
                what = f"read_text: {member.filename!r} in {name!r} is encrypted"
                raise DataError(explain(what, None, "", "Unpack it with its password first."))
            with packed.open(member) as text:
                yield f"{name}/{member.filename}", text  # type: ignore[misc]


def _damaged(name: str, error: Exception) -> str:
    return explain(
        f"read_text: {name!r} is damaged: it cannot be unpacked",
        {"unpacker": str(error) or type(error).__name__},
        "expected a whole gzip, bzip2, xz or zip file.",
        "Copy or download it anew.",
    )
