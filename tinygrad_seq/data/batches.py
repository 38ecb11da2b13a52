"""Batches from a long row of ids: streams and random windows for training, windows in order for evaluation.

Arrays are time-major: `inputs` and `targets` are i64(T, B), T steps of B streams that run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq.data.splitting import Ids, counted, row_of
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.errors import CheckpointError, DataError, explain

__all__ = ["Batch", "RandomWindows", "Streams", "windows"]


class Batch(NamedTuple):
    """What a model reads and what it must predict, both i64(T, B), and whether to forget the past first.

    `targets` is `inputs` one step later. `fresh` is true where the streams start: there the carried state
    begins anew.
    """

    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    fresh: bool


class Streams:
    """Endless batches for training: B contiguous streams side by side, window by window.

    The ids are cut into B equal rows. Stream b reads row b from left to right, `window` steps a batch, so a
    state carried from one batch to the next is the state at that place of the text. When the next window
    would not fit, all streams start their rows again, with `fresh` true. Every window has the same length, so
    the ends that fill none are left out: fewer than B * window ids in all.

    Raises `DataError` if there are fewer than B * (window + 1) ids.

    >>> streams = Streams(range(10), batch=2, window=2)
    >>> first = streams.next_batch()
    >>> first.inputs.tolist(), first.targets.tolist(), first.fresh
    ([[0, 5], [1, 6]], [[1, 6], [2, 7]], True)
    >>> second = streams.next_batch()
    >>> second.inputs.tolist(), second.targets.tolist(), second.fresh
    ([[2, 7], [3, 8]], [[3, 8], [4, 9]], False)
    """

    def __init__(self, ids: npt.ArrayLike, batch: int, window: int) -> None:
        row = row_of("Streams", ids)
        self.batch = counted("Streams", "batch", batch)
        self.window = counted("Streams", "window", window)
        if len(row) < self.batch * (self.window + 1):
            raise DataError(_too_short(row, self.batch, self.window))
        length = len(row) // self.batch
        self._rows = row[: self.batch * length].reshape(self.batch, length)
        self._total = len(row)
        self._position = 0

    @property
    def batches_per_pass(self) -> int:
        """Number of batches from one fresh start to the next."""
        return (self._rows.shape[1] - 1) // self.window

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self.next_batch()

    def next_batch(self) -> Batch:
        """The next window of every stream, `inputs` and `targets` i64(window, batch); it never ends."""
        start = self._position
        stop = start + self.window
        self._position = stop if stop < self.batches_per_pass * self.window else 0
        return _batch(self._rows, start, stop)

    def state_dict(self) -> dict[str, int]:
        """Where the streams stand, as plain numbers; `position` is the step within each row.

        >>> streams = Streams(range(10), batch=2, window=2)
        >>> _ = streams.next_batch()
        >>> streams.state_dict()
        {'position': 2, 'batch': 2, 'window': 2, 'ids': 10}
        """
        return {"position": self._position, **self._sizes()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from the position of another `Streams` of the same sizes.

        Raises `CheckpointError` if the sizes differ or the position is none that these streams can have.

        >>> streams = Streams(range(10), batch=2, window=2)
        >>> streams.load_state_dict({"position": 2, "batch": 2, "window": 2, "ids": 10})
        >>> streams.next_batch().inputs.tolist()
        [[2, 7], [3, 8]]
        """
        saved, sizes = dict(state), self._sizes()
        position = saved.pop("position", None)
        if saved != sizes:
            raise CheckpointError(_other_sizes(state, sizes))
        last = (self.batches_per_pass - 1) * self.window
        if not isinstance(position, Integral) or not 0 <= position <= last or position % self.window:
            raise CheckpointError(
                "load_state_dict: these streams have no such position",
                {"position": position},
                f"expected a multiple of the window {self.window:,} from 0 to {last:,}.",
                "The saved state is damaged; start the streams anew.",
            )
        self._position = int(position)

    def _sizes(self) -> dict[str, int]:
        return {"batch": self.batch, "window": self.window, "ids": self._total}


class RandomWindows:
    """Endless batches for training: each of B windows begins at a place of the text that is drawn for it.

    `rng` draws, by default the stream `data`; every batch is `fresh`, because no state fits a random place.

    Raises `DataError` if there are fewer than `window` + 1 ids.

    >>> from tinygrad_seq import Generator
    >>> drawn = RandomWindows(range(10), batch=2, window=3, rng=Generator(1, "data")).next_batch()
    >>> drawn.inputs.shape, bool((drawn.targets == drawn.inputs + 1).all()), drawn.fresh
    ((3, 2), True, True)
    """

    def __init__(self, ids: npt.ArrayLike, batch: int, window: int, rng: Generator | None = None) -> None:
        self._ids = row_of("RandomWindows", ids)
        self.batch = counted("RandomWindows", "batch", batch)
        self.window = counted("RandomWindows", "window", window)
        self.rng = given_or(rng, "data")
        if len(self._ids) <= self.window:
            rule = f"expected at least {self.window:,} + 1 ids, got {len(self._ids):,}."
            hint = f"Use a window of at most {len(self._ids) - 1:,}, or a longer text."
            named = {"ids": self._ids, "window": window}
            what = "RandomWindows: the text is too short for this window"
            raise DataError(what, named, rule, hint if len(self._ids) > 1 else "Use a longer text.")

    @property
    def batches_per_pass(self) -> int:
        """Number of batches that hold as many targets as the text."""
        return max(1, (len(self._ids) - 1) // (self.batch * self.window))

    def next_batch(self) -> Batch:
        """The next windows, `inputs` and `targets` i64(window, batch); it never ends."""
        starts = self.rng.integers(0, len(self._ids) - self.window, (self.batch,)).numpy()
        rows = self._ids[starts[:, None] + np.arange(self.window + 1)]
        return _batch(rows, 0, self.window)

    def state_dict(self) -> dict[str, Any]:
        """The position of the random stream, and the sizes, as plain values."""
        return {**self.rng.state_dict(), **self._sizes()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the position of other windows of the same sizes. Raises `CheckpointError` if they differ."""
        sizes = self._sizes()
        if {name: state.get(name) for name in sizes} != sizes:
            raise CheckpointError(_other_sizes(state, sizes))
        self.rng.load_state_dict(dict(state))

    def _sizes(self) -> dict[str, int]:
        return {"batch": self.batch, "window": self.window, "ids": len(self._ids)}


def windows(ids: npt.ArrayLike, batch: int, window: int) -> Iterator[Batch]:
    """One pass for evaluation, the same every time: every id but the very first is a target exactly once.

    Up to `batch` rows run side by side, fewer where a row would be shorter than one window. Each row begins
    with the last id of the row before it, so that no target is lost between two rows. The last window of
    the rows may be shorter. What is then left, fewer than B ids, follows as one more row by itself, with
    `fresh` true: `inputs` and `targets` are i64(T, B) with T <= window and B <= batch.

    Raises `DataError` if there are fewer than 2 ids.

    >>> [(x.tolist(), y.tolist(), fresh) for x, y, fresh in windows(range(6), batch=2, window=2)]
    [([[0, 2], [1, 3]], [[1, 3], [2, 4]], True), ([[4]], [[5]], True)]
    """
    row = row_of("windows", ids)
    batch, window = counted("windows", "batch", batch), counted("windows", "window", window)
    if len(row) < 2:
        raise DataError(
            "windows: the text is too short to be evaluated",
            {"ids": row},
            "expected at least 2 ids, one to read and one to predict.",
            "Use a longer text.",
        )
    return _windows(row, batch, window)


def _windows(row: Ids, batch: int, window: int) -> Iterator[Batch]:
    targets = len(row) - 1
    count = max(1, min(batch, targets // window))
    length = targets // count
    rows = np.lib.stride_tricks.sliding_window_view(row, length + 1)[: count * length : length]
    for part in (rows, row[None, count * length :]):
        for start in range(0, part.shape[1] - 1, window):
            yield _batch(part, start, min(start + window, part.shape[1] - 1))


def _batch(rows: Ids, start: int, stop: int) -> Batch:
    """Steps start to stop of every row, copied, so that writing to a batch does not change the text."""
    inputs = rows[:, start:stop].T.astype(np.int64, order="C")
    targets = rows[:, start + 1 : stop + 1].T.astype(np.int64, order="C")
    return Batch(inputs, targets, start == 0)


def _other_sizes(state: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    return explain(
        "load_state_dict: the state belongs to other streams",
        {"state": dict(state), "these streams": dict(sizes)},
        "expected the same batch, window and number of ids.",
        "Resume with the same text and settings, or start the streams anew.",
    )


def _too_short(row: Ids, batch: int, window: int) -> str:
    total = len(row)
    need = batch * (window + 1)
    smaller = [
        f"{name} of at most {most:,}"
        for name, most in (("batch", total // (window + 1)), ("window", total // batch - 1))
        if most >= 1
    ]
    hint = f"Use a {' or a '.join(smaller)}, or a longer text." if smaller else "Use a longer text."
    return explain(
        "Streams: the text is too short for this batch and window",
        {"ids": row, "batch": batch, "window": window},
        f"expected at least {batch:,} * ({window:,} + 1) = {need:,} ids, got {total:,}.",
        hint,
    )


answer(globals(), "RandomWindows", "Streams", "windows")
