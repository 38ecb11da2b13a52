"""The kernels of one fused function: which are needed for a call, and how arrays are handed to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.compiling import build
from tinygrad_seq.fuser.emit import Kernel, emit
from tinygrad_seq.fuser.grouping import Space
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Layout, Program, layout_of, trace
from tinygrad_seq.nodes import STATE, Node, recording
from tinygrad_seq.numerics import Array
from tinygrad_seq.ops import Op
from tinygrad_seq.random import positions
from tinygrad_seq.recording import WANTS, as_tensor, leaf, picked, wrap
from tinygrad_seq.tensor import Tensor


class Family:
    """All kernels of one fused function, by what it is called with."""

    def __init__(self, fn: Callable[..., Any]):
        self.fn = fn
        self.name = str(getattr(fn, "__name__", "fused"))
        self.plans: dict[Any, Plan | None] = {}
        self.last: dict[str, str] = {}

    def call(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """The value, recorded as one op where an input wants a gradient."""
        tensors = [x if isinstance(x, Tensor) else as_tensor(x) for x in inputs]
        arrays = [t.array for t in tensors]
        # By the kind of a setting too: 1, 1.0 and True are equal, and a composition may tell them apart.
        key = (*[(a.shape, a.dtype) for a in arrays], *[(k, type(v), repr(v)) for k, v in settings.items()])
        if key not in self.plans:
            self.plans[key] = self.planned(arrays, settings)
        plan = self.plans[key]
        if plan is None:
            return self.fn(*inputs, **settings)
        mode = 0
        for t in tensors:
            mode |= t.mode
        state = STATE
        records = bool(mode & WANTS) and state.recording
        outs, stats = plan.forward(arrays, records)
        if not records:
            values = tuple([wrap(o) for o in outs])
            return values[0] if plan.program.single else values
        parents = tuple([t.node or leaf(t) for t in tensors])
        first = outs[0]
        node = Node(
            plan.op, parents, plan.settings, tuple(arrays), stats, state.place, first.shape, first.dtype, True
        )
        if plan.program.single:
            return wrap(first, node, WANTS)
        return picked(node, outs, WANTS)

    def planned(self, arrays: Sequence[Array], settings: dict[str, Any]) -> Plan | None:
        """The kernels for these shapes, or None where they would not say what the composition says.

        A composition is traced over rows and columns; one that looks at the number of its axes, or counts them
        from the front, means something else there. So each plan is tried on random numbers before it is used.
        """
        floats = all(a.dtype in (np.float32, np.float64) for a in arrays if a.dtype.kind == "f")
        if not floats or any(
            a.ndim == 0 or a.dtype.kind not in "fib" or a.dtype.itemsize == 2 for a in arrays
        ):
            return None
        rng = np.random.default_rng(0)
        trial = [
            np.asarray(rng.uniform(0.1, 0.9, a.shape), a.dtype) if a.dtype.kind == "f" else a for a in arrays
        ]
        with recording(False), np.errstate(all="ignore"):
            value = self.fn(*[wrap(a) for a in trial], **settings)
        theirs = [o.array for o in (value if isinstance(value, tuple) else (value,))]
        plan = Plan(self, arrays, settings)
        mine, _ = plan.forward(trial, False)
        same = len(mine) == len(theirs) and all(_alike(m, t) for m, t in zip(mine, theirs, strict=True))
        return plan if same else None

    def source(self, which: str) -> str:
        """The text of the kernel that ran last."""
        return self.last[which]


class Plan:
    """What one call needs, for shapes, dtypes and settings as they are."""

    def __init__(self, family: Family, arrays: Sequence[Array], settings: dict[str, Any]):
        self.family = family
        self.layout: Layout = layout_of([a.shape for a in arrays])
        kinds = self.layout.kinds
        self.shapes = [a.shape for a in arrays]
        widths = [a.shape[-1] if a.ndim else 1 for a in arrays]
        fn = functools.partial(family.fn, **settings) if settings else family.fn
        self.program: Program = trace(fn, kinds, widths, [a.dtype for a in arrays], {})
        self.space = Space(self.program)
        self.varying = self._numbers_of_the_size(fn, widths, [a.dtype for a in arrays])
        stats = self._row_sums_the_gradient_reads()
        self.kernels: dict[Any, Runner] = {}
        p = self.program
        self.plain = Runner(self, p.inputs, p.outputs, "forward")
        self.keeping = Runner(self, p.inputs, (*p.outputs, *stats), "forward") if stats else self.plain
        self.stats = stats
        self.op = Op(
            family.name, family.fn, "fused", joint=self.backward, joint_reads=tuple(range(len(arrays)))
        )
        self.settings = {"fn": fn, "inputs": len(arrays), "before": positions()}

    def _numbers_of_the_size(self, fn: Any, widths: list[int], dtypes: list[Any]) -> frozenset[int]:
        """The constants that change with the number of columns (1/n): arguments of a kernel, not part of it."""
        constants = [row for row in self.program.tape if row.value is not None and row.dtype.kind == "f"]
        if not constants:
            return frozenset()
        wider = trace(fn, self.layout.kinds, [n if n == 1 else 2 * n for n in widths], dtypes, {})
        mine, theirs = self.program.tape, wider.tape
        if [(r.op, r.args) for r in mine] != [(r.op, r.args) for r in theirs]:
            return frozenset()
        return frozenset(r.slot for r in constants if r.value != theirs[r.slot].value)

    def _row_sums_the_gradient_reads(self) -> tuple[int, ...]:
        """Sums and maxima along rows that forward and backward pass share: one number a row, kept for the latter."""
        p = self.program
        forward = self.space.needed(p.outputs, p.inputs)
        backward = self.space.needed([g for g in p.gradients if g is not None], p.inputs)
        return tuple(
            s for s in sorted(forward & backward) if self.space.is_row_reduction(self.program.tape[s])
        )

    def forward(self, arrays: Sequence[Array], keep: bool) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The outputs, and what the gradient needs besides the inputs."""
        runner = self.keeping if keep else self.plain
        values = runner(dict(zip(self.program.inputs, arrays, strict=True)))
        n = len(self.program.outputs)
        return values[:n], values[n:]

    def backward(self, wanted: Any, gs: list[Any], stats: Any, *arrays: Any, **_: Any) -> list[Any]:
        """The gradients of the wanted inputs, from those of the outputs that have one."""
        given = tuple(g is not None for g in gs)
        runner = self.kernels.get((wanted, given))
        if runner is None:
            runner = self.kernels[wanted, given] = self._backward_runner(wanted, given)
        p = self.program
        at_hand = dict(zip((*p.inputs, *self.stats, *p.seeds), (*arrays, *stats, *gs), strict=True))
        results = iter(runner(at_hand))
        return [
            next(results).reshape(self._gradient_shape(i)) if want and p.gradients[i] is not None else None
            for i, want in enumerate(wanted)
        ]

    def _gradient_shape(self, i: int) -> tuple[int, ...]:
        if self.layout.stretched[i]:
            return (*self.layout.lead, *self.shapes[i][-1:])
        shape: tuple[int, ...] = self.shapes[i]
        return shape

    def _backward_runner(self, wanted: tuple[bool, ...], given: tuple[bool, ...]) -> Runner:
        p = self.program
        seeds = {s for s, there in zip(p.seeds, given, strict=True) if there}
        outputs = tuple(g for g, want in zip(p.gradients, wanted, strict=True) if want and g is not None)
        missing = frozenset(set(p.seeds) - seeds)
        return Runner(self, (*p.inputs, *self.stats, *sorted(seeds)), outputs, "backward", missing)


class Runner:
    """One kernel with the sizes of one plan."""

    def __init__(
        self,
        plan: Plan,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        which: str,
        zeros: frozenset[int] = frozenset(),
    ):
        self.plan, self.outputs = plan, outputs
        title = f"Derived from the tape of `{plan.family.name}`, {which}."
        self.kernel: Kernel = emit(plan.program, inputs, outputs, title, plan.varying, zeros)
        self.function = build(self.kernel.source)
        self.which = which
        space = plan.space
        self.kinds = [space.kinds[s] for s in self.kernel.inputs]
        dtypes = [plan.program.tape[s].dtype for s in outputs]
        self.made = [self._maker(s, d) for s, d in zip(outputs, dtypes, strict=True)]
        numbers = plan.program.tape
        typed = [numbers[s].dtype.type(numbers[s].value) for s in self.kernel.numbers]
        self.leading = (*self.kernel.sizes, *typed)

    def _maker(self, slot: int, dtype: Any) -> tuple[tuple[int, ...], tuple[int, ...], Any, bool]:
        """The shape a kernel writes, the shape the caller sees, the dtype, and whether it must start at zero."""
        plan, space = self.plan, self.plan.space
        lead, kind, width = plan.layout.lead, space.kinds[slot], space.width(slot)
        rows = plan.layout.rows
        flat = {FULL: (rows, width), ROW: (rows,), COLUMNS: (width,), ONE: (1,)}[kind]
        rank = len(plan.program.tape[slot].shape)
        seen = {
            FULL: (*lead, width),
            ROW: (*lead, 1) if rank == 2 else lead,
            COLUMNS: (width,),
            ONE: (1,) if rank else (),
        }[kind]
        return flat, seen, dtype, bool(space.sums_over_rows(slot)) or not rows

    def __call__(self, at_hand: dict[int, Array]) -> tuple[Array, ...]:
        """Arrays by slot in, results in the order of the outputs."""
        layout = self.plan.layout
        rows = layout.rows
        arguments = [
            _laid(at_hand[slot], kind, rows, layout.lead)
            for slot, kind in zip(self.kernel.inputs, self.kinds, strict=True)
        ]
        results = [
            np.zeros(flat, dtype) if zero else np.empty(flat, dtype) for flat, _, dtype, zero in self.made
        ]
        if rows:
            self.function(0, rows, *self.leading, *arguments, *results)
        self.plan.family.last[self.which] = self.kernel.source
        return tuple([r.reshape(seen) for r, (_, seen, _, _) in zip(results, self.made, strict=True)])


def _alike(mine: Array, theirs: Array) -> bool:
    """True where two results are the same but for rounding."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype or mine.dtype.kind != "f":
        return False
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0))
    return bool(np.allclose(mine, theirs, rtol=0, atol=1e-4 * scale, equal_nan=True))


def _laid(array: Array, kind: str, rows: int, lead: tuple[int, ...]) -> Array:
    """An array as the kernel reads it: contiguous, (rows, columns), (rows,), (columns,) or (1,)."""
    if kind in (FULL, ROW):
        width = array.shape[-1] if array.ndim and kind == FULL else 1
        shape: tuple[int, ...] = (rows, width) if kind == FULL else (rows,)
        if array.size != rows * width:
            array = np.broadcast_to(array, (*lead, width))
    else:
        shape = (array.size,)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array.reshape(shape)
