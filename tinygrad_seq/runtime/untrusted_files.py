"""Files from unknown sources: only regular files are opened, sizes are bounded, and errors are plain sentences.

A pipe without a writer would hang, a device may never end, and `[Errno 21]` explains nothing. The content is
the caller's.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["LARGEST_TOKENIZER", "UnfitError", "open_file", "read_file", "reason_of", "require_file"]

LARGEST_TOKENIZER = 1 << 26
"""Bytes of a tokenizer's file: all characters of Unicode come to a quarter of it."""

_PIECE = 1 << 20  # bytes

_SPECIAL = {
    stat.S_IFIFO: "it is a pipe",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
    stat.S_IFSOCK: "it is a socket",
}


class UnfitError(OSError):
    """A path that is no regular file, or a file that is too large; `strerror` explains which."""

    def __init__(self, reason: str):
        super().__init__(errno.EINVAL, reason)


def require_file(path: str | os.PathLike[str]) -> int:
    """The size in bytes of a regular file, links followed. Nothing is opened, so nothing hangs.

    Raises OSError, an `UnfitError` for what is no file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     try:
    ...         require_file(folder)
    ...     except OSError as error:
    ...         reason_of(error)
    'it is a folder'
    """
    try:
        facts = os.stat(path)
    except ValueError as error:
        raise UnfitError("its name holds a zero byte") from error
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", os.fspath(path))
    if not stat.S_ISREG(facts.st_mode):
        raise UnfitError(_SPECIAL.get(stat.S_IFMT(facts.st_mode), "it is no file"))
    return facts.st_size


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading bytes. Raises OSError as `require_file` does."""
    require_file(path)
    return Path(path).open("rb")


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a file of at most `most`. Raises OSError, an `UnfitError` for what is no file or is larger.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_bytes(b"1234")
    ...     read_file(Path(folder, "a"), 4)
    b'1234'
    """
    data = bytearray()
    with open_file(path) as file:
        # Not `read(most + 1)`: that allocates the whole memory before it reads.
        while piece := file.read(_PIECE):
            data += piece
            if len(data) > most:
                raise UnfitError(f"it is larger than {most:,} bytes")
    return bytes(data)


def reason_of(error: OSError | ValueError) -> str:
    """Why a file cannot be read or written, in the same words on every system where that is possible.

    >>> reason_of(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    'it does not exist'
    """
    if isinstance(error, UnfitError):
        return str(error.strerror)
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, NotADirectoryError):
        return "a part of its path is a file"
    if isinstance(error, PermissionError):
        return "permission denied"
    number = getattr(error, "errno", None)
    if number == errno.ELOOP:
        return "it is a link that leads back to itself"
    if number == errno.ENAMETOOLONG:
        return "its name is too long"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
