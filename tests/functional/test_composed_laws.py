"""The laws for composed functions and layers: order 1 and 2 in float64, and the recorded gradient."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.composed_cases import COMPOSED_CASES, FUNCTIONS, LAYERS
from tinygrad_seq import functional, nn

pytestmark = [pytest.mark.engine, pytest.mark.laws]

each_case = pytest.mark.parametrize("case", COMPOSED_CASES, ids=lambda c: c.name)


@each_case
@pytest.mark.parametrize("order", [1, 2])
def test_gradient_agrees_with_finite_differences(case, order):
    """Relative 1e-6 along a random direction, for every input and every parameter."""
    assert tgs.gradcheck(case, case.tensors(), order=order)


@each_case
def test_recorded_gradient_is_the_plain_one(case):
    """create_graph runs the same rules on tensors: to 1e-12 of the largest entry."""
    results = []
    for create_graph in (False, True):
        inputs = [t for t in case.tensors() if t.requires_grad]
        tensors = iter(inputs)
        total = sum(
            (o * o).sum() for o in case(*[next(tensors) if t.requires_grad else t for t in case.tensors()])
        )
        results.append(tgs.grad(total, inputs, create_graph=create_graph))
    for plain, recorded in zip(*results, strict=True):
        scale = max(1.0, np.abs(plain.numpy()).max(initial=0.0))
        np.testing.assert_allclose(plain.numpy(), recorded.numpy(), rtol=0, atol=1e-12 * scale)


def test_every_composed_function_and_layer_has_a_case():
    """A new public function or layer without a line fails here."""
    maths = set(functional.__all__)
    without_gradient = {"one_hot", "checked_ids"}
    assert {c.key for c in FUNCTIONS} >= maths - without_gradient
    layers = {
        n for n in nn.__all__ if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)
    }
    assert {c.key for c in LAYERS} >= layers - {"Module", "ModuleList", "ModuleDict", "Dropout", "ALiBi"}
