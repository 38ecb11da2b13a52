"""The Markov model as a network: a table of logits learnt by gradients, which must converge to the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models.counts import pseudo_count
from tinygrad_seq.models.neural import NeuralModel, last_symbols, log_softmax
from tinygrad_seq.models.protocol import Floats, Ids, read_sequences
from tinygrad_seq.nn import Embedding
from tinygrad_seq.optim import Adam, CosineWithWarmup

__all__ = ["NeuralMarkov"]

MOST_WEIGHTS = 10_000_000


class NeuralMarkov(NeuralModel):
    """log P(x_s | the k symbols before it) = log_softmax(table[those symbols]); k = 1 is the neural bigram.

    `table` has one row of V logits for each context; symbol V stands where nothing has been read, so that short
    contexts have rows of their own: (V + 1)^k rows. Its loss is convex, and smallest at the counts: `fit(ids)`
    converges to `Markov(V, k, alpha=0)`, and with an `alpha` above 0 to the counts with that `alpha`.

    Raises `ArgumentError` for a table of more than 10 million weights.
    """

    def __init__(
        self, vocabulary_size: int, order: int = 1, *, dtype: Any = None, rng: Generator | None = None
    ):
        self.vocabulary_size = V = count("NeuralMarkov", "vocabulary_size", vocabulary_size, 1)
        self.order = count("NeuralMarkov", "order", order, 0)
        # A power of a huge order is not worked out: 64 of 2 are beyond any table.
        weights = (V + 1) ** min(self.order, 64) * V
        if weights > MOST_WEIGHTS:
            what = f"NeuralMarkov: a table of (V + 1)^order * V = {weights:,} weights is too large"
            rule = f"expected at most {MOST_WEIGHTS:,} weights."
            hint = "Choose a lower order, or count instead: Markov keeps only what came."
            raise ArgumentError(what, {"vocabulary_size": V, "order": order}, rule, hint)
        self.table = Embedding((V + 1) ** self.order, V, dtype=dtype, rng=rng)

    def forward(self, ids: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        """Logits (T, B, V) for the symbol after each of `ids` (T, B); the state is the last k symbols, (k, B)."""
        contexts, state = last_symbols(ids, state, self.order, self.vocabulary_size)
        return self.table((contexts * self._places()).sum(-1)), state

    def _places(self) -> Ids:
        """The factor of each of the k symbols in the number of a row, largest for the oldest."""
        return (self.vocabulary_size + 1) ** np.arange(self.order - 1, -1, -1)

    def first(self) -> Floats:
        """log P(x_1 = v): the row of the context in which nothing was read."""
        return log_softmax(self.table.weight.numpy()[-1])

    def fit(self, sequences: Any, steps: int = 1000, lr: float = 0.3, alpha: float = 0.0) -> NeuralMarkov:
        """Learn one row of ids, or several in a list, by Adam: full batches, the learning rate falls to 0.

        The loss is the mean of -log P(x_s | j symbols before it) over all s and all j from 0 to k, plus `alpha`
        of a symbol in every place. The loss depends on the text only through the counts of each symbol after
        each context, so a step costs the same for a text of any length.

        Raises `RangeError` for a symbol outside the vocabulary, `DataError` for an empty sequence.
        """
        rows = read_sequences("NeuralMarkov.fit", sequences, self.vocabulary_size)
        came = np.sum([self._followers(row) for row in rows], axis=0) + pseudo_count(
            "NeuralMarkov.fit", alpha
        )
        share = Tensor(came / came.sum(), dtype=self.table.weight.dtype)
        optimizer = Adam([self.table.weight], lr=lr)
        schedule = CosineWithWarmup(optimizer, count("NeuralMarkov.fit", "steps", steps, 1))
        for _ in range(steps):
            optimizer.zero_grad()
            loss = -(share * F.log_softmax(self.table.weight)).sum()
            loss.backward()
            optimizer.step()
            schedule.step()
        optimizer.zero_grad()
        return self

    def _followers(self, row: Ids) -> npt.NDArray[np.float64]:
        """How often each symbol came after each context, f64(rows, V)."""
        V = self.vocabulary_size
        contexts = last_symbols(row, None, self.order, V)[0].numpy()
        before = np.concatenate([np.full((1, self.order), V), contexts[:-1]])
        came = np.zeros(self.table.weight.shape)
        for j in range(self.order + 1):
            # The same places of the text with all but the last j symbols covered; uncovered short ones came before.
            seen = before.copy()
            seen[:, : self.order - j] = V
            whole = np.arange(len(row)) >= j
            np.add.at(came, ((seen * self._places()).sum(-1)[whole], row[whole]), 1.0)
        return came


answer(globals(), "NeuralMarkov")
