"""Tracing: a composition and its gradient as one tape over (rows, columns), for inputs of any ranks.

The leading axes of the inputs become rows, the last axis the columns. The tape has only a few rows: no fused
function may depend on their number.
"""

from __future__ import annotations

import linecache
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import TRACED, WANTS
from tinygrad_seq.engine.backward import at_node
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.node import STATE, Leaf, Node, tracing
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import TraceError, explain
from tinygrad_seq.tape.row import Row
from tinygrad_seq.tape.tape import Tape

# The kinds of arrays in the space of rows and columns.
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
        if not shape:
            kinds.append(ONE)
            stretched.append(False)
            continue
        own = (1,) * (len(lead) + 1 - len(shape)) + tuple(shape)
        one_row = all(n == 1 for n in own[:-1]) and math.prod(lead) != 1
        partly = own[:-1] != lead and not one_row
        wide = own[-1] != 1
        kinds.append((COLUMNS if wide else ONE) if one_row else (FULL if wide else ROW))
        stretched.append(partly)
    return Layout(tuple(lead), tuple(kinds), tuple(stretched))


@dataclass(frozen=True)
class Program:
    """The tape of a composition with its gradients, and which slots are what; `rows` is the traced row count.

    `hidden` are inner values that are saved for the gradient: outputs that no caller sees. `read` are the
    places of outputs that it reads. `seeds` are the gradients of the outputs, then of the hidden ones. `lines`
    says where in the source an op was written.
    """

    tape: tuple[Row, ...]
    rows: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    hidden: tuple[int, ...]
    seeds: tuple[int, ...]
    gradients: tuple[int | None, ...]
    single: bool
    lines: Mapping[int, str] = field(default_factory=dict)
    read: tuple[int, ...] = ()


Choice = Callable[[Program], Sequence[int]]


def trace(
    fn: Callable[..., Any],
    kinds: Sequence[str],
    widths: Sequence[int],
    dtypes: Sequence[Any],
    choose: Choice | None = None,
    not_rows: Sequence[int] = (),
) -> Program:
    """Run `fn` on placeholders of these kinds and widths, and take the tape of its value and its gradients.

    A width of -1 is a number without axes. `choose` names slots of that tape to be kept for the gradient; the
    gradients are then taken again, with what flows into those slots from later derivatives added.
    """
    # A number of rows unlike the call's: then the trial finds a dependence on it.
    rows = next(n for n in range(3, 10_000, 2) if n not in widths and n not in not_rows)
    shape_of = {FULL: (rows, -1), ROW: (rows, 1), COLUMNS: (1, -1), ONE: (1, 1)}
    with tracing(), lines_noted(fn) as lines:
        inputs = [
            _placeholder(f"x{i}", tuple(n if s < 0 else s for s in shape_of[kind]) if n >= 0 else (), dtype)
            for i, (kind, n, dtype) in enumerate(zip(kinds, widths, dtypes, strict=True))
        ]
        value = fn(*inputs)
        outputs = list(value) if isinstance(value, tuple) else [value]
        if not outputs or not all(isinstance(o, Tensor) for o in outputs):
            rule = "expected a tensor or a tuple of tensors."
            raise TraceError(f"{name_of(fn)}: it returned no tensors", {"returned": value}, rule)
        program, nodes = _program(inputs, outputs, [], rows, not isinstance(value, tuple), lines)
        kept = choose(program) if choose else ()
        inside = [s for s in kept if s not in program.outputs]
        if inside:
            hidden = [at_node(np.ones(nodes[s].shape, nodes[s].dtype), nodes[s]) for s in inside]
            program, _ = _program(inputs, outputs, hidden, rows, program.single, lines)
    return replace(program, read=tuple(i for i, o in enumerate(program.outputs) if o in kept))


def _program(
    inputs: list[Tensor],
    outputs: list[Tensor],
    hidden: list[Tensor],
    rows: int,
    single: bool,
    lines: dict[Any, str],
) -> tuple[Program, dict[int, Any]]:
    """The tape of outputs and gradients, and the node behind each of its slots that an op made."""
    every_output = [*outputs, *hidden]
    learnt = [i for i, o in enumerate(every_output) if o.mode & WANTS]
    floats = [x for x in inputs if x.mode & WANTS]
    seeds = [_placeholder(f"g{i}", o.shape, o.dtype) for i, o in enumerate(every_output)]
    gradients: dict[int, Tensor] = {}
    if learnt and floats:
        found = grad([every_output[i] for i in learnt], floats, [seeds[i] for i in learnt], create_graph=True)
        # A gradient without a node is zero.
        gradients = {id(x): g for x, g in zip(floats, found, strict=True) if g.mode & TRACED}
    every = [*inputs, *every_output, *seeds, *gradients.values()]
    tape, nodes = Tape.with_nodes(*every)
    slot = {id(x): s for x, s in zip(every, tape.outputs, strict=True)}
    at = {slot: lines[node] for slot, node in nodes.items() if node in lines}
    for row in tape:
        for a in row.args:
            at.setdefault(a, at.get(row.slot, ""))  # an array from outside comes at its first use
    program = Program(
        tape.rows,
        rows,
        tuple(slot[id(x)] for x in inputs),
        tuple(slot[id(o)] for o in outputs),
        tuple(slot[id(o)] for o in hidden),
        tuple(slot[id(s)] for s in seeds),
        tuple(slot[id(gradients[id(x)])] if id(x) in gradients else None for x in inputs),
        single,
        at,
    )
    return program, nodes


def _placeholder(name: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    # Numbers at which every formula is smooth: neither 0, where a derivative may be infinite, nor equal in a row.
    size = math.prod(shape)
    t = wrap(np.asarray(np.arange(1, size + 1).reshape(shape) / (size + 1), dtype))
    t.name = name
    t.mode = (WANTS | TRACED) if np.dtype(dtype).kind == "f" else TRACED
    return t


def name_of(fn: Any) -> str:
    """The name of a function in messages and in the title of its kernels."""
    name = getattr(fn, "__name__", "") or getattr(getattr(fn, "func", None), "__name__", "")
    return str(name).lstrip("_") or "fused"


# ---- where an op was written -------------------------------------------------------------------------------
class _Lines:
    """An observer of one run of a function: notes for each op the line of the function.

    Ops that no kernel can hold are refused at once: over rows and columns they would mean something else.
    """

    def __init__(self, fn: Any):
        self.code: CodeType | None = getattr(getattr(fn, "func", fn), "__code__", None)
        self.found: dict[Any, str] = {}

    def made(self, node: Node | Leaf | None, op: Op, inputs: tuple[Any, ...], out: Any) -> None:
        """An op ran."""
        if node is not None:
            self.found[node] = self.line()
        if not op.fusible and STATE.place.phase == "forward":
            operands = {f"x{i}": x for i, x in enumerate(inputs)}
            raise TraceError(
                refusal(op.name, "no kernel over rows and columns holds it", operands, self.line())
            )

    def line(self) -> str:
        """The line of the function that is running."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is None:
            return ""
        path, number = frame.f_code.co_filename, frame.f_lineno
        text = linecache.getline(path, number).strip()
        return f"line {number} of {path}" + (f": {text}" if text else "")

    def sent(self, *_: Any) -> None:
        """Nothing to note about gradients."""

    def arrived(self, *_: Any) -> None:
        """Nothing to note about gradients."""


@contextmanager
def lines_noted(fn: Any) -> Iterator[dict[Any, str]]:
    """Ops made inside note the line of the function that made them."""
    before, STATE.watch = STATE.watch, (watch := _Lines(fn))
    try:
        yield watch.found
    finally:
        STATE.watch = before


def refusal(op: str, why: str, operands: Mapping[str, object], line: str) -> str:
    """The text of the error for an op that cannot be fused."""
    return explain(
        f"fused: cannot fuse {op}: {why}",
        {**operands, **({"at": Written(line)} if line else {})},
        "expected pointwise ops, sums and maxima over the last axis, and slices of it.",
        "Move this op out of the fused function, and pass its result in.",
    )


class Written(str):
    """Text that an error prints unchanged."""

    def __repr__(self) -> str:
        return str(self)
