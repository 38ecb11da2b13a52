"""Writing a file whole or not at all.

A reader, or a second run after a crash, finds the old file or the new one and never half of either.
The content is the caller's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tinygrad_seq.errors import CheckpointError, explain
from tinygrad_seq.runtime.untrusted_files import UnfitError, reason_of, require_file

__all__ = ["UNFINISHED", "atomic_write", "atomic_write_bytes", "atomic_write_text"]

UNFINISHED = ".*.tmp"
"""The names of files that are being written, or that a process has left which was killed meanwhile."""


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Replace the file at `path` by what `write(file)` puts into the open binary file it is given.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and only then take the
    name: whatever fails, the old file stays as it was and no temporary file is left. A symbolic link
    stays a link and its target is replaced.

    Raises `CheckpointError` when the operating system refuses; any other error of `write` passes through.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "state.bin")
    ...     atomic_write(target, lambda file: print(file.write(b"1234")))
    ...     target.read_bytes()
    4
    b'1234'
    """
    try:
        target = _target(path)
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            _write_flushed(temporary, write)
            os.replace(temporary, target)
        finally:
            # After a success the name is gone; after a failure this error must not hide the first one.
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise CheckpointError(_refusal(path, error)) from error
    _flush_folder(target.parent)


def _target(path: str | os.PathLike[str]) -> Path:
    """The path to be replaced: a free name, or that of a file. A device would be replaced by the rename."""
    try:
        target = Path(os.path.realpath(path))
        os.lstat(target.parent)
    except ValueError as error:
        raise UnfitError("its name holds a zero byte") from error
    with contextlib.suppress(FileNotFoundError):
        require_file(target)
    return target


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at `path` by `data`, as `atomic_write` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "state.bin")
    ...     atomic_write_bytes(target, b"1234")
    ...     target.read_bytes()
    b'1234'
    """

    def write(file: BinaryIO) -> None:
        file.write(data)

    atomic_write(path, write)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Replace the file at `path` by `text` in UTF-8, as `atomic_write` does; `\n` stays `\n` everywhere.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "note.txt")
    ...     atomic_write_text(target, "café\n")
    ...     target.read_bytes()
    b'caf\xc3\xa9\n'
    """
    atomic_write_bytes(path, text.encode())


def _write_flushed(temporary: Path, write: Callable[[BinaryIO], None]) -> None:
    # Not `tempfile`: its files are private to the user whatever the umask says, and the rename keeps that.
    with temporary.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Ask that the new name itself survives a power cut; Windows and some network disks cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(path: str | os.PathLike[str], error: OSError) -> str:
    # Only the last of these quotes the operating system, whose wording differs between systems.
    if isinstance(error, IsADirectoryError):
        reason, hint = "it is a folder", "Give the name of a file inside it."
    elif isinstance(error, FileNotFoundError):
        reason, hint = "its folder does not exist", "Make the folder first, or choose another place."
    elif isinstance(error, PermissionError):
        reason, hint = "permission denied", "Choose a place that you may write to."
    elif error.errno == errno.ENOSPC:
        reason, hint = error.strerror or "the disk is full", "Make room, and try again."
    else:
        reason, hint = reason_of(error), "Choose another place, or try again."
    return explain(
        f"write: {os.fspath(path)!r} cannot be written: {reason}",
        expected="Nothing was changed: what stood under this name before still stands there.",
        hint=hint,
    )
