r"""Bytes to text, piece by piece: encodings, byte order marks, `\r\n`, and what to do about bad bytes.

The size of the pieces does not change the text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tinygrad_seq.arguments import is_whole
from tinygrad_seq.data.nearest import nearest, shorten
from tinygrad_seq.data.sources.unpack import explained
from tinygrad_seq.errors import ArgumentError, DataError, explain

__all__ = ["BAD_BYTES", "CHUNK", "Decoding", "decoded"]

CHUNK = 1 << 20
"""Bytes that are read at a time."""
BAD_BYTES = {"error": "strict", "replace": "replace", "skip": "ignore"}

_UTF16_OR_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BINARY_IF_NUL_WITHIN = 8192  # bytes
_GUESSED_FROM = 1 << 16  # bytes


@dataclass(frozen=True)
class Decoding:
    """How bytes become text: an encoding by Python's name, and what to do about bytes that it cannot decode.

    `bad_bytes` is "error", "replace" (each becomes U+FFFD) or "skip". A text that is kept `as_it_is` was written
    by this package: no mark or line end is changed in it, and lone surrogates come back. `max_size` bounds the
    megabytes that each source may come to; None is what `unpacked` says.

    Raises `ArgumentError` for an encoding that Python does not know and for any other word.

    >>> Decoding("EUC-KR").encoding
    'euc_kr'
    """

    encoding: str = "utf-8"
    bad_bytes: str = "error"
    as_it_is: bool = False
    max_size: int | None = None

    def __post_init__(self) -> None:
        if self.bad_bytes not in BAD_BYTES:
            rule = f"expected one of {', '.join(BAD_BYTES)}."
            hint = nearest(str(self.bad_bytes), list(BAD_BYTES)).strip()
            raise ArgumentError(
                "read_text: bad_bytes out of range", {"bad_bytes": self.bad_bytes}, rule, hint
            )
        size = self.max_size
        if size is not None and (not is_whole(size) or size < 1):
            rule = "expected a whole number of megabytes, 1 at least."
            raise ArgumentError("read_text: max_size out of range", {"max_size": size}, rule)
        try:
            found = codecs.lookup(self.encoding)
            if not isinstance(codecs.decode(b"", self.encoding), str):
                raise LookupError
        except (LookupError, TypeError, ValueError) as error:
            rule = "expected a name such as utf-8, cp949, euc-kr, cp1252, latin-1, shift-jis or utf-16."
            raise ArgumentError(
                "read_text: there is no such encoding", {"encoding": self.encoding}, rule
            ) from error
        object.__setattr__(self, "encoding", found.name)

    @property
    def most(self) -> int | None:
        """`max_size` in bytes."""
        return None if self.max_size is None else self.max_size * 1_000_000

    @property
    def errors(self) -> str:
        """`bad_bytes` as the `errors` argument of Python's decoders."""
        return "surrogatepass" if self.as_it_is else BAD_BYTES[self.bad_bytes]

    @property
    def is_utf8(self) -> bool:
        """Whether the encoding is UTF-8."""
        return self.encoding in ("utf-8", "utf-8-sig")


UTF8 = Decoding()


def decoded(file: BinaryIO, name: str, how: Decoding = UTF8, chunk: int = CHUNK) -> Iterator[str]:
    r"""Text of a binary file in pieces, without byte order mark and with `\r\n` as `\n`.

    `chunk` bytes are read at a time; `name` is for errors.

    Raises `DataError` for bytes that are not of the encoding (with offset and line), for UTF-16 taken for
    UTF-8, and for a file that looks binary.

    >>> import io
    >>> "".join(decoded(io.BytesIO(b"\xef\xbb\xbfone\r\ntwo"), "a.txt", chunk=1))
    'one\ntwo'
    """
    decoder = codecs.getincrementaldecoder(how.encoding)(how.errors)
    offset, lines, held, at_start = 0, 0, "", True
    # The first piece is as long as the search for zero bytes, however small the others are.
    data = _read(file, name, max(chunk, _BINARY_IF_NUL_WITHIN))
    if not how.as_it_is:
        _require_text(data, name, how)
    while True:
        waiting = decoder.getstate()[0]
        last = not data
        try:
            text = held + decoder.decode(data, last)
        except UnicodeDecodeError as error:
            begin = offset - len(waiting)
            raise DataError(_undecodable(error, begin, lines, name, how)) from error
        offset += len(data)
        lines += data.count(b"\n")
        if not how.as_it_is:
            if at_start and text:
                text, at_start = text.removeprefix("\ufeff"), False
            held = "\r" if text.endswith("\r") and not last else ""
            text = text.removesuffix(held).replace("\r\n", "\n")
        if text:
            yield text
        if last:
            return
        data = _read(file, name, chunk)


def _read(file: BinaryIO, name: str, count: int) -> bytes:
    with explained(name):
        return file.read(count)


def _require_text(data: bytes, name: str, how: Decoding) -> None:
    if how.is_utf8 and data.startswith(_UTF16_OR_32_MARKS):
        raise DataError(
            f"read_text: {shorten(name)} is not UTF-8 but looks like UTF-16 or UTF-32",
            {"first bytes": data[:4]},
            "expected UTF-8 text.",
            "Save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8. Or name its encoding: --encoding utf-16.",
        )
    nul = data.find(b"\0", 0, _BINARY_IF_NUL_WITHIN)
    unmarked = _utf16_without_mark(data[:_GUESSED_FROM]) if nul >= 0 and how.is_utf8 else ""
    if unmarked:
        raise DataError(
            f"read_text: {shorten(name)} is not UTF-8 but reads as UTF-16 without a mark",
            {"first bytes": data[:4]},
            "expected UTF-8 text.",
            f"Name its encoding: --encoding {unmarked}. Or convert it: iconv -f {unmarked} -t utf-8.",
        )
    if nul >= 0 and not how.encoding.startswith(("utf-16", "utf-32")):
        raise DataError(
            f"read_text: {shorten(name)} looks binary",
            {"first zero byte at offset": nul},
            f"expected UTF-8 text, which has no zero byte among the first {_BINARY_IF_NUL_WITHIN:,}.",
            "Unpack it or convert it to text first.",
        )


def _undecodable(error: UnicodeDecodeError, begin: int, lines: int, name: str, how: Decoding) -> str:
    """What is wrong with the bytes, which begin at offset `begin` of the file, after `lines` newlines."""
    data, at = error.object, error.start
    shown = "UTF-8" if how.is_utf8 else how.encoding
    guess = _guessed(data) if how.is_utf8 else ""
    hint = "Save it as UTF-8, or convert it; from Latin-1: iconv -f latin1 -t utf-8."
    if guess:
        hint = (
            f"It reads as Korean in {guess}: name this encoding (--encoding {guess}), "
            f"or convert it: iconv -f {guess} -t utf-8."
        )
    options = "Bad bytes can be replaced or skipped: bad_bytes 'replace' or 'skip' (--bad-bytes)."
    return explain(
        f"read_text: {shorten(name)} is not {shown}",
        {
            "offset": begin + at,
            "line": lines + data.count(b"\n", 0, at) + 1,
            "bytes from there": data[at : at + 8],
        },
        f"expected {shown} text, in which the byte 0x{data[at]:02x} cannot stand at offset {begin + at:,}.",
        f"{hint}\n  {options}",
    )


def _utf16_without_mark(data: bytes) -> str:
    """The byte order in which these bytes are likely to be a text in UTF-16, or "".

    Any two bytes are a likely character of some script, so most must be letters, digits or the like, and one in
    thirty a blank, a line's end or another character of ASCII or of East Asian punctuation: in noise one in 700 is.
    The zero bytes of ASCII stand in the same half, and are half of all where nothing is beyond ASCII.
    """
    zeros = [data[half::2].count(0) for half in (1, 0)]
    if max(data, default=0) < 0x80 and 5 * sum(zeros) < 2 * len(data):
        return ""
    for name, here in zip(("utf-16-le", "utf-16-be"), zeros, strict=True):
        if 5 * here < 4 * sum(zeros):
            continue
        try:
            text = data[: len(data) // 2 * 2].decode(name)
        except UnicodeDecodeError as error:
            if error.start < len(data) // 2 * 2 - 2:  # not the half of a pair at the end
                continue
            text = data[: error.start].decode(name)
        plain = sum(char.isprintable() or char in "\n\r\t" for char in text)
        usual = sum(char in "\n\r\t" or " " <= char <= "~" or "\u3000" <= char <= "\u303f" for char in text)
        if text and plain >= 0.95 * len(text) and 30 * usual >= len(text):
            return name
    return ""


def _guessed(data: bytes) -> str:
    """The encoding in which these bytes are Korean, or nothing."""
    sample = data[:_GUESSED_FROM]
    # The end of the piece may cut a character in two.
    for end in (len(sample), len(sample) - 1):
        try:
            text = sample[:end].decode("cp949")
        except UnicodeDecodeError:
            continue
        foreign = [char for char in text if char > "\x7f"]
        if 2 * sum("가" <= char <= "힣" for char in foreign) > len(foreign):
            return "cp949"
    return ""
