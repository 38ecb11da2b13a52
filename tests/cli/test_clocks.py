"""Whatever the clocks do, no command and no call tells of a time below nothing, or of centuries."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tgs
from tinygrad_seq.cli import main
from tinygrad_seq.cli.kernels import _age
from tinygrad_seq.runtime import jit
from tinygrad_seq.training import Config, Interrupted, Step, fit
from tinygrad_seq.training.run_folder import RunFolder

SMALL = ["--hidden=4", "--batch=2", "--window=8", "--eval-every=2", "--sample-every=0"]
BELOW = re.compile(r"(?<![\w.])-\d+(\.\d+)? ?(s|ms|min|h|days)\b|(?<![\w.])-\d+:\d\d|\bnan ?s\b|\d{5,} days")
Tgs = Callable[..., str]


def backwards(start: float) -> Callable[[], float]:
    """A clock that is set back by eleven hours before each reading."""
    now = [start]

    def clock() -> float:
        now[0] -= 40_000.0
        return now[0]

    return clock


@pytest.fixture
def tgs_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Tgs]:
    """Runs a command in an empty folder, and returns what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("a.txt").write_text("to be or not to be\n" * 60)

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        said = capsys.readouterr()
        assert not BELOW.search(said.out + said.err), (arguments, said)
        return said.out

    return run


def seconds_in(value: Any) -> Iterator[float]:
    """All numbers under a name of a duration, anywhere in an object of JSON."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name in ("seconds", "left", "warming", "milliseconds_per_step") and part is not None:
                yield part
            yield from seconds_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from seconds_in(part)


COMMANDS = [
    ["train", "a.txt", *SMALL, "--steps=4", "-o", "other", "--json"],
    ["train", "--resume", "run", "--steps=6", "--json"],
    ["train", "a.txt", *SMALL, "--steps=4", "--dry-run", "--json"],
    ["compare", "run", "other", "--json"],
    ["doctor", "run", "--json"],
    ["kernels", "--json"],
]


def test_no_command_tells_of_less_than_no_time(tgs_said: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of day set back at every look: words, JSON, and what is written."""
    monkeypatch.setattr(time, "time", backwards(1.7e9))
    tgs_said("train", "a.txt", *SMALL, "--steps=4", "-o", "run")
    for command in (
        ["train", "--resume", "run", "--steps=5"],
        ["train", "a.txt", *SMALL, "--steps=4", "--dry-run"],
        ["eval", "run"],
        ["doctor", "run"],
        ["kernels"],
    ):
        tgs_said(*command)
    for command in COMMANDS:
        for line in tgs_said(*command).splitlines():
            assert all(0 <= found < 1e6 for found in seconds_in(json.loads(line))), (command, line)
    assert not BELOW.search(Path("run/README.md").read_text(encoding="utf-8"))
    for line in Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines():
        assert all(0 <= found < 1e6 for found in seconds_in(json.loads(line)))


def test_a_run_whose_folder_tells_of_less_is_mended(tgs_said: Tgs) -> None:
    """Earlier versions noted what the clock said: such a run counts from 0 on, its old lines are a dash."""
    tgs_said("train", "a.txt", *SMALL, "--steps=4", "-o", "run")
    folder, _ = RunFolder.open("run")
    arrays, facts = folder.load_state()
    folder.save_state(arrays, {**facts, "seconds": -37114.0})
    metrics = Path("run/metrics.jsonl")
    text = metrics.read_text(encoding="utf-8")
    metrics.write_text(re.sub(r'"seconds": [\d.]+', '"seconds": -37114.0', text), encoding="utf-8")
    for command in (
        ["doctor", "run"],
        ["compare", "run"],
        ["compare", "run", "--json"],
        ["doctor", "run", "--json"],
    ):
        said = tgs_said(*command)
        assert "-37114" not in said
    metrics.write_text(text, encoding="utf-8")
    assert "done    5 steps in 0:" in tgs_said("train", "--resume", "run", "--steps=5")


def test_minutes_of_a_mended_run_are_further_ones(tgs_said: Tgs) -> None:
    """A minute more is a minute, not a minute after ten hours."""
    tgs_said("train", "a.txt", *SMALL, "--steps=4", "-o", "run")
    folder, _ = RunFolder.open("run")
    arrays, facts = folder.load_state()
    folder.save_state(arrays, {**facts, "seconds": -37114.0})
    events = tgs.training.resume("run", minutes=1)
    first = next(event for event in events if isinstance(event, Step))
    assert first.seconds >= 0
    events.close()
    assert RunFolder.open("run")[1].config.minutes == 1.0


def test_calls_with_a_clock_of_their_own() -> None:
    """`fit` of a module and of a run, on a clock that only goes back: no time has passed."""
    told: list[str] = []
    layer = tgs.nn.Linear(2, 1)
    ended = fit(
        layer,
        [(tgs.ones(3, 2),)],
        lambda model, x: model(x).square().mean(),
        steps=3,
        clock=backwards(0.0),
        quiet=True,
    )
    assert ended.seconds == 0.0
    assert told == []
    config = Config(hidden=4, batch=2, window=8, steps=3, sample_every=0)
    seen: list[Any] = []
    end = fit(config, seen.append, corpus=["to be or not to be\n" * 60], clock=backwards(0.0))
    assert not isinstance(end, Interrupted)
    assert end.seconds == 0.0
    steps = [event for event in seen if isinstance(event, Step)]
    assert [(step.seconds, step.left) for step in steps] == [(0.0, 0.0)] * 3


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (5.0, "5 s"),
        (-5.0, "0 s"),
        (-3600.0, "?"),
        (7200.0, "2 h"),
        (1e12, "?"),
        (math.nan, "?"),
        (-math.inf, "?"),
    ],
)
def test_age_of_a_kernel(ago: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built in the future, or before there was anything to build: a clock was wrong, and no age is known."""
    monkeypatch.setattr(time, "time", lambda: 2e12)
    assert _age(2e12 - ago) == said


@pytest.mark.parametrize("taken", ["-3.5", "NaN", "Infinity", "1e300"])
def test_kernel_built_in_no_time_at_all(
    taken: str, tmp_path: Path, tgs_said: Tgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was noted is no time: it counts as not known."""
    name = "k_" + "1" * 24
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(folder))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(jit, "switched_off", lambda: "")
    (folder / f"{name}.py").write_text('"""Derived from the tape of `silu`, forward."""', encoding="utf-8")
    (folder / f"{name}.json").write_text(f'{{"seconds": {taken}, "built": NaN}}', encoding="utf-8")
    listed = json.loads(tgs_said("kernels", "--json"))
    found = listed["kernels"][0]
    assert found["seconds"] is None
    assert math.isfinite(found["built"])
