"""Where things stand: equal steps look equal, windows of truncation are boxes, labels do not lie on each other."""

from __future__ import annotations

import re
from importlib.util import find_spec
from shutil import which

import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.viz import Picture, draw

needs_layout = pytest.mark.skipif(
    find_spec("pygraphviz") is None and which("dot") is None, reason="needs the extra [graph], or Graphviz"
)
NODE = re.compile(
    r'<g id="[^"]*" class="node">\s*<title>(n[\w]+)</title>(.*?)</g>\s*(?=<g|<!--|</g>)', re.DOTALL
)


def places(drawn: Picture) -> dict[str, tuple[float, float]]:
    """Where each node's first text stands, (down, across), by its name in the DOT text."""
    found = {}
    for name, body in NODE.findall(drawn.svg()):
        text = re.search(r'<text [^>]*x="(-?[\d.]+)" y="(-?[\d.]+)"', body)
        if text:
            found[name] = float(text[2]), float(text[1])
    return found


def rows(drawn: Picture) -> dict[int, list[list[str]]]:
    """By time step, the kinds of its ops: level by level downwards, each from left to right."""
    at = places(drawn)
    steps: dict[int, dict[float, list[tuple[float, str]]]] = {}
    for n in drawn.folded.nodes:
        if n.t is not None and not n.is_leaf:
            down, right = at[f"n{n.id}"]
            steps.setdefault(n.t, {}).setdefault(round(down), []).append((right, n.op))
    return {
        t: [[op for _, op in sorted(row)] for _, row in sorted(found.items())] for t, found in steps.items()
    }


@needs_layout
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("composed", [True, False])
def test_equal_steps_stand_alike(kind: type[nn.Module], composed: bool) -> None:
    """Five steps, none turned round: the state goes in on the left, in the first step as well."""
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        drawn = draw(kind(3, 4), tgs.randn(5, 2, 3), view="unrolled", level="op")
    found = rows(drawn)
    assert len(found) == 5
    assert found[1] == found[2] == found[3]
    assert all(
        row[0] == "matmul" for step in found.values() for row in step if {"matmul", "slice"} <= set(row)
    )
    assert any({"matmul", "slice"} <= set(row) for row in found[2])


def truncated(steps: int, k: int) -> Picture:
    """An RNN cell over so many steps, cut before every k-th."""
    cell, h, loss = nn.RNNCell(3, 4), tgs.zeros(2, 4), tgs.zeros(())
    for t in range(steps):
        with tgs.time_step(t):
            h = cell(tgs.randn(2, 3), tgs.cut(h) if t and t % k == 0 else h)
        loss = loss + (h * h).sum()
    return draw(loss, level="cell")


def windows(drawn: Picture) -> list[str]:
    """The names of the boxes around windows."""
    return re.findall(r"label=<(window: [^>]*)>", drawn.dot)


@pytest.mark.parametrize(("steps", "k"), [(12, 4), (64, 16), (10, 4), (7, 5)])
def test_each_window_of_truncation_has_a_box(steps: int, k: int) -> None:
    """From cut to cut, named by its steps; the last may be shorter."""
    starts = range(0, steps, k)
    expected = [(start, min(start + k, steps) - 1) for start in starts]
    named = [f"window: t = {a} … {b}" if b > a else f"window: t = {a}" for a, b in expected]
    assert windows(truncated(steps, k)) == named


def test_without_a_cut_there_are_no_windows() -> None:
    """Nor around steps that are cut one by one, nor where the whole loop is one window."""
    assert windows(truncated(8, 8)) == []
    assert windows(truncated(6, 1)) == []
    assert windows(draw(nn.LSTM(3, 4), tgs.randn(6, 2, 3))) == []


def test_lines_that_lie_on_each_other_share_a_label() -> None:
    """h and C into a box of many steps: one label, where two lay on each other."""
    drawn = draw(nn.LSTM(3, 4), tgs.randn(64, 2, 3))
    labels = re.findall(r"xlabel=<<i>([^<]*)</i>>", drawn.dot)
    assert "h, C" in labels
    between = re.findall(r"^\s*(n\d+ -> n\d+) \[.*xlabel=<<i>", drawn.dot, re.MULTILINE)
    assert len(between) == len(set(between))
