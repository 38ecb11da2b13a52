"""The kernels of one fused function: found by what it is called with, recorded as one op, run back and again."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.errors import ArgumentError, TraceError, explain
from tinygrad_seq.fuser.interpret import interpret
from tinygrad_seq.fuser.plan import Plan
from tinygrad_seq.fuser.runner import Call, Runner
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Layout, layout_of, name_of
from tinygrad_seq.fuser.trial import alike, drawn, slopes, tried
from tinygrad_seq.nodes import PICK, STATE, Node, new_node
from tinygrad_seq.numerics import Array
from tinygrad_seq.ops import Op
from tinygrad_seq.recording import WANTS, as_tensor, leaf, picked, wrap
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.walk import at_node, sum_to

# Numbers that emitted kernels know: others run as compositions.
_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint64", "bool"})
_FEW = 29
_UNKNOWN: Any = object()

# A program may see new shapes as long as it runs. The oldest is forgotten first; one in use is soon made again.
MOST_FITTINGS = 1024  # of all functions together
MOST_PLANS = 256  # of one function, for some are traced for each width anew
_fittings: deque[tuple[dict[Any, Any], Any]] = deque()


class Family:
    """All kernels of one fused function: a plan serves all shapes of some ranks and dtypes, a fitting one set."""

    def __init__(self, fn: Callable[..., Any]):
        self.fn = fn
        self.name = name_of(fn)
        self.plans: dict[Any, Plan | None] = {}
        self.fittings: dict[Any, Fitting | None] = {}
        self.last: dict[str, Runner] = {}
        self.reason = ""

    def call(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """The value, recorded as one op where an input wants a gradient."""
        # Written for speed: a step of a small model waits for this as long as for its kernel.
        tensors: list[Tensor] = []
        arrays: list[Array] = []
        signs: list[Any] = []
        mode = 0
        for x in inputs:
            t = x if isinstance(x, Tensor) else as_tensor(x)
            a = t.array
            mode |= t.mode
            tensors.append(t)
            arrays.append(a)
            signs += a.shape, a.dtype
        if settings:
            # By the kind of a setting too: 1, 1.0 and True are equal, and a composition may tell them apart.
            signs += [(k, type(v), repr(v)) for k, v in settings.items()]
        records = mode & WANTS and STATE.recording
        key = tuple(signs)
        fitting = self.fittings.get(key, _UNKNOWN)
        if fitting is _UNKNOWN:
            fitting = self.fittings[key] = self._fitting(arrays, settings, bool(records))
            _fittings.append((self.fittings, key))
            while len(_fittings) > MOST_FITTINGS:
                theirs, oldest = _fittings.popleft()
                theirs.pop(oldest, None)
        if fitting is None:
            return self.fn(*tensors, **settings)
        if records:
            return fitting.record(tensors, arrays)
        self.last["forward"] = fitting.plan.plain
        found = fitting.plain(arrays)
        return wrap(found[0]) if fitting.single else tuple([wrap(o) for o in found])

    def _fitting(self, arrays: Sequence[Array], settings: dict[str, Any], records: bool) -> Fitting | None:
        """The kernels fitted to these shapes, or None where the composition must run."""
        if all(a.ndim == 0 for a in arrays) or any(str(a.dtype) not in _DTYPES for a in arrays):
            return None
        try:
            layout = layout_of([a.shape for a in arrays])
        except ValueError:
            tried(self.fn, arrays, settings)  # says which op it is, if it is one that no kernel holds
            self.reason = "the leading axes of its inputs do not broadcast"
            return None
        widths = tuple([a.shape[-1] if a.ndim else -1 for a in arrays])
        ranks = tuple([a.ndim for a in arrays])
        dtypes = tuple([a.dtype for a in arrays])
        fixed = tuple([(k, type(v), repr(v)) for k, v in settings.items()])
        wide = {n for n in widths if n > 1}
        # By the width's magnitude too, so that a function which asks for it is tried again now and then.
        widest = max(wide, default=1).bit_length()
        wides = tuple([n > 1 for n in widths])
        pattern = (layout.kinds, wides, widest, ranks, len(layout.lead), dtypes, fixed)
        # Most functions serve any number of columns, and are traced with few; the others with their own.
        few = tuple([min(n, _FEW) for n in widths])
        ways = [(pattern, few)] if len(wide) <= 1 else []
        for key, sizes in (*ways, ((*pattern, widths), widths)):
            if key not in self.plans:
                if len(self.plans) >= MOST_PLANS:
                    self.plans.pop(next(iter(self.plans)))
                self.plans[key] = self._planned(
                    arrays, layout, sizes, settings, key is pattern and bool(wide), records
                )
            plan = self.plans[key]
            if plan:
                return Fitting(self, plan, layout, arrays, max(widths))
        return None

    def _planned(
        self,
        arrays: Sequence[Array],
        layout: Layout,
        widths: tuple[int, ...],
        settings: dict[str, Any],
        general: bool,
        records: bool,
    ) -> Plan | None:
        """The plan for such inputs (of any width, if `general`), or None where the composition says another thing.

        A composition is traced over rows and columns; one that looks at the number of its axes, or counts them
        from the front, means something else there. So each plan is tried on random numbers before it is used.
        """
        specs = [(a.shape, a.dtype, None if a.dtype.kind == "f" else a.copy()) for a in arrays]
        trial = drawn(specs)
        theirs = tried(self.fn, trial, settings)
        fn = functools.partial(self.fn, **settings) if settings else self.fn
        try:
            sizes = {layout.rows, *(n for a in arrays for n in a.shape)}
            width = max(a.shape[-1] for a in arrays if a.ndim)
            plan = Plan(fn, layout.kinds, widths, [a.dtype for a in arrays], sorted(sizes), width)
            plan.settings = settings
            if general and not plan.traced.width:
                return None
            if plan.refused:
                self.reason = plan.refused
                return None
            with np.errstate(all="ignore"):
                fitting = Fitting(self, plan, layout, trial, width)
                # That kernel which is wanted now: each takes a moment to build.
                mine = (fitting.keeping if records else fitting.plain)(trial)[: len(theirs)]
        except TraceError:
            raise
        except Exception as error:  # whatever a user's function raises over rows and columns, as it is it ran
            self.reason = f"over rows and columns it raises {type(error).__name__}"
            return None
        if len(mine) == len(theirs) and all(alike(m, t) for m, t in zip(mine, theirs, strict=True)):
            plan.tried_on = layout, specs
            return plan
        self.reason = "over rows and columns it gives another result, another shape or another dtype"
        return None

    def source(self, which: str) -> str:
        """The text of the kernel that ran last."""
        if which not in ("forward", "backward"):
            rule = "expected 'forward' or 'backward'."
            raise ArgumentError(explain("source: no such kernel", {"which": which}, rule))
        if which not in self.last:
            rule = f"expected a call of {self.name} before{' and a gradient' * (which == 'backward')}."
            way_out = f"Its composition runs instead: {self.reason}." if self.reason else ""
            raise ArgumentError(explain(f"source: no {which} kernel has run yet", None, rule, way_out))
        return self.last[which].kernel.source


class Fitting:
    """A plan with the shapes of a call: what arrays go in and come out, and the op that is recorded."""

    def __init__(self, family: Family, plan: Plan, layout: Layout, arrays: Sequence[Array], width: int):
        self.family, self.plan, self.layout, self.width = family, plan, layout, width
        self.shapes = [a.shape for a in arrays]
        self.single, self.count = plan.program.single, len(plan.program.outputs)
        self.backward_calls: dict[Any, tuple[Call, tuple[bool, ...]]] = {}
        p = plan.program
        # The mark of a fused op on the tape: its outputs have whatever shapes the composition gives.
        self.settings: dict[str, Any] = {"fn": family.fn}
        self.op = Op(family.name, family.fn, "fused", joint=self.backward, again=self.recorded)
        self.kept = [s in plan.kept for s in p.inputs]
        self.hung = p.hidden or not p.single
        self.seen = [self._gradient_shape(i) for i in range(len(arrays))]

    @functools.cached_property
    def plain(self) -> Call:
        """The kernel for the value alone."""
        return self.plan.plain.bound(self.layout, self.width)

    @functools.cached_property
    def keeping(self) -> Call:
        """The kernel for the value and what the gradient needs of it."""
        return self.plan.keeping.bound(self.layout, self.width)

    def record(self, tensors: Sequence[Tensor], arrays: Sequence[Array]) -> Any:
        """The outputs, on the tape as one op."""
        values = self.keeping(arrays)
        self.family.last["forward"] = self.plan.keeping
        parents = tuple([t.node or leaf(t) for t in tensors])
        saved = tuple([a if k else p for a, k, p in zip(arrays, self.kept, parents, strict=True)])
        beside = tuple([values[i] for i in self.plan.beside_from])
        first = values[0]
        node = new_node(
            self.op, parents, self.settings, saved, beside, STATE.place, first.shape, first.dtype, True
        )
        if not self.hung:
            return wrap(first, node, WANTS)
        outs = picked(node, tuple(values[: self.count]), WANTS)
        return outs[0] if self.single else outs

    def backward(
        self, wanted: tuple[bool, ...], gs: list[Any], beside: tuple[Array, ...], *saved: Any, fn: Any = None
    ) -> list[Any]:
        """The gradients of the wanted inputs, by kernel."""
        gs = [*gs, *[None] * (len(self.plan.program.seeds) - len(gs))]
        given = tuple([g is not None for g in gs])
        call, made = self.backward_calls.get((wanted, given)) or self._backward_call(wanted, given)
        found = iter(call((*saved, *beside, *gs)))
        if call.runner.computed:
            self.family.last["backward"] = call.runner
        results = []
        for want, make, shape in zip(wanted, made, self.seen, strict=True):
            g = next(found) if make else None
            results.append(None if g is None or not want else g if g.shape == shape else g.reshape(shape))
        return results

    def _backward_call(
        self, wanted: tuple[bool, ...], given: tuple[bool, ...]
    ) -> tuple[Call, tuple[bool, ...]]:
        """The kernel for these gradients, and which it makes.

        The same from the first call on: a resumed run has no memory of how often each was wanted.
        """
        plan = self.plan
        made = tuple([w and s is not None for w, s in zip(wanted, plan.program.gradients, strict=True)])
        call = plan.backward(made, given).bound(self.layout, self.width)
        self._prove(made, given)
        self.backward_calls[wanted, given] = call, made
        return call, made

    def _prove(self, wanted: tuple[bool, ...], given: tuple[bool, ...]) -> None:
        """Compare a new gradient kernel with the gradient of the composition, on random numbers, once.

        Raises TraceError where they differ: a wrong gradient must not be silent.
        """
        plan = self.plan
        if (wanted, given) in plan.proved or any(given[self.count :]):
            return
        layout, specs = plan.tried_on
        trial = drawn(specs)
        width = max(shape[-1] for shape, *_ in specs if shape)
        fitting = Fitting(self.family, plan, layout, trial, width)
        values = fitting.keeping(trial)
        seeds = [(v * 0.5 + 0.25).astype(v.dtype) if g else None for v, g in zip(values, given, strict=False)]
        call = plan.backward(wanted, given).bound(layout, width)
        mine = iter(call((*trial, *(values[i] for i in plan.beside_from), *seeds)))
        theirs = slopes(self.family.fn, plan.settings, trial, seeds, wanted)
        for want, slot, shape, g in zip(wanted, plan.program.gradients, fitting.seen, theirs, strict=True):
            if want and slot is not None and g is not None:
                own = next(mine).reshape(shape)
                if own.shape != g.shape:
                    own = sum_to(own, g.shape)
                if not alike(own, g):
                    rule = "expected the gradient of its composition."
                    way_out = "Please report it; tgs.composed() runs the composition."
                    name = self.family.name
                    raise TraceError(
                        explain(f"fused: the derived gradient of {name} is wrong", None, rule, way_out)
                    )
        plan.proved.add((wanted, given))

    def recorded(self, node: Node, wanted: tuple[bool, ...], gs: list[Any]) -> list[Any]:
        """The same gradients as recorded Tensors, for derivatives of them."""
        plan, p, rows = self.plan, self.plan.program, self.layout.rows
        gs = [*gs, *[None] * (len(p.seeds) - len(gs))]
        at_hand: dict[int, Tensor] = {}
        for slot, value, parent in zip(p.inputs, node.saved or (), node.parents, strict=True):
            if isinstance(value, np.ndarray):
                at_hand[slot] = self._flat(slot, at_node(value, parent))
        for slot, value in zip(plan.beside, node.out, strict=True):
            outputs = (*p.outputs, *p.hidden)
            place = outputs.index(slot) if slot in outputs else -1
            if place >= self.count or place in p.read:
                hung = self._pick(node, place, value) if self.hung else node
                at_hand[slot] = self._flat(slot, at_node(value, hung))
        at_hand |= {s: self._flat(s, g) for s, g in zip(p.seeds, gs, strict=True) if g is not None}
        slots: list[int] = [s for s, want in zip(p.gradients, wanted, strict=True) if want and s is not None]
        zeros = frozenset(s for s, g in zip(p.seeds, gs, strict=True) if g is None)
        found = iter(interpret(plan.traced, at_hand, zeros, slots, rows, self.width))
        results = []
        for want, gradient, shape in zip(wanted, p.gradients, self.seen, strict=True):
            g = next(found) if want and gradient is not None else None
            results.append(None if g is None else g.reshape(shape))
        return results

    def _pick(self, node: Node, place: int, value: Array) -> Node:
        settings = {"i": place}
        return new_node(
            PICK, (node,), settings, (node,), None, node.place, value.shape, value.dtype, node.wants
        )

    def _flat(self, slot: int, value: Tensor) -> Tensor:
        """A tensor of the call as the program sees it, over (rows, columns)."""
        traced, rows = self.plan.traced, self.layout.rows
        kind, rank = traced.space.kinds[slot], len(traced.program.tape[slot].shape)
        width = self.width if traced.width else traced.space.width(slot)
        shape = {FULL: (rows, width), ROW: (rows, 1)[:rank], COLUMNS: (1, width)[-rank:], ONE: (1, 1)[:rank]}[
            kind
        ]
        if kind in (FULL, ROW) and value.array.size != rows * (width if kind == FULL else 1):
            value = value.expand(*self.layout.lead, value.shape[-1])
        return value if value.shape == shape else value.reshape(shape)

    def _gradient_shape(self, i: int) -> tuple[int, ...]:
        if self.layout.stretched[i]:
            return (*self.layout.lead, *self.shapes[i][-1:])
        return tuple(self.shapes[i])


def fitting_of(op: Op) -> Any:
    """The `Fitting` that made a fused op; None for another op."""
    return getattr(op.joint, "__self__", None) if op.kind == "fused" else None
