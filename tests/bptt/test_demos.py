"""The two demos run small; what they assert about themselves is part of them."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"


def load(name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_linear_rnn(capsys):
    """The three gradients stand side by side; resilient propagation gets from (-1.5, 2) to (1, 1)."""
    load("linear_rnn").main([])
    told = capsys.readouterr().out
    rows = re.findall(r"^  (wx|wRec) +([-\d.]+) +([-\d.]+) +([-\d.]+)$", told, re.MULTILINE)
    assert [row[0] for row in rows] == ["wx", "wRec"]
    for _, hand, tape, steps in rows:
        assert hand == tape
        assert float(hand) == pytest.approx(float(steps), rel=1e-6)
    assert "the answer is (1, 1)" in told


def test_the_hand_written_loop_reads_the_state_before():
    """With S_k in place of S_(k-1) the slope would be another: the index of the notes' code is right."""
    demo = load("linear_rnn")
    x, target = demo.data()
    assert x.shape == (100, 10)
    assert demo.states_by_hand(x, 1.2, 1.2).shape == (100, 11)
    _, slope, over_time = demo.gradient_by_hand(x, target, 1.2, 1.2)
    s = demo.states_by_hand(x, 1.2, 1.2)
    np.testing.assert_allclose(slope, (over_time[:, 1:] * s[:, :-1]).mean(0).sum(), rtol=1e-12)
    assert abs((over_time[:, 1:] * s[:, 1:]).mean(0).sum() / slope - 1) > 0.1
    np.testing.assert_allclose(demo.slopes(x, target, 1.2, 1.2)[1], slope, rtol=1e-12)
    np.testing.assert_array_equal(demo.slopes(x, target, 1.0, 1.0), [0.0, 0.0])


def test_vanishing(capsys):
    """All rows within the bounds of theory; both that the rule of thumb holds and that it does not are found."""
    load("vanishing").main(["--size", "16", "--steps", "20", "--long", "60"])
    told = capsys.readouterr().out
    rows = re.findall(r"^  (.+?) +(\d+\.\d{3}) +(\d+\.\d{3}) ", told, re.MULTILINE)
    assert len(rows) == 14
    for name, bound, rate in rows:
        assert float(rate) <= float(bound) + 1e-3, name
    assert told.count("DOES NOT HOLD") >= 4
    assert re.search(r" holds$", told, re.MULTILINE)


@pytest.mark.parametrize("size", ["1", "2", "8", "12"])
@pytest.mark.parametrize("steps", ["1", "3", "12"])
def test_vanishing_says_nothing_false_at_any_size(size, steps, capsys):
    """What it asserts holds at small sizes too; where chance decides, it says so instead."""
    load("vanishing").main(["--size", size, "--steps", steps, "--long", steps])
    assert "chance has a large part" in capsys.readouterr().out


def test_vanishing_asserts_at_the_sizes_it_states(capsys):
    """8 units, 12 steps and 40 for the gated cells are enough."""
    load("vanishing").main(["--size", "8", "--steps", "12", "--long", "40"])
    told = capsys.readouterr().out
    assert "chance has a large part" not in told
    rows = re.findall(
        r"^  (ReLU, .*?|tanh, orth.*?)  +\d.* (is carried|explodes|vanishes) ", told, re.MULTILINE
    )
    assert rows == [
        ("tanh, orthogonal, small inputs", "is carried"),
        ("ReLU, identity, no inputs", "is carried"),
        ("ReLU, all positive, radius 1.5", "explodes"),
        ("ReLU, all positive, radius 0.5", "vanishes"),
    ]
