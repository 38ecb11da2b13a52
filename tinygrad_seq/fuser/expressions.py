"""The expressions of a kernel, one line an op: the right side of each `v5 = ...` in a generated function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tinygrad_seq.fuser.kernel import Loop
from tinygrad_seq.fuser.reassociate import RESCUED
from tinygrad_seq.fuser.scalars.maths import SCALARS
from tinygrad_seq.fuser.schedule import Space, columns_of, primitive, unfusable
from tinygrad_seq.fuser.trace import COLUMNS, FULL, ONE, ROW, Program
from tinygrad_seq.tape.row import Row

# A column variable and a start: element `start + j`. None outside of the columns.
Lane = tuple[str, int] | None
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "equal": "==", "pow": "**"}
LIBRARY = {"sqrt": ("math", "sqrt"), "sin": ("math", "sin"), "cos": ("math", "cos"), "floor": ("np", "floor")}
# A single number of a row is not vectorised: there the library's functions are faster than a polynomial.
ROW_LIBRARY = {"exp", "log", "log1p", "tanh"}
# Scalar functions of many steps, by which the cost of a loop is counted.
POLYNOMIALS = frozenset(SCALARS) - {"maximum", "minimum"}
SHORT = {"float32": "f4", "float64": "f8", "int64": "i8", "int32": "i4", "uint64": "u8", "bool": "b1"}


@dataclass
class Block:
    """Lines of one depth, and the names of the values computed there."""

    indent: int
    lines: list[str] = field(default_factory=list)
    names: dict[Any, str] = field(default_factory=dict)
    float32: int = 0  # polynomials of each dtype
    float64: int = 0

    def write(self, text: str) -> None:
        """One line more."""
        self.lines.append("    " * self.indent + text)

    def count(self, row: Row) -> None:
        """An op more, whose value is computed here."""
        if row.op in POLYNOMIALS:
            self.float32 += row.dtype == "float32"
            self.float64 += row.dtype == "float64"


class Formulas:
    """Values of slots of a program, by name, written into a row and its loops as they are asked for."""

    def __init__(
        self,
        program: Program,
        inputs: tuple[int, ...],
        varying: frozenset[int] = frozenset(),
        scratch: frozenset[int] = frozenset(),
        zeros: frozenset[int] = frozenset(),
        quotients: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ):
        self.space, self.quotients = Space(program), quotients
        self.tape = program.tape
        self.inputs = {slot: f"x{i}" for i, slot in enumerate(inputs)}
        self.varying, self.scratch, self.zeros = varying, scratch, self.space.absent(zeros)
        self.sizes: dict[int, str] = {}
        self.numbers: dict[int, str] = {}
        # The imports of the kernel: functions of `scalars`, the library, inf and nan, dtypes.
        self.calls: set[str] = set()
        self.math = self.limits = False
        self.kinds: set[str] = set()
        self.loops: list[Loop] = []
        self.row = Block(2)
        self.loop: Block | None = None
        self.loops_with: dict[int, list[int]] = {}
        self.loop_number = self.length = 0
        self.aside = False  # in a loop that rarely runs: no value there is kept for others
        self.used: set[int] = set()
        self.totals: list[int] = []  # outputs that are one number, summed in a variable of their own

    # ---- names -----------------------------------------------------------------------------------------
    def size(self, n: int) -> str:
        """The name of a column count or start; the kernel is not compiled for one size."""
        return "0" if n == 0 else self.sizes.setdefault(n, f"n{len(self.sizes)}")

    def number(self, dtype: Any, text: object) -> str:
        """A literal of this dtype, never a plain number: float32 must not widen."""
        short = SHORT[str(dtype)]
        self.kinds.add(short)
        self.limits |= text in ("inf", "-inf", "nan")
        return f"{short}({text})"

    def literal(self, row: Row) -> str:
        """A constant."""
        if row.slot in self.varying:
            return self.numbers.setdefault(row.slot, f"k{len(self.numbers)}")
        value = row.value
        if row.dtype.kind == "b":
            return str(bool(value))
        if row.dtype.kind != "f":
            return self.number(row.dtype, int(value or 0))
        return self.number(row.dtype, repr(float(value or 0.0)))

    # ---- values ----------------------------------------------------------------------------------------
    def value(self, slot: int, lane: Lane) -> str:
        """The name of a slot's value at a lane (a column variable and a start); lines are written as needed."""
        wide = self.space.kinds[slot] in (FULL, COLUMNS)
        key = (slot, lane if wide else None)
        for block in (self.loop, self.row):
            if block is not None and key in block.names:
                return block.names[key]
        row, in_loop = self.tape[slot], wide and lane is not None and lane[0] == "j"
        block = self.loop if in_loop and self.loop is not None else self.row
        # A loop over a part of the columns neither fills a scratch row nor reads one.
        whole = in_loop and lane == ("j", 0) and self.length == self.space.width(slot)
        kept = whole and bool(primitive(row).cost) and slot not in self.quotients and not self.aside
        if kept:
            self.loops_with.setdefault(slot, []).append(self.loop_number)
        first = kept and self.loops_with[slot][0] == self.loop_number
        if slot in self.inputs or row.is_leaf or slot in self.zeros:
            text = self.leaf(row, lane)
        elif slot in self.quotients:
            quotient, divisor = self.quotients[slot]
            finite = f"finite_{SHORT[str(row.dtype)]}"
            self.calls.add(finite)
            d = self.once(f"d{divisor}", f"{finite}({self.value(divisor, None)})")
            text = f"{self.value(quotient, lane)} * {d}"
        elif kept and slot in self.scratch and not first:
            text = f"t{slot}[j]"
        else:
            text = self.expression(row, lane)
            block.count(row)
        if not text.isidentifier():
            where = f"_{lane[0]}{lane[1]}" if wide and lane and lane != ("j", 0) else ""
            name = f"v{slot}{where}"
            block.write(f"{name} = {text}")
            text = name
            if first and slot in self.scratch:
                block.write(f"t{slot}[j] = {name}")
        block.names[key] = text
        return text

    def leaf(self, row: Row, lane: Lane) -> str:
        """An element of an input, or a constant."""
        if row.slot in self.zeros:
            return self.number(row.dtype, 0)
        if row.slot not in self.inputs:
            if row.value is None:
                raise unfusable(row, "an array from outside was used; every array must be an argument")
            return self.literal(row)
        name, kind = self.inputs[row.slot], self.space.kinds[row.slot]
        self.used.add(row.slot)
        if kind == ONE:
            return self.once(f"{name}_one", f"{name}[0]")
        if kind == ROW:
            return self.once(f"{name}_r", f"{name}[r]")
        variable, start = lane or ("0", 0)
        view = self.once(f"{name}_r", f"{name}[r]") if kind == FULL else name
        if variable != "j":
            return f"{view}[{variable}{' + ' + self.size(start) if start else ''}]"
        if start or self.length != self.space.width(row.slot):
            stop = f"{self.size(start)} + {self.size(self.length)}" if start else self.size(self.length)
            first = self.size(start) if start else ""
            view = self.once(f"{name}_{self.size(start)}_{self.size(self.length)}", f"{view}[{first}:{stop}]")
        return f"{view}[j]"

    def once(self, name: str, text: str) -> str:
        """A line at the head of the row, written at its first use."""
        if name not in self.row.names:
            self.row.names[name] = name
            self.row.write(f"{name} = {text}")
        return name

    def expression(self, row: Row, lane: Lane) -> str:
        """The formula of one op in the names of its arguments."""
        op, args = row.op, row.args

        def arg(i: int) -> str:
            return self.value(args[i], lane)

        if op in ("add", "sub") and any(a in self.zeros for a in args):
            return arg(0) if args[1] in self.zeros else arg(1) if op == "add" else f"-{arg(1)}"
        if op == "div" and self.by_row(row):
            return f"{arg(0)} * {self.inverse(args[1])}"
        if op in INFIX:
            return f"{arg(0)} {INFIX[op]} {arg(1)}"
        if op == "uniform":
            return self.drawn(row, lane)
        if op in ROW_LIBRARY and self.space.kinds[row.slot] in (ROW, ONE):
            return f"np.{op}({arg(0)})"
        if op in SCALARS:
            return f"{self.scalar(row)}({', '.join(arg(i) for i in range(len(args)))})"
        if op in ("floor_divide", "remainder"):
            if row.dtype.kind != "f":
                raise unfusable(row, "a kernel cannot refuse a division of integers by zero")
            name = f"{op}_{SHORT[str(row.dtype)]}"
            self.calls.add(name)
            return f"{name}({arg(0)}, {arg(1)})"
        if op in LIBRARY:
            module, name = LIBRARY[op]
            self.math |= module == "math"
            return f"{module}.{name}({arg(0)})"
        if op == "neg":
            return f"-{arg(0)}"
        if op == "where":
            return f"{arg(1)} if {arg(0)} else {arg(2)}"
        if op == "cast":
            return self.number(row.dtype, arg(0))
        if op in ("reshape", "expand", "cut"):
            self.same_place(row)
            return arg(0)
        if op in ("slice", "pad", "concat"):
            return self.moved(row, lane)
        if op == "gather":
            return self.picked(row)
        if op == "scatter":
            return self.placed(row, lane)
        if op == RESCUED:
            return self.rescued(row)
        if op in ("sum", "max"):
            raise unfusable(row, "it reduces another axis than the last")
        raise unfusable(row, "no kernel over rows and columns holds it")

    def rescued(self, row: Row) -> str:
        """A sum taken apart, or whole where that would be wrong; `Emitter` writes the loops."""
        raise NotImplementedError

    def by_row(self, row: Row) -> bool:
        """True where many values are divided by one number of their row: a product then takes a fifth of the time."""
        kinds, divisor = self.space.kinds, row.args[1]
        return kinds[row.slot] == FULL and kinds[divisor] in (ROW, ONE) and self.tape[divisor].value is None

    def inverse(self, slot: int) -> str:
        """1 over a number d of the row, as m times q: q = 1 / (d m) neither overflows nor is subnormal."""
        d, kind = self.value(slot, None), str(self.tape[slot].dtype)
        self.calls.add(f"middling_{SHORT[kind]}")
        m = self.once(f"m{slot}", f"middling_{SHORT[kind]}({d})")
        return f"{m} * {self.once(f'q{slot}', f'{self.number(kind, 1)} / ({d} * {m})')}"

    def scalar(self, row: Row) -> str:
        """The name of an op's scalar function for its dtype; the kernel imports it."""
        name = SCALARS[row.op][str(row.dtype)]
        self.calls.add(name)
        return name

    def same_place(self, row: Row) -> None:
        """Reshapes and expansions that keep rows and columns."""
        here, below = self.space.kinds[row.slot], self.space.kinds[row.args[0]]
        allowed = {FULL: (FULL, ROW, COLUMNS, ONE), ROW: (ROW, ONE), COLUMNS: (COLUMNS, ONE), ONE: (ONE,)}[
            here
        ]
        if below not in allowed or (row.op == "reshape" and here != below):
            raise unfusable(row, "it moves values between rows and columns")

    def moved(self, row: Row, lane: Lane) -> str:
        """A slice is the same value at another start; a pad or concat is the piece that lies at this lane."""
        if row.op == "slice":
            start, _ = columns_of(row, self.space.width(row.args[0]))
            if lane is None or self.space.kinds[row.slot] in (ROW, ONE):
                return self.value(row.args[0], ("0", start))
            return self.value(row.args[0], (lane[0], lane[1] + start))
        if lane is None and self.space.width(row.slot) == 1:
            lane = ("0", 0)
        elif lane is None or lane[0] not in ("j", "0"):
            raise unfusable(row, "one element of joined columns is asked for")
        if row.op == "pad":
            width = self.space.width(row.slot)
            pieces = [(*columns_of(row, width), row.args[0])]
        else:
            pieces = self.space.parts(row)
        for start, stop, part in pieces:
            if start <= lane[1] < stop:
                return self.value(part, (lane[0], lane[1] - start))
        return self.number(row.dtype, 0)

    def drawn(self, row: Row, lane: Lane) -> str:
        """A random number by its key and its index in the whole array, so that every part is equal to the whole."""
        kind = self.space.kinds[row.slot]
        variable, start = lane or ("0", 0)
        column = f"{variable} + {self.size(start)}" if start else variable
        place = {FULL: f"r * {self.size(self.space.width(row.slot))} + {column}", ROW: "r", COLUMNS: column}
        return f"{self.scalar(row)}({self.value(row.args[0], None)}, {place.get(kind, '0')})"

    def picked(self, row: Row) -> str:
        """One element of each row, at the column that an input names."""
        x, rows, ids = row.args[0], self.tape[row.args[1]], row.args[-1]
        if len(row.args) != 3 or rows.name != "iota":
            raise unfusable(row, "only one element of each row can be gathered: x[iota(rows), ids]")
        if row.dtype.kind != "f" or self.space.kinds[x] not in (FULL, COLUMNS):
            return self.value(x, (self.place(x, ids), 0))
        place = self.place(x, ids)
        inside = self.once(f"in_{place}", f"0 <= {place} < {self.size(self.space.width(x))}")
        safe = self.once(f"at_{place}", f"{place} if {inside} else 0")
        # Nothing outside of the row may be read; an id that is out of range gives NaN.
        return f"{self.value(x, (safe, 0))} if {inside} else {self.number(row.dtype, 'nan')}"

    def place(self, x: int, ids: int) -> str:
        """The column that an id names; from the end, if it is negative."""
        name = self.value(ids, None)
        width = self.size(self.space.width(x)) if self.space.kinds[x] in (FULL, COLUMNS) else "1"
        return self.once(f"c_{name}", f"{name} + {width} if {name} < 0 else {name}")

    def placed(self, row: Row, lane: Lane) -> str:
        """The adjoint of `picked`: g at the named column, 0 elsewhere."""
        variable, start = lane or ("0", 0)  # one column only
        column = f"{variable} + {self.size(start)}" if start else variable
        zero = self.number(row.dtype, 0)
        return f"{self.value(row.args[0], None)} if {column} == {self.column(row.slot)} else {zero}"

    def column(self, slot: int) -> str:
        """The column of a scattered number."""
        row = self.tape[slot]
        if len(row.args) != 3 or self.tape[row.args[1]].name != "iota":
            raise unfusable(row, "only one element of each row can be scattered")
        return self.place(slot, row.args[2])
