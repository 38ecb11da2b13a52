"""Modules as trees, loading, and the LSTM against a ten-line loop."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.models import CharLM

pytestmark = [pytest.mark.engine, pytest.mark.laws]


def numpy_lstm(weights, x, h, c):
    """The LSTM as a plain NumPy loop over one layer."""
    w_ih, w_hh, b_ih, b_hh = weights
    outs = []
    for x_t in x:
        z = x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh
        i, f, g, o = np.split(z, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outs.append(h)
    return np.stack(outs), h, c


def test_the_lstm_is_its_formula():
    """Outputs and states equal the loop to 1e-12 in float64, layer by layer."""
    tgs.manual_seed(1)
    layer = nn.LSTM(3, 4, 2).double()
    x = np.random.default_rng(0).standard_normal((6, 2, 3))
    out, (h, c) = layer(tgs.tensor(x))
    zero = np.zeros((2, 4))
    expected = x
    for k in range(2):
        weights = [
            getattr(layer, f"{n}_l{k}").numpy() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        expected, h_k, c_k = numpy_lstm(weights, expected, zero, zero)
        np.testing.assert_allclose(h.numpy()[k], h_k, atol=1e-12)
        np.testing.assert_allclose(c.numpy()[k], c_k, atol=1e-12)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


def test_no_state_is_the_zero_state():
    """Bit for bit, with non-zero biases."""
    layer, x = nn.LSTM(3, 4), tgs.randn(5, 2, 3)
    zero = tgs.zeros(1, 2, 4)
    np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x, (zero, zero))[0].numpy())


def test_a_sequence_in_two_parts_is_the_sequence():
    """The state carries everything the layer knows of the past."""
    layer, x = nn.LSTM(3, 4, 2), tgs.randn(7, 2, 3)
    whole, last = layer(x)
    first, state = layer(x[:3])
    second, state = layer(x[3:], state)
    np.testing.assert_allclose(tgs.concat([first, second]).numpy(), whole.numpy(), atol=1e-6)
    np.testing.assert_allclose(state[1].numpy(), last[1].numpy(), atol=1e-6)


def test_gradcheck_through_the_lstm_at_order_1_and_2():
    """Input, states and every parameter, in float64."""
    layer = nn.LSTM(2, 3).double()
    names = [name for name, _ in layer.named_parameters()]

    def fn(x, h, c, *weights):
        for name, w in zip(names, weights, strict=True):
            object.__setattr__(layer, name, w)
        out, (h, c) = layer(x, (h, c))
        return (out * out).sum() + (h * c).sum()

    rng = np.random.default_rng(3)
    inputs = [
        tgs.tensor(rng.standard_normal(s), requires_grad=True) for s in ((4, 2, 2), (1, 2, 3), (1, 2, 3))
    ]
    weights = [tgs.tensor(p.numpy(), requires_grad=True) for p in layer.parameters()]
    assert tgs.gradcheck(fn, [*inputs, *weights])
    assert tgs.gradcheck(fn, [*inputs, *weights], order=2)


def test_nodes_know_layer_and_step():
    """An op of the loop is recorded in its scope with its time mark."""
    out, _ = nn.LSTM(2, 3, 2)(tgs.randn(4, 1, 2))
    rows = [
        row for row in tgs.Tape.of(out) if row.op in ("lstm_gates", "tanh")
    ]  # tanh where nothing is fused
    assert {(row.scope, row.step) for row in rows} == {
        (f"lstm/layer{k}", t) for k in range(2) for t in range(4)
    }


class Tied(nn.Module):
    """Two attributes, one parameter; modules in a list and in a dict."""

    def __init__(self):
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.blocks = [nn.Linear(2, 2, bias=False), nn.LayerNorm(2)]
        self.by_name = {"out": nn.Linear(2, 1)}


def test_attributes_are_the_tree():
    """Names are attribute paths; a shared parameter is learnt once and saved under both names."""
    module = Tied()
    assert [name for name, _ in module.named_parameters()] == [
        "first.weight", "first.bias", "second.bias", "blocks.0.weight", "blocks.1.weight", "blocks.1.bias",
        "by_name.out.weight", "by_name.out.bias",
    ]  # fmt: skip
    assert "second.weight" in module.state_dict()
    assert module.count() == 4 + 2 + 2 + 4 + 2 + 2 + 2 + 1


def test_summary_and_repr_show_shapes_and_counts():
    """The whole text of both."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1))
    assert repr(model) == (
        "Sequential()  # 16 parameters\n"
        "  0: Linear(3, 4)  # 16 parameters\n"
        "    weight: f32(4, 3)\n"
        "    bias: f32(4,)\n"
        "  1: Dropout(p=0.1)  # 0 parameters"
    )
    assert model.summary() == (
        "Sequential                      16\n"
        "  0: Linear                     16\n"
        "    weight    f32(4, 3)         12\n"
        "    bias      f32(4,)            4\n"
        "  1: Dropout                     0"
    )


def test_the_notes_mnist_model_has_821770_parameters():
    """LSTM(28, 256, 2) and Linear(256, 10): 4 (H I + H H + 2 H) a layer."""
    assert nn.LSTM(28, 256, 2).count() + nn.Linear(256, 10).count() == 821_770


def test_a_state_dict_is_a_snapshot():
    """An optimiser's step after it was taken does not change it."""
    layer = nn.Linear(2, 2)
    before = layer.state_dict()
    copy = {k: v.numpy().copy() for k, v in before.items()}
    layer(tgs.ones(1, 2)).sum().backward()
    tgs.optim.SGD(layer.parameters(), lr=1.0).step()
    assert (layer.weight.numpy() != copy["weight"]).any()
    for name in copy:
        np.testing.assert_array_equal(before[name].numpy(), copy[name])


def test_load_state_dict_lists_everything_and_takes_nothing():
    """Missing, unexpected and ill-fitting names in one error; the weights stay as they were."""
    layer = nn.Linear(2, 3)
    before = layer.weight.numpy().copy()
    with pytest.raises(tgs.CheckpointError) as error:
        layer.load_state_dict({"weight": np.zeros((3, 5)), "extra": np.zeros(1)})
    assert str(error.value) == (
        "load_state_dict: the weights are not those of this Linear.\n"
        "  missing: bias (3,)\n"
        "  unexpected: extra\n"
        "  weight: expected (3, 2), got (3, 5)"
    )
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    result = layer.load_state_dict({"weight": np.ones((3, 2)), "extra": 0}, strict=False)
    assert result == (["bias"], ["extra"])
    np.testing.assert_array_equal(layer.weight.numpy(), np.ones((3, 2)))


def test_train_and_eval_reach_every_module():
    """Dropout acts in training alone."""
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    x = tgs.ones(100)
    assert (model(x).numpy() == 0).any()
    assert model.eval() is model
    assert model(x) is x
    assert (model.train()(x).numpy() == 0).any()


def test_double_converts_and_the_input_decides():
    """double() makes float64 parameters, float() takes them back."""
    layer = nn.LSTM(2, 3).double()
    assert {p.dtype.name for p in layer.parameters()} == {"float64"}
    assert layer(tgs.zeros(1, 1, 2, dtype="float64"))[0].dtype == "float64"
    assert {p.dtype.name for p in layer.float().parameters()} == {"float32"}


def test_zero_grad_and_requires_grad():
    """Gradients are forgotten; a frozen layer gets none."""
    layer = nn.Linear(2, 2)
    layer(tgs.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad()
    assert layer.weight.grad is None
    assert not layer.requires_grad_(False)(tgs.ones(1, 2)).requires_grad


def test_a_misspelt_attribute_is_an_error():
    """Nothing answers None for a name that is not there."""
    with pytest.raises(AttributeError):
        _ = nn.Linear(2, 2).wieght


def test_unroll_runs_a_cell_of_the_users_own():
    """Any step(x_t, state) -> (out, state); here a running sum."""
    xs = tgs.tensor([[1.0], [2.0], [3.0]])
    outs, last = tgs.unroll(lambda x, s: (s + x, s + x), xs, tgs.zeros(1))
    assert outs.tolist() == [[1.0], [3.0], [6.0]]
    assert last.item() == 6.0


def test_detached_state_ends_the_gradient():
    """What comes after a detach learns nothing from before it."""
    layer, x = nn.LSTM(2, 3), tgs.randn(3, 1, 2, requires_grad=True)
    _, state = layer(x)
    layer(tgs.randn(2, 1, 2), tgs.detach(state))[0].sum().backward()
    assert x.grad is None


def test_char_lm_predicts_each_next_symbol():
    """A model that learns abcabc... to below 0.1 nats in 60 steps, from the state alone."""
    tgs.manual_seed(0)
    model = CharLM(3, hidden=16, embedding=4)
    ids = np.tile(np.arange(3), 40).reshape(-1, 1)
    optimizer = tgs.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        loss, _ = model.loss(ids[:30], tgs.tensor(ids[1:31]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


REFUSED = {
    "size 0": (
        lambda: nn.Linear(0, 3),
        "Linear: in_features is no size.\n  expected a whole number of at least 1, got 0.",
    ),
    "size as float": (
        lambda: nn.LSTM(3, 4.0),
        "LSTM: hidden_size is no size.\n  expected a whole number of at least 1, got 4.0.",
    ),
    "a wrong input": (
        lambda: nn.LSTM(3, 4)(tgs.zeros(5, 2, 7)),
        "LSTM: the input does not fit.\n  input: f32(5, 2, 7)\n  expected (T, B, 3) or (T, 3).",
    ),
    "no steps": (
        lambda: nn.LSTM(3, 4)(tgs.zeros(0, 2, 3)),
        "LSTM: no time steps.\n  input: f32(0, 2, 3)\n  expected at least one.",
    ),
    "a wrong state": (
        lambda: nn.LSTM(3, 4)(tgs.zeros(5, 2, 3), (tgs.zeros(2, 4), tgs.zeros(2, 4))),
        "LSTM: h_0 does not fit.\n  input: f32(5, 2, 3)\n  h_0: f32(2, 4)\n  expected (1, 2, 4).",
    ),
    "a state of three": (
        lambda: nn.LSTM(3, 4)(tgs.zeros(5, 2, 3), (1, 2, 3)),
        "LSTM: the state does not fit.\n  state: (1, 2, 3)\n  expected a pair (h_0, c_0).",
    ),
    "a dropout of letters": (
        lambda: nn.LSTM(3, 4, dropout="a"),
        "LSTM: dropout out of range.\n  expected a probability from 0 to 1, got 'a'.",
    ),
    "dropout": (
        lambda: nn.Dropout(-0.1),
        "Dropout: p out of range.\n  expected a probability from 0 to 1, got -0.1.",
    ),
    "padding": (
        lambda: nn.Embedding(3, 2, padding_idx=3),
        "Embedding: padding_idx out of range.\n  expected an id from 0 to 2, got 3.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == text
