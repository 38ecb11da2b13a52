"""Small things that commands say: no -0.000, a prime of the text's own script, durations, encodings by name."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tinygrad_seq.cli import main
from tinygrad_seq.cli.tables import plus_minus
from tinygrad_seq.data import Corpus, Vocabulary
from tinygrad_seq.data.sources.decode import decoded
from tinygrad_seq.errors import BusyError, CheckpointError, DataError
from tinygrad_seq.training import Config, Finished, train
from tinygrad_seq.training.events import Event
from tinygrad_seq.training.priming import prime_of


def test_nothing_is_minus_nought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text of one symbol costs exactly nothing: no table, sentence or JSON of any command has a sign before 0."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("a.txt").write_text("a" * 3000)
    small = ["--hidden=4", "--batch=2", "--window=8", "--steps=4", "--eval-every=2", "--sample-every=0"]
    commands = [
        ["train", "a.txt", *small, "-o", "run"],
        ["train", "a.txt", *small, "-o", "other", "--json"],
        *(
            [*command, *json]
            for command in (["eval", "run", "--context"], ["compare", "run", "other"])
            for json in ([], ["--json"])
        ),
        ["doctor", "run"],
        ["sample", "run", "-n", "5", "--explain", "--prime", "a"],
        ["sample", "run", "-n", "5", "--json"],
        ["inspect", "run", "-o", "report.json", "--steps", "20"],
    ]
    for command in commands:
        assert main(command) == 0
        said = capsys.readouterr().out
        assert not re.search(r"-0(\.0*)?(?![.\d])", said), (command, said)
    for file in ("run/metrics.jsonl", "run/README.md"):
        assert not re.search(r"-0(\.0*)?(?![.\d])", Path(file).read_text()), file
    assert plus_minus(-0.0001, math.nan) == "0.000"
    assert plus_minus(-0.0006, 0.0) == "-0.001 ± 0.000"


KOREAN = "나는 밥을 먹었다.\n그는 물을 마셨다.\n나는 집에 갔다.\n" * 40
CODE = "def f(x):\n    return x\n\ndef g(y):\n    y += 1\n    return y\n\ndef h():\n    pass\n" * 40


@pytest.mark.parametrize(
    ("text", "prime"),
    [
        (KOREAN, "나는 "),
        (CODE, "def "),
        ("今日は晴れ\n今日は雨だった\n" * 40, "今日は晴れ"),
        ("...\n---\n" * 40, ""),
        ("a\nb\n" * 40, "a"),
        ("supercalifragilistic expiali\n" * 40, "supercalifra"),
        ("one line without an end " * 60, "one "),
    ],
)
def test_prime_is_a_word_of_the_text(text: str, prime: str) -> None:
    """The word that most lines begin with; it is what the last event and the command line suggest."""
    assert prime_of(text[:1000], Vocabulary(text)) == prime
    config = Config(hidden=4, batch=2, window=8, steps=1, sample_every=0)
    end = list(train(config, corpus=Corpus(text)))[-1]
    assert isinstance(end, Finished)
    assert end.prime == prime
    assert prime_of(text[:1000], Vocabulary("\x00")) == ""


def test_clock_that_is_set_back(tmp_path: Path) -> None:
    """The run has lasted for as long as the clock went forward; nothing that is told or kept is below 0."""
    now = iter(np.cumsum([1.0, 1.0, -40_000.0] * 200))
    config = Config(hidden=4, batch=2, window=8, steps=6, eval_every=2, sample_every=0)
    events = list(
        train(
            config,
            corpus=Corpus("to be or not " * 50),
            folder=tmp_path / "run",
            clock=lambda: float(next(now)),
        )
    )
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.seconds > 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["seconds"] >= 0 and row["characters_per_second"] > 0 for row in rows)


@pytest.mark.parametrize(
    "text", ["Hello there.\n" * 90, "나는 밥을 먹었다.\n" * 90, "今日は晴れ。\n" * 90, "😀 smile\n" * 9000]
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_named(text: str, encoding: str) -> None:
    """As such, with the option that reads it, which does."""
    data = text.encode(encoding)
    with pytest.raises(DataError) as caught:
        list(decoded(io.BytesIO(data), "a.txt"))
    assert str(caught.value) == (
        f"read_text: 'a.txt' is not UTF-8 but reads as UTF-16 without a mark.\n  first bytes: {data[:4]!r}\n"
        f"  expected UTF-8 text.\n"
        f"  Name its encoding: --encoding {encoding}. Or convert it: iconv -f {encoding} -t utf-8."
    )


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(0).integers(0, 256, 4096).astype(np.uint8).tobytes(),
        np.arange(-500, 500, dtype="<i2").tobytes(),
        np.random.default_rng(1).standard_normal(1000).tobytes(),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 8,
        b"\0" * 100,
        b"text and \0 text " * 50,
    ],
)
def test_binary_files_are_not_taken_for_utf16(data: bytes) -> None:
    """Noise, numbers, a picture, zeros, text with zeros between."""
    with pytest.raises(DataError, match=r"looks binary|is not UTF-8\."):
        list(decoded(io.BytesIO(data), "a"))


@pytest.mark.parametrize(("kind", "told"), [(BusyError, False), (CheckpointError, True)])
def test_hint_to_go_on_is_for_a_run_that_nobody_else_trains(
    kind: type[CheckpointError],
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whose folder it is decides, not what the error says."""

    def events() -> Iterator[Event]:
        raise kind("train: another process, or a full disk")
        yield

    (tmp_path / "text.txt").write_text(KOREAN)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.safetensors").write_bytes(b"")
    monkeypatch.setattr("tinygrad_seq.cli.train.train", lambda *_, **__: events())
    assert main(["train", str(tmp_path / "text.txt"), "-o", str(tmp_path / "run"), "-q"]) == 2
    said = capsys.readouterr().err
    assert "train: another process, or a full disk." in said
    assert ("What was saved last is whole. To go on from there" in said) is told
