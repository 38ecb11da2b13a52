"""A short form of the random calls beside PyTorch, and by name what the long form found."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tests.campaigns import fuzz_torch
from tinygrad_seq import functional as F


def test_values_and_gradients_of_random_calls_are_those_of_pytorch() -> None:
    """700 calls; `fuzz_methods.py --torch` makes as many as it is told."""
    counts, wrong = fuzz_torch.run(700, seed=3)
    assert not wrong, "\n".join(wrong)
    assert len(counts) > 100


def curvature(call, x, weight):
    """The gradient of a weighted sum of the gradient, ours and PyTorch's."""
    found = []
    for lib in (tgs, torch):
        leaf = lib.tensor(x.copy(), requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, of a circle in memory
            call(leaf).backward(create_graph=True)
            first = leaf.grad.clone()
            leaf.grad = None
            (first * lib.tensor(weight)).sum().backward()
        found.append(leaf.grad.detach().numpy())
    return found


@pytest.mark.parametrize("p", [2, 4, 3])
def test_a_norm_is_curved_where_one_of_its_numbers_is_0(p):
    """|x| has a kink there that x^2 has not: the second derivative of the norm was 0."""
    mine, theirs = curvature(lambda x: x.norm(p), np.array([0.0, -1.0, 2.0]), np.array([1.0, 0.5, -2.0]))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    assert p > 2 or theirs[0] != 0


@pytest.mark.parametrize("p", [0.5, 1, 1.5])
def test_a_number_0_gets_no_gradient_from_a_norm(p):
    x, y = (
        tgs.tensor([0.0, -1.0, 4.0], requires_grad=True),
        torch.tensor([0.0, -1.0, 4.0], requires_grad=True),
    )
    x.norm(p).backward()
    y.norm(p).backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (0, 2)])
def test_softmax_of_no_classes(shape):
    """It is empty, and log(sum) of nothing is -inf; both were refused."""
    for dim in range(len(shape)):
        x, y = tgs.zeros(shape, requires_grad=True), torch.zeros(shape, requires_grad=True)
        for ours, theirs in ((F.softmax, torch.softmax), (F.log_softmax, torch.log_softmax)):
            assert ours(x, dim).shape == tuple(theirs(y, dim).shape)
        mine, right = x.logsumexp(dim=dim), torch.logsumexp(y, dim)
        np.testing.assert_array_equal(mine.detach().numpy(), right.detach().numpy())
        mine.sum().backward()
        assert x.grad.shape == shape


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dims", [(0, 1), (2, 0), (-1,), (0, 1, 2), [1, 2], 1])
def test_logsumexp_over_several_axes(dims, keepdim):
    a = np.random.default_rng(0).normal(size=(2, 3, 4))
    x, y = tgs.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    mine, right = x.logsumexp(dim=dims, keepdim=keepdim), torch.logsumexp(y, dims, keepdim)
    np.testing.assert_allclose(mine.detach().numpy(), right.detach().numpy(), rtol=1e-12)
    (mine * mine).sum().backward()
    (right * right).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-10)


def test_chunks_of_an_empty_axis_can_be_unpacked():
    first, second, third = tgs.zeros(2, 0).chunk(3, 1)
    assert [tuple(t.shape) for t in torch.zeros(2, 0).chunk(3, 1)] == [first.shape, second.shape, third.shape]


def test_repeats_as_array_list_and_tensor():
    a = np.arange(3.0)
    right = torch.tensor(a).repeat_interleave(torch.tensor([2, 0, 1])).numpy()
    for repeats in ([2, 0, 1], np.array([2, 0, 1]), tgs.tensor([2, 0, 1])):
        np.testing.assert_array_equal(tgs.tensor(a).repeat_interleave(repeats).numpy(), right)


def test_no_ids_pick_nothing():
    x = tgs.zeros(3, 2)
    assert x.index_select(0, []).shape == (0, 2)
    assert x.take([]).shape == (0, 2)
