"""Runs side by side: the result of each, on which text, and the differences with their standard errors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygrad_seq.analysis.compare.common_text import own_parts
from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.data import TextSize
from tinygrad_seq.errors import ArgumentError, DataError, first_line
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training import load_run
from tinygrad_seq.training.evaluation import Measured, difference, validate

__all__ = ["Compared", "compare", "measured_again"]

_PIECE = 1 << 20  # ids


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    `text` is a letter, the same for runs of the same text. `best` is its best validation in bits per character and
    `step` where that was; `error` the standard error of that mean, NaN where the text was not at hand. `behind`
    is how many bits per character more it needs than the best run on the same tokens, as (mean, standard error)
    of the difference, None where no such pair was measured. `tokens` is the fingerprint of the tokens that it
    was measured on: two splits of one text may leave as many to validate with, and others.
    """

    record: Record
    text: str
    step: int | None
    best: float
    error: float = math.nan
    measured: Measured | None = None
    size: TextSize | None = None
    behind: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    tokens: str = ""


def measured_again(
    record: Record, most: int | None = None, data: Sequence[str] | None = None
) -> tuple[Measured, TextSize, str]:
    """The best weights of a run on its validation part, and that part's size and fingerprint; `data` names its text
    where that is not found by itself.

    Raises what `load_run` and `own_parts` raise.
    """
    run = load_run(record.path)
    try:
        parts = own_parts(record, run.vocabulary)
    except DataError:
        if not data:
            raise
        parts = own_parts(record, run.vocabulary, data)
    ids = parts.parts["validation"]
    return validate(run.model, run.config, ids, most), parts.size("validation"), _fingerprint(ids)


def compare(
    records: Sequence[Record],
    *,
    again: bool = True,
    most: int | None = 200_000,
    data: Sequence[str] | None = None,
) -> list[Compared]:
    """The runs in the order given. With `again`, each is measured again on its validation part, which gives the
    standard errors; a run whose weights or text are missing has none, and its notes say why.

    `most` is as in `measure`; `data` names the text of runs that do not find it. Raises nothing for what is wrong
    with one run.
    """
    letters: dict[str, str] = {}
    found = []
    for i, record in enumerate(records):
        text = letters.setdefault(record.sha256 or f"unknown {i}", _letter(len(letters)))
        step, best = record.best() or (None, math.nan)
        one = Compared(record, text, step, best, notes=record.notes)
        found.append(_with_error(one, most, data) if again else one)
    return _behind(found)


def _with_error(one: Compared, most: int | None, data: Sequence[str] | None) -> Compared:
    try:
        measured, size, tokens = measured_again(one.record, most, data)
    except (ValueError, TypeError, LookupError, OSError, RuntimeError) as error:
        why = first_line(error)
        return replace(one, notes=(*one.notes, f"not measured again: {why}"))
    bits, error_bits = measured.rates(size).bits_per_character, measured.errors(size).bits_per_character
    notes = one.notes
    if math.isfinite(one.best) and measured.whole and abs(bits - one.best) > 0.005 * one.best:
        notes = (*notes, f"measured again: {bits:z.4f}, its metrics say {one.best:z.4f}")
    best = one.best if math.isfinite(one.best) else bits
    return replace(one, measured=measured, size=size, best=best, error=error_bits, notes=notes, tokens=tokens)


def _fingerprint(ids: Array) -> str:
    """sha256 of a row of ids, whatever their dtype; read in pieces, for the row may be larger than the memory."""
    found = hashlib.sha256()
    for at in range(0, len(ids), _PIECE):
        found.update(np.asarray(ids[at : at + _PIECE], np.int64).tobytes())
    return found.hexdigest()


def _behind(found: list[Compared]) -> list[Compared]:
    """Each run's distance to the best of those that were asked for the same tokens."""
    leaders: dict[tuple[str, str], Compared] = {}
    for one in found:
        same = one.text, one.tokens
        if one.measured and one.best < getattr(leaders.get(same), "best", math.inf):
            leaders[same] = one
    done = []
    for one in found:
        leader = leaders.get((one.text, one.tokens))
        if leader is not None and leader is not one and one.measured and leader.measured and one.size:
            try:
                nats, error = difference(one.measured, leader.measured)
            except (ArgumentError, DataError):
                done.append(one)  # where `most` bounds the tokens, they depend on the window
                continue
            per = (
                one.measured.rates(one.size).bits_per_character / one.measured.nats
                if one.measured.nats
                else 0
            )
            done.append(replace(one, behind=(nats * per, error * per)))
        else:
            done.append(one)
    return done


def _letter(n: int) -> str:
    return chr(ord("A") + n) if n < 26 else f"T{n + 1}"
