"""A model read symbol by symbol: the first step is taken by the model itself, the others by its recorded step.

What is recorded must prove itself: once on the step it was recorded on, once on the next one, against the model.
Where it does not agree, or the state is made of anything but tensors, the model itself takes every step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.engine.tree import leaves, rebuild
from tinygrad_seq.errors import DTypeError, TraceError
from tinygrad_seq.models import LatentAR, NeuralModel
from tinygrad_seq.models.neural import evaluating
from tinygrad_seq.nn import Module
from tinygrad_seq.replay.captured import Weights
from tinygrad_seq.replay.growth import growing, grown
from tinygrad_seq.replay.program import Program, Shared, folded
from tinygrad_seq.replay.recorder import Flat, Record, record
from tinygrad_seq.runtime.arrays import Array

Ids = npt.NDArray[np.int64]
_MOST_PROGRAMS = 4096


class Position:
    """Where a model stands in a text: its state as arrays, or as it is where it cannot be taken apart."""

    __slots__ = ("flat", "like", "prefix", "state")

    def __init__(self, state: Any, prefix: Ids | None = None):
        self.like, self.state, self.prefix = state, state, prefix
        self.flat: Flat | None = None
        if state is not None:
            with suppress(DTypeError):  # made of something else than tensors
                self.flat, self.state = tuple([t.array for t in leaves(state)]), None

    def moved(self, flat: Flat) -> Position:
        """A position with other arrays in the same places."""
        new = Position.__new__(Position)
        new.like, new.state, new.prefix, new.flat = self.like, None, None, flat
        return new

    def whole(self) -> Any:
        """The state as the model takes it."""
        return self.state if self.flat is None else rebuild(self.like, map(wrap, self.flat))


class Stepper:
    """Logits after one symbol at a time. With `cached=False` the whole text is read anew for each.

    With `replay` steps are recorded, without it every step is left to the model. Where nothing is said, models
    made of this package's modules alone are recorded: another's forward may branch on a value, which no record
    shows and the proof finds out only where the first two steps take different branches. While a module has hooks,
    the model takes the steps, so that they are called at each.
    """

    def __init__(self, model: NeuralModel, cached: bool = True, replay: bool | None = None):
        self.model, self.cached = model, cached
        self.replay = all(map(_is_ours, model.modules())) if replay is None else replay
        self.modules = list(model.modules())
        self._forget()

    def _forget(self) -> None:
        self.weights, self.shared = Weights([*self.model.parameters(), *self.model.buffers()]), Shared()
        self.programs: dict[Any, Program | None] = {}
        self.last: tuple[Flat, Record] | None = None
        self.general: Record | None = None  # for states of all sizes, once two sizes were recorded
        self.growing, self.trusted = (0, 0), False  # which array's axis grows; whether the record was right
        self.proved: set[Program] = set()  # the programs that did what the model does on two steps

    def start(self, ids: Ids) -> tuple[Array, Position]:
        """The logits (V,) after these ids (T,), and where the model stands; read in pieces of bounded size."""
        if not self.cached:
            return self._anew(ids)
        if isinstance(self.model, LatentAR) and self.replay and len(ids) > 1:
            # A net that reads one symbol after the other is read faster by its recorded step.
            begun = self.start(ids[:1])
            for symbol in ids[1:].tolist():
                begun = self.step(symbol, begun[1])
            return begun
        state: Any = None
        with evaluating(self.model):
            for piece in self.model.pieces(len(ids)):
                logits, state = self.model(ids[piece, None], state)
        return logits.array[-1, 0], Position(state)

    def _anew(self, prefix: Ids) -> tuple[Array, Position]:
        with evaluating(self.model):
            logits, _ = self.model(prefix[:, None], None)
        return logits.array[-1, 0], Position(None, prefix)

    def step(self, symbol: int, at: Position) -> tuple[Array, Position]:
        """The logits (V,) after one more symbol, and where the model stands then; `at` stays as it is."""
        if at.prefix is not None:
            return self._anew(np.append(at.prefix, symbol))
        seen = STATE.watch is not None or STATE.composed or any(m.has_hooks for m in self.modules)
        if at.flat is None or not self.replay or seen:
            return self._by_model(symbol, at)
        if not self.weights.same():  # someone may train between two steps
            self._forget()
        key = tuple([a.shape for a in at.flat])
        program = self.programs.get(key, _UNKNOWN)
        if program is _UNKNOWN:
            return self._learnt(key, symbol, at)
        if program is None:
            return self._by_model(symbol, at)
        if program not in self.proved:
            return self._proved(key, program, symbol, at)
        logits, flat = _run(program, symbol, at.flat)
        return logits, at.moved(flat)

    def _by_model(self, symbol: int, at: Position) -> tuple[Array, Position]:
        with evaluating(self.model):
            logits, state = self.model(np.array([[symbol]]), at.whole())
        return logits.array[-1, 0], Position(state)

    def _learnt(self, key: Any, symbol: int, at: Position) -> tuple[Array, Position]:
        """Take a step from a state of new shapes, and keep what was done."""
        assert at.flat is not None
        if len(self.programs) >= _MOST_PROGRAMS:
            self._forget()
        size, ids = self._size(at.flat), np.array([[symbol]])
        if self.general is not None and size is not None:
            program = self.programs[key] = Program(self.general, (ids, *at.flat), self.shared, size)
            if self.trusted:
                self.proved.add(program)
            return self.step(symbol, at)
        self.programs[key] = None
        try:
            with evaluating(self.model):
                made, (logits, state) = record(self.model, (_IDS, at.like), (ids, *at.flat))
        except (
            DTypeError,
            TraceError,
        ):  # the next state is not made of tensors, or a step draws random numbers
            return self._by_model(symbol, at)
        program = Program(folded(made, self.shared), (ids, *at.flat), self.shared)
        found, flat = _run(program, symbol, at.flat)
        if not _agree(found, logits.array[-1, 0]):
            return logits.array[-1, 0], Position(state)
        self.programs[key] = program
        self._compare(at.flat, made)
        # The program's own result, so that a text is to the bit the same whenever it is written.
        return found, at.moved(flat)

    def _size(self, flat: Flat) -> int | None:
        """The size of what grows in a state, None where the general record is not for it."""
        array, axis = self.growing
        size: int = flat[array].shape[axis]
        # A full window starts again, which is another step altogether.
        return size if self.model.block is not None and size < self.model.block else None

    def _compare(self, flat: Flat, made: Record) -> None:
        """Where the last two records are of sizes one apart, make of them the record for all sizes.

        Only for models with a window: of others it is not known up to which size all steps are alike.
        """
        last, self.last = self.last, (flat, made)
        if last is None or self.model.block is None or self.general is not None:
            return
        place = growing(last[0], flat)
        if place is None or flat[place[0]].shape[place[1]] >= self.model.block:
            return
        self.growing, self.trusted = place, False
        general = grown(last[1], made, last[0][place[0]].shape[place[1]])
        self.general = None if general is None else folded(general, self.shared)

    def _proved(self, key: Any, program: Program, symbol: int, at: Position) -> tuple[Array, Position]:
        """Take a step both ways, and trust the program from then on if it did what the model does."""
        assert at.flat is not None
        found, flat = _run(program, symbol, at.flat)
        logits, after = self._by_model(symbol, at)
        theirs = after.flat or ()
        right = len(theirs) == len(flat) and _agree(found, logits) and all(map(_agree, flat, theirs))
        if right:
            self.proved.add(program)
        else:
            self.programs[key] = None
        if program.record.grows:
            self.trusted, self.general = right, self.general if right else None
        return (found, at.moved(flat)) if right else (logits, after)


def _is_ours(module: Module) -> bool:
    return type(module).__module__.partition(".")[0] == __name__.partition(".")[0]


def _run(program: Program, symbol: int, flat: Flat) -> tuple[Array, Flat]:
    """The logits (V,) after a symbol, and the arrays of the next state."""
    logits, *after = program.run((np.array([[symbol]]), *flat), symbol)
    return logits.reshape(-1), tuple(after)


_UNKNOWN: Any = object()
_IDS = wrap(np.zeros((1, 1), np.int64))


def _agree(mine: Array, theirs: Array) -> bool:
    """Whether two results are the same but for rounding: the order of a product's sum may be another."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return False
    if mine.dtype.kind != "f":
        return bool(np.array_equal(mine, theirs))
    finite = theirs[np.isfinite(theirs)]
    scale = float(np.abs(finite).max(initial=0.0))
    close = 1e-10 if mine.dtype == np.float64 else 1e-4
    return bool(np.allclose(mine, theirs, rtol=0.0, atol=close * scale, equal_nan=True))
