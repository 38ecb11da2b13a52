"""A lock, so that only one process trains in the folder of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_seq.errors import BusyError
from tinygrad_seq.runtime.locks import Lock

try:
    import fcntl
except ImportError:  # Windows locks no folders
    fcntl = None  # type: ignore[assignment]

__all__ = ["alone"]

_own: set[tuple[int, int]] = set()  # folders that this process holds, by device and number
_asking = Lock()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process may train in this folder; the lock ends with the process, however that ends.

    Within one process nothing is refused: a run abandoned in a notebook must not block the next. Where the system
    or the disk has no such locks, nothing is refused either.

    Raises `BusyError` if another process trains there.
    """
    if fcntl is None or not folder.is_dir():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    facts = os.fstat(descriptor)
    key = facts.st_dev, facts.st_ino
    with _asking:  # of two threads at once the second finds the lock of the first
        first = key not in _own
        try:
            if first:
                _lock(descriptor, folder)
                _own.add(key)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield
    finally:
        os.close(descriptor)
        if first:
            _own.discard(key)


def _lock(descriptor: int, folder: Path) -> None:
    # Any other OSError means that this disk has no locks.
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"train: another process trains in {os.fspath(folder)!r} right now"
            hint = "Wait for its end, or stop it with Ctrl+C; then go on: tgs train --resume."
            raise BusyError(what, None, "", hint) from error
