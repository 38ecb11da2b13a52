"""Laws of the frozen tape: what it lists, what it holds, what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import gc
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tinygrad_seq.engine.apply import TRACED, record, wrap
from tinygrad_seq.engine.node import Leaf, Node
from tinygrad_seq.engine.op import OPS
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import DTypeError, GraphError
from tinygrad_seq.tape.row import Row
from tinygrad_seq.tape.shape_rules import SHAPES
from tinygrad_seq.tape.tape import Tape

F32, F64, I64, BOOL = (np.dtype(d) for d in ("float32", "float64", "int64", "bool"))


def weight(*shape: int, name: str = "w") -> Tensor:
    """A parameter of ones."""
    return Tensor(np.ones(shape, F32), requires_grad=True, name=name)


def batch(*shape: int, name: str = "x") -> Tensor:
    """Data of ones."""
    return Tensor(np.ones(shape, F32), name=name)


def message(error: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


# ---------------------------------------------------------------- listing


def test_a_small_program_lists_as_typed_rows() -> None:
    """Each row has its slot, call and type, aligned; settings are written out; outputs come last."""
    h = (batch(2, 3) @ weight(3, 3)).tanh()
    assert str(Tape.of((h * h).sum())) == (
        "%0 = input x                               f32[2,3]\n"
        "%1 = param w                               f32[3,3]\n"
        "%2 = matmul(%0, %1)                        f32[2,3]\n"
        "%3 = tanh(%2)                              f32[2,3]\n"
        "%4 = mul(%3, %3)                           f32[2,3]\n"
        "%5 = sum(%4, axis=(0, 1), keepdims=False)  f32[]\n"
        "-> %5"
    )


def test_scopes_and_steps_stand_at_the_right() -> None:
    """A row shows the scope and the time step it was made in; constants are written where they are used."""
    h, w = weight(2, 4, name="h0"), weight(4, 8)
    with tgs.scope("lstm"):
        for t in (9, 10):
            with tgs.time_step(t), tgs.scope("gates"):
                i, f = (h @ w).split(4, 1)
            with tgs.time_step(t):
                h = (1.0 - i) * f
    assert str(Tape.of(h, h.detach())) == (
        "%0  = param h0             f32[2,4]\n"
        "%1  = param w              f32[4,8]\n"
        "%2  = matmul(%0, %1)       f32[2,8]   lstm/gates  t=9\n"
        "%3  = slice(%2, [:, 0:4])  f32[2,4]   lstm/gates  t=9\n"
        "%4  = slice(%2, [:, 4:8])  f32[2,4]   lstm/gates  t=9\n"
        "%6  = sub(1.0, %3)         f32[2,4]   lstm        t=9\n"
        "%7  = mul(%6, %4)          f32[2,4]   lstm        t=9\n"
        "%8  = matmul(%7, %1)       f32[2,8]   lstm/gates  t=10\n"
        "%9  = slice(%8, [:, 0:4])  f32[2,4]   lstm/gates  t=10\n"
        "%10 = slice(%8, [:, 4:8])  f32[2,4]   lstm/gates  t=10\n"
        "%11 = sub(1.0, %9)         f32[2,4]   lstm        t=10\n"
        "%12 = mul(%11, %10)        f32[2,4]   lstm        t=10\n"
        "%13 = input                f32[2,4]\n"
        "-> %12, %13"
    )


def test_indexes_are_written_as_numpy_writes_them() -> None:
    """Slices, numbers, new axes, dots and the empty index read as between brackets."""
    w = weight(4, 5, 6)
    calls = [
        str(Tape.of(y)).splitlines()[1].split(" = ")[1].split("  ")[0]
        for y in (w[1], w[1:3, ..., ::-2], w[:, None, 2], w[()])
    ]
    assert calls == [
        "slice(%0, [1])", "slice(%0, [1:3, ..., ::-2])", "slice(%0, [:, None, 2])", "slice(%0, [()])",
    ]  # fmt: skip


def test_a_backward_pass_lists_as_such() -> None:
    """Rows that a recorded gradient adds carry the scope and step of what they are the gradient of."""
    w = weight(2)
    with tgs.scope("cell"), tgs.time_step(3):
        y = w.exp()
    assert str(Tape.of(tgs.grad(y, w, tgs.ones(2), create_graph=True))) == (
        "%0 = param w      f32[2]\n"
        "%1 = exp(%0)      f32[2]   cell  t=3\n"
        "%2 = input        f32[2]\n"
        "%3 = mul(%2, %1)  f32[2]   cell  t=3 backward\n"
        "-> %3"
    )


def test_checkpoints_and_picks_list_by_name() -> None:
    """A checkpoint shows its function's name and the types of all that it returns; picks hang on it."""
    w = weight(2, 2)

    def segment(x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ w, w.sum(0)

    a, b = tgs.checkpoint(segment, batch(3, 2))
    name = segment.__qualname__
    assert str(Tape.of(a, b)) == (
        "%0 = input x        f32[3,2]\n"
        "%1 = param w        f32[2,2]\n"
        f"%2 = checkpoint(%0, %1, fn={name}, inputs=1)  (f32[3,2], f32[2])\n"
        "%3 = pick(%2, i=0)  f32[3,2]\n"
        "%4 = pick(%2, i=1)  f32[2]\n"
        "-> %3, %4"
    )
    Tape.of(a, b).check()


def test_a_partial_and_a_callable_object_list_by_their_type() -> None:
    """What has no name of its own is listed by the name of its type."""

    def segment(scale: float, x: Tensor) -> Tensor:
        return x * scale

    tape = Tape.of(tgs.checkpoint(functools.partial(segment, 2.0), weight(2)))
    assert [row.settings for row in tape if row.op == "checkpoint"] == [{"fn": "partial", "inputs": 1}]


def test_odd_names_cannot_break_a_line() -> None:
    """Names with spaces or line ends stand in quotes, and wide letters count double in the alignment."""
    x, z = batch(3, name="이름"), weight(3, name="a b\n-> %9")
    with tgs.scope("한글"), tgs.time_step(0):
        q = x * z
    with tgs.scope("a b"):
        q = q + 1
    assert str(Tape.of(q)) == (
        "%0 = input 이름          f32[3]\n"
        "%1 = param 'a b\\n-> %9'  f32[3]\n"
        "%2 = mul(%0, %1)         f32[3]   한글   t=0\n"
        "%4 = add(%2, 1.0)        f32[3]   'a b'\n"
        "-> %4"
    )


def test_many_arguments_are_listed_in_part() -> None:
    """Of a long list of arguments the first and the last are shown, with the number of the others."""
    w = weight(1)
    text = str(Tape.of(tgs.concat([w * float(i) for i in range(2, 32)])))
    assert text.splitlines()[-2] == (
        "%61 = concat(%2, %4, %6, %8, %10, %12, %14, %16, %18, %20, ... 19 more ..., %60, axis=0)  f32[30]"
    )


def test_a_row_shows_itself() -> None:
    """The repr of a row is its line, that of a tape its size."""
    tape = Tape.of(weight(2) * 0.5)
    assert [repr(row) for row in tape] == [
        "%0 = param w   f32[2]",
        "%1 = const 0.5   f32[]",
        "%2 = mul(%0, %1)   f32[2]",
    ]
    assert repr(tape) == "Tape(3 rows, 1 outputs)"


# ---------------------------------------------------------------- what is on it


def test_a_listing_does_not_depend_on_what_ran_before() -> None:
    """A program lists alike whether or not its constants, shared by all, were met before, as 2 or as 2.0."""

    def program(factor: float) -> str:
        w = weight(2)
        y = (w + 1.0) * factor
        return str(Tape.of(y * 0.123456789 - y))

    first = program(7919)
    assert program(7919.0) == first == program(7919)
    assert "mul(%2, 7919.0)" in first


def test_leaves_can_be_outputs() -> None:
    """A parameter, data, a number and the same output twice are all fine outputs."""
    w = weight(2)
    assert str(Tape.of(w)) == "%0 = param w  f32[2]\n-> %0"
    assert str(Tape.of(batch(2), w, w)) == "%0 = input x  f32[2]\n%1 = param w  f32[2]\n-> %0, %1, %1"
    half = tgs.engine.apply.constant(0.5, F32)
    assert str(Tape.of(w * 0.5, half)) == "%0 = param w       f32[2]\n%2 = mul(%0, 0.5)  f32[2]\n-> %2, 0.5"
    with tgs.no_grad():
        y = w * 2
    assert str(Tape.of(y)) == "%0 = input  f32[2]\n-> %0"


def test_a_name_given_after_the_first_use_is_seen() -> None:
    """A tensor that is named only after it was used lists by that name."""
    w = weight(2, name="")
    y = w * 2
    w.name = "late"
    assert Tape.of(y)[0].name == "late"


def test_a_released_graph_can_still_be_listed() -> None:
    """backward() lets go of the arrays, not of the record."""
    w = weight(2)
    y = (w * w).sum()
    before = str(Tape.of(y))
    y.backward()
    assert str(Tape.of(y)) == before


def test_counts_steps_and_scopes() -> None:
    """The tape counts its ops without its leaves, and names its steps and scopes in order."""
    h = weight(2)
    for t in (2, 0, 1):
        with tgs.time_step(t), tgs.scope(f"layer{t}"):
            h = (h * 0.5).tanh()
    tape = Tape.of(h)
    assert tape.ops() == {"mul": 3, "tanh": 3}
    assert tape.steps() == (0, 1, 2)
    assert tape.scopes() == ("layer2", "layer0", "layer1")
    assert len(tape) == len(list(tape)) == 8
    assert (tape[2].scope, tape[2].step, tape[2].phase) == ("layer2", 2, "forward")
    assert [row.op for row in tape if row.is_leaf] == ["param", "const"]


def held_by(root: object) -> list[object]:
    """Everything reachable from an object, but for classes, modules and functions."""
    seen, todo = {id(root): root}, [root]
    while todo:
        for x in gc.get_referents(todo.pop()):
            if id(x) not in seen and not isinstance(x, (type, types.ModuleType, types.FunctionType)):
                seen[id(x)] = x
                todo.append(x)
    return list(seen.values())


def test_a_tape_holds_no_array_and_no_tensor() -> None:
    """No array, tensor, node or weak reference is within reach of a tape, whatever the settings held."""
    w, start = weight(6, 2), Tensor(1)
    a, b = tgs.checkpoint(lambda x: (x @ w, x.sum(0)), weight(2, 6))
    y = (a * b[start:].sum()).sum() + tgs.rand(2, rng=tgs.Generator(1)).sum()
    tape = Tape.of(y, tgs.grad(y, w, create_graph=True))
    kinds = (np.ndarray, Tensor, Node, Leaf, weakref.ref)
    assert not [x for x in held_by(tape) if isinstance(x, kinds)]
    assert [row.settings["index"] for row in tape if row.op == "slice"] == [(slice(1, None),)]


def test_a_tape_keeps_no_activation_alive() -> None:
    """When the tensors go, the arrays go, though the tape stays."""
    w = weight(2)
    h = w * 2
    seen = [weakref.ref(h.array), weakref.ref(w.array), weakref.ref(h.node)]
    tape = Tape.of(h * h)
    del w, h
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    assert len(tape) == 4


def test_rows_are_frozen() -> None:
    """Neither a tape nor a row can be changed."""
    tape = Tape.of(weight(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        tape.rows[0].op = "input"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        tape.outputs = ()  # type: ignore[misc]


def test_300_000_ops_are_listed_checked_and_compared() -> None:
    """A chain of 300,000 ops meets no limit of depth."""
    y = weight(name="w")
    for _ in range(300_000):
        y = y * 0.9999
    tape = Tape.of(y)
    lines = str(tape).splitlines()
    assert len(lines) == 300_002
    assert lines[-2:] == ["%300001 = mul(%300000, 0.9999)  f32[]", "-> %300001"]
    assert tape.check() == Tape.of(y)


def test_what_cannot_be_an_output() -> None:
    """Tape.of without tensors says so."""
    assert message(GraphError, Tape.of) == "Tape.of: no outputs given.\n  expected at least one tensor."
    assert message(DTypeError, Tape.of, [weight(1)]).startswith("Tape.of: not a tensor.\n  output: [Tensor(")


# ---------------------------------------------------------------- comparing


def program(x: Tensor, w: Tensor) -> Tensor:
    """A few ops of different kinds."""
    return ((x @ w)[:, 0:2] * 0.5).sum(0)


def test_equal_programs_are_equal_whatever_their_labels() -> None:
    """Names, scopes, steps and the time of creation do not count; hashes agree."""
    one = Tape.of(program(batch(2, 3), weight(3, 3)))
    with tgs.scope("elsewhere"), tgs.time_step(7):
        other = Tape.of(program(batch(2, 3, name="y"), weight(3, 3, name="v")))
    assert one == other
    assert hash(one) == hash(other)
    assert one.diff(other) == ""
    assert one != str(one)


def test_nan_constants_are_equal_and_zeros_have_signs() -> None:
    """Two programs with NaN are the same; 0.0 and -0.0 are not."""
    w = weight(2)
    assert Tape.of(w * float("nan")) == Tape.of(w * float("nan"))
    assert Tape.of(w * 0.0) != Tape.of(w * -0.0)


DIFFERENT: dict[str, Callable[[], Tensor]] = {
    "op": lambda: ((batch(2, 3) @ weight(3, 3))[:, 0:2] + 0.5).sum(0),
    "constant": lambda: ((batch(2, 3) @ weight(3, 3))[:, 0:2] * 0.25).sum(0),
    "setting": lambda: ((batch(2, 3) @ weight(3, 3))[:, 1:3] * 0.5).sum(0),
    "shape": lambda: program(batch(4, 3), weight(3, 3)),
    "dtype": lambda: program(Tensor(np.ones((2, 3))), Tensor(np.ones((3, 3)), requires_grad=True)),
    "wants": lambda: program(weight(2, 3), weight(3, 3)),
    "argument": lambda: (lambda h: (h[:, 0:2] * 0.5 + h[:, 0:2] * 0).sum(0))(batch(2, 3) @ weight(3, 3)),
    "length": lambda: program(batch(2, 3), weight(3, 3)) * 0.5,
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_different_programs_differ(what: str) -> None:
    """Another op, constant, setting, shape, dtype, argument, length or want of a gradient is seen."""
    one, other = Tape.of(program(batch(2, 3), weight(3, 3))), Tape.of(DIFFERENT[what]())
    assert one != other
    assert other != one
    assert one.diff(other)


def test_the_first_difference_is_told() -> None:
    """diff shows the first row that differs in both tapes, or what one has more, or the outputs."""
    w = weight(2)
    one, other = Tape.of(w.exp().sum()), Tape.of(w.tanh().sum())
    assert (
        one.diff(other) == "row %1 differs:\n  this:  %1 = exp(%0)   f32[2]\n  other: %1 = tanh(%0)   f32[2]"
    )
    y = w.exp()
    one, other = Tape.of(y), Tape.of(y, y.sum())
    more = "the other has 1 rows more, the first is %2 = sum(%1, axis=(0,), keepdims=False)   f32[]"
    assert one.diff(other) == more
    assert other.diff(one) == more.replace("the other", "this")
    assert one.diff(Tape.of(y, y)) == "outputs differ:\n  this:  -> %1\n  other: -> %1, %1"


# ---------------------------------------------------------------- checking


def traced(*shape: int, dtype: Any = F32) -> Tensor:
    """A tensor whose ops are recorded though they want no gradient."""
    return wrap(np.ones(shape, dtype), None, TRACED)


def run(op: str, *inputs: Any, **settings: Any) -> Any:
    """One op on the tape."""
    return record(OPS[op], inputs, settings)


IDS = np.array([0, 1, 1])
EXAMPLES: dict[str, Callable[[], Any]] = {
    **{
        op: functools.partial(lambda op: run(op, traced(2, 3), traced(4, 1, 3)), op)
        for op in ("add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "maximum", "less", "equal")
    },
    **{
        op: functools.partial(lambda op: run(op, traced(2, 3)), op)
        for op in (
            "neg",
            "exp",
            "log",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "tanh",
            "lesser",
            "erf",
            "ndtr",
            "floor",
            "cut",
        )
    },
    "where": lambda: run("where", traced(2, 1, dtype=BOOL), traced(3), 0.0),
    "cast": lambda: run("cast", traced(2), dtype=F64),
    "sum": lambda: run("sum", traced(2, 3, 4, dtype=BOOL), axis=(0, 2), keepdims=False),
    "max": lambda: run("max", traced(2, 3, 4), axis=(1,), keepdims=True),
    "reshape": lambda: run("reshape", traced(2, 6), shape=(3, -1)),
    "permute": lambda: run("permute", traced(2, 3, 4), axes=(2, 0, 1)),
    "expand": lambda: run("expand", traced(1, 3), shape=(4, 2, 3)),
    "slice": lambda: run("slice", traced(4, 5, 6), index=(slice(3, None, -2), None, 2)),
    "pad": lambda: run("pad", traced(2, 2), index=(slice(0, 4, 2), slice(1, 3)), shape=(4, 5)),
    "concat": lambda: run("concat", traced(2, 1), traced(2, 3), axis=1),
    "gather": lambda: run("gather", traced(4, 5, 6), IDS, IDS[:, None]),
    "scatter": lambda: run("scatter", traced(3, 2), IDS, shape=(4, 2)),
    "matmul": lambda: run("matmul", traced(5, 1, 2, 3), traced(4, 3, 6)),
    "uniform": lambda: run("uniform", traced(dtype=np.uint64), shape=(2, 3), dtype=np.float64),
    "pick": lambda: tgs.checkpoint(lambda x: (x * 2, x.sum()), weight(2))[1],
    "checkpoint": lambda: tgs.checkpoint(lambda x: (x * 2, x.sum()), weight(2))[0],
}


def test_every_op_has_a_shape_rule_and_an_example() -> None:
    """The table of rules and these examples cover the op set, picks and checkpoints, and no more."""
    assert set(SHAPES) == set(EXAMPLES) == {*OPS, "pick", "checkpoint"}


def with_row(tape: Tape, slot: int, **changes: Any) -> Tape:
    """A tape with one row changed."""
    rows = list(tape.rows)
    rows[slot] = dataclasses.replace(rows[slot], **changes)
    return Tape(tuple(rows), tape.outputs)


@pytest.mark.parametrize("op", sorted(EXAMPLES))
def test_each_rule_gives_what_the_op_gives(op: str) -> None:
    """A recorded op passes the check; with another shape or dtype it does not."""
    tape = Tape.of(EXAMPLES[op]())
    (slot,) = (row.slot for row in tape.check() if row.op == op)
    if op == "checkpoint":
        return
    row = tape[slot]
    for changed in ({"shape": (*row.shape, 1)}, {"dtype": np.dtype(np.int8)}):
        text = message(GraphError, with_row(tape, slot, **changed).check)
        assert text.startswith(f"tape: row %{slot} has not the type its op gives.\n")
        assert "expected " in text


SIZES = st.integers(0, 4)


@given(st.lists(SIZES, max_size=2), SIZES, SIZES, SIZES)
def test_matmul_shapes(lead: list[int], n: int, k: int, m: int) -> None:
    """The rule for matmul agrees with NumPy for stacks of any size."""
    Tape.of(run("matmul", traced(*lead, n, k), traced(k, m))).check()
    Tape.of(run("matmul", traced(n, k), traced(*lead, k, m))).check()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_move_shapes(shape: list[int], data: st.DataObject) -> None:
    """The rules for slice, permute, sum and gather agree with NumPy on any shape."""
    x = traced(*shape)
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    count = data.draw(st.integers(1, len(shape)))
    bounds = data.draw(st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from([1, 2, -1, -3])))
    ids = [np.zeros((2, 1), np.int64)] * (count - 1) + [np.zeros(3, np.int64)]
    for y in (
        run("permute", x, axes=axes),
        run("slice", x, index=(slice(*bounds), *[0] * (count - 1))),
        run("sum", x, axis=tuple(sorted(axes[:count])), keepdims=data.draw(st.booleans())),
        run("gather", x, *ids),
    ):
        Tape.of(y).check()


@pytest.mark.parametrize("layers", [1, 2])
def test_the_tape_of_a_layer_and_of_its_gradient_are_sound(layers: int) -> None:
    """A whole LSTM and its recorded backward pass go through the checker."""
    lstm = tgs.LSTM(3, 4, num_layers=layers)
    y, _ = lstm(batch(5, 2, 3))
    slopes = tgs.grad((y * y).sum(), list(lstm.parameters()), create_graph=True)
    assert len(Tape.of(y, *slopes).check()) > 100


X, W = Row(0, "input", shape=(2, 3), dtype=F32, name="x"), Row(1, "param", shape=(3, 4), dtype=F32, name="w")
PRODUCT = Row(2, "matmul", (0, 1), shape=(2, 4), dtype=F32, place=Place("lstm", 3))

UNSOUND: dict[str, tuple[list[Row], tuple[int, ...], str]] = {
    "a slot assigned twice": (
        [X, W, dataclasses.replace(PRODUCT, slot=1)],
        (1,),
        "tape: slot %1 is assigned twice.\n"
        "  %1: matmul(%0, %1)   f32[2,4]   lstm  t=3\n"
        "  expected row number 2 to assign slot %2.",
    ),
    "a slot skipped": (
        [X, dataclasses.replace(W, slot=2)],
        (0,),
        "tape: row %2 is out of order.\n  %2: param w   f32[3,4]\n  expected row number 1 to assign slot %1.",
    ),
    "used before it is there": (
        [X, dataclasses.replace(PRODUCT, slot=1, args=(0, 2)), dataclasses.replace(W, slot=2)],
        (1,),
        "tape: row %1 uses %2 before it is assigned.\n"
        "  %1: matmul(%0, %2)   f32[2,4]   lstm  t=3\n"
        "  expected arguments from %0 to %0.",
    ),
    "used by itself at the start": (
        [Row(0, "neg", (0,), shape=(2,), dtype=F32)],
        (0,),
        "tape: row %0 uses %0 before it is assigned.\n  %0: neg(%0)   f32[2]\n  expected no arguments yet.",
    ),
    "another shape": (
        [X, W, dataclasses.replace(PRODUCT, shape=(4, 2))],
        (2,),
        "tape: row %2 has not the type its op gives.\n"
        "  %2: matmul(%0, %1)   f32[4,2]   lstm  t=3\n"
        "  %0: input x   f32[2,3]\n"
        "  %1: param w   f32[3,4]\n"
        "  expected f32[2,4].",
    ),
    "another dtype": (
        [X, Row(1, "less", (0, 0), shape=(2, 3), dtype=F32)],
        (1,),
        "tape: row %1 has not the type its op gives.\n"
        "  %1: less(%0, %0)   f32[2,3]\n"
        "  %0: input x   f32[2,3]\n"
        "  expected bool[2,3].",
    ),
    "operands that do not fit": (
        [X, dataclasses.replace(W, shape=(4, 3)), PRODUCT],
        (2,),
        "tape: row %2 does not fit its arguments.\n"
        "  %2: matmul(%0, %1)   f32[2,4]   lstm  t=3\n"
        "  %0: input x   f32[2,3]\n"
        "  %1: param w   f32[4,3]\n"
        "  expected the last size of x to equal the size of y before its last.",
    ),
    "too few arguments": (
        [X, Row(1, "mul", (0,), shape=(2, 3), dtype=F32)],
        (1,),
        "tape: row %1 has 1 arguments.\n  %1: mul(%0)   f32[2,3]\n  expected 2.",
    ),
    "an op that nobody knows": (
        [X, Row(1, "swish", (0,), shape=(2, 3), dtype=F32)],
        (1,),
        "tape: row %1 has an op without a shape rule.\n"
        "  %1: swish(%0)   f32[2,3]\n"
        '  Enter its rule: SHAPES["swish"] = lambda *shapes, **settings: ...',
    ),
    "a pick of what has one output": (
        [X, Row(1, "pick", (0,), {"i": 0}, shape=(2, 3), dtype=F32)],
        (1,),
        "tape: row %1 cannot read %0.\n"
        "  %1: pick(%0, i=0)   f32[2,3]\n"
        "  %0: input x   f32[2,3]\n"
        "  expected picks, and nothing else, to read an op with several outputs.",
    ),
    "a leaf with arguments": (
        [X, dataclasses.replace(W, args=(0,))],
        (1,),
        "tape: row %1 is a leaf with arguments.\n  %1: param w   f32[3,4]\n  expected none.",
    ),
    "a constant without a value": (
        [Row(0, "const", dtype=F32)],
        (0,),
        "tape: row %0 and its value do not agree.\n"
        "  %0: const None   f32[]\n"
        "  expected a value in constants and nowhere else.",
    ),
    "an output that is not there": (
        [X],
        (1,),
        "tape: output %1 is no row.\n  expected a slot below %1.",
    ),
    "no output": ([X], (), "tape: it has no outputs.\n  expected at least one."),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_tape_is_refused(what: str) -> None:
    """The checker names the row at fault, shows it and its arguments, and says what it expected."""
    rows, outputs, text = UNSOUND[what]
    assert message(GraphError, Tape(tuple(rows), outputs).check) == text
