"""Bytes of a file, unpacked where they are packed: gzip, bzip2, xz, zip, recognised by their first bytes.

The file's name is not used: downloads often have a wrong one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from tinygrad_seq.data.nearest import shorten
from tinygrad_seq.errors import DataError, explain

__all__ = ["FREE", "MOST", "RATIO", "explained", "is_packed", "refuse_endless", "unpacked"]

_GZIP, _XZ, _ZIP = b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06\0\0"
_BZIP2, _BZIP2_AT_4 = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")
_LONGEST = 10  # bytes

FREE = 64_000_000
"""Bytes that any packed file may expand to."""
RATIO = 200
"""Beyond that, how many times its size on the disk. A text comes to 3 to 20, one letter all through to 1,000."""
MOST = 16_000_000_000
"""Bytes that a packed file, or a pipe, may hold at the most where nobody has named a limit."""
_NAME_IT = (
    "If you want it all, name how many megabytes it may come to: max_size=N, for train and eval --max-size N."
)
_MOST_MEMBERS, _LARGEST_DIRECTORY = 65_534, FREE  # of a zip file, whose list is read as a whole; bytes

# What the unpackers raise for damaged data, and for methods that they do not support.
_DAMAGES = (
    EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, struct.error, UnicodeDecodeError,
)  # fmt: skip
_UNKNOWN = (NotImplementedError, RuntimeError)


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is packed.

    >>> is_packed(gzip.compress(b"text")), is_packed(b"text")
    (True, False)
    """
    return _kind(start) is not None


def unpacked(file: BinaryIO, name: str, most: int | None = None) -> Iterator[tuple[str, BinaryIO]]:
    """The texts of an open binary file, each with its name: the file itself, or what is packed in it.

    Of a zip file these are its members that end in .txt, in the order of their names, or all of them where
    none ends so. `name` is for errors. A file that cannot seek, such as a pipe, may be anything but a zip.

    `most` bounds the bytes that come out, all members together. Where it is None, what was packed may come to 64 MB
    or to 200 times its size on the disk, and that or a pipe to 16 GB. Reading on beyond raises `DataError`; so do a
    zip that is damaged, empty, encrypted, of an unknown method, or not seekable.

    >>> [(name, text.read(9)) for name, text in unpacked(io.BytesIO(gzip.compress(b"text")), "a.gz")]
    [('a.gz', b'text')]
    """
    start, whole = _peeked(file)
    kind = _kind(start)
    bound = _Bound(file, name, most, kind is not None)
    if kind == "zip":
        for part, text, size in _members(whole, name):
            yield part, _Bounded(text, bound, size)  # type: ignore[misc]
        return
    raw = bound.counted(whole)
    open_packed: dict[str | None, Callable[[BinaryIO], Any]] = {
        "gzip": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
        "bzip2": bz2.BZ2File,
        "xz": lzma.open,
    }
    yield name, _Bounded(open_packed[kind](raw) if kind else raw, bound)  # type: ignore[misc]


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Inside, an unpacker's error about damaged data becomes a `DataError` that names the file."""
    try:
        yield
    except _DAMAGES as error:
        raise DataError(_damaged(name, error)) from error
    except _UNKNOWN as error:
        raise DataError(_not_known(name, error)) from error
    except OSError as error:
        # An OSError of bz2 has no errno; one of the system has.
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
    """The first bytes of a file, and the file, still at its beginning."""
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


def refuse_endless(count: int, most: int | None) -> None:
    """Raise `DataError` for a standard input that has reached the bound: it may never end."""
    if count > (MOST if most is None else most):
        rule = f"expected {_megabytes(MOST if most is None else most)} at the most."
        raise DataError("read_text: standard input holds too much", None, rule, _NAME_IT)


class _Bound:
    """The bound on the bytes that one file may give, and the bytes so far."""

    def __init__(self, file: BinaryIO, name: str, most: int | None, packed: bool):
        self.name, self.most, self.packed = name, most, packed
        self.size = _size_of(file)
        self.taken = self.given = 0

    def counted(self, file: BinaryIO) -> BinaryIO:
        """The file; where its size is unknown, a wrapper that counts the bytes read."""
        return file if self.size is not None else io.BufferedReader(_Counting(file, self))

    def passed(self, count: int) -> None:
        """Count so many more bytes. Raises `DataError` beyond the bound."""
        self.given += count
        if self.most is not None:
            if self.given > self.most:
                self._refuse(f"expected {_megabytes(self.most)} at the most, the bound that was set.")
        elif self.packed and self.given > max(FREE, RATIO * (self.taken if self.size is None else self.size)):
            self._refuse(f"expected {RATIO} times its size on the disk at the most, or {_megabytes(FREE)}.")
        elif self.given > MOST and (self.packed or self.size is None):
            self._refuse(f"expected {_megabytes(MOST)} at the most.")

    def _refuse(self, rule: str) -> None:
        what = f"read_text: {shorten(self.name)} {'expands to' if self.packed else 'holds'} too much"
        raise DataError(what, None, rule, _NAME_IT)


def _size_of(file: BinaryIO) -> int | None:
    """The bytes of a file on the disk or in memory, None for a pipe."""
    if not file.seekable():
        return None
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        here = file.tell()
        size = file.seek(0, io.SEEK_END)
        file.seek(here)
        return size


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


class _Counting(io.RawIOBase):
    """A pipe whose bytes are counted by a bound."""

    def __init__(self, file: BinaryIO, bound: _Bound):
        self.file, self.bound = file, bound

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        part = self.file.read(len(view))
        view[: len(part)] = part
        self.bound.taken += len(part)
        return len(part)


class _Bounded:
    """The unpacked bytes of a file, counted by its bound; a read gives no more than was asked for."""

    def __init__(self, text: BinaryIO, bound: _Bound, left: int | None = None):
        self.text, self.bound, self.left = text, bound, left

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many."""
        data = self.text.read(count)
        self.bound.passed(len(data))
        if self.left is not None:
            self.left -= len(data)
            if count and not data and self.left:  # zipfile compares checksums where it expects the end
                raise zipfile.BadZipFile("a member is shorter than the archive says")
        return data


def _require_short_list(file: BinaryIO, name: str) -> None:
    """Refuse a zip whose list of members would fill the memory: Python reads the whole list."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    end = file.read()
    at = end.rfind(_EMPTY_ZIP[:4])
    file.seek(0)
    if at < 0 or len(end) < at + 16:
        return  # Python says that it is none
    members, length = (
        struct.unpack("<H", end[at + 10 : at + 12])[0],
        struct.unpack("<I", end[at + 12 : at + 16])[0],
    )
    if members > _MOST_MEMBERS or length > _LARGEST_DIRECTORY:
        rule = f"expected {_MOST_MEMBERS:,} at the most."
        raise DataError(f"read_text: the zip file {shorten(name)} lists too many files", None, rule,
                                "Unpack it, and give the folder.")  # fmt: skip


def _members(file: BinaryIO, name: str) -> Iterator[tuple[str, BinaryIO, int]]:
    if not file.seekable():
        raise DataError(
            f"read_text: {name!r} is a zip file, which cannot be read from a pipe",
            expected="expected a file on the disk, or text.",
            hint="Unpack it into the pipe: unzip -p FILE.zip | tgs train -",
        )
    _require_short_list(file, name)
    with explained(name), zipfile.ZipFile(file) as packed:
        every = [
            one
            for one in packed.infolist()
            if not one.filename.endswith("/") and "__MACOSX/" not in one.filename
        ]
        members = [one for one in every if one.filename.lower().endswith(".txt")] or every
        if not members:
            raise DataError(f"read_text: the zip file {name!r} holds no file")
        for member in sorted(members, key=lambda one: one.filename):
            if member.flag_bits & 1:
                what = f"read_text: {member.filename!r} in {name!r} is encrypted"
                raise DataError(what, None, "", "Unpack it with its password first.")
            with packed.open(member) as text:
                yield f"{name}/{member.filename}", text, member.file_size  # type: ignore[misc]


def _not_known(name: str, error: Exception) -> str:
    return explain(
        f"read_text: {shorten(name)} is packed in a way that Python cannot unpack",
        {"unpacker": str(error) or type(error).__name__},
        "expected gzip, bzip2, xz, or a zip file of the usual methods without a password.",
        "Unpack it with another program first.",
    )


def _damaged(name: str, error: Exception) -> str:
    return explain(
        f"read_text: {name!r} is damaged: it cannot be unpacked",
        {"unpacker": str(error) or type(error).__name__},
        "expected a whole gzip, bzip2, xz or zip file.",
        "Copy or download it anew.",
    )
