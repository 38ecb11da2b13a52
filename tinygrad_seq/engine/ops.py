"""The closed set of primitives: each one's forward pass in NumPy and its gradient rules, side by side.

A rule has the signature `rule(g, out, *inputs, **settings)` and returns the gradient of one input, given the
gradient `g` of the output. Rules are plain maths on whatever carries it: on arrays for a first derivative, on
Tensors when the gradient is itself to be recorded. So any order of derivative costs no further code.

Rules never undo broadcasting; the walk does that once for all. Each rule states what it `reads`; nothing else
is kept for it, and an input that it does not read arrives as a stub with `shape` and `dtype` only. This file
knows nothing of tensors: a type that records itself enters `Op.recorders`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.errors import DTypeError
from tinygrad_seq.runtime import arrays, special, sums
from tinygrad_seq.runtime.arrays import Array

Rule = Callable[..., Any]
Plan = tuple[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A primitive: `forward` maps arrays to an array, `rules[i]` the output's gradient to that of input i.

    `reads[i]` names what rule i reads, by place among the inputs, -1 for the output. `joint` replaces `rules`
    where all gradients come from one call: `joint(wanted, gs, outs, *inputs, **settings)` returns one
    gradient (or None) per input. `kind` is the op's family: map, reduce, move, index, matmul, random, call.
    `again(node, wanted, gs)` is the joint rule for Tensors where that is another: the gradients, recorded.
    `floating` ops turn integers into float32 first; `marks`: on the tape though no gradient flows (`cut`).
    The result of one that `views` may be a part of its input's memory; nothing in it is computed.
    """

    name: str
    forward: Callable[..., Any]
    kind: str
    rules: tuple[Rule | None, ...] = ()
    reads: tuple[tuple[int, ...], ...] = ()
    joint: Rule | None = None
    joint_reads: tuple[int, ...] = ()
    floating: bool = False
    marks: bool = False
    views: bool = False
    plans: dict[tuple[bool, ...], Plan] = field(default_factory=dict, repr=False)
    flowing: tuple[tuple[int, Rule], ...] = ()
    again: Rule | None = None

    recorders: ClassVar[dict[type, Callable[..., Any]]] = {}

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """The op's value; recorded where an input is of a type that records itself."""
        for x in inputs:
            recorder = Op.recorders.get(type(x))
            if recorder is not None:
                return recorder(self, inputs, settings)
        try:
            return self.forward(*inputs, **settings)
        except TypeError as error:
            operands = {f"x{i}": x for i, x in enumerate(inputs)}
            rule = f"Python says: {error}"
            raise DTypeError(f"{self.name}: the arguments do not fit", operands, rule) from None

    def plan(self, wants: tuple[bool, ...]) -> Plan:
        """For inputs that want a gradient or not: (places the rules read, does any gradient flow)."""
        answer = self.plans.get(wants)
        if answer is None:
            if self.joint is not None:
                read, flows = set(self.joint_reads), any(wants)
            else:
                live = [i for i, rule in self.flowing if wants[i]]
                read, flows = {p for i in live for p in self.reads[i]}, bool(live)
            answer = self.plans[wants] = (tuple(sorted(read)) if flows else (), flows)
        return answer


OPS: dict[str, Op] = {}
VIEWS = frozenset({"reshape", "permute", "expand", "slice", "cut"})
FLOATING = frozenset({"div", "exp", "log", "log1p", "sqrt", "sin", "cos", "tanh", "lesser", "erf", "ndtr"})


def define(name: str, forward: Callable[..., Any], kind: str, *rules: Rule | None, reads: str = "") -> Op:
    """Enter a primitive. `reads` lists words for each rule, between bars: `"y | x"`; `out` is the output."""
    wanted = reads.split("|") + [""] * len(rules)
    places = tuple(
        tuple(-1 if word == "out" else rule.__code__.co_varnames.index(word) - 2 for word in words.split())
        if rule
        else ()
        for rule, words in zip(rules, wanted, strict=False)
    )
    flowing = tuple((i, rule) for i, rule in enumerate(rules) if rule)
    OPS[name] = Op(
        name, forward, kind, rules, places,
        floating=name in FLOATING, marks=name == "cut", views=name in VIEWS, flowing=flowing,
    )  # fmt: skip
    return OPS[name]


# ---- arithmetic, one number at a time --------------------------------------------------------------------
add = define("add", np.add, "map", lambda g, out, x, y: g, lambda g, out, x, y: g)
sub = define("sub", np.subtract, "map", lambda g, out, x, y: g, lambda g, out, x, y: -g)
mul = define("mul", np.multiply, "map", lambda g, out, x, y: g * y, lambda g, out, x, y: g * x, reads="y | x")
div = define(
    "div",
    np.true_divide,
    "map",
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -(g * out / y),
    reads="y | out y",
)
neg = define("neg", np.negative, "map", lambda g, out, x: -g)
exp = define("exp", np.exp, "map", lambda g, out, x: g * out, reads="out")
log = define("log", np.log, "map", lambda g, out, x: g / x, reads="x")
sqrt = define("sqrt", np.sqrt, "map", lambda g, out, x: g / (out + out), reads="out")
sin = define("sin", np.sin, "map", lambda g, out, x: g * cos(x), reads="x")
cos: Op = define("cos", np.cos, "map", lambda g, out, x: -(g * sin(x)), reads="x")
log1p = define("log1p", np.log1p, "map", lambda g, out, x: g / (1.0 + x), reads="x")


def _lesser_rule(g: Any, out: Any, x: Any) -> Any:
    part = where(less(out, 0.0), -out, out)
    return g * where(equal(out, -float(np.finfo(x.dtype).smallest_normal)), 0.0, part * (1.0 - part))


lesser: Op = define("lesser", special.lesser, "map", _lesser_rule, reads="out")
tanh = define("tanh", np.tanh, "map", lambda g, out, x: g - g * (out * out), reads="out")


def _bell(x: Any, factor: float) -> Any:
    """exp(factor x^2). Of x the leading bits are split off, whose square is exact: exp of a rounded square loses
    as many last places as the square is large.
    """
    steps, near = (256.0 if x.dtype == np.float32 else 2.0**20), where(less(x, -40.0), -40.0, x)
    high = floor(where(less(40.0, near), 40.0, near) * steps) * (1.0 / steps)
    return exp(high * high * factor) * exp((x - high) * (x + high) * factor)


erf = define(
    "erf", arrays.erf, "map", lambda g, out, x: g * (_bell(x, -1.0) * (2.0 / math.sqrt(math.pi))), reads="x"
)
ndtr = define(
    "ndtr", special.ndtr, "map", lambda g, out, x: g * (_bell(x, -0.5) * math.sqrt(0.5 / math.pi)), reads="x"
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
less = define("less", np.less, "map", None, None)
equal = define("equal", np.equal, "map", None, None)


def exact(op: Op, x: Array, y: Array) -> bool:
    """Whether integers of two dtypes are compared as they are, for a common dtype may not hold both."""
    return op in (less, equal) and x.dtype.kind in "iu" and y.dtype.kind in "iu"


def _pow_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    # y x^(y-1) is 0 for y = 0 even where x = 0, which the formula itself would make 0 times infinity.
    flat = equal(y, 0.0)
    return g * where(flat, 0.0, y * pow_(x, where(flat, 1.0, y - 1.0)))


def _pow_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    # x^y log x tends to 0 as x does, for y >= 0; at x = 0 the logarithm must not be taken.
    at_zero = where(less(y, 0.0), False, equal(x, 0.0))
    return g * (out * log(where(at_zero, 1.0, x)))


pow_ = define("pow", np.power, "map", _pow_base, _pow_exponent, reads="x y | out x y")


def _greater_share(g: Any, x: Any, y: Any) -> Any:
    return where(less(y, x), g, where(less(x, y), 0.0, g * 0.5))


maximum = define(
    "maximum",
    np.maximum,
    "map",
    lambda g, out, x, y: _greater_share(g, x, y),
    lambda g, out, x, y: _greater_share(g, y, x),
    reads="x y | x y",
)
where: Op = define(
    "where",
    np.where,
    "map",
    None,
    lambda g, out, c, x, y: where(c, g, 0.0),
    lambda g, out, c, x, y: where(c, 0.0, g),
    reads=" | c | c",
)
cast: Op = define(
    "cast", lambda x, *, dtype: x.astype(dtype), "map", lambda g, out, x, *, dtype: cast(g, dtype=x.dtype)
)
cut = define("cut", lambda x: x, "map", None)


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


sum_ = define("sum", sums.total, "reduce", _sum_rule)
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
)
permute: Op = define(
    "permute",
    lambda x, *, axes: x.transpose(axes),
    "move",
    lambda g, out, x, *, axes: permute(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))),
)
expand = define(
    "expand", lambda x, *, shape: np.broadcast_to(x, shape), "move", lambda g, out, x, *, shape: g
)
slice_ = define(
    "slice",
    _sliced,
    "move",
    lambda g, out, x, *, index: pad(g, index=index, shape=x.shape),
)
pad: Op = define("pad", _pad, "move", lambda g, out, x, *, index, shape: slice_(g, index=index))
concat = OPS["concat"] = Op(
    "concat", lambda *xs, axis: np.concatenate(xs, axis=axis), "move", joint=_concat_rule, joint_reads=()
)


# ---- indexing: ids are inputs, one integer array per leading axis of x ------------------------------------
def _gather_rule(wanted: Any, gs: Any, outs: Any, x: Any, *ids: Any) -> list[Any]:
    return [scatter(gs[0], *ids, shape=x.shape) if wanted[0] else None, *[None] * len(ids)]


def _scatter_rule(wanted: Any, gs: Any, outs: Any, x: Any, *ids: Any, shape: Any) -> list[Any]:
    return [gather(gs[0], *ids) if wanted[0] else None, *[None] * len(ids)]


# Eight id arrays are more axes than anyone indexes at once; the places are those of all but input 0.
_IDS = tuple(range(1, 9))
gather = OPS["gather"] = Op(
    "gather", lambda x, *ids: arrays.gather(x, ids), "index", joint=_gather_rule, joint_reads=_IDS
)
scatter = OPS["scatter"] = Op(
    "scatter",
    lambda x, *ids, shape: arrays.scatter(x, ids, shape),
    "index",
    joint=_scatter_rule,
    joint_reads=_IDS,
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
)
uniform = define(
    "uniform", lambda key, *, shape, dtype: arrays.uniform(key, shape, np.dtype(dtype)), "random", None
)
