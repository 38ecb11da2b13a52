"""Composed maths, written once from primitives: activations, softmax, losses, normalisation, embedding.

Everything here stays finite for inputs of +-1e4, in value and in gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq import ops
from tinygrad_seq.creation import where
from tinygrad_seq.errors import ArgumentError, DTypeError, RangeError, ShapeError, describe_shape, explain
from tinygrad_seq.random import Generator, stream
from tinygrad_seq.recording import as_tensor, wrap
from tinygrad_seq.tensor import Tensor


# ---- activations -------------------------------------------------------------------------------------------
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), as 0.5 tanh(0.5 x) + 0.5, which overflows nowhere.

    >>> sigmoid(Tensor([0.0, 1e4]))
    Tensor([0.5, 1. ], f32(2,))
    """
    return 0.5 * (0.5 * x).tanh() + 0.5


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return x.tanh()


def relu(x: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0 and NaN stays NaN."""
    return where(x <= 0.0, 0.0, x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016).

    0.5 x (1 + erf(x / sqrt 2)); with `approximate="tanh"`: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
    """
    if approximate == "none":
        return 0.5 * x * (1.0 + (x * math.sqrt(0.5)).erf())
    if approximate == "tanh":
        return 0.5 * x * (1.0 + (math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))).tanh())
    raise ArgumentError(
        explain("gelu: no such form", {"approximate": approximate}, "expected 'none' or 'tanh'.")
    )


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|))."""
    return x.maximum(0.0) + (1.0 + (-abs(x)).exp()).log()


# ---- softmax and its kin: `dim` is the axis of the classes -------------------------------------------------
def _peak(x: Tensor, dim: int) -> Tensor:
    # The result does not depend on what is subtracted, so no gradient is lost by the cut. A row of -inf
    # (all masked) must not subtract it from itself.
    peak = ops.cut(x.max(dim, keepdims=True))
    return where(abs(peak) == math.inf, 0.0, peak)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; a row of nothing but -inf gives zeros, not NaN.

    >>> softmax(Tensor([1000.0, 1000.0]))
    Tensor([0.5, 0.5], f32(2,))
    """
    e = (x - _peak(x, dim)).exp()
    total = e.sum(dim, keepdims=True)
    return e / where(total == 0.0, 1.0, total)


def logsumexp(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) along `dim`."""
    peak = _peak(x, dim)
    out = (x - peak).exp().sum(dim, keepdims=True).log() + peak
    return out if keepdim else out.squeeze(dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """x - log(sum(exp(x))) along `dim`."""
    y = x - _peak(x, dim)
    return y - y.exp().sum(dim, keepdims=True).log()


# ---- losses ------------------------------------------------------------------------------------------------
def _reduced(loss: Tensor, reduction: str, count: Any = None) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean() if count is None else loss.sum() / count
    raise ArgumentError(
        explain("no such reduction", {"reduction": reduction}, "expected 'mean', 'sum' or 'none'.")
    )


def checked_ids(call: str, ids: Any, size: int, ignore: int | None = None) -> Tensor:
    """`ids` as a tensor of integers from 0 to size - 1 (or `ignore`); RangeError or DTypeError else."""
    checked = as_tensor(ids)
    if checked.dtype.kind in "iu":
        checked = checked.to(np.int64)
    if checked.dtype.kind not in "iu":
        raise DTypeError(
            explain(f"{call}: ids must be integers", {"ids": checked}, "expected an integer dtype.")
        )
    wrong = (checked.array < 0) | (checked.array >= size)
    if ignore is not None:
        wrong &= checked.array != ignore
    if wrong.any():
        first = int(checked.array[wrong].flat[0])
        rule = f"expected ids from 0 to {size - 1}, got {first} ({int(wrong.sum())} out of range)."
        raise RangeError(explain(f"{call}: an id is out of range", {"ids": checked}, rule))
    return checked


def _classes_last(call: str, x: Tensor, target: Tensor, ids: bool = True) -> tuple[Tensor, Tensor]:
    """(N, C, d...) and (N, d...) as (M, C) and (M,); probabilities like x as (M, C)."""
    if not x.ndim >= 1:
        raise ShapeError(
            explain(f"{call}: no axis of classes", {"input": x}, "expected (C,), (N, C) or (N, C, ...).")
        )
    axis = min(1, x.ndim - 1)
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != (rest if ids else x.shape):
        rule = f"expected ids {describe_shape(rest)} or probabilities {describe_shape(x.shape)}."
        raise ShapeError(explain(f"{call}: the target does not fit", {"input": x, "target": target}, rule))
    order = (*(i for i in range(x.ndim) if i != axis), axis)
    flat = [
        t.permute(order).reshape(-1, x.shape[axis]) if t.ndim > 2 else t
        for t in (x, target)
        if t.shape == x.shape
    ]
    rows = flat[0] if flat[0].ndim == 2 else flat[0].reshape(1, -1)
    if target.shape == rest:
        return rows, target.reshape(-1)
    return rows, flat[1] if flat[1].ndim == 2 else flat[1].reshape(1, -1)


def nll_loss(logp: Tensor, target: Any, *, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-logp[n, target[n]], over the targets that are not `ignore_index`; logp (N, C) or (N, C, ...), nats."""
    ids = checked_ids("nll_loss", target, logp.shape[min(1, logp.ndim - 1)] if logp.ndim else 0, ignore_index)
    rows, flat = _classes_last("nll_loss", logp, ids)
    return _picked_nll(rows, flat, ids.shape, ignore_index, reduction)


def _picked_nll(
    logp: Tensor, ids: Tensor, shape: Any, ignore: int, reduction: str, smoothing: float = 0.0
) -> Tensor:
    counted = ids != ignore
    safe = where(counted, ids, 0)
    loss = -ops.gather(logp, wrap(np.arange(ids.size)), safe)
    if smoothing:
        loss = (1.0 - smoothing) * loss - smoothing * logp.mean(-1)
    loss = where(counted, loss, 0.0)
    count = ops.cast(counted, dtype=logp.dtype).sum().maximum(1.0)
    return _reduced(loss.reshape(shape) if reduction == "none" else loss, reduction, count)


def cross_entropy(
    x: Tensor,
    target: Any,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """-log softmax(x)[target] in nats, from logits x of shape (N, C), (C,) or (N, C, d...).

    `target` holds ids (N, d...), or probabilities of the shape of x. The mean is over targets that are not
    `ignore_index`; where all are ignored it is 0. `label_smoothing` e mixes the target with the uniform
    distribution: (1 - e) target + e / C.

    >>> cross_entropy(Tensor([[0.0, 0.0]]), Tensor([1]))
    Tensor(0.6931472, f32())
    """
    target = as_tensor(target)
    if not 0.0 <= label_smoothing <= 1.0:
        rule = f"expected a number from 0 to 1, got {label_smoothing}."
        raise ArgumentError(explain("cross_entropy: label_smoothing out of range", None, rule))
    if target.dtype.kind == "f" and target.shape == x.shape:
        rows, p = _classes_last("cross_entropy", x, target, ids=False)
        if label_smoothing:
            p = p * (1.0 - label_smoothing) + label_smoothing / rows.shape[1]
        loss = -(p * log_softmax(rows)).sum(-1)
        axis = min(1, x.ndim - 1)
        return _reduced(
            loss.reshape(x.shape[:axis] + x.shape[axis + 1 :]) if reduction == "none" else loss, reduction
        )
    ids = checked_ids("cross_entropy", target, x.shape[min(1, x.ndim - 1)] if x.ndim else 0, ignore_index)
    rows, flat = _classes_last("cross_entropy", x, ids)
    return _picked_nll(log_softmax(rows), flat, ids.shape, ignore_index, reduction, label_smoothing)


def mse_loss(x: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """(x - target)^2. The shapes must be equal: broadcasting here is nearly always a mistake."""
    target = _same_shape("mse_loss", x, target)
    return _reduced((x - target) ** 2, reduction)


def binary_cross_entropy_with_logits(x: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), as softplus(x) - x y; the target y in [0, 1]."""
    target = _same_shape("binary_cross_entropy_with_logits", x, target)
    return _reduced(softplus(x) - x * target, reduction)


def _same_shape(call: str, x: Tensor, target: Any) -> Tensor:
    y = as_tensor(target, x)
    if y.shape != x.shape:
        rule = f"expected a target of shape {describe_shape(x.shape)}."
        raise ShapeError(explain(f"{call}: the target does not fit", {"input": x, "target": y}, rule))
    return y


# ---- layers' maths -----------------------------------------------------------------------------------------
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b; x (..., I), W (O, I), b (O,)."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        size = x.shape[-1] if x.ndim else "none"
        rule = f"expected the last size of x ({size}) to equal the last size of weight ({weight.shape[-1]})."
        raise ShapeError(explain("linear: x does not fit the weight", {"x": x, "weight": weight}, rule))
    out = x @ weight.T
    return out if bias is None else out + bias


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba, Kiros and Hinton, 2016)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        rule = f"expected the last sizes of x to be {describe_shape(shape)}."
        raise ShapeError(explain("layer_norm: x does not fit", {"x": x}, rule))
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdims=True)
    out = centred / ((centred * centred).mean(axes, keepdims=True) + eps).sqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: Generator | None = None) -> Tensor:
    """x with each element zeroed with probability p, the others divided by 1 - p (Srivastava et al., 2014).

    Draws from `rng`, or from the stream `dropout`.
    """
    if isinstance(p, bool) or not 0.0 <= p <= 1.0:
        raise ArgumentError(
            explain("dropout: p out of range", {"p": p}, "expected a probability from 0 to 1.")
        )
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    chance = (rng or stream("dropout")).rand(*x.shape)
    return where(chance < p, 0.0, x * (1.0 / (1.0 - p)))


def one_hot(ids: Any, num_classes: int, dtype: Any = np.int64) -> Tensor:
    """1 at each id, 0 elsewhere, along a new last axis of size `num_classes`."""
    ids = checked_ids("one_hot", ids, num_classes)
    hits: Tensor = ids.unsqueeze(-1) == np.arange(num_classes)
    return hits.to(dtype)


def embedding(ids: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[ids]; ids (...), weight (V, E), result (..., E). No gradient reaches row `padding_idx`."""
    ids = checked_ids("embedding", ids, weight.shape[0])
    out: Tensor = ops.gather(weight, ids)
    if padding_idx is None:
        return out
    padding_idx %= weight.shape[0]
    return where((ids == padding_idx).unsqueeze(-1), ops.cut(out), out)
