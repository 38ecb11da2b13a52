"""IDX files: what is written is read, and whatever is not exactly right is refused in words."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_seq.data.idx import labelled_images, read_idx
from tinygrad_seq.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    """A file's bytes, written one number at a time, as the format's page says it."""
    code = CODES[array.dtype.str[1:]]
    letter = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}[array.dtype.str[1:]]
    head = bytes([0, 0, code, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + b"".join(struct.pack(">" + letter, value) for value in array.ravel().tolist())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(data: bytes, **settings: int) -> str:
    Path("x.idx").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_idx("x.idx", **settings)
    return str(caught.value)


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_type_is_read_packed_or_not(kind, pack):
    """The name says nothing: a packed file need not end in .gz."""
    array = np.array([[0, 1, -3], [100, 7, 2]]).astype(kind)
    Path("x-idx2").write_bytes(pack(idx(array)))
    found = read_idx("x-idx2")
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(read_idx(Path("x-idx2")), array)


@given(
    arrays.arrays(
        st.sampled_from(["u1", "i2", "f8"]), arrays.array_shapes(max_dims=5, max_side=4, min_side=0)
    )
)
def test_what_is_written_is_read(tmp_path_factory, array):
    """Any shape, sizes of 0 included."""
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(idx(array))
    found = read_idx(path)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_two_axes_of_different_sizes_are_not_mixed_up():
    Path("x").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert read_idx("x").tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_wrong_beginning():
    types = "expected two zero bytes, a type of 08, 09, 0b, 0c, 0d, 0e, and a number of axes from 1 to 32."
    for data, said in (
        (b"\x89PNG....", "'89 50 4e 47'"),
        (bytes([0, 0, 10, 1, 0, 0, 0, 0]), "'00 00 0a 01'"),
        (bytes([0, 0, 8, 0]), "'00 00 08 00'"),
        (bytes([0, 0, 8, 33]), "'00 00 08 21'"),
        (bytes([0, 8, 8, 1]), "'00 08 08 01'"),
        (b"\0\0", "'00 00'"),
        (b"", "'nothing'"),
    ):
        assert refusal(data) == f"read_idx: 'x.idx' is no IDX file.\n  it begins with: {said}\n  {types}"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_truncation_is_refused(pack):
    """A whole file cut at any byte, and the same behind an unpacker."""
    whole = idx(np.arange(6, dtype=np.int16).reshape(2, 3))
    for end in range(len(whole)):
        said = refusal(pack(whole[:end]))
        assert said.startswith("read_idx: 'x.idx' ")
        kind = "is no IDX file" if end < 4 else "ends inside its head" if end < 12 else "holds fewer numbers"
        assert kind in said, end


def test_a_truncation_in_full():
    assert refusal(idx(np.arange(6, dtype=np.int16).reshape(2, 3))[:-5]) == (
        "read_idx: 'x.idx' holds fewer numbers than its head says.\n"
        "  type: 'int16'\n"
        "  sizes: (2, 3)\n"
        "  expected 12 bytes behind the head; 7 follow.\n"
        "  Copy or download it anew."
    )
    assert refusal(bytes([0, 0, 8, 2, 0, 0])) == (
        "read_idx: 'x.idx' ends inside its head.\n  expected 2 sizes of 4 bytes each behind the first four bytes."
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_bytes_behind_the_end(pack):
    assert refusal(pack(idx(np.arange(3, dtype=np.uint8)) + b"\0")) == (
        "read_idx: 'x.idx' goes on behind its numbers.\n"
        "  type: 'uint8'\n"
        "  sizes: (3,)\n"
        "  expected the 3 bytes that its head speaks of, and then the end."
    )


def test_a_damaged_gzip_file():
    packed = gzip.compress(idx(np.arange(200, dtype=np.int32)))
    cut = refusal(packed[:-12])
    assert cut.startswith("read_idx: 'x.idx' is damaged: it cannot be unpacked.\n  unpacker: ")
    assert cut.endswith("\n  expected a whole gzip file.\n  Copy or download it anew.")
    flipped = bytearray(packed)
    flipped[-5] ^= 1  # the check sum, which is only looked at where the data end
    assert "is damaged" in refusal(bytes(flipped))
    assert "is damaged" in refusal(packed + b"junk")


def test_a_lie_about_the_size_costs_no_memory():
    """Heads that claim gigabytes, of files of a few bytes."""
    small = bytes([0, 0, 8, 2]) + struct.pack(">2I", 40_000, 40_000) + b"12345"
    huge = bytes([0, 0, 14, 3]) + struct.pack(">3I", *[2**32 - 1] * 3)
    empty = bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1)
    packed = gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 10**9) + bytes(10**6))
    tracemalloc.start()
    try:
        assert "expected 1,600,000,000 bytes behind the head; the file can hold 17 at the most." in refusal(
            small
        )
        assert refusal(huge) == (
            "read_idx: 'x.idx' is too large.\n"
            "  type: 'float64'\n"
            "  sizes: (4294967295, 4294967295, 4294967295)\n"
            "  expected 2,147,483,648 bytes at the most."
        )
        assert "is too large" in refusal(empty)
        assert "at the most" in refusal(packed)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_limit_of_ones_own():
    data = idx(np.arange(6, dtype=np.int16))
    assert "expected 11 bytes at the most" in refusal(data, largest=11)
    assert read_idx("x.idx", largest=12).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_file_that_cannot_be_opened():
    Path("train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_idx("train-image-idx3-ubyte")
    assert str(caught.value) == (
        "read_idx: 'train-image-idx3-ubyte' does not exist.\n"
        "  expected an IDX file.\n"
        "  Did you mean 'train-images-idx3-ubyte'?"
    )
    Path("folder").mkdir()
    with pytest.raises(DataError) as caught:
        read_idx("folder")
    assert str(caught.value) == "read_idx: 'folder' is a folder.\n  expected an IDX file."


@pytest.mark.skipif(
    sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="all may be read"
)
def test_a_file_that_may_not_be_read():
    Path("x").write_bytes(b"")
    Path("x").chmod(0)
    with pytest.raises(DataError, match="may not be read: permission denied"):
        read_idx("x")


def test_a_pair_of_files():
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([7, 1], np.uint8)
    Path("images.gz").write_bytes(gzip.compress(idx(images)))
    Path("labels").write_bytes(idx(labels))
    found = labelled_images("images.gz", Path("labels"))
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)


def test_files_that_are_no_pair():
    Path("images").write_bytes(idx(np.zeros((3, 2, 2), np.uint8)))
    Path("two").write_bytes(idx(np.zeros(2, np.uint8)))
    Path("wide").write_bytes(idx(np.zeros(3, np.int32)))
    for pair, said in (
        (
            ("images", "two"),
            "labelled_images: the files do not belong together.\n"
            "  images: u8(3, 2, 2)\n"
            "  labels: u8(2,)\n"
            "  expected a label for each image.",
        ),
        (
            ("two", "images"),
            "labelled_images: 'two' holds no images.\n"
            "  array: u8(2,)\n"
            "  expected whole numbers from 0 to 255 on 3 axes.\n"
            "  Are images and labels the right way round?",
        ),
        (
            ("images", "wide"),
            "labelled_images: 'wide' holds no labels.\n"
            "  array: i32(3,)\n"
            "  expected whole numbers from 0 to 255 on 1 axis.\n"
            "  Are images and labels the right way round?",
        ),
    ):
        with pytest.raises(DataError) as caught:
            labelled_images(*pair)
        assert str(caught.value) == said
