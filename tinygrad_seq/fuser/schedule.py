"""The schedule of a kernel: the place of each value of a tape in rows and columns, its pass, and its pieces.

Only lists; code is generated elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_seq.engine.op import OPS, Op
from tinygrad_seq.errors import TraceError
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Program, refusal
from tinygrad_seq.tape.row import Row

_NO_OP = Op("", lambda *_: None, "")


def primitive(row: Row) -> Op:
    """The op of a row; one without properties for a leaf and for the fuser's own rows."""
    return OPS.get(row.op, _NO_OP)


@dataclass(frozen=True)
class Term:
    """A summand of a sum over rows: a slot, factors and divisors that no row changes, and a sign.

    It belongs to the columns from `first` on, and so do its factors, each from a column of its own; `place` is
    its number among the summands of an output.
    """

    slot: int
    factors: tuple[tuple[str, int, int], ...] = ()
    negative: bool = False
    place: int = 0
    first: int = 0

    def __neg__(self) -> Term:
        return replace(self, negative=not self.negative)

    def times(self, sign: str, factor: int) -> Term:
        """The summand multiplied or divided by a slot."""
        return replace(self, factors=(*self.factors, (sign, factor, self.first)))

    @property
    def slots(self) -> tuple[int, ...]:
        """All slots it reads."""
        return (self.slot, *(f for _, f, _ in self.factors))


class Space:
    """A program's slots in rows and columns."""

    def __init__(self, program: Program):
        for row in program.tape:
            if not primitive(row).fusible:
                raise unfusable(row, "no kernel over rows and columns holds it")
        self.tape = program.tape
        self.rows = program.rows
        self.kinds = {row.slot: self._kind(row) for row in program.tape if not isinstance(row.dtype, tuple)}

    def _kind(self, row: Row) -> str:
        shape = tuple(row.shape)
        if len(shape) > 2:
            raise unfusable(row, "it has more than one axis besides the columns")
        rows = self.rows in shape[:1]
        wide = len(shape) and shape[-1] not in (1, self.rows) if len(shape) < 2 else shape[1] != 1
        if len(shape) == 2 and shape[0] not in (1, self.rows):
            raise unfusable(row, "its rows are not the rows of the inputs")
        if rows:
            return FULL if len(shape) == 2 and wide else ROW
        return COLUMNS if wide else ONE

    def width(self, slot: int) -> int:
        """The number of columns of a slot."""
        return int(self.tape[slot].shape[-1]) if self.kinds[slot] in (FULL, COLUMNS) else 1

    def axes(self, row: Row) -> tuple[bool, bool]:
        """Whether a reduction runs over the rows, and whether over the columns."""
        axis, shape = row.settings["axis"], self.tape[row.args[0]].shape
        has_rows = len(shape) == 2 or tuple(shape) == (self.rows,)
        return (has_rows and 0 in axis), (len(shape) - 1 in axis and not (has_rows and len(shape) == 1))

    def is_row_reduction(self, row: Row) -> bool:
        """True for a sum or a maximum along each row."""
        return row.op in ("sum", "max") and self.axes(row) == (False, True)

    def needed(self, slots: Iterable[int], stop: Iterable[int]) -> set[int]:
        """All slots that these depend on, not looking past `stop`."""
        seen: set[int] = set()
        todo, wall = list(slots), set(stop)
        while todo:
            slot = todo.pop()
            if slot not in seen:
                seen.add(slot)
                if slot not in wall:
                    todo.extend(self.tape[slot].args)
        return seen

    def passes(self, slots: Iterable[int], inputs: Iterable[int]) -> list[list[int]]:
        """The sums and maxima along rows that these slots need, in passes: each needs those before it."""
        given, depths = set(inputs), dict[int, int]()
        passes: list[list[int]] = []
        for slot in sorted(self.needed(slots, given)):
            row = self.tape[slot]
            depth = 0 if slot in given else max((depths[a] for a in row.args), default=0)
            if slot not in given and self.is_row_reduction(row):
                passes += [[]] * (depth == len(passes))
                passes[depth] = [*passes[depth], slot]
                depth += 1
            depths[slot] = depth
        return passes

    def sums_over_rows(self, slot: int) -> list[Term] | None:
        """The summands whose sum over all rows this slot is, or None.

        In a gradient all later ops are linear in such a sum, with factors that are the same in every row: these are
        moved inside the sum.
        """
        row = self.tape[slot]
        if row.op == "sum":
            over_rows, _ = self.axes(row)
            return [Term(row.args[0])] if over_rows else self.sums_over_rows(row.args[0])
        if row.op in ("reshape", "neg"):
            terms = self.sums_over_rows(row.args[0])
            return terms if terms is None or row.op == "reshape" else [-t for t in terms]
        if row.op in ("add", "sub"):
            left, right = (self.sums_over_rows(a) for a in row.args)
            if left is None or right is None:
                return None
            return left + (right if row.op == "add" else [-t for t in right])
        if row.op in ("mul", "div"):
            for place in (0, 1) if row.op == "mul" else (0,):
                terms, factor = self.sums_over_rows(row.args[place]), row.args[1 - place]
                if terms is not None and self.kinds[factor] in (COLUMNS, ONE):
                    return [t.times("*" if row.op == "mul" else "/", factor) for t in terms]
        if row.op in ("concat", "pad"):
            width = self.width(slot)
            pieces = self.parts(row) if row.op == "concat" else [(*columns_of(row, width), row.args[0])]
            found = [(start, self.sums_over_rows(part)) for start, _, part in pieces]
            if any(terms for _, terms in found) and all(
                terms or self.tape[part].value == 0
                for (_, terms), (_, _, part) in zip(found, pieces, strict=True)
            ):
                moved = [replace(t, first=t.first + start) for start, terms in found for t in terms or []]
                return moved if all(self.kinds[t.slot] in (FULL, COLUMNS) for t in moved) else None
            return None
        if row.op == "where" and self.kinds[row.args[0]] in (COLUMNS, ONE):
            branches = [
                self.sums_over_rows(a) or ([] if self.tape[a].value == 0 else None) for a in row.args[1:]
            ]
            if branches != [[], []] and None not in branches:
                signed = zip(("if", "if not"), branches, strict=True)
                return [t.times(sign, row.args[0]) for sign, terms in signed for t in terms or []]
        return None

    def absent(self, zeros: Iterable[int]) -> set[int]:
        """Slots that are zero because these are: gradients of unused outputs, and all that depends on them only."""
        gone = set(zeros)
        for row in self.tape:
            vanishes = primitive(row).vanishes
            if vanishes is not None and vanishes([a in gone for a in row.args]):
                gone.add(row.slot)
        return gone

    def cuts(self, slot: int, known: Iterable[int] = ()) -> list[int]:
        """Where the columns of a slot change their formula: 0, its width, and the seams of concats and pads."""
        seams = {0, self.width(slot)}
        stack, seen, wall = [(slot, 0)], set(), set(known)
        while stack:
            here, shift = stack.pop()
            if (here, shift) in seen or self.kinds[here] not in (FULL, COLUMNS) or here in wall:
                continue
            seen.add((here, shift))
            row = self.tape[here]
            if row.op == "concat":
                for start, _, part in self.parts(row):
                    seams |= {start + shift, start + shift + self.width(part)}
                    stack.append((part, start + shift))
            elif row.op == "pad":
                start, stop = columns_of(row, self.width(here))
                seams |= {start + shift, stop + shift}
                stack.append((row.args[0], start + shift))
            elif row.op == "slice":
                start, _ = columns_of(row, self.width(row.args[0]))
                stack.append((row.args[0], shift - start))
            elif not self.is_row_reduction(row):
                stack.extend((a, shift) for a in row.args)
        return sorted(s for s in seams if 0 <= s <= self.width(slot))

    def cuts_of(self, term: Term, known: Iterable[int]) -> list[int]:
        """Where the columns of a summand change their formula, those of its factors included."""
        wide = [s for s in term.slots if self.kinds[s] in (FULL, COLUMNS)]
        if term.slot not in wide:
            return self.cuts(wide[0], known)
        width = self.width(term.slot)
        seams = set(self.cuts(term.slot, known))
        for _, slot, shift in term.factors:
            if self.kinds[slot] in (FULL, COLUMNS):
                seams |= {c - shift for c in self.cuts(slot, known) if 0 < c - shift < width}
        return sorted(seams)

    def parts(self, row: Row) -> list[tuple[int, int, int]]:
        """The start, stop and slot of each piece of a concat along the columns."""
        if row.settings["axis"] != len(row.shape) - 1:
            raise unfusable(row, "it joins rows; only columns can be joined")
        pieces, start = [], 0
        for a in row.args:
            stop = start + int(self.tape[a].shape[-1])
            pieces.append((start, stop, a))
            start = stop
        return pieces


def columns_of(row: Row, width: int) -> tuple[int, int]:
    """The columns that a slice takes or a pad fills; every row must be taken."""
    index: tuple[Any, ...] = tuple(row.settings["index"])
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *(slice(None),) * (3 - len(index)), *index[at + 1 :])
    index = (*index, *(slice(None),) * (2 - len(index)))
    if len(index) != 2 or index[0] != slice(None) or index[1] is None:
        raise unfusable(row, "it takes some rows only; only columns can be sliced")
    if isinstance(index[1], int):
        return index[1] % width, index[1] % width + 1
    start, stop, step = index[1].indices(width)
    if step != 1:
        raise unfusable(row, "it takes columns in steps")
    return start, max(start, stop)


class Unfusable(TraceError):
    """An op that no kernel over rows and columns can hold."""

    def __init__(self, row: Row, why: str):
        self.row, self.why = row, why
        super().__init__(self.told({}))

    def told(self, lines: Mapping[int, str]) -> str:
        """The error's text, with the line of the op where that is known."""
        where = lines.get(self.row.slot) or ("in its gradient" if self.row.phase == "backward" else "")
        return refusal(self.row.op, self.why, {"op": self.row}, where)


def unfusable(row: Row, why: str) -> Unfusable:
    """The error for this op."""
    return Unfusable(row, why)
