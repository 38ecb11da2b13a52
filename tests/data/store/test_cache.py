"""Laws of the token cache: the ids of the whole text, in bounded memory, never those of another text."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import time
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tinygrad_seq.data import (
    Corpus,
    JamoTokenizer,
    Progress,
    Streams,
    Tokens,
    Vocabulary,
    from_texts,
    is_large,
    learn_tokenizer,
    let_go,
    read_text,
    split,
    stored_texts,
    stored_tokens,
    tokenize,
    windows,
)
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError

TEXT = unicodedata.normalize("NFD", "한글 닭이, café.\r\n") * 40 + "end"
READ = "한글 닭이, café.\n" * 40 + "end"
KINDS = ["char", "byte", "jamo", pytest.param("bpe:270", marks=pytest.mark.extra("tokenizers"))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with one text in it."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(TEXT.encode())
    return tmp_path


def message(error: type[Exception], call: Callable[..., object], *arguments: object, **named: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert type(caught.value) is error
    return str(caught.value)


def stored(source: object = "a.txt", tokenizer: object = "char", **named: object) -> Tokens:
    """Tokens by way of a cache beside the text, read in very small pieces."""
    return stored_tokens(source, tokenizer, folder="cache", **{"chunk": 16, **named})  # type: ignore[arg-type]


def entries() -> list[Path]:
    return sorted(Path("cache").iterdir())


def same(one: Tokens, other: Tokens) -> bool:
    return (
        one.ids.tolist() == other.ids.tolist()
        and one.ids.dtype == other.ids.dtype
        and one.tokenizer == other.tokenizer
        and (one.name, one.sha256, one.size, one.head) == (other.name, other.sha256, other.size, other.head)
    )


# ---------------------------------------------------------------- what is stored


@pytest.mark.parametrize("kind", KINDS)
def test_stored_tokens_are_those_of_the_text(kind: str) -> None:
    """Made, found again, and in memory: the same ids, sizes, fingerprint and beginning."""
    tokens = stored(tokenizer=kind)
    assert isinstance(tokens.ids, np.memmap)
    assert same(tokens, tokenize(read_text("a.txt"), kind))
    assert same(stored(tokenizer=kind), tokens)
    assert tokens.tokenizer.decode(tokens.ids) == READ
    assert tokens.size == (len(tokens.ids), len(READ), len(READ.encode()))
    assert tokens.size == tokens.tokenizer.measure(tokens.ids)
    assert tokens.sha256 == Corpus(READ).sha256
    assert (tokens.name, tokens.head, len(tokens)) == ("a.txt", READ, len(tokens.ids))
    assert len(entries()) == 1


def test_nobody_can_write_into_the_cache() -> None:
    """A model that writes into its input gets copies; the map itself refuses."""
    tokens = stored()
    with pytest.raises(ValueError, match="read-only"):
        tokens.ids[0] = 0
    parts = split(tokens.ids)
    assert np.shares_memory(parts.train, tokens.ids)
    for batch in (Streams(parts.train, 2, 4).next_batch(), next(windows(parts.validation, 2, 4))):
        batch.inputs[:] = 0
    assert same(stored(), tokens)


@pytest.mark.parametrize(
    ("count", "dtype"), [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_ids_take_as_few_bytes_as_they_can(count: int, dtype: str) -> None:
    """One byte for up to 256 symbols, and so on; the last id is still right."""
    text = "".join(map(chr, range(0x40000, 0x40000 + count)))
    Path("a.txt").write_text(text, encoding="utf-8")
    tokens = stored(chunk=1 << 20)
    assert tokens.ids.dtype == dtype
    assert tokens.ids[-1] == count - 1
    assert tokens.tokenizer.decode(tokens.ids) == text


def test_text_is_shown_by_its_numbers() -> None:
    """Characters, tokens, kinds; the ids stay out of the repr."""
    assert str(tokenize("a", "byte")) == "1 character, 1 tokens of 256 kinds"
    assert str(stored()) == f"{len(READ):,} characters, {len(READ):,} tokens of {len(set(READ))} kinds"
    assert "ids" not in repr(stored())


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_that_there_is(kind: str) -> None:
    """A resumed run brings its own; other ids then, and another entry."""
    tokenizer = learn_tokenizer(kind, READ + "zyx")
    tokens = stored(tokenizer=tokenizer)
    assert tokens.tokenizer == tokenizer
    assert same(tokens, tokenize(read_text("a.txt"), tokenizer))
    stored(tokenizer=kind)
    assert len(entries()) == 2


@pytest.mark.parametrize("kind", ["char", "jamo"])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_the_place_of_an_unknown_character_counts_from_the_start(kind: str, chunk: int) -> None:
    """However the text is cut into pieces, and whether it is in memory: as `str.index` says."""
    text = "한글 ab\n" * 3000 + "닭é☃" + "한글" * 50
    tokenizer = learn_tokenizer(kind, "한글 ab\n닭é")
    Path("place.txt").write_text(text, encoding="utf-8")
    rest = f"\n  position of the first: {text.index('☃')}\n"
    assert rest in message(
        DataError, stored_tokens, "place.txt", tokenizer, folder=Path("cache"), chunk=chunk
    )
    assert rest in message(DataError, tokenize, text, tokenizer)
    assert rest in message(DataError, tokenizer.encode, text)


def test_unknown_characters() -> None:
    """Listed with the first of them; skipped or replaced on demand, each in an entry of its own."""
    tokenizer = learn_tokenizer("char", READ.replace("é", "").replace("닭", "") + "?")
    text = message(DataError, stored, tokenizer=tokenizer, chunk=1 << 20)
    assert text.startswith("encode: the vocabulary does not hold '닭', 'é'.\n  position of the first: 3\n")
    assert entries() == []
    skipped = stored(tokenizer=tokenizer, on_unknown="skip")
    assert skipped.tokenizer.decode(skipped.ids) == READ.replace("é", "").replace("닭", "")
    assert skipped.size.tokens == skipped.size.characters - 80
    replaced = stored(tokenizer=tokenizer, on_unknown="replace")
    assert replaced.tokenizer.decode(replaced.ids) == READ.replace("é", "?").replace("닭", "?")
    assert message(ArgumentError, stored, on_unknown="x").startswith("encode: on_unknown out of range.\n")


# ---------------------------------------------------------------- keys


def test_entry_belongs_to_the_content() -> None:
    """A copy of another name and time shares it; one changed byte does not, nor another way of reading."""
    stored()
    Path("b.txt").write_bytes(TEXT.encode())
    os.utime("b.txt", (1, 1))
    assert stored("b.txt").name == "b.txt"
    assert len(entries()) == 1
    facts = Path("a.txt").stat()
    Path("a.txt").write_bytes(TEXT.replace("end", "enD").encode())
    os.utime("a.txt", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert stored().tokenizer.decode(stored().ids).endswith("enD")
    assert len(entries()) == 2
    stored(bad_bytes="skip")
    stored(encoding="cp949", bad_bytes="skip")
    stored(["a.txt", "b.txt"])
    stored(["b.txt", "a.txt"])
    assert len(entries()) == 6


def test_pieces_have_no_part_in_the_entry() -> None:
    """Whatever the size of the pieces, the entry is the same."""
    for chunk in (1, 7, 1 << 20):
        assert same(stored(chunk=chunk), tokenize(read_text("a.txt")))
    assert len(entries()) == 1


@pytest.mark.parametrize("damage", ["facts", "short", "gone", "tokenizer", "empty"])
def test_damaged_entry_is_made_anew(damage: str) -> None:
    """Whatever is wrong with it."""
    want = stored()
    want = Tokens(
        np.array(want.ids), *(getattr(want, n) for n in ("tokenizer", "name", "sha256", "size", "head"))
    )
    entry = entries()[0]
    if damage == "facts":
        (entry / "facts.json").write_text("{}")
    elif damage == "short":
        (entry / "ids.npy").write_bytes((entry / "ids.npy").read_bytes()[:-3])
    elif damage == "gone":
        (entry / "ids.npy").unlink()
    elif damage == "tokenizer":
        (entry / "tokenizer.json").write_text("{")
    else:
        (entry / "ids.npy").write_bytes(b"")
    assert same(stored(), want)
    assert entries() == [entry]


def test_failure_leaves_nothing_behind() -> None:
    """A bad byte at the very end: no entry, no temporary folder; what a killed process left goes in a day."""
    Path("a.txt").write_bytes(TEXT.encode() + b"\xff")
    assert message(DataError, stored).startswith("read_text: 'a.txt' is not UTF-8.\n")
    assert entries() == []
    for name, age in (("old", 90_000), ("new", 10)):
        left = Path("cache", f".{name}.tmp")
        left.mkdir()
        (left / "ids.npy").touch()
        os.utime(left, (time.time() - age,) * 2)
    stored("a.txt", bad_bytes="skip")
    assert entries()[0].name == ".new.tmp"
    assert len(entries()) == 2


def test_cache_that_cannot_be_written() -> None:
    """One error, with the way out."""
    Path("cache").touch()
    assert message(DataError, stored) == (
        "stored_tokens: the cache 'cache' cannot be written: File exists.\n"
        "  expected a folder with room for one to four bytes for each token.\n"
        "  Make room, or name another folder: TINYGRAD_SEQ_CACHE, or folder= in Python."
    )


def test_usual_folder_is_beside_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable moves all caches."""
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", "place")
    stored_tokens("a.txt", "byte")
    assert len(list(Path("place/tokens").iterdir())) == 1


# ---------------------------------------------------------------- sources


def test_standard_input_packed_files_and_builtins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is read once and copied; nothing of the copy stays."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    tokens = stored("-")
    assert tokens.name == "standard input"
    assert tokens.tokenizer.decode(tokens.ids) == READ
    assert same(stored("a.txt"), Tokens(tokens.ids, tokens.tokenizer, "a.txt", *_rest(tokens)))
    assert len(entries()) == 1
    Path("a.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert stored("a.gz").ids.tolist() == tokens.ids.tolist()
    assert stored("builtin:topics", chunk=1 << 20).sha256 == read_text("builtin:topics").sha256


def test_pipe_is_stored_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows how long a pipe is; errors call it what the user calls it."""

    def give(data: bytes) -> None:
        end, begin = os.pipe()
        os.write(begin, data)
        os.close(begin)
        monkeypatch.setattr(sys, "stdin", os.fdopen(end))

    give(b"hello")
    assert is_large("-")
    assert stored("-").size.characters == 5
    sys.stdin.close()
    for data, start in ((b"\xff", "is not UTF-8"), (b"", "holds no text")):
        give(data)
        text = message(DataError, stored, "-")
        assert text.startswith(f"read_text: 'standard input' {start}.\n")
        sys.stdin.close()


def test_what_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """By size on the disk, of packed files by what comes out of them, all sources together."""
    size = Path("a.txt").stat().st_size
    Path("a.gz").write_bytes(gzip.compress(TEXT.encode()))
    packed = size
    for source, about in (("a.txt", size), (["a.txt", "a.gz"], size + packed), ("builtin:topics", 0)):
        for limit in (about, about + 1):
            monkeypatch.setattr("tinygrad_seq.data.store.cache._LARGE", limit)
            assert is_large(source) is (limit == about)
    with Path("a.txt").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        monkeypatch.setattr("tinygrad_seq.data.store.cache._LARGE", size + 1)
        assert not is_large("-")
    assert message(DataError, is_large, "b.txt").startswith("read_text: 'b.txt' does not exist.\n")


def _rest(tokens: Tokens) -> tuple[object, ...]:
    return tokens.sha256, tokens.size, tokens.head


def test_iterables_of_texts_are_read_once() -> None:
    """A generator will do; strings and dicts; nothing of the copy stays."""

    def texts() -> Iterator[object]:
        yield "\ufeffone\r"
        yield {"text": "\ntwo\ud800\0"}

    tokens = stored_texts(texts(), folder="cache", name="set", chunk=3)
    assert same(tokens, tokenize(from_texts(texts(), "set")))
    assert tokens.tokenizer.decode(tokens.ids) == "\ufeffone\r\n\ntwo\ud800\0"
    assert len(entries()) == 1
    assert message(DTypeError, stored_texts, [3], folder="cache").startswith("from_texts: this is no text.\n")
    assert message(DataError, stored_texts, [""], folder="cache").startswith(
        "read_text: 'texts' holds no text.\n"
    )
    assert len(entries()) == 1


def test_progress_is_told() -> None:
    """Three stages, each from little to all of the bytes; a packed file has no known end."""
    told: list[Progress] = []
    stored(progress=told.append)
    size = len(TEXT.encode())
    assert [stage for n, (stage, *_) in enumerate(told) if not n or told[n - 1].stage != stage] == [
        "checking",
        "learning",
        "encoding",
    ]
    assert [done for stage, done, total in told if stage == "checking"][-1] == size
    assert {total for _, _, total in told} == {size}
    done = [done for stage, done, _ in told if stage == "encoding"]
    assert done == sorted(done)
    assert done[-1] == len(READ.encode())
    told.clear()
    stored(progress=told.append)
    assert {stage for stage, *_ in told} == {"checking"}
    Path("a.gz").write_bytes(gzip.compress(TEXT.encode()))
    told.clear()
    stored("a.gz", progress=told.append)
    assert {total for stage, _, total in told if stage == "encoding"} == {None}


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("kind", ["char", "byte", "jamo"])
def test_memory_does_not_grow_with_the_text(kind: str) -> None:
    """Four times the text, the same memory: a small multiple of the piece that is read at a time."""
    peaks = []
    for times in (1, 4):
        Path("big.txt").write_bytes(TEXT.encode() * (2000 * times))
        tracemalloc.start()
        tokens = stored("big.txt", kind, chunk=1 << 14)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(tokens) > 1_000_000 * times
    limit = 0x110000 + (40 << 14)  # one flag for each code point, and the pieces
    assert peaks[1] < limit + (1 << 20), peaks
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_one_line_of_some_megabytes() -> None:
    """No newline, no space, nothing to cut at but characters."""
    Path("line.txt").write_bytes("가나다".encode() * 500_000)
    for kind in ("char", "jamo"):
        tokens = stored("line.txt", kind, chunk=1 << 16)
        assert tokens.size.characters == 1_500_000
        assert len(tokens) == (1_500_000 if kind == "char" else 3_000_000)
    assert same(stored("line.txt", chunk=1 << 18), tokenize(read_text("line.txt")))


@pytest.mark.extra("tokenizers")
@pytest.mark.parametrize("text", ["abcabd" * 60_000, ("word " * 9 + "x" * 200_000 + "  y\n") * 2])
def test_long_words_are_merged_alike_in_all_pieces(text: str) -> None:
    """A run without a space is cut at fixed places, wherever the pieces of the text end."""
    Path("a.txt").write_text(text)
    tokenizer = learn_tokenizer("bpe:260", text[:1000])
    want = tokenizer.encode(text).tolist()
    for chunk in (1 << 13, 100_003, 1 << 20):
        tokens = stored_tokens("a.txt", tokenizer, folder=f"cache{chunk}", chunk=chunk)
        assert tokens.ids.tolist() == want


# ---------------------------------------------------------------- strange files


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", "read_text: 'a.txt' holds no text.\n"),
        (b"\xef\xbb\xbf", "read_text: 'a.txt' holds no text.\n"),
        (b"\x7fELF\2\1\1\0\0\0", "read_text: 'a.txt' looks binary.\n"),
        ("한국어 문장".encode("euc-kr"), "read_text: 'a.txt' is not UTF-8.\n"),
    ],
)
def test_what_is_not_text_is_refused(data: bytes, start: str) -> None:
    """The same errors as without the cache, and no entry."""
    Path("a.txt").write_bytes(data)
    assert message(DataError, stored) == message(DataError, read_text, "a.txt")
    assert message(DataError, stored).startswith(start)
    assert entries() == []


def test_five_bytes_and_one_character() -> None:
    """Both can be stored; five are too few to split, and the message says how many are enough."""
    Path("a.txt").write_bytes(b"hello")
    tokens = stored()
    assert tokens.ids.tolist() == [1, 0, 2, 2, 3]
    assert message(DataError, split, tokens.ids).endswith(
        "Use a longer text (40 ids are enough), or a fraction of 0 for a part to spare."
    )
    Path("a.txt").write_bytes(b"a" * 100_000)
    tokens = stored(chunk=1 << 12)
    assert (len(tokens.tokenizer), len(tokens), int(tokens.ids.max())) == (1, 100_000, 0)


def test_facts_are_plain_json() -> None:
    """Anyone may read an entry; a lone surrogate in the beginning is kept."""
    Path("a.txt").write_bytes(b"ab")
    stored()
    facts = json.loads((entries()[0] / "facts.json").read_text())
    assert facts == {"sha256": Corpus("ab").sha256, "size": [2, 2, 2], "head": ["a", "b"]}
    assert np.load(entries()[0] / "ids.npy").tolist() == [0, 1]
    assert Vocabulary.load(entries()[0] / "tokenizer.json") == Vocabulary("ab")
    assert isinstance(stored(tokenizer="jamo").tokenizer, JamoTokenizer)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_measuring_mapped_ids_does_not_fill_the_memory(tmp_path: Path) -> None:
    """What was read of the file is given back: 64 MB of ids pass, less than half of them are held at once."""
    np.lib.format.open_memmap(tmp_path / "ids.npy", "w+", np.uint8, (1 << 26,)).flush()
    ids = np.load(tmp_path / "ids.npy", mmap_mode="r")

    def mapped() -> int:
        text = Path("/proc/self/status").read_text(encoding="ascii")
        return int(text.split("RssFile:")[1].split()[0]) * 1024

    before = mapped()
    assert Vocabulary("ab").measure(ids[5:]).tokens == (1 << 26) - 5
    assert mapped() - before < 1 << 25
    assert int(ids.max()) == 0, "it can be read again"
    let_go(ids[5:])
    assert mapped() - before < 1 << 23
    writable = np.load(tmp_path / "ids.npy", mmap_mode="r+")
    writable[3] = 1
    let_go(writable)
    assert writable[3] == 1
