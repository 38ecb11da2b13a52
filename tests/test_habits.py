"""What users of PyTorch and of NumPy write by habit: it does what it does there, or it is refused in a clear line."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.errors import ArgumentError, RangeError

A = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def equal(mine, right):
    """The same values in the same shape."""
    np.testing.assert_array_equal(mine.numpy(), right)


# ---- max and min: NumPy's values, PyTorch's pair ---------------------------------------------------------
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_in_both_libraries_ways(name):
    """`axis=` gives values, `dim=` the pair; without a name the values cannot be taken for the pair."""
    x = tgs.tensor(A)
    find = getattr(x, name)
    values, places = getattr(A, name)(1), getattr(A, "arg" + name)(1)
    equal(find(), getattr(A, name)())
    equal(find(axis=1), values)
    equal(find(axis=(0, 1)), getattr(A, name)())
    equal(find(axis=1, keepdims=True), values[:, None])
    equal(find(1), values)
    equal(find(1, True) * 2, values[:, None] * 2)
    equal(find(1, keepdims=True)[0], values[:1])
    for pair in (find(dim=1), find(1, keepdim=False), find(dim=-1)):
        equal(pair.values, values)
        equal(pair.indices, places)
    kept, where = find(dim=1, keepdim=True)
    equal(kept, values[:, None])
    equal(where, places[:, None])
    equal(find(tgs.tensor(A[::-1].copy())), getattr(np, name + "imum")(A, A[::-1]))
    equal(getattr(tgs.tensor(2.0), name)(dim=0).values, np.float32(2))
    for use in (lambda: tuple(find(1)), lambda: find(1)[1], lambda: find(0)[-1]):
        with pytest.raises(ArgumentError, match=r"axis=1 gives values alone, as in NumPy; dim=1 gives \(val"):
            use()


def test_an_axis_and_a_dim_are_one_setting():
    """Both at once are refused; today's silent choice was wrong for one of them."""
    x = tgs.tensor(A)
    calls = "sum mean max min amax amin var std argmax argmin all any squeeze"
    for name in calls.split():
        with pytest.raises(ArgumentError) as caught:
            getattr(x, name)(axis=0, dim=1)
        assert str(caught.value) == (
            f"{name}: axis and dim are one setting.\n  axis: 0\n  dim: 1\n  expected one of them."
        )
        with pytest.raises(RangeError):
            getattr(x, name)(axis=True)


def test_the_pair_is_no_tensor():
    """What a tuple would do silently with `* 2`, `+` and NumPy is refused."""
    pair = tgs.tensor(A).max(dim=1)
    for use in (lambda: pair * 2, lambda: 2 * pair, lambda: pair + pair, lambda: np.asarray(pair)):
        with pytest.raises(ArgumentError, match=r"Take \.values, or write axis= for dim="):
            use()


def test_the_pairs_gradient_goes_to_one_place():
    """As in PyTorch; the values alone share it among equals."""
    x = tgs.tensor([[1.0, 3.0, 3.0]], requires_grad=True)
    x.max(dim=1).values.sum().backward()
    equal(x.grad, [[0, 1, 0]])
    x.grad = None
    x.max(axis=1).sum().backward()
    equal(x.grad, [[0, 0.5, 0.5]])


def test_a_variance_says_what_it_divides_by():
    """PyTorch's default is n - 1, NumPy's n: the names of both, and no truth value by its place."""
    x = tgs.tensor(A)
    for name in ("var", "std"):
        spread = getattr(x, name)
        for call, less in (
            (lambda s: s(1), 1),
            (lambda s: s(1, unbiased=False), 0),
            (lambda s: s(dim=1, unbiased=True), 1),
            (lambda s: s(axis=1, ddof=0), 0),
            (lambda s: s(1, correction=2), 2),
        ):
            right = getattr(A.astype(float), name)(1, ddof=less)
            np.testing.assert_allclose(call(spread).numpy(), right, rtol=1e-5)
        assert spread(1, keepdim=True).shape == spread(1, True, correction=1).shape == (3, 1)
        with pytest.raises(ArgumentError, match="in PyTorch a truth value here is unbiased=, in NumPy a dt"):
            spread(1, False)
        with pytest.raises(ArgumentError, match="one setting under two names"):
            spread(1, unbiased=False, correction=1)
        with pytest.raises(RangeError, match="got False"):
            spread(False)


def test_places_keep_their_axis():
    """`argmax(dim=1, keepdim=True)`, `all` and `any` likewise."""
    x = tgs.tensor(A)
    equal(x.argmax(dim=1, keepdim=True), A.argmax(1, keepdims=True))
    equal(x.argmin(axis=0, keepdims=True), A.argmin(0, keepdims=True))
    equal(x.argmax(0, True), A.argmax(0, keepdims=True))
    equal((x > 0).all(dim=1, keepdim=True), (A > 0).all(1, keepdims=True))
    equal((x > 0).any(axis=1, keepdims=True), (A > 0).any(1, keepdims=True))


def test_gather_is_pytorchs():
    """`gather(dim, index)`: values, gradient, and what does not fit."""
    ids = np.array([[0, 2], [1, 1], [3, 0]])
    x = tgs.tensor(A, requires_grad=True)
    y = x.gather(1, ids)
    equal(y, np.take_along_axis(A, ids, 1))
    y.sum().backward()
    right = np.zeros_like(A)
    np.add.at(right, (np.arange(3)[:, None], ids), 1)
    equal(x.grad, right)
    equal(x.gather(dim=0, index=tgs.tensor([[2, 0, 1]])), [A[[2, 0, 1], [0, 1, 2]]])
    for wrong in ([[4]], [[-1]]):
        with pytest.raises(RangeError, match="expected ids from 0 to 3"):
            x.gather(1, wrong)
    with pytest.raises(tgs.ShapeError, match="expected the axes of x"):
        x.gather(1, [0, 1])
    with pytest.raises(tgs.DTypeError, match="ids must be integers"):
        x.gather(1, [[0.5]])
