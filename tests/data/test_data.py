"""Laws of the data folder: what is read is what was written, and every id is predicted when it should be."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
import sysconfig
import types
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_seq.data import Batch, Corpus, Streams, Vocabulary, read_text, split, windows
from tinygrad_seq.errors import CheckpointError, DataError, DTypeError, ShapeError
from tinygrad_seq.runtime.files import atomic_write, atomic_write_bytes, atomic_write_text

ANY_TEXT = st.text(st.characters(), min_size=1)  # lone surrogates included


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, so that the names in messages are short and known."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message(error: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let standard input hold these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ---------------------------------------------------------------- corpora


def test_corpus_knows_its_size_and_fingerprint() -> None:
    """The fingerprint is that of the UTF-8, and the text itself stays out of the repr."""
    corpus = Corpus("é" * 1234 + "a", "book")
    assert str(corpus) == "1,235 characters, 2 distinct"
    assert str(Corpus("a")) == "1 character, 1 distinct"
    assert corpus.sha256 == hashlib.sha256(corpus.text.encode()).hexdigest()
    assert repr(corpus) == f"Corpus(name='book', sha256='{corpus.sha256}')"
    assert Corpus("\ud800").sha256 != Corpus("\ud801").sha256


def test_file_is_decoded_and_normalized() -> None:
    """Byte order mark gone, Windows line ends gone, a lone carriage return kept, NFD composed."""
    decomposed = unicodedata.normalize("NFD", "한글 café")
    Path("a.txt").write_bytes(b"\xef\xbb\xbf" + f"{decomposed}\r\nb\rc\n".encode())
    assert read_text("a.txt") == Corpus("한글 café\nb\rc\n", "a.txt")
    assert read_text(Path("a.txt")) == read_text("a.txt")


def test_only_one_mark_at_the_start_is_removed() -> None:
    """A second U+FEFF is a character like any other."""
    Path("a.txt").write_bytes("\ufeff\ufeffa\ufeff".encode())
    assert read_text("a.txt").text == "\ufeffa\ufeff"


def test_several_files_are_joined_in_the_order_given() -> None:
    """A newline is put between two only where the former does not end in one; an empty file adds nothing."""
    for name, data in {"a": b"one", "b": b"two\r\n", "c": b"", "d": b"three"}.items():
        Path(name).write_bytes(data)
    assert read_text(["d", "c", "b", "a"]) == Corpus("three\ntwo\none", "d + 3 more")
    assert read_text(("a", Path("b"))) == Corpus("one\ntwo\n", "a + b")
    assert read_text(["a", "c"]) == Corpus("one", "a + c")


def test_standard_input_is_read_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever encoding the console claims, the bytes are UTF-8; a `Path` of that name is a file."""
    give_stdin(monkeypatch, "\ufeff한\r\n".encode())
    Path("-").write_text("a file", encoding="utf-8")
    assert read_text("-") == Corpus("한\n", "standard input")
    assert read_text(Path("-")).text == "a file"
    assert message(DataError, read_text, Path("builtin:topics")).startswith("read_text: 'builtin:topics' ")


def test_topics_are_the_values_in_the_order_of_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank line stands between two topics and nothing else is added."""
    fake = types.ModuleType("pydoc_data.topics")
    fake.topics = {"b": "second\n", "a": "first\n"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", fake)
    assert read_text("builtin:topics") == Corpus("first\n\nsecond\n", "builtin:topics")


def test_topics_of_this_python_are_the_language_reference() -> None:
    """The real text is there, long, and free of what would surprise a vocabulary."""
    corpus = read_text("builtin:topics")
    assert corpus.text.startswith('The "assert" statement\n****')
    assert len(corpus.text) > 400_000
    assert not set("\0\r\ufeff") & set(corpus.text)
    if sys.version_info[:3] == (3, 11, 7):
        assert str(corpus) == "465,048 characters, 103 distinct"


def test_stdlib_leaves_out_tests_and_foreign_packages(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Sorted by path, part by part; only `*.py`; a file that is not UTF-8 is passed over."""
    kept = ["a/b.py", "a/empty.py", "a-b.py", "idlelib/run.py", "z.py"]
    left = [
        "a.txt",
        "test/a.py",
        "a/tests/b.py",
        "idlelib/idle_test/c.py",
        "site-packages/d.py",
        "__pycache__/e.py",
    ]
    for name in kept + left:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("" if "empty" in name else name, encoding="utf-8")
    Path("latin.py").write_bytes(b"# \xe9")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder) if name == "stdlib" else "")
    assert read_text("builtin:stdlib").text == "a/b.py\na-b.py\nidlelib/run.py\nz.py"


def test_stdlib_of_this_python_is_its_source() -> None:
    """Every line of a known module is in it, and no line of its test."""
    text = read_text("builtin:stdlib").text
    source = Path(sysconfig.get_path("stdlib"), "textwrap.py").read_text(encoding="utf-8")
    assert len(text) > 5_000_000
    assert source in text
    assert "class TextWrapperTestCase" not in text


NO_FILE = "Without a file: builtin:topics or builtin:stdlib."


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b"line\r\ncaf\xe9 au lait",
            "read_text: 'a.txt' is not UTF-8.\n  offset: 9\n  line: 2\n  bytes from there: b'\\xe9 au lai'\n"
            "  expected UTF-8 text, in which the byte 0xe9 cannot stand at offset 9.\n"
            "  Save it as UTF-8, or convert it; from Latin-1: iconv -f latin1 -t utf-8.\n"
            "  Bad bytes can be replaced or skipped: bad_bytes 'replace' or 'skip' (--bad-bytes).",
        ),
        (
            b"\xef\xbb\xbfa\xff",
            "read_text: 'a.txt' is not UTF-8.\n  offset: 4\n  line: 1\n  bytes from there: b'\\xff'\n"
            "  expected UTF-8 text, in which the byte 0xff cannot stand at offset 4.\n"
            "  Save it as UTF-8, or convert it; from Latin-1: iconv -f latin1 -t utf-8.\n"
            "  Bad bytes can be replaced or skipped: bad_bytes 'replace' or 'skip' (--bad-bytes).",
        ),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "read_text: 'a.txt' looks binary.\n  first zero byte at offset: 8\n"
            "  expected UTF-8 text, which has no zero byte among the first 8,192.\n"
            "  Unpack it or convert it to text first.",
        ),
        (
            "한글".encode("utf-16"),
            "read_text: 'a.txt' is not UTF-8 but looks like UTF-16 or UTF-32.\n"
            f"  first bytes: {'한글'.encode('utf-16')[:4]!r}\n  expected UTF-8 text.\n"
            "  Save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8. Or name its encoding: --encoding utf-16.",
        ),
        (
            b"\xef\xbb\xbf",
            "read_text: 'a.txt' holds no text.\n  expected at least one character.\n"
            f"  Give a file that is not empty. {NO_FILE}",
        ),
    ],
)
def test_what_is_not_text_is_refused(data: bytes, text: str) -> None:
    """The offset counts the bytes of the file, mark and line ends included."""
    Path("a.txt").write_bytes(data)
    assert message(DataError, read_text, "a.txt") == text


def test_late_zero_byte_is_a_character() -> None:
    """Only near the start does a zero byte mean a binary file."""
    Path("a.txt").write_bytes(b"x" * 8192 + b"\0")
    assert read_text("a.txt").text == "x" * 8192 + "\0"


def test_missing_file_names_its_neighbor() -> None:
    """The likeliest name in the same folder is offered, and none when nothing is near."""
    Path("shakespeare.txt").touch()
    missing = "read_text: {} does not exist.\n  expected a UTF-8 text file.\n  {}" + NO_FILE
    assert message(DataError, read_text, "shakspeare.txt") == missing.format(
        "'shakspeare.txt'", "Did you mean 'shakespeare.txt'? "
    )
    assert message(DataError, read_text, "nowhere/x.txt") == missing.format("'nowhere/x.txt'", "")
    assert message(DataError, read_text, "shakespeare.txt") == (
        "read_text: 'shakespeare.txt' holds no text.\n  expected at least one character.\n"
        f"  Give a file that is not empty. {NO_FILE}"
    )


def test_folder_without_text_is_refused() -> None:
    """It is called a folder on every system, and hidden files do not count."""
    Path("books").mkdir()
    Path("books/.txt").touch()
    Path("books/a.bin").write_bytes(b"\0")
    assert message(DataError, read_text, "books") == (
        "read_text: the folder 'books' holds no text file.\n"
        "  expected files of UTF-8 text, hidden ones not, in it or below it; 1 are there that are no text.\n"
        f"  Name the files themselves, or with a glob: {os.path.join('books', '*.py')}"
    )


@pytest.mark.parametrize(
    ("error", "what", "hint"),
    [
        (
            PermissionError(),
            "may not be read: permission denied",
            "Copy it to a place where you may read it.",
        ),
        (
            OSError(errno.EIO, "bad disk"),
            "cannot be read: bad disk",
            "Check that this is a path and not the text itself.",
        ),
    ],
)
def test_file_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, error: OSError, what: str, hint: str
) -> None:
    """Whatever the system refuses is a `DataError`; simulated, because root may read everything."""

    def refuse(path: Path, mode: str) -> bytes:
        raise error

    Path("a.txt").touch()
    monkeypatch.setattr(Path, "open", refuse)
    assert message(DataError, read_text, "a.txt") == (
        f"read_text: 'a.txt' {what}.\n  expected a UTF-8 text file.\n  {hint}"
    )


def test_text_given_as_a_path_is_explained() -> None:
    """A zero byte or a novel in place of a name is a `DataError`, and the message stays short."""
    assert "Check that this is a path" in message(DataError, read_text, "a\0b")
    text = message(DataError, read_text, "It was the best of times. " * 1000)
    assert text.startswith("read_text: 'It was the best of times. ")
    assert len(text) < 500


def test_unknown_builtin_offers_the_nearest() -> None:
    """The list is complete and the nearest comes first."""
    rule = "  expected one of builtin:topics, builtin:stdlib.\n"
    assert message(DataError, read_text, "builtin:topic") == (
        f"read_text: there is no built-in text 'builtin:topic'.\n{rule}"
        "  Did you mean 'builtin:topics'? A file of this name is read as ./builtin:topic."
    )
    assert message(DataError, read_text, "builtin:x/y/zz") == (
        f"read_text: there is no built-in text 'builtin:x/y/zz'.\n{rule}"
        "  A file of this name is read as ./builtin:x/y/zz."
    )


def test_python_without_its_texts_is_explained(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A stripped Python gets an explanation, not an `ImportError` or an empty text."""
    rest = (
        "  expected a complete standard library; some small or embedded builds leave parts of it out.\n"
        "  Give a text file of your own, or use a Python from python.org."
    )
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert message(DataError, read_text, "builtin:topics") == (
        "read_text: this Python was installed without the text of builtin:topics.\n"
        f"  missing: 'pydoc_data.topics'\n{rest}"
    )
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "lib")
    assert message(DataError, read_text, "builtin:stdlib") == (
        "read_text: this Python was installed without the text of builtin:stdlib.\n"
        f"  missing: {os.path.join('lib', '*.py')!r}\n{rest}"
    )


def test_standard_input_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a console there is no stream; an empty one holds no text."""
    monkeypatch.setattr(sys, "stdin", None)
    assert message(DataError, read_text, "-") == (
        "read_text: there is no standard input to read from.\n"
        "  expected bytes on standard input for the source '-'.\n"
        "  Give the path of a file, or builtin:topics."
    )
    give_stdin(monkeypatch, b"")
    assert message(DataError, read_text, "-").startswith("read_text: 'standard input' holds no text.\n")
    give_stdin(monkeypatch, b"\xff")
    assert message(DataError, read_text, ["-"]).startswith("read_text: 'standard input' is not UTF-8.\n")


@pytest.mark.parametrize(("source", "shown"), [(3, "3"), (b"a", "b'a'"), (["a", None], "None")])
def test_what_is_no_source_is_refused(source: Any, shown: str) -> None:
    """Numbers and bytes are no names."""
    assert message(DTypeError, read_text, source) == (
        f"read_text: this is not a source of text.\n  source: {shown}\n"
        "  expected a path, '-', builtin:topics, builtin:stdlib, or a list of these."
    )


def test_no_source_at_all_is_refused() -> None:
    """An empty list is a mistake, not an empty text."""
    assert message(DataError, read_text, []) == (
        "read_text: the list of sources is empty.\n  expected at least one source of text.\n"
        f"  Give a file. {NO_FILE}"
    )


# ---------------------------------------------------------------- vocabulary


@given(ANY_TEXT)
@example("한글\0닭 😀👍🏽 é\ud83d\ude00")
@example("\0")
@example("\U0010ffff")
def test_decode_undoes_encode(text: str) -> None:
    """For every text; and an id is the place among the sorted distinct characters."""
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == [sorted(set(text)).index(character) for character in text]
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(ids.tolist()) == text
    assert vocabulary.decode(ids.astype(np.uint64)) == text


@given(ANY_TEXT, ANY_TEXT)
def test_equal_vocabularies_hold_the_same_characters(one: str, other: str) -> None:
    """Order and number of the characters in the text do not matter."""
    assert (Vocabulary(one) == Vocabulary(other)) is (set(one) == set(other))
    assert Vocabulary(one) == Vocabulary(one[::-1] * 2)
    assert hash(Vocabulary(one)) == hash(Vocabulary(one[::-1]))
    assert len(Vocabulary(one)) == len(set(one))


def test_vocabulary_is_frozen_and_short_in_print() -> None:
    """Nobody renumbers a model's characters; the repr does not list thousands."""
    vocabulary = Vocabulary("ba\n")
    with pytest.raises(AttributeError):
        vocabulary.symbols = "xyz"  # type: ignore[misc]
    assert vocabulary.symbols == "\nab"
    assert repr(vocabulary) == "Vocabulary(3 symbols, '\\n' to 'b')"
    assert repr(Vocabulary("aa")) == "Vocabulary(1 symbol, 'a')"


def test_nothing_encodes_to_nothing() -> None:
    """An empty prompt is legal; an empty vocabulary is not."""
    vocabulary = Vocabulary("a")
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.encode("").dtype == np.int64
    assert vocabulary.decode([]) == ""
    assert message(DataError, Vocabulary, "") == (
        "Vocabulary: the text is empty.\n  expected at least one character.\n"
        "  Build the vocabulary from the text that the model is trained with."
    )


@given(ANY_TEXT, ANY_TEXT)
def test_encode_refuses_exactly_what_is_unknown(known: str, text: str) -> None:
    """Neither a character below, between nor above the known ones slips through."""
    if set(text) <= set(known):
        assert Vocabulary(known).decode(Vocabulary(known).encode(text)) == text
    else:
        first = next(place for place, character in enumerate(text) if character not in known)
        lines = message(DataError, Vocabulary(known).encode, text).split("\n")
        assert lines[0].startswith(f"encode: the vocabulary does not hold {text[first]!r}")
        assert lines[1] == f"  position of the first: {first}"


def test_unknown_characters_are_listed_in_the_order_of_the_text() -> None:
    """Each once, at most ten, with how many more there are."""
    rest = "  vocabulary: 'abc'\n  expected only the 3 symbols that the model knows.\n"
    hint = "  Leave them out or replace them: on_unknown 'skip' or 'replace' (--on-unknown). "
    hint += "Or train a model with a text that holds them."
    assert message(DataError, Vocabulary("abc").encode, "abz\ud800z한c\n") == (
        "encode: the vocabulary does not hold 'z', '\\ud800', '한', '\\n'.\n"
        f"  position of the first: 2\n{rest}{hint}"
    )
    assert message(DataError, Vocabulary("abc").encode, "ponmlkjihgfe") == (
        "encode: the vocabulary does not hold 'p', 'o', 'n', 'm', 'l', 'k', 'j', 'i', 'h', 'g' and 2 more.\n"
        f"  position of the first: 0\n{rest}{hint}"
    )


def test_decomposed_text_is_recognised() -> None:
    """A Korean prompt from a Mac is often NFD; the way out says so."""
    assert message(DataError, Vocabulary("한글").encode, unicodedata.normalize("NFD", "한")) == (
        "encode: the vocabulary does not hold 'ᄒ', 'ᅡ', 'ᆫ'.\n  position of the first: 0\n"
        "  vocabulary: '글한'\n  expected only the 2 symbols that the model knows.\n"
        "  The text is not in Unicode form NFC: unicodedata.normalize('NFC', text) makes it known."
    )


@pytest.mark.parametrize(
    ("ids", "shown", "bad", "at"), [([0, -1, 5], "i64(3,)", -1, 1), ([2, 3], "i64(2,)", 3, 1)]
)
def test_ids_out_of_range_are_refused(ids: list[int], shown: str, bad: int, at: int) -> None:
    """A negative id does not count from the end."""
    assert message(DataError, Vocabulary("abc").decode, ids) == (
        f"decode: the vocabulary has no id {bad}.\n  ids: {shown}\n  position of the first: {at}\n"
        "  vocabulary: Vocabulary(3 symbols, 'a' to 'c')\n  expected ids from 0 to 2.\n"
        "  Do the ids come from a model with another vocabulary?"
    )


def test_ids_of_another_kind_are_refused() -> None:
    """Floats, truth values, batches and single numbers are not rows of ids."""
    decode = Vocabulary("abc").decode
    assert message(DTypeError, decode, [0.0]) == (
        "decode: ids are whole numbers.\n  ids: f64(1,)\n  expected integers."
    )
    assert message(DTypeError, decode, [True]).splitlines()[1] == "  ids: bool(1,)"
    assert message(ShapeError, decode, [[0, 1]]) == (
        "decode: this is not one row of ids.\n  ids: i64(1, 2)\n  expected one axis, got 2.\n"
        "  Of a batch (T, B), decode one column at a time: ids[:, 0]."
    )
    assert message(ShapeError, decode, 1).splitlines()[1] == "  ids: i64()"
    assert message(DTypeError, Vocabulary("abc").encode, b"abc") == (
        "encode: this is not text.\n  text: b'abc'\n  expected a str."
    )
    assert message(DTypeError, Vocabulary, ["a"]) == (
        "Vocabulary: this is not text.\n  text: ['a']\n  expected a str."
    )


@pytest.mark.parametrize("text", ["hello\n", "한글\0😀", "\ud83d\ude00", '\u2028"\\'])
def test_load_undoes_save(text: str) -> None:
    """Also for two lone surrogates, which one JSON string would merge; the file is pure ASCII."""
    Vocabulary(text).save("v.json")
    assert Vocabulary.load("v.json") == Vocabulary(text)
    assert Vocabulary.load(Path("v.json")).encode(text).tolist() == Vocabulary(text).encode(text).tolist()
    assert Path("v.json").read_bytes().isascii()
    assert os.listdir() == ["v.json"]


GOOD = '{"format": "tinygrad_seq vocabulary", "version": 1, "symbols": ["a", "b"]}'


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (GOOD[:-1], "is damaged: it is not JSON"),
        ("", "is damaged: it is not JSON"),
        ("\0", "is damaged: it is not JSON"),
        ("[" * 200_000, "is damaged: it is not JSON"),
        ("[]", "is not a vocabulary"),
        ('{"symbols": ["a"]}', "is not a vocabulary"),
        (GOOD.replace("1", "2"), "has version 2 of the format, not 1"),
        (
            GOOD.replace('["a", "b"]', '["b", "a"]'),
            "is damaged: its symbols are not sorted, distinct characters",
        ),
        (GOOD.replace('"b"', '"a"'), "is damaged: its symbols are not sorted, distinct characters"),
        (GOOD.replace('"b"', '"bc"'), "is damaged: its symbols are not sorted, distinct characters"),
        (GOOD.replace('"b"', "98"), "is damaged: its symbols are not sorted, distinct characters"),
        (GOOD.replace('["a", "b"]', "[]"), "is damaged: its symbols are not sorted, distinct characters"),
        (GOOD.replace('["a", "b"]', '"ab"'), "is damaged: its symbols are not sorted, distinct characters"),
        (None, "does not exist"),
    ],
)
def test_what_save_did_not_write_is_refused(content: str | None, what: str) -> None:
    """The undamaged text loads, so that each refusal is due to its own damage."""
    Path("v.json").write_text(GOOD, encoding="utf-8")
    assert Vocabulary.load("v.json") == Vocabulary("ab")
    Path("v.json").unlink()
    if content is not None:
        Path("v.json").write_text(content, encoding="utf-8")
    assert message(CheckpointError, Vocabulary.load, "v.json") == (
        f"load: 'v.json' {what}.\n"
        "  expected a JSON file that Vocabulary.save wrote, version 1 of the format.\n"
        "  Give the file that belongs to the model, or copy it anew from where the model was trained."
    )


def test_folder_is_not_a_vocabulary() -> None:
    """The refusal of the system becomes a `CheckpointError`."""
    Path("v.json").mkdir()
    assert message(CheckpointError, Vocabulary.load, "v.json").startswith(
        "load: 'v.json' cannot be read: it is a folder.\n"
    )


# ---------------------------------------------------------------- files


def test_written_file_replaces_the_old_one() -> None:
    """Bytes stay bytes, text becomes UTF-8 with bare newlines, and nothing else is left in the folder."""
    atomic_write_bytes("a", b"old and long")
    atomic_write_bytes("a", b"\r\n\0")
    assert Path("a").read_bytes() == b"\r\n\0"
    atomic_write_text(Path("a"), "é\n")
    assert Path("a").read_bytes() == b"\xc3\xa9\n"
    assert os.listdir() == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_failure_midway_leaves_the_old_file(error: type[BaseException]) -> None:
    """An error or Ctrl-C between two writes passes through; the old file is whole and alone."""

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        assert len(os.listdir()) == 2
        raise error

    atomic_write_bytes("a", b"old")
    with pytest.raises(error):
        atomic_write("a", write)
    assert Path("a").read_bytes() == b"old"
    assert os.listdir() == ["a"]


REST = "\n  Nothing was changed: what stood under this name before still stands there.\n  "


def test_full_disk_leaves_the_old_file() -> None:
    """The error of the system is quoted in a `CheckpointError`."""

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    atomic_write_bytes("a", b"old")
    assert message(CheckpointError, atomic_write, "a", write) == (
        f"write: 'a' cannot be written: no space left.{REST}Make room, and try again."
    )
    assert Path("a").read_bytes() == b"old"
    assert os.listdir() == ["a"]


def test_place_that_cannot_be_written_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, a folder in place of a file, and a folder without the right to write."""
    assert message(CheckpointError, atomic_write_bytes, "no/a", b"") == (
        f"write: 'no/a' cannot be written: its folder does not exist.{REST}"
        "Make the folder first, or choose another place."
    )
    Path("books").mkdir()
    assert message(CheckpointError, Vocabulary("a").save, "books") == (
        f"write: 'books' cannot be written: it is a folder.{REST}Give the name of a file inside it."
    )

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    assert message(CheckpointError, atomic_write_bytes, "a", b"new") == (
        f"write: 'a' cannot be written: permission denied.{REST}Choose a place that you may write to."
    )
    assert os.listdir() == ["books"]


def test_bytes_are_on_the_disk_before_the_name_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could leave the new name with nothing behind it."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        events.append(f"fsync {os.fstat(descriptor).st_size}" if not events else "fsync")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        events.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    atomic_write_bytes("a", b"12345")
    assert events[:2] == ["fsync 5", "replace"]
    assert events[2:] == ([] if os.name == "nt" else ["fsync"])


@pytest.mark.skipif(os.name == "nt", reason="links and modes are POSIX")
def test_link_stays_a_link_and_the_umask_holds() -> None:
    """A written file is readable by those the user lets read, through the link that was there."""
    Path("real").write_bytes(b"old")
    Path("link").symlink_to("real")
    before = os.umask(0o022)
    try:
        atomic_write_bytes("link", b"new")
    finally:
        os.umask(before)
    assert Path("link").is_symlink()
    assert Path("real").read_bytes() == b"new"
    assert Path("real").stat().st_mode & 0o777 == 0o644


# ---------------------------------------------------------------- batches


@given(
    st.integers(40, 5000), st.sampled_from([(0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (0.7, 0.3, 0), (1, 0, 0)])
)
def test_parts_are_contiguous_and_complete(count: int, fractions: tuple[float, float, float]) -> None:
    """Joined again they are the text, and each has the size that its fraction says."""
    ids = np.arange(count)
    parts = split(ids, fractions)
    assert np.concatenate(parts).tolist() == ids.tolist()
    assert parts.validation.size == int(count * fractions[1] + 1e-6)
    assert parts.test.size == int(count * fractions[2] + 1e-6)
    assert all(np.shares_memory(part, ids) for part in parts if part.size)


def test_rounding_does_not_lose_an_id() -> None:
    """0.29 of 100 is 29, although the product of the floats is a little less."""
    assert [part.size for part in split(range(100), (0.42, 0.29, 0.29))] == [42, 29, 29]


def test_text_too_short_to_split_is_refused() -> None:
    """The number that the message calls enough is enough, and one less is not."""
    assert message(DataError, split, np.arange(39)) == (
        "split: the text is too short for these fractions.\n  ids: i64(39,)\n  fractions: (0.9, 0.05, 0.05)\n"
        "  sizes: (37, 1, 1)\n  expected at least 2 ids in every part, one to read and one to predict.\n"
        "  Use a longer text (40 ids are enough), or a fraction of 0 for a part to spare."
    )
    assert [part.size for part in split(np.arange(40))] == [36, 2, 2]


@pytest.mark.parametrize(
    ("fractions", "total"),
    [((0.5, 0.5), 1.0), ((0.9, 0.2, -0.1), 1.0), ((0.9, 0.1, 0.1), 1.1), ((2, 0, 0), 2.0)],
)
def test_fractions_that_do_not_divide_are_refused(fractions: tuple[float, ...], total: float) -> None:
    """Three parts, none negative, one whole."""
    assert message(DataError, split, np.arange(100), fractions) == (
        "split: the fractions do not divide a text into three.\n"
        f"  fractions: {tuple(map(float, fractions))}\n  sum: {total}\n"
        "  expected three numbers from 0 to 1 (train, validation, test) with a sum of 1."
    )


@given(st.data(), st.integers(1, 6), st.integers(1, 6), st.integers(0, 40))
def test_streams_follow_the_text(data: st.DataObject, batch: int, window: int, more: int) -> None:
    """Targets are the ids after the inputs, windows go on where the last one stopped, and a wrap is fresh."""
    count = batch * (window + 1) + more
    ids = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    streams = Streams(ids, batch, window)
    length = count // batch
    steps = streams.batches_per_pass
    assert steps * window < length <= steps * window + window
    for step in range(2 * steps + 1):
        inputs, targets, fresh = next(streams)
        assert fresh is (step % steps == 0)
        for row in range(batch):
            start = row * length + step % steps * window
            assert inputs[:, row].tolist() == ids[start : start + window].tolist()
            assert targets[:, row].tolist() == ids[start + 1 : start + window + 1].tolist()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 30), st.integers(0, 20))
def test_streams_resume_exactly(batch: int, window: int, more: int, steps: int) -> None:
    """Whatever the step, a second object goes on with the very batches of the first."""
    ids = np.arange(batch * (window + 1) + more)
    first, second = Streams(ids, batch, window), Streams(ids, batch, window)
    for _ in range(steps):
        first.next_batch()
    second.next_batch()
    second.load_state_dict(first.state_dict())
    for _ in range(second.batches_per_pass + 1):
        one, other = first.next_batch(), second.next_batch()
        assert one.inputs.tolist() == other.inputs.tolist()
        assert one.targets.tolist() == other.targets.tolist()
        assert one.fresh is other.fresh


def test_state_of_other_streams_is_refused() -> None:
    """Other sizes, a place between two windows or beyond the last; the streams stay where they were."""
    streams = Streams(np.arange(30), 2, 4)
    state = streams.state_dict()
    assert state == {"position": 0, "batch": 2, "window": 4, "ids": 30}
    assert message(CheckpointError, streams.load_state_dict, {**state, "window": 5}) == (
        "load_state_dict: the state belongs to other streams.\n"
        "  state: {'position': 0, 'batch': 2, 'window': 5, 'ids': 30}\n"
        "  these streams: {'batch': 2, 'window': 4, 'ids': 30}\n"
        "  expected the same batch, window and number of ids.\n"
        "  Resume with the same text and settings, or start the streams anew."
    )
    for bad in (3, 12, -4, "0", None):
        assert message(CheckpointError, streams.load_state_dict, {**state, "position": bad}) == (
            f"load_state_dict: these streams have no such position.\n  position: {bad!r}\n"
            "  expected a multiple of the window 4 from 0 to 8.\n"
            "  The saved state is damaged; start the streams anew."
        )
    assert streams.state_dict() == state
    streams.load_state_dict({**state, "position": 8})
    assert streams.next_batch().inputs[0].tolist() == [8, 23]


@pytest.mark.parametrize(
    ("count", "batch", "window", "numbers", "hint"),
    [
        (99, 10, 9, "10 * (9 + 1) = 100 ids, got 99", "Use a batch of at most 9 or a window of at most 8"),
        (50, 2, 64, "2 * (64 + 1) = 130 ids, got 50", "Use a window of at most 24"),
        (50, 40, 4, "40 * (4 + 1) = 200 ids, got 50", "Use a batch of at most 10"),
    ],
)
def test_text_too_short_for_streams_is_refused(
    count: int, batch: int, window: int, numbers: str, hint: str
) -> None:
    """What the message offers does work, and one more does not."""
    assert message(DataError, Streams, np.arange(count), batch, window) == (
        "Streams: the text is too short for this batch and window.\n"
        f"  ids: i64({count},)\n  batch: {batch}\n  window: {window}\n"
        f"  expected at least {numbers}.\n  {hint}, or a longer text."
    )


def test_limits_that_the_message_names_are_exact() -> None:
    """100 ids are enough for 10 streams of 9 steps; of 99 ids, 9 streams or 8 steps can be had."""
    for count, batch, window in ((100, 10, 9), (99, 9, 9), (99, 10, 8)):
        assert Streams(np.arange(count), batch, window).batches_per_pass == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_batches_do_not_share_memory_with_the_text(dtype: type[np.integer[Any]]) -> None:
    """A model that writes into its input cannot spoil the text, and small ids come out as int64."""
    ids = np.arange(12, dtype=dtype)
    for batch in (Streams(ids, 1, 3).next_batch(), next(windows(ids, 1, 3))):
        assert batch.inputs.dtype == batch.targets.dtype == np.int64
        batch.inputs[:] = batch.targets[:] = 0
    assert ids.tolist() == list(range(12))


@given(st.integers(2, 300), st.integers(1, 12), st.integers(1, 12))
@example(101, 32, 1)
@example(2, 32, 64)
def test_windows_make_every_id_a_target_once(count: int, batch: int, window: int) -> None:
    """All but the very first, whatever the sizes; targets follow inputs; state is fresh or carried."""
    seen: list[int] = []
    last: Batch | None = None
    for item in windows(np.arange(count), batch, window):
        steps, width = item.inputs.shape
        assert 1 <= steps <= window
        assert 1 <= width <= batch
        assert item.targets.tolist() == (item.inputs + 1).tolist()
        assert np.diff(item.inputs, axis=0).tolist() == np.ones((steps - 1, width)).tolist()
        if item.fresh:
            assert item.inputs[0, 0] == (
                0 if last is None else count - 1 - (count - 1) % last.inputs.shape[1]
            )
        else:
            assert last is not None
            assert item.inputs[0].tolist() == last.targets[-1].tolist()
        seen += item.targets.ravel().tolist()
        last = item
    assert sorted(seen) == list(range(1, count))


@given(st.integers(2, 300), st.integers(1, 12), st.integers(1, 12))
def test_rows_are_reduced_only_when_short(count: int, batch: int, window: int) -> None:
    """The first window is as wide as the text allows with whole windows, and never empty."""
    first = next(windows(np.arange(count), batch, window))
    assert first.fresh
    assert first.inputs.shape == (min(window, count - 1), max(1, min(batch, (count - 1) // window)))


def test_text_too_short_for_windows_is_refused_at_once() -> None:
    """Before the first window is asked for."""
    for count in (0, 1):
        assert message(DataError, windows, np.zeros(count, np.int64), 2, 2) == (
            f"windows: the text is too short to be evaluated.\n  ids: i64({count},)\n"
            "  expected at least 2 ids, one to read and one to predict.\n  Use a longer text."
        )


@pytest.mark.parametrize("walk", [Streams, windows])
@pytest.mark.parametrize("bad", [0, -1, 2.0, "2", None, True])
def test_sizes_that_are_no_counts_are_refused(walk: Callable[..., object], bad: object) -> None:
    """Both sizes of both ways through a text."""
    for name, sizes in (("batch", (bad, 2)), ("window", (2, bad))):
        assert message(DataError, walk, np.arange(99), *sizes) == (
            f"{walk.__name__}: {name} is no count.\n  expected a whole number of at least 1, got {bad!r}."
        )


@pytest.mark.parametrize(("call", "sizes"), [(split, ()), (Streams, (2, 2)), (windows, (2, 2))])
def test_rows_of_another_kind_are_refused(call: Callable[..., object], sizes: tuple[int, ...]) -> None:
    """Two axes, or numbers that are not whole."""
    assert message(ShapeError, call, np.zeros((50, 2), int), *sizes) == (
        f"{call.__name__}: this is not one row of ids.\n  ids: i64(50, 2)\n  expected one axis, got 2."
    )
    assert message(DTypeError, call, np.zeros(99), *sizes) == (
        f"{call.__name__}: ids are whole numbers.\n  ids: f64(99,)\n  expected integers."
    )
