"""Rematerialization: which values the forward kernel saves for the gradient, and which the gradient computes again.

Every value that the gradient reads is either saved by the forward kernel or computed again in the backward one. The
choice is the minimum cut of the tape between the inputs and the gradient (Dantzig and Fulkerson, 1956), in the costs
below: measured nanoseconds an element, which include the memory of a saved value. With equal costs a value is
computed again. Sums and maxima along a row are one number a row: these are always kept.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from tinygrad_seq.fuser.schedule import Space, primitive
from tinygrad_seq.fuser.trace import FULL, ROW, Program

# An input or output exists anyway and only stays alive; an inner value must also be written and read.
KEEP_ANYWAY, KEEP_INSIDE = 0.4, 1.0
COMPUTE, PER_ROW = 0.05, 0.001
_NEVER = math.inf


def choose(program: Program) -> list[int]:
    """The slots of wide inner values, or of outputs, that the forward kernel saves for the gradient."""
    space = Space(program)
    known = _forward_values(program)
    forward = space.needed(program.outputs, program.inputs)
    read = {
        a
        for row in program.tape
        if row.slot not in known
        for a in row.args
        if a in known and not program.tape[a].is_leaf
    }
    read |= {g for g in program.gradients if g is not None and g in known}
    numerators = quotients(space, program)
    flow = _Flow()
    for slot in space.needed([*read, *_inputs_read(program, known)], program.inputs):
        row = program.tape[slot]
        wide = space.kinds.get(slot) == FULL
        if slot in program.inputs:
            keep, compute = KEEP_ANYWAY if wide else PER_ROW, _NEVER
        elif row.is_leaf:
            keep, compute = 0.0, 0.0
        else:
            may = wide and row.wants and slot in forward
            keep = (KEEP_ANYWAY if slot in program.outputs else KEEP_INSIDE) if may else _NEVER
            compute = primitive(row).cost or COMPUTE if wide else PER_ROW
            compute = KEEP_ANYWAY + COMPUTE if slot in numerators else compute
        size = space.width(slot) if wide else 1
        flow.edge("given", ("in", slot), compute * size)
        flow.edge(("in", slot), ("out", slot), keep * size)
        for a in row.args if slot not in program.inputs else ():
            flow.edge(("out", a), ("in", slot), _NEVER)
    for slot in (*read, *_inputs_read(program, known)):
        flow.edge(("out", slot), "gradient", _NEVER)
    near = flow.cut("given", "gradient")
    return [
        slot
        for slot in sorted(forward - set(program.inputs))
        if not program.tape[slot].is_leaf and ("in", slot) in near and ("out", slot) not in near
        if ("in", slot) in flow.capacity
    ]


def quotients(space: Space, program: Program) -> dict[int, tuple[int, int]]:
    """Expensive numerators that are the product of an output and its divisor, such as the exp of softmax."""
    found = {}
    for o in program.outputs:
        row = program.tape[o]
        if row.op == "div" and space.kinds[o] == FULL and space.kinds[row.args[1]] == ROW:
            numerator = row.args[0]
            if primitive(program.tape[numerator]).cost:
                found[numerator] = (o, row.args[1])
    return found


def _forward_values(program: Program) -> set[int]:
    """The slots that depend on no cotangent."""
    known: set[int] = set()
    for row in program.tape:
        if row.slot not in program.seeds and all(a in known for a in row.args):
            known.add(row.slot)
    return known


def _inputs_read(program: Program, known: set[int]) -> set[int]:
    """The inputs that the gradient reads as they are."""
    return {
        a
        for row in program.tape
        if row.slot not in known
        for a in row.args
        if a in program.inputs and a in known
    }


class _Flow:
    """A flow network; its minimum cut between two nodes."""

    def __init__(self) -> None:
        self.capacity: dict[object, dict[object, float]] = {}

    def edge(self, start: object, stop: object, capacity: float) -> None:
        """Add an edge of this capacity from `start` to `stop`."""
        here = self.capacity.setdefault(start, {})
        here[stop] = here.get(stop, 0.0) + capacity
        self.capacity.setdefault(stop, {}).setdefault(start, 0.0)

    def cut(self, source: object, sink: object) -> set[object]:
        """The nodes on the source's side of the minimum cut (Edmonds and Karp, 1972)."""
        while True:
            back: dict[object, object] = {source: None}
            queue = deque([source])
            while queue and sink not in back:
                here = queue.popleft()
                for there, room in self.capacity.get(here, {}).items():
                    if room > 1e-9 and there not in back:
                        back[there] = here
                        queue.append(there)
            if sink not in back:
                return set(back)
            path = [sink]
            while back[path[-1]] is not None:
                path.append(back[path[-1]])
            pairs = list(zip(path[1:], path, strict=False))
            most = min(self.capacity[a][b] for a, b in pairs)
            for a, b in pairs:
                self.capacity[a][b] -= most
                self.capacity[b][a] += most


def inputs_kept(program: Program, kept: Iterable[int]) -> tuple[int, ...]:
    """The inputs that the gradient still depends on where `kept` is at hand."""
    space = Space(program)
    found = [g for g in program.gradients if g is not None]
    return tuple(s for s in program.inputs if s in space.needed(found, [*kept, *program.inputs]))
