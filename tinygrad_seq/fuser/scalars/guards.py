"""Scaling that keeps a product with an inverse as accurate as a division, at both ends of the range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.fuser.scalars.intrinsics import inlined

f4 = np.float32
ONE, ZERO, INF = f4(1.0), f4(0.0), f4(math.inf)
SMALL, LARGE = f4(2.0**-64), f4(2.0**64)


@inlined
def middling_f4(d: np.float32) -> Any:
    """A power of two that brings d near 1, if it is very large or very small: 1 / d might overflow else."""
    size = abs(d)
    return LARGE if size < SMALL else (SMALL if size > LARGE else ONE)


@inlined
def middling_f8(d: np.float64) -> Any:
    """The same for float64."""
    size = abs(d)
    return 2.0**512 if size < 2.0**-512 else (2.0**-512 if size > 2.0**512 else 1.0)


@inlined
def finite_f4(d: np.float32) -> Any:
    """d, or 0 where it is infinite: what was divided by infinity is 0, and so it stays."""
    return d if abs(d) < INF else ZERO


@inlined
def finite_f8(d: np.float64) -> Any:
    """The same for float64."""
    return d if abs(d) < math.inf else 0.0
