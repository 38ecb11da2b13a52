"""A primitive from outside: recorded, differentiated twice, printed, and refused where it is not whole."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine.extend import new_op
from tinygrad_seq.errors import ArgumentError, ShapeError, TraceError
from tinygrad_seq.runtime.jit import kernels_wanted

# The value by NumPy, the gradients by hand: all that a new op is.
hypot = new_op(
    "hypot",
    lambda x, y: np.sqrt(x * x + y * y),
    lambda g, out, x, y: g * x / out,
    lambda g, out, x, y: g * y / out,
)
scaled = new_op("scaled", lambda x, *, by: x * by, lambda g, out, x, by: g * by)
X = np.array([[3.0, -1.0], [0.5, 2.0]])
Y = np.array([4.0, 1.5])


def test_it_is_as_those_that_are_here():
    """Value, broadcast gradient and second derivative as of the same maths in tensors."""
    x, y = tgs.tensor(X, requires_grad=True), tgs.tensor(Y, requires_grad=True)
    np.testing.assert_allclose(hypot(x, y).numpy(), np.hypot(X, Y), rtol=1e-15)
    assert tgs.gradcheck(hypot, [x, y])
    slopes = tgs.grad(hypot(x, y).sum(), [x, y], create_graph=True)
    ours = tgs.grad((slopes[0] ** 2).sum() + slopes[1].sum(), [x, y])
    plain = tgs.grad(((x * x + y * y).sqrt()).sum(), [x, y], create_graph=True)
    theirs = tgs.grad((plain[0] ** 2).sum() + plain[1].sum(), [x, y])
    for mine, known in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), known.numpy(), rtol=1e-12, atol=1e-14)


def test_settings_and_plain_arrays():
    """Keywords reach the value and the rule; arrays alone give an array; nothing is recorded inside no_grad()."""
    x = tgs.tensor(X, requires_grad=True)
    scaled(x, by=3.0).sum().backward()
    assert (x.grad.numpy() == 3.0).all()
    assert type(scaled(X, by=2.0)) is np.ndarray
    with tgs.no_grad():
        assert not hypot(x, 1.0).requires_grad
    assert hypot(x, 1.0).dtype == np.float64


def test_it_stands_on_the_tape_by_its_name():
    x = tgs.tensor([3.0], requires_grad=True, dtype="float64")
    assert str(tgs.Tape.of(hypot(x, x))).splitlines()[1].startswith("%1 = hypot(%0, %0)")


def test_a_fused_function_calls_it_as_its_composition():
    """No kernel holds the op: `fused` says so, and inside composed() value and gradient are right."""

    @tgs.fused
    def both(x):
        return hypot(x, 2.0 * x) * 2.0

    x = tgs.tensor(X, requires_grad=True)
    with tgs.composed():
        out = both(x)
    np.testing.assert_allclose(out.numpy(), 2 * np.hypot(X, 2 * X), rtol=1e-14)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.sqrt(5.0) * np.sign(X), rtol=1e-14)
    if kernels_wanted():
        with pytest.raises(TraceError, match="fused: cannot fuse hypot"):
            both(x)


def test_what_is_not_whole_is_refused():
    with pytest.raises(ArgumentError) as found:
        new_op("half", lambda x, y: x, lambda g, out, x, y: g)
    assert str(found.value) == (
        "new_op: 'half' has not as many rules as inputs.\n  inputs: 'x, y'\n  rules: 1\n"
        "  expected a rule for each input, or None where no gradient flows."
    )
    with pytest.raises(ShapeError, match="hypot: the operands do not fit"):
        hypot(tgs.ones(2), tgs.ones(3))
