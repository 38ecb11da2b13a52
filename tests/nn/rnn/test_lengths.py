"""Rows of different lengths: each row gives what it gives alone, and padding is never read."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn

pytestmark = [pytest.mark.engine, pytest.mark.laws]

N, H, T = 2, 3, 5
LENGTHS = [3, 0, 5, 1, 3]
B = len(LENGTHS)
LAYERS = {
    "RNN": lambda **k: nn.RNN(N, H, **k),
    "LSTM": lambda **k: nn.LSTM(N, H, **k),
    "LSTM everything": lambda **k: nn.LSTM(N, H, proj_size=2, peepholes=True, layer_norm=True, **k),
    "GRU": lambda **k: nn.GRU(N, H, **k),
    "GRU reset before": lambda **k: nn.GRU(N, H, reset_after=False, **k),
    "zoneout": lambda **k: nn.LSTM(N, H, zoneout=0.3, **k).eval(),
}
each_layer = pytest.mark.parametrize("name", LAYERS)
each_form = pytest.mark.parametrize(
    "form", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep, both ways"]
)


def normal(*shape, seed=0):
    """Numbers in float64, the same at every call."""
    return np.random.default_rng(seed).standard_normal(shape)


def made(name, **form):
    """A layer in float64."""
    return LAYERS[name](rng=tgs.Generator(1), dtype="float64", **form)


def given(layer, rows=B):
    """Input, and first states as arrays."""
    count = layer.num_layers * layer.directions
    return normal(T, rows, N), [
        normal(count, rows, n, seed=n) for n in layer.cell_class.of(layer).widths.values()
    ]


def ran(layer, x, states, **settings):
    """Output, states, gates and the gradients of input, states and weights, for a loss over all of them."""
    layer.zero_grad()
    x = tgs.tensor(x, requires_grad=True)
    states = [tgs.tensor(s, requires_grad=True) for s in states]
    state = tuple(states) if len(states) > 1 else states[0]
    out, last, trace = layer(x, state, return_trace=True, **settings)
    last = last if isinstance(last, tuple) else (last,)
    loss = (out * out).sum() + sum((s * s * s).sum() for s in last) + sum(t.sum() for t in trace.values())
    loss.backward()
    grads = [x.grad.numpy(), *(s.grad.numpy() for s in states)]
    weights = [p.grad.numpy() for p in layer.parameters()]
    return [out.numpy(), *(t.numpy() for t in trace.values())], [s.numpy() for s in last], grads, weights


@each_layer
@each_form
def test_each_row_is_that_row_alone(name, form):
    """Outputs, gates, last states and gradients to 1e-12; weights get the sum; behind the end all is 0."""
    layer = made(name, **form)
    x, states = given(layer)
    outs, last, grads, weights = ran(layer, x, states, lengths=LENGTHS)
    totals = [np.zeros_like(w) for w in weights]
    for b, n in enumerate(LENGTHS):
        for mine in outs:
            assert not mine[n:, b].any()
        assert not grads[0][n:, b].any()
        if n == 0:
            for mine, first in zip(last, states, strict=True):
                np.testing.assert_array_equal(mine[:, b], first[:, b])
            for mine, end in zip(grads[1:], last, strict=True):
                np.testing.assert_allclose(mine[:, b], 3 * end[:, b] ** 2, atol=1e-14)
            continue
        row = ran(layer, x[:n, b : b + 1], [s[:, b : b + 1] for s in states])
        for mine, alone in zip(outs, row[0], strict=True):
            np.testing.assert_allclose(mine[:n, b], alone[:, 0], atol=1e-12)
        np.testing.assert_allclose(grads[0][:n, b], row[2][0][:, 0], atol=1e-12)
        for mine, alone in zip([*last, *grads[1:]], [*row[1], *row[2][1:]], strict=True):
            np.testing.assert_allclose(mine[:, b], alone[:, 0], atol=1e-12)
        totals = [t + w for t, w in zip(totals, row[3], strict=True)]
    for mine, total in zip(weights, totals, strict=True):
        np.testing.assert_allclose(mine, total, atol=1e-11)


@each_layer
@each_form
@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_padding_is_never_read(name, form, padding):
    """Whatever stands behind a row's end changes no bit of any result, and its own gradient is 0."""
    layer = made(name, **form)
    x, states = given(layer)
    plain = ran(layer, x, states, lengths=LENGTHS)
    spoilt = x.copy()
    for b, n in enumerate(LENGTHS):
        spoilt[n:, b] = padding
    for mine, theirs in zip(ran(layer, spoilt, states, lengths=LENGTHS), plain, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_padding_is_never_read_at_order_2():
    """The gradient of a gradient's norm is finite and the same with NaN in the padding."""
    layer, found = made("LSTM", bidirectional=True), []
    for padding in (0.0, np.nan):
        x = normal(T, B, N)
        for b, n in enumerate(LENGTHS):
            x[n:, b] = padding
        x = tgs.tensor(x, requires_grad=True)
        (g,) = tgs.grad((layer(x, lengths=LENGTHS)[0] ** 2).sum(), [x], create_graph=True)
        found.append([p.numpy() for p in tgs.grad((g * g).sum(), list(layer.parameters()))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@each_layer
def test_the_order_of_rows_never_matters(name):
    """Any permutation of the batch permutes the results."""
    layer = made(name, num_layers=2, bidirectional=True)
    x, states = given(layer)
    outs, last, grads, weights = ran(layer, x, states, lengths=LENGTHS)
    order = np.random.default_rng(0).permutation(B)
    moved = ran(layer, x[:, order], [s[:, order] for s in states], lengths=np.array(LENGTHS)[order])
    for a, b in zip([*outs, *last, *grads], [*moved[0], *moved[1], *moved[2]], strict=True):
        np.testing.assert_allclose(a[:, order], b, atol=1e-13)
    for a, b in zip(weights, moved[3], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@each_layer
def test_full_lengths_are_no_lengths(name):
    """Bit for bit."""
    layer = made(name, num_layers=2, bidirectional=True)
    x, states = given(layer)
    for mine, theirs in zip(ran(layer, x, states, lengths=[T] * B), ran(layer, x, states), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@each_layer
def test_rows_without_steps(name):
    """All lengths 0: outputs 0, the state as it was, gradients of weights 0, with NaN everywhere in the input."""
    layer = made(name, num_layers=2, bidirectional=True)
    x, states = given(layer)
    outs, last, _, weights = ran(layer, x * np.nan, states, lengths=np.zeros(B, "int32"))
    assert not any(o.any() for o in outs)
    for mine, first in zip(last, states, strict=True):
        np.testing.assert_array_equal(mine, first)
    assert not any(w.any() for w in weights)


def test_layouts():
    """batch_first, a single sequence with one number, and every way to write the lengths."""
    layer = nn.GRU(N, H, batch_first=True, rng=tgs.Generator(1), dtype="float64")
    x = normal(B, T, N)
    out, h = layer(tgs.tensor(x), lengths=LENGTHS)
    assert out.shape == (B, T, H)
    for lengths in (tuple(LENGTHS), np.array(LENGTHS, "uint8"), tgs.tensor(LENGTHS)):
        np.testing.assert_array_equal(layer(tgs.tensor(x), lengths=lengths)[0].numpy(), out.numpy())
    for b, n in enumerate(LENGTHS):
        alone, last = layer(tgs.tensor(x[b]), lengths=n)
        np.testing.assert_allclose(alone.numpy(), out.numpy()[b], atol=1e-14)
        np.testing.assert_allclose(last.numpy()[0], h.numpy()[0, b], atol=1e-14)


def test_no_padded_steps_are_run():
    """Steps that no row has cost nothing: the longest row decides how long the tape is."""
    layer = nn.RNN(N, H)
    short = tgs.Tape.of(layer(tgs.randn(1000, 2, N), lengths=[2, 3])[0])
    assert max(row.step for row in short if row.step is not None) == 2


# ---- a cell of one's own -------------------------------------------------------------------------------------
def own(x, state):
    """A cell that takes a logarithm, and whose state has three axes."""
    total, seen = state
    total = total + x.log()
    seen = seen * 0.5 + total.unsqueeze(-1)
    return total * seen[:, :, 0], (total, seen)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_cell_of_ones_own_has_the_same_laws(reverse):
    """Each row alone, NaN and 0 in the padding (where this cell's slope is infinite), rows without steps."""
    x = np.abs(normal(T, B, N)) + 0.5
    start = normal(B, N), normal(B, N, 2)
    results = []
    for padding in (1.0, 0.0, np.nan):
        spoilt = x.copy()
        for b, n in enumerate(LENGTHS):
            spoilt[n:, b] = padding
        xs = tgs.tensor(spoilt, requires_grad=True)
        state = tuple(tgs.tensor(s, requires_grad=True) for s in start)
        outs, last = nn.unroll(own, xs, state, lengths=LENGTHS, reverse=reverse)
        ((outs**2).sum() + last[1].sum()).backward()
        results.append([outs, *last, xs.grad, *(s.grad for s in state)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    outs, total, seen, gx, *_ = (r.numpy() for r in results[0])
    for b, n in enumerate(LENGTHS):
        assert not outs[n:, b].any()
        if n == 0:
            np.testing.assert_array_equal(total[b], start[0][b])
            continue
        xs = tgs.tensor(x[:n, b : b + 1], requires_grad=True)
        alone, last = nn.unroll(own, xs, tuple(tgs.tensor(s[b : b + 1]) for s in start), reverse=reverse)
        ((alone**2).sum() + last[1].sum()).backward()
        np.testing.assert_allclose(outs[:n, b], alone.numpy()[:, 0], atol=1e-13)
        np.testing.assert_allclose(seen[b], last[1].numpy()[0], atol=1e-13)
        np.testing.assert_allclose(gx[:n, b], xs.grad.numpy()[:, 0], atol=1e-12)


def test_unroll_of_ids():
    """Whole numbers as input: the padding of ids is not looked up."""
    table = tgs.tensor(normal(4, N))
    ids = tgs.tensor([[1, 3], [2, 99]])
    outs, _ = nn.unroll(lambda i, s: (table[i] + s, s), ids, tgs.zeros(2, N), lengths=[2, 1])
    np.testing.assert_allclose(outs.numpy()[1], [table.numpy()[2], np.zeros(N)])


REFUSED = {
    "too many": (
        lambda: nn.GRU(N, H)(tgs.zeros(5, 2, N), lengths=[1, 2, 3]),
        "GRU: lengths do not fit.\n  lengths: i64(3,)\n  expected (2,): one for each row.",
    ),
    "too long": (
        lambda: nn.GRU(N, H)(tgs.zeros(5, 2, N), lengths=[5, 6]),
        "GRU: a length out of range.\n  lengths: i64(2,)\n"
        "  expected 0 to 5, the number of steps; row 1 has 6.",
    ),
    "negative": (
        lambda: nn.unroll(own, tgs.zeros(5, 2, N), None, lengths=[-1, 5]),
        "unroll: a length out of range.\n  lengths: i64(2,)\n"
        "  expected 0 to 5, the number of steps; row 0 has -1.",
    ),
    "fractions": (
        lambda: nn.LSTM(N, H)(tgs.zeros(5, 2, N), lengths=[1.0, 2.0]),
        "LSTM: lengths are no counts.\n  lengths: [1.0, 2.0]\n  expected whole numbers, one for each row.",
    ),
    "a list for one sequence": (
        lambda: nn.LSTM(N, H)(tgs.zeros(5, N), lengths=[1]),
        "LSTM: lengths do not fit.\n  lengths: i64(1,)\n  expected one number.",
    ),
    "no rows": (
        lambda: nn.unroll(own, tgs.zeros(5), None, lengths=[1]),
        "unroll: xs does not fit.\n  xs: f32(5,)\n  expected (T, B, ...): with lengths, xs has an axis of rows.",
    ),
    "a state without rows": (
        lambda: nn.unroll(lambda x, s: (x, s), tgs.zeros(2, 2, N), tgs.zeros(3), lengths=[1, 2]),
        "unroll: a state does not fit the lengths.\n  state: f32(3,)\n  expected 2 rows.",
    ),
    "outputs without rows": (
        lambda: nn.unroll(lambda x, s: (x.sum(), s), tgs.zeros(2, 2, N), None, lengths=[1, 2]),
        "unroll: the outputs do not fit the lengths.\n  outputs: f32(2,)\n"
        "  expected 2 rows in each: its first size after T.",
    ),
    "no first state": (
        lambda: nn.unroll(lambda x, s: (x, x), tgs.zeros(2, 2, N), None, lengths=[0, 2]),
        "unroll: there is no first state.\n  returned: f32(2, 2)\n"
        "  expected a tensor: rows that have not begun keep the state they were given.",
    ),
    "another form of state": (
        lambda: nn.unroll(lambda x, s: (x, (x, x)), tgs.zeros(2, 2, N), tgs.zeros(2, N), lengths=[0, 2]),
        "unroll: the state changes its form.\n  state: f32(2, 2)\n  expected 2 parts, as the cell returns.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value) == text
