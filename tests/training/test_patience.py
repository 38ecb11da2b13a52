"""A run that gets worse ends early or is told of; a text that is too small gets smaller windows and a word."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_seq.data import Corpus, Rates
from tinygrad_seq.errors import CheckpointError, DataError
from tinygrad_seq.training import Config, Evaluated, Event, Finished, Started, Step, resume, train
from tinygrad_seq.training import trainer as trainer_module
from tinygrad_seq.training.console import beginning, ending
from tinygrad_seq.training.evaluation import Measured
from tinygrad_seq.training.small_texts import suited

TEXT = Corpus("to be or not to be, that is the question:\n" * 40, "hamlet")
SMALL = Config(hidden=6, batch=3, window=6, steps=40, eval_every=2, sample_every=0, patience=3)
COURSE = [3.0, 2.0, 2.1, 1.9, 1.9, 2.5, 2.6, 1.0]
"""Validations; the best before patience 3 runs out is the fourth, and an equal one is no better."""


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Validations come out as `COURSE` says, by their step."""
    course = list(COURSE)
    true = trainer_module.Trainer._measured

    def found(self: Any, step: Step) -> Measured:
        nats = course[step.step // 2 - 1] if step.step // 2 <= len(course) else 5.0
        return replace(true(self, step), nats=nats, error=0.001)

    monkeypatch.setattr(trainer_module.Trainer, "_measured", found)
    return course


def evaluated(events: Iterator[Event] | list[Event]) -> list[Evaluated]:
    return [event for event in events if isinstance(event, Evaluated)]


def test_run_ends_when_patience_is_over(tmp_path: Path) -> None:
    """After the third validation in a row that is no better, with the best kept; the words say why."""
    events = list(train(SMALL, corpus=TEXT, folder=tmp_path / "run"))
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.step, end.early, end.best) == (14, True, 1.9)
    assert [one.waited for one in evaluated(events)] == [0, 0, 1, 0, 1, 2, 3]
    assert {one.best_step for one in evaluated(events)[3:]} == {8}
    assert ending(end).endswith(": 3 validations in a row were no better (--patience 3)")
    assert end.best_step == 8
    assert end.risen == (
        "validation got worse after step 8: the model learnt its text by heart. The weights of that step are kept, "
        "and tgs sample takes them"
    )
    started = events[0]
    assert isinstance(started, Started)
    assert "plan    40 steps or 3 validations without a better one, " in "\n".join(beginning(started))
    assert load_file(tmp_path / "run" / "best.safetensors")


@pytest.mark.parametrize("stop", [5, 9, 12, 13])
def test_resumed_run_counts_on(tmp_path: Path, stop: int) -> None:
    """Stopped between validations, the run ends where the unbroken one ends, to the bit."""
    whole = tmp_path / "whole"
    list(train(SMALL, corpus=TEXT, folder=whole))
    events = train(SMALL, corpus=TEXT, folder=tmp_path / "run")
    for event in events:
        if isinstance(event, Step) and event.step == stop:
            break
    events.close()
    end = list(resume(tmp_path / "run", corpus=TEXT))[-1]
    assert isinstance(end, Finished)
    assert (end.step, end.early) == (14, True)
    one, other = (load_file(folder / "state.safetensors") for folder in (whole, tmp_path / "run"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_ended_run_goes_on_with_more_patience(tmp_path: Path) -> None:
    """Refused as ended, whatever --steps says; a longer patience, or none, goes on from there."""
    folder = tmp_path / "run"
    list(train(SMALL, corpus=TEXT, folder=folder))
    for more in ({}, {"steps": 100}):
        with pytest.raises(CheckpointError) as caught:
            resume(folder, corpus=TEXT, **more)
        assert str(caught.value) == (
            f"resume: the run in {str(folder)!r} has ended.\n  steps: 14\n  patience: 3\n"
            "  validations without a better one: 3\n  expected a longer patience, or 0 for none.\n"
            f"  Give it: --patience 6. To use the model: tgs sample {folder}"
        )
    end = list(resume(folder, corpus=TEXT, patience=4))[-1]
    assert isinstance(end, Finished)
    assert (end.best, end.step) == (1.0, 16 + 2 * 4), "the eighth is better, the four after it are not"
    end = list(resume(folder, corpus=TEXT, patience=0))[-1]
    assert isinstance(end, Finished)
    assert (end.step, end.early) == (40, False)


def test_rising_validation_is_told_while_it_goes_on(measured: list[float]) -> None:
    """After four validations without a better one, then eight; not where the rise is noise."""
    measured[:] = [3.9, 3.0] + [3.0 + 0.4 * n for n in range(1, 14)]
    events = evaluated(train(replace(SMALL, patience=0, steps=30), corpus=TEXT))
    told = {one.waited: one.risen for one in events if one.risen}
    bits = [f"{nats / math.log(2):.3f}" for nats in (3.0, 4.6, 6.2)]
    assert told == {
        n: f"validation has risen from {bits[0]} bits per character at step 4 to {now}: the model learns its text "
        "by heart. The best weights are kept; --patience N ends such a run by itself"
        for n, now in ((4, bits[1]), (8, bits[2]))
    }
    measured[:] = [3.0] + [3.02] * 14
    assert not [
        one for one in evaluated(train(replace(SMALL, patience=0, steps=30), corpus=TEXT)) if one.risen
    ]
    ends = list(train(replace(SMALL, patience=0, steps=30), corpus=TEXT))[-1]
    assert isinstance(ends, Finished)
    assert ends.risen == "", "0.02 is noise"
    worse = replace(ends, validation=3.1)
    assert worse.risen == "validation got worse after step 2: the model learnt its text by heart"
    assert replace(worse, folder=Path("run")).risen.endswith("takes them; --patience N would have ended it")
    assert replace(worse, best_step=0).risen == "", "a run of an earlier version does not say which step"
    last = events[-1]
    assert replace(last, waited=4, errors=Rates(5.0, 5.0, 5.0)).risen == ""


@pytest.mark.parametrize(
    ("settings", "length", "batch", "window"),
    [
        ({}, 40_000, 32, 64),
        ({}, 2300, 16, 64),
        ({}, 300, 4, 64),
        ({}, 200, 4, 32),
        ({}, 70, 2, 16),
        ({}, 40, 2, 16),
        ({"model": "transformer"}, 40, 32, 32),
        ({"batch": 1, "window": 1}, 40, 1, 1),
        ({"split": "80,20,0 columns"}, 700, 8, 64),
    ],
)
def test_small_texts_get_what_they_have_room_for(
    settings: dict[str, Any], length: int, batch: int, window: int
) -> None:
    """And no smaller; the next larger step would not have fitted."""
    config = Config(**settings)
    found, note = suited(config, np.zeros(length, np.int64))
    assert (found.batch, found.window) == (batch, window)
    assert bool(note) == (found != config)
    text = "to be or not to be\n" * (length // 19 + 1)
    small = replace(config, hidden=4, heads=2, steps=1, sample_every=0)
    events = list(train(small, corpus=Corpus(text[:length])))
    assert isinstance(events[-1], Finished)
    assert events[0].run.config.window == window  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("length", "every", "steps"),
    [
        (3000, None, [25, 50, 75, 80]),
        (12_000, None, [50, 80]),
        (3000, 250, [80]),
        (3000, 240, [80]),
        (60_000, None, [80]),
    ],
)
def test_small_texts_are_validated_sooner(length: int, every: int | None, steps: list[int]) -> None:
    """After ten passes, 25 steps at least, of B 32 and T 64; as it is said where it is said, were it 250."""
    text = Corpus(("to be or not to be\n" * (length // 19 + 1))[:length])
    config = Config(hidden=2, steps=80, eval_every=every, report_every=1000, sample_every=0)
    assert [one.step.step for one in evaluated(train(config, corpus=text))] == steps


def test_reach_keeps_its_ratio() -> None:
    """Twice the window stays twice, shorter than it stays at most it."""
    ids = np.zeros(100, np.int64)
    assert suited(Config(reach=128), ids)[0].reach == 2 * suited(Config(reach=128), ids)[0].window
    assert suited(Config(reach=40), ids)[0].reach == suited(Config(reach=40), ids)[0].window
    with pytest.raises(DataError, match="too short for these fractions"):
        suited(Config(), ids[:39])
