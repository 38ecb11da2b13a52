"""Ids mapped from a file: releasing the memory of pages that were read."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
import numpy.typing as npt

from tinygrad_seq.engine.foreign_keywords import answer

__all__ = ["let_go"]


def let_go(ids: npt.ArrayLike) -> None:
    """Give back the memory of what was read of mapped ids; they can be read again, mostly from the system's cache.

    Without this a process that reads a file of many gigabytes keeps all of it in memory. Nothing is done for
    ids in memory, and on systems without `madvise`.

    >>> let_go(np.arange(3))
    """
    base: object = ids
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        # A mapping that may be written to is not ours.
        with contextlib.suppress(OSError, ValueError):
            if memoryview(base).readonly:
                base.madvise(mmap.MADV_DONTNEED)


answer(globals(), "let_go")
