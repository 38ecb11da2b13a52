"""Ten steps of every optimiser and clipping against PyTorch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tinygrad_seq import optim

CASES = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "sgd dampened, decay": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "sgd nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "sgd defaults": ("SGD", {}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam decay, betas": ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-3}),
    "adam amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True}),
    "adam defaults": ("Adam", {}),
    "adamw": ("AdamW", {"lr": 0.1}),
    "adamw decay, amsgrad": ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    "adamw defaults": ("AdamW", {}),
    "rmsprop": ("RMSprop", {"lr": 0.1}),
    "rmsprop centred, momentum": ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.5, "alpha": 0.9}),
    "rmsprop decay": ("RMSprop", {"lr": 0.1, "weight_decay": 0.1}),
    "rmsprop defaults": ("RMSprop", {}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad decays": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
    ),
    "adagrad defaults": ("Adagrad", {}),
}


def run(name, settings, dtype, saved_after=None):
    """Ten steps on the same gradients in both, over two groups; the parameters of both after each step."""
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(s).astype(dtype) for s in ((3, 4), (4,), ())]
    mine = [tgs.tensor(a, requires_grad=True) for a in starts]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts]

    def groups(ps):
        return [{"params": ps[:2]}, {"params": ps[2:], "lr": 0.03}]

    ours, other = (
        getattr(optim, name)(groups(mine), **settings),
        getattr(torch.optim, name)(groups(theirs), **settings),
    )
    trail = []
    for step in range(10):
        for m, t in zip(mine, theirs, strict=True):
            g = rng.standard_normal(m.shape).astype(dtype)
            m.grad, t.grad = tgs.tensor(g), torch.tensor(g)
        ours.step()
        other.step()
        if step == saved_after:
            state = ours.state_dict()
            ours = getattr(optim, name)(groups(mine), **{**settings, "lr": 77.0})
            ours.load_state_dict(state)
        trail.append(
            [(m.numpy().copy(), t.detach().numpy().copy()) for m, t in zip(mine, theirs, strict=True)]
        )
    return trail


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_equal_pytorchs(case, dtype):
    """The parameters after each of ten steps, 1e-6 in float32 and 1e-12 in float64."""
    for pairs in run(*CASES[case], dtype):
        for mine, theirs in pairs:
            assert mine.dtype == dtype
            np.testing.assert_allclose(mine, theirs, rtol=0, atol={"float32": 2e-6, "float64": 1e-12}[dtype])


@pytest.mark.parametrize(
    "case", ["sgd nesterov", "adamw decay, amsgrad", "rmsprop centred, momentum", "adagrad decays"]
)
def test_a_saved_state_continues_to_the_bit(case):
    """Saving and loading into a fresh optimiser after step 4 changes nothing."""
    for a, b in zip(run(*CASES[case], "float32"), run(*CASES[case], "float32", saved_after=4), strict=True):
        for (mine, _), (again, _) in zip(a, b, strict=True):
            np.testing.assert_array_equal(mine, again)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm_equals_pytorchs(norm_type, max_norm):
    """The norm returned and the gradients left."""
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(s) for s in ((3, 4), (5,))]
    mine, theirs = [tgs.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a) for a in arrays]
    for m, t, a in zip(mine, theirs, arrays, strict=True):
        m.grad, t.grad = tgs.tensor(a * 2), torch.tensor(a * 2)
    a = optim.clip_grad_norm_(mine, max_norm, norm_type)
    b = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(m.grad.numpy(), t.grad.numpy(), rtol=1e-6)


def test_clip_grad_value_equals_pytorchs():
    """Each element between the bounds."""
    g = np.array([-3.0, -0.1, 0.2, 9.0])
    mine, theirs = tgs.zeros(4, requires_grad=True), torch.zeros(4, dtype=torch.float64)
    mine.grad, theirs.grad = tgs.tensor(g), torch.tensor(g)
    optim.clip_grad_value_([mine], 0.5)
    torch.nn.utils.clip_grad_value_([theirs], 0.5)
    np.testing.assert_array_equal(mine.grad.numpy(), theirs.grad.numpy())
