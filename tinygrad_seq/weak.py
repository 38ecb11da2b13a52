"""What is remembered of an object for as long as it lives, and forgotten without any Python running.

Python's own `WeakKeyDictionary` forgets in a function written in Python, which Ctrl+C can cut: the exception is then
printed and lost ("Exception ignored in ..."), and so is the wish to stop. Here the callback is C all through.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any, Generic, TypeVar

__all__ = ["Held", "WeakMap", "forgotten_with"]

V = TypeVar("V")


def forgotten_with(owner: Any, table: dict[int, Any]) -> weakref.ref[Any]:
    """A weak reference to `owner`; when it dies, `table` loses the entry under `id(owner)`.

    >>> class Thing: ...
    >>> thing, table = Thing(), {}
    >>> table[id(thing)] = forgotten_with(thing, table)
    >>> del thing
    >>> table
    {}
    """
    # Called with the reference, which `pop` takes for what to return where there is no entry.
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
        """The value of an object, forgotten, or `usual`."""
        entry = self._entries.pop(id(key), None)
        return usual if entry is None else entry[1]


class Held(weakref.ref[Any]):
    """A weak reference that is no view's: a tensor's plain ones tell that views of it are still there."""

    __slots__ = ()
