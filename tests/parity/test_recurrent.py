"""Recurrent layers and cells against PyTorch by loaded weights: outputs, last states, every gradient, packing."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tinygrad_seq import nn

# PyTorch says once that oneDNN has no projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
N, H, B = 4, 5, 3
KINDS = {
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM projected": ("LSTM", {"proj_size": 2}),
    "GRU": ("GRU", {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """PyTorch's threads cost more than they give on a few numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def both(kind, dtype, **settings):
    """The same layer twice: PyTorch's, with larger weights than it starts with, and ours with its weights."""
    name, own = KINDS[kind]
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(N, H, **own, **settings).to(getattr(torch, dtype))
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype))
    ours = getattr(nn, name)(N, H, **own, **settings).to(dtype)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def agree(mine, other, dtype):
    """Within the tolerance of the dtype, relative to the largest entry where that is above 1."""
    other = other.detach().numpy()
    assert mine.shape == other.shape
    scale = max(1.0, np.abs(other).max(initial=0.0))
    np.testing.assert_allclose(mine.numpy(), other, rtol=0, atol=TOLERANCE[dtype] * scale)


def parts(state):
    """The tensors of a state."""
    return state if isinstance(state, tuple) else (state,)


def total(out, state):
    """A loss that every number of the results reaches differently."""
    return (out * out).sum() + sum((s * s * s).sum() for s in parts(state))


def results_agree(ours, theirs, mine, other, dtype):
    """Outputs, last states, and the gradients of inputs, states and parameters."""
    (out, state, inputs), (their_out, their_state, their_inputs) = mine, other
    agree(out, their_out, dtype)
    for a, b in zip(parts(state), parts(their_state), strict=True):
        agree(a, b, dtype)
    total(out, state).backward()
    total(their_out, their_state).backward()
    for a, b in zip(inputs, their_inputs, strict=True):
        agree(a.grad, b.grad, dtype)
    named = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        agree(p.grad, named[name].grad, dtype)


def states_of(kind, layers, directions, rows, rng, dtype):
    """First states as arrays."""
    widths = {"RNN": (H,), "RNN relu": (H,), "LSTM": (H, H), "LSTM projected": (2, H), "GRU": (H,)}[kind]
    return [0.5 * rng.standard_normal((layers * directions, *rows, w)).astype(dtype) for w in widths]


@each_kind
@each_dtype
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("directions", [1, 2])
def test_layers_equal_pytorchs(kind, dtype, layers, directions):
    """1 and 13 steps x batch, batch first, a single sequence x a state, none x biases, none.

    All of them in float64; in float32 every second one, in which each two choices meet.
    """
    rng = np.random.default_rng(7)
    forms = itertools.product([1, 13], ["time", "batch", "alone"], [True, False], [True, False])
    for i, (steps, layout, with_state, bias) in enumerate(forms):
        if dtype == "float32" and (i // 12 + i // 4 + i // 2 + i) % 2:
            continue
        settings = {"num_layers": layers, "bias": bias, "bidirectional": directions == 2}
        ours, theirs = both(kind, dtype, batch_first=layout == "batch", **settings)
        shape = {"time": (steps, B, N), "batch": (B, steps, N), "alone": (steps, N)}[layout]
        rows = () if layout == "alone" else (B,)
        arrays = [rng.standard_normal(shape).astype(dtype)]
        if with_state:
            arrays += states_of(kind, layers, directions, rows, rng, dtype)
        mine = [tgs.tensor(a, requires_grad=True) for a in arrays]
        other = [torch.tensor(a, requires_grad=True) for a in arrays]
        state, their_state = (
            None if not with_state else s[1] if len(s) == 2 else tuple(s[1:]) for s in (mine, other)
        )
        results_agree(
            ours, theirs, (*ours(mine[0], state), mine), (*theirs(other[0], their_state), other), dtype
        )


@each_kind
@each_dtype
@pytest.mark.parametrize("directions", [1, 2])
def test_lengths_equal_packed_sequences(kind, dtype, directions):
    """Unsorted lengths, with a state, two layers, NaN in our padding: outputs, last states, every gradient."""
    rng, lengths, steps = np.random.default_rng(3), [4, 7, 1, 7, 2], 7
    ours, theirs = both(kind, dtype, num_layers=2, bidirectional=directions == 2)
    x = rng.standard_normal((steps, 5, N)).astype(dtype)
    spoilt = x.copy()
    for b, n in enumerate(lengths):
        spoilt[n:, b] = np.nan
    states = states_of(kind, 2, directions, (5,), rng, dtype)
    mine = [tgs.tensor(a, requires_grad=True) for a in (spoilt, *states)]
    other = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    state, their_state = (s[1] if len(s) == 2 else tuple(s[1:]) for s in (mine, other))
    packed = torch.nn.utils.rnn.pack_padded_sequence(other[0], torch.tensor(lengths), enforce_sorted=False)
    their_out, their_last = theirs(packed, their_state)
    their_out, _ = torch.nn.utils.rnn.pad_packed_sequence(their_out, total_length=steps)
    out, last = ours(mine[0], state, lengths=lengths)
    results_agree(ours, theirs, (out, last, mine), (their_out, their_last, other), dtype)


CELLS = {
    "RNNCell": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", {"nonlinearity": "relu"}),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
}


@pytest.mark.parametrize("cell", CELLS)
@each_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_cells_equal_pytorchs(cell, dtype, bias, alone, with_state):
    """Three steps by hand, and PyTorch's cell in a loop against our `unroll`."""
    name, own = CELLS[cell]
    torch.manual_seed(1)
    theirs = getattr(torch.nn, name)(N, H, bias, **own).to(getattr(torch, dtype))
    ours = getattr(nn, name)(N, H, bias, **own).to(dtype)
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    assert (ours.bias_ih is None) == (not bias)
    rng = np.random.default_rng(2)
    rows = () if alone else (B,)
    shapes = [(3, *rows, N), *([(*rows, H)] * ((2 if name == "LSTMCell" else 1) * with_state))]
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    mine = [tgs.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    first = [None if not with_state else s[1] if len(s) == 2 else tuple(s[1:]) for s in (mine, other)]
    state, their_state, outs = *first, []
    for t in range(3):
        state, their_state = ours(mine[0][t], state), theirs(other[0][t], their_state)
        outs.append(parts(their_state)[0])
    if not alone:
        unrolled, last = nn.unroll(ours, mine[0], first[0])
        agree(unrolled, torch.stack(outs), dtype)
        for a, b in zip(parts(last), parts(their_state), strict=True):
            agree(a, b, dtype)
    out, their_out = parts(state)[0], parts(their_state)[0]
    results_agree(ours, theirs, (out, state, mine), (their_out, their_state, other), dtype)


@each_kind
def test_second_derivatives_equal_pytorchs(kind):
    """The gradient of a gradient's squared norm, two layers both ways, for input, states and weights."""
    ours, theirs = both(kind, "float64", num_layers=2, bidirectional=True)
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal((4, B, N)), *states_of(kind, 2, 2, (B,), rng, "float64")]
    mine = [tgs.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    state, their_state = (s[1] if len(s) == 2 else tuple(s[1:]) for s in (mine, other))
    inputs, their_inputs = [*mine, *ours.parameters()], [*other, *theirs.parameters()]
    gs = tgs.grad(total(*ours(mine[0], state)), inputs, create_graph=True)
    their_gs = torch.autograd.grad(total(*theirs(other[0], their_state)), their_inputs, create_graph=True)
    seconds = tgs.grad(sum((g * g).sum() for g in gs), inputs)
    their_seconds = torch.autograd.grad(sum((g * g).sum() for g in their_gs), their_inputs)
    for a, b in zip([*gs, *seconds], [*their_gs, *their_seconds], strict=True):
        agree(a, b, "float64")


@each_kind
def test_jacobians_and_hvps_equal_pytorchs(kind):
    """d out / d h_0 whole, and a Hessian times a vector along the input."""
    ours, theirs = both(kind, "float64")
    rng = np.random.default_rng(6)
    x, v = rng.standard_normal((2, 3, 1, N))
    states = states_of(kind, 1, 1, (1,), rng, "float64")

    def run(layer, make):
        rest = [make(s) for s in states[1:]]

        def of_h(h):
            return layer(make(x), (h, *rest) if rest else h)[0]

        def of_x(z):
            return (layer(z)[0] ** 3).sum()

        return of_h, of_x

    (of_h, of_x), (their_of_h, their_of_x) = run(ours, tgs.tensor), run(theirs, torch.tensor)
    mine = tgs.jacobian(of_h, tgs.tensor(states[0]))
    agree(mine, torch.autograd.functional.jacobian(their_of_h, torch.tensor(states[0])), "float64")
    mine = tgs.hvp(of_x, tgs.tensor(x), tgs.tensor(v))
    _, theirs_too = torch.autograd.functional.hvp(their_of_x, torch.tensor(x), torch.tensor(v))
    agree(mine[1] if isinstance(mine, tuple) else mine, theirs_too, "float64")


@each_kind
def test_weights_move_both_ways_and_start_alike(kind):
    """Ours into PyTorch; the same names in the same order; the same bounds at the start."""
    name, own = KINDS[kind]
    ours = getattr(nn, name)(N, 40, num_layers=2, bidirectional=True, **own)
    theirs = getattr(torch.nn, name)(N, 40, num_layers=2, bidirectional=True, **own)
    theirs.load_state_dict({n: torch.tensor(t.numpy()) for n, t in ours.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(2).standard_normal((4, 2, N)).astype("float32")
    agree(ours(tgs.tensor(x))[0], theirs(torch.tensor(x))[0], "float32")
    for _, p in ours.named_parameters():
        assert 0.8 / np.sqrt(40) < np.abs(p.numpy()).max() <= 1 / np.sqrt(40)


@each_kind
def test_dropout_stands_where_pytorchs_does(kind):
    """With p = 1 no draw matters: the outputs of all layers but the last are zero."""
    ours, theirs = both(kind, "float64", num_layers=3, dropout=1.0)
    x = np.random.default_rng(2).standard_normal((4, 2, N))
    agree(ours(tgs.tensor(x))[0], theirs(torch.tensor(x))[0], "float64")
    agree(ours.eval()(tgs.tensor(x))[0], theirs.eval()(torch.tensor(x))[0], "float64")


def test_positional_arguments_mean_the_same():
    """Our signatures begin with PyTorch's, in its order."""
    rnn = nn.RNN(N, H, 2, "relu", False, True, 0.5, True)
    theirs = torch.nn.RNN(N, H, 2, "relu", False, True, 0.5, True)
    lstm, their_lstm = (m.LSTM(N, H, 2, False, True, 0.5, True, 2) for m in (nn, torch.nn))
    gru, their_gru = (m.GRU(N, H, 2, False, True, 0.5, True) for m in (nn, torch.nn))
    for mine, other in ((rnn, theirs), (lstm, their_lstm), (gru, their_gru)):
        assert list(mine.state_dict()) == list(other.state_dict())
        for name in ("num_layers", "bias", "batch_first", "dropout", "bidirectional"):
            assert getattr(mine, name) == getattr(other, name)
    assert rnn.nonlinearity == theirs.nonlinearity
    cell = nn.RNNCell(N, H, False, "relu")
    assert (cell.bias, cell.nonlinearity) == (False, "relu")
