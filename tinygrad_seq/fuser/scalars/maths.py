"""Scalar maths that emitted kernels call by name: exp, log, tanh, lesser, erf, log1p, expm1 and extremes.

In float32 each is a straight line of arithmetic, so that a loop over a contiguous row vectorises; the calls
to libm that numba emits otherwise cost 5 to 30 times as much. In float64 they are the library's functions.
NaN in gives NaN out, infinities and subnormal numbers are right, and a zero keeps its sign.

>>> round(float(tanh_f32(np.float32(1.0))), 6)
0.761594
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.fuser.scalars.guards import finite_f4, finite_f8, middling_f4, middling_f8
from tinygrad_seq.fuser.scalars.intrinsics import (
    added,
    bits_to_float,
    float_to_bits,
    floor_divide_f4,
    floor_divide_f8,
    fma,
    greatest,
    inlined,
    maximum,
    minimum,
    remainder_f4,
    remainder_f8,
    scalar,
)
from tinygrad_seq.fuser.scalars.normal import ndtr_f32, ndtr_f64
from tinygrad_seq.fuser.scalars.powers import (  # fmt: skip
    BEYOND,
    EXP,
    EXPONENT_BITS,
    HALF,
    HIGHEST,
    INF,
    LN2_HIGH,
    LN2_LOW,
    LOWEST,
    NAN,
    NOTHING,
    ONE,
    ONE_BITS,
    TO_HALF_POWER,
    TO_LIFTED_POWER,
    TO_POWER,
    TO_TWO_POWERS,
    TWO,
    UNLIFTED,
    ZERO,
    exp_near_zero,
    f4,
    floats,
    i4,
    signed_as,
    split,
)
from tinygrad_seq.fuser.scalars.uniform import uniform_f32, uniform_f64
from tinygrad_seq.runtime import special

__all__ = [
    "BOUNDS", "SCALARS", "added", "bits_to_float", "erf_f32", "erf_f64", "exp_f32", "exp_f64", "expm1_f32",
    "expm1_f64", "finite_f4", "finite_f8", "float_to_bits", "floor_divide_f4", "floor_divide_f8", "fma",
    "greatest", "lesser_f32", "lesser_f64", "log1p_f32", "log1p_f64", "log_f32", "log_f64", "maximum", "middling_f4",
    "middling_f8", "minimum", "ndtr_f32", "ndtr_f64", "remainder_f4", "remainder_f8", "tanh_f32", "tanh_f64",
    "uniform_f32", "uniform_f64",
]  # fmt: skip

# How far a float32 result may lie from the true value, in units in its last place. Behind each the worst found
# over the float32 (docs/kernels.md says which): with fused multiply-add, and without.
BOUNDS: dict[str, float] = {
    "exp": 1.5,  # 1.00, 1.28
    "expm1": 1.75,  # 1.51, 1.64
    "tanh": 1.75,  # 1.58, 1.52
    "lesser": 2.75,  # 2.40, 2.48
    "erf": 2.0,  # 1.49, 1.92
    "log": 1.0,  # 0.88, 0.92
    "log1p": 1.75,  # 1.46, 1.53
    "ndtr": 5.25,  # 5.05, 5.23
    "maximum": 0.0,
    "minimum": 0.0,
}

# op -> dtype -> the name in this module. An emitter writes `v5 = tanh_f32(v4)` and imports that name.
SCALARS: dict[str, dict[str, str]] = {
    **{op: {"float32": f"{op}_f32", "float64": f"{op}_f64"} for op in BOUNDS},
    **{op: {"float32": op, "float64": op} for op in ("maximum", "minimum")},
    "uniform": {"float32": "uniform_f32", "float64": "uniform_f64"},
}

# The polynomials are our own minimax fits: Remez exchange in 50 digits (mpmath) on the interval given, for the
# least relative error of the function itself; then coefficients were rounded to float32 from the lowest up,
# the rest refitted each time. In brackets the error of the fit, in units of 2^-24.

# expm1(r) = r + r^2 P(r), |r| <= ln(2)/2 [0.25].
M2, M3, M4, M5, M6 = floats(0.4999999701976776, 0.16666539013385773, 0.041667390614748, 0.008367096073925495,
                         0.0013882063794881105)  # fmt: skip
EXPM1_LOWEST, SMALL = floats(-18.0, 2.0**-24)  # from where on it is -1; until where it is x

# tanh(x) = x + x^3 P(x^2), |x| <= 0.55 [0.62].
TANH_NEAR, TANH_FAR = floats(0.55, 9.05)
LOG2_E_TWICE, LN2_HALF = floats(2 / math.log(2.0), 0.5 * math.log(2.0))
D1, D2, D3, D4, D5, D6 = (f4(c * 2.0 ** (i + 1)) for i, c in enumerate(EXP))
T3, T5, T7, T9 = floats(-0.3333294689655304, 0.1332072913646698, -0.05267201364040375, 0.016437891870737076)

# erf(x) = x + x P(x^2), |x| <= 0.95 [0.46]; erfc(x) = (1 - x Q(x))^4, 0.95 <= x <= 3.93 [0.02 of erf].
ERF_NEAR, ERF_FAR = floats(0.95, 3.93)
P1, P3, P5, P7, P9, P11 = floats(0.12837913632392883, -0.3761240839958191, 0.11280950158834457,
                              -0.026736227795481682, 0.0049501084722578526, -0.0005779004422947764)  # fmt: skip
Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8, Q9 = floats(
    0.2817935347557068, 0.12111742794513702, -0.019910862669348717, -0.012148699723184109,
    -0.004728495609015226, 0.005510954186320305, -0.0015982480254024267, 0.0002050907933153212,
    -1.0214426765742246e-05,
)  # fmt: skip

# log1p(m) = m - m^2/2 + m^3 P(m), sqrt(1/2) <= 1 + m <= sqrt(2) [0.10].
L3, L4, L5, L6, L7, L8, L9, L10 = floats(
    0.3333333134651184, -0.2500082850456238, 0.2000126838684082, -0.16623100638389587, 0.14200696349143982,
    -0.13161881268024445, 0.12769457697868347, -0.07639008015394211,
)  # fmt: skip
LOWEST_MANTISSA = 0x3F3504F3  # the bits of sqrt(1/2)
LEAST_NORMAL_F64 = float(np.finfo(np.float64).smallest_normal)
LEAST_NORMAL, INTO_NORMAL, INTO_NORMAL_LOG2, LARGE = floats(2.0**-126, 2.0**23, 23.0, 2.0**60)

# Clamps below read `limit if x > limit else x`: a comparison with NaN is false, so NaN passes.


@scalar(np.float32, np.exp)
def exp_f32(x: np.float32) -> Any:
    """e^x, through subnormal results down to 2^-149.

    exp(x) = exp(r) 2^h 2^(n - h),  n = round(x / ln 2),  r = x - n ln 2,  h = n / 2

    Two powers, since there is neither a 2^128 nor a 2^-149 to multiply by at once: so both ends of the range, and
    NaN, come out right by themselves.
    """
    y = NOTHING if x < NOTHING else x
    y = BEYOND if y > BEYOND else y
    r, n = split(y, TO_TWO_POWERS)
    half = n >> 1
    return exp_near_zero(r) * bits_to_float(half << 23) * bits_to_float((n - half) << 23)


@scalar(np.float32, np.expm1)
def expm1_f32(x: np.float32) -> Any:
    """e^x - 1, as good near 0 as elsewhere.

    expm1(x) = 2^n expm1(r) + (2^n - 1),  n = round(x / ln 2),  r = x - n ln 2
    """
    y = EXPM1_LOWEST if x < EXPM1_LOWEST else x
    r, n = split(y, TO_HALF_POWER)
    half = bits_to_float(n << 23)  # 2^(n - 1), since there is no 2^128
    near = fma(r * r, fma(r, fma(r, fma(r, fma(r, M6, M5), M4), M3), M2), r)
    out = fma(near, half, half - HALF)
    out = out + out
    out = out if abs(x) > SMALL else x
    return out if x <= HIGHEST else x + INF


@inlined
def _lifted_lesser(x: np.float32) -> Any:
    """2^64 e / (1 + e), e = exp(-|x|): never subnormal."""
    y = -abs(x)
    y = LOWEST if y < LOWEST else y
    r, power = split(y, TO_LIFTED_POWER)
    e = exp_near_zero(r) * bits_to_float(power << 23)
    return e / fma(e, UNLIFTED, ONE)


@scalar(np.float32, np.tanh)
def tanh_f32(x: np.float32) -> Any:
    """The hyperbolic tangent, never beyond -1 and 1.

    tanh(x) = x + x^3 P(x^2) near 0;  1 - 2 / (exp(2 x) + 1) from 0.55 on;  odd
    """
    size = abs(x)
    y = TANH_FAR if size > TANH_FAR else size
    shifted = fma(y, LOG2_E_TWICE, TO_POWER)
    s = fma(TO_POWER - shifted, LN2_HALF, y)  # of one part: what its second would add is lost beside 1
    power = bits_to_float(float_to_bits(shifted) << 23)
    grown = fma(s, fma(s, fma(s, fma(s, fma(s, fma(s, D6, D5), D4), D3), D2), D1), ONE)
    far = ONE - TWO / fma(grown, power, ONE)
    z = x * x
    near = fma(size * z, fma(z, fma(z, fma(z, T9, T7), T5), T3), size)
    return signed_as(near if size < TANH_NEAR else far, x)


def _lesser_f32(x: Any) -> Any:
    out = special.lesser(x)
    return np.where(out < 0.0, np.minimum(out, -LEAST_NORMAL), out)  # where float32 ends, not float64


@scalar(np.float32, _lesser_f32)
def lesser_f32(x: np.float32) -> Any:
    """The lesser of sigmoid(x) and 1 - sigmoid(x), the latter negative, as `special.lesser`.

    s = e / (1 + e),  e = exp(-|x|);  s through subnormal results down to 2^-149, -s for positive x
    """
    out = _lifted_lesser(x) * UNLIFTED
    negative = -(LEAST_NORMAL if out < LEAST_NORMAL else out)
    return negative if x > ZERO else out


@scalar(np.float32, math.erf)
def erf_f32(x: np.float32) -> Any:
    """The error function, 2/sqrt(pi) times the integral of exp(-u^2) from 0 to x.

    erf(x) = x + x P(x^2) near 0;  1 - (1 - x Q(x))^4 from 0.95 on;  odd

    The fourth root of erfc asks for half the degree of erfc (the idea of Abramowitz and Stegun 7.1.27).
    """
    size = abs(x)
    y = ERF_FAR if size > ERF_FAR else size
    q = fma(y, fma(y, fma(y, fma(y, fma(y, fma(y, Q9, Q8), Q7), Q6), Q5), Q4), Q3)
    root = fma(-y, fma(y, fma(y, q, Q2), Q1), ONE)
    square = root * root
    far = fma(-square, square, ONE)
    z = x * x
    near = fma(size, fma(z, fma(z, fma(z, fma(z, fma(z, P11, P9), P7), P5), P3), P1), size)
    return signed_as(near if size < ERF_NEAR else far, x)


@inlined
def _log_near_one(m: np.float32, n: np.float32) -> Any:
    """log((1 + m) 2^n) for 1 + m between sqrt(1/2) and sqrt(2)."""
    p = fma(m, fma(m, fma(m, fma(m, fma(m, fma(m, fma(m, L10, L9), L8), L7), L6), L5), L4), L3)
    return fma(n, LN2_HIGH, m + fma(m * m, fma(m, p, -HALF), n * LN2_LOW))


@inlined
def _log_ends(u: np.float32, out: np.float32) -> Any:
    """The logarithm of u: `out` inside, -inf at 0, NaN below, u itself if infinite or NaN."""
    outside = -INF if u == ZERO else NAN
    out = out if u > ZERO else outside
    return out if u < INF else u


@scalar(np.float32, np.log)
def log_f32(x: np.float32) -> Any:
    """The natural logarithm, of subnormal numbers too; -inf at 0 and -0, NaN below.

    log(x) = n ln 2 + log1p(m),  x = (1 + m) 2^n,  sqrt(1/2) <= 1 + m < sqrt(2)
    """
    subnormal = x < LEAST_NORMAL
    u = x * INTO_NORMAL if subnormal else x
    # i4 at each step: numba widens int32 to int64, which would halve the numbers in a vector.
    above = i4(float_to_bits(u) - LOWEST_MANTISSA)
    n = f4(i4(above >> 23)) - (INTO_NORMAL_LOG2 if subnormal else ZERO)
    m = bits_to_float(float_to_bits(u) - (above & EXPONENT_BITS)) - ONE
    return _log_ends(x, _log_near_one(m, n))


@scalar(np.float32, np.log1p)
def log1p_f32(x: np.float32) -> Any:
    """log(1 + x), as good near 0 as elsewhere; -inf at -1, NaN below.

    log1p(x) = n ln 2 + log1p(m),  1 + x = (1 + m) 2^n,  m = x 2^-n + (2^-n - 1)

    The bracket is exact, or nothing beside x, so that what 1 + x loses when it is rounded is not missed.
    """
    u = ONE + x
    above = i4(float_to_bits(u) - LOWEST_MANTISSA)
    shift = i4(above & EXPONENT_BITS)
    inverse = bits_to_float(ONE_BITS - shift)
    near = fma(x, inverse, inverse - ONE)
    far = bits_to_float(float_to_bits(u) - shift) - ONE  # at the far end 2^-n would be subnormal
    out = _log_ends(u, _log_near_one(far if x > LARGE else near, f4(i4(above >> 23))))
    return x if x == ZERO else out


def _library(function: Callable[[float], float], plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The float64 version: a call of the library's function."""

    def call(x: float) -> float:
        return function(x)

    call.__name__ = f"{function.__name__}_f64"
    return scalar(np.float64, plain)(call)


exp_f64, expm1_f64 = _library(math.exp, np.exp), _library(math.expm1, np.expm1)
log_f64, log1p_f64 = _library(math.log, np.log), _library(math.log1p, np.log1p)
tanh_f64, erf_f64 = _library(math.tanh, np.tanh), _library(math.erf, math.erf)


@scalar(np.float64, special.lesser)
def lesser_f64(x: np.float64) -> Any:
    """The same in float64, exp by the library."""
    e = math.exp(-abs(x))
    out = e / (1.0 + e)
    if not x > 0.0:
        return out
    return -(LEAST_NORMAL_F64 if out < LEAST_NORMAL_F64 else out)
