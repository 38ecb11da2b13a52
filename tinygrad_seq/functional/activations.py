"""Activations, softmax and its relatives: each is one formula, from which its forward and backward kernels are
derived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_seq.arguments import axis_of, choice, distinct_axes, flag
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, input_tensor, where
from tinygrad_seq.fuser.decorator import fused


def floats(x: Tensor) -> Tensor:
    """x as floats: integers and booleans, which would wrap around, become float32."""
    return x if x.dtype.kind == "f" else x.to(FLOAT32)


@fused
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)); its tails have full relative precision, down to the smallest number.

    >>> sigmoid(Tensor([0.0, 1e4]))
    Tensor([0.5, 1. ], f32(2,))
    """
    part = ops.lesser(x)  # the derivative can be computed from it at both ends, but not from the result
    return part + (part < 0.0).to(part.dtype)  # type: ignore[no-any-return]


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input_tensor("tanh", x).tanh()


@fused
def relu(x: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0 and NaN stays NaN."""
    return where(x <= 0.0, 0.0, x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016).

    0.5 x erfc(-x / sqrt 2); with `approximate="tanh"`: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as
    x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)).
    """
    choice("gelu: no such form", "approximate", approximate, ("none", "tanh"))
    x = input_tensor("gelu", x)
    return _gelu(x) if approximate == "none" else _gelu_by_tanh(x)


@fused
def _gelu(x: Tensor) -> Tensor:
    return x * ops.ndtr(x)  # type: ignore[no-any-return]


@fused
def _gelu_by_tanh(x: Tensor) -> Tensor:
    # From 30 on the sigmoid is 0 or 1, and its derivative of 0 must not be multiplied by infinity.
    near = x.clip(-30.0, 30.0)
    return x * sigmoid(2.0 * math.sqrt(2.0 / math.pi) * near * (1.0 + 0.044715 * (near * near)))


@fused
def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


@fused
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), as x + log(1 + exp(-x)) above 0: each formula is valid on both sides.

    So there is no kink at 0 in any derivative.
    """
    x = floats(x)
    return where(x > 0.0, x, 0.0) + log1p_exp_minus(x)


def log1p_exp_minus(x: Tensor) -> Tensor:
    """log(1 + exp(-|x|)), whose derivative at 0 is that from below."""
    return ops.log1p(where(x > 0.0, -x, x).exp())  # type: ignore[no-any-return]


@fused
def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), as -softplus(-x): finite and right where sigmoid(x) is 0.

    >>> logsigmoid(Tensor([-1000.0, 100.0])).numpy() < 0
    array([ True,  True])
    """
    x = floats(x)
    return where(x > 0.0, 0.0, x) - log1p_exp_minus(x)


# ---- softmax and its kin: `dim` is the axis of the classes -------------------------------------------------
def row_peak(x: Tensor) -> Tensor:
    """The largest of each row, to be subtracted: 0 where it is -inf. Less inf, a row is NaN as a whole."""
    # The result does not depend on the subtracted number, so the cut loses no gradient. A row of -inf
    # (all masked) must not subtract it from itself.
    peak = ops.cut(x.max(-1, keepdims=True))
    return where(peak == -math.inf, 0.0, peak)


def _along(function: Callable[[Tensor], Tensor], x: Tensor, dim: int, dtype: Any) -> Tensor:
    """A function of the last axis, along another."""
    call = function.__name__.lstrip("_")
    x = input_tensor(call, x)
    x = floats(x if dtype is None else x.to(dtype))
    i = axis_of(call, dim, x.ndim, x)
    if not x.shape[i]:
        return x.clone()
    if i == x.ndim - 1:
        return function(x)
    return function(x.transpose(i, -1)).transpose(i, -1)


def softmax(x: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`, of x in `dtype` where one is given.

    A row of only -inf gives zeros, not NaN; a row with inf or NaN in it gives NaN.

    >>> softmax(Tensor([1000.0, 1000.0]))
    Tensor([0.5, 0.5], f32(2,))
    """
    return _along(_softmax, x, dim, dtype)


@fused
def _softmax(x: Tensor) -> Tensor:
    e = (x - row_peak(x)).exp()
    total = e.sum(-1, keepdims=True)
    return e / where(total == 0.0, 1.0, total)


def logsumexp(x: Tensor, dim: int | Sequence[int] = -1, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) along `dim`, one axis or several; -inf, without a gradient, for a row of only -inf or an
    empty one.
    """
    x, keepdim = floats(input_tensor("logsumexp", x)), flag("logsumexp", "keepdim", keepdim)
    axes = distinct_axes("logsumexp", dim if isinstance(dim, (tuple, list)) else (dim,), x.ndim, x)
    if not axes:
        return x.clone()
    rest = [i for i in range(x.ndim) if i not in axes]
    row = x.permute(*rest, *axes) if (*rest, *axes) != tuple(range(x.ndim)) else x
    if len(axes) > 1:
        row = row.reshape(*(x.shape[i] for i in rest), math.prod(x.shape[i] for i in axes))
    out = _logsumexp(row).squeeze(-1) if row.shape[-1] else row.sum(-1) - math.inf
    return out.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdim else out


@fused
def _logsumexp(x: Tensor) -> Tensor:
    peak = row_peak(x)
    peak = where(peak == math.inf, 0.0, peak)  # the sum is infinite then, and no NaN
    empty, log_total = _log_total(x - peak)
    return where(empty, -math.inf, log_total + peak)


def _log_total(y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a row holds only -inf; and log(sum(exp(y))), 0 there, for rows whose largest number is 0.

    The 1 of the largest is left to log1p, because small terms would be lost beside it. Ties for the largest
    are counted, without a choice between them, so they make no kink.
    """
    largest = (y == 0.0).to(y.dtype)
    rest = (y.exp() - largest).sum(-1, keepdims=True) + (largest.sum(-1, keepdims=True) - 1.0)
    empty = rest == -1.0
    return empty, ops.log1p(where(empty, 0.0, rest))


def log_softmax(x: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along `dim`, of x in `dtype` where one is given.

    A row of only -inf stays so, and has no gradient; a row with inf or NaN in it gives NaN.
    """
    return _along(_log_softmax, x, dim, dtype)


@fused
def _log_softmax(x: Tensor) -> Tensor:
    y = x - row_peak(x)
    empty, log_total = _log_total(y)
    return where(empty, -math.inf, y - log_total)


answer(globals(), "gelu", "log_softmax", "logsumexp", "softmax", "tanh")
