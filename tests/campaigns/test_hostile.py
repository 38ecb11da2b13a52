"""Short forms of two campaigns: runs that are killed and gone on with, and hostile names on a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_seq as tgs

HERE = Path(__file__).parent


def run(program: str, *arguments: str) -> str:
    """What a campaign says; it must end well."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(tgs.__file__).parents[1]),
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / program), *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks")
def test_killed_runs_go_on_as_if_nothing_had_been() -> None:
    """Ten kills at writes and at any time, of an LSTM and a GPT with dropout."""
    said = run(
        "kill_and_resume.py",
        "--kills",
        "10",
        "--settings",
        "lstm, dropout",
        "--settings",
        "transformer, dropout",
    )
    assert "all equal to runs that nobody killed" in said


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_nothing_hostile_reaches_a_terminal() -> None:
    """Every command once or twice, most of them badly."""
    assert "on a pseudo-terminal, 0 let something through" in run("terminal_sweep.py")
