"""A folder is every text in it, source code too; binary files are left out and counted, hidden ones passed over."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tinygrad_seq.cli import main
from tinygrad_seq.data import is_large, read_text, stored_tokens, stream_text
from tinygrad_seq.data.sources.paths import left_out_of
from tinygrad_seq.errors import DataError
from tinygrad_seq.training import Config, Finished, load_run, resume, train

CODE = "def f(x):\n    return x + 1\n"
SMALL = Config(hidden=4, batch=2, window=8, steps=2, eval_every=1, sample_every=0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as one finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    for name in ("code/sub", "code/.git", "code/__pycache__"):
        Path(name).mkdir(parents=True)
    for name, data in {
        "code/a.py": CODE * 30, "code/sub/b.c": "int x;\n" * 50, "code/README.md": "# read\n" * 50,
        "code/Makefile": "all:\n",
        "code/.hidden.py": "secret", "code/.git/config": "secret",
        "code/empty.py": "",
    }.items():  # fmt: skip
        Path(name).write_text(data, encoding="utf-8")
    Path("code/__pycache__/a.pyc").write_bytes(b"\x00\x01" * 50)
    Path("code/photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    Path("code/latin.c").write_bytes("é".encode("latin-1") * 20)
    Path("code/notes.txt.gz").write_bytes(gzip.compress(b"packed\n" * 20))
    Path("code/data.gz").write_bytes(gzip.compress(b"not named a text"))
    return tmp_path / "code"


ALL = "all:\n" + "# read\n" * 50 + CODE * 30 + "packed\n" * 20 + "int x;\n" * 50


def test_every_text_is_taken() -> None:
    """In the order of the paths; the same in pieces and from the disk; what is none is counted."""
    assert read_text("code").text == ALL
    assert "".join(stream_text("code")) == ALL
    tokens = stored_tokens("code", folder="cache")
    assert tokens.tokenizer.decode(tokens.ids) == ALL
    assert left_out_of(["code"]) == 4, "compiled, a picture, Latin-1, packed of an unknown kind"
    assert not is_large("code")


def test_endings_choose() -> None:
    """With and without a dot, in any case; nothing fits: said with what was asked for."""
    assert read_text("code", ext="py").text == CODE * 30
    assert read_text("code", ext=" .C, py ").text == CODE * 30 + "int x;\n" * 50
    assert read_text("code", ext="txt").text == "packed\n" * 20
    with pytest.raises(DataError) as caught:
        read_text("code", ext="rs")
    assert str(caught.value) == (
        "read_text: the folder 'code' holds no text file.\n"
        "  expected files that end in .rs, hidden ones not, in it or below it.\n"
        f"  Name the files themselves, or with a glob: {os.path.join('code', '*.py')}"
    )


@pytest.mark.skipif(os.name == "nt", reason="links want rights there")
def test_links_that_lead_back_and_pipes_are_passed(folder: Path) -> None:
    """A loop of folders, of files, a link to nothing, a pipe that nobody writes to."""
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "loop.py").symlink_to(folder / "loop.py")
    (folder / "gone.py").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.py")
    assert read_text("code").text == ALL


def test_command_says_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """One note; `--ext` is kept with the run, which goes on, is measured and found again by it."""
    options = ["--hidden=4", "--batch=2", "--window=8", "--steps=2", "--sample-every=0"]
    assert main(["train", "code/", *options, "-o", "run"]) == 0
    assert "\nnote    4 files that are no UTF-8 text left out\n" in capsys.readouterr().out
    assert main(["train", "code", *options, "--ext", "py", "-o", "py"]) == 0
    said = capsys.readouterr().out
    assert "left out" not in said
    assert f"a.py + {Path('code/empty.py')}: {30 * len(CODE):,} characters" in said
    assert load_run("py").config.ext == "py"
    for run in ("run", "py"):
        assert main(["eval", run]) == 0
        assert main(["train", "--resume", run, "--steps", "3", "-q"]) == 0


def test_runs_below_are_no_text() -> None:
    """`tgs train .` where runs lie does not read them, and goes on with the text that it had."""
    os.chdir("code")
    for name in ("photo.png", "latin.c", "data.gz", "__pycache__/a.pyc"):
        Path(name).unlink()
    text = read_text(".").text
    list(train(Config(**{**vars(SMALL), "corpus": (".",)}), folder="runs/a"))
    assert read_text(".").text == text
    assert isinstance(list(resume("runs/a", steps=4))[-1], Finished)


def test_runs_of_earlier_versions_take_what_they_took() -> None:
    """Their settings name no endings: .txt, .text and .md."""
    list(train(Config(**{**vars(SMALL), "corpus": ("code",), "ext": "txt,text,md"}), folder="run"))
    config = Path("run/config.toml")
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("ext = ")), encoding="utf-8")
    assert main(["eval", "run"]) == 0
    assert isinstance(list(resume("run", steps=4))[-1], Finished)
