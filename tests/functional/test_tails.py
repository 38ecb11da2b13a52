"""What compositions lose where a function has no kink, no end and nothing to lose: ties, tails, rows of -inf alone.

Right values come from mpmath, from PyTorch's definitions, or from what a limit must be.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import nn

pytestmark = [pytest.mark.engine, pytest.mark.laws]

WAYS = {"fused": contextlib.nullcontext, "composed": tgs.composed}
each_way = pytest.mark.parametrize("way", WAYS)
INF = math.inf


def derivatives(f, x, orders):
    """f and its derivatives up to this order at one number."""
    t = tgs.tensor(np.array([x]), requires_grad=True)
    y, found = f(t).sum(), []
    for _ in range(orders + 1):
        found.append(y.item())
        y = tgs.grad(y, t, create_graph=True).sum() if y.requires_grad else tgs.zeros(1).sum()
    return found


# ---- kinks -----------------------------------------------------------------------------------------------
# Taylor's coefficients at 0 times n!: tanh, 1/(1+e^-x) and the normal distribution, all by hand.
ROOT = 1 / math.sqrt(2 * math.pi)
SLOPE = 2 * math.sqrt(2 / math.pi)
AT_ZERO = {
    "sigmoid": (F.sigmoid, [0.5, 0.25, 0, -0.125, 0]),
    "softplus": (F.softplus, [math.log(2), 0.5, 0.25, 0, -0.125]),
    "logsigmoid": (F.logsigmoid, [-math.log(2), 0.5, -0.25, 0, 0.125]),
    "silu": (F.silu, [0, 0.5, 0.5, 0, -0.5]),
    "tanh": (F.tanh, [0, 1, 0, -2, 0]),
    "gelu": (F.gelu, [0, 0.5, 2 * ROOT, 0, -4 * ROOT]),
    "erf": (lambda x: x.erf(), [0, 2 / math.sqrt(math.pi), 0, -4 / math.sqrt(math.pi), 0]),
    "bce": (
        lambda x: F.binary_cross_entropy_with_logits(x, np.array([0.3])),
        [math.log(2), 0.2, 0.25, 0, -0.125],
    ),
    "logsumexp of ties": (
        lambda x: F.logsumexp(tgs.cat([x, -x, x * 0.0])),
        [math.log(3), 0, 2 / 3, 0, -2 / 3],
    ),
    "softmax of ties": (lambda x: F.softmax(tgs.cat([x, -x]))[:1], [0.5, 0.5, 0, -1, 0]),
    "log_softmax of ties": (lambda x: F.log_softmax(tgs.cat([x, -x]))[:1], [-math.log(2), 1, -1, 0, 2]),
    "gelu by tanh": (
        lambda x: F.gelu(x, "tanh"),
        [0, 0.5, 2 * ROOT, 0, 4 * (-(SLOPE**3) / 8 + 6 * 0.044715 * SLOPE / 4)],
    ),
    "layer_norm of ties": (lambda x: F.layer_norm(tgs.cat([x, -x]), 2, eps=1.0)[:1], [0, 1, 0, -3, 0]),
    "rms_norm of ties": (lambda x: F.rms_norm(tgs.cat([x, -x]), 2, eps=1.0)[:1], [0, 1, 0, -3, 0]),
    "norm of ties": (
        lambda x: tgs.cat([x + 1.0, 1.0 - x, x * 0.0 + 1.0]).norm(),
        [3**0.5, 0, 2 * 3**0.5 / 3, 0, -4 * 3**0.5 / 3],
    ),
    "attention of ties": (
        lambda x: F.scaled_dot_product_attention(
            x.reshape(1, 1), np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]])
        ),
        [0.5, 0.5, 0, -1, 0],
    ),
    "cross_entropy of three ties": (
        lambda x: F.cross_entropy(tgs.cat([x, -x, x * 0.0]).reshape(1, 3), np.array([2])),
        [math.log(3), 0, 2 / 3, 0, -2 / 3],
    ),
    "cross_entropy of ties": (
        lambda x: F.cross_entropy(tgs.cat([x, -x]).reshape(1, 2), np.array([0])),
        [math.log(2), -1, 1, 0, -2],
    ),
}


@each_way
@pytest.mark.parametrize("name", AT_ZERO)
def test_orders_0_to_4_at_a_tie(name, way):
    """No composed function has a kink where the function itself has none, at any order."""
    f, expected = AT_ZERO[name]
    with WAYS[way]():
        np.testing.assert_allclose(derivatives(f, 0.0, 4), expected, rtol=1e-13, atol=1e-13)


def test_the_hessian_of_logistic_regression_at_zero():
    """x^T x / 4 where all weights are 0, whatever the answers; it was zero."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 3)), rng.integers(0, 2, 7).astype(float)
    w = tgs.zeros(3, dtype="float64", requires_grad=True)
    (g,) = tgs.grad(F.binary_cross_entropy_with_logits(x @ w, y, reduction="sum"), [w], create_graph=True)
    rows = [tgs.grad(g[i], w, retain_graph=True).numpy() for i in range(3)]
    np.testing.assert_allclose(np.stack(rows), x.T @ x / 4, rtol=1e-13)


# ---- tails -----------------------------------------------------------------------------------------------
SURE = math.exp(-20.0)
TAILS = [
    (F.sigmoid, -20.0, SURE / (1 + SURE), SURE / (1 + SURE) ** 2),
    (F.sigmoid, 20.0, 1 / (1 + SURE), SURE / (1 + SURE) ** 2),
    (F.sigmoid, -95.0, 5.5210822770285325e-42, 5.5210822770285325e-42),
    (F.softplus, -20.0, math.log1p(SURE), SURE / (1 + SURE)),
    (F.logsigmoid, 20.0, -math.log1p(SURE), SURE / (1 + SURE)),
    (F.logsigmoid, -200.0, -200.0, 1.0),
    (F.silu, -20.0, -20 * SURE / (1 + SURE), SURE / (1 + SURE) - 20 * SURE / (1 + SURE) ** 2),
    (F.gelu, -10.0, -7.619853024160525e-23, -7.618400096464814e-22),
    (lambda x: F.gelu(x, "tanh"), -4.0, -7.024594819237269e-05, -0.00033512319712267),
    (lambda x: F.binary_cross_entropy_with_logits(x, np.ones(1, "f4")), 20.0, math.log1p(SURE), -SURE / (1 + SURE)),
    (lambda x: F.binary_cross_entropy_with_logits(x, np.zeros(1, "f4")), -20.0, math.log1p(SURE), SURE / (1 + SURE)),
]  # fmt: skip


@each_way
@pytest.mark.parametrize("case", range(len(TAILS)))
def test_float32_keeps_the_digits_of_a_tail(case, way):
    """Value and slope to seven digits of themselves, where 1 + exp(-x) is 1."""
    f, x, value, slope = TAILS[case]
    with WAYS[way]():
        t = tgs.tensor([x], requires_grad=True)
        y = f(t)
        (g,) = tgs.grad(y.sum(), [t])
    np.testing.assert_allclose(y.numpy().ravel()[0], value, rtol=2e-6, atol=2.0**-149)
    np.testing.assert_allclose(g.numpy()[0], slope, rtol=2e-6, atol=2.0**-149)


@each_way
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_sure_and_right_answer_still_teaches(reduction, way):
    """p - 1 of the answer is -exp(-20) and p of the other exp(-20), in float32, where 1 - exp(-20) is 1."""
    with WAYS[way]():
        x = tgs.tensor([[20.0, 0.0], [-30.0, 30.0], [0.0, -INF]], requires_grad=True)
        loss = F.cross_entropy(x, np.array([0, 1, 0]), reduction=reduction)
        (g,) = tgs.grad(loss.sum(), [x])
    odds = np.array([math.exp(-20.0), math.exp(-60.0), 0.0])[:, None] * np.array([-1.0, 1.0])
    true = odds / (1.0 + abs(odds)) * np.array([[1.0], [-1.0], [1.0]]) / (3 if reduction == "mean" else 1)
    np.testing.assert_allclose(g.numpy(), true, rtol=2e-5)


# Far out: value by x, and slope; what is infinite inside must not meet a 0.
ENDS = {
    "tanh": (F.tanh, (-1, 0), (1, 0)),
    "sigmoid": (F.sigmoid, (0, 0), (1, 0)),
    "relu": (F.relu, (0, 0), (None, 1)),
    "silu": (F.silu, (0, 0), (None, 1)),
    "gelu": (F.gelu, (0, 0), (None, 1)),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), (0, 0), (None, 1)),
    "softplus": (F.softplus, (0, 0), (None, 1)),
    "logsigmoid": (F.logsigmoid, (None, 1), (0, 0)),
    "erf": (lambda x: x.erf(), (-1, 0), (1, 0)),
    "bce": (lambda x: F.binary_cross_entropy_with_logits(x, x * 0.0, reduction="none"), (0, 0), (None, 1)),
}


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ENDS)
def test_the_whole_range_up_to_the_largest_number(name, dtype, way):
    """From 800 to the largest number on either side, value, slope and curvature; None stands for x."""
    f, *sides = ENDS[name]
    for sign, (value, slope) in zip((-1, 1), sides, strict=True):
        x = sign * np.geomspace(800.0, float(np.finfo(dtype).max) / 2, 60).astype(dtype)
        with WAYS[way](), np.errstate(all="ignore"):
            t = tgs.tensor(x, requires_grad=True)
            y = f(t)
            (g,) = tgs.grad(y.sum(), [t], create_graph=True)
            h = tgs.grad(g.sum(), [t])[0].numpy() if g.requires_grad else 0 * x
        np.testing.assert_array_equal(y.numpy(), x if value is None else 0 * x + value)
        np.testing.assert_array_equal(g.numpy(), 0 * x + slope)
        np.testing.assert_array_equal(h, 0 * x)


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [1, 2, 3, 0.5, math.inf])
def test_a_norm_neither_vanishes_nor_overflows_before_its_numbers_do(p, dtype, way):
    """Powers of 10^+-30 are beyond float32, those of 10^+-300 beyond float64: norms of multiples are multiples."""
    rows = np.array([[3.0, -4.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    powers = range(-36, 37, 4) if dtype == "float32" else range(-300, 301, 40)
    with WAYS[way]():
        for power in powers:
            x = tgs.tensor((rows * 10.0**power).astype(dtype), requires_grad=True)
            found = x.norm(p, dim=-1)
            whole = x.norm(p)
            (g,) = tgs.grad(found.sum() + whole * 0.0, [x])
            with np.errstate(divide="ignore"):
                true = np.linalg.norm(rows.T, p, axis=0) if p != 0.5 else (np.abs(rows) ** p).sum(-1) ** 2
            np.testing.assert_allclose(found.numpy(), true * 10.0**power, rtol=2e-6)
            assert np.isfinite(whole.item())
            assert np.isfinite(g.numpy()).all()
            if p == 2:
                np.testing.assert_allclose(g.numpy()[0], [0.6, -0.8, 0.0], rtol=1e-6)


def test_norms_of_nothing_of_infinity_and_of_no_number():
    """0 for no elements; infinite and NaN where an element is."""
    assert tgs.zeros(0).norm().item() == 0.0
    assert tgs.tensor([[1.0, INF], [2.0, 0.0]]).norm(dim=1).tolist() == [INF, 2.0]
    assert math.isnan(tgs.tensor([1.0, math.nan]).norm().item())


@each_way
def test_a_sure_and_right_answer_has_a_loss(way):
    """log(1 + e^-20) for two classes, in float32, not 0; the same by every road."""
    with WAYS[way]():
        x = tgs.tensor([[20.0, 0.0]])
        losses = [
            F.cross_entropy(x, np.array([0])),
            F.cross_entropy(x, np.array([[1.0, 0.0]], "f4")),
            F.nll_loss(F.log_softmax(x), np.array([0])),
            -F.log_softmax(x)[0, 0],
            F.binary_cross_entropy_with_logits(tgs.tensor([20.0]), np.ones(1, "f4")),
            -F.sigmoid(tgs.tensor([-20.0])).log()[0] - 20.0 + 2.0 * SURE,
        ]
    np.testing.assert_allclose([loss.item() for loss in losses[:-1]], math.log1p(SURE), rtol=1e-6)
    assert abs(losses[-1].item()) < 1e-5


# ---- rows of -inf alone ------------------------------------------------------------------------------------
ROWS = np.array([[-INF, -INF, -INF], [0.0, -INF, 1.0]])
SHARES = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
EMPTY = {
    "softmax": (F.softmax, [0.0, 0.0, 0.0]),
    "log_softmax": (F.log_softmax, [-INF, -INF, -INF]),
    "logsumexp": (lambda x: F.logsumexp(x, keepdim=True), [-INF]),
    "softmax method": (lambda x: x.softmax(dim=1), [0.0, 0.0, 0.0]),
    "softmax of a mask": (lambda x: x.masked_fill(x == -INF, -INF).softmax(), [0.0, 0.0, 0.0]),
    "log_softmax method": (lambda x: x.T.log_softmax(dim=0).T, [-INF, -INF, -INF]),
    "logsumexp method": (lambda x: x.logsumexp(dim=1, keepdim=True), [-INF]),
    "attention": (
        lambda x: F.scaled_dot_product_attention(*[np.ones((n, 2), x.dtype) for n in (len(x), 3, 3)], bias=x),
        [0.0, 0.0],
    ),
    "cross_entropy of a layer": (
        lambda x: nn.CrossEntropyLoss(reduction="none")(x, np.array([1, 2][-len(x) :])).reshape(len(x), 1), [INF],
    ),
    "cross_entropy": (lambda x: F.cross_entropy(x, np.array([1, 2]), reduction="none").reshape(2, 1), [INF]),
    "cross_entropy of weights": (
        lambda x: F.cross_entropy(x, SHARES.astype(x.dtype), reduction="none").reshape(2, 1),
        [INF],
    ),
    "nll_loss": (
        lambda x: F.nll_loss(F.log_softmax(x), np.array([1, 2]), reduction="none").reshape(2, 1), [INF],
    ),
}  # fmt: skip


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EMPTY)
def test_a_row_of_minus_infinity_alone_is_an_empty_choice(name, dtype, way):
    """Its sum is 0, its logarithm -inf, the loss of any answer inf, and it gets no gradient; others are as ever."""
    f, expected = EMPTY[name]
    with WAYS[way](), np.errstate(all="ignore"):
        x = tgs.tensor(ROWS.astype(dtype), requires_grad=True)
        y = f(x)
        (g,) = tgs.grad((y[1:] * 3.0).sum() + y[:1].sum(), [x])
        alone = tgs.tensor(ROWS[1:].astype(dtype), requires_grad=True)
        if "cross" not in name and "nll" not in name:
            np.testing.assert_array_equal(f(alone).numpy(), y[1:].numpy())
    assert y[0].tolist() == expected
    assert g[0].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(g[1].numpy()).all()


@pytest.mark.parametrize("how", ["fused", "composed"])
@pytest.mark.parametrize(
    "norm", [lambda x: F.layer_norm(x, 3), lambda x: F.rms_norm(x, 3)], ids=["layer", "rms"]
)
def test_a_norm_whose_squares_overflow_is_no_zero(norm, how) -> None:
    """Rows of 1e30 came out as zeros, and looked sound; beside them a usual row is as it was."""
    x = tgs.tensor(np.array([[1e30, 2e30, 3e30], [1.0, 2.0, 4.0]], "f4"), requires_grad=True)
    with tgs.composed() if how == "composed" else contextlib.nullcontext():
        y, usual = norm(x), norm(x[1:])
    assert np.isnan(y.detach().numpy()[0]).all()
    np.testing.assert_array_equal(y.detach().numpy()[1:], usual.detach().numpy())
    g = tgs.grad(y[1].sum() + y[1, 0], x)
    assert np.isfinite(g.numpy()[1]).all()
