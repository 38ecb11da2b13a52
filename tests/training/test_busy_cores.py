"""Other programs on the cores are seen, and answered by one thread where that changes no bit; time left a range."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.data import Corpus, Vocabulary
from tinygrad_seq.runtime import blas
from tinygrad_seq.training import Config, Finished, Step, busy_cores, train
from tinygrad_seq.training.budget import Plan
from tinygrad_seq.training.busy_cores import ProductThreads, Tried, tried
from tinygrad_seq.training.console import Lines, row
from tinygrad_seq.training.estimate import Estimate
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.metrics import as_json
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.training.step import Updater

TEXT = Corpus("the cat sat on the mat, a dog ran. " * 60)
TINY = Config(hidden=6, batch=4, window=12, steps=40, eval_every=50, sample_every=0, lr=0.01)


@pytest.fixture(autouse=True)
def _no_choice_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in blas.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(busy_cores.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(busy_cores.threading, "active_count", lambda: 1)


class Machine:
    """Two cores, a library of products, and a clock; `busy` where another program holds a core."""

    def __init__(self) -> None:
        self.n, self.busy, self.now, self.used = 2, False, 0.0, 0.0
        self.alike, self.copied = True, 0
        self.asked: list[int] = []

    def threads(self) -> int | None:
        """How many there are."""
        return self.n

    def set_threads(self, n: int) -> bool:
        """Set them."""
        self.n = n
        return True

    def copies(self) -> Tried:
        """Train two copies."""
        self.copied += 1
        return Tried(self.alike, 0.05, 0.13 if self.busy else 0.03)

    def watch(self) -> ProductThreads:
        """What is tested."""
        return ProductThreads(self.copies, library=self, clock=lambda: self.now, used=lambda: self.used)

    def run(self, threads: ProductThreads, steps: int) -> list[str]:
        """So many steps; what was said. Two threads take 30 ms of both cores, or 130 with one and a half of them."""
        said = []
        for _ in range(steps):
            threads.prepare()
            with threads.step():
                self.asked.append(self.n)
                seconds, cores = (0.05, 1.0) if self.n == 1 else (0.13, 1.5) if self.busy else (0.03, 1.95)
                self.now += seconds
                self.used += cores * seconds
            assert self.n == 2
            said += [threads.word()]
        return [word for word in said if word]


def test_a_free_machine_keeps_its_threads() -> None:
    """Nothing is tried, nothing said."""
    machine = Machine()
    threads = machine.watch()
    assert machine.run(threads, 500) == []
    assert (machine.copied, set(machine.asked), threads.one) == (0, {2}, False)


def test_a_busy_core_leaves_one_thread_until_it_is_free() -> None:
    """Said once for each change; the number outside of a step is the user's."""
    machine = Machine()
    threads = machine.watch()
    machine.busy = True
    assert machine.run(threads, 40) == [
        "other programs keep the cores busy: a step takes 50 ms with products on one thread, 130 ms on 2: they use "
        "one while it lasts, which changes no number"
    ]
    assert machine.asked[-10:] == [1] * 10
    assert machine.run(threads, 400) == []  # raced again, the same way
    machine.busy = False
    assert machine.run(threads, 1200) == [
        "the cores are free again: a step takes 30 ms with products on 2 threads, 50 ms on one: they use 2"
    ]
    assert machine.asked[-10:] == [2] * 10
    assert machine.copied == 1  # what is the same to the bit is known


def test_a_race_is_run_less_and_less_often() -> None:
    """Each costs some steps of the slower way."""
    machine = Machine()
    machine.busy = True
    machine.run(threads := machine.watch(), 20_000)
    assert threads.one
    assert machine.asked.count(2) < 100


def test_one_thread_is_not_taken_where_it_rounds_otherwise() -> None:
    """Results do not depend on the neighbours; what can be done about it is said once."""
    machine = Machine()
    machine.busy, machine.alike = True, False
    assert machine.run(machine.watch(), 2000) == [
        "other programs keep the cores busy: a step takes 50 ms with products on one thread, 130 ms on 2, but one "
        "would round otherwise with these sizes: they keep to 2. OPENBLAS_NUM_THREADS=1 begins a run on one"
    ]
    assert (machine.copied, set(machine.asked)) == (1, {2})


@pytest.mark.parametrize("why", ["user", "threads", "one", "unknown"])
def test_nothing_is_chosen_where_it_is_not_ours(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has said how many, other threads may have products, there is one, or nobody knows."""
    machine = Machine()
    machine.busy = True
    if why == "user":
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    if why == "threads":
        monkeypatch.setattr(busy_cores.threading, "active_count", lambda: 2)
    if why in ("one", "unknown"):
        monkeypatch.setattr(machine, "threads", lambda: 1 if why == "one" else None)
    assert machine.run(machine.watch(), 100) == []
    assert (machine.copied, set(machine.asked)) == (0, {2})


def test_a_step_that_fails_leaves_the_threads_as_they_were() -> None:
    """And no time of it is kept."""
    machine = Machine()
    threads = machine.watch()
    threads.one = True

    def stopped() -> None:
        with threads.step():
            machine.asked.append(machine.n)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (machine.asked, machine.n, threads.shares) == ([1], 2, [])


def small_run() -> Run:
    """A run that has not begun."""
    vocabulary = Vocabulary(TEXT.text)
    return Run(new_model(vocabulary, TINY), vocabulary, TINY)


def test_copies_are_compared_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss, or one weight, in whose last bit the threads show is another result; the threads are put back."""
    run, now = small_run(), [2]
    ids = run.vocabulary.encode(TEXT.text)
    monkeypatch.setattr(blas, "threads", lambda: now[0])
    monkeypatch.setattr(blas, "set_threads", lambda n: now.__setitem__(0, n))
    before = [p.array.copy() for p in run.model.parameters()]
    assert tried(run, ids).equal
    assert now == [2]
    assert all(np.array_equal(a, p.array) for a, p in zip(before, run.model.parameters(), strict=True))
    step = Updater.step

    def rounded(self: Updater) -> tuple[float, float]:
        loss, norm = step(self)
        if now[0] == 1:
            last = self.parameters[-1].array
            last[-1] = np.nextafter(last[-1], np.float32(9))
        return loss, norm

    monkeypatch.setattr(Updater, "step", rounded)
    assert not tried(run, ids).equal
    assert now == [2]


def test_a_run_is_the_same_whatever_its_neighbors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Losses and weights of a run whose machine is busy from the 10th step on, to the bit; it is told and kept."""

    def course(busy: bool) -> tuple[list[tuple[float, float]], list[Any], list[str]]:
        machine = Machine()

        class Watched(ProductThreads):
            def __init__(self, copies: Callable[[], Tried]):
                super().__init__(
                    copies, library=machine, clock=lambda: machine.now, used=lambda: machine.used
                )

            def step(self) -> Any:
                return passing(super().step())

        class passing:
            def __init__(self, inner: Any):
                self.inner = inner

            def __enter__(self) -> None:
                self.inner.__enter__()
                machine.asked.append(machine.n)

            def __exit__(self, *what: object) -> Any:
                slow = busy and len(machine.asked) > 10
                seconds, cores = (0.05, 1.0) if machine.n == 1 else (0.13, 1.5) if slow else (0.03, 1.95)
                machine.now += seconds
                machine.used += cores * seconds
                return self.inner.__exit__(*what)

        monkeypatch.setattr("tinygrad_seq.training.trainer.ProductThreads", Watched)
        told, notes, weights = [], [], []
        stream = io.StringIO()
        lines = Lines(stream)
        for event in train(TINY, corpus=TEXT, dropout=0.2):
            lines.show(event)
            if isinstance(event, Step):
                told.append((event.loss, event.gradient))
                notes += [event.note] if event.note else []
            elif isinstance(event, Finished):
                weights = [p.array for p in event.run.model.parameters()]
        assert (1 in machine.asked) is busy
        assert all(f"note    {note}\n" in stream.getvalue() for note in notes)
        return told, weights, notes

    free, taken = course(False), course(True)
    assert free[0] == taken[0]
    assert all(np.array_equal(a, b) for a, b in zip(free[1], taken[1], strict=True))
    assert free[2] == []
    assert len(taken[2]) == 1


# ---------------------------------------------------------------- how long


def plan_after(seconds: list[float], steps: int, between: float = 0.0, **settings: Any) -> tuple[Plan, int]:
    """The plan after steps that took so long."""
    now = [0.0]
    plan = Plan(Config(steps=steps, **settings), lambda: now[0], 10)
    plan.begin()
    for taken in seconds:
        now[0] += taken + between
        plan.stepped(taken)
    return plan, len(seconds)


def test_time_left_is_a_range_where_steps_differ() -> None:
    """Groups of eight steps of 1 s, and one of them of 3: a hundred more take 100 to 300 s."""
    plan, done = plan_after([1.0] * 56 + [3.0] * 8, 164)
    assert plan.range_left(done) == (100.0, 300.0)
    assert plan.seconds_left(done) == pytest.approx(125.0)
    even, done = plan_after([1.0] * 64, 164, between=0.5)
    assert even.range_left(done) == (150.0, 150.0)  # what is done between steps goes on as it did
    assert plan_after([1.0] * 4, 164)[0].range_left(4) is None
    assert plan_after([1.0] * 64, 164, minutes=5.0)[0].range_left(64) is None


def test_the_first_step_does_not_count_for_long() -> None:
    """It builds kernels: half a minute of it made a run of 100 s look like one of 10 minutes."""
    plan, done = plan_after([30.0, *[0.1] * 5], 1006)
    assert plan.range_left(done) == pytest.approx((100.0, 100.0))
    assert plan.seconds_left(done) == pytest.approx(100.0)


def test_a_range_is_shown_and_told() -> None:
    """`12 to 30 min` in the table, both ends in JSON; one number where they are near."""
    step = Step(5, 100, 2.0, 2.0, True, 1.0, 0.01, 100.0, 3.0, 1200.0, left_range=(720.0, 1800.0))
    assert row(step, None).endswith("  12 to 30 min")
    assert row(replace(step, left_range=(1100.0, 1300.0)), None).endswith("  20:00")
    assert as_json(step)["left_range"] == (720.0, 1800.0)
    assert as_json(step)["note"] == ""


def test_an_estimate_is_a_range_where_steps_differ() -> None:
    """Of the time of a number of steps, and of the number of steps in a time."""
    even = Estimate(
        "t", 100, 10, 10, 10, 10**9, 0.1, 6000, None, TINY, seconds_range=(0.1, 0.12), notes=("one", "two")
    )
    wide = replace(even, seconds_range=(0.12, 0.3))
    assert "the run  6,000 steps, about 10.0 min, evaluations" in str(even)
    assert "the run  6,000 steps, 12 to 30 min, evaluations" in str(wide)
    assert "the run  10 min, about 6,000 steps, evaluations" in str(replace(even, steps=None, minutes=10.0))
    assert "the run  10 min, 2,000 to 5,000 steps, evaluations" in str(
        replace(wide, steps=None, minutes=10.0)
    )
    assert str(even).endswith("\nnote     one\nnote     two")
