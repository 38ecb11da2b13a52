"""A composition and its gradient as one tape over (rows, columns), whatever the ranks it is called with.

The leading axes of the inputs become rows, the last axis the columns. The tape is made with a few rows only:
nothing in a fused function may depend on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.autodiff import grad
from tinygrad_seq.errors import TraceError, explain
from tinygrad_seq.nodes import tracing
from tinygrad_seq.recording import TRACED, WANTS, wrap
from tinygrad_seq.tape import Row, Tape
from tinygrad_seq.tensor import Tensor

# How an array lies in the space of rows and columns.
FULL, ROW, COLUMNS, ONE = "full", "row", "columns", "one"


@dataclass(frozen=True)
class Layout:
    """The common leading axes of a call, and for each input its kind and whether it must be stretched to them."""

    lead: tuple[int, ...]
    kinds: tuple[str, ...]
    stretched: tuple[bool, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return math.prod(self.lead)


def layout_of(shapes: Sequence[tuple[int, ...]]) -> Layout:
    """How inputs of these shapes share rows and columns."""
    lead = np.broadcast_shapes(*(s[:-1] for s in shapes))
    kinds, stretched = [], []
    for shape in shapes:
        own = (1,) * (len(lead) + 1 - len(shape)) + tuple(shape)
        one_row = all(n == 1 for n in own[:-1]) and math.prod(lead) != 1
        partly = own[:-1] != lead and not one_row
        wide = own[-1] != 1
        kinds.append((COLUMNS if wide else ONE) if one_row else (FULL if wide else ROW))
        stretched.append(partly)
    return Layout(tuple(lead), tuple(kinds), tuple(stretched))


@dataclass(frozen=True)
class Program:
    """The tape of a composition with its gradients, and which slots are what; `rows` is the traced row count."""

    tape: tuple[Row, ...]
    rows: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    seeds: tuple[int, ...]
    gradients: tuple[int | None, ...]
    single: bool


def trace(
    fn: Callable[..., Any],
    kinds: Sequence[str],
    widths: Sequence[int],
    dtypes: Sequence[Any],
    settings: dict[str, Any],
) -> Program:
    """Run `fn` on placeholders of these kinds and widths, and take the tape of its value and its gradients."""
    rows = next(n for n in (3, 5, 7, 11, 13, 17, 19) if n not in widths)
    shape_of = {FULL: (rows, 0), ROW: (rows, 1), COLUMNS: (1, 0), ONE: (1, 1)}
    with tracing():
        inputs = [
            _placeholder(f"x{i}", tuple(size or n for size in shape_of[kind]), dtype)
            for i, (kind, n, dtype) in enumerate(zip(kinds, widths, dtypes, strict=True))
        ]
        value = fn(*inputs, **settings)
        outputs = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(o, Tensor) for o in outputs):
            rule = "expected a tensor or a tuple of tensors."
            raise TraceError(explain(f"{_name(fn)}: it returned no tensors", {"returned": value}, rule))
        learnt = [o for o in outputs if o.mode & WANTS]
        floats = [x for x in inputs if x.mode & WANTS]
        seeds = {id(o): _placeholder(f"g{i}", o.shape, o.dtype) for i, o in enumerate(outputs)}
        gradients: dict[int, Tensor] = {}
        if learnt and floats:
            found = grad(learnt, floats, [seeds[id(o)] for o in learnt], create_graph=True)
            # What comes back off the tape is a zero: nothing flows there.
            gradients = {id(x): g for x, g in zip(floats, found, strict=True) if g.mode & TRACED}
    every = [*inputs, *outputs, *seeds.values(), *gradients.values()]
    tape = Tape.of(*every)
    slot = dict(zip(map(id, every), tape.outputs, strict=True))
    return Program(
        tape.rows,
        rows,
        tuple(slot[id(x)] for x in inputs),
        tuple(slot[id(o)] for o in outputs),
        tuple(slot[id(s)] for s in seeds.values()),
        tuple(slot[id(gradients[id(x)])] if id(x) in gradients else None for x in inputs),
        not isinstance(value, tuple),
    )


def _placeholder(name: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    # Numbers that no formula minds: neither 0, where a slope may be infinite, nor equal in a row.
    size = math.prod(shape)
    t = wrap((np.arange(1, size + 1).reshape(shape) / (size + 1)).astype(dtype))
    t.name = name
    t.mode = (WANTS | TRACED) if np.dtype(dtype).kind == "f" else TRACED
    return t


def _name(fn: Any) -> str:
    return str(getattr(fn, "__name__", fn))
