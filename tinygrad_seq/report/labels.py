"""Tokens as a reader sees them: which characters each stands for, and a name that can be seen and told apart."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tinygrad_seq.data import Tokenizer

__all__ = ["Token", "label_of", "readable", "tokens_of"]

_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me")
_LETTERS = {"CHOSEONG": "LETTER", "JUNGSEONG": "LETTER", "JONGSEONG": "LETTER"}


@dataclass(frozen=True)
class Token:
    """A token of a text: it stands for the characters `first` to `last` - 1, or is a part of the one there.

    `kind` is "space", "break" (it ends a line), "part" (of a character), or "".
    """

    label: str
    first: int
    last: int
    kind: str


def readable(text: str) -> str:
    r"""A text in which each character can be seen.

    >>> readable("a b\n\u200b")
    'a␣b⏎U+200B'
    """
    return "".join(
        _SHOWN.get(c) or (f"U+{ord(c):04X}" if unicodedata.category(c) in _HIDDEN else c) for c in text
    )


def label_of(tokenizer: Tokenizer, i: int) -> str:
    """The name of an id that stands alone: a byte that is no character as 0xE2, a Korean letter as it is printed.

    >>> from tinygrad_seq.data import ByteTokenizer
    >>> label_of(ByteTokenizer(), 97), label_of(ByteTokenizer(), 0xE2)
    ('a', '0xE2')
    """
    text = tokenizer.decode([i])
    if "\ufffd" in text and tokenizer.kind == "byte":
        return f"0x{i:02X}"
    return readable("".join(_printed(c) for c in text))


def _printed(c: str) -> str:
    """A letter that Unicode has for composing syllables, as the one that stands alone."""
    words = unicodedata.name(c, "").split(" ")
    if words[0] != "HANGUL" or len(words) < 3 or words[1] not in _LETTERS:
        return c
    try:
        return unicodedata.lookup(" ".join(["HANGUL", "LETTER", *words[2:]]))
    except KeyError:
        return c


def tokens_of(tokenizer: Tokenizer, ids: npt.NDArray[Any]) -> tuple[str, list[Token]]:
    """The text of ids (T,), and the token of each.

    >>> from tinygrad_seq.data import JamoTokenizer
    >>> tokenizer = JamoTokenizer.learn(["한 글"])
    >>> text, tokens = tokens_of(tokenizer, tokenizer.encode("한 글"))
    >>> [(t.label, t.first, t.last, t.kind) for t in tokens[:4]]
    [('ㅎ', 0, 1, 'part'), ('ㅏ', 0, 1, 'part'), ('ㄴ', 0, 1, 'part'), ('␣', 1, 2, 'space')]
    """
    # A text that is cut in the middle of a character decodes to as many characters as it touches.
    ends = [len(tokenizer.decode(ids[: k + 1])) for k in range(len(ids))]
    text = tokenizer.decode(ids)
    spans = [(min(a, b - 1), b) for a, b in zip([0, *ends], ends, strict=False)]
    shares: dict[int, int] = {}
    for first, last in spans:
        for k in range(first, last):
            shares[k] = shares.get(k, 0) + 1
    tokens = []
    for i, (first, last) in zip(ids.tolist(), spans, strict=True):
        if any(shares[k] > 1 for k in range(first, last)):
            tokens.append(Token(_part(tokenizer, i, text[first:last]), first, last, "part"))
        else:
            own = text[first:last]
            kind = "break" if own.endswith("\n") else "space" if own == " " else ""
            tokens.append(Token(readable(own), first, last, kind))
    return text, tokens


def _part(tokenizer: Tokenizer, i: int, whole: str) -> str:
    name = label_of(tokenizer, i)
    return f"part of {readable(whole)}" if "\ufffd" in name else name
