"""One protocol for every model of sequences: P(next | all before), in nats.

A model defines its first state (`init_state`) and how it reads one symbol (`step`); the chain rule gives the rest.
Counts and networks are in other files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError, DTypeError, RangeError, ShapeError

__all__ = ["Normal", "SequenceModel", "SeriesModel", "SymbolModel"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Seen = TypeVar("Seen")  # what a sequence is made of: whole numbers, or real ones
Told = TypeVar("Told")  # the type of a prediction


class SequenceModel(Generic[Seen, Told]):
    """A model that predicts the next element of a sequence from all before it.

        log P(x_1 .. x_T) = sum over s of log P(x_s | x_1 .. x_{s-1})

    A subclass gives `init_state` and `step`; `conditional`, `score` and `log_prob` follow from them.
    """

    def init_state(self) -> Any:
        """The state in which nothing has been read."""
        raise TypeError(f"{type(self).__name__} defines no init_state().")

    def step(self, symbol: Seen | None, state: Any) -> tuple[Told, Any]:
        """Read one symbol: the prediction of the next one, and the new state.

        None reads nothing and is allowed with `init_state()` only: the prediction of the first symbol.
        """
        raise TypeError(f"{type(self).__name__} defines no step().")

    def conditional(self, prefix: npt.ArrayLike) -> Any:
        """The prediction after `prefix`, which may be empty."""
        raise TypeError(f"{type(self).__name__} defines no conditional().")

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """The logarithm of P(x_s | x_1 .. x_{s-1}) for each s, f64(T,), in nats."""
        raise TypeError(f"{type(self).__name__} defines no score().")

    def log_prob(self, sequence: npt.ArrayLike) -> float:
        """The logarithm of P(x_1 .. x_T) in nats: the sum of `score`."""
        return float(self.score(sequence).sum())

    def _after(self, prefix: Sequence[Any] | npt.NDArray[Any]) -> Told:
        """The prediction of `step` after the prefix has been read."""
        told, state = self.step(None, self.init_state())
        for symbol in prefix:
            told, state = self.step(symbol, state)
        return told


class SymbolModel(SequenceModel[int, Floats]):
    """A model of sequences of symbols, whole numbers from 0 to `vocabulary_size` - 1.

    `step` returns log P(next = v), f64(V,), in nats; `conditional` the probabilities, which add up to 1.

    >>> class Coin(SymbolModel):
    ...     vocabulary_size = 2
    ...     def init_state(self):
    ...         return None
    ...     def step(self, symbol, state):
    ...         return np.log([0.75, 0.25]), None
    >>> Coin().conditional([0, 1])
    array([0.75, 0.25])
    >>> round(float(np.exp(Coin().log_prob([0, 1, 0]))), 6)
    0.140625
    """

    vocabulary_size: int

    def conditional(self, prefix: npt.ArrayLike) -> Floats:
        """P(next = v | prefix) for each v, f64(V,); for an empty prefix, how a sequence begins.

        Raises `RangeError` for a symbol outside the vocabulary, `DTypeError` or `ShapeError` for what is no
        row of ids.
        """
        return np.exp(self._after(self._read("conditional", prefix, 0).tolist()))

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """log P(x_s | x_1 .. x_{s-1}) for each s, f64(T,), in nats.

        Raises as `conditional` does, and `DataError` for an empty sequence.
        """
        ids = self._read("score", sequence)
        scores = np.empty(len(ids))
        told, state = self.step(None, self.init_state())
        for s, symbol in enumerate(ids.tolist()):
            scores[s] = told[symbol]
            if s + 1 < len(ids):
                told, state = self.step(symbol, state)
        return scores

    def _read(self, call: str, sequence: npt.ArrayLike, least: int = 1) -> Ids:
        return read_ids(f"{type(self).__name__}.{call}", sequence, self.vocabulary_size, least)

    def _read_symbol(self, symbol: Any) -> int:
        """The symbol given to `step`, if it is one."""
        if isinstance(symbol, int) and not isinstance(symbol, bool) and 0 <= symbol < self.vocabulary_size:
            return symbol
        return int(self._read("step", [symbol])[0])


class Normal(NamedTuple):
    """A normal distribution; `std` is above 0.

    >>> round(Normal(1.0, 2.0).log_prob(3.0), 6)
    -2.112086
    """

    mean: float
    std: float

    def log_prob(self, x: float) -> float:
        """The logarithm of the density at x, in nats; above 0 where the density is above 1."""
        return float(log_density(x, self.mean, self.std))


class SeriesModel(SequenceModel[float, Normal]):
    """A model of series of real numbers; `step` and `conditional` return a `Normal`, and scores are densities."""

    def conditional(self, prefix: npt.ArrayLike) -> Normal:
        """The distribution of the value after `prefix`; for an empty prefix, that of the first value.

        Raises `DataError` for a NaN or an infinity, `DTypeError` or `ShapeError` for what is no series.
        """
        return self._after(read_series(f"{type(self).__name__}.conditional", prefix, 0).tolist())

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """The log-density of x_s given x_1 .. x_{s-1} for each s, f64(T,), in nats.

        Raises as `conditional` does, and `DataError` for an empty series.
        """
        values = read_series(f"{type(self).__name__}.score", sequence)
        scores = np.empty(len(values))
        told, state = self.step(None, self.init_state())
        for s, value in enumerate(values.tolist()):
            scores[s] = told.log_prob(value)
            if s + 1 < len(values):
                told, state = self.step(value, state)
        return scores

    def forecast(self, prefix: npt.ArrayLike, steps: int) -> Floats:
        """The next `steps` values, f64(steps,): each is the predicted mean, which is then read as the observed value.

        Raises as `conditional` does, and `ArgumentError` if `steps` is no count.
        """
        steps = count("forecast", "steps", steps, 1)
        told, state = self.step(None, self.init_state())
        for value in read_series(f"{type(self).__name__}.forecast", prefix, 0).tolist():
            told, state = self.step(value, state)
        means = [told.mean]
        while len(means) < steps:
            told, state = self.step(means[-1], state)
            means.append(told.mean)
        return np.array(means)


def log_density(x: Any, mean: Any, std: Any) -> Any:
    """log N(x; mean, std^2) in nats, of numbers or arrays."""
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)


def read_ids(call: str, sequence: npt.ArrayLike, vocabulary_size: int, least: int = 1) -> Ids:
    """One row of ids, i64(T,), checked."""
    row = _one_row(call, sequence, least, "ids")
    if row.size and row.dtype.kind not in "iu":
        hint = "Text becomes ids by Vocabulary.encode." if row.dtype.kind == "U" else ""
        raise DTypeError(f"{call}: ids are whole numbers", {"ids": row}, "expected integers.", hint)
    wrong = (row < 0) | (row >= vocabulary_size) if row.size else row
    if wrong.any():
        at = int(np.argmax(wrong))
        rule = f"expected ids from 0 to {vocabulary_size - 1}, got {row[at]} at position {at}."
        raise RangeError(f"{call}: a symbol is not of the vocabulary", {"ids": row}, rule)
    return row.astype(np.int64)


def read_sequences(call: str, sequences: Any, vocabulary_size: int) -> list[Ids]:
    """One row of ids, or several in a list or tuple, as a list of rows."""
    several = isinstance(sequences, (list, tuple)) and len(sequences) > 0 and np.ndim(sequences[0]) > 0
    rows = sequences if several else [sequences]
    return [read_ids(call, row, vocabulary_size) for row in rows]


def read_series(call: str, series: npt.ArrayLike, least: int = 1) -> Floats:
    """One series of finite real numbers, f64(T,), checked."""
    row = _one_row(call, series, least, "series")
    if row.size and row.dtype.kind not in "fiu":
        raise DTypeError(f"{call}: a series is made of real numbers", {"series": row}, "expected floats.")
    values = row.astype(np.float64)
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        rule = f"expected finite numbers, got {values[at]} at position {at}."
        hint = "Cut the series there, or fill the gap first."
        raise DataError(f"{call}: a value is missing", {"series": values}, rule, hint)
    return values


def _one_row(call: str, values: Any, least: int, name: str) -> npt.NDArray[Any]:
    try:
        row = np.asarray(values)
    except ValueError:
        _not_one_row(call, {name: values}, "expected one axis, got rows of unequal lengths.")
    if row.ndim != 1:
        # NumPy takes a str for one value, but the user means a row of characters.
        if row.dtype.kind == "U":
            row = row.reshape(-1)
        else:
            hint = "Of a batch (T, B), take one column at a time: ids[:, 0]." if row.ndim == 2 else ""
            _not_one_row(call, {name: row}, f"expected one axis, got {row.ndim}.", hint)
    if len(row) < least:
        rule = f"expected at least {least}, got {len(row)}."
        raise DataError(f"{call}: the sequence is {'too short' if len(row) else 'empty'}", None, rule)
    return row


def _not_one_row(call: str, operands: dict[str, Any], rule: str, hint: str = "") -> NoReturn:
    raise ShapeError(f"{call}: this is not one sequence", operands, rule, hint) from None


answer(globals(), "Normal")
