"""Text from files, from standard input, from the texts inside every Python, or from any iterable.

The result has the same form for every source: no byte order mark, lines that end in a bare newline, Unicode form NFC.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tinygrad_seq.arguments import whole
from tinygrad_seq.data.nearest import shorten
from tinygrad_seq.data.sources.builtin import PREFIX, builtin_text, joined
from tinygrad_seq.data.sources.decode import CHUNK, Decoding
from tinygrad_seq.data.sources.paths import STANDARD_INPUT, files_of, texts_of
from tinygrad_seq.data.unicode import composed
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError, DTypeError

__all__ = [
    "HEAD",
    "Corpus",
    "Source",
    "from_texts",
    "listed",
    "name_of",
    "not_empty",
    "pieces_of",
    "read_text",
    "stream_text",
    "text_pieces",
]

Source = str | os.PathLike[str]

HEAD = 1000
"""Characters of a text that are kept as its beginning."""


@dataclass(frozen=True)
class Corpus:
    """A text, the name of where it came from, and the SHA-256 of its UTF-8 in hexadecimal.

    Built-in texts change with the version of Python: losses compare only where `sha256` agrees.

    >>> print(Corpus("to be or not to be"))
    18 characters, 7 distinct
    """

    text: str = field(repr=False)
    name: str = "text"
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        # A lone surrogate has no UTF-8, but a text that holds one still needs a fingerprint.
        digest = hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()
        object.__setattr__(self, "sha256", digest)

    @property
    def head(self) -> str:
        """The beginning of the text."""
        return self.text[:HEAD]

    @property
    def characters(self) -> int:
        """How many characters the text has."""
        return len(self.text)

    def __str__(self) -> str:
        length = len(self.text)
        return f"{length:,} character{'' if length == 1 else 's'}, {len(set(self.text)):,} distinct"


def read_text(
    source: Source | Sequence[Source],
    *,
    encoding: str = "utf-8",
    bad_bytes: str = "error",
    max_size: int | None = None,
    ext: str = "",
) -> Corpus:
    """The text of one source, or of several joined in the order given.

    A source is the path of a text file, of a folder of them or a glob such as `books/*.txt`; `-` for standard
    input; `builtin:topics` (the language reference that Python's `help` shows, about 0.5 million characters)
    or `builtin:stdlib` (the source code of the standard library without its tests, about 12 million). A
    `Path` object is always a file or a folder. Files packed by gzip, bzip2, xz or zip are unpacked. Where a
    text does not end in a newline, one is put between it and the next. `ext` says which files of a folder are meant,
    such as "py,md"; without it, every text is. `bad_bytes` says what to do about bytes that are not of the encoding:
    "error", "replace" (each becomes U+FFFD) or "skip". `max_size` is how many megabytes a source may come to; without
    it a packed one may expand to 64 MB or to 200 times its own size.

    Raises `DataError` if a source is missing, unreadable, binary, too large or not of the encoding, or if there is no
    text at all, and `ArgumentError` for an encoding that Python does not know.

    >>> 'The "assert" statement' in read_text("builtin:topics").text
    True
    """
    sources = listed(source, ext)
    how = Decoding(encoding, bad_bytes, max_size=max_size)
    text = "".join(not_empty(text_pieces(sources, how), name_of(sources)))
    return Corpus(text, name_of(sources))


def stream_text(
    source: Source | Sequence[Source],
    *,
    encoding: str = "utf-8",
    bad_bytes: str = "error",
    max_size: int | None = None,
    ext: str = "",
    chunk: int = CHUNK,
) -> Iterator[str]:
    """The text that `read_text` reads, in pieces, with no more than a few of them in memory.

    `chunk` bytes are read at a time. Raises what `read_text` raises, when it reaches the place.

    >>> sum(map(len, stream_text("builtin:topics"))) == len(read_text("builtin:topics").text)
    True
    """
    sources, chunk = listed(source, ext), whole("stream_text", "chunk", chunk, 1, 2**31)
    return not_empty(
        text_pieces(sources, Decoding(encoding, bad_bytes, max_size=max_size), chunk), name_of(sources)
    )


def from_texts(texts: Iterable[object], name: str = "texts") -> Corpus:
    r"""One text of many: of any iterable of strings, or of dicts with a text under the key `text`.

    They are joined as `read_text` joins files. So a data set of Hugging Face's `datasets` can be given as it
    is, streamed or not.

    Raises `DataError` if there is no text at all, and `DTypeError` for what is neither.

    >>> from_texts([{"text": "one"}, {"text": "two"}]).text
    'one\ntwo'
    """
    return Corpus("".join(not_empty(composed(joined(pieces_of(texts))), name)), name)


def pieces_of(texts: Iterable[object]) -> Iterator[Iterable[str]]:
    """Each text of an iterable, as a list of one piece with bare newlines.

    Raises `DTypeError` for what is neither a string nor a dict with a string under `text`.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        rule = "expected an iterable of strings, or of dicts with a text under the key 'text'."
        raise DTypeError("from_texts: these are no texts", {"texts": texts}, rule)
    for place, one in enumerate(texts):
        text = one.get("text") if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            found = {f"element {place:,}": sorted(map(str, one)) if isinstance(one, Mapping) else one}
            rule = "expected a string, or a dict with a string under the key 'text'."
            raise DTypeError("from_texts: this is no text", found, rule)
        yield [text.replace("\r\n", "\n")]


def text_pieces(sources: Iterable[Source], how: Decoding, chunk: int = CHUNK) -> Iterator[str]:
    """The joint text of several sources in pieces, in form NFC."""
    return composed(joined(_texts(sources, how, chunk)))


def listed(source: object, ext: str = "") -> list[Source]:
    """Sources as a list, each one checked; folders and globs become the files that they stand for.

    Raises `DTypeError` for what is no source, and `DataError` for an empty list, folder or glob.
    """
    alone = isinstance(source, str | bytes | os.PathLike) or not isinstance(source, Iterable)
    sources: list[Source] = []
    for one in [source] if alone else source:  # type: ignore[attr-defined]
        if not isinstance(one, str | os.PathLike):
            raise DTypeError(
                "read_text: this is not a source of text",
                {"source": one},
                "expected a path, '-', builtin:topics, builtin:stdlib, or a list of these.",
            )
        sources += [one] if _is_builtin(one) else files_of(one, ext)
    if not sources:
        raise DataError(
            "read_text: the list of sources is empty",
            expected="expected at least one source of text.",
            hint="Give a file. Without a file: builtin:topics or builtin:stdlib.",
        )
    return sources


def name_of(sources: Sequence[Source]) -> str:
    """One name for several sources."""
    names = ["standard input" if one == STANDARD_INPUT else os.fspath(one) for one in sources]
    return " + ".join(names) if len(names) <= 3 else f"{names[0]} + {len(names) - 1} more"


def _is_builtin(source: Source) -> bool:
    return isinstance(source, str) and source.startswith(PREFIX)


def _texts(sources: Iterable[Source], how: Decoding, chunk: int) -> Iterator[Iterable[str]]:
    for source in sources:
        if _is_builtin(source):
            yield [builtin_text(os.fspath(source))]
        else:
            yield from texts_of(source, how, chunk)


def not_empty(pieces: Iterable[str], name: str) -> Iterator[str]:
    """The pieces; raises `DataError` at the end if there was none."""
    empty = True
    for piece in pieces:
        empty = False
        yield piece
    if empty:
        raise DataError(
            f"read_text: {shorten(name)} holds no text",
            expected="expected at least one character.",
            hint="Give a file that is not empty. Without a file: builtin:topics or builtin:stdlib.",
        )


answer(globals(), "Corpus", "from_texts", "read_text", "stream_text")
