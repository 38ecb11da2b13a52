"""How much of the past a model uses: its loss where it sees only the last 1, 2, 4, ... symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import count
from tinygrad_seq.data import windows
from tinygrad_seq.errors import DataError, NonFiniteError
from tinygrad_seq.models.neural import NeuralModel, evaluating
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.evaluation import BLOCKS, batch_means

__all__ = ["ContextCurve", "context_curve"]

LONGEST = 256  # the longest context by default, for a model without a bound of its own
NEAR = 0.01  # of the best


@dataclass(frozen=True)
class ContextCurve:
    """`nats[i]` per token where the model sees the last `lengths[i]` symbols and nothing before, with `errors`.

    Every length predicts the same `tokens` targets, so the difference of two lengths has less noise than `errors`
    says.

    >>> curve = ContextCurve((1, 2, 4), (2.0, 1.005, 1.0), (0.1, 0.1, 0.1), 100)
    >>> curve.enough
    2
    """

    lengths: tuple[int, ...]
    nats: tuple[float, ...]
    errors: tuple[float, ...]
    tokens: int

    @property
    def enough(self) -> int:
        """The shortest context from which the loss is within 1 % of the best (after Khandelwal et al., 2018)."""
        best = min(self.nats)
        return next(n for n, x in zip(self.lengths, self.nats, strict=True) if x <= best + NEAR * abs(best))

    @property
    def words(self) -> str:
        """One sentence."""
        n = self.enough
        subject = "1 symbol of context comes" if n == 1 else f"{n:,} symbols of context come"
        said = f"{subject} within 1 % of the best loss"
        end = "; more than was tried may help" if n == self.lengths[-1] and len(self.lengths) > 1 else ""
        return f"{said}, {min(self.nats):z.4f} nats per token, of contexts up to {self.lengths[-1]:,}{end}."


def context_curve(
    model: NeuralModel,
    ids: npt.ArrayLike,
    lengths: Sequence[int] | None = None,
    *,
    tokens: int = 1024,
    batch: int = 128,
) -> ContextCurve:
    """The loss at `tokens` places, evenly spread over the text, as a function of how many symbols are seen.

        nats(n) = mean over places s of -log P(x_s | x_{s-n} .. x_{s-1}),   the model in its first state before

    `lengths` are 1, 2, 4, ... up to 256, or to what the model and the text hold. The errors are by
    `batch_means`. Nothing is drawn. Raises `DataError` for a text too short for the longest, `ArgumentError`
    for lengths that are no counts.
    """
    windows(ids, 1, 1)  # its refusals
    row = np.asarray(ids)  # which may be mapped from a file, and larger than the memory
    bounds = [b for b in (model.block, model.longest) if b is not None]
    if lengths is None:
        longest = min([LONGEST, (len(row) + 1) // 2, *bounds])
        tried = sorted({*(1 << k for k in range(longest.bit_length())), longest})
    else:
        tried = sorted({count("context_curve", "a length", n, 1) for n in lengths})
    if not tried or tried[-1] >= len(row) or tried[-1] > min(bounds, default=tried[-1]):
        rule = f"expected lengths from 1 to {min([len(row) - 1, *bounds]):,}, got {list(lengths or ())}."
        raise DataError("context_curve: these contexts are not to be had", {"ids": row}, rule)
    room = len(row) - tried[-1]
    many = min(count("context_curve", "tokens", tokens, 1), room)
    places = tried[-1] + np.arange(many) * room // many
    nats, errors = [], []
    block = np.arange(many) * min(BLOCKS, many) // many
    sizes = np.bincount(block)
    with evaluating(model):
        for n in tried:
            losses = np.concatenate(
                [_last_loss(model, row, places[at : at + batch], n) for at in range(0, many, batch)]
            )
            nats.append(float(losses.mean()))
            errors.append(batch_means(np.bincount(block, losses) / sizes, sizes))
    if not np.isfinite(nats).all():
        rule = "expected finite numbers."
        raise NonFiniteError("context_curve: the loss is not finite", {"nats": nats}, rule)
    return ContextCurve(tuple(tried), tuple(nats), tuple(errors), many)


def _last_loss(
    model: NeuralModel, row: Array, places: npt.NDArray[np.int64], n: int
) -> npt.NDArray[np.float64]:
    logits, _ = model(row[places - n + np.arange(n)[:, None]].astype(np.int64), None)
    told = F.cross_entropy(logits[-1], row[places].astype(np.int64), reduction="none")
    return told.numpy().astype(np.float64)
