"""float16 is refused in one line wherever a tensor could come to be in it; saved weights of 16 bits are widened."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import DTypeError, nn
from tinygrad_seq import functional as F
from tinygrad_seq.training import checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.laws]

HALF = np.ones((2, 3), np.float16)
MAKERS = {
    "tensor": lambda: tgs.tensor(HALF),
    "tensor by name": lambda: tgs.tensor([1.0], dtype="float16"),
    "Tensor": lambda: tgs.Tensor(HALF),
    "parameter": lambda: nn.Parameter(HALF),
    "zeros": lambda: tgs.zeros(3, dtype=np.float16),
    "ones": lambda: tgs.ones(3, dtype=tgs.float16),
    "full": lambda: tgs.full((3,), 1.0, dtype="half"),
    "zeros_like": lambda: tgs.zeros_like(tgs.ones(3), dtype=np.float16),
    "arange": lambda: tgs.arange(3, dtype=np.float16),
    "eye": lambda: tgs.eye(3, dtype=np.float16),
    "rand": lambda: tgs.rand(3, dtype=np.float16),
    "randn": lambda: tgs.randn(3, dtype=np.float16),
    "generator": lambda: tgs.Generator(0).randn(3, dtype=np.float16),
    "uniform": lambda: tgs.Generator(0).uniform(0.0, 1.0, (3,), np.float16),
    "to": lambda: tgs.ones(3).to(np.float16),
    "astype": lambda: tgs.ones(3).astype("float16"),
    "beside a tensor": lambda: tgs.ones(2, 3) + HALF,
    "where": lambda: tgs.where(np.ones((2, 3), bool), HALF, HALF),
    "module": lambda: nn.Linear(3, 2).to(np.float16),
    "layer": lambda: nn.Linear(3, 2)(HALF),
    "loss": lambda: F.mse_loss(tgs.ones(2, 3), HALF),
    "one_hot": lambda: F.one_hot(np.array([0]), 2, np.float16),
    "softmax": lambda: F.softmax(tgs.tensor(HALF)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_no_tensor_is_made_in_float16(name):
    """A sum of 70,000 ones would be infinite there: said at once, with the way out."""
    with pytest.raises(DTypeError) as caught:
        MAKERS[name]()
    text = str(caught.value)
    assert text.split("\n")[0].endswith("float16 is not computed in.")
    assert text.split("\n")[1:] == [
        "  expected float32 or float64.",
        "  Use x.astype(np.float32) of an array, or dtype='float32'.",
    ]


def test_longer_floats_are_refused_as_well():
    """Where NumPy has them: kernels do not, and no result would be the longer for it."""
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("longdouble is float64 here")
    with pytest.raises(DTypeError):
        tgs.tensor(np.ones(2, np.longdouble))


def test_a_number_of_float16_is_a_number():
    """Beside a tensor it takes the tensor's dtype, as any number does."""
    assert (tgs.ones(2) * np.float16(0.5)).dtype == np.float32


def test_float16_weights_are_widened():
    """By `load_state_dict`, into whatever the layer is in."""
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": HALF, "bias": np.float16([0.5, 2.0])})
    assert (layer.weight.dtype, layer.bias.tolist()) == (np.float32, [0.5, 2.0])


@pytest.mark.extra("torch")
def test_bfloat16_of_a_file_and_of_pytorch_is_widened(tmp_path):
    """Exactly: it is the upper half of a float32."""
    import torch
    from safetensors.torch import save_file

    numbers = torch.tensor([[1.5, -2.25, 3e38], [1e-40, float("inf"), 0.0]])
    path = tmp_path / "x.safetensors"
    save_file({"weight": numbers.bfloat16(), "bias": torch.tensor([0.5, 2.0])}, path)
    arrays, _ = checkpoint._read(str(path))
    np.testing.assert_array_equal(arrays["weight"], numbers.bfloat16().float().numpy())
    assert arrays["weight"].dtype == np.float32
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": numbers.bfloat16(), "bias": torch.tensor([0.5, 2.0])})
    np.testing.assert_array_equal(layer.weight.numpy(), arrays["weight"])
    np.testing.assert_array_equal(tgs.tensor(numbers.bfloat16()).numpy(), arrays["weight"])


@pytest.mark.parametrize("kind", [tgs.optim.SGD, tgs.optim.Adam, tgs.optim.AdamW], ids=lambda k: k.__name__)
def test_an_optimizer_goes_on_in_float32(kind):
    """From a gradient and from a saved state of float16, both widened."""

    def half(state):
        if isinstance(state, dict):
            return {key: half(value) for key, value in state.items()}
        if isinstance(state, list):
            return [half(value) for value in state]
        array = getattr(state, "array", state)
        return array.astype(np.float16) if getattr(array, "dtype", None) == np.float32 else state

    layer = nn.Linear(3, 2)
    for _ in range(2):
        optimizer = kind(layer.parameters(), lr=0.1)
        for p in layer.parameters():
            p.grad = np.ones(p.shape, np.float16)
        assert layer.weight.grad.dtype == np.float32
        optimizer.step()
        optimizer.load_state_dict(half(optimizer.state_dict()))
        optimizer.step()
    assert layer.weight.dtype == np.float32
    assert np.isfinite(layer.weight.numpy()).all()


def test_draws_take_arrays_and_refuse_float16():
    """`multinomial`, `bernoulli`, `rand_like` and `randn_like`, as every function does."""
    for draw in (lambda p: tgs.multinomial(p, 2), tgs.bernoulli, tgs.rand_like, tgs.randn_like):
        assert draw(np.float32([0.25, 0.25, 0.5])).shape == draw([0.25, 0.25, 0.5]).shape
        with pytest.raises(DTypeError, match="float16 is not computed in"):
            draw(np.float16([0.25, 0.25, 0.5]))
