"""How well a model predicts a text: nats per token, the same at every call, with a standard error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import count
from tinygrad_seq.data import Rates, Splits, TextSize, rates, split, split_columns, windows
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, NonFiniteError
from tinygrad_seq.models.neural import NeuralModel, evaluating
from tinygrad_seq.models.protocol import SymbolModel
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.rules import checked_split
from tinygrad_seq.training.step import unwarned, why_not_finite

__all__ = [
    "BLOCKS",
    "Measured",
    "batch_means",
    "bits",
    "difference",
    "evaluate",
    "evaluating",
    "has_risen",
    "measure",
    "parts_of",
    "scored",
    "validate",
    "validated",
]

_WINDOW = 64
_RISEN = 0.01  # of the best validation
BLOCKS = 30
"""Blocks behind a standard error; with more of them it is hardly better known (Schmeiser, 1982)."""


def bits(nats: float) -> float:
    """nats / ln 2.

    >>> bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def evaluate(model: NeuralModel, ids: npt.ArrayLike, batch: int = 32, window: int = 64) -> float:
    """The mean of -log P(character | all before it) over a whole text, in nats per character.

    Every id but the first is predicted once. `batch` rows run side by side and each carries its state from
    its first character to its last, so the result depends on the number of rows, not on `window` (each row begins
    without a state). No dropout, nothing drawn, nothing recorded.

    Raises `DataError` if there are fewer than 2 ids.
    """
    total, count = 0.0, 0
    state = None
    with evaluating(model):
        for inputs, targets, fresh in windows(ids, batch, window):
            loss, state = model.loss(inputs, targets, None if fresh else state)
            total += float(loss.item()) * targets.size
            count += targets.size
    return total / count


@dataclass(frozen=True)
class Measured:
    """The loss of a model on a text: `nats` per token, and `error`, the standard error of that mean.

    `tokens` were predicted, out of `of` in the text; `accuracy` is the share of them to which the model gave
    the highest probability, None where it was not measured. `blocks` (K,) are the means of contiguous blocks
    of the text, `sizes` (K,) how many tokens each has; `error` follows from them (see `batch_means`) and is
    NaN where there is but one.

    >>> found = Measured(math.log(2), 0.0, 10, 10, 0.5, np.full(5, math.log(2)), np.full(5, 2))
    >>> round(found.perplexity, 6), found.whole
    (2.0, True)
    """

    nats: float
    error: float
    tokens: int
    of: int
    accuracy: float | None
    blocks: Array = field(repr=False, compare=False)
    sizes: Array = field(repr=False, compare=False)

    @property
    def perplexity(self) -> float:
        """exp(nats): the number of equally likely tokens with the same loss."""
        return math.exp(min(self.nats, 700.0))

    @property
    def whole(self) -> bool:
        """Whether every token but the first was predicted."""
        return self.tokens == self.of

    def rates(self, size: TextSize) -> Rates:
        """The same for each character and byte of a text of this size."""
        return rates(self.nats, size)

    def errors(self, size: TextSize) -> Rates:
        """The standard error in the three units."""
        return rates(self.error, size)


def batch_means(means: Array, sizes: Array) -> float:
    """The standard error of the mean of correlated numbers, from the means of K contiguous blocks.

        error = sqrt(K / (K - 1) * sum over k of (w_k (m_k - m))^2),   w_k = sizes_k / sum(sizes),  m = sum(w_k m_k)

    which is sqrt(sum (m_k - m)^2 / (K (K - 1))) for blocks of one size. Tokens of a text are correlated (a hard
    passage is hard for many of them), so the usual formula over single tokens gives too small an error; it holds
    for blocks that are much longer than the correlation (method of batch means: Law and Kelton, 1984; Schmeiser,
    1982; see Flyvbjerg and Petersen, 1989). With 30 blocks the error itself is known to 13 %. NaN for one block.

    >>> batch_means(np.array([1.0, 3.0]), np.array([5, 5]))
    1.0
    """
    K = len(means)
    if K < 2:
        return math.nan
    w = sizes / sizes.sum()
    off = w * (means - (w * means).sum())
    return float(math.sqrt(K / (K - 1) * (off * off).sum()))


def difference(one: Measured, other: Measured) -> tuple[float, float]:
    """How much more nats per token `one` needs than `other` on the same tokens, and that number's standard error.

    The same passages are hard for both, so the error of the difference is smaller than that of either. Raises
    ArgumentError where they did not predict the same tokens.
    """
    if not np.array_equal(one.sizes, other.sizes) or one.of != other.of:
        found: dict[str, object] = {"one": f"{one.tokens} tokens", "other": f"{other.tokens} tokens"}
        rule = "expected two models on the same text, with the same tokens, batch, window and most."
        raise ArgumentError("difference: these were measured on different tokens", found, rule)
    return one.nats - other.nats, batch_means(one.blocks - other.blocks, one.sizes)


def measure(
    model: SymbolModel,
    ids: npt.ArrayLike,
    *,
    batch: int = 32,
    window: int = 64,
    carried: bool = True,
    most: int | None = None,
) -> Measured:
    """The mean of -log P(token | all before it) over a whole text, with its standard error; nothing is drawn.

    As `evaluate`: every id but the first is predicted once, by `batch` rows side by side that carry their state
    from their first token to their last. With `carried` False each window begins from no state, as does each where
    the model can read no more than `longest` symbols in all. `most` bounds how many tokens are predicted: then they
    are contiguous pieces, evenly spread over the text, always the same. A model that is no network is measured by
    its `score`, the whole text at once, and its accuracy is None.

    Raises `DataError` if there are fewer than 2 ids, `NonFiniteError` where a probability is NaN or 0.

    >>> from tinygrad_seq.models import Markov
    >>> found = measure(Markov(2, order=0, alpha=0).fit([0, 1]), [0, 1] * 50)
    >>> found.tokens, round(found.nats, 6), round(found.error, 6)
    (99, 0.693147, 0.0)
    """
    windows(ids, batch, window)  # its refusals
    row = np.asarray(ids)
    limit = None if most is None else count("measure", "most", most, 1)
    network = model if isinstance(model, NeuralModel) else None
    if network is not None and network.longest is not None:
        window, carried = min(window, network.longest), False
    groups = _groups(len(row) - 1, batch if network or limit else 1, window, limit)
    tally = _Tally(sum(len(starts) * length for starts, length in groups))
    if network is None:
        for place, part in _pieces(row, groups):
            scores = -model.score(part)[1:]
            tally.add(place + np.arange(len(scores)), scores)
        return tally.measured(len(row) - 1, counted=False)
    with evaluating(network):
        state = None
        for inputs, targets, fresh, places in _steps(row, groups, window):
            logits, state = network(inputs, None if fresh or not carried else state)
            flat = logits.reshape(-1, logits.shape[-1])
            losses = F.cross_entropy(flat, targets.reshape(-1), reduction="none")
            right = flat.numpy().argmax(-1) == targets.reshape(-1)
            tally.add(places.reshape(-1), losses.numpy(), int(right.sum()))
    return tally.measured(len(row) - 1)


def has_risen(last: float, low: float, error: float) -> bool:
    """Whether a validation lies above the best by more than noise: 1 % of it, and two standard errors.

    >>> has_risen(2.01, 2.0, 0.0), has_risen(2.1, 2.0, 0.01), has_risen(2.1, 2.0, 0.1)
    (False, True, False)
    """
    return last - low > max(_RISEN * low, 2 * error if math.isfinite(error) else 0.0)


def scored(model: SymbolModel, ids: npt.ArrayLike) -> Measured:
    """The mean of -log P(token | all before it) by the model's own `score`: one row, with the whole past.

    Slower for a network than `measure`, and the same measure for every kind of model. Raises as `score` does,
    and `DataError` for fewer than 2 ids.
    """
    windows(ids, 1, 1)  # its refusals
    losses = -model.score(ids)[1:]
    tally = _Tally(len(losses))
    tally.add(np.arange(len(losses)), losses)
    return tally.measured(len(losses), counted=False)


def parts_of(ids: Any, how: str, batch: int) -> Splits:
    """A row of ids as the setting `split` divides it; `batch` is the number of streams.

    >>> [len(part) for part in parts_of(range(1000), "80,15,5", 32)]
    [800, 150, 50]
    """
    shares, by_columns = checked_split(how)
    return split_columns(ids, batch, shares) if by_columns else split(ids, shares)


def validate(model: NeuralModel, config: Config, ids: Any, most: int | None = None) -> Measured:
    """`measure` in the way that the model was trained.

    A model of streams carries its state through the text; one of random windows is measured window by window,
    each without a state. `most` bounds the tokens, as in `measure`.
    """
    if config.reading == "random":
        return measure(model, ids, window=config.window, carried=False, most=most)
    return measure(model, ids, window=_WINDOW, most=most)


def validated(model: NeuralModel, config: Config, ids: Any, step: int) -> Measured:
    """`validate` on `eval_tokens` tokens after a step. Raises `NonFiniteError`, which names the first op at fault."""

    def look() -> Measured:
        return validate(model, config, ids, config.eval_tokens)

    with unwarned():
        try:
            return look()
        except NonFiniteError as error:
            found: dict[str, object] = {"validation": math.nan}
            raise NonFiniteError(why_not_finite(f"step {step}", found, look)) from error


Groups = list[tuple[Array, int]]


def _groups(targets: int, batch: int, window: int, most: int | None) -> Groups:
    """Rows that run side by side: where each begins, and how many targets each of them has."""
    if most is not None and most < targets:
        rows = max(1, min(batch, most // window))
        return [(np.linspace(0, targets - most // rows, rows).astype(np.int64), most // rows)]
    # As `data.windows` cuts them: the rest is one more row.
    rows = max(1, min(batch, targets // window))
    length = targets // rows
    groups: Groups = [(np.arange(rows) * length, length)]
    if rows * length < targets:
        groups.append((np.array([rows * length]), targets - rows * length))
    return groups


def _pieces(row: Array, groups: Groups) -> Iterator[tuple[int, Array]]:
    """Each row of the groups, and the place of its first target among all targets."""
    place = 0
    for starts, length in groups:
        for start in starts.tolist():
            yield place, row[start : start + length + 1]
            place += length


def _steps(row: Array, groups: Groups, window: int) -> Iterator[tuple[Array, Array, bool, Array]]:
    """Inputs and targets i64(T, B), whether the rows begin, and each target's place among all."""
    done = 0
    for starts, length in groups:
        own = done + np.arange(len(starts)) * length
        for at in range(0, length, window):
            steps = np.arange(at, min(at + window, length))[:, None]
            where = starts + steps
            yield row[where].astype(np.int64), row[where + 1].astype(np.int64), at == 0, own + steps
        done += len(starts) * length


class _Tally:
    """Losses summed by block, in memory that does not grow with the text."""

    def __init__(self, total: int):
        self.total, self.hits = total, 0
        self.sums = np.zeros(min(BLOCKS, total))
        self.sizes = np.zeros(len(self.sums), np.int64)

    def add(self, places: Array, losses: Array, hits: int = 0) -> None:
        """Losses of targets at these places."""
        K = len(self.sums)
        blocks = places * K // self.total
        self.sums += np.bincount(blocks, losses.astype(np.float64), K)
        self.sizes += np.bincount(blocks, minlength=K)
        self.hits += hits

    def measured(self, of: int, counted: bool = True) -> Measured:
        """The result."""
        nats = float(self.sums.sum() / self.total) + 0.0  # a certain prediction has the loss 0, not -0
        if not math.isfinite(nats):
            found: dict[str, Any] = {"nats per token": nats}
            hint = "A network that diverged says so; train it again with a lower lr. Counts need smoothing."
            raise NonFiniteError("measure: the loss is not finite", found, "expected finite numbers.", hint)
        means = self.sums / self.sizes
        error = batch_means(means, self.sizes)
        accuracy = self.hits / self.total if counted else None
        return Measured(nats, error, self.total, of, accuracy, means, self.sizes)


answer(globals(), "bits", "evaluate", "measure")
