"""How fast a gradient decays with the lag, in numbers and in one sentence."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.bptt.decay import Fit
from tinygrad_seq.errors import RenderError, describe
from tinygrad_seq.runtime.arrays import Array


class Shown:
    """Base of results that hold arrays: printing one shows their shapes, not hundreds of numbers."""

    def __repr__(self) -> str:
        kept = (f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(kept)})"


class Reading(Shown):
    """A reading of the gradient: it prints its one line of words first; in a notebook its chart follows."""

    chart: ClassVar[str] = ""
    """The name of the function in `tinygrad_seq.analysis.plots` that draws it."""

    @property
    def words(self) -> str:
        """One line."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.words}"

    def __repr__(self) -> str:
        return f"{self}\n  {super().__repr__()}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the words, and the chart where matplotlib is installed."""
        words = f"<p>{html.escape(str(self))}</p>"
        # Imported here by its name: the plots are in a higher folder, and need matplotlib.
        plots = import_module(f"{__name__.partition('.')[0]}.analysis.plots")
        try:
            picture = getattr(plots, self.chart)(self)
        except RenderError as error:
            return {"text/plain": repr(self), "text/html": f"{words}<pre>{html.escape(str(error))}</pre>"}
        return {"text/plain": repr(self), "text/html": words + picture.image(self.words)}


def _short(value: object) -> str:
    """An array by its dtype and shape, a mapping or a row of them by their names or number."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"{len(value)} of {_short(value[0])}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return describe(value).partition("   ")[0]


@dataclass(frozen=True, slots=True)
class Fading:
    """A profile of norms by lag: how it falls or grows.

    `fit` is the straight line through ln(norm) over the lag and how well it describes the curve, `slope` its slope.
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
