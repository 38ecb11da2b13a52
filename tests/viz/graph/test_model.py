# ruff: noqa: RUF001
"""Laws of the picture model: its sums are the closed formulas, its gradients the real ones, its JSON itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError, DataError, GraphError
from tinygrad_seq.models import CharLM
from tinygrad_seq.runtime.jit import kernels_wanted
from tinygrad_seq.runtime.malloc import collector_paused
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz import Graph, draw
from tinygrad_seq.viz.graph.model import Node
from tinygrad_seq.viz.render.colors import Scale, mixed

needs_kernels = pytest.mark.skipif(not kernels_wanted(), reason="without numba nothing is fused")
T, B, I, H, L = 7, 3, 5, 4, 2  # noqa: E741


def message(
    error: type[Exception], call: Callable[..., object], *arguments: object, **settings: object
) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments, **settings)
    return str(caught.value)


# ---------------------------------------------------------------- sums


def inputs_of_layers() -> list[int]:
    """The width of what each layer reads."""
    return [I if layer == 0 else H for layer in range(L)]


@pytest.mark.parametrize("composed", [True, pytest.param(False, marks=needs_kernels)])
@pytest.mark.parametrize(("kind", "gates", "pointwise"), [(nn.LSTM, 4, 20), (nn.GRU, 3, 17)])
def test_sums_of_recurrent_layers_are_the_formulas(
    kind: type[nn.Module], gates: int, pointwise: int, composed: bool
) -> None:
    """Parameters G H (I + H + 2) a layer; two FLOPs a weight, row and step, and 26 or 21 a unit, row and step.

    LSTM: the bias 4, W x + W h 4, three sigmoids of 2, tanh(g), f c, i g, their sum, tanh(c), o tanh(c).
    GRU: the bias 3, two sigmoids of 2 and their sums, h_n + b, r (), x_n + (), tanh, 1 - z, () n, z h, their sum.
    A sigmoid compares besides, which no gradient needs: in a kernel's tape it is seen, on the live one not.
    """
    model = kind(I, H, L)
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        totals = draw(model, tgs.randn(T, B, I)).graph.totals
    assert totals.params == sum(gates * H * (inputs + H + 2) for inputs in inputs_of_layers())
    products = sum(2 * T * B * gates * H * (inputs + H) for inputs in inputs_of_layers())
    pointwise += 0 if composed else gates - 1
    assert totals.flops == products + L * (pointwise * T * B * H + gates * H)


@pytest.mark.parametrize(
    ("kind", "composed", "steps", "later"),
    [
        # the gates by kernel, then c and h of the step before
        pytest.param(nn.LSTM, False, 4, 2, marks=needs_kernels),
        # three sigmoids, tanh(g), tanh(c), i, o; f, c and h where the state wants a gradient
        (nn.LSTM, True, 7, 3),
        # r, z, n and h_n + b by kernel; h of the step before
        pytest.param(nn.GRU, False, 4, 1, marks=needs_kernels),
        # two sigmoids, n, 1 - z, r, h_n + b; z and h where the state wants a gradient
        (nn.GRU, True, 6, 2),
    ],
)
def test_kept_bytes_of_recurrent_layers_are_the_formulas(
    kind: type[nn.Module], composed: bool, steps: int, later: int
) -> None:
    """So many B H floats a step, so many but in the first step, and the outputs that the next layer reads."""
    model = kind(I, H, L)
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        saved = draw(model, tgs.randn(T, B, I)).graph.totals.saved
    assert saved == 4 * B * H * (L * (T * steps + (T - 1) * later) + (L - 1) * T)


def test_sums_of_attention_are_the_formulas() -> None:
    """Projections, scores, softmax (scale, minus maximum, exp, sum, quotient) and what of it is kept."""
    width, heads, rows = 8, 2, T * B
    model, x = nn.MultiheadAttention(width, heads), tgs.randn(T, B, width)
    with tgs.composed():
        totals = draw(model, x, x, x).graph.totals
    scores = B * heads * T * T
    assert totals.params == 4 * width * width + 4 * width
    products = 2 * rows * width * 3 * width + 2 * rows * width * width + 2 * 2 * scores * (width // heads)
    assert totals.flops == products + 4 * rows * width + 5 * scores
    assert totals.saved == 4 * (3 * rows * width + 2 * scores + B * heads * T + rows * width)


def test_every_view_has_the_same_sums() -> None:
    """A Transformer and a character model, at all levels: what is drawn adds up to what there is."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 6)
    y = encoder(tgs.randn(5, 2, 8)).sum()
    for what in ((y,), (CharLM(20, 8, 2),)):
        whole = draw(*what).graph.totals
        for level in ("op", "gate", "cell", "model"):
            assert draw(*what, level=level).folded.totals == whole
    assert draw(CharLM(20, 8, 2)).graph.totals.params == CharLM(20, 8, 2).count()


# ---------------------------------------------------------------- JSON


def test_json_has_everything() -> None:
    """Also what JSON has no sign for: tuples, NaN and infinities; what it wrote draws again."""
    w = Tensor(np.array([[np.nan, np.inf], [0.0, 1.0]]), requires_grad=True, name='<"이름')
    y = tgs.functional.silu(w.T @ w).sum()
    graph = draw(y, color="grad", values=True).graph
    text = graph.to_json()
    assert json.loads(text)["format"] == "tinygrad_seq picture 1"
    assert "NaN" not in text
    again = Graph.from_json(text)
    assert repr(again) == repr(graph)
    assert draw(again, color="grad").dot == draw(graph, color="grad").dot
    assert any(n.grad is not None and not np.isfinite(n.grad) for n in graph.nodes)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":"tinygrad_seq picture 1"}', "nul"])
def test_json_that_is_no_graph_is_refused(text: str) -> None:
    """One error that says what was expected."""
    said = message(DataError, Graph.from_json, text)
    assert said.startswith("picture: no graph in this JSON: ")
    assert said.endswith("\n  expected what Graph.to_json or a picture saved as .json has written.")


def test_a_hundred_thousand_steps() -> None:
    """Neither the reading, nor the JSON, nor the folding recurses."""
    w, h = Tensor(0.999, requires_grad=True, name="w"), Tensor(1.0, requires_grad=True, name="h")
    with collector_paused():
        for t in range(100_000):
            with tgs.time_step(t):
                h = h * w
    drawn = draw(h)
    assert drawn.graph.to_json().count('"op":"mul"') == 100_000
    assert [n.count for n in drawn.folded.nodes if n.op == "steps"] == [99_997]


# ---------------------------------------------------------------- gradients


def test_norms_are_those_of_the_gradients() -> None:
    """Of leaves and of what is between, in float64; they equal central differences; nothing else changes."""
    rng = np.random.default_rng(3)
    w = Tensor(rng.normal(size=(3, 3)), requires_grad=True, name="w")
    x = Tensor(rng.normal(size=(2, 3)), requires_grad=True, name="x")
    h = (x @ w).tanh()
    h.retain_grad()
    loss = (h * h).sum()
    graph = draw(loss, color="grad").graph
    assert w.grad is None
    assert h.grad is None
    norms = {n.label or n.op: n.grad for n in graph.nodes}

    def loss_at(values: np.ndarray) -> float:
        return float((np.tanh(x.numpy() @ values) ** 2).sum())

    slopes = np.zeros((3, 3))
    for i in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[i] = 1e-6
        slopes[i] = (loss_at(w.numpy() + step) - loss_at(w.numpy() - step)) / 2e-6
    assert norms["w"] == pytest.approx(np.linalg.norm(slopes), rel=1e-8)
    assert norms["tanh"] == pytest.approx(np.linalg.norm(2 * h.numpy()), rel=1e-12)
    loss.backward()
    assert norms["x"] == pytest.approx(float(np.linalg.norm(x.grad.numpy())), rel=1e-12)


def test_behind_a_cut_the_gradient_is_exactly_zero_and_hatched() -> None:
    """Hatched and numbered 0; what carries no gradient has none; what is not finite is framed and says so."""
    w = Tensor(np.ones(2), requires_grad=True, name="w")
    before = w.exp()
    drawn = draw((tgs.cut(before) * w).sum(), color="grad")
    lines = {line.split("<b>")[1].split("<")[0]: line for line in drawn.dot.splitlines() if "<b>" in line}
    assert "style=striped" in lines["exp"]
    assert "‖g‖ 0<" in lines["exp"]
    assert "exactly 0" in drawn.dot
    assert "norm of the gradient" in drawn.dot
    bad = draw(w.sum() * Tensor(np.nan), color="grad")
    assert "⚠ nan" in bad.dot
    assert "not finite" in bad.dot
    at_the_leaf = draw((w * Tensor(np.array([np.nan, 1.0]))).sum(), color="grad")
    (leaf,) = [line for line in at_the_leaf.dot.splitlines() if "f64[2]" in line and "shape=box" in line]
    assert "⚠ nan" in leaf
    assert "penwidth=2.6" in leaf
    assert "not finite" in at_the_leaf.dot


def test_colors_get_darker_all_the_way() -> None:
    """So that the map reads in grey: its lightness falls, with equal steps of the logarithm."""

    def light(color: str) -> float:
        r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * r + 0.587 * g + 0.114 * b

    lights = [light(mixed(i / 50)) for i in range(51)]
    assert lights == sorted(lights, reverse=True)
    assert len(set(lights)) == 51
    scale = Scale([Node(0, "exp", grad=1e-8), Node(1, "exp", grad=1.0), Node(2, "exp", grad=0.0)])
    assert scale.at(1e-4) == mixed(0.5)
    assert scale.zero


def test_the_backward_pass_alone_and_beside_the_forward_pass() -> None:
    """`backward` has the recorded gradient and what it reads, `both` everything; parameters may be gone."""

    def loss() -> Tensor:
        return nn.RNN(3, 4)(tgs.randn(3, 2, 3))[0].sum()

    backward = draw(loss(), which="backward").graph
    assert {n.phase for n in backward.nodes if not n.is_leaf and n.op != "permute"} == {"backward"}
    assert "saved" in {n.op for n in backward.nodes}
    assert "gradient" in {e.kind for e in backward.edges}
    y = loss()
    both = draw(y, which="both").graph
    assert {"forward", "backward", "parameter", "data"} <= {n.phase for n in both.nodes}
    forward = Tape.of(y).ops()
    assert all(both.ops()[op] >= forward[op] for op in forward)


# ---------------------------------------------------------------- what is given


def test_layers_are_run_on_their_example() -> None:
    """Arrays too; parameters bear whole names; a language model needs no example."""
    drawn = draw(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), np.ones((2, 3), np.float32))
    labels = [n.label for n in drawn.graph.nodes if n.op == "param"]
    assert labels == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert "ids" in {n.label for n in draw(CharLM(5, 4)).graph.nodes}
    assert message(GraphError, draw, nn.Linear(3, 4)) == (
        "draw: Linear needs an example input.\n  For example: draw(layer, tgs.randn(6, 1, 3))."
    )


@pytest.mark.parametrize(
    ("setting", "value", "known"),
    [
        ("level", "layer", "'model', 'cell', 'gate', 'op', 'lesson'"),
        ("view", "flat", "'auto', 'folded', 'unrolled', 'rolled'"),
        ("color", "red", "'kind', 'grad'"),
        ("which", "back", "'forward', 'backward', 'both'"),
    ],
)
def test_settings_that_do_not_exist_are_refused(setting: str, value: str, known: str) -> None:
    """Each with what there is."""
    said = message(ArgumentError, draw, tgs.ones(2), **{setting: value})
    assert said == f"draw: no such {setting}.\n  {setting}: {value!r}\n  expected one of {known}."


def test_without_gradients_there_is_none_to_show() -> None:
    """A bare tape holds none, data wants none."""
    w = Tensor([1.0], requires_grad=True)
    assert message(GraphError, draw, Tape.of(w.exp()), color="grad") == (
        "draw: this record holds no gradients.\n  Draw the tensors themselves: draw(loss, color='grad')."
    )
    assert message(GraphError, draw, tgs.ones(2), which="backward").startswith(
        "draw: no gradient flows here."
    )


# ---------------------------------------------------------------- words


def test_the_tree_in_full() -> None:
    """Scopes, steps, types, sums, results; wide characters keep their columns."""
    w = Tensor(np.ones((3, 3), np.float32), requires_grad=True, name="w")
    h = Tensor(np.ones((2, 3), np.float32), requires_grad=True, name="h0")
    with tgs.scope("순환"):
        for t in range(8):
            with tgs.time_step(t):
                h = ((tgs.cut(h) if t == 5 else h) @ w).tanh()
    assert draw(h, level="cell").text == TREE.strip("\n")


TREE = """
                                     type      params  FLOP   kept
순환                                               15   336  192 B
├─ t = 0                                           15    42   24 B
│  └─ 순환 (matmul, tanh)            f32[2,3]      15    42   24 B
├─ t = 1                                                 42   24 B
│  └─ 순환 (matmul, tanh)            f32[2,3]            42   24 B
├─ t = 2 … 4 (×3)                                       126   72 B
│  └─ 순환 ×3 (matmul, tanh)         f32[2,3]           126   72 B
├─ t = 5                                                 42   24 B
│  └─ 순환 (matmul, tanh)            f32[2,3]            42   24 B
├─ t = 6                                                 42   24 B
│  └─ 순환 (matmul, tanh)            f32[2,3]            42   24 B
└─ t = 7                                                 42   24 B
   └─ 순환 (matmul, tanh)  = result  f32[2,3]            42   24 B

15 parameters, 336 FLOP, 192 B kept for the backward pass
gradient reaches at most 5 steps back; 1 cut
"""


def test_values_are_noted_where_they_still_are() -> None:
    """Of leaves and of what a rule keeps: range, mean, deviation, zeros, what is not finite."""
    w = Tensor(np.array([0.0, 1.0, np.nan, 3.0]), requires_grad=True, name="w")
    graph = draw(w.exp().sum(), values=True).graph
    found = next(n.values for n in graph.nodes if n.label == "w")
    assert found is not None
    assert (found.least, found.most, found.bad, found.zeros) == (0.0, 3.0, 1, 0.25)
    assert found.mean == pytest.approx(4 / 3)
    assert "zeros: 25 %, not finite: 1" in draw(w.exp().sum(), values=True).dot
    assert all(n.values is None for n in draw(w.exp().sum()).graph.nodes)
