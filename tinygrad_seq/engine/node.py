"""The tape: nodes, their places, and the switch that turns recording off.

A node keeps its op, parents, settings, the values that its gradient rules read, and a creation index. There
is no list of nodes: sorting the reachable ones by index *is* the tape, and unreachable ones are freed.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import GeneratorType
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.handles import Hooks
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.origins import Origin, origin_of
from tinygrad_seq.engine.place import Marks, Place
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.locks import Lock
from tinygrad_seq.runtime.weakrefs import Held, Memory, forgotten_with, owner_of


class Watch(Protocol):
    """An observer of every value, such as that of the anomaly mode."""

    def made(self, node: Node | Leaf | None, op: Op, inputs: tuple[Any, ...], out: Array) -> None:
        """An op ran."""

    def sent(self, node: Node, parent: Node | Leaf, g: Any, dx: Any) -> None:
        """The rule of a node computed a contribution to the gradient of a parent."""

    def arrived(self, node: Node | Leaf, g: Any) -> None:
        """The gradient of a node is complete."""


P = ParamSpec("P")
R = TypeVar("R")


class State(threading.local):
    """The state of a thread: whether recording is on, the current place, the observer. `__dict__` looks up the
    thread once.
    """

    run: Callable[..., Any]
    """`run(f, *args)` calls a function of NumPy's without its warnings: infinity and NaN are answers here."""
    recording: bool
    place: Place
    watch: Watch | None
    tracing: bool
    composed: bool
    kept: list[Any] | None
    """Where a reader wants them, the tensors of all leaves that are made: a leaf does not keep its tensor."""

    def __init__(self) -> None:
        context = contextvars.Context()  # takes a tenth of the time of `np.errstate`
        context.run(np.seterr, all="ignore")
        self.run, self.recording, self.place, self.watch = context.run, True, Place(), None
        self.tracing, self.composed, self.kept = False, False, None
        self.entered: list[tuple[object, Any]] = []


STATE = State()
_index = itertools.count()
_new = object.__new__


def next_index() -> int:
    """A creation index: what is recorded from now on has a larger one."""
    return next(_index)


class Leaf:
    """The node of a tensor that is no result of an op: a parameter, a batch, a constant. The tensor keeps it, never
    the reverse.

    `origin` is the source of a detached value, `learnt` whether it is a module's parameter, `data` the memory of
    other leaves, `replaced` when its tensor last took another array.
    """

    __slots__ = (
        "__weakref__", "data", "dtype", "hooks", "index", "learnt", "name", "origin", "replaced", "shape",
        "tensor", "value", "wants",
    )  # fmt: skip
    op: None = None
    parents: tuple[Any, ...] = ()
    place = Place()

    def __init__(self, tensor: Any, wants: bool, name: str, value: float | int | bool | None = None):
        self.index = next(_index)
        self.tensor = Held(tensor)
        self.shape: tuple[int, ...] = tensor.array.shape
        self.dtype: np.dtype[Any] = tensor.array.dtype
        self.wants = wants
        self.learnt: bool = getattr(tensor, "learnt", False)
        self.name = name
        self.value = value
        self.origin: Origin | None = origin_of(tensor.array)
        self.hooks: Hooks | None = None
        self.replaced = -1
        self.data = None if wants or value is not None else Memory(tensor.array)


class Node:
    """A recorded op. `saved` holds per input the array its rules read, or the parent as a stub with a shape.

    For an op with several outputs, `out` is a tuple and the outputs hang on it by `Pick` nodes. `marks` is there
    only where someone has given it a name.
    """

    __slots__ = (
        "__weakref__", "dtype", "hooks", "index", "marks", "op", "out", "parents", "place", "saved",
        "settings", "shape", "wants",
    )  # fmt: skip
    marks: Marks
    op: Op
    parents: tuple[Any, ...]
    settings: dict[str, Any] | None
    saved: tuple[Any, ...] | None
    out: Any
    place: Place
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    wants: bool
    index: int
    hooks: Hooks | None


def new_node(
    op: Op, parents: Any, settings: Any, saved: Any, out: Any, place: Any, shape: Any, dtype: Any, wants: bool
) -> Node:
    """A node, the newest. Written as a function, for an `__init__` would take a third more time."""
    node = _new(Node)
    node.op, node.parents, node.settings = op, parents, settings
    node.saved, node.out, node.place = saved, out, place
    node.shape, node.dtype, node.wants = shape, dtype, wants
    node.index, node.hooks = next(_index), None
    return node


def _to_the_list(run: Any, node: Node, g: Any, saved: Any, out: Any) -> None:
    run.pending.add_output(node.parents[0], (node.settings or {})["i"], g)


PICK = Op("pick", lambda outs, *, i: outs[i], "pick", propagate=_to_the_list)


def _before(block: object, now: R) -> R:
    """What was before this thread entered a `with` block, which other threads may be in too, or it again."""
    entered = STATE.entered
    for i in reversed(range(len(entered))):
        if entered[i][0] is block:
            before: R = entered.pop(i)[1]
            return before
    return now  # a generator that another thread has entered it in


class recording:
    """Recording switched on or off for a block, or inside a decorated function, which may be a generator."""

    __slots__ = ("on",)

    def __init__(self, on: bool):
        self.on = on

    def __enter__(self) -> None:
        STATE.entered.append((self, STATE.recording))
        STATE.recording = self.on

    def __exit__(self, *_: object) -> None:
        STATE.recording = _before(self, STATE.recording)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function with recording switched inside."""
        on = self.on

        @functools.wraps(function)
        def switched(*args: P.args, **settings: P.kwargs) -> Any:
            with recording(on):
                made: Any = function(*args, **settings)
            return _stepping(made, on) if isinstance(made, GeneratorType) else made

        return switched


def _stepping(steps: Any, on: bool) -> Generator[Any, Any, Any]:
    """A generator whose steps run with recording on or off; between them the caller's setting holds."""
    sent = None
    try:
        while True:
            with recording(on):
                try:
                    value = steps.send(sent)
                except StopIteration as end:
                    return end.value
            sent = yield value
    finally:
        steps.close()


def no_grad(function: Any = None) -> Any:
    """Nothing inside is recorded. Works as a `with` block and as a decorator, with parentheses or without.

    >>> import tinygrad_seq as tgs
    >>> w = tgs.ones(2, requires_grad=True)
    >>> with tgs.no_grad():
    ...     print((w * 2).requires_grad)
    False
    """
    return recording(False) if function is None else recording(False)(function)


@contextmanager
def tracing() -> Iterator[None]:
    """Everything that depends on a traced tensor goes on the tape, in the backward pass too."""
    before = STATE.tracing, STATE.recording
    STATE.tracing = STATE.recording = True
    try:
        yield
    finally:
        STATE.tracing, STATE.recording = before


class At:
    """A `with` block in another place of the model or of the sequence."""

    __slots__ = ("place",)

    def __init__(self, place: Place):
        self.place = place

    def __enter__(self) -> None:
        STATE.entered.append((self, STATE.place))
        STATE.place = self.place

    def __exit__(self, *_: object) -> None:
        STATE.place = _before(self, STATE.place)


def inside(here: Place, name: str) -> Place:
    """The place `name` below another."""
    return Place(f"{here.scope}/{name}" if here.scope else name, here.step, here.phase)


def scope(name: str) -> At:
    """Ops inside carry `name` below the enclosing scope: `lstm`, then `lstm/gates`."""
    return At(inside(STATE.place, name))


def time_step(t: int) -> At:
    """Ops inside carry the time step `t`."""
    here = STATE.place
    return At(Place(here.scope, t, here.phase))


# Arrays changed in place: owner's id -> (weak reference, {first byte, byte behind the last: tick of the change}).
# Empty in nearly every program; keyed by the owner, for views share it; by bytes, for parameters may be views of one.
_changed: dict[int, tuple[weakref.ref[Array], dict[tuple[int, int], int]]] = {}
_RANGES = 64
_marking = Lock()


def mark_changed(array: Array) -> None:
    """Note that the memory of `array` was written to; tapes that hold it refuse to use it."""
    if not array.size:
        return
    owner = owner_of(array)
    key, written = id(owner), byte_bounds(array)
    with _marking:
        entry = _changed.get(key)
        if entry is None or entry[0]() is not owner:
            entry = _changed[key] = (forgotten_with(owner, _changed), {})
        if len(entry[1]) >= _RANGES and written not in entry[1]:
            # One range over all, as if everything between had been written to: better to refuse too much than too
            # little.
            starts, stops = zip(written, *entry[1], strict=True)
            _changed[key] = (entry[0], {(min(starts), max(stops)): next(_index)})
        else:
            entry[1][written] = next(_index)


def changed_since(array: object, index: int) -> bool:
    """True where `array`, from its first byte to its last, was written to after the creation index `index`."""
    if not _changed or not isinstance(array, np.ndarray) or not array.size:
        return False
    owner = owner_of(array)
    entry = _changed.get(id(owner))
    if entry is None or entry[0]() is not owner:
        return False
    low, high = byte_bounds(array)
    return any(tick > index and start < high and low < stop for (start, stop), tick in list(entry[1].items()))


def any_changed() -> bool:
    """True where some array still alive was written to in place."""
    return bool(_changed)


answer(globals(), "no_grad", "scope", "time_step")
