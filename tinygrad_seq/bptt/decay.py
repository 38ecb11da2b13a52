"""Whether a curve decays exponentially: a fitted line with its half-life, or a description of the curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad_seq.runtime.arrays import Array

__all__ = ["Fit"]

GOOD = 0.8  # of the variance of ln(norm), what the line must explain
_LEVEL = 5e-4  # a slope that is none


@dataclass(frozen=True)
class Fit:
    """The straight line through ln(norm) over the lag (least squares; lags with norm 0 are left out), and the curve.

    The line is `level` + `slope` lag; `r2` is the share of the variance of ln(norm) that it explains. `half_gone` are
    the steps after which the curve itself has first lost half of where it begins, between two lags on the straight
    line of their logarithms; infinite where it never does. `lags` is how many steps back are seen. NaN where there
    are less than two.
    """

    slope: float
    level: float
    r2: float
    half_gone: float
    lags: int

    @classmethod
    def of(cls, profile: Array) -> Fit:
        """From norms by lag, lag 0 first.

        >>> Fit.of(0.5 ** np.arange(9)).words
        'it falls by a factor of 0.5 a step; half-life 1 step'
        >>> Fit.of(np.array([1.0, 0.1, 0.09, 0.09, 0.08, 0.08])).words
        'it does not fall like one exponential; half of it is gone after 1 step'
        """
        norms = np.asarray(profile, np.float64)
        lags = np.flatnonzero(norms > 0)
        if len(lags) < 2 or not np.isfinite(norms).all():
            return cls(math.nan, math.nan, math.nan, math.nan, len(lags))
        logs, x = np.log(norms[lags]), lags - lags.mean()
        rest = logs - logs.mean()
        slope, whole = float(x @ rest / (x @ x)), float(rest @ rest)
        r2 = 1.0 - float(((rest - slope * x) ** 2).sum()) / whole if whole > 0 else math.nan
        level = float(logs.mean() - slope * lags.mean())
        return cls(slope, level, r2, _half_gone(norms, int(lags[0])), int(lags[-1]) + 1)

    def line(self, n: int) -> Array:
        """The norms of the line at lags 0 to n - 1; NaN behind the last lag that is reached, and where it is none."""
        lag = np.arange(n)
        return np.asarray(np.where(lag < self.lags, np.exp(self.level + self.slope * lag), np.nan))

    @property
    def half_life(self) -> float:
        """Steps until half is left by the line: infinite where it does not fall."""
        return math.log(0.5) / self.slope if self.slope < 0 else math.inf

    @property
    def good(self) -> bool:
        """Whether the line describes the curve: by R^2 (0.8 at least) and by its half-life (within a factor of 2).

        R^2 is not enough: a curve that drops at once and then decays slowly fits the line of its far end.
        """
        if not self.r2 >= GOOD or abs(self.slope) < _LEVEL:
            return False
        # A half-life of which the curve is too short to show the end cannot be tested by it.
        seen = min(self.half_gone, self.lags - 1.0)
        return self.slope >= 0 or 0.5 <= seen / min(self.half_life, self.lags - 1.0) <= 2.0

    @property
    def short(self) -> str:
        """For a legend."""
        if math.isnan(self.slope):
            return "too few lags for a slope"
        if self.good:
            half = f", half-life {steps(self.half_life)}" if self.slope < 0 else ""
            return f"x {math.exp(self.slope):.3g} a step{half}"
        if math.isfinite(self.half_gone):
            return f"no single exponential; half gone after {self._gone}"
        return "no single exponential" if self.slope <= -_LEVEL else "does not fall"

    @property
    def words(self) -> str:
        """A clause."""
        if math.isnan(self.slope):
            return "it arrives at too few steps to say how it falls"
        if self.good and self.slope > 0:
            return f"it grows by a factor of {math.exp(self.slope):.3g} a step"
        if self.good:
            rate = math.exp(self.slope)
            return f"it falls by a factor of {rate:.3g} a step; half-life {steps(self.half_life)}"
        if math.isfinite(self.half_gone):
            return f"it does not fall like one exponential; half of it is gone after {self._gone}"
        if self.slope <= -_LEVEL:
            far = steps(self.lags - 1)
            return f"it does not fall like one exponential; more than half of it is left {far} back"
        return "it neither falls nor grows" if self.slope < _LEVEL else "it does not fall"

    @property
    def _gone(self) -> str:
        return steps(math.ceil(self.half_gone - 1e-9))


def steps(n: float) -> str:
    """`1 step`, `2.5 steps`."""
    said = f"{n:.2g}" if n < 99.5 else f"{n:,.0f}"
    return f"{said} step" + ("" if said == "1" else "s")


def _half_gone(norms: Array, first: int) -> float:
    below = np.flatnonzero(norms[first:] <= norms[first] / 2)
    if not len(below):
        return math.inf
    there = first + int(below[0])
    before, after = norms[there - 1], norms[there]
    if after == 0:
        return float(there - first)
    # Differences of logarithms: quotients of norms leave the range of floats.
    fall = math.log(before) - math.log(after)
    return there - 1 - first + (math.log(2.0) + math.log(before) - math.log(norms[first])) / fall
