"""Functions that NumPy lacks and whose tails the primitives must keep: the logistic and the normal distribution.

Plain NumPy in, plain NumPy out. Results have a small relative error however small they are, where 1 + exp(-x) or 1
+ erf(x) would lose all digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.runtime.arrays import erf

Array = np.ndarray[Any, np.dtype[Any]]

# Q(a) (a + 5) in Chebyshev polynomials of u, where Q(a) = exp(a^2 / 2) times the normal distribution at -a, and
# (a - 5) / (a + 5), which runs over [-1, 0.7706] for a in [0, 38.6], is u stretched. Our own, made with 40 digits.
NORMAL = (
    1.145849952137368, -0.9381651162976475, 0.31101010523223604, -0.0837395097055746, 0.017990757497863767,
    -0.0029300672659462955, 0.00031155959931679204, -7.421558695297795e-06, -3.936062236459161e-06,
    5.834948396286871e-07, 1.6973097970139264e-08, -1.3077575888931108e-08, 4.957856107550461e-10,
    2.6856815790176467e-10, -2.200360669352406e-11, -6.057238463525789e-12, 6.541918401822112e-13,
    1.5936563166998158e-13, -1.7060377145070864e-14, -4.8321821539938915e-15, 3.7987298349452143e-16,
    1.5939505606065634e-16, -4.894668133502918e-18,
)  # fmt: skip
END = 0.770642201834862392796721
STRETCH, MIDDLE = 2.0 / (END + 1.0), (END - 1.0) / (END + 1.0)
FARTHEST = 38.6  # beyond it the distribution is below the least float64
FINE = 2.0**20  # a size below FARTHEST in steps of 1 / FINE has 26 bits, so that its square is exact


def lesser(x: Array) -> Array:
    """The smaller of sigmoid(x) and 1 - sigmoid(x), negative where it is the latter: for positive x.

    Both can be computed from it without loss, and their derivative too. Negative ones end at the least normal
    number, so that the sign is kept even where subnormal numbers are taken for 0.
    """
    e = np.exp(-np.abs(x))
    part = e / (1.0 + e)
    out: Array = np.where(x > 0.0, -np.maximum(part, np.finfo(e.dtype).smallest_normal), part)
    return out


def ndtr(x: Array) -> Array:
    """The normal distribution function; float32 is computed in float64 and rounded once. NaN stays NaN."""
    wide = np.asarray(x, dtype=np.float64)
    a = np.minimum(np.abs(wide), FARTHEST)
    u = (a - 5.0) / (a + 5.0) * STRETCH - MIDDLE
    below, total, twice = np.zeros_like(u), np.full_like(u, NORMAL[-1]), u + u
    for c in NORMAL[-2:0:-1]:
        below, total = total, twice * total - below + c
    # a^2 = near^2 + (a - near)(a + near), the first exact: rounded as a whole it would cost exp 700 last places.
    near = np.floor(a * FINE) / FINE
    bell = np.exp(-0.5 * (near * near)) * np.exp(-0.5 * ((a - near) * (a + near)))
    tail = (u * total - below + NORMAL[0]) / (a + 5.0) * bell
    tail = np.where(np.abs(wide) > FARTHEST, 0.0, tail)
    far = np.where(wide < 0.0, tail, 1.0 - tail)
    middle = 0.5 + 0.5 * erf(np.clip(wide, -1.0, 1.0) * math.sqrt(0.5))
    return np.asarray(np.where(a <= 1.0, middle, far)).astype(x.dtype, copy=False)
