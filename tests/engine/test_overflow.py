"""Statistics of numbers whose sums or squares leave their dtype: finite or infinite as PyTorch's are."""

import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

BIG = [[3e38, 3e38], [3e38, -3e38], [3e38, 1.0], [1e30, -1e30], [1e20, 1.0], [1e-25, 3e-25], [1e-36, -3e-36]]


@pytest.mark.parametrize("row", [*BIG, [2e38] * 7, [3e38, 3e38, -3e38, -3e38]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("correction", [0, 1])
def test_var_and_std_are_those_of_pytorch(row, dtype, correction):
    """NaN and 0 stood where 2.1e38 and inf are right; the variance of what sums to infinity is infinite."""
    torch = pytest.importorskip("torch")
    a = np.array(row, dtype)
    x, y = tgs.tensor(a), torch.tensor(a)
    with np.errstate(all="ignore"):
        for name in ("var", "std"):
            mine = getattr(x, name)(correction=correction).numpy()
            right = getattr(y, name)(correction=correction).numpy()
            np.testing.assert_allclose(mine, right, rtol=1e-6 if dtype == np.float32 else 1e-14)


def test_the_gradient_of_a_large_or_small_spread():
    """d std / dx = (x - mean) / ((n - 1) std), whatever the scale; it was 0 where a square overflowed."""
    for scale in (1e-40, 1e-25, 1.0, 1e25, 1e38):
        x = tgs.tensor(np.float32([scale, -scale]), requires_grad=True)
        x.std().backward()
        np.testing.assert_allclose(x.grad.numpy(), [0.5**0.5, -(0.5**0.5)], rtol=1e-6)


def test_sums_that_go_to_infinity_and_back():
    x = tgs.tensor(np.float32([3e38, 3e38, -3e38, -3e38]))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(x.cumsum(0).numpy(), np.float32([3e38, math.inf, 3e38, 0]))


def test_a_norm_below_1_has_a_gradient_at_the_end_of_the_range():
    x = tgs.tensor(np.float32([3e38]), requires_grad=True)
    x.norm(0.5).backward()
    np.testing.assert_allclose(x.grad.numpy(), [1.0], rtol=1e-6)


@pytest.mark.parametrize(
    "row", [[math.inf, 1.0], [math.inf, -math.inf], [0.0, math.inf, math.inf], [math.nan, 1.0]]
)
@pytest.mark.parametrize("fused", [True, False])
def test_a_logit_of_infinity_is_no_sure_answer(row, fused):
    """The loss was 0, and the others' probabilities too, beside a NaN: the row is NaN as a whole, as in PyTorch."""
    x = tgs.tensor(np.float32([row, [0.0] * len(row)]))

    def look():
        for made in (F.softmax(x), F.log_softmax(x)):
            assert np.isnan(made.numpy()[0]).all()
            assert np.isfinite(made.numpy()[1]).all()
        for target in range(len(row)):
            losses = F.cross_entropy(x, [target, 0], reduction="none").numpy()
            assert np.isnan(losses[0])
            assert losses[1] == pytest.approx(math.log(len(row)))
        assert F.logsumexp(x).numpy()[0] == pytest.approx(np.max(row), nan_ok=True)

    with np.errstate(all="ignore"):
        if fused:
            look()
        else:
            with tgs.composed():
                look()


def test_numbers_that_integers_and_booleans_hold():
    """0 and 1 are truth values and 2.0 is a whole number, where a value is written; 2 and 0.5 are refused."""
    mask = tgs.tensor([True, False])
    assert mask.clone().zero_().tolist() == [False, False]
    assert mask.clone().fill_(1).tolist() == [True, True]
    filled = mask.masked_fill(mask, 0)
    assert (filled.dtype, filled.tolist()) == (np.dtype(bool), [False, False])
    assert mask.clone().masked_fill_(mask, 0.0).tolist() == [False, False]
    assert tgs.tensor([1, 2]).fill_(3.0).tolist() == [3, 3]
    for x, value in ((mask, 2), (mask, 0.5), (tgs.tensor([1, 2]), 0.5)):
        with pytest.raises(tgs.DTypeError, match="fill_: x cannot hold the result"):
            x.clone().fill_(value)
