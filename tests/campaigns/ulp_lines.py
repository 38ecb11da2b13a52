"""The table's functions of one number or two: what each is in mpmath, where it is swept, and what its errors may be.

The bounds are counted, not fitted. Each operation of IEEE 754 is rounded once: half a unit, and a whole one where it
is passed on, since a unit is between one and two roundings. exp, log, tanh and their kin have the bounds of their
kernels (docs/kernels.md) and NumPy's own (2 to 4 units).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.engine import ops

Maths = Callable[..., Any]
Range = tuple[float, float]

FAR, ALL, ABOVE = (
    800.0,
    (-math.inf, math.inf),
    (0.0, math.inf),
)  # FAR: past every end of float32's and float64's exp


@dataclass(frozen=True)
class Line:
    """A function, its value and slopes in mpmath, where it is swept, and what its errors may be.

    `value` and `slope` are bounds in units in the last place of the true result. Where `sizes` (of the value, of
    the slopes) are given, a unit is that of this size if the result itself is smaller: `why` says by what right.
    `lost` is how many least subnormal numbers value and slopes may lose, for what comes before them is subnormal.
    """

    name: str
    ours: Maths
    true: Maths
    slopes: tuple[Maths, ...]
    where: tuple[Range, ...]
    value: float
    slope: float
    why: str
    covers: tuple[str, ...] = ()
    sizes: tuple[Maths | None, ...] = ()
    lost: tuple[Maths | None, ...] = ()
    unless: Maths | None = None  # where slopes are not judged, given the largest number: `why` says so
    own: bool = False  # it is a kernel by itself, and is not made one for the table


def _s(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _phi(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


ROOT, CUBIC = 2 * mp.sqrt(2 / mp.pi), mp.mpf("0.044715")


def _u(x: Any) -> Any:
    return ROOT * (x + CUBIC * x**3)


def _u_slope(x: Any) -> Any:
    return ROOT * (1 + 3 * CUBIC * x * x)


def _quotient(x: Any, y: Any) -> Any:
    return mp.mpf(Fraction(float(x)) // Fraction(float(y)))


def _remainder(x: Any, y: Any) -> Any:
    left = Fraction(float(x)) % Fraction(float(y))
    return mp.mpf(left.numerator) / left.denominator


def _one(x: Any, y: Any = 0) -> Any:
    return mp.mpf(1)


def _none(x: Any, y: Any = 0) -> Any:
    return mp.mpf(0)


def _bce(answer: float) -> Maths:
    return lambda x: F.binary_cross_entropy_with_logits(x, tgs.full_like(x, answer), reduction="none")


ONE_ROUNDING = "one rounding each"
TAIL = "relative to the result on either side, through subnormal results"
SUM = "the slope crosses 0: a unit is that of its two terms"
LIBRARY = "kernel and NumPy, 1 to 4 units by their own word"
EXACT = "exact"

LINES = [
    # ---- arithmetic
    Line("add", lambda x, y: x + y, lambda x, y: x + y, (_one, _one), (ALL, ALL), 0.5, 0, ONE_ROUNDING,
         ("add", "__add__", "__radd__", "__iadd__")),
    Line("sub", lambda x, y: x - y, lambda x, y: x - y, (_one, lambda x, y: mp.mpf(-1)), (ALL, ALL), 0.5, 0,
         ONE_ROUNDING, ("sub", "__sub__", "__rsub__")),
    Line("mul", lambda x, y: x * y, lambda x, y: x * y, (lambda x, y: y, lambda x, y: x), (ALL, ALL), 0.5, 0,
         ONE_ROUNDING, ("mul", "__mul__", "__rmul__")),
    Line("div", lambda x, y: x / y, lambda x, y: x / y, (lambda x, y: 1 / y, lambda x, y: -x / y**2),
         (ALL, ALL), 0.5, 2, "one rounding; two in -(x / y) / y, which is as good as x / y where that is subnormal",
         ("div", "__truediv__", "__rtruediv__"), lost=(None, None, lambda x, y: 1 / abs(y))),
    Line("remainder", lambda x, y: x % y, _remainder,
         (_one, lambda x, y: -_quotient(x, y)), (ALL, ALL), 0.5, 2.5,
         "exact, and one rounding where y is added; the slope is the whole quotient, two roundings where it is large",
         ("__mod__", "__rmod__", "__divmod__", "__rdivmod__")),
    Line("floor_divide", lambda x, y: x // y, _quotient, (), (ALL, ALL), 2.5, 0,
         "two roundings where the quotient is beyond whole numbers, else exact", ("__floordiv__", "__rfloordiv__")),
    Line("pow", lambda x, y: x**y, lambda x, y: x**y,
         (lambda x, y: y * x ** (y - 1), lambda x, y: x**y * mp.log(x)), (ABOVE, (-60.0, 60.0)), 2, 8,
         "y x^(y-1): y - 1 is rounded, and counts abs((y - 1) log x) times; "
         "it overflows early by the factor 1/abs(y)", ("pow", "__pow__", "__rpow__"),
         sizes=(None, lambda x, y: abs(y * x ** (y - 1)) * (1 + abs((y - 1) * mp.log(x))), None),
         lost=(None, lambda x, y: 1 + abs(y), lambda x, y: 1 + abs(mp.log(x))),
         unless=lambda x, y, top: x ** (y - 1) > top or x**y > top),
    Line("neg", lambda x: -x, lambda x: -x, (lambda x: mp.mpf(-1),), (ALL,), 0, 0, EXACT, ("neg", "__neg__")),
    Line("abs", abs, abs, (mp.sign,), (ALL,), 0, 0, EXACT, ("abs", "__abs__")),
    Line("maximum", lambda x, y: x.maximum(y), max, (lambda x, y: (1 + mp.sign(x - y)) / 2,
         lambda x, y: (1 + mp.sign(y - x)) / 2), (ALL, ALL), 0, 0, EXACT, ("maximum",)),
    Line("minimum", lambda x, y: x.minimum(y), min, (lambda x, y: (1 - mp.sign(x - y)) / 2,
         lambda x, y: (1 - mp.sign(y - x)) / 2), (ALL, ALL), 0, 0, EXACT, ("minimum",)),
    Line("clip", lambda x: x.clip(-1.0, 2.0), lambda x: max(mp.mpf(-1), min(mp.mpf(2), x)),
         (lambda x: mp.mpf(int(-1 <= x <= 2)),), (ALL,), 0, 0, EXACT, ("clip", "clamp")),
    Line("square", lambda x: x.square(), lambda x: x * x, (lambda x: 2 * x,), (ALL,), 0.5, 0, ONE_ROUNDING,
         ("square",)),
    Line("reciprocal", lambda x: x.reciprocal(), lambda x: 1 / x, (lambda x: -1 / (x * x),), (ALL,), 0.5, 2,
         "one rounding; two", ("reciprocal",), lost=(None, lambda x: 1 / abs(x))),
    Line("sqrt", lambda x: x.sqrt(), mp.sqrt, (lambda x: 1 / (2 * mp.sqrt(x)),), (ABOVE,), 0.5, 2,
         "one rounding; two", ("sqrt",)),
    Line("rsqrt", lambda x: x.rsqrt(), lambda x: 1 / mp.sqrt(x), (lambda x: -1 / (2 * x * mp.sqrt(x)),), (ABOVE,),
         2, 6, "two roundings; six", ("rsqrt",)),
    # ---- exponentials and their kin
    Line("exp", lambda x: x.exp(), mp.exp, (mp.exp,), ((-FAR, FAR),), 2, 2, LIBRARY, ("exp",)),
    Line("log", lambda x: x.log(), mp.log, (lambda x: 1 / x,), (ABOVE,), 2, 1, LIBRARY, ("log",)),
    Line("log1p", ops.log1p, mp.log1p, (lambda x: 1 / (1 + x),), ((-0.999, math.inf),), 2.5, 2, LIBRARY,
         ("log1p",)),
    Line("sin", lambda x: x.sin(), mp.sin, (mp.cos,), (ALL,), 2.5, 2.5, LIBRARY, ("sin",)),
    Line("cos", lambda x: x.cos(), mp.cos, (lambda x: -mp.sin(x),), (ALL,), 2.5, 2.5, LIBRARY, ("cos",)),
    Line("tanh", F.tanh, mp.tanh, (lambda x: 1 - mp.tanh(x) ** 2,), ((-FAR, FAR),), 4, 8,
         "1 - tanh^2 is made from the output, as in PyTorch: a unit of the slope is that of 1", ("tanh",),
         sizes=(None, _one)),
    Line("erf", lambda x: x.erf(), mp.erf, (lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x),), ((-30.0, 30.0),), 4, 6,
         LIBRARY, ("erf",)),
    # ---- activations
    Line("relu", F.relu, lambda x: max(x, mp.mpf(0)), (lambda x: mp.mpf(int(x > 0)),), (ALL,), 0, 0, EXACT,
         ("relu",), own=True),
    Line("sigmoid", F.sigmoid, _s, (lambda x: _s(x) * _s(-x),), ((-FAR, FAR),), 4, 6,
         TAIL + "; a slope below the least normal number is 0 on the positive side", ("sigmoid",),
         lost=(None, lambda x: 2.0**53), own=True),
    Line("silu", F.silu, lambda x: x * _s(x), (lambda x: _s(x) + x * _s(x) * _s(-x),), ((-FAR, FAR),), 4, 9, SUM,
         ("silu",), (None, lambda x: _s(x) * (1 + abs(x) * _s(-x))), (abs, abs), own=True),
    Line("softplus", F.softplus, _softplus, (_s,), ((-FAR, FAR),), 4, 6, TAIL, ("softplus",), own=True),
    Line("logsigmoid", F.logsigmoid, lambda x: -_softplus(-x), (lambda x: _s(-x),), ((-FAR, FAR),), 4, 6, TAIL,
         ("logsigmoid",), own=True),
    Line("gelu", F.gelu, lambda x: x * mp.ncdf(x), (lambda x: mp.ncdf(x) + x * _phi(x),), ((-45.0, 45.0),), 7, 10,
         SUM, ("gelu",), (None, lambda x: mp.ncdf(x) + abs(x) * _phi(x)), (abs, abs), own=True),
    Line("gelu, tanh", lambda x: F.gelu(x, "tanh"), lambda x: x * _s(_u(x)),
         (lambda x: _s(_u(x)) + x * _s(_u(x)) * _s(-_u(x)) * _u_slope(x),), ((-60.0, 60.0),), 11, 20,
         "x sigmoid(u): the cubic u has seven roundings, and each counts abs(u) sigmoid(-u) times (its condition)",
         ("gelu",), (lambda x: abs(x) * _s(_u(x)) * (1 + abs(_u(x)) * _s(-_u(x))),
                     lambda x: _s(_u(x)) * (1 + abs(_u(x)) * _s(-_u(x)))
                     + abs(x * _u_slope(x)) * _s(_u(x)) * _s(-_u(x)) * (1 + abs(_u(x)))),
         (abs, lambda x: (1 + abs(x)) ** 4), own=True),
    # ---- losses of a number
    Line("mse_loss", lambda x, y: F.mse_loss(x, y, reduction="none"), lambda x, y: (x - y) ** 2,
         (lambda x, y: 2 * (x - y), lambda x, y: 2 * (y - x)), (ALL, ALL), 3, 1,
         "two roundings, the first squared; one", ("mse_loss",)),
    Line("l1_loss", lambda x, y: F.l1_loss(x, y, reduction="none"), lambda x, y: abs(x - y),
         (lambda x, y: mp.sign(x - y), lambda x, y: mp.sign(y - x)), (ALL, ALL), 1, 0, "one rounding; exact",
         ("l1_loss",)),
    Line("bce, answer 1", _bce(1.0), lambda x: _softplus(-x), (lambda x: -_s(-x),), ((-FAR, FAR),), 4, 6, TAIL,
         ("binary_cross_entropy_with_logits",), own=True),
    Line("bce, answer 0", _bce(0.0), _softplus, (_s,), ((-FAR, FAR),), 4, 6, TAIL,
         ("binary_cross_entropy_with_logits",), own=True),
    Line("bce, answer 0.25", _bce(0.25), lambda x: _softplus(x) - x / 4, (lambda x: _s(x) - mp.mpf("0.25"),),
         ((-FAR, FAR),), 4, 6, "relative to the loss; " + SUM, ("binary_cross_entropy_with_logits",),
         (None, lambda x: _s(x) + mp.mpf("0.25")), own=True),
    Line("softmax of (x, 0)", lambda x: F.softmax(_pair(x))[:, 0], _s, (lambda x: _s(x) * _s(-x),), ((-FAR, FAR),),
         5, 6, "p - p sum(p): a unit of the slope is that of p", ("softmax",), (None, _s), own=True),
    Line("log_softmax of (x, 0)", lambda x: F.log_softmax(_pair(x))[:, 0], lambda x: -_softplus(-x),
         (lambda x: _s(-x),), ((-FAR, FAR),), 5, 6, "1 - p: a unit of the slope is that of 1", ("log_softmax",),
         (None, _one), own=True),
    Line("logsumexp of (x, 0)", lambda x: F.logsumexp(_pair(x)), _softplus, (_s,), ((-FAR, FAR),), 5, 6, TAIL,
         ("logsumexp",), own=True),
    Line("cross_entropy of (x, 0), answer 0",
         lambda x: F.cross_entropy(_pair(x), np.zeros(len(x), int), reduction="none"), lambda x: _softplus(-x),
         (lambda x: -_s(-x),), ((-FAR, FAR),), 5, 6, TAIL, ("cross_entropy",), own=True),
]  # fmt: skip


def _pair(x: Any) -> Any:
    return tgs.stack([x, x * 0.0], 1)


def places(line: Line, dtype: str, count: int) -> list[Any]:
    """Where a line is swept: by powers from the least subnormal number to the largest, and evenly near 0."""
    info = np.finfo(dtype)
    powers = np.geomspace(float(info.smallest_subnormal) * 2, float(info.max) / 2, count // 3)
    even = [
        np.linspace(-reach, reach, count // 6 + 1)
        for reach in (3.0, 25.0, 110.0 if dtype == "float32" else FAR)
    ]
    found = np.concatenate([powers, -powers, *even, [float(info.smallest_subnormal), float(info.max)]])
    found = found.astype(dtype)
    rng = np.random.default_rng(len(line.name))
    out = []
    for i, (low, high) in enumerate(line.where):
        x = np.unique(found[(found > low) & (found < high) & (found != 0)])
        if x.size < 20:
            x = np.linspace(low, high, count + 2).astype(dtype)[1:-1]
        out.append(x if len(line.where) == 1 else np.resize(rng.permutation(x) if i else x, 2 * count))
    if len(out) == 2 and line.where == (ALL, ALL):  # ties, and pairs of one size, where remainders are few
        half = out[0].size // 2
        out[1][:half] = out[0][:half] * rng.choice([1.0, 0.37, -0.37, 0.75, -0.9], half).astype(dtype)
        keep = (out[1] != 0) & np.isfinite(out[1])
        out = [x[keep] for x in out]
    return out
