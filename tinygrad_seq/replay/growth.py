"""One record for all sizes from records of two sizes: settings as linear functions of the size that grows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_seq.replay.recorder import Flat, Record


@dataclass(frozen=True)
class Growing:
    """A number in a setting that depends on the size: at + slope * size."""

    at: int
    slope: int

    def where(self, size: int) -> int:
        """The number for this size."""
        return self.at + self.slope * size


_SAME = ("name", "args", "out", "kind", "fused", "several")


def growing(before: Flat, after: Flat) -> tuple[int, int] | None:
    """Which axis of which array grows from one state to the next; None unless all that grows does so from one
    size to the next.
    """
    places = {
        (i, j): (m, n)
        for i, (a, b) in enumerate(zip(before, after, strict=True))
        for j, (m, n) in enumerate(zip(a.shape, b.shape, strict=False))
        if m != n
    }
    if any(a.ndim != b.ndim for a, b in zip(before, after, strict=True)) or len(set(places.values())) != 1:
        return None
    place, (size, larger) = next(iter(places.items()))
    return place if larger == size + 1 else None


def grown(first: Record, second: Record, size: int) -> Record | None:
    """The record for all sizes, from those recorded at `size` and at `size` + 1; None where they do not fit."""
    if len(first.steps) != len(second.steps) or (first.given, first.outputs) != (
        second.given,
        second.outputs,
    ):
        return None
    for slot, array in first.fixed.items():
        other = second.fixed.get(slot)
        if other is None or other.shape != array.shape or not np.array_equal(other, array):
            return None
    steps = []
    for a, b in zip(first.steps, second.steps, strict=True):
        if any(getattr(a, name) != getattr(b, name) for name in _SAME):
            return None
        settings = _grown(a.settings, b.settings, size)
        if settings is None:
            return None
        steps.append(replace(a, settings=settings, grows=settings != a.settings))
    return Record(tuple(steps), first.given, first.outputs, first.fixed, first.slots, True)


def _grown(a: Any, b: Any, size: int) -> Any:
    """Two settings as one that depends on the size; None where that is not possible."""
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool):
        return a if a == b else Growing(a - (b - a) * size, b - a)
    if type(a) is not type(b):
        return None
    if isinstance(a, dict):
        made = {k: _grown(v, b[k], size) for k, v in a.items() if k in b}
        return made if len(made) == len(b) and None not in made.values() else None
    if isinstance(a, tuple):
        parts = [_grown(x, y, size) for x, y in zip(a, b, strict=False)]
        whole = len(a) == len(b) and not any(
            p is None and x is not None for p, x in zip(parts, a, strict=True)
        )
        return tuple(parts) if whole else None
    if isinstance(a, slice):
        parts = [_grown(x, y, size) for x, y in zip(_ends(a), _ends(b), strict=True)]
        whole = all(
            p is not None or x is y is None for p, x, y in zip(parts, _ends(a), _ends(b), strict=True)
        )
        return slice(*parts) if whole else None
    return a if a is b or a == b else None


def _ends(s: slice) -> tuple[Any, Any, Any]:
    return s.start, s.stop, s.step


def settled(value: Any, size: int) -> Any:
    """A setting with its growing numbers at this size."""
    if isinstance(value, Growing):
        return value.where(size)
    if isinstance(value, dict):
        return {k: settled(v, size) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple([settled(v, size) for v in value])
    if isinstance(value, slice):
        return slice(*[settled(v, size) for v in _ends(value)])
    return value
