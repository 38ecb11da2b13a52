"""Letters and names in pictures, `level="lesson"`, values, dark screens, and what is refused or said in a line."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import cli, nn
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import GraphError, RenderError
from tinygrad_seq.runtime.weakrefs import Memory
from tinygrad_seq.viz import Graph, Picture, draw
from tinygrad_seq.viz.render.dark import with_dark

needs_pygraphviz = pytest.mark.skipif(find_spec("pygraphviz") is None, reason="needs the extra [graph]")
F_T, I_T, C_NEW, O_T = "f_t", "i_t", "C\u0303_t", "o_t"


def words(drawn: Picture, t: int = 1) -> list[tuple[str, str]]:
    """Label and op of all ops in a step."""
    return [(n.label, n.op) for n in drawn.folded.nodes if n.t == t and not n.is_leaf]


# ---------------------------------------------------------------- the notes' letters


@pytest.mark.parametrize("composed", [True, False])
def test_a_lesson_is_the_diagram_of_the_notes(composed: bool) -> None:
    """An LSTM in the letters of its formulas, each gate one box, and nothing that only moves numbers."""
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        drawn = draw(nn.LSTM(3, 4), tgs.randn(3, 2, 3), level="lesson")
    assert words(drawn) == [
        ("", "matmul"), ("", "add"), (F_T, "sigmoid"), ("", "mul"), (I_T, "sigmoid"), (C_NEW, "tanh"), ("", "mul"),
        ("C_t", "add"), (O_T, "sigmoid"), ("", "tanh"), ("h_t", "mul"),
    ]  # fmt: skip
    assert not {"slice", "permute", "reshape", "concat"} & {n.op for n in drawn.folded.nodes}
    states = sorted((e.label, e.kind) for e in drawn.folded.edges if e.kind == "state")
    assert states == [("C", "state")] * 2 + [("h", "state")] * 2
    assert "\u251c\u2500 f_t = sigmoid" in drawn.text
    order = [re.findall(r"n\d+", row) for row in re.findall(r"rank=same; (n\d+ -> .*?) \[", drawn.dot)]
    by_name = {f"n{n.id}": n.label for n in drawn.folded.nodes}
    gates = [[by_name[n] for n in row] for row in order if by_name.get(row[0])]
    assert gates == [[F_T, I_T, C_NEW, O_T]] * 3


@pytest.mark.parametrize(
    ("how", "marked"), [({}, 3), ({"bidirectional": True}, 6), ({"batch_first": True}, 2)]
)
@pytest.mark.parametrize("view", ["auto", "rolled"])
def test_a_lesson_ends_in_what_its_result_is_made_of(how: dict[str, Any], marked: int, view: str) -> None:
    """Each h_t of the last layer is marked, no concat or reshape of them drawn; every op is still in one box."""
    out = nn.GRU(3, 4, 2, **how)(tgs.randn(3, 2, 3))[0]
    drawn = draw(out, level="lesson", view=view)
    ends = [n for n in drawn.folded.nodes if n.result]
    assert [n.label for n in ends] == ["h_t"] * (marked if view == "auto" else 1 + ("bidirectional" in how))
    assert {n.result for n in ends} == {"result"}
    assert set(drawn.folded.outputs) >= {n.id for n in ends}
    read = {e.src for e in drawn.folded.edges}
    assert not [n.op for n in drawn.folded.nodes if n.id not in read and not n.result and not n.is_leaf]
    counted, whole = (draw(out, level=level, expand="gru_gates").folded for level in ("lesson", "op"))
    assert (counted.ops(), counted.totals) == (whole.ops(), whole.totals)
    folded = draw(nn.LSTM(3, 4), tgs.randn(20, 2, 3), level="lesson").folded
    assert [n.result for n in folded.nodes if n.result] == ["result", "result", "17 results", "result"]
    assert [n.op for n in draw(out[-1], level="lesson").folded.nodes if n.result] == [
        "slice"
    ]  # of three, one
    out.name = "out"
    assert [n.label for n in draw(out, level="lesson").folded.nodes if n.result] == ["out"]
    w = Tensor(np.ones((2, 3)), requires_grad=True, name="w")
    assert draw(w.T.reshape(6), level="lesson").folded.nodes[-1].result == "result"
    later = draw(tgs.concat([w, w * 2.0]).tanh(), w * 2.0, level="lesson").folded
    assert [n.op for n in later.nodes if not n.is_leaf] == ["mul", "concat", "tanh", "mul"]


@pytest.mark.parametrize("composed", [True, False])
def test_gru_rnn_and_attention_have_their_letters(composed: bool) -> None:
    """r, z, h~ and h of a GRU with either reset, h of an RNN, q, k, v of attention."""
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        for settings in ({}, {"reset_after": False}):
            found = words(draw(nn.GRU(3, 4, **settings), tgs.randn(3, 2, 3), level="lesson"))
            assert [label for label, _ in found if label] == ["r_t", "z_t", "h\u0303_t", "h_t"]
        for kind in ("tanh", "relu", "identity"):
            found = words(draw(nn.RNN(3, 4, nonlinearity=kind), tgs.randn(3, 2, 3)))
            assert [label for label, _ in found if label] == ["h_t"], kind
        drawn = draw(nn.MultiheadAttention(4, 2), *[tgs.randn(3, 2, 4)] * 3, level="lesson")
    assert {"q", "k", "v"} <= {n.label for n in drawn.folded.nodes}


def test_a_function_is_one_box_unless_it_is_expanded() -> None:
    """Sigmoid and softmax of `composed()`; every op is still listed, and JSON keeps them."""
    w = Tensor(np.ones((2, 3)), requires_grad=True, name="w")
    with tgs.composed():
        y = tgs.functional.softmax(tgs.functional.sigmoid(w) * 2.0)
    drawn = draw(y)
    assert [n.op for n in drawn.folded.nodes if not n.is_leaf] == ["sigmoid", "mul", "softmax"]
    assert drawn.folded.ops() == drawn.graph.ops() == tgs.Tape.of(y).ops()
    opened = [n.op for n in draw(y, expand="softmax").folded.nodes if not n.is_leaf]
    assert opened[:2] == ["sigmoid", "mul"]
    assert {"exp", "sum", "div"} <= set(opened)
    assert draw(Graph.from_json(drawn.graph.to_json())).dot == drawn.dot


def test_the_backward_pass_ends_in_gradients_of_letters() -> None:
    """dL / dW_h where the uses of a weight have met; what was kept is h of its step."""
    drawn = draw(nn.RNN(3, 4)(tgs.randn(4, 2, 3))[0].sum(), which="backward")
    labels = {n.label for n in drawn.folded.nodes}
    assert {"\u2202L/\u2202W_h", "\u2202L/\u2202W_x", "h_0", "h_3"} <= labels
    assert not any("rnn_tanh" in label for label in labels)


def test_names_of_the_user_come_first() -> None:
    """`h.name`, and `names=locals()` with its lists; equal steps stay equal."""
    w, h, states = Tensor(np.eye(3), requires_grad=True), Tensor(np.ones((2, 3)), name="start"), []
    for t in range(9):
        with tgs.time_step(t):
            h = (h @ w).tanh()
            h.name = "state"
            states.append(h)
    loss = (h * h).sum()
    drawn = draw(loss, names={"w": w, "loss": loss, "n": 3})
    assert [n.label for n in drawn.folded.nodes if n.label in ("w", "loss", "start")] == [
        "start",
        "w",
        "loss",
    ]
    assert ("state", "tanh") in words(drawn)
    assert "t = 2 \u2026 7 (\u00d76)" in drawn.dot
    assert "states[8]" in {n.label for n in draw(loss, names={"states": states}).graph.nodes}
    assert {n.label for n in draw(loss, names=locals()).graph.nodes} >= {"w", "h", "loss"}
    evil = draw(loss, names={'<b>"]; }': loss})
    assert "&lt;b&gt;" in evil.dot
    assert draw(loss, view="rolled").folded.nodes


def test_a_lesson_and_rolled_gates_stay_in_one_cell() -> None:
    """All ops of a rolled step stand in its one box, at every level."""
    with tgs.composed():
        y = nn.LSTM(3, 4)(tgs.randn(8, 2, 3))[0].sum()
    for level in ("gate", "op", "cell", "lesson"):
        drawn = draw(y, view="rolled", level=level)
        assert re.findall(r"label=<t = (.*?)>", drawn.dot) == ["0 \u2026 7 (\u00d78)"], level


# ---------------------------------------------------------------- values


def test_values_and_gradients_stand_in_the_boxes() -> None:
    """Up to eight numbers of each, run again for what nobody kept, also after backward()."""
    x, w = Tensor([[1.0, 2.0]], name="x"), Tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True, name="w")
    h = x @ w
    loss = (h * h * 0.5).sum()
    for _ in range(2):
        drawn = draw(loss, values=True)
        numbers = {n.label or n.op: n.numbers for n in drawn.graph.nodes}
        assert numbers["matmul"] == ((4.5, 5.0), (4.5, 5.0))
        assert numbers["w"] == ((0.5, -1.0, 2.0, 3.0), (4.5, 5.0, 9.0, 10.0))
        assert numbers["x"] == ((1.0, 2.0),)
        assert numbers["sum"] == ((22.625,), (1.0,))
        assert "g = 4.5, 5<" in drawn.dot
        assert "= 0.5, \u22121, 2, 3<" in drawn.dot
        assert Graph.from_json(drawn.graph.to_json()) == drawn.graph
        if w.grad is None:
            loss.backward()
    kept = draw((w[0] * Tensor(np.full(2, 3.0))).sum(), values=True)  # what a rule keeps is not gone
    assert next(n.numbers for n in kept.graph.nodes if n.op == "input") == ((3.0, 3.0),)
    assert kept.folded.note == ""
    numbers_of = Tensor(np.arange(20.0), requires_grad=True, name="long")
    long = draw(numbers_of * 2.0, values=True)
    assert "= 0, 2, 4, 6<" in long.dot
    assert ">8, 10, 12, 14, ...<" in long.dot


def test_norms_after_backward_are_those_of_before() -> None:
    """Run again on the same leaves; where one is gone or was changed, that is said."""
    x, w = Tensor(np.ones((2, 3)), name="x"), Tensor(np.eye(3) * 0.5, requires_grad=True, name="w")
    loss = ((x @ w).tanh() @ w).sum()
    before = [n.grad for n in draw(loss, color="grad").graph.nodes]
    loss.backward()
    assert [n.grad for n in draw(loss, color="grad").graph.nodes] == before
    assert [n.op for n in draw(loss, which="backward").graph.nodes]
    w.detach()[0] = 1.0
    with pytest.raises(GraphError) as caught:
        draw(loss, color="grad")
    assert str(caught.value) == (
        "draw: the graph cannot be run again, for w was changed since.\n"
        "  Draw before backward(), or call backward(retain_graph=True)."
    )
    n = Memory.KEPT // 8 + 1  # smaller ones are kept
    gone = (Tensor(np.arange(1.0, n + 1.0)) * w.sum().exp()).sum()
    gone.backward()
    with pytest.raises(GraphError, match=f"an input of shape \\({n},\\) is gone"):
        draw(gone, color="grad")


def test_values_that_cannot_be_had_are_said_to_be_missing() -> None:
    """Data that is gone cannot be run again: what is left is shown."""
    w, n = Tensor(np.ones(3), requires_grad=True, name="w"), Memory.KEPT // 8 + 1
    drawn = draw((w.sum() + Tensor(np.arange(1.0, n + 1.0))).log() * 2.0, values=True)
    assert drawn.folded.note == (
        f"the graph cannot be run again, for an input of shape ({n},) is gone: some values are missing"
    )
    assert next(n for n in drawn.graph.nodes if n.label == "w").numbers[0] == (1.0, 1.0, 1.0)
    small = draw((w + Tensor(np.ones(3))).exp() * 2.0, values=True)
    assert small.folded.note == ""
    assert [n.numbers[0] for n in small.graph.nodes if n.op == "add"] == [(2.0, 2.0, 2.0)]


def test_the_way_around_a_block_is_a_line() -> None:
    """Data that is read in two shapes is one leaf, so that the residual line can be seen."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 1)
    drawn = draw(encoder, tgs.randn(5, 2, 8), level="cell")
    (leaf,) = [n for n in drawn.folded.nodes if n.op == "input"]
    assert leaf.shape == (5, 2, 8)
    assert len({e.dst for e in drawn.folded.edges if e.src == leaf.id}) == 2
    x, w = Tensor(np.ones((2, 3))), Tensor(np.ones((3, 3)), requires_grad=True)
    parts = draw(x[:1] @ w + x[1:] @ w)
    assert len([n for n in parts.graph.nodes if n.op == "input"]) == 2


# ---------------------------------------------------------------- screens, sizes, words


@needs_pygraphviz
def test_dark_screens_have_colors_of_their_own() -> None:
    """The sheet names what is there, leaves the colours of norms alone, and reaches nothing outside the picture."""
    w = Tensor(np.ones((2, 2)), requires_grad=True, name="w")
    plain, colored = draw((w @ w).sum()).svg(), draw((w @ w).sum(), color="grad").svg()
    sheet = re.search(r"<style>(.*?)</style>", plain, re.DOTALL)
    assert sheet is not None
    rules = sheet[1].splitlines()
    assert rules[0] == "@media (prefers-color-scheme: dark) {"
    assert all(rule.startswith(".tgs-picture ") for rule in rules[1:-1])
    assert '[fill="#e3f1dc"]' in sheet[1]
    assert 'class="node norm"' in colored
    assert plain.count("<style>") == colored.count("<style>") == 1
    assert with_dark("<svg a='1'/>") == "<svg a='1'/>"


def test_what_has_no_gradient_says_so() -> None:
    """One line under the picture, not an empty one."""
    said = "no op was recorded: nothing here wants a gradient (requires_grad=True), or no_grad() was on"
    assert draw(tgs.ones(3).exp().sum()).text.splitlines()[-1] == said
    with tgs.no_grad():
        y = nn.Linear(3, 2)(tgs.randn(1, 3))
    assert said in draw(y).dot
    assert draw(Tensor([1.0], requires_grad=True)).folded.note == ""


def test_no_piece_of_a_line_begins_with_a_space_that_svg_leaves_out() -> None:
    """Where letters stand below the line, a line is several pieces, each put where the one before should end."""
    layer = tgs.LSTM(2, 3)
    out, _ = layer(tgs.randn(7, 1, 2))
    w = Tensor([1.0], requires_grad=True)
    cut = draw((w * (w * 2.0).detach()).sum(), which="both")
    for drawn in (draw(out), draw(out, level="lesson"), draw(out, view="rolled"), cut):
        try:
            svg = drawn.svg()
        except RenderError:
            pytest.skip("nothing here lays graphs out")
        pieces = re.findall(r"<text[^>]*>(?:<tspan[^>]*>)?([^<]+)", svg)
        assert pieces
        assert not [piece for piece in pieces if piece.startswith(" ")]


def test_too_large_a_picture_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither folded nor laid out, nor written in another form instead."""
    w, h = Tensor(np.eye(2), requires_grad=True), Tensor(np.ones((1, 2)))
    for t in range(4001):
        with tgs.time_step(t):
            h = h @ w
    drawn = draw(h, view="unrolled", level="op")
    monkeypatch.setattr("tinygrad_seq.viz.picture.folded", None)  # what is not called cannot fail
    with pytest.raises(RenderError, match=r"^picture: 4001 nodes are more than"):
        drawn.svg()


def test_the_command_refuses_before_the_model_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there must be a node for each step."""
    monkeypatch.setattr("tinygrad_seq.cli.graph._loss", None)
    code = cli.main(
        ["graph", "lstm", "--steps", "5000", "--view", "unrolled", "--level", "op", "-o", "x.svg"]
    )
    assert (code, capsys.readouterr().err) == (
        2,
        "tgs graph: 5,000 steps, each by itself, are too many to draw.\n"
        "  expected at most 4,000 over all layers.\n"
        "  Leave out --view unrolled: equal steps are one box then.\n",
    )
