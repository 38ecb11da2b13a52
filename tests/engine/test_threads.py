"""What one thread switches, another does not see; and what they share holds while both use it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.training.test_threads import at_once
from tinygrad_seq.engine.anomaly import detect_anomaly
from tinygrad_seq.engine.node import STATE, changed_since, mark_changed, next_index, no_grad, scope, tracing
from tinygrad_seq.engine.origins import note, origin_of
from tinygrad_seq.engine.random import Generator, drawing_from, manual_seed, replayed, stream
from tinygrad_seq.engine.torch_names import set_grad_enabled
from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.training.process import alone
from tinygrad_seq.training.step import unwarned

pytestmark = pytest.mark.engine


def beside(block: Any, look: Callable[[], Any]) -> tuple[Any, Any]:
    """What `look` finds in a thread that is inside the block, and in one that is not, at the same time."""
    inside, looked = threading.Event(), threading.Event()

    def first() -> Any:
        with block:
            inside.set()
            assert looked.wait(20)
            return look()

    def second() -> Any:
        assert inside.wait(20)
        try:
            return look()
        finally:
            looked.set()

    return tuple(at_once(first, second))  # type: ignore[return-value]


def plain() -> tuple[Any, ...]:
    """What the thread has switched."""
    return STATE.recording, STATE.tracing, STATE.composed, STATE.place, STATE.watch is None


@pytest.mark.parametrize(
    "block",
    [no_grad, detect_anomaly, tgs.composed, tracing, lambda: scope("here"), lambda: tgs.time_step(3)],
)
def test_what_is_switched_is_of_one_thread(block: Callable[[], Any]) -> None:
    """Recording, anomaly mode, composition, tracing and place."""
    usual = at_once(plain)[0]
    inside, outside = beside(block(), plain)
    assert outside == usual != inside
    assert plain() == usual


def test_set_grad_enabled_is_of_one_thread() -> None:
    """Called alone, it holds on in its own thread only."""

    def switched() -> bool:
        set_grad_enabled(False)
        return STATE.recording

    assert at_once(switched) == [False]
    assert STATE.recording
    for _ in range(3):
        with set_grad_enabled(False):
            assert not STATE.recording
        assert STATE.recording
    depth = len(STATE.entered)
    try:
        set_grad_enabled(False)
        set_grad_enabled(True)
        assert len(STATE.entered) == depth
    finally:
        STATE.recording = True


def test_results_beside_each_other() -> None:
    """A value that is no number is an error in the thread with anomaly mode; nothing is recorded in that without."""

    def bad() -> Any:
        x = tgs.tensor([-1.0], requires_grad=True)
        try:
            return x.log().requires_grad
        except NonFiniteError:
            return "anomaly"

    assert beside(detect_anomaly(), bad) == ("anomaly", True)
    assert beside(no_grad(), bad) == (False, True)
    manual_seed(5)
    assert beside(drawing_from(Generator(3, "dropout")), lambda: stream("dropout").seed == 3) == (True, False)
    assert beside(replayed((9, {})), lambda: stream("init").seed) == (9, 5)


def test_numpy_s_warnings_are_of_one_thread() -> None:
    """A training run that silences NumPy silences it for itself."""

    assert beside(unwarned(), lambda: np.geterr()["divide"]) == ("ignore", "warn")
    assert np.geterr()["divide"] == "warn"


@pytest.mark.parametrize("make", [no_grad, lambda: scope("shared")])
def test_one_block_in_two_threads(make: Callable[[], Any]) -> None:
    """The same object entered by two threads, and twice by one, brings each back to where it was."""
    shared = make()
    first, second = threading.Event(), threading.Event()

    def stays() -> Any:
        before = plain()
        with shared:
            first.set()
            assert second.wait(20)
        return plain() == before

    def comes() -> Any:
        assert first.wait(20)
        with no_grad(), scope("mine"):
            before = plain()
            with shared:
                second.set()
                with shared:
                    pass
            return plain() == before

    assert at_once(stays, comes) == [True, True]


def test_a_generator_that_another_thread_ends() -> None:
    """It leaves that thread's recording as it is."""

    def steps() -> Any:
        with no_grad():
            yield 1

    it = steps()

    def begin() -> bool:
        next(it)
        return STATE.recording

    assert at_once(begin) == [False]
    it.close()
    assert STATE.recording


def test_memory_marked_by_one_thread_and_looked_at_by_another() -> None:
    """Ranges are noted and merged while another thread goes through them: no error, and nothing is forgotten."""
    owner = np.zeros(4000)
    parts = [owner[i : i + 2] for i in range(0, 4000, 2)]
    mark_changed(owner[:2])
    node: Any = type("Made", (), {"index": 1, "place": STATE.place})
    missed: list[int] = []

    def mark(which: list[Any]) -> None:
        for part in which:
            index = next_index()
            mark_changed(part)
            if not changed_since(part, index):
                missed.append(index)
            note(part, node)

    def look() -> None:
        for _ in range(40):
            for part in parts[::40]:
                changed_since(part, next_index() + 10**6)
                origin_of(part)

    at_once(lambda: mark(parts[::2]), lambda: mark(parts[1::2]), look, look)
    assert not missed


def test_kernels_made_by_several_threads_at_once() -> None:
    """A function that none has called yet, by four threads together: the results are those of one."""

    def wave(x: tgs.Tensor, *, k: float) -> tgs.Tensor:
        return (x * k).tanh() * x.exp()

    made = tgs.fused(wave)
    x = Generator(0).randn(5, 7)

    def run() -> list[Any]:
        leaf = tgs.Tensor(x, requires_grad=True)
        out = made(leaf, k=1.5)
        return [out.tolist(), tgs.grad(out.sum(), leaf).tolist()]

    several = at_once(*[run] * 4)
    assert all(one == run() for one in several)


def test_two_threads_in_one_run_folder(tmp_path: Path) -> None:
    """Within a process nothing is refused, also where both come at once."""

    def enter() -> bool:
        with alone(tmp_path):
            return True

    for _ in range(20):
        assert at_once(*[enter] * 4) == [True] * 4
