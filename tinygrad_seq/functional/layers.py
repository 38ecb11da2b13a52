"""Linear maps, normalisation, dropout and embedding as functions, each from its formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.arguments import flag, real, sizes_of, whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, input_tensor, where
from tinygrad_seq.errors import ArgumentError, ShapeError, describe_shape
from tinygrad_seq.functional.activations import (
    floats,
)
from tinygrad_seq.functional.losses import checked_ids
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.runtime.kernel_cache import say


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b; x (..., I), W (O, I), b (O,)."""
    x, weight = input_tensor("linear", x), input_tensor("linear", weight)
    rows, table = x.array.shape, weight.array.shape
    if not rows or not table or rows[-1] != table[-1]:
        size, width = (shape[-1] if shape else "none" for shape in (rows, table))
        rule = f"expected the last size of x ({size}) to equal the last size of weight ({width})."
        raise ShapeError("linear: x does not fit the weight", {"x": x, "weight": weight}, rule)
    say_wide(x, weight)
    out = x @ weight.T
    return out if bias is None else out + input_tensor("linear", bias)


def say_wide(x: Tensor, weight: Tensor) -> None:
    """Print once that float64 data, such as NumPy's generators give, makes float32 layers float64."""
    a, w = x.array.dtype, weight.array.dtype
    if a is not w and a.kind == w.kind == "f" and a.itemsize > w.itemsize:
        say(
            "float64",
            "a float64 input meets float32 weights, so all that follows is float64, at a third of the speed. "
            "Write x.float() or array.astype('float32'), or model.double() where that is meant.",
        )


def _normalized_rows(call: str, x: Tensor, normalized_shape: int | Sequence[int]) -> tuple[Tensor, int]:
    """x with its last axes, which must have this shape, flattened to one; and its length."""
    shape = sizes_of((normalized_shape,), call, 0)
    if not shape or x.shape[-len(shape) :] != shape:
        rule = f"expected the last sizes of x to be {describe_shape(shape)}."
        raise ShapeError(f"{call}: x does not fit", {"x": x}, rule)
    size = math.prod(shape)
    return (x if len(shape) == 1 else x.reshape(*x.shape[: -len(shape)], size)), size


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba, Kiros and Hinton, 2016)."""
    x, eps = floats(input_tensor("layer_norm", x)), real("layer_norm", "eps", eps)
    rows, size = _normalized_rows("layer_norm", x, normalized_shape)
    found = [input_tensor("layer_norm", t) for t in (weight, bias) if t is not None]
    scale = [t if t.ndim == 1 else t.reshape(size) for t in found]
    out = _layer_norm(rows, *scale, eps=eps, scaled=weight is not None)
    return out if rows is x else out.reshape(x.shape)


def _root(squares: Tensor) -> Tensor:
    """The square root; NaN where the squares are beyond the largest number: to divide by infinity would give 0."""
    return where(squares == math.inf, math.nan, squares).sqrt()


@fused
def _layer_norm(x: Tensor, *scale: Tensor, eps: float, scaled: bool) -> Tensor:
    centered = x - x.mean(-1, keepdims=True)
    out = centered / _root((centered * centered).mean(-1, keepdims=True) + eps)
    out = out * scale[0] if scaled else out
    return out + scale[-1] if len(scale) > scaled else out


def rms_norm(
    x: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich, 2019).

    Without `eps` it is the distance from 1 to the next number of x's dtype.
    """
    x = floats(input_tensor("rms_norm", x))
    rows, size = _normalized_rows("rms_norm", x, normalized_shape)
    eps = float(np.finfo(x.dtype).eps) if eps is None else real("rms_norm", "eps", eps)
    scale = [] if weight is None else [input_tensor("rms_norm", weight).reshape(size)]
    out = _rms_norm(rows, *scale, eps=eps)
    return out if rows is x else out.reshape(x.shape)


@fused
def _rms_norm(x: Tensor, *scale: Tensor, eps: float) -> Tensor:
    out = x / _root((x * x).mean(-1, keepdims=True) + eps)
    return out * scale[0] if scale else out


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: Generator | None = None) -> Tensor:
    """x with each element zeroed with probability p, the others divided by 1 - p (Srivastava et al., 2014).

    Draws from `rng`, or from the stream `dropout`.
    """
    x = input_tensor("dropout", x)
    training = flag("dropout", "training", training)
    if isinstance(p, bool) or not 0.0 <= real("dropout", "p", p) <= 1.0:
        raise ArgumentError("dropout: p out of range", {"p": p}, "expected a probability from 0 to 1.")
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    return _dropout(x, given_or(rng, "dropout").next_key(), p=float(p))


@fused
def _dropout(x: Tensor, key: Tensor, *, p: float) -> Tensor:
    chance = ops.uniform(key, shape=x.shape, dtype=FLOAT32)
    return where(chance < p, 0.0, x * (1.0 / (1.0 - p)))


def one_hot(ids: Any, num_classes: int = -1, dtype: Any = np.int64) -> Tensor:
    """1 at each id, 0 elsewhere, along a new last axis of size `num_classes`; -1 is the largest id and 1 more."""
    if num_classes == -1 and not isinstance(num_classes, bool):
        found = checked_ids("one_hot", ids, 2**31)
        num_classes = int(found.array.max(initial=-1)) + 1
    num_classes = whole("one_hot", "num_classes", num_classes, 0, 2**31)
    ids = checked_ids("one_hot", ids, num_classes)
    hits: Tensor = ids.unsqueeze(-1) == np.arange(num_classes)
    return hits.to(dtype)


def padding_row(call: str, padding_idx: int, size: int) -> int:
    """`padding_idx` counted from 0; ArgumentError where there is no such row."""
    padding_idx = whole(call, "padding_idx", padding_idx)
    if not -size <= padding_idx < size:
        rule = f"expected an id from 0 to {size - 1}, got {padding_idx}."
        raise ArgumentError(f"{call}: padding_idx out of range", None, rule)
    return padding_idx % size


def embedding(ids: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[ids]; ids (...), weight (V, E), result (..., E). No gradient reaches row `padding_idx`."""
    weight = input_tensor("embedding", weight)
    if weight.ndim != 2:
        rule = "expected a weight (V, E)."
        raise ShapeError("embedding: the weight is no table", {"weight": weight}, rule)
    ids = checked_ids("embedding", ids, weight.shape[0])
    out: Tensor = ops.gather(weight, ids)
    if padding_idx is None:
        return out
    row = padding_row("embedding", padding_idx, weight.shape[0])
    return where((ids == row).unsqueeze(-1), ops.cut(out), out)


answer(globals(), "dropout", "embedding", "layer_norm", "linear", "one_hot", "rms_norm")
