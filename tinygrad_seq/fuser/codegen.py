"""Code generation: a tape over rows and columns as one readable Python function, which numba compiles.

Rows are first cut into contiguous one-dimensional views, because LLVM vectorises only these. A pass over the columns
ends where a later value needs a sum or maximum; an expensive value that two passes need is kept in a scratch row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from tinygrad_seq.fuser.expressions import SHORT, Block, Formulas, Lane
from tinygrad_seq.fuser.kernel import Kernel, Loop
from tinygrad_seq.fuser.schedule import Term
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Program
from tinygrad_seq.runtime.sums import BLOCK
from tinygrad_seq.tape.row import Row


class Emitter(Formulas):
    """Writes one kernel: `inputs` and `outputs` are slots of the program."""

    outputs: tuple[int, ...] = ()
    long = False  # whether rows are so long that their float32 sums are kept in float64

    def open(self, length: int) -> None:
        """Start a loop over `length` columns."""
        self.loop, self.length = Block(3), length
        self.loop_number += 1

    def close(self) -> None:
        """End the loop and add it to the row."""
        assert self.loop is not None
        self.row.write(f"for j in range({self.size(self.length)}):")
        self.row.lines += self.loop.lines
        self.note(self.loop)
        self.loop = None

    def note(self, loop: Block) -> None:
        """Note the content of a loop over the columns of the open length."""
        if self.length:
            size = list(self.sizes).index(self.length)
            self.loops.append(Loop(size, len(loop.lines), loop.float32, loop.float64))

    def reduce(self, slots: list[int]) -> None:
        """The loops for sums and maxima of one pass, those over equal columns together."""
        groups: dict[int, list[tuple[int, int]]] = {}
        looped = [s for s in slots if not self.told(s)]
        for slot in looped:
            operand = self.tape[slot].args[0]
            cuts = self.space.cuts(operand, self.known())
            for start, stop in pairwise(cuts):
                groups.setdefault(stop - start, []).append((slot, start))
        for slot in looped:
            row = self.tape[slot]
            kind = "float64" if self.widened(slot) else row.dtype
            self.row.write(f"s{slot} = {self.number(kind, '0' if row.op == 'sum' else '-inf')}")
        for length, members in groups.items():
            self.open(length)
            for slot, start in members:
                v = self.value(self.tape[slot].args[0], ("j", start))
                if self.tape[slot].op == "sum":
                    self.loop.write(self.sum(f"s{slot}", v, slot))  # type: ignore[union-attr]
                else:
                    self.calls.add("greatest")
                    self.loop.write(f"s{slot} = greatest(s{slot}, {v})")  # type: ignore[union-attr]
            self.close()
        for slot in slots:
            if slot in looped and self.widened(slot):
                self.row.write(f"s{slot} = {self.number('float32', f's{slot}')}")
            self.row.names[(slot, None)] = f"s{slot}"

    def widened(self, slot: int) -> bool:
        """Whether a running sum along a row is in float64: with so many columns float32 would lose digits."""
        row = self.tape[slot]
        return self.long and row.op != "max" and str(row.dtype) == "float32"

    def told(self, slot: int) -> bool:
        """Write the sum of a row with a single nonzero number without a loop; False for any other row."""
        sign, place = "", self.tape[slot].args[0]
        while self.tape[place].op == "neg" and place not in self.inputs:
            sign, place = "" if sign else "-", self.tape[place].args[0]
        row = self.tape[place]
        known = place in self.inputs or place in self.zeros
        if self.tape[slot].op != "sum" or row.op != "scatter" or known or self.space.kinds[place] != FULL:
            return False
        column = self.column(place)
        inside = self.once(f"in_{column}", f"0 <= {column} < {self.size(self.space.width(place))}")
        zero = self.number(row.dtype, 0)
        self.row.write(f"s{slot} = {sign}{self.value(row.args[0], None)} if {inside} else {zero}")
        return True

    def sum(self, name: str, v: str, slot: int, negative: bool = False) -> str:
        """The line that adds to a running sum along a row."""
        if self.tape[slot].dtype.kind != "f":
            return f"{name} {'-' if negative else '+'}= {v}"
        self.calls.add("added")
        v = f"{'-' if negative else ''}{v}"
        return f"{name} = added({name}, {self.number('float64', v) if self.widened(slot) else v})"

    def rescued(self, row: Row) -> str:
        """The sum taken apart; behind it a loop for the rows in which it is not finite."""
        total, operand = row.args
        name = f"v{row.slot}"
        lines = [f"{name} = {self.value(total, None)}"]
        lines.append(f"if not abs({name}) < {self.number(row.dtype, 'inf')}:")
        lines.append(f"    {name} = {self.number('float64' if self.widened(row.slot) else row.dtype, 0)}")
        held, self.aside = (self.loop, self.length), True
        for start, stop in pairwise(self.space.cuts(operand, self.known())):
            self.loop, self.length = Block(2), stop - start
            self.loop.write(self.sum(name, self.value(operand, ("j", start)), row.slot))
            lines += [f"    for j in range({self.size(self.length)}):", *self.loop.lines]
            self.note(self.loop)
        if self.widened(row.slot):
            lines.append(f"    {name} = {self.number('float32', name)}")
        (self.loop, self.length), self.aside = held, False
        for line in lines:
            self.row.write(line)
        return name

    def known(self) -> set[int]:
        """Slots at which the search ends: inputs, and sums that are computed already."""
        taken = {key[0] for key in self.row.names if isinstance(key, tuple) and key[1] is None}
        return set(self.inputs) | {s for s in taken if self.space.is_row_reduction(self.tape[s])}

    # ---- the kernel ------------------------------------------------------------------------------------
    def run(self, outputs: tuple[int, ...], title: str) -> Kernel:
        """The whole function."""
        self.outputs = outputs
        operands = [s for o in self.outputs for term in self.terms(o) for s in term.slots]
        operands += [divisor for _, divisor in self.quotients.values()]
        for slots in self.space.passes(operands, {*self.inputs, *self.quotients}):
            self.reduce(slots)
        self.store()
        return self.assembled(title)

    def terms(self, output: int) -> list[Term]:
        """What is written to an output: itself, or the summands of its sum over rows."""
        return self.space.sums_over_rows(output) or [Term(output)]

    def store(self) -> None:
        """The last pass: outputs written, sums over rows added to."""
        groups: dict[int, list[tuple[int, Term, int]]] = {}
        single: list[str] = []
        totals: list[str] = []
        for i, output in enumerate(self.outputs):
            kind, sign = self.space.kinds[output], self.signs(output)
            for n, term in enumerate(self.terms(output)):
                wide = next((s for s in term.slots if self.space.kinds[s] in (FULL, COLUMNS)), None)
                if kind in (ROW, ONE) and wide is None:
                    place = f"o{i}[r]" if kind == ROW else self.total(i)
                    single.append(f"{place} {sign[term.negative]} {self.product(term, None)}")
                    continue
                if kind == ONE:
                    kind_of_sum = "float64" if self.widened(output) else self.tape[output].dtype
                    self.row.write(f"a{i}_{n} = {self.number(kind_of_sum, 0)}")
                    totals.append(f"{self.total(i)} += a{i}_{n}")
                known = self.known()
                seams = self.space.cuts(output, known) if wide is None else self.space.cuts_of(term, known)
                for start, stop in pairwise(seams):
                    groups.setdefault(stop - start, []).append((i, replace(term, place=n), start))
        for length, members in groups.items():
            self.open(length)
            for i, term, start in members:
                self.store_one(i, term, start)
            self.close()
        self.row.lines += ["        " + line for line in single + totals]

    def total(self, i: int) -> str:
        """The running sum of an output that is one number, in float64: of many rows each is small beside it."""
        output = self.outputs[i]
        if self.tape[output].dtype.kind != "f" or not self.space.sums_over_rows(output):
            return f"o{i}[0]"
        self.totals.append(i)
        return f"total{i}"

    def signs(self, output: int) -> tuple[str, str]:
        """How a term and a negative term are put into an output."""
        return ("+=", "-=") if self.space.sums_over_rows(output) else ("=", "=")

    def product(self, term: Term, lane: Lane) -> str:
        """A term's value with its factors."""
        text = self.value(term.slot, lane)
        for sign, slot, shift in term.factors:
            factor = self.value(slot, lane and (lane[0], lane[1] + shift))
            if sign.startswith("if"):
                text = f"({text} {sign} {factor} else {self.number(self.tape[term.slot].dtype, 0)})"
            else:
                text = f"{text} {sign} {factor}"
        return text

    def store_one(self, i: int, term: Term, start: int) -> None:
        """One output, or one summand of it, at the columns of the open loop."""
        output = self.outputs[i]
        kind, sign = self.space.kinds[output], self.signs(output)[term.negative]
        v = self.product(term, ("j", start))
        assert self.loop is not None
        if kind == ONE:
            self.loop.write(self.sum(f"a{i}_{term.place}", v, output, term.negative))
            return
        view = self.once(f"o{i}_r", f"o{i}[r]") if kind == FULL else f"o{i}"
        place = start + term.first
        if place or self.length != self.space.width(output):
            stop = f"{self.size(place)} + {self.size(self.length)}" if place else self.size(self.length)
            first = self.size(place) if place else ""
            view = self.once(f"o{i}_{self.size(place)}_{self.size(self.length)}", f"{view}[{first}:{stop}]")
        self.loop.write(f"{view}[j] {sign} {v}")

    def assembled(self, title: str) -> Kernel:
        """The text around the row."""
        kept = [s for s in sorted(self.scratch) if len(set(self.loops_with.get(s, []))) > 1]
        scratch = {
            f"t{s}": f"np.empty({self.size(self.space.width(s))}, np.{self.tape[s].dtype})" for s in kept
        }
        added = {
            f"o{i}": str(self.tape[o].dtype)
            for i, o in enumerate(self.outputs)
            if self.space.kinds[o] == COLUMNS
            and self.tape[o].dtype.kind == "f"
            and self.space.sums_over_rows(o)
        }
        inputs = tuple(s for s in self.inputs if s in self.used)
        parameters = [*self.sizes.values(), *self.numbers.values()]
        parameters += [self.inputs[s] for s in inputs] + [f"o{i}" for i in range(len(self.outputs))]
        inside = "over_rows" if scratch or added else "kernel"
        body = [
            f"def {inside}({', '.join(['lo', 'hi', *parameters, *scratch])}):",
            *[f"    total{i} = {self.number('float64', 0)}" for i in dict.fromkeys(self.totals)],
            "    for r in range(lo, hi):",
            *(self.row.lines or ["        pass"]),
            *[f"    o{i}[0] += total{i}" for i in dict.fromkeys(self.totals)],
            "",
            *(self.around(["lo", "hi", *parameters], scratch, added) if scratch or added else []),
        ]
        return Kernel(
            title,
            tuple(body),
            tuple(parameters),
            sizes=tuple(self.sizes),
            numbers=tuple(self.numbers),
            inputs=inputs,
            outputs=self.outputs,
            summed=tuple(bool(self.space.sums_over_rows(o)) for o in self.outputs),
            loops=tuple(self.loops),
            math=self.math,
            limits=self.limits,
            scalars=tuple(sorted(self.calls)),
            kinds=tuple((long, short) for long, short in SHORT.items() if short in self.kinds),
        )

    def around(
        self, parameters: Sequence[str], scratch: Mapping[str, str], added: Mapping[str, str]
    ) -> list[str]:
        """A kernel around the loop over rows: only of an argument does LLVM take it that nothing else lies there.

        Outputs that are sums over rows are summed by blocks of rows, and the blocks in float64.
        """
        lines = [
            "",
            f"def kernel({', '.join(parameters)}):",
            *[f"    {n} = {made}" for n, made in scratch.items()],
        ]
        call = f"over_rows({', '.join([*parameters, *scratch])})"
        if not added:
            return [*lines, f"    {call}", ""]
        blocked = [
            "first",
            f"min(first + {BLOCK}, hi)",
            *(f"b_{n}" if n in added else n for n in parameters[2:]),
        ]
        lines += [f"    if hi - lo <= {BLOCK}:", f"        {call}", "        return"]
        for name, dtype in added.items():
            lines.append(f"    b_{name}, w_{name} = np.zeros(len({name}), np.{dtype}), np.zeros(len({name}))")
        lines.append(f"    for first in range(lo, hi, {BLOCK}):")
        lines.append(f"        over_rows({', '.join([*blocked, *scratch])})")
        for name in added:
            lines += [f"        for j in range(len({name})):", f"            w_{name}[j] += b_{name}[j]"]
            lines.append(f"            b_{name}[j] = 0")
        for name, dtype in added.items():
            lines += [
                f"    for j in range(len({name})):",
                f"        {name}[j] += {self.number(dtype, f'w_{name}[j]')}",
            ]
        return [*lines, ""]


def emit(
    program: Program,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    title: str,
    varying: frozenset[int] = frozenset(),
    zeros: frozenset[int] = frozenset(),
    quotients: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    long: bool = False,
) -> Kernel:
    """The kernel that computes these slots of a program from those; `zeros` are slots that are zero.

    `quotients` names numerators whose quotient and divisor are at hand: their product is cheaper than
    computing them. `long` says that rows have so many columns that their sums are kept in float64. Written more
    than once: the first time tells which costly values several passes need.
    """
    scratch: frozenset[int] | None = None
    while True:
        emitter = Emitter(program, inputs, varying, scratch or frozenset(), zeros, quotients)
        emitter.long = long
        kernel = emitter.run(outputs, title)
        several = frozenset(s for s, loops in emitter.loops_with.items() if len(set(loops)) > 1)
        if scratch is not None and scratch <= several:
            return kernel
        # A kept value may make it unnecessary to keep its inputs.
        scratch = several if scratch is None else scratch & several
