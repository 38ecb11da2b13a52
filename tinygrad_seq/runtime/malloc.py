"""Memory of a training step: freed arrays stay with the C library for the next step; the collector can pause."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# glibc's largest dynamic threshold (DEFAULT_MMAP_THRESHOLD_MAX on 64 bits), less its header and a page.
_LARGEST = 32 * 1024 * 1024 - 8192


def keep_freed_pages() -> None:
    """Let arrays of up to 32 MB come from the heap, which keeps up to 64 MB that are free for the next ones.

    glibc fetches a large array from the system and gives it back at once, and each page of it is cleared again
    at the first touch: a quarter of a training step's time. The threshold adapts: once a block of n bytes has been
    freed, blocks of that size stay (mallopt(3), "dynamic mmap threshold"). So one block of the largest size is
    allocated and freed; it is never written to, so it costs no memory. With other C libraries nothing happens.
    """
    block = np.empty(_LARGEST, np.uint8)
    del block


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's cyclic garbage collector off for a block, and on again if it was on.

    A tape holds no cycles, yet the collector goes through all of it again each time it has grown by a
    quarter: up to half of the time of building a long one.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
