"""`x += y` and its kin: the tensor takes a new value, and every name that means it sees that.

As in NumPy and PyTorch, after `y = x; x += 1` both are the new value. Tapes are not disturbed: they hold on to the
old array, and what `x` becomes is recorded. A leaf that wants a gradient is written to inside `no_grad()` only.
Tensors that merely share memory with `x` (a slice, `x.detach()`) keep the old value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, TraceError, describe_shape, explain
from tinygrad_seq.nodes import STATE, Leaf, Node
from tinygrad_seq.recording import TRACED, WANTS, Recorded

if TYPE_CHECKING:
    from tinygrad_seq.tensor import Tensor


class InplaceMethods(Recorded):
    """`+= -= *= /= //= %= **= @= &= |= ^=`."""

    __slots__ = ()

    __iadd__: Callable[[Any, Any], Tensor]
    __isub__: Callable[[Any, Any], Tensor]
    __imul__: Callable[[Any, Any], Tensor]
    __itruediv__: Callable[[Any, Any], Tensor]
    __ifloordiv__: Callable[[Any, Any], Tensor]
    __imod__: Callable[[Any, Any], Tensor]
    __ipow__: Callable[[Any, Any], Tensor]
    __imatmul__: Callable[[Any, Any], Tensor]
    __iand__: Callable[[Any, Any], Tensor]
    __ior__: Callable[[Any, Any], Tensor]
    __ixor__: Callable[[Any, Any], Tensor]


def become(x: Any, symbol: str, out: Any) -> Any:
    """`x` with the value and the place on the tape of `out`, which `x symbol y` came to."""
    if out is NotImplemented or (isinstance(x.node, Leaf) and x.node.value is not None):
        return out  # a number that is shared by all who use it is never changed
    if STATE.recording and isinstance(x.node, Leaf | None) and x.mode:
        raise _refused_leaf(x, symbol)
    call = f"x {symbol}= y"
    if not STATE.recording and isinstance(x.node, Node):
        rule = "x was made by a recorded op, and nothing is recorded inside no_grad()."
        raise GraphError(
            explain(f"{call}: the gradient of x would be wrong", {"x": x}, rule, f"Write x = x {symbol} y.")
        )
    if out.array.shape != x.array.shape:
        rule = f"expected a result of shape {describe_shape(x.shape)}, got {describe_shape(out.shape)}."
        raise ShapeError(
            explain(f"{call}: the result does not fit", {"x": x}, rule, f"Write x = x {symbol} y.")
        )
    if out.array.dtype != x.array.dtype:
        if not np.can_cast(out.array.dtype, x.array.dtype, "same_kind"):
            rule = f"expected a result of dtype {x.dtype}, got {out.dtype}."
            raise DTypeError(
                explain(f"{call}: the result does not fit", {"x": x}, rule, f"Write x = x {symbol} y.")
            )
        out = out.to(x.array.dtype)
    if x.mode & WANTS and not isinstance(x.node, Node):
        x.array = out.array
        return x
    if out.mode & WANTS and type(x) is not Recorded.tensor_type:
        rule, way_out = "expected a value without gradient.", f"Write x = x {symbol} y, under another name."
        raise GraphError(explain(f"{call}: a parameter would hang on the tape", {"x": x}, rule, way_out))
    x.array, x.node, x.mode = out.array, out.node, out.mode
    return x


def _refused_leaf(x: Any, symbol: str) -> Exception:
    call = f"x {symbol}= y"
    if x.mode & TRACED and not x.mode & WANTS:
        rule = "x is an argument, which must stay what it was."
        return TraceError(
            explain(
                f"{call}: changed while a function was traced", {"x": x}, rule, f"Write x = x {symbol} y."
            )
        )
    rule = "expected a tensor without gradient, or no_grad() around it."
    way_out = f"To learn: with no_grad(): x {symbol}= y. For a new value: z = x {symbol} y."
    return GraphError(explain(f"{call}: x is a leaf that wants a gradient", {"x": x}, rule, way_out))


def _inplace(name: str, symbol: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return become(self, symbol, getattr(self, name)(other))

    method.__name__ = name.replace("__", "__i", 1)
    return method


for _name, _symbol in (
    ("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("floordiv", "//"), ("mod", "%"), ("pow", "**"),
    ("matmul", "@"), ("and", "&"), ("or", "|"), ("xor", "^"),
):  # fmt: skip
    setattr(InplaceMethods, f"__i{_name}__", _inplace(f"__{_name}__", _symbol))
