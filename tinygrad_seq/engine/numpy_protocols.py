"""NumPy's protocols: the results of `np.exp(t)`, `np.concatenate([t, t])` and `np.asarray(t)` for a tensor.

A function that has a rule here is recorded like the method of the same name. Any other reads a tensor's
values, but only where no gradient is required: a gradient is never cut silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import TRACED, WANTS, Recorded, T, as_tensor, wrap
from tinygrad_seq.engine.node import STATE, mark_changed
from tinygrad_seq.engine.tree import leaves, tree_map
from tinygrad_seq.errors import ArgumentError, GraphError, TraceError
from tinygrad_seq.runtime.arrays import Array


def may_leave(call: str, value: Any, rule: str, hint: str) -> None:
    """Raise GraphError where a tensor in `value` requires a gradient, which would be cut silently.

    Raises TraceError where a traced one would become a constant of the kernel.
    """
    for t in leaves(value, ignore_others=True):
        if t.mode & WANTS and STATE.recording:
            raise GraphError(f"{call}: the gradient would be lost", {"x": t}, rule, hint)
        if t.mode & TRACED and STATE.tracing:
            rule = "expected maths alone: a kernel is made once, and serves other values too."
            raise TraceError(f"{call}: values were taken while a function was traced", {"x": t}, rule)


def plain(value: Any) -> Any:
    """The same value with the arrays of its tensors, which NumPy cannot write to."""
    return tree_map(_read_only, value, ignore_others=True)


def _read_only(t: Recorded) -> Array:
    view = t.array.view()
    view.flags.writeable = False
    return view


def writable(call: str, out: Any) -> Any:
    """The array of an `out=`; a tensor must be off the tape, as for `x[...] = value`."""
    if not isinstance(out, Recorded):
        return out
    if out.mode & (WANTS | TRACED):
        rule, hint = "expected a tensor without gradient.", "Take the result instead of out=."
        raise GraphError(f"{call}: out is on the tape and cannot be written to", {"out": out}, rule, hint)
    return out.array


def array(self: T, dtype: Any = None, copy: bool | None = None) -> Array:
    """The values, where no gradient is lost."""
    may_leave("np.asarray", self, "expected a tensor without gradient.", _DETACH)
    if copy or (dtype is not None and np.dtype(dtype) != self.array.dtype):
        return np.array(self.array, dtype=dtype)
    return plain(self)  # type: ignore[no-any-return]


def dlpack(self: T, **kwargs: Any) -> Any:
    """The values for other libraries, where no gradient is lost."""
    may_leave("__dlpack__", self, "expected a tensor without gradient.", "Pass x.detach().")
    return self.array.__dlpack__(**kwargs)


def dlpack_device(self: T) -> Any:
    """The CPU, as DLPack writes it."""
    return self.array.__dlpack_device__()


def array_ufunc(self: T, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """What a ufunc of NumPy does with tensors."""
    rule = _UFUNCS.get(ufunc)
    if ufunc in _BITWISE and any(as_tensor(x).dtype.kind != "b" for x in inputs):
        rule = None
    if rule and not kwargs and method == "__call__":
        return rule(*inputs)
    if rule and not kwargs and method == "outer":
        x, y = map(_operand, inputs)
        return rule(x.reshape(*x.shape, *(1,) * y.ndim), y)
    settings = {name: value for name, value in kwargs.items() if value is not None or name == "axis"}
    if method == "reduce" and ufunc in _REDUCED and not set(settings) - {"axis", "keepdims"}:
        return getattr(as_tensor(inputs[0]), _REDUCED[ufunc])(**{"axis": 0, **settings})
    call = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if ufunc not in _TRUTHS:
        may_leave(call, (inputs, kwargs), *no_rule(rule is not None or ufunc in _REDUCED))
    return _run(call, getattr(ufunc, method), inputs, settings)


_DETACH = "Write x.detach().numpy() for the values alone."


def no_rule(known: bool) -> tuple[str, str]:
    """Why a call is not recorded, and a hint; `known` where another call of the function would be recorded."""
    return ("it has no gradient rule with these arguments." if known else "it has no gradient rule."), _DETACH


def _run(call: str, function: Callable[..., Any], inputs: Any, settings: dict[str, Any]) -> Any:
    """A ufunc on plain arrays: the results as tensors, or the `out` that was given."""
    if call.endswith(".at") and isinstance(inputs[0], Recorded):
        raise ArgumentError(f"{call}: it writes into its argument", {"x": inputs[0]}, "expected an array.")
    outs = settings.pop("out", ())
    if outs:
        settings["out"] = tuple(writable(call, out) for out in outs)
    found = function(*plain(inputs), **{k: v if k == "out" else plain(v) for k, v in settings.items()})
    for array in settings.get("out", ()):
        if array is not None:
            mark_changed(array)
    if outs:
        return outs[0] if len(outs) == 1 else outs
    return tuple(_tensor(part) for part in found) if isinstance(found, tuple) else _tensor(found)


def _operand(x: Any) -> Any:
    return as_tensor(x)


def _tensor(found: Any) -> Any:
    array = np.asarray(found)
    return wrap(array) if array.dtype.kind in "fiub" else found


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: ops.add, np.subtract: ops.sub, np.multiply: ops.mul, np.true_divide: ops.div,
    np.negative: ops.neg, np.exp: ops.exp, np.log: ops.log, np.sqrt: ops.sqrt,
    np.sin: ops.sin, np.cos: ops.cos, np.tanh: ops.tanh,
    np.floor: ops.floor, np.maximum: ops.maximum, np.power: ops.pow_, np.less: ops.less, np.equal: ops.equal,
    np.absolute: abs,
    np.positive: lambda x: x * 1,
    np.minimum: lambda x, y: as_tensor(x, y).minimum(y),
    np.square: lambda x: x * x,
    np.floor_divide: lambda x, y: as_tensor(x, y) // y,
    np.remainder: lambda x, y: as_tensor(x, y) % y,
    np.divmod: lambda x, y: divmod(as_tensor(x, y), y),
    np.matmul: lambda x, y: as_tensor(x) @ y,
    np.greater: lambda x, y: as_tensor(x, y) > y,
    np.less_equal: lambda x, y: as_tensor(x, y) <= y,
    np.greater_equal: lambda x, y: as_tensor(x, y) >= y,
    np.not_equal: lambda x, y: as_tensor(x, y) != y,
    np.logical_not: lambda x: x == 0,
    np.bitwise_and: lambda x, y: as_tensor(x) & y,
    np.bitwise_or: lambda x, y: as_tensor(x) | y,
    np.bitwise_xor: lambda x, y: as_tensor(x) ^ y,
    np.invert: lambda x: ~x,
}  # fmt: skip
_BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert}
_REDUCED = {np.add: "sum", np.maximum: "max", np.minimum: "min"}
# Their results have no gradient in any case.
_TRUTHS = {
    np.isnan, np.isinf, np.isfinite, np.signbit, np.logical_and, np.logical_or, np.logical_xor, np.less,
    np.equal, np.greater, np.less_equal, np.greater_equal, np.not_equal, np.logical_not,
}  # fmt: skip
