"""`Replay`: a function of arrays, recorded once and run again without Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import Recorded
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.handles import Hooks
from tinygrad_seq.engine.node import STATE, no_grad
from tinygrad_seq.engine.numpy_protocols import may_leave
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.engine.tree import children, leaves, rebuild, tree_map
from tinygrad_seq.errors import DTypeError, ShapeError, TraceError
from tinygrad_seq.replay.captured import looked_on
from tinygrad_seq.replay.program import Program, Shared, folded
from tinygrad_seq.replay.recorder import Flat, record
from tinygrad_seq.runtime.arrays import Array

_HOLE = wrap(np.zeros(()))  # stands for a leaf where only the form of a tree is kept


class Replay:
    """`function` recorded on an example and run again on arrays: the same ops without Tensors and without gradients.

    It takes arguments like those of the example, arrays or tensors, or tuples, lists and dicts of them, of the same
    shapes and dtypes, and returns what the function returns, with arrays (that are the caller's own) in place of
    tensors. The results are equal to the function's to the bit for arrays stored by rows. A state goes from call to
    call as an argument and a result.

    Tensors that the function reads from outside (weights) may take new values between calls, by `assign`, an
    optimizer, or in place: then it is recorded anew. Numbers, flags and arrays from outside are read once.

    Raises TraceError for a function whose ops are not the same at each call: one that reads a value, draws random
    numbers, calls hooks, writes to tensors from outside, or differs from its record for other numbers than the
    example's. ShapeError and DTypeError for arguments unlike the example's, GraphError where one requires a gradient.

    >>> import tinygrad_seq as tgs
    >>> w = tgs.tensor([[1.0, 0.0], [2.0, 1.0]])
    >>> step = Replay(lambda x, h: (x @ w + h).tanh(), tgs.zeros(1, 2), tgs.zeros(1, 2))
    >>> step(tgs.zeros(1, 2), tgs.ones(1, 2))
    array([[0.7615942, 0.7615942]], dtype=float32)
    """

    def __init__(self, function: Callable[..., Any], *example: Any):
        self.function = function
        self.form, self.like = _form(example), tree_map(lambda _: _HOLE, example, object)
        flat = _arrays(example)
        self.kinds = [(a.shape, a.dtype) for a in flat]
        self._record(flat)
        self._try(flat)

    def __call__(self, *args: Any) -> Any:
        """The result of the function for these arguments, with arrays in place of tensors."""
        flat = self._fitting(args)
        if STATE.watch is not None or STATE.composed:  # an observer must get every op
            return self._by_function(flat)
        if Hooks.newest != self.newest or not self.weights.same():
            self._record(flat)
        with np.errstate(all="ignore"):
            return rebuild(self.out, map(np.array, self.program.run(flat)))

    def _record(self, flat: Flat) -> None:
        newest, shared = Hooks.newest, Shared(exact=True)
        weights = looked_on(self.function, self.like, flat)
        made, out = record(self.function, self.like, flat)
        self.program = Program(folded(made, shared), flat, shared)
        self.out = tree_map(lambda _: _HOLE, out)
        # Last, so that after an error the next call records again.
        self.weights, self.newest = weights, newest

    def _try(self, flat: Flat) -> None:
        """Compare the record with the function on other numbers too: the same in another order, and smaller
        floats.
        """
        other = tuple([a.reshape(-1)[::-1].reshape(a.shape) for a in flat])
        other = tuple(
            [np.ascontiguousarray(a * a.dtype.type(0.75) if a.dtype.kind == "f" else a) for a in other]
        )
        for given in (flat, other):
            with np.errstate(all="ignore"):
                mine = self.program.run(given)
            theirs = self._flat_by_function(given)
            if not (len(mine) == len(theirs) and all(map(_equal, mine, theirs))):
                rule = "expected what the function gives, also for other numbers than the example's."
                hint = "It may look at a value, or take one off the tape by detach(), data or a gradient."
                raise TraceError("Replay: the record gives something else", None, rule, hint)

    def _flat_by_function(self, flat: Flat) -> list[Array]:
        with no_grad():
            return [t.array for t in leaves(self.function(*rebuild(self.like, map(wrap, flat))))]

    def _by_function(self, flat: Flat) -> Any:
        return rebuild(self.out, map(np.array, self._flat_by_function(flat)))

    def _fitting(self, args: tuple[Any, ...]) -> Flat:
        """The arrays of a call, if they are like those of the example."""
        may_leave("Replay", args, "expected arrays, or tensors without gradient.", "Hand over x.detach().")
        if _form(args) != self.form:
            rule = "expected arguments of the form of the example's."
            raise ShapeError("Replay: the arguments change their form", None, rule, _HINT)
        flat = _arrays(args)
        for array, (shape, dtype) in zip(flat, self.kinds, strict=True):
            if array.shape != shape:
                rule = f"expected {shape}, as in the example."
                raise ShapeError("Replay: another shape than was recorded", {"given": array}, rule, _HINT)
            if array.dtype != dtype:
                rule = f"expected {dtype}, as in the example."
                raise DTypeError("Replay: another dtype than was recorded", {"given": array}, rule, _HINT)
        return flat


_HINT = "Make another Replay for these."


def _form(tree: Any) -> Any:
    """The form of a tree, for comparison."""
    parts = children(tree)
    if parts is None:
        return tree is None
    return (type(tree), *((key, _form(part)) for key, part in parts))


def _arrays(args: Any) -> Flat:
    """The arrays of the leaves."""
    found = []
    for x in leaves(args, object):
        if not isinstance(x, (Recorded, np.ndarray)) or x.dtype.kind not in "fiub":
            rule = "expected arrays or tensors, or tuples, lists and dicts of them."
            raise DTypeError("Replay: an argument is no array", {"x": x}, rule)
        array = x.array if isinstance(x, Recorded) else x
        # As in the recording: numba has other types for other layouts and for read-only arrays.
        found.append(array if array.flags.carray else np.array(array, order="C"))
    return tuple(found)


def _equal(mine: Array, theirs: Array) -> bool:
    same = mine.shape == theirs.shape and mine.dtype == theirs.dtype
    return same and np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


answer(globals(), "Replay")
