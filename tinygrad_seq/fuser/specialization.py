"""A fused function for one set of shapes, dtypes and settings: its kernels bound to them, and the op it records."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinygrad_seq.engine.accumulate import unbroadcast
from tinygrad_seq.engine.apply import WANTS, leaf, picked
from tinygrad_seq.engine.backward import at_node
from tinygrad_seq.engine.node import PICK, STATE, Node, new_node
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import TraceError
from tinygrad_seq.fuser.higher_order import interpret
from tinygrad_seq.fuser.launch import BoundKernel
from tinygrad_seq.fuser.plan import Plan
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Layout
from tinygrad_seq.fuser.trial import alike, drawn, slopes
from tinygrad_seq.runtime.arrays import Array


class Source(Protocol):
    """The function that kernels are made of, and which ones ran last."""

    fn: Any
    name: str
    last: dict[str, Any]


class Specialization:
    """A plan with the shapes of a call: its input and output arrays, and the op that is recorded.

    `settings` are the call's keywords; `hung` says that its outputs are picked one by one from the op's node.
    """

    def __init__(self, cache: Source, plan: Plan, layout: Layout, arrays: Sequence[Array], width: int):
        self.cache, self.plan, self.layout, self.width = cache, plan, layout, width
        self.shapes = [a.shape for a in arrays]
        self.single, self.count = plan.program.single, len(plan.program.outputs)
        self.gradients: dict[Any, tuple[BoundKernel, tuple[bool, ...]]] = {}
        p = plan.program
        self.settings = plan.settings
        # The mark of a fused op on the tape: its outputs have whatever shapes the composition gives.
        self.mark: dict[str, Any] = {"fn": cache.fn}
        self.op = Op(
            cache.name,
            cache.fn,
            "fused",
            joint_vjp=self.backward,
            traced_vjp=self.recorded,
            composite=True,
            owned=True,
        )
        self.kept = [s in plan.kept for s in p.inputs]
        self.hung = bool(p.hidden) or not p.single
        self.seen = [self._gradient_shape(i) for i in range(len(arrays))]

    @functools.cached_property
    def plain(self) -> BoundKernel:
        """The kernel for the value alone."""
        return self.plan.plain.bound(self.layout, self.width)

    @functools.cached_property
    def keeping(self) -> BoundKernel:
        """The kernel for the value and the values saved for the gradient."""
        return self.plan.keeping.bound(self.layout, self.width)

    def value(self, arrays: Sequence[Array]) -> Any:
        """The outputs, without a record on the tape."""
        self.cache.last["forward"] = self.plan.plain
        found = self.plain(arrays)
        return wrap(found[0]) if self.single else tuple([wrap(o) for o in found])

    def record(self, tensors: Sequence[Tensor], arrays: Sequence[Array], mode: int = WANTS) -> Any:
        """The outputs, on the tape as one op; `mode` is theirs."""
        values = self.keeping(arrays)
        self.cache.last["forward"] = self.plan.keeping
        parents = tuple([t.node or leaf(t) for t in tensors])
        saved = tuple([a if k else p for a, k, p in zip(arrays, self.kept, parents, strict=True)])
        beside = tuple([values[i] for i in self.plan.beside_from])
        first = values[0]
        node = new_node(
            self.op, parents, self.mark, saved, beside, STATE.place, first.shape, first.dtype, True
        )
        if not self.hung:
            return wrap(first, node, mode)
        outs = picked(node, tuple(values[: self.count]), mode)
        return outs[0] if self.single else outs

    def backward(
        self, wanted: tuple[bool, ...], gs: list[Any], beside: tuple[Array, ...], *saved: Any, fn: Any = None
    ) -> list[Any]:
        """The gradients of the wanted inputs, by kernel."""
        gs = [*gs, *[None] * (len(self.plan.program.seeds) - len(gs))]
        given = tuple([g is not None for g in gs])
        kernel, made = self.gradients.get((wanted, given)) or self._gradient_kernel(wanted, given)
        found = iter(kernel((*saved, *beside, *gs)))
        if kernel.compiled.computed:
            self.cache.last["backward"] = kernel.compiled
        results = []
        for want, make, shape in zip(wanted, made, self.seen, strict=True):
            g = next(found) if make else None
            results.append(None if g is None or not want else g if g.shape == shape else g.reshape(shape))
        return results

    def _gradient_kernel(
        self, wanted: tuple[bool, ...], given: tuple[bool, ...]
    ) -> tuple[BoundKernel, tuple[bool, ...]]:
        """The kernel for these gradients, and which it makes.

        The choice is the same from the first call on: a resumed run does not know earlier calls.
        """
        plan = self.plan
        made = tuple([w and s is not None for w, s in zip(wanted, plan.program.gradients, strict=True)])
        kernel = plan.backward(made, given).bound(self.layout, self.width)
        self._prove(made, given)
        self.gradients[wanted, given] = kernel, made
        return kernel, made

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
        small = Specialization(self.cache, plan, layout, trial, width)
        values = small.keeping(trial)
        seeds = [(v * 0.5 + 0.25).astype(v.dtype) if g else None for v, g in zip(values, given, strict=False)]
        kernel = plan.backward(wanted, given).bound(layout, width)
        mine = iter(kernel((*trial, *(values[i] for i in plan.beside_from), *seeds)))
        theirs = slopes(self.cache.fn, plan.settings, trial, seeds, wanted)
        for want, slot, shape, g in zip(wanted, plan.program.gradients, small.seen, theirs, strict=True):
            if want and slot is not None and g is not None:
                own = next(mine).reshape(shape)
                if own.shape != g.shape:
                    own = unbroadcast(own, g.shape)
                if not alike(own, g):
                    rule = "expected the gradient of its composition."
                    hint = "Please report it; tgs.composed() runs the composition."
                    name = self.cache.name
                    raise TraceError(f"fused: the derived gradient of {name} is wrong", None, rule, hint)
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
