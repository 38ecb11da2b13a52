"""The normal distribution function for kernels, with a small relative error in its tail too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.fuser.scalars.intrinsics import bits_to_float, float_to_bits, fma, scalar
from tinygrad_seq.fuser.scalars.powers import (
    HALF,
    LIFTED_LEAST,
    ONE,
    TO_LIFTED_POWER,
    UNLIFTED,
    ZERO,
    exp_near_zero,
    floats,
    lowered,
    split,
)
from tinygrad_seq.runtime import special

# (a + 4) exp(a^2 / 2) Phi(-a) in s = (a - 4) / (a + 4), 0 <= a <= 14.5: our own fit (see `scalars`) [0.35].
N0, N1, N2, N3, N4, N5, N6, N7, N8, N9 = floats(
    0.7552851438522339, -0.6078965663909912, 0.38713669776916504, -0.18652379512786865, 0.06040503829717636,
    -0.007523380219936371, -0.0035146791487932205, 0.0015663399826735258, 0.0001796435535652563,
    -0.00013076937466394156,
)  # fmt: skip
# (Phi(x) - 1/2) / x in x^2, |x| <= 1 [0.48].
M0, M2, M4, M6, M8, M10 = floats(
    0.3989422917366028, -0.06649059057235718, 0.009974602609872818, -0.0011892291950061917,
    0.000116365248686634, -8.694948519405443e-06,
)  # fmt: skip
FARTHEST, FOUR = floats(14.5, 4.0)
HIGH_BITS = -(1 << 12)  # what is left of a number has 12 bits, so that its square is exact

ROOT_HALF = math.sqrt(0.5)
ROOT_HALF_HIGH = 47453132 * 2.0**-26  # the first 26 bits of the square root of 1/2
ROOT_HALF_LOW = 1.210161710447897e-08  # and the rest
INVERSE_ROOT_PI = 1.0 / math.sqrt(math.pi)


@scalar(np.float32, special.ndtr)
def ndtr_f32(x: np.float32) -> Any:
    """The normal distribution function, through subnormal results.

    Phi(x) = 1/2 + x P(x^2) near 0;  Phi(-a) = exp(-a^2 / 2) P(s) / (a + 4),  s = (a - 4) / (a + 4), from 1 on;
    1 - Phi(-x) for positive x

    exp is of h^2 / 2, which is exact, and what a^2 is more is taken off its remainder. All is 2^64 times as large
    until the end, for arithmetic on subnormal numbers is slow.
    """
    a = abs(x)
    a = FARTHEST if a > FARTHEST else a
    inverse = ONE / (a + FOUR)
    s = (a - FOUR) * inverse
    p = fma(s, fma(s, fma(s, fma(s, fma(s, N9, N8), N7), N6), N5), N4)
    p = fma(s, fma(s, fma(s, fma(s, p, N3), N2), N1), N0)
    high = bits_to_float(float_to_bits(a) & HIGH_BITS)
    r, power = split(-(HALF * (high * high)), TO_LIFTED_POWER)
    e = exp_near_zero(fma(high - a, HALF * (a + high), r))
    out = (p * inverse) * (e * bits_to_float(power << 23))
    low = lowered(out)
    out = low if out < LIFTED_LEAST else out * UNLIFTED
    out = out if x < ZERO else ONE - out
    z = x * x
    near = fma(x, fma(z, fma(z, fma(z, fma(z, fma(z, M10, M8), M6), M4), M2), M0), HALF)
    return near if a < ONE else out


@scalar(np.float64, special.ndtr)
def ndtr_f64(x: np.float64) -> Any:
    """The normal distribution function by the library's erfc, its argument in two parts.

    Phi(-a) = erfc(t + d) / 2,  t + d = a sqrt(1/2);  erfc(t + d) = erfc(t) - d 2/sqrt(pi) exp(-t^2), as d is small
    """
    a: Any = abs(x)
    a = special.FARTHEST if a > special.FARTHEST else a
    t = a * ROOT_HALF
    high = math.floor(a * special.FINE) / special.FINE if a == a else a
    d = ((high * ROOT_HALF_HIGH - t) + high * ROOT_HALF_LOW) + (a - high) * ROOT_HALF
    tail = 0.5 * math.erfc(t) - d * (INVERSE_ROOT_PI * math.exp(-t * t))
    return tail if x < 0.0 else 1.0 - tail
