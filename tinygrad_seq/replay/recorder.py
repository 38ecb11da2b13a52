"""One step of a model, recorded once: what is done to which arrays, without Tensors and without gradients.

The tape of the step is the only source: nothing here knows what an LSTM or an attention is. Where sizes grow from
step to step, as the keys and values of a GPT do, two recordings tell how the settings go with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_seq.engine import apply
from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine.apply import TRACED, WANTS
from tinygrad_seq.engine.backward import reachable
from tinygrad_seq.engine.node import PICK, Node
from tinygrad_seq.engine.node import recording as switched
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.fuser.decorator import specialization_of
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.runtime.arrays import Array

Flat = tuple[Array, ...]
FIXED, SYMBOL, STATE = range(3)
"""What the value of a slot depends on: weights alone, the symbol that is read, or the state as well."""


@dataclass(frozen=True)
class Step:
    """An op of a recipe: its arguments and its result by slot.

    `fused` finds the kernels of a fused function; `several` says that its outputs are picked one by one, `grows`
    that its settings hold `Growing` numbers.
    """

    name: str
    forward: Callable[..., Any]
    args: tuple[int, ...]
    out: int
    settings: dict[str, Any]
    kind: int
    fused: Any = None
    several: bool = False
    grows: bool = False


@dataclass(frozen=True)
class Recipe:
    """The steps from a symbol and a state to logits and the next state, all by slot.

    `given` holds the slots of the ids (1, 1) and of each array of the state, `fixed` the arrays that no symbol
    changes. Where it `grows`, the settings hold `Growing` numbers.
    """

    steps: tuple[Step, ...]
    given: tuple[int, ...]
    outputs: tuple[int, ...]
    fixed: dict[int, Array]
    slots: int
    grows: bool = False


@dataclass(frozen=True)
class Growing:
    """A number in a setting that goes with the size of the state: at + slope * size."""

    at: int
    slope: int

    def where(self, size: int) -> int:
        """The number for this size."""
        return self.at + self.slope * size


def flattened(state: Any) -> list[Tensor] | None:
    """The tensors of a state in order, from tuples nested as you like; None where it holds anything else."""
    if isinstance(state, Tensor):
        return [state]
    if not isinstance(state, (tuple, list)):
        return None
    found: list[Tensor] = []
    for part in state:
        inside = flattened(part)
        if inside is None:
            return None
        found += inside
    return found


def rebuilt(like: Any, parts: Iterator[Any]) -> Any:
    """A state made as `like` is, of the next parts."""
    if isinstance(like, Tensor):
        return next(parts)
    made = [rebuilt(part, parts) for part in like]
    return type(like)(*made) if hasattr(like, "_fields") else type(like)(made)


def record(model: NeuralModel, symbol: int, like: Any, flat: Flat) -> tuple[Recipe | None, Array, Any]:
    """One step of the model as a recipe, its logits (V,), and the state after it.

    No recipe where the new state is made of anything but tensors.
    """
    ids = wrap(np.array([[symbol]]), None, TRACED)
    parts = [wrap(a, None, (WANTS if a.dtype.kind == "f" else 0) | TRACED) for a in flat]
    with _leaves_kept() as kept, switched(True):
        logits, state = model(ids, rebuilt(like, iter(parts)))
        after = flattened(state)
        recipe = None
        if after is not None and logits.node is not None:
            recipe = _read([ids, *parts], [logits, *after], kept)
    return recipe, logits.array[-1, 0], state


@contextmanager
def _leaves_kept() -> Iterator[list[Tensor]]:
    """All leaves that are met inside, alive: a leaf's node does not keep the constant that it stands for."""
    here = nodes.STATE  # of this thread
    before, here.kept = here.kept, []
    try:
        yield here.kept
    finally:
        here.kept = before


def _read(given: Sequence[Tensor], outputs: Sequence[Tensor], kept: list[Tensor]) -> Recipe | None:
    """The recipe that the tape of these outputs is; None where the array of a leaf cannot be had."""
    ends = [t.node or apply.leaf(t) for t in outputs]
    starts = [t.node or apply.leaf(t) for t in given]
    order = reachable([*starts, *ends])
    slots: dict[Any, int] = {node: i for i, node in enumerate(order)}
    kinds = {node: FIXED for node in order}
    kinds |= {node: STATE for node in starts[1:]} | {starts[0]: SYMBOL}
    steps, fixed = [], {}
    for node in order:
        if node in starts:
            continue
        if not isinstance(node, Node):
            owner = node.tensor()
            if owner is None:
                return None
            fixed[slots[node]] = owner.array
            continue
        kinds[node] = max(kinds[p] for p in node.parents)
        steps.append(_step(node, tuple([slots[p] for p in node.parents]), slots[node], kinds[node]))
    return Recipe(
        tuple(steps), tuple([slots[n] for n in starts]), tuple([slots[n] for n in ends]), fixed, len(order)
    )


def _step(node: Node, args: tuple[int, ...], out: int, kind: int) -> Step:
    op, settings = node.op, dict(node.settings or {})
    if op is PICK:
        return Step("pick", op.forward, args, out, settings, kind)
    made_by = specialization_of(op)
    if made_by is None:
        return Step(op.name, op.forward, args, out, settings, kind)
    return Step("fused", op.forward, args, out, dict(made_by.settings), kind, made_by.cache, made_by.hung)


_SAME = ("name", "args", "out", "kind", "fused", "several")


# ---- sizes that grow -------------------------------------------------------------------------------------------
def growing(before: Flat, after: Flat) -> tuple[int, int] | None:
    """Which axis of which array grows from one state to the next; None unless all that grows does so from one
    size to the next.
    """
    places = {
        (i, j): (m, n)
        for i, (a, b) in enumerate(zip(before, after, strict=True))
        for j, (m, n) in enumerate(zip(a.shape, b.shape, strict=False))
        if m != n
    }
    if any(a.ndim != b.ndim for a, b in zip(before, after, strict=True)) or len(set(places.values())) != 1:
        return None
    place, (size, larger) = next(iter(places.items()))
    return place if larger == size + 1 else None


def grown(first: Recipe, second: Recipe, size: int) -> Recipe | None:
    """The recipe for all sizes, from those recorded at `size` and at `size` + 1; None where they tell none."""
    if len(first.steps) != len(second.steps) or (first.given, first.outputs) != (
        second.given,
        second.outputs,
    ):
        return None
    for slot, array in first.fixed.items():
        other = second.fixed.get(slot)
        if other is None or other.shape != array.shape or not np.array_equal(other, array):
            return None
    steps = []
    for a, b in zip(first.steps, second.steps, strict=True):
        if any(getattr(a, name) != getattr(b, name) for name in _SAME):
            return None
        settings = _grown(a.settings, b.settings, size)
        if settings is None:
            return None
        steps.append(replace(a, settings=settings, grows=settings != a.settings))
    return Recipe(tuple(steps), first.given, first.outputs, first.fixed, first.slots, True)


def _grown(a: Any, b: Any, size: int) -> Any:
    """Two settings as one that goes with the size; None where they cannot."""
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool):
        return a if a == b else Growing(a - (b - a) * size, b - a)
    if type(a) is not type(b):
        return None
    if isinstance(a, dict):
        made = {k: _grown(v, b[k], size) for k, v in a.items() if k in b}
        return made if len(made) == len(b) and None not in made.values() else None
    if isinstance(a, tuple):
        parts = [_grown(x, y, size) for x, y in zip(a, b, strict=False)]
        whole = len(a) == len(b) and not any(
            p is None and x is not None for p, x in zip(parts, a, strict=True)
        )
        return tuple(parts) if whole else None
    if isinstance(a, slice):
        parts = [_grown(x, y, size) for x, y in zip(_ends(a), _ends(b), strict=True)]
        whole = all(
            p is not None or x is y is None for p, x, y in zip(parts, _ends(a), _ends(b), strict=True)
        )
        return slice(*parts) if whole else None
    return a if a is b or a == b else None


def _ends(s: slice) -> tuple[Any, Any, Any]:
    return s.start, s.stop, s.step


def settled(value: Any, size: int) -> Any:
    """A setting with its growing numbers at this size."""
    if isinstance(value, Growing):
        return value.where(size)
    if isinstance(value, dict):
        return {k: settled(v, size) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple([settled(v, size) for v in value])
    if isinstance(value, slice):
        return slice(*[settled(v, size) for v in _ends(value)])
    return value
