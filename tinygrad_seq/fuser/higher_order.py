"""Higher derivatives: the tape of a gradient run again on Tensors, row by row, so that it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import constant
from tinygrad_seq.engine.creation import iota
from tinygrad_seq.engine.op import OPS
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.fuser.launch import Traced
from tinygrad_seq.fuser.reassociate import RESCUED
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ROW
from tinygrad_seq.tape.row import Row


def interpret(
    traced: Traced,
    at_hand: Mapping[int, Tensor],
    zeros: frozenset[int],
    wanted: list[int],
    rows: int,
    width: int,
) -> list[Tensor | None]:
    """The requested slots from the given ones, as recorded Tensors over (rows, columns); None for zeros.

    `rows` and `width` take the place of the sizes with which the program was traced.
    """
    tape, space = traced.program.tape, traced.space
    absent = space.absent(zeros)
    values: dict[int, Any] = dict(at_hand)
    for slot in sorted(space.needed([w for w in wanted if w not in absent], [*at_hand, *absent])):
        if slot in values or slot in absent:
            continue
        row = tape[slot]
        if row.is_leaf:
            values[slot] = iota(rows) if row.name == "iota" else constant(row.value, row.dtype)  # type: ignore[arg-type]
        elif row.op == RESCUED:
            values[slot] = values[row.args[1]].sum(-1, keepdims=True)
        elif row.op in ("add", "sub") and any(a in absent for a in row.args):
            kept = values[row.args[row.args[0] in absent]]
            values[slot] = -kept if row.op == "sub" and row.args[0] in absent else kept
        else:
            arguments = [values[a] if a not in absent else _zero(traced, a, rows, width) for a in row.args]
            values[slot] = OPS[row.op](*arguments, **_settings(traced, row, rows, width))
    return [values.get(w) for w in wanted]


def _zero(traced: Traced, slot: int, rows: int, width: int) -> Tensor:
    row = traced.program.tape[slot]
    return Tensor(np.zeros(_shape(traced, slot, tuple(row.shape), rows, width), row.dtype))


def _settings(traced: Traced, row: Row, rows: int, width: int) -> dict[str, Any]:
    settings = dict(row.settings)
    if "shape" in settings:
        settings["shape"] = _shape(traced, row.slot, settings["shape"], rows, width)
    return settings


def _shape(traced: Traced, slot: int, shape: tuple[int, ...], rows: int, width: int) -> tuple[int, ...]:
    """A traced shape with the sizes of this call."""
    kind = traced.space.kinds[slot]
    sizes = list(shape)
    if kind in (FULL, ROW):
        sizes[0] = rows
    if traced.width and kind in (FULL, COLUMNS):
        sizes[-1] = width
    return tuple(sizes)
