"""Laws over the table of cases: what must hold for every primitive, method and function alike."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.cases import CASES as ENGINE
from tests.cases import Case
from tests.familiar_cases import FAMILIAR
from tinygrad_seq import Tensor, gradcheck
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import wrap
from tinygrad_seq.engine.node import STATE, Leaf, Node
from tinygrad_seq.engine.op import OPS, Op
from tinygrad_seq.engine.random import stream
from tinygrad_seq.errors import ArgumentError, DTypeError, GradientError, GraphError
from tinygrad_seq.runtime.arrays import Array

pytestmark = pytest.mark.laws

CASES = [*ENGINE, *FAMILIAR]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
EPS32 = float(np.finfo(np.float32).eps)
Row = tuple[Node, list[Array], Array]
RULES = [
    (name, i) for name, op in OPS.items() for i in range(len(op.rules) or 1) if op.joint_vjp or op.rules[i]
]


class Made:
    """Every op that runs while it watches: its name and, where recorded, (node, arrays in, array out)."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.rows: list[Row] = []

    def made(self, node: Node | Leaf | None, op: Op, inputs: tuple[Any, ...], out: Array) -> None:
        self.names.add(op.name)
        if isinstance(node, Node):
            self.rows.append((node, [t.array for t in inputs], out))

    def sent(self, *_: object) -> None: ...

    def arrived(self, *_: object) -> None: ...


@contextmanager
def watching() -> Iterator[Made]:
    """A record of the ops that run in the block."""
    STATE.watch = watch = Made()
    try:
        yield watch
    finally:
        STATE.watch = None


def slopes(case: Case, tensors: list[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """The gradients of the floating outputs, met by fixed random weights, at the inputs that want one."""
    rng = np.random.default_rng(0)
    outs = [o for o in case(*tensors) if o.dtype.kind == "f"]
    weights = [rng.uniform(0.5, 1.5, o.shape).astype(o.dtype) for o in outs]
    wanting = [t for t in tensors if t.requires_grad]
    return tgs.grad(outs, wanting, weights, create_graph=create_graph)  # type: ignore[no-any-return]


# ---- values ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", [c for c in CASES if c.reference], ids=lambda c: c.name)
def test_values_are_numpys(case: Case) -> None:
    """A case gives what the same function of NumPy arrays gives: shape, dtype and value."""
    assert case.reference is not None
    expected = case.reference(*case.arrays())
    outs = case(*case.tensors())
    for out, array in zip(outs, expected if type(expected) is tuple else (expected,), strict=True):
        assert out.shape == np.shape(array)
        assert out.dtype == array.dtype
        np.testing.assert_allclose(out.array, array, rtol=1e-14, atol=1e-14)


@each_case
def test_float32_is_float64_rounded(case: Case) -> None:
    """Value and gradient stay float32 and differ from float64 by 16 roundings of the largest entry."""
    narrow = case.tensors(np.float32)
    wide = [wrap(t.array.astype(np.float64)).requires_grad_() if t.requires_grad else t for t in narrow]
    pairs = [*zip(case(*narrow), case(*wide), strict=True)]
    pairs += zip(slopes(case, narrow), slopes(case, wide), strict=True)
    for a, b in pairs:
        if b.dtype == np.float64 and case.key not in ("to", "cast", "double"):
            assert a.dtype == np.float32
        size = np.abs(b.array).max(initial=0.0)
        np.testing.assert_allclose(a.array, b.array, rtol=0, atol=16 * EPS32 * size)


@each_case
def test_layout_does_not_matter(case: Case) -> None:
    """Transposed, reversed, stepped views of memory give the values and gradients of plain arrays.

    To a few roundings only: NumPy adds and multiplies in the order of the memory.
    """
    plain = case.tensors()
    strided = []
    for t in plain:
        room = np.full(tuple(2 * n for n in t.shape[::-1]), np.nan if t.dtype.kind == "f" else 0, t.dtype)
        view = room[(..., *[slice(None, None, -2)] * t.ndim)].T
        view[...] = t.array
        strided.append(wrap(view).requires_grad_(t.requires_grad))
    pairs = [*zip(case(*strided), case(*plain), strict=True)]
    pairs += zip(slopes(case, strided), slopes(case, plain), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a.array, b.array, rtol=1e-14, atol=1e-14)


# ---- gradients ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [1, 2, 3])
@each_case
def test_gradient_agrees_with_finite_differences(case: Case, order: int) -> None:
    """The gradient of the given order is the limit of differences, to a relative 1e-6."""
    assert gradcheck(case, case.tensors(), order=order)


@each_case
def test_recorded_gradient_is_the_plain_one(case: Case) -> None:
    """A gradient on the tape is bit for bit the plain one, for both run the same rules on the same arrays.

    Where a tensor is used whole and in slices, the slices join its sum last on the tape: to 2 roundings. The
    products of a weight that is used again are one product in the plain gradient: to 4 roundings of its largest.
    """
    ulps = 2 if case.name == "slice beside whole" else 0
    tensors = case.tensors()
    for plain, recorded in zip(slopes(case, tensors), slopes(case, tensors, True), strict=True):
        assert plain.dtype == recorded.dtype
        assert not plain.requires_grad
        if case.name == "recurrence":
            bound = 4 * float(np.finfo(plain.dtype).eps) * np.abs(plain.array).max()
            np.testing.assert_allclose(recorded.array, plain.array, rtol=0, atol=bound)
        else:
            np.testing.assert_array_max_ulp(recorded.array, plain.array, ulps)


@each_case
def test_gradients_have_the_shape_and_dtype_of_their_inputs(case: Case) -> None:
    """Whatever was stretched or cast on the way, a gradient fits the input it belongs to."""
    for dtype in (np.float32, np.float64):
        tensors = case.tensors(dtype)
        wanting = [t for t in tensors if t.requires_grad]
        for x, g in zip(wanting, slopes(case, tensors), strict=True):
            assert (g.shape, g.dtype) == (x.shape, x.dtype)


# ---- the table covers the engine ---------------------------------------------------------------------------
def test_every_primitive_has_a_case() -> None:
    """Each op of the closed set, differentiable or not, has a case that runs it; no other op runs."""
    ran: dict[str, set[str]] = {}
    for case in CASES:
        with watching() as watch:
            case(*case.tensors())
        ran.setdefault(case.key, set()).update(watch.names)
    assert {name for name in OPS if name in ran.get(name, ())} == set(OPS)
    assert set().union(*ran.values()) == set(OPS)


NOT_MATHS = {
    # set-up, inspection and leaving the tape: tested by hazards and errors
    "assign", "backward", "data", "detach", "dtype", "is_leaf", "item", "ndim", "numpy", "origin",
    "register_hook", "requires_grad", "requires_grad_", "retain_grad", "shape", "size", "tolist",
    # sizes, dtypes, devices, others like it, writing in place: tested by habits
    "cuda", "detach_", "device", "dim", "element_size", "float", "int", "is_floating_point", "long", "nbytes",
    "new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "numel", "resize_", "type",
    "add_", "clamp_", "copy_", "div_", "exp_", "fill_", "masked_fill_", "mul_", "neg_", "normal_", "pow_", "relu_",
    "sqrt_", "sub_", "uniform_", "zero_",
    # functions of `functional`, which has laws of its own
    "log_softmax", "logsumexp", "relu", "sigmoid", "softmax",
    # slots and the class that tensors are made of
    "array", "grad", "label", "learnt", "mode", "name", "node", "tensor_type", "viewed",
}  # fmt: skip
OPERATORS = [
    f"__{name}__"
    for name in [
        "add",
        "radd",
        "sub",
        "rsub",
        "mul",
        "rmul",
        "truediv",
        "rtruediv",
        "floordiv",
        "rfloordiv",
        "mod",
        "rmod",
        "pow",
        "rpow",
        "neg",
        "pos",
        "abs",
        "matmul",
        "rmatmul",
        "lt",
        "gt",
        "le",
        "ge",
        "eq",
        "ne",
        "and",
        "rand",
        "or",
        "ror",
        "xor",
        "rxor",
        "invert",
        "getitem",
        "array_ufunc",
    ]
]


def test_every_method_and_operator_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each public method and operator of Tensor is called by some line of the table."""
    public = {name for name in dir(Tensor) if not name.startswith("_") and hasattr(Tensor, name)} - NOT_MATHS
    surface = public | set(OPERATORS)
    called = set()

    def spied(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **settings: Any) -> Any:
            called.add(name)
            return method(*args, **settings)

        return call

    for name in surface:
        method = getattr(Tensor, name)
        spy = property(spied(name, method.fget)) if isinstance(method, property) else spied(name, method)
        monkeypatch.setattr(Tensor, name, spy)
    for case in CASES:
        case(*case.tensors())
    assert called == surface


# ---- what rules read ---------------------------------------------------------------------------------------
class Stub:
    """What an unread input arrives as: any use of its values fails."""

    __array_ufunc__ = None

    def __init__(self, like: Array):
        self.shape, self.dtype = like.shape, like.dtype

    def __array__(self, *_: object, **__: object) -> Array:
        raise TypeError("the values of a stub were read")

    __bool__ = __getitem__ = __array__


def _applied(i: int, g: Array, read: set[int], row: Row) -> Any:
    """Rule `i` of the op of this row, with stubs for all but the places in `read`."""
    node, arrays, out = row
    op, settings = node.op, node.settings or {}
    inputs = [a if place in read else Stub(a) for place, a in enumerate(arrays)]
    shown = out if -1 in read else Stub(out)
    if op.joint_vjp is None:
        return op.rules[i](g, shown, *inputs, **settings)  # type: ignore[misc]
    wanted = tuple(place == i for place in range(len(arrays)))
    return op.joint_vjp(wanted, [g], shown, *inputs, **settings)[i]


def test_rules_read_what_they_declare_and_no_more() -> None:
    """With stubs for all it does not declare, a rule gives the same; without one declared input it fails."""
    seen = set()
    for case in CASES:
        with watching() as watch:
            slopes(case, case.tensors(), create_graph=True)
        for row in watch.rows:
            node, arrays, out = row
            op, everything = node.op, {-1, *range(len(arrays))}
            g = np.random.default_rng(0).uniform(0.5, 1.5, out.shape)
            for i in (i for i, p in enumerate(node.parents) if p.wants and node.wants):
                declared = set(op.reads[i] if op.joint_vjp is None else op.joint_reads) & everything
                expected = _applied(i, g, everything, row)
                np.testing.assert_array_equal(_applied(i, g, declared, row), expected)
                for place in declared:
                    with pytest.raises((TypeError, AttributeError)):
                        _applied(i, g, declared - {place}, row)
                seen.add((op.name, i))
    assert seen >= set(RULES)


# ---- the check itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "i"), [r for r in RULES if r[0] != "slice"])
def test_gradcheck_catches_a_rule_that_is_wrong_by_a_hundred_thousandth(name: str, i: int) -> None:
    """Each gradient rule in turn is made wrong by a factor of 1.00001, and some case fails for it."""
    op = OPS[name]
    patched: dict[str, Any] = {}
    if op.joint_vjp is None:
        patched["active"] = tuple(
            (place, (lambda *a, rule=rule, **s: rule(*a, **s) * 1.00001) if place == i else rule)
            for place, rule in op.active
        )
    else:
        joint = op.joint_vjp
        patched["joint_vjp"] = lambda *a, **s: [dx if dx is None else dx * 1.00001 for dx in joint(*a, **s)]
    kept = {attribute: getattr(op, attribute) for attribute in patched}
    try:
        for attribute, value in patched.items():
            object.__setattr__(op, attribute, value)
        caught = 0
        for case in CASES:
            if case.key == name:
                try:
                    gradcheck(case, case.tensors())
                except GradientError:
                    caught += 1
        assert caught
    finally:
        for attribute, value in kept.items():
            object.__setattr__(op, attribute, value)


def leaf64(*values: float) -> Tensor:
    """A float64 leaf that wants a gradient."""
    return tgs.tensor(values, dtype=np.float64, requires_grad=True)


def wrong_at(order: int) -> Callable[[Tensor], Tensor]:
    """The square of x, whose derivative of this order alone is wrong."""

    def square(x: Tensor) -> Tensor:
        out = x * x
        if order == 1:
            out.register_hook(lambda g: g * 1.5)
        else:
            out.register_hook(lambda g: g + 0.5 * (ops.cut(x - x.detach()) - (x - x.detach())))
        return out

    return square


def test_gradcheck_says_what_failed_where_and_by_how_much() -> None:
    """The text names function, output, input, order and seed, and shows both numbers and the error."""
    x, y = leaf64(1.0, 2.0), leaf64(3.0)
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda c, x, y: c * y + wrong_at(1)(x), (2.0, x, y))
    lines = str(caught.value).splitlines()
    numeric, analytic = (float(lines[i].split(": ")[1]) for i in (6, 7))
    assert analytic == pytest.approx(1.5 * numeric, rel=1e-6)
    del lines[6:8]
    assert lines == [
        "gradcheck: the gradient disagrees with finite differences.",
        "  function: test_gradcheck_says_what_failed_where_and_by_how_much.<locals>.<lambda>",
        "  output: f64(2,)   from add",
        "  input 1: f64(2,)",
        "  order: 1",
        "  seed: 0",
        "  expected a relative error of at most 1e-06, got 0.333.",
    ]
    with pytest.raises(AssertionError):
        gradcheck(wrong_at(1), x, seed=3)


def test_gradcheck_of_a_higher_order_checks_that_order() -> None:
    """A function right at order 1 and wrong at order 2 passes the first and fails the second."""
    assert gradcheck(wrong_at(2), leaf64(1.0, 2.0))
    with pytest.raises(GradientError, match="order: 2"):
        gradcheck(wrong_at(2), leaf64(1.0, 2.0), order=2)


def test_gradcheck_leaves_everything_as_it_was() -> None:
    """Inputs keep their arrays, gradients and nodes, the random streams their place, also where it fails."""
    x = leaf64(1.0, 2.0)
    array, drawn = x.array, stream("dropout").drawn
    before = array.copy()
    assert gradcheck(lambda x: x * stream("dropout").rand(2, dtype=np.float64), x, order=2)
    with pytest.raises(GradientError):
        gradcheck(wrong_at(1), x)
    assert x.array is array
    assert x.grad is None
    assert stream("dropout").drawn == drawn
    np.testing.assert_array_equal(array, before)


def test_gradcheck_moves_parameters_that_the_function_closes_over() -> None:
    """A layer's weight may be listed as an input and used by closure; its gradient is then checked too."""
    x, w = leaf64(1.0, 2.0), leaf64(0.5, -1.0)
    assert gradcheck(lambda x, _: (x * w).tanh(), (x, w), order=2)
    with pytest.raises(GradientError, match="input 1"):
        gradcheck(lambda x, _: x * w.detach(), (x, w))


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_gradcheck_forgives_the_rounding_of_an_exact_zero_and_no_more(size: float) -> None:
    """A gradient of 0 beside large values passes; missing one 1e-7 of those values fails."""
    x, c = leaf64(0.3, 0.7, 1.1), np.array([1.0, 2.0, 3.0]) * size
    assert gradcheck(lambda x: c + (x - x), x)
    assert gradcheck(lambda x: c + x.detach() * 0.0, x)
    with pytest.raises(GradientError):
        gradcheck(lambda x: c + 1e-7 * size * x.detach(), x)


def test_gradcheck_takes_several_outputs_whole_numbers_and_nothing() -> None:
    """Tuples of outputs, outputs without a gradient, inputs without elements and constants are in order."""
    x, empty = leaf64(0.3, 0.7), leaf64()
    assert gradcheck(
        lambda x, e, i: (x.exp(), x.floor() == 0, i, e * 2.0), (x, empty, Tensor([1, 2])), order=2
    )


def test_gradcheck_refuses_what_it_cannot_check() -> None:
    """float32, nothing that wants a gradient, tensors made by ops and order 0 are errors with a reason."""
    x = tgs.ones(2, requires_grad=True)
    wide = leaf64(1.0)
    refusals: list[tuple[type[Exception], Any, str]] = [
        (
            DTypeError,
            lambda: gradcheck(Tensor.exp, x),
            "gradcheck: only float64 can be checked.\n  input 0: f32(2,)\n"
            "  expected f64: in f32, differences have 3 or 4 digits.",
        ),
        (
            DTypeError,
            lambda: gradcheck(lambda x: x.float(), wide),
            "gradcheck: the function left float64.\n  output 0: f32(1,)   from cast\n"
            "  expected float64 tensors, or integers and booleans, which have no gradient.",
        ),
        (
            GraphError,
            lambda: gradcheck(Tensor.exp, [wide.detach(), 3]),
            "gradcheck: no input wants a gradient.\n  input 0: f64(1,)\n  input 1: 3\n"
            "  expected at least one input with requires_grad=True.",
        ),
        (
            GraphError,
            lambda: gradcheck(Tensor.exp, wide * 2),
            "gradcheck: an input was made by an op.\n  input 0: f64(1,)   from mul\n"
            "  expected leaves, which can be moved.\n  Use x.detach().",
        ),
        (
            ArgumentError,
            lambda: gradcheck(Tensor.exp, wide, order=0),
            "gradcheck: order out of range.\n  expected a whole number from 1 to 10, got 0.",
        ),
    ]
    for error, call, text in refusals:
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value) == text
