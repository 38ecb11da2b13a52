"""A program from a record: constant values are computed once, and views are left out."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygrad_seq.engine.node import no_grad
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.fuser.decorator import composed
from tinygrad_seq.replay.growth import settled
from tinygrad_seq.replay.recorder import FIXED, REST, Flat, Record, Step
from tinygrad_seq.runtime.arrays import Array

Row = tuple[Callable[[Any, Any], Any], int, int, int]
MEMO_BYTES = 1 << 26
"""How much of what depends on the first array alone is kept, W_ih e of each symbol for instance."""


class Shared:
    """The values shared by several programs of one function: constants, and the memory limit.

    Unless `exact`, the second factor of a product is stored by rows and the product computed by `dot`, which
    is faster; BLAS may then add in another order.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self.values: dict[Any, tuple[Any, list[Any]]] = {}
        self.kept = 0  # bytes that the programs remember by key

    def value(self, name: Any, inputs: list[Any], make: Callable[[], Any]) -> Any:
        """The value of `make` for these inputs, computed at the first request."""
        key = (name, *map(id, inputs))
        found = self.values.get(key)
        if found is None:
            # Stored with its inputs, because the ids of freed objects are used again.
            found = self.values[key] = make(), inputs
        return found[0]


def folded(made: Record, shared: Shared) -> Record:
    """The record without the values that no call changes: these are computed here, once for all programs."""
    arrays: dict[int, Any] = dict(made.fixed)
    steps, slots = [], made.slots
    for step in made.steps:
        if step.kind == FIXED and not step.grows and all(a in arrays for a in step.args):
            values = [arrays[a] for a in step.args]
            name = (step.name, step.forward, repr(step.settings))
            arrays[step.out] = shared.value(name, values, partial(_run, step, values))
            continue
        w = arrays.get(step.args[-1])
        if not shared.exact and step.name == "matmul" and w is not None and w.ndim == 2:
            arrays[slots] = shared.value("by rows", [w], partial(np.ascontiguousarray, w))
            step, slots = replace(step, args=(step.args[0], slots)), slots + 1
        steps.append(step)
    read = {a for step in steps for a in step.args} | set(made.outputs)
    kept = {slot: array for slot, array in arrays.items() if slot in read}
    return replace(made, steps=tuple(steps), fixed=kept, slots=slots)


class Program:
    """A record for arrays of certain shapes: `run(arrays)` gives those of the result.

    It is bound by running it once. Where a result is only its input in another shape, the rows between are left
    out. A returned array may share memory with an argument, with the program, or with another result.
    """

    def __init__(self, made: Record, flat: Flat, shared: Shared, size: int = 0):
        self.record, self.shared = made, shared
        # The slot behind those of the record holds the slots themselves; behind it are shapes and the like.
        self.home = made.slots
        self.slots: list[Any] = [None] * (made.slots + 1)
        self.memo: dict[Hashable, list[Array]] = {}
        for slot, array in made.fixed.items():
            self.slots[slot] = array
        for slot, array in zip(made.given, flat, strict=True):
            self.slots[slot] = array
        self.roots: dict[int, int] = {}
        rows: list[tuple[int, Row, tuple[int, ...]]] = []
        with no_grad(), np.errstate(all="ignore"):
            for step in made.steps:
                self._bind(step, settled(step.settings, size) if step.grows else step.settings, rows)
        self._order(rows)
        # The values of the first run would keep their memory.
        for slot in (self.home, *made.given, *[row[3] for _, row, _ in rows]):
            self.slots[slot] = None

    def _bind(self, step: Step, settings: dict[str, Any], rows: list[Any]) -> None:
        """Compute one step, and add the function that computes it again."""
        slots, args, name, out = self.slots, step.args, step.name, step.out
        row: Row
        if name == "fused":
            self._add_kernel(step, settings, rows)
            return
        if name in VIEWS and (name != "concat" or len(args) == 1):
            view, setting = VIEWS[name]
            row = view, args[0], self._constant(settings[setting] if setting else ...), out
        elif len(args) == 2 and not settings:
            both_flat = (
                name == "matmul" and not self.shared.exact and slots[args[0]].ndim == slots[args[1]].ndim == 2
            )
            forward: Callable[..., Any] = np.ndarray.dot if both_flat else step.forward
            row, name = (forward, args[0], args[1], out), "product"
        else:
            row, name = (_general(step, settings), self.home, self._constant(args), out), "general"
        self._add(name, step.kind, row, args, rows)

    def _add(self, name: str, kind: int, row: Row, args: tuple[int, ...], rows: list[Any]) -> None:
        slots = self.slots
        forward, x, y, out = row
        slots[self.home] = slots
        made = slots[out] = forward(slots[x], slots[y])
        if name in VIEWS and _is_reshaped(made, slots[args[0]]):
            root = self.roots[out] = self.roots.get(args[0], args[0])
            # The same array in another shape, of the first in the chain.
            same = slots[root].shape == made.shape
            setting = self._constant(... if same else made.shape)
            view: Any = operator.getitem if same else np.ndarray.reshape
            row = view, root, setting, out
            args = (root,)
        rows.append((kind, row, args))

    def _add_kernel(self, step: Step, settings: dict[str, Any], rows: list[Any]) -> None:
        """A fused function: the kernel that fits these shapes, or its composition where there is none."""
        slots, args = self.slots, step.args
        arrays = [slots[a] for a in args]
        kernel = step.fused.bound(arrays, settings)
        out = step.out
        if kernel is None:
            forward = _in_slots(partial(_composition, step, settings))
        elif kernel.whole and all(_fits(arrays[i], shape) for i, shape, _ in kernel.inputs):
            args = tuple([self._in_shape(step, args[i], shape, rows) for i, shape, _ in kernel.inputs])
            forward, (written, seen, *_) = kernel.between_slots(step.several), kernel.made[0]
            # In the shape in which it was written, for the next kernel.
            out = out if step.several or len(kernel.made) > 1 or written == seen else self._constant(None)
        else:
            forward = _in_slots(kernel if step.several else lambda given: kernel(given)[0])
        self._add("fused", step.kind, (forward, self.home, self._constant(args), out), args, rows)
        if out != step.out:
            view = np.ndarray.reshape, out, self._constant(seen), step.out
            self._add("reshape", step.kind, view, (out,), rows)

    def _in_shape(self, step: Step, slot: int, shape: tuple[int, ...], rows: list[Any]) -> int:
        """The slot of an array in the shape in which a kernel reads it: its own, that of what it was made from, or
        a new one.
        """
        for one in (slot, self.roots.get(slot, slot)):
            if self.slots[one].shape == shape:
                return one
        if slot in self.record.fixed:
            return self._constant(self.slots[slot].reshape(shape))
        flat = self._constant(None)
        view = np.ndarray.reshape, slot, self._constant(shape), flat
        self._add("reshape", step.kind, view, (slot,), rows)
        return flat

    def _constant(self, value: Any) -> int:
        self.slots.append(value)
        return len(self.slots) - 1

    def _order(self, rows: list[Any]) -> None:
        """The rows that are needed: those that depend only on the first array come first."""
        needed = set(self.record.outputs)
        wanted = []
        for kind, row, args in reversed(rows):
            if row[3] in needed:
                needed |= set(args)
                wanted.append((kind, row, args))
        wanted.reverse()
        # Values that grow but depend on nothing, such as a row of the positions, belong to the first array.
        self.early: list[Row] = [row for kind, row, _ in wanted if kind != REST]
        self.rows: list[Row] = [row for kind, row, _ in wanted if kind == REST]
        read = {a for kind, _, args in wanted if kind == REST for a in args} | set(self.record.outputs)
        self.frontier = sorted({row[3] for row in self.early} & read)

    def run(self, flat: Sequence[Array], key: Hashable = None) -> list[Array]:
        """The arrays of the result. Values that depend only on the first array are stored by its `key`."""
        slots = self.slots[:]
        slots[self.home] = slots
        for slot, array in zip(self.record.given, flat, strict=True):
            slots[slot] = array
        known = None if key is None else self.memo.get(key)
        if known is None:
            for f, x, y, out in self.early:
                slots[out] = f(slots[x], slots[y])
            if key is not None:
                self._remember(key, [slots[s] for s in self.frontier])
        else:
            for slot, array in zip(self.frontier, known, strict=True):
                slots[slot] = array
        for f, x, y, out in self.rows:
            slots[out] = f(slots[x], slots[y])
        found = [slots[s] for s in self.record.outputs]
        slots[self.home] = None  # a list that holds itself would wait for the garbage collector
        return found

    def _remember(self, key: Hashable, known: list[Array]) -> None:
        size = sum(a.nbytes for a in known)
        if self.shared.kept + size <= MEMO_BYTES:
            self.shared.kept += size
            self.memo[key] = known


VIEWS: dict[str, tuple[Any, str]] = {
    "slice": (operator.getitem, "index"),
    "reshape": (np.ndarray.reshape, "shape"),
    "permute": (np.ndarray.transpose, "axes"),
    "pick": (operator.getitem, "i"),
    "concat": (operator.getitem, ""),
}
"""Ops that only look at their input otherwise (a concat of one does), and the setting that says how."""


def _is_reshaped(made: Any, source: Any) -> bool:
    """Whether an array is another with the same order and memory."""
    if (
        not (isinstance(made, np.ndarray) and isinstance(source, np.ndarray))
        or not 0 < made.size == source.size
    ):
        return False
    owner = source if source.base is None else source.base
    return made.base is owner and made.flags.c_contiguous and source.flags.c_contiguous


def _fits(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether a kernel can read an array in this shape without a copy."""
    return array.flags.carray and array.size == math.prod(shape)


def _composition(step: Step, settings: dict[str, Any], arrays: list[Array]) -> Any:
    with no_grad(), composed():
        found = step.fused.fn(*map(wrap, arrays), **settings)
    made = [t.array for t in (found if isinstance(found, tuple) else (found,))]
    return made if step.several else made[0]


def _in_slots(function: Callable[[list[Any]], Any]) -> Callable[[Any, Any], Any]:
    return lambda slots, args: function([slots[a] for a in args])


def _general(step: Step, settings: dict[str, Any]) -> Callable[[Any, Any], Any]:
    forward = step.forward
    if step.name == "concat":
        axis = settings["axis"]
        return lambda slots, args: np.concatenate([slots[a] for a in args], axis)
    return lambda slots, args: forward(*[slots[a] for a in args], **settings)


def _run(step: Step, values: list[Any]) -> Any:
    if step.name != "fused":
        return step.forward(*values, **step.settings)
    kernel = step.fused.bound(values, step.settings)
    if kernel is None:
        return _composition(step, step.settings, values)
    made = kernel(values)
    return made if step.several else made[0]
