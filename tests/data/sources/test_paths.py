"""Laws of reading: packed or not, in pieces or whole, from files, folders, globs and iterables, the same text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.data import Corpus, from_texts, read_text, stream_text
from tinygrad_seq.data.sources.decode import Decoding, decoded
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError

TEXT = "one\r\ntwo\r한글 é\n" * 30
READ = TEXT.replace("\r\n", "\n")
PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message(error: type[Exception], call: Callable[..., object], *arguments: object, **named: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert type(caught.value) is error
    return str(caught.value)


def write_zip(name: str, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as packed:
        for member, data in members.items():
            packed.writestr(member, data)


class Pipe(io.RawIOBase):
    """Bytes that come a few at a time and cannot be sought in, as from a pipe."""

    def __init__(self, data: bytes):
        self.data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        count = min(7, len(buffer), len(self.data))
        buffer[:count], self.data = self.data[:count], self.data[count:]
        return count


def give_pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe(data))))


# ---------------------------------------------------------------- packed files


@pytest.mark.parametrize("kind", [*PACK, "zip"])
@pytest.mark.parametrize("name", ["book.txt", "book.txt.{}"])
def test_packed_files_are_unpacked_whatever_their_name(kind: str, name: str) -> None:
    """By how they begin; in pieces of any size the text is the same."""
    name = name.format(kind)
    data = b"\xef\xbb\xbf" + TEXT.encode()
    if kind == "zip":
        write_zip(name, {"a.txt": data})
    else:
        Path(name).write_bytes(PACK[kind](data))
    assert read_text(name).text == READ
    for chunk in (1, 5, 64):
        assert "".join(stream_text(name, chunk=chunk)) == READ


@pytest.mark.parametrize("kind", PACK)
def test_packed_standard_input(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a pipe that gives a few bytes at a time."""
    give_pipe(monkeypatch, PACK[kind](TEXT.encode()))
    assert read_text("-") == Corpus(READ, "standard input")
    give_pipe(monkeypatch, TEXT.encode())
    assert read_text("-").text == READ


def test_zip_cannot_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list of files is at the end."""
    write_zip("a.zip", {"a.txt": b"a"})
    give_pipe(monkeypatch, Path("a.zip").read_bytes())
    assert message(DataError, read_text, "-") == (
        "read_text: 'standard input' is a zip file, which cannot be read from a pipe.\n"
        "  expected a file on the disk, or text.\n"
        "  Unpack it into the pipe: unzip -p FILE.zip | tgs train -"
    )


def test_texts_of_a_zip_are_joined_by_name() -> None:
    """Only .txt where there are some; all where there are none; what a Mac adds is left out."""
    members = {
        "b.txt": b"two",
        "a.TXT": b"one",
        "cover.png": b"\x89PNG\0",
        "__MACOSX/a.txt": b"\0",
        "c/": b"",
    }
    write_zip("a.zip", members)
    assert read_text("a.zip").text == "one\ntwo"
    write_zip("b.zip", {"x.py": b"x", "a.py": b"a"})
    assert read_text("b.zip").text == "a\nx"
    write_zip("c.zip", {"a.txt": b"a\xff"})
    assert message(DataError, read_text, "c.zip").startswith("read_text: 'c.zip/a.txt' is not UTF-8.\n")
    write_zip("d.zip", {})
    assert message(DataError, read_text, "d.zip") == "read_text: the zip file 'd.zip' holds no file."


def test_encrypted_zip_is_named() -> None:
    """Its flag is enough; the password is nobody's business here."""
    write_zip("a.zip", {"a.txt": b"a"})
    data = bytearray(Path("a.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    Path("a.zip").write_bytes(data)
    assert message(DataError, read_text, "a.zip") == (
        "read_text: 'a.txt' in 'a.zip' is encrypted.\n  Unpack it with its password first."
    )


@pytest.mark.parametrize("kind", [*PACK, "zip"])
def test_damaged_packed_files_are_refused(kind: str) -> None:
    """Cut short, or with a byte changed in the middle."""
    text = bytes(range(32, 127)) * 400
    if kind == "zip":
        write_zip("a.zip", {"a.txt": text})
    else:
        Path("a.zip").write_bytes(PACK[kind](text))
    whole = Path("a.zip").read_bytes()
    changed = bytearray(whole)
    for at in range(len(whole) // 2 - 8, len(whole) // 2 + 8):
        changed[at] ^= 0xFF
    for data in (whole[:-20], bytes(changed)):
        Path("a.zip").write_bytes(data)
        text = message(DataError, read_text, "a.zip")
        assert text.startswith("read_text: 'a.zip")
        assert "is damaged: it cannot be unpacked" in text
        assert text.endswith("expected a whole gzip, bzip2, xz or zip file.\n  Copy or download it anew.")


def test_file_that_packs_nothing_holds_no_text() -> None:
    """An empty file, and an empty file packed."""
    Path("a.txt").touch()
    Path("a.gz").write_bytes(gzip.compress(b""))
    for name in ("a.txt", "a.gz"):
        assert message(DataError, read_text, name).startswith(f"read_text: {name!r} holds no text.\n")
        assert message(DataError, list, stream_text(name)) == message(DataError, read_text, name)


# ---------------------------------------------------------------- folders and globs


def test_folder_stands_for_its_texts() -> None:
    """In it and below it, by path, packed ones too; hidden ones not."""
    for name in ("b/z.txt", "b/a.md", "b/c/x.TXT", "b/.git/no.txt", "b/.no.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    Path("b/d.txt.gz").write_bytes(gzip.compress(b"packed"))
    want = "\n".join(["b/a.md", "b/c/x.TXT", "packed", "b/z.txt"])
    for source in ("b", Path("b"), "b" + os.sep):
        assert read_text(source).text == want
    assert read_text("b").name == f"{Path('b/a.md')} + 3 more"


def test_glob_stands_for_what_fits() -> None:
    """By path; a file of that very name comes first; folders are left out."""
    for name in ("b.py", "a.py", "sub/c.py", "x[1].txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    Path("d.py").mkdir()
    assert read_text("*.py").text == "a.py\nb.py"
    assert read_text("**/*.py").text == "a.py\nb.py\nsub/c.py"
    assert read_text(["sub/?.py", "a.py"]).text == "sub/c.py\na.py"
    assert read_text("x[1].txt").text == "x[1].txt"
    assert message(DataError, read_text, Path("*.py")).startswith("read_text: '*.py' does not exist.\n")
    assert message(DataError, read_text, "*.rs") == (
        "read_text: no file fits '*.rs'.\n"
        "  expected a glob such as books/*.txt, or books/**/*.txt for the folders below too.\n"
        "  Without a file: builtin:topics or builtin:stdlib."
    )


# ---------------------------------------------------------------- pieces


@given(st.text(st.sampled_from("ab\r\n\ufeffé한\u0301각😀"), max_size=30), st.integers(1, 4))
def test_pieces_make_the_text(text: str, chunk: int) -> None:
    """Bytes cut anywhere: in a character, before a line feed, between a letter and its accent."""
    data = text.encode()
    want = text.removeprefix("\ufeff").replace("\r\n", "\n")
    assert "".join(decoded(io.BytesIO(data), "a", chunk=chunk)) == want
    # The first piece is large, so the small ones need something before them.
    long = b"x" * 8192 + data
    assert "".join(decoded(io.BytesIO(long), "a", chunk=chunk)) == "x" * 8192 + text.replace("\r\n", "\n")


@pytest.mark.parametrize("chunk", [1, 3, 8192, 1 << 20])
def test_streamed_text_is_the_text_read(chunk: int) -> None:
    """Several files, one of them decomposed, one without a newline at its end."""
    Path("a").write_bytes(unicodedata.normalize("NFD", TEXT * 40).encode())
    Path("b").write_bytes(b"\xef\xbb\xbf" + TEXT.encode()[:-1])
    sources = ["a", "b", "a"]
    pieces = list(stream_text(sources, chunk=chunk))
    assert "".join(pieces) == read_text(sources).text == READ * 40 + READ + READ * 40
    assert max(map(len, pieces)) <= max(chunk, 8192) + 100


# ---------------------------------------------------------------- bad bytes and encodings


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_offset_and_line_of_a_bad_byte(chunk: int) -> None:
    """They count the bytes of the file, however it is read."""
    Path("a.txt").write_bytes("한줄\r\n".encode() * 5000 + b"x\xe9y" + b"\n" * 9000)
    text = message(DataError, list, stream_text("a.txt", chunk=chunk))
    assert text.startswith("read_text: 'a.txt' is not UTF-8.\n  offset: 40001\n  line: 5001\n")
    assert text.endswith(
        "  expected UTF-8 text, in which the byte 0xe9 cannot stand at offset 40,001.\n"
        "  Save it as UTF-8, or convert it; from Latin-1: iconv -f latin1 -t utf-8.\n"
        "  Bad bytes can be replaced or skipped: bad_bytes 'replace' or 'skip' (--bad-bytes)."
    )


def test_character_cut_off_at_the_end() -> None:
    """A download that broke off: the offset is where the character began."""
    Path("a.txt").write_bytes(b"ab\n" + "한".encode()[:2])
    lines = message(DataError, read_text, "a.txt").split("\n")
    assert lines[1:4] == ["  offset: 3", "  line: 2", "  bytes from there: b'\\xed\\x95'"]


def test_bad_bytes_replaced_or_skipped() -> None:
    """As asked for by name."""
    Path("a.txt").write_bytes(b"caf\xe9 au lait")
    assert read_text("a.txt", bad_bytes="replace").text == "caf\ufffd au lait"
    assert read_text("a.txt", bad_bytes="skip").text == "caf au lait"
    assert read_text("a.txt", encoding="latin-1").text == "café au lait"
    assert message(ArgumentError, read_text, "a.txt", bad_bytes="replaced") == (
        "read_text: bad_bytes out of range.\n  bad_bytes: 'replaced'\n"
        "  expected one of error, replace, skip.\n  Did you mean 'replace'?"
    )


def test_korean_in_another_encoding_is_recognised() -> None:
    """The message names it, and named it is read."""
    text = "동해 물과 백두산이 마르고 닳도록\n" * 10
    Path("a.txt").write_bytes(text.encode("euc-kr"))
    assert message(DataError, read_text, "a.txt") == (
        "read_text: 'a.txt' is not UTF-8.\n  offset: 0\n  line: 1\n"
        f"  bytes from there: {text.encode('euc-kr')[:8]!r}\n"
        "  expected UTF-8 text, in which the byte 0xb5 cannot stand at offset 0.\n"
        "  It reads as Korean in cp949: name this encoding (--encoding cp949), or convert it: "
        "iconv -f cp949 -t utf-8.\n"
        "  Bad bytes can be replaced or skipped: bad_bytes 'replace' or 'skip' (--bad-bytes)."
    )
    for encoding in ("cp949", "EUC-KR"):
        assert read_text("a.txt", encoding=encoding).text == text
        assert "".join(stream_text("a.txt", encoding=encoding, chunk=1)) == text
    Path("a.txt").write_bytes(text.encode("euc-kr") + b"\xff")
    assert message(DataError, read_text, "a.txt", encoding="cp949").startswith(
        f"read_text: 'a.txt' is not cp949.\n  offset: {len(text.encode('euc-kr'))}\n  line: 11\n"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_other_unicode_encodings(encoding: str) -> None:
    """Zero bytes are no sign of a binary file there."""
    Path("a.txt").write_bytes("한 a\r\n".encode(encoding))
    assert read_text("a.txt", encoding=encoding).text == "한 a\n"


@pytest.mark.parametrize("encoding", ["utf-9", "rot13", "hex", "", None])
def test_what_is_no_encoding_is_refused(encoding: object) -> None:
    """Neither unknown names nor codecs that are none of bytes."""
    assert message(ArgumentError, Decoding, encoding) == (
        f"read_text: there is no such encoding.\n  encoding: {encoding!r}\n"
        "  expected a name such as utf-8, cp949, euc-kr, cp1252, latin-1, shift-jis or utf-16."
    )


# ---------------------------------------------------------------- iterables


def test_iterables_of_texts() -> None:
    """Strings, dicts, a generator of both; newlines between, as between files."""
    texts = ["one\r\n", {"text": "two", "id": 3}, "", "e\u0301"]
    assert from_texts(texts) == from_texts(iter(texts), "texts") == Corpus("one\ntwo\né", "texts")
    assert message(DataError, from_texts, ["", {"text": ""}]).startswith(
        "read_text: 'texts' holds no text.\n"
    )


def test_what_is_no_text_is_refused() -> None:
    """One string is not many; a dict without the key shows those it has."""
    rule = "  expected a string, or a dict with a string under the key 'text'."
    assert message(DTypeError, from_texts, ["a", {"content": "b", 3: 4}]) == (
        f"from_texts: this is no text.\n  element 1: ['3', 'content']\n{rule}"
    )
    assert message(DTypeError, from_texts, [b"a"]) == (
        f"from_texts: this is no text.\n  element 0: b'a'\n{rule}"
    )
    for bad in ("text", b"text", {"text": "a"}, 3):
        assert message(DTypeError, from_texts, bad) == (
            f"from_texts: these are no texts.\n  texts: {bad!r}\n"
            "  expected an iterable of strings, or of dicts with a text under the key 'text'."
        )
