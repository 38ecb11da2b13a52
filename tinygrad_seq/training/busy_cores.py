"""Other programs on the cores: a step's products use one thread where that is faster and changes no bit.

The threads of a product wait for each other. Where another program uses a core, the thread on that core is late and
all others wait: two threads are then much slower than one. This can be measured: waiting threads spin, so a step on
a free machine uses nearly as many cores as it has threads, and fewer where it does not get them. Then steps
alternate between one thread and all threads, and the faster way is used until the next comparison.

One thread may round a product differently. Results must not depend on how busy a machine is, so one thread is used
only where a copy of the run, trained both ways, is equal to the bit.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np

from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.runtime import blas
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.notebook import in_notebook
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.training.step import Updater

__all__ = ["ProductThreads", "Tried", "tried"]

_BUSY = 0.85  # of the cores that the threads could use: below it another program may use them
_CLEAR = 0.9  # one thread is used where its steps take less than this share of the others' time
_TRIALS = 5  # of each way in a race
_AGAIN, _SELDOM = 250, 4000  # steps until the next race; twice as many each time, at most
_ENOUGH = 1 << 20  # ids for the copies
_COPIED = 4  # steps of a copy; the first warms


class Library(Protocol):
    """What sets the threads of products: the module `blas`."""

    def threads(self) -> int | None:
        """How many there are, None where that is not known."""

    def set_threads(self, n: int) -> bool:
        """Whether it could be done."""


@dataclass(frozen=True)
class Tried:
    """A copy of a run on one thread and on several: whether all results are equal, and the seconds of a step."""

    equal: bool
    one: float
    many: float


class ProductThreads:
    """The threads of the products of each step. `one` says whether it is one now.

    `copies` trains the copies; `watched` steps are looked at before a judgement, after `first` that build kernels.
    Nothing is done where the user has set the number of threads, where it is one anyway or cannot be set, or where
    other threads of this program might have products of their own.
    """

    def __init__(
        self,
        copies: Callable[[], Tried],
        *,
        watched: int = 8,
        first: int = 3,
        library: Library = blas,
        clock: Callable[[], float] = time.perf_counter,
        used: Callable[[], float] = time.process_time,
    ):
        self.copies, self.library, self.clock, self.used = copies, library, clock, used
        self.watched, self.wait, self.again = watched, first, _AGAIN
        self.one = self.equal = self.suspected = self.off = False
        self.shares: list[float] = []
        self.race: tuple[list[float], list[float]] | None = None
        self._word = ""

    @property
    def deciding(self) -> bool:
        """Whether a comparison is going on."""
        return self.suspected or self.race is not None

    @property
    def next(self) -> bool:
        """Whether the next step has one thread."""
        return self.one if self.race is None else len(self.race[1]) <= len(self.race[0])

    def word(self) -> str:
        """A line on the last decision, returned once; mostly ""."""
        word, self._word = self._word, ""
        return word

    def prepare(self) -> None:
        """Before a step: where the cores seem busy, train the copies, which takes some steps' time, once a run."""
        suspected, self.suspected = self.suspected, False
        many = self._choice()
        if not suspected or not many:
            return
        if not self.equal:
            found = self.copies()
            self.equal, self.off = found.equal, not found.equal
        if self.off:
            if found.one < _CLEAR * found.many:
                self._word = (
                    f"{_busy(found.one, found.many, many)}, but one would round otherwise with these sizes: they "
                    f"keep to {many}. OPENBLAS_NUM_THREADS=1 begins a run on one"
                )
            return
        self.race = ([], [])

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside, products use the threads that are best for a step; afterwards the number that there was."""
        many = self._choice()
        if not many:
            self.race = None
            yield
            return
        one = self.next
        if one:
            self.library.set_threads(1)
        begin, used = self.clock(), self.used()
        try:
            yield
        finally:
            if one:
                self.library.set_threads(many)
        self._note(one, many, self.clock() - begin, self.used() - used)

    def _choice(self) -> int:
        """The number of threads, 0 where there is nothing to choose."""
        if self.off or any(name in os.environ for name in blas.VARIABLES):
            return 0
        if threading.active_count() > 1 and not in_notebook():
            return 0
        many = self.library.threads() or 0
        return many if many > 1 else 0

    def _note(self, one: bool, many: int, seconds: float, used: float) -> None:
        if self.race is not None:
            self.race[one].append(seconds)
            if min(map(len, self.race)) >= _TRIALS:
                self._settle(many)
            return
        self.wait -= 1
        if self.wait >= 0:
            return
        self.shares.append(used / max(seconds, 1e-9) / min(many, os.cpu_count() or many))
        if len(self.shares) >= self.watched:
            # Steps on one thread do not show whether several threads would be faster by now.
            self.suspected = one or median(self.shares) < _BUSY
            self.shares.clear()

    def _settle(self, many: int) -> None:
        """Use the faster way until the next comparison."""
        assert self.race is not None
        several, one = map(median, self.race)
        before, self.one = self.one, one < _CLEAR * several
        self.again = min(2 * self.again, _SELDOM) if self.one == before else _AGAIN
        self.race, self.wait = None, self.again
        if self.one and not before:
            self._word = f"{_busy(one, several, many)}: they use one while it lasts, which changes no number"
        elif before and not self.one:
            self._word = (
                f"the cores are free again: a step takes {_time(several)} with products on {many} threads, "
                f"{_time(one)} on one: they use {many}"
            )


def tried(run: Run, ids: Any, clock: Callable[[], float] = time.perf_counter) -> Tried:
    """Train two copies of a new run with these settings, on one thread and on as many as there are, by turns."""
    many = blas.threads() or 1
    copies = [
        Updater(Run(new_model(run.vocabulary, run.config), run.vocabulary, run.config), ids[:_ENOUGH])
        for _ in range(2)
    ]
    found: tuple[list[object], list[object]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(_COPIED):
            for i, threads in enumerate((1, many)):
                blas.set_threads(threads)
                begin = clock()
                found[i].append(copies[i].step())
                seconds[i].append(clock() - begin)
    except NonFiniteError:
        return Tried(False, math.inf, math.inf)  # the run itself will raise it
    finally:
        blas.set_threads(many)
    weights = zip(copies[0].parameters, copies[1].parameters, strict=True)
    equal = found[0] == found[1] and all(np.array_equal(a.array, b.array) for a, b in weights)
    return Tried(equal, *(median(one[1:]) for one in seconds))


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _busy(one: float, several: float, many: int) -> str:
    return (
        f"other programs keep the cores busy: a step takes {_time(one)} with products on one thread, "
        f"{_time(several)} on {many}"
    )
