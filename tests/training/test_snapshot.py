"""The law of resuming: N steps are, bit for bit, k steps, a stop of any kind, and N - k more."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus
from tinygrad_seq.errors import CheckpointError, DataError
from tinygrad_seq.training import (
    Config,
    Event,
    Finished,
    Interrupted,
    Started,
    Step,
    fit,
    load_run,
    resume,
    train,
)
from tinygrad_seq.training.checkpoint import load_state, save_state
from tinygrad_seq.training.gradient_flow import GradientMonitor
from tinygrad_seq.training.run_folder import RunFolder

TIMES = ("seconds", "characters_per_second")
CLAUSES = ("the cat sat on the mat", "a dog ran to the cat", "then the mat was red", "no cat was a dog")


def written(characters: int = 3000) -> Corpus:
    """A text of a few clauses in random order."""
    draw = random.Random(0)
    text = ""
    while len(text) < characters:
        text += draw.choice(CLAUSES) + draw.choice([".\n", ", "])
    return Corpus(text[:characters], "clauses")


TEXT = written()
SMALL = Config(
    hidden=8, batch=3, window=6, steps=11, eval_every=4, report_every=3, sample_every=5, sample_length=20,
    lr=0.01, warmup=2, dropout=0.2,
)  # fmt: skip
KINDS = {
    "lstm": SMALL,
    "two layers": replace(SMALL, layers=2, split="90,10,0"),
    "gru": replace(
        SMALL, model="gru", optimizer="RMSprop", alpha=0.95, schedule="decay", decay=0.5, window=90
    ),
    "rnn": replace(SMALL, model="rnn", embedding=0, optimizer="Adagrad", clip_value=0.01, init="normal:0.01"),
    "transformer": SMALL.changed({"model": "transformer", "heads": 2, "split": "80,20,0", "save_every": 2}),
    "random windows": replace(SMALL, reading="random", optimizer="SGD", schedule="constant"),
    "reaches over updates": replace(SMALL, reach=24, window=6, save_every=1),
    "reaches less far": replace(SMALL, reach=2, optimizer="Adam"),
    "columns": replace(SMALL, split="80,20,0 columns", init="uniform:0.08", forget_bias=1.0),
}


def left(folder: Path) -> dict[str, Any]:
    """Everything that a run leaves, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    arrays, facts = load_state(folder / "state.safetensors")
    step = {k: v for k, v in facts["step"].items() if k not in ("seconds", "rate", "left")}
    facts = {k: v for k, v in facts.items() if k not in ("seconds", "sizes")} | {"step": step}
    return {
        "metrics": [{k: v for k, v in row.items() if k not in TIMES} for row in rows],
        "samples": (folder / "samples.txt").read_text(encoding="utf-8"),
        "state": {k: (a.dtype.str, a.shape, a.tobytes()) for k, a in arrays.items()},
        "facts": facts,
        "files": [(folder / f"{name}.safetensors").read_bytes() for name in ("last", "best")],
        "last": {k: a.tobytes() for k, a in load_file(folder / "last.safetensors").items()},
        "best": {k: a.tobytes() for k, a in load_file(folder / "best.safetensors").items()},
        "config": (folder / "config.toml").read_text(encoding="utf-8"),
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Part by part, so that a failure says which."""
    for name in one:
        assert one[name] == other[name], name


def stopped(config: Config, folder: Path, after: int) -> None:
    """A run that is left after so many events."""
    events = train(config, corpus=TEXT, folder=folder)
    for _ in range(after):
        next(events)
    events.close()


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_run_is_the_run(kind: str, tmp_path: Path) -> None:
    """Left after any of its events, steps and chores alike, and gone on with: nothing differs."""
    config = KINDS[kind]
    whole = list(train(config, corpus=TEXT, folder=tmp_path / "whole"))
    expected = left(tmp_path / "whole")
    for after in range(2, len(whole) - 1, 1 if kind == "lstm" else 3):
        folder = tmp_path / f"after{after}"
        stopped(config, folder, after)
        end = list(resume(folder, corpus=TEXT))
        assert isinstance(end[0], Started)
        assert end[0].resumed == sum(isinstance(event, Step) for event in whole[:after])
        same(expected, left(folder))


def test_stopped_again_and_again(tmp_path: Path) -> None:
    """A run of one step at a time is the run in one go."""
    config = KINDS["reaches over updates"]
    list(train(config, corpus=TEXT, folder=tmp_path / "whole"))
    stopped(config, tmp_path / "bits", 3)
    for _ in range(9):
        events = resume(tmp_path / "bits", corpus=TEXT)
        for event in events:
            if isinstance(event, Step):
                break
        events.close()
    list(resume(tmp_path / "bits", corpus=TEXT))
    same(left(tmp_path / "whole"), left(tmp_path / "bits"))


def test_reach_over_updates_is_what_it_says(tmp_path: Path) -> None:
    """A gradient through four windows differs from one through one, and from one that reaches less."""

    def losses(config: Config) -> list[float]:
        return [event.loss for event in train(config, corpus=TEXT) if isinstance(event, Step)]

    found = [losses(replace(SMALL, dropout=0.0, reach=reach)) for reach in (None, 6, 24, 2)]
    assert found[0] == found[1]
    assert found[0][:2] == found[2][:2], "the first window has nothing before it"
    assert found[0] != found[2]
    assert found[0] != found[3]


RUN = """
import sys
from tinygrad_seq.data import Corpus
from tinygrad_seq.training import Config, resume, train
from tests.training.test_snapshot import KINDS, TEXT
from dataclasses import replace
config, folder, new = replace(KINDS["lstm"], steps=60, save_every=1), sys.argv[1], sys.argv[2] == "new"
for event in (train(config, corpus=TEXT, folder=folder) if new else resume(folder, corpus=TEXT)):
    print(type(event).__name__, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_killed_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    """kill -9 at random moments, in the middle of writing too: the folder can always be gone on with."""
    list(train(replace(KINDS["lstm"], steps=60, save_every=1), corpus=TEXT, folder=tmp_path / "whole"))
    draw, folder, kills = random.Random(5), tmp_path / "killed", 0
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    while True:
        how = "old" if (folder / "state.safetensors").exists() else "new"
        if how == "new" and folder.exists():
            for file in folder.iterdir():
                file.unlink()
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), how], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdout is not None
        if kills == 4:
            assert "Finished" in process.communicate()[0]
            break
        for _ in range(draw.randint(3, 25)):
            process.stdout.readline()
        time.sleep(draw.random() * 0.01)
        process.kill()
        process.communicate()
        kills += 1
        load_run(folder)
    same(left(tmp_path / "whole"), left(folder))


def test_run_killed_in_its_very_last_write_is_completed(tmp_path: Path) -> None:
    """All steps are done and saved, only the README is not: `resume` writes it, and asks for no more steps."""
    folder = tmp_path / "run"
    whole = list(train(SMALL, corpus=TEXT, folder=folder))[-1]
    card = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").unlink()
    events = list(resume(folder, corpus=TEXT))
    assert not any(isinstance(event, Step) for event in events)
    assert isinstance(events[-1], Finished)
    assert isinstance(whole, Finished)
    assert (events[-1].step, events[-1].validation) == (whole.step, whole.validation)
    assert (folder / "README.md").read_text(encoding="utf-8").splitlines()[0] == card.splitlines()[0]
    with pytest.raises(CheckpointError, match="has ended"):
        resume(folder, corpus=TEXT)
    # What described it as it was is gone once it goes on, so that a kill at the new end is seen too.
    more = resume(folder, corpus=TEXT, steps=14)
    next(more)
    assert not (folder / "README.md").exists()
    more.close()


def test_ended_run_goes_on_when_more_is_asked_for(tmp_path: Path) -> None:
    """Its plan is the new one; the steps before are kept."""
    list(train(replace(SMALL, schedule="constant", warmup=0), corpus=TEXT, folder=tmp_path / "run"))
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path / "run", corpus=TEXT)
    assert str(caught.value) == (
        f"resume: the run in {str(tmp_path / 'run')!r} has ended.\n  steps: 11\n"
        f"  expected more than 11 steps.\n  Give them: --steps 22. To use the model: tgs sample {tmp_path / 'run'}"
    )
    events = list(resume(tmp_path / "run", corpus=TEXT, steps=14))
    assert [event.step for event in events if isinstance(event, Step)] == [12, 13, 14]
    assert load_run(tmp_path / "run").config.steps == 14
    by_time = list(resume(tmp_path / "run", corpus=TEXT, minutes=1e-4))
    assert any(isinstance(event, Step) for event in by_time)


def test_another_text_is_refused_unless_allowed(tmp_path: Path) -> None:
    """By its content, not by its name; allowed, the weights go on and the place in the text starts anew."""
    folder = tmp_path / "run"
    stopped(SMALL, folder, 8)
    other = Corpus(TEXT.text[::-1], "clauses")
    with pytest.raises(CheckpointError) as caught:
        resume(folder, corpus=other)
    assert str(caught.value) == (
        f"resume: the run in {str(folder)!r} was trained on another text than 'clauses'.\n"
        f"  its sha256: '{TEXT.sha256[:12]}'\n  that of this text: '{other.sha256[:12]}'\n"
        "  Give the text that it was trained on, or allow this one by name: --allow-new-data."
    )
    before = load_run(folder, "last").model.state_dict()
    events = resume(folder, corpus=other, allow_new_data=True)
    started = next(events)
    assert isinstance(started, Started)
    for name, tensor in started.run.model.state_dict().items():
        assert (tensor.numpy() == before[name].numpy()).all()
    assert isinstance(list(events)[-1], Finished)
    with pytest.raises(DataError, match="the vocabulary"):
        resume(folder, corpus=Corpus(TEXT.text + "한", "other"), allow_new_data=True)


def test_what_a_run_keeps_cannot_change(tmp_path: Path) -> None:
    """Shapes and the order of the text are kept; a rate may change."""
    stopped(SMALL, tmp_path / "run", 8)
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path / "run", corpus=TEXT, hidden=9)
    assert str(caught.value).startswith(
        f"resume: hidden of the run in {str(tmp_path / 'run')!r} cannot change.\n  hidden: 9\n  A run keeps these"
    )
    events = list(resume(tmp_path / "run", corpus=TEXT, lr=0.5, warmup=0))
    rates = [event.lr for event in events if isinstance(event, Step)]
    assert max(rates) > 0.1


def test_damaged_and_missing_states_are_refused(tmp_path: Path) -> None:
    """One clear error each; the weights can still be used."""
    folder = tmp_path / "run"
    stopped(SMALL, folder, 8)
    path = folder / "state.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(CheckpointError, match="is damaged: it is no complete safetensors file"):
        resume(folder, corpus=TEXT)
    spoilt = bytearray(whole)
    spoilt[-5] ^= 1
    path.write_bytes(bytes(spoilt))
    with pytest.raises(CheckpointError, match="is damaged: its content is not what was written"):
        resume(folder, corpus=TEXT)
    path.write_bytes((folder / "last.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="was not written by this package as the state of a run"):
        resume(folder, corpus=TEXT)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot go on: it holds no state"):
        resume(folder, corpus=TEXT)
    with pytest.raises(CheckpointError, match="there is no folder"):
        resume(tmp_path / "nowhere", corpus=TEXT)
    load_run(folder)


def test_state_file_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full leaves the state before as it was, and no other file."""
    path = tmp_path / "state.safetensors"
    save_state(path, {"a": np.arange(3.0)}, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_state(path, {"a": np.arange(4.0)}, {"step": 2})
    arrays, facts = load_state(path)
    assert (arrays["a"].tolist(), facts) == ([0.0, 1.0, 2.0], {"step": 1})
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_saving_and_looking_change_nothing() -> None:
    """How often a run is measured, sampled and saved is no part of what it computes."""

    def losses(**settings: Any) -> list[float]:
        events = train(replace(SMALL, **settings), corpus=TEXT)
        return [event.loss for event in events if isinstance(event, Step)]

    assert (
        losses()
        == losses(eval_every=1, sample_every=1, save_every=1)
        == losses(sample_every=0, eval_every=99)
    )


def test_fit_calls_back_and_ends() -> None:
    """Every event goes to every function; what one raises ends the run."""
    seen: list[Event] = []
    steps: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, Step):
            steps.append(event.step)

    end = fit(SMALL, seen.append, count, corpus=TEXT, steps=4)
    assert steps == [1, 2, 3, 4]
    assert seen[-1] is end
    assert not isinstance(end, Interrupted)

    def stop(event: Event) -> None:
        if isinstance(event, Step):
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        fit(SMALL, stop, corpus=TEXT)


def test_any_iterable_of_texts_is_a_corpus() -> None:
    """Strings, or dicts with a text: what Hugging Face's data sets give."""
    rows = [{"text": clause} for clause in CLAUSES * 20]
    ends = [fit(SMALL, corpus=one, steps=2).validation for one in (rows, [row["text"] for row in rows])]  # type: ignore[union-attr]
    assert ends[0] == ends[1]


def test_settings_are_written_when_the_rest_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed in its first moment leaves a folder that is no run yet, and that the next one may take."""
    folder = tmp_path / "run"

    def killed(self: RunFolder, run: object, facts: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "describe", killed)
        with pytest.raises(SystemExit):
            next(train(SMALL, corpus=TEXT, folder=folder))
    (folder / ".0123.tmp").write_bytes(b"half")
    assert {"vocabulary.json", "last.safetensors", "state.safetensors"} <= {f.name for f in folder.iterdir()}
    with pytest.raises(CheckpointError, match=r"holds no config\.toml"):
        load_run(folder)
    events = train(SMALL, corpus=TEXT, folder=folder)
    next(events)
    load_run(folder)
    events.close()
    assert not (folder / ".0123.tmp").exists(), "what was killed while it wrote is swept away"


def test_refused_settings_leave_no_folder(tmp_path: Path) -> None:
    """A text that is too short is found before the folder is made, and an occupied one before the text is read."""
    with pytest.raises(DataError, match="too short"):
        train(SMALL, corpus=Corpus("to be"), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "note").write_text("mine")
    with pytest.raises(CheckpointError, match="is a file"):
        train(replace(SMALL, corpus=("nowhere.txt",)), folder=tmp_path / "note")


@pytest.mark.skipif(find_spec("fcntl") is None, reason="this system locks no folders")
def test_two_at_once_are_refused(tmp_path: Path) -> None:
    """Another process in the same folder is told so; within one process a run left behind is in nobody's way."""
    folder = tmp_path / "run"
    events = train(SMALL, corpus=TEXT, folder=folder)
    next(events)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", RUN, str(folder), "old"]
    found = subprocess.run(command, capture_output=True, env=environment, text=True)
    assert f"BusyError: train: another process trains in {str(folder)!r} right now." in found.stderr
    again = resume(folder, corpus=TEXT)
    next(again)
    again.close()
    events.close()
    assert "Finished" in subprocess.run(command, capture_output=True, env=environment, text=True).stdout


def test_resumed_from_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that was named from where the run began is found from elsewhere."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "clauses.txt").write_text(TEXT.text, encoding="utf-8")
    monkeypatch.chdir(here)
    config = replace(SMALL, corpus=("clauses.txt",))
    events = train(config, folder=here / "run")
    for _ in range(4):
        next(events)
    events.close()
    monkeypatch.chdir(there)
    assert isinstance(list(resume(here / "run"))[-1], Finished)
    assert load_run(here / "run").config.corpus == ("clauses.txt",)


def test_second_interrupt_saves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between an update and what is noted of it, the run ends with what was saved before."""
    folder = tmp_path / "run"
    events = train(SMALL, corpus=TEXT, folder=folder)
    for event in events:
        if isinstance(event, Step) and event.step == 2:
            break

    def cut(self: GradientMonitor) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GradientMonitor, "flow", cut)
        with pytest.raises(KeyboardInterrupt):
            next(events)
    assert load_state(folder / "state.safetensors")[1]["learner"]["done"] == 0
    list(resume(folder, corpus=TEXT))
    list(train(SMALL, corpus=TEXT, folder=tmp_path / "whole"))
    same(left(tmp_path / "whole"), left(folder))


def test_disk_that_is_full_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says so and how to go on; what was saved is whole, and goes on to the bit."""
    (tmp_path / "clauses.txt").write_text(TEXT.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = ["--hidden=8", "--batch=3", "--window=6", "--steps=11", "--save-every=2", "--sample-every=5"]
    whole = ["train", "clauses.txt", "-q", *settings]
    assert main([*whole, "-o", "whole"]) == 0
    true, saved = os.fsync, []

    def full(descriptor: int) -> None:
        saved.append(descriptor)
        if len(saved) > 15:
            raise OSError(28, "No space left on device")
        true(descriptor)

    said = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(os, "fsync", full)
        assert main([*whole, "-o", "run"]) == 2
    assert "cannot be written: No space left on device" in said.getvalue()
    assert "train --resume run" in said.getvalue()
    assert not list(Path("run").glob(".*"))
    assert main(["train", "-q", "--resume", "run"]) == 0
    same(left(Path("whole")), left(Path("run")))
