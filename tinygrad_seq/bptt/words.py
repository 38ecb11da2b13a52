"""How fast a gradient fades with the lag, as numbers and as one line of words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad_seq.bptt.fits import Fit
from tinygrad_seq.numerics import Array


class Reading:
    """What a reading of the gradient prints as: its one line of words, not its arrays."""

    @property
    def words(self) -> str:
        """One line."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.words}"


@dataclass(frozen=True, slots=True)
class Fading:
    """A profile of norms by lag: how it falls or grows.

    `fit` is the straight line through ln(norm) over the lag and how well it tells of the curve, `slope` its slope.
    `steps` is the number of last steps that make up 90 % of the sum.
    """

    fit: Fit
    steps: int
    reached: int

    @classmethod
    def of(cls, profile: Array) -> Fading:
        """From norms by lag, lag 0 first."""
        norms = np.asarray(profile, np.float64)
        norms = np.where(np.isfinite(norms), norms, 0.0)  # of what is not finite no line can be drawn
        lags, fit = np.flatnonzero(norms > 0), Fit.of(norms)
        if not len(lags):
            return cls(fit, 0, 0)
        share = np.cumsum(norms) / norms.sum()
        return cls(fit, int(np.argmax(share >= 0.9)) + 1, int(lags[-1]) + 1)

    @property
    def slope(self) -> float:
        """The change of ln(norm) with each step back; NaN for less than two norms above 0."""
        return self.fit.slope

    def origin(self, what: str = "the gradient") -> str:
        """Which steps make up most of it, as a clause."""
        if not self.reached:
            return "no gradient arrives at any step"
        return f"90 % of {what} comes from the last {counted(self.steps)}"

    @property
    def words(self) -> str:
        """One line."""
        if not self.reached:
            return self.origin()
        return f"{self.origin()}; {'none from any step before' if math.isnan(self.slope) else self.fit.words}"


def counted(n: int, what: str = "step") -> str:
    """`1 step`, `2 steps`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
