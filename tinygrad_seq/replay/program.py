"""A recipe made ready to run: what never changes worked out once, what only looks at an array otherwise left out."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq.engine.node import no_grad
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.fuser.decorator import composed
from tinygrad_seq.replay.recorder import FIXED, STATE, Flat, Recipe, Step, settled
from tinygrad_seq.runtime.arrays import Array

if TYPE_CHECKING:
    from tinygrad_seq.fuser.launch import BoundKernel

Row = tuple[Callable[[Any, Any], Any], int, int, int]
MEMO_BYTES = 1 << 26
"""How much of what depends on the symbol alone is kept, W_ih e of each symbol for instance."""


class Fixed:
    """What of a model's step depends on its weights alone, worked out once and shared by all its programs."""

    def __init__(self) -> None:
        self.values: dict[Any, tuple[Any, list[Any]]] = {}
        self.kept = 0  # bytes that the programs remember by symbol

    def value(self, name: Any, inputs: list[Any], make: Callable[[], Any]) -> Any:
        """What `make` makes of these inputs, made where it is not there yet."""
        key = (name, *map(id, inputs))
        found = self.values.get(key)
        if found is None:
            # With its inputs, whose ids would otherwise be given to others.
            found = self.values[key] = make(), inputs
        return found[0]


def folded(recipe: Recipe, fixed: Fixed) -> Recipe:
    """The recipe without what no symbol changes: it is worked out here, once for all programs.

    The second factor of a product is laid out by rows, which the product reads faster.
    """
    arrays: dict[int, Any] = dict(recipe.fixed)
    steps, slots = [], recipe.slots
    for step in recipe.steps:
        if step.kind == FIXED and not step.grows and all(a in arrays for a in step.args):
            values = [arrays[a] for a in step.args]
            name = (step.name, step.forward, repr(step.settings))
            arrays[step.out] = fixed.value(name, values, partial(_run, step, values))
            continue
        if step.name == "matmul" and step.args[1] in arrays and arrays[step.args[1]].ndim == 2:
            w = arrays[step.args[1]]
            arrays[slots] = fixed.value("by rows", [w], partial(np.ascontiguousarray, w))
            step, slots = replace(step, args=(step.args[0], slots)), slots + 1
        steps.append(step)
    read = {a for step in steps for a in step.args} | set(recipe.outputs)
    kept = {slot: array for slot, array in arrays.items() if slot in read}
    return replace(recipe, steps=tuple(steps), fixed=kept, slots=slots)


class Program:
    """A recipe for states of certain shapes. Called with a symbol and a state, it gives logits and the next state.

    It is bound by running it once. Where a result is but its input in another shape, the rows between are left
    out.
    """

    def __init__(self, recipe: Recipe, symbol: int, flat: Flat, fixed: Fixed, size: int = 0):
        self.recipe, self.fixed, self.proved = recipe, fixed, False
        # The slot behind those of the recipe holds the slots themselves; behind it are shapes and the like.
        self.home = recipe.slots
        self.slots: list[Any] = [None] * (recipe.slots + 1)
        self.memo: dict[int, list[Array]] = {}
        for slot, array in recipe.fixed.items():
            self.slots[slot] = array
        for slot, array in zip(recipe.given, (np.array([[symbol]]), *flat), strict=True):
            self.slots[slot] = array
        self.roots: dict[int, int] = {}
        rows: list[tuple[int, Row, tuple[int, ...]]] = []
        with no_grad():
            for step in recipe.steps:
                self._bind(step, settled(step.settings, size) if step.grows else step.settings, rows)
        self._order(rows)
        # What the first run left behind would keep its memory.
        for slot in (self.home, *recipe.given, *[row[3] for _, row, _ in rows]):
            self.slots[slot] = None
        self.given = recipe.given[1:]

    def _bind(self, step: Step, settings: dict[str, Any], rows: list[Any]) -> None:
        """Work out one step, and add what will work it out again."""
        slots, args, name, out = self.slots, step.args, step.name, step.out
        row: Row
        if name == "fused":
            self._add_kernel(step, settings, rows)
            return
        if name in VIEWS and (name != "concat" or len(args) == 1):
            view, setting = VIEWS[name]
            row = view, args[0], self._constant(settings[setting] if setting else ...), out
        elif len(args) == 2 and not settings:
            both_flat = name == "matmul" and slots[args[0]].ndim == slots[args[1]].ndim == 2
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
        elif _plain(kernel) and all(_fits(arrays[i], shape) for i, shape, _ in kernel.inputs):
            args = tuple([self._in_shape(step, args[i], shape, rows) for i, shape, _ in kernel.inputs])
            forward, (written, seen, *_) = _direct(kernel, step.several), kernel.made[0]
            # Handed out as it was written, for the next kernel to read it so.
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
        if slot in self.recipe.fixed:
            return self._constant(self.slots[slot].reshape(shape))
        flat = self._constant(None)
        view = np.ndarray.reshape, slot, self._constant(shape), flat
        self._add("reshape", step.kind, view, (slot,), rows)
        return flat

    def _constant(self, value: Any) -> int:
        self.slots.append(value)
        return len(self.slots) - 1

    def _order(self, rows: list[Any]) -> None:
        """The rows that something needs: those that depend on the symbol alone first."""
        needed = set(self.recipe.outputs)
        wanted = []
        for kind, row, args in reversed(rows):
            if row[3] in needed:
                needed |= set(args)
                wanted.append((kind, row, args))
        wanted.reverse()
        # What grows but depends on nothing, a row of the positions for instance, goes with the symbol.
        self.early: list[Row] = [row for kind, row, _ in wanted if kind != STATE]
        self.rows: list[Row] = [row for kind, row, _ in wanted if kind == STATE]
        read = {a for kind, _, args in wanted if kind == STATE for a in args} | set(self.recipe.outputs)
        self.frontier = sorted({row[3] for row in self.early} & read)
        self.reads_symbol = self.recipe.given[0] in read

    def __call__(self, symbol: int, flat: Flat) -> tuple[Array, Flat]:
        """The logits (V,) after a symbol, and the arrays of the next state."""
        slots = self.slots[:]
        slots[self.home] = slots
        known = self.memo.get(symbol)
        if known is None or self.reads_symbol:
            slots[self.recipe.given[0]] = np.array([[symbol]])
        if known is None:
            for f, x, y, out in self.early:
                slots[out] = f(slots[x], slots[y])
            known = [slots[s] for s in self.frontier]
            size = sum(a.nbytes for a in known)
            if self.fixed.kept + size <= MEMO_BYTES:
                self.fixed.kept += size
                self.memo[symbol] = known
        else:
            for slot, array in zip(self.frontier, known, strict=True):
                slots[slot] = array
        for slot, array in zip(self.given, flat, strict=True):
            slots[slot] = array
        for f, x, y, out in self.rows:
            slots[out] = f(slots[x], slots[y])
        outputs = self.recipe.outputs
        logits = slots[outputs[0]].reshape(-1)
        slots[self.home] = None  # a list that holds itself would wait for the garbage collector
        return logits, tuple([slots[s] for s in outputs[1:]])


VIEWS: dict[str, tuple[Any, str]] = {
    "slice": (operator.getitem, "index"),
    "reshape": (np.ndarray.reshape, "shape"),
    "permute": (np.ndarray.transpose, "axes"),
    "pick": (operator.getitem, "i"),
    "concat": (operator.getitem, ""),
}
"""Ops that only look at their input otherwise (a concat of one does), and the setting that says how."""


def _is_reshaped(made: Any, source: Any) -> bool:
    """Whether an array is another in the same order, in the same memory."""
    if (
        not (isinstance(made, np.ndarray) and isinstance(source, np.ndarray))
        or not 0 < made.size == source.size
    ):
        return False
    owner = source if source.base is None else source.base
    return made.base is owner and made.flags.c_contiguous and source.flags.c_contiguous


def _fits(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether an array can be read in this shape as it lies."""
    return array.flags.c_contiguous and array.size == math.prod(shape)


def _plain(kernel: BoundKernel) -> bool:
    """Whether a kernel runs in one piece and writes its results whole."""
    return kernel.one_chunk and kernel.rows > 0 and not any(made.zeroed for made in kernel.made)


def _direct(kernel: BoundKernel, several: bool) -> Callable[[Any, Any], Any]:
    """A kernel whose inputs come as it reads them; one result is handed out as it was written, several as seen."""
    function, rows, leading, places = kernel.function, kernel.rows, kernel.leading, kernel.places
    empty = np.empty
    if len(kernel.made) == 1 and not several:
        ((shape, _, dtype, _),) = kernel.made

        def single(slots: Any, args: Any) -> Any:
            made = empty(shape, dtype)
            function(0, rows, *leading, *[slots[a] for a in args], made)
            return made

        return single
    kinds = [(written, dtype) for written, _, dtype, _ in kernel.made]
    seen = [kernel.made[i][1] for i in places]

    def run(slots: Any, args: Any) -> Any:
        made = [empty(shape, dtype) for shape, dtype in kinds]
        function(0, rows, *leading, *[slots[a] for a in args], *made)
        found = [made[i].reshape(shape) for i, shape in zip(places, seen, strict=True)]
        return found if several else found[0]

    return run


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
    if step.name == "fused":
        return _composition(step, step.settings, values)
    return step.forward(*values, **step.settings)
