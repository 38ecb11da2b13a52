"""Validity of a tape: slots are assigned once and before use, shapes and dtypes are those of the ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from tinygrad_seq.engine.op import OPS
from tinygrad_seq.errors import GraphError
from tinygrad_seq.tape import row as listing
from tinygrad_seq.tape.row import Row
from tinygrad_seq.tape.shape_rules import SHAPES, expected_dtype


class _Shown:
    """A row in an error text."""

    def __init__(self, row: Row):
        self.row = row

    def __repr__(self) -> str:
        return repr(self.row).partition(" = ")[2]


def check(rows: Sequence[Row], outputs: Sequence[int]) -> None:
    """Raise GraphError at the first row that is not valid."""
    for i, row in enumerate(rows):
        if row.slot != i:
            again = (
                f"slot %{row.slot} is assigned twice"
                if 0 <= row.slot < i
                else f"row %{row.slot} is out of order"
            )
            _refuse(again, rows, [row], f"expected row number {i} to assign slot %{i}.")
        if row.is_leaf:
            _check_leaf(row, rows)
        else:
            _check_call(row, rows)
    for slot in outputs:
        if not 0 <= slot < len(rows):
            _refuse(f"output %{slot} is no row", rows, [], f"expected a slot below %{len(rows)}.")
    if not outputs:
        _refuse("it has no outputs", rows, [], "expected at least one.")


def _check_leaf(row: Row, rows: Sequence[Row]) -> None:
    if row.args:
        _refuse(f"row %{row.slot} is a leaf with arguments", rows, [row], "expected none.")
    if (row.op == "const") != (row.value is not None):
        rule = "expected a value in constants and nowhere else."
        _refuse(f"row %{row.slot} and its value do not agree", rows, [row], rule)


def _check_call(row: Row, rows: Sequence[Row]) -> None:
    for slot in row.args:
        if not 0 <= slot < row.slot:
            rule = (
                f"expected arguments from %0 to %{row.slot - 1}."
                if row.slot
                else "expected no arguments yet."
            )
            _refuse(f"row %{row.slot} uses %{slot} before it is assigned", rows, [row], rule)
    # A checkpoint or a fused op holds the function that it stands for.
    rule_of = SHAPES["checkpoint"] if "fn" in row.settings else SHAPES.get(row.op)
    if rule_of is None:
        hint = f'Enter its rule: SHAPES["{row.op}"] = lambda *shapes, **settings: ...'
        _refuse(f"row %{row.slot} has an op without a shape rule", rows, [row], "", hint)
    given = [rows[slot] for slot in row.args]
    for arg in given:
        if isinstance(arg.dtype, tuple) != (row.op == "pick"):
            rule = "expected picks, and nothing else, to read an op with several outputs."
            _refuse(f"row %{row.slot} cannot read %{arg.slot}", rows, [row, arg], rule)
    op = OPS.get(row.op)
    count = (
        1 if row.op == "pick" else len(op.rules) if op is not None and op.joint_vjp is None else len(given)
    )
    if len(given) != count:
        _refuse(f"row %{row.slot} has {len(given)} arguments", rows, [row], f"expected {count}.")
    try:
        shape: Any = rule_of(*(arg.shape for arg in given), **row.settings)
        dtype: Any = expected_dtype(row.op, tuple(arg.dtype for arg in given), dict(row.settings))
    except (ValueError, TypeError, IndexError) as error:
        _refuse(f"row %{row.slot} does not fit its arguments", rows, [row, *given], f"{error}.")
    shape, dtype = row.shape if shape is None else shape, row.dtype if dtype is None else dtype
    if shape != row.shape or dtype != row.dtype:
        expected = listing.type_text(dtype, shape)
        _refuse(
            f"row %{row.slot} has not the type its op gives", rows, [row, *given], f"expected {expected}."
        )


def _refuse(what: str, rows: Sequence[Row], named: Sequence[Row], rule: str, hint: str = "") -> NoReturn:
    operands = {f"%{row.slot}": _Shown(row) for row in named}
    raise GraphError(f"tape: {what}", operands, rule, hint)
