"""Laws of the command line: what it prints, what it leaves, how it ends, and what it says to mistakes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq
from tinygrad_seq.cli import COMMANDS, main
from tinygrad_seq.cli.parser import checked_arguments, new_parser
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.engine.random import positions
from tinygrad_seq.errors import RenderError
from tinygrad_seq.nn import Linear
from tinygrad_seq.training import Config, Event, Step, load_run
from tinygrad_seq.training.checkpoint import save_weights
from tinygrad_seq.training.console import Lines
from tinygrad_seq.viz import Picture

ROOT = Path(tinygrad_seq.__file__).parent.parent
TEXT = "to be or not to be, that is the question:\n" * 40
SMALL = ["--hidden", "8", "--batch", "4", "--window", "8"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and terminals are POSIX")
TO = '"to "' if os.name == "nt" else "'to '"  # as the shell of the system wants it
NO_FILE = "Without a file: builtin:topics or builtin:stdlib."


def quiet(err: bytes) -> bytes:
    """An error stream without the line that tells of kernels being built, which comes once in a new folder."""
    lines = err.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"tinygrad_seq: building kernels"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with one text, a program called tgs, and no drawing, which takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # what a command changes here, later tests would have
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name == "tgs" else None)
    Path("hamlet.txt").write_text(TEXT, encoding="utf-8")

    def refuse(self: Picture, path: Path) -> None:
        if not str(path).endswith(".dot"):
            raise RenderError("Install a renderer.")
        Path(path).write_text(self.dot, encoding="utf-8")

    monkeypatch.setattr(Picture, "save", refuse)
    return tmp_path


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command here: its exit code, its output and its errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


Tgs = Callable[..., tuple[int, str, str]]


def train_small(tgs: Tgs, *more: str) -> Path:
    """A trained run in the folder `run`."""
    code, out, err = tgs("train", "hamlet.txt", *SMALL, "--steps", "3", "-o", "run", *more)
    assert (code, err) == (0, ""), out
    return Path("run")


def environment(**more: str) -> dict[str, str]:
    """The variables of a child process that finds the package, installed or not."""
    dropped = {"PYTHONIOENCODING", "PYTHONUTF8", "PYTHONUNBUFFERED", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **more}


def start(*arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own, with Python's own handling of Ctrl+C."""
    # A shell that runs tests in the background lets its children ignore Ctrl+C.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from tinygrad_seq.cli import main; sys.exit(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    )


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    """Until the condition holds; a process that ends before is shown."""
    limit = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)


def metrics(run: Path) -> list[dict[str, float]]:
    """The whole lines of the metrics so far."""
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_shows_an_example(tgs: Tgs, command: str) -> None:
    """And its options; every example is understood by the command itself."""
    code, out, err = tgs(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: tgs {command}")
    examples = out.split("\nexample:\n")[1].splitlines()
    module = import_module(f"tinygrad_seq.cli.{command}")
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["tgs", command]
        parser = new_parser(command, "x", "")
        module.add_arguments(parser)
        checked_arguments(parser, words[2:])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_all_commands(tgs: Tgs, arguments: list[str]) -> None:
    """Without a command too."""
    code, out, err = tgs(*arguments)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.split("commands:\n")[1].split("\n\n")[0].splitlines()] == list(
        COMMANDS
    )
    assert "\nexample:\n  tgs demo\n" in out


def test_version(tgs: Tgs) -> None:
    """The package's."""
    assert tgs("--version") == (0, f"tinygrad_seq {tinygrad_seq.__version__}\n", "")


def test_help_brings_in_nothing() -> None:
    """It imports no training, numba, rich, safetensors or graphviz; `benchmarks/import_time.py` measures it."""
    code = "import sys; from tinygrad_seq.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {
        "numpy",
        "numba",
        "rich",
        "safetensors",
        "graphviz",
        "tinygrad_seq.training",
        "tinygrad_seq.viz",
    }
    assert not heavy & loaded


# ---------------------------------------------------------------- training


def test_train_tells_saves_and_ends(tgs: Tgs) -> None:
    """The whole text of a small run, but for times and measured numbers."""
    code, out, err = tgs(
        "train", "hamlet.txt", *SMALL, "--steps", "4", "--eval-every", "2", "--sample-every", "4"
    )
    assert (code, err) == (0, "")
    lines = [re.sub(r"\d+\.\d+", "0.0", line) for line in out.splitlines()]
    sha = "4a8e6c0fb5f1"
    assert [re.sub(r"sha256 \w{12}", f"sha256 {sha}", line) for line in lines[:9]] == [
        f"text    hamlet.txt: 1,680 characters, 16 distinct, sha256 {sha}",
        "        1,512 to train on, 84 to validate with, 84 kept for a test",
        "model   LSTM of 1 x 8, 848 parameters",
        "plan    4 steps, 4 x 8 tokens a step (batch x window), AdamW, learning rate 0.0",
        "        streams, their state carried on; the gradient reaches back at most 8 steps",
        f"folder  {Path('runs/hamlet-lstm8')}",
        f"graph   {Path('runs/hamlet-lstm8/graph.dot')}",
        "Install a renderer.",
        "         step    nats    bits  validation  gradient    char/s     left",
    ]
    assert re.fullmatch(r" +2/4 +0\.0 +0\.0 +0\.0 +0\.0 +[\d,]+ +\d:\d\d  best", lines[9])
    assert re.fullmatch(r" +4/4 +0\.0 +0\.0 +0\.0 +0\.0 +[\d,]+ +0:00(  best)?", lines[10])
    assert lines[11] == "--- sample after step 4 ---"
    end = out.split("\n---\n")[-1].splitlines()
    assert re.fullmatch(r"done    4 steps in \d+:\d\d", end[0])
    assert re.fullmatch(
        r"result  validation \d\.\d{3} bits per character, best \d\.\d{3} at step \d+", end[1]
    )
    assert end[2:] == [
        f"saved   {Path('runs/hamlet-lstm8')}",
        f"next    tgs sample {Path('runs/hamlet-lstm8')} --prime {TO}",
    ]
    assert load_run("runs/hamlet-lstm8").config == Config(
        corpus=("hamlet.txt",), hidden=8, batch=4, window=8, steps=4, eval_every=2, sample_every=4
    )
    assert "digraph" in Path("runs/hamlet-lstm8/graph.dot").read_text(encoding="utf-8")


def test_second_run_gets_a_number(tgs: Tgs) -> None:
    """Quiet runs print their folder and nothing else."""
    for name in ("hamlet-lstm8", "hamlet-lstm8-2", "hamlet-lstm8-3"):
        answer = tgs("train", "hamlet.txt", *SMALL, "--steps", "1", "--quiet")
        assert answer == (0, f"{Path('runs', name)}\n", "")


def test_every_option_becomes_a_setting(tgs: Tgs) -> None:
    """None is accepted and forgotten; the picture, drawn from the same model, uses up no dropout."""
    before = positions()
    options = (
        "--hidden 9 --layers 2 --batch 3 --window 7 --minutes 5 --steps 2 --lr 0.5 --dropout 0.25 --clip 2 "
        "--seed 4 --eval-every 6 --sample-every 0"
    )
    assert tgs("train", "hamlet.txt", "hamlet.txt", *options.split(), "-q", "-o", "run")[0] == 0
    assert load_run("run").config == Config(
        corpus=("hamlet.txt", "hamlet.txt"), hidden=9, layers=2, batch=3, window=7, minutes=5, steps=2,
        lr=0.5, dropout=0.25, clip=2, seed=4, eval_every=6, sample_every=0,
    )  # fmt: skip
    assert positions() == before


def test_a_transformer_has_a_learning_rate_of_its_own(tgs: Tgs) -> None:
    """Where none is given by any way; also with --preset auto, whose rates are those of recurrent layers."""

    def rate(*options: str) -> str:
        code, out, err = tgs("train", "hamlet.txt", *options, *SMALL, "--dry-run")
        assert (code, err) == (0, "")
        return next(line for line in out.splitlines() if line.startswith("lr = "))

    transformer = ("--model", "transformer")
    assert [rate(), rate(*transformer), rate(*transformer, "--lr", "0.005")] == [
        "lr = 0.005",
        "lr = 0.002",
        "lr = 0.005",
    ]
    assert rate(*transformer, "--set", "lr=none") == "lr = 0.002"
    assert rate(*transformer, "--preset", "auto") == "lr = 0.002"
    Path("old.toml").write_text("lr = 0.25\n")
    assert rate(*transformer, "--config", "old.toml") == "lr = 0.25"
    told = " ".join(tgs("train", "--help")[1].split())
    assert "highest learning rate (default 0.005, for a transformer 0.002)" in told


def test_demo_is_a_tour() -> None:
    """In any folder: trains, samples, draws, says what is where; the last line is the validation."""
    # Processes of their own, because a product of this size is slow here when others use the cores.
    done = [start("demo", "--steps", steps).communicate() for steps in ("2", "1")]
    said = [line for _, err in done for line in err.splitlines()]
    assert all(line.startswith(b"tinygrad_seq: building kernels for this processor") for line in said)
    assert len(said) <= 2
    out = done[0][0].decode().replace(os.linesep, "\n")
    run = Path("runs/demo")
    assert f"folder  {run}\n" in out
    assert re.search(r"--- what it writes after '(\w+ )', at temperature 0\.5 ---\n\1", out)
    picture = next(run.glob("graph.[sd]*")).name
    for name in (picture, "samples.txt", "metrics.jsonl", "config.toml"):
        assert (run / name).stat().st_size > 0
        assert f"\n  {run / name}  " in out
    assert f" sample {run} --prime " in out
    assert re.fullmatch(r"validation \d\.\d{3} bits per character", out.splitlines()[-1])
    assert load_run(run).config.hidden == 128
    assert load_run("runs/demo-2").config.steps == 1


def test_small_models_use_one_thread() -> None:
    """Where NumPy's wheel brings OpenBLAS; not for large models, and not against the user's word."""
    libraries = [*Path(np.__file__).parent.parent.glob("numpy.libs/libscipy_openblas64_*")]
    if not libraries:
        pytest.skip("this NumPy brings another library")
    code = (
        "import ctypes, json, sys; from tinygrad_seq.cli.cores import suit_threads; "
        "from tinygrad_seq.fuser import threads; "
        f"library = ctypes.CDLL({str(libraries[0])!r}); library.scipy_openblas_set_num_threads64_(2); "
        "done = suit_threads(*json.loads(sys.argv[1])); "
        "print(done, library.scipy_openblas_get_num_threads64_(), threads._one)"
    )
    gpt = {"model": "transformer", "batch": 12, "window": 64, "hidden": 128}
    for runs, variable, answer in (
        ([{"hidden": 128}], "X", "True 1 True"),
        ([{"hidden": 129}], "X", "False 2 False"),
        ([{"hidden": 128}], "OMP_", "False 2 True"),
        ([{"hidden": 128}, {"hidden": 129}], "X", "False 2 False"),
        ([gpt], "X", "False 2 True"),
        ([{**gpt, "hidden": 32, "batch": 4}], "X", "True 1 True"),
        ([{"hidden": None}, {"hidden": "big"}, {"hidden": [1]}, {}], "X", "True 1 True"),
    ):
        variables = {k: v for k, v in environment().items() if not k.endswith("NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(runs)],
            capture_output=True,
            text=True,
            check=True,
            env={**variables, f"{variable}NUM_THREADS": "2"},
        )
        assert done.stdout.strip() == answer


def test_kernels_can_be_built_after_the_threads_were_chosen(tmp_path: Path) -> None:
    """Numba's threads may run by then; it compiles no more where NUMBA_NUM_THREADS is another than at their start."""
    code = (
        "import numba; numba.get_num_threads(); import tinygrad_seq as tgs; "
        "from tinygrad_seq.cli.cores import suit_threads; suit_threads({'hidden': 8}); "
        "f = tgs.fused(lambda x: x.exp() * 0); print(f(tgs.ones(4, 5)).sum().item(), 'exp' in f.source('forward'))"
    )
    variables = {k: v for k, v in environment().items() if not k.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**variables, "TINYGRAD_SEQ_CACHE": str(tmp_path)},
    )
    assert done.stdout.strip() == "0.0 True", done.stderr


# ---------------------------------------------------------------- sampling


def test_sample_writes_prime_and_text(tgs: Tgs) -> None:
    """As many characters as asked for after the prime, and a newline; the same seed, the same text."""
    train_small(tgs)
    code, out, err = tgs("sample", "run", "--prime", "to be", "-n", "20", "--seed", "5")
    assert (code, err) == (0, "")
    assert out.startswith("to be")
    assert len(out) == 5 + 20 + 1
    assert tgs("sample", "run", "--prime", "to be", "-n", "20", "--seed", "5")[1] == out
    assert tgs("sample", "run", "--prime", "to be", "-n", "20", "--seed", "6")[1] != out
    greedy = tgs("sample", "run", "-n", "9", "--temperature", "0")[1]
    assert greedy == tgs("sample", "run", "-n", "9", "--temperature", "0")[1]


def test_prime_is_composed_like_a_corpus(tgs: Tgs) -> None:
    """A decomposed accent, as macOS types it, is the composed one that the model knows."""
    Path("hamlet.txt").write_text("caf\u00e9 " * 100, encoding="utf-8")
    train_small(tgs)
    code, out, _ = tgs("sample", "run", "--prime", "cafe\u0301", "-n", "0")
    assert (code, out) == (0, "caf\u00e9\n")


# ---------------------------------------------------------------- mistakes


def test_mistakes_are_explained_on_stderr(tgs: Tgs) -> None:
    """Exit code 2, the full text, nothing on standard output, no traceback, no folder left behind."""
    Path("empty.txt").write_text("")
    Path("binary.bin").write_bytes(b"\x89PNG\0\0")
    Path("latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    cases = {
        "hamlet.tx": f"read_text: 'hamlet.tx' does not exist.\n  expected a UTF-8 text file.\n"
        f"  Did you mean 'hamlet.txt'? {NO_FILE}\n",
        "empty.txt": "read_text: 'empty.txt' holds no text.\n  expected at least one character.\n"
        f"  Give a file that is not empty. {NO_FILE}\n",
        "binary.bin": "read_text: 'binary.bin' looks binary.\n  first zero byte at offset: 4\n"
        "  expected UTF-8 text, which has no zero byte among the first 8,192.\n"
        "  Unpack it or convert it to text first.\n",
        "builtin:topic": "read_text: there is no built-in text 'builtin:topic'.\n"
        "  expected one of builtin:topics, builtin:stdlib.\n"
        "  Did you mean 'builtin:topics'? A file of this name is read as ./builtin:topic.\n",
    }
    for source, text in cases.items():
        assert tgs("train", source) == (2, "", text)
    assert tgs("train", "latin.txt")[2].startswith("read_text: 'latin.txt' is not UTF-8.\n")
    assert not Path("runs").exists()


def test_text_too_short_gets_a_smaller_batch_and_window(tgs: Tgs) -> None:
    """With a note, and so in the dry run; the settings that are kept are those that were used."""
    Path("hamlet.txt").write_text("ab" * 100, encoding="utf-8")
    note = "a text of 200 tokens has room for batch 4 in the place of 32 and window 32 in the place of 64"
    many = f"{4 * 128 * 258 + 2 * 128 + 2 * 129:,} parameters are many for 180 tokens to train on: "
    code, out, err = tgs("train", "hamlet.txt", "--steps", "1", "-o", "run")
    assert (code, err) == (0, "")
    assert f"\nnote    {note}\nnote    {many}" in out
    assert "4 x 32 tokens a step" in out
    kept = load_run("run").config
    assert (kept.batch, kept.window) == (4, 32)
    code, out, err = tgs("train", "hamlet.txt", "--dry-run")
    assert (code, err) == (0, "")
    assert f"\nnote     {note}\n" in out
    assert "\nbatch = 4\nwindow = 32\n" in out
    assert tgs("train", "--resume", "run", "--steps", "2", "-q")[0] == 0
    Path("hamlet.txt").write_text("ab", encoding="utf-8")
    assert tgs("train", "hamlet.txt")[2].startswith("split: the text is too short for these fractions.\n")


def test_setting_out_of_range_is_explained(tgs: Tgs) -> None:
    """The name is that of the option."""
    assert tgs("train", "hamlet.txt", "--hidden", "0") == (
        2,
        "",
        "config: hidden out of range.\n  hidden: 0\n  expected a whole number of at least 1.\n",
    )


def test_output_that_cannot_be_is_explained(tgs: Tgs) -> None:
    """A run, and a file in the place of a folder."""
    train_small(tgs)
    before = {file: file.read_bytes() for file in Path("run").iterdir()}
    assert tgs("train", "hamlet.txt", *SMALL, "-o", "run") == (
        2,
        "",
        "train: 'run' already holds a run.\n"
        "  Give another folder with -o, or remove this one if the run is not needed any more.\n",
    )
    assert {file: file.read_bytes() for file in Path("run").iterdir()} == before
    code, out, err = tgs("train", "hamlet.txt", *SMALL, "-o", str(Path("hamlet.txt/run")))
    assert (code, out) == (2, "")
    assert err.endswith(
        "cannot be made: 'hamlet.txt' is a file.\n  Give a folder that you may write to with -o.\n"
    )


def test_runs_that_cannot_be_sampled_are_explained(tgs: Tgs) -> None:
    """No folder, damaged weights, weights of another model, an unknown setting, an unknown symbol."""
    run = train_small(tgs)
    assert tgs("sample", "rum") == (
        2,
        "",
        "load: there is no folder 'rum'.\n  expected a folder that tgs train has made.\n"
        "  Train one with: tgs train builtin:topics\n",
    )
    assert tgs("sample", "run", "--prime", "to be \u03b1") == (
        2,
        "",
        "encode: the vocabulary does not hold '\u03b1'.\n  position of the first: 6\n"
        "  vocabulary: '\\n ,:abehinoqrstu'\n  expected only the 16 symbols that the model knows.\n"
        "  Leave them out or replace them: on_unknown 'skip' or 'replace' (--on-unknown). "
        "Or train a model with a text that holds them.\n",
    )
    assert tgs("sample", "run", "--temperature", "-1") == (
        2,
        "",
        "sample: temperature out of range.\n  temperature: -1.0\n"
        "  expected a finite number from 0 upwards; 0 takes the likeliest character.\n",
    )
    weights = run / "best.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    again = "Copy the whole folder anew from where the model was trained, or train again."
    assert tgs("sample", "run") == (
        2,
        "",
        f"load: {str(weights)!r} is damaged: it is no complete safetensors file.\n  {again}\n",
    )
    save_weights(weights, Linear(2, 2), Vocabulary(TEXT))
    code, out, err = tgs("sample", "run")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"load: {str(weights)!r} holds the weights of another model.\n  missing: embedding.weight"
    )
    weights.write_bytes(whole)
    config = run / "config.toml"
    config.write_text(config.read_text().replace("layers", "layer"))
    code, out, err = tgs("sample", "run")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"config: {str(config)!r} has an unknown setting 'layer'.\n  expected some of corpus, "
    )
    assert err.endswith("\n  Did you mean 'layers'?\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["trian"],
            "tgs: there is no command 'trian'.\n  expected one of demo, train, sample, eval, compare, inspect, "
            "graph, kernels, doctor, selftest.\n"
            "  Did you mean 'train'? See tgs --help.\n",
        ),
        (
            ["--versoin"],
            "tgs: there is no option '--versoin'.\n  expected one of --help, --version.\n"
            "  Did you mean '--version'? See tgs --help.\n",
        ),
        (
            ["train", "hamlet.txt", "--hiden", "3"],
            "tgs train: there is no option '--hiden'.\n  Did you mean '--hidden'? See tgs train --help.\n",
        ),
        (
            ["sample", "run", "--temprature=3"],
            "tgs sample: there is no option '--temprature'.\n"
            "  Did you mean '--temperature'? See tgs sample --help.\n",
        ),
        (["sample", "a", "b"], "tgs sample: one argument too many: 'b'.\n  See tgs sample --help.\n"),
        (
            ["train"],
            "tgs train: there is nothing to train on.\n"
            "  Give a file. Without a file: tgs train builtin:topics\n",
        ),
        (
            ["train", "hamlet.txt", "--hidden", "big"],
            "tgs train: argument --hidden: invalid int value: 'big'.\n  See tgs train --help.\n",
        ),
    ],
)
def test_command_line_that_cannot_be_understood(tgs: Tgs, arguments: list[str], text: str) -> None:
    """The nearest name is offered; exit code 2."""
    assert tgs(*arguments) == (2, "", text)


def test_debug_shows_where_an_error_comes_from() -> None:
    """With `--debug` the error passes through, with its traceback."""
    with pytest.raises(tinygrad_seq.CheckpointError):
        main(["sample", "nowhere", "--debug"])


# ---------------------------------------------------------------- terminals, pipes, encodings


def test_without_a_terminal_there_are_no_control_codes() -> None:
    """One line for each report, in UTF-8, whatever the variables ask for."""
    process = start("train", "hamlet.txt", *SMALL, "--steps", "4", "-o", "run", FORCE_COLOR="1", TERM="xterm")
    out, err = process.communicate()
    assert (process.returncode, quiet(err)) == (0, b"")
    assert b"result  validation " in out
    assert not set(out.decode().replace(os.linesep, "\n")) & {chr(c) for c in range(32) if c != 10}


def test_lines_come_as_they_are_written() -> None:
    """Through a pipe too: the first line is there while the run goes on."""
    with start(
        "train", "hamlet.txt", *SMALL, "--steps", "1000000", "--eval-every", "20", "-o", "run"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"text    hamlet.txt")
        assert len(metrics(Path("run"))) < 20
        process.kill()


def test_characters_come_as_they_are_drawn(tgs: Tgs) -> None:
    """Through a pipe too: the first is there long before the last."""
    train_small(tgs)
    with start("sample", "run", "-n", "100000000") as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        assert process.poll() is None
        process.kill()


def test_sampled_control_characters_are_not_sent_to_the_screen(tgs: Tgs) -> None:
    """A model that has learnt an escape from its text shows its number while it trains."""
    Path("hamlet.txt").write_text("\x1b[2J\x07" * 300, encoding="utf-8")
    _, out, _ = tgs("train", "hamlet.txt", *SMALL, "--steps", "1", "-o", "run")
    assert "\\u001b" in out or "\\u0007" in out
    assert "\x1b" not in out
    assert "\x1b" in Path("run/samples.txt").read_text(encoding="utf-8")


def test_console_of_another_encoding_is_no_error(tgs: Tgs) -> None:
    """What cp1252 cannot show becomes a question mark; who asks for no encoding gets UTF-8."""
    Path("hamlet.txt").write_text("한글 \u00e9\u2603 text " * 100, encoding="utf-8")
    train_small(tgs)
    process = start("sample", "run", "--prime", "한글 \u00e9\u2603 t", "-n", "5", PYTHONIOENCODING="cp1252")
    out, err = process.communicate()
    assert (process.returncode, quiet(err)) == (0, b"")
    assert out.startswith(b"?? \xe9? t")
    process = start("sample", "run", "-n", "200", "--seed", "1", LC_ALL="C", PYTHONUTF8="0")
    out, err = process.communicate()
    assert (process.returncode, quiet(err)) == (0, b"")
    assert {"한", "\u2603"} < set(out.decode())


@POSIX
def test_reader_that_leaves_is_no_error(tgs: Tgs) -> None:
    """`tgs sample RUN -n 100000 | head` ends quietly."""
    train_small(tgs)
    with start("sample", "run", "-n", "1000000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert quiet(process.stderr.read()) == b""
        assert process.wait(30) == 141


def on_terminal(*arguments: str, **variables: str) -> str:
    """All that a command writes to a terminal of 100 columns."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    variables = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "tinygrad_seq", *arguments],
        stdout=slave,
        stderr=slave,
        env=environment(**variables),
    )
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux reports the end of a terminal so.
            break
        if not piece:
            break
        out += piece
    os.close(master)
    assert process.wait() == 0
    return out.decode()


@POSIX
def test_terminal_gets_a_live_line() -> None:
    """It is drawn over and taken away; without colours for NO_COLOR, and plain lines on a dumb terminal."""
    arguments = ("train", "hamlet.txt", *SMALL, "--steps", "30", "--sample-every", "0")
    shown = on_terminal(*arguments)
    assert "\x1b[2K" in shown
    assert "\x1b[1m" in shown
    assert "result  validation " in shown
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert "\x1b[2K" in plain
    assert not re.search(r"\x1b\[[\d;]*3[0-7]m", plain)
    assert "\x1b" not in on_terminal(*arguments, TERM="dumb")


# ---------------------------------------------------------------- being stopped


@POSIX
def test_interrupt_saves_and_says_how_to_go_on() -> None:
    """Ctrl+C: exit code 130, the last whole step in the folder, and the command that samples from it."""
    options = ["--steps", "1000000", "--eval-every", "20", "--sample-every", "0", "-o", "run"]
    process = start("train", "hamlet.txt", *SMALL, *options)
    wait_for(lambda: len(metrics(Path("run"))) >= 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, quiet(err)) == (130, b"")
    end = out.decode().splitlines()[-4:]
    stopped = re.match(r"stopped after step ([\d,]+), \d+:\d\d; every step before it is whole$", end[0])
    assert stopped, out.decode()
    assert int(stopped[1].replace(",", "")) >= metrics(Path("run"))[-1]["step"]
    assert end[1] == "saved   run"
    assert re.fullmatch(r"next    .* train --resume run", end[2])
    assert re.fullmatch(r"        .* sample run --prime 'to '", end[3])
    assert load_run("run", "last").config.steps == 1000000
    done = int(stopped[1].replace(",", ""))
    process = start("train", "--resume", "run", "--steps", str(done + 3))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, quiet(err)) == (0, b"")
    assert f"resumed after step {done:,}\n" in out.decode()
    assert metrics(Path("run"))[-1]["step"] == done + 3


def test_interrupt_while_a_line_is_written_saves(tgs: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C may come when the loop is not running: the run ends between two steps all the same."""
    show = Lines.show

    def pressed(self: Lines, event: Event) -> None:
        show(self, event)
        if isinstance(event, Step) and event.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lines, "show", pressed)
    code, out, err = tgs("train", "hamlet.txt", *SMALL, "-o", "run")
    assert (code, err) == (130, "")
    assert "\nstopped after step 3, " in out
    assert load_run("run").config.steps == 2000


@POSIX
def test_interrupted_sample_ends_quietly(tgs: Tgs) -> None:
    """What was drawn stays, and the exit code is 130."""
    train_small(tgs)
    process = start("sample", "run", "-n", "100000000")
    assert process.stdout is not None
    process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"\nstopped\n")


def test_killed_run_leaves_a_folder_that_loads() -> None:
    """Killed without warning while it saves after every step, three times at another moment."""
    options = ["--steps", "1000000", "--eval-every", "1", "--sample-every", "0"]
    for n in (1, 4, 7):
        run = Path(f"run{n}")
        process = start("train", "hamlet.txt", *SMALL, *options, "-o", str(run))
        wait_for(lambda run=run, n=n: len(metrics(run)) >= n, process)  # type: ignore[misc]
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode not in (0, 2)
        for weights in (None, "last"):
            model = load_run(run, weights).model
            assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


def test_run_killed_in_its_first_step_can_be_loaded() -> None:
    """The untrained weights are saved before anything is learnt."""
    options = ["--hidden", "512", "--layers", "4", "--batch", "16", "--window", "64"]
    process = start("train", "hamlet.txt", *options, "-o", "run")
    wait_for(Path("run/config.toml").exists, process)  # the last of the first files
    process.kill()
    process.communicate(timeout=60)
    assert not metrics(Path("run"))
    assert load_run("run").config.hidden == 512
