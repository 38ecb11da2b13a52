"""The closed set of primitives: each one's forward pass in NumPy and its gradient rules, side by side.

A rule has the signature `rule(g, out, *inputs, **settings)` and returns the gradient of one input, given the
gradient `g` of the output. Rules are plain maths on arrays for a first derivative, and on Tensors when the gradient
itself is recorded. So derivatives of any order need no further code. Rules never undo broadcasting; the backward
pass does it for all of them. Each rule states what it `reads`; nothing else is saved for it, and an input that it
does not read is passed as a stub with `shape` and `dtype` only. All other facts about an op are properties, set
here too: `Op` lists them.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any

import numpy as np

from tinygrad_seq.engine.op import Op, define
from tinygrad_seq.engine.propagate import by_products, to_part
from tinygrad_seq.runtime import arrays, special, sums
from tinygrad_seq.runtime.arrays import Array

_FIRST = itemgetter(0)


# ---- arithmetic, one number at a time --------------------------------------------------------------------
add = define(
    "add", np.add, "map", lambda g, out, x, y: g, lambda g, out, x, y: g, symmetric=True, vanishes=all
)
sub = define("sub", np.subtract, "map", lambda g, out, x, y: g, lambda g, out, x, y: -g, vanishes=all)
mul = define(
    "mul",
    np.multiply,
    "map",
    lambda g, out, x, y: g * y,
    lambda g, out, x, y: g * x,
    reads="y | x",
    symmetric=True,
    vanishes=any,
    refuses_lists=True,
)
div = define(
    "div",
    np.true_divide,
    "map",
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -(g * out / y),
    reads="y | out y",
    floating=True,
    vanishes=_FIRST,
)
neg = define("neg", np.negative, "map", lambda g, out, x: -g, vanishes=all)
exp = define("exp", np.exp, "map", lambda g, out, x: g * out, reads="out", floating=True, cost=0.5)
log = define("log", np.log, "map", lambda g, out, x: g / x, reads="x", floating=True, cost=0.5)
sqrt = define("sqrt", np.sqrt, "map", lambda g, out, x: g / (out + out), reads="out", floating=True)
sin = define("sin", np.sin, "map", lambda g, out, x: g * cos(x), reads="x", floating=True, cost=5.0)
cos: Op = define("cos", np.cos, "map", lambda g, out, x: -(g * sin(x)), reads="x", floating=True, cost=5.0)
log1p = define("log1p", np.log1p, "map", lambda g, out, x: g / (1.0 + x), reads="x", floating=True, cost=0.5)


def _lesser_rule(g: Any, out: Any, x: Any) -> Any:
    part = where(less(out, 0.0), -out, out)
    return g * where(equal(out, -float(np.finfo(x.dtype).smallest_normal)), 0.0, part * (1.0 - part))


lesser: Op = define("lesser", special.lesser, "map", _lesser_rule, reads="out", floating=True, cost=0.55)
tanh = define(
    "tanh", np.tanh, "map", lambda g, out, x: g - g * (out * out), reads="out", floating=True, cost=0.65
)


def _bell(x: Any, factor: float) -> Any:
    """exp(factor x^2). Of x the leading bits are split off, whose square is exact: exp of a rounded square loses
    as many last places as the square is large.
    """
    steps, near = (256.0 if x.dtype == np.float32 else 2.0**20), where(less(x, -40.0), -40.0, x)
    high = floor(where(less(40.0, near), 40.0, near) * steps) * (1.0 / steps)
    return exp(high * high * factor) * exp((x - high) * (x + high) * factor)


erf = define(
    "erf",
    arrays.erf,
    "map",
    lambda g, out, x: g * (_bell(x, -1.0) * (2.0 / math.sqrt(math.pi))),
    reads="x",
    floating=True,
    cost=0.55,
)
ndtr = define(
    "ndtr",
    special.ndtr,
    "map",
    lambda g, out, x: g * (_bell(x, -0.5) * math.sqrt(0.5 / math.pi)),
    reads="x",
    floating=True,
    cost=0.9,
)
floor = define("floor", np.floor, "map", None)
floor_divide: Op = define("floor_divide", arrays.floor_divide, "map", None, None)
remainder = define(
    "remainder",
    arrays.remainder,
    "map",
    lambda g, out, x, y: g,
    lambda g, out, x, y: -(g * floor_divide(x, y)),
    reads=" | x y",
)
less = define("less", np.less, "map", None, None, exact=True)
equal = define("equal", np.equal, "map", None, None, exact=True, symmetric=True, refuses_lists=True)


def _pow_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    # y x^(y-1) is 0 for y = 0 even where x = 0, which the formula itself would make 0 times infinity.
    flat = equal(y, 0.0)
    return g * where(flat, 0.0, y * pow_(x, where(flat, 1.0, y - 1.0)))


def _pow_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    # x^y log x tends to 0 as x does, for y >= 0; at x = 0 the logarithm must not be taken.
    at_zero = where(less(y, 0.0), False, equal(x, 0.0))
    return g * (out * log(where(at_zero, 1.0, x)))


pow_ = define("pow", np.power, "map", _pow_base, _pow_exponent, reads="x y | out x y", cost=10.0)


def _greater_share(g: Any, x: Any, y: Any) -> Any:
    return where(less(y, x), g, where(less(x, y), 0.0, g * 0.5))


maximum = define(
    "maximum",
    np.maximum,
    "map",
    lambda g, out, x, y: _greater_share(g, x, y),
    lambda g, out, x, y: _greater_share(g, y, x),
    reads="x y | x y",
    symmetric=True,
)
where: Op = define(
    "where",
    np.where,
    "map",
    None,
    lambda g, out, c, x, y: where(c, g, 0.0),
    lambda g, out, c, x, y: where(c, 0.0, g),
    reads=" | c | c",
    promotes=1,
    free=True,
)
cast: Op = define(
    "cast",
    lambda x, *, dtype: x.astype(dtype),
    "map",
    lambda g, out, x, *, dtype: cast(g, dtype=x.dtype),
    moves=True,
    free=True,
    vanishes=all,
)
cut = define("cut", lambda x: x, "map", None, always_recorded=True, views=True, free=True)


# ---- reductions: `axis` is a sorted tuple of axes counted from 0 -----------------------------------------
def kept_shape(shape: tuple[int, ...], axis: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with the reduced axes at size 1."""
    return tuple(1 if i in axis else n for i, n in enumerate(shape))


def _spread(g: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return g if keepdims else reshape(g, shape=kept_shape(x.shape, axis))


def _sum_rule(g: Any, out: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    return expand(_spread(g, x, axis, keepdims), shape=x.shape)


def _max_rule(g: Any, out: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    winners = cast(equal(x, _spread(out, x, axis, keepdims)), dtype=x.dtype)
    return winners * (_spread(g, x, axis, keepdims) / sum_(winners, axis=axis, keepdims=True))


sum_ = define("sum", sums.total, "reduce", _sum_rule, vanishes=all)
max_ = define(
    "max",
    lambda x, *, axis, keepdims: np.maximum.reduce(x, axis, keepdims=keepdims),
    "reduce",
    _max_rule,
    reads="x out",
)

# ---- movement --------------------------------------------------------------------------------------------
Index = tuple[slice, ...]


def _sliced(x: Array, *, index: Any) -> Array:
    part: Array = x[index]  # one number would be a copy; as an array it is a view too
    return part if type(part) is np.ndarray else x[(*index, ...)]


def _pad(x: Array, *, index: Index, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, dtype=x.dtype)
    out[index] = x
    return out


def _concat_rule(wanted: Any, gs: Any, outs: Any, *xs: Any, axis: int) -> list[Any]:
    parts, start, before = [], 0, (slice(None),) * axis
    for want, x in zip(wanted, xs, strict=True):
        stop = start + x.shape[axis]
        parts.append(slice_(gs[0], index=(*before, slice(start, stop))) if want else None)
        start = stop
    return parts


reshape: Op = define(
    "reshape",
    lambda x, *, shape: x.reshape(shape),
    "move",
    lambda g, out, x, *, shape: reshape(g, shape=x.shape),
    views=True,
    moves=True,
    vanishes=all,
)
permute: Op = define(
    "permute",
    lambda x, *, axes: x.transpose(axes),
    "move",
    lambda g, out, x, *, axes: permute(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))),
    views=True,
    moves=True,
    fusible=False,
)
expand = define(
    "expand",
    lambda x, *, shape: np.broadcast_to(x, shape),
    "move",
    lambda g, out, x, *, shape: g,
    views=True,
    moves=True,
    vanishes=all,
)
slice_ = define(
    "slice",
    _sliced,
    "move",
    lambda g, out, x, *, index: pad(g, index=index, shape=x.shape),
    part="index",
    propagate=to_part,
    views=True,
    moves=True,
    own_columns=True,
    vanishes=all,
)
pad: Op = define(
    "pad",
    _pad,
    "move",
    lambda g, out, x, *, index, shape: slice_(g, index=index),
    moves=True,
    own_columns=True,
    vanishes=all,
)
concat = define(
    "concat",
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    "move",
    joint_vjp=_concat_rule,
    promotes=0,
    own_columns=True,
    vanishes=all,
)


# ---- indexing: ids are inputs, one integer array per leading axis of x ------------------------------------
def _gather_rule(wanted: Any, gs: Any, outs: Any, x: Any, *ids: Any) -> list[Any]:
    return [scatter(gs[0], *ids, shape=x.shape) if wanted[0] else None, *[None] * len(ids)]


def _scatter_rule(wanted: Any, gs: Any, outs: Any, x: Any, *ids: Any, shape: Any) -> list[Any]:
    return [gather(gs[0], *ids) if wanted[0] else None, *[None] * len(ids)]


# Eight id arrays are more axes than anyone indexes at once; the places are those of all but input 0.
_IDS = tuple(range(1, 9))
gather = define(
    "gather", lambda x, *ids: arrays.gather(x, ids), "index", joint_vjp=_gather_rule, joint_reads=_IDS
)
scatter = define(
    "scatter",
    lambda x, *ids, shape: arrays.scatter(x, ids, shape),
    "index",
    joint_vjp=_scatter_rule,
    joint_reads=_IDS,
    vanishes=_FIRST,
)


# ---- products, random numbers ------------------------------------------------------------------------------
def _swap(x: Any) -> Any:
    n = len(x.shape)
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


matmul: Op = define(
    "matmul",
    sums.matmul,
    "matmul",
    lambda g, out, x, y: matmul(g, _swap(y)),
    lambda g, out, x, y: matmul(_swap(x), g),
    reads="y | x",
    propagate=by_products,
    fusible=False,
)
uniform = define(
    "uniform",
    lambda key, *, shape, dtype: arrays.uniform(key, shape, np.dtype(dtype)),
    "random",
    None,
    cost=0.6,
)
