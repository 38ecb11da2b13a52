"""Signals that ask for the end save a run as Ctrl+C does, are told by the exit code, and leave no handler behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygrad_seq
from tinygrad_seq.data import Corpus
from tinygrad_seq.models import CharLM
from tinygrad_seq.training import Config, Event, Finished, Interrupted, Step, fit, resume, train
from tinygrad_seq.training.signals import Stopped, stoppable, uninterrupted

ROOT = Path(tinygrad_seq.__file__).parent.parent
TEXT = Corpus("to be or not to be, that is the question:\n" * 40, "hamlet")
SMALL = Config(hidden=6, batch=3, window=6, steps=9, eval_every=4, sample_every=0, lr=0.01)
NAMES = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")
THERE = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
# Those that the tests' own process has been told to ignore, as `nohup` does, are ignored by a run too.
THERE = [number for number in THERE if signal.getsignal(number) is not signal.SIG_IGN]
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows sends a program no such signals")


def handlers() -> dict[int, Any]:
    """What each of the signals does now."""
    return {number: signal.getsignal(number) for number in [*THERE, signal.SIGINT]}


@pytest.fixture(autouse=True)
def left_as_found() -> Iterator[None]:
    """Whatever a test does, the handlers are the ones of before."""
    before = handlers()
    yield
    assert handlers() == before


@pytest.mark.parametrize("number", THERE)
@pytest.mark.parametrize("times", [1, 3])
def test_signal_in_a_step_ends_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int
) -> None:
    """The step is finished and saved, however often the signal is sent; the run goes on from there to the bit."""
    list(train(SMALL, corpus=TEXT, folder=tmp_path / "whole"))
    forward, calls = CharLM.forward, []

    def asked(self: CharLM, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            for _ in range(times):
                signal.raise_signal(number)
        return forward(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CharLM, "forward", asked)
        end = fit(SMALL, lambda event: None, corpus=TEXT, folder=tmp_path / "run")
    assert isinstance(end, Interrupted)
    assert (end.step, end.signal) == (3, number)
    assert isinstance(list(resume(tmp_path / "run", corpus=TEXT))[-1], Finished)
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "run"))
    assert all((one[name] == other[name]).all() for name in one)


def test_signal_while_it_is_being_saved_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that asks again and again while the weights are written finds them whole."""
    true = os.fsync

    def asked(descriptor: int) -> None:
        signal.raise_signal(THERE[0])
        true(descriptor)

    events = train(SMALL, corpus=TEXT, folder=tmp_path / "run")
    for event in events:
        if isinstance(event, Step) and event.step == 2:
            monkeypatch.setattr(os, "fsync", asked)
            break
    ended = events.throw(KeyboardInterrupt())
    rest = [ended, *events]
    assert [type(event).__name__ for event in rest] == ["Saved", "Interrupted"]
    assert rest[-1].step == 2  # type: ignore[union-attr]


def test_signal_that_was_swallowed_is_raised_at_the_next_step() -> None:
    """Python ignores what is raised in a weak reference's callback; the run ends all the same."""
    events = train(SMALL, corpus=TEXT)
    next(events)
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(THERE[0])
    assert [type(event).__name__ for event in events] == ["Interrupted"]


def test_two_runs_side_by_side_put_handlers_back() -> None:
    """Whichever ends first; and what is raised between them is `Stopped`."""
    before = handlers()
    one, other = (train(SMALL, corpus=TEXT) for _ in range(2))
    next(one)
    next(other)
    one.close()
    assert handlers() != before
    with pytest.raises(Stopped) as stop:
        signal.raise_signal(THERE[0])
    assert stop.value.number == THERE[0]
    other.close()
    assert handlers() == before


def test_foreign_handlers_and_ignored_signals_stay() -> None:
    """`nohup` ignores SIGHUP, a server has its own SIGTERM: neither is touched."""
    seen: list[int] = []
    number = THERE[0]
    before = signal.signal(number, lambda n, frame: seen.append(n))
    try:
        with stoppable(), uninterrupted():
            signal.raise_signal(number)
        signal.signal(number, signal.SIG_IGN)
        with stoppable():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert seen == [number]


def test_fit_in_a_thread_sets_no_handler() -> None:
    """Only the main thread may; a run begun there and closed elsewhere leaves the system's handling in force."""
    ends: list[Event] = []
    before = handlers()
    thread = threading.Thread(
        target=lambda: ends.append(fit(SMALL, lambda event: ends.append(event), corpus=TEXT))
    )
    thread.start()
    thread.join()
    assert isinstance(ends[-1], Finished)
    assert handlers() == before
    events = train(SMALL, corpus=TEXT)
    next(events)
    closer = threading.Thread(target=events.close)
    closer.start()
    closer.join()
    with stoppable():
        pass
    assert handlers() == before


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_command_saves_and_exits_as_the_shell_expects(tmp_path: Path, name: str) -> None:
    """128 + the signal's number, no traceback, the last whole step in the folder."""
    (tmp_path / "hamlet.txt").write_text(TEXT.text, encoding="utf-8")
    command = [sys.executable, "-m", "tinygrad_seq", "train", "hamlet.txt", "-q", "--json", "-o", "run"]
    options = ["--hidden=6", "--batch=3", "--window=6", "--steps=1000000", "--sample-every=0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *options], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    told: list[dict[str, Any]] = []
    while not told or told[-1]["event"] != "Step":
        told.append(json.loads(process.stdout.readline()))
    number = int(getattr(signal, name))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert b"Traceback" not in err
    end = json.loads(out.splitlines()[-1])
    assert (end["event"], end["signal"]) == ("Interrupted", number)
    state = load_file(tmp_path / "run" / "state.safetensors")
    last = load_file(tmp_path / "run" / "last.safetensors")
    assert all(np.array_equal(last[key], state[f"model.{key}"]) for key in last)
