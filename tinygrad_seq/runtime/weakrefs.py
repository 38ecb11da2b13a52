"""Values stored for an object while it lives, and dropped by C code when it dies.

Python's own `WeakKeyDictionary` removes entries in a Python function, which Ctrl+C can interrupt: the exception is
then printed and lost ("Exception ignored in ..."), and the program does not stop. Here the callback is C code only.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Held", "Memory", "WeakMap", "forgotten_with", "owner_of"]

V = TypeVar("V")


def owner_of(array: Any) -> Any:
    """The array whose memory a view shows: its own where it is none. What is known of memory is kept under it."""
    while isinstance(base := array.base, np.ndarray):
        array = base
    return array


def forgotten_with(owner: Any, table: dict[int, Any]) -> weakref.ref[Any]:
    """A weak reference to `owner`; when it dies, `table` loses the entry under `id(owner)`.

    >>> class Thing: ...
    >>> thing, table = Thing(), {}
    >>> table[id(thing)] = forgotten_with(thing, table)
    >>> del thing
    >>> table
    {}
    """
    # Called with the reference, which `pop` takes as the value to return where there is no entry.
    return weakref.ref(owner, partial(table.pop, id(owner)))


class WeakMap(Generic[V]):
    """A value for each object, found by identity and gone with the object."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def __setitem__(self, key: Any, value: V) -> None:
        self._entries[id(key)] = forgotten_with(key, self._entries), value

    def __contains__(self, key: Any) -> bool:
        return id(key) in self._entries

    def __getitem__(self, key: Any) -> V:
        return self._entries[id(key)][1]

    def __iter__(self) -> Iterator[Any]:
        alive = [entry[0]() for entry in list(self._entries.values())]
        return iter([key for key in alive if key is not None])

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Any, usual: V) -> V:
        """The value of an object, or `usual`."""
        entry = self._entries.get(id(key))
        return usual if entry is None else entry[1]

    def pop(self, key: Any, usual: V) -> V:
        """Remove and return the value of an object, or `usual`."""
        entry = self._entries.pop(id(key), None)
        return usual if entry is None else entry[1]


class Held(weakref.ref[Any]):
    """A weak reference that does not count as a view's: plain ones to a tensor tell that views of it are alive."""

    __slots__ = ()


class Memory:
    """The memory of an array, so that the same view can be made again as long as its owner lives.

    A layer reads data through short-lived views, and starts from small arrays of its own: arrays up to `KEPT`
    bytes are kept whole, and of larger ones with one repeated number, that number.
    """

    KEPT = 1 << 16
    __slots__ = ("_held", "_layout")

    def __init__(self, array: Any):
        owner = owner_of(array)
        self._layout: tuple[Any, ...] | None = None
        self._held: Any
        if owner.nbytes <= self.KEPT and owner.base is None:  # what has a base of another kind may be a file
            self._held = array
        elif owner is array:
            same = _repeated(array) if owner.base is None else None
            self._held = weakref.ref(array) if same is None else same
        else:
            self._held = weakref.ref(owner)
            # A view of the whole begins at its owner's address; reading an address takes longer than everything
            # else here.
            whole = array.nbytes == owner.nbytes and array.flags.forc and owner.flags.forc
            self._layout = array.shape, array.dtype, None if whole else _start(array), array.strides

    def array(self) -> Any:
        """The array, or None where its memory is gone.

        >>> data = np.arange(100_000.0)
        >>> there = Memory(data[10:14].reshape(2, 2))
        >>> there.array().tolist()
        [[10.0, 11.0], [12.0, 13.0]]
        >>> del data
        >>> there.array() is None
        True
        """
        found = self._held() if isinstance(self._held, weakref.ref) else self._held
        if found is None or self._layout is None:
            return found
        shape, dtype, start, strides = self._layout
        if not found.flags.forc:  # foreign memory; NumPy's own is in one piece
            return None
        return np.ndarray(shape, dtype, found, 0 if start is None else start - _start(found), strides)


def _start(array: Any) -> int:
    """The address of the first element."""
    if array.flags.carray and array.size:  # a fifth of the time
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _repeated(array: Any) -> Any:
    """An array of one number, many times, in the memory of that number; None where there are several."""
    flat = array.ravel("K")
    first = flat[:1]
    if not (flat[:: flat.size // 16 + 1] == first).all():
        return None  # seen in a few of them
    same = (flat == first).all() and (first[0] != 0 or flat.dtype.kind != "f" or not np.signbit(flat).any())
    return np.broadcast_to(first[0].copy(), array.shape) if same else None
