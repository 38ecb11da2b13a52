"""Rows of words and numbers as lines of aligned columns, without control codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygrad_seq.tape.row import width
from tinygrad_seq.terminal import one_line

__all__ = ["as_json", "lines_of", "plus_minus", "short_time"]


def lines_of(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    r"""A line for each row; the first `left` columns are flush left, the others flush right, as a terminal counts
    them: a Hangul syllable takes two columns.

    >>> print("\n".join(lines_of([("model", "bits"), ("a", "1.25")])))
    model  bits
    a      1.25
    >>> print("\n".join(lines_of([("소설", "1"), ("book", "2")])))
    소설  1
    book  2
    """
    rows = [[one_line(text) for text in row] for row in rows]
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]

    def cell(i: int, text: str) -> str:
        space = " " * (widths[i] - width(text))
        return text + space if i < left else space + text

    return ["  ".join(cell(i, text) for i, text in enumerate(row)).rstrip() for row in rows]


def plus_minus(value: float, error: float, digits: int = 3) -> str:
    """`1.234 ± 0.005`; without the second where it is no number, and a dash where the first is none.

    >>> plus_minus(1.2345, 0.005), plus_minus(1.0, math.nan), plus_minus(math.nan, 1.0)
    ('1.234 ± 0.005', '1.000', '-')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:z.{digits}f}" + (f" ± {error:z.{digits}f}" if math.isfinite(error) else "")


def short_time(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02`, `2:00:05`; a dash where that is no number, or below 0 in an old record.

    >>> short_time(62), short_time(7205), short_time(math.nan), short_time(-1.0)
    ('1:02', '2:00:05', '-', '-')
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def as_json(value: float | None) -> float | None:
    """A number as JSON has it: None where it is no finite one."""
    return value if value is not None and math.isfinite(value) else None
