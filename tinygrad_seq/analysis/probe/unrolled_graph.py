"""A model read over a stretch of text with its tape: the losses and states that the readings of `bptt` ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.bptt.summary import Shown
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.nn import Module
from tinygrad_seq.nn.hooks import recurrent_layers, states_of
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Unrolled", "at_rest", "step_by_step", "unrolled"]


@dataclass(frozen=True, repr=False)
class Unrolled(Shown):
    """The tape of a model over T + 1 symbols: `losses[t]` in nats, of the symbol after t, and the states.

    `states[layer][t]` is (h_t,) or (h_t, c_t), each (1, H), layers from the input upwards.
    """

    losses: list[Tensor]
    states: dict[str, list[tuple[Tensor, ...]]]

    @property
    def last(self) -> list[tuple[Tensor, ...]]:
        """The states of the layer next to the output."""
        return self.states[list(self.states)[-1]]


@contextmanager
def at_rest(model: Module) -> Iterator[None]:
    """Evaluation mode for all layers, with recording on; afterwards each layer has its former mode."""
    training = [one for one in model.modules() if one.training]
    for one in training:
        one.training = False
    try:
        yield
    finally:
        for one in training:
            one.training = True


def unrolled(model: NeuralModel, ids: npt.ArrayLike) -> Unrolled:
    """Read ids (T + 1,) from a fresh state, without dropout; everything stays on the tape.

    Raises ArgumentError for a model without recurrent layers, DataError for less than three ids.

    >>> from tinygrad_seq.models import CharLM
    >>> tape = unrolled(CharLM(5, 4), [0, 1, 2, 3])
    >>> len(tape.losses), tape.last[2][1].shape
    (3, (1, 4))
    """
    known = _recurrent_ids("unrolled", model, ids)
    with at_rest(model), states_of(model) as found:
        logits, _ = model(known[:-1, None])
    losses = [F.cross_entropy(logits[t], known[t + 1 : t + 2]) for t in range(len(known) - 1)]
    return Unrolled(losses, {name: [states[t] for t in sorted(states)] for name, states in found.items()})


def step_by_step(model: NeuralModel, ids: npt.ArrayLike) -> tuple[list[Tensor], list[Any]]:
    """Read ids (T + 1,) with one call for each step: the T losses in nats, and what is carried after each.

    No product is taken over all steps at once, so that every path from a step to a later one goes through the
    carried state, with several layers too: `bptt.truncation_bias` needs this. Raises what `unrolled` does.

    >>> from tinygrad_seq.models import CharLM
    >>> losses, carried = step_by_step(CharLM(5, 4, 2), [0, 1, 2, 3])
    >>> len(losses), [part.shape for part in carried[2]]
    (3, [(2, 1, 4), (2, 1, 4)])
    """
    known = _recurrent_ids("step_by_step", model, ids)
    losses, carried, state = [], [], None
    with at_rest(model):
        for t in range(len(known) - 1):
            logits, state = model(known[t : t + 1, None], state)
            losses.append(F.cross_entropy(logits[0], known[t + 1 : t + 2]))
            carried.append(state)
    return losses, carried


def _recurrent_ids(call: str, model: NeuralModel, ids: npt.ArrayLike) -> Array:
    if not recurrent_layers(model):
        rule = "expected an RNN, GRU or LSTM in it: attention carries no state from step to step."
        raise ArgumentError(f"{call}: {type(model).__name__} has no recurrent layer", None, rule)
    return read_ids(call, ids, model.vocabulary_size, 3)
