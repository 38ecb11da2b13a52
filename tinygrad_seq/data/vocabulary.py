"""The characters a model knows, and their numbers.

A vocabulary is what a saved model needs besides its weights, so it can also write itself to a file.
"""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError, DataError, DTypeError, ShapeError, explain
from ..files import atomic_write_text

__all__ = ["Vocabulary"]

_FORMAT = "tinygrad_seq vocabulary"
_VERSION = 1


@dataclass(frozen=True, repr=False)
class Vocabulary:
    r"""The distinct characters of a text in the order of their code points; an id is a place in this order.

    `Vocabulary(text)` collects them; `symbols` holds them as one string.

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

    def __post_init__(self) -> None:
        _require_text("Vocabulary", self.symbols)
        if not self.symbols:
            raise DataError(
                explain(
                    "Vocabulary: the text is empty",
                    rule="expected at least one character.",
                    way_out="Build the vocabulary from the text that the model is trained with.",
                )
            )
        object.__setattr__(self, "symbols", "".join(sorted(set(self.symbols))))

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        count = len(self)
        if count == 1:
            return f"Vocabulary(1 symbol, {self.symbols!r})"
        return f"Vocabulary({count:,} symbols, {self.symbols[0]!r} to {self.symbols[-1]!r})"

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Ids of the characters of a text, i64(len(text),).

        Raises `DataError` if the text holds a character that is not in the vocabulary.

        >>> Vocabulary("abc").encode("cab")
        array([2, 0, 1])
        """
        _require_text("encode", text)
        codes = _code_points(text)
        # "clip" sends every code beyond the table to its last entry, which stands for "unknown".
        ids: npt.NDArray[np.int64] = self._table.take(codes, mode="clip")
        if ids.size and ids.min() < 0:
            raise DataError(self._unknown(text, codes[ids < 0], int(np.argmin(ids))))
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of ids, i64(T,).

        Raises `DataError` if an id is not of this vocabulary.

        >>> Vocabulary("abc").decode([2, 0, 1])
        'cab'
        """
        array = np.asarray(ids)
        if array.ndim != 1:
            raise ShapeError(
                explain(
                    "decode: this is not one row of ids",
                    {"ids": array},
                    f"expected one axis, got {array.ndim}.",
                    "Of a batch (T, B), decode one column at a time: ids[:, 0].",
                )
            )
        if array.size == 0:
            return ""
        if array.dtype.kind not in "iu":
            raise DTypeError(explain("decode: ids are whole numbers", {"ids": array}, "expected integers."))
        wrong = (array < 0) | (array >= len(self))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DataError(
                explain(
                    f"decode: the vocabulary has no id {int(array[at])}",
                    {"ids": array, "position of the first": at, "vocabulary": self},
                    f"expected ids from 0 to {len(self) - 1:,}.",
                    "Do the ids come from a model with another vocabulary?",
                )
            )
        code_points: npt.NDArray[np.uint32] = self._codes[array]
        return code_points.tobytes().decode("utf-32-le", "surrogatepass")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary to one JSON file, whole or not at all.

        Raises `CheckpointError` if the file cannot be written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Vocabulary("abc").save(Path(folder, "vocabulary.json"))
        ...     Vocabulary.load(Path(folder, "vocabulary.json"))
        Vocabulary(3 symbols, 'a' to 'c')
        """
        # A list, because in one string JSON would merge two neighbouring lone surrogates into one character.
        content = {"format": _FORMAT, "version": _VERSION, "symbols": list(self.symbols)}
        atomic_write_text(path, json.dumps(content) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Vocabulary that `save` wrote.

        Raises `CheckpointError` if the file is missing, damaged, or something else.
        """
        name = os.fspath(path)
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            what = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
            raise CheckpointError(_not_loaded(name, what)) from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(_not_loaded(name, "is damaged: it is not JSON")) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise CheckpointError(_not_loaded(name, "is not a vocabulary"))
        if content.get("version") != _VERSION:
            what = f"has version {content.get('version')!r} of the format, not {_VERSION}"
            raise CheckpointError(_not_loaded(name, what))
        symbols = content.get("symbols")
        if not _are_symbols(symbols):
            raise CheckpointError(
                _not_loaded(name, "is damaged: its symbols are not sorted, distinct characters")
            )
        return cls("".join(symbols))

    @cached_property
    def _codes(self) -> npt.NDArray[np.uint32]:
        return _code_points(self.symbols)

    @cached_property
    def _table(self) -> npt.NDArray[np.int64]:
        """Id of every code point up to one beyond the last symbol, -1 where there is none."""
        table = np.full(int(self._codes[-1]) + 2, -1, dtype=np.int64)
        table[self._codes] = np.arange(len(self))
        return table

    def _unknown(self, text: str, codes: npt.NDArray[np.uint32], first: int) -> str:
        found, places = np.unique(codes, return_index=True)
        unknown = [chr(code) for code in found[np.argsort(places)]]
        shown = ", ".join(map(repr, unknown[:10]))
        others = f" and {len(unknown) - 10:,} more" if len(unknown) > 10 else ""
        way_out = "Leave them out, or train a model with a text that holds them."
        if set(unicodedata.normalize("NFC", text)) <= set(self.symbols):
            way_out = (
                "The text is not in Unicode form NFC: unicodedata.normalize('NFC', text) makes it known."
            )
        size = len(self)
        return explain(
            f"encode: the vocabulary does not hold {shown}{others}",
            {"position of the first": first, "vocabulary": self.symbols},
            f"expected only the {size:,} symbol{'' if size == 1 else 's'} that the model knows.",
            way_out,
        )


def _require_text(caller: str, text: object) -> None:
    if not isinstance(text, str):
        raise DTypeError(explain(f"{caller}: this is not text", {"text": text}, "expected a str."))


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
        rule=f"expected a JSON file that Vocabulary.save wrote, version {_VERSION} of the format.",
        way_out="Give the file that belongs to the model, or copy it anew from where the model was trained.",
    )
