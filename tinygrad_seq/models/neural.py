"""Networks behind the protocol: logits for each step, and a state."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.engine.creation import full
from tinygrad_seq.engine.node import no_grad
from tinygrad_seq.engine.tensor import Tensor, as_tensor, concat, stack
from tinygrad_seq.errors import ArgumentError, DataError, NonFiniteError
from tinygrad_seq.models.protocol import Floats, SymbolModel
from tinygrad_seq.nn import Module

__all__ = ["NeuralModel", "evaluating", "last_symbols"]

_AT_ONCE = 1024  # steps of a long sequence that `score` runs in one go


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Evaluation mode for all layers, and no recording; afterwards each layer has its former mode."""
    training = [one for one in module.modules() if one.training]
    for one in training:
        one.training = False
    try:
        with no_grad():
            yield
    finally:
        for one in training:
            one.training = True


def named_as(ids: Any, seen: Any) -> Any:
    """`seen`, another view of `ids`, with the same name, so that a picture can show it."""
    if isinstance(seen, Tensor) and isinstance(ids, Tensor):
        seen.name = ids.name
    return seen


class NeuralModel(SymbolModel, Module):
    """A network that reads ids and writes logits: `logits, state = model(ids, state)`.

    ids (T, B) from 0 to V - 1; logits (T, B, V), log P(next) but for a constant; a state of None means that
    nothing was read. Such a network cannot predict the first symbol, before which there is nothing to read:
    `first` takes all V as equally likely, unless a subclass defines it.

    `longest` is how many symbols the network can read in all, None where there is no bound. `block` is for a
    network that sees at most so many symbols and then starts again from the last half of them.
    """

    longest: int | None = None
    block: int | None = None

    def forward(self, ids: Any, state: Any = None) -> tuple[Tensor, Any]:
        """Logits for the symbol after each of `ids`, and the state after the last."""
        raise TypeError(f"{type(self).__name__} defines no forward().")

    def loss(self, ids: Any, targets: Any, state: Any = None) -> tuple[Tensor, Any]:
        """The mean of -log P(target) in nats per symbol, and the state after the last step."""
        logits, state = self(ids, state)
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), named_as(targets, targets.reshape(-1))
        ), state

    def first(self) -> Floats:
        """log P(x_1 = v), f64(V,), in nats."""
        return np.full(self.vocabulary_size, -math.log(self.vocabulary_size))

    def init_state(self) -> Any:
        """None: nothing has been read."""
        return None

    def step(self, symbol: int | None, state: Any) -> tuple[Floats, Any]:
        """log P(next = v), f64(V,), and the state from then on; nothing is recorded and no dropout drawn.

        Raises `RangeError` for a symbol outside the vocabulary, `NonFiniteError` where the logits are none.
        """
        if symbol is None:
            if state is not None:
                rule = "expected a symbol, because this state has read some; None goes with init_state()."
                raise ArgumentError("step: there is nothing to read", {"symbol": symbol}, rule)
            return self.first(), None
        with evaluating(self):
            logits, state = self(np.array([[self._read_symbol(symbol)]]), state)
        return log_softmax(logits.numpy()[-1, 0]), state

    def conditional(self, prefix: npt.ArrayLike) -> Floats:
        """P(next = v | prefix) for each v, f64(V,), from one pass over the prefix."""
        ids = self._read("conditional", prefix, 0)
        if not len(ids):
            return np.exp(self.first())
        self._require_room("conditional", len(ids))
        state = None
        with evaluating(self):
            for piece in self.pieces(len(ids)):
                logits, state = self(ids[piece, None], state)
        return np.exp(log_softmax(logits.numpy()[-1, 0]))

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """log P(x_s | x_1 .. x_{s-1}) for each s, f64(T,), in nats, from one pass over the sequence."""
        ids = self._read("score", sequence)
        self._require_room("score", len(ids) - 1)
        scores = np.empty(len(ids))
        scores[0] = self.first()[ids[0]]
        state = None
        with evaluating(self):
            for piece in self.pieces(len(ids) - 1):
                logits, state = self(ids[piece, None], state)
                told, targets = log_softmax(logits.numpy()[:, 0]), ids[1:][piece]
                scores[1:][piece] = told[np.arange(len(targets)), targets]
        return scores

    def pieces(self, T: int) -> Iterator[slice]:
        """T steps in pieces. A full window starts again between two pieces, so that a symbol sees the same as
        when they are read one by one.
        """
        first, later = _AT_ONCE, _AT_ONCE
        if self.block is not None:
            first, later = self.block, self.block - self.block // 2
        stops = [min(first, T), *range(first + later, T + later, later)]
        return (slice(a, min(b, T)) for a, b in itertools.pairwise([0, *stops]) if a < T)

    def _require_room(self, call: str, symbols: int) -> None:
        if self.longest is not None and symbols > self.longest:
            what = f"{type(self).__name__}.{call}: the sequence is too long for this model"
            rule = f"expected at most {self.longest:,} symbols to read, got {symbols:,}."
            raise DataError(what, None, rule, "Cut it, or give the model more positions.")


def log_softmax(logits: npt.NDArray[Any]) -> Floats:
    """Logits as log-probabilities in float64: the probabilities add up to 1 for every dtype of the network."""
    top = logits.max(-1, keepdims=True).astype(np.float64)
    if not np.isfinite(top).all():
        rule = "expected finite numbers."
        raise NonFiniteError("step: the model's logits are not finite", {"logits": logits}, rule)
    shifted = logits - top
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))  # type: ignore[no-any-return]


def last_symbols(ids: Any, state: Any, n: int, nothing: int) -> tuple[Tensor, Tensor]:
    """The n symbols up to each of `ids`, oldest first, (T, B, n), and the last n of all, (n, B): the state.

    Where fewer have been read, `nothing` stands in their place.
    """
    ids = F.checked_ids("ids", ids, nothing)
    T = ids.shape[0]
    before = full((n, *ids.shape[1:]), nothing, dtype=np.int64) if state is None else as_tensor(state)
    joined = concat([before, ids])
    if n == 0:
        return full((*ids.shape, 0), nothing, dtype=np.int64), joined[T:]
    return stack([joined[j + 1 : j + 1 + T] for j in range(n)], -1), joined[T:]
