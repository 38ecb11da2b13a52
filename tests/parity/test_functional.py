"""Composed functions against PyTorch: values and gradients, in float32 and float64."""

import contextlib
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as TF

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 6)) * 3
X.flat[:3] = 0.0, 1e4, -1e4
IDS = np.array([1, 5, 0, 2])
IDS_IGNORED = np.array([1, -100, 0, -100])
P = RNG.dirichlet(np.ones(6), 4)
IMAGE = RNG.standard_normal((2, 5, 3, 4))
IMAGE_IDS = RNG.integers(0, 5, (2, 3, 4))
W, B = RNG.standard_normal((3, 6)), RNG.standard_normal(3)

CASES = {
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "tanh": (F.tanh, torch.tanh),
    "relu": (F.relu, TF.relu),
    "gelu": (F.gelu, TF.gelu),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: TF.gelu(x, approximate="tanh")),
    "silu": (F.silu, TF.silu),
    "softplus": (F.softplus, TF.softplus),
    "softmax": (lambda x: F.softmax(x) ** 2, lambda x: TF.softmax(x, -1) ** 2),
    "softmax dim 0": (lambda x: F.softmax(x, dim=0) ** 2, lambda x: TF.softmax(x, 0) ** 2),
    "log_softmax": (F.log_softmax, lambda x: TF.log_softmax(x, -1)),
    "logsumexp": (F.logsumexp, lambda x: torch.logsumexp(x, -1)),
    "logsumexp keepdim": (lambda x: F.logsumexp(x, 0, True), lambda x: torch.logsumexp(x, 0, True)),
    "layer_norm": (lambda x: F.layer_norm(x, 6) ** 3, lambda x: TF.layer_norm(x, (6,)) ** 3),
    "layer_norm two axes": (lambda x: F.layer_norm(x, (4, 6)) ** 3, lambda x: TF.layer_norm(x, (4, 6)) ** 3),
}
for reduction in ("mean", "sum", "none"):
    CASES |= {
        f"cross_entropy {reduction}": (
            lambda x, r=reduction: F.cross_entropy(x, IDS, reduction=r),
            lambda x, r=reduction: TF.cross_entropy(x, torch.tensor(IDS), reduction=r),
        ),
        f"cross_entropy smoothed, ignoring, {reduction}": (
            lambda x, r=reduction: F.cross_entropy(x, IDS_IGNORED, label_smoothing=0.2, reduction=r),
            lambda x, r=reduction: TF.cross_entropy(
                x, torch.tensor(IDS_IGNORED), label_smoothing=0.2, reduction=r
            ),
        ),
        f"cross_entropy of probabilities, smoothed, {reduction}": (
            lambda x, r=reduction: F.cross_entropy(
                x, tgs.tensor(P, dtype=x.dtype), label_smoothing=0.1, reduction=r
            ),
            lambda x, r=reduction: TF.cross_entropy(
                x, torch.tensor(P, dtype=x.dtype), label_smoothing=0.1, reduction=r
            ),
        ),
        f"nll_loss {reduction}": (
            lambda x, r=reduction: F.nll_loss(x, IDS_IGNORED, reduction=r),
            lambda x, r=reduction: TF.nll_loss(x, torch.tensor(IDS_IGNORED), reduction=r),
        ),
        f"mse_loss {reduction}": (
            lambda x, r=reduction: F.mse_loss(x, tgs.tensor(P, dtype=x.dtype), reduction=r),
            lambda x, r=reduction: TF.mse_loss(x, torch.tensor(P, dtype=x.dtype), reduction=r),
        ),
        f"binary_cross_entropy_with_logits {reduction}": (
            lambda x, r=reduction: F.binary_cross_entropy_with_logits(
                x, tgs.tensor(P, dtype=x.dtype), reduction=r
            ),
            lambda x, r=reduction: TF.binary_cross_entropy_with_logits(
                x, torch.tensor(P, dtype=x.dtype), reduction=r
            ),
        ),
    }


def both(ours, theirs, x, dtype):
    """Value and gradient of the same function in both, a fixed random gradient coming in."""
    mine = tgs.tensor(x.astype(dtype), requires_grad=True)
    other = torch.tensor(x.astype(dtype), requires_grad=True)
    a, b = ours(mine), theirs(other)
    seed = np.random.default_rng(1).standard_normal(a.shape).astype(dtype)
    a.backward(seed)
    b.backward(torch.tensor(seed))
    return (a.numpy(), mine.grad.numpy()), (b.detach().numpy(), other.grad.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_pytorchs(name, dtype):
    """Relative to the largest entry: 2e-6 in float32 and 1e-13 in float64, with +-1e4 among the inputs."""
    ours, theirs = both(*CASES[name], X, dtype)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype == dtype
        assert mine.shape == other.shape
        bound = {"float32": 2e-6, "float64": 1e-13}[dtype] * max(1.0, np.abs(other).max())
        np.testing.assert_allclose(mine, other, rtol=0, atol=bound)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_images_has_its_classes_on_axis_1(reduction):
    """(N, C, d1, d2) with ids (N, d1, d2), and one distribution (C,), as in PyTorch."""
    for x, ids in ((IMAGE, IMAGE_IDS), (IMAGE[0, :, 0, 0], np.asarray(IMAGE_IDS[0, 0, 0]))):

        def ours(t, ids=ids):
            return F.cross_entropy(t, ids, reduction=reduction)

        def theirs(t, ids=ids):
            return TF.cross_entropy(t, torch.tensor(ids), reduction=reduction)

        mine, other = both(ours, theirs, x, "float64")
        np.testing.assert_allclose(mine[0], other[0], rtol=1e-13)
        np.testing.assert_allclose(mine[1], other[1], rtol=0, atol=1e-15)


def test_probabilities_of_images():
    """(N, C, d1, d2) against probabilities of the same shape."""
    p = RNG.dirichlet(np.ones(5), (2, 3, 4)).transpose(0, 3, 1, 2)
    ours, theirs = both(
        lambda t: F.cross_entropy(t, tgs.tensor(p), label_smoothing=0.3),
        lambda t: TF.cross_entropy(t, torch.tensor(p), label_smoothing=0.3),
        IMAGE,
        "float64",
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-13)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-15)


def test_linear_and_embedding():
    """x W^T + b and weight[ids], with gradients for weights; no gradient at the padding row."""
    ours, theirs = both(
        lambda x: F.linear(x, tgs.tensor(W, dtype=x.dtype), tgs.tensor(B, dtype=x.dtype)),
        lambda x: TF.linear(x, torch.tensor(W, dtype=x.dtype), torch.tensor(B, dtype=x.dtype)),
        X[:, :],
        "float64",
    )
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-13)
    ids = np.array([[0, 2, 2], [1, 0, 2]])
    ours, theirs = both(
        lambda w: F.embedding(ids, w, padding_idx=2) ** 2,
        lambda w: TF.embedding(torch.tensor(ids), w, padding_idx=2) ** 2,
        W,
        "float64",
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-15)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-15)
    assert not ours[1][2].any()


def test_one_hot_equals_pytorchs():
    """The same integers."""
    ids = np.array([[0, 3], [2, 1]])
    np.testing.assert_array_equal(F.one_hot(ids, 4).numpy(), TF.one_hot(torch.tensor(ids), 4).numpy())


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("i,j->ij", [(3,), (4,)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("i,i,i->", [(3,), (3,), (3,)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kj", [(2, 3), (4, 3)]),
        ("bij,bjk->ik", [(2, 3, 4), (2, 4, 5)]),
        ("ij,ij->i", [(3, 4), (3, 4)]),
        ("iij,jk->ik", [(3, 3, 2), (2, 4)]),
    ],
)
def test_einsum_equals_pytorchs(equation, shapes):
    """Value and every gradient."""
    arrays = [RNG.standard_normal(s) for s in shapes]
    mine = [tgs.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = tgs.einsum(equation, *mine), torch.einsum(equation, *other)
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
    (a * a).sum().backward()
    (b * b).sum().backward()
    for m, o in zip(mine, other, strict=True):
        np.testing.assert_allclose(m.grad.numpy(), o.grad.numpy(), rtol=1e-12, atol=1e-13)


ENDS = [0.0, 1.0, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_cross_entropy_of_infinite_logits_equals_pytorchs(classes, composed):
    """Every row of 0, 1, infinities and NaN: no finite slope stands beside a loss that is NaN. All -inf is ours."""
    rows = [row for row in itertools.product(ENDS, repeat=classes) if set(row) != {-np.inf}]
    ids = np.zeros(len(rows), np.int64)
    x, t = (
        tgs.tensor(np.array(rows), requires_grad=True),
        torch.tensor(rows, dtype=torch.float64, requires_grad=True),
    )
    with tgs.composed() if composed else contextlib.nullcontext():
        loss = F.cross_entropy(x, ids, reduction="none")
        loss.sum().backward()
    other = TF.cross_entropy(t, torch.tensor(ids), reduction="none")
    other.sum().backward()
    np.testing.assert_allclose(loss.numpy(), other.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-14, atol=1e-16)
    assert np.isnan(x.grad.numpy()[np.isnan(loss.numpy())]).all()


def test_where_squares_and_sums_overflow():
    """What docs/from_pytorch.md says of `layer_norm`, `rms_norm` and `var` there, on both sides."""
    for row, zeros in (([1e200, -1e200, 0.0], True), ([1e200, 1.0, 2.0], False)):
        x, t = tgs.tensor(np.array(row)), torch.tensor(row, dtype=torch.float64)
        assert np.isnan(F.layer_norm(x, 3).numpy()).all()
        assert np.isnan(F.rms_norm(x, 3).numpy()).all()
        assert not TF.rms_norm(t, (3,)).any()
        assert bool((TF.layer_norm(t, (3,)) == 0.0).all()) is zeros
    top = np.finfo(np.float64).max
    for row, value in (([top, top, -top], np.inf), ([np.inf, 0.0, 1.0], np.nan)):
        x, t = (
            tgs.tensor(row, np.float64, requires_grad=True),
            torch.tensor(row, dtype=torch.float64, requires_grad=True),
        )
        for y in (x, t):
            spread = y.var()
            np.testing.assert_equal(spread.item(), value)
            spread.backward()
        assert np.isnan(x.grad.numpy()).all()
        assert torch.isinf(t.grad).any()
