"""Methods for the operators by their names, and small maths of one argument: `add eq square sign round ...`."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from tinygrad_seq.arguments import whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import Recorded, as_tensor, binary, is_operand, unary, wrap
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.operators import ArithmeticMethods
from tinygrad_seq.errors import DTypeError


class ElementwiseMethods(ArithmeticMethods):
    """`add sub mul div pow eq lt square rsqrt isnan ceil sign round` and the like."""

    __slots__ = ()

    def add(self, other: Any, *, alpha: float = 1) -> Self:
        """x + alpha other."""
        return binary(ops.add, self, beside("add", other if _is_one(alpha) else alpha * beside("add", other)))

    def sub(self, other: Any, *, alpha: float = 1) -> Self:
        """x - alpha other."""
        return binary(ops.sub, self, beside("sub", other if _is_one(alpha) else alpha * beside("sub", other)))

    def mul(self, other: Any) -> Self:
        """x times other, element by element."""
        return binary(ops.mul, self, beside("mul", other))

    def div(self, other: Any) -> Self:
        """x divided by other, element by element."""
        return binary(ops.div, self, beside("div", other))

    def pow(self, exponent: Any) -> Self:
        """x to the power of the exponent."""
        return self.__pow__(beside("pow", exponent))

    def neg(self) -> Self:
        """-x."""
        return unary(ops.neg, self)

    def square(self) -> Self:
        """x times x."""
        return binary(ops.mul, self, self)

    def reciprocal(self) -> Self:
        """1 / x."""
        return 1.0 / self

    def rsqrt(self) -> Self:
        """1 / sqrt(x)."""
        return 1.0 / self.sqrt()

    def log1p(self) -> Self:
        """log(1 + x), to the last places of a small x too."""
        return unary(ops.log1p, self)

    def eq(self, other: Any) -> Self:
        """Where x equals other."""
        return self.__eq__(beside("eq", other))  # type: ignore[no-any-return]

    def ne(self, other: Any) -> Self:
        """Where x does not equal other."""
        return ~self.eq(other)

    def lt(self, other: Any) -> Self:
        """Where x is less than other."""
        return self.__lt__(beside("lt", other))

    def le(self, other: Any) -> Self:
        """Where x is at most other."""
        return self.__le__(beside("le", other))

    def gt(self, other: Any) -> Self:
        """Where x is greater than other."""
        return self.__gt__(beside("gt", other))

    def ge(self, other: Any) -> Self:
        """Where x is at least other."""
        return self.__ge__(beside("ge", other))

    def logical_not(self) -> Self:
        """Where x is 0 or False."""
        return self.eq(0)

    def isnan(self) -> Self:
        """Where x is not a number."""
        return self.ne(self)

    def isinf(self) -> Self:
        """Where x is infinite."""
        return self.__abs__().eq(math.inf)

    def isfinite(self) -> Self:
        """Where x is neither infinite nor NaN."""
        return self.__abs__().lt(math.inf)

    def ceil(self) -> Self:
        """The smallest whole number at least x; no gradient flows."""
        return -(-self).floor()

    def trunc(self) -> Self:
        """x without what is behind the point; no gradient flows."""
        return ops.where(self < 0, self.ceil(), self.floor())  # type: ignore[no-any-return]

    def sign(self) -> Self:
        """-1, 0 or 1; no gradient flows."""
        x = ops.cut(self)
        if x.dtype.kind in "ub":
            return ops.where(x > 0, 1, x)  # type: ignore[no-any-return]
        return ops.where(x > 0, 1, ops.where(x < 0, -1, x))  # type: ignore[no-any-return]

    def round(self, decimals: int = 0) -> Self:
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
    """An operand that was given to a method; what an operator would decline is refused here."""
    return other if is_operand(other) else as_tensor(other)


# ---- functions of two or three -----------------------------------------------------------------------------
def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, `y` elsewhere; no gradient leaks from the side not taken."""
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
