"""A call of a function as a record of ops on arrays, read from its tape.

Any kind of layer can be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinygrad_seq.engine.apply import TRACED, WANTS
from tinygrad_seq.engine.checkpointing import CHECKPOINT
from tinygrad_seq.engine.handles import HOOK_CALLS
from tinygrad_seq.engine.node import PICK, STATE, Node, next_index, recording
from tinygrad_seq.engine.random import noted
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.engine.tree import leaves, rebuild
from tinygrad_seq.errors import DTypeError, TraceError
from tinygrad_seq.fuser.decorator import specialization_of
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.tape.tape import Tape

Flat = tuple[Array, ...]
FIXED, FIRST, REST = range(3)
"""What a value depends on: what the function holds, the first array as well, or any other."""
ALIKE = "expected the same ops at each call, on what it is given and on weights."


@dataclass(frozen=True)
class Step:
    """An op of a record: its arguments and its result by slot.

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
class Record:
    """The steps from the arrays of a call to those of its result, all by slot.

    `given` holds the slots of the arguments, `fixed` the arrays that no call changes. Where it `grows`, the
    settings hold `Growing` numbers.
    """

    steps: tuple[Step, ...]
    given: tuple[int, ...]
    outputs: tuple[int, ...]
    fixed: dict[int, Array]
    slots: int
    grows: bool = False


def record(function: Callable[..., Any], like: Any, flat: Sequence[Array]) -> tuple[Record, Any]:
    """The record of `function(*like)`, the leaves of `like` being these arrays, and what it returned.

    Raises TraceError for anything that a record cannot repeat: random draws, hooks, a checkpoint. DTypeError where
    anything but tensors is returned.
    """
    given = [wrap(a, None, (WANTS if a.dtype.kind == "f" else 0) | TRACED) for a in flat]
    start, calls = next_index(), HOOK_CALLS.count
    with _leaves_kept(), recording(True), noted() as words:
        made = function(*rebuild(like, given))
        outputs = leaves(made)
        if not outputs:
            raise DTypeError("Replay: no tensor was returned", None, "expected one at least.")
        if words:
            hint = "Draw outside, and hand over what was drawn."
            raise TraceError("Replay: random numbers were drawn", None, ALIKE, hint)
        if HOOK_CALLS.count != calls:
            hint = "Remove the hooks, or call the function itself."
            raise TraceError("Replay: hooks were called, which no record calls", None, ALIKE, hint)
        return _read(given, outputs, start), made


@contextmanager
def _leaves_kept() -> Iterator[None]:
    """All leaves that are used inside stay alive: a leaf's node does not keep its constant alive."""
    here = STATE  # of this thread
    before, here.kept = here.kept, []
    try:
        yield
    finally:
        here.kept = before


def _read(given: Sequence[Tensor], outputs: Sequence[Tensor], start: int) -> Record:
    """The record from the tape of these outputs. Values made before `start` are fixed."""
    tape, nodes = Tape.with_nodes(*outputs, *given, since=start)
    starts = tape.outputs[len(outputs) :]
    kinds = {slot: FIRST if i == 0 else REST for i, slot in enumerate(starts)}
    steps, fixed = [], {}
    for row in tape:
        node = nodes[row.slot]
        if row.slot in kinds:
            continue
        if row.is_leaf:
            kinds[row.slot] = FIXED
            fixed[row.slot] = _array_of(node)
            continue
        if node.op is CHECKPOINT:
            raise TraceError("Replay: a checkpoint hides its ops", None, ALIKE, "Call what is inside it.")
        kinds[row.slot] = max([kinds[a] for a in row.args])
        steps.append(_step(node, row.args, row.slot, kinds[row.slot]))
    return Record(tuple(steps), starts, tape.outputs[: len(outputs)], fixed, len(tape))


def _array_of(node: Any) -> Array:
    """The array of a tensor from outside: of a leaf, or of an earlier op's result."""
    if isinstance(node, Node):
        hint = "Hand over the tensor itself, or its detach()."
        raise TraceError("Replay: a tensor from outside is on the tape", {"x": node}, ALIKE, hint)
    owner = node.tensor()
    if owner is None:
        raise TraceError("Replay: a tensor from outside is gone", {"x": node}, ALIKE)
    array: Array = owner.array
    return array


def _step(node: Any, args: tuple[int, ...], out: int, kind: int) -> Step:
    op, settings = node.op, dict(node.settings or {})
    if op is PICK:
        return Step("pick", op.forward, args, out, settings, kind)
    made_by = specialization_of(op)
    if made_by is None:
        return Step(op.name, op.forward, args, out, settings, kind)
    return Step("fused", op.forward, args, out, dict(made_by.settings), kind, made_by.cache, made_by.hung)
