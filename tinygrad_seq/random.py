"""Random numbers by counter: a draw depends on the seed, the stream's name and its number in the stream.

One stream per purpose (`init`, `data`, `dropout`, `sampling`), so that drawing a sample or evaluating never
changes what training draws next.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_seq import ops
from tinygrad_seq.dtypes import computed
from tinygrad_seq.errors import DTypeError, ShapeError, explain
from tinygrad_seq.numerics import mix
from tinygrad_seq.recording import FLOAT32, wrap
from tinygrad_seq.tensor import Tensor


class Generator:
    """A stream of random numbers: `seed` and `stream` say which, `drawn` how far it is.

    >>> a, b = Generator(7), Generator(7)
    >>> bool((a.rand(3) == b.rand(3)).all())
    True
    """

    def __init__(self, seed: int | None = None, stream: str = "default"):
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise DTypeError(explain("Generator: a seed is a whole number", {"seed": seed}))
        self.seed = int.from_bytes(os.urandom(8), "little") if seed is None else int(seed)
        self.stream = stream
        self.drawn = 0

    def next_key(self) -> Tensor:
        """The key of the next draw, for the `uniform` primitive."""
        self.drawn += 1
        # Each word is mixed into the next, so that no two streams or draws are shifts of each other.
        word = mix(mix(mix(self.seed & 0xFFFFFFFFFFFFFFFF) ^ zlib.crc32(self.stream.encode())) ^ self.drawn)
        return wrap(np.asarray(word, dtype=np.uint64))

    def rand(self, *shape: int, dtype: Any = FLOAT32) -> Tensor:
        """Numbers evenly spread over [0, 1)."""
        if any(n < 0 for n in shape):
            raise ShapeError(
                explain("rand: a size below 0", {"shape": shape}, "expected sizes of at least 0.")
            )
        dtype = computed("rand", np.dtype(dtype))
        return ops.uniform(self.next_key(), shape=shape, dtype=dtype)  # type: ignore[no-any-return]

    def uniform(self, low: float, high: float, shape: tuple[int, ...], dtype: Any = FLOAT32) -> Tensor:
        """Numbers evenly spread from `low` to `high`; rounding may give `high` itself."""
        return self.rand(*shape, dtype=dtype) * (high - low) + low

    def randn(self, *shape: int, dtype: Any = FLOAT32) -> Tensor:
        """Numbers of the standard normal distribution (Box and Muller, 1958)."""
        radius = ((1.0 - self.rand(*shape, dtype=dtype)).log() * -2.0).sqrt()
        return radius * (self.rand(*shape, dtype=dtype) * (2.0 * np.pi)).cos()

    def integers(self, low: int, high: int, shape: tuple[int, ...] = ()) -> Tensor:
        """Whole numbers evenly spread over low .. high - 1."""
        return (self.rand(*shape, dtype=np.float64) * (high - low)).floor().to(np.int64) + low

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return {"seed": self.seed, "stream": self.stream, "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.seed, self.stream, self.drawn = int(state["seed"]), str(state["stream"]), int(state["drawn"])

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream!r}, drawn={self.drawn})"


_streams: dict[str, Generator] = {}
_seed = int.from_bytes(os.urandom(8), "little")


def stream(name: str) -> Generator:
    """The default generator for a purpose: `init`, `data`, `dropout`, `sampling`, or a name of your own."""
    if name not in _streams:
        _streams[name] = Generator(_seed, name)
    return _streams[name]


def manual_seed(seed: int) -> None:
    """Start every default stream afresh from `seed`."""
    global _seed
    _seed = Generator(seed).seed
    _move((_seed, {}))


Positions = tuple[int, dict[str, dict[str, Any]]]


def positions() -> Positions:
    """The seed of the default streams, and where each of them stands that is not at its start.

    So two that are equal mean the same draws, whichever streams were asked for and not drawn from.
    """
    states = {name: g.state_dict() for name, g in _streams.items()}
    return _seed, {name: state for name, state in states.items() if state != _start(_seed, name)}


def _start(seed: int, name: str) -> dict[str, Any]:
    return {"seed": seed, "stream": name, "drawn": 0}


def _move(to: Positions) -> None:
    seed, states = to
    for name, g in _streams.items():
        g.load_state_dict(states.get(name, _start(seed, name)))


@contextmanager
def replayed(before: Positions) -> Iterator[None]:
    """Draw what was drawn from `before` on once more; afterwards the streams stand where they stood."""
    now = positions()
    _move(before)
    try:
        yield
    finally:
        _move(now)
