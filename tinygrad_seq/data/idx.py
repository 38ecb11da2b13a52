"""IDX files, the format of MNIST: arrays of numbers after a short header, read strictly.

    00 00 TYPE D    then D sizes as u32, then the numbers row by row; all of it big-endian (LeCun, 1998)

The meaning of the numbers is left to the caller.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.nearest import nearest, neighbors, shorten
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DataError, explain
from tinygrad_seq.runtime.untrusted_files import open_file, reason_of

__all__ = ["labelled_images", "read_idx"]

Array = npt.NDArray[Any]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_GZIP = b"\x1f\x8b"
_MOST_AXES = 32  # what every version of NumPy can hold
_LARGEST = 1 << 31  # bytes
_DENSEST = 1032  # deflate cannot make more bytes than this of one
_CHUNK = 1 << 20  # bytes


def read_idx(path: str | os.PathLike[str], *, largest: int = _LARGEST) -> Array:
    """The array in an IDX file, in this machine's byte order: u8, i8, i16, i32, f32 or f64, of 1 to 32 axes.

    The file may be packed with gzip, whatever its name. Its length must be exactly that of its header. A header with
    more than the file can hold, or more than `largest` bytes, is refused before memory is allocated.

    Raises `DataError` for a file that cannot be opened, is damaged, or is no IDX file.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "three-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    name = os.fspath(path)
    with _opened(name) as (file, limit):
        dtype, shape = _head(file, name)
        wanted = math.prod(shape) * dtype.itemsize
        # A size of 0 makes the product 0, but NumPy counts the other sizes all the same.
        span = math.prod(size or 1 for size in shape) * dtype.itemsize
        if span > largest:
            rule = f"expected {largest:,} bytes at the most."
            raise DataError(f"read_idx: {shorten(name)} is too large", _told(dtype, shape), rule)
        if wanted > limit:
            raise DataError(
                _too_short(name, dtype, shape, wanted, f"the file can hold {limit:,} at the most")
            )
        data = _data(file, wanted)
        if len(data) < wanted:
            raise DataError(_too_short(name, dtype, shape, wanted, f"{len(data):,} follow"))
        if file.read(1):
            rule = f"expected the {wanted:,} bytes that its head speaks of, and then the end."
            what = f"read_idx: {shorten(name)} goes on behind its numbers"
            raise DataError(what, _told(dtype, shape), rule)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def labelled_images(
    images: str | os.PathLike[str], labels: str | os.PathLike[str]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images u8(N, H, W) and the label of each, u8(N,), from a pair of IDX files such as MNIST's.

    Raises `DataError` where `read_idx` does, and for files that are no such pair.
    """
    found = read_idx(images), read_idx(labels)
    for path, array, axes, what in zip((images, labels), found, (3, 1), ("images", "labels"), strict=True):
        if array.ndim != axes or array.dtype != np.uint8:
            rule = f"expected whole numbers from 0 to 255 on {axes} {'axis' if axes == 1 else 'axes'}."
            other = "Are images and labels the right way round?"
            text = f"labelled_images: {shorten(os.fspath(path))} holds no {what}"
            raise DataError(text, {"array": array}, rule, other)
    if len(found[0]) != len(found[1]):
        named = {"images": found[0], "labels": found[1]}
        raise DataError(
            "labelled_images: the files do not belong together", named, "expected a label for each image."
        )
    return found


@contextmanager
def _opened(name: str) -> Iterator[tuple[BinaryIO, int]]:
    """The unpacked bytes of a file, and how many there can be."""
    try:
        with open_file(name) as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == _GZIP
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked, size * _DENSEST  # type: ignore[misc]
            else:
                yield file, size
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        rule, hint = "expected a whole gzip file.", "Copy or download it anew."
        named = {"unpacker": str(error) or type(error).__name__}
        what = f"read_idx: {shorten(name)} is damaged: it cannot be unpacked"
        raise DataError(what, named, rule, hint) from error
    except OSError as error:
        raise DataError(_refusal(name, error)) from error


def _head(file: BinaryIO, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 0 < magic[3] <= _MOST_AXES:
        rule = (
            "expected two zero bytes, a type of " + ", ".join(f"{code:02x}" for code in _TYPES) + ", and a "
            f"number of axes from 1 to {_MOST_AXES}."
        )
        what = f"read_idx: {shorten(name)} is no IDX file"
        raise DataError(what, {"it begins with": magic.hex(" ") or "nothing"}, rule)
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        rule = f"expected {magic[3]} sizes of 4 bytes each behind the first four bytes."
        raise DataError(f"read_idx: {shorten(name)} ends inside its head", None, rule)
    return np.dtype(">" + _TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)


def _data(file: BinaryIO, wanted: int) -> bytearray:
    """That many bytes, or all there are; read piece by piece, so that a false header allocates no memory."""
    data = bytearray()
    while len(data) < wanted and (piece := file.read(min(_CHUNK, wanted - len(data)))):
        data += piece
    return data


def _told(dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, object]:
    return {"type": dtype.newbyteorder("=").name, "sizes": shape}


def _too_short(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], wanted: int, holds: str) -> str:
    return explain(
        f"read_idx: {shorten(name)} holds fewer numbers than its head says",
        _told(dtype, shape),
        f"expected {wanted:,} bytes behind the head; {holds}.",
        "Copy or download it anew.",
    )


def _refusal(name: str, error: OSError) -> str:
    hint = ""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        what, hint = "does not exist", nearest(name, neighbors(name)).strip()
    elif isinstance(error, IsADirectoryError):
        what = "is a folder"
    elif isinstance(error, PermissionError):
        what = "may not be read: permission denied"
    else:
        what = f"cannot be read: {reason_of(error)}"
    return explain(f"read_idx: {shorten(name)} {what}", None, "expected an IDX file.", hint)


answer(globals(), "labelled_images", "read_idx")
