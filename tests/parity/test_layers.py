"""Layers against PyTorch by loaded weights, both ways: outputs, states, all gradients, second derivatives."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tinygrad_seq import nn

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def loaded(ours, theirs):
    """Our layer with the weights of theirs, biases included."""
    ours.load_state_dict(theirs.state_dict())
    return ours


def agree(mine, other, dtype):
    """Within the tolerance of the dtype, relative to the largest entry."""
    other = other.detach().numpy()
    np.testing.assert_allclose(
        mine.numpy(), other, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(other).max())
    )


def gradients_agree(ours, theirs, dtype):
    """Every parameter's gradient."""
    named = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        agree(p.grad, named.pop(name).grad, dtype)
    assert not named


LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), lambda: torch.nn.Linear(5, 3), (4, 5)),
    "linear on three axes": (lambda: nn.Linear(5, 3), lambda: torch.nn.Linear(5, 3), (2, 4, 5)),
    "linear without bias": (lambda: nn.Linear(5, 3, False), lambda: torch.nn.Linear(5, 3, False), (4, 5)),
    "layer norm": (lambda: nn.LayerNorm(5), lambda: torch.nn.LayerNorm(5), (4, 5)),
    "layer norm of two axes": (lambda: nn.LayerNorm((4, 5)), lambda: torch.nn.LayerNorm((4, 5)), (3, 4, 5)),
    "sequential": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
        lambda: torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)),
        (6, 5),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_simple_layers_equal_pytorchs(name, dtype):
    """Output, input gradient and parameter gradients."""
    make, make_theirs, shape = LAYERS[name]
    theirs = make_theirs().to(getattr(torch, dtype))
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype) * 0.5)
    ours = loaded(make().to(dtype), theirs)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    mine, other = tgs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    a, b = ours(mine), theirs(other)
    agree(a, b, dtype)
    (a * a).sum().backward()
    (b * b).sum().backward()
    agree(mine.grad, other.grad, dtype)
    gradients_agree(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("steps", [1, 13])
@pytest.mark.parametrize("layout", ["time first", "batch first", "unbatched"])
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_lstm_equals_pytorchs(dtype, layers, steps, layout, with_state, bias):
    """Outputs, final states, gradients of input, states and every parameter, biases non-zero."""
    rng = np.random.default_rng(7)
    batch_first = layout == "batch first"
    torch.manual_seed(3)
    theirs = torch.nn.LSTM(4, 6, layers, bias=bias, batch_first=batch_first).to(getattr(torch, dtype))
    ours = loaded(nn.LSTM(4, 6, layers, bias, batch_first).to(dtype), theirs)
    shape = {"time first": (steps, 3, 4), "batch first": (3, steps, 4), "unbatched": (steps, 4)}[layout]
    state_shape = (layers, 6) if layout == "unbatched" else (layers, 3, 6)
    arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, state_shape, state_shape)]
    mine = [tgs.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    state, their_state = ((mine[1], mine[2]), (other[1], other[2])) if with_state else (None, None)
    out, (h, c) = ours(mine[0], state)
    their_out, (their_h, their_c) = theirs(other[0], their_state)
    for a, b in ((out, their_out), (h, their_h), (c, their_c)):
        assert a.shape == tuple(b.shape)
        agree(a, b, dtype)
    ((out * out).sum() + (h * c).sum()).backward()
    ((their_out * their_out).sum() + (their_h * their_c).sum()).backward()
    for a, b in zip(mine[: 3 if with_state else 1], other, strict=False):
        agree(a.grad, b.grad, dtype)
    gradients_agree(ours, theirs, dtype)


def test_second_derivatives_through_the_lstm():
    """The gradient of the squared norm of a gradient, for input and weights."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(3, 4).double()
    ours = loaded(nn.LSTM(3, 4).double(), theirs)
    x = np.random.default_rng(1).standard_normal((5, 2, 3))
    mine, other = tgs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, their_out = ours(mine)[0], theirs(other)[0]
    params, their_params = list(ours.parameters()), list(theirs.parameters())
    gs = tgs.grad((out**3).sum(), [mine, *params], create_graph=True)
    their_gs = torch.autograd.grad((their_out**3).sum(), [other, *their_params], create_graph=True)
    seconds = tgs.grad(sum((g * g).sum() for g in gs), [mine, *params])
    their_seconds = torch.autograd.grad(sum((g * g).sum() for g in their_gs), [other, *their_params])
    for a, b in zip([*gs, *seconds], [*their_gs, *their_seconds], strict=True):
        agree(a, b, "float64")


def test_weights_move_both_ways():
    """Ours into PyTorch gives the same outputs as PyTorch into ours."""
    tgs.manual_seed(4)
    ours, theirs = nn.LSTM(3, 5, 2), torch.nn.LSTM(3, 5, 2)
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})
    x = np.random.default_rng(2).standard_normal((4, 2, 3)).astype("float32")
    agree(ours(tgs.tensor(x))[0], theirs(torch.tensor(x))[0], "float32")
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_initialization_has_pytorchs_bounds():
    """Every LSTM parameter fills U(-1/sqrt(H), 1/sqrt(H)), biases too; Linear goes by its fan-in."""
    tgs.manual_seed(0)
    for layer, bound in ((nn.LSTM(40, 64), 1 / 8), (nn.Linear(100, 300), 0.1)):
        for _, p in layer.named_parameters():
            assert 0.9 * bound < np.abs(p.numpy()).max() <= bound
            assert abs(p.numpy().mean()) < 0.15 * bound
    e = nn.Embedding(300, 200, padding_idx=3).weight.numpy()
    assert abs(e.std() - 1) < 0.01
    assert not e[3].any()
