"""Text from a model, token by token, with log-probabilities and the likeliest other candidates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq import arguments
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.data.tokenizers.base import PlainDecoder
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or, stream
from tinygrad_seq.errors import ArgumentError, DataError
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.sampling.decoding import DecodingConfig, drawn, log_prob, truncated, uniform, weights
from tinygrad_seq.sampling.stepper import Position, Stepper

__all__ = ["Candidate", "Prime", "Sample", "Sampler", "Token"]

Ids = npt.NDArray[np.int64]


class Candidate(NamedTuple):
    """A symbol that might come next: its probability as learnt, after penalty and temperature, and as drawn."""

    id: int
    text: str
    learnt: float
    tempered: float
    drawn: float


class Token(NamedTuple):
    """One symbol that was drawn. `text` is what became whole with it, `log_prob` its log P as learnt, in nats."""

    id: int
    text: str
    log_prob: float
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A text that a model wrote after `prime`, with the log-probability of each token.

    `ids` and `log_probs` (nats) are of all tokens that were drawn. `text` may end before them, where it has as
    many characters as were asked for, or where `until` was found: `ended` is "length" or "until".
    """

    prime: str
    text: str
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    characters: int
    utf8_bytes: int
    ended: str
    candidates: tuple[tuple[Candidate, ...], ...] = ()

    @property
    def log_prob(self) -> float:
        """The logarithm of P(ids | prime) under the model, in nats."""
        return math.fsum(self.log_probs)

    @property
    def bits_per_character(self) -> float:
        """-log2 P(ids | prime) for each character of the tokens."""
        return -self.log_prob / math.log(2) / max(self.characters, 1) + 0.0

    @property
    def bits_per_byte(self) -> float:
        """-log2 P(ids | prime) for each byte of their UTF-8."""
        return -self.log_prob / math.log(2) / max(self.utf8_bytes, 1) + 0.0


class Prime:
    """The beginning of a text, as ids; `given` is False where there was none. It is read at the first use."""

    def __init__(self, stepper: Stepper, ids: Ids, given: bool):
        self.stepper, self.ids, self.given = stepper, ids, given

    @cached_property
    def begun(self) -> tuple[Any, Position]:
        """The logits after it, and the position of the model."""
        return self.stepper.start(self.ids)


class Sampler:
    """Writes text with a model and its tokenizer, as `how` says.

    The model is read symbol by symbol with its state (the keys and values of a GPT), through a step that was
    recorded once and is run on plain arrays. With `cached=False` the whole text is read anew for every token by
    the model itself: the same choices, but for draws that fall within a rounding error of a boundary.

    >>> from tinygrad_seq.data import Vocabulary
    >>> from tinygrad_seq.models import CharLM
    >>> vocabulary = Vocabulary("abc")
    >>> sampler = Sampler(CharLM(3, 8, rng=Generator(0)), vocabulary, DecodingConfig(temperature=0))
    >>> sample = sampler.sample("ab", 5)
    >>> len(sample.text), len(sample.log_probs), sample.ended
    (5, 5, 'length')
    """

    def __init__(
        self,
        model: NeuralModel,
        vocabulary: Tokenizer,
        how: DecodingConfig | None = None,
        *,
        cached: bool = True,
    ):
        one_size(model, vocabulary)
        self.model, self.vocabulary, self.how = model, vocabulary, how or DecodingConfig()
        self.stepper = Stepper(model, arguments.flag("Sampler", "cached", cached))
        self._pieces: dict[int, str] = {}

    def tokens(
        self,
        prime: str | Prime = "",
        n: int = 500,
        *,
        until: str | None = None,
        rng: Generator | None = None,
        explain: int = 0,
        on_unknown: str = "error",
    ) -> Iterator[Token]:
        """The tokens as they are drawn; their texts together are `n` characters, or end with `until`.

        The prime is read in pieces, so it may be of any length; characters that the model does not know are an
        error, or with `on_unknown` "skip" left out, with "replace" replaced as `Vocabulary.encode` has it. With
        no prime the model starts as after a newline, or after the first symbol where it knows none. `until` is
        looked for in what is written, across tokens, and is its end. Draws come from `rng`, or from the stream
        `sampling`. With `explain` each token lists so many candidates, the likeliest first.

        Raises, before anything is drawn, `DataError` for unknown characters, `ArgumentError` for a setting out
        of range; and `NonFiniteError` where the model's logits are none, `DataError` where it can read no more.
        """
        asked = Asked(n, until, explain)
        begin = self.prime(prime, on_unknown)
        return self._tokens(begin, asked, given_or(rng, "sampling"), True)

    def text(self, prime: str | Prime = "", n: int = 500, **settings: Any) -> Iterator[str]:
        """The text alone, in pieces as they become whole; settings are those of `tokens`."""
        asked = Asked(n, settings.pop("until", None), 0)
        rng = settings.pop("rng", None) or stream("sampling")
        begin = self.prime(prime, **settings)
        return (token.text for token in self._tokens(begin, asked, rng, False))

    def sample(self, prime: str | Prime = "", n: int = 500, **settings: Any) -> Sample:
        """One text with its log-probabilities; settings are those of `tokens`."""
        return self.samples(1, prime, n, **settings)[0]

    def samples(
        self,
        count: int,
        prime: str | Prime = "",
        n: int = 500,
        *,
        until: str | None = None,
        rng: Generator | None = None,
        explain: int = 0,
        on_unknown: str = "error",
        first: int = 0,
    ) -> list[Sample]:
        """`count` texts after the same prime, which is read once.

        Text i draws from a stream of its own and is computed by itself, so it is equal to the bit to
        `samples(1, first=i)`. Text 0 is the text of `sample`, and draws from `rng` itself.

        Raises as `tokens` does.
        """
        asked = Asked(n, until, explain)
        arguments.count("sample", "count", count, 1, "is no count")
        arguments.count("sample", "first", first, 0, "is no count")
        begin = self.prime(prime, on_unknown)
        streams = self.streams(given_or(rng, "sampling"), count, first)
        return [self._gathered(prime, asked, self._tokens(begin, asked, own, True)) for own in streams]

    @staticmethod
    def streams(rng: Generator, count: int, first: int = 0) -> list[Generator]:
        """The random streams of texts `first` and on: `rng` itself for text 0, one derived from it for the others.

        >>> [own.stream for own in Sampler.streams(Generator(7, "sampling"), 3)]
        ['sampling', 'sampling/0/1', 'sampling/0/2']
        """
        return [
            Generator(rng.seed, f"{rng.stream}/{rng.drawn}/{i}") if i else rng
            for i in range(first, first + count)
        ]

    def _gathered(self, prime: str | Prime, asked: Asked, tokens: Iterator[Token]) -> Sample:
        found = list(tokens)
        ids = tuple([t.id for t in found])
        text = "".join([t.text for t in found])
        size = self.vocabulary.measure(ids)
        ended = "until" if asked.until and text.endswith(asked.until) else "length"
        candidates = tuple([t.candidates for t in found]) if asked.explain else ()
        begun = prime if isinstance(prime, str) else self.vocabulary.decode(prime.ids) if prime.given else ""
        logs = tuple([t.log_prob for t in found])
        return Sample(begun, text, ids, logs, size.characters, size.utf8_bytes, ended, candidates)

    def prime(self, text: str | Prime = "", on_unknown: str = "error") -> Prime:
        """A prime made ready, to be read once and given to several calls.

        Raises `DataError` for characters that the model does not know, unless `on_unknown` says otherwise.
        """
        if isinstance(text, Prime):
            return text
        ids = self.vocabulary.encode(text, on_unknown)
        given = len(ids) > 0
        return Prime(self.stepper, ids if given else self.vocabulary.start(), given)

    def _tokens(self, prime: Prime, asked: Asked, rng: Generator, scored: bool) -> Iterator[Token]:
        how, vocabulary = self.how, self.vocabulary
        ids, given = prime.ids, prime.given
        seen = None
        if how.repetition_penalty != 1.0:
            seen = np.zeros(self.model.vocabulary_size, dtype=np.bool_)
            seen[ids if given else []] = True
        decoder, previous = vocabulary.decoder(), int(ids[-1]) if given else None
        plain = isinstance(decoder, PlainDecoder)
        read, tail = len(ids), ""
        left = asked.n
        allowed = first_allowed(vocabulary, previous)
        if left:
            self.require_room(read)
            logits, at = prime.begun
        while left > 0:
            p = weights(logits, how, seen, allowed)
            kept = truncated(p, how) if how.truncates else p
            i = drawn(kept, uniform(rng)) if how.temperature else int(kept.argmax())
            text = self._piece(i) if plain else decoder.feed(i)
            text = text[:left]
            left -= len(text)
            if asked.until:
                found = (tail + text).find(asked.until)
                if found >= 0:
                    text, left = text[: found + len(asked.until) - len(tail)], 0
                tail = (tail + text)[-(len(asked.until) - 1) :] if len(asked.until) > 1 else ""
            score = log_prob(logits, i) if scored else math.nan
            yield Token(i, text, score, self._candidates(asked.explain, logits, p, kept, i))
            if left > 0:
                read += 1
                self.require_room(read)
                logits, at = self.stepper.step(i, at)
                allowed = vocabulary.allowed(i, left=2)
                if seen is not None:
                    seen[i] = True

    def _piece(self, i: int) -> str:
        """The text of an id whose text is always the same."""
        text = self._pieces.get(i)
        if text is None:
            text = self._pieces[i] = self.vocabulary.decode([i])
        return text

    def require_room(self, read: int) -> None:
        """Raise DataError where the model cannot read so many symbols."""
        longest = self.model.longest
        if longest is not None and read > longest:
            what = "sample: the model can read no more symbols"
            rule = f"expected at most {longest:,}, of the prime and of what is written after it."
            raise DataError(what, None, rule, "Shorten the prime, or ask for fewer characters.")

    def _candidates(self, count: int, logits: Any, p: Any, kept: Any, chosen: int) -> tuple[Candidate, ...]:
        """The likeliest symbols as they are drawn from, and the chosen one in any case."""
        if not count:
            return ()
        learnt = weights(logits, _LEARNT)
        learnt, p, kept = learnt / learnt.sum(), p / p.sum(), kept / kept.sum()
        order = [int(i) for i in np.lexsort((-learnt, -p))[:count]]
        if chosen not in order:
            order[-1] = chosen
        return tuple(
            [Candidate(i, self._piece(i), float(learnt[i]), float(p[i]), float(kept[i])) for i in order]
        )


_LEARNT = DecodingConfig(temperature=1.0)


def one_size(model: NeuralModel, vocabulary: Tokenizer) -> None:
    """Raise ArgumentError where the vocabulary is not that of the model."""
    if len(vocabulary) != model.vocabulary_size:
        rule = (
            f"expected one of {model.vocabulary_size:,} symbols, as the model has, got {len(vocabulary):,}."
        )
        raise ArgumentError("sample: the vocabulary is not the model's", None, rule)


def first_allowed(vocabulary: Tokenizer, previous: int | None) -> npt.NDArray[np.bool_] | None:
    """Which ids may begin a text after a prime that ends with `previous`, bool(V,); None where all may.

    The prime stands as it was given: no final letter makes another syllable of its last one, unless what it ends
    with cannot stand alone.
    """
    allowed = vocabulary.allowed(previous, left=2)
    alone = vocabulary.allowed(None, left=2)
    if allowed is None or alone is None or not (allowed & alone).any():
        return allowed
    return allowed & alone


class Asked:
    """How much is asked for, checked: `n` characters, or up to `until`, with `explain` candidates a token."""

    def __init__(self, n: Any, until: Any, explained: Any):
        self.n = arguments.count("sample", "n", n, 0, "is no count")
        self.explain = arguments.count("sample", "explain", explained, 0, "is no count")
        if until is not None and (not isinstance(until, str) or not until):
            rule = "expected the text to end with, or None."
            raise ArgumentError("sample: until is no text", {"until": until}, rule)
        self.until = until


answer(globals())
