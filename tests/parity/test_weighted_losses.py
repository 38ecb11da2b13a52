"""Weights of classes and of losses against PyTorch: values and gradients, every reduction, tails."""

import itertools

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(5)
REDUCTIONS = ("mean", "sum", "none")


def _same(ours, theirs, x, rtol=1e-10):
    """A loss of x, and the gradient of its sum, in float64."""
    a, b = tgs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    mine, true = ours(a), theirs(b)
    np.testing.assert_allclose(mine.numpy(), true.detach().numpy(), rtol=rtol, atol=1e-300)
    mine.sum().backward()
    true.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-13)


SHAPES = {"rows": (5, 4), "one row": (4,), "sequence": (2, 4, 3)}


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classes_have_weights(form, smoothing):
    """Ids, ignored ones among them, and probabilities; cross_entropy and nll_loss, and the modules."""
    shape = SHAPES[form]
    x, w = RNG.normal(0, 2, shape), RNG.random(4)
    axis = min(1, len(shape) - 1)
    ids = RNG.integers(0, 4, shape[:axis] + shape[axis + 1 :])
    if ids.ndim:
        ids.flat[0] = 2
        ignored = np.array(ids)
        ignored.flat[1] = -100
    p = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    for reduction in REDUCTIONS:
        targets = [ids, p] + ([ignored] if ids.ndim else [])
        for y in targets:
            settings = {"reduction": reduction, "label_smoothing": smoothing}
            _same(
                lambda a, y=y, s=settings: F.cross_entropy(a, tgs.tensor(y), tgs.tensor(w), **s),
                lambda b, y=y, s=settings: torch.nn.functional.cross_entropy(
                    b, torch.tensor(y), torch.tensor(w), **s
                ),
                x,
            )
        if ids.ndim:
            _same(
                lambda a, r=reduction: tgs.nn.NLLLoss(tgs.tensor(w), reduction=r)(a, tgs.tensor(ignored)),
                lambda b, r=reduction: torch.nn.NLLLoss(torch.tensor(w), reduction=r)(
                    b, torch.tensor(ignored)
                ),
                x,
            )


def test_yes_and_no_have_weights():
    """Both weights, each with the other and without."""
    x = np.array([[-3.0, -2.0, 0.5], [1.5, 3.0, -7.0], [7.0, 0.0, -0.1]])
    part, w = np.array([0.5, 2.0, 3.0]), np.array([[1.0], [0.25], [3.0]])
    targets = (np.zeros((3, 3)), np.ones((3, 3)), RNG.random((3, 3)))
    for y, reduction, ours_part, ours_w in itertools.product(targets, REDUCTIONS, (part, None), (w, None)):
        _same(
            lambda a, y=y, r=reduction, p=ours_part, w=ours_w: tgs.nn.BCEWithLogitsLoss(
                w, reduction=r, pos_weight=p
            )(a, tgs.tensor(y)),
            lambda b, y=y, r=reduction, p=ours_part, w=ours_w: torch.nn.BCEWithLogitsLoss(
                None if w is None else torch.tensor(w),
                reduction=r,
                pos_weight=None if p is None else torch.tensor(p),
            )(b, torch.tensor(y)),
            x,
        )


def test_a_small_loss_keeps_its_digits():
    """NumPy's formula is right here: of a weighed loss of 9.4e-14 PyTorch's is 1.3% off."""
    x, part = np.array([-700.0, -30.0, -3.0, 0.0, 3.0, 30.0, 700.0]), 2.5
    for y in (0.0, 1.0):
        right = part * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)
        target = tgs.full((7,), y, dtype=tgs.float64)
        loss = F.binary_cross_entropy_with_logits(tgs.tensor(x), target, pos_weight=[part], reduction="none")
        np.testing.assert_allclose(loss.numpy(), right, rtol=1e-14)


def test_absolute_differences():
    """l1_loss, whose slope is 0 where both are equal."""
    x, y = np.array([[1.0, -2.0, 3.0]]), np.array([[1.0, 2.0, -3.0]])
    for reduction in REDUCTIONS:
        _same(
            lambda a, r=reduction: F.l1_loss(a, tgs.tensor(y), reduction=r),
            lambda b, r=reduction: torch.nn.functional.l1_loss(b, torch.tensor(y), reduction=r),
            x,
        )


def test_weights_are_saved_not_learnt():
    """They are buffers, as in PyTorch."""
    loss = tgs.nn.CrossEntropyLoss(tgs.tensor([1.0, 2.0]))
    assert (
        list(loss.state_dict()) == ["weight"] == list(torch.nn.CrossEntropyLoss(torch.ones(2)).state_dict())
    )
    assert not list(loss.parameters())


def test_weights_that_do_not_fit_are_refused():
    """One number for each class; what broadcasts to the shape of x."""
    x = tgs.ones(2, 3)
    with pytest.raises(tgs.ShapeError) as error:
        F.cross_entropy(x, [0, 1], tgs.ones(2))
    assert str(error.value) == (
        "cross_entropy: weight does not fit.\n  weight: f32(2,)\n  expected one number for each of 3 classes."
    )
    with pytest.raises(tgs.ShapeError) as error:
        F.binary_cross_entropy_with_logits(x, x, pos_weight=tgs.ones(2))
    assert str(error.value) == (
        "binary_cross_entropy_with_logits: pos_weight does not fit.\n"
        "  input: f32(2, 3)\n  pos_weight: f32(2,)\n  expected what broadcasts to (2, 3)."
    )
    for call in (
        lambda: tgs.nn.CrossEntropyLoss(reduction="avg"),
        lambda: F.mse_loss(x, x, reduction="avg"),
        lambda: F.cross_entropy(x, [0, 1], tgs.ones(3), reduction="avg"),
    ):
        with pytest.raises(tgs.ArgumentError, match="expected 'mean', 'sum' or 'none'"):
            call()
