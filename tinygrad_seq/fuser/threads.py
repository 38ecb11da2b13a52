"""Large kernels on all cores, by numba's own threads, where that is faster, which is measured at run time.

An array is cut into the same pieces for any number of threads, so that sums are equal everywhere.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

from tinygrad_seq.runtime.arrays import Array

CHUNKS = 8
# Nanoseconds of one core, as estimated, from which on a call is cut into pieces and several threads are tried
# (`benchmarks/kernels_against_pytorch.py --threshold`).
WORTH_THREADS = 50_000.0

# Numba's threads serve one caller at a time, and do not exist in a forked process.
_free = threading.Lock()
_started = False
_forked = False
_one = False


def _after_fork() -> None:
    global _forked, _free
    _forked, _free = _started, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Race:
    """One thread or several, for one call: both are tried alternately, and the faster one is used.

    It cannot be estimated: where the threads of a matrix product spin on the other core, a kernel of 0.4 ms
    may take 0.2 ms on two threads, or 5 ms. So the mean of several threads has to beat the median of one,
    also later on, and it is tried again from time to time, less and less often where it lost.
    """

    PATIENCE = 0.004  # seconds in this call before the second kernel is worth building
    TRIALS = 6  # of each way; the first of them builds and warms, and does not count
    WATCHED = 16  # calls on several threads whose mean is compared with one thread
    AGAIN = 1000  # calls until the next comparison, twice as many after each that one thread won
    SELDOM = 64_000  # at most

    def __init__(self) -> None:
        self.calls, self.spent, self.several, self.again = 0, 0.0, False, self.AGAIN
        self.seconds: tuple[list[float], list[float]] = ([], [])
        self.one = 0.0
        self.watched: list[float] = []

    @property
    def on(self) -> bool:
        """Whether the comparison is still open, and worth its time."""
        return self.spent >= self.PATIENCE and min(map(len, self.seconds)) < self.TRIALS

    def choose(self) -> bool:
        """Whether the next call goes to several threads."""
        return len(self.seconds[True]) < len(self.seconds[False]) if self.on else self.several

    def note(self, several: bool, seconds: float) -> None:
        """Note the time of a call."""
        self.calls += 1
        if self.on:
            self.seconds[several].append(seconds)
            if not self.on:
                one, many = (s[1:] for s in self.seconds)
                self.one = sorted(one)[len(one) // 2]
                self._settle(sum(many) < self.one * len(many))
        elif self.calls > self.again:
            self.seconds = ([], [])
        elif several:
            self.watched.append(seconds)
            if len(self.watched) >= self.WATCHED:  # two threads may have added one each
                self._settle(sum(self.watched) < self.one * len(self.watched), self.calls)
        elif self.calls > 1:  # the very first one builds its kernel
            self.spent += seconds

    def _settle(self, several: bool, calls: int = 0) -> None:
        """Use one way until the next comparison."""
        self.again = self.AGAIN if several else min(2 * self.again, self.SELDOM)
        self.several, self.calls, self.watched = several, calls, []


def use_one(wanted: bool = True) -> None:
    """Keep all kernels to one thread from now on, or no more, unless NUMBA_NUM_THREADS is set.

    That variable cannot be set here: numba refuses to compile when it has changed after its threads have started.
    """
    global _one
    _one = wanted and "NUMBA_NUM_THREADS" not in os.environ


def count() -> int:
    """How many threads a kernel may use: NUMBA_NUM_THREADS, `numba.set_num_threads`, or all cores; or `use_one`."""
    if _one:
        return 1
    import numba

    return int(numba.get_num_threads())


class Pieces(Protocol):
    """A kernel that may be run in pieces: `chunks` of `rows` rows each."""

    compiled: Any
    chunks: int
    rows: int
    leading: Any

    @property
    def race(self) -> Race:
        """Whether several threads are faster."""


def run(kernel: Pieces, arguments: Sequence[Any], results: Sequence[Array]) -> None:
    """The kernel over all pieces; outputs that are sums have an element for each piece."""
    race, start = kernel.race, time.perf_counter()
    wanted = race.choose() and not _forked
    several = wanted and _on_threads(kernel, arguments, results, first=not race.seconds[True])
    if not several:
        _one_by_one(kernel, arguments, results)
    if several or not wanted:
        race.note(several, time.perf_counter() - start)
    elif race.on and count() == 1:
        race.note(True, float("inf"))  # there is nothing to compare


def _on_threads(kernel: Pieces, arguments: Sequence[Any], results: Sequence[Array], first: bool) -> bool:
    """Run the pieces side by side; False, and nothing done, where there is one thread or others use them."""
    global _started
    if not _free.acquire(blocking=False):
        return False
    try:
        with warnings.catch_warnings() if first else nullcontext():
            if first:
                warnings.simplefilter("ignore")  # numba warns about thread libraries that it does not use
            if count() == 1:
                return False
            _started = True
            kernel.compiled.pieces_at_once(kernel.chunks, kernel.rows, *kernel.leading, *arguments, *results)
        return True
    finally:
        _free.release()


def _one_by_one(kernel: Pieces, arguments: Sequence[Any], results: Sequence[Array]) -> None:
    # By the same driver as on several threads: on its own LLVM optimises the kernel once and not twice.
    kernel.compiled.pieces(kernel.chunks, kernel.rows, *kernel.leading, *arguments, *results)
