"""`Tape`: the frozen record of what some outputs depend on, without arrays.

It prints as a typed listing, checks itself and can be compared; pictures and compilers read it. It holds
neither an array nor a tensor, so it keeps no activation alive.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import leaf
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import Leaf, Node
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.traversal import reachable
from tinygrad_seq.errors import DTypeError, GraphError
from tinygrad_seq.runtime.malloc import collector_paused
from tinygrad_seq.tape import check as tape_check
from tinygrad_seq.tape import row as listing
from tinygrad_seq.tape.row import Row

__all__ = ["Tape"]

_BOOKKEEPING = "words"  # what a checkpoint drew, to draw it again: not part of the program


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tape:
    """The rows that lead to some outputs, oldest first; `outputs` are slots.

    Ops stand in the order in which they ran, each leaf just before its first use. Two tapes are equal where
    they are the same program: ops, arguments, settings, shapes, dtypes, constants, and requires_grad of each leaf.
    Names, scopes, steps and passes are labels and are not compared.

    >>> import tinygrad_seq as tgs
    >>> x, w = tgs.Tensor([[1.0, 2.0]], name="x"), tgs.Tensor([[3.0], [4.0]], requires_grad=True, name="w")
    >>> print(Tape.of((x @ w * 0.5).sum()))
    %0 = input x                               f32[1,2]
    %1 = param w                               f32[2,1]
    %2 = matmul(%0, %1)                        f32[1,1]
    %4 = mul(%2, 0.5)                          f32[1,1]
    %5 = sum(%4, axis=(0, 1), keepdims=False)  f32[]
    -> %5
    """

    rows: tuple[Row, ...]
    outputs: tuple[int, ...]

    @staticmethod
    def of(*outputs: Tensor) -> Tape:
        """The record of everything that `outputs` depend on.

        Raises GraphError where none is given, DTypeError where one is not a tensor.
        """
        return _taken(outputs)[0]

    @staticmethod
    def with_nodes(*outputs: Tensor, since: int = -1) -> tuple[Tape, dict[int, Node | Leaf]]:
        """The record, and the live node behind each slot, for further recording.

        What was made before the creation index `since` is an input, whatever it was made from.
        """
        tape, slots = _taken(outputs, since)
        return tape, {slot: node for node, slot in slots.items()}

    def check(self) -> Tape:
        """The tape itself, if it is valid: slots are assigned once, before use, with the types of their ops.

        Raises GraphError that names the first row at fault.
        """
        tape_check.check(self.rows, self.outputs)
        return self

    def diff(self, other: Tape) -> str:
        """The first row in which two tapes differ, as text; empty where they are equal."""
        for mine, yours in zip(self.rows, other.rows, strict=False):
            if mine.program != yours.program:
                return f"row %{mine.slot} differs:\n  this:  {mine}\n  other: {yours}"
        for i, (more, rows) in enumerate((("this", self.rows), ("the other", other.rows))):
            rest = rows[len((other.rows, self.rows)[i]) :]
            if rest:
                return f"{more} has {len(rest)} rows more, the first is {rest[0]}"
        if self.outputs != other.outputs:
            this, that = (listing.outputs(tape.rows, tape.outputs) for tape in (self, other))
            return f"outputs differ:\n  this:  {this}\n  other: {that}"
        return ""

    def ops(self) -> Counter[str]:
        """How often each op occurs; leaves are not counted."""
        return Counter(row.op for row in self.rows if not row.is_leaf)

    def steps(self) -> tuple[int, ...]:
        """The time steps that occur, in order."""
        return tuple(sorted({row.place.step for row in self.rows if row.place.step is not None}))

    def scopes(self) -> tuple[str, ...]:
        """The scope paths that occur, in the order of their first op."""
        return tuple(dict.fromkeys(row.place.scope for row in self.rows if row.place.scope))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, slot: int) -> Row:
        return self.rows[slot]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tape):
            return NotImplemented
        return len(self.rows) == len(other.rows) and not self.diff(other)

    def __hash__(self) -> int:
        return hash((self.outputs, tuple((row.op, row.args) for row in self.rows)))

    def __str__(self) -> str:
        with collector_paused():
            return listing.text(self.rows, self.outputs)

    def __repr__(self) -> str:
        return f"Tape({len(self.rows)} rows, {len(self.outputs)} outputs)"


def _taken(outputs: Sequence[Tensor], since: int = -1) -> tuple[Tape, dict[Node | Leaf, int]]:
    if not outputs:
        raise GraphError("Tape.of: no outputs given", None, "expected at least one tensor.")
    for output in outputs:
        if not isinstance(output, Tensor):
            raise DTypeError("Tape.of: not a tensor", {"output": output}, "expected tensors.")
    roots = [t.node or leaf(t) for t in outputs]
    rows: list[Row] = []
    slots: dict[Node | Leaf, int] = {}
    with collector_paused():
        made = (n for n in reachable(roots, since=since) if isinstance(n, Node) and n.index >= since)
        for node in (*made, *roots):
            for n in (*(node.parents if node.index >= since else ()), node):
                # A leaf goes before its first use, not where its index puts it: constants are shared by the
                # whole program, and a listing must not depend on what was computed before.
                if n not in slots:
                    slots[n] = len(rows)
                    rows.append(_row(n, len(rows), slots, since))
    return Tape(tuple(rows), tuple(slots[root] for root in roots)), slots


def _row(node: Node | Leaf, slot: int, slots: Mapping[Node | Leaf, int], since: int = -1) -> Row:
    if isinstance(node, Node) and node.index >= since:
        args = tuple([slots[p] for p in node.parents])
        settings = {k: _plain(v, k) for k, v in (node.settings or {}).items() if k != _BOOKKEEPING}
        return Row(slot, node.op.name, args, settings, node.shape, node.dtype, node.place, wants=node.wants)
    if isinstance(node, Node):
        return Row(slot, "input", (), {}, node.shape, node.dtype, node.place, wants=node.wants)
    kind = "param" if node.wants else "input" if node.value is None else "const"
    owner = node.tensor()
    name = node.name or (owner.name if owner is not None else "")
    value = node.value
    if value is not None:  # 2 and 2.0 share one constant: the order of their first uses must not be visible
        value = float(value) if node.dtype.kind == "f" else np.asarray(value, node.dtype).item()
    return Row(slot, kind, (), {}, node.shape, node.dtype, node.place, name, value, node.wants)


def _plain(value: Any, key: str = "") -> Any:
    """A setting as plain data, so that a tape keeps no array alive; a function becomes its qualified name."""
    if key == "dtype":
        return np.dtype(value)
    if isinstance(value, slice):
        return slice(
            *(None if e is None else operator.index(e) for e in (value.start, value.stop, value.step))
        )
    if isinstance(value, (tuple, list)):
        return tuple([_plain(v) for v in value])
    if isinstance(value, np.generic):
        return value.item()
    if value is None or value is Ellipsis or isinstance(value, (bool, int, float, str, np.dtype)):
        return value
    return getattr(value, "__qualname__", None) or type(value).__qualname__


answer(globals(), "Tape")
