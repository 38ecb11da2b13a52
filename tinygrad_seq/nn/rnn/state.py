"""Inputs, outputs and states of a recurrent layer: time first, zero states, checks; zoneout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import probability
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32, Recorded
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, stack, where, wrap
from tinygrad_seq.engine.tree import paired
from tinygrad_seq.errors import ShapeError, describe_shape
from tinygrad_seq.fuser.decorator import fused


def time_first(call: str, x: Any, inputs: int, batch_first: bool) -> tuple[Tensor, str]:
    """The input as (T, B, I), and its layout: "time", "batch", or "alone" for a single sequence."""
    x = input_tensor(call, x)
    if x.ndim not in (2, 3) or x.shape[-1] != inputs:
        axes = "B, T" if batch_first else "T, B"
        rule = f"expected ({axes}, {inputs}) or (T, {inputs})."
        raise ShapeError(f"{call}: the input does not fit", {"input": x}, rule)
    layout = "alone" if x.ndim == 2 else "batch" if batch_first else "time"
    if x.shape[1 if layout == "batch" else 0] == 0:
        raise ShapeError(f"{call}: no time steps", {"input": x}, "expected at least one.")
    if layout == "time":
        return x, layout
    return (x.unsqueeze(1) if layout == "alone" else x.transpose(0, 1)), layout


def laid_out(out: Tensor, layout: str) -> Tensor:
    """An output (T, B, P) in the layout of the input."""
    return out.squeeze(1) if layout == "alone" else out.transpose(0, 1) if layout == "batch" else out


def zero_state(like: Tensor, rows: tuple[int, ...], widths: dict[str, int]) -> tuple[Tensor, ...]:
    """A real zero state, so that the first step runs the same code as all others."""
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    made = {n: wrap(np.zeros((*rows, n), dtype)) for n in widths.values()}
    return tuple([made[n] for n in widths.values()])


def given_state(
    call: str, x: Tensor, state: Any, widths: dict[str, int], rows: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """A state given by the user, one tensor or a pair by kind, as a tuple of tensors, with the shapes checked."""
    parts, names = (state,), list(widths)
    if len(names) > 1:
        if not isinstance(state, (tuple, list)) or len(state) != len(names):
            rule = f"expected a pair ({', '.join(names)})."
            raise ShapeError(f"{call}: the state does not fit", _listed(state), rule)
        parts = tuple(state)
    elif not isinstance(state, (Recorded, np.ndarray)):
        rule = f"expected one tensor, {names[0]}."
        raise ShapeError(f"{call}: the state does not fit", _listed(state), rule)
    given = tuple([as_tensor(s) for s in parts])
    for (name, width), s in zip(widths.items(), given, strict=True):
        if s.shape != (*rows, width):
            rule = f"expected {describe_shape((*rows, width))}."
            raise ShapeError(f"{call}: {name} does not fit", {"input": x, name: s}, rule)
    return given


def _listed(state: Any) -> dict[str, Any]:
    """A state in an error text: its tensors one by one."""
    if isinstance(state, (tuple, list)) and any(isinstance(s, (Recorded, np.ndarray)) for s in state):
        return {f"state[{i}]": s for i, s in enumerate(state)}
    return {"state": state}


def first_state(
    call: str, x: Tensor, state: Any, widths: dict[str, int], count: int, layout: str
) -> tuple[Tensor, ...]:
    """Each state by name as (count, B, its width): zeros for None."""
    if state is None:
        return zero_state(x, (count, x.shape[1]), widths)
    widths = {f"{name}_0": width for name, width in widths.items()}
    if layout == "alone":
        given = given_state(call, x.squeeze(1), state, widths, (count,))
        return tuple([s.unsqueeze(1) for s in given])
    return given_state(call, x, state, widths, (count, x.shape[1]))


def last_state(lasts: list[tuple[Tensor, ...]], layout: str) -> Any:
    """The states after the last step, stacked over layers and directions: one tensor or a pair by the layer's
    kind.
    """
    found = tuple([stack(parts) for parts in zip(*lasts, strict=True)])
    if layout == "alone":
        found = tuple([s.squeeze(1) for s in found])
    return found if len(found) > 1 else found[0]


# ---- noise on a state: at each step, or one mask for a whole sequence ----------------------------------------
def zoneout(new: Any, old: Any, p: float, training: bool = True, rng: Generator | None = None) -> Any:
    """The new state, where each element keeps its old value with probability p (Krueger et al., 2016).

        training:      where(chance < p, old, new), drawn afresh at each call
        else:          p old + (1 - p) new

    Two tensors, or two trees of the same form. Draws from `rng`, or from the stream `dropout`.

    >>> from tinygrad_seq import zeros, ones
    >>> zoneout(ones(2), zeros(2), 0.25, training=False)
    Tensor([0.75, 0.75], f32(2,))
    """
    p = probability("zoneout", "p", p)
    if p == 0.0:
        return new
    if training:
        draws = given_or(rng, "dropout")
        return paired("zoneout", lambda n, o: _zoned(n, o, draws.next_key(), p=float(p)), new, old)
    return paired("zoneout", lambda n, o: _mean_zoned(n, o, p=float(p)), new, old)


@fused
def _zoned(new: Tensor, old: Tensor, key: Tensor, *, p: float) -> Tensor:
    chance = ops.uniform(key, shape=new.shape, dtype=FLOAT32)
    return where(chance < p, old, new)


@fused
def _mean_zoned(new: Tensor, old: Tensor, *, p: float) -> Tensor:
    return p * old + (1.0 - p) * new


def sequence_mask(rows: int, size: int, p: float, dtype: Any, rng: Generator | None = None) -> Tensor:
    """A dropout mask (rows, size) for all steps of a sequence: 0 with probability p, else 1 / (1 - p).

    Multiply the state by it before the recurrent product (Gal and Ghahramani, 2016).
    """
    return F.dropout(wrap(np.ones((rows, size), dtype)), p, True, rng)


answer(globals(), "zoneout")
