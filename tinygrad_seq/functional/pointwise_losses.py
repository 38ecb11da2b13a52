"""Losses of values and targets of one shape: squared and absolute differences, binary cross-entropy."""

from __future__ import annotations

from typing import Any

from tinygrad_seq.arguments import choice
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, where
from tinygrad_seq.errors import ShapeError, describe_shape
from tinygrad_seq.functional.activations import floats, log1p_exp_minus
from tinygrad_seq.fuser.decorator import fused


def reduced(loss: Tensor, reduction: Any) -> Tensor:
    """The losses themselves for "none", else their "sum" or their "mean"."""
    known(reduction)
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def known(reduction: Any) -> str:
    """The reduction, checked."""
    return choice("no such reduction", "reduction", reduction, ("mean", "sum", "none"))


def _pair(call: str, x: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Values and targets as floats, which must have one shape."""
    x = floats(input_tensor(call, x))
    y = input_tensor(call, target) if isinstance(target, (list, tuple)) else as_tensor(target, x)
    if y.shape != x.shape:
        rule = f"expected a target of shape {describe_shape(x.shape)}."
        raise ShapeError(f"{call}: the target does not fit", {"input": x, "target": y}, rule)
    return x, floats(y)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(x - target)^2. The shapes must be equal: broadcasting here is nearly always a mistake."""
    x, y = _pair("mse_loss", input, target)
    return reduced((x - y) ** 2, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """abs(x - target), of equal shapes; the gradient where they are equal is 0."""
    x, y = _pair("l1_loss", input, target)
    return reduced(abs(x - y), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), as y softplus(-x) + (1 - y) softplus(x); y in [0, 1].

    `weight` multiplies each loss, `pos_weight` its part for y = 1; both broadcast to the shape of x.
    """
    call = "binary_cross_entropy_with_logits"
    x, y = _pair(call, input, target)
    if pos_weight is None:
        loss = _bce(x, y)
    else:
        # Two sums of numbers of at least 0: a difference would lose the digits of a small loss.
        tail, part = log1p_exp_minus(x), _weights(call, "pos_weight", pos_weight, x)
        yes, no = where(x > 0.0, 0.0, -x) + tail, where(x > 0.0, x, 0.0) + tail
        loss = part * y * yes + (1.0 - y) * no
    return reduced(loss if weight is None else loss * _weights(call, "weight", weight, x), reduction)


@fused
def _bce(x: Tensor, y: Tensor) -> Tensor:
    # Where the prediction is certain and right, both terms are small, and so are their derivatives.
    return where(x > 0.0, (1.0 - y) * x, -(x * y)) + log1p_exp_minus(x)


def _weights(call: str, name: str, weight: Any, x: Tensor) -> Tensor:
    """Weights as floats that broadcast to the shape of x."""
    w = floats(input_tensor(call, weight)).to(x.dtype)
    fits = all(a in (1, b) for a, b in zip(w.shape[::-1], x.shape[::-1], strict=False))
    if w.ndim > x.ndim or not fits:
        rule = f"expected what broadcasts to {describe_shape(x.shape)}."
        raise ShapeError(f"{call}: {name} does not fit", {"input": x, name: w}, rule)
    return w


answer(globals(), "binary_cross_entropy_with_logits", "l1_loss", "mse_loss")
