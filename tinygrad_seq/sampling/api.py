"""`sample` and `sample_stream`: text from a model in one call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad_seq.data import Tokenizer
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.sampling.decoding import DecodingConfig
from tinygrad_seq.sampling.sampler import Sampler

__all__ = ["sample", "sample_stream"]


def sample(
    model: NeuralModel,
    vocabulary: Tokenizer,
    prime: str = "",
    n: int = 500,
    temperature: float = 0.8,
    rng: Generator | None = None,
    **more: Any,
) -> str:
    """The `n` characters that a model writes after `prime`, which is not repeated; fewer where `until` comes.

        P(next = v) = softmax(logits / temperature)[v], cut down as `DecodingConfig` says

    Temperature 0 takes the likeliest character, 1 draws as the model has learnt, more is wilder. With no
    prime the model starts as after a newline, or after the first symbol where it knows no newline. Where the
    tokenizer restricts which ids may follow which (`jamo`), no other is drawn. Draws come from `rng`, or from
    the stream `sampling`. `more` is what `sample_stream` takes by name. `Sampler` has the same with the
    log-probability of each token.

    Raises `DataError` if the prime holds a character that the model does not know, `ArgumentError` for a setting
    out of range, and `NonFiniteError` if the model's logits are none.

    >>> from tinygrad_seq.data import Vocabulary
    >>> from tinygrad_seq.models import CharLM
    >>> len(sample(CharLM(3, 8, rng=Generator(0)), Vocabulary("abc"), "ab", 5, rng=Generator(1)))
    5
    """
    return "".join(sample_stream(model, vocabulary, prime, n, temperature, rng, **more))


def sample_stream(
    model: NeuralModel,
    vocabulary: Tokenizer,
    prime: str = "",
    n: int = 500,
    temperature: float = 0.8,
    rng: Generator | None = None,
    *,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    until: str | None = None,
    on_unknown: str = "error",
    cached: bool = True,
) -> Iterator[str]:
    """What `sample` returns, character by character as it is drawn; errors of the arguments come at once."""
    how = DecodingConfig(temperature, top_k, top_p, min_p, repetition_penalty)
    pieces = Sampler(model, vocabulary, how, cached=cached).text(
        prime, n, until=until, rng=rng, on_unknown=on_unknown
    )
    return (character for piece in pieces for character in piece)


answer(globals(), "sample", "sample_stream")
