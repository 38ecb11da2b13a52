"""Every path that a command takes and every file that it reads, made into what is no file: one message each."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus, Vocabulary, load_tokenizer, read_idx, read_text
from tinygrad_seq.errors import ArgumentError, CheckpointError, DataError
from tinygrad_seq.runtime.files import atomic_write_text
from tinygrad_seq.training import Config, load_run, train

POSIX = os.name != "nt"
TEXT = "to be, or not to be, that is the question\n" * 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("paths") / "run"
    config = Config(hidden=4, window=8, batch=2, steps=2, eval_every=1, sample_every=2, sample_length=5)
    list(train(config, corpus=Corpus(TEXT, "a.txt"), folder=folder))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with the run and its text; what hangs is ended by an alarm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    shutil.copytree(made, "run")
    Path("a.txt").write_text(TEXT)
    if not POSIX:
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def put(kind: str, place: Path) -> str:
    """Something under this name that is no file; returns the name to give."""
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    if kind == "folder":
        place.mkdir()
        (place / "b.bin").write_bytes(b"\0")
    elif kind == "loop":
        place.symlink_to(place.name)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        return "/dev/zero"
    elif kind == "long":
        return "x" * 300 + place.suffix
    elif kind == "below":
        return os.path.join("a.txt", place.name)
    elif kind == "above":
        return os.path.join("nowhere", place.name)
    elif kind == "empty":
        return ""
    return os.fspath(place)


KINDS = ["folder", "missing", "long", "below", "above", "empty"]
if POSIX:
    KINDS += ["loop", "pipe", "device"]
SETTINGS = ["--hidden", "4", "--window", "8", "--batch", "2", "--steps", "1"]
READ = {
    "train CORPUS": ["train", "{x.txt}", "-o", "new"],
    "train --dry-run": ["train", "{x.txt}", "--dry-run"],
    "train --config": ["train", "a.txt", "--config", "{x.toml}", "-o", "new"],
    "train --resume": ["train", "--resume", "{x}"],
    "sample RUN": ["sample", "{x}"],
    "sample --prime-file": ["sample", "run", "--prime-file", "{x.txt}"],
    "eval RUN": ["eval", "{x}"],
    "eval FILE": ["eval", "run", "{x.txt}"],
    "compare RUN": ["compare", "{x}", "--quick"],
    "compare --ladder": ["compare", "--ladder", "{x.txt}"],
    "inspect RUN": ["inspect", "{x}"],
    "inspect --file": ["inspect", "run", "--file", "{x.txt}"],
    "inspect --gradients": ["inspect", "{x}", "--gradients"],
    "graph RUN": ["graph", "{x}"],
    "graph JSON": ["graph", "./{x.json}"],
    "doctor RUN": ["doctor", "{x}"],
}
WRITTEN = {
    "train --out": ["train", "a.txt", *SETTINGS, "-o", "{x}"],
    "compare --out": ["compare", "run", "--quick", "-o", "{x.png}"],
    "inspect --out": ["inspect", "run", "--text", "to be", "--only", "saliency", "-o", "{x.html}"],
    "graph --output": ["graph", "rnn", "--steps", "2", "-o", "{x.dot}"],
}


def given(arguments: list[str], kind: str) -> list[str]:
    """The arguments, with the slot filled by something that is no file."""

    def filled(word: str) -> str:
        if "{" not in word:
            return word
        before, _, rest = word.partition("{")
        name = put(kind, Path(rest.rstrip("}")))
        return before + name if name and not name.startswith("/") else name

    return [filled(word) for word in arguments]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on the error stream: words, no number of the system, nothing longer than a few lines."""
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if not line.startswith("tinygrad_seq: building kernels")]
    text = "\n".join(lines)
    for bad in ("Errno", "Traceback", "Error:", "embedded null"):
        assert bad not in text
    assert len(lines) <= 8
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused with exit code 2, in words that name it or say what it is."""
    code = main(given(READ[name], kind))
    text = told(capsys)
    assert code == 2, text
    assert text
    if kind == "pipe" and name.split()[1] in (
        "CORPUS",
        "--prime-file",
        "FILE",
        "--ladder",
        "--file",
        "--config",
    ):
        assert "it is a pipe" in text
    if kind == "loop" and name.split()[1] in (
        "CORPUS",
        "--prime-file",
        "FILE",
        "--ladder",
        "--file",
        "--config",
    ):
        assert "a link that leads back to itself" in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Written, where that is possible, or refused in words; what stood there is still there."""
    arguments = given(WRITTEN[name], kind)
    before = sorted(path.name for path in Path().iterdir())
    code = main(arguments)
    text = told(capsys)
    assert code in (0, 2)
    assert (code == 2) is bool(text)
    if kind in ("folder", "loop", "pipe", "long", "below"):
        assert code == 2
        assert sorted(path.name for path in Path().iterdir()) == before
    if kind == "device":
        assert Path("/dev/zero").is_char_device()


INSIDE = {
    "config.toml": [["sample", "run"], ["eval", "run"], ["doctor", "run"], ["compare", "run"]],
    "vocabulary.json": [["sample", "run"], ["graph", "run"], ["train", "--resume", "run", "--steps", "3"]],
    "best.safetensors": [["sample", "run"], ["inspect", "run", "--text", "to be"]],
    "last.safetensors": [
        ["sample", "run", "--weights", "last"],
        ["train", "--resume", "run", "--steps", "3"],
    ],
    "state.safetensors": [["train", "--resume", "run", "a.txt", "--steps", "3"]],
    "metrics.jsonl": [["train", "--resume", "run", "a.txt", "--steps", "3"]],
    "samples.txt": [["train", "--resume", "run", "a.txt", "--steps", "3"]],
}


@pytest.mark.parametrize("kind", ["folder", *(["loop", "pipe"] if POSIX else [])])
@pytest.mark.parametrize("name", INSIDE)
def test_files_of_a_run(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of a run is named, and what it is."""
    put(kind, Path("run", name))
    said = {
        "folder": "it is a folder", "loop": "it is a link that leads back to itself", "pipe": "it is a pipe",
    }[kind]  # fmt: skip
    for arguments in INSIDE[name]:
        assert main(arguments) == 2
        text = told(capsys)
        assert name in text
        assert said in text


@pytest.mark.parametrize("kind", ["folder", *(["loop", "pipe"] if POSIX else [])])
def test_metrics_that_are_no_file_are_noted(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare` and `doctor` read what there is, and say what there is not."""
    put(kind, Path("run/metrics.jsonl"))
    for arguments in (["doctor", "run"], ["compare", "run", "--quick"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "no metrics: metrics.jsonl: it is a" in out.replace("\n           ", " ")
        assert "Errno" not in out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run/config.toml", ["sample", "run"]),
        ("run/vocabulary.json", ["sample", "run"]),
        ("big.toml", ["train", "a.txt", "--config", "big.toml"]),
    ],
)
def test_files_too_large_to_be_what_they_should(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings of gigabytes, a tokenizer of as many: refused before they fill the memory. The files are holes."""
    with open(name, "wb") as file:
        file.truncate(1 << 32)
    assert main(arguments) == 2
    assert "it is larger than" in told(capsys)


def test_names_with_a_zero_byte() -> None:
    """No name can hold one: what the interfaces of Python are given is refused by the same classes."""
    for call, error in (
        (lambda: read_text("a\0b"), DataError),
        (lambda: read_idx("a\0b"), DataError),
        (lambda: Vocabulary.load("a\0b"), CheckpointError),
        (lambda: load_tokenizer("a\0b"), CheckpointError),
        (lambda: load_run("a\0b"), CheckpointError),
        (lambda: atomic_write_text("a\0b", ""), CheckpointError),
        (
            lambda: list(train(Config(steps=1), corpus=Corpus(TEXT * 3), folder="a\0b")),
            (CheckpointError, ArgumentError),
        ),
    ):
        with pytest.raises(error):  # type: ignore[call-overload]
            call()


@pytest.mark.skipif(not POSIX or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(capsys: pytest.CaptureFixture[str]) -> None:
    """Said in these two words."""
    for name, arguments in (("a.txt", ["train", "a.txt"]), ("run/config.toml", ["sample", "run"])):
        os.chmod(name, 0)
        assert main(arguments) == 2
        assert "permission denied" in told(capsys)


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """A file is written beside its name and renamed onto it, which would take the place of the device."""
    if not POSIX:
        pytest.skip("devices with names")
    os.mkfifo("pipe")
    for name, said in (("pipe", "it is a pipe"), ("/dev/null", "it is a device")):
        with pytest.raises(CheckpointError, match=said):
            atomic_write_text(name, "x")
    assert Path("/dev/null").is_char_device()
