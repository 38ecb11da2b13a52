"""Visible names for symbols: control characters, bytes, Korean letters and all others."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tinygrad_seq.data.tokenizers.base import Tokenizer

__all__ = ["label_of", "placed_label_of", "readable", "text_of"]

_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me")
_LETTERS = ("CHOSEONG", "JUNGSEONG", "JONGSEONG")


def readable(text: str) -> str:
    r"""A text in which each character can be seen.

    >>> readable("a b\n\u200b")
    'a␣b⏎U+200B'
    """
    return "".join(
        _SHOWN.get(c) or (f"U+{ord(c):04X}" if unicodedata.category(c) in _HIDDEN else c) for c in text
    )


def label_of(tokenizer: Tokenizer, i: int) -> str:
    """The name of a single id: a byte that is no character as 0xE2, a Korean letter as it is printed.

    >>> from tinygrad_seq.data import ByteTokenizer
    >>> label_of(ByteTokenizer(), 97), label_of(ByteTokenizer(), 0xE2)
    ('a', '0xE2')
    """
    return readable(text_of(tokenizer, [i]))


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ids that are one character; a letter or bytes that are none yet by the names of `label_of`.

    >>> from tinygrad_seq.data import ByteTokenizer
    >>> text_of(ByteTokenizer(), [0xC2, 0xBD]), text_of(ByteTokenizer(), [0xE2, 0x80])
    ('½', '0xE2 0x80')
    """
    text = tokenizer.decode(ids)
    if "\ufffd" in text and tokenizer.kind == "byte":
        return " ".join(f"0x{i:02X}" for i in ids)
    return _printed(text) if len(text) == 1 else text


def placed_label_of(tokenizer: Tokenizer, i: int) -> str:
    """The same, but a Korean letter that begins a syllable as ㄴ- and one that ends it as -ㄴ.

    They are other symbols than each other and than ㄴ that stands alone, and a list may hold all three.

    >>> from tinygrad_seq.data import JamoTokenizer
    >>> tokenizer = JamoTokenizer.learn(["난"])
    >>> [placed_label_of(tokenizer, int(i)) for i in tokenizer.encode("난")]
    ['ㄴ-', 'ㅏ', '-ㄴ']
    """
    text, label = tokenizer.decode([i]), label_of(tokenizer, i)
    kind = _kind(text) if len(text) == 1 else ""
    return f"{label}-" if kind == "CHOSEONG" else f"-{label}" if kind == "JONGSEONG" else label


def _kind(c: str) -> str:
    """CHOSEONG, JUNGSEONG or JONGSEONG, which compose syllables, or nothing."""
    words = unicodedata.name(c, "").split(" ")
    return words[1] if words[0] == "HANGUL" and len(words) > 2 and words[1] in _LETTERS else ""


def _printed(c: str) -> str:
    """A letter that Unicode has for composing syllables, as the one that stands alone."""
    if not _kind(c):
        return c
    try:
        return unicodedata.lookup(" ".join(["HANGUL", "LETTER", *unicodedata.name(c).split(" ")[2:]]))
    except KeyError:
        return c
