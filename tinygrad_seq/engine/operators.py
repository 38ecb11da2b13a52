"""The operators of `Tensor` and its maths of one argument: each one primitive, or two or three in a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.arguments import comparable
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import T, as_tensor, binary, coerced, is_operand, unary
from tinygrad_seq.engine.messages import refuse
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError


def add(self: T, other: Any) -> T:
    """x + y."""
    return binary(ops.add, self, other)


def radd(self: T, other: Any) -> T:
    """y + x."""
    return binary(ops.add, other, self)


def sub(self: T, other: Any) -> T:
    """x - y."""
    return binary(ops.sub, self, other)


def rsub(self: T, other: Any) -> T:
    """y - x."""
    return binary(ops.sub, other, self)


def mul(self: T, other: Any) -> T:
    """x y."""
    return binary(ops.mul, self, other)


def rmul(self: T, other: Any) -> T:
    """y x."""
    return binary(ops.mul, other, self)


def truediv(self: T, other: Any) -> T:
    """x / y."""
    return binary(ops.div, self, other)


def rtruediv(self: T, other: Any) -> T:
    """y / x."""
    return binary(ops.div, other, self)


# As Python's and NumPy's: rounded down, the remainder of the divisor's sign and exact.
def floordiv(self: T, other: Any) -> T:
    """x // y, rounded down."""
    return binary(ops.floor_divide, self, other)


def rfloordiv(self: T, other: Any) -> T:
    """y // x, rounded down."""
    return binary(ops.floor_divide, other, self)


def mod(self: T, other: Any) -> T:
    """x % y, of the sign of y."""
    return binary(ops.remainder, self, other)


def rmod(self: T, other: Any) -> T:
    """y % x, of the sign of x."""
    return binary(ops.remainder, other, self)


def divmod(self: T, other: Any) -> tuple[T, T]:
    """x // y and x % y."""
    return (self // other, self % other) if is_operand(other) else NotImplemented


def rdivmod(self: T, other: Any) -> tuple[T, T]:
    """y // x and y % x."""
    return (other // self, other % self) if is_operand(other) else NotImplemented


def pow(self: T, other: Any) -> T:
    """x ** y."""
    if type(other) in (int, float) and self.dtype.kind == "f":
        if other == 2:
            return binary(ops.mul, self, self)
        if other == 0.5:
            return unary(ops.sqrt, self)
        if other == -1:
            return binary(ops.div, 1.0, self)
    return binary(ops.pow_, self, other)


def rpow(self: T, other: Any) -> T:
    """y ** x."""
    return binary(ops.pow_, other, self)


def neg(self: T) -> T:
    """-x."""
    return unary(ops.neg, self)


def pos(self: T) -> T:
    """x itself."""
    return self


def abs_(self: T) -> T:
    """|x|."""
    if self.dtype.kind in "ub":
        return self
    return binary(ops.maximum, self, neg(self))


def matmul_(self: T, other: Any) -> T:
    """x @ y."""
    return matmul(self, other) if is_operand(other) else NotImplemented


def rmatmul_(self: T, other: Any) -> T:
    """y @ x."""
    return matmul(other, self) if is_operand(other) else NotImplemented


# Comparisons give bool tensors without a gradient.
def lt(self: T, other: Any) -> T:
    """x < y, without a gradient."""
    return binary(ops.less, self, comparable(other, self.array.dtype))


def gt(self: T, other: Any) -> T:
    """x > y, without a gradient."""
    return binary(ops.less, comparable(other, self.array.dtype), self)


def eq(self: T, other: Any) -> Any:
    """x == y, without a gradient."""
    return binary(ops.equal, self, comparable(other, self.array.dtype))


def ne(self: T, other: Any) -> Any:
    """x != y, without a gradient."""
    equal = eq(self, other)
    return equal if equal is NotImplemented else ~equal


def le(self: T, other: Any) -> T:
    """x <= y, without a gradient."""
    return (self < other) | (self == other) if is_operand(other) else NotImplemented


def ge(self: T, other: Any) -> T:
    """x >= y, without a gradient."""
    return (self > other) | (self == other) if is_operand(other) else NotImplemented


def and_(self: T, other: Any) -> T:
    """x & y of truth values."""
    return ops.where(_truth(self), _truth(other), False) if is_operand(other) else NotImplemented


def or_(self: T, other: Any) -> T:
    """x | y of truth values."""
    return ops.where(_truth(self), True, _truth(other)) if is_operand(other) else NotImplemented


def xor(self: T, other: Any) -> T:
    """x ^ y of truth values."""
    return ops.where(_truth(self), ~_truth(other), _truth(other)) if is_operand(other) else NotImplemented


def invert(self: T) -> T:
    """~x of truth values."""
    return ops.where(_truth(self), False, True)  # type: ignore[no-any-return]


def exp(self: T) -> T:
    """The exponential, e to the power x."""
    return unary(ops.exp, self)


def log(self: T) -> T:
    """The natural logarithm."""
    return unary(ops.log, self)


def sqrt(self: T) -> T:
    """The square root."""
    return unary(ops.sqrt, self)


def sin(self: T) -> T:
    """The sine of x in radians."""
    return unary(ops.sin, self)


def cos(self: T) -> T:
    """The cosine of x in radians."""
    return unary(ops.cos, self)


def tanh(self: T) -> T:
    """The hyperbolic tangent."""
    return unary(ops.tanh, self)


def erf(self: T) -> T:
    """The error function, 2/sqrt(pi) times the integral of exp(-u^2) from 0 to x."""
    return unary(ops.erf, self)


def floor(self: T) -> T:
    """The largest whole number at most x; no gradient flows."""
    return unary(ops.floor, self)


def abs(self: T) -> T:
    """|x|; its gradient at 0 is 0."""
    return abs_(self)


def maximum(self: T, other: Any) -> T:
    """The larger of two, element by element; ties share the gradient."""
    return binary(ops.maximum, self, as_tensor(other, self))


def minimum(self: T, other: Any) -> T:
    """The smaller of two, element by element; ties share the gradient."""
    x, y = coerced((self, other))
    return reverse(binary(ops.maximum, reverse(x), reverse(y)))  # type: ignore[no-any-return]


def clip(self: T, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> T:
    """The values held between `low` and `high`; the gradient flows inside and at the bounds.

    PyTorch's names of the bounds are `min` and `max`.
    """
    x: Any = self
    if (low is not None and min is not None) or (high is not None and max is not None):
        bounds = {"low": low, "high": high, "min": min, "max": max}
        raise ArgumentError("clip: a bound is given twice", bounds, "expected one name for each.")
    low, high = min if low is None else low, max if high is None else high
    if low is None and high is None:
        raise ArgumentError("clip: no bound is given", {"x": self}, "expected low, high, or both.")
    low, high = _reached(low, x, below=True), _reached(high, x, below=False)
    if low is not None:
        x = ops.where(x < low, low, x)
    if high is not None:
        x = ops.where(x > high, high, x)
    return x  # type: ignore[no-any-return]


def _reached(bound: Any, x: Any, below: bool) -> Any:
    """None for a whole number that lies beyond all values of x's dtype, on the side where it changes nothing."""
    if bound is not None and not is_operand(bound):
        as_tensor(bound)  # refuses it, with its reasons
    bound = bound.item() if isinstance(bound, np.integer) else bound
    if type(bound) is int and x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        if bound < limits.min if below else bound > limits.max:
            return None
    return bound


def _truth(x: Any) -> Any:
    x = as_tensor(x)
    if x.array.dtype.kind != "b":
        rule, hint = "expected booleans.", "Compare first, as in (x != 0) & (y != 0)."
        raise DTypeError("logic: & | ^ ~ are for truth values", {"x": x}, rule, hint)
    return x


def reverse(x: Any) -> Any:
    """The values in reverse order, and back if done again: -x, and ~x for integers, which never wraps."""
    kind = x.dtype.kind
    if kind == "f":
        return -x
    return ~x if kind == "b" else (np.iinfo(x.dtype).max if kind == "u" else -1) - x


def matmul(x: Any, y: Any) -> Any:
    """The matrix product over the last two axes; vectors and leading axes as in `numpy.matmul`.

    A stack of matrices times one matrix is computed as one long product.
    """
    x, y = as_tensor(x), as_tensor(y)
    nx, ny = x.array.ndim, y.array.ndim
    if nx == ny == 2:
        return binary(ops.matmul, x, y)
    if nx == 0 or ny == 0:
        rule = "expected at least one axis each."
        raise ShapeError("matmul: a number is no matrix", {"x": x, "y": y}, rule, "Use * instead.")
    if nx == 1 or ny == 1:
        if x.shape[-1] != y.shape[-min(ny, 2)]:
            raise refuse(ops.matmul, (x, y), {}, ValueError())
        out = matmul(x.reshape(1, -1) if nx == 1 else x, y.reshape(-1, 1) if ny == 1 else y)
        shape = list(out.shape)
        if ny == 1:
            del shape[-1]
        if nx == 1:
            del shape[-1 if ny == 1 else -2]
        return out.reshape(shape)
    if nx > 2 and ny == 2 and x.shape[-1] == y.shape[0]:
        *lead, inner = x.shape
        rows = 1
        for n in lead:
            rows *= n
        return binary(ops.matmul, x.reshape(rows, inner), y).reshape(*lead, y.shape[1])
    return binary(ops.matmul, x, y)
