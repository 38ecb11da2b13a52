"""`tgs kernels`: what it lists, shows and removes, whatever lies in the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tinygrad_seq
from tinygrad_seq.cli import main
from tinygrad_seq.runtime import jit, kernel_cache

pytestmark = [pytest.mark.switched_off, pytest.mark.engine]

ROOT = Path(tinygrad_seq.__file__).parent.parent
FORWARD, BACKWARD, OTHER = (f"k_{digit * 24}" for digit in "1a2")
SOURCES = {
    FORWARD: '"""Derived from the tape of `silu`, forward."""\n\n\ndef kernel():\n    pass\n',
    BACKWARD: '"""Derived from the tape of `silu`, backward."""\n\n\ndef kernel():\n    pass\n',
    OTHER: '"""`add_rows` of somewhere."""\n\n\ndef add_rows():\n    pass\n',
}
NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three kernels: one whole, one not yet compiled, one without its facts."""
    folder = tmp_path / "kernels here"
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(folder))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(jit, "switched_off", lambda: "")
    monkeypatch.setattr("time.time", lambda: NOW)
    (folder / "__pycache__").mkdir(parents=True)
    for name, text in SOURCES.items():
        (folder / f"{name}.py").write_bytes(text.encode())
        os.utime(folder / f"{name}.py", (NOW - 5, NOW - 5))
    facts = {"seconds": 1.234, "built": NOW - 7200}
    (folder / f"{FORWARD}.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / f"{BACKWARD}.json").write_text(json.dumps({**facts, "built": NOW - 90}), encoding="utf-8")
    (folder / "__pycache__" / f"{FORWARD}.kernel-3.py311.nbi").write_bytes(b"x" * 1000)
    (folder / "__pycache__" / f"{FORWARD}.kernel-3.py311.1.nbc").write_bytes(b"x" * 2_000_000)
    return folder


Tgs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str]) -> Tgs:
    """Runs `tgs kernels`: its exit code, its output and its errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["kernels", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_it_lists_what_is_kept(tgs: Tgs, folder: Path) -> None:
    """By name, forward first; sizes with numba's files; what nobody wrote down is a question mark."""
    assert tgs() == (
        0,
        "name      pass        size  built in    age  hash\n"
        "add_rows              58 B         ?    5 s  22222222\n"
        "silu      forward   2.0 MB    1.23 s    2 h  11111111\n"
        "silu      backward    74 B    1.23 s  2 min  aaaaaaaa\n"
        f"3 kernels, 2.0 MB, built in 2.5 s, in {folder}\n",
        "",
    )


def test_the_listing_for_programs(tgs: Tgs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON object, complete."""
    code, out, err = tgs("--json")
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert (listed["folder"], listed["not_compiling"]) == (str(folder), None)
    assert listed["kernels"][1] == {
        "name": "silu",
        "pass": "forward",
        "bytes": 2_001_000 + len(SOURCES[FORWARD]),
        "seconds": 1.234,
        "built": NOW - 7200,
        "hash": "1" * 24,
        "file": str(folder / f"{FORWARD}.py"),
    }
    assert (listed["kernels"][0]["pass"], listed["kernels"][0]["seconds"]) == (None, None)
    monkeypatch.setattr(jit, "switched_off", lambda: "numba is not installed")
    assert json.loads(tgs("--json")[1])["not_compiling"] == "numba is not installed"


@pytest.mark.parametrize(
    "facts", [b"", b"{", b"[]", b'"x"', b"{}", b'{"seconds": null, "built": 1}', b"\xff\xfe", b"[" * 100_000]
)
def test_damaged_facts_do_not_matter(tgs: Tgs, folder: Path, facts: bytes) -> None:
    """They are as good as none."""
    (folder / f"{FORWARD}.json").write_bytes(facts)
    code, out, err = tgs()
    assert (code, err) == (0, "")
    assert "silu      forward   2.0 MB         ?    5 s  11111111" in out


def test_strange_files_do_not_matter(tgs: Tgs, folder: Path) -> None:
    """Names that are not ours are not read; a source without a title, or with odd letters, is listed."""
    (folder / "notes.py").write_text("mine", encoding="utf-8")
    (folder / f"k_{'3' * 24}.py").write_bytes(b"\xff\x00")
    (folder / f"k_{'4' * 24}.py").write_text('"""Derived from the tape of `\x1b[31m`, forward."""', "utf-8")
    out = tgs()[1]
    assert "notes" not in out
    assert "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines()] == [
        "name",
        "'\\x1b[31m'",
        "?",
        "add_rows",
        "silu",
        "silu",
        "5",
    ]


def test_none_is_said_kindly(tgs: Tgs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty folder, without a folder, and without the compiler; none is made."""
    for path in [*(folder / "__pycache__").iterdir(), *folder.glob("k_*")]:
        path.unlink()
    none = f"no kernels in {folder}: each is built when a fused function first needs it.\n"
    assert tgs() == (0, none, "")
    (folder / "__pycache__").rmdir()
    folder.rmdir()
    assert tgs() == (0, none, "")
    monkeypatch.setattr(jit, "switched_off", lambda: "numba is not installed")
    composed = "fused functions run as their compositions, slower and to the same effect"
    assert tgs() == (0, f"numba is not installed: {composed}.\n{none}", "")
    assert json.loads(tgs("--json")[1])["kernels"] == []
    assert tgs("--clear") == (0, f"0 kernels removed, 0 B, from {folder}\n", "")
    assert not folder.exists()


@pytest.mark.parametrize("word", ["add_rows", "2222", OTHER, f"{OTHER}.py"])
def test_source_prints_a_kernel(tgs: Tgs, folder: Path, word: str) -> None:
    """By its name, the start of its hash, or its file."""
    assert tgs("--source", word) == (0, f"# {folder / OTHER}.py\n{SOURCES[OTHER]}", "")


def test_source_prints_all_of_a_name(tgs: Tgs, folder: Path) -> None:
    """Forward and backward, as text or for programs."""
    text = f"# {folder / FORWARD}.py\n{SOURCES[FORWARD]}\n# {folder / BACKWARD}.py\n{SOURCES[BACKWARD]}"
    assert tgs("--source", "silu") == (0, text, "")
    listed = json.loads(tgs("--source", "silu", "--json")[1])["kernels"]
    assert [one["source"] for one in listed] == [SOURCES[FORWARD], SOURCES[BACKWARD]]


def test_an_unknown_kernel_is_refused(tgs: Tgs, folder: Path) -> None:
    """With the names there are; the empty word is no start of a hash."""
    assert tgs("--source", "sillu") == (
        2,
        "",
        "kernels: there is no kernel 'sillu'.\n  expected one of add_rows, silu, or a hash.\n"
        "  Did you mean 'silu'? See tgs kernels.\n",
    )
    for word in ("", "k_", "/etc/passwd"):
        assert tgs("--source", word)[0] == 2
    for path in folder.glob("k_*"):
        path.unlink()
    assert tgs("--source", "silu")[2] == (
        "kernels: there is no kernel 'silu'.\n  None is kept yet.\n  See tgs kernels.\n"
    )


def test_clear_removes_ours_alone(
    tgs: Tgs, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources, facts and numba's files, wherever numba was told to keep them; nothing of the user's."""
    elsewhere = tmp_path / "numba" / "x"
    elsewhere.mkdir(parents=True)
    (elsewhere / f"{OTHER}.kernel-3.py311.nbi").write_bytes(b"12345")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    mine = [folder / "notes.py", folder / "k_1.py", folder / "__pycache__" / "other.nbi", elsewhere / "k.nbi"]
    mine += [folder / f"{FORWARD}.txt", folder / f"my {FORWARD}.py", folder / "kept.json"]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
    (folder / f"k_{'5' * 24}.py").mkdir()
    size = sum(path.stat().st_size for path in folder.rglob("k_*") if path.is_file() and path not in mine) + 5
    code, out, err = tgs("--clear", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"folder": str(folder), "removed": 3, "bytes": size}
    left = {path for path in (*folder.rglob("*"), *elsewhere.iterdir())}
    assert left == {*mine, folder / "__pycache__", folder / f"k_{'5' * 24}.py"}


def test_clear_leaves_an_empty_folder(tgs: Tgs, folder: Path) -> None:
    """Said with the sum; a symbolic link goes, its target stays."""
    if os.name != "nt":
        (folder.parent / "target").write_text("mine", encoding="utf-8")
        (folder / f"k_{'6' * 24}.json").symlink_to(folder.parent / "target")
        (folder / f"k_{'7' * 24}.json").symlink_to(folder.parent / "nowhere")
    code, out, err = tgs("--clear")
    assert (code, err) == (0, "")
    assert out.startswith("3 kernels removed, 2.0 MB, from ")
    assert not list(folder.iterdir())
    assert (folder.parent / "target").exists() or os.name == "nt"


def test_show_or_remove_not_both(tgs: Tgs, folder: Path) -> None:
    """A mistake on the command line removes nothing."""
    assert tgs("--clear", "--source", "silu")[0] == 2
    assert len(list(folder.glob("*.py"))) == 3


def test_a_user_without_a_home_is_told_what_to_do(tgs: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the form of every error."""

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(kernel_cache, "folder_name", homeless)
    assert tgs() == (
        2,
        "",
        "kernels: no folder, for the user has no home.\n  TINYGRAD_SEQ_CACHE names the folder.\n",
    )


@pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed")
def test_what_was_really_built_is_listed_without_numba(tmp_path: Path) -> None:
    """From a process that builds to one that lists, which imports neither numba nor a picture of it."""
    build = (
        "import numpy as np, tinygrad_seq as tgs; from tinygrad_seq import functional as F\n"
        "x = tgs.tensor(np.ones((2, 3), 'f4'), requires_grad=True)\n"
        "tgs.fused(F.softmax)(x).sum().backward()"
    )
    listing = (
        "import sys; from tinygrad_seq.cli import main\n"
        "main(['kernels', '--json']); print(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "TINYGRAD_SEQ_CACHE": str(tmp_path / "k"), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", build], env=environment, check=True, timeout=120, capture_output=True
    )
    done = subprocess.run(
        [sys.executable, "-c", listing],
        env=environment,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    kernels = json.loads(done.stdout)["kernels"]
    assert {(one["name"], one["pass"]) for one in kernels} == {
        ("softmax", "forward"),
        ("softmax", "backward"),
    }
    assert all(one["seconds"] > 0 and one["bytes"] > 5000 for one in kernels)
    assert not {"numba", "llvmlite", "rich"} & set(done.stderr.split())
