"""What enters and leaves a recurrent layer: the input with time first, the state it starts from and ends in."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import Recorded
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, stack, wrap
from tinygrad_seq.errors import ShapeError, describe_shape
from tinygrad_seq.nn.rnn.recurrences import Recurrence


def time_first(call: str, x: Any, inputs: int, batch_first: bool) -> tuple[Tensor, str]:
    """The input as (T, B, I), and how it was laid out: "time", "batch", or "alone" for a single sequence."""
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


def zero_state(like: Tensor, rows: tuple[int, ...], kind: Recurrence) -> tuple[Tensor, ...]:
    """A real zero state, so that the first step runs the same code as all others."""
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    made = {n: wrap(np.zeros((*rows, n), dtype)) for n in kind.sizes}
    return tuple([made[n] for n in kind.sizes])


def given_state(
    call: str, x: Tensor, state: Any, kind: Recurrence, rows: tuple[int, ...], names: tuple[str, ...]
) -> tuple[Tensor, ...]:
    """A state that was handed in, one tensor or a pair by kind, as a tuple of tensors of the right shapes."""
    parts = (state,)
    if len(names) > 1:
        if not isinstance(state, (tuple, list)) or len(state) != len(names):
            rule = f"expected a pair ({', '.join(names)})."
            raise ShapeError(f"{call}: the state does not fit", _listed(state), rule)
        parts = tuple(state)
    elif not isinstance(state, (Recorded, np.ndarray)):
        rule = f"expected one tensor, {names[0]}."
        raise ShapeError(f"{call}: the state does not fit", _listed(state), rule)
    given = tuple([as_tensor(s) for s in parts])
    for name, s, width in zip(names, given, kind.sizes, strict=True):
        if s.shape != (*rows, width):
            rule = f"expected {describe_shape((*rows, width))}."
            raise ShapeError(f"{call}: {name} does not fit", {"input": x, name: s}, rule)
    return given


def _listed(state: Any) -> dict[str, Any]:
    """A state as an error shows it: tensors one by one."""
    if isinstance(state, (tuple, list)) and any(isinstance(s, (Recorded, np.ndarray)) for s in state):
        return {f"state[{i}]": s for i, s in enumerate(state)}
    return {"state": state}


def first_state(
    call: str, x: Tensor, state: Any, kind: Recurrence, count: int, layout: str
) -> tuple[Tensor, ...]:
    """Each state as (count, B, width): zeros for None."""
    if state is None:
        return zero_state(x, (count, x.shape[1]), kind)
    names = tuple(f"{name}_0" for name in kind.states)
    if layout == "alone":
        given = given_state(call, x.squeeze(1), state, kind, (count,), names)
        return tuple([s.unsqueeze(1) for s in given])
    return given_state(call, x, state, kind, (count, x.shape[1]), names)


def last_state(lasts: list[tuple[Tensor, ...]], layout: str) -> Any:
    """The states after the last step, stacked over layers and directions, as the layer's kind hands them out."""
    found = tuple([stack(parts) for parts in zip(*lasts, strict=True)])
    if layout == "alone":
        found = tuple([s.squeeze(1) for s in found])
    return found if len(found) > 1 else found[0]
