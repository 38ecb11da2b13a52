"""The picture that stands in a run's folder: whatever goes wrong with it, the training goes on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tinygrad_seq.cli import main, save_graph
from tinygrad_seq.viz.render import graphviz


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A small text file."""
    path = tmp_path / "a.txt"
    path.write_text('the "cat" (sat) on 12 mats. ' * 60, encoding="utf-8")
    return path


def trained(text: Path, out: Path) -> int:
    """The exit code of a short training run."""
    settings = ["--hidden", "6", "--batch", "3", "--window", "5", "--steps", "2", "--sample-every", "0"]
    return main(["train", str(text), "-o", str(out), *settings])


@pytest.mark.parametrize("error", [RuntimeError("boom"), OSError(28, "No space left"), RecursionError()])
def test_a_failing_picture_costs_no_run(
    text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """One line says why, and the run is done and saved."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("tinygrad_seq.viz.draw", fail)
    assert trained(text, text.parent / "run") == 0
    assert "no graph was drawn: " in capsys.readouterr().out
    assert (text.parent / "run" / "last.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a script as a program")
@pytest.mark.parametrize("script", ["sleep 30", "kill -SEGV $$"])
def test_a_dot_that_hangs_or_crashes_costs_no_run(
    text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    """It ends in time, graph.dot is there, the message says what to install, the run is whole."""
    (text.parent / "dot").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (text.parent / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{text.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(graphviz, "find_spec", lambda name: None)
    monkeypatch.setattr(save_graph, "_SECONDS", 0.5)
    begun = time.monotonic()
    assert trained(text, text.parent / "run") == 0
    assert time.monotonic() - begun < 20
    assert "nothing here could draw it" in capsys.readouterr().out
    assert (text.parent / "run" / "graph.dot").read_text(encoding="utf-8").startswith("digraph")
    assert (text.parent / "run" / "last.safetensors").exists()
