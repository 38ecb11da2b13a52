"""Composed functions: stability at the ends, masks, dropout, and what is refused."""

import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

pytestmark = [pytest.mark.engine, pytest.mark.laws]

ENDS = np.array([[1e4, 0.0, -1e4, 1e4], [-1e4, -1e4, -1e4, -1e4], [1e4, 1e4, 1e4, 1e4]])
ONE_EACH = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, "tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "logsumexp": F.logsumexp,
    "cross_entropy": lambda x: F.cross_entropy(x, np.array([2, 0, 1]), label_smoothing=0.1),
    "nll": lambda x: F.nll_loss(F.log_softmax(x), np.array([2, 0, 1])),
    "mse": lambda x: F.mse_loss(x, tgs.zeros_like(x)),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, tgs.ones_like(x) * 0.3),
    "layer_norm": lambda x: F.layer_norm(x, 4),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ONE_EACH)
def test_everything_is_finite_at_ten_thousand(name, dtype):
    """Value, gradient and gradient of the gradient at +-1e4, without a warning."""
    x = tgs.tensor(ENDS.astype(dtype), requires_grad=True)
    y = ONE_EACH[name](x)
    assert y.dtype == dtype
    assert np.isfinite(y.numpy()).all()
    (g,) = tgs.grad(y.sum(), [x], create_graph=True)
    assert np.isfinite(g.numpy()).all()
    if g.requires_grad:
        assert np.isfinite(tgs.grad((g * g).sum(), x).numpy()).all()


def test_known_values_at_the_ends():
    """Where a wrong branch would show: saturated sigmoids, exact logsumexp, exact losses."""
    assert F.sigmoid(tgs.tensor([-1e4, 1e4])).tolist() == [0.0, 1.0]
    assert F.softplus(tgs.tensor([-1e4, 1e4])).tolist() == [0.0, 10000.0]
    assert F.logsumexp(tgs.tensor([1e4, 1e4], dtype="float64")).item() == 1e4 + math.log(2)
    assert F.cross_entropy(tgs.tensor([[1e4, -1e4]]), tgs.tensor([1])).item() == 2e4


def test_a_fully_masked_row_gives_zeros_and_no_gradient():
    """A row of -inf in softmax: zeros, where 0/0 would be NaN."""
    x = tgs.tensor([[-math.inf, -math.inf], [0.0, -math.inf]], requires_grad=True)
    y = F.softmax(x)
    assert y.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    (y * tgs.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert not x.grad.numpy().any()


def test_nan_is_never_hidden():
    """A NaN that goes in comes out."""
    x = tgs.tensor([math.nan, 1.0])
    for name in ("sigmoid", "tanh", "relu", "gelu", "silu", "softplus", "softmax", "log_softmax"):
        assert math.isnan(ONE_EACH[name](x).numpy()[0]), name


def test_ignored_targets_count_for_nothing():
    """The mean is over the others; where all are ignored it is 0 with a zero gradient."""
    x = tgs.tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    some = F.cross_entropy(x, np.array([1, -100, 2]))
    kept = F.cross_entropy(x[np.array([0, 2])], np.array([1, 2]))
    assert some.item() == pytest.approx(kept.item(), rel=1e-15)
    none = F.cross_entropy(x, np.array([-100, -100, -100]))
    none.backward()
    assert none.item() == 0.0
    assert not x.grad.numpy().any()


def test_dropout_keeps_the_mean_and_replays_from_its_seed():
    """A share p is zeroed, the rest divided by 1 - p; the same seed gives the same mask."""
    x = tgs.ones(200, 500)
    a = F.dropout(x, 0.3, rng=tgs.Generator(5))
    kept = a.numpy() != 0
    assert kept.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_array_equal(a.numpy()[kept], np.float32(1 / 0.7))
    np.testing.assert_array_equal(a.numpy(), F.dropout(x, 0.3, rng=tgs.Generator(5)).numpy())
    assert (F.dropout(x, 0.3, rng=tgs.Generator(6)).numpy() != a.numpy()).any()
    assert F.dropout(x, 0.3, training=False) is x
    assert not F.dropout(x, 1.0).numpy().any()


def test_dropouts_gradient_passes_where_the_value_did():
    """The mask of the forward pass is that of the backward pass."""
    x = tgs.ones(50, 50, requires_grad=True)
    y = F.dropout(x, 0.5, rng=tgs.Generator(1))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


REFUSED = {
    "an id too large": (
        lambda: F.embedding(np.array([0, 7]), tgs.zeros(5, 2)),
        tgs.RangeError,
        "embedding: an id is out of range.\n  ids: i64(2,)\n"
        "  expected ids from 0 to 4, got 7 (1 out of range).",
    ),
    "a negative id": (
        lambda: F.cross_entropy(tgs.zeros(2, 3), np.array([0, -1])),
        tgs.RangeError,
        "cross_entropy: an id is out of range.\n  ids: i64(2,)\n"
        "  expected ids from 0 to 2, got -1 (1 out of range).",
    ),
    "ids that are floats": (
        lambda: F.one_hot(tgs.tensor([0.5]), 3),
        tgs.DTypeError,
        "one_hot: ids must be integers.\n  ids: f32(1,)\n  expected an integer dtype.",
    ),
    "a target of another shape": (
        lambda: F.cross_entropy(tgs.zeros(2, 3), np.array([0, 1, 2])),
        tgs.ShapeError,
        "cross_entropy: the target does not fit.\n  input: f32(2, 3)\n  target: i64(3,)\n"
        "  expected ids (2,) or probabilities (2, 3).",
    ),
    "whole numbers in the shape of probabilities": (
        lambda: F.cross_entropy(tgs.zeros(2, 3), np.eye(2, 3, dtype=int)),
        tgs.ShapeError,
        "cross_entropy: the target does not fit.\n  input: f32(2, 3)\n  target: i64(2, 3)\n"
        "  expected ids (2,) or probabilities (2, 3).",
    ),
    "a broadcasting mse": (
        lambda: F.mse_loss(tgs.zeros(3, 1), tgs.zeros(3)),
        tgs.ShapeError,
        "mse_loss: the target does not fit.\n  input: f32(3, 1)\n  target: f32(3,)\n"
        "  expected a target of shape (3, 1).",
    ),
    "linear sizes": (
        lambda: F.linear(tgs.zeros(2, 3), tgs.zeros(5, 4)),
        tgs.ShapeError,
        "linear: x does not fit the weight.\n  x: f32(2, 3)\n  weight: f32(5, 4)\n"
        "  expected the last size of x (3) to equal the last size of weight (4).",
    ),
    "layer norm sizes": (
        lambda: F.layer_norm(tgs.zeros(2, 3), 4),
        tgs.ShapeError,
        "layer_norm: x does not fit.\n  x: f32(2, 3)\n  expected the last sizes of x to be (4,).",
    ),
    "a probability": (
        lambda: F.dropout(tgs.zeros(2), 1.5),
        tgs.ArgumentError,
        "dropout: p out of range.\n  p: 1.5\n  expected a probability from 0 to 1.",
    ),
    "a reduction": (
        lambda: F.mse_loss(tgs.zeros(2), tgs.zeros(2), reduction="men"),
        tgs.ArgumentError,
        "no such reduction.\n  reduction: 'men'\n  expected 'mean', 'sum' or 'none'.",
    ),
    "smoothing": (
        lambda: F.cross_entropy(tgs.zeros(2, 3), np.array([0, 1]), label_smoothing=2.0),
        tgs.ArgumentError,
        "cross_entropy: label_smoothing out of range.\n  expected a number from 0 to 1, got 2.0.",
    ),
    "a gelu": (
        lambda: F.gelu(tgs.zeros(2), "sigmoid"),
        tgs.ArgumentError,
        "gelu: no such form.\n  approximate: 'sigmoid'\n  expected 'none' or 'tanh'.",
    ),
    "an einsum size": (
        lambda: tgs.einsum("ij,jk->ik", tgs.zeros(2, 3), tgs.zeros(4, 5)),
        tgs.ShapeError,
        "einsum 'ij,jk->ik': sizes differ.\n  operand 0: f32(2, 3)\n  operand 1: f32(4, 5)\n"
        "  expected one size for 'j', got 3 and 4.",
    ),
    "an einsum term": (
        lambda: tgs.einsum("ijk->i", tgs.zeros(2, 3)),
        tgs.ShapeError,
        "einsum 'ijk->i': a term does not fit.\n  operand 0: f32(2, 3)\n  expected 'ijk' to name 2 axes.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, kind, text = REFUSED[case]
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == text


def test_ids_of_any_integer_kind():
    """Eight bits hold no -100, and need not."""
    x = tgs.tensor(np.random.default_rng(1).standard_normal((4, 3)))
    ids = np.array([0, 1, 2, 1])
    assert F.cross_entropy(x, ids.astype(np.uint8)).item() == F.cross_entropy(x, ids).item()


def test_a_negative_padding_idx_counts_from_the_end():
    """-1 is the last row, which gets no gradient."""
    w = tgs.ones(3, 2, requires_grad=True)
    F.embedding(np.array([2, 0]), w, padding_idx=-1).sum().backward()
    assert w.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
