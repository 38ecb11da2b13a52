"""How fast a gradient fades with the lag, as numbers and as one line of words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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

    `slope` is that of the straight line through ln(norm) over the lag (least squares; lags with norm 0 are
    left out), `rate` = exp(slope) the factor a step, `half_life` the steps until half is left: infinite where it
    does not fall. `steps` is the number of last steps that make up 90 % of the sum.
    """

    slope: float
    steps: int
    reached: int

    @classmethod
    def of(cls, profile: Array) -> Fading:
        """From norms by lag, lag 0 first."""
        norms = np.asarray(profile, np.float64)
        norms = np.where(np.isfinite(norms), norms, 0.0)  # of what is not finite no line can be drawn
        lags = np.flatnonzero(norms > 0)
        if not len(lags):
            return cls(math.nan, 0, 0)
        logs, x = np.log(norms[lags]), lags - lags.mean()
        slope = float(x @ (logs - logs.mean()) / (x @ x)) if len(lags) > 1 else math.nan
        share = np.cumsum(norms) / norms.sum()
        return cls(slope, int(np.argmax(share >= 0.9)) + 1, int(lags[-1]) + 1)

    @property
    def rate(self) -> float:
        """The factor by which it changes with each step back."""
        return math.exp(self.slope)

    @property
    def half_life(self) -> float:
        """Steps back until half is left."""
        return math.log(0.5) / self.slope if self.slope < 0 else math.inf

    @property
    def words(self) -> str:
        """One line."""
        if not self.reached:
            return "no gradient arrives at any step"
        parts = [f"90 % of the gradient comes from the last {counted(self.steps)}"]
        if math.isnan(self.slope):
            parts.append("none from any step before")
        elif abs(self.slope) < 5e-4:
            parts.append("it neither falls nor grows")
        elif self.slope < 0:
            parts.append(
                f"it falls by a factor of {self.rate:.3g} a step; half-life {self.half_life:.2g} steps"
            )
        else:
            parts.append(f"it grows by a factor of {self.rate:.3g} a step")
        return "; ".join(parts)


def counted(n: int, what: str = "step") -> str:
    """`1 step`, `2 steps`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
