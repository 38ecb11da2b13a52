"""One number for a model and a text: nats per character, the same at every call."""

from __future__ import annotations

import math

import numpy.typing as npt

from tinygrad_seq.data import windows
from tinygrad_seq.models.neural import NeuralModel, evaluating

__all__ = ["bits", "evaluate", "evaluating"]


def bits(nats: float) -> float:
    """nats / ln 2.

    >>> bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def evaluate(model: NeuralModel, ids: npt.ArrayLike, batch: int = 32, window: int = 64) -> float:
    """The mean of -log P(character | all before it) over a whole text, in nats per character.

    Every id but the first is predicted once. `batch` rows run side by side and each carries its state from
    its first character to its last, so only their number, not `window`, has a part in the result (the
    beginning of a row knows nothing of what was before). No dropout, nothing drawn, nothing recorded.

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
