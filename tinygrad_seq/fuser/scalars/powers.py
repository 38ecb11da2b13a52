"""Parts of the float32 functions of `scalars`: e^r near 0, powers of two by their bits, subnormal results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.fuser.scalars.intrinsics import bits_to_float, float_to_bits, fma, inlined

f4, i4 = np.float32, np.int32


def floats(*values: float) -> tuple[np.float32, ...]:
    """Numbers as float32."""
    return tuple(f4(v) for v in values)


ZERO, HALF, ONE, TWO, INF, NAN = floats(0.0, 0.5, 1.0, 2.0, math.inf, math.nan)
ONE_BITS, SIGN_BIT, EXPONENT_BITS = 127 << 23, -(1 << 31), -(1 << 23)
LOG2_E = f4(1 / math.log(2.0))
LN2_HIGH = f4(0.693145751953125)  # of 15 bits, so that an integer of 8 bits times it is exact
LN2_LOW = f4(math.log(2.0) - 0.693145751953125)

# Adding it rounds a small number to an integer n, which then stands in the lowest bits of the sum. All put in the
# bias of an exponent as well, the first twice, so that those bits, moved up, are the float 2^n or 2^(n - 1).
TO_TWO_POWERS, TO_POWER, TO_HALF_POWER, TO_LIFTED_POWER = floats(
    *(1.5 * 2.0**23 + bias for bias in (254.0, 127.0, 126.0, 127.0 + 64.0))
)
UNLIFTED = f4(2.0**-64)

# From NOTHING down 2^n is 0 times 0, which is quicker than a product that is too small; from HIGHEST up exp is
# infinite. Below LOWEST sigmoid is 0. What may be subnormal is computed 2^64 times as large, for arithmetic on
# subnormal numbers is slow. Adding 2^-126 in that scale then rounds it right.
NOTHING, LOWEST, HIGHEST = floats(-176.0, -104.0, 88.72283)
BEYOND = f4(89.5)
LIFTED_LEAST, LIFTED_LEAST_BITS = f4(2.0**-62), (127 - 62) << 23

# exp(r) = 1 + r P(r), |r| <= ln(2)/2 [0.22]: a minimax fit of our own (see `scalars`).
EXP = (1.0, 0.4999987483024597, 0.16666541993618011, 0.04170018434524536, 0.008366787806153297,
       0.0011920236283913255)  # fmt: skip
E1, E2, E3, E4, E5, E6 = floats(*EXP)


@inlined
def split(y: np.float32, to_integer: np.float32) -> tuple[Any, Any]:
    """(r, n) of y = r + n ln 2, |r| <= ln(2)/2; n with its bias is the lowest bits of an integer.

    Cody and Waite (1980): ln 2 in two parts, the first so short that n times it is exact.
    """
    shifted = fma(y, LOG2_E, to_integer)
    n = to_integer - shifted
    return fma(n, LN2_LOW, fma(n, LN2_HIGH, y)), float_to_bits(shifted)


@inlined
def exp_near_zero(r: np.float32) -> Any:
    """e^r for |r| <= ln(2)/2."""
    return fma(r, fma(r, fma(r, fma(r, fma(r, fma(r, E6, E5), E4), E3), E2), E1), ONE)


@inlined
def lowered(lifted: np.float32) -> Any:
    """The subnormal number 2^-64 times this one, made without arithmetic on subnormals."""
    return bits_to_float(float_to_bits(lifted + LIFTED_LEAST) - LIFTED_LEAST_BITS)


@inlined
def signed_as(size: np.float32, x: np.float32) -> Any:
    """A size with the sign of x."""
    return bits_to_float(float_to_bits(size) | (float_to_bits(x) & SIGN_BIT))
