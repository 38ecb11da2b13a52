"""A row of ids, checked, and its three parts: training, validation, test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError, DTypeError, ShapeError

__all__ = ["Ids", "Splits", "counted", "row_of", "split", "split_columns"]

Ids = npt.NDArray[np.integer[Any]]


class Splits(NamedTuple):
    """Three contiguous parts of one row of ids, in the order of the text."""

    train: Ids
    validation: Ids
    test: Ids


def split(ids: npt.ArrayLike, fractions: Sequence[float] = (0.90, 0.05, 0.05)) -> Splits:
    """Cut a row of ids into three contiguous parts, without copying.

    Contiguous, because windows drawn at random would let the training text leak into the others.
    Validation and test are rounded down, train gets the rest.

    Raises `DataError` if the fractions do not add up to 1, or if a part gets fewer than 2 ids (one to read,
    one to predict) although its fraction is not 0.

    >>> [len(part) for part in split(range(1000))]
    [900, 50, 50]
    """
    row = row_of("split", ids)
    parts = tuple(float(fraction) for fraction in fractions)
    if (
        len(parts) != 3
        or not all(part >= 0 for part in parts)
        or not math.isclose(sum(parts), 1, abs_tol=1e-6)
    ):
        raise DataError(
            "split: the fractions do not divide a text into three",
            {"fractions": parts, "sum": round(sum(parts), 6)},
            "expected three numbers from 0 to 1 (train, validation, test) with a sum of 1.",
        )
    # Without the small number, 0.29 of 100 would be 28.
    validation, test = (int(len(row) * part + 1e-6) for part in parts[1:])
    train = len(row) - validation - test
    sizes = (train, validation, test)
    if any(part > 0 and size < 2 for part, size in zip(parts, sizes, strict=True)):
        enough = math.ceil(2 / min(part for part in parts if part > 0))
        raise DataError(
            "split: the text is too short for these fractions",
            {"ids": row, "fractions": parts, "sizes": sizes},
            "expected at least 2 ids in every part, one to read and one to predict.",
            f"Use a longer text ({enough:,} ids are enough), or a fraction of 0 for a part to spare.",
        )
    return Splits(row[:train], row[train : train + validation], row[train + validation :])


def split_columns(ids: npt.ArrayLike, rows: int, fractions: Sequence[float]) -> Splits:
    """The same three parts of each of `rows` equal rows of the text, as char-rnn divides it.

    The ids are cut into rows; of each the first columns go to train, then validation, then test. A part is the
    pieces of its columns one behind the other, so that `Streams` with as many rows cuts it at the same places. What
    fills no row, fewer than `rows` ids, is left out.

    Raises what `split` raises.

    >>> [part.tolist() for part in split_columns(range(10), 2, (0.6, 0.4, 0.0))]
    [[0, 1, 2, 5, 6, 7], [3, 4, 8, 9], []]
    """
    row = row_of("split_columns", ids)
    rows = min(
        counted("split_columns", "rows", rows), len(row) + 1
    )  # with more rows than ids each is empty too
    length = len(row) // rows
    table = row[: rows * length].reshape(rows, length)
    sizes = [len(part) for part in split(table[0] if rows * length else row, fractions)]
    train, validation, test = np.split(table, [sizes[0], sizes[0] + sizes[1]], axis=1)
    return Splits(train.ravel(), validation.ravel(), test.ravel())


def row_of(caller: str, ids: npt.ArrayLike) -> Ids:
    """The ids as an array of one axis. Raises `ShapeError` for more axes, `DTypeError` for what is no integer."""
    row = np.asarray(ids)
    if row.ndim != 1:
        raise ShapeError(
            f"{caller}: this is not one row of ids", {"ids": row}, f"expected one axis, got {row.ndim}."
        )
    if row.size and row.dtype.kind not in "iu":
        raise DTypeError(f"{caller}: ids are whole numbers", {"ids": row}, "expected integers.")
    return row


def counted(caller: str, name: str, value: object) -> int:
    """A whole number from 1 upwards. Raises `DataError` for anything else."""
    return count(caller, name, value, 1, "is no count", DataError)


answer(globals(), "split", "split_columns")
