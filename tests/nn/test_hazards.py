"""What somebody who tried to break the sequence layers, truncation and models found, so that it stays mended."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import bptt, models, nn
from tinygrad_seq import functional as F

pytestmark = pytest.mark.laws


def series(steps=4000):
    """x_t = 0.6 x_(t-1) - 0.3 x_(t-2) + noise of size 1."""
    rng, x = np.random.default_rng(1), np.zeros(steps)
    for t in range(2, steps):
        x[t] = 0.6 * x[t - 1] - 0.3 * x[t - 2] + rng.standard_normal()
    return x


@pytest.mark.parametrize(("scale", "offset"), [(1, 1e6), (1, -1e7), (1e-13, 0), (1e13, 0)])
def test_an_autoregression_does_not_depend_on_the_unit_of_its_series(scale, offset):
    """Far from 0, or very small, the same coefficients."""
    x = series()
    plain, other = models.LinearAR(2).fit(x), models.LinearAR(2).fit(x * scale + offset)
    np.testing.assert_allclose(other.coefficients, plain.coefficients, atol=1e-6)
    np.testing.assert_allclose(other.std, plain.std * scale, rtol=1e-6)
    ahead = other.conditional(x[:50] * scale + offset).mean - offset
    np.testing.assert_allclose(ahead / scale, plain.conditional(x[:50]).mean, atol=1e-6)


def test_losses_before_a_short_window_train_nothing():
    """k2 < k1, and steps without a loss: only those of the last k2 steps count."""
    w, h = tgs.tensor(1.5, requires_grad=True), tgs.tensor(1.0)
    window = bptt.TruncatedBPTT(4, 2)
    for t in range(4):
        h = h * w
        h = window.carry(h, h if t in (0, 1, 3) else None)
    assert w.grad.item() == pytest.approx(2 * 1.5 * 1.5**2)


@pytest.mark.parametrize("cache", [None, ()])
def test_a_decoder_wants_a_memory(cache):
    """Without one its cross-attention would look at the target, and ahead."""
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0), 1)
    with pytest.raises(tgs.ArgumentError) as error:
        decoder(tgs.ones(4, 1, 8), causal=True, cache=cache)
    assert str(error.value) == (
        "TransformerDecoderLayer: no memory to attend to.\n"
        "  expected the memory, or a cache that holds its keys and values."
    )


def test_one_query_head_meets_many_key_heads():
    """Broadcast, as everywhere: not grouped queries."""
    q, k, v = (
        np.random.default_rng(i).standard_normal(s) for i, s in enumerate([(1, 3, 5), (4, 6, 5), (4, 6, 2)])
    )
    out = F.scaled_dot_product_attention(q, k, v)
    each = [F.scaled_dot_product_attention(q[0], k[i], v[i]).numpy() for i in range(4)]
    np.testing.assert_allclose(out.numpy(), each, rtol=1e-12)


def test_a_false_of_numpy_says_nothing():
    """np.False_ is no mask of the other family."""
    x = np.ones((2, 3, 4))
    F.scaled_dot_product_attention(x, x, x, is_causal=np.False_, causal=True)


def test_rows_that_have_ended_bring_no_nan():
    """A cell with an infinite slope at the state a row ended in."""
    h = tgs.tensor([1.0, 9.0], dtype=np.float64, requires_grad=True)
    xs = tgs.tensor(np.array([[1.0, 2.0], [np.nan, 1.0], [np.nan, 1.0]]), requires_grad=True)
    tgs.unroll(lambda x, s: (s.sqrt(), s - x), xs, h, lengths=[1, 3])[0].sum().backward()
    assert h.grad.tolist()[0] == 0.5
    assert np.isfinite(h.grad.numpy()).all()
    assert np.isfinite(xs.grad.numpy()).all()


def test_a_state_may_be_a_dict():
    """With lengths too, as in `detach` and `cut`."""
    outs, last = tgs.unroll(
        lambda x, s: (s["n"], {"n": s["n"] + x}), tgs.ones(3, 2), {"n": tgs.zeros(2)}, lengths=[1, 3]
    )
    assert last["n"].tolist() == [1.0, 3.0]
    assert outs.tolist() == [[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]


def test_a_layer_is_no_cell():
    """It would take the rows of a batch for steps."""
    with pytest.raises(tgs.ArgumentError, match=r"^unroll: this is no cell\."):
        tgs.unroll(nn.LSTM(2, 3), tgs.ones(4, 2, 2))


def test_settings_that_said_nothing_are_refused():
    """Each with one clear error."""
    with pytest.raises(tgs.ArgumentError, match="alpha out of range"):
        models.NeuralMarkov(3).fit([0, 1, 2], alpha=-5)
    with pytest.raises(tgs.ArgumentError, match="embedding"):
        models.CharLM(4, 8, embedding=-1)


def test_a_window_may_be_a_number_of_numpy():
    """k2 from an array."""
    w, h, states, losses = tgs.tensor(0.5, requires_grad=True), tgs.tensor(1.0), [], []
    for _ in range(4):
        h = h * w
        states.append(h)
        losses.append(h * h)
    found = bptt.truncation_bias(losses, states, w, np.int64(2))
    assert np.isfinite(found.cosine).all()


def test_a_cache_of_other_layers_is_refused():
    """Its length is the number of layers."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2)
    _, cache = encoder(tgs.ones(2, 1, 8), causal=True, cache=())
    with pytest.raises(tgs.ArgumentError, match="the cache does not fit"):
        encoder(tgs.ones(1, 1, 8), causal=True, cache=cache[:1])


def lstm_states(steps=8):
    """(h, c) of an LSTM cell after each step."""
    tgs.manual_seed(0)
    cell, state, states = nn.LSTMCell(4, 8), None, []
    for x in tgs.randn(steps, 1, 4):
        state = cell(x, state)
        states.append(state)
    return cell, states


def test_parts_of_the_states_are_refused_where_they_would_mislead():
    """A product of one-step Jacobians of h alone loses the way through c."""
    _, states = lstm_states()
    alone = [h for h, _ in states]
    with pytest.raises(tgs.GraphError, match=r"^jacobian_product: these are parts of the states\."):
        bptt.jacobian_product(alone, 1, 6)
    losses = [(h * h).sum() for h in alone]
    with pytest.raises(tgs.GraphError, match=r"^truncation_bias: these are parts of the states\."):
        bptt.truncation_bias(losses, alone, states[-1][0], 2)
    whole = bptt.jacobian_product(states, 1, 6)
    power = bptt.jacobian_product(states, 1, 6, method="power")
    np.testing.assert_allclose(whole.values[0], power.values[0], rtol=1e-4)


def test_slices_of_stacked_outputs_are_refused():
    """They are side branches: zeros would say that no gradient arrives."""
    out, _ = nn.LSTM(4, 8)(tgs.randn(5, 1, 4))
    with pytest.raises(tgs.GraphError, match=r"^reach: nothing was made from these states\."):
        bptt.reach((out[-1] ** 2).mean(), [out[t] for t in range(5)])
    with pytest.raises(tgs.GraphError, match=r"^jacobian_product: nothing was made from these states\."):
        bptt.jacobian_product([out[t] for t in range(5)], 1, 4)


def test_a_reading_prints_its_words():
    """And not its arrays."""
    _, states = lstm_states()
    found = bptt.reach((states[-1][0] ** 2).sum(), states)
    assert str(found) == f"Reach: {found.words}"


def test_the_runner_says_what_a_step_returns():
    """(loss, state), and an update that can be called."""
    window = bptt.TruncatedBPTT(2, 2)
    with pytest.raises(tgs.ShapeError, match="expected \\(loss, state\\)"):
        window.run(lambda x, s: (s * x, s), [1.0, 2.0], tgs.ones(3, requires_grad=True))
    with pytest.raises(tgs.ArgumentError, match="update is no function"):
        window.run(lambda x, s: (s.sum(), s), [1.0], tgs.ones(3), update=3)
    with pytest.raises(tgs.GraphError, match=r"such as cell\.weight_hh"):
        bptt.ledger(tgs.ones(1, requires_grad=True).sum(), nn.LSTMCell(2, 3))
