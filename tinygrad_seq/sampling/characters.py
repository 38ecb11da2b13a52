"""A sample character by character, where one is written with several tokens: letters of a syllable, bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygrad_seq.data import Tokenizer
from tinygrad_seq.data.symbols import text_of
from tinygrad_seq.sampling.sampler import Candidate, Sample

__all__ = ["Character", "characters_of"]


@dataclass(frozen=True)
class Character:
    """One visible character of a sample, its tokens, and the log-probability of each of them.

    `text` is the composed character; an incomplete letter or byte has its visible name. `written` is False
    for tokens that were drawn but are not in the text, such as the first letter of a syllable after its end.
    """

    text: str
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    candidates: tuple[tuple[Candidate, ...], ...]
    written: bool

    @property
    def log_prob(self) -> float:
        """log P of all its tokens together, in nats: the sum over the tokens, each given those before it."""
        return math.fsum(self.log_probs)


def characters_of(sample: Sample, tokenizer: Tokenizer) -> list[Character]:
    """The characters of a sample, in order; their log-probabilities add up to that of the sample.

    >>> from tinygrad_seq.data import JamoTokenizer
    >>> tokenizer = JamoTokenizer.learn(["한 "])
    >>> ids = tuple(int(i) for i in tokenizer.encode("한 "))
    >>> sample = Sample("", "한 ", ids, (-1.0, -0.5, -0.25, -2.0), 2, 4, "length")
    >>> [(one.text, one.log_prob) for one in characters_of(sample, tokenizer)]
    [('한', -1.75), (' ', -2.0)]
    """
    found, end = [], 0
    for first, last in tokenizer.spans(sample.ids):
        ids = sample.ids[first:last]
        end += len(tokenizer.decode(ids))
        costs, others = sample.log_probs[first:last], sample.candidates[first:last]
        found.append(Character(text_of(tokenizer, ids), ids, costs, others, end <= len(sample.text)))
    return found
