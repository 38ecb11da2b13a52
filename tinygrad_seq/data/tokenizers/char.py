"""The characters a model knows, and their numbers: the tokenizer `char`.

A saved model needs its vocabulary besides its weights, so a vocabulary can be saved to a file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.tokenizers.base import (
    Decoder,
    PlainDecoder,
    Tokenizer,
    checked_ids,
    checked_on_unknown,
    require_text,
)
from tinygrad_seq.data.unicode import composed
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import CheckpointError, DataError, explain, few
from tinygrad_seq.runtime.files import atomic_write_text
from tinygrad_seq.runtime.untrusted_files import LARGEST_TOKENIZER, read_file, reason_of

__all__ = ["Vocabulary"]

_FORMAT = "tinygrad_seq vocabulary"
_VERSION = 1
_REPLACEMENTS = "\ufffd? "
_ALL_CODES = 0x110000


@dataclass(frozen=True, repr=False)
class Vocabulary(Tokenizer):
    r"""The distinct characters of a text in the order of their code points; an id is a place in this order.

    `Vocabulary(text)` collects them; `symbols` holds them as one string. With `form` "NFC" a text is brought
    into this Unicode form before it is encoded, as `read_text` does with files.

    Raises `DataError` if the text is empty.

    >>> vocabulary = Vocabulary("hello\n")
    >>> vocabulary
    Vocabulary(5 symbols, '\n' to 'o')
    >>> vocabulary.encode("hole")
    array([2, 4, 3, 1])
    >>> vocabulary.decode([2, 4, 3, 1])
    'hole'
    """

    symbols: str
    form: str | None = field(default=None, compare=False)

    kind: ClassVar[str] = "char"

    def __post_init__(self) -> None:
        require_text("Vocabulary", self.symbols)
        if not self.symbols:
            raise DataError(
                "Vocabulary: the text is empty",
                expected="expected at least one character.",
                hint="Build the vocabulary from the text that the model is trained with.",
            )
        object.__setattr__(self, "symbols", "".join(sorted(set(self.symbols))))

    @classmethod
    def learn(cls, pieces: Iterable[str]) -> Vocabulary:
        """The characters of a text that comes in pieces, in form NFC, which `encode` then brings about.

        Raises `DataError` if there is no character.

        >>> Vocabulary.learn(["e", "\u0301t\u00e9"]).symbols
        't\u00e9'
        """
        return cls(distinct(composed(pieces)), form="NFC")

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        count = len(self)
        if count == 1:
            return f"Vocabulary(1 symbol, {self.symbols!r})"
        return f"Vocabulary({count:,} symbols, {self.symbols[0]!r} to {self.symbols[-1]!r})"

    def encode(self, text: str, on_unknown: str = "error") -> npt.NDArray[np.int64]:
        """Ids of the characters of a text, i64(T,).

        A character that is not in the vocabulary is an error; or with `on_unknown` "skip" it is left out, with
        "replace" it becomes the first of U+FFFD, `?` and space that the vocabulary holds.

        Raises `DataError` for unknown characters, which are listed, and where nothing can replace them.

        >>> Vocabulary("abc").encode("cab")
        array([2, 0, 1])
        >>> Vocabulary("abc").encode("cxab", on_unknown="skip")
        array([2, 0, 1])
        """
        return self.encode_piece(text, on_unknown, 0)

    def encode_piece(self, text: str, on_unknown: str, before: int) -> npt.NDArray[np.int64]:
        """Ids of a piece of a text that has so many characters before it."""
        require_text("encode", text)
        checked_on_unknown(on_unknown)
        text = unicodedata.normalize("NFC", text) if self.form == "NFC" else text
        codes = _code_points(text)
        # "clip" sends every code beyond the table to its last entry, which stands for "unknown".
        ids: npt.NDArray[np.int64] = self._table.take(codes, mode="clip")
        if ids.size and ids.min() < 0:
            if on_unknown == "error":
                raise DataError(self.refusal(text, before=before))
            return ids[ids >= 0] if on_unknown == "skip" else np.where(ids < 0, self._replacement(), ids)
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of ids, i64(T,).

        Raises `DataError` if an id is not of this vocabulary.

        >>> Vocabulary("abc").decode([2, 0, 1])
        'cab'
        """
        code_points: npt.NDArray[np.uint32] = self._codes[checked_ids(ids, self)]
        return code_points.tobytes().decode("utf-32-le", "surrogatepass")

    def decoder(self) -> Decoder:
        """What turns ids into text one by one."""
        return PlainDecoder(self)

    def content(self) -> Mapping[str, Any]:
        """The symbols as a list, and the form where there is one."""
        # A list, because in one string JSON would merge two neighbouring lone surrogates into one character.
        return {"symbols": list(self.symbols), **({"form": self.form} if self.form else {})}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the symbols in hexadecimal: it says which vocabulary some weights belong to."""
        return hashlib.sha256(self.symbols.encode("utf-8", "surrogatepass")).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary to one JSON file, whole or not at all.

        Raises `CheckpointError` if the file cannot be written.

        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Vocabulary("abc").save(Path(folder, "vocabulary.json"))
        ...     Vocabulary.load(Path(folder, "vocabulary.json"))
        Vocabulary(3 symbols, 'a' to 'c')
        """
        content = {"format": _FORMAT, "version": _VERSION, **self.content()}
        atomic_write_text(path, json.dumps(content) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Vocabulary that `save` wrote.

        Raises `CheckpointError` if the file is missing, damaged, or something else.
        """
        name = os.fspath(path)
        try:
            content = json.loads(read_file(path, LARGEST_TOKENIZER))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            what = "does not exist" if missing else f"cannot be read: {reason_of(error)}"
            raise CheckpointError(_not_loaded(name, what)) from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(_not_loaded(name, "is damaged: it is not JSON")) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise CheckpointError(_not_loaded(name, "is not a vocabulary"))
        if content.get("version") != _VERSION:
            what = f"has version {content.get('version')!r} of the format, not {_VERSION}"
            raise CheckpointError(_not_loaded(name, what))
        symbols, form = content.get("symbols"), content.get("form")
        if form not in (None, "NFC"):
            raise CheckpointError(_not_loaded(name, f"names an unknown Unicode form: {form!r}"))
        if not _are_symbols(symbols):
            raise CheckpointError(
                _not_loaded(name, "is damaged: its symbols are not sorted, distinct characters")
            )
        return cls("".join(symbols), form)

    @cached_property
    def _codes(self) -> npt.NDArray[np.uint32]:
        return _code_points(self.symbols)

    @cached_property
    def _table(self) -> npt.NDArray[np.int64]:
        """Id of every code point up to one beyond the last symbol, -1 where there is none."""
        table = np.full(int(self._codes[-1]) + 2, -1, dtype=np.int64)
        table[self._codes] = np.arange(len(self))
        return table

    def _replacement(self) -> int:
        for char in _REPLACEMENTS:
            if char in self.symbols:
                return self.symbols.index(char)
        raise DataError(
            "encode: the vocabulary holds nothing to replace unknown characters with",
            {"vocabulary": self.symbols},
            "expected one of U+FFFD, '?' and ' ' among the symbols.",
            "Skip them: on_unknown 'skip' (--on-unknown skip).",
        )

    def refusal(self, text: str, form: Literal["NFD"] | None = None, before: int = 0) -> str:
        """Why a text with unknown characters, `before` of it so many others, cannot be encoded; with `form`, each is
        looked at in this Unicode form, where it may be several symbols.
        """
        symbols = set(self.symbols)
        unknown = [
            one
            for one in dict.fromkeys(text)
            if not symbols.issuperset(unicodedata.normalize(form, one) if form else one)
        ]
        first = before + text.index(unknown[0])
        shown = few([repr(one) for one in unknown], 10)
        hint = (
            "Leave them out or replace them: on_unknown 'skip' or 'replace' (--on-unknown). "
            "Or train a model with a text that holds them."
        )
        if set(unicodedata.normalize("NFC", text)) <= set(self.symbols):
            hint = "The text is not in Unicode form NFC: unicodedata.normalize('NFC', text) makes it known."
        size = len(self)
        return explain(
            f"encode: the vocabulary does not hold {shown}",
            {"position of the first": first, "vocabulary": self.symbols},
            f"expected only the {size:,} symbol{'' if size == 1 else 's'} that the model knows.",
            hint,
        )


def distinct(pieces: Iterable[str]) -> str:
    """The distinct characters of a text that comes in pieces, in the order of their code points.

    >>> distinct(["hello", "world"])
    'dehlorw'
    """
    seen = np.zeros(_ALL_CODES, dtype=np.bool_)
    for piece in pieces:
        seen[_code_points(piece)] = True
    return np.flatnonzero(seen).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _are_symbols(symbols: object) -> TypeGuard[list[str]]:
    if not isinstance(symbols, list) or not symbols:
        return False
    if not all(isinstance(symbol, str) and len(symbol) == 1 for symbol in symbols):
        return False
    return all(a < b for a, b in itertools.pairwise(symbols))


def _not_loaded(name: str, what: str) -> str:
    return explain(
        f"load: {name!r} {what}",
        expected=f"expected a JSON file that Vocabulary.save wrote, version {_VERSION} of the format.",
        hint="Give the file that belongs to the model, or copy it anew from where the model was trained.",
    )


answer(globals(), "Vocabulary")
