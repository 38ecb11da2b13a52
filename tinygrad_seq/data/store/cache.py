"""Ids of a text that is larger than the memory: a mapped file, written in one pass over the text.

An entry of the cache is a folder named by the content of the sources, the tokenizer and how the bytes are
decoded, never by file names or times: a changed text has another entry.

ids.npy          the ids, whole numbers of the smallest type
tokenizer.json   what made them
facts.json       what `Tokens` says of the text
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tinygrad_seq.data.sources.builtin import PREFIX, builtin_text, joined
from tinygrad_seq.data.sources.corpus import Source, listed, name_of, not_empty, pieces_of, text_pieces
from tinygrad_seq.data.sources.decode import CHUNK, Decoding
from tinygrad_seq.data.sources.paths import STANDARD_INPUT, opened
from tinygrad_seq.data.sources.unpack import explained, is_packed, refuse_endless, unpacked
from tinygrad_seq.data.store.cache_folder import take_name, temporary, written
from tinygrad_seq.data.store.tokens import Encoding, Tokens
from tinygrad_seq.data.tokenizers.base import TextSize, Tokenizer, checked_on_unknown
from tinygrad_seq.data.tokenizers.registry import checked_spec, learn_tokenizer, load_tokenizer
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.kernel_cache import folder_name

__all__ = ["Progress", "is_large", "stored_texts", "stored_tokens"]

IDS, TOKENIZER, FACTS = "ids.npy", "tokenizer.json", "facts.json"
_FORMAT = 1
_LARGE = 1 << 26  # bytes


class Progress(NamedTuple):
    """The progress of a pass: `stage` is "copying", "checking", "learning" or "encoding", `done` of `total` bytes.

    `total` is None where it is not known: for standard input, and for packed files once they are unpacked.
    """

    stage: str
    done: int
    total: int | None


Report = Callable[[Progress], object]


def stored_tokens(
    source: Source | Sequence[Source],
    tokenizer: Tokenizer | str = "char",
    *,
    folder: Source | None = None,
    encoding: str = "utf-8",
    bad_bytes: str = "error",
    max_size: int | None = None,
    ext: str = "",
    on_unknown: str = "error",
    progress: Report | None = None,
    chunk: int = CHUNK,
) -> Tokens:
    """The ids of a text of any length, mapped from a file of the cache, which is made where there is none.

    `source`, `encoding`, `bad_bytes`, `max_size` and `ext` are as in `read_text`, `tokenizer` and `on_unknown` as in
    `tokenize`. The memory needed is some ten times `chunk` bytes, whatever the length. `folder` is the cache, usually
    `tokens` in the folder of this package's other caches. Standard input is first copied into it, since a tokenizer
    is learnt in a pass of its own. `progress` is called now and then with a `Progress`.

    Raises what `read_text` and `tokenize` raise, and `DataError` where the cache cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "a.txt").write_text("hello")
    ...     tokens = stored_tokens(Path(place, "a.txt"), folder=Path(place, "cache"))
    ...     print(tokens, tokens.ids[:3].tolist())
    ...     del tokens
    5 characters, 5 tokens of 4 kinds [1, 0, 2]
    """
    how = Decoding(encoding, bad_bytes, max_size=max_size)
    sources = listed(source, ext)
    cache = _folder(folder)
    with written(cache), _on_disk(sources, cache, progress, chunk, how.most) as files:
        name = name_of(sources)
        return _Work(files, name, _checked(tokenizer), how, on_unknown, progress, chunk).tokens(cache)


def stored_texts(
    texts: Iterable[object],
    tokenizer: Tokenizer | str = "char",
    *,
    name: str = "texts",
    folder: Source | None = None,
    on_unknown: str = "error",
    progress: Report | None = None,
    chunk: int = CHUNK,
) -> Tokens:
    """`stored_tokens` of any iterable of strings, or of dicts with a text under the key `text`.

    It is read once, and needs not fit into the memory.

    Raises what `from_texts` and `stored_tokens` raise.
    """
    how = Decoding(as_it_is=True)
    cache = _folder(folder)
    with written(cache), temporary(cache) as place:
        copy = place / "texts"
        with copy.open("wb") as file:
            for piece in not_empty(joined(pieces_of(texts)), name):
                file.write(piece.encode("utf-8", "surrogatepass"))
                _tell(progress, "copying", file.tell(), None)
        return _Work([copy], name, _checked(tokenizer), how, on_unknown, progress, chunk).tokens(cache)


def _folder(folder: Source | None) -> Path:
    if "\0" in f"{folder}":
        raise DataError("data: no name of a folder", {"folder": folder}, "expected one without zeros.")
    return Path(folder) if folder is not None else folder_name() / "tokens"


def _checked(tokenizer: Tokenizer | str) -> Tokenizer | str:
    return checked_spec(tokenizer) if isinstance(tokenizer, str) else tokenizer


def is_large(source: Source | Sequence[Source], ext: str = "") -> bool:
    """Whether a text is better read by `stored_tokens`: 64 MB or more once unpacked, and standard input where it is a
    pipe, of which nothing is known.

    Raises `DataError` for sources that do not exist.
    """
    return sum(map(_about, listed(source, ext))) >= _LARGE


def _about(source: Source) -> int:
    if source == STANDARD_INPUT:
        with opened(source) as file:
            try:
                facts = os.fstat(file.fileno())
            except (OSError, ValueError):
                return 0  # a stand-in, in memory already
            return facts.st_size if stat.S_ISREG(facts.st_mode) else _LARGE
    if isinstance(source, str) and source.startswith(PREFIX):
        return 0
    with opened(source) as file:
        packed = is_packed(file.read(16))
        file.seek(0)
        return _unpacked_size(file, os.fspath(source)) if packed else os.fstat(file.fileno()).st_size


def _unpacked_size(file: BinaryIO, name: str) -> int:
    """The unpacked size of a packed file, counted up to the limit of `is_large`."""
    size = 0
    with explained(name):
        for _, text in unpacked(file, name, 2 * _LARGE + CHUNK):
            while size < _LARGE and (data := text.read(CHUNK)):
                size += len(data)
            if size >= _LARGE:
                break
    return size


class _Work(NamedTuple):
    """Everything that the ids of a text depend on, and the passes that compute them."""

    sources: list[Source]
    name: str
    tokenizer: Tokenizer | str
    how: Decoding
    on_unknown: str
    progress: Report | None
    chunk: int

    def tokens(self, cache: Path) -> Tokens:
        checked_on_unknown(self.on_unknown)
        entry = cache / self._key()
        found = _loaded(entry, self.name)
        if found is None:
            shutil.rmtree(entry, ignore_errors=True)
            with temporary(cache) as place:
                self._build(place)
                take_name(place, entry)
            found = _loaded(entry, self.name)
        if found is None:
            what = f"stored_tokens: the entry {os.fspath(entry)!r} of the cache is damaged and in use"
            raise DataError(what, None, "", "End what uses it, or delete it, and try again.")
        return found

    def _key(self) -> str:
        digest = hashlib.sha256()
        tokenizer = self.tokenizer
        settings = {
            "format": _FORMAT,
            "unicode": unicodedata.unidata_version,
            "encoding": self.how.encoding,
            "errors": self.how.errors,
            "on_unknown": self.on_unknown,
            "tokenizer": tokenizer
            if isinstance(tokenizer, str)
            else [tokenizer.spec, tokenizer.fingerprint, str(tokenizer.content().get("form"))],
        }
        digest.update(json.dumps(settings, sort_keys=True).encode())
        total = _total(self.sources)
        done = 0
        for source in self.sources:
            inner = hashlib.sha256()
            for data in _raw(source, self.chunk):
                inner.update(data)
                done += len(data)
                _tell(self.progress, "checking", done, total)
            digest.update(inner.digest())
        return digest.hexdigest()[:40]

    def _build(self, place: Path) -> None:
        tokenizer = self.tokenizer
        if isinstance(tokenizer, str):
            with closing(self._pieces("learning")) as pieces:
                tokenizer = learn_tokenizer(tokenizer, pieces)
        encoding = Encoding(tokenizer, self.on_unknown)
        with (place / IDS).open("wb") as file, closing(self._pieces("encoding")) as pieces:
            _write_header(file, encoding.dtype, 0)
            begin = file.tell()
            for row in encoding.rows(pieces):
                file.write(row.data)
            file.seek(0)
            _write_header(file, encoding.dtype, encoding.tokens)
            assert file.tell() == begin
        tokenizer.save(place / TOKENIZER)
        facts = {"sha256": encoding.sha256, "size": list(encoding.size), "head": list(encoding.head)}
        (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    def _pieces(self, stage: str) -> Generator[str, None, None]:
        done = 0
        total = _total(self.sources) if self.how.is_utf8 and not any(map(_packed, self.sources)) else None
        for piece in not_empty(text_pieces(self.sources, self.how, self.chunk), self.name):
            yield piece
            if self.progress:
                done += len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))
                _tell(self.progress, stage, done, total)


def _loaded(entry: Path, name: str) -> Tokens | None:
    """The tokens of an entry, None where there is none or it is damaged."""
    try:
        facts: dict[str, Any] = json.loads((entry / FACTS).read_bytes())
        tokenizer = load_tokenizer(entry / TOKENIZER)
        size = TextSize(*facts["size"])
        # An empty array cannot be mapped.
        ids = np.load(entry / IDS, mmap_mode="r" if size.tokens else None)
        if ids.ndim != 1 or len(ids) != size.tokens:
            return None
        return Tokens(ids, tokenizer, name, facts["sha256"], size, "".join(facts["head"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        return None


@contextmanager
def _on_disk(
    sources: list[Source], cache: Path, progress: Report | None, chunk: int, most: int | None
) -> Iterator[list[Source]]:
    """The sources, where standard input is a copy that can be read more than once."""
    if STANDARD_INPUT not in sources:
        yield sources
        return
    with temporary(cache) as place:
        copy = place / "standard input"
        with copy.open("wb") as file:
            for data in _raw(STANDARD_INPUT, chunk):
                file.write(data)
                _tell(progress, "copying", file.tell(), None)
                refuse_endless(file.tell(), most)
        try:
            yield [copy if one == STANDARD_INPUT else one for one in sources]
        except DataError as error:
            # The user has not named the copy, so the error must not.
            named = str(error).replace(repr(os.fspath(copy)), repr(name_of([STANDARD_INPUT])))
            raise DataError(named) from error


def _raw(source: Source, chunk: int) -> Iterator[bytes]:
    """The bytes of a source as they stand on the disk."""
    if isinstance(source, str) and source.startswith(PREFIX):
        yield builtin_text(source).encode("utf-8", "surrogatepass")
        return
    with opened(source) as file:
        while data := file.read(chunk):
            yield data


def _packed(source: Source) -> bool:
    return is_packed(next(_raw(source, 16), b""))


def _total(sources: Iterable[Source]) -> int | None:
    try:
        return sum(os.stat(source).st_size for source in sources)
    except (OSError, ValueError):
        return None


def _write_header(file: BinaryIO, dtype: Any, count: int) -> None:
    # NumPy leaves room for the count to grow, so the header has the same length at the end as at the
    # beginning.
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": (count,),
    }
    np.lib.format.write_array_header_1_0(file, header)


def _tell(progress: Report | None, stage: str, done: int, total: int | None) -> None:
    if progress is not None:
        progress(Progress(stage, done, total))


answer(globals(), "is_large", "stored_texts", "stored_tokens")
