"""AR(tau): the next value, or symbol, from the last tau of them; and how many those should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError, ShapeError
from tinygrad_seq.models.counts import Markov
from tinygrad_seq.models.neural import NeuralModel, evaluating, last_symbols
from tinygrad_seq.models.protocol import Floats, Normal, SeriesModel, log_density, read_series
from tinygrad_seq.nn import Embedding, Linear, Module, Parameter
from tinygrad_seq.optim import Adam, CosineWithWarmup

__all__ = ["MLPAR", "LinearAR", "OrderChoice", "SymbolAR", "select_order"]


class LinearAR(SeriesModel):
    """A value is a linear function of the tau before it, and normal noise (Yule, 1927).

        x_s ~ N(intercept + coefficients[0] x_{s-1} + .. + coefficients[tau-1] x_{s-tau}, std^2)

    tau = 0 is one normal distribution for all values. The first values, with fewer than tau before them, are
    predicted by the model of that lower order, fitted to the same series.

    >>> model = LinearAR(1).fit([0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0])
    >>> model.coefficients.round(3), round(model.intercept, 3), round(model.std, 3)
    (array([0.885]), 0.769, 0.48)
    """

    def __init__(self, tau: int):
        self.tau = count("LinearAR", "tau", tau, 0)
        self._fits: list[tuple[Floats, float, float]] = []  # of order 0 .. tau: coefficients, intercept, std

    def fit(self, series: npt.ArrayLike) -> LinearAR:
        """Least squares over all values that have tau before them; std is the root of the mean square left.

        Raises `DataError` for a NaN, for a series with fewer than 2 tau + 2 values, and for a constant one.
        """
        x = read_series("LinearAR.fit", series)
        _require_spread("LinearAR.fit", x, 2 * self.tau + 2)
        # Standardised: in a series far from 0 the changes would be lost in rounding beside the column of
        # ones.
        middle, spread = float(x.mean()), float(x.std())
        z = (x - middle) / spread
        fits = []
        for j in range(self.tau + 1):
            design = np.column_stack([np.ones(len(z) - j), _past(z, j)[:-1, ::-1]])
            found = np.linalg.lstsq(design, z[j:], rcond=None)[0]
            left = float(np.sqrt(np.mean((z[j:] - design @ found) ** 2)))
            intercept = float(spread * found[0] + middle * (1.0 - found[1:].sum()))
            # With a std of 0 the density would have no logarithm.
            fits.append((found[1:], intercept, spread * max(left, 1e-12)))
        self._fits = fits
        return self

    @property
    def coefficients(self) -> Floats:
        """The weights of the last value, the one before, and so on, f64(tau,)."""
        return self._fit(self.tau)[0]

    @property
    def intercept(self) -> float:
        """The mean of the next value where the last tau were 0."""
        return self._fit(self.tau)[1]

    @property
    def std(self) -> float:
        """The standard deviation of the noise, in the unit of the series."""
        return self._fit(self.tau)[2]

    @property
    def degrees(self) -> int:
        """How many numbers are fitted: the coefficients, the intercept and the standard deviation."""
        return self.tau + 2

    def _fit(self, order: int) -> tuple[Floats, float, float]:
        _require_fitted("LinearAR", bool(self._fits))
        return self._fits[order]

    def init_state(self) -> tuple[float, ...]:
        """No values; the state is the last values, tau at the most, the latest first."""
        _require_fitted("LinearAR", bool(self._fits))
        return ()

    def step(self, symbol: float | None, state: tuple[float, ...]) -> tuple[Normal, tuple[float, ...]]:
        """How the value after this one is spread, and the last values."""
        if symbol is not None:
            value = float(read_series("LinearAR.step", [symbol])[0])
            state = (value, *state)[: self.tau]
        weights, intercept, std = self._fit(len(state))
        return Normal(intercept + float(weights @ np.array(state)), std), state

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """The log-density of each value given those before it, f64(T,), in nats: `step`, for all at once."""
        x = read_series("LinearAR.score", sequence)
        scores = np.empty(len(x))
        for j in range(min(self.tau, len(x) - 1) + 1):
            weights, intercept, std = self._fit(j)
            mean = _past(x, j)[:-1] @ weights[::-1] + intercept
            scores[j:] = log_density(x[j:], mean, std)
        return scores


class MLPAR(SeriesModel, Module):
    """A value is a small network's function of the tau values before it, and normal noise.

        z = (x - centre) / scale;  mean of the next z = W2 tanh(W1 z_{s-tau .. s-1} + b1) + b2

    The first tau values are predicted by the mean and standard deviation of all values that it was fitted to.
    """

    def __init__(self, tau: int, hidden: int = 32, *, dtype: Any = np.float64, rng: Generator | None = None):
        self.tau = count("MLPAR", "tau", tau, 1)
        self.inner = Linear(self.tau, hidden, dtype=dtype, rng=rng)
        self.outer = Linear(hidden, 1, dtype=dtype, rng=rng)
        # Saved with the weights, which mean nothing without them. A std of 0 means: not fitted yet.
        self.center, self.scale, self.std = (
            Parameter(np.zeros(1), requires_grad=False) for _ in ("centre", "scale", "std")
        )

    def forward(self, x: Tensor) -> Tensor:
        """The mean of the next z (N,) from the last tau, x (N, tau), oldest first."""
        return self.outer(self.inner(x).tanh()).squeeze(-1)  # type: ignore[no-any-return]

    def fit(self, series: npt.ArrayLike, steps: int = 500, lr: float = 0.01) -> MLPAR:
        """Least squares by Adam over all values that have tau before them; the learning rate falls to 0.

        Raises `DataError` for a NaN, for a series with fewer than 2 tau + 2 values, and for a constant one.
        """
        x = read_series("MLPAR.fit", series)
        _require_spread("MLPAR.fit", x, 2 * self.tau + 2)
        self.center.assign(x.mean(keepdims=True))
        self.scale.assign(x.std(keepdims=True))
        z = ((x - x.mean()) / x.std()).astype(self.inner.weight.dtype)
        past, target = wrap(_past(z, self.tau)[:-1].copy()), wrap(z[self.tau :])
        parameters = [*self.inner.parameters(), *self.outer.parameters()]
        optimizer = Adam(parameters, lr=lr)
        schedule = CosineWithWarmup(optimizer, count("MLPAR.fit", "steps", steps, 1))
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((self(past) - target) ** 2).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
        optimizer.zero_grad()
        with evaluating(self):
            left = float(((self(past) - target) ** 2).mean().item()) ** 0.5
        self.std.assign(np.array([max(left, 1e-12) * x.std()]))
        return self

    def init_state(self) -> tuple[float, ...]:
        """No values; the state is the last values, tau at the most, oldest first."""
        _require_fitted("MLPAR", float(self.std.array[0]) > 0)
        return ()

    def step(self, symbol: float | None, state: tuple[float, ...]) -> tuple[Normal, tuple[float, ...]]:
        """How the value after this one is spread, and the last values."""
        if symbol is not None:
            value = float(read_series("MLPAR.step", [symbol])[0])
            state = (*state, value)[-self.tau :]
        if len(state) < self.tau:
            return Normal(float(self.center.array[0]), float(self.scale.array[0])), state
        return Normal(float(self._means(np.array([state]))[0]), float(self.std.array[0])), state

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """The log-density of each value given those before it, f64(T,), in nats, in one pass."""
        self.init_state()
        x = read_series("MLPAR.score", sequence)
        scores = log_density(x, self.center.array[0], self.scale.array[0])
        if len(x) > self.tau:
            scores[self.tau :] = log_density(
                x[self.tau :], self._means(_past(x, self.tau)[:-1]), self.std.array[0]
            )
        return scores  # type: ignore[no-any-return]

    def _means(self, past: Floats) -> Floats:
        """The mean of the value after each row of tau values (N, tau)."""
        z = (past - self.center.array) / self.scale.array
        with evaluating(self):
            told = self(wrap(z.astype(self.inner.weight.dtype))).numpy()
        return told * self.scale.array + self.center.array  # type: ignore[no-any-return]


class SymbolAR(NeuralModel):
    """log P(x_s | the tau symbols before it) by a network of one hidden layer (Bengio et al., 2003).

        e = the embeddings of the last tau symbols, side by side;  logits = W2 tanh(W1 e + b1) + b2

    Where fewer than tau have been read, symbol V stands in their place.
    """

    def __init__(
        self,
        vocabulary_size: int,
        tau: int,
        hidden: int = 128,
        embedding: int = 16,
        *,
        rng: Generator | None = None,
    ):
        self.vocabulary_size = count("SymbolAR", "vocabulary_size", vocabulary_size, 1)
        self.tau = count("SymbolAR", "tau", tau, 1)
        self.embedding = Embedding(self.vocabulary_size + 1, embedding, rng=rng)
        self.inner = Linear(self.tau * embedding, hidden, rng=rng)
        self.head = Linear(hidden, self.vocabulary_size, rng=rng)

    def forward(self, ids: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        """Logits (T, B, V) for the symbol after each of `ids` (T, B); the state is the last tau symbols."""
        contexts, state = last_symbols(ids, state, self.tau, self.vocabulary_size)
        e = self.embedding(contexts)
        return self.head(self.inner(e.reshape(*e.shape[:-2], self.inner.in_features)).tanh()), state


class OrderChoice(NamedTuple):
    """The best order, and the criterion of each order: lower is better."""

    order: int
    values: dict[int, float]


def select_order(
    sequence: npt.ArrayLike,
    orders: Iterable[int] = range(1, 11),
    criterion: str = "bic",
    *,
    make: Callable[[int], Any] | None = None,
    held_out: float = 0.25,
) -> OrderChoice:
    """The order k whose model predicts a sequence best, by one of three criteria; lower is better.

        held-out   the mean of -log P over the last part of the sequence, fitted to the rest, in nats
        aic        2 p - 2 log P                                              (Akaike, 1974)
        bic        p ln n - 2 log P                                           (Schwarz, 1978)

    p is the model's `degrees`, n the number of values that every order predicts: those with as many before
    them as the largest order needs. `make(k)` gives a model to fit: LinearAR for real numbers and Markov for
    ids, unless said otherwise.

    Raises `ArgumentError` for no orders, an order below 0, or a criterion that is none.

    >>> select_order([0, 1] * 50, range(3)).order
    1
    """
    tried = sorted({count("select_order", "an order", k, 0) for k in orders})
    if not tried:
        raise ArgumentError("select_order: no orders to choose from", None, "expected at least one.")
    if criterion not in ("held-out", "aic", "bic"):
        rule = "expected 'held-out', 'aic' or 'bic'."
        raise ArgumentError("select_order: no such criterion", {"criterion": criterion}, rule)
    if not 0 < held_out < 1:
        rule = "expected a number between 0 and 1."
        raise ArgumentError("select_order: held_out is no part", {"held_out": held_out}, rule)
    data = np.asarray(sequence)
    if data.ndim != 1:
        raise ShapeError("select_order: not one sequence", {"sequence": data}, "expected one axis.")
    make = make or _usual_model(data)
    fitted, asked = data, data
    if criterion == "held-out":
        kept = len(data) - int(len(data) * held_out)
        fitted, asked = data[:kept], data[kept:]
    if len(asked) <= tried[-1]:
        rule = f"expected more than {tried[-1]} values to ask for, got {len(asked)}."
        raise DataError("select_order: the sequence is too short for these orders", None, rule)
    values = {}
    for k in tried:
        model = make(k)
        if not (hasattr(model, "fit") and hasattr(model, "score")):
            raise DTypeError(
                "select_order: make gave no model", {"model": model}, "expected one with `fit` and `score`."
            )
        model = model.fit(fitted)
        told = model.score(asked)[tried[-1] :]
        if criterion == "held-out":
            values[k] = -float(told.mean())
        else:
            price = 2.0 if criterion == "aic" else math.log(len(told))
            values[k] = price * model.degrees - 2 * float(told.sum())
    return OrderChoice(min(values, key=lambda k: values[k]), values)


def _usual_model(data: npt.NDArray[Any]) -> Callable[[int], Any]:
    if data.dtype.kind not in "iu":
        return LinearAR
    size = int(data.max(initial=0)) + 1
    return lambda k: Markov(size, k)


def _past(x: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """The n values before each place from n on, and before the end, oldest first: (T - n + 1, n)."""
    if n == 0:
        return np.empty((len(x) + 1, 0))
    return np.lib.stride_tricks.sliding_window_view(x, n)


def _require_spread(call: str, x: Floats, least: int) -> None:
    if len(x) < least:
        rule = f"expected at least 2 tau + 2 = {least} values, got {len(x)}."
        raise DataError(f"{call}: the series is too short", {"series": x}, rule)
    if x.max() == x.min():
        rule = f"expected values that differ, got {x[0]} alone."
        raise DataError(f"{call}: the series is constant", {"series": x}, rule)


def _require_fitted(call: str, fitted: bool) -> None:
    if not fitted:
        hint = f"Call fit() first: {call}(...).fit(series)."
        raise DataError(f"{call}: not fitted yet", None, "expected a series to learn from.", hint)


answer(globals(), "LinearAR", "MLPAR", "SymbolAR", "select_order")
