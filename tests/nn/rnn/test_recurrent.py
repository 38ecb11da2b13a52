"""RNN, LSTM, GRU and their cells: the formulas against NumPy loops, derivatives, masks, starts, refusals."""

import copy
import gc
import warnings
from contextlib import nullcontext

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import nn
from tinygrad_seq.nn.rnn.cells import lstm_gates, lstm_variant
from tinygrad_seq.nn.rnn.state import sequence_mask

pytestmark = [pytest.mark.engine, pytest.mark.laws]

N, H, T, B = 2, 3, 4, 2

LAYERS = {
    "RNN": lambda **k: nn.RNN(N, H, **k),
    "RNN relu": lambda **k: nn.RNN(N, H, nonlinearity="relu", **k),
    "RNN sigmoid": lambda **k: nn.RNN(N, H, nonlinearity="sigmoid", **k),
    "RNN identity": lambda **k: nn.RNN(N, H, nonlinearity="identity", **k),
    "RNN layer norm": lambda **k: nn.RNN(N, H, layer_norm=True, **k),
    "LSTM": lambda **k: nn.LSTM(N, H, **k),
    "LSTM projected": lambda **k: nn.LSTM(N, H, proj_size=2, **k),
    "LSTM peepholes": lambda **k: nn.LSTM(N, H, peepholes=True, **k),
    "LSTM layer norm": lambda **k: nn.LSTM(N, H, layer_norm=True, **k),
    "LSTM everything": lambda **k: nn.LSTM(N, H, proj_size=2, peepholes=True, layer_norm=True, **k),
    "GRU": lambda **k: nn.GRU(N, H, **k),
    "GRU reset before": lambda **k: nn.GRU(N, H, reset_after=False, **k),
    "GRU layer norm": lambda **k: nn.GRU(N, H, layer_norm=True, **k),
    "GRU before, layer norm": lambda **k: nn.GRU(N, H, reset_after=False, layer_norm=True, **k),
}
CELLS = {
    "RNNCell": lambda **k: nn.RNNCell(N, H, **k),
    "RNNCell relu": lambda **k: nn.RNNCell(N, H, nonlinearity="relu", **k),
    "RNNCell layer norm": lambda **k: nn.RNNCell(N, H, layer_norm=True, **k),
    "LSTMCell": lambda **k: nn.LSTMCell(N, H, **k),
    "LSTMCell peepholes, layer norm": lambda **k: nn.LSTMCell(N, H, peepholes=True, layer_norm=True, **k),
    "LSTMCell projected": lambda **k: nn.LSTMCell(N, H, proj_size=2, **k),
    "GRUCell": lambda **k: nn.GRUCell(N, H, **k),
    "GRUCell reset before": lambda **k: nn.GRUCell(N, H, reset_after=False, **k),
}
WITHOUT_BIAS = ["RNN", "LSTM", "LSTM everything", "GRU", "GRU before, layer norm"]
BUILT = {*WITHOUT_BIAS, "RNN relu", "LSTMCell", "GRUCell"}
each_layer = pytest.mark.parametrize("name", LAYERS)
each_cell = pytest.mark.parametrize("name", CELLS)


def normal(*shape, seed=0):
    """Numbers in float64, the same at every call."""
    return np.random.default_rng(seed).standard_normal(shape)


def made(name, seed=1, **settings):
    """A layer or cell in float64, with gains and shifts that are not just ones and zeros."""
    module = {**LAYERS, **CELLS}[name](rng=tgs.Generator(seed), dtype="float64", **settings)
    for i, (path, p) in enumerate(module.named_parameters()):
        if path.startswith(("gain", "shift")):
            p.assign(p.numpy() + 0.3 * normal(*p.shape, seed=i))
    return module


def running(name):
    """Kernels for these; compositions for the others, so that not all there is need be built."""
    return nullcontext() if name in BUILT else tgs.composed()


def parts(state):
    """The tensors of a state."""
    return state if isinstance(state, tuple) else (state,)


# ---- the formulas, written again -----------------------------------------------------------------------------
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


ACTS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "sigmoid": sigmoid, "identity": lambda x: x}


def product(w, name, weight, v):
    """W v, normalised where there is a gain for it."""
    out = v @ weight.T
    return norm(out) * w[name] if name in w else out


def numpy_step(cell, w, x, state):
    """One step of a cell, or of a layer's, from the docstrings; the new state and the gates."""
    h = state[0]
    xw = product(w, "gain_ih", w["weight_ih"], x)
    if isinstance(cell, nn.GRUCell):
        u, (b_i, b_h) = (
            w["weight_hh"],
            (np.split(w.get(n, np.zeros(3 * H)), 3) for n in ("bias_ih", "bias_hh")),
        )
        xr, xz, xn = (a + b for a, b in zip(np.split(xw, 3, -1), b_i, strict=True))
        if cell.reset_after:
            hr, hz, hn = np.split(product(w, "gain_hh", u, h), 3, -1)
            r, z = sigmoid(xr + hr + b_h[0]), sigmoid(xz + hz + b_h[1])
            n = np.tanh(xn + r * (hn + b_h[2]))
        else:
            gains = [{"g": w["gain_hh"][s]} if "gain_hh" in w else {} for s in (slice(0, 6), slice(6, 9))]
            hr, hz = np.split(product(gains[0], "g", u[: 2 * H], h), 2, -1)
            r, z = sigmoid(xr + hr + b_h[0]), sigmoid(xz + hz + b_h[1])
            n = np.tanh(xn + product(gains[1], "g", u[2 * H :], r * h) + b_h[2])
        return ((1 - z) * n + z * h,), {"r": r, "z": z, "n": n}
    a = xw + product(w, "gain_hh", w["weight_hh"], h) + w.get("bias_ih", 0) + w.get("bias_hh", 0)
    if isinstance(cell, nn.RNNCell):
        return (ACTS[cell.nonlinearity](a),), {}
    c = state[1]
    i, f, g, o = np.split(a, 4, -1)
    p_i, p_f, p_o = np.split(w.get("peephole", np.zeros(3 * H)), 3)
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), np.tanh(g)
    c = f * c + i * g
    o = sigmoid(o + p_o * c)
    h = o * np.tanh(norm(c) * w["gain_c"] + w.get("shift_c", 0) if "gain_c" in w else c)
    return (h @ w["weight_hr"].T if "weight_hr" in w else h, c), {"i": i, "f": f, "g": g, "o": o}


def cell_of(layer):
    """A layer's cell, without parameters."""
    return layer.cell_class.of(layer)


def numpy_layer(layer, x, states, reverse="", k=0):
    """One layer over time: outputs, the last state, and every gate and state."""
    cell = cell_of(layer)
    w = {n: getattr(layer, f"{n}_l{k}{reverse}").numpy() for n in cell.shapes(1)}
    order = range(len(x))[::-1] if reverse else range(len(x))
    steps = {}
    for t in order:
        states, gates = numpy_step(cell, w, x[t], states)
        steps[t] = {**gates, **dict(zip(cell.states, states, strict=True))}
    trace = {n: np.stack([steps[t][n] for t in range(len(x))]) for n in steps[0]}
    return trace["h"], states, trace


@pytest.mark.parametrize(("name", "bias"), [(n, True) for n in LAYERS] + [(n, False) for n in WITHOUT_BIAS])
def test_layers_are_their_formulas(name, bias):
    """Two layers in two directions, from a given state: outputs, states and the whole trace to 1e-12."""
    layer = made(name, num_layers=2, bidirectional=True, bias=bias)
    x = normal(T, B, N)
    starts = [normal(4, B, n, seed=n) for n in cell_of(layer).widths.values()]
    state = tuple(tgs.tensor(s) for s in starts)
    with running(name):
        out, last, trace = layer(tgs.tensor(x), state if len(state) > 1 else state[0], return_trace=True)
    for k in range(2):
        outs = []
        for d, reverse in enumerate(("", "_reverse")):
            h, states, steps = numpy_layer(layer, x, [s[2 * k + d] for s in starts], reverse, k)
            outs.append(h)
            for mine, theirs in zip(parts(last), states, strict=True):
                np.testing.assert_allclose(mine.numpy()[2 * k + d], theirs, atol=1e-12)
            for gate, values in steps.items():
                np.testing.assert_allclose(trace.pop(f"{gate}_l{k}{reverse}").numpy(), values, atol=1e-12)
        x = np.concatenate(outs, -1)
    np.testing.assert_allclose(out.numpy(), x, atol=1e-12)
    assert not trace


@each_cell
def test_cells_are_one_step_of_their_formula(name):
    """From a state, from none (= zeros, with biases), and for a single row."""
    cell = made(name)
    w = {n: getattr(cell, n).numpy() for n in cell.shapes(1)}
    x, starts = normal(B, N), [normal(B, n, seed=n) for n in cell.widths.values()]
    state = tuple(tgs.tensor(s) for s in starts)
    for given, start in ((state, starts), (None, [s * 0 for s in starts])):
        given = given and (given if len(given) > 1 else given[0])
        expected, _ = numpy_step(cell, w, x, start)
        with running(name):
            found, alone = cell(tgs.tensor(x), given), cell(tgs.tensor(x[0]))
        for mine, theirs in zip(parts(found), expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-12)
    for mine, theirs in zip(parts(alone), expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs[0], atol=1e-12)


@pytest.mark.parametrize("name", ["RNN", "RNN relu", "LSTM", "LSTM layer norm", "GRU", "GRU reset before"])
def test_a_layer_is_its_cell_unrolled(name):
    """`unroll` runs a cell by its formula too: outputs, state and trace to 1e-12, forwards and backwards."""
    layer = made(name, bidirectional=True)
    settings = {"layer_norm": layer.layer_norm}
    if isinstance(layer, nn.RNN):
        cell = nn.RNNCell(N, H, nonlinearity=layer.nonlinearity, **settings)
    elif isinstance(layer, nn.LSTM):
        cell = nn.LSTMCell(N, H, peepholes=layer.peepholes, **settings)
    else:
        cell = nn.GRUCell(N, H, reset_after=layer.reset_after, **settings)
    x = tgs.tensor(normal(T, B, N))
    out, last, trace = layer(x, lengths=[2, 4], return_trace=True)
    for d, ending in enumerate(("_l0", "_l0_reverse")):
        cell.double().load_state_dict({n: getattr(layer, n + ending) for n in cell.shapes(1)})
        mine, state, gates = nn.unroll(cell, x, lengths=[2, 4], reverse=bool(d), return_trace=True)
        np.testing.assert_allclose(mine.numpy(), out.numpy()[..., d * H : d * H + H], atol=1e-12)
        for a, b in zip(parts(state), parts(last), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy()[d], atol=1e-12)
        for gate, values in gates.items():
            np.testing.assert_allclose(values.numpy(), trace[gate + ending].numpy(), atol=1e-12)


def test_kernels_of_one_formula_agree():
    """What runs fast and what shows its gates are the same numbers, bit for bit; so are composed gates to 1e-6."""
    xw, hu, c = (tgs.tensor(normal(5, n, seed=n).astype("float32")) for n in (28, 28, 7))
    h, new = lstm_gates(xw, hu, c)
    for other in (lstm_variant(xw, hu, c), lstm_variant(xw, hu, c, traced=True)[:2]):
        np.testing.assert_array_equal(h.numpy(), other[0].numpy())
        np.testing.assert_array_equal(new.numpy(), other[1].numpy())
    with tgs.composed():
        np.testing.assert_allclose(lstm_gates(xw, hu, c)[0].numpy(), h.numpy(), atol=1e-6)


# ---- derivatives ---------------------------------------------------------------------------------------------
@each_layer
def test_gradcheck_through_every_layer_at_order_1_and_2(name):
    """Input, states and parameters, both directions, with lengths, all gates in the loss."""
    layer = made(name, bidirectional=True)
    x = tgs.tensor(normal(3, B, N), requires_grad=True)
    starts = [tgs.tensor(normal(2, B, n, seed=n), requires_grad=True) for n in cell_of(layer).widths.values()]

    def fn(x, *given):
        state = given[: len(starts)]
        state = tuple(state) if len(starts) > 1 else state[0]
        out, last, trace = layer(x, state, lengths=[3, 1], return_trace=True)
        return (out, *parts(last), *trace.values())

    with running(name) if name in ("RNN", "LSTM", "GRU", "LSTMCell", "GRUCell") else tgs.composed():
        for order in (1, 2):
            assert tgs.gradcheck(fn, [x, *starts, *layer.parameters()], order=order)


@each_cell
def test_gradcheck_through_every_cell_at_order_1_and_2(name):
    """Two steps of the cell: input, states and parameters."""
    cell = made(name)
    x = tgs.tensor(normal(2, B, N), requires_grad=True)
    starts = [tgs.tensor(normal(B, n, seed=n), requires_grad=True) for n in cell.widths.values()]

    def fn(x, *given):
        state = tuple(given[: len(starts)]) if len(starts) > 1 else given[0]
        return parts(cell(x[1], cell(x[0], state)))

    with running(name) if name in ("RNN", "LSTM", "GRU", "LSTMCell", "GRUCell") else tgs.composed():
        for order in (1, 2):
            assert tgs.gradcheck(fn, [x, *starts, *cell.parameters()], order=order)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_through_zoneout_and_recurrent_dropout(name, training):
    """The same masks at every call: order 1 and 2."""
    layer = made(name, zoneout=0.3, recurrent_dropout=0.4).train(training)
    x = tgs.tensor(normal(3, B, N), requires_grad=True)
    with tgs.composed():
        for order in (1, 2):
            assert tgs.gradcheck(lambda x, *_: layer(x)[0], [x, *layer.parameters()], order=order)


@pytest.mark.parametrize("name", sorted(BUILT & set(LAYERS)))
def test_composed_gives_the_same_gradients(name):
    """Without kernels: outputs and gradients to 1e-12 in float64."""
    layer, results = made(name), []
    for composed in (False, True):
        x = tgs.tensor(normal(T, B, N), requires_grad=True)
        layer.zero_grad()
        if composed:
            with tgs.composed():
                out = layer(x, lengths=[4, 2])[0]
        else:
            out = layer(x, lengths=[4, 2])[0]
        (out * out).sum().backward()
        results.append([out, x.grad, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)


def test_a_trace_can_be_learnt_from():
    """A penalty on a gate reaches the weights; without it they get the plain gradient."""
    layer, x = made("LSTM"), tgs.tensor(normal(T, B, N))
    *_, trace = layer(x, return_trace=True)
    trace["f_l0"].sum().backward()
    assert np.abs(layer.weight_ih_l0.grad.numpy()[H : 2 * H]).min() > 0
    assert not layer.weight_ih_l0.grad.numpy()[3 * H :, :].any() or T > 1
    plain, shown = layer(x)[0], layer(x, return_trace=True)[0]
    np.testing.assert_allclose(plain.numpy(), shown.numpy(), atol=1e-15)


def test_traces_lie_as_the_output_does():
    """(B, T, H) with batch_first, (T, H) for a single sequence."""
    x = normal(B, T, N)
    layer = made("GRU", batch_first=True)
    out, _, trace = layer(tgs.tensor(x), return_trace=True)
    assert set(trace) == {"r_l0", "z_l0", "n_l0", "h_l0"}
    assert {t.shape for t in trace.values()} == {(B, T, H)}
    np.testing.assert_array_equal(trace["h_l0"].numpy(), out.numpy())
    alone = layer(tgs.tensor(x[0]), return_trace=True)[2]["h_l0"]
    np.testing.assert_allclose(alone.numpy(), out.numpy()[0], atol=1e-15)


# ---- states, time and edges ----------------------------------------------------------------------------------
@each_layer
def test_no_state_is_the_zero_state(name):
    """Bit for bit, with non-zero biases, in every layer and direction."""
    layer, x = made(name, num_layers=2, bidirectional=True), tgs.tensor(normal(T, B, N))
    zeros = tuple(tgs.zeros(4, B, n, dtype="float64") for n in cell_of(layer).widths.values())
    out, last = layer(x)
    same, state = layer(x, zeros if len(zeros) > 1 else zeros[0])
    np.testing.assert_array_equal(out.numpy(), same.numpy())
    for a, b in zip(parts(last), parts(state), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@each_layer
def test_a_sequence_in_two_parts_is_the_sequence(name):
    """The state carries all that the layer knows of the past."""
    layer, x = made(name, num_layers=2), tgs.tensor(normal(T, B, N))
    whole, last = layer(x)
    first, state = layer(x[:1])
    second, state = layer(x[1:], state)
    np.testing.assert_allclose(tgs.concat([first, second]).numpy(), whole.numpy(), atol=1e-14)
    np.testing.assert_allclose(parts(state)[0].numpy(), parts(last)[0].numpy(), atol=1e-14)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "LSTM everything", "GRU", "GRU before, layer norm"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 0), (1, 0), (1, 1)])
def test_one_step_and_no_rows(name, shape):
    """T = 1 and B = 0, with gradients, both directions, lengths too."""
    steps, rows = shape
    layer = made(name, bidirectional=True)
    x = tgs.tensor(normal(steps, rows, N), requires_grad=True)
    for lengths in (None, np.full(rows, steps), np.zeros(rows, int)):
        out, last = layer(x, lengths=lengths)
        assert out.shape == (steps, rows, 2 * cell_of(layer).widths["h"])
        assert parts(last)[-1].shape == (2, rows, H)
        out.sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_one_unit(layer, layer_norm):
    """Width 1: three steps and their gradient against finite differences; a norm over one number is 0."""
    one = layer(1, 1, layer_norm=layer_norm, rng=tgs.Generator(0), dtype="float64")
    x = tgs.tensor(normal(3, 2, 1), requires_grad=True)
    with tgs.composed():
        assert tgs.gradcheck(lambda x, *_: one(x)[0], [x, *one.parameters()], order=2)
        out = one(x)[0]
    np.testing.assert_allclose(one(x)[0].numpy(), out.numpy(), atol=1e-14)


@pytest.mark.once
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_ten_thousand_steps(layer):
    """The walk and the freeing have no depth; the gradient of the first input has vanished, not failed."""
    x = tgs.randn(10_000, 1, 1, requires_grad=True, rng=tgs.Generator(0))
    out, _ = layer(1, 2, rng=tgs.Generator(1))(x)
    out[-1].sum().backward()
    assert np.abs(x.grad.numpy()[-1]).max() > 1e-4
    assert np.abs(x.grad.numpy()[0]).max() < 1e-20
    del out
    gc.collect()


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_extreme_weights_saturate(layer):
    """Weights of 1e4: outputs at their bounds, gradients finite."""
    one = layer(N, H, rng=tgs.Generator(0))
    for p in one.parameters():
        p.assign(p.numpy() * 1e4)
    x = tgs.tensor(normal(T, B, N).astype("float32"), requires_grad=True)
    out, _ = one(x)
    out.sum().backward()
    assert np.abs(out.numpy()).max() <= 1.0
    assert np.isfinite(x.grad.numpy()).all()


def test_rnn_of_one_step_is_the_mlp():
    """With h_0 = 0: tanh(W x + b)."""
    rnn, x = made("RNN"), tgs.tensor(normal(1, B, N))
    mlp = F.linear(x[0], rnn.weight_ih_l0, rnn.bias_ih_l0 + rnn.bias_hh_l0).tanh()
    np.testing.assert_allclose(rnn(x)[0].numpy()[0], mlp.numpy(), atol=1e-15)


def test_an_update_gate_of_1_keeps_the_state_exactly():
    """Bit for bit, in both forms: (1 - z) n + z h with z = 1 is h."""
    for reset_after in (True, False):
        cell = nn.GRUCell(N, H, reset_after=reset_after, rng=tgs.Generator(0))
        cell.bias_ih.array[H : 2 * H] = 1e4
        h = tgs.tensor(normal(B, H).astype("float32"))
        np.testing.assert_array_equal(cell(tgs.ones(B, N), h).numpy(), h.numpy())


def test_counts():
    """A GRU has three quarters of the LSTM's parameters."""
    assert nn.LSTM(28, 256, 2).count() == 4 * (28 * 256 + 3 * 256 * 256 + 4 * 256)
    assert nn.GRU(28, 256, 2).count() / nn.LSTM(28, 256, 2).count() == 0.75


def test_ops_know_layer_direction_and_the_real_step():
    """The reverse direction counts time as the sequence does."""
    out, _ = nn.GRU(N, H, 2, bidirectional=True)(tgs.randn(T, 1, N))
    rows = [row for row in tgs.Tape.of(out) if row.op in ("gru_gates", "tanh")]
    assert {(row.scope, row.step) for row in rows} == {
        (f"gru/layer{k}{end}", t) for k in range(2) for end in ("", "_reverse") for t in range(T)
    }
    indices = {(row.scope, row.step): i for i, row in enumerate(rows)}
    assert indices["gru/layer0", 0] < indices["gru/layer0", 3]
    assert indices["gru/layer0_reverse", 0] > indices["gru/layer0_reverse", 3]


def test_layers_copy_and_describe_themselves():
    """A deep copy learns apart; the repr says what differs from the usual."""
    layer = made("LSTM everything", num_layers=2, bidirectional=True)
    twin = copy.deepcopy(layer)
    x = tgs.tensor(normal(T, B, N))
    np.testing.assert_array_equal(layer(x)[0].numpy(), twin(x)[0].numpy())
    assert twin.weight_ih_l0 is not layer.weight_ih_l0
    assert layer.describe() == (
        "2, 3, num_layers=2, bidirectional=True, proj_size=2, layer_norm=True, peepholes=True"
    )
    assert nn.RNN(2, 3, 1, "relu", zoneout=0.1).describe() == "2, 3, nonlinearity=relu, zoneout=(0.1,)"
    assert nn.GRUCell(2, 3, False, reset_after=False).describe() == "2, 3, bias=False, reset_after=False"


# ---- dropout of three kinds ----------------------------------------------------------------------------------
def test_dropout_acts_between_layers_alone():
    """With p = 1 the second layer sees zeros; with one layer nothing happens but a warning; eval has none."""
    layer, x = made("RNN", num_layers=2, dropout=1.0), tgs.tensor(normal(T, B, N))
    dropped = layer(x)[0].numpy()
    below, _, _ = numpy_layer(layer, x.numpy(), [np.zeros((B, H))])
    alone, _, _ = numpy_layer(layer, below * 0, [np.zeros((B, H))], k=1)
    np.testing.assert_allclose(dropped, alone, atol=1e-14)
    full, _, _ = numpy_layer(layer, below, [np.zeros((B, H))], k=1)
    np.testing.assert_allclose(layer.eval()(x)[0].numpy(), full, atol=1e-14)
    with pytest.warns(UserWarning, match="acts between layers") as caught:
        nn.LSTM(N, H, dropout=0.5)
    assert str(caught[0].message) == (
        "LSTM: dropout acts between layers, and there is one.\n"
        "  dropout: 0.5\n"
        "  expected num_layers of 2 or more, or dropout=0.0."
    )
    assert caught[0].filename == __file__


def test_recurrent_dropout_draws_one_mask_a_sequence():
    """The same mask at all steps, another for each row, layer and call; drawn from `dropout_rng`; eval has none."""
    layer = nn.RNN(
        H, H, nonlinearity="identity", bias=False, recurrent_dropout=0.5, dropout_rng=tgs.Generator(3)
    )
    layer.weight_hh_l0.assign(np.eye(H, dtype="float32"))
    layer.weight_ih_l0.assign(np.eye(H, dtype="float32"))
    x = np.zeros((4, 50, H), "float32")
    x[0] = 1.0
    out = layer(tgs.tensor(x))[0].numpy()
    mask = sequence_mask(50, H, 0.5, "float32", tgs.Generator(3)).numpy()
    assert set(np.unique(mask)) == {0.0, 2.0}
    assert 0.3 < (mask == 0).mean() < 0.7
    for t in range(4):
        np.testing.assert_array_equal(out[t], mask**t)
    assert (layer(tgs.tensor(x))[0].numpy() != out).any()
    np.testing.assert_array_equal(layer.eval()(tgs.tensor(x))[0].numpy(), np.ones_like(out))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "GRU reset before"])
def test_recurrent_dropout_leaves_the_carried_state_whole(name):
    """With p = 1 only W_hh h is gone: the formula with W_hh = 0, the old h and c still there."""
    dropped, bare = made(name, recurrent_dropout=1.0), made(name)
    bare.weight_hh_l0.assign(np.zeros_like(bare.weight_hh_l0.numpy()))
    x = tgs.tensor(normal(T, B, N))
    np.testing.assert_allclose(dropped(x)[0].numpy(), bare(x)[0].numpy(), atol=1e-14)


def test_zoneout_keeps_what_was():
    """Training: each element old or new, the share of old near p; not training: the mean; 1 keeps everything."""
    new, old = tgs.ones(1000), tgs.zeros(1000)
    z = nn.zoneout(new, old, 0.3, rng=tgs.Generator(0)).numpy()
    assert set(np.unique(z)) == {0.0, 1.0}
    assert 0.25 < (z == 0).mean() < 0.35
    pair = nn.zoneout((new, new), (old, old), 0.3, rng=tgs.Generator(0))
    assert (pair[0].numpy() != pair[1].numpy()).any()
    np.testing.assert_allclose(nn.zoneout(new, old, 0.3, training=False).numpy(), 0.7, rtol=1e-6)
    assert nn.zoneout(new, old, 0.0) is new
    x, h = tgs.tensor(normal(T, B, N)), tgs.tensor(normal(1, B, H))
    layer = made("GRU", zoneout=1.0)
    np.testing.assert_array_equal(layer(x, h)[1].numpy(), h.numpy())


def test_zoneout_of_layers_is_the_formula():
    """Not training, h and c with their own p: c = p c + (1 - p) c_new, and the trace shows what is carried."""
    layer = made("LSTM", zoneout=(0.2, 0.6)).eval()
    x = normal(T, B, N)
    out, (h, c), trace = layer(tgs.tensor(x), return_trace=True)
    w = {n: getattr(layer, f"{n}_l0").numpy() for n in cell_of(layer).shapes(1)}
    state = (np.zeros((B, H)), np.zeros((B, H)))
    for t in range(T):
        new, _ = numpy_step(cell_of(layer), w, x[t], state)
        state = tuple(p * o + (1 - p) * n for p, n, o in zip((0.2, 0.6), new, state, strict=True))
        np.testing.assert_allclose(out.numpy()[t], state[0], atol=1e-14)
        np.testing.assert_allclose(trace["c_l0"].numpy()[t], state[1], atol=1e-14)
    np.testing.assert_allclose(c.numpy()[0], state[1], atol=1e-14)
    np.testing.assert_allclose(h.numpy()[0], state[0], atol=1e-14)


def test_randomness_is_passed_or_named():
    """The same generators give the same weights and masks; the streams of weights and masks are apart."""

    def run():
        layer = nn.LSTM(N, H, 2, dropout=0.5, zoneout=0.2, rng=tgs.Generator(1), dropout_rng=tgs.Generator(2))
        return layer(tgs.ones(T, B, N))[0].numpy()

    first = run()
    tgs.rand(3)
    np.testing.assert_array_equal(run(), first)


# ---- starts --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_inits(layer):
    """orthogonal: each block's columns at right angles, of length 1; identity: the identity; both with biases 0."""
    w = layer(5, 6, init="orthogonal", rng=tgs.Generator(0), dtype="float64")
    blocks = w.weight_hh_l0.numpy().reshape(-1, 6, 6)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(6), atol=1e-12)
    assert len({round(float(b[0, 0]), 9) for b in blocks}) == len(blocks)
    assert not w.bias_ih_l0.numpy().any()
    assert 0.3 < np.abs(w.weight_ih_l0.numpy()).max() <= 1 / np.sqrt(6)
    w = layer(5, 6, init="identity")
    np.testing.assert_array_equal(w.weight_hh_l0.numpy().reshape(-1, 6, 6), [np.eye(6)] * len(blocks))


def test_orthogonal_favours_no_direction():
    """The first entry of many draws has mean 0: without the signs QR gives only negative ones."""
    rng = tgs.Generator(0)
    corners = [nn.RNN(1, 3, init="orthogonal", rng=rng).weight_hh_l0.numpy()[0, 0] for _ in range(200)]
    assert abs(np.mean(corners)) < 0.15
    p = nn.LSTM(4, 6, proj_size=2, init="orthogonal", rng=rng, dtype="float64").weight_hh_l0.numpy()
    np.testing.assert_allclose(p[:6].T @ p[:6], np.eye(2), atol=1e-12)


def test_identity_rnn_neither_grows_nor_falls():
    """With the identity, no biases and no activation the gradient is the same at every step, exactly."""
    layer = nn.RNN(1, 4, nonlinearity="identity", init="identity")
    x = tgs.zeros(50, 1, 1, requires_grad=True)
    layer(x)[0][-1].sum().backward()
    assert len(set(x.grad.numpy().ravel().tolist())) == 1


def test_forget_bias_is_the_sum_of_both():
    """Whatever init is; all other weights as without."""
    for init in ("torch", "orthogonal"):
        plain, with_bias = (
            nn.LSTM(N, H, init=init, forget_bias=b, rng=tgs.Generator(0)) for b in (None, 1.5)
        )
        both = with_bias.bias_ih_l0.numpy() + with_bias.bias_hh_l0.numpy()
        np.testing.assert_array_equal(both[H : 2 * H], 1.5)
        np.testing.assert_array_equal(with_bias.weight_hh_l0.numpy(), plain.weight_hh_l0.numpy())
        np.testing.assert_array_equal(with_bias.bias_ih_l0.numpy()[:H], plain.bias_ih_l0.numpy()[:H])
    assert nn.LSTMCell(N, H, forget_bias=2).bias_ih.numpy()[H] == 2.0


# ---- unroll --------------------------------------------------------------------------------------------------
def test_unroll_backwards_keeps_the_places_of_outs():
    """outs[t] belongs to xs[t]; time marks too."""
    xs = tgs.tensor([[1.0], [2.0], [4.0]], requires_grad=True)
    outs, last = nn.unroll(lambda x, s: (s + x, s + x), xs, tgs.zeros(1), reverse=True)
    assert outs.tolist() == [[7.0], [6.0], [4.0]]
    assert last.tolist() == [7.0]
    assert {row.step for row in tgs.Tape.of(outs) if row.op == "add"} == {0, 1, 2}


def test_unroll_takes_nested_states_and_gives_traces():
    """Tuples in tuples, None inside, a named tuple kept as one; the trace stacked."""
    import collections

    Pair = collections.namedtuple("Pair", "a b")

    def cell(x, state):
        total, (count, none) = state
        new = Pair(total + x, (count + 1.0, none))
        return new.a, new, {"seen": x * 2.0}

    xs = tgs.tensor([[1.0, 10.0], [2.0, 20.0]])
    start = Pair(tgs.zeros(2), (tgs.zeros(2), None))
    outs, last, trace = nn.unroll(cell, xs, start, lengths=[2, 1], return_trace=True)
    assert type(last) is Pair
    assert last.a.tolist() == [3.0, 10.0]
    assert last.b[0].tolist() == [2.0, 1.0]
    assert trace["seen"].tolist() == [[2.0, 20.0], [4.0, 0.0]]
    assert outs.tolist() == [[1.0, 10.0], [3.0, 0.0]]
    assert type(nn.detach(last[:1])[0]) is tgs.Tensor
    assert type(nn.detach(Pair(xs, xs))) is Pair


def test_cells_begin_from_zeros_of_their_own_dtype():
    """`init_state` gives what `unroll` takes."""
    cell = made("LSTMCell")
    h, c = cell.init_state(B)
    assert (h.shape, c.dtype.name) == ((B, H), "float64")
    x = tgs.tensor(normal(T, B, N))
    np.testing.assert_array_equal(nn.unroll(cell, x, (h, c))[0].numpy(), nn.unroll(cell, x)[0].numpy())
    assert nn.GRUCell(N, H).init_state(2, "float64").dtype.name == "float64"
    row = next(r for r in tgs.Tape.of(nn.unroll(cell, x)[0]) if r.op == "matmul")
    assert row.scope == "lstmcell"


def test_default_layers_warn_of_nothing():
    """No warning without a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.GRU(N, H, 2, dropout=0.5)
        nn.RNN(N, H)


# ---- what is refused -----------------------------------------------------------------------------------------
def x_(*shape):
    return tgs.zeros(*shape)


REFUSED = {
    "a nonlinearity": (
        lambda: nn.RNN(2, 3, 1, True),
        "RNN: no such nonlinearity.\n  nonlinearity: True\n"
        "  expected 'tanh', 'relu', 'sigmoid' or 'identity'.",
    ),
    "a cell's nonlinearity": (
        lambda: nn.RNNCell(2, 3, nonlinearity="gelu"),
        "RNNCell: no such nonlinearity.\n  nonlinearity: 'gelu'\n"
        "  expected 'tanh', 'relu', 'sigmoid' or 'identity'.",
    ),
    "a word for a switch": (
        lambda: nn.LSTM(2, 3, 1, "relu"),
        "LSTM: bias is no flag.\n  bias: 'relu'\n  expected True or False.",
    ),
    "a projection as wide as the state": (
        lambda: nn.LSTM(2, 3, proj_size=3),
        "LSTM: proj_size out of range.\n  proj_size: 3\n"
        "  expected 0 for none, or a whole number below hidden_size, 3.",
    ),
    "no layers": (
        lambda: nn.GRU(2, 3, 0),
        "GRU: num_layers is no size.\n  expected a whole number of at least 1, got 0.",
    ),
    "dropout": (
        lambda: nn.GRU(2, 3, dropout=True),
        "GRU: dropout out of range.\n  expected a probability from 0 to 1, got True.",
    ),
    "zoneout of a pair": (
        lambda: nn.GRU(2, 3, zoneout=(0.1, 0.1)),
        "GRU: zoneout does not fit.\n  zoneout: (0.1, 0.1)\n  expected one probability, or one for each of h.",
    ),
    "zoneout": (
        lambda: nn.zoneout(x_(1), x_(1), 1.5),
        "zoneout: p out of range.\n  expected a probability from 0 to 1, got 1.5.",
    ),
    "init": (
        lambda: nn.GRU(2, 3, init="xavier"),
        "GRU: no such init.\n  init: 'xavier'\n  expected 'torch', 'orthogonal' or 'identity'.",
    ),
    "a forget bias without biases": (
        lambda: nn.LSTM(2, 3, bias=False, forget_bias=1.0),
        "LSTM: nothing holds the forget bias.\n  bias: False\n  expected an LSTM with biases.",
    ),
    "a forget bias of a word": (
        lambda: nn.LSTM(2, 3, forget_bias="1"),
        "LSTM: forget_bias is no number.\n  forget_bias: '1'\n  expected a number or None.",
    ),
    "a wrong input": (
        lambda: nn.GRU(3, 4, batch_first=True)(x_(5, 2, 7)),
        "GRU: the input does not fit.\n  input: f32(5, 2, 7)\n  expected (B, T, 3) or (T, 3).",
    ),
    "no steps": (
        lambda: nn.GRU(3, 4, batch_first=True)(x_(5, 0, 3)),
        "GRU: no time steps.\n  input: f32(5, 0, 3)\n  expected at least one.",
    ),
    "a pair for a GRU": (
        lambda: nn.GRU(3, 4)(x_(5, 2, 3), (x_(1, 2, 4), x_(1, 2, 4))),
        "GRU: the state does not fit.\n"
        "  state[0]: f32(1, 2, 4)\n  state[1]: f32(1, 2, 4)\n"
        "  expected one tensor, h_0.",
    ),
    "a state of one direction": (
        lambda: nn.GRU(3, 4, bidirectional=True)(x_(5, 2, 3), x_(1, 2, 4)),
        "GRU: h_0 does not fit.\n  input: f32(5, 2, 3)\n  h_0: f32(1, 2, 4)\n  expected (2, 2, 4).",
    ),
    "a batched state for one sequence": (
        lambda: nn.LSTM(3, 4)(x_(5, 3), (x_(1, 4), x_(1, 1, 4))),
        "LSTM: c_0 does not fit.\n  input: f32(5, 3)\n  c_0: f32(1, 1, 4)\n  expected (1, 4).",
    ),
    "a cell's input": (
        lambda: nn.LSTMCell(3, 4)(x_(2, 5)),
        "LSTMCell: the input does not fit.\n  input: f32(2, 5)\n  expected (B, 3) or (3,).",
    ),
    "a cell's state": (
        lambda: nn.GRUCell(3, 4)(x_(2, 3), x_(1, 4)),
        "GRUCell: h does not fit.\n  input: f32(2, 3)\n  h: f32(1, 4)\n  expected (2, 4).",
    ),
    "a cell's sequence": (
        lambda: nn.unroll(nn.GRUCell(3, 4), x_(5, 3)),
        "GRUCell: the input does not fit.\n  xs: f32(5, 3)\n  expected (T, B, 3).",
    ),
    "a cell that returns no pair": (
        lambda: nn.unroll(lambda x, s: x, x_(2, 2), None),
        "unroll: the cell returned something else.\n  value: f32(2,)\n  expected a pair (out, state).",
    ),
    "a cell that returns no trace": (
        lambda: nn.unroll(lambda x, s: (x, s), x_(2, 2), None, return_trace=True),
        "unroll: the cell returned something else.\n  value 0: f32(2,)\n  value 1: None\n"
        "  expected three: (out, state, trace).",
    ),
    "nothing to unroll": (
        lambda: nn.unroll(lambda x, s: (x, s), x_(0, 2), None),
        "unroll: no time steps.\n  xs: f32(0, 2)\n  expected at least one.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value) == text


def test_settings_of_another_layer_are_no_settings():
    """As in PyTorch, a GRU and an RNN take no proj_size."""
    for layer in (nn.RNN, nn.GRU):
        with pytest.raises(TypeError, match="proj_size"):
            layer(2, 3, proj_size=1)
