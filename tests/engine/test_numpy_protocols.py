"""NumPy's functions on tensors: recorded with NumPy's values and right gradients, or refused in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import ArgumentError, GraphError, Tensor, TraceError, gradcheck
from tinygrad_seq.engine.apply import TRACED
from tinygrad_seq.engine.node import tracing


def text_of(error: type[Exception], call: Callable[[], object]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


A = np.random.default_rng(0).standard_normal((3, 4))
B = np.random.default_rng(1).standard_normal((3, 4))
V = np.random.default_rng(2).standard_normal(4)
CUBE = np.random.default_rng(3).standard_normal((2, 4, 5))

RECORDED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "concatenate": (lambda a, b: np.concatenate([a, b], axis=1), (A, B)),
    "concatenate with a list": (lambda v: np.concatenate([v, [0.1, 2]]), (V,)),
    "append": (lambda v: np.append(v, 0.1), (V,)),
    "append rows": (lambda a: np.append(a, [[1.0, 2.0, 3.0, 0.1]], axis=0), (A,)),
    "dot with a number": (lambda a: np.dot(a, 0.1), (A,)),
    "concatenate flat": (lambda a, b: np.concatenate([a, b], axis=None), (A, V)),
    "stack": (lambda a, b: np.stack((a, b), axis=-1), (A, B)),
    "vstack": (lambda a, v: np.vstack([a, v]), (A, V)),
    "hstack": (lambda a, b: np.hstack([a, b]), (A, B)),
    "hstack of vectors": (lambda a, b: np.hstack([a, b]), (V, V)),
    "dstack": (lambda a, b: np.dstack([a, b]), (A, B)),
    "column_stack": (lambda a, v: np.column_stack([a.T, v]), (A, V)),
    "atleast_2d": (lambda v: np.atleast_2d(v), (V,)),
    "atleast_3d": (lambda a: np.atleast_3d(a), (A,)),
    "where": (lambda a, b: np.where(A > 0, a, b), (A, B)),
    "where on a tensor": (lambda a, b: np.where(a > b, a * 2.0, b), (A, B)),
    "einsum": (lambda a, b: np.einsum("ij,kj->ik", a, b), (A, B)),
    "sum": (lambda a: np.sum(a, axis=0), (A,)),
    "sum of all": (lambda a: np.sum(a), (A,)),
    "sum keepdims": (lambda a: np.sum(a, axis=(0, 1), keepdims=True), (A,)),
    "mean": (lambda a: np.mean(a, 1), (A,)),
    "max": (lambda a: np.max(a, axis=1), (A,)),
    "min": (lambda a: np.amin(a), (A,)),
    "var": (lambda a: np.var(a, axis=1), (A,)),
    "std": (lambda a: np.std(a, axis=0, ddof=1), (A,)),
    "ptp": (lambda a: np.ptp(a, axis=0), (A,)),
    "average": (lambda a: np.average(a, axis=1, weights=np.array([1.0, 2.0, 3.0, 4.0])), (A,)),
    "norm": (lambda a: np.linalg.norm(a), (A,)),
    "norm of rows": (lambda a: np.linalg.norm(a, axis=1, keepdims=True), (A,)),
    "norm 1": (lambda v: np.linalg.norm(v, 1), (V,)),
    "norm inf": (lambda v: np.linalg.norm(v, np.inf), (V,)),
    "norm fro": (lambda a: np.linalg.norm(a, "fro"), (A,)),
    "trace": (lambda a: np.trace(a, offset=1), (A,)),
    "reshape": (lambda a: np.reshape(a, (4, 3)), (A,)),
    "ravel": (lambda a: np.ravel(a), (A,)),
    "transpose": (lambda c: np.transpose(c, (2, 0, 1)), (CUBE,)),
    "transpose of all": (lambda c: np.transpose(c), (CUBE,)),
    "swapaxes": (lambda c: np.swapaxes(c, 0, -1), (CUBE,)),
    "moveaxis": (lambda c: np.moveaxis(c, (0, 1), (-1, 0)), (CUBE,)),
    "squeeze": (lambda a: np.squeeze(np.expand_dims(a, (0, 2)), 0), (A,)),
    "split": (lambda a: np.split(a, 2, axis=1)[1], (A,)),
    "split at": (lambda a: np.split(a, [1, 3], 1)[1], (A,)),
    "array_split": (lambda a: np.array_split(a, 3, 1)[0], (A,)),
    "flip": (lambda a: np.flip(a, 1), (A,)),
    "fliplr": (lambda a: np.fliplr(a) + np.flipud(a), (A,)),
    "take": (lambda a: np.take(a, [2, 0, 2], axis=1), (A,)),
    "take flat": (lambda a: np.take(a, [[2, 5]]), (A,)),
    "broadcast_to": (lambda v: np.broadcast_to(v, (3, 4)), (V,)),
    "roll": (lambda a: np.roll(a, 1, axis=1), (A,)),
    "repeat": (lambda a: np.repeat(a, 2, axis=0), (A,)),
    "tile": (lambda v: np.tile(v, (2, 2)), (V,)),
    "rot90": (lambda a: np.rot90(a), (A,)),
    "diagonal": (lambda a: np.diagonal(a), (A,)),
    "tril": (lambda a: np.tril(a, -1), (A,)),
    "triu": (lambda c: np.triu(c, 1), (CUBE,)),
    "diff": (lambda a: np.diff(a, 2), (A,)),
    "clip": (lambda a: np.clip(a, -0.5, 0.5), (A,)),
    "dot": (lambda a, b: np.dot(a, b.T), (A, B)),
    "dot of a stack": (lambda a, c: np.dot(a, c), (A, CUBE)),
    "inner": (lambda a, b: np.inner(a, b), (A, B)),
    "vdot": (lambda a, b: np.vdot(a, b), (A, B)),
    "outer": (lambda v, a: np.outer(v, a), (V, A)),
    "tensordot": (lambda a, c: np.tensordot(a, c, ([1], [1])), (A, CUBE)),
    "tensordot of two axes": (lambda a, b: np.tensordot(a, b), (A, B)),
    "copy": (lambda a: np.copy(a), (A,)),
    "add.reduce": (lambda a: np.add.reduce(a), (A,)),
    "add.reduce of all": (lambda a: np.add.reduce(a, axis=None), (A,)),
    "maximum.reduce": (lambda a: np.maximum.reduce(a, axis=1, keepdims=True), (A,)),
    "multiply.outer": (lambda v, a: np.multiply.outer(v, a), (V, A)),
    "an array on the left": (lambda a: np.matmul(B.T, a) - np.float64(2.0) * a.sum(), (A,)),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_function_with_a_rule_is_recorded(name: str) -> None:
    """NumPy's value on the same arrays, a tensor, and a gradient that agrees with finite differences."""
    fn, inputs = RECORDED[name]
    expected = fn(*inputs)
    found = fn(*(tgs.tensor(x) for x in inputs))
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
    assert found.shape == np.shape(expected)
    assert gradcheck(fn, [tgs.tensor(x, requires_grad=True) for x in inputs])


def lost(
    call: str, shape: str = "f64(3, 4)", rule: str = "it has no gradient rule.", origin: str = ""
) -> str:
    """The text of a refusal."""
    return (
        f"{call}: the gradient would be lost.\n  x: {shape}{origin}\n  {rule}\n"
        "  Write x.detach().numpy() for the values alone."
    )


W = "it has no gradient rule with these arguments."
REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "sort": (lambda t: np.sort(t), lost("np.sort")),
    "in a list": (lambda t: np.block([[t, t]]), lost("np.block")),
    "pad": (lambda t: np.pad(t, 1), lost("np.pad")),
    "cumsum": (lambda t: np.cumsum(t, axis=0), lost("np.cumsum")),
    "prod": (lambda t: np.prod(t), lost("np.prod")),
    "svd": (lambda t: np.linalg.svd(t), lost("np.linalg.svd")),
    "order 2": (lambda t: np.linalg.norm(t, 2), lost("np.linalg.norm of order 2", rule=W)),
    "a setting": (lambda t: np.sum(t, dtype=np.float64), lost("np.sum", rule=W)),
    "where=": (lambda t: np.exp(t, where=A > 0, out=np.zeros((3, 4))), lost("np.exp", rule=W)),
    "out=": (lambda t: np.add(t, 1.0, out=np.empty((3, 4))), lost("np.add", rule=W)),
    "an array that is added to": (lambda t: A.copy().__iadd__(t), lost("np.add", rule=W)),
    "accumulate": (lambda t: np.add.accumulate(t), lost("np.add.accumulate", rule=W)),
    "arctan": (lambda t: np.arctan(t), lost("np.arctan")),
    "full_like": (lambda t: np.full_like(A, t.sum()), lost("np.copyto", "f64()", origin="   from sum")),
    "copyto": (lambda t: np.copyto(np.empty((3, 4)), t), lost("np.copyto")),
    "asarray": (lambda t: np.asarray(t), lost("np.asarray", rule="expected a tensor without gradient.")),
    "array": (lambda t: np.array(t), lost("np.asarray", rule="expected a tensor without gradient.")),
    "array of a list": (
        lambda t: np.array([t.sum(), t.sum()]),
        lost("np.asarray", "f64()", "expected a tensor without gradient.", "   from sum"),
    ),
    "assignment": (
        lambda t: np.empty((3, 4)).__setitem__(slice(None), t),
        lost("np.asarray", rule="expected a tensor without gradient."),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_gradient_is_never_cut_without_a_word(name: str) -> None:
    """A function, or a setting, that has no rule is refused; the same goes through without a gradient."""
    fn, text = REFUSED[name]
    assert text_of(GraphError, lambda: fn(tgs.tensor(A, requires_grad=True))) == text
    fn(tgs.tensor(A))
    with tgs.no_grad():
        fn(tgs.tensor(A, requires_grad=True))


def test_dlpack_carries_no_gradient_away() -> None:
    """`np.from_dlpack` refuses what `np.asarray` refuses."""
    x = tgs.tensor(A, requires_grad=True)
    assert text_of(GraphError, lambda: np.from_dlpack(x)) == (
        "__dlpack__: the gradient would be lost.\n  x: f64(3, 4)\n  expected a tensor without gradient.\n"
        "  Pass x.detach()."
    )
    np.testing.assert_array_equal(np.from_dlpack(x.detach()), A)


def test_numbers_places_and_truths_may_be_taken() -> None:
    """What has no gradient in any case is not refused: float(t), math.exp(t), argmax, isnan, allclose, shapes."""
    x = tgs.tensor(A, requires_grad=True)
    assert math.exp(x.sum()) == pytest.approx(math.exp(A.sum()))
    assert float(x[0, 0]) == A[0, 0]
    assert [float(v) for v in x[0]] == A[0].tolist()
    assert np.argmax(x) == A.argmax()
    assert not np.isnan(x).any()
    assert np.allclose(x, A)
    assert np.shape(x) == (3, 4)
    assert np.zeros_like(x).shape == (3, 4)


def test_tensors_without_gradient_go_into_every_function() -> None:
    """The result is NumPy's: a tensor from ufuncs, an array from functions without a rule."""
    x = tgs.tensor(A)
    for fn in (np.sort, np.cumsum, np.prod, np.linalg.svd, np.median, np.unique, np.fft.fft, np.histogram):
        found, expected = fn(x), fn(A)
        found, expected = (found[0], expected[0]) if isinstance(expected, tuple) else (found, expected)
        assert not isinstance(found, Tensor)
        np.testing.assert_array_equal(found, expected)
    for fn in (np.arctan, np.sign, np.rint, np.log1p, np.add.accumulate):
        with np.errstate(invalid="ignore"):
            found, expected = fn(x), fn(A)
        assert isinstance(found, Tensor)
        np.testing.assert_array_equal(found, expected)
    whole, part = np.divmod(x, 2.0)
    np.testing.assert_array_equal(whole * 2.0 + part, np.floor_divide(A, 2.0) * 2.0 + np.remainder(A, 2.0))
    np.testing.assert_array_equal(np.bitwise_and(tgs.tensor([6, 3]), 2), [2, 2])


def test_out_writes_where_no_tape_reads() -> None:
    """An array or a tensor off the tape takes the result; a tape that holds the tensor notices."""
    x, out = tgs.tensor(A), tgs.tensor(A)
    assert np.add(x, 1.0, out=out) is out
    np.testing.assert_array_equal(out, A + 1.0)
    assert np.sum(x, axis=0, out=tgs.zeros(4, dtype=np.float64)).tolist() == A.sum(0).tolist()
    w = tgs.tensor(A, requires_grad=True)
    y = (w * x).sum()
    np.multiply(x, 2.0, out=x)
    with pytest.raises(GraphError, match="was changed in place"):
        y.backward()
    assert text_of(GraphError, lambda: np.add(A, 1.0, out=w)) == lost("np.add", rule=W)
    with tgs.no_grad():
        assert text_of(GraphError, lambda: np.add(A, 1.0, out=w)) == (
            "np.add: out is on the tape and cannot be written to.\n  out: f64(3, 4)\n"
            "  expected a tensor without gradient.\n  Take the result instead of out=."
        )
    for write in (lambda: np.fill_diagonal(x, 0.0), lambda: np.put(x, 0, 1.0), lambda: np.copyto(x, A)):
        with pytest.raises(ArgumentError, match=r"it writes into its argument.\n"):
            write()
    assert text_of(ArgumentError, lambda: np.add.at(x, 0, 1.0)) == (
        "np.add.at: it writes into its argument.\n  x: f64(3, 4)\n  expected an array."
    )


def test_values_do_not_become_constants_of_a_kernel() -> None:
    """Inside a function that is traced, NumPy's values would be frozen: refused."""
    x = tgs.tensor(A)
    x.mode = TRACED
    for look in (np.sort, np.asarray, np.arctan):
        with tracing(), pytest.raises(TraceError, match="values were taken while a function was traced"):
            look(x)
