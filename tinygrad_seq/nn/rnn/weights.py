"""With what numbers a recurrent layer starts, and what of its settings is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import choice, probability
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.errors import ArgumentError, DTypeError
from tinygrad_seq.nn.basic_layers import uniform_parameter
from tinygrad_seq.nn.module import Parameter
from tinygrad_seq.nn.rnn.recurrences import LongShort, Recurrence
from tinygrad_seq.runtime.arrays import Array

INITS = ("torch", "orthogonal", "identity")


def zone_of(call: str, value: Any, states: tuple[str, ...]) -> tuple[float, ...]:
    """A probability of zoneout for each state, from one for all or one for each; nothing where all are 0."""
    given = value if isinstance(value, (tuple, list)) else (value,) * len(states)
    if len(given) != len(states):
        rule = f"expected one probability, or one for each of {', '.join(states)}."
        raise ArgumentError(f"{call}: zoneout does not fit", {"zoneout": value}, rule)
    found = tuple(probability(call, "zoneout", p) for p in given)
    return found if any(found) else ()


def starting_weights(
    call: str, kind: Recurrence, inputs: int, init: str, forget_bias: Any, dtype: Any, rng: Generator | None
) -> dict[str, Parameter]:
    """The parameters of one layer in one direction, by name.

        torch        all from U(-k, k), k = 1 / sqrt(H), biases too
        orthogonal   each gate's block of weight_hh orthogonal (Saxe, McClelland and Ganguli, 2014), biases 0
        identity     each gate's block of weight_hh the identity (Le, Jaitly and Hinton, 2015), biases 0

    Gains of layer norm start at 1, its shift at 0. `forget_bias` is the sum of the forget gate's two biases
    (Jozefowicz, Zaremba and Sutskever, 2015), whatever `init` is.
    """
    bound, kindly = 1.0 / math.sqrt(kind.hidden_size), float_dtype(call, dtype)
    found: dict[str, Parameter] = {}
    for name, shape in kind.shapes(inputs).items():
        if name.startswith(("gain", "shift")):
            found[name] = Parameter(np.full(shape, float(name.startswith("gain")), kindly))
        elif init != "torch" and name.startswith("bias"):
            found[name] = Parameter(np.zeros(shape, kindly))
        elif init != "torch" and name == "weight_hh":
            found[name] = Parameter(_blocks(kind, init, rng).astype(kindly))
        else:
            found[name] = uniform_parameter(bound, shape, dtype, rng)
    if forget_bias is not None:
        block = slice(kind.hidden_size, 2 * kind.hidden_size)
        found["bias_ih"].array[block], found["bias_hh"].array[block] = forget_bias, 0.0
    return found


def checked_start(call: str, kind: Recurrence, init: Any, forget_bias: Any) -> None:
    """Refuse an `init` that is none, and a forget bias where there is nothing to hold it."""
    choice(f"{call}: no such init", "init", init, INITS)
    if forget_bias is None:
        return
    if isinstance(forget_bias, bool) or not isinstance(forget_bias, (int, float)):
        named = {"forget_bias": forget_bias}
        raise DTypeError(f"{call}: forget_bias is no number", named, "expected a number or None.")
    if not isinstance(kind, LongShort) or not kind.bias:
        rule = "expected an LSTM with biases."
        raise ArgumentError(f"{call}: nothing holds the forget bias", {"bias": kind.bias}, rule)


def _blocks(kind: Recurrence, init: str, rng: Generator | None) -> Array:
    rows, columns = kind.hidden_size, kind.sizes[0]
    if init == "identity":
        return np.tile(np.eye(rows, columns), (kind.gates, 1))
    return np.concatenate([_orthogonal(rows, columns, rng) for _ in range(kind.gates)])


def _orthogonal(rows: int, columns: int, rng: Generator | None) -> Array:
    """Columns (or rows, if these are fewer) of length 1 at right angles, all directions equally likely."""
    drawn = given_or(rng, "init").randn(max(rows, columns), min(rows, columns), dtype=np.float64)
    q, r = np.linalg.qr(drawn.numpy())
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without this, QR prefers some directions
    return q if rows >= columns else q.T
