"""Many small arrays as one long buffer and back, so that an update runs once instead of once per parameter.

The views of a buffer are remembered: where the same views come back in the same order, `gathered` returns the
buffer itself and copies nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.weakrefs import forgotten_with

Span = tuple[int, int, tuple[int, ...] | None]  # start, stop, and the shape where it has not one axis

# The id of a buffer -> the buffer and its last views. The references are weak, so that no memory is kept
# alive.
_cut: dict[int, tuple[weakref.ref[Array], list[weakref.ref[Array]]]] = {}


def parameters_of(call: str, given: Any) -> Iterable[Any]:
    """An iterable of parameters: those of a module, a tensor as the only one, anything else as it is."""
    if callable(getattr(given, "parameters", None)):
        return given.parameters()  # type: ignore[no-any-return]
    if not isinstance(given, Iterable):
        rule = "expected parameters, as of model.parameters()."
        raise ArgumentError(f"{call}: nothing to learn", {"params": given}, rule)
    return [given] if isinstance(given, Tensor) else given


def gathered(arrays: Sequence[Array]) -> Array:
    """All elements in order, (n,): a copy only where one is needed. The arrays have one dtype."""
    owner: Any = arrays[0].base
    entry = _cut.get(id(owner))
    if entry is not None and entry[0]() is owner and len(entry[1]) == len(arrays):
        for view, array in zip(entry[1], arrays, strict=True):
            if view() is not array:
                break
        else:
            return np.reshape(np.asarray(owner), -1)
    return np.concatenate([a.ravel() for a in arrays])


def spans(arrays: Iterable[Array]) -> list[Span]:
    """Where each of these arrays lies in the buffer that holds them all."""
    found, start = [], 0
    for a in arrays:
        stop = start + a.size
        found.append((start, stop, None if a.ndim == 1 else a.shape))
        start = stop
    return found


def cut_up(buffer: Array, places: Iterable[Span]) -> list[Array]:
    """The views at these places, one after the other: the inverse of `gathered`."""
    flat = np.ascontiguousarray(buffer).reshape(-1)
    if flat.base is None or flat.base.size != flat.size:
        flat = flat.copy().reshape(-1)  # reshaped, for the views are to have this copy as their base
    views = [
        flat[start:stop] if shape is None else flat[start:stop].reshape(shape)
        for start, stop, shape in places
    ]
    owner: Any = flat.base
    key = id(owner)
    _cut[key] = (forgotten_with(owner, _cut), [weakref.ref(v) for v in views])
    return views
