"""Laws of the doctor: each verdict on metrics made for it and on real runs; a machine where things are missing."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.analysis.compare import read_record
from tinygrad_seq.analysis.compare.counting import KNESER_NEY, UNIGRAM, baselines
from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.analysis.doctor import machine, verdicts
from tinygrad_seq.analysis.doctor.judge import (
    Verdict,
    clipping,
    finite,
    fit,
    learning_rate,
    length,
    size,
    spikes,
    trend,
)
from tinygrad_seq.analysis.doctor.published import ELSEWHERE, TINY_SHAKESPEARE, published_for
from tinygrad_seq.analysis.doctor.run import _gates_on, against_counting, against_published, gates
from tinygrad_seq.analysis.probe import activations
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus, split, tokenize
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.models import GPT, CharLM
from tinygrad_seq.runtime import kernel_cache
from tinygrad_seq.training import Config, train
from tinygrad_seq.training.evaluation import Measured
from tinygrad_seq.training.small_texts import too_many_weights

Tgs = Callable[..., tuple[int, str, str]]


def run(
    rows: list[dict[str, Any]] | None = None, *, facts: dict[str, Any] | None = None, **settings: Any
) -> Record:
    """A run of these reports."""
    return Record(Path("run"), settings, facts or {}, rows or [])


def course(
    train: list[float], validation: list[float], every: int = 100, **more: list[float]
) -> list[dict[str, Any]]:
    """A report for each pair of losses, every so many steps."""
    rows = []
    for i, (loss, held_out) in enumerate(zip(train, validation, strict=True)):
        rows.append({"step": (i + 1) * every, "loss": loss, "validation": held_out})
        rows[-1] |= {name: values[i] for name, values in more.items()}
    return rows


def said(verdict: Verdict | None) -> tuple[str, str]:
    """Topic and level."""
    assert verdict is not None
    return verdict.topic, verdict.level


# ---------------------------------------------------------------- the course


def test_overfitting() -> None:
    """Validation rose from its best while training went on falling; the whole text."""
    rows = course([2.0, 1.5, 1.2, 0.9, 0.6], [2.1, 1.7, 1.6, 1.65, 1.8])
    assert fit(run(rows)) == Verdict(
        "fit",
        "problem",
        "overfitting: validation was best at step 300 (1.600) and has risen to 1.800, while training fell from "
        "1.200 to 0.600. The best weights are kept; more text, dropout or a smaller model would help, more "
        "steps would not; --patience ends such a run by itself.",
    )
    assert said(fit(run(rows), error=0.2)) == ("fit", "hint")  # the rise is noise, the gap is not
    worse = course([2.0, 1.5, 1.2, 1.5, 1.7], [2.1, 1.7, 1.6, 1.65, 1.8])
    assert "overfitting" not in getattr(fit(run(worse)), "words")  # noqa: B009  both rose: that is no overfitting


def test_underfitting_and_neither() -> None:
    """By how far training and validation are apart."""
    under = fit(run(course([2.0, 1.9], [2.05, 1.92])))
    assert under == Verdict(
        "fit",
        "hint",
        "underfitting: training 1.900, validation 1.920 nats per token at step 200, 1.0% apart. "
        "A larger model or more steps have room.",
    )
    with_dropout = fit(run(course([2.0, 1.9], [2.05, 1.92]), dropout=0.2))
    assert "(with dropout, which training alone bears)" in getattr(with_dropout, "words")  # noqa: B009
    assert said(fit(run(course([2.0, 1.7], [2.05, 1.8])))) == ("fit", "ok")
    assert said(fit(run(course([2.0, 1.2], [2.05, 1.8])))) == ("fit", "hint")
    assert fit(run(course([2.0], [2.0]))) is None
    assert fit(run()) is None
    wild = fit(run(course([2.0, 1.9, 9.0, 1.9], [2.05, 1.92, 8.0, 1.92])))
    assert wild is not None
    assert wild.words.endswith("while the loss jumps, that tells neither under- nor overfitting.")


def test_trend() -> None:
    """Falling, flat, rising over the last quarter; flat because the rate has gone is said."""
    falling = trend(run(course([2.0] * 8, [3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.9, 1.8])))
    assert falling == Verdict(
        "trend",
        "hint",
        "validation is still falling: from 2.000 at step 600 to 1.800 at step 800, 10.0%. More steps would help.",
    )
    flat = course([2.0] * 8, [3.0, 2.5, 2.1, 2.0, 2.0, 2.0, 1.999, 1.998], lr=[0.1] * 7 + [0.001])
    assert said(trend(run(flat))) == ("trend", "ok")
    assert "learning rate has gone to 0" in getattr(trend(run(flat)), "words")  # noqa: B009
    assert said(trend(run(course([2.0] * 4, [2.0, 1.8, 1.8, 1.9])))) == ("trend", "problem")
    assert trend(run(course([2.0], [2.0]))) is None
    assert trend(run()) is None


def test_length() -> None:
    """Less than one pass, a run that was stopped, a run without reports."""
    rows = [{"step": 100}]
    settings = {"batch": 4, "window": 10, "steps": 100}
    assert length(run(rows, facts={"train": 2000}, **settings)) == Verdict(
        "length", "ok", "100 steps read 4,000 tokens, 2 times the 2,000 of the text."
    )
    often = length(run(rows, facts={"train": 5}, **settings))
    assert getattr(often, "words") == "100 steps read 4,000 tokens, 800 times the 5 of the text."  # noqa: B009
    assert length(run(rows, facts={"train": 16000}, **settings)) == Verdict(
        "length",
        "hint",
        "too short: 100 steps read 4,000 tokens, 0.25 times the 16,000 of the text. Part of it was never seen.",
    )
    stopped = length(run(rows, facts={"train": 2000}, batch=4, window=10, steps=900))
    assert said(stopped) == ("length", "hint")
    assert getattr(stopped, "words").endswith("It was stopped before its 900 steps.")  # noqa: B009
    assert said(length(run())) == ("length", "problem")
    assert length(run(rows)) is None
    early = course([2.0] * 4, [2.0, 1.0, 1.5, 1.6])
    ended = length(run(early, facts={"train": 2000}, batch=4, window=10, steps=900, patience=2))
    assert ended is not None
    assert ended.level == "ok"
    assert ended.words.endswith("It ended early, as --patience says: 2 validations in a row were no better.")


def test_size() -> None:
    """More weights than tokens to train on."""
    found = size(run(facts={"parameters": 1001, "train": 1000}))
    assert found is not None
    assert found == Verdict("size", "hint", f"{too_many_weights(1001, 1000)}.")
    assert found.words.startswith("1,001 parameters are many for 1,000 tokens to train on: ")
    assert said(size(run(facts={"parameters": 1000, "train": 1000}))) == ("size", "ok")
    assert size(run(facts={"parameters": 1000})) is None
    assert size(run()) is None


def test_clipping() -> None:
    """All the time, often, seldom, never asked for; the first half does not count."""

    def rows(*shares: float) -> list[dict[str, Any]]:
        return [{"step": i + 1, "clipped": share, "gradient": 4.0} for i, share in enumerate(shares)]

    assert clipping(run(rows(0, 0, 1, 1), clip=0.5)) == Verdict(
        "clipping",
        "problem",
        "100% of the steps of the second half were clipped to 0.5; its norm was 4 in the middle: "
        "all gradients count alike, and AdamW sees none as larger than another. Raise the clip.",
    )
    with_sgd = clipping(run(rows(0, 0, 1, 1), clip=0.5, optimizer="SGD"))
    assert with_sgd is not None
    assert with_sgd.words.endswith("the clip, not the lr, sets the size of a step. Raise it, or lower lr.")
    assert said(clipping(run(rows(0, 0, 0.7, 0.7)))) == ("clipping", "hint")
    assert said(clipping(run(rows(1, 1, 0.1, 0.0)))) == ("clipping", "ok")
    assert clipping(run(rows(1, 1, 1, 1), clip=0)) is None
    assert clipping(run([{"step": 1}])) is None


def test_learning_rate() -> None:
    """By the update over the weights where the rate was high; a jump makes it a problem."""

    def rows(ratio: float | None, losses: list[float]) -> list[dict[str, Any]]:
        found = [{"step": i, "loss": x, "lr": 0.1, "update_ratio": ratio} for i, x in enumerate(losses)]
        # At the end of a cosine nothing moves any more: that says nothing of the rate.
        faded = [{"step": 99 + i, "loss": losses[-1], "lr": 1e-6, "update_ratio": 1e-9} for i in range(9)]
        return [*found, *faded]

    calm, wild = [3.0, 2.5, 2.2, 2.0, 1.9], [3.0, 2.5, 2.2, 3.9, 2.0]
    assert learning_rate(run(rows(0.05, wild))) == Verdict(
        "lr",
        "problem",
        "too high: an update moved the weights by 5.0e-02 of their norm at lr 0.1 (usual: 1e-3), and the loss "
        "jumps. Try a third of it.",
    )
    assert said(learning_rate(run(rows(0.05, calm)))) == ("lr", "hint")
    assert said(learning_rate(run(rows(1e-3, calm)))) == ("lr", "ok")
    assert said(learning_rate(run(rows(3e-4, calm)))) == ("lr", "hint")
    assert said(learning_rate(run(rows(1e-5, calm)))) == ("lr", "problem")
    assert learning_rate(run([{"step": 1, "lr": 0.1, "update_ratio": None}])) is None


def test_spikes() -> None:
    """A jump of a tenth and more; the noise of a calm run is none, nor is a slow rise."""

    def rows(losses: list[float]) -> list[dict[str, Any]]:
        return [{"step": 10 * (i + 1), "loss": x} for i, x in enumerate(losses)]

    assert spikes(run(rows([3.0, 2.5, 2.2, 3.3, 2.1, 2.0]))) == Verdict(
        "spikes",
        "problem",
        "1 of 6 reports jump, the worst from 2.500 to 3.300 at step 40. A lower lr or clip, or a longer "
        "warm-up, calms that.",
    )
    noise = 2.0 + np.random.default_rng(0).normal(0, 0.02, 200)
    assert said(spikes(run(rows(list(noise))))) == ("spikes", "ok")
    assert said(spikes(run(rows(list(np.linspace(2.0, 3.0, 30)))))) == ("spikes", "ok")
    assert spikes(run(rows([1.0, 9.0, 1.0]))) is None


def test_numbers_that_are_none() -> None:
    """A report without a loss is a problem; all reports with one are not worth a word."""
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 3, "loss": math.nan}]
    assert finite(run(rows)) == Verdict(
        "loss",
        "problem",
        "the loss is no finite number in 2 of 3 reports, first at step 2. Train again with a lower lr, or clip.",
    )
    assert finite(run(rows[:1])) is None
    assert finite(run()) is None


# ---------------------------------------------------------------- counting, the published, gates


def test_counting_is_what_a_model_has_to_beat() -> None:
    """Worse than frequencies, worse than five symbols, as good, better: with the noise of the difference."""
    ids = tokenize("to be or not to be, that is the question:\n" * 100).ids
    parts = split(np.random.default_rng(2).permutation(ids))  # so that counting is not certain
    counted = baselines(parts.train, parts.validation, int(ids.max()) + 1)

    def like(other: Measured, more: float, noise: float = 0.001) -> Measured:
        blocks = other.blocks + more + noise * np.random.default_rng(1).normal(size=len(other.blocks))
        return replace(other, nats=other.nats + more, blocks=blocks)

    high, low = counted[UNIGRAM], counted[KNESER_NEY]
    assert high.nats < low.nats  # a text without order: the frequencies are all there is to know
    high, low = like(low, 0.5), low
    table = {UNIGRAM: high, KNESER_NEY: low}
    cases = [(high.nats - low.nats + 0.1, "problem", "it knows no more than how frequent each symbol is"),
             (0.1, "hint", "counting the last five symbols tells more"),
             (0.0, "ok", "about as good as counting the last five symbols"),
             (-0.1, "ok", "better than counting the last five symbols")]  # fmt: skip
    for more, level, words in cases:
        found = against_counting(like(low, more), table)
        assert said(found) == ("counting", level)
        assert found.words.startswith(
            f"{words}: {low.nats + more:.3f} nats per token; unigram {high.nats:.3f}"
        )
    assert against_counting(like(low, 0.05, noise=1.0), table).level == "ok"  # too little to tell


def test_published_figures_have_sources() -> None:
    """Each with its text, model and source, from the highest loss to the lowest; by the text's fingerprint."""
    known = published_for(TINY_SHAKESPEARE)
    assert [one.nats for one in known] == sorted((one.nats for one in known), reverse=True)
    assert known[0].nats == 1.88
    assert all(one.source and one.model and one.text for one in (*known, *ELSEWHERE))
    assert published_for(None) == ()
    good, bad = against_published(1.5, TINY_SHAKESPEARE), against_published(2.5, TINY_SHAKESPEARE)
    assert (said(good), said(bad)) == (("reference", "ok"), ("reference", "hint"))
    assert "this run 1.500 nats per character" in good.words
    assert "1.88 GPT of 4 x 128, 2,000 steps of 12 x 64 (nanoGPT, README" in good.words
    assert "nothing is published for this text; this run 1.500" in against_published(1.5, "0").words


def test_saturated_gates() -> None:
    """Shut, open, never between; a forget gate that stands open, and one that is mixed, are in order."""
    rng = np.random.default_rng(1)
    h = rng.uniform(-0.9, 0.9, (50, 10))
    mixed = rng.uniform(0.0, 1.0, (50, 10))

    def one(**parts: np.ndarray[Any, Any]) -> Verdict:
        (found,) = gates({"h_l0": h, "i_l0": mixed, **parts})
        return found

    assert said(one()) == ("layer l0", "ok")
    assert said(one(f_l0=np.full((50, 10), 0.99))) == ("layer l0", "ok")
    assert "gate f_l0 is shut (below 0.1) 100% of the time" in one(f_l0=np.full((50, 10), 0.01)).words
    assert "gate o_l0 is open (above 0.9) 100% of the time" in one(o_l0=np.full((50, 10), 0.99)).words
    assert "never between" in one(o_l0=np.where(mixed > 0.5, 0.999, 0.001)).words
    stuck = h.copy()
    stuck[:, :4] = 0.995 + 0.004 * mixed[:, :4]
    assert "h is beyond 0.99 40% of the time" in one(h_l0=stuck).words
    dead = h.copy()
    dead[:, :2] = 0.5
    assert "2 of 10 units never change" in one(h_l0=dead).words
    lost = h.copy()
    lost[3, 3] = np.nan
    assert "1 numbers are not finite" in one(h_l0=lost).words


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_saturated_gates_of_real_models(cell: str) -> None:
    """Weights a hundred times too large are found in every cell; those it begins with are in order."""
    ids = np.random.default_rng(0).integers(0, 5, 200)
    model = CharLM(5, 16, cell=cell, rng=Generator(0, "init"))
    (before,) = gates(activations(model, ids).parts)
    assert before.level == "ok"
    for name, p in model.named_parameters():
        if name.startswith(cell):
            p.assign(p * 100.0)
    (after,) = gates(activations(model, ids).parts)
    assert after.level == "problem"
    assert after.words.startswith("saturated: ")


# ---------------------------------------------------------------- real runs

LINES = "".join(f"{'to be or not to be'[i % 7 :]} {i * i % 97} that is the question\n" for i in range(150))
SMALL = Config(
    corpus=("hamlet.txt",), hidden=16, batch=4, window=16, steps=200, report_every=10, eval_every=20, sample_every=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that went right, and wrong in one way each; no test may change them."""
    place = tmp_path_factory.mktemp("made")
    noise = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 2200))[:1500]
    runs = {
        "good": (SMALL, LINES),
        "timid": (replace(SMALL, lr=1e-6), LINES),
        "clipped": (replace(SMALL, clip=1e-4), LINES),
        "wild": (replace(SMALL, optimizer="SGD", lr=500.0, clip=0.0, warmup=0, report_every=2), LINES),
        "by heart": (replace(SMALL, hidden=64, lr=0.02, steps=240), noise),
        "short": (replace(SMALL, steps=8, report_every=4, eval_every=4), LINES),
    }
    for name, (config, text) in runs.items():
        with suppress(NonFiniteError):  # as it is with one of them
            list(train(config, corpus=Corpus(text, "hamlet.txt"), folder=place / name))
        (place / name / "text").write_text(text, encoding="utf-8")
    return place


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str]) -> Tgs:
    """Runs a command here: its exit code, its output and its errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def examined(made: Path, name: str) -> dict[str, Verdict]:
    """The verdicts of a run by topic, with its text at hand."""
    shutil.copyfile(made / name / "text", "hamlet.txt")
    return {one.topic: one for one in verdicts(read_record(made / name))}


def test_a_run_that_went_right(made: Path) -> None:
    """No problem is found; everything is looked at."""
    found = examined(made, "good")
    assert list(found) == [
        "length", "size", "fit", "trend", "lr", "clipping", "spikes", "counting", "layer l0", "reference",
    ]  # fmt: skip
    assert {one.level for one in found.values()} <= {"ok", "hint"}
    assert found["lr"].level == "ok" or "high" in found["lr"].words


@pytest.mark.parametrize(
    ("name", "topic", "level", "words"),
    [
        ("timid", "lr", "problem", "low: "),
        ("timid", "counting", "problem", "it knows no more than how frequent each symbol is"),
        ("clipped", "clipping", "problem", "100% of the steps"),
        ("wild", "spikes", "problem", "reports jump"),
        ("wild", "lr", "problem", "too high"),
        ("by heart", "fit", "problem", "overfitting: validation was best at step "),
        ("by heart", "trend", "problem", "validation is rising"),
        ("short", "length", "hint", "too short"),
    ],
)
def test_runs_that_went_wrong(made: Path, name: str, topic: str, level: str, words: str) -> None:
    """What was done wrong is what is found."""
    found = examined(made, name)[topic]
    assert (found.level, words in found.words) == (level, True), found.words


def test_a_run_without_its_text_or_weights(made: Path) -> None:
    """The metrics still tell; what was not looked at is said."""
    found = {one.topic: one for one in verdicts(read_record(made / "good"))}
    assert "layer l0" not in found
    assert found["weights"].words.startswith("neither counting nor the gates were looked at: ")
    assert found["weights"].words.endswith("its text cannot be had again.")
    assert found["fit"].level in ("ok", "hint")
    copy = Path("copy")
    shutil.copytree(made / "good", copy)
    shutil.copyfile(copy / "text", "hamlet.txt")
    for file in copy.glob("*.safetensors"):
        file.write_bytes(b"x")
    assert "is damaged" in {one.topic: one for one in verdicts(read_record(copy))}["weights"].words
    (copy / "metrics.jsonl").unlink()
    topics = [one.topic for one in verdicts(read_record(copy))]
    assert topics == ["length", "size", "weights"]


def test_a_text_of_one_symbol(tgs: Tgs) -> None:
    """There is nothing to tell and nothing to learn; every command says so without a warning."""
    Path("hamlet.txt").write_text("a" * 3000)
    list(train(replace(SMALL, steps=30), corpus=Corpus("a" * 3000, "hamlet.txt"), folder="run"))
    for command in (["doctor", "run"], ["eval", "run", "--context"], ["compare", "run", "--json"]):
        code, out, err = tgs(*command)
        assert (code, err) == (0, ""), command
        assert "nan" not in out


def test_a_model_without_gates() -> None:
    """Attention has none: nothing is said of them."""
    ids = np.random.default_rng(0).integers(0, 5, 200)
    assert _gates_on(GPT(5, block=8, layers=1, heads=2, width=8), ids) == []


def test_doctor_of_a_run_in_words(tgs: Tgs, made: Path) -> None:
    """The run, a line for each verdict, the sum; JSON says the same."""
    shutil.copytree(made / "timid", "run")
    shutil.copyfile("run/text", "hamlet.txt")
    code, out, err = tgs("doctor", "run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"run        run: LSTM 1 x 16, [\d,]+ parameters, 200 steps in 0:\d\d", lines[0])
    assert any(line.startswith("lr         problem  low: an update moved the weights by ") for line in lines)
    assert re.fullmatch(r"in all     \d problems, \d hints?", lines[-1])
    assert max(map(len, lines)) <= 110
    assert not set(out) & {chr(c) for c in range(32) if c != 10}
    said = json.loads(tgs("doctor", "run", "--json")[1])
    assert said["steps"] == 200
    assert {one["topic"]: one["level"] for one in said["verdicts"]}["lr"] == "problem"


# ---------------------------------------------------------------- the machine


def test_doctor_of_the_machine(tgs: Tgs) -> None:
    """A section each, plain lines, a speed."""
    code, out, err = tgs("doctor", "--seconds", "0.1")
    assert (code, err) == (0, "")
    heads = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert heads == ["versions", "processor", "threads", "renderers", "folders", "extras", "speed"]
    assert re.search(
        r"^speed      [\d,]+ characters per second in training \(LSTM 1 x 128", out, re.MULTILINE
    )
    assert not set(out) & {chr(c) for c in range(32) if c != 10}


def test_doctor_as_json(tgs: Tgs) -> None:
    """Every section, and no speed test where none was asked for."""
    code, out, err = tgs("doctor", "--seconds", "0", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert list(said) == ["versions", "processor", "threads", "renderers", "folders", "extras"]
    assert not any("error" in section for section in said.values())
    assert said["versions"]["numpy"] == np.__version__
    assert said["folders"]["kernels"]["path"] == str(kernel_cache.folder_name())
    assert said["folders"]["tokens"]["path"] == str(kernel_cache.folder_name() / "tokens")
    assert said["processor"]["usable"] >= 1


def test_doctor_where_nothing_is_installed(tgs: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra, no renderer, no numba, a NumPy that says nothing, no home, no /proc: said, and no crash."""
    import importlib.metadata

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(machine, "which", lambda name: None)
    monkeypatch.setattr(machine.jit, "switched_off", lambda: "numba is not installed")
    monkeypatch.setattr(np, "show_config", lambda mode: None)
    monkeypatch.setattr(machine.openblas, "threads", lambda: None)
    monkeypatch.setattr(kernel_cache, "folder_name", no_home)
    monkeypatch.setattr(Path, "read_text", lambda *a, **k: (_ for _ in ()).throw(OSError()))
    code, out, err = tgs("doctor", "--seconds", "0")
    assert (code, err) == (0, "")
    assert "numba missing" in out
    assert "matrix products: unknown unknown, an unknown number of threads" in out
    assert "kernels: none, numba is not installed; compositions run" in out
    assert "renderers  none: graphs are kept as .dot text. python -m pip install 'tinygrad_seq[graph]'" in out
    assert "folders    could not be looked at: RuntimeError: Could not determine home directory." in out
    for name, (package, _) in machine.EXTRAS.items():
        assert re.search(
            rf"{name}: not installed; would add .*: python -m pip install 'tinygrad_seq\[{name}\]'", out
        )
        assert f"{package} None" not in out


def test_folders_are_weighed_and_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels without the tokens beside them; a folder that is not there; one that cannot be written to."""
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "cache"))
    found = machine.folders()
    assert found["kernels"] == {
        "path": str(tmp_path / "cache"), "exists": False, "bytes": 0, "writable": True, "count": 0,
    }  # fmt: skip
    (tmp_path / "cache/tokens/a").mkdir(parents=True)
    (tmp_path / "cache/tokens/a/ids").write_bytes(b"x" * 500)
    (tmp_path / "cache/k_1.py").write_bytes(b"x" * 70)
    found = machine.folders()
    assert (found["kernels"]["bytes"], found["kernels"]["count"], found["tokens"]["bytes"]) == (70, 1, 500)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not machine.folders()["kernels"]["writable"]


def test_a_dot_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version where it says one, what happened where it does not."""
    monkeypatch.setattr(machine, "which", lambda name: str(tmp_path / "dot"))
    assert machine.renderers()["dot_version"] == "cannot be run (FileNotFoundError)"

    class Done:
        stderr, stdout, returncode = b"dot - graphviz version 2.43.0 (0)", b"", 0

    monkeypatch.setattr(machine.subprocess, "run", lambda *a, **k: Done())
    assert machine.renderers()["dot_version"] == "2.43.0"
    Done.stderr, Done.returncode = b"killed", -6
    assert machine.renderers()["dot_version"] == "exit code -6"


def test_doctor_explains_mistakes(tgs: Tgs) -> None:
    """Exit code 2 and the full text."""
    assert tgs("doctor", "nowhere") == (
        2,
        "",
        "'nowhere' is not the folder of a run: it holds no config.toml.\n"
        "  expected a folder that tgs train has made.\n",
    )
    assert tgs("doctor", "--seconds", "-1") == (
        2, "", "tgs doctor: --seconds is out of range.\n  See tgs doctor --help.\n",
    )  # fmt: skip
    assert tgs("doctor", "run", "--seconds", "1") == (
        2, "", "tgs doctor: --seconds belongs to the machine, not to a run.\n  See tgs doctor --help.\n",
    )  # fmt: skip
