"""The shape and dtype of each op's result, from those of its operands and from its settings.

One entry per primitive: the checker of tapes reads them, and a test compares the table with the set of ops.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.engine.op import OPS
from tinygrad_seq.engine.ops import kept_shape
from tinygrad_seq.errors import describe_shape

Shape = tuple[int, ...]
DType = np.dtype[Any]


def _pointwise(*shapes: Shape) -> Shape:
    return np.broadcast_shapes(*shapes)


def _reduced(x: Shape, *, axis: Shape, keepdims: bool) -> Shape:
    if any(not 0 <= a < len(x) for a in axis):
        raise ValueError(f"expected axes from 0 to {len(x) - 1}")
    return kept_shape(x, axis) if keepdims else tuple(n for i, n in enumerate(x) if i not in axis)


def _reshaped(x: Shape, *, shape: Shape) -> Shape:
    if -1 in shape:
        known = -math.prod(shape)
        shape = tuple(math.prod(x) // known if n == -1 and known > 0 else n for n in shape)
    if math.prod(x) != math.prod(shape) or min(shape, default=0) < 0:
        raise ValueError(f"expected a shape of {math.prod(x)} elements")
    return shape


def _permuted(x: Shape, *, axes: Shape) -> Shape:
    if sorted(axes) != list(range(len(x))):
        raise ValueError(f"expected each axis from 0 to {len(x) - 1} once")
    return tuple(x[a] for a in axes)


def _expanded(x: Shape, *, shape: Shape) -> Shape:
    if np.broadcast_shapes(x, shape) != shape:
        raise ValueError(f"expected x to stretch to {describe_shape(shape)}")
    return shape


def _sliced(x: Shape, *, index: tuple[Any, ...]) -> Shape:
    # An array of this shape without memory: NumPy itself gives the shape after indexing.
    return tuple(np.broadcast_to(np.empty((), bool), x)[index].shape)


def _padded(x: Shape, *, index: tuple[Any, ...], shape: Shape) -> Shape:
    place = _sliced(shape, index=index)
    if np.broadcast_shapes(x, place) != place:
        raise ValueError(f"expected x to fill the place {describe_shape(place)}")
    return shape


def _joined(*shapes: Shape, axis: int) -> Shape:
    first = shapes[0]
    if any(s[:axis] != first[:axis] or s[axis + 1 :] != first[axis + 1 :] for s in shapes):
        raise ValueError(f"expected equal sizes on every axis but {axis}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def _gathered(x: Shape, *ids: Shape) -> Shape:
    if len(ids) > len(x):
        raise ValueError(f"expected at most {len(x)} arrays of ids")
    return (*np.broadcast_shapes(*ids), *x[len(ids) :])


def _scattered(x: Shape, *ids: Shape, shape: Shape) -> Shape:
    place = _gathered(shape, *ids)
    if np.broadcast_shapes(x, place) != place:
        raise ValueError(f"expected x to fill the place {describe_shape(place)}")
    return shape


def _multiplied(x: Shape, y: Shape) -> Shape:
    if min(len(x), len(y)) < 2 or x[-1] != y[-2]:
        raise ValueError("expected the last size of x to equal the size of y before its last")
    return (*np.broadcast_shapes(x[:-2], y[:-2]), x[-2], y[-1])


def _drawn(key: Shape, *, shape: Shape, dtype: Any) -> Shape:
    return shape


def _picked(outputs: tuple[Shape, ...], *, i: int) -> Shape | None:
    return outputs[i] if i < len(outputs) else None  # a fused op has outputs that only its gradient sees


def _unknown(*shapes: Shape, **settings: Any) -> None:
    """The result of a user's function is unknown."""


SHAPES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "floor_divide", "remainder", "pow"), _pointwise),
    **dict.fromkeys(("maximum", "less", "equal", "where"), _pointwise),
    **dict.fromkeys(("neg", "exp", "log", "log1p", "sqrt", "sin", "cos", "tanh", "lesser"), _pointwise),
    **dict.fromkeys(("erf", "ndtr", "floor", "cut"), _pointwise),
    "cast": lambda x, *, dtype: x,
    "sum": _reduced,
    "max": _reduced,
    "reshape": _reshaped,
    "permute": _permuted,
    "expand": _expanded,
    "slice": _sliced,
    "pad": _padded,
    "concat": _joined,
    "gather": _gathered,
    "scatter": _scattered,
    "matmul": _multiplied,
    "uniform": _drawn,
    "pick": _picked,
    "checkpoint": _unknown,
}


def expected_dtype(op: str, dtypes: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """The dtype of an op's result; None where it is unknown."""
    if "dtype" in settings:
        return np.dtype(settings["dtype"])
    if op == "pick":
        return dtypes[0][settings["i"]] if settings["i"] < len(dtypes[0]) else None
    if op not in OPS:
        return None
    if OPS[op].kind in ("map", "reduce", "matmul"):
        return _tried(op, dtypes)
    return np.result_type(*dtypes) if op == "concat" else dtypes[0]


@functools.lru_cache(maxsize=1024)
def _tried(op: str, dtypes: tuple[DType, ...]) -> DType:
    """The dtype that NumPy gives for these, found with one element each."""
    ones = [np.ones((1, 1), d) for d in dtypes]
    settings = {"axis": (0,), "keepdims": False} if OPS[op].kind == "reduce" else {}
    return np.asarray(OPS[op].forward(*ones, **settings)).dtype
