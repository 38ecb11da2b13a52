"""The tokenizer `byte`: UTF-8, one id a byte. It can encode every text and learns nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

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

__all__ = ["ByteTokenizer"]


@dataclass(frozen=True)
class ByteTokenizer(Tokenizer):
    """The bytes of a text in UTF-8; an id is the byte itself, 0 to 255.

    >>> ByteTokenizer().encode("né")
    array([110, 195, 169])
    >>> ByteTokenizer().decode([110, 195, 169])
    'né'
    """

    kind: ClassVar[str] = "byte"

    def __len__(self) -> int:
        return 256

    def encode(self, text: str, on_unknown: str = "error") -> npt.NDArray[np.int64]:
        """The bytes of a text, i64(T,); none is unknown."""
        require_text("encode", text)
        checked_on_unknown(on_unknown)
        return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of a row of bytes; what is no UTF-8 becomes U+FFFD.

        Raises `DataError` for an id above 255 or below 0.
        """
        return "".join(self.decode_rows([np.asarray(ids)]))

    def decoder(self) -> Decoder:
        """What turns bytes into text one by one: a character comes with its last byte."""
        return BytesDecoder(self, [bytes([i]) for i in range(256)])

    def decode_rows(self, rows: Iterable[Ids]) -> Iterator[str]:
        """Text of bytes that come in pieces; a character may be cut in two between them."""
        return text_of_bytes(checked_ids(row, self).astype(np.uint8).tobytes() for row in rows)

    def content(self) -> Mapping[str, Any]:
        """Nothing: all byte tokenizers are the same."""
        return {}
