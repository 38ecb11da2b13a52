"""`Row`, and a tape's rows as text: one typed line each, columns aligned, scopes and time steps at the right.

Constants are written where they are used, and have no line of their own.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq.engine.messages import describe_index
from tinygrad_seq.engine.place import Place
from tinygrad_seq.errors import describe_shape, short_dtype

LEAF_KINDS = ("input", "param", "const")
_NOWHERE = Place()
# A row wider than this shifts its own columns, not everyone's.
_CALL_WIDTH, _TYPE_WIDTH, _SCOPE_WIDTH = 44, 16, 32
_MANY = 12


@dataclass(frozen=True, slots=True)
class Row:
    """What one slot of a tape holds: a leaf (`input`, `param`, `const`), or an op applied to earlier slots.

    `shape` and `dtype` are tuples of them for an op with several outputs, each of which is a `pick` row.
    `value` is a constant's number; `wants` says whether a gradient flows here.

    >>> Row(2, "mul", (0, 1), shape=(3,), dtype=np.dtype("float32"), place=Place("lstm", 4))
    %2 = mul(%0, %1)   f32[3]   lstm  t=4
    """

    slot: int
    op: str
    args: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shape: tuple[Any, ...] = ()
    dtype: Any = None
    place: Place = _NOWHERE
    name: str = ""
    value: float | int | bool | None = None
    wants: bool = False

    @property
    def scope(self) -> str:
        """The scope path the op ran in: `lstm/gates`."""
        return self.place.scope

    @property
    def step(self) -> int | None:
        """The time step the op ran in, or None."""
        return self.place.step

    @property
    def phase(self) -> str:
        """`forward` or `backward`."""
        return self.place.phase

    @property
    def is_leaf(self) -> bool:
        """True for an input, a parameter or a constant."""
        return self.op in LEAF_KINDS

    @property
    def program(self) -> tuple[Any, ...]:
        """The row without its labels: rows that compute the same have equal programs."""
        # By its text, for NaN equals NaN here and 0.0 is not -0.0.
        return self.op, self.args, self.settings, self.shape, self.dtype, repr(self.value)

    def __repr__(self) -> str:
        return line(self)


def text(every: Sequence[Row], results: Sequence[int]) -> str:
    """The whole listing, ending with the outputs."""
    rows = [row for row in every if row.op != "const"]
    columns = (
        [call(row, every) for row in rows],
        [type_of(row) for row in rows],
        [scope_of(row) for row in rows],
    )
    calls, types, scopes = (
        _aligned(column, limit)
        for column, limit in zip(columns, (_CALL_WIDTH, _TYPE_WIDTH, _SCOPE_WIDTH), strict=True)
    )
    digits = len(str(rows[-1].slot)) + 1 if rows else 0
    lines = [
        f"{f'%{row.slot}':<{digits}} = {called}  {kind}   {scope}  {when_of(row)}".rstrip()
        for row, called, kind, scope in zip(rows, calls, types, scopes, strict=True)
    ]
    return "\n".join([*lines, outputs(every, results)])


def _aligned(column: list[str], limit: int) -> list[str]:
    """The texts filled up to the widest that is within the limit."""
    widths = list(map(width, column))
    widest = max((w for w in widths if w <= limit), default=0)
    return [cell + " " * (widest - w) for cell, w in zip(column, widths, strict=True)]


def line(row: Row, rows: Sequence[Row] = ()) -> str:
    """One row as text; constants are written as numbers where their rows are given."""
    where = "  ".join(part for part in (scope_of(row), when_of(row)) if part)
    return "   ".join(part for part in (f"%{row.slot} = {call(row, rows)}", type_of(row), where) if part)


def outputs(every: Sequence[Row], results: Sequence[int]) -> str:
    """The last line: what the tape computes."""
    return "-> " + ", ".join(_argument(slot, every) for slot in results)


def call(row: Row, rows: Sequence[Row] = ()) -> str:
    """`matmul(%0, %1)`, `input x`, `const 0.5`."""
    if row.op == "const":
        return f"const {row.value!r}"
    if row.is_leaf:
        return f"{row.op} {shown(row.name)}".rstrip()
    given = [_argument(a, rows) for a in row.args]
    if len(given) > _MANY:
        given[_MANY - 2 : -1] = [f"... {len(given) - _MANY + 1} more ..."]
    if row.settings:
        given += settings_of(row)
    return f"{row.op}({', '.join(given)})"


def settings_of(row: Row) -> list[str]:
    """Each setting as it is written in a call."""
    return [_setting(name, value) for name, value in row.settings.items()]


def _setting(name: str, value: Any) -> str:
    if name == "index":
        return f"[{describe_index(value) or '()'}]"
    if isinstance(value, np.dtype):
        value = short_dtype(value)
    elif isinstance(value, tuple) and all(type(v) is int for v in value):
        value = describe_shape(value)
    return f"{name}={value}"


def type_of(row: Row) -> str:
    """`f32[2,3]`; `(f32[2,3], f32[4])` for an op with several outputs."""
    if isinstance(row.dtype, tuple):
        return "(" + ", ".join(map(type_text, row.dtype, row.shape)) + ")"
    return type_text(row.dtype, row.shape)


@functools.lru_cache(maxsize=4096)
def type_text(dtype: object, shape: tuple[int, ...]) -> str:
    """`f32[2,3]` from a dtype and a shape."""
    return f"{short_dtype(dtype)}[{','.join(map(str, shape))}]"


def scope_of(row: Row) -> str:
    """`lstm/gates`."""
    return shown(row.place.scope)


def when_of(row: Row) -> str:
    """`t=3`, `t=3 backward`, or nothing."""
    place = row.place
    parts = [] if place.step is None else [f"t={place.step}"]
    return " ".join([*parts, place.phase] if place.phase != "forward" else parts)


def shown(name: str) -> str:
    """A name or scope on a line: with quotes and escapes where it would break the line."""
    return name if name.isprintable() and " " not in name else repr(name)


def width(string: str) -> int:
    """The columns that a terminal gives a text: two for a wide East Asian character."""
    if string.isascii():
        return len(string)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in string
    )


def _argument(slot: int, rows: Sequence[Row]) -> str:
    row = rows[slot] if 0 <= slot < len(rows) else None
    return repr(row.value) if row is not None and row.op == "const" else f"%{slot}"
