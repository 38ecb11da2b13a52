"""Sums along a row that are taken apart: fewer passes, and the same numbers, infinite ones included."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.fuser.test_fused import agree, normalized, tensors
from tinygrad_seq import functional as F
from tinygrad_seq.fuser.decorator import fused, kernels_wanted
from tinygrad_seq.fuser.reassociate import RESCUED

pytestmark = [
    pytest.mark.laws,
    pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed"),
]


@fused
def waiting(x, w):
    """A forward sum that waits: of terms with factors and signs that a sum before it gives."""
    k = (x * w).sum(-1, keepdims=True)
    return (-(w - k * x) - x * k).sum(-1, keepdims=True) * x


@fused
def centered(x):
    """A gradient whose sum waits: every x moves the mean, and the mean of squares moves every x."""
    c = x - x.mean(-1, keepdims=True)
    return c * (c * c).mean(-1, keepdims=True)


@fused
def moved(x, column):
    """The column's gradient waits: the sum of k x, where k is the sum of g x."""
    return (column * x).mean(-1, keepdims=True) * x


def test_layer_norm_has_one_pass_less():
    """Mean of x, mean of squares: backward one pass for all sums, one for the result."""
    inputs = tensors([(6, 5), (5,), (5,)], "float32")
    agree(normalized, inputs)
    text = normalized.source("backward")
    over_rows = text.partition("\ndef kernel(")[0]  # behind it blocks of rows are added up
    loops = [line for line in over_rows.splitlines() if line.startswith("        for j")]
    assert len(loops) == 2
    assert text.count("            for j") == 1, "the loop for rows that are not finite"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [normalized, waiting, centered, moved], ids=lambda f: f.__name__)
def test_it_equals_the_composition(function, dtype):
    """Value and gradients."""
    shapes = {
        "normalized": [(6, 9), (9,), (9,)],
        "waiting": [(6, 9), (9,)],
        "centered": [(6, 9)],
        "moved": [(6, 9), (6, 1)],
    }
    inputs = tensors(shapes[function.__name__], dtype)
    agree(function, inputs)
    tape = next(p.program.tape for p in function.kernels.plans.values() if p)
    assert any(row.op == RESCUED for row in tape)


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan, 1e15])
@pytest.mark.parametrize("place", [0, 1])
def test_rows_that_are_not_finite(place, special):
    """An infinite factor beside a zero gives NaN; the other rows do not notice."""
    x = np.array([[0.5, 0.0, -1.0], [1.0, 2.0, 0.0]], np.float32)
    w = np.array([0.75, 0.25, 0.0], np.float32)
    (x, w)[place].flat[2] = special
    agree(waiting, [tgs.tensor(a, requires_grad=True) for a in (x, w)])
    agree(centered, [tgs.tensor(x, requires_grad=True)])
    column = np.array([[1.0], [2.0]], np.float32)
    agree(moved, [tgs.tensor(a, requires_grad=True) for a in (x, column)])


def test_second_derivatives_come_from_the_sums_themselves():
    """What is recorded for a derivative of a derivative is the sum as it was written."""
    x, w = tensors([(4, 5), (5,)], "float64")
    assert tgs.gradcheck(lambda x, w: waiting(x, w), [x, w], order=2)
    assert tgs.gradcheck(lambda x: F.layer_norm(x, 5), [x], order=2)
