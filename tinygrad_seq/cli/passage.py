"""The text that `tgs inspect` reads: given by the user, a passage of the run's validation part, or written by
the model.
"""

from __future__ import annotations

import argparse
import unicodedata
from dataclasses import dataclass

from tinygrad_seq.analysis.compare import own_parts, read_record
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import CheckpointError, DataError, first_line
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training import Run, sample

__all__ = ["Passage", "passage_of"]

_LARGEST = 64  # MB of a file
_WRITES = 240  # characters that the model writes for its own report
_LETTERS = 8  # tokens after a cut in which the character that it goes through ends
_BEGINNING = 1000  # tokens in which a passage looks for the end of a line to begin after


@dataclass(frozen=True)
class Passage:
    """A text, its ids (T,), and where it is from, in words; nothing where it was given."""

    text: str
    ids: Array
    source: str = ""


def passage_of(args: argparse.Namespace, trained: Run, most: int) -> Passage:
    """The text of --text or --file, in full; otherwise at most `most` tokens, always the same; charts show
    one window.

    Raises DataError for a text given that the model does not know, or that is too short to have a gradient.
    """
    tokenizer = trained.vocabulary
    given = _given(args, trained)
    if given is not None:
        if args.gradients and len(given) < 3:
            rule = "expected at least 3 characters."
            raise DataError("inspect: the text is too short", {"text": given}, rule)
        # Of a long text no more is encoded than can be looked at.
        return Passage(given, tokenizer.encode(given[:most] if args.gradients else given))
    if args.gradients:
        most = min(most, getattr(trained.model, "block", None) or most)
    try:
        return _own(args.run, tokenizer, most, args.data)
    except (DataError, CheckpointError) as error:
        if args.data:
            raise  # a text that was named is never replaced by another
        why = first_line(error)
    text = _written(trained, most)
    return Passage(text, tokenizer.encode(text), f"written by the model itself, for {why}")


def _own(run: str, tokenizer: Tokenizer, most: int, data: list[str] | None) -> Passage:
    """The beginning of the validation part, which the model has not learnt, from a whole line or word on."""
    record = read_record(run)
    part = own_parts(record, tokenizer, data).parts.get("validation")
    if part is None or len(part) < 3:
        what = f"{record.name}: the validation part of its text is too short"
        raise DataError(what, None, "expected 3 tokens or more.")
    # At least a quarter of a short part is left to read.
    start = _begins(tokenizer, part[: max(min(_BEGINNING, len(part) - most), len(part) // 4)])
    ids = part[start : start + most]
    # The cut must not go through a character: a syllable without its last letter is another one.
    beyond = part[start : start + most + _LETTERS]
    ends = [last for _, last in tokenizer.spans(beyond) if 3 <= last <= most]
    ids = ids[: ends[-1]] if ends else ids
    while len(ids) > 3 and tokenizer.decode(ids).endswith("\ufffd"):
        ids = ids[:-1]
    text = tokenizer.decode(ids)
    before = len(tokenizer.decode(part[:start]))
    place = f"characters {before + 1:,} to {before + len(text):,}"
    return Passage(text, ids, f"from the validation part of the run's own text, {place}")


def _begins(tokenizer: Tokenizer, ids: Array) -> int:
    """The first place after the end of a line, or else of a word, or else 0."""
    ends = [tokenizer.decode([i])[-1:] for i in ids.tolist()]
    return next((ends.index(c) + 1 for c in ("\n", " ") if c in ends), 0)


def _given(args: argparse.Namespace, trained: Run) -> str | None:
    """The text of --text or --file, composed as a corpus is, without what --on-unknown wants to be rid of."""
    text: str | None = args.text
    if args.file is not None:
        from tinygrad_seq.data import read_text

        text = read_text(args.file, max_size=_LARGEST).text
    if text is None:
        return None
    text = unicodedata.normalize("NFC", text)
    if args.on_unknown != "error":
        text = trained.vocabulary.decode(trained.vocabulary.encode(text, args.on_unknown))
    return text


def _written(trained: Run, most: int) -> str:
    """What the model writes, always the same, no longer than it sees at once and at most so many tokens."""
    text = sample(trained.model, trained.vocabulary, "", min(_WRITES, most), 0.8, Generator(0, "inspect"))
    while len(text) > 2 and len(trained.vocabulary.encode(text)) > most:
        text = text[:-1]
    return text
