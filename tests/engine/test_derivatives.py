"""The ways to ask for a derivative, against derivatives known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import Tensor, grad, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_seq.runtime.arrays import Array

A = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
P = np.array([0.3, -0.7, 1.1])
V = np.array([1.0, 2.0, -0.5])


def tensor(array: Array, wants: bool = True) -> Tensor:
    """A float64 tensor that wants a gradient, or not."""
    return tgs.tensor(array, requires_grad=wants)


def close(t: Tensor, array: Any) -> None:
    """Same shape, same value to a few roundings."""
    assert t.shape == np.shape(array)
    np.testing.assert_allclose(t.array, array, rtol=1e-13, atol=1e-14)


# f(x) = tanh(A x): the Jacobian is diag(1 - f^2) A.
def f(x: Tensor) -> Tensor:
    """The function of the tests below."""
    return (A @ x).tanh()


VALUE = np.tanh(A @ P)
JACOBIAN = (1 - VALUE**2)[:, None] * A


def test_grad_of_several_outputs_and_inputs() -> None:
    """The outputs' gradients are met by their weights and summed; one input gives one tensor, not a tuple."""
    x, y = tensor(P), tensor(V)
    u = np.array([2.0, -3.0])
    gx, gy = grad([f(x), (x * y).sum()], [x, y], [u, None])
    close(gx, u @ JACOBIAN + V)
    close(gy, P)
    assert (x.grad, y.grad) == (None, None)
    close(grad(f(x), x, u), u @ JACOBIAN)
    close(grad(f(x), [x], [tensor(u, False)])[0], u @ JACOBIAN)
    out = f(x)
    close(grad([out, out], x, [u, u]), 2 * u @ JACOBIAN)


def test_grad_is_zero_where_nothing_depends() -> None:
    """An input that an output does not use, or uses through whole numbers alone, has a gradient of zeros."""
    x, y = tensor(P), tensor(V)
    gx, gy = grad((x * x).sum(), [x, y])
    close(gx, 2 * P)
    close(gy, np.zeros(3))
    close(grad(tensor(np.array(2.0), False), x), np.zeros(3))
    close(grad(x.floor().sum(), x), np.zeros(3))
    slope = grad(x.sum(), y, create_graph=True)
    close(grad(slope.sum(), y), np.zeros(3))


@pytest.mark.parametrize("wants", [True, False])
def test_vjp_and_jvp_are_the_jacobian_from_both_sides(wants: bool) -> None:
    """Value, v^T J and J v; the pull-back may be used again, and nothing is left on the inputs."""
    x, u = tensor(P, wants), np.array([2.0, -3.0])
    value, pull = vjp(f, x)
    close(value, VALUE)
    assert not value.requires_grad
    for factor in (1.0, 2.0):
        close(pull(factor * u)[0], factor * u @ JACOBIAN)
    value, pushed = jvp(f, x, V)
    close(value, VALUE)
    close(pushed, JACOBIAN @ V)
    assert x.grad is None
    assert x.requires_grad is wants


def test_jvp_of_several_inputs_some_unused() -> None:
    """Each input moves along its own tangent; no influence, or a linear one, is no special case."""
    _, pushed = jvp(lambda x, y, z: x * y + 3.0 * x, [P, V, P], [V, P, V])
    close(pushed, V * V + P * P + 3 * V)
    _, pushed = jvp(lambda x: Tensor(np.ones(2)), tensor(P), V)
    close(pushed, np.zeros(2))
    _, pushed = jvp(lambda x: x[1:] * 2.0, tensor(P), V)
    close(pushed, 2 * V[1:])


def test_one_tensor_at_two_places_has_two_gradients() -> None:
    """d(a b) at a = b = x is b for the first place and a for the second, though both are x."""
    x = tensor(P)

    def product(a: Tensor, b: Tensor) -> Tensor:
        return a * a * b

    _, pull = vjp(product, x, x)
    for g, expected in zip(pull(np.ones(3)), (2 * P * P, P * P), strict=True):
        close(g, expected)
    close(jvp(product, [x, x], [V, 0 * V])[1], 2 * P * P * V)
    first, second = jacobian(product, [x, x])
    close(first, np.diag(2 * P * P))
    close(second, np.diag(P * P))
    _, gradients = value_and_grad(lambda a, b: product(a, b).sum(), (0, 1))(x, x)
    close(gradients[1], P * P)
    _, products = hvp(lambda a, b: product(a, b).sum(), [x, x], [V, 0 * V])
    close(products[0], 2 * P * V)
    close(products[1], 2 * P * V)


def test_jacobian_has_the_shapes_of_value_and_input() -> None:
    """d value[i] / d x[j] as (*value, *x), for scalars, matrices, empty values and several inputs."""
    close(jacobian(f, tensor(P)), JACOBIAN)
    close(jacobian(lambda x: x.sum(), tensor(P)), np.ones(3))
    close(jacobian(lambda x: x * 2.0, tensor(np.array(3.0))), 2.0)
    close(jacobian(lambda x: x[:0], tensor(P)), np.zeros((0, 3)))
    close(jacobian(lambda x: Tensor(np.ones(2)), tensor(P)), np.zeros((2, 3)))
    x = np.arange(6.0).reshape(2, 3)
    close(jacobian(lambda x: x.T, tensor(x)), np.einsum("ia,jb->jiab", np.eye(2), np.eye(3)))
    jx, jy = jacobian(lambda x, y: x.sum() * y, [tensor(P), tensor(V, False)])
    close(jx, np.outer(V, np.ones(3)))
    close(jy, P.sum() * np.eye(3))


def test_hvp_is_the_second_derivative_along_v() -> None:
    """For x^T M x + sum x^3 the Hessian is M + M^T + 6 diag x; for a linear function it is zero."""
    m = np.random.default_rng(0).standard_normal((3, 3))
    value, product = hvp(lambda x: x @ m @ x + (x * x * x).sum(), tensor(P), V)
    close(value, P @ m @ P + (P**3).sum())
    close(product, (m + m.T + 6 * np.diag(P)) @ V)
    close(hvp(lambda x: x.sum(), tensor(P, False), V)[1], np.zeros(3))
    _, (px, py) = hvp(lambda x, y: (x * y).sum() + (x * x * x).sum(), [tensor(P), tensor(V)], [V, P])
    close(px, P + 6 * P * V)
    close(py, V)


def test_value_and_grad_wraps_a_function() -> None:
    """Value and gradients at the places named; other arguments and settings pass through."""
    both = value_and_grad(lambda x, k, power=1: (x * k).sum() ** power, argnums=0)
    value, slope = both(tensor(P), 2.0, power=3)
    total = 2.0 * P.sum()
    close(value, total**3)
    close(slope, np.full(3, 2.0 * 3 * total**2))
    assert not value.requires_grad
    _, gradients = value_and_grad(lambda x, y: (x * y).sum(), argnums=[1, 0])(P, V)
    close(gradients[0], P)
    close(gradients[1], V)


def test_derivatives_are_taken_where_recording_is_off() -> None:
    """Asking for a derivative switches recording on for the function, and off again."""
    x = tensor(P)
    with tgs.no_grad():
        close(vjp(f, x)[1](np.ones(2))[0], JACOBIAN.sum(0))
        close(jvp(f, x, V)[1], JACOBIAN @ V)
        close(jacobian(f, x), JACOBIAN)
        close(value_and_grad(lambda x: f(x).sum())(x)[1], JACOBIAN.sum(0))
        close(hvp(lambda x: (x * x).sum(), x, V)[1], 2 * V)
        assert not (x * 2.0).requires_grad


def test_derivatives_nest() -> None:
    """A function that itself asks for gradients can be differentiated: d/dx of |df/dx|^2."""

    def penalty(x: Tensor) -> Tensor:
        y = x if x.requires_grad else x.detach().requires_grad_()
        slope = grad((y * y * y).sum(), y, create_graph=True)
        return (slope * slope).sum()

    close(value_and_grad(penalty)(tensor(P))[1], 36 * P**3)
    close(jacobian(penalty, P), 36 * P**3)
    close(hvp(penalty, P, V)[1], 108 * P**2 * V)
    x = tensor(P)
    for order, expected in enumerate([5 * P**4, 20 * P**3, 60 * P**2, 120 * P, 0 * P + 120, 0 * P]):
        slope: Any = x**5
        for _ in range(order + 1):
            slope = grad(slope.sum(), x, create_graph=True)
        close(slope, expected)


def test_gradients_of_parameters_of_either_width() -> None:
    """float32 and float64 meet in one loss: each input's gradient has its own dtype."""
    x, y = tgs.tensor([1.0, 2.0], requires_grad=True), tensor(np.array([3.0, 4.0]))
    gx, gy = grad((x * y).sum(), [x, y])
    assert (gx.dtype, gy.dtype) == (np.float32, np.float64)
    gx, gy = grad((x * y).sum(), [x, y], tgs.tensor(1.0), create_graph=True)
    assert (gx.dtype, gy.dtype) == (np.float32, np.float64)
