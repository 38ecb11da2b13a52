"""Bounds on gradients before an update, over all gradients of one dtype joined to one long array.

After clipping the gradients are views of that array, so that the optimiser takes it as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinygrad_seq.arguments import real
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.ops import where
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import ArgumentError, NonFiniteError
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.optim.buffers import cut_up, gathered, parameters_of, spans
from tinygrad_seq.runtime.arrays import Array


# ---- the formulas: rows of gradients, numbers of shape (1,) ------------------------------------------------
@fused
def _squares(g: Tensor) -> Tensor:
    # Summed in float64: a running float32 sum of a million squares loses a digit, and overflows early.
    wide = g.to(np.float64)
    return (wide * wide).sum(-1)


@fused
def _powers(g: Tensor, power: Tensor) -> Tensor:
    return (abs(g.to(np.float64)) ** power).sum(-1)


@fused
def _largest(g: Tensor) -> Tensor:
    return abs(g).amax(-1)


@fused
def _held(g: Tensor, bound: Tensor) -> Tensor:
    g = where(g < -bound, -bound, g)
    held: Tensor = where(g > bound, bound, g)
    return held


_ZERO = wrap(np.zeros(()))


class _Gradients:
    """The gradients of some parameters in one array for each dtype of them, (n,) or (rows, width)."""

    def __init__(self, parameters: Tensor | Iterable[Tensor]):
        tensors = parameters_of("gradients", parameters)
        found: dict[Any, list[Tensor]] = {}
        listed = list(tensors)
        if not listed and isinstance(tensors, Iterator):
            rule = "expected at least one: a generator can be gone through only once."
            hint = "Ask again: clip_grad_norm_(model.parameters(), 1.0)."
            raise ArgumentError("gradients: no parameters are left", None, rule, hint)
        for p in listed:
            if p.grad is not None and p.grad.array.size:
                found.setdefault((p.grad.array.dtype, p.array.dtype), []).append(p)
        self.members = list(found.values())
        self.joined: list[Array] = [
            gathered([p.grad.array for p in members])  # type: ignore[union-attr]
            for members in self.members
        ]

    def norm(self, norm_type: float) -> Tensor:
        """The norm of all, float32 unless there are float64 gradients."""
        if not real("clip_grad_norm_", "norm_type", norm_type) > 0:
            rule = f"expected a number above 0, got {norm_type}."
            raise ArgumentError("clip_grad_norm_: norm_type out of range", None, rule)
        if norm_type == math.inf:
            peaks = [_largest(wrap(a)).max() for a in self.joined]
            total = functools.reduce(Tensor.maximum, peaks, _ZERO)
        elif norm_type == 2.0:
            total = sum([_squares(wrap(a)).sum() for a in self.joined], _ZERO).sqrt()
        else:
            power = wrap(np.array([norm_type], np.float64))
            total = sum([_powers(wrap(a), power).sum() for a in self.joined], _ZERO) ** (1.0 / norm_type)
        return total.to(np.float64 if any(a.dtype.itemsize > 4 for a in self.joined) else np.float32)

    def change(self, to: Callable[[Array, bool, Tensor], Array]) -> None:
        """Replace the gradient of each parameter by its part of `to(...)`.

        `to` is called with an array, whether it may write into it (no gradient is a view of it), and the
        first parameter.
        """
        for members, array in zip(self.members, self.joined, strict=True):
            grads = [p.grad.array for p in members]  # type: ignore[union-attr]
            new = to(array, not np.may_share_memory(array, grads[0]), members[0])
            for p, view in zip(members, cut_up(new, spans(grads)), strict=True):
                p.grad = wrap(view)


def grad_norm(parameters: Tensor | Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients taken as one vector; `norm_type` may be infinite."""
    with recording(False):
        return _Gradients(parameters).norm(norm_type)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before.

    g = g min(1, max_norm / (norm + 1e-6)) (Pascanu, Mikolov and Bengio, 2013).
    """
    max_norm = real("clip_grad_norm_", "max_norm", max_norm)
    with recording(False):
        gradients = _Gradients(parameters)
        norm = gradients.norm(norm_type)
        if error_if_nonfinite and not math.isfinite(norm.item()):
            rule = "expected a finite norm."
            hint = "Run the step inside detect_anomaly() to see where it first arises."
            raise NonFiniteError("clip_grad_norm_: the gradient is not finite", {"norm": norm}, rule, hint)
        factor = (max_norm / (norm + 1e-6)).minimum(1.0)

        def scaled(g: Array, own: bool, p: Tensor) -> Array:
            # Rounded to the parameter's dtype before the product, as PyTorch does. One product needs no kernel.
            new: Array = np.multiply(g, factor.array.astype(p.dtype), out=g if own else None)
            return new

        gradients.change(scaled)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp each element of each gradient to between -clip_value and clip_value."""
    clip_value = real("clip_grad_value_", "clip_value", clip_value)
    with recording(False):
        bound = wrap(np.array([clip_value], np.float64))
        _Gradients(parameters).change(lambda g, own, p: _held(wrap(g), bound.to(g.dtype)).array)


answer(globals())
