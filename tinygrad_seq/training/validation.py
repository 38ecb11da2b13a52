"""Validation of a run: the same text and the same way while it is trained and when it is measured later."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_seq.data import Splits, split, split_columns
from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.evaluation import Measured, measure
from tinygrad_seq.training.rules import checked_split
from tinygrad_seq.training.step import unwarned, why_not_finite

__all__ = ["parts_of", "validate", "validated"]

_WINDOW = 64


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
