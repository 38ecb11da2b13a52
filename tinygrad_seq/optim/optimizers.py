"""SGD, Adam, AdamW, RMSprop and Adagrad, with PyTorch's names, defaults and numerics.

In the formulas p is the parameter, g its gradient, t the number of the step counted from 1. Each formula is
written once, as a function under `@fused`, over all parameters joined to one long tensor. The numbers in it are
float64 tensors of one element: a new rate is a new argument of the same kernel, never a new kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_seq.arguments import real
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.optim.optimizer import Group, Optimizer, required

Moments = dict[str, Tensor]


@lru_cache(maxsize=256)
def _number(value: float, axes: int) -> Tensor:
    return wrap(np.full((1,) * axes, value, np.float64))


def _numbers(p: Tensor, *values: float) -> list[Tensor]:
    # Zero-dimensional only beside a zero-dimensional parameter, which a subclass with its own `update` may
    # pass.
    axes = min(p.array.ndim, 1)
    return [_number(float(value), axes) for value in values]


def _moment(state: Moments, name: str, p: Tensor) -> Tensor:
    kept = state.get(name)
    return wrap(np.zeros(p.shape, p.dtype)) if kept is None else kept


def _count(p: Tensor, state: Moments) -> Tensor:
    # A tensor, not a Python number: a traced step must not freeze it.
    state["step"] = state.get("step", wrap(np.zeros(()))) + 1.0
    return state["step"].to(np.float64).reshape((1,) * min(p.ndim, 1))


# ---- the rules: tensors first, then numbers, each (1,); what is optional comes last ------------------------
@fused
def sgd(
    p: Tensor, g: Tensor, lr: Tensor, momentum: Tensor, gain: Tensor, decay: Tensor, *m: Tensor,
    decays: bool, moves: bool, nesterov: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The new parameter and, if it `moves`, its new momentum; `m` is absent at the first step."""
    k = p.dtype
    if decays:
        g = g + decay.to(k) * p
    if not moves:
        return (p - lr.to(k) * g,)
    # A copy: clipping may still write to g itself.
    new = momentum.to(k) * m[0] + gain.to(k) * g if m else g * 1.0
    return p - lr.to(k) * (g + momentum.to(k) * new if nesterov else new), new


@fused
def adam(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: Tensor, lr: Tensor, b1: Tensor, b2: Tensor, eps: Tensor,
    decay: Tensor, *largest: Tensor, decays: bool, decoupled: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The new parameter, both moments, and with amsgrad the largest second moment."""
    k = p.dtype
    if decays and decoupled:
        p = p * (1.0 - lr * decay).to(k)
    elif decays:
        g = g + decay.to(k) * p
    m = b1.to(k) * m + (1.0 - b1).to(k) * g
    v = b2.to(k) * v + (1.0 - b2).to(k) * (g * g)
    largest = tuple([w.maximum(v) for w in largest])
    # The corrections of the moments for their start at zero: in float64, for b^t is near 1 or near 0.
    rate = (lr / (1.0 - b1**t)).to(k)
    scale = (1.0 / (1.0 - b2**t).sqrt()).to(k)
    root = (largest[0] if largest else v).sqrt()
    return p - rate * (m / (root * scale + eps.to(k))), m, v, *largest


@fused
def rmsprop(
    p: Tensor, g: Tensor, v: Tensor, lr: Tensor, alpha: Tensor, eps: Tensor, decay: Tensor, momentum: Tensor,
    *more: Tensor, decays: bool, centered: bool, moves: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The new parameter and second moment, then the mean if `centered`, then the momentum if it `moves`."""
    k = p.dtype
    if decays:
        g = g + decay.to(k) * p
    v = alpha.to(k) * v + (1.0 - alpha).to(k) * (g * g)
    kept: tuple[Tensor, ...] = ()
    variance = v
    if centered:
        a = alpha.to(k) * more[0] + (1.0 - alpha).to(k) * g
        variance, kept = v - a * a, (a,)
    g = g / (variance.sqrt() + eps.to(k))
    if moves:
        g = momentum.to(k) * more[-1] + g
        kept = (*kept, g)
    return p - lr.to(k) * g, v, *kept


@fused
def adagrad(
    p: Tensor, g: Tensor, v: Tensor, t: Tensor, lr: Tensor, lr_decay: Tensor, eps: Tensor, decay: Tensor,
    *, decays: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The new parameter and the sum of squares."""
    k = p.dtype
    if decays:
        g = g + decay.to(k) * p
    v = v + g * g
    rate = (lr / (1.0 + (t - 1.0) * lr_decay)).to(k)
    return p - rate * (g / (v.sqrt() + eps.to(k))), v


# ---- the optimisers ----------------------------------------------------------------------------------------
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) and Nesterov's form (1983).

    g = g + weight_decay p;  m = momentum m + (1 - dampening) g, at first m = g;
    p = p - lr m, or with `nesterov` p - lr (g + momentum m).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        required("SGD", momentum=momentum)
        dampening = real("SGD", "dampening", dampening)
        if nesterov and (momentum <= 0.0 or dampening != 0.0):
            rule = f"expected momentum above 0 and dampening 0, got {momentum} and {dampening}."
            raise ArgumentError("SGD: nesterov needs momentum without dampening", None, rule)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def update(self, p: Tensor, g: Tensor, state: Moments, group: Group) -> Tensor:
        """p - lr times the (momentum-averaged) gradient."""
        decay, moves = group["weight_decay"], bool(group["momentum"])
        numbers = _numbers(p, group["lr"], group["momentum"], 1.0 - group["dampening"], decay)
        kept = [state["momentum_buffer"]] if moves and "momentum_buffer" in state else []
        p, *m = sgd(p, g, *numbers, *kept, decays=bool(decay), moves=moves, nesterov=group["nesterov"])
        if m:
            state["momentum_buffer"] = m[0]
        return p


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015).

    g = g + weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
    p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps).  With `amsgrad` v is its largest so far.
    """

    elementwise = True

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
        }
        super().__init__(params, defaults)

    def update(self, p: Tensor, g: Tensor, state: Moments, group: Group) -> Tensor:
        """p less the ratio of the moments."""
        decay = group["weight_decay"]
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]
        m, v, *largest = [_moment(state, name, p) for name in names]
        numbers = _numbers(p, group["lr"], *group["betas"], group["eps"], decay)
        tensors = (p, g, m, v, _count(p, state), *numbers, *largest)
        p, *moments = adam(*tensors, decays=bool(decay), decoupled=self.decoupled)
        state.update(zip(names, moments, strict=True))
        return p


class AdamW(Adam):
    """Adam whose weight decay leaves the moments alone (Loshchilov and Hutter, 2019).

    p = (1 - lr weight_decay) p, then as Adam without decay.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    """Gradients divided by a running root mean square (Hinton, 2012).

    g = g + weight_decay p;  v = alpha v + (1 - alpha) g^2;  s = sqrt(v) + eps, or sqrt(v - a^2) + eps where
    `centered`, a = alpha a + (1 - alpha) g;  with momentum m = momentum m + g / s and p = p - lr m.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
        }
        super().__init__(params, defaults)

    def update(self, p: Tensor, g: Tensor, state: Moments, group: Group) -> Tensor:
        """p - lr times the scaled gradient."""
        decay, centered, moves = group["weight_decay"], group["centered"], bool(group["momentum"])
        names = ["square_avg"] + ["grad_avg"] * centered + ["momentum_buffer"] * moves
        v, *more = [_moment(state, name, p) for name in names]
        numbers = _numbers(p, group["lr"], group["alpha"], group["eps"], decay, group["momentum"])
        tensors = (p, g, v, *numbers, *more)
        p, *moments = rmsprop(*tensors, decays=bool(decay), centered=centered, moves=moves)
        state.update(zip(names, moments, strict=True))
        return p


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares (Duchi, Hazan and Singer, 2011).

    g = g + weight_decay p;  v = v + g^2;  p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        super().__init__(params, defaults)

    def update(self, p: Tensor, g: Tensor, state: Moments, group: Group) -> Tensor:
        """p - lr times the scaled gradient."""
        decay, v = group["weight_decay"], state.get("sum")
        if v is None:
            v = wrap(np.full(p.shape, group["initial_accumulator_value"], p.dtype))
        numbers = _numbers(p, group["lr"], group["lr_decay"], group["eps"], decay)
        p, state["sum"] = adagrad(p, g, v, _count(p, state), *numbers, decays=bool(decay))
        return p


answer(globals())
