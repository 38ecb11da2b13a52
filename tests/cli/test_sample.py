"""`tgs sample`: every option, what goes to a terminal and what through a pipe, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.cli import main
from tinygrad_seq.cli.sample import unescaped
from tinygrad_seq.training import load_run

ROOT = Path(__file__).parents[2]
TEXT = "to be, or not to be: that is the question.\n" * 60
POSIX = pytest.mark.skipif(os.name == "nt", reason="a pseudo-terminal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, trained for a moment."""
    here = tmp_path_factory.mktemp("sampling")
    (here / "hamlet.txt").write_text(TEXT + "\x07\x1b", encoding="utf-8")
    sizes = ["--hidden", "8", "--batch", "4", "--window", "8", "--steps", "3", "--sample-every", "0"]
    assert main(["train", str(here / "hamlet.txt"), *sizes, "-o", str(here / "run")]) == 0
    return here


@pytest.fixture
def tgs(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `tgs sample RUN ...` here: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["sample", str(folder / "run"), *arguments])
        return (code, *capsys.readouterr())

    return call


def test_prime_and_number(tgs: Any) -> None:
    """The prime, n characters, a newline; the same seed gives the same text, streamed or not."""
    code, out, err = tgs("--prime", "to be", "-n", "20", "--seed", "5")
    assert (code, err, len(out)) == (0, "", 26)
    assert out.startswith("to be")
    assert tgs("--prime", "to be", "-n", "20", "--seed", "5", "--stream")[1] == out
    assert tgs("--prime", "to be", "-n", "20", "--seed", "5", "--no-stream")[1] == out
    assert tgs("--prime", "to be", "-n", "0")[1] == "to be\n"


def test_prime_from_a_file(tgs: Any, tmp_path: Path) -> None:
    """Read as a text file is; not repeated. Not together with --prime."""
    (tmp_path / "prime.txt").write_bytes(b"\xef\xbb\xbfto be" + b", or not" * 20_000)
    code, out, _ = tgs("--prime-file", str(tmp_path / "prime.txt"), "-n", "9", "--seed", "1")
    assert (code, len(out)) == (0, 10)
    assert tgs("--prime-file", str(tmp_path / "none.txt"))[0] == 2
    code, _, err = tgs("--prime-file", "x", "--prime", "y")
    assert (code, err) == (
        2,
        "tgs sample: argument --prime: not allowed with argument --prime-file.\n  See tgs sample --help.\n",
    )


def test_unknown_characters(tgs: Any) -> None:
    """Listed, skipped or replaced."""
    code, out, err = tgs("--prime", "to X\u2603")
    assert (code, out) == (2, "")
    assert err.startswith("encode: the vocabulary does not hold 'X', '\u2603'.\n")
    assert tgs("--prime", "to X", "-n", "0", "--on-unknown", "skip")[1] == "to \n"
    assert tgs("--prime", "X", "-n", "0", "--on-unknown", "skip")[1] == "\n"
    assert tgs("--prime", "toX", "-n", "0", "--on-unknown", "replace")[1] == "to \n"


def test_several_samples(tgs: Any) -> None:
    """Each under its number; the first is what comes alone."""
    _, out, _ = tgs("--samples", "3", "-n", "12", "--seed", "2", "--prime", "to")
    parts = out.split("--- sample ")
    assert [part[:6] for part in parts[1:]] == ["1 ---\n", "2 ---\n", "3 ---\n"]
    assert parts[1][6:] == tgs("-n", "12", "--seed", "2", "--prime", "to")[1]
    assert len({part[6:] for part in parts[1:]}) == 3


def test_until(tgs: Any) -> None:
    """Escapes stand for characters; an unknown one is refused."""
    _, out, _ = tgs("-n", "3000", "--seed", "2", "--temperature", "1", "--until", r"\n")
    assert out.index("\n") == len(out) - 2, "the text ends with the newline, then comes that of the command"
    assert unescaped(r"a\t\\n\x41\u00e9\U0001F600") == "a\t\\nA\u00e9\U0001f600"
    code, _, err = tgs("--until", r"\q")
    assert (code, err) == (
        2,
        "tgs sample: there is no escape '\\\\q'.\n  --until: '\\\\q'\n"
        "  expected \\n, \\t, \\r, \\0, \\\\, \\xHH, \\uHHHH or \\UHHHHHHHH.\n"
        "  A backslash itself is written \\\\.\n",
    )
    for bad in ("\\", r"\U00110000", r"\x4"):
        assert tgs("--until", bad)[0] == 2


def test_json(tgs: Any, folder: Path) -> None:
    """An object a line: text, ids, and log-probabilities that are the model's."""
    options = ("--json", "--samples", "2", "--prime", "to be", "-n", "15", "--seed", "3", "--explain", "2")
    _, out, _ = tgs(*options)
    rows = [json.loads(line) for line in out.splitlines()]
    run = load_run(folder / "run")
    for i, row in enumerate(rows):
        assert (row["sample"], row["seed"], row["prime"], row["ended"]) == (i, 3, "to be", "length")
        assert run.vocabulary.decode(row["tokens"]) == row["text"]
        begun = run.vocabulary.encode("to be")
        score = run.model.score(np.concatenate([begun, row["tokens"]]))[len(begun) :]
        np.testing.assert_allclose(row["log_probs"], score, rtol=0, atol=1e-4)
        assert row["log_prob"] == pytest.approx(sum(row["log_probs"]))
        assert [len(c) for c in row["candidates"]] == [2] * 15
        assert set(row["candidates"][0][0]) == {"id", "text", "learnt", "tempered", "drawn"}
    assert len(rows) == 2
    assert "candidates" not in json.loads(tgs("--json", "-n", "3")[1])


def test_explain(tgs: Any) -> None:
    """The text, then a line for each token with the likeliest at its place."""
    _, out, _ = tgs("--explain", "--top-k", "2", "-n", "4", "--seed", "3", "--prime", "to")
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("log P -"))
    assert lines[at + 1].startswith("each token, its log P")
    assert len(lines) == at + 6
    assert lines[-1].count("%/") == 5
    assert lines[-1].count("/0.0%") == 3
    assert lines[at + 1].endswith("in order: chance as learnt/as drawn, * the one drawn")


def test_explain_marks_what_was_drawn(tgs: Any) -> None:
    """By a sign, among candidates in the order of their probabilities, also where it is none of the likeliest."""
    options = ("--temperature", "3", "-n", "12", "--seed", "3", "--prime", "to")
    drawn = json.loads(tgs("--json", "--explain", "2", *options)[1])["tokens"]
    _, out, _ = tgs("--explain", "2", *options)
    lines = [line for line in out.splitlines() if line.count("%/") == 2]
    assert len(lines) == len(drawn) == 12
    for line in lines:
        found = re.findall(r"([* ])('[^']*'|\"'\") [\d.]+%/([\d.]+)%", line)
        probabilities = [float(chance) for _, _, chance in found]
        assert probabilities == sorted(probabilities, reverse=True)
        assert [text for sign, text, _ in found if sign == "*"] == re.findall(
            r"^ *\d+ +('[^']*'|\"'\") ", line
        )
    assert {line.index("*") > 40 for line in lines} == {True, False}


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("--top-k", "-2", "top_k is no count"),
        ("--top-p", "0", "top_p out of range"),
        ("--min-p", "2", "min_p out of range"),
        ("--repetition-penalty", "0", "repetition_penalty out of range"),
        ("--temperature", "-1", "temperature out of range"),
        ("--samples", "0", "count is no count"),
        ("-n", "-1", "n is no count"),
        ("--explain", "-1", "explain is no count"),
        ("--until", "", "until is no text"),
    ],
)
def test_wrong_options(tgs: Any, option: str, value: str, name: str) -> None:
    """Nothing on the output, one error."""
    code, out, err = tgs(option, value)
    assert (code, out) == (2, "")
    assert err.startswith(f"sample: {name}.\n")


def test_truncations_reach_the_sampler(tgs: Any) -> None:
    """One symbol left by any of them is greedy."""
    greedy = tgs("--temperature", "0", "-n", "40")[1]
    for cut in (("--top-k", "1"), ("--top-p", "1e-9"), ("--min-p", "1")):
        assert tgs(*cut, "-n", "40")[1] == greedy
    assert tgs("--repetition-penalty", "1e6", "--temperature", "0", "-n", "40")[1] != greedy
    assert tgs("--weights", "last", "--temperature", "0", "-n", "5")[0] == 0


def child(folder: Path, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own, with Python's handling of Ctrl+C."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from tinygrad_seq.cli import main; sys.exit(main())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "sample", str(folder / "run"), *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, **settings)


@POSIX
def test_terminal_sees_no_control_characters(folder: Path) -> None:
    """What the model has learnt of them is shown by number there; through a pipe it is as it is."""
    import pty

    ours, theirs = pty.openpty()
    options = ("-n", "400", "--temperature", "1e9", "--seed", "1")
    with child(folder, *options, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert process.wait(60) == 0
    os.close(ours)
    assert "\\u001b" in shown.decode()
    assert not {0x1B, 0x07} & set(shown)
    with child(folder, *options, stdout=subprocess.PIPE) as process:
        assert {0x1B, 0x07} < set(process.communicate()[0])


@POSIX
def test_interrupt_ends_the_line(folder: Path) -> None:
    """Ctrl+C while it streams: exit code 130, and the last thing is a newline."""
    with child(folder, "-n", "100000000", "--stream", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(50)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out.endswith(b"\n")
        assert b"Traceback" not in err
