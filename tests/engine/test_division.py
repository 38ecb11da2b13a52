"""`//`, `%` and `divmod` are Python's and NumPy's; numbers that a dtype cannot hold are compared, or refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import ArgumentError, DTypeError, Tensor, fused

pytestmark = pytest.mark.engine

HARD = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    -0.1,
    0.3,
    5.5,
    -5.5,
    1e-320,
    1e308,
    -1e308,
    math.inf,
    -math.inf,
    math.nan,
    2.0**53,
]
PAIRS = list(itertools.product(HARD, HARD))
WHOLE = [0, 1, -1, 7, -7, 2**53 + 1, -(2**53) - 1, 2**62 + 3, 2**63 - 1, -(2**63)]


@fused
def quotient(x: Tensor, y: Tensor) -> Tensor:
    return x // y


@fused
def rest(x: Tensor, y: Tensor) -> Tensor:
    return x % y


def same(found: Any, true: np.ndarray) -> None:
    """Equal to the bit, signs of zero included."""
    found = np.asarray(found)
    assert found.dtype == true.dtype
    np.testing.assert_array_equal(found, true)
    if true.dtype.kind == "f":
        there = ~np.isnan(true)
        np.testing.assert_array_equal(np.signbit(found)[there], np.signbit(true)[there])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_floats_are_numpys(dtype: str) -> None:
    """Every pair of hard numbers: zeros of both signs, infinities, NaN, the smallest and the largest."""
    x, y = np.array(PAIRS).astype(dtype).T.copy()
    with np.errstate(all="ignore"):
        true = np.floor_divide(x, y), np.remainder(x, y)
    for found, right in zip(divmod(Tensor(x), Tensor(y)), true, strict=True):
        same(found, right)
    same(quotient(Tensor(x[:, None]), Tensor(y[:, None])), true[0][:, None])
    same(rest(Tensor(x[:, None]), Tensor(y[:, None])), true[1][:, None])


def test_finite_floats_are_pythons() -> None:
    """1.0 // 0.1 is 9, as in Python; numbers on either side of the operator."""
    for x, y in PAIRS:
        if y != 0 and math.isfinite(x) and abs(y) != math.inf:
            t = Tensor(np.float64(x))
            assert repr((t // y).item()) == repr(x // y)
            assert repr((t % y).item()) == repr(x % y)
            assert repr((x % Tensor(np.float64(y))).item()) == repr(x % y)
    assert (tgs.tensor(1.0) // 0.1).item() == 9.0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_exact_in_their_own_dtype(dtype: str) -> None:
    """All digits, beyond 2^53 too; Python's numbers are the truth."""
    limits = np.iinfo(dtype)
    numbers = [n for n in WHOLE if limits.min <= n <= limits.max]
    pairs = [
        (a, b) for a, b in itertools.product(numbers, numbers) if b and not (a == limits.min and b == -1)
    ]
    x, y = (Tensor(np.array(side, dtype)) for side in zip(*pairs, strict=True))
    for found, true in ((x // y, [a // b for a, b in pairs]), (x % y, [a % b for a, b in pairs])):
        assert found.tolist() == true
        assert found.dtype == dtype


def test_integers_by_zero_are_refused() -> None:
    """A 0 among the divisors is an error that says so; floats give IEEE 754's infinities and NaN."""
    x = Tensor([1, 2])
    for op, divide in (("floor_divide", lambda: x // Tensor([1, 0])), ("remainder", lambda: x % 0)):
        with pytest.raises(ArgumentError, match=f"^{op}: integers divided by zero"):
            divide()
    assert (tgs.tensor([1.0, -1.0, 0.0]) // 0.0).tolist()[:2] == [math.inf, -math.inf]
    assert math.isnan((tgs.tensor(1.0) % 0.0).item())
    assert (Tensor(np.zeros(0, np.int64)) // 0).shape == (0,)


def test_gradients() -> None:
    """d(x % y) is 1 and -(x // y); none flows through //."""
    x = tgs.tensor([5.5, -5.5, 1.0], requires_grad=True)
    y = tgs.tensor([2.0, 2.0, 0.1], requires_grad=True)
    dx, dy = tgs.grad((x % y).sum(), [x, y])
    assert dx.tolist() == [1.0, 1.0, 1.0]
    assert dy.tolist() == [-2.0, 3.0, -9.0]
    assert tgs.grad((x // y + x * 0.0).sum(), x).tolist() == [0.0, 0.0, 0.0]


def test_a_kernel_of_integers_is_refused_rather_than_wrong() -> None:
    """A kernel could not raise for a divisor of 0: the composition's error comes through, or a refusal."""
    with pytest.raises((ArgumentError, tgs.TraceError)):
        rest(Tensor(np.ones((3, 4), np.int64)), Tensor(np.zeros((3, 4), np.int64)))


# ---- numbers beside small dtypes ---------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint64"])
@pytest.mark.parametrize(
    "number",
    [-1, 0, 255, 256, 2**40, -(2**40), 2**63, 2**64, -(2**64), 10**400],
    ids=lambda n: f"{n:.0e}" if n < 2**70 else "huge",
)
def test_comparisons_with_numbers_out_of_reach(dtype: str, number: int) -> None:
    """Each comparison is that of Python's whole numbers, whatever the dtype can hold, on either side."""
    values = [int(np.iinfo(dtype).min), 0, int(np.iinfo(dtype).max)]
    x = Tensor(np.array(values, dtype))
    assert (x == number).tolist() == [v == number for v in values]
    assert (x != number).tolist() == [v != number for v in values]
    assert (x < number).tolist() == [v < number for v in values]
    assert (x <= number).tolist() == [v <= number for v in values]
    assert (number < x).tolist() == [number < v for v in values]
    assert (x >= number).tolist() == [v >= number for v in values]


def test_comparisons_of_integers_of_two_dtypes_are_exact() -> None:
    """int64 beside uint64: no common dtype holds both."""
    x, y = Tensor(np.array([2**63 - 1, -1])), Tensor(np.array([2**63, 2**64 - 1], np.uint64))
    assert (x < y).tolist() == [True, True]
    assert (x == y).tolist() == [False, False]


def test_arithmetic_with_numbers_out_of_reach_is_refused() -> None:
    """What no element can hold is no operand."""
    x = Tensor(np.array([1, 2], np.uint8))
    with pytest.raises(ArgumentError) as error:
        x + 300
    assert str(error.value) == (
        "a number does not fit u8.\n  number: 300\n  expected a whole number from 0 to 255.\n"
        "  Widen the tensor first, as in x.to('int64') or x.double()."
    )
    with pytest.raises(ArgumentError, match="does not fit f32"):
        tgs.ones(2) * 10**400
    assert (tgs.ones(2) * 1e300).tolist() == [math.inf, math.inf]


def test_clip_with_bounds_out_of_reach() -> None:
    """A bound beyond all values on its own side changes nothing; beyond the other side it is refused."""
    x = Tensor(np.array([0, 100, 255], np.uint8))
    assert x.clip(-1, 200).tolist() == [0, 100, 200]
    assert x.clip(50, 1000).tolist() == [50, 100, 255]
    assert x.clip(-1, 1000).dtype == np.uint8
    with pytest.raises(ArgumentError, match="does not fit u8"):
        x.clip(256, None)
    with pytest.raises(ArgumentError, match=r"^clip: no bound is given"):
        x.clip()


def test_arrays_that_hold_no_numbers_are_refused() -> None:
    """Strings, objects and complex numbers stand beside no tensor."""
    for wrong in (np.array(["a"]), np.array([None]), np.array([1j]), "a", None, 1j):
        with pytest.raises(DTypeError):
            tgs.maximum(tgs.ones(1), wrong)
