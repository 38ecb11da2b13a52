"""How long a step takes: the median, and a range where the times vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

__all__ = ["Pace", "is_wide", "pace_of", "span"]

_GROUPS = 8
_WIDE = 1.5  # the ratio of the ends of a range from which on both are shown


@dataclass(frozen=True)
class Pace:
    """Seconds of a step: `typical` is the median, `low` and `high` the least and the largest mean of a group.

    >>> pace_of([1.0, 1.0, 1.0, 9.0, 1.0])
    Pace(typical=1.0, low=1.0, high=9.0)
    """

    typical: float
    low: float
    high: float


def pace_of(seconds: Sequence[float]) -> Pace:
    """The pace of steps that follow each other, in eight groups at most; there is one step at least.

    The time of many steps is their number times a mean, not a median: one slow step in ten counts. The spread of
    such means is taken from groups of consecutive steps.
    """
    n = len(seconds)
    groups = min(_GROUPS, n)
    means = [fmean(seconds[n * i // groups : n * (i + 1) // groups]) for i in range(groups)]
    return Pace(median(seconds), min(means), max(means))


def is_wide(low: float, high: float) -> bool:
    """Whether the range is too wide for one number.

    >>> is_wide(2, 3), is_wide(2, 3.1)
    (False, True)
    """
    return high > _WIDE * low


def span(low: float, high: float) -> str:
    """A range of seconds in words; empty where both ends are about the same.

    >>> span(720, 1800), span(4, 50), span(5400, 9000), span(60, 70)
    ('12 to 30 min', '4 to 50 s', '1.5 to 2.5 h', '')
    """
    if not is_wide(low, high) or high < 1:
        return ""
    size, unit = (3600, "h") if high >= 5400 else (60, "min") if high >= 90 else (1, "s")
    digits = 1 if size > 1 and high < 10 * size else 0
    ends = [f"{seconds / size:.{digits}f}" for seconds in (low, high)]
    return f"{' to '.join(ends)} {unit}"
