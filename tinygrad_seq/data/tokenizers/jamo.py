"""The tokenizer `jamo`: Korean letter by letter, so that any syllable can be written with 67 symbols."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.tokenizers.base import Ids, Tokenizer, require_text
from tinygrad_seq.data.tokenizers.char import Vocabulary, distinct
from tinygrad_seq.data.unicode import composed
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError

__all__ = ["JamoTokenizer"]

_MODERN = "".join(map(chr, [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]))
_OTHER, _LEAD, _VOWEL, _FINAL = range(4)
# Modern and old letters: Unicode, chapter 18.6 (Hangul), and Hangul_Syllable_Type.
_RANGES = [
    (0x1100, 0x115F, _LEAD),
    (0x1160, 0x11A7, _VOWEL),
    (0x11A8, 0x11FF, _FINAL),
    (0xA960, 0xA97C, _LEAD),
    (0xD7B0, 0xD7C6, _VOWEL),
    (0xD7CB, 0xD7FB, _FINAL),
]
# What may follow what: a row for the letter before, a column for the next one.
_MAY_FOLLOW = np.array(
    [
        # other, lead, vowel, final
        [True, True, False, False],  # other, or the beginning
        [False, False, True, False],  # lead
        [True, True, False, True],  # vowel
        [True, True, False, False],  # final
    ]
)


@dataclass(frozen=True)
class JamoTokenizer(Tokenizer):
    """Text in Unicode form NFD, where a Korean syllable is a lead, a vowel and perhaps a final letter.

        한 = ㅎ ㅏ ㄴ, as U+1112 U+1161 U+11AB

    Leads and finals are different code points, so nothing is ambiguous and `decode` (form NFC) gives the text
    back. Letters that stand alone, as in ㅋㅋ, are characters of their own. All 67 modern letters are always
    in the vocabulary, whatever the text it was learnt from.

    >>> tokenizer = JamoTokenizer.learn(["한글"])
    >>> len(tokenizer), tokenizer.decode(tokenizer.encode("닭이 값"[:2]))
    (67, '닭이')
    """

    vocabulary: Vocabulary

    kind: ClassVar[str] = "jamo"

    @classmethod
    def learn(cls, pieces: Iterable[str]) -> JamoTokenizer:
        """The tokenizer of a text that comes in pieces."""
        decomposed = (normalize("NFD", piece) for piece in pieces)
        return cls(Vocabulary(distinct(itertools.chain([_MODERN], decomposed))))

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str, on_unknown: str = "error") -> npt.NDArray[np.int64]:
        """Ids of the letters of a text, i64(T,); `on_unknown` as `Vocabulary.encode` has it.

        Raises `DataError` for unknown characters, which are listed as they are in form NFC and counted so.
        """
        return self.encode_piece(text, on_unknown, 0)

    def encode_piece(self, text: str, on_unknown: str, before: int) -> npt.NDArray[np.int64]:
        """Ids of a piece of a text that has so many characters, in form NFC, before it."""
        require_text("encode", text)
        letters = normalize("NFD", text)
        try:
            return self.vocabulary.encode(letters, on_unknown)
        except DataError:
            if on_unknown != "error":
                raise  # nothing can replace them
            raise DataError(self.vocabulary.refusal(normalize("NFC", text), "NFD", before)) from None

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of ids, composed: form NFC.

        Raises `DataError` if an id is not of this tokenizer.
        """
        return normalize("NFC", self.vocabulary.decode(ids))

    def allowed(self, previous: int | None, left: int = 1) -> npt.NDArray[np.bool_]:
        """Which ids may follow `previous` for all syllables to be well-formed, bool(V,).

        A lead needs a vowel after it, and a final needs a vowel before it. With `left` 1, the last id, no
        lead may come.

        >>> tokenizer = JamoTokenizer.learn(["가!"])
        >>> lead = int(tokenizer.encode("가")[0])
        >>> int(tokenizer.allowed(lead).sum()), int(tokenizer.allowed(None, left=2).sum())
        (21, 20)
        """
        before = _OTHER if previous is None else int(self._classes[previous])
        mask: npt.NDArray[np.bool_] = self._masks[before]
        # A vocabulary of letters only can continue after a final with a lead and nothing else.
        if left > 1 or not (mask & self._ends).any():
            return mask
        return mask & self._ends

    def continues(self, begun: Sequence[int], i: int) -> bool:
        """Whether a letter belongs to the syllable begun: a vowel after a lead, a final after both, old ones too.

        >>> tokenizer = JamoTokenizer.learn(["가"])
        >>> lead, vowel = tokenizer.encode("가")
        >>> tokenizer.continues([lead], vowel), tokenizer.continues([lead, vowel], lead)
        (True, False)
        """
        kinds = [int(self._classes[one]) for one in begun[-2:]]
        following = int(self._classes[i])
        if following in (_VOWEL, _FINAL):
            return kinds[-1:] == [_LEAD] if following == _VOWEL else kinds == [_LEAD, _VOWEL]
        return following == _OTHER and super().continues(begun, i)

    def ill_formed(self, ids: npt.ArrayLike) -> int:
        """How many ids of a row stand where no well-formed syllable has them, a lead at the end included.

        >>> tokenizer = JamoTokenizer.learn(["가"])
        >>> tokenizer.ill_formed(tokenizer.encode("가각")), tokenizer.ill_formed([0, 0, 20])
        (0, 1)
        """
        classes = self._classes[np.asarray(ids, dtype=np.int64)]
        if not classes.size:
            return 0
        before = np.concatenate([[_OTHER], classes[:-1]])
        return int((~_MAY_FOLLOW[before, classes]).sum()) + int(classes[-1] == _LEAD)

    def decode_rows(self, rows: Iterable[Ids]) -> Iterator[str]:
        """Text of letters that come in pieces; a syllable may be cut in two between them."""
        return composed(map(self.vocabulary.decode, rows))

    def content(self) -> Mapping[str, Any]:
        """The symbols as a list."""
        return self.vocabulary.content()

    @cached_property
    def _classes(self) -> npt.NDArray[np.int64]:
        codes = np.array(list(map(ord, self.vocabulary.symbols)))
        classes = np.full(len(codes), _OTHER)
        for first, last, kind in _RANGES:
            classes[(codes >= first) & (codes <= last)] = kind
        return classes

    @cached_property
    def _masks(self) -> npt.NDArray[np.bool_]:
        """Row by class of the letter before, bool(4, V)."""
        masks: npt.NDArray[np.bool_] = _MAY_FOLLOW[:, self._classes]
        return masks

    @cached_property
    def _ends(self) -> npt.NDArray[np.bool_]:
        """Which ids can stand at the end of a text, bool(V,)."""
        ends: npt.NDArray[np.bool_] = self._classes != _LEAD
        return ends


answer(globals(), "JamoTokenizer")
