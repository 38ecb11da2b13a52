"""The tensors that a function reads besides its arguments, found by an observer, and whether they have changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinygrad_seq.engine.apply import TRACED
from tinygrad_seq.engine.node import STATE, any_changed, changed_since, next_index, tracing
from tinygrad_seq.engine.tensor import wrap
from tinygrad_seq.engine.tree import rebuild
from tinygrad_seq.errors import TraceError
from tinygrad_seq.runtime.arrays import Array


class Weights:
    """Tensors whose values a record holds. `same` says whether the values are unchanged."""

    def __init__(self, tensors: Iterable[Any]):
        self.tensors = [(weakref.ref(t), t.array) for t in tensors]
        self.index = self.last = next_index()

    def same(self) -> bool:
        """False where one is gone, has another array, or its array was written to."""
        for find, array in self.tensors:
            t = find()
            if t is None or t.array is not array:
                return False
        # A write takes an index: where none was taken since, there was none.
        index, before = next_index(), self.last
        self.last = index
        if index == before + 1 or not any_changed():
            return True
        return not any(changed_since(array, self.index) for _, array in self.tensors)


class _Onlooker:
    """An observer that keeps the tensors which ops read and which are no results of ops here."""

    def __init__(self, arrays: Iterable[Array]):
        self.made_here = {id(a): a for a in arrays}
        self.read: dict[int, tuple[Any, Array]] = {}

    def made(self, node: Any, op: Any, inputs: tuple[Any, ...], out: Array) -> None:
        """An op ran."""
        for t in inputs:
            if id(t.array) not in self.made_here and getattr(t.node, "value", None) is None:
                self.read.setdefault(id(t), (t, t.array))
            if node is None and t.mode & TRACED:
                rule, hint = "expected every op on the tape.", "Take no_grad() and inference_mode() away."
                raise TraceError("Replay: recording was switched off inside", {"x": t}, rule, hint)
        self.made_here[id(out)] = out

    def sent(self, node: Any, parent: Any, g: Any, dx: Any) -> None:
        """A contribution to a gradient: not needed here."""

    def arrived(self, node: Any, g: Any) -> None:
        """A complete gradient: not needed here."""


def looked_on(function: Callable[..., Any], like: Any, flat: Sequence[Array]) -> Weights:
    """Run `function(*like)` on these arrays op by op, and return what it reads from outside.

    Raises TraceError where it reads a value, switches recording off, or writes to a tensor that it reads.
    """
    watch = _Onlooker(flat)
    before, STATE.watch = STATE.watch, watch
    start = next_index()
    try:
        with tracing():
            function(*rebuild(like, [wrap(a, None, TRACED) for a in flat]))
    finally:
        STATE.watch = before
    for t, array in watch.read.values():
        if t.array is not array or changed_since(array, start):
            rule = "expected it to be read alone: a record writes nowhere."
            raise TraceError("Replay: a tensor from outside was written to", {"x": t}, rule)
    read = [weakref.ref(t) for t, _ in watch.read.values()]
    watch.read.clear()
    return Weights([t for t in [find() for find in read] if t is not None])
