"""Laws of what is measured while training: true, cheap to have, and without any effect."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.data import Corpus, Vocabulary
from tinygrad_seq.models import GPT, CharLM
from tinygrad_seq.training import Config, Evaluated, Flow, Step, train
from tinygrad_seq.training import gradient_flow as module
from tinygrad_seq.training.console import HEAD, TerminalLines, strip
from tinygrad_seq.training.gradient_flow import GradientMonitor
from tinygrad_seq.training.metrics import as_json
from tinygrad_seq.training.run_folder import Run, new_model
from tinygrad_seq.training.step import Updater

pytestmark = pytest.mark.laws

TEXT = Corpus("the cat sat on the mat, a dog ran. " * 60)
TINY = Config(
    hidden=6, layers=2, batch=4, window=12, steps=12, eval_every=5, sample_every=0, lr=0.01, clip=0.5
)


class Blind:
    """Nobody looks."""

    @contextmanager
    def looking(self, step: int) -> Any:
        """No look."""
        yield

    def stepped(self, norm: float) -> None:
        """No note."""


def updater(config: Config = TINY) -> Updater:
    """An updater on the text."""
    vocabulary = Vocabulary(TEXT.text)
    return Updater(Run(new_model(vocabulary, config), vocabulary, config), vocabulary.encode(TEXT.text))


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_looking_changes_no_bit(composed: bool, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, losses and norms of ten steps with dropout, looked at in each, are those of ten that nobody saw."""
    monkeypatch.setattr(module, "EVERY", 1)
    config = replace(TINY, dropout=0.2, optimizer=optimizer)
    with tgs.composed() if composed else tgs.scope("train"):
        seen, blind = updater(config), updater(config)
        blind.monitor = Blind()  # type: ignore[assignment]
        for _ in range(10):
            assert seen.step() == blind.step()
    assert seen.monitor.looks == 10
    for p, q in zip(seen.parameters, blind.parameters, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_norms_are_what_central_differences_say(cell: str, composed: bool) -> None:
    """dL/dh_t, and dL/dc_t with h_t held fixed, in float64, to 1e-6: fused or not."""
    model = CharLM(5, 3, cell=cell, rng=tgs.Generator(1)).double()
    ids = np.random.default_rng(0).integers(0, 5, (7, 2))
    monitor = GradientMonitor(model, list(model.parameters()), 1.0, 6)
    assert monitor.marks == set(range(6))
    with tgs.composed() if composed else tgs.scope("train"):
        with monitor.looking(0):
            loss, _ = model.loss(ids[:-1], ids[1:])
            loss.backward()
        monitor.stepped(1.0)
        norms = monitor.flow().norms
        net = getattr(model, cell)
        e = model.embedding(ids[:-1])
        kinds = net.cell_class.states
        assert list(norms) == [f"d{k}_l0" for k in kinds]
        for t in range(6):
            _, state = net(e[: t + 1])
            given = [s.numpy() for s in (state if isinstance(state, tuple) else (state,))]

            def loss_of(k: int, part: np.ndarray, t: int = t, given: list[np.ndarray] = given) -> float:
                own = [tgs.tensor(part if j == k else a) for j, a in enumerate(given)]
                h = own[0]
                if t < 5:
                    later, _ = net(e[t + 1 :], tuple(own) if len(own) > 1 else h)
                    h = tgs.concat([h, later])
                own_and_later = model.head(h).reshape(-1, 5)
                losses = F.cross_entropy(own_and_later, tgs.tensor(ids[t + 1 :].reshape(-1)), reduction="sum")
                return float(losses.item()) / 12

            for k, kind in enumerate(kinds):
                g = np.zeros(given[k].shape)
                for i in np.ndindex(*g.shape):
                    there, back = given[k].copy(), given[k].copy()
                    there[i] += 1e-5
                    back[i] -= 1e-5
                    g[i] = (loss_of(k, there) - loss_of(k, back)) / 2e-5
                assert norms[f"d{kind}_l0"][t] == pytest.approx(np.linalg.norm(g), rel=1e-6, abs=1e-12)
    if cell == "lstm":
        assert norms["dc_l0"][5] == 0.0


def test_metrics_hold_scalars(tmp_path: Path) -> None:
    """Per layer and time step; clipped and update by hand; only what was looked at."""
    events = list(train(TINY, corpus=TEXT, folder=tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    norms = [e.gradient for e in events if isinstance(e, Step)]
    assert [row["clipped"] for row in rows] == [
        np.mean([n > 0.5 for n in norms[a:b]]) for a, b in ((0, 5), (5, 10), (10, 12))
    ]
    marks = [0, 2, 3, 5, 6, 8, 9, 11]
    names = {f"d{k}_l{layer}_t{t}" for k in "hc" for layer in (0, 1) for t in marks}
    assert [names <= set(row) for row in rows] == [True, False, True]
    assert [name for name in rows[1] if name.startswith("d")] == []
    assert ["update_ratio" in row for row in rows] == [True, False, True]
    assert all(isinstance(value, float) for name, value in rows[0].items() if name in names)
    assert "update_ratio" in rows[0]


def test_events_tell_what_is_new(tmp_path: Path) -> None:
    """As JSON: no event repeats the ratio and norms of an earlier look; they are in the step that was looked at."""
    events = list(train(replace(TINY, steps=23), corpus=TEXT, folder=tmp_path / "run"))
    steps = [as_json(event) for event in events if isinstance(event, Step)]
    assert [one["step"] for one in steps if "update_ratio" in one] == [1, 11, 21]
    assert [one["step"] for one in steps if "dh_l0_t0" in one] == [1, 11, 21]
    assert all("clipped" in one for one in steps)
    told = [as_json(event)["step"] for event in events if isinstance(event, Evaluated)]
    assert [one["step"] for one in told if "update_ratio" in one] == []
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    ratios = {row["step"]: row["update_ratio"] for row in rows if "update_ratio" in row}
    # A report has the mean of the looks since the one before, each of which counts once.
    assert ratios == {at: steps[look - 1]["update_ratio"] for at, look in ((5, 1), (15, 11), (23, 21))}


def test_update_ratio_and_clipping_by_hand() -> None:
    """The norm of what one step changed over that of the weights."""
    one = updater(replace(TINY, optimizer="SGD", weight_decay=0.0))
    before = np.concatenate([p.numpy().ravel() for p in one.parameters])
    _, norm = one.step()
    after = np.concatenate([p.numpy().ravel() for p in one.parameters])
    flow = one.monitor.flow()
    assert flow.update == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-5)
    assert flow.clipped == float(norm > 0.5)
    one.monitor.reset()
    assert one.monitor.flow() == Flow(0.0, None, {}, 0)


def test_a_model_without_recurrence_has_the_rest() -> None:
    """No norms through time, but clipping and updates."""
    model = GPT(5, block=4, layers=1, heads=1, width=4, rng=tgs.Generator(0))
    monitor = GradientMonitor(model, list(model.parameters()), 1.0, 4)
    with monitor.looking(0):
        pass
    monitor.stepped(2.0)
    assert monitor.flow() == Flow(1.0, 0.0, {}, 1, looked=True)


def test_numbers_that_are_not_finite_are_null() -> None:
    """JSON has no infinity."""
    values = Flow(0.0, np.inf, {"dh_l0": {0: np.nan, 3: 1.0}}, 1).scalars()
    assert values == {"clipped": 0.0, "update_ratio": None, "dh_l0_t0": None, "dh_l0_t3": 1.0}
    json.dumps(values, allow_nan=False)


def test_strip_needs_no_color_and_no_unicode() -> None:
    """Zero is a space, what is not finite a `!`; plain signs where the terminal has no blocks."""
    flow = Flow(1.0, None, {"dh_l0": {0: 1e-9, 1: 1.0, 2: np.nan, 3: 0.0}}, 1)
    assert strip(flow) == "dh_l0 |▁█! | 1  clipped 100%"
    assert strip(flow, plain=True) == "dh_l0 |_#! | 1  clipped 100%"
    assert strip(Flow(0.0, None, {"dh_l0": {0: 0.0}}, 1)) == "dh_l0 | | 0  clipped 0%"
    assert strip(Flow(0.0, None, {"dh_l0": {0: np.inf}}, 1)) == "dh_l0 |!| nan  clipped 0%"


def test_live_line_is_headed_from_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any report; the head is written once."""
    monkeypatch.setattr("tinygrad_seq.training.console._REFRESH", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with TerminalLines(stream) as lines:
        for event in train(TINY, corpus=TEXT):
            lines.show(event)
            if isinstance(event, Step) and event.step == 1:
                first = stream.getvalue()
                assert 0 <= first.find(HEAD) < first.find("1/12")
    assert stream.getvalue().count(HEAD) == 1


@pytest.mark.parametrize(("encoding", "block"), [("utf-8", "█"), ("ascii", "#")])
def test_terminal_shows_the_strip(encoding: str, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the live line, also in steps that were not looked at."""
    monkeypatch.setattr("tinygrad_seq.training.console._REFRESH", 0.0)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with TerminalLines(stream) as lines:
        for event in train(TINY, corpus=TEXT):
            lines.show(event)
    shown = raw.getvalue().decode(encoding)
    assert shown.count("dh_l1 |") >= 12
    assert block in shown
    assert "clipped" in shown
