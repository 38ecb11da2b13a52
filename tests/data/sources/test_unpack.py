"""Packed files that expand without end, lie about themselves, or are packed as Python cannot unpack."""

import bz2
import gzip
import io
import lzma
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tinygrad_seq.data import read_text, stored_tokens, stream_text
from tinygrad_seq.data.sources import unpack
from tinygrad_seq.data.store.cache import is_large
from tinygrad_seq.errors import ArgumentError, DataError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data),
    "bz2": lambda data: bz2.compress(data),
    "xz": lambda data: lzma.compress(data),
    "zip": lambda data: zipped({"a.txt": data}),
}
WAY_OUT = "  If you want it all, name how many megabytes it may come to: max_size=N, for train and eval --max-size N."


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return file.getvalue()


def message(call: Callable[..., object], *arguments: object, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments, **settings)
    return str(caught.value)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and bounds so small that tests are quick."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unpack, "FREE", 1 << 20)
    monkeypatch.setattr(unpack, "MOST", 1 << 22)


@pytest.mark.parametrize("kind", PACKERS)
def test_what_grows_without_end_is_refused(kind: str) -> None:
    """A bomb ends in one line, and takes no more memory than a few pieces."""
    Path("bomb").write_bytes(PACKERS[kind](b"abcdefg\n" * (1 << 20)))
    tracemalloc.start()
    said = message(lambda: sum(map(len, stream_text("bomb", chunk=1 << 16))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said == (
        "read_text: 'bomb' expands to too much.\n"
        f"  expected 200 times its size on the disk at the most, or 1 MB.\n{WAY_OUT}"
    )
    assert peak < 3_000_000 + (9_000_000 if kind in ("bz2", "xz") else 0)
    assert message(read_text, "bomb") == message(stored_tokens, "bomb", folder="cache") == said
    assert not list(Path("cache").iterdir())


@pytest.mark.parametrize("kind", PACKERS)
def test_a_named_size_is_the_only_bound(kind: str) -> None:
    """In megabytes of what comes out, packed or not."""
    data = b"abcdefg\n" * (1 << 18)  # 2.1 MB
    Path("a").write_bytes(PACKERS[kind](data))
    Path("b").write_bytes(data)
    for name, verb in (("a", "expands to"), ("b", "holds")):
        assert len(read_text(name, max_size=3).text) == len(data)
        assert message(read_text, name, max_size=2) == (
            f"read_text: '{name}' {verb} too much.\n"
            f"  expected 2 MB at the most, the bound that was set.\n{WAY_OUT}"
        )


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "1"])
def test_sizes_that_are_none(wrong: object) -> None:
    """A whole number of megabytes."""
    with pytest.raises(ArgumentError, match="max_size out of range"):
        read_text("a", max_size=wrong)  # type: ignore[arg-type]


def test_the_whole_bound_holds_for_what_packs_honestly() -> None:
    """Random letters do not pack well: the ratio is fine, the size is too much."""
    rng = __import__("random").Random(0)
    Path("a").write_bytes(gzip.compress(bytes(rng.choices(range(97, 123), k=5 << 20)), 1))
    assert message(read_text, "a").splitlines()[1] == "  expected 4 MB at the most."


class Pipe(io.RawIOBase):
    """Standard input that cannot seek: `start`, and then the same piece for ever."""

    def __init__(self, start: bytes, piece: bytes):
        self.left, self.piece = start, piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        part = self.left[: len(view)] or self.piece[: len(view)]
        self.left = self.left[len(part) :]
        view[: len(part)] = part
        return len(part)


@pytest.mark.parametrize(
    "start", [b"abc\n", gzip.compress(b"abcdefg\n" * (1 << 20))], ids=["plain", "packed"]
)
def test_endless_standard_input(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`yes | tgs train -` ends, with nothing left on the disk; a bomb through a pipe as well."""
    for read in (read_text, lambda source: stored_tokens(source, folder="cache")):
        stream = io.TextIOWrapper(io.BufferedReader(Pipe(start, b"yes\n" * 4096)))
        monkeypatch.setattr(sys, "stdin", stream)
        said = message(read, "-")
        assert "too much" in said
        assert said.endswith(WAY_OUT)
    assert not list(Path("cache").iterdir())


def test_large_is_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a packed file as many bytes are counted as matter, a zip's members together."""
    Path("a.zip").write_bytes(zipped({"a.txt": b"a\n" * 1000, "b.txt": b"b\n" * 1000}))
    for limit in (4000, 4001):
        monkeypatch.setattr("tinygrad_seq.data.store.cache._LARGE", limit)
        assert is_large("a.zip") is (limit == 4000)


# ---- zip files that lie, or know too much ---------------------------------------------------------------


def patched(data: bytes, at: int, values: bytes, times: int = 1) -> bytes:
    """A zip with other bytes in its local header and in its directory, `at` counted from the method's field."""
    local, central = data.index(b"PK\x03\x04") + 8, data.index(b"PK\x01\x02") + 10
    out = bytearray(data)
    for place in (local, central):
        out[place + at : place + at + len(values)] = values
    return bytes(out)


UNKNOWN = "is packed in a way that Python cannot unpack"


@pytest.mark.parametrize("method", [1, 2, 6, 9, 19, 93, 95, 98, 99])
def test_methods_that_python_lacks(method: int) -> None:
    """Shrunk, imploded, deflate64, zstd and others: one line, not NotImplementedError."""
    if sys.version_info >= (3, 14) and method == 93:
        pytest.skip("Python unpacks zstd by now")
    Path("a.zip").write_bytes(patched(zipped({"a.txt": b"hello " * 99}), 0, struct.pack("<H", method)))
    assert message(read_text, "a.zip").startswith(f"read_text: 'a.zip' {UNKNOWN}.\n  unpacker: ")


@pytest.mark.parametrize(
    ("flags", "said"), [(0x20, UNKNOWN), (0x41, "is encrypted"), (0x40, UNKNOWN), (0x1, "is encrypted")]
)
def test_flags_that_python_lacks(flags: int, said: str) -> None:
    """Patched data, strong encryption, a password."""
    Path("a.zip").write_bytes(patched(zipped({"a.txt": b"hello"}), -2, struct.pack("<H", flags)))
    assert said in message(read_text, "a.zip").splitlines()[0]


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def _flipped(data: bytes) -> bytes:
    return patched(data, 6, b"\0\0\0\0")  # the checksum


def _lying(data: bytes) -> bytes:
    return patched(data, 10, b"\xff\xff\xff\x7f" * 2)  # both sizes


DAMAGES = [
    _cut(zipped({"a.txt": b"hello " * 999})),
    _flipped(zipped({"a.txt": b"hello " * 999})),
    _lying(zipped({"a.txt": b"hello " * 999})),
    zipped({"a.txt": b"hello " * 999}, zipfile.ZIP_LZMA)[:-30],
    _cut(gzip.compress(bytes(range(32, 127)) * 99)),
    _cut(bz2.compress(bytes(range(32, 127)) * 99)),
    _cut(lzma.compress(bytes(range(32, 127)) * 99)),
]


@pytest.mark.parametrize("data", DAMAGES, ids=range(len(DAMAGES)))
def test_damage_is_one_message(data: bytes) -> None:
    """Cut short, another checksum, sizes that are lies: nothing but `DataError`."""
    Path("a").write_bytes(data)
    assert message(read_text, "a").startswith("read_text: 'a")


def test_every_damaged_byte_of_a_zip_is_told_or_harmless() -> None:
    """Each byte of a small archive in turn: a text, or one error of ours."""
    data = zipped({"a.txt": b"hello, hello, hello\n", "b.txt": b"bye\n"})
    for place in range(len(data)):
        for value in (0x00, 0xFF, data[place] ^ 0x01):
            Path("a.zip").write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            try:
                read_text("a.zip")
            except DataError:
                continue


def test_names_do_not_leave_the_archive() -> None:
    """Nothing is written where a member's name says; escapes in it are visible."""
    members = {"/etc/passwd.txt": b"one\n", "../../up.txt": b"two\n", "a\x1b[2J.txt": b"three\n"}
    Path("a.zip").write_bytes(zipped(members))
    assert sorted(read_text("a.zip").text.split()) == ["one", "three", "two"]
    assert sorted(path.name for path in Path().iterdir()) == ["a.zip"]
    Path("b.zip").write_bytes(zipped({"a\x1b[2J.txt": b"\xff\xff"}))
    assert "\x1b" not in message(read_text, "b.zip")


def test_an_archive_in_an_archive_is_not_text() -> None:
    """It is said, and not unpacked for ever."""
    inner = zipped({"a.txt": bytes(range(256)) * 9})
    Path("a.zip").write_bytes(zipped({"a.zip": inner}))
    assert "looks binary" in message(read_text, "a.zip")


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reads the whole list first: a list of millions is refused before that."""
    monkeypatch.setattr(unpack, "_MOST_MEMBERS", 9)
    Path("a.zip").write_bytes(zipped({f"{i}.txt": b"x\n" for i in range(10)}))
    assert message(read_text, "a.zip") == (
        "read_text: the zip file 'a.zip' lists too many files.\n"
        "  expected 9 at the most.\n  Unpack it, and give the folder."
    )


def test_members_that_share_their_bytes() -> None:
    """Many entries that point at one kernel: refused by the sum over the archive, or by Python itself."""
    one = zipped({"a.txt": b"abcdefg\n" * (1 << 14)})
    start, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    entry, count = one[start:end], 60
    tail = bytearray(one[end:])
    tail[8:10] = tail[10:12] = struct.pack("<H", count)
    tail[12:16] = struct.pack("<I", len(entry) * count)
    Path("a.zip").write_bytes(one[:start] + entry * count + bytes(tail))
    assert "\n" in message(read_text, "a.zip")
