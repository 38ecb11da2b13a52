# ruff: noqa: RUF001
"""Laws of folding: nothing is lost, equal steps are one box, and a cut always ends a run."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz import Graph, Picture, draw
from tinygrad_seq.viz.fold.fold import LEVELS, VIEWS
from tinygrad_seq.viz.graph.model import STEPS

SCOPES = ("a", "b", "layers.0", "layers.1")


@st.composite
def programs(data: st.DrawFn) -> tuple[Tensor, ...]:
    """What a random program returns: scopes, loops in any order, cuts, shared weights, several outputs."""
    rng = np.random.default_rng(data(st.integers(0, 99)))
    w = [Tensor(rng.uniform(0.5, 1.0, (2, 2)), requires_grad=True, name=f"w{i}") for i in range(2)]
    values = [Tensor(rng.uniform(0.5, 1.0, (2, 2)), name="x"), w[0] + 0.0]

    def op() -> None:
        kind = data(st.sampled_from(["tanh", "matmul", "add", "cut", "slice", "fused", "data", "turned"]))
        x, y = values[-1], values[data(st.integers(0, len(values) - 1))]
        made = {
            "tanh": lambda: x.tanh(),
            "matmul": lambda: x @ w[data(st.integers(0, 1))],
            "add": lambda: x + y,
            "cut": lambda: tgs.cut(x),
            "slice": lambda: x[:, ::-1] * 0.5,
            "fused": lambda: tgs.functional.silu(x),
            "data": lambda: x + np.ones((2, 2)),
            "turned": lambda: x @ w[0].T,
        }[kind]()
        values.append(made)

    for _ in range(data(st.integers(1, 3))):
        steps = data(st.sampled_from([(None,), tuple(range(4)), tuple(range(9)), (3, 2, 1, 0)]))
        body = data(st.integers(1, 3))
        names = data(st.lists(st.sampled_from(SCOPES), max_size=2))
        for t in steps:
            with tgs.engine.node.At(tgs.engine.node.Place("/".join(names), t)):
                for _ in range(body):
                    op()
    chosen = data(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=2, unique=True))
    return tuple(values[i] for i in {*chosen, len(values) - 1})


@settings(max_examples=40)
@given(programs(), st.sampled_from(LEVELS), st.sampled_from(VIEWS), st.sampled_from(["", "a", "*t1", "silu"]))
def test_folding_then_unfolding_keeps_every_op(
    outputs: tuple[Tensor, ...], level: str, view: str, named: str
) -> None:
    """Each op of the tape is in exactly one box, the counts and sums are those of the tape, JSON is the same."""
    tape = Tape.of(*outputs)
    drawn = draw(*outputs, level=level, view=view, collapse=named)
    folded = drawn.folded
    assert folded.ops() == drawn.graph.ops() == tape.ops()
    assert folded.totals == drawn.graph.totals
    ops = {n.id: n.op for n in drawn.graph.nodes if not n.is_leaf}
    inside = [m for n in folded.nodes for m in (n.members or (() if n.is_leaf else (n.id,)))]
    assert sorted(i for i in inside if i in ops) == sorted(ops)
    assert Counter(ops.values()) == tape.ops()
    known = folded.by_id()
    assert all(e.src in known and e.dst in known for e in folded.edges)
    assert len(known) == len(folded.nodes)
    assert Graph.from_json(folded.to_json()) == folded
    assert Graph.from_json(drawn.graph.to_json()) == drawn.graph
    assert "digraph" in drawn.dot
    assert drawn.text


@settings(max_examples=20)
@given(programs(), st.sampled_from(LEVELS))
def test_opened_ops_keep_the_rest(outputs: tuple[Tensor, ...], level: str) -> None:
    """Fused ops that are taken apart cost what they did, and every other op is still there."""
    drawn = draw(*outputs, level=level, expand="silu")
    before, after = drawn.graph.ops(), drawn.folded.ops()
    if drawn.graph.recipes:
        assert after["silu"] == 0
    assert drawn.folded.totals.flops == drawn.graph.totals.flops
    for op in ("matmul", "cut"):
        assert before[op] == after[op]


def steps_of(drawn: Picture) -> list[str]:
    """The boxes of time, in order."""
    return re.findall(r"label=<t = (.*?)>", drawn.dot)


def rnn(steps: int, cuts: tuple[int, ...] = ()) -> Tensor:
    """A plain recurrence, cut before some of its steps."""
    w = Tensor(np.eye(3, dtype=np.float32), requires_grad=True, name="w")
    h = Tensor(np.ones((2, 3), np.float32), requires_grad=True, name="h0")
    with tgs.scope("rnn"):
        for t in range(steps):
            with tgs.time_step(t):
                h = ((tgs.cut(h) if t in cuts else h) @ w).tanh()
    return h


def test_equal_steps_are_one_box() -> None:
    """All but the first two and the last; up to six steps are all shown."""
    assert steps_of(draw(rnn(32))) == ["0", "1", "2 … 30 (×29)", "31"]
    assert steps_of(draw(rnn(6))) == list("012345")
    assert steps_of(draw(rnn(6), view="folded")) == ["0", "1", "2 … 4 (×3)", "5"]
    assert len(steps_of(draw(rnn(32), view="unrolled"))) == 32


def test_a_cut_ends_a_run() -> None:
    """The steps behind a cut are a run of their own, and the line under the picture says how far gradients reach."""
    drawn = draw(rnn(32, (10, 20)))
    assert steps_of(drawn) == ["0", "1", "2 … 9 (×8)", "10", "11 … 19 (×9)", "20", "21 … 30 (×10)", "31"]
    assert drawn.folded.note == "gradient reaches at most 12 steps back; 2 cuts"
    assert draw(rnn(32)).folded.note == "gradient reaches back through all 32 steps; no cuts"
    assert draw(Tensor([1.0], requires_grad=True).exp()).folded.note == ""


def test_a_step_that_is_different_ends_a_run() -> None:
    """One more op, another setting, another shape or another weight."""
    w = [Tensor(np.eye(3), requires_grad=True, name="w") for _ in range(2)]

    def steps(change: str) -> list[str]:
        h = Tensor(np.ones((2, 3)), requires_grad=True)
        for t in range(9):
            with tgs.time_step(t):
                odd = t == 5
                h = (h @ w[odd and change == "weight"]) * (0.5 if odd and change == "setting" else 0.25)
                h = h.tanh() if odd and change == "op" else h
        return steps_of(draw(h))

    assert steps("op") == ["0", "1", "2 … 4 (×3)", "5", "6", "7", "8"]  # 6 reads another op of 5
    for change in ("weight", "setting"):
        assert steps(change) == ["0", "1", "2 … 4 (×3)", "5", "6 … 7 (×2)", "8"], change
    assert steps("") == ["0", "1", "2 … 7 (×6)", "8"]


@pytest.mark.parametrize(("k", "steps"), [(16, 64), (10, 64), (5, 5), (7, 23), (1, 4)])
@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_truncation_has_its_cuts(cell: type[nn.Module], k: int, steps: int) -> None:
    """TruncatedBPTT(k, k) over T steps: exactly ceil(T / k) - 1 cuts, and gradients reach at most k steps."""
    unit, losses = cell(3, 4), []

    def step(x: Tensor, state: object) -> tuple[Tensor, object]:
        state = unit(x, state)
        h = state[0] if isinstance(state, tuple) else state
        losses.append((h * h).sum())
        return losses[-1], state

    zero = tgs.ones(2, 4)
    tgs.bptt.TruncatedBPTT(k, k).run(
        step, tgs.randn(steps, 2, 3), (zero, zero) if cell is nn.LSTMCell else zero
    )
    drawn = draw(*losses)
    cuts = math.ceil(steps / k) - 1
    if k > 1:
        assert drawn.folded.note.endswith(f"; {cuts or 'no'} cut{'s' * (cuts != 1)}")
        assert drawn.folded.note.startswith("gradient reaches")
        expected = f"at most {k} steps" if cuts else f"through all {steps} steps"
        assert expected in drawn.folded.note
    starts = {n.t for n in drawn.graph.nodes} - {None}
    assert starts == set(range(steps))


def test_zeros_are_a_new_state_and_no_cut() -> None:
    """A sequence that begins anew is not drawn as one that is cut."""
    w = Tensor(np.eye(3, dtype=np.float32), requires_grad=True)
    h, ends = tgs.zeros(2, 3), []
    for t in range(6):
        with tgs.time_step(t):
            h = (h @ w).tanh()
            if t == 2:
                ends.append(h)
                h = tgs.zeros(2, 3)
    assert "no cuts" in draw(*ends, h).folded.note
    h, ends = tgs.ones(2, 3), []
    for t in range(6):
        with tgs.time_step(t):
            h = (h @ w).tanh()
            if t == 2:
                ends.append(h)
                h = h.detach()
    assert draw(*ends, h).folded.note == "gradient reaches at most 3 steps back; 1 cut"


def test_rolled_loops_have_a_way_back() -> None:
    """One cell stands for all steps, with its state marked t-1; slices by step say t."""
    with tgs.composed():
        drawn = draw(nn.LSTM(3, 4), tgs.randn(12, 2, 3), view="rolled", level="op")
    assert steps_of(drawn) == ["0 … 11 (×12)"]
    assert drawn.dot.count("t−1") == 2
    back = [e for e in drawn.folded.edges if e.back]
    assert sorted((e.kind, e.back, e.count) for e in back) == [("state", 1, 11)] * 2
    assert "slice</b>&#160;[t]" in drawn.dot


def test_levels_have_ever_fewer_nodes() -> None:
    """Op, gate, cell, model: an LSTM in two layers; gates are named by what they are."""
    lstm = nn.LSTM(3, 4, 2)
    with tgs.composed():
        y = lstm(tgs.randn(64, 2, 3))[0].sum()
    counts = [len(draw(y, level=level).folded.nodes) for level in LEVELS]
    assert counts == sorted(counts)
    assert len(draw(y).folded.nodes) <= 120 < counts[-1]
    gates = [(n.label, n.detail) for n in draw(y, level="gate").folded.nodes if n.t == 0 and n.op == "group"]
    assert gates[:4] == [
        ("i_t", "sigmoid [:, 0:4]"),
        ("f_t", "sigmoid [:, 4:8]"),
        ("C\u0303_t", "tanh [:, 8:12]"),
        ("o_t", "sigmoid [:, 12:16]"),
    ]
    assert [n.label for n in draw(y, level="model").folded.nodes if n.op == "group"] == ["layer0", "layer1"]


def test_blocks_fold_like_steps() -> None:
    """The middle blocks of a Transformer are one box; another size ends the run."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 6)
    boxes = [n for n in draw(encoder, tgs.randn(5, 2, 8), level="cell").folded.nodes if n.op == "blocks"]
    assert [(n.label, n.count) for n in boxes] == [("layers.2 … layers.4 (×3)", 3)]
    layers = [nn.TransformerEncoderLayer(8, 2, 16 if i != 2 else 24, dropout=0.0) for i in range(6)]
    encoder = nn.TransformerEncoder(lambda: layers.pop(), 6)
    assert not [n for n in draw(encoder, tgs.randn(5, 2, 8), level="cell").folded.nodes if n.op == "blocks"]


def test_what_is_expanded_and_collapsed() -> None:
    """Names, dotted or with slashes, globs, steps and functions of a node."""
    y = rnn(12)
    assert steps_of(draw(y, expand="rnn.t5")) == ["0", "1", "2 … 4 (×3)", "5", "6 … 10 (×5)", "11"]
    assert steps_of(draw(y, expand=["t5", "rnn/t6"]))[3:5] == ["5", "6"]
    assert steps_of(draw(y, expand=lambda n: n.t == 7))[3] == "7"
    assert [n.op for n in draw(y, collapse="rnn", level="op").folded.nodes if not n.is_leaf] == ["group"]
    assert [n.op for n in draw(y, collapse="r*").folded.nodes if not n.is_leaf] == ["group"]
    assert draw(y, collapse="nothing").dot == draw(y).dot
    with pytest.raises(ArgumentError) as caught:
        draw(y, expand=[3])
    assert str(caught.value) == (
        "draw: expand has something else.\n  expand: 3\n  expected names, globs, or functions of a node."
    )


@pytest.mark.skipif(not tgs.runtime.jit.kernels_wanted(), reason="without numba nothing is fused")
def test_a_fused_op_opens_into_its_composition() -> None:
    """It has a double border and a mark; expanded, its ops stand in a dashed box and cost as much."""
    lstm, x = nn.LSTM(3, 4), tgs.randn(3, 2, 3)
    closed, opened = draw(lstm, x, level="op"), draw(lstm, x, level="op", expand="lstm_gates")
    assert closed.dot.count("lstm_gates ▸<") == 3
    assert closed.dot.count("peripheries=2") == 3
    assert opened.dot.count("label=<lstm_gates ▾>") == 3
    assert 'style="rounded,filled,dashed"' in opened.dot
    with tgs.composed():
        composed = draw(lstm, x, level="op")
    # Comparisons carry no gradient: they are in the kernel's program, and the composition records none.
    compared = Counter({op: times for op, times in opened.folded.ops().items() if op in ("less", "cast")})
    assert opened.folded.ops() - compared == composed.folded.ops()
    assert opened.folded.totals.flops == closed.folded.totals.flops
    compared_numbers = 3 * 3 * 2 * 4  # three steps, three gates, two rows of four: a FLOP each
    assert opened.folded.totals.flops - composed.folded.totals.flops == compared_numbers


def test_the_parts_of_a_shared_weights_gradient_meet_in_one_plus() -> None:
    """T edges lead into one node, from there to d loss / d W_hh; folded, 61 of them are one."""
    loss = nn.RNN(3, 4)(tgs.randn(64, 2, 3))[0].sum()
    drawn = draw(loss, which="backward", view="unrolled", level="op")
    (plus,) = [n for n in drawn.folded.nodes if n.op == "add" and n.members]
    assert plus.detail == "64 terms"
    into = [e for e in drawn.folded.edges if e.dst == plus.id]
    assert len(into) == 64
    assert {e.kind for e in into} == {"gradient"}
    folded = draw(loss, which="backward", level="op")
    (plus,) = [n for n in folded.folded.nodes if n.op == "add" and n.members]
    assert sorted(e.count for e in folded.folded.edges if e.dst == plus.id) == [1, 1, 1, 61]
    results = {n.result for n in folded.folded.nodes if n.result}
    assert (
        results
        == {f"d loss / d {name}_l0" for name in ("weight_ih", "weight_hh", "bias_hh")}
        | {"d loss / d bias_ih_l0"}
        or len(results) >= 3
    )


@pytest.mark.parametrize(("layers", "composed"), [(1, True), (2, False)])
def test_a_thousand_steps(layers: int, composed: bool) -> None:
    """A thousand steps, op by op and by kernel, to JSON and folded DOT (timed in `benchmarks/picture_times.py`)."""
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        y = nn.LSTM(3, 4, layers)(tgs.randn(1000, 2, 3))[0].sum()
    drawn = draw(y, level="cell")
    assert len(drawn.graph.to_json()) > 1_000_000
    assert [n.count for n in drawn.folded.nodes if n.op == STEPS] == [997] * layers
    assert "t = 2 … 998 (×997)" in drawn.dot
