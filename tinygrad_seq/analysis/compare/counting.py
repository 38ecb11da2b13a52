"""Baselines from counts of n-grams: a trained model should need fewer bits than these."""

from __future__ import annotations

import numpy as np

from tinygrad_seq.models import Markov
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.evaluation import Measured, measure

__all__ = ["KNESER_NEY", "UNIGRAM", "baselines"]

UNIGRAM, KNESER_NEY = "unigram", "Kneser-Ney, order 5"
MOST_COUNTED = 3_000_000
"""Tokens that are counted at the most: a few hundred bytes of memory each."""


def baselines(
    train: Array, part: Array, vocabulary_size: int, most: int | None = None
) -> dict[str, Measured]:
    """The unigram and interpolated Kneser-Ney of order 5, counted on `train` and measured on `part`.

    Of a longer training text the last three million tokens are counted, those nearest to the part. `most` is as
    in `measure`. Raises `DataError` for a part of fewer than 2 tokens.
    """
    counted = np.asarray(train[max(0, len(train) - MOST_COUNTED) :])
    found = {}
    for name, order in ((UNIGRAM, 0), (KNESER_NEY, 5)):
        smoothing = (
            "kneser-ney" if order else "additive"
        )  # a symbol that was never seen has a probability above 0
        model = Markov(vocabulary_size, order, smoothing=smoothing).fit(counted)
        found[name] = measure(model, part, most=most)
    return found
