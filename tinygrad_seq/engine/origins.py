"""The origin of detached memory: notes that `detach` makes for pictures.

A note is a number and a place, kept as long as the memory itself: it holds neither a node nor an array. It
belongs to the memory, not to a tensor, because a layer reads slices of its state.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from numpy.lib.array_utils import byte_bounds

from tinygrad_seq.engine.place import Place
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.weakrefs import forgotten_with, owner_of


class Origin(NamedTuple):
    """The node that made a detached value, by its creation index, and where that was."""

    made: int
    place: Place


# The owner of the memory by id -> (weak reference to it, {first byte, byte behind the last: what made it}).
_notes: dict[int, tuple[weakref.ref[Array], dict[tuple[int, int], Origin]]] = {}
_RANGES = 64
_WHOLE = (0, -1)  # of the owner itself, because finding an array's bytes takes longer than all the rest


def note(array: Array, node: Any) -> None:
    """Note that `array`, now off the tape, is the result of `node`."""
    owner = owner_of(array)
    key = id(owner)
    entry = _notes.get(key)
    if entry is None or entry[0]() is not owner:
        entry = _notes[key] = (forgotten_with(owner, _notes), {})
    elif len(entry[1]) >= _RANGES:
        entry[1].clear()  # a long-lived buffer whose parts are passed on: the newest notes are enough
    entry[1][_WHOLE if array is owner else byte_bounds(array)] = Origin(node.index, node.place)


def origin_of(array: Array) -> Origin | None:
    """The origin of a detached array, or of the array that it is a part of; None where there is no note."""
    if not _notes or not array.size:
        return None
    owner = owner_of(array)
    entry = _notes.get(id(owner))
    if entry is None or entry[0]() is not owner:
        return None
    if _WHOLE in entry[1]:
        return entry[1][_WHOLE]
    low, high = byte_bounds(array)
    return next(
        (made for (start, stop), made in list(entry[1].items()) if start <= low and high <= stop), None
    )
