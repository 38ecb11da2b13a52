"""A folder of entries; each entry is a folder that is either complete or absent."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_seq.errors import DataError

__all__ = ["take_name", "temporary", "written"]

_OLD = 24 * 3600.0  # seconds after which an unfinished entry counts as abandoned


@contextmanager
def temporary(cache: Path) -> Iterator[Path]:
    """A new folder in the cache, gone afterwards unless it took another name."""
    place = cache / f".{secrets.token_hex(8)}.tmp"
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def take_name(place: Path, entry: Path) -> None:
    """Give a finished folder the name of its entry."""
    try:
        place.rename(entry)
    except OSError:
        # Another process was faster with the same entry.
        if not entry.is_dir():
            raise


def _sweep(cache: Path) -> None:
    """Remove the unfinished entries of processes that were killed."""
    for place in cache.glob(".*.tmp"):
        try:
            if time.time() - place.stat().st_mtime > _OLD:
                shutil.rmtree(place, ignore_errors=True)
        except OSError:
            continue


@contextmanager
def written(cache: Path) -> Iterator[None]:
    """The cache folder, made and swept; an OSError of writing into it becomes a `DataError`."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"stored_tokens: the cache {os.fspath(cache)!r} cannot be written: {reason}",
            expected="expected a folder with room for one to four bytes for each token.",
            hint="Make room, or name another folder: TINYGRAD_SEQ_CACHE, or folder= in Python.",
        ) from error
