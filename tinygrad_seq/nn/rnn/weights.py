"""The initial weights of a recurrent layer, and checks of its settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import choice, is_number, is_whole, probability, size
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.errors import ArgumentError, DTypeError
from tinygrad_seq.nn.basic_layers import uniform_parameter
from tinygrad_seq.nn.module import Module, Parameter
from tinygrad_seq.runtime.arrays import Array

Shapes = dict[str, tuple[int, ...]]


def zone_of(call: str, value: Any, states: tuple[str, ...]) -> tuple[float, ...]:
    """A probability of zoneout for each state, from one for all or one for each; empty where all are 0."""
    given = value if isinstance(value, (tuple, list)) else (value,) * len(states)
    if len(given) != len(states):
        rule = f"expected one probability, or one for each of {', '.join(states)}."
        raise ArgumentError(f"{call}: zoneout does not fit", {"zoneout": value}, rule)
    found = tuple(probability(call, "zoneout", p) for p in given)
    return found if any(found) else ()


def set_weights(
    module: Module, suffix: str, shapes: Shapes, gates: int, init: str, forget_bias: Any, dtype: Any, rng: Any
) -> None:
    """Give a layer, in one direction, or a cell its parameters; each weight holds `gates` blocks of H rows.

        torch        all from U(-k, k), k = 1 / sqrt(H), biases too
        orthogonal   each gate's block of weight_hh orthogonal (Saxe, McClelland and Ganguli, 2014), biases 0
        identity     each gate's block of weight_hh the identity (Le, Jaitly and Hinton, 2015), biases 0

    Gains of layer norm start at 1, its shift at 0. `forget_bias` is the sum of the forget gate's two biases
    (Jozefowicz, Zaremba and Sutskever, 2015), whatever `init` is.
    """
    hidden, kind = shapes["weight_hh"][0] // gates, float_dtype(type(module).__name__, dtype)
    for name, shape in shapes.items():
        if name.startswith(("gain", "shift")):
            p = Parameter(np.full(shape, float(name.startswith("gain")), kind))
        elif init != "torch" and name.startswith("bias"):
            p = Parameter(np.zeros(shape, kind))
        elif init != "torch" and name == "weight_hh":
            p = Parameter(_blocks(gates, hidden, shape[1], init, rng).astype(kind))
        else:
            p = uniform_parameter(1.0 / math.sqrt(hidden), shape, dtype, rng)
        if forget_bias is not None and name.startswith("bias"):
            p.array[hidden : 2 * hidden] = forget_bias if name == "bias_ih" else 0.0
        setattr(module, name + suffix, p)


def checked_start(call: str, init: Any, forget_bias: Any, has_cell: bool, bias: bool) -> None:
    """Refuse an unknown `init`, and a forget bias without biases."""
    choice(f"{call}: no such init", "init", init, ("torch", "orthogonal", "identity"))
    if forget_bias is None:
        return
    if not is_number(forget_bias):
        named = {"forget_bias": forget_bias}
        raise DTypeError(f"{call}: forget_bias is no number", named, "expected a number or None.")
    if not (has_cell and bias):
        rule = "expected an LSTM with biases."
        raise ArgumentError(f"{call}: nothing holds the forget bias", {"bias": bias}, rule)


def checked_projection(call: str, proj_size: Any, hidden_size: Any) -> int:
    """`proj_size`, where it is one: a whole number below `hidden_size`."""
    size(call, "hidden_size", hidden_size)
    if not is_whole(proj_size) or not 0 <= proj_size < hidden_size:
        rule = f"expected 0 for none, or a whole number below hidden_size, {hidden_size}."
        raise ArgumentError(f"{call}: proj_size out of range", {"proj_size": proj_size}, rule)
    return int(proj_size)


def _blocks(gates: int, rows: int, columns: int, init: str, rng: Generator | None) -> Array:
    if init == "identity":
        return np.tile(np.eye(rows, columns), (gates, 1))
    return np.concatenate([_orthogonal(rows, columns, rng) for _ in range(gates)])


def _orthogonal(rows: int, columns: int, rng: Generator | None) -> Array:
    """Orthonormal columns (or rows, if these are fewer), uniformly distributed."""
    drawn = given_or(rng, "init").randn(max(rows, columns), min(rows, columns), dtype=np.float64)
    q, r = np.linalg.qr(drawn.numpy())
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without this, QR prefers some directions
    return q if rows >= columns else q.T
