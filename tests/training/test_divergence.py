"""A run whose loss is no training any more is stopped, with good weights kept; a spike is not; any module, too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.analysis.compare import read_record
from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.analysis.doctor.judge import Verdict, diverged
from tinygrad_seq.analysis.doctor.run import verdicts
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus
from tinygrad_seq.errors import ArgumentError, DivergedError, NonFiniteError
from tinygrad_seq.training import Config, Finished, Interrupted, Step, fit, resume, train
from tinygrad_seq.training.divergence import REPORTS, TIMES, Divergence
from tinygrad_seq.training.snapshot import RunState
from tinygrad_seq.training.step import Updater

TEXT = Corpus("to be or not to be, that is the question:\n" * 40, "hamlet")
V = len(set(TEXT.text))
SMALL = Config(
    hidden=6, batch=3, window=6, steps=60, report_every=2, eval_every=6, save_every=1, sample_every=0
)
HIGHEST = 10 * math.log(V)
Course = Callable[[int], float]


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Callable[[Course], None]:
    """Sets what the steps of a run cost, by their numbers; after each step its batch costs what the next one does."""

    def set_course(course: Course) -> None:
        true = Updater.step

        def step(self: Updater) -> tuple[float, float]:
            _, norm = true(self)
            return course(self.done), norm

        monkeypatch.setattr(Updater, "step", step)
        monkeypatch.setattr(Updater, "loss_now", lambda self: course(self.done + 1) if self.done else 0.0)

    return set_course


def wild_from(first: int, loss: float, length: int = 10**9) -> Course:
    """2 nats, and for some steps from one on another loss."""
    return lambda step: loss if first <= step < first + length else 2.0


def follow(events: Iterator[Any], steps: list[int]) -> None:
    """Run to the end; the steps are noted as they come."""
    for event in events:
        if isinstance(event, Step):
            steps.append(event.step)


# ---------------------------------------------------------------- a run of text


@pytest.mark.parametrize("loss", [1.001 * HIGHEST, 1e10, 4e37, 1e300])
def test_diverged_run_is_stopped_and_its_good_weights_kept(
    tmp_path: Path, lossy: Callable[[Course], None], loss: float
) -> None:
    """After five reports above, whatever the number: steps 10, 12 (with a validation), 14, 16 and 18.

    Step 9 cost so much with the weights that step 8 made, so those of step 7 are the last good ones, and those of
    step 6, where it was validated, the best.
    """
    lossy(wild_from(9, loss))
    folder, steps = tmp_path / "run", list[int]()
    with pytest.raises(DivergedError) as caught:
        follow(train(SMALL, corpus=TEXT, folder=folder), steps)
    assert steps[-1] == 18
    assert str(caught.value) == (
        f"train: step 18: the run has diverged.\n  loss: {loss!r}\n  loss of the first step: 2.0\n"
        f"  ln V: {math.log(V)!r}\n  loss of its last batch now: {loss!r}\n"
        f"  expected a loss of at most {HIGHEST:.4g} nats ({HIGHEST / math.log(2):.4g} bits) per token, 10 times the "
        "larger of its first value and ln V,\n  at the end and in one of 5 reports in a row.\n"
        f"  The weights of step 6 are kept in {str(folder / 'best.safetensors')!r}. Try a lower lr."
    )
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "highest_loss" in row] == [10, 12, 14, 16, 18]
    # What is saved is the run after seven steps: it goes on from there.
    lossy(wild_from(9, 2.0))
    going_on = list(resume(folder, corpus=TEXT))
    assert next(event.step for event in going_on if isinstance(event, Step)) == 8
    assert isinstance(going_on[-1], Finished)


@pytest.mark.parametrize(("steps", "stops"), [(8, False), (9, False), (10, True)])
def test_spike_of_a_few_reports_is_borne(lossy: Callable[[Course], None], steps: int, stops: bool) -> None:
    """Four reports of two steps each above, or four and a half in the mean below; with the fifth it is none."""
    lossy(wild_from(3, 1.5 * HIGHEST, steps))
    events: Iterator[Any] = train(SMALL, corpus=TEXT)
    if stops:
        with pytest.raises(DivergedError, match=r"^train: step 12: the run has diverged"):
            list(events)
    else:
        assert isinstance(list(events)[-1], Finished)


def test_a_run_that_starts_high_may_come_down(lossy: Callable[[Course], None]) -> None:
    """Ten times its first value is more than ten times ln V there."""
    lossy(lambda step: 3 * HIGHEST if step < 50 else 1.0)
    assert isinstance(list(train(SMALL, corpus=TEXT))[-1], Finished)


@pytest.mark.parametrize("first", [2, 12])
def test_a_run_never_ends_above(tmp_path: Path, lossy: Callable[[Course], None], first: int) -> None:
    """Too short for five reports, or with the last update: weights of the last step are not those that are kept."""
    lossy(wild_from(first + 1, 1e5))
    with pytest.raises(DivergedError) as caught:
        list(train(replace(SMALL, steps=12, eval_every=50), corpus=TEXT, folder=tmp_path / "run"))
    assert f"The weights of step {first - 1} are kept in" in str(caught.value)
    assert "last.safetensors" in str(caught.value)


@pytest.mark.parametrize("stop", [9, 13, 14, 17])
def test_resumed_run_remembers_the_count(tmp_path: Path, lossy: Callable[[Course], None], stop: int) -> None:
    """Stopped while it is wild, it goes on from there and ends where the unbroken run does; its good weights stay."""
    lossy(wild_from(9, 1e6))
    folder = tmp_path / "run"
    events = train(replace(SMALL, eval_every=50), corpus=TEXT, folder=folder)
    for event in events:
        if isinstance(event, Step) and event.step == stop:
            break
    good = load_file(folder / "last.safetensors")
    events.close()
    went_on = resume(folder, corpus=TEXT)
    steps = list[int]()
    with pytest.raises(DivergedError, match=r"The weights of step 7 are kept in .*last\.safetensors"):
        follow(went_on, steps)
    assert steps == list(range(stop + 1, 19))
    left = load_file(folder / "last.safetensors")
    assert all(np.array_equal(good[name], left[name]) for name in good)


def test_state_of_an_earlier_version_counts_from_here_on(
    tmp_path: Path, lossy: Callable[[Course], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no first value: the next step's is taken."""
    true = RunState.state_dict

    def before(state: RunState) -> dict[str, Any]:
        return {name: value for name, value in true(state).items() if name != "divergence"}

    lossy(wild_from(9, 1e6))
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "state_dict", before)
        list(train(replace(SMALL, steps=6), corpus=TEXT, folder=tmp_path / "run"))
    with pytest.raises(DivergedError, match=r"(?s)first step: 2\.0.*weights of step 6 are kept in .*best"):
        list(resume(tmp_path / "run", corpus=TEXT, steps=60))


@pytest.mark.parametrize("tokenizer", ["char", "byte", "jamo"])
def test_bound_is_that_of_the_vocabulary(lossy: Callable[[Course], None], tokenizer: str) -> None:
    """ln 256 of bytes is more than ln V of a few characters."""
    size = {"char": V, "byte": 256, "jamo": 67 + V}[tokenizer]
    bound = TIMES * math.log(size)
    config = replace(SMALL, tokenizer=tokenizer, steps=16)
    lossy(wild_from(3, 0.999 * bound))
    assert isinstance(list(train(config, corpus=TEXT))[-1], Finished)
    lossy(wild_from(3, 1.001 * bound))
    with pytest.raises(DivergedError):
        list(train(config, corpus=TEXT))


def test_stopped_while_wild_says_so_as_ever(tmp_path: Path, lossy: Callable[[Course], None]) -> None:
    """Ctrl+C ends it as any run, with the state saved."""
    lossy(wild_from(9, 1e6))
    events = train(SMALL, corpus=TEXT, folder=tmp_path / "run")
    for event in events:
        if isinstance(event, Step) and event.step == 13:
            break
    assert isinstance(list([events.throw(KeyboardInterrupt), *events])[-1], Interrupted)


def test_command_says_it_in_one_error_and_the_doctor_too(
    tmp_path: Path, lossy: Callable[[Course], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no traceback; `tgs doctor` names it, and says nothing of fit and trend."""
    text, folder = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(TEXT.text)
    lossy(wild_from(9, 4e37))
    names = ("hidden", "batch", "window", "steps", "eval_every", "report_every", "sample_every")
    settings = [f"--set={name}={getattr(SMALL, name)}" for name in names]
    assert main(["train", str(text), *settings, "-o", str(folder)]) == 2
    told, said = capsys.readouterr()
    assert "        10/60   4e+37  5.8e+37  " in told
    assert "train: step 18: the run has diverged.\n" in said
    assert "Traceback" not in said
    found = {one.topic: one for one in verdicts(read_record(folder))}
    assert found["loss"] == Verdict(
        "loss",
        "problem",
        f"diverged: the loss was 4e+37 nats per token at step 18, and above {HIGHEST:.4g} in the last 5 reports, "
        "10 times the larger of its first value and ln V, which is what knowing nothing costs. The weights saved "
        "before are kept. Train again with a lower lr.",
    )
    assert not {"fit", "trend"} & found.keys()
    assert main(["doctor", str(folder)]) == 0
    assert "loss       problem  diverged: the loss was 4e+37 nats per token" in capsys.readouterr().out


@pytest.mark.parametrize("loss", [1e5, math.inf, math.nan])
def test_doctor_sees_what_the_very_last_update_has_spoilt(
    tmp_path: Path, lossy: Callable[[Course], None], loss: float
) -> None:
    """Every report is fine: the run's last line says what that update did to its own batch."""
    lossy(wild_from(13, loss))
    folder = tmp_path / "run"
    with pytest.raises(DivergedError):
        list(train(replace(SMALL, steps=12), corpus=TEXT, folder=folder))
    verdict = diverged(read_record(folder))
    assert verdict is not None
    now = "1e+05 nats per token" if math.isfinite(loss) else "no finite number"
    assert verdict.words == (
        f"diverged: the last update, step 12, made the loss of its own batch {now}, above {HIGHEST:.4g}, 10 times "
        "the larger of its first value and ln V. The weights saved before are kept. Train again with a lower lr."
    )
    lossy(wild_from(100, loss))
    list(train(replace(SMALL, steps=12), corpus=TEXT, folder=tmp_path / "good"))
    assert diverged(read_record(tmp_path / "good")) is None


def test_doctor_of_a_run_that_noted_nothing() -> None:
    """By an earlier version: beside its first report and ln V where that is known. A spike before the end is none."""

    def of(*losses: float, **facts: Any) -> Verdict | None:
        rows = [{"step": 50 * (i + 1), "loss": x} for i, x in enumerate(losses)]
        return diverged(Record(Path("run"), {}, facts, rows))

    found = of(4.0, 3.5, 90.0, 70.0, symbols=65)
    assert found is not None
    assert found.words.startswith(
        "diverged: the loss was 70 nats per token at step 200, and above 41.74 in the last 2 reports, "
    )
    assert of(4.0, 90.0, 3.5, symbols=65) is None
    assert of(1.0, 41.0, symbols=65) is None
    assert of(1.0, 41.0) is not None
    assert of(60.0, 50.0, symbols=65) is None
    assert of() is None
    assert of(4.0, 3.0, math.nan, symbols="many") is None


# ---------------------------------------------------------------- any module


class Square(nn.Module):
    """loss = w^2, whose descent is w - 2 lr w: with lr 1.5 each step is -2 times the one before, to the bit."""

    def __init__(self, start: float = 3.0) -> None:
        super().__init__()
        self.w = nn.Parameter(tgs.tensor([start]))

    def loss(self) -> Any:
        return (self.w * self.w).sum()


def descend(model: nn.Module, steps: int, **settings: Any) -> Any:
    return fit(model, steps=steps, lr=1.5, optimizer="SGD", clip=0.0, quiet=True, **settings)


def test_module_that_diverges_is_stopped_and_put_back() -> None:
    """Losses 9, 36, 144, ...: five reports above 90 are steps 3 to 7; the parameter before step 2 was good."""
    model = Square()
    with pytest.raises(DivergedError) as caught:
        descend(model, 20)
    assert str(caught.value) == (
        f"fit: step 7: the loss has diverged.\n  loss: {9.0 * 4**6!r}\n  loss of the first step: 9.0\n"
        "  expected at most 90, 10 times the size of the first,\n  in one of 5 reports in a row and in one of the "
        "last 2.\n  The parameters are again those before step 2. Try a lower lr, or diverged=0."
    )
    assert model.w.numpy().tolist() == [-6.0]
    assert model.w.is_leaf
    assert model.w.requires_grad


def test_reports_of_many_steps_are_means() -> None:
    """A hundred steps, five a report: 9 (1 + 4 + ... + 256) / 5 is above at once, and only the start was good."""
    model = Square()
    with pytest.raises(DivergedError, match=r"^fit: step 25: (?s:.*)those before step 1\."):
        descend(model, 100)
    assert model.w.numpy().tolist() == [3.0]


def test_short_fits_and_the_switch() -> None:
    """Two reports above at the end are enough, one is not; with 0 nothing is."""
    assert descend(Square(), 3).losses == (9.0, 36.0, 144.0)
    with pytest.raises(DivergedError, match=r"^fit: step 4: "):
        descend(Square(), 4)
    assert descend(Square(), 40, diverged=0).losses[-1] == 9.0 * 4.0**39
    assert descend(Square(), 12, diverged=4.0**12).step == 12
    with pytest.raises(NonFiniteError, match="step 65: a number is not finite"):
        descend(Square(1.0), 200, diverged=0)
    for wrong in (-1, math.nan):
        with pytest.raises(ArgumentError, match=r"^fit: diverged out of range"):
            descend(Square(), 3, diverged=wrong)


class Given(nn.Module):
    """A loss that is told."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(tgs.tensor([0.0]))

    def loss(self, value: float) -> Any:
        return self.w.sum() * 0.0 + value


def test_losses_of_any_kind() -> None:
    """Zero says nothing of the scale; of a negative one the size counts, and what falls far below is welcome."""
    assert fit(Given(), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0], steps=6, quiet=True).step == 6
    assert fit(Given(), [-2.0, -1e9, 19.0, -3.0, 1.0, 19.0], steps=60, quiet=True).step == 60
    with pytest.raises(DivergedError):
        fit(Given(), [-2.0] + 19 * [20.5], steps=20, quiet=True)
    with pytest.raises(DivergedError):
        fit(Given(), [0.0, 1.0] + 18 * [10.5], steps=20, quiet=True)


def test_count_and_first_value_are_plain_values() -> None:
    """What is written down is JSON, and another one goes on from it."""
    one, other = Divergence(65), Divergence(65)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert math.isnan(other.first)
    for watch in (one, other):
        watch.see(3.0)
        watch.saved(4, "last.safetensors")
    for _ in range(REPORTS - 1):
        assert not one.report(99.0)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert (other.first, other.count, other.kept) == (3.0, REPORTS - 1, (4, "last.safetensors"))
    assert other.report(99.0)
