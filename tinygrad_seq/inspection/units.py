"""Which units follow something that a reader sees in the text, against chance (after Karpathy et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygrad_seq.errors import ArgumentError, ShapeError, explain
from tinygrad_seq.numerics import Array

__all__ = ["Detected", "detectors", "find_units"]


@dataclass(frozen=True)
class Detected:
    """The unit that follows a detector most closely: the correlation, and the largest to be had by chance.

    `chance` is the 95th percentile, over shifts of the detector along the text, of the largest correlation that any
    of the units shows then. `found` where the unit is above it.
    """

    detector: str
    part: str
    unit: int
    correlation: float
    chance: float

    @property
    def found(self) -> bool:
        """Whether it is more than chance."""
        return abs(self.correlation) > self.chance

    @property
    def words(self) -> str:
        """One line."""
        said = f"{self.detector}: unit {self.unit} of {self.part}, correlation {self.correlation:+.2f}"
        return f"{said}, by chance {self.chance:.2f}" + ("" if self.found else ": no more than chance")


def detectors(text: str) -> dict[str, Array]:
    """What is so after each character of a text, (T,) each: 0 or 1, or a count.

    >>> found = detectors('a "b" (c)')
    >>> found["inside quotes"].tolist(), found["bracket depth"].tolist()
    ([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    """
    quoted, depth, column = False, 0, 0
    rows = []
    for c in text:
        quoted = {"“": True, "”": False, '"': not quoted}.get(c, quoted)
        depth = max(0, depth + (c in "([{") - (c in ")]}"))
        column = 0 if c == "\n" else column + 1
        rows.append((quoted, depth, column, c.isupper(), c.isspace(), c.isdigit()))
    names = ("inside quotes", "bracket depth", "column", "upper case", "whitespace", "digit")
    table = np.array(rows, np.float64).reshape(len(text), len(names))
    return dict(zip(names, table.T.copy(), strict=True))


def find_units(
    parts: Mapping[str, Array], wanted: Mapping[str, Array], *, rounds: int = 40, seed: int = 0
) -> list[Detected]:
    """For each detector the unit of all parts, (T, H) each, with the largest absolute correlation.

    Detectors that are constant over the text are left out. Chance is had by turning the detector round along the
    text by a random number of steps: its own rhythm stays, what it has to do with the units goes. Raises
    ShapeError where lengths differ, ArgumentError for less than 8 characters or no round.
    """
    steps = {len(a) for a in (*parts.values(), *wanted.values())}
    if len(steps) != 1 or not parts:
        rule = f"expected as many rows in all of them, got {sorted(steps)}."
        raise ShapeError(explain("find_units: units and detectors differ in length", None, rule))
    T = steps.pop()
    if T < 8 or rounds < 1:
        rule = f"expected at least 8 characters and 1 round, got {T} and {rounds}."
        raise ArgumentError(explain("find_units: too little to tell from chance", None, rule))
    units = np.concatenate([_standard(np.asarray(a, np.float64)) for a in parts.values()], axis=1)
    owners = [(name, k) for name, a in parts.items() for k in range(a.shape[1])]
    rng = np.random.default_rng(seed)
    found = []
    for name, values in wanted.items():
        follows = _standard(np.asarray(values, np.float64)[:, None])[:, 0]
        if not follows.any():
            continue
        scores = units.T @ follows / T
        best = int(np.abs(scores).argmax())
        shifts = rng.integers(max(1, T // 10), T - max(1, T // 10) + 1, rounds)
        chance = [np.abs(units.T @ np.roll(follows, s)).max() / T for s in shifts]
        part, unit = owners[best]
        found.append(Detected(name, part, unit, float(scores[best]), float(np.percentile(chance, 95))))
    return found


def _standard(a: Array) -> Array:
    """Columns of mean 0 and deviation 1; those that do not vary, or are not finite, are 0."""
    with np.errstate(all="ignore"):
        centred = a - a.mean(0)
        spread = a.std(0)
        scaled = centred / spread
    usable = np.isfinite(scaled).all(0) & (spread > 1e-12)
    return np.where(usable, scaled, 0.0)
