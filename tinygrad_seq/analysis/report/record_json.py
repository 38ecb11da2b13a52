"""Numbers and arrays to JSON and back; numbers that are not finite become the words NaN, inf and -inf."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.arrays import Array

__all__ = ["array_of", "band", "plain", "seen_rows", "triangle", "whole"]

_WORDS = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(values: Any, digits: int | None = None) -> Any:
    """A number, an array or a list of them as JSON has it, with `digits` that count, or all of them.

    >>> plain(np.array([[0.12345, np.nan], [np.inf, 1e-9]]), 3)
    [[0.123, 'NaN'], ['inf', 1e-09]]
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [plain(v, digits) for v in values]
    if isinstance(values, bool) or not isinstance(values, float):
        return values
    if not math.isfinite(values):
        return "NaN" if math.isnan(values) else "inf" if values > 0 else "-inf"
    short = values if digits is None else float(f"{values:.{digits}g}")
    return int(short) if digits is not None and short == int(short) and abs(short) < 1e6 else short


def array_of(values: Any) -> Array:
    """The array, f64, that `plain` was given.

    Raises DataError for what is no rectangle of numbers.

    >>> array_of([[0.5, "NaN"]])
    array([[0.5, nan]])
    """
    try:
        return np.array(_numbers(values), np.float64)
    except (TypeError, ValueError, KeyError) as error:
        rule = "expected rows of numbers, all of one length."
        raise DataError("report: this is no record of a report", {"found": values}, rule) from error


def _numbers(values: Any) -> Any:
    if isinstance(values, list):
        return [_numbers(v) for v in values]
    return _WORDS[values] if isinstance(values, str) else float(values)


def triangle(square: Array, digits: int | None = None) -> list[Any]:
    """The rows of a square up to its diagonal: row t as its first t numbers.

    >>> triangle(np.array([[0.0, 0.0], [0.5, 0.0]]))
    [[], [0.5]]
    """
    return [plain(row[:t], digits) for t, row in enumerate(square)]


def seen_rows(weights: Array, starts: Array, digits: int | None = None) -> list[Any]:
    """The rows of weights (T, W), row t from symbol `starts[t]` on, each up to symbol t itself.

    >>> seen_rows(np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]]), np.array([0, 0, 1]))
    [[1.0], [0.5, 0.5], [0.25, 0.75]]
    """
    return [plain(row[: t + 1 - starts[t]], digits) for t, row in enumerate(weights)]


def band(rows: list[Any]) -> Array:
    """The weights (T, W), zero elsewhere, of which `seen_rows` kept the rows.

    >>> band([[1], [0.5, 0.5], [0.25, 0.75]]).shape
    (3, 2)
    """
    found = np.zeros((len(rows), max(map(len, rows), default=0)))
    for t, row in enumerate(rows):
        found[t, : len(row)] = array_of(row)
    return found


def whole(rows: list[Any]) -> Array:
    """The square, zero elsewhere, of which `triangle` kept the rows.

    >>> whole([[], [0.5]])
    array([[0. , 0. ],
           [0.5, 0. ]])
    """
    square = np.zeros((len(rows), len(rows)))
    for t, row in enumerate(rows):
        square[t, : len(row)] = array_of(row)
    return square
