"""Text from a model, one character at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data import Vocabulary
from tinygrad_seq.errors import ArgumentError, NonFiniteError, explain
from tinygrad_seq.models import CharLM
from tinygrad_seq.random import Generator, stream
from tinygrad_seq.training.evaluation import evaluating

__all__ = ["sample", "sample_stream"]


def sample(
    model: CharLM,
    vocabulary: Vocabulary,
    prime: str = "",
    n: int = 500,
    temperature: float = 0.8,
    rng: Generator | None = None,
) -> str:
    """The `n` characters that a model writes after `prime`, which is not repeated.

        P(next = v) = softmax(logits / temperature)[v]

    Temperature 0 takes the likeliest character, 1 draws as the model has learnt, more is wilder. With no
    prime the model starts as after a newline, or after the first symbol where it knows no newline. Draws come
    from `rng`, or from the stream `sampling`.

    Raises `DataError` if the prime holds a character that the model does not know, `ArgumentError` if `n` or
    the temperature is negative or no number, and `NonFiniteError` if the model's logits are none.
    """
    return "".join(sample_stream(model, vocabulary, prime, n, temperature, rng))


def sample_stream(
    model: CharLM,
    vocabulary: Vocabulary,
    prime: str = "",
    n: int = 500,
    temperature: float = 0.8,
    rng: Generator | None = None,
) -> Iterator[str]:
    """What `sample` returns, character by character as it is drawn; errors of the arguments come at once."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise ArgumentError(
            explain("sample: n is no count", {"n": n}, "expected a whole number from 0 upwards.")
        )
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, int | float)
        or not 0 <= temperature < math.inf
    ):
        rule = "expected a finite number from 0 upwards; 0 takes the likeliest character."
        raise ArgumentError(explain("sample: temperature out of range", {"temperature": temperature}, rule))
    start = prime or ("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0])
    return _drawn(
        model, vocabulary, vocabulary.encode(start), int(n), float(temperature), rng or stream("sampling")
    )


def _drawn(
    model: CharLM,
    vocabulary: Vocabulary,
    ids: npt.NDArray[np.int64],
    n: int,
    temperature: float,
    rng: Generator,
) -> Iterator[str]:
    state = None
    for _ in range(n):
        # Entered for each character: whoever reads the stream may train in between.
        with evaluating(model):
            logits, state = model(ids[:, None], state)
            i = _choose(logits[-1, 0].numpy(), temperature, rng)
        ids = np.array([i])
        yield vocabulary.symbols[i]


def _choose(logits: npt.NDArray[np.floating], temperature: float, rng: Generator) -> int:
    top = float(logits.max())
    if not math.isfinite(top):
        rule = "expected finite numbers."
        way_out = "Were the weights saved by a run that diverged? Train again with a lower learning rate."
        raise NonFiniteError(
            explain("sample: the model's logits are not finite", {"logits": logits}, rule, way_out)
        )
    if temperature == 0.0:
        return int(logits.argmax())
    # Where the quotient is too large for a float64, its exponential is 0 all the same.
    with np.errstate(over="ignore"):
        chances = np.exp((logits.astype(np.float64) - top) / temperature).cumsum()
    u = float(rng.rand(dtype=np.float64).item()) * float(chances[-1])
    # Rounding may put u on the very end, where the last symbols may have no chance at all.
    return min(int(chances.searchsorted(u, "right")), int(chances.searchsorted(chances[-1])))
