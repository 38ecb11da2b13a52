"""Numba's cache of compiled kernels, read only where each file still has the bytes that were written.

Numba unpickles its index and runs the machine code that it finds, and checks neither. A wrong byte from a disk or a
copy can crash the process, or silently give a wrong number. So there is a digest beside each file, and a file that
does not match its digest counts as absent: its kernel is compiled again. This protects against damage; the
protection against people is that the folder is private to the user.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from pathlib import Path
from typing import Any

ENDING = ".digest"
"""What is added to the name of a file for the name of its digest."""


def digest_of(path: Path) -> str:
    """The BLAKE2b digest of a file's bytes and of its name, so that files which were exchanged are found too.

    Raises OSError where it cannot be read.
    """
    return hashlib.blake2b(path.name.encode() + b"\0" + path.read_bytes(), digest_size=32).hexdigest()


def is_sound(path: Path) -> bool:
    """True where a file exists and matches its digest."""
    try:
        return path.with_name(path.name + ENDING).read_bytes() == digest_of(path).encode()
    except OSError:
        return False


def write_digest(path: Path) -> None:
    """Write the digest of a file beside it; where that fails, the file counts as absent."""
    # Not flushed to the disk: a digest lost in a power cut costs one more compilation.
    with contextlib.suppress(OSError):
        path.with_name(path.name + ENDING).write_bytes(digest_of(path).encode())


@functools.cache
def _checked_files() -> type[Any]:
    """Numba's reader and writer of cache files, with digests."""
    from numba.core import caching

    plain: Any = caching.IndexDataCacheFile  # numba has no types

    class CheckedFiles(plain):  # type: ignore[misc]
        def _load_index(self) -> Any:
            return super()._load_index() if is_sound(Path(self._index_path)) else {}

        def _load_data(self, name: str) -> Any:
            path = Path(self._data_path(name))
            if not is_sound(path):
                raise FileNotFoundError(str(path))  # numba compiles what it cannot read, and writes it again
            return super()._load_data(name)

        def _save_index(self, overloads: Any) -> None:
            super()._save_index(overloads)
            write_digest(Path(self._index_path))

        def _save_data(self, name: str, data: Any) -> None:
            super()._save_data(name, data)
            write_digest(Path(self._data_path(name)))

    found: type[Any] = CheckedFiles
    return found


def enable_checked_cache(dispatcher: Any) -> None:
    """Let a function that numba compiles keep its machine code on the disk, checked before it is loaded.

    Raises AttributeError or ImportError where this numba stores its files in another way: better no cache than an
    unchecked one.
    """
    files = _checked_files()
    dispatcher.enable_caching()
    cache = dispatcher._cache
    impl = cache._impl
    cache._cache_file = files(
        cache_path=impl.locator.get_cache_path(),
        filename_base=impl.filename_base,
        source_stamp=impl.locator.get_source_stamp(),
    )
