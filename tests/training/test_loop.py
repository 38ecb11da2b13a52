"""Laws of the training loop: what it computes, what it draws, when it ends and what it leaves."""

from __future__ import annotations

import collections
import itertools
import json
import math
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import optim
from tinygrad_seq.data import Corpus, Streams, Vocabulary, split, windows
from tinygrad_seq.engine.random import Generator, positions, stream
from tinygrad_seq.errors import ArgumentError, CheckpointError, DataError, NonFiniteError
from tinygrad_seq.models import CharLM
from tinygrad_seq.training import (
    Config,
    Evaluated,
    Event,
    Finished,
    Interrupted,
    Sampled,
    Saved,
    Started,
    Step,
    evaluate,
    load_run,
    resume,
    train,
)
from tinygrad_seq.training.budget import Plan
from tinygrad_seq.training.config import set_by_words
from tinygrad_seq.training.console import beginning, row
from tinygrad_seq.training.evaluation import evaluating
from tinygrad_seq.training.signals import uninterrupted

CLAUSES = ("the cat sat on the mat", "a dog ran to the cat", "then the mat was red", "no cat was a dog")


def written(characters: int = 6000) -> Corpus:
    """A text of a few clauses in random order: easy to learn, not to be learnt by counting characters."""
    draw = random.Random(0)
    text = ""
    while len(text) < characters:
        text += draw.choice(CLAUSES) + draw.choice([".\n", ", "])
    return Corpus(text[:characters], "clauses")


TEXT = written()
TINY = Config(hidden=16, batch=4, window=8, steps=12, eval_every=5, sample_every=0, warmup=2, lr=0.01)


def unigram_entropy(text: str) -> float:
    """-sum p log p of the characters: what a model reaches that only counts them, in nats."""
    counts = np.array(list(collections.Counter(text).values()), float)
    p = counts / counts.sum()
    return float(-(p * np.log(p)).sum())


def losses(events: list[Event]) -> list[float]:
    """The loss of every step."""
    return [event.loss for event in events if isinstance(event, Step)]


def run(config: Config = TINY, **settings: Any) -> list[Event]:
    """All events of a run on the small text."""
    return list(train(config, corpus=TEXT, **settings))


# ---------------------------------------------------------------- what is learnt


def test_a_small_model_learns() -> None:
    """100 steps bring validation to 0.40 nats per character, far below the 2.4 of counting characters."""
    config = Config(hidden=32, batch=8, window=16, steps=100, lr=0.02, eval_every=1000, sample_every=0)
    last = run(config)[-1]
    assert isinstance(last, Finished)
    assert unigram_entropy(TEXT.text) > 2.4
    assert last.validation < 0.40


def test_loop_is_the_loop_one_would_write() -> None:
    """Losses equal those of ten lines by hand: state carried, detached, fresh at a wrap; clip; schedule."""
    vocabulary = Vocabulary(TEXT.text)
    ids = split(vocabulary.encode(TEXT.text)).train
    config = replace(TINY, batch=40, window=25, steps=14, clip=0.05, weight_decay=0.1)
    model = CharLM(len(vocabulary), 16, rng=Generator(config.seed, "init"))
    rule = optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.1)
    schedule = optim.CosineWithWarmup(rule, total=14, warmup=1)
    streams, state, expected = Streams(ids, 40, 25), None, []
    for _ in range(14):
        inputs, targets, fresh = next(streams)
        loss, state = model.loss(inputs, targets, None if fresh or state is None else tgs.detach(state))
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 0.05)
        rule.step()
        rule.zero_grad()
        schedule.step()
        expected.append(loss.item())
    assert streams.batches_per_pass < 14, "the text must be started anew within the run"
    assert losses(run(config)) == expected


def test_settings_reach_the_model_and_the_rule() -> None:
    """Each of these settings changes the course of a run."""
    usual = losses(run())
    for change in (
        {"hidden": 17},
        {"layers": 2},
        {"embedding": 5},
        {"dropout": 0.3},
        {"batch": 5},
        {"window": 9},
        {"steps": 13},
        {"lr": 0.02},
        {"warmup": 0},
        {"clip": 0.1},
        {"weight_decay": 0.5},
        {"optimizer": "SGD"},
        {"seed": 1},
    ):
        assert losses(run(replace(TINY, **change)))[:12] != usual, change


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "SGD", "RMSprop", "Adagrad"])
def test_every_optimizer_trains(optimizer: str) -> None:
    """The loss of one batch that is shown again and again falls."""
    config = Config(hidden=8, batch=2, window=4, steps=20, optimizer=optimizer, sample_every=0)
    corpus = Corpus("abababab" * 16)
    shown = losses(list(train(config, corpus=corpus)))
    assert shown[-1] < shown[0]


# ---------------------------------------------------------------- the same again


def test_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    """All numbers but the times agree, in the events and in metrics.jsonl; another seed gives others."""
    config = replace(TINY, dropout=0.2, sample_every=6)
    one, other = run(config, folder=tmp_path / "a"), run(config, folder=tmp_path / "b")
    assert losses(one) == losses(other)
    assert [e.text for e in one if isinstance(e, Sampled)] == [
        e.text for e in other if isinstance(e, Sampled)
    ]
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in "ab"
    ]
    for one in itertools.chain(*rows):
        del one["seconds"], one["characters_per_second"]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [5, 10, 12]
    assert losses(run(replace(config, seed=2))) != losses(one)


def test_looking_does_not_change_what_is_learnt() -> None:
    """Evaluations, samples and reports at every step leave the losses of a run with dropout as they are."""
    quiet = replace(TINY, dropout=0.3, eval_every=1000)
    busy = replace(TINY, dropout=0.3, eval_every=1, sample_every=1, report_every=1)
    assert losses(run(quiet)) == losses(run(busy))


def test_run_draws_from_streams_of_its_own() -> None:
    """The default streams neither move nor matter, whatever was drawn from them before."""
    config = replace(TINY, dropout=0.3, sample_every=4)
    tgs.manual_seed(1)
    stream("dropout").rand(3)
    before = positions()
    one = run(config)
    assert positions() == before
    tgs.manual_seed(2)
    assert losses(run(config)) == losses(one)


def test_mode_of_the_model_is_the_loops_own() -> None:
    """Whoever evaluates the model between two events does not switch its dropout off."""
    config = replace(TINY, dropout=0.5)
    events = []
    for event in train(config, corpus=TEXT):
        events.append(event)
        events[0].run.model.eval()  # type: ignore[union-attr]
    assert losses(events) == losses(run(config)) != losses(run(replace(TINY, dropout=0.0)))


def test_nothing_happens_before_the_first_event_is_asked_for(tmp_path: Path) -> None:
    """A mistake shows when `train` is called; the folder is there, and empty until the run starts."""
    with pytest.raises(DataError):
        train(TINY, corpus=Corpus("too short"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError):
        train(TINY, corpus=TEXT, folder=tmp_path / "full")
    train(TINY, corpus=TEXT, folder=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


# ---------------------------------------------------------------- what is told


def test_events_come_in_order(tmp_path: Path) -> None:
    """Started, saved at once, steps, evaluations with their saves, samples, the end."""
    config = replace(TINY, steps=5, eval_every=2, sample_every=3)
    events = run(config, folder=tmp_path / "a")
    names = [type(event).__name__ for event in events]
    assert names[:3] == ["Started", "Saved", "Step"]
    assert names[-4:] in (
        ["Evaluated", "Sampled", "Saved", "Finished"],
        ["Saved", "Sampled", "Saved", "Finished"],
    )
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 4, 5]
    assert [e.step.step for e in events if isinstance(e, Evaluated)] == [2, 4, 5]
    assert [e.step for e in events if isinstance(e, Sampled)] == [3, 5]
    saved = [(e.step, e.path.name) for e in events if isinstance(e, Saved)]
    assert saved[:3] == [(0, "last.safetensors"), (2, "best.safetensors"), (2, "last.safetensors")]
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert sum(started.parts) == len(TEXT.text)
    assert started.folder == finished.folder == tmp_path / "a"
    validations = [e.validation for e in events if isinstance(e, Evaluated)]
    assert finished.validation == validations[-1]
    assert finished.best == min(validations)


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks need no folder."""
    monkeypatch.chdir(tmp_path)
    assert not [event for event in run() if isinstance(event, Saved)]
    assert list(tmp_path.iterdir()) == []


def test_reported_loss_is_the_mean_since_the_last_report() -> None:
    """Reports and evaluations both begin a new mean; a step that is evaluated is not reported twice."""
    events = run(replace(TINY, report_every=2))
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps if step.report] == [2, 4, 6, 8]
    for first, last in ((1, 2), (3, 4), (5, 5), (6, 6), (7, 8), (9, 10), (11, 12)):
        mean = sum(step.loss for step in steps[first - 1 : last]) / (last - first + 1)
        assert steps[last - 1].recent == pytest.approx(mean, rel=1e-12)


def test_gradient_is_told_before_clipping() -> None:
    """The first step's norm is the same whatever the bound."""
    norms = [
        next(event.gradient for event in run(replace(TINY, steps=1, clip=clip)) if isinstance(event, Step))
        for clip in (0, 1, 1e-3)
    ]
    assert norms[0] == norms[1] == norms[2] > 1e-3


def test_best_is_kept_when_validation_gets_worse(tmp_path: Path) -> None:
    """Weights that are spoilt on the way make the last worse than the best; both files hold what they say."""
    events = []
    for event in train(replace(TINY, eval_every=2), corpus=TEXT, folder=tmp_path / "a"):
        events.append(event)
        if isinstance(event, Step) and event.step == 7:
            bias = events[0].run.model.head.bias  # type: ignore[union-attr]
            bias.assign(np.linspace(-9, 9, bias.shape[0], dtype=np.float32))  # type: ignore[union-attr]
    validations = [event.validation for event in events if isinstance(event, Evaluated)]
    assert len(validations) == 6
    assert min(validations) == validations[2] < validations[-1]
    part = split(Vocabulary(TEXT.text).encode(TEXT.text)).validation
    assert evaluate(load_run(tmp_path / "a").model, part) == pytest.approx(min(validations), rel=1e-6)
    assert evaluate(load_run(tmp_path / "a", "last").model, part) == pytest.approx(validations[-1], rel=1e-6)
    best = [event.step for event in events if isinstance(event, Saved) and event.path.name.startswith("best")]
    assert best == [2 * n + 2 for n in range(6) if validations[n] < min([math.inf, *validations[:n]])]


# ---------------------------------------------------------------- evaluation


def test_evaluation_is_the_mean_over_the_whole_text() -> None:
    """Equal to -log softmax, written out in NumPy, of one pass over a row as a whole, whatever the window."""
    vocabulary = Vocabulary(TEXT.text)
    ids = vocabulary.encode(TEXT.text[:1003])
    model = CharLM(len(vocabulary), 8, dropout=0.5, rng=Generator(3))
    total = 0.0
    with evaluating(model):
        for inputs, targets, _ in windows(ids, 1, 10**6):
            logits = model(inputs)[0].numpy().astype(np.float64)
            logits -= logits.max(-1, keepdims=True)
            logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            total -= np.take_along_axis(logp, targets[..., None], -1).sum()
    exact = total / 1002
    for window in (1, 7, 64, 2000):
        assert evaluate(model, ids, batch=1, window=window) == pytest.approx(exact, rel=1e-5)
    assert evaluate(model, ids, batch=8, window=16) == evaluate(model, ids, batch=8, window=16)
    assert evaluate(model, ids, batch=8, window=16) == pytest.approx(
        evaluate(model, ids, batch=8, window=5), rel=1e-5
    )


def test_nothing_is_recorded_while_evaluating() -> None:
    """A validation part of any length needs the memory of one window."""
    model = CharLM(5, 8, rng=Generator(3))
    ids = np.zeros((3, 1), np.int64)
    with evaluating(model):
        logits, (h, c) = model(ids)
    assert not any(tensor.requires_grad for tensor in (logits, h, c))
    assert model(ids)[0].requires_grad


def test_evaluation_leaves_no_trace() -> None:
    """Gradients, modes, weights and default streams are as before; a part in evaluation mode stays in it."""
    vocabulary = Vocabulary(TEXT.text)
    model = CharLM(len(vocabulary), 8, dropout=0.5, rng=Generator(3))
    model.lstm.eval()
    weights = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    before = positions()
    evaluate(model, vocabulary.encode(TEXT.text[:500]))
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert all((tensor.numpy() == weights[name]).all() for name, tensor in model.state_dict().items())
    assert positions() == before


# ---------------------------------------------------------------- how long


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def timed(config: Config, seconds_of: Any, closing: float = 0.0) -> tuple[list[Step], float]:
    """The steps of a run in which step n takes `seconds_of(n)` and each evaluation `closing` seconds."""
    clock = Clock()
    steps = []
    for event in train(config, corpus=TEXT, clock=clock):
        if isinstance(event, Step):
            steps.append(event)
            clock.now += seconds_of(event.step)
        elif isinstance(event, Evaluated):
            clock.now += closing
    return steps, clock.now - 100.0


def test_steps_are_planned_from_the_time() -> None:
    """A minute at one second a step is sixty steps, known after five; the last has almost no rate left."""
    config = Config(
        hidden=4, batch=2, window=4, minutes=1, sample_every=0, eval_every=1000, warmup=3, lr=0.01
    )
    steps, seconds = timed(config, lambda n: 1.0)
    assert len(steps) in (60, 61)
    assert 59 <= seconds <= 62
    assert steps[1].steps is None
    assert steps[1].left is None
    assert 55 <= (steps[10].steps or 0) <= 70
    assert max(step.lr for step in steps) == 0.01
    assert steps[-1].lr < 0.01 * 0.01
    rates = [step.lr for step in steps[6:]]
    assert rates == sorted(rates, reverse=True)


def test_steps_of_a_run_by_time_are_told_as_an_estimate() -> None:
    """`~` while the number moves, none at the last step, and none where steps or passes alone are planned."""
    config = Config(hidden=4, batch=2, window=4, minutes=1, sample_every=0, eval_every=1000)
    steps, _ = timed(config, lambda n: 1.0)
    assert [step.about for step in steps] == [False] * 4 + [True] * (len(steps) - 5) + [False]
    assert row(steps[20], None).split()[0].startswith("21/~")
    assert row(steps[-1], None).split()[0] == f"{len(steps)}/{len(steps)}"
    assert not any(step.about for step in timed(replace(config, minutes=None, steps=9), lambda n: 1.0)[0])
    started = next(train(config, corpus=TEXT))
    assert isinstance(started, Started)
    assert "        /~N: about N steps in all, estimated anew after each" in beginning(started)


def test_time_counts_from_the_first_event(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One plan for a run, whatever its bounds; what passes before the run is asked for is no part of it."""
    made: list[Plan] = []

    def noted(*arguments: Any) -> Plan:
        made.append(Plan(*arguments))
        return made[-1]

    monkeypatch.setattr("tinygrad_seq.training.trainer.Plan", noted)
    clock = Clock()
    events = train(replace(TINY, steps=2), corpus=TEXT, clock=clock, folder=tmp_path / "run")
    clock.now += 50.0
    end = list(events)[-1]
    assert isinstance(end, Finished)
    assert end.seconds == 0.0
    events = resume(tmp_path / "run", corpus=TEXT, steps=3, clock=clock)
    clock.now += 50.0
    end = list(events)[-1]
    assert isinstance(end, Finished)
    assert end.seconds == 0.0
    assert len(made) == 2


def test_run_that_gets_slower_still_ends_in_time() -> None:
    """The plan follows the rate: ten steps of a second, then ten of five; an evaluation is reckoned with."""
    config = Config(hidden=4, batch=2, window=4, minutes=1, sample_every=0, eval_every=8, lr=0.01)
    steps, seconds = timed(config, lambda n: 1.0 if n <= 10 else 5.0, closing=2.0)
    assert seconds <= 60 + 2 * 5
    assert seconds >= 50
    assert steps[-1].lr < 0.01 * 0.1
    assert steps[-1].left == 0.0


def test_last_evaluation_is_within_the_time() -> None:
    """As long as the one before is kept free for it."""
    config = Config(hidden=4, batch=2, window=4, minutes=1, sample_every=0, eval_every=8)
    assert 58 <= timed(config, lambda n: 1.0, closing=5.0)[1] <= 61


def test_whichever_comes_first_ends_the_run() -> None:
    """Steps and minutes together are two bounds."""
    config = Config(hidden=4, batch=2, window=4, minutes=1, steps=30, sample_every=0, eval_every=1000)
    assert len(timed(config, lambda n: 1.0)[0]) == 30
    assert 14 <= len(timed(config, lambda n: 4.0)[0]) <= 17


def test_no_time_at_all_is_one_step() -> None:
    """Whatever the limit, there is a step, an evaluation and a proper end."""
    events = run(Config(hidden=4, batch=2, window=4, minutes=1e-9))
    assert len(losses(events)) == 1
    assert isinstance(events[-1], Finished)


def test_warm_up_takes_a_tenth_of_the_run_at_most() -> None:
    """The rate climbs in a line, reaches its height, and is near 0 in the last step."""
    steps = [event for event in run(replace(TINY, steps=40, warmup=50)) if isinstance(event, Step)]
    assert [step.lr for step in steps[:4]] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert steps[-1].lr < 1e-4


# ---------------------------------------------------------------- stopping


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Numbers of forward passes in whose middle Ctrl+C is pressed."""
    presses: list[int] = []
    calls = itertools.count(1)
    forward = CharLM.forward

    def pressed(self: CharLM, *arguments: Any) -> Any:
        n = next(calls)
        result = forward(self, *arguments)
        for _ in range(presses.count(n)):
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(CharLM, "forward", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield presses
    signal.signal(signal.SIGINT, before)


def test_interrupt_ends_after_the_whole_step(tmp_path: Path, interrupts: list[int]) -> None:
    """The step that is under way is finished, its weights are saved, and the run says where it stands."""
    interrupts.append(3)
    events = run(folder=tmp_path / "a")
    assert isinstance(events[-1], Interrupted)
    assert events[-1].step == 3
    assert losses(events) == losses(run())[:2], "the third step is done, but was not told any more"
    assert isinstance(events[-2], Saved)
    saved = load_run(tmp_path / "a").model.state_dict()
    for name, tensor in events[-1].run.model.state_dict().items():
        assert (tensor.numpy() == saved[name].numpy()).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_interrupt_stops_at_once(tmp_path: Path, interrupts: list[int]) -> None:
    """Within the step, without saving what may be half an update; what was saved before can be loaded."""
    interrupts += [3, 3]
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        events.extend(train(TINY, corpus=TEXT, folder=tmp_path / "a"))
    assert len(losses(events)) == 2
    untrained = CharLM(len(Vocabulary(TEXT.text)), 16, rng=Generator(TINY.seed, "init")).state_dict()
    for name, tensor in load_run(tmp_path / "a").model.state_dict().items():
        assert (tensor.numpy() == untrained[name].numpy()).all()


def test_interrupt_during_an_evaluation_saves(tmp_path: Path, interrupts: list[int]) -> None:
    """An evaluation is given up at once; the weights of the step before it are saved."""
    interrupts.append(6)
    events = run(folder=tmp_path / "a")
    assert isinstance(events[-1], Interrupted)
    assert events[-1].step == 5
    assert [event.step for event in events if isinstance(event, Saved)] == [0, 5]


def test_closing_the_generator_saves(tmp_path: Path) -> None:
    """Whoever leaves the loop early finds the weights of the last step in the folder."""
    events = train(TINY, corpus=TEXT, folder=tmp_path / "a")
    started = next(events)
    assert isinstance(started, Started)
    for event in events:
        if isinstance(event, Step) and event.step == 3:
            break
    events.close()
    saved = load_run(tmp_path / "a", "last").model.state_dict()
    for name, tensor in started.run.model.state_dict().items():
        assert (tensor.numpy() == saved[name].numpy()).all()


def test_uninterrupted_leaves_foreign_handlers_alone() -> None:
    """A program's own handler for Ctrl+C is called at once, and other threads never set one."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
    events: list[Event] = []
    thread = threading.Thread(target=lambda: events.extend(run(replace(TINY, steps=1))))
    thread.start()
    thread.join()
    assert isinstance(events[-1], Finished)


# ---------------------------------------------------------------- numbers that are none


def spoilt(config: Config, folder: Path, step: int, parameter: Callable[[CharLM], Any]) -> None:
    """A run in which a parameter becomes NaN after a step."""
    events = train(config, corpus=TEXT, folder=folder)
    started = next(events)
    assert isinstance(started, Started)
    for event in events:
        if isinstance(event, Step) and event.step == step:
            p = parameter(started.run.model)
            p.assign(np.full(p.shape, np.nan, np.float32))


def test_loss_that_is_not_finite_is_traced_to_its_origin(tmp_path: Path) -> None:
    """The run stops before the update, names the op where it arose, and keeps the good weights."""
    with pytest.raises(NonFiniteError) as caught:
        spoilt(TINY, tmp_path / "a", 6, lambda model: model.head.bias)
    symbols = len(Vocabulary(TEXT.text))
    head, origin = str(caught.value).split("    add: ")
    assert head == (
        "train: step 7: a number is not finite.\n"
        "  loss: nan\n"
        "  norm of the gradient: nan\n"
        "  expected finite numbers.\n"
        "  Weights saved before are still good. Try a lower lr.\n"
        "  It first arose here:\n"
    )
    assert origin.startswith(
        f"{8 * 4 * symbols} of {8 * 4 * symbols} elements are NaN in the forward pass, in "
    )
    assert "head" in origin.splitlines()[0]
    kept = load_run(tmp_path / "a", "last").model.state_dict()
    assert all(np.isfinite(tensor.numpy()).all() for tensor in kept.values())
    assert "5" in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[-1]


def test_failing_step_is_repeated_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the origin sees the same dropout: another mask might have no fault to find."""
    drawn: list[int] = []
    loss = CharLM.loss

    def noted(self: CharLM, *arguments: Any) -> Any:
        drawn.append(stream("dropout").drawn)
        return loss(self, *arguments)

    monkeypatch.setattr(CharLM, "loss", noted)
    with pytest.raises(NonFiniteError):
        spoilt(replace(TINY, dropout=0.5), tmp_path / "a", 2, lambda model: model.head.bias)
    assert drawn == [0, 1, 2, 2]


@pytest.mark.parametrize("lr", [1e38, 1e30, 1e10, 1e4])
def test_run_that_diverges_keeps_a_good_checkpoint(tmp_path: Path, lr: float) -> None:
    """Whether its loss is NaN, infinite or finite there (which depends on how the processor sums), a learning rate
    beyond all measure ends the run, without a warning of NumPy's; what is kept is as good as at the start.
    """
    config = replace(TINY, optimizer="SGD", lr=lr, warmup=0, clip=0.0, weight_decay=0.0, save_every=1)
    with pytest.raises(NonFiniteError, match=r"a number is not finite|the run has diverged"):
        run(config, folder=tmp_path / "a")
    kept = load_run(tmp_path / "a")
    assert evaluate(kept.model, kept.vocabulary.encode(TEXT.text)) < 2 * math.log(len(kept.vocabulary))


def test_validation_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """The last update may spoil the weights: they are not saved over the good ones."""
    with pytest.raises(
        NonFiniteError, match=r"^train: step 3: a number is not finite\.\n  validation: nan\n"
    ):
        spoilt(replace(TINY, eval_every=3), tmp_path / "a", 3, lambda model: model.embedding.weight)
    kept = load_run(tmp_path / "a").model.state_dict()
    assert all(np.isfinite(tensor.numpy()).all() for tensor in kept.values())


# ---------------------------------------------------------------- settings that cannot be


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"hidden": 0}, "hidden out of range.\n  hidden: 0\n  expected a whole number of at least 1."),
        ({"hidden": 1.5}, "hidden is of the wrong kind.\n  hidden: 1.5\n  expected a whole number."),
        ({"layers": True}, "layers is of the wrong kind.\n  layers: True\n  expected a whole number."),
        ({"dropout": 1.5}, "dropout out of range.\n  dropout: 1.5\n  expected a number from 0 to 1."),
        ({"dropout": math.nan}, "dropout out of range.\n  dropout: nan\n  expected a finite number."),
        ({"steps": 0}, "steps out of range.\n  steps: 0\n  expected a whole number of at least 1."),
        ({"minutes": 0}, "minutes out of range.\n  minutes: 0.0\n  expected a number above 0."),
        ({"lr": math.inf}, "lr out of range.\n  lr: inf\n  expected a finite number."),
        ({"lr": "fast"}, "lr is of the wrong kind.\n  lr: 'fast'\n  expected a number."),
        ({"seed": None}, "seed is of the wrong kind.\n  seed: None\n  expected a whole number."),
        (
            {"optimizer": "adagard"},
            "no such optimizer.\n  optimizer: 'adagard'\n"
            "  expected one of AdamW, Adam, SGD, RMSprop, Adagrad."
            "\n  Did you mean 'Adagrad'?",
        ),
        (
            {"corpus": ()},
            "corpus out of range.\n  corpus: ()\n  expected one or more of: the path of a text file, '-', "
            "builtin:topics, builtin:stdlib.",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], text: str) -> None:
    """When the settings are made, with the name, the value and what may stand there."""
    with pytest.raises(ArgumentError) as caught:
        Config(**settings)
    assert str(caught.value) == f"config: {text}"


def test_learning_rate_is_that_of_the_model_where_none_is_given() -> None:
    """Settled when the settings are made: readers, files and dry runs find a number."""
    rates = {model: Config(model=model).lr for model in ("lstm", "gru", "rnn", "transformer")}
    assert rates == {"lstm": 0.005, "gru": 0.005, "rnn": 0.005, "transformer": 0.002}
    assert "\nlr = 0.002\n" in Config(model="transformer").to_toml()
    assert Config.from_toml('model = "transformer"').lr == 0.002
    assert Config.from_toml('model = "transformer"\nlr = 0.005\nreading = "random"').lr == 0.005
    assert set_by_words(["lr=none"]) == {"lr": None}
    with pytest.raises(ArgumentError, match=r"min_lr is above lr\.\n  lr: 0\.002\n  min_lr: 0\.003"):
        Config(model="transformer", min_lr=0.003)
    with pytest.raises(ArgumentError, match="model is of the wrong kind"):
        Config(model=["lstm"])  # type: ignore[arg-type]


def test_another_model_takes_its_own_learning_rate_unless_one_was_given() -> None:
    """By `changed`, and so by `train(config, model=...)`."""
    plain, given = Config(), Config(lr=0.02)
    assert plain.changed({"model": "transformer"}).lr == 0.002
    assert plain.changed({"model": "transformer"}).changed({"model": "gru"}).lr == 0.005
    assert plain.changed({"model": "transformer", "lr": 0.005}).lr == 0.005
    assert given.changed({"model": "transformer"}).lr == 0.02
    assert given.changed({"hidden": 3}).lr == 0.02
    assert given.changed({"lr": None}).lr == 0.005
    started = next(train(TINY, corpus=TEXT, model="transformer", lr=None))
    assert isinstance(started, Started)
    assert started.run.config.lr == 0.002


def test_settings_take_what_stands_for_a_number() -> None:
    """NumPy's numbers and whole numbers for floats become plain ones; a lone source becomes a tuple."""
    config = Config(hidden=np.int64(7), lr=1, corpus=Path("a.txt"))  # type: ignore[arg-type]
    assert (type(config.hidden), type(config.lr), config.corpus) == (int, float, ("a.txt",))
    assert (config.steps, Config(minutes=1).steps) == (2000, None)
