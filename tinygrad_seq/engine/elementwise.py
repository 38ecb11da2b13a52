"""Methods for the operators by their names, and small maths of one argument: `add eq square sign round ...`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import whole
from tinygrad_seq.engine import operators, ops
from tinygrad_seq.engine.apply import Recorded, T, as_tensor, binary, is_operand, unary, wrap
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DTypeError


def add(self: T, other: Any, *, alpha: float = 1) -> T:
    """x + alpha other."""
    return binary(ops.add, self, beside("add", other if _is_one(alpha) else alpha * beside("add", other)))


def sub(self: T, other: Any, *, alpha: float = 1) -> T:
    """x - alpha other."""
    return binary(ops.sub, self, beside("sub", other if _is_one(alpha) else alpha * beside("sub", other)))


def mul(self: T, other: Any) -> T:
    """x times other, element by element."""
    return binary(ops.mul, self, beside("mul", other))


def div(self: T, other: Any) -> T:
    """x divided by other, element by element."""
    return binary(ops.div, self, beside("div", other))


def pow(self: T, exponent: Any) -> T:
    """x to the power of the exponent."""
    return operators.pow(self, beside("pow", exponent))


def neg(self: T) -> T:
    """-x."""
    return unary(ops.neg, self)


def square(self: T) -> T:
    """x times x."""
    return binary(ops.mul, self, self)


def reciprocal(self: T) -> T:
    """1 / x."""
    return binary(ops.div, 1.0, self)


def rsqrt(self: T) -> T:
    """1 / sqrt(x)."""
    return binary(ops.div, 1.0, operators.sqrt(self))


def log1p(self: T) -> T:
    """log(1 + x), to the last places of a small x too."""
    return unary(ops.log1p, self)


def eq(self: T, other: Any) -> T:
    """Where x equals other."""
    return operators.eq(self, beside("eq", other))  # type: ignore[no-any-return]


def ne(self: T, other: Any) -> T:
    """Where x does not equal other."""
    return operators.invert(eq(self, other))


def lt(self: T, other: Any) -> T:
    """Where x is less than other."""
    return operators.lt(self, beside("lt", other))


def le(self: T, other: Any) -> T:
    """Where x is at most other."""
    return operators.le(self, beside("le", other))


def gt(self: T, other: Any) -> T:
    """Where x is greater than other."""
    return operators.gt(self, beside("gt", other))


def ge(self: T, other: Any) -> T:
    """Where x is at least other."""
    return operators.ge(self, beside("ge", other))


def logical_not(self: T) -> T:
    """Where x is 0 or False."""
    return eq(self, 0)


def isnan(self: T) -> T:
    """Where x is not a number."""
    return ne(self, self)


def isinf(self: T) -> T:
    """Where x is infinite."""
    return eq(operators.abs_(self), math.inf)


def isfinite(self: T) -> T:
    """Where x is neither infinite nor NaN."""
    return lt(operators.abs_(self), math.inf)


def ceil(self: T) -> T:
    """The smallest whole number at least x; no gradient flows."""
    return neg(operators.floor(neg(self)))


def trunc(self: T) -> T:
    """x without what is behind the point; no gradient flows."""
    return ops.where(operators.lt(self, 0), ceil(self), operators.floor(self))  # type: ignore[no-any-return]


def sign(self: T) -> T:
    """-1, 0 or 1; no gradient flows."""
    x = ops.cut(self)
    if x.dtype.kind in "ub":
        return ops.where(x > 0, 1, x)  # type: ignore[no-any-return]
    return ops.where(x > 0, 1, ops.where(x < 0, -1, x))  # type: ignore[no-any-return]


def round(self: T, decimals: int = 0) -> T:
    """The nearest whole number, or multiple of 10^-decimals, halves to the even one; no gradient flows."""
    self._looked_at("round")
    decimals = whole("round", "decimals", decimals, -400, 400)
    if self.array.dtype.kind == "b":
        rule = "expected floats or integers."
        raise DTypeError("round: truth values are not rounded", {"x": self}, rule)
    return wrap(np.asarray(np.round(self.array, decimals)))


def _is_one(alpha: Any) -> bool:
    return isinstance(alpha, (int, float)) and alpha == 1


def beside(call: str, other: Any) -> Any:
    """An operand given to a method; types for which an operator returns NotImplemented are refused here."""
    return other if is_operand(other) else as_tensor(other)


# ---- functions of two or three -----------------------------------------------------------------------------
def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, `y` elsewhere; the side not taken gets no gradient."""
    c: Any = as_tensor(condition)
    c = c if c.dtype == bool else c != 0
    return ops.where(c, x, y)


def _like(x: Any, y: Any) -> Any:
    return y if isinstance(y, Recorded) else None


def maximum(x: Any, y: Any) -> Any:
    """The larger of two, element by element; ties share the gradient."""
    a: Any = as_tensor(x, _like(x, y))
    return a.maximum(y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two, element by element; ties share the gradient."""
    a: Any = as_tensor(x, _like(x, y))
    return a.minimum(y)


answer(globals(), "maximum", "minimum", "where")
