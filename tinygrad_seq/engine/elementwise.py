"""Methods for the operators by their names, and small maths of one argument: `add eq square sign round ...`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq.arguments import whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import as_tensor, binary, is_operand, unary, wrap
from tinygrad_seq.engine.operators import ArithmeticMethods
from tinygrad_seq.errors import DTypeError

if TYPE_CHECKING:
    from tinygrad_seq.engine.tensor import Tensor


class ElementwiseMethods(ArithmeticMethods):
    """`add sub mul div pow eq lt square rsqrt isnan ceil sign round` and the like."""

    __slots__ = ()

    def add(self, other: Any, *, alpha: float = 1) -> Tensor:
        """x + alpha other."""
        return binary(ops.add, self, beside("add", other if _is_one(alpha) else alpha * beside("add", other)))

    def sub(self, other: Any, *, alpha: float = 1) -> Tensor:
        """x - alpha other."""
        return binary(ops.sub, self, beside("sub", other if _is_one(alpha) else alpha * beside("sub", other)))

    def mul(self, other: Any) -> Tensor:
        """x times other, element by element."""
        return binary(ops.mul, self, beside("mul", other))

    def div(self, other: Any) -> Tensor:
        """x divided by other, element by element."""
        return binary(ops.div, self, beside("div", other))

    def pow(self, exponent: Any) -> Tensor:
        """x to the power of the exponent."""
        return self.__pow__(beside("pow", exponent))

    def neg(self) -> Tensor:
        """-x."""
        return unary(ops.neg, self)

    def square(self) -> Tensor:
        """x times x."""
        return binary(ops.mul, self, self)

    def reciprocal(self) -> Tensor:
        """1 / x."""
        return 1.0 / self

    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)."""
        return 1.0 / self.sqrt()

    def log1p(self) -> Tensor:
        """log(1 + x), to the last places of a small x too."""
        return unary(ops.log1p, self)

    def eq(self, other: Any) -> Tensor:
        """Where x equals other."""
        return self.__eq__(beside("eq", other))  # type: ignore[no-any-return]

    def ne(self, other: Any) -> Tensor:
        """Where x does not equal other."""
        return ~self.eq(other)

    def lt(self, other: Any) -> Tensor:
        """Where x is less than other."""
        return self.__lt__(beside("lt", other))

    def le(self, other: Any) -> Tensor:
        """Where x is at most other."""
        return self.__le__(beside("le", other))

    def gt(self, other: Any) -> Tensor:
        """Where x is greater than other."""
        return self.__gt__(beside("gt", other))

    def ge(self, other: Any) -> Tensor:
        """Where x is at least other."""
        return self.__ge__(beside("ge", other))

    def logical_not(self) -> Tensor:
        """Where x is 0 or False."""
        return self.eq(0)

    def isnan(self) -> Tensor:
        """Where x is not a number."""
        return self.ne(self)

    def isinf(self) -> Tensor:
        """Where x is infinite."""
        return abs(self).eq(math.inf)

    def isfinite(self) -> Tensor:
        """Where x is neither infinite nor NaN."""
        return abs(self) < math.inf

    def ceil(self) -> Tensor:
        """The smallest whole number at least x; no gradient flows."""
        return -(-self).floor()

    def trunc(self) -> Tensor:
        """x without what is behind the point; no gradient flows."""
        return ops.where(self < 0, self.ceil(), self.floor())  # type: ignore[no-any-return]

    def sign(self) -> Tensor:
        """-1, 0 or 1; no gradient flows."""
        x = ops.cut(self)
        if x.dtype.kind in "ub":
            return ops.where(x > 0, 1, x)  # type: ignore[no-any-return]
        return ops.where(x > 0, 1, ops.where(x < 0, -1, x))  # type: ignore[no-any-return]

    def round(self, decimals: int = 0) -> Tensor:
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
