"""The base class of tokenizers: text to ids and back, and a fingerprint that tells which weights belong to it."""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.mapped import let_go
from tinygrad_seq.data.nearest import nearest
from tinygrad_seq.data.unicode import stands_alone
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError, ShapeError
from tinygrad_seq.runtime.files import atomic_write_text

__all__ = ["ON_UNKNOWN", "Decoder", "Rates", "TextSize", "Tokenizer", "checked_ids", "rates"]

ON_UNKNOWN = ("error", "skip", "replace")
FORMAT, VERSION = "tinygrad_seq tokenizer", 1

Ids = npt.NDArray[np.integer[Any]]
_PIECE = 1 << 16  # ids
_HELD = 64  # pieces of mapped ids that are kept in memory at most


class TextSize(NamedTuple):
    """How long a text is: tokens, characters (code points in form NFC), bytes of its UTF-8."""

    tokens: int
    characters: int
    utf8_bytes: int


class Rates(NamedTuple):
    """One loss in three units; bits per character and per byte compare across tokenizers."""

    nats_per_token: float
    bits_per_character: float
    bits_per_byte: float


def rates(nats_per_token: float, size: TextSize) -> Rates:
    """A mean loss over the tokens of a text, also for each of its characters and each of its UTF-8 bytes.

        bits per character = nats per token / ln 2 * tokens / characters

    >>> rates(math.log(2), TextSize(tokens=30, characters=10, utf8_bytes=30)).bits_per_character
    3.0
    """
    bits = nats_per_token / math.log(2) * size.tokens
    return Rates(nats_per_token, bits / max(size.characters, 1), bits / max(size.utf8_bytes, 1))


class Tokenizer(ABC):
    """Text to ids 0 .. len - 1 and back. `kind` is the name by which a tokenizer is chosen.

    Law: `decode(encode(text))` is the text, in form NFC for the kinds that compose it.
    """

    kind: ClassVar[str]

    @property
    def spec(self) -> str:
        """The name that gives this tokenizer in settings: `char`, `byte`, `jamo`, `bpe:512`."""
        return self.kind

    @abstractmethod
    def __len__(self) -> int:
        """The number of ids."""

    @abstractmethod
    def encode(self, text: str, on_unknown: str = "error") -> npt.NDArray[np.int64]:
        """Ids of a text, i64(T,)."""

    def encode_piece(self, text: str, on_unknown: str, before: int) -> npt.NDArray[np.int64]:
        """Ids of a piece of a text that has so many characters before it: positions in errors count those too."""
        return self.encode(text, on_unknown)

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of ids, i64(T,)."""

    @abstractmethod
    def content(self) -> Mapping[str, Any]:
        """The content of this tokenizer's file, as values that JSON can hold."""

    def decoder(self) -> Decoder:
        """What turns ids into text one by one."""
        return Decoder(self)

    def cut(self, text: str) -> int:
        """The last place where a text can be cut so that both parts are encoded as the whole is."""
        return len(text)

    def decode_rows(self, rows: Iterable[Ids]) -> Iterator[str]:
        """Text of a row of ids that comes in pieces, in pieces: together what `decode` gives of the whole."""
        return map(self.decode, rows)

    def allowed(self, previous: int | None, left: int = 1) -> npt.NDArray[np.bool_] | None:
        """Which ids may follow `previous`, bool(V,), with `left` more to come, this one included.

        None where every id may follow every other.
        """
        return None

    def spans(self, ids: npt.ArrayLike) -> list[tuple[int, int]]:
        """The ids of each visible character: (first, last + 1) pairs, without a gap.

        >>> from tinygrad_seq.data import JamoTokenizer
        >>> tokenizer = JamoTokenizer.learn(["한 가"])
        >>> tokenizer.spans(tokenizer.encode("한 가"))
        [(0, 3), (3, 4), (4, 6)]
        """
        row = [int(i) for i in checked_ids(ids, self)]
        found, first = [], 0
        for at in range(1, len(row) + 1):
            if at == len(row) or not self.continues(row[first:at], row[at]):
                found.append((first, at))
                first = at
        return found

    def continues(self, begun: Sequence[int], i: int) -> bool:
        """Whether an id continues the character that the ids `begun` have started."""
        return self.decode([*begun, i]) != self.decode(begun) + self.decode([i])

    def knows(self, text: str) -> bool:
        """Whether a text can be encoded."""
        try:
            self.encode(text)
        except DataError:
            return False
        return True

    def start(self) -> npt.NDArray[np.int64]:
        """The ids that a sample without a prime begins after: of a newline, or 0 where that is unknown."""
        return self.encode("\n") if self.knows("\n") else np.zeros(1, dtype=np.int64)

    def measure(self, ids: npt.ArrayLike) -> TextSize:
        """How many tokens, characters and UTF-8 bytes a row of ids holds.

        >>> from tinygrad_seq.data import ByteTokenizer
        >>> ByteTokenizer().measure(ByteTokenizer().encode("é!"))
        TextSize(tokens=3, characters=2, utf8_bytes=3)
        """
        row = np.asarray(ids)
        characters = utf8_bytes = 0
        pieces = (row[at : at + _PIECE] for at in range(0, len(row), _PIECE))
        for n, text in enumerate(self.decode_rows(pieces)):
            characters += len(text)
            utf8_bytes += len(text.encode("utf-8", "surrogatepass"))
            if n % _HELD == 0:
                let_go(row)
        return TextSize(len(row), characters, utf8_bytes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal: it says which tokenizer some weights belong to."""
        text = json.dumps({"kind": self.kind, **self.content()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer to one JSON file, whole or not at all; `load_tokenizer` reads it.

        Raises `CheckpointError` if the file cannot be written.
        """
        content = {"format": FORMAT, "version": VERSION, "kind": self.kind, **self.content()}
        atomic_write_text(path, json.dumps({**content, "fingerprint": self.fingerprint}) + "\n")


class Decoder:
    """Ids to text one by one, in form NFC: a character comes when it is complete.

    >>> from tinygrad_seq.data import JamoTokenizer
    >>> tokenizer = JamoTokenizer.learn(["한글!"])
    >>> decoder = tokenizer.decoder()
    >>> [decoder.feed(int(i)) for i in tokenizer.encode("한글!")], decoder.finish()
    (['', '', '', '한', '', '', '글'], '!')
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.held = tokenizer, ""

    def feed(self, i: int) -> str:
        """The text that id `i` completes: often one character, sometimes none."""
        return self._take(self._text(i))

    def finish(self) -> str:
        """The rest."""
        rest, self.held = normalize("NFC", self.held), ""
        return rest

    def _text(self, i: int) -> str:
        return self.tokenizer.decode([i])

    def _take(self, text: str) -> str:
        done = []
        for char in text:
            if self.held and stands_alone(self.held, char):
                done.append(normalize("NFC", self.held))
                self.held = ""
            self.held += char
        return "".join(done)


class PlainDecoder(Decoder):
    """Ids to text one by one, each as it is: for tokenizers whose ids are whole characters."""

    def feed(self, i: int) -> str:
        """The character of an id."""
        return self._text(i)


class BytesDecoder(Decoder):
    """Ids to text one by one, where `pieces[i]` is the UTF-8 of an id; bad bytes become U+FFFD."""

    def __init__(self, tokenizer: Tokenizer, pieces: Sequence[bytes]):
        super().__init__(tokenizer)
        self.pieces = pieces
        self.bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, i: int) -> str:
        """The characters that this id completes."""
        return self.bytes.decode(self.pieces[i])

    def finish(self) -> str:
        """The rest, U+FFFD where a character was begun."""
        return self.bytes.decode(b"", True)


def text_of_bytes(pieces: Iterable[bytes]) -> Iterator[str]:
    """Text of UTF-8 that comes in pieces; bad bytes become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", True)


def checked_ids(ids: npt.ArrayLike, owner: Tokenizer) -> Ids:
    """A row of ids that are all of `owner`.

    Raises `ShapeError` for another number of axes, `DTypeError` for numbers that are not whole, and
    `DataError` for an id outside 0 .. len - 1.
    """
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ShapeError(
            "decode: this is not one row of ids",
            {"ids": array},
            f"expected one axis, got {array.ndim}.",
            "Of a batch (T, B), decode one column at a time: ids[:, 0].",
        )
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise DTypeError("decode: ids are whole numbers", {"ids": array}, "expected integers.")
    wrong = (array < 0) | (array >= len(owner))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"decode: the vocabulary has no id {int(array[at])}",
            {"ids": array, "position of the first": at, "vocabulary": owner},
            f"expected ids from 0 to {len(owner) - 1:,}.",
            "Do the ids come from a model with another vocabulary?",
        )
    return array


def checked_on_unknown(on_unknown: str) -> None:
    """Raise `ArgumentError` for anything but "error", "skip" and "replace"."""
    if on_unknown not in ON_UNKNOWN:
        rule = f"expected one of {', '.join(ON_UNKNOWN)}."
        hint = nearest(str(on_unknown), list(ON_UNKNOWN)).strip()
        raise ArgumentError("encode: on_unknown out of range", {"on_unknown": on_unknown}, rule, hint)


def require_text(caller: str, text: object) -> None:
    """Raise `DTypeError` for anything but a str."""
    if not isinstance(text, str):
        raise DTypeError(f"{caller}: this is not text", {"text": text}, "expected a str.")


answer(globals(), "rates")
