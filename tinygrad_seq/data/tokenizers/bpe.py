"""The tokenizer `bpe:N`: byte pairs that are often together become one id (Sennrich et al., 2016; GPT-2, 2019).

The work is done by the `tokenizers` package, an extra; without it this file says what to install.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import is_whole
from tinygrad_seq.data.tokenizers.base import (
    BytesDecoder,
    Decoder,
    Ids,
    Tokenizer,
    checked_ids,
    checked_on_unknown,
    require_text,
    text_of_bytes,
)
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, CheckpointError, DataError

__all__ = ["BPETokenizer", "bpe_package"]

_SMALLEST = 256
_AT_ONCE = 1 << 16  # characters, because the package stores much beside each id
_LEARNT_FROM = 1 << 26  # characters: more change few of the merges and much of the time
_BREAKS = " \n\t"


class BPETokenizer(Tokenizer):
    """Byte-level BPE: every text can be encoded, frequent runs of bytes get an id of their own.

    Words are split as GPT-2 splits them, so no id goes across a space. `merges` is the JSON text that the
    `tokenizers` package writes.

    Raises `DataError` where that package is not installed, and `CheckpointError` where it cannot read `merges`.
    """

    kind: ClassVar[str] = "bpe"

    def __init__(self, merges: str):
        package = bpe_package()
        try:
            self._tokenizer = package.Tokenizer.from_str(merges)
        except Exception as error:  # the package raises nothing narrower
            what = f"load: the merges of this bpe tokenizer are damaged: {error}"
            hint = "Copy its file anew from where the model was trained."
            raise CheckpointError(what, None, "", hint) from error
        self._merges = merges

    @classmethod
    def learn(cls, pieces: Iterable[str], size: int) -> BPETokenizer:
        """The tokenizer of `size` ids for a text that comes in pieces, learnt from its first 67 million
        characters. Where the text has too few pairs that occur twice, there are fewer ids.

        Raises `ArgumentError` for a size below 256, one id for each byte, and `DataError` for an empty text.
        """
        if not is_whole(size) or size < _SMALLEST:
            rule = f"expected a whole number from {_SMALLEST} upwards, one id for each byte and more."
            raise ArgumentError("bpe: size out of range", {"size": size}, rule)
        package = bpe_package()
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = package.trainers.BpeTrainer(
            vocab_size=int(size),
            min_frequency=2,
            show_progress=False,
            special_tokens=[],
            initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
        )
        counted = _first(pieces, _LEARNT_FROM)
        head = list(itertools.islice(counted, 1))
        if not head:
            raise DataError("bpe: the text is empty", None, "expected at least one character.")
        tokenizer.train_from_iterator(itertools.chain(head, counted), trainer)
        return cls(tokenizer.to_str())

    @property
    def spec(self) -> str:
        """`bpe:512`."""
        return f"{self.kind}:{len(self)}"

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __repr__(self) -> str:
        return f"BPETokenizer({len(self):,} ids)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BPETokenizer) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def encode(self, text: str, on_unknown: str = "error") -> npt.NDArray[np.int64]:
        """Ids of a text, i64(T,); every text can be encoded, because each byte has an id."""
        require_text("encode", text)
        checked_on_unknown(on_unknown)
        # A lone surrogate has no UTF-8.
        text = text.encode("utf-8", "replace").decode() if _has_surrogates(text) else text
        ids = [np.zeros(0, dtype=np.int64)]
        for part in self._parts(text):
            ids.append(np.array(self._tokenizer.encode(part).ids, dtype=np.int64))
        return np.concatenate(ids)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of ids; what is no UTF-8 becomes U+FFFD.

        Raises `DataError` if an id is not of this tokenizer.
        """
        return "".join(self.decode_rows([np.asarray(ids)]))

    def decode_rows(self, rows: Iterable[Ids]) -> Iterator[str]:
        """Text of ids that come in pieces; a character may be cut in two between them."""
        return text_of_bytes(b"".join(map(self.pieces.__getitem__, checked_ids(row, self))) for row in rows)

    def decoder(self) -> Decoder:
        """What turns ids into text one by one: a character comes with its last byte."""
        return BytesDecoder(self, self.pieces)

    def cut(self, text: str) -> int:
        """The last place where a word ends and white space begins.

        Where there is none it is 0, or in a very long run a multiple of a fixed length, so that the ids do
        not depend on the size of the pieces.
        """
        for place in range(len(text) - 1, 0, -1):
            if text[place] in _BREAKS and not text[place - 1].isspace():
                return place
        return len(text) // _AT_ONCE * _AT_ONCE

    def content(self) -> Mapping[str, Any]:
        """What the package needs to make the tokenizer again."""
        return {"model": json.loads(self._merges)}

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of each id."""
        code = {char: byte for byte, char in enumerate(_byte_characters())}
        named: dict[str, int] = self._tokenizer.get_vocab()
        return [bytes(code[char] for char in name) for name in sorted(named, key=named.__getitem__)]

    def _parts(self, text: str) -> Iterator[str]:
        start = 0
        while start < len(text):
            end = start + _AT_ONCE
            if end < len(text):
                end = start + self.cut(text[start : end + 1])
            yield text[start:end]
            start = end


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in the package's files, as GPT-2 numbers them."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = (chr(number) for number in itertools.count(256))
    return [chr(byte) if byte in shown else next(hidden) for byte in range(256)]


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)


def _first(pieces: Iterable[str], most: int) -> Iterator[str]:
    """Pieces until they hold `most` characters in all."""
    for piece in filter(None, pieces):
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return


def bpe_package() -> ModuleType:
    """The module `tokenizers`.

    Raises `DataError` where it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(
            "bpe: this tokenizer needs the package 'tokenizers', which is not installed",
            expected="Install it with: pip install 'tinygrad_seq[bpe]'",
            hint="The tokenizers char, byte and jamo need nothing.",
        ) from error
    package: ModuleType = tokenizers
    return package


answer(globals(), "BPETokenizer")
