"""Reassociation of sums along a row that depend on another sum: one pass instead of two.

sum(a + k b), where k is one number of its row from an earlier sum, is sum(a) + k sum(b). In the gradient of layer
norm the three passes over a row become two. Where k or a sum is infinite this is wrong: 0 times infinity would be
missed for a zero among the b. So the sum is replaced by a row `rescued`: its first argument where that is finite, and
else the sum of its second argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygrad_seq.fuser.trace import Program
from tinygrad_seq.tape.row import Row

RESCUED = "rescued"


@dataclass(frozen=True)
class Part:
    """A summand: a slot, its sign, and numbers of the row that stand before it."""

    slot: int
    factors: tuple[int, ...] = ()
    negative: bool = False


def taken_apart(program: Program) -> Program:
    """The same program with such sums rewritten; the rows that stood for them are numbered anew."""
    writer = _Writer(program)
    for row in program.tape:
        writer.take(row)
    at = writer.at
    return replace(
        program,
        tape=tuple(writer.rows),
        inputs=tuple(at[s] for s in program.inputs),
        outputs=tuple(at[s] for s in program.outputs),
        hidden=tuple(at[s] for s in program.hidden),
        seeds=tuple(at[s] for s in program.seeds),
        gradients=tuple(None if s is None else at[s] for s in program.gradients),
        lines={at[s]: line for s, line in program.lines.items() if s in at},
    )


class _Writer:
    """Copies a tape row by row; `at` says where a slot of the old one stands in the new one."""

    def __init__(self, program: Program):
        self.old, self.count = program.tape, program.rows
        self.rows: list[Row] = []
        self.at: dict[int, int] = {}
        self.depth: list[
            int
        ] = []  # how many sums and maxima along a row depend on each other, one after the other

    def take(self, row: Row) -> None:
        """Copy a row, or write its replacement."""
        parts = self.parts(row.args[0]) if self.sums_a_row(row) else []
        if len(parts) > 1 or any(p.factors for p in parts):
            self.at[row.slot] = self.written(row, parts)
        else:
            self.at[row.slot] = self.write(replace(row, args=tuple(self.at[a] for a in row.args)))

    def write(self, row: Row) -> int:
        """One row more; its slot."""
        slot = len(self.rows)
        depth = max((self.depth[a] for a in row.args), default=0)
        self.depth.append(depth + (row.op in ("sum", "max", RESCUED)))
        self.rows.append(replace(row, slot=slot))
        return slot

    def sums_a_row(self, row: Row) -> bool:
        """True for a sum of each row's columns, whose result is a column."""
        if row.op != "sum" or row.dtype.kind != "f":
            return False
        wide = self.old[row.args[0]].shape
        return row.shape == (self.count, 1) and len(wide) == 2 and wide[1] > 1

    def parts(self, slot: int) -> list[Part]:
        """The summands of a sum of this value; the value itself where it depends on no other sum."""
        row = self.old[slot]
        same = [a for a in row.args if self.old[a].shape == row.shape]
        if row.op == "neg":
            found = [replace(p, negative=not p.negative) for p in self.parts(row.args[0])]
            return found if any(p.factors for p in found) else [Part(slot)]
        if row.op in ("add", "sub") and len(same) == 2:
            left, right = (self.parts(a) for a in row.args)
            right = [replace(p, negative=p.negative != (row.op == "sub")) for p in right]
            return [*left, *right] if any(p.factors for p in (*left, *right)) else [Part(slot)]
        if row.op == "mul":
            for wide, other in (row.args, row.args[::-1]):
                number = self.old[other].args[0] if self.old[other].op == "expand" else other
                waits = self.depth[self.at[number]] > self.depth[self.at[wide]]
                if waits and wide in same and self.old[number].shape == (self.count, 1):
                    return [replace(p, factors=(*p.factors, number)) for p in self.parts(wide)]
        return [Part(slot)]

    def written(self, row: Row, parts: list[Part]) -> int:
        """The rows that replace a sum: a sum for each value, and sums of their products."""
        sums: dict[int, int] = {}
        total = -1
        for part in parts:
            if part.slot not in sums:
                sums[part.slot] = self.write(replace(row, args=(self.at[part.slot],)))
            one = sums[part.slot]
            for number in part.factors:
                one = self.joined(row, "mul", one, self.at[number])
            if total >= 0:
                total = self.joined(row, "sub" if part.negative else "add", total, one)
            else:
                total = self.joined(row, "neg", one) if part.negative else one
        return self.write(replace(row, op=RESCUED, args=(total, self.at[row.args[0]])))

    def joined(self, row: Row, op: str, *args: int) -> int:
        """An op on numbers of the row."""
        return self.write(replace(row, op=op, args=args, settings={}))
