"""Labels for tokens: which characters each stands for, and a visible name for spaces, line ends and parts of
characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tinygrad_seq.data import Tokenizer
from tinygrad_seq.data.symbols import label_of, placed_label_of, readable

__all__ = ["Token", "label_of", "placed_label_of", "readable", "tokens_of"]


@dataclass(frozen=True)
class Token:
    """A token of a text: it stands for the characters `first` to `last` - 1, or is a part of the one there.

    `kind` is "space", "break" (it ends a line), "part" (of a character), or "".
    """

    label: str
    first: int
    last: int
    kind: str


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
            label = label_of(tokenizer, i) if len(own) == 1 else readable(own)
            tokens.append(Token(label, first, last, kind))
    return text, tokens


def _part(tokenizer: Tokenizer, i: int, whole: str) -> str:
    name = label_of(tokenizer, i)
    return f"part of {readable(whole)}" if "\ufffd" in name else name
