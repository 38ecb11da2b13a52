"""Cells: how far it is from a layer to its formula, what a cell must have, and what makes it one."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.nn.rnn import cells
from tinygrad_seq.nn.rnn.base_cell import Cell

pytestmark = [pytest.mark.engine, pytest.mark.laws]

PACKAGE = str(Path(tgs.__file__).parent)
KINDS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]
# The layer, and the function that its formula is computed by.
FORMULAS = [
    (nn.RNN, {}, "rnn_tanh"),
    (nn.LSTM, {}, "lstm_gates"),
    (nn.LSTM, {"peepholes": True}, "lstm_variant"),
    (nn.GRU, {}, "gru_gates"),
    (nn.GRU, {"reset_after": False}, "gru_mix"),
]


@pytest.mark.parametrize(("kind", "settings", "formula"), FORMULAS)
def test_three_hops_from_a_layer_to_its_formula(kind, settings, formula, monkeypatch):
    """forward calls the loop, the loop the cell's step, the step the formula: nothing of ours stands between."""
    trails, computed = [], getattr(cells, formula)

    def seen(*args, **more):
        frame, trail = sys._getframe(1), []
        while frame.f_code.co_name != "forward":
            assert frame.f_code.co_filename.startswith(PACKAGE)
            trail.append(frame.f_code.co_name)
            frame = frame.f_back
        trails.append(trail)
        return computed(*args, **more)

    monkeypatch.setattr(cells, formula, seen)
    monkeypatch.setitem(cells.NONLINEARITIES, "tanh", seen)
    kind(2, 3, **settings)(tgs.zeros(2, 1, 2))
    assert trails == [["_step", "run"]] * 2


def test_a_cell_is_abstract_or_final():
    """The base cannot be made; the three fill in what it leaves open, and change nothing that it says."""
    with pytest.raises(TypeError, match="abstract"):
        Cell(2, 3, True)
    said = {name for name in vars(Cell) if callable(getattr(Cell, name)) and not name.startswith("__")} | {
        "sizes"
    }
    for kind in KINDS:
        assert not kind.__abstractmethods__
        assert said & {*vars(kind)} == Cell.__abstractmethods__


def test_a_cell_of_one_s_own_is_a_plain_module():
    """`unroll` asks for nothing but `cell(x, state)`; names that our cells have mean nothing on others."""

    class Leaky(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(2, 3)
            self.prepare = self.shown = None

        def forward(self, x, h):
            h = 0.5 * h + self.linear(x)
            return h, h

    cell, xs = Leaky(), tgs.randn(4, 1, 2)
    outs, last = nn.unroll(cell, xs, tgs.zeros(1, 3))
    h = np.zeros((1, 3), np.float32)
    for t in range(4):
        h = np.float32(0.5) * h + cell.linear(xs[t]).numpy()
        np.testing.assert_allclose(outs.numpy()[t], h, rtol=1e-6)
    np.testing.assert_array_equal(last.numpy(), outs.numpy()[3])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_layer_runs_the_parameters_that_it_has_now(kind):
    """Its cells are no copies: a weight that is put in, or loaded, acts; in a copy of the layer, there alone."""
    layer, x = kind(2, 3), tgs.randn(2, 1, 2)
    before, twin = layer(x)[0].numpy(), copy.copy(layer)
    twin.weight_hh_l0 = nn.Parameter(twin.weight_hh_l0.numpy() * 2)
    assert (twin(x)[0].numpy()[1] != before[1]).any()
    np.testing.assert_array_equal(layer(x)[0].numpy(), before)
    layer.load_state_dict(twin.state_dict())
    np.testing.assert_array_equal(layer(x)[0].numpy(), twin(x)[0].numpy())
    assert [name for name, _ in layer.named_modules()] == [""]


def test_a_projected_cell_is_one_step_of_a_projected_layer():
    """h is narrower than c; the repr says so; a size that cannot be is refused as in the layer."""
    cell, layer, x = nn.LSTMCell(2, 3, proj_size=2), nn.LSTM(2, 3, proj_size=2), tgs.randn(1, 4, 2)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.state_dict().items()})
    (h, c), (_, (last_h, last_c)) = cell(x[0]), layer(x)
    assert (h.shape, c.shape) == ((4, 2), (4, 3))
    np.testing.assert_array_equal(h.numpy(), last_h.numpy()[0])
    np.testing.assert_array_equal(c.numpy(), last_c.numpy()[0])
    assert repr(cell).startswith("LSTMCell(2, 3, proj_size=2)")
    with pytest.raises(tgs.ArgumentError) as caught:
        nn.LSTMCell(2, 3, proj_size=3)
    assert str(caught.value) == (
        "LSTMCell: proj_size out of range.\n  proj_size: 3\n"
        "  expected 0 for none, or a whole number below hidden_size, 3."
    )
