"""Text from a model, one character at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data import Tokenizer
from tinygrad_seq.errors import ArgumentError, NonFiniteError, explain
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.random import Generator, stream
from tinygrad_seq.training.evaluation import evaluating

__all__ = ["sample", "sample_stream"]


def sample(
    model: NeuralModel,
    vocabulary: Tokenizer,
    prime: str = "",
    n: int = 500,
    temperature: float = 0.8,
    rng: Generator | None = None,
) -> str:
    """The `n` characters that a model writes after `prime`, which is not repeated.

        P(next = v) = softmax(logits / temperature)[v]

    Temperature 0 takes the likeliest character, 1 draws as the model has learnt, more is wilder. With no
    prime the model starts as after a newline, or after the first symbol where it knows no newline. Where the
    tokenizer says which ids may follow which (`jamo`), no other is drawn. Draws come from `rng`, or from the
    stream `sampling`.

    Raises `DataError` if the prime holds a character that the model does not know, `ArgumentError` if `n` or
    the temperature is negative or no number, and `NonFiniteError` if the model's logits are none.
    """
    return "".join(sample_stream(model, vocabulary, prime, n, temperature, rng))


def sample_stream(
    model: NeuralModel,
    vocabulary: Tokenizer,
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
    start = vocabulary.encode(prime) if prime else vocabulary.start()
    return _drawn(model, vocabulary, start, int(n), float(temperature), rng or stream("sampling"))


def _drawn(
    model: NeuralModel,
    vocabulary: Tokenizer,
    ids: npt.NDArray[np.int64],
    n: int,
    temperature: float,
    rng: Generator,
) -> Iterator[str]:
    state = None
    decoder, previous = vocabulary.decoder(), None
    while n > 0:
        # Entered for each token: whoever reads the stream may train in between.
        with evaluating(model):
            logits, state = model(ids[:, None], state)
            i = _choose(logits[-1, 0].numpy(), temperature, rng, vocabulary.allowed(previous, left=2))
        ids, previous = np.array([i]), i
        # A token may be the middle of a character, or several characters.
        for character in decoder.feed(i)[:n]:
            n -= 1
            yield character


def _choose(
    logits: npt.NDArray[np.floating],
    temperature: float,
    rng: Generator,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> int:
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
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
