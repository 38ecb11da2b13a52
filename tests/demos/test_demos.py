"""The demos run small, each must reach its stated figure, and each says so when it does not."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"

SMALL = {
    "adding_problem": "--length 10 --hidden 32 --steps 600 --reach 0.05",
    "copy_memory": "--blanks 1 --hidden 64 --steps 300 --lr 2e-2 --reach 0.95",
    "digits_rows": "--epochs 15 --hidden 64 --reach 0.8",
    "hangul_jamo": "--share 0.05 --hidden 64 --batch 32 --steps 200 --words 200 --reach 0.4",
    "time_series": "--length 800 --hidden 24 --steps 150 --reach 0.25",
    "shakespeare": "--steps 60 --hidden 48 --batch 16 --window 32 --samples 1 --reach 3.3",
    "char_lstm": "--steps 100 --hidden 48 --reach 3.6",
    "fused_unit": "--repeats 3",
    "gradient_through_time": "--steps 12",
    "linear_rnn": "--steps 500",
    "vanishing": "--size 16 --steps 20 --long 60",
}
NEVER = {
    "adding_problem": ("--length 6 --hidden 4 --steps 2 --reach 0", "the error is "),
    "copy_memory": ("--blanks 1 --hidden 4 --steps 2 --reach 0", "the loss is "),
    "digits_rows": ("--epochs 1 --hidden 4 --reach 1.01", "of the held-out images are right"),
    "hangul_jamo": (
        "--share 0.05 --hidden 4 --steps 2 --words 100 --reach 1.01",
        "of the words are spelt right",
    ),
    "time_series": ("--length 700 --hidden 4 --steps 2 --reach 0", "NRMSE at one step"),
    "shakespeare": (
        "--steps 2 --hidden 4 --batch 4 --window 8 --samples 1 --reach 0",
        "the held-out part is ",
    ),
    "char_lstm": ("--steps 2 --hidden 4 --reach 0", "the loss is "),
}
EXTRAS = {"digits_rows": pytest.mark.extra("sklearn")}


def named(table):
    """The names of a table of demos, marked where one wants a package that is not the project's."""
    return [pytest.param(name, marks=EXTRAS.get(name, ())) for name in table]


def load(name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_demo_is_run_here():
    """A new demo must be given a small size; the one that draws is run with the pictures."""
    assert {path.stem for path in DEMOS.glob("*.py")} - {"draw_everything"} == set(SMALL)


@pytest.mark.parametrize("name", named(SMALL))
def test_small(name, capsys):
    """At a small size it reaches what is asked of it."""
    load(name).main(SMALL[name].split())
    told = capsys.readouterr()
    assert told.out.strip()
    assert "\x1b" not in told.out


@pytest.mark.parametrize("name", named(NEVER))
def test_what_is_not_reached_is_said_in_one_sentence(name, capsys):
    """With a threshold that nothing reaches it ends with exit code 1 and one line."""
    arguments, said = NEVER[name]
    with pytest.raises(SystemExit) as ended:
        load(name).main(arguments.split())
    assert said in ended.value.code  # a text as the code is printed, and the shell gets 1
    assert "\n" not in ended.value.code


@pytest.mark.parametrize("name", named(SMALL))
def test_docstring(name):
    """It says what is learnt and how it is called, with commands that are its own."""
    told = load(name).__doc__
    calls = re.findall(r"python demos/(\w+)\.py", told)
    assert calls
    assert set(calls) == {name}
    assert len(told.splitlines()) >= 4


def test_sizes_that_cannot_be(capsys):
    """Too short a series to test on is said before anything is trained."""
    with pytest.raises(SystemExit) as ended:
        load("time_series").main(["--length", "400"])
    assert ended.value.code == 2
    assert "a length of 680 at least" in capsys.readouterr().err
