"""Units that follow a property of the text, beside a random baseline (after Karpathy et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Detected", "cannot_tell", "detectors", "find_units"]

LEAST = 100  # tokens from which on a unit is said to follow anything
SAME = 0.9  # of a detector with its shifted self: from this correlation on the shift is no baseline
OFTEN = 8  # tokens at which a property must hold, and at which it must not


@dataclass(frozen=True)
class Detected:
    """The unit that follows a detector most closely: the correlation, and the largest to be had by chance.

    `chance` is the 99th percentile, over shifts of the detector along the text, of the largest correlation that any
    of the units shows then: as the unit was the best of all, so is the one by chance. `found` where it is above that.
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
        said = f"{self.detector}: unit {self.unit} of {self.part}, correlation {self.correlation:+z.2f}"
        return f"{said}, by chance {self.chance:z.2f}" + ("" if self.found else ": no more than chance")


def detectors(text: str) -> dict[str, Array]:
    """The properties of a text after each of its characters, (T,) each: 0 or 1, or a count.

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


def cannot_tell(wanted: Mapping[str, Array]) -> dict[str, str]:
    """Why some detectors, (T,) each, cannot be judged, by name: the text is too short, or the property too rare.

    Below 100 tokens none can. Counts, and what is 0 or 1, must be above 0 at 8 tokens or more and 0 at 8 or
    more: one opening bracket is followed by whatever unit happens to change there, and the column of a single
    line by all that drift.

    >>> cannot_tell({"digit": np.arange(200) < 3, "whitespace": np.arange(200) % 6 == 0})
    {'digit': 'it holds at 3 of 200 tokens, 8 are needed'}
    """
    why = {name: _reason(name, np.asarray(values, np.float64)) for name, values in wanted.items()}
    return {name: reason for name, reason in why.items() if reason}


def _reason(name: str, values: Array) -> str:
    T, holds = len(values), int((values != 0).sum())
    if T < LEAST:
        return f"the text has {T} token{'' if T == 1 else 's'}, {LEAST} are needed"
    if not np.isfinite(values).all():
        return "its numbers are not all finite"
    if not np.ptp(values):
        return "it is the same all through" if holds else "it does not occur"
    if (values < 0).any() or (values % 1 != 0).any():
        return ""  # a measure, of which 0 is a value like any other
    if holds < OFTEN:
        return f"it holds at {holds} of {T:,} tokens, {OFTEN} are needed"
    if T - holds < OFTEN:
        where = "a line ends at" if name == "column" else "it is absent at"
        return f"{where} {T - holds} of {T:,} tokens, {OFTEN} are needed"
    return ""


def find_units(
    parts: Mapping[str, Array], wanted: Mapping[str, Array], *, rounds: int = 200, seed: int = 0
) -> list[Detected]:
    """For each detector the unit of all parts, (T, H) each, with the largest absolute correlation.

    Detectors for which `cannot_tell` names a reason are left out. The baseline shifts the detector along the
    text, circularly, by a random number of steps: its own rhythm stays, its relation to the units is lost
    (shifts that leave it unchanged, in a text that repeats itself, do not count). Raises ShapeError where
    lengths differ, ArgumentError for less than 100 tokens or no round.
    """
    steps = {len(a) for a in (*parts.values(), *wanted.values())}
    if len(steps) != 1 or not any(np.size(a) for a in parts.values()):
        rule = f"expected a unit, and as many rows in all of them, got {sorted(steps)}."
        raise ShapeError("find_units: units and detectors differ in length", None, rule)
    T = steps.pop()
    if T < LEAST or rounds < 1:
        rule = f"expected at least {LEAST} tokens and 1 round, got {T} and {rounds}."
        raise ArgumentError("find_units: too short to tell from chance", None, rule)
    units = np.concatenate([_standard(np.asarray(a, np.float64)) for a in parts.values()], axis=1)
    owners = [(name, k) for name, a in parts.items() for k in range(a.shape[1])]
    rng = np.random.default_rng(seed)
    found, left_out = [], cannot_tell(wanted)
    for name, values in wanted.items():
        if name in left_out:
            continue
        follows = _standard(np.asarray(values, np.float64)[:, None])[:, 0]
        scores = units.T @ follows / T
        best = int(np.abs(scores).argmax())
        shifts = rng.integers(T // 10, T - T // 10 + 1, rounds)
        turned = np.stack([np.roll(follows, s) for s in shifts], axis=1)
        # Where a text repeats itself, some shifts change nothing, and are no baseline.
        changed = np.abs(follows @ turned) / T < SAME
        turned = turned[:, changed] if changed.any() else turned
        chance = np.percentile(np.abs(units.T @ turned).max(0) / T, 99)
        part, unit = owners[best]
        found.append(Detected(name, part, unit, float(scores[best]), float(chance)))
    return found


def _standard(a: Array) -> Array:
    """Columns of mean 0 and deviation 1; those that do not vary, or are not finite, are 0."""
    with np.errstate(all="ignore"):
        centered = a - a.mean(0)
        spread = a.std(0)
        scaled = centered / spread
    usable = np.isfinite(scaled).all(0) & (spread > 1e-12)
    return np.where(usable, scaled, 0.0)
