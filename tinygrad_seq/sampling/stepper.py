"""A model read symbol by symbol: the first step is taken by the model itself, the others by its recorded step.

What is recorded must prove itself: once on the step it was recorded on, once on the next one, against the model.
Where it does not agree, or the state is made of anything but tensors, the model itself takes every step.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.engine.node import STATE, next_index
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.models import LatentAR, NeuralModel
from tinygrad_seq.models.neural import evaluating
from tinygrad_seq.nn import Module
from tinygrad_seq.replay.program import Fixed, Program, folded
from tinygrad_seq.replay.recorder import Flat, Recipe, flattened, growing, grown, rebuilt, record
from tinygrad_seq.runtime.arrays import Array

Ids = npt.NDArray[np.int64]
_MOST_PROGRAMS = 4096


class Position:
    """Where a model stands in a text: its state as arrays, or as it is where it cannot be taken apart."""

    __slots__ = ("flat", "like", "prefix", "state")

    def __init__(self, state: Any, prefix: Ids | None = None):
        parts = None if state is None else flattened(state)
        self.like, self.state, self.prefix = state, None, prefix
        self.flat: Flat | None = None
        if parts is None:
            self.state = state
        else:
            self.flat = tuple([t.array for t in parts])

    def moved(self, flat: Flat) -> Position:
        """A position with other arrays in the same places."""
        new = Position.__new__(Position)
        new.like, new.state, new.prefix, new.flat = self.like, None, None, flat
        return new

    def whole(self) -> Any:
        """The state as the model takes it."""
        return self.state if self.flat is None else rebuilt(self.like, map(wrap, self.flat))


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
        self.parameters, self.modules = list(model.parameters()), list(model.modules())
        self._forget()

    def _forget(self) -> None:
        self.fixed = Fixed()
        self.programs: dict[Any, Program | None] = {}
        self.last: tuple[Flat, Recipe] | None = None
        self.general: Recipe | None = None  # for states of all sizes, once two sizes were recorded
        self.growing, self.trusted = (0, 0), False  # which array's axis grows; whether the recipe was right
        self.arrays = [p.array for p in self.parameters]
        self.sums = self._sums()
        self.index = next_index()

    def _sums(self) -> list[float]:
        return [float(a.sum(dtype=np.float64)) for a in self.arrays]

    def fresh(self) -> None:
        """Forget what was recorded where the weights are others by now: someone may train between two steps."""
        same = all(map(operator.is_, [p.array for p in self.parameters], self.arrays))
        # Whoever trains records: where nothing was, no weight has been written to in place either.
        index = next_index()
        if same and index != self.index + 1:
            same = self._sums() == self.sums
        self.index = index
        if not same:
            self._forget()

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
        self.fresh()
        key = tuple([a.shape for a in at.flat])
        program = self.programs.get(key, _UNKNOWN)
        if program is _UNKNOWN:
            return self._learnt(key, symbol, at)
        if program is None:
            return self._by_model(symbol, at)
        if not program.proved:
            return self._proved(key, program, symbol, at)
        logits, flat = program(symbol, at.flat)
        return logits, at.moved(flat)

    def _by_model(self, symbol: int, at: Position) -> tuple[Array, Position]:
        with evaluating(self.model):
            logits, state = self.model(np.array([[symbol]]), at.whole())
        self.index = next_index()
        return logits.array[-1, 0], Position(state)

    def _learnt(self, key: Any, symbol: int, at: Position) -> tuple[Array, Position]:
        """Take a step from a state of new shapes, and keep what was done."""
        assert at.flat is not None
        if len(self.programs) >= _MOST_PROGRAMS:
            self._forget()
        size = self._size(at.flat)
        if self.general is not None and size is not None:
            program = Program(self.general, symbol, at.flat, self.fixed, size)
            program.proved = self.trusted
            self.programs[key] = program
            return self.step(symbol, at)
        with evaluating(self.model):
            recipe, logits, state = record(self.model, symbol, at.like, at.flat)
        self.index = next_index()
        self.programs[key] = None
        if recipe is not None:
            program = Program(folded(recipe, self.fixed), symbol, at.flat, self.fixed)
            found, flat = program(symbol, at.flat)
            if _agree(found, logits):
                self.programs[key] = program
                self._compare(at.flat, recipe)
                # The program's own result, so that a text is to the bit the same whenever it is written.
                return found, at.moved(flat)
        return logits, Position(state)

    def _size(self, flat: Flat) -> int | None:
        """The size of what grows in a state, None where the general recipe is not for it."""
        array, axis = self.growing
        size: int = flat[array].shape[axis]
        # A full window starts again, which is another step altogether.
        return size if self.model.block is not None and size < self.model.block else None

    def _compare(self, flat: Flat, recipe: Recipe) -> None:
        """Where the last two recordings were of sizes one apart, make of them the recipe for all sizes.

        Only for models with a window: of others nobody says up to where a step is like the one before.
        """
        last, self.last = self.last, (flat, recipe)
        if last is None or self.model.block is None or self.general is not None:
            return
        place = growing(last[0], flat)
        if place is None or flat[place[0]].shape[place[1]] >= self.model.block:
            return
        self.growing, self.trusted = place, False
        general = grown(last[1], recipe, last[0][place[0]].shape[place[1]])
        self.general = None if general is None else folded(general, self.fixed)

    def _proved(self, key: Any, program: Program, symbol: int, at: Position) -> tuple[Array, Position]:
        """Take a step both ways, and trust the program from then on if it did what the model does."""
        assert at.flat is not None
        found, flat = program(symbol, at.flat)
        logits, after = self._by_model(symbol, at)
        theirs = after.flat or ()
        right = len(theirs) == len(flat) and _agree(found, logits) and all(map(_agree, flat, theirs))
        program.proved = right
        if not right:
            self.programs[key] = None
        if program.recipe.grows:
            self.trusted, self.general = right, self.general if right else None
        return (found, at.moved(flat)) if right else (logits, after)


def _is_ours(module: Module) -> bool:
    return type(module).__module__.partition(".")[0] == __name__.partition(".")[0]


_UNKNOWN: Any = object()


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
