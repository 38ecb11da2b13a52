"""NumPy's functions on tensors: those that have a rule are recorded, with NumPy's arguments and meanings.

A rule returns a tensor, with or without a gradient. A function without a rule returns what NumPy returns, and
is refused where a gradient would be lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.arguments import axis_of
from tinygrad_seq.engine import elementwise, ops
from tinygrad_seq.engine.apply import Recorded, as_tensor
from tinygrad_seq.engine.contraction import einsum
from tinygrad_seq.engine.node import mark_changed
from tinygrad_seq.engine.numpy_protocols import may_leave, no_rule, plain, writable
from tinygrad_seq.engine.shapes import concat, stack
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.engine.watched_data import WRITERS
from tinygrad_seq.errors import ArgumentError

Rule = Callable[..., Any]


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The body of `Tensor.__array_function__`."""
    name = f"np.{func.__module__.removeprefix('numpy').lstrip('.')}.{func.__name__}".replace("..", ".")
    rule = _RULES.get(func)
    if rule is not None:
        settings = {k: v for k, v in kwargs.items() if not (v is None and k in ("out", "dtype"))}
        try:
            inspect.signature(rule).bind(*args, **settings)
        except TypeError:  # an argument that the rule does not know
            pass
        else:
            return rule(*args, **settings)
    if func in WRITERS and leaves(args[:1], ignore_others=True):
        rule_text, hint = "expected an array.", "Write x[...] = value."
        raise ArgumentError(f"{name}: it writes into its argument", {"x": args[0]}, rule_text, hint)
    if func not in _NO_GRADIENT:
        lost = args[1:] if func is np.full_like else args
        may_leave(name, (lost, kwargs), *no_rule(rule is not None))
    out = kwargs.get("out")
    if not isinstance(out, Recorded):
        return func(*plain(args), **plain(kwargs))
    func(*plain(args), **{**plain(kwargs), "out": writable(name, out)})
    mark_changed(out.array)
    return out


def _of(x: Any, like: Any = None) -> Any:
    """An argument of NumPy as a tensor: lists become float64, numbers beside a tensor have its dtype."""
    return as_tensor(np.asarray(x) if isinstance(x, (list, tuple)) else x, like)


# ---- reductions ------------------------------------------------------------------------------------------
def _reduction(method: str) -> Rule:
    def rule(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        return getattr(_of(a), method)(axis, keepdims)

    return rule


def _spread(method: str) -> Rule:
    def rule(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
        return getattr(_of(a), method)(axis, keepdims, correction=ddof)

    return rule


def _ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    a = _of(a)
    return a.amax(axis, keepdims) - a.amin(axis, keepdims)


def _average(a: Any, axis: Any = None, weights: Any = None) -> Any:
    a = _of(a)
    if weights is None:
        return a.mean(axis)
    weights = _of(weights, a)
    if weights.shape != a.shape:
        weights = weights.reshape(
            [-1 if i == axis_of("average", axis, a.ndim, a) else 1 for i in range(a.ndim)]
        )
    return (a * weights).sum(axis) / weights.expand(*a.shape).sum(axis)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = _of(x)
    flat = axis is None and x.ndim == 1
    vectors = flat or isinstance(axis, int)
    if not (
        ord is None or (vectors and ord in (1, 2, np.inf)) or (not vectors and ord == "fro" and x.ndim == 2)
    ):
        may_leave(f"np.linalg.norm of order {ord}", x, *no_rule(True))
        return np.linalg.norm(plain(x), ord, axis, keepdims)
    if ord == 1:
        return abs(x).sum(axis, keepdims)
    if ord == np.inf:
        return abs(x).amax(axis, keepdims)
    squares = (x * x).sum(axis, keepdims)
    # At 0 the root's slope is infinite; the norm's gradient there is 0, as in PyTorch.
    none = squares == 0.0
    return ops.where(none, 0.0, ops.where(none, 1.0, squares).sqrt())


# ---- shapes ----------------------------------------------------------------------------------------------
def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    pieces = [_of(a) for a in arrays]
    return concat([p.reshape(-1) for p in pieces]) if axis is None else concat(pieces, axis)


def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return _concatenate([arr, _of(values, arr)], axis)


def _at_least(axes: int) -> Rule:
    def rule(*arrays: Any) -> Any:
        found = tuple(_with_axes(_of(a), axes) for a in arrays)
        return found[0] if len(found) == 1 else found

    return rule


def _with_axes(t: Any, axes: int) -> Any:
    if t.ndim >= axes:
        return t
    if axes == 3 and t.ndim:  # NumPy's (1, n, 1) and (m, n, 1)
        return t.reshape(1, -1, 1) if t.ndim == 1 else t.unsqueeze(-1)
    return t.reshape(*(1,) * (axes - t.ndim), *t.shape)


def _stacked(axes: int, axis: int) -> Rule:
    def rule(tup: Sequence[Any]) -> Any:
        pieces = [_with_axes(_of(t), axes) for t in tup]
        return concat(pieces, 0 if axes == 1 and pieces[0].ndim == 1 else axis)

    return rule


def _column_stack(tup: Sequence[Any]) -> Any:
    return concat([t.reshape(-1, 1) if t.ndim < 2 else t for t in map(_of, tup)], 1)


def _reshape(a: Any, shape: Any) -> Any:
    return _of(a).reshape(shape)


def _transpose(a: Any, axes: Any = None) -> Any:
    return _of(a).T if axes is None else _of(a).permute(*axes)


def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    return _of(a).permute(*_moved(_of(a).ndim, source, destination))


def _moved(ndim: int, source: Any, destination: Any) -> list[int]:
    names = np.broadcast_to(np.empty(()), tuple(range(1, ndim + 1)))  # each axis is known by its size
    return [n - 1 for n in np.moveaxis(names, source, destination).shape]


def _squeeze(a: Any, axis: Any = None) -> Any:
    return _of(a).reshape(np.squeeze(plain(_of(a)), axis).shape)


def _expand_dims(a: Any, axis: Any) -> Any:
    return _of(a).reshape(np.expand_dims(plain(_of(a)), axis).shape)


def _parts(function: Any) -> Rule:
    def rule(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
        ary = _of(ary)
        axis = axis_of("split", axis, ary.ndim, ary)
        pieces = function(np.arange(ary.shape[axis]), indices_or_sections)
        return [ary.take(p, axis) for p in pieces]

    return rule


def _flip(m: Any, axis: Any = None) -> Any:
    m = _of(m)
    return m.flip() if axis is None else m.flip(*(axis if isinstance(axis, tuple) else (axis,)))


def _take(a: Any, indices: Any, axis: int | None = None) -> Any:
    a = _of(a)
    indices = indices if isinstance(indices, Recorded) else np.asarray(indices)
    return a.reshape(-1)[indices] if axis is None else a.take(indices, axis)


def _moved_values(function: Any) -> Rule:
    """A rule for functions that only pick and repeat elements: NumPy does it with the elements' numbers, then one
    gather.
    """

    def rule(a: Any, *args: Any, **settings: Any) -> Any:
        a = _of(a)
        places = function(np.arange(a.size).reshape(a.shape), *plain(args), **plain(settings))
        return a.reshape(-1)[places] if places.ndim else a.reshape(-1)[int(places)]

    return rule


def _triangle(function: Any) -> Rule:
    def rule(m: Any, k: int = 0) -> Any:
        m = _of(m)
        return elementwise.where(function(np.ones(m.shape[-2:], bool), k), m, 0)

    return rule


def _trace(a: Any, offset: int = 0) -> Any:
    return _moved_values(np.diagonal)(a, offset).sum(-1)


def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    a = _of(a)
    axis = axis_of("diff", axis, a.ndim, a)
    before = (slice(None),) * axis
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a


# ---- elements and products -------------------------------------------------------------------------------
def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    return _of(a).clip(a_min, a_max)


def _where(condition: Any, x: Any, y: Any) -> Any:
    return elementwise.where(condition, x, y)


def _dot(a: Any, b: Any) -> Any:
    a, b = _of(a, b), _of(b, a)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return np.tensordot(a, b, (-1, -2)) if b.ndim > 2 else a @ b


def _inner(a: Any, b: Any) -> Any:
    a, b = _of(a, b), _of(b, a)
    return a * b if a.ndim == 0 or b.ndim == 0 else np.tensordot(a, b, (-1, -1))


def _vdot(a: Any, b: Any) -> Any:
    return (_of(a).reshape(-1) * _of(b).reshape(-1)).sum()


def _outer(a: Any, b: Any) -> Any:
    return _of(a, b).reshape(-1, 1) * _of(b, a).reshape(1, -1)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = _of(a), _of(b)
    if isinstance(axes, int):
        axes = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    pairs = [[x] if isinstance(x, int) else list(x) for x in axes]
    mine = [axis_of("tensordot", i, a.ndim, a) for i in pairs[0]]
    theirs = [axis_of("tensordot", i, b.ndim, b) for i in pairs[1]]
    left = [i for i in range(a.ndim) if i not in mine]
    right = [i for i in range(b.ndim) if i not in theirs]
    size = int(np.prod([a.shape[i] for i in mine], dtype=np.int64))
    x = a.permute(*left, *mine).reshape(-1, size) if a.size else a.permute(*left, *mine).reshape(0, size)
    y = b.permute(*theirs, *right).reshape(size, -1)
    return (x @ y).reshape(*(a.shape[i] for i in left), *(b.shape[i] for i in right))


def _einsum(subscripts: str, *operands: Any) -> Any:
    return einsum(subscripts, *operands)


_RULES: dict[Any, Rule] = {
    np.sum: _reduction("sum"), np.mean: _reduction("mean"), np.max: _reduction("amax"), np.amax: _reduction("amax"),
    np.min: _reduction("amin"), np.amin: _reduction("amin"), np.var: _spread("var"), np.std: _spread("std"),
    np.ptp: _ptp, np.average: _average, np.linalg.norm: _norm, np.trace: _trace,
    np.append: _append, np.concatenate: _concatenate, np.stack: lambda arrays, axis=0: stack(arrays, axis),
    np.vstack: _stacked(2, 0), np.hstack: _stacked(1, 1), np.dstack: _stacked(3, 2),
    np.column_stack: _column_stack, np.atleast_1d: _at_least(1), np.atleast_2d: _at_least(2),
    np.atleast_3d: _at_least(3),
    np.reshape: _reshape, np.ravel: lambda a: _of(a).reshape(-1), np.transpose: _transpose,
    np.swapaxes: lambda a, axis1, axis2: _of(a).transpose(axis1, axis2), np.moveaxis: _moveaxis,
    np.squeeze: _squeeze, np.expand_dims: _expand_dims, np.split: _parts(np.split),
    np.array_split: _parts(np.array_split), np.flip: _flip, np.flipud: lambda m: _of(m).flip(0),
    np.fliplr: lambda m: _of(m).flip(1), np.take: _take, np.copy: lambda a: _of(a) * 1,
    np.broadcast_to: lambda array, shape: _of(array).expand(shape if isinstance(shape, tuple) else (shape,)),
    np.roll: _moved_values(np.roll), np.repeat: _moved_values(np.repeat), np.tile: _moved_values(np.tile),
    np.rot90: _moved_values(np.rot90), np.diagonal: _moved_values(np.diagonal),
    np.tril: _triangle(np.tril), np.triu: _triangle(np.triu), np.diff: _diff,
    np.clip: _clip, np.where: _where, np.dot: _dot, np.inner: _inner, np.vdot: _vdot, np.outer: _outer,
    np.tensordot: _tensordot, np.einsum: _einsum,
}  # fmt: skip
# Their results are indices, counts, booleans or texts: no gradient is lost.
_NO_GRADIENT = {
    np.argmax, np.argmin, np.argsort, np.argwhere, np.nonzero, np.flatnonzero, np.count_nonzero, np.searchsorted,
    np.digitize, np.bincount, np.all, np.any, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.isin,
    np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.result_type,
    np.can_cast, np.min_scalar_type, np.shares_memory, np.may_share_memory, np.iscomplexobj, np.isrealobj,
    np.array2string, np.array_repr, np.array_str, np.isposinf, np.isneginf,
}  # fmt: skip
