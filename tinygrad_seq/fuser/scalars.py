"""Scalar maths that emitted kernels call by name: exp, log, tanh, sigmoid, erf, log1p, expm1 and extremes.

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

from tinygrad_seq.fuser.chance import uniform_f32, uniform_f64
from tinygrad_seq.fuser.guards import finite_f4, finite_f8, middling_f4, middling_f8
from tinygrad_seq.fuser.intrinsics import (
    added,
    bits_to_float,
    float_to_bits,
    floor_divide_f4,
    floor_divide_f8,
    inlined,
    maximum,
    minimum,
    remainder_f4,
    remainder_f8,
    scalar,
)

__all__ = [
    "BOUNDS", "SCALARS", "added", "bits_to_float", "erf_f32", "erf_f64", "exp_f32", "exp_f64", "expm1_f32",
    "expm1_f64", "finite_f4", "finite_f8", "float_to_bits", "floor_divide_f4", "floor_divide_f8", "log1p_f32",
    "log1p_f64", "log_f32", "log_f64", "maximum", "middling_f4", "middling_f8", "minimum", "remainder_f4",
    "remainder_f8", "sigmoid_f32", "sigmoid_f64", "tanh_f32", "tanh_f64", "uniform_f32", "uniform_f64",
]  # fmt: skip

# How far a float32 result may lie from the true value, in units in its last place. Behind each the worst found
# over all 2^32 inputs: with fused multiply-add, and without (plain x86-64).
BOUNDS: dict[str, float] = {
    "exp": 1.5,  # 1.00, 1.28
    "expm1": 1.75,  # 1.51, 1.64
    "tanh": 1.75,  # 1.58, 1.52
    "sigmoid": 2.75,  # 2.40, 2.48
    "erf": 2.0,  # 1.49, 1.92
    "log": 1.0,  # 0.92, 0.92
    "log1p": 1.75,  # 1.52, 1.53
    "maximum": 0.0,
    "minimum": 0.0,
}

# op -> dtype -> the name in this module. An emitter writes `v5 = tanh_f32(v4)` and imports that name.
SCALARS: dict[str, dict[str, str]] = {
    **{op: {"float32": f"{op}_f32", "float64": f"{op}_f64"} for op in BOUNDS},
    **{op: {"float32": op, "float64": op} for op in ("maximum", "minimum")},
    "uniform": {"float32": "uniform_f32", "float64": "uniform_f64"},
}

f4, i4 = np.float32, np.int32


def _f4(*values: float) -> tuple[np.float32, ...]:
    return tuple(f4(v) for v in values)


ZERO, HALF, ONE, TWO, INF, NAN = _f4(0.0, 0.5, 1.0, 2.0, math.inf, math.nan)
ONE_BITS, SIGN_BIT, EXPONENT_BITS = 127 << 23, -(1 << 31), -(1 << 23)
LOG2_E, LOG2_E_TWICE, LN2_HALF = _f4(1 / math.log(2.0), 2 / math.log(2.0), 0.5 * math.log(2.0))
LN2_HIGH = f4(0.693145751953125)  # of 15 bits, so that an integer of 8 bits times it is exact
LN2_LOW = f4(math.log(2.0) - 0.693145751953125)

# Adding it rounds a small number to an integer n, which then stands in the lowest bits of the sum. All put in the
# bias of an exponent as well, the first twice, so that those bits, moved up, are the float 2^n or 2^(n - 1).
TO_TWO_POWERS, TO_POWER, TO_HALF_POWER = _f4(*(1.5 * 2.0**23 + bias for bias in (254.0, 127.0, 126.0)))

# From NOTHING down 2^n is 0 times 0, which is quicker than a product that is too small; from HIGHEST up exp is
# infinite. Below LOWEST sigmoid is 0. Below LEAST it is subnormal, and computed 2^64 times as large: arithmetic
# on subnormal numbers is 20 times slower. Adding 2^-126 in that scale then rounds it right.
NOTHING, LOWEST, LEAST, HIGHEST = _f4(-176.0, -104.0, -87.33654, 88.72283)
BEYOND = f4(89.5)
LIFT, LIFTED_LEAST, LIFTED_LEAST_BITS = 64 << 23, f4(2.0**-62), (127 - 62) << 23

# The polynomials are our own minimax fits: Remez exchange in 50 digits (mpmath) on the interval given, for the
# least relative error of the function itself; then coefficients were rounded to float32 from the lowest up,
# the rest refitted each time. In brackets the error of the fit, in units of 2^-24.

# exp(r) = 1 + r P(r), |r| <= ln(2)/2 [0.22]; the same in r = 2s for tanh.
EXP = (1.0, 0.4999987483024597, 0.16666541993618011, 0.04170018434524536, 0.008366787806153297,
       0.0011920236283913255)  # fmt: skip
E1, E2, E3, E4, E5, E6 = _f4(*EXP)
D1, D2, D3, D4, D5, D6 = _f4(*(c * 2.0 ** (i + 1) for i, c in enumerate(EXP)))

# expm1(r) = r + r^2 P(r), |r| <= ln(2)/2 [0.25].
M2, M3, M4, M5, M6 = _f4(0.4999999701976776, 0.16666539013385773, 0.041667390614748, 0.008367096073925495,
                         0.0013882063794881105)  # fmt: skip
EXPM1_LOWEST, SMALL = _f4(-18.0, 2.0**-24)  # from where on it is -1; until where it is x

# tanh(x) = x + x^3 P(x^2), |x| <= 0.55 [0.62].
TANH_NEAR, TANH_FAR = _f4(0.55, 9.05)
T3, T5, T7, T9 = _f4(-0.3333294689655304, 0.1332072913646698, -0.05267201364040375, 0.016437891870737076)

# erf(x) = x + x P(x^2), |x| <= 0.95 [0.46]; erfc(x) = (1 - x Q(x))^4, 0.95 <= x <= 3.93 [0.02 of erf].
ERF_NEAR, ERF_FAR = _f4(0.95, 3.93)
P1, P3, P5, P7, P9, P11 = _f4(0.12837913632392883, -0.3761240839958191, 0.11280950158834457,
                              -0.026736227795481682, 0.0049501084722578526, -0.0005779004422947764)  # fmt: skip
Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8, Q9 = _f4(
    0.2817935347557068, 0.12111742794513702, -0.019910862669348717, -0.012148699723184109,
    -0.004728495609015226, 0.005510954186320305, -0.0015982480254024267, 0.0002050907933153212,
    -1.0214426765742246e-05,
)  # fmt: skip

# log1p(m) = m - m^2/2 + m^3 P(m), sqrt(1/2) <= 1 + m <= sqrt(2) [0.10].
L3, L4, L5, L6, L7, L8, L9, L10 = _f4(
    0.3333333134651184, -0.2500082850456238, 0.2000126838684082, -0.16623100638389587, 0.14200696349143982,
    -0.13161881268024445, 0.12769457697868347, -0.07639008015394211,
)  # fmt: skip
LOWEST_MANTISSA = 0x3F3504F3  # the bits of sqrt(1/2)
LEAST_NORMAL, INTO_NORMAL, INTO_NORMAL_LOG2, LARGE = _f4(2.0**-126, 2.0**23, 23.0, 2.0**60)

# Clamps below read `limit if x > limit else x`: a comparison with NaN is false, so NaN passes.


@inlined
def _split(y: np.float32, to_integer: np.float32) -> tuple[Any, Any]:
    """(r, n) of y = r + n ln 2, |r| <= ln(2)/2; n with its bias is the lowest bits of an integer.

    Cody and Waite (1980): ln 2 in two parts, the first so short that n times it is exact.
    """
    shifted = y * LOG2_E + to_integer
    n = shifted - to_integer
    return (y - n * LN2_HIGH) - n * LN2_LOW, float_to_bits(shifted)


@inlined
def _exp_near_zero(r: np.float32) -> Any:
    return ONE + r * (E1 + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))))


@inlined
def _lowered(lifted: np.float32) -> Any:
    """The subnormal number 2^-64 times this one, made without arithmetic on subnormals."""
    return bits_to_float(float_to_bits(lifted + LIFTED_LEAST) - LIFTED_LEAST_BITS)


@inlined
def _signed_as(size: np.float32, x: np.float32) -> Any:
    return bits_to_float(float_to_bits(size) | (float_to_bits(x) & SIGN_BIT))


@scalar(np.float32, np.exp)
def exp_f32(x: np.float32) -> Any:
    """e^x, through subnormal results down to 2^-149.

    exp(x) = exp(r) 2^h 2^(n - h),  n = round(x / ln 2),  r = x - n ln 2,  h = n / 2

    Two powers, since there is neither a 2^128 nor a 2^-149 to multiply by at once: so both ends of the range, and
    NaN, come out right by themselves.
    """
    y = NOTHING if x < NOTHING else x
    y = BEYOND if y > BEYOND else y
    r, n = _split(y, TO_TWO_POWERS)
    half = n >> 1
    return _exp_near_zero(r) * bits_to_float(half << 23) * bits_to_float((n - half) << 23)


@scalar(np.float32, np.expm1)
def expm1_f32(x: np.float32) -> Any:
    """e^x - 1, as good near 0 as elsewhere.

    expm1(x) = 2^n expm1(r) + (2^n - 1),  n = round(x / ln 2),  r = x - n ln 2
    """
    y = EXPM1_LOWEST if x < EXPM1_LOWEST else x
    r, n = _split(y, TO_HALF_POWER)
    half = bits_to_float(n << 23)  # 2^(n - 1), since there is no 2^128
    near = r + (r * r) * (M2 + r * (M3 + r * (M4 + r * (M5 + r * M6))))
    out = near * half + (half - HALF)
    out = out + out
    out = out if abs(x) > SMALL else x
    return out if x <= HIGHEST else x + INF


@scalar(np.float32, np.tanh)
def tanh_f32(x: np.float32) -> Any:
    """The hyperbolic tangent, never beyond -1 and 1.

    tanh(x) = x + x^3 P(x^2) near 0;  1 - 2 / (exp(2 x) + 1) from 0.55 on;  odd
    """
    size = abs(x)
    y = TANH_FAR if size > TANH_FAR else size
    shifted = y * LOG2_E_TWICE + TO_POWER
    s = y - (shifted - TO_POWER) * LN2_HALF  # of one part: what its second would add is lost beside 1
    power = bits_to_float(float_to_bits(shifted) << 23)
    grown = ONE + s * (D1 + s * (D2 + s * (D3 + s * (D4 + s * (D5 + s * D6)))))
    far = ONE - TWO / (grown * power + ONE)
    z = x * x
    near = size + (size * z) * (T3 + z * (T5 + z * (T7 + z * T9)))
    return _signed_as(near if size < TANH_NEAR else far, x)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-abs(x))
    out = e / (1.0 + e)
    return out if x < 0.0 else 1.0 - out


@scalar(np.float32, _sigmoid)
def sigmoid_f32(x: np.float32) -> Any:
    """1 / (1 + exp(-x)), through subnormal results down to 2^-149.

    s = e / (1 + e),  e = exp(-|x|);  s for negative x, else 1 - s
    """
    y = -abs(x)
    y = LOWEST if y < LOWEST else y
    r, power = _split(y, TO_POWER)
    subnormal = y < LEAST
    e = _exp_near_zero(r) * bits_to_float((power << 23) + (LIFT if subnormal else 0))
    out = e / (ONE + e)  # lifted by 2^64 or not, e is nothing beside 1 there
    low = _lowered(out)
    out = low if subnormal else out
    return out if x < ZERO else ONE - out


@scalar(np.float32, math.erf)
def erf_f32(x: np.float32) -> Any:
    """The error function, 2/sqrt(pi) times the integral of exp(-u^2) from 0 to x.

    erf(x) = x + x P(x^2) near 0;  1 - (1 - x Q(x))^4 from 0.95 on;  odd

    The fourth root of erfc asks for half the degree of erfc (the idea of Abramowitz and Stegun 7.1.27).
    """
    size = abs(x)
    y = ERF_FAR if size > ERF_FAR else size
    q = Q3 + y * (Q4 + y * (Q5 + y * (Q6 + y * (Q7 + y * (Q8 + y * Q9)))))
    root = ONE - y * (Q1 + y * (Q2 + y * q))
    square = root * root
    far = ONE - square * square
    z = x * x
    near = size + size * (P1 + z * (P3 + z * (P5 + z * (P7 + z * (P9 + z * P11)))))
    return _signed_as(near if size < ERF_NEAR else far, x)


@inlined
def _log_near_one(m: np.float32, n: np.float32) -> Any:
    """log((1 + m) 2^n) for 1 + m between sqrt(1/2) and sqrt(2)."""
    p = L3 + m * (L4 + m * (L5 + m * (L6 + m * (L7 + m * (L8 + m * (L9 + m * L10))))))
    return n * LN2_HIGH + (m + (n * LN2_LOW + (m * m) * (m * p - HALF)))


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
    near = x * inverse + (inverse - ONE)
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


@scalar(np.float64, _sigmoid)
def sigmoid_f64(x: np.float64) -> Any:
    """1 / (1 + exp(-x)) as in `sigmoid_f32`, exp by the library."""
    e = math.exp(-abs(x))
    out = e / (1.0 + e)
    return out if x < 0.0 else 1.0 - out
