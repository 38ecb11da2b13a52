"""Launching a kernel: arrays as rows and columns, cut into pieces for several threads."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.fuser import threads
from tinygrad_seq.fuser.codegen import emit
from tinygrad_seq.fuser.kernel import Kernel
from tinygrad_seq.fuser.schedule import Space, primitive
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Layout, Program
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.jit import build


@dataclass(frozen=True)
class Traced:
    """A program and the facts about its sizes.

    `varying` are constants that change with the number of columns; `width` is that number where all columns
    are equally many and no constant changes with them, so that the program serves every width, else 0; `long`
    whether they are so many that float32 sums along a row are kept in float64.
    """

    name: str
    program: Program
    space: Space
    varying: frozenset[int]
    width: int
    long: bool = False


class CompiledKernel:
    """A kernel of a plan, compiled when first called.

    `given` are the slots of its inputs, `outputs` those that it computes.
    """

    def __init__(
        self,
        traced: Traced,
        given: tuple[int, ...],
        outputs: tuple[int, ...],
        which: str,
        zeros: frozenset[int] = frozenset(),
        quotients: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ):
        self.traced, self.which, self.given = traced, which, given
        self.computed = tuple(dict.fromkeys(outputs))  # a slot that is requested twice needs no second loop
        self.places = [self.computed.index(o) for o in outputs]
        self.repeats = len(self.places) > len(self.computed)
        space, rows = traced.space, traced.program.tape
        title = f"Derived from the tape of `{traced.name}`, {which}."
        if not self.computed:
            return
        self.kernel: Kernel = emit(
            traced.program, given, self.computed, title, traced.varying, zeros, quotients, traced.long
        )
        self.read = [given.index(s) for s in self.kernel.inputs]
        self.read_kinds = [space.kinds[s] for s in self.kernel.inputs]
        self.summed = self.kernel.summed
        self.numbers = [rows[s].dtype.type(rows[s].value) for s in self.kernel.numbers]
        kinds = {*self.read_kinds, *(space.kinds[o] for o in self.computed)}
        # Where the maths is elementwise, the array may be cut anywhere.
        self.pointwise = kinds <= {FULL, ONE} and not any(self.summed) and len(self.kernel.sizes) == 1
        self.pointwise &= not self.numbers and all(space.kinds[o] == FULL for o in self.computed)
        self.pointwise &= not space.passes(self.computed, given)
        self.pointwise &= not any(
            primitive(rows[s]).own_columns for s in space.needed(self.computed, given) if s not in given
        )

    @functools.cached_property
    def function(self) -> Any:
        """The kernel, built at the first call."""
        return build(self.kernel.source, vectors=self.kernel.vectors)

    @functools.cached_property
    def pieces_at_once(self) -> Any:
        """The kernel on several threads, built at the first use."""
        return build(self.kernel.pieces(several=True), "pieces", parallel=True, vectors=self.kernel.vectors)

    @functools.cached_property
    def pieces(self) -> Any:
        """The kernel on piece after piece, each with sums of its own, built at the first use."""
        return build(self.kernel.pieces(several=False), "pieces", vectors=self.kernel.vectors)

    def bound(self, layout: Layout, width: int) -> BoundKernel:
        """The kernel for this many rows, and columns where the program serves any number of them."""
        return BoundKernel(self, layout, width)


class Read(NamedTuple):
    """An array that a kernel reads: its place among those that are given, the shape it is read in, and its kind."""

    place: int
    shape: tuple[int, ...]
    kind: str


class Made(NamedTuple):
    """An array that a kernel makes: the shape it writes, the shape the caller sees; `zeroed`, if it adds to it."""

    written: tuple[int, ...]
    seen: tuple[int, ...]
    dtype: Any
    zeroed: bool


class BoundKernel:
    """A kernel bound to the shapes of a call.

    `inputs` are the arrays that it reads and `made` those that it makes; `leading` stands before them in a call of
    `function`, behind the first and the last row. `simple`, where it runs in one piece and writes every result
    whole. `places` says which of those made is which output.
    """

    def __init__(self, compiled: CompiledKernel, layout: Layout, width: int):
        self.compiled, self.layout = compiled, layout
        if not compiled.computed:
            return
        traced, rows = compiled.traced, layout.rows
        widths = {s: self._width(s, width) for s in (*compiled.kernel.inputs, *compiled.computed)}
        widest = max(widths.values())
        self.rows, self.sizes = rows, tuple(width if traced.width else n for n in compiled.kernel.sizes)
        self.cost = rows * sum(self.sizes[loop.size] * loop.nanoseconds for loop in compiled.kernel.loops)
        self.chunks = threads.CHUNKS if self.cost > threads.WORTH_THREADS and rows else 1
        flat = (rows, widest)
        if compiled.pointwise:
            whole = rows * widest
            cut = self.chunks if whole % self.chunks == 0 else 1
            flat, self.rows, self.chunks = (cut, whole // cut), cut if whole else 0, cut
            self.sizes = (flat[1],)
        elif rows < self.chunks:
            self.chunks = 1
        self.flat = flat
        self.inputs = [
            Read(i, self._flat(kind, widths[s]), kind)
            for i, kind, s in zip(compiled.read, compiled.read_kinds, compiled.kernel.inputs, strict=True)
        ]
        self.made = [self._made(o, widths[o], i) for i, o in enumerate(compiled.computed)]
        self.leading = (*self.sizes, *compiled.numbers)
        self.one_chunk = self.chunks == 1
        # Most calls: every result is written as it is seen, whole.
        self.simple = self.one_chunk and self.rows > 0
        self.simple &= all(m.written == m.seen and not m.zeroed for m in self.made)

    @property
    def function(self) -> Any:
        """The kernel, compiled when first called."""
        return self.compiled.function

    @property
    def places(self) -> list[int]:
        """Which of the arrays made each output is."""
        return self.compiled.places

    @functools.cached_property
    def race(self) -> threads.Race:
        """Whether several threads are faster; used only for calls of many pieces."""
        return threads.Race()

    @property
    def whole(self) -> bool:
        """Whether it runs in one piece and writes its results rather than adding to them."""
        return self.one_chunk and self.rows > 0 and not any(made.zeroed for made in self.made)

    def between_slots(self, several: bool) -> Callable[[Any, Any], Any]:
        """A function of a list of arrays and the places there of `inputs`, each in the shape it is read in.

        It returns the one result in the shape it is written in, or, where there are `several`, a list as seen. For
        kernels that are `whole`.
        """
        function, rows, leading, places = self.function, self.rows, self.leading, self.places
        empty = np.empty
        if len(self.made) == 1 and not several:
            ((shape, _, dtype, _),) = self.made

            def single(slots: Any, args: Any) -> Any:
                made = empty(shape, dtype)
                function(0, rows, *leading, *[slots[a] for a in args], made)
                return made

            return single
        kinds = [(written, dtype) for written, _, dtype, _ in self.made]
        seen = [self.made[i][1] for i in places]

        def run(slots: Any, args: Any) -> Any:
            made = [empty(shape, dtype) for shape, dtype in kinds]
            function(0, rows, *leading, *[slots[a] for a in args], *made)
            found = [made[i].reshape(shape) for i, shape in zip(places, seen, strict=True)]
            return found if several else found[0]

        return run

    def _width(self, slot: int, width: int) -> int:
        traced = self.compiled.traced
        if traced.width and traced.space.kinds[slot] in (FULL, COLUMNS):
            return width
        return traced.space.width(slot)

    def _flat(self, kind: str, width: int) -> tuple[int, ...]:
        """The shape in which a kernel gets a value of this kind."""
        rows = self.layout.rows
        full = self.flat if self.compiled.pointwise else (rows, width)
        return {FULL: full, ROW: (rows,), COLUMNS: (width,), ONE: (1,)}[kind]

    def _made(self, slot: int, width: int, i: int) -> Made:
        """What becomes of an output."""
        compiled, lead = self.compiled, self.layout.lead
        kind, row = compiled.traced.space.kinds[slot], compiled.traced.program.tape[slot]
        rank = len(row.shape)
        written = self._flat(kind, width)
        seen = {
            FULL: (*lead, width),
            ROW: (*lead, 1) if rank == 2 else lead,
            COLUMNS: (width,),
            ONE: (1,) if rank else (),
        }[kind]
        summed = compiled.summed[i]
        if summed and self.chunks > 1:
            written = (self.chunks, *written)
        return Made(written, seen, row.dtype, summed or not self.layout.rows)

    def __call__(self, at_hand: Sequence[Any]) -> list[Array]:
        """Arrays in the order of `given` in, results in the order of the outputs."""
        compiled = self.compiled
        if not compiled.computed:
            return []
        arguments = []
        for i, shape, kind in self.inputs:
            a = at_hand[i]
            if a.shape != shape or not a.flags.carray:
                a = self._laid(a, shape, kind)
            arguments.append(a)
        if self.simple:
            results = [np.empty(shape, dtype) for _, shape, dtype, _ in self.made]
            compiled.function(0, self.rows, *self.leading, *arguments, *results)
            return [results[i] for i in compiled.places] if compiled.repeats else results
        # Allocated in the caller's shape and passed in the kernel's shape, so that each array owns its memory.
        results = [np.zeros(s, d) if zero else np.empty(s, d) for _, s, d, zero in self.made]
        written = [
            r if r.shape == w else np.zeros(w, d) if zero and not self.one_chunk else r.reshape(w)
            for r, (w, _, d, zero) in zip(results, self.made, strict=True)
        ]
        if self.rows and self.one_chunk:
            compiled.function(0, self.rows, *self.leading, *arguments, *written)
        elif self.rows:
            threads.run(self, arguments, written)
            for result, parts, (_, _, _, zero) in zip(results, written, self.made, strict=True):
                if zero:
                    np.add.reduce(parts, 0, out=result.reshape(parts.shape[1:]))
        return [results[i] for i in compiled.places]

    def _laid(self, array: Array, shape: tuple[int, ...], kind: str) -> Array:
        """An array as the kernel reads it: contiguous, of this shape, aligned and not read-only.

        Numba has separate types for misaligned and for read-only arrays, and would compile the kernel again for
        them with other options: the result must not depend on which came first.
        """
        if kind in (FULL, ROW) and array.size != math.prod(shape):
            width = array.shape[-1] if array.ndim and kind == FULL else 1
            array = np.broadcast_to(array, (*self.layout.lead, width))
        if not array.flags.carray:
            array = np.array(array, order="C")
        return array.reshape(shape)
