"""Random numbers by counter: a draw depends on the seed, the stream's name and its number in the stream.

One stream per purpose (`init`, `data`, `dropout`, `sampling`), so that drawing a sample or evaluating never changes
the next draws of the training. A `with` block of this file affects only its own thread.
"""

from __future__ import annotations

import math
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygrad_seq.arguments import room, sizes_of
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32, wrap
from tinygrad_seq.engine.dtypes import dtype_of
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import CheckpointError, DTypeError, GraphError
from tinygrad_seq.runtime.arrays import mix
from tinygrad_seq.runtime.locks import Lock

__all__ = ["Generator", "manual_seed"]


class Generator:
    """A stream of random numbers: `seed` and `stream` say which, `drawn` how far it is.

    >>> a, b = Generator(7), Generator(7)
    >>> bool((a.rand(3) == b.rand(3)).all())
    True
    """

    _default = False  # True for a default stream: the thread decides which generator it draws from

    def __init__(self, seed: int | None = None, stream: str = "default"):
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise DTypeError("Generator: a seed is a whole number", {"seed": seed})
        self.seed = int.from_bytes(os.urandom(8), "little") if seed is None else int(seed)
        self.stream = stream
        self.drawn = 0

    def next_key(self) -> Any:
        """The key of the next draw, for the `uniform` primitive."""
        here = _here
        word = self._next_word() if here.again is None else _once_more(here.again)
        for words in here.noting:
            words.append(word)
        return wrap(np.asarray(word, dtype=np.uint64))

    def _next_word(self) -> int:
        own = self._drawing()
        with _lock:  # two threads never draw the same number
            own.drawn += 1
            seed, name, drawn = own.seed, own.stream, own.drawn
        # Each word is mixed into the next, so that no two streams or draws are shifts of each other.
        return mix(mix(mix(seed & 0xFFFFFFFFFFFFFFFF) ^ zlib.crc32(name.encode())) ^ drawn)

    def rand(self, *shape: int, dtype: Any = FLOAT32) -> Any:
        """Numbers uniform on [0, 1)."""
        shape = sizes_of(shape, "rand", 0)
        dtype = dtype_of("rand", dtype)
        room("rand", math.prod(shape), dtype.itemsize)
        return ops.uniform(self.next_key(), shape=shape, dtype=dtype)

    def uniform(self, low: float, high: float, shape: tuple[int, ...], dtype: Any = FLOAT32) -> Any:
        """Numbers uniform from `low` to `high`; rounding may give `high` itself."""
        return self.rand(*shape, dtype=dtype) * (high - low) + low

    def randn(self, *shape: int, dtype: Any = FLOAT32) -> Any:
        """Numbers of the standard normal distribution (Box and Muller, 1958)."""
        radius = ((1.0 - self.rand(*shape, dtype=dtype)).log() * -2.0).sqrt()
        return radius * (self.rand(*shape, dtype=dtype) * (2.0 * np.pi)).cos()

    def integers(self, low: int, high: int, shape: tuple[int, ...] = ()) -> Any:
        """Integers uniform on low .. high - 1."""
        return (self.rand(*shape, dtype=np.float64) * (high - low)).floor().to(np.int64) + low

    def state_dict(self) -> dict[str, Any]:
        """The state from which `load_state_dict` continues."""
        own = self._drawing()
        return {"seed": own.seed, "stream": own.stream, "drawn": own.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        if not isinstance(state, Mapping) or not {"seed", "stream", "drawn"} <= state.keys():
            rule = (
                "expected what state_dict() of a Generator gives: a dict with 'seed', 'stream' and 'drawn'."
            )
            raise CheckpointError("load_state_dict: no state of a generator", {"state": state}, rule)
        own = self._drawing()
        own.seed, own.stream, own.drawn = int(state["seed"]), str(state["stream"]), int(state["drawn"])

    def _drawing(self) -> Generator:
        return stream(self.stream) if self._default else self

    def __getstate__(self) -> dict[str, Any]:
        # A copy is a generator of its own, also that of a default stream.
        return {name: value for name, value in vars(self).items() if name != "_default"} | self.state_dict()

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream!r}, drawn={self.drawn})"


class _Streams:
    """The default streams of one seed, each made when it is first asked for."""

    def __init__(self, seed: int, states: Mapping[str, dict[str, Any]] | None = None):
        self.seed = seed
        self.states = states or {}
        self.made: dict[str, Generator] = {}

    def of(self, name: str) -> Generator:
        with _lock:
            own = self.made.get(name)
            if own is None:
                own = Generator(self.seed, name)
                _put(own, self.states.get(name, _start(self.seed, name)))
                own._default = True
                self.made[name] = own
            return own

    def restart(self, seed: int) -> None:
        with _lock:
            self.seed, self.states = seed, {}
            for name, own in self.made.items():
                _put(own, _start(seed, name))


class _Here(threading.local):
    """The streams of this thread in place of the process's."""

    own: _Streams | None = None
    instead: Mapping[str, Generator] = MappingProxyType({})
    noting: tuple[list[int], ...] = ()
    again: Iterator[int] | None = None


_lock = Lock()
_process = _Streams(int.from_bytes(os.urandom(8), "little"))
_here = _Here()


def stream(name: str) -> Generator:
    """The default generator for a purpose: `init`, `data`, `dropout`, `sampling`, or a name of your own."""
    return _here.instead.get(name) or (_here.own or _process).of(name)


def given_or(rng: Any, name: str) -> Generator:
    """The generator that is given, or the default one for a purpose; DTypeError for any other object."""
    if rng is None:
        return stream(name)
    if not isinstance(rng, Generator):
        rule = "expected None or a Generator, as tgs.Generator(0)."
        raise DTypeError("no generator of random numbers", {"rng": rng}, rule)
    return rng


def manual_seed(seed: int) -> None:
    """Start every default stream afresh from `seed`.

    The default streams belong to the process. A thread other than the main one that calls this gets streams of its
    own, so that its draws do not depend on other threads.
    """
    seed = Generator(seed).seed
    for own in _here.instead.values():
        _put(own, _start(seed, own.stream))
    if _here.own is not None:
        _here.own.restart(seed)
    elif threading.current_thread() is threading.main_thread():
        _process.restart(seed)
    else:
        _here.own = _Streams(seed)


@contextmanager
def drawing_from(*own: Generator) -> Iterator[None]:
    """Inside, and in this thread, these generators take the place of the default streams of their names.

    >>> with drawing_from(Generator(7, "dropout")):
    ...     first = stream("dropout").rand(2)
    >>> bool((first == Generator(7, "dropout").rand(2)).all())
    True
    """
    before = _here.instead
    _here.instead = {**before, **{g.stream: g for g in own}}
    try:
        yield
    finally:
        _here.instead = before


Positions = tuple[int, dict[str, dict[str, Any]]]


def positions() -> Positions:
    """The seed of the default streams, and the position of each one that has been drawn from.

    So equal positions mean equal future draws.
    """
    streams = _here.own or _process
    with _lock:
        seed, made = streams.seed, {**streams.made, **_here.instead}
        states = {**streams.states, **{name: _state(own) for name, own in made.items()}}
    return seed, {name: state for name, state in states.items() if state != _start(seed, name)}


@contextmanager
def replayed(before: Positions) -> Iterator[None]:
    """Repeat the draws from `before` on, in this thread; afterwards every stream has its old position."""
    own, instead = _here.own, _here.instead
    _here.own, _here.instead = _Streams(*before), MappingProxyType({})
    try:
        yield
    finally:
        _here.own, _here.instead = own, instead


@contextmanager
def noted() -> Iterator[list[int]]:
    """Record in this thread the draws of every generator, for `drawn_again`."""
    before, words = _here.noting, list[int]()
    _here.noting = (*before, words)
    try:
        yield words
    finally:
        _here.noting = before


@contextmanager
def drawn_again(words: list[int]) -> Iterator[None]:
    """Inside, and in this thread, draws repeat the recorded ones in their order; no generator moves.

    Raises GraphError where there are more draws or fewer.
    """
    before = _here.noting, _here.again
    rest = iter(words)
    _here.noting, _here.again = (), rest
    try:
        yield
        if next(rest, None) is not None:
            raise _other_draws("fewer")
    finally:
        _here.noting, _here.again = before


def _once_more(again: Iterator[int]) -> int:
    word = next(again, None)
    if word is None:
        raise _other_draws("more")
    return word


def _other_draws(how: str) -> GraphError:
    rule = f"expected as many random draws as in the forward pass, got {how}."
    return GraphError("checkpoint: the function does not do the same again", None, rule)


def _start(seed: int, name: str) -> dict[str, Any]:
    return {"seed": seed, "stream": name, "drawn": 0}


def _state(own: Generator) -> dict[str, Any]:
    return {"seed": own.seed, "stream": own.stream, "drawn": own.drawn}


def _put(own: Generator, state: dict[str, Any]) -> None:
    own.seed, own.stream, own.drawn = state["seed"], state["stream"], state["drawn"]


answer(globals(), "Generator", "manual_seed")
