"""`x += y` and other in-place operators: the tensor takes a new value, visible through every name of it.

As in NumPy and PyTorch, after `y = x; x += 1` both are the new value. Tapes stay valid: they keep the old
array, and the new value of `x` is recorded. A leaf that requires a gradient can be written to only inside
`no_grad()`. A view (`x[0]`, `x.T`, `x.detach()`) is written through: the tensor that it is a view of changes
too. On the tape, where that is not recorded, it is refused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import TRACED, WANTS, Recorded, T, leaf, wrap
from tinygrad_seq.engine.node import STATE, Leaf, Node, mark_changed, next_index
from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, TraceError, describe_shape
from tinygrad_seq.runtime.arrays import Array


def become(x: Any, symbol: str, out: Any) -> Any:
    """`x` with the value and the node of `out`, the result of `x symbol y`."""
    if out is NotImplemented or (isinstance(x.node, Leaf) and x.node.value is not None):
        return out  # a shared constant is never changed
    if STATE.recording and isinstance(x.node, Leaf | None) and x.mode:
        raise _refused_leaf(x, symbol)
    call = f"x {symbol}= y"
    if not STATE.recording and isinstance(x.node, Node):
        rule = "x was made by a recorded op, and nothing is recorded inside no_grad()."
        raise GraphError(
            f"{call}: the gradient of x would be wrong", {"x": x}, rule, f"Write x = x {symbol} y."
        )
    if out.array.shape != x.array.shape:
        rule = f"expected a result of shape {describe_shape(x.shape)}, got {describe_shape(out.shape)}."
        raise ShapeError(f"{call}: the result does not fit", {"x": x}, rule, f"Write x = x {symbol} y.")
    if out.array.dtype != x.array.dtype:
        if not np.can_cast(out.array.dtype, x.array.dtype, "same_kind"):
            rule = f"expected a result of dtype {x.dtype}, got {out.dtype}."
            raise DTypeError(f"{call}: the result does not fit", {"x": x}, rule, f"Write x = x {symbol} y.")
        out = out.to(x.array.dtype)
    learnt = x.mode & WANTS and not isinstance(x.node, Node)  # a leaf, inside no_grad()
    if out.mode & WANTS and type(x) is not Recorded.tensor_type:
        rule, hint = "expected a value without gradient.", f"Write x = x {symbol} y, under another name."
        raise GraphError(f"{call}: a parameter would hang on the tape", {"x": x}, rule, hint)
    if _is_shared(x):
        if out.mode or (x.mode and not learnt):
            rule = "another tensor that is still there shares its memory, as x[0] does, and would not change."
            raise GraphError(f"{call}: x is seen elsewhere", {"x": x}, rule, f"Write x = x {symbol} y.")
        if x.array.flags.writeable:
            x.array[...] = out.array
            mark_changed(x.array)
            return x
    x.viewed = ()
    if learnt:
        take_array(x, out.array)
    else:
        x.array, x.node, x.mode = out.array, out.node, out.mode
    return x


def take_array(x: Any, array: Array) -> None:
    """Give a leaf another array; ops recorded before have read the old one."""
    x.array = array
    if x.node is not None:
        x.node.replaced = next_index()


def _is_shared(x: Any) -> bool:
    """True where a tensor that x is a view of, or a view of x, is still alive."""
    if weakref.getweakrefcount(x) and any(
        type(r) is weakref.ref and r.__callback__ is None for r in weakref.getweakrefs(x)
    ):
        return True
    sources = [source for seen in x.viewed if (source := seen()) is not None]
    return any(np.may_share_memory(source.array, x.array) for source in sources)


def alias(t: Any) -> Any:
    """Another tensor of the same value at the same place of the tape: `x += y` on the one leaves the other."""
    if not t.mode and _is_shared(t):
        return wrap(t.array.copy())
    return wrap(t.array, t.node or (leaf(t) if t.mode else None), t.mode)


def unshared(t: Any) -> Any:
    """The same value at the same place of the tape, in memory that writing to the tensor it came from spares."""
    return alias(t) if t.mode else wrap(t.array.copy())


def _refused_leaf(x: Any, symbol: str) -> Exception:
    call = f"x {symbol}= y"
    if x.mode & TRACED and not x.mode & WANTS:
        rule = "x is an argument, which must stay what it was."
        return TraceError(
            f"{call}: changed while a function was traced", {"x": x}, rule, f"Write x = x {symbol} y."
        )
    rule = "expected a tensor without gradient, or no_grad() around it."
    hint = f"To learn: with no_grad(): x {symbol}= y. For a new value: z = x {symbol} y."
    return GraphError(f"{call}: x is a leaf that wants a gradient", {"x": x}, rule, hint)


def _inplace(name: str, symbol: str) -> Callable[[T, Any], T]:
    def method(self: T, other: Any) -> T:
        return become(self, symbol, getattr(self, name)(other))  # type: ignore[no-any-return]

    method.__name__ = name.replace("__", "__i", 1)
    return method


iadd, isub, imul = _inplace("__add__", "+"), _inplace("__sub__", "-"), _inplace("__mul__", "*")
itruediv, ifloordiv, imod = (
    _inplace("__truediv__", "/"),
    _inplace("__floordiv__", "//"),
    _inplace("__mod__", "%"),
)
ipow, imatmul = _inplace("__pow__", "**"), _inplace("__matmul__", "@")
iand, ior, ixor = _inplace("__and__", "&"), _inplace("__or__", "|"), _inplace("__xor__", "^")
