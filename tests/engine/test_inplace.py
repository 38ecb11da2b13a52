"""Values that change in place: `x += y`, `x.data[i] = v` and their kin. No gradient is ever silently wrong."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import DTypeError, GraphError, ShapeError, Tensor, TraceError, nn
from tinygrad_seq.engine.apply import TRACED
from tinygrad_seq.engine.node import tracing

A = np.array([[1.5, -2.0], [3.0, 0.5]])
B = np.array([[2.0, 4.0], [0.5, -1.0]])
OPERATORS: list[Callable[[Any, Any], Any]] = [
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod,
    operator.imatmul,
]  # fmt: skip


def text_of(error: type[Exception], call: Callable[[], object]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize("change", OPERATORS)
def test_every_name_sees_the_new_value(change: Callable[[Any, Any], Any]) -> None:
    """As in NumPy, off the tape and on it: y = x; x += b changes y; the array that x was made of stays."""
    expected = A.copy() @ B if change is operator.imatmul else change(A.copy(), B)
    source = A.copy()
    for wants in (False, True):
        x = y = tgs.tensor(source) * 1.0 if not wants else tgs.tensor(source, requires_grad=True) * 1.0
        x = change(x, B)
        assert x is y
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-15)
    np.testing.assert_array_equal(source, A)


def test_powers_and_truths_in_place() -> None:
    """`**=`, `&=`, `|=`, `^=`."""
    x = y = tgs.tensor(np.array([2.0, 3.0]))
    x **= 2
    assert y.tolist() == [4.0, 9.0]
    m = n = tgs.tensor([True, True, False])
    m &= np.array([True, False, True])
    assert n.tolist() == [True, False, False]
    m |= tgs.tensor([False, False, True])
    assert n.tolist() == [True, False, True]
    m ^= tgs.tensor([True, True, True])
    assert n.tolist() == [False, True, False]


def test_the_gradient_is_that_of_the_maths() -> None:
    """(w^2 + w)^2 built in place, its first value read before: d/dw = 2 (w^2 + w) (2 w + 1), plus 2 w^3 y'."""
    w = tgs.tensor(np.array([0.7, -1.2]), requires_grad=True)
    h = w * w
    first = h * w  # reads h as it was: w^3
    h += w
    h *= h
    (h.sum() + first.sum()).backward()
    v = w.numpy()
    np.testing.assert_allclose(w.grad.numpy(), 2 * (v * v + v) * (2 * v + 1) + 3 * v * v, rtol=1e-14)

    def fn(w: Tensor) -> Tensor:
        total = tgs.zeros(2, dtype=np.float64)
        for k in range(3):
            total += w * float(k + 1)
            total *= total
        return total.sum()

    assert tgs.gradcheck(fn, w)
    assert tgs.gradcheck(fn, w, order=2)


def test_losses_add_up() -> None:
    """A sum that begins as a tensor without gradient takes the gradient on, as in PyTorch."""
    w = tgs.tensor([2.0], requires_grad=True)
    total = tgs.zeros(())
    for _ in range(3):
        total += (w * w).sum()
    assert total.item() == 12.0
    total.backward()
    assert w.grad.tolist() == [12.0]


def test_a_leaf_that_wants_a_gradient() -> None:
    """Refused where recorded; inside no_grad() it stays the leaf, and the tape its old value."""
    w = v = tgs.tensor([1.0, 2.0], requires_grad=True)
    for change in (operator.iadd, operator.imul, operator.ipow, operator.itruediv):
        with pytest.raises(GraphError, match="x is a leaf that wants a gradient"):
            change(w, 2.0)
    loss = (w * w).sum()
    with tgs.no_grad():
        w += 1.0
    assert v is w
    assert (w.tolist(), w.is_leaf, w.requires_grad) == ([2.0, 3.0], True, True)
    loss.backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_what_is_on_the_tape_is_not_changed_off_it() -> None:
    """PyTorch goes on with the gradient of the old value; here it is refused."""
    h = tgs.tensor([1.0], requires_grad=True) * 2.0

    def double() -> None:
        nonlocal h
        with tgs.no_grad():
            h *= 2.0

    assert text_of(GraphError, double) == (
        "x *= y: the gradient of x would be wrong.\n  x: f32(1,)   from mul\n"
        "  x was made by a recorded op, and nothing is recorded inside no_grad().\n  Write x = x * y."
    )


def test_shape_and_dtype_stay() -> None:
    """A wider result and a change of kind are refused, as in NumPy; a wider float is rounded."""
    x = tgs.zeros(2)
    assert text_of(ShapeError, lambda: operator.iadd(x, np.ones((3, 2), np.float32))) == (
        "x += y: the result does not fit.\n  x: f32(2,)\n  expected a result of shape (2,), got (3, 2).\n"
        "  Write x = x + y."
    )
    ids = tgs.tensor([1, 2])
    assert text_of(DTypeError, lambda: operator.itruediv(ids, 2)) == (
        "x /= y: the result does not fit.\n  x: i64(2,)\n  expected a result of dtype int64, got float32.\n"
        "  Write x = x / y."
    )
    x += np.ones(2)
    assert x.dtype == np.float32
    frozen = nn.Parameter([1.0], requires_grad=False)
    with pytest.raises(GraphError, match="a parameter would hang on the tape"):
        frozen += tgs.ones(1, requires_grad=True)
    with pytest.raises(TypeError):
        x += "a"


def test_numbers_that_all_share_do_not_change() -> None:
    """The constant 1 is one tensor for all who use it."""
    one = tgs.engine.apply.as_tensor(1.0)
    one += 5.0
    assert (tgs.zeros(1) + 1.0).tolist() == [1.0]
    assert one.item() == 6.0


def test_an_argument_stays_while_a_function_is_traced() -> None:
    """A kernel may not change what it is handed."""
    x = tgs.tensor([1.0])
    x.mode = TRACED
    with tracing():
        assert text_of(TraceError, lambda: operator.iadd(x, 1.0)) == (
            "x += y: changed while a function was traced.\n  x: f32(1,)\n"
            "  x is an argument, which must stay what it was.\n  Write x = x + y."
        )


def test_a_loop_that_changes_its_state_in_place() -> None:
    """`unroll` keeps each step's output, and `checkpoint` runs again on what it was handed."""

    def cell(x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h += x
        return h, h

    for wants in (False, True):
        xs = tgs.tensor(np.array([[1.0], [2.0], [3.0]]), requires_grad=wants)
        outs, last = tgs.unroll(cell, xs, tgs.zeros(1, dtype=np.float64))
        assert outs.tolist() == [[1.0], [3.0], [6.0]]
        assert last.tolist() == [6.0]
    (outs * outs).sum().backward()
    assert xs.grad.tolist() == [[20.0], [18.0], [12.0]]

    def segment(x: Tensor, h: Tensor) -> Tensor:
        h += x
        return h * h

    x, h = tgs.tensor([2.0], requires_grad=True), tgs.tensor([1.0])
    tgs.checkpoint(segment, x, h).sum().backward()
    assert (x.grad.tolist(), h.tolist()) == ([6.0], [1.0])


# ---- data ------------------------------------------------------------------------------------------------
def writes() -> dict[str, Callable[[Tensor], Any]]:
    """Ways to write into the memory of a tensor."""
    return {
        "index": lambda t: t.data.__setitem__(0, 5.0),
        "mask": lambda t: t.data.__setitem__(t.data > 0, 5.0),
        "a part of a part": lambda t: t.data[0][1:].__setitem__(0, 5.0),
        "transposed": lambda t: t.data.T.__setitem__(0, 5.0),
        "in place": lambda t: operator.imul(t.data, 2.0),
        "by a tensor": lambda t: operator.iadd(t.data, tgs.ones(2, 2, dtype=np.float64)),
        "set back": lambda t: setattr(t, "data", operator.imul(t.data, 2.0)),
        "out": lambda t: np.add(t.data, 1.0, out=t.data),
        "out of a function": lambda t: np.clip(A, 9.0, 10.0, out=t.data),
        "at": lambda t: np.add.at(t.data, (0, 0), 5.0),
        "fill": lambda t: t.data.fill(5.0),
        "sort": lambda t: t.data.sort(),
        "copyto": lambda t: np.copyto(t.data, 5.0),
        "fill_diagonal": lambda t: np.fill_diagonal(t.data, 5.0),
        "zero_": lambda t: t.data.zero_(),
        "add_": lambda t: t.data.mul_(0.5).add_(1.0),
        "setitem": lambda t: t.__setitem__(0, 5.0),
        "ufunc": lambda t: np.multiply(t, 2.0, out=t),
    }


@pytest.mark.parametrize("name", writes())
def test_a_write_is_noticed_by_the_tape(name: str) -> None:
    """It happens, and the backward pass that would read it is refused."""
    x, w = tgs.tensor(A), tgs.tensor(B, requires_grad=True)
    loss = (x * w).sum()
    writes()[name](x)
    assert (x.numpy() != A).any()
    with pytest.raises(GraphError, match="was changed in place"):
        loss.backward()
    after = (x * w).sum()
    after.backward()
    np.testing.assert_array_equal(w.grad.numpy(), x.numpy())


def test_data_is_read_like_an_array_and_what_it_gives_is_ones_own() -> None:
    """Values, copies, texts; NumPy's other ways in find it read-only."""
    x, w = tgs.tensor(A), tgs.tensor(B, requires_grad=True)
    loss = (x * w).sum()
    np.testing.assert_array_equal(x.data, A)
    assert isinstance(x.data, np.ndarray)
    assert repr(x.data) == repr(A)
    for own in (
        x.data.copy(),
        x.data + 0.0,
        np.array(x.data),
        copy.deepcopy(x.data),
        pickle.loads(pickle.dumps(x.data)),
    ):
        assert type(own) is np.ndarray
        own[0] = 9.0
    for view in (np.asarray(x.data), x.numpy(), np.asarray(x)):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 9.0
    assert float(x.data.sum()) == A.sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), A)


def test_an_array_that_is_written_to_later_is_not_on_the_tape() -> None:
    """A batch in a buffer that is filled anew before the backward pass: each loss has its own."""
    batch, w = A.copy(), tgs.tensor(B, requires_grad=True)
    loss = (w * batch).sum()
    batch[:] = 100.0
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), A)
    layer = nn.Linear(2, 1, bias=False).double()
    batch = A.copy()
    loss = layer(tgs.tensor(batch)).sum() + nn.functional.mse_loss(layer(tgs.tensor(batch)), batch[:, :1])
    before = tgs.grad(loss, layer.weight, retain_graph=True).tolist()
    batch[:] = 100.0
    assert tgs.grad(loss, layer.weight).tolist() == before
