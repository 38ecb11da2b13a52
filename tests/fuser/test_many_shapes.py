"""A program that meets new shapes as long as it runs: what is remembered of them has a bound."""

import gc

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.fuser import dispatch
from tinygrad_seq.fuser.decorator import fused, kernels_wanted

pytestmark = pytest.mark.engine


def passes(count: int, rng: np.random.Generator, lstm: tgs.LSTM) -> None:
    """So many forward and backward passes, each with shapes of its own."""
    for _ in range(count):
        b, n, steps = (int(high) for high in rng.integers(2, (60, 150, 4)))
        x = tgs.tensor(rng.standard_normal((b, n), "f4"), requires_grad=True)
        loss = F.softmax(x).sum() + F.cross_entropy(x, np.zeros(b, int))
        loss = loss if n % 4 else loss + F.layer_norm(x, n).sum()
        out, _ = lstm(tgs.zeros(steps, b, 3))
        joined = tgs.cat([x, x * 2.0], axis=1)[1:, ::2]
        product = x @ tgs.einsum("ij->ji", x)
        (loss + out.sum() + joined.sum() + product.sum() + x.reshape(-1)[: n // 2].max()).backward()


def objects() -> int:
    """How many there are that can hold others."""
    gc.collect()
    return len(gc.get_objects())


def test_memory_is_bounded_over_many_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred new shapes leave no trace; without the bound they leave sixty objects each."""
    monkeypatch.setattr(dispatch, "MOST_SPECIALIZATIONS", 60)
    monkeypatch.setattr(dispatch, "MOST_PLANS", 12)
    rng, lstm = np.random.default_rng(0), tgs.LSTM(3, 4)
    passes(100, rng, lstm)
    before = objects()
    passes(200, rng, lstm)
    assert objects() - before < 2000


def test_numbers_of_a_program_are_bounded() -> None:
    """A number beside a tensor is kept as a constant, but not every number there ever was."""
    x = tgs.tensor([1.0])
    for n in range(9000):
        x * (n + 0.5)
    before = objects()
    for n in range(9000):
        x * (n + 0.25)
    assert objects() - before < 4500


@pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed")
def test_kernels_for_each_width_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that is traced anew for every width forgets the oldest, and makes it again when asked."""
    monkeypatch.setattr(dispatch, "MOST_PLANS", 3)
    halves = fused(lambda x: x.chunk(2, axis=-1)[0] * x.chunk(2, axis=-1)[1])
    for width in (2, 4, 6, 8, 10, 2):
        x = np.arange(2.0 * width).reshape(2, width)
        expected = x[:, : width // 2] * x[:, width // 2 :]
        np.testing.assert_array_equal(halves(tgs.tensor(x)).numpy(), expected)
        assert len(halves.kernels.plans) <= 3
