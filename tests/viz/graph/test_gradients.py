"""A step is coloured by the gradient of the state that leaves it; totals are no states; what counts as learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.viz import Picture, draw
from tinygrad_seq.viz.graph.model import GROUP, STEPS

T = 6
CELLS = [nn.RNNCell, nn.GRUCell, nn.LSTMCell]


def colors(drawn: Picture, scope: str = "") -> list[float | None]:
    """The norms at the boxes of the time steps, in order of time."""
    boxes = [
        n
        for n in drawn.folded.nodes
        if n.t is not None and n.op in (GROUP, STEPS) and (scope in (n.label, *n.path) or not scope)
    ]
    return [n.grad for n in sorted(boxes, key=lambda n: n.t or 0)]


def loop(cell: Any, xs: Tensor, add: Callable[[Any, Tensor], Any]) -> tuple[Any, list[Any]]:
    """A user's own loop with the loss taken, and added up, inside the step."""
    state, total, states = cell.init_state(xs.shape[1]), tgs.zeros((), dtype=xs.dtype), []
    for t in range(len(xs.numpy())):
        with tgs.time_step(t):
            state = cell(xs[t], state)
            h = state[0] if isinstance(state, tuple) else state
            total = add(total, (h * h).mean() * 0.05)
        states.append(state)
    return total, states


ADDED: dict[str, Callable[[Any, Tensor], Any]] = {
    "added": lambda total, x: total + x,
    "taken off": lambda total, x: total - x,
    "its mean": lambda total, x: total + x / T,
    "in a list": lambda total, x: x.reshape(1) if total.ndim == 0 else tgs.concat([total, x.reshape(1)]),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("how", ADDED)
@pytest.mark.parametrize("composed", [True, False])
def test_a_step_has_the_gradient_of_its_state(cell: type[nn.Module], how: str, composed: bool) -> None:
    """That of `bptt.reach`, over h and C together for an LSTM, wherever the loss is summed."""
    unit = cell(3, 4, dtype=np.float64)
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        total, states = loop(unit, tgs.randn(T, 2, 3, dtype=np.float64), ADDED[how])
    loss = total.sum()
    want = tgs.bptt.reach(loss, states).norms[0]
    assert 0 < want.max() < 0.2
    drawn = draw(loss, color="grad", level="cell")
    assert colors(drawn) == pytest.approx(want.tolist(), rel=1e-9)
    assert len({e.src for e in drawn.folded.edges if e.kind == "state"}) == T - 1


def test_the_state_of_a_fold_goes_from_least_to_most() -> None:
    """A box of many steps says the smallest and the largest norm of their states."""
    unit = nn.RNNCell(3, 4, dtype=np.float64)
    loss, states = loop(unit, tgs.randn(20, 2, 3, dtype=np.float64), ADDED["added"])
    want = tgs.bptt.reach(loss, states).norms[0]
    (box,) = [n for n in draw(loss, color="grad", level="cell").folded.nodes if n.op == STEPS]
    assert (box.grad, box.grad_least) == pytest.approx((want[2:19].max(), want[2:19].min()), rel=1e-9)


def test_scopes_inside_a_step_are_cells_of_their_own() -> None:
    """Two layers in one loop, each in its scope: each has the whole gradient of its own state; the head's is 1."""
    w = [Tensor(np.eye(3) * 0.7, requires_grad=True, name=f"w{i}") for i in range(2)]
    h, total, states = [tgs.ones(2, 3, dtype=np.float64)] * 2, tgs.zeros((), dtype=np.float64), []
    for t in range(T):
        with tgs.time_step(t):
            for i in range(2):
                with tgs.scope(f"layer{i}"):
                    h[i] = (h[i] @ w[i] + (h[i - 1] if i else 0.1)).tanh()
            with tgs.scope("head"):
                total = total + (h[1] * h[1]).sum() * 0.01
        states.append(list(h))
    drawn = draw(total, color="grad", level="cell")
    for i in range(2):
        want = tgs.bptt.reach(total, [both[i] for both in states]).norms[0]
        assert colors(drawn, f"layer{i}") == pytest.approx(want.tolist(), rel=1e-9)
    together = draw(total, color="grad", level="cell", collapse="t*")
    whole = tgs.bptt.reach(total, states).norms[0]
    assert len(colors(together)) == T
    assert whole.max() < 1


@pytest.mark.parametrize(
    ("layer", "cell"), [(nn.RNN, nn.RNNCell), (nn.GRU, nn.GRUCell), (nn.LSTM, nn.LSTMCell)]
)
@pytest.mark.parametrize("composed", [True, False])
def test_layers_have_the_colors_of_their_cells(
    layer: type[nn.Module], cell: type[nn.Module], composed: bool
) -> None:
    """Two layers as one module and as cells in a loop: the same norms at every step of each."""
    stacked = layer(3, 4, 2, dtype=np.float64)
    units = [cell(size, 4, dtype=np.float64) for size in (3, 4)]
    for i, unit in enumerate(units):
        for name, p in unit.named_parameters():
            p.assign(getattr(stacked, f"{name}_l{i}").numpy())
    xs = tgs.randn(T, 2, 3, dtype=np.float64)
    states: list[Any] = [unit.init_state(2) for unit in units]
    seen: list[list[Any]] = []
    total = tgs.zeros((), dtype=np.float64)
    for t in range(T):
        out = xs[t]
        for i, unit in enumerate(units):
            states[i] = unit(out, states[i])
            out = states[i][0] if isinstance(states[i], tuple) else states[i]
        total = total + (out * out).sum()
        seen.append(list(states))
    with tgs.composed() if composed else tgs.engine.node.recording(True):
        outs = stacked(xs)[0]
    drawn = draw((outs * outs).sum(), color="grad", level="cell")
    for i in range(2):
        want = tgs.bptt.reach(total, [both[i] for both in seen]).norms[0]
        assert colors(drawn, f"layer{i}") == pytest.approx(want.tolist(), rel=1e-6)


def test_a_loss_at_each_step_does_not_color_the_step() -> None:
    """Losses that are returned one by one are results of their own, each with a gradient of 1."""
    unit, states, losses = nn.RNNCell(3, 4, dtype=np.float64), [], []
    h = unit.init_state(2)
    for t in range(T):
        with tgs.time_step(t):
            h = unit(tgs.randn(2, 3, dtype=np.float64), h)
            losses.append((h * h).sum() * 0.01)
        states.append(h)
    want = tgs.bptt.reach(sum(losses[1:], losses[0]), states).norms[0]
    found = colors(draw(*losses, color="grad", level="cell"))
    assert found == pytest.approx(want.tolist(), rel=1e-9)


def test_windows_end_where_their_own_loss_ends() -> None:
    """Behind a cut nothing arrives from later windows."""
    unit, total, states = nn.LSTMCell(3, 4, dtype=np.float64), tgs.zeros((), dtype=np.float64), []
    state = unit.init_state(2)
    for t in range(T):
        with tgs.time_step(t):
            if t == 3:
                state = tuple(tgs.cut(s) for s in state)
            state = unit(tgs.randn(2, 3, dtype=np.float64), state)
            total = total + (state[0] * state[0]).sum()
        states.append(state)
    want = tgs.bptt.reach(total, states).norms[0]
    assert colors(draw(total, color="grad", level="cell")) == pytest.approx(want.tolist(), rel=1e-9)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("layers", [2, 7])
def test_blocks_have_the_gradient_of_the_residual_stream(norm_first: bool, layers: int) -> None:
    """What leaves a Transformer's block; of many as one, the smallest and the largest."""
    make = lambda: nn.TransformerEncoderLayer(  # noqa: E731
        8, 2, 16, dropout=0.0, norm_first=norm_first, dtype=np.float64
    )
    encoder = nn.TransformerEncoder(make(), layers)
    x = tgs.randn(5, 2, 8, dtype=np.float64)
    stream = [x]
    for block in encoder.layers:
        stream.append(block(stream[-1]))
    want = [float(np.linalg.norm(g.numpy())) for g in tgs.grad((stream[-1] * stream[-1]).sum(), stream[1:])]
    out = encoder(x)
    drawn = draw((out * out).sum(), color="grad", level="model", collapse="layers.*")
    boxes = [n for n in drawn.folded.nodes if n.op in (GROUP, "blocks") and "layers." in n.label]
    single = [n.grad for n in boxes if n.count == 1]
    assert single == pytest.approx(want if layers == 2 else [*want[:2], want[-1]], rel=1e-9)
    if layers > 2:
        (middle,) = [n for n in boxes if n.count > 1]
        assert (middle.grad, middle.grad_least) == pytest.approx((max(want[2:-1]), min(want[2:-1])), rel=1e-9)


# ---------------------------------------------------------------- running totals


def edges(how: str) -> list[str]:
    """The kinds of the lines between steps, of a recurrence of one number."""
    w = Tensor(0.5, requires_grad=True, name="w")
    h, other = Tensor(1.0), Tensor(0.0)
    for t in range(5):
        with tgs.time_step(t):
            if how == "residual":
                h = h + (h * w).tanh()
            elif how == "leaky":
                h = h * 0.9 + w
            elif how == "carousel":  # c is read by what later steps are made from
                other = other + (h * w).tanh()
                h = other.tanh()
            elif how == "remembered":
                h = (h * w).tanh()
                other = other + h
                h = h + other * 0.1
            elif how == "logged":
                h = (h * w).tanh()
                other = other + h
                _ = other * 2.0
            else:
                other = other - w * (t + 1)
    kinds = {e.kind for e in draw(h + other).graph.edges}
    return sorted(kinds & {"state", "total"})


def test_a_running_total_is_no_state() -> None:
    """What steps only add to is a total; what any later step is made from is a state."""
    assert edges("residual") == ["state"]
    assert edges("leaky") == ["state"]
    assert edges("carousel") == ["state"]
    assert edges("remembered") == ["state"]
    assert edges("logged") == ["state", "total"]
    assert edges("alone") == ["total"]
    w, total, logged = Tensor(0.5, requires_grad=True), Tensor(0.0), []
    for t in range(4):
        with tgs.time_step(t):
            total = total + w * (t + 1.0)
            logged.append(total * 2.0)
    drawn = draw(total, *logged)
    assert drawn.folded.note == ""
    assert "running total: later steps add to it, and none is made from it" in drawn.dot


# ---------------------------------------------------------------- what is learnt


def test_inputs_that_want_gradients_are_no_parameters() -> None:
    """Beside a module's parameters they are data; without any module they are what is learnt."""
    layer = nn.Linear(3, 2)
    x = tgs.randn(4, 3).requires_grad_()
    drawn = draw(layer, x)
    assert drawn.graph.totals.params == 3 * 2 + 2
    assert drawn.text.splitlines()[-1].startswith("8 parameters, ")
    (leaf,) = [n for n in drawn.graph.nodes if n.op == "input"]
    assert leaf.phase == "data"
    colored = draw(layer(x).sum(), color="grad")
    (leaf,) = [n for n in colored.graph.nodes if n.op == "input"]
    assert leaf.grad == pytest.approx(float(np.linalg.norm(np.tile(layer.weight.numpy().sum(0), (4, 1)))))
    w = Tensor(np.ones((3, 2)), requires_grad=True)
    assert draw(x @ w).graph.totals.params == 3 * 2 + 4 * 3
