"""A text longer than a model sees at once, read in the windows in which the model reads it itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq.analysis.probe.attention_maps import attention_on_text
from tinygrad_seq.analysis.probe.text import Window, windows_of
from tinygrad_seq.bptt.summary import Shown
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.runtime.arrays import Array

__all__ = ["AttendedInWindows", "Banded", "attention_in_windows"]


class Banded(NamedTuple):
    """The attention of a layer over T symbols: `weights[head, t, j]` (heads, T, W) is on symbol `starts[t]` + j.

    W is the longest window. What a symbol does not see is 0: what comes after it, and what is before its window.
    """

    weights: Array
    starts: Array

    @property
    def entropy(self) -> Array:
        """(heads,): the entropy of the weights in nats, mean over the symbols: 0 where all weight is on one key."""
        w = self.weights
        return np.asarray(-(w * np.log(np.where(w > 0, w, 1.0))).sum(-1).mean(1))

    @property
    def distance(self) -> Array:
        """(heads,): the mean number of steps back."""
        T, W = self.weights.shape[1:]
        apart = np.arange(T)[:, None] - self.starts[:, None] - np.arange(W)
        return np.asarray((self.weights * np.maximum(apart, 0)).sum(-1).mean(1))


@dataclass(frozen=True, repr=False)
class AttendedInWindows(Shown):
    """What a Transformer read: `parts["x_l0"]` (T, E) leaves its layer 0, `layers["l0"]` is the attention there."""

    windows: tuple[Window, ...]
    parts: Mapping[str, Array]
    layers: Mapping[str, Banded]


def attention_in_windows(model: NeuralModel, ids: npt.ArrayLike) -> AttendedInWindows:
    """Read ids (T,) of any length, without dropout and off the tape, as the model reads a long text itself.

    Each window (`windows_of`) is one `attention_on_text` of its symbols; of each are kept the symbols that no window
    before it has. Raises as `attention_on_text` does.

    >>> from tinygrad_seq.models import GPT
    >>> seen = attention_in_windows(GPT(5, block=4, layers=2, heads=2, width=4), [0, 3, 1, 2, 2, 1, 0])
    >>> seen.windows[1], seen.parts["x_l1"].shape, seen.layers["l0"].weights.shape
    (Window(start=2, first=4, stop=6), (7, 4), (2, 7, 4))
    """
    known = read_ids("attention_in_windows", ids, model.vocabulary_size, 1)
    T, windows = len(known), windows_of(model, len(known))
    widest = max(w.stop - w.start for w in windows)
    starts = np.concatenate([np.full(w.stop - w.first, w.start) for w in windows])
    parts: dict[str, Array] = {}
    weights: dict[str, Array] = {}
    for w in windows:
        seen = attention_on_text(model, known[w.start : w.stop])
        for name, a in seen.parts.items():
            parts.setdefault(name, np.zeros((T, a.shape[1])))[w.first : w.stop] = a[w.first - w.start :]
        for name, one in seen.layers.items():
            rows = one.weights[0][:, w.first - w.start :]
            kept = weights.setdefault(name, np.zeros((len(rows), T, widest)))
            kept[:, w.first : w.stop, : rows.shape[2]] = rows
    return AttendedInWindows(windows, parts, {name: Banded(w, starts) for name, w in weights.items()})
