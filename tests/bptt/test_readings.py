"""The gradient through time taken apart: sums that add up, zeros that are exact, slopes that theory gives."""

import dataclasses
import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import bptt, nn
from tinygrad_seq.bptt import Fading, TruncatedBPTT
from tinygrad_seq.engine import tree

pytestmark = [pytest.mark.engine, pytest.mark.laws]

CELLS = [nn.RNNCell, nn.GRUCell, nn.LSTMCell]


def unrolled(cell, steps, size=4, rows=3, loss_of=None, start=True):
    """The losses and states of a cell on random inputs, and the first state."""
    rng = np.random.default_rng(0)
    xs = tgs.tensor(rng.standard_normal((steps, rows, 2)))
    parts = 2 if isinstance(cell, nn.LSTMCell) else 1
    first = tuple(tgs.tensor(rng.standard_normal((rows, size)), requires_grad=start) for _ in range(parts))
    state = first if parts == 2 else first[0]
    losses, states = [], [state]
    for t in range(steps):
        with tgs.time_step(t):
            state = cell(xs[t], state)
            h = state[0] if parts == 2 else state
            losses.append((h * h).sum() if loss_of is None else loss_of(h))
        states.append(state)
    return losses, states


def close(a, b, tol=1e-10):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def cells(kind, seed=1, size=4):
    return kind(2, size, rng=tgs.Generator(seed)).double()


# ---- reach --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", CELLS)
def test_reach_is_the_norm_of_each_gradient(kind):
    """Against running on from each state as if it were given; nothing above the diagonal; no `.grad` is touched."""
    cell = cells(kind)
    losses, states = unrolled(cell, 5)
    xs = np.random.default_rng(0).standard_normal((5, 3, 2))
    found = bptt.reach(losses, states[1:])
    for s in range(5):
        given = states[s + 1] if isinstance(states[s + 1], tuple) else (states[s + 1],)
        leaves = [tgs.tensor(x.numpy(), requires_grad=True) for x in given]
        again = tuple(leaves) if len(leaves) > 1 else leaves[0]
        for t in range(5):
            if t < s:
                assert found.norms[t, s] == 0.0
                continue
            again = again if t == s else cell(tgs.tensor(xs[t]), again)
            h = again[0] if isinstance(again, tuple) else again
            expected = tgs.grad((h * h).sum(), leaves, retain_graph=True)
            close(found.norms[t, s], math.sqrt(sum((g.numpy() ** 2).sum() for g in expected)))
    assert np.all(found.norms[np.tril_indices(5)] > 0)
    assert all(t.grad is None for t in tree.leaves(states[0]))


@pytest.mark.parametrize("way", ["cut", "detach", "runner"])
def test_nothing_reaches_behind_a_cut(way):
    """Exactly zero, and everything on this side of it as it was."""
    cell = cells(nn.RNNCell)
    xs = tgs.tensor(np.random.default_rng(0).standard_normal((6, 3, 2)))
    runner = TruncatedBPTT(3, 3)
    h, losses, states = tgs.tensor(np.ones((3, 4))), [], []
    for t in range(6):
        h = cell(xs[t], h)
        states.append(h)
        losses.append((h * h).sum())
        if way == "runner":
            h = runner.carry(h, losses[-1])
        elif t == 2:
            h = bptt.cut(h) if way == "cut" else bptt.detach(h)
    norms = bptt.reach(losses, states).norms
    assert np.all(norms[3:, :3] == 0)
    assert np.all(norms[3:, 3:][np.tril_indices(3)] > 0)
    assert np.all(norms[:3, :3][np.tril_indices(3)] > 0)  # each h still learns from its own output


@pytest.mark.parametrize("w", [0.5, -0.9, 1.0, 1.2])
def test_the_slope_of_the_linear_rnn_is_the_logarithm_of_its_weight(w):
    """ln |wRec|, to 1e-10."""
    rec = tgs.tensor(np.array(w), requires_grad=True)
    s, states = tgs.tensor(np.ones(7)), []
    for _ in range(30):
        s = s * rec + 1.0
        states.append(s)
    found = bptt.reach((s * s).sum(), states)
    assert found.fading.slope == pytest.approx(math.log(abs(w)), abs=1e-10)
    assert found.norms.shape == (1, 30)
    logs = np.log(found.norms[0])
    close(np.diff(logs), -math.log(abs(w)))


def test_an_orthogonal_weight_without_activation_neither_fades_nor_grows():
    """All norms alike, all singular values 1."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    u = tgs.tensor(q, requires_grad=True)
    h = tgs.tensor(np.ones((1, 6)), requires_grad=True)
    states = [h]
    for _ in range(40):
        states.append(states[-1] @ u)
    found = bptt.reach((states[-1] * tgs.tensor(np.arange(6.0))).sum(), states)
    close(found.norms, found.norms[0, -1])
    assert found.words == "90 % of the gradient comes from the last 37 steps; it neither falls nor grows"
    for method, count in (("product", 6), ("power", 3)):
        values = bptt.jacobian_product(states, 0, 40, method=method, count=count).values
        close(values, np.ones(count), 1e-9)


def test_states_off_the_tape_receive_nothing():
    """A first state of constants is no error."""
    losses, states = unrolled(cells(nn.RNNCell), 3, start=False)
    found = bptt.reach(losses, states)
    assert found.norms.shape == (3, 4)
    assert np.all(found.norms[:, 0] == 0)
    assert len(found.by_lag) == 4


def test_reading_leaves_retained_gradients_alone():
    """retain_grad() before a reading: `.grad` is what backward puts there, once."""
    losses, states = unrolled(cells(nn.RNNCell), 4)
    states[2].retain_grad()
    bptt.reach(losses, states)
    bptt.parts(losses[-1], states[2])
    bptt.ledger(losses[-1], states[0])
    assert states[2].grad is None
    total = sum(losses[1:], losses[0])
    expected = bptt.parts(total, states[2]).whole
    total.backward()
    close(states[2].grad.numpy(), expected)


# ---- ledger and parts -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("composed", [False, True])
def test_the_ledger_sums_to_the_gradient(kind, composed):
    """For every weight, to 1e-10; one contribution for each step."""
    cell = cells(kind)
    with tgs.composed() if composed else tgs.scope("here"):
        losses, _ = unrolled(cell, 7)
        total = sum(losses[1:], losses[0])
        for p in cell.parameters():
            found = bptt.ledger(total, p)
            assert found.steps == tuple(range(7))
            close(found.gradient, tgs.grad(total, p, retain_graph=True).numpy())
            assert np.all(found.norms > 0)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_ledger_of_a_layer_that_hoists_its_inputs_product(layer):
    """x W^T is one product for all steps, W^T one transpose: yet every step has its contribution."""
    net = layer(2, 4, 2, rng=tgs.Generator(1)).double()
    x = tgs.tensor(np.random.default_rng(0).standard_normal((6, 3, 2)))
    loss = (net(x)[0] ** 2).sum()
    for p in net.parameters():
        found = bptt.ledger(loss, p)
        close(found.gradient, tgs.grad(loss, p, retain_graph=True).numpy())
        assert found.steps == tuple(range(6)), p.name


def test_each_entry_of_the_ledger_is_that_steps_own():
    """Against a copy of the weight for each step: the sum that the notes write out for W_rec."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 4)) * 0.5
    copies = [tgs.tensor(w, requires_grad=True) for _ in range(5)]
    shared = tgs.tensor(w, requires_grad=True)
    x = tgs.tensor(rng.standard_normal((5, 3, 4)))

    def loss(weights):
        h = tgs.tensor(np.ones((3, 4)))
        for t, u in enumerate(weights):
            with tgs.time_step(t):
                h = (x[t] + h @ u).tanh()
        return (h * h).sum()

    found = bptt.ledger(loss([shared] * 5), shared)
    expected = tgs.grad(loss(copies), copies)
    close(found.contributions, np.array([g.numpy() for g in expected]))


def test_the_ledger_of_what_has_no_marks_and_of_a_readout():
    """One row, outside of any step; marks of some uses alone give both kinds of rows."""
    w = tgs.tensor(2.0, requires_grad=True)
    found = bptt.ledger(w * w * 3.0, w)
    assert found.steps == (None,)
    assert found.gradient.item() == 12.0
    assert found.words.startswith("one contribution, made outside of any step")
    with tgs.time_step(4):
        h = w * w
    found = bptt.ledger(h * w, w)
    assert found.steps == (4, None)
    assert found.contributions.tolist() == [8.0, 4.0]
    other = tgs.tensor(1.0, requires_grad=True)
    assert bptt.ledger(h, other).gradient.item() == 0.0


def test_the_ledger_looks_into_checkpoints():
    """A segment that is run again has the marks of its steps."""
    w = tgs.tensor(np.eye(3) * 0.9, requires_grad=True)

    def segment(h):
        for t in range(3):
            with tgs.time_step(t):
                h = (h @ w).tanh()
        return h

    loss = tgs.checkpoint(segment, tgs.tensor(np.ones((2, 3)), requires_grad=True)).sum()
    found = bptt.ledger(loss, w)
    assert found.steps == (0, 1, 2)
    close(found.gradient, tgs.grad(loss, w).numpy())


@pytest.mark.parametrize("kind", CELLS)
def test_parts_sum_to_the_gradient_of_the_state(kind):
    """To 1e-10, for h and c; the future's part is what a loss of later steps alone sends."""
    losses, states = unrolled(cells(kind), 5)
    total, later = sum(losses[1:], losses[0]), losses[3] + losses[4]
    for state in states[3] if isinstance(states[3], tuple) else [states[3]]:
        found = bptt.parts(total, state)
        assert found.step == 2
        close(found.whole, tgs.grad(total, state, retain_graph=True).numpy())
        if state is (states[3][0] if isinstance(states[3], tuple) else states[3]):
            close(found.own, 2 * state.numpy())
            close(found.future, tgs.grad(later, state, retain_graph=True).numpy())
    last = states[5][0] if isinstance(states[5], tuple) else states[5]
    assert not bptt.parts(total, last).future.any()


def test_at_a_cut_only_the_output_arrives():
    """H_t.grad is the part from O_t, and no more (notes 002)."""
    u = tgs.tensor(np.eye(2) * 0.5, requires_grad=True)
    h, losses = tgs.tensor(np.ones((1, 2))), []
    for t in range(3):
        with tgs.time_step(t):
            h = (h @ u).tanh()
            losses.append((h * 3.0).sum())
        if t == 1:
            at, h = h, bptt.cut(h)
    found = bptt.parts(sum(losses[1:], losses[0]), at)
    np.testing.assert_array_equal(found.own, [[3.0, 3.0]])
    np.testing.assert_array_equal(found.future, [[0.0, 0.0]])
    assert found.words == "at step 1 4.24 arrives from the output and 0 from the next state; together 4.24"
    assert np.all(bptt.ledger(losses[2], u).norms > 0)
    assert bptt.ledger(losses[2], u).steps == (2,)


# ---- products of Jacobians --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("k", "t"), [(0, 4), (2, 3), (1, 1), (0, 1)])
def test_singular_values_of_the_whole_jacobian(kind, k, t):
    """Against the Jacobian of running the steps as a function of the whole state; both methods."""
    cell = cells(kind)
    _, states = unrolled(cell, 4, rows=1)
    xs = tgs.tensor(np.random.default_rng(0).standard_normal((4, 1, 2)))
    parts = 2 if kind is nn.LSTMCell else 1

    def run(flat):
        pieces = flat.chunk(parts, -1)
        state = tuple(pieces) if parts == 2 else pieces[0]
        for j in range(k, t):
            state = cell(xs[j], state)
        return tgs.concat(list(state), -1) if parts == 2 else state

    start = states[k] if parts == 2 else (states[k],)
    flat = tgs.tensor(np.concatenate([s.numpy() for s in start], -1))
    full = tgs.jacobian(run, flat).numpy()[0, :, 0, :]
    expected = np.linalg.svd(full, compute_uv=False)
    close(bptt.jacobian_product(states, k, t).values, expected)
    count = 2
    found = bptt.jacobian_product(states, k, t, method="power", count=count)
    if k < t:
        np.testing.assert_allclose(found.values, expected[:count], rtol=1e-8)


def test_a_row_of_the_batch():
    """Rows are independent: the values of the batch are those of its rows together."""
    _, states = unrolled(cells(nn.GRUCell), 3)
    rows = [bptt.jacobian_product(states, 0, 3, row=r).values for r in range(3)]
    together = bptt.jacobian_product(states, 0, 3).values
    close(np.sort(np.concatenate(rows)), np.sort(together))
    found = bptt.jacobian_product(states, 0, 3, row=1, method="power")
    close(found.values, rows[1][:1], 1e-8)


def test_a_state_made_of_another_part_of_itself():
    """c = h h and h = c w: partial derivatives hold the other part fixed, whatever made it."""
    w, h0 = tgs.tensor(np.array([3.0]), requires_grad=True), tgs.tensor(np.array([2.0]), requires_grad=True)
    c0 = h0 * h0
    h1 = h0 * c0 * w
    states = [(h0, c0), (h1, c0 + h1)]
    jacobian = np.array([[4.0 * 3, 2.0 * 3], [12.0, 7.0]])
    close(bptt.jacobian_product(states, 0, 1).values, np.linalg.svd(jacobian, compute_uv=False))
    close(
        bptt.jacobian_product(states, 0, 1, method="power", count=2).values,
        np.linalg.svd(jacobian, compute_uv=False),
        1e-8,
    )


def test_long_products_do_not_underflow():
    """0.5^2000 as a logarithm; its rate is 0.5; nothing through a zero."""
    h = tgs.tensor(np.ones((1, 2)), requires_grad=True)
    states = [h]
    for _ in range(2000):
        states.append(states[-1] * tgs.tensor(np.array([0.5, 0.25])))
    found = bptt.jacobian_product(states, 0, 2000)
    assert found.log_values[0] == pytest.approx(2000 * math.log(0.5), rel=1e-12)
    close(found.log_largest, np.arange(2001) * math.log(0.5))
    assert found.rate == pytest.approx(0.5)
    found = bptt.jacobian_product([h, h * 0.0], 0, 1)
    assert found.words == "nothing passes through 1 step"
    assert bptt.jacobian_product([h, h * 0.0], 0, 1, method="power").values[0] == 0.0
    assert bptt.jacobian_product([h, h * 2.0], 0, 1).words == (
        "over 1 step the largest singular value is 2, 2 a step; the smallest is 2"
    )


def test_large_states_take_the_power_method():
    """Above 64 numbers nothing is written out."""
    w = np.random.default_rng(0).standard_normal((80, 80)) / 9
    h, u = tgs.tensor(np.ones((1, 80)), requires_grad=True), tgs.tensor(w)
    states = [h, h @ u]
    found = bptt.jacobian_product(states, 0, 1, count=2)
    assert found.log_values.shape == (2,)
    np.testing.assert_allclose(found.values, np.linalg.svd(w, compute_uv=False)[:2], rtol=1e-6)


# ---- the LSTM's two ways ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("composed", [False, True])
def test_the_forget_gates_are_read_off_the_tape(composed):
    """f = sigmoid(...) of the formula; direct is their product; direct and rest sum to the gradient."""
    cell = cells(nn.LSTMCell)
    with tgs.composed() if composed else tgs.scope("here"):
        losses, states = unrolled(cell, 5)
    loss, xs = losses[-1], np.random.default_rng(0).standard_normal((5, 3, 2))
    found = bptt.lstm_paths(loss, states)
    for t in range(5):
        z = xs[t] @ cell.weight_ih.numpy().T + states[t][0].numpy() @ cell.weight_hh.numpy().T
        z = z + cell.bias_ih.numpy() + cell.bias_hh.numpy()
        close(found.forget[t], 1 / (1 + np.exp(-z[:, 4:8])))
    # The loss is h . h at the end: d loss / d c_5 = 2 h o (1 - tanh(c)^2), h = o tanh(c).
    h, c = (p.numpy() for p in states[-1])
    close(found.direct[4], found.forget[4] * 2 * h * h / np.tanh(c) * (1 - np.tanh(c) ** 2))
    close(found.direct[0], found.direct[4] * np.prod(found.forget[:4], axis=0))
    close(found.rest[4], 0.0)
    assert np.all(np.abs(found.rest[:4]) > 0)
    for s in range(5):
        h, c = (tgs.tensor(p.numpy(), requires_grad=True) for p in states[s])
        again = (h, c)
        for t in range(s, 5):
            again = cell(tgs.tensor(xs[t]), again)
        close(found.direct[s] + found.rest[s], tgs.grad((again[0] * again[0]).sum(), c).numpy())
    assert found.norms.shape == (5, 3)
    assert found.words.startswith("5 steps back ")


def test_fused_and_composed_steps_are_read_alike():
    """h hangs on c in the one and beside it in the other: the same reach, to 1e-10."""
    cell = cells(nn.LSTMCell)
    fused = bptt.reach(*(x[-4:] for x in unrolled(cell, 4))).norms
    with tgs.composed():
        losses, states = unrolled(cell, 4)
    close(bptt.reach(losses, states[-4:]).norms, fused)
    assert np.any(np.abs(bptt.reach(losses, [c for _, c in states[-4:]]).norms - fused) > 1e-3)


def test_without_recurrent_weights_everything_comes_straight():
    """With W_hh = 0 there is no other way: the rest is nothing, for a loss at the end."""
    cell = cells(nn.LSTMCell)
    cell.weight_hh.assign(np.zeros(cell.weight_hh.shape))
    losses, states = unrolled(cell, 4)
    found = bptt.lstm_paths(losses[-1], states)
    close(found.rest, 0.0, 1e-15)
    assert np.all(found.norms[:, 0] > 0)


# ---- the bias of truncation --------------------------------------------------------------
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 2), (2, 5), (3, 4), (1, 9), (4, 20)])
def test_the_bias_is_that_of_the_runner(k1, k2):
    """The sum of what TruncatedBPTT adds, beside the full gradient."""
    cell = cells(nn.GRUCell)
    losses, states = unrolled(cell, 9, start=False)
    params = list(cell.parameters())
    found = bptt.truncation_bias(losses, states[1:], params, k2, k1=k1)
    xs = tgs.tensor(np.random.default_rng(0).standard_normal((9, 3, 2)))

    def step(x, h):
        h = cell(x, h)
        return (h * h).sum(), h

    def gradient(runner):
        runner.run(step, xs, states[0].detach())
        g = np.concatenate([p.grad.numpy().ravel() for p in params])
        cell.zero_grad()
        return g

    a, b = gradient(TruncatedBPTT(k1, k2)), gradient(TruncatedBPTT(9))
    close(found.cosine, [a @ b / np.linalg.norm(a) / np.linalg.norm(b)])
    close(found.ratio, [np.linalg.norm(a) / np.linalg.norm(b)])


def test_the_bias_falls_with_the_window():
    """At k2 = T there is none."""
    cell = cells(nn.RNNCell)
    losses, states = unrolled(cell, 8, start=False)
    found = bptt.truncation_bias(losses, states[1:], cell.weight_hh, [1, 4, 8])
    assert found.cosine[0] < found.cosine[1] < found.cosine[2]
    close(found.cosine[2], 1.0)
    close(found.ratio[2], 1.0)
    assert found.words.endswith("a gradient of 8 steps points 1 along the full one and is 1 as long")


# ---- words and refusals -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            0.61 ** np.arange(40.0),
            "90 % of the gradient comes from the last 5 steps; "
            "it falls by a factor of 0.61 a step; half-life 1.4 steps",
        ),
        (
            1.2 ** np.arange(3.0),
            "90 % of the gradient comes from the last 3 steps; it grows by a factor of 1.2 a step",
        ),
        ([1.0], "90 % of the gradient comes from the last 1 step; none from any step before"),
        ([1.0, 0.0], "90 % of the gradient comes from the last 1 step; none from any step before"),
        ([0.0, 0.0], "no gradient arrives at any step"),
        ([], "no gradient arrives at any step"),
    ],
)
def test_one_line_of_words(profile, words):
    """The whole line."""
    assert Fading.of(np.array(profile)).words == words


def test_readings_are_frozen():
    """Plain arrays in frozen records."""
    losses, states = unrolled(cells(nn.LSTMCell), 3, start=True)
    found = [
        bptt.reach(losses, states[1:]),
        bptt.ledger(losses[-1], states[0][0]),
        bptt.parts(losses[-1], states[1][0]),
        bptt.jacobian_product(states, 0, 1),
        bptt.lstm_paths(losses[-1], states),
        bptt.truncation_bias(losses, states[1:], states[0][0], 2),
    ]
    for record in found:
        field = dataclasses.fields(record)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field, None)
        assert "\n" not in record.words
        assert not any(isinstance(getattr(record, f.name), tgs.Tensor) for f in dataclasses.fields(record))


X = tgs.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: bptt.reach(X * 2.0, [X]),
            "bptt: not a loss.\n  loss: f32(2,)   from mul\n"
            "  expected one element that depends on a tensor with requires_grad=True.",
        ),
        (
            lambda: bptt.reach([X.sum()] * 2, [X]),
            "reach: losses and states differ in number.\n"
            "  expected from 1 to 1 losses, one at each of the last states, got 2.",
        ),
        (
            lambda: bptt.ledger(X.sum(), tgs.ones(2)),
            "ledger: no gradient flows to this tensor.\n  parameter: f32(2,)\n"
            "  expected a tensor with requires_grad=True, such as cell.weight_hh.",
        ),
        (
            lambda: bptt.parts(X.sum(), X),
            "parts: the step is not known.\n  state: f32(2,)\n  the state has no time mark.\n"
            "  Make it inside `with time_step(t):`, or say which it is: parts(loss, h, step=t).",
        ),
        (
            lambda: bptt.jacobian_product([X, X], 1, 0),
            "jacobian_product: no such states.\n  expected 0 <= k <= t < 2, got k = 1, t = 0.",
        ),
        (
            lambda: bptt.jacobian_product([X, X], 0, 1, method="svd"),
            "jacobian_product: unknown method.\n  expected 'auto', 'product' or 'power', got 'svd'.",
        ),
        (
            lambda: bptt.jacobian_product([tgs.ones(2), X], 0, 1),
            "jacobian_product: no gradient flows to this state.\n  state: f32(2,)\n"
            "  expected states that depend on a tensor with requires_grad=True, the first one included.",
        ),
        (
            lambda: bptt.jacobian_product([X, X], 0, 1, row=2),
            "jacobian_product: no such row.\n  state: f32(2,)\n  row: 2",
        ),
        (
            lambda: bptt.lstm_paths(X.sum(), [X]),
            "lstm_paths: not the states of an LSTM.\n  expected a pair (h, c) for each of at least two steps.",
        ),
        (
            lambda: bptt.truncation_bias([X.sum()], [X, X], X, 1),
            "truncation_bias: losses and states differ in number.\n"
            "  expected one of each for every step, got 1 and 2.",
        ),
        (
            lambda: bptt.truncation_bias([X.sum()], [X], X, 1, k1=2),
            "truncation_bias: windows out of range.\n  expected 1 <= k1 <= k2, got k1 = 2, k2 = 1.",
        ),
    ],
)
def test_what_is_refused(make, text):
    """The whole text."""
    with pytest.raises((tgs.ArgumentError, tgs.GraphError, tgs.RangeError, tgs.ShapeError)) as told:
        make()
    assert str(told.value) == text


def test_a_graph_released_before_is_told():
    """As backward says it."""
    losses, states = unrolled(cells(nn.RNNCell), 3)
    losses[-1].backward()
    with pytest.raises(tgs.GraphError, match="released"):
        bptt.reach(losses[-1], states[1:])
