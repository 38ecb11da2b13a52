"""Bounds on gradients before an update."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_seq.errors import ArgumentError, NonFiniteError, explain
from tinygrad_seq.nodes import recording
from tinygrad_seq.recording import wrap
from tinygrad_seq.tensor import Tensor


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in tensors if p.grad is not None]


def grad_norm(parameters: Tensor | Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients taken as one vector; `norm_type` may be infinite."""
    if not norm_type > 0:
        rule = f"expected a number above 0, got {norm_type}."
        raise ArgumentError(explain("clip_grad_norm_: norm_type out of range", None, rule))
    grads = [p.grad for p in _with_gradients(parameters)]
    with recording(False):
        total = wrap(np.zeros((), np.float32))
        for g in grads:
            if g is None or not g.size:
                continue
            if norm_type == math.inf:
                total = total.maximum(abs(g).max())
            else:
                total = total + ((g * g).sum() if norm_type == 2.0 else (abs(g) ** norm_type).sum())
        if norm_type == math.inf:
            return total
        return total.sqrt() if norm_type == 2.0 else total ** (1.0 / norm_type)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before.

    g = g min(1, max_norm / (norm + 1e-6)) (Pascanu, Mikolov and Bengio, 2013).
    """
    params = _with_gradients(parameters)
    norm = grad_norm(params, norm_type)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        rule = "expected a finite norm."
        way_out = "Run the step inside detect_anomaly() to see where it first arises."
        raise NonFiniteError(
            explain("clip_grad_norm_: the gradient is not finite", {"norm": norm}, rule, way_out)
        )
    with recording(False):
        factor = (max_norm / (norm + 1e-6)).minimum(1.0)
        for p in params:
            p.grad = p.grad * factor.to(p.dtype)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold each element of each gradient between -clip_value and clip_value."""
    with recording(False):
        for p in _with_gradients(parameters):
            p.grad = p.grad.clip(-clip_value, clip_value)  # type: ignore[union-attr]
