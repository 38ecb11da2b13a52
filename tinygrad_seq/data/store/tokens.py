"""A text as a row of ids for training, in memory or mapped from a file.

`Encoding` counts while it encodes, so that one pass over a text of any length gives its ids and its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.sources.corpus import HEAD, Corpus
from tinygrad_seq.data.tokenizers.base import Ids, TextSize, Tokenizer
from tinygrad_seq.data.tokenizers.registry import learn_tokenizer
from tinygrad_seq.data.unicode import composed
from tinygrad_seq.engine.foreign_keywords import answer

__all__ = ["Encoding", "Tokens", "smallest_dtype", "tokenize"]


@dataclass(frozen=True)
class Tokens:
    """The ids of a text, whole numbers (T,) of the smallest type that holds them, and what they came from.

    `size` counts tokens, characters and UTF-8 bytes; `sha256` is that of the text's UTF-8 in form NFC, as
    `Corpus` has it; `head` is the beginning of the text.

    >>> print(tokenize(Corpus("to be or not to be"), "byte"))
    18 characters, 18 tokens of 256 kinds
    """

    ids: Ids = field(repr=False)
    tokenizer: Tokenizer
    name: str
    sha256: str
    size: TextSize
    head: str = field(repr=False)

    @property
    def characters(self) -> int:
        """How many characters the text has."""
        return self.size.characters

    def __len__(self) -> int:
        return self.size.tokens

    def __str__(self) -> str:
        tokens, characters, _ = self.size
        s = "" if characters == 1 else "s"
        return f"{characters:,} character{s}, {tokens:,} tokens of {len(self.tokenizer):,} kinds"


def tokenize(
    corpus: Corpus | str, tokenizer: Tokenizer | str = "char", *, on_unknown: str = "error"
) -> Tokens:
    """The ids of a text in memory. `tokenizer` is a tokenizer, or the kind to learn from the text.

    Raises `DataError` for characters that the tokenizer does not know, unless `on_unknown` is "skip" or
    "replace", and what `learn_tokenizer` raises.

    >>> tokenize("hello").ids
    array([1, 0, 2, 2, 3], dtype=uint8)
    """
    corpus = Corpus(corpus) if isinstance(corpus, str) else corpus
    if isinstance(tokenizer, str):
        tokenizer = learn_tokenizer(tokenizer, corpus.text)
    encoding = Encoding(tokenizer, on_unknown)
    rows = list(encoding.rows([corpus.text]))
    ids = np.concatenate(rows) if rows else np.zeros(0, dtype=smallest_dtype(len(tokenizer)))
    return Tokens(ids, tokenizer, corpus.name, encoding.sha256, encoding.size, encoding.head)


class Encoding:
    """One pass of a text through a tokenizer: `rows` gives the ids; size and fingerprint are known after it
    has ended.
    """

    def __init__(self, tokenizer: Tokenizer, on_unknown: str = "error"):
        self.tokenizer, self.on_unknown = tokenizer, on_unknown
        self.dtype = smallest_dtype(len(tokenizer))
        self.head = ""
        self.tokens = self.characters = self.utf8_bytes = 0
        self._digest = hashlib.sha256()

    def rows(self, pieces: Iterable[str]) -> Iterator[Ids]:
        """The ids of a text that comes in pieces, in pieces: together those of the whole text.

        Raises `DataError` for unknown characters, where `on_unknown` says so.
        """
        held = ""
        for piece in composed(pieces):
            self._count(piece)
            held += piece
            cut = self.tokenizer.cut(held)
            if cut:
                yield self._encoded(held[:cut], self.characters - len(held))
                held = held[cut:]
        if held:
            yield self._encoded(held, self.characters - len(held))

    @property
    def size(self) -> TextSize:
        """The size of the text so far."""
        return TextSize(self.tokens, self.characters, self.utf8_bytes)

    @property
    def sha256(self) -> str:
        """The fingerprint of the text so far."""
        return self._digest.hexdigest()

    def _encoded(self, text: str, before: int) -> Ids:
        ids = self.tokenizer.encode_piece(text, self.on_unknown, before).astype(self.dtype)
        self.tokens += len(ids)
        return ids

    def _count(self, piece: str) -> None:
        data = piece.encode("utf-8", "surrogatepass")
        self._digest.update(data)
        self.characters += len(piece)
        self.utf8_bytes += len(data)
        if len(self.head) < HEAD:
            self.head += piece[: HEAD - len(self.head)]


def smallest_dtype(size: int) -> npt.DTypeLike:
    """The smallest unsigned type for ids from 0 to size - 1.

    >>> smallest_dtype(256), smallest_dtype(257)
    (dtype('uint8'), dtype('uint16'))
    """
    found: np.dtype[Any] = np.min_scalar_type(max(size - 1, 0))
    return found


answer(globals(), "tokenize")
