"""Beam search: texts of high probability instead of random ones. Deterministic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.arguments import count, is_number
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.models.neural import log_softmax
from tinygrad_seq.sampling.sampler import Asked, Sampler, first_allowed
from tinygrad_seq.sampling.stepper import Position

__all__ = ["Beam", "beam_search"]


class Beam(NamedTuple):
    """A text that beam search found: its log P in nats under the model, and the score by which it is ranked."""

    text: str
    ids: tuple[int, ...]
    log_prob: float
    score: float
    ended: str


class _Path(NamedTuple):
    log_prob: float
    ids: tuple[int, ...]
    logits: Any
    at: Position


def beam_search(
    model: NeuralModel,
    vocabulary: Tokenizer,
    prime: str = "",
    width: int = 4,
    length: int = 50,
    *,
    length_penalty: float = 0.0,
    until: str | None = None,
    on_unknown: str = "error",
) -> list[Beam]:
    """The best texts of `length` tokens after `prime`, or that end with `until` before; at most `width`, best first.

        score = log P(ids | prime) / ((5 + tokens) / 6) ** length_penalty          (Wu et al., 2016)

    At each length the `width` likeliest of all continuations are kept; those that end with `until` are set
    aside and free their place. The search ends when `width` texts are set aside and no other can reach a
    better score, or when all are `length` long. With a width of at least V ** (length - 1) it is exhaustive.
    Of equal scores the one whose ids come first wins. 0.6 to 1 keep short texts from winning by being short.

    Raises as `Sampler.tokens` does, and `ArgumentError` for a width or a length below 1 or a penalty that is
    negative or no number.

    >>> from tinygrad_seq.data import Vocabulary
    >>> from tinygrad_seq.models import CharLM
    >>> from tinygrad_seq.engine.random import Generator
    >>> best = beam_search(CharLM(3, 8, rng=Generator(0)), Vocabulary("abc"), "ab", width=2, length=3)
    >>> len(best), len(best[0].text), best[0].log_prob >= best[1].log_prob
    (2, 3, True)
    """
    width = count("sample", "width", width, 1, "is no count")
    length = count("sample", "length", length, 1, "is no count")
    alpha = length_penalty
    if not is_number(alpha) or not 0 <= alpha < math.inf:
        rule = "expected a finite number from 0 upwards; 0 compares log-probabilities."
        what = "sample: length_penalty out of range"
        raise ArgumentError(what, {"length_penalty": alpha}, rule)
    sampler = Sampler(model, vocabulary)
    Asked(0, until, 0)
    begin = sampler.prime(prime, on_unknown)
    before = int(begin.ids[-1]) if begin.given else None
    sampler.require_room(len(begin.ids) + length - 1)
    paths, done = [_Path(0.0, (), *begin.begun)], []
    for made in range(1, length + 1):
        best = _continued(paths, vocabulary, before, width)
        paths = []
        for log_prob, path, i in best:
            ids = (*path.ids, i)
            text = vocabulary.decode(ids) if until or made == length else ""
            found = text.find(until) if until else -1
            if found < 0 and made < length:
                paths.append(_Path(log_prob, ids, *sampler.stepper.step(i, path.at)))
                continue
            text, ended = (text[: found + len(until or "")], "until") if found >= 0 else (text, "length")
            done.append(Beam(text, ids, log_prob, log_prob / _shortness(made, alpha), ended))
        done = sorted(done, key=lambda beam: (-beam.score, beam.ids))[:width]
        # A log-probability only falls, and the penalty is at its largest at full length.
        reach = max((p.log_prob for p in paths), default=-math.inf) / _shortness(length, alpha)
        if not paths or (len(done) == width and done[-1].score >= reach):
            break
    return done


def _shortness(tokens: int, alpha: float) -> float:
    return float(((5 + tokens) / 6) ** alpha)


def _continued(
    paths: list[_Path], vocabulary: Tokenizer, before: int | None, width: int
) -> list[tuple[float, _Path, int]]:
    """The likeliest continuations of all paths by one token, the best first."""
    found = []
    for path in paths:
        scores = log_softmax(path.logits)
        last = path.ids[-1] if path.ids else None
        allowed = first_allowed(vocabulary, before) if last is None else vocabulary.allowed(last, left=2)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        for i in np.argsort(-scores, kind="stable")[:width].tolist():
            if scores[i] > -np.inf:
                found.append((path.log_prob + float(scores[i]), path, i))
    found.sort(key=lambda one: (-one[0], one[1].ids, one[2]))
    return found[:width]


answer(globals(), "beam_search")
