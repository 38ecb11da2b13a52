"""SGD, Adam, AdamW, RMSprop and Adagrad, with PyTorch's names, defaults and numerics.

In the formulas p is the parameter, g its gradient, t the number of the step counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.optim.optimiser import Group, Optimizer, required
from tinygrad_seq.recording import wrap
from tinygrad_seq.tensor import Tensor

Moments = dict[str, Tensor]


def _zeros(p: Tensor) -> Tensor:
    return wrap(np.zeros(p.shape, p.dtype))


def _count(state: Moments) -> Tensor:
    # A tensor, not a Python number: a traced step must not freeze it.
    state["step"] = state.get("step", wrap(np.zeros(()))) + 1.0
    return state["step"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) and Nesterov's form (1983).

    g = g + weight_decay p;  m = momentum m + (1 - dampening) g, at first m = g;
    p = p - lr m, or with `nesterov` p - lr (g + momentum m).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        required("SGD", lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0.0 or dampening != 0.0):
            rule = f"expected momentum above 0 and dampening 0, got {momentum} and {dampening}."
            raise ArgumentError(explain("SGD: nesterov needs momentum without dampening", None, rule))
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
        momentum = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        if momentum:
            m = state.get("momentum_buffer")
            m = g if m is None else momentum * m + (1.0 - group["dampening"]) * g
            state["momentum_buffer"] = m
            g = g + momentum * m if group["nesterov"] else m
        new: Tensor = p - group["lr"] * g
        return new


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015).

    g = g + weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
    p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps).  With `amsgrad` v is its largest so far.
    """

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
        name = type(self).__name__
        required(name, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
        }
        super().__init__(params, defaults)

    def update(self, p: Tensor, g: Tensor, state: Moments, group: Group) -> Tensor:
        """p less the ratio of the moments."""
        b1, b2 = group["betas"]
        if group["weight_decay"]:
            if self.decoupled:
                p = p * (1.0 - group["lr"] * group["weight_decay"])
            else:
                g = g + group["weight_decay"] * p
        t = _count(state)
        m = state["exp_avg"] = b1 * state.get("exp_avg", _zeros(p)) + (1.0 - b1) * g
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", _zeros(p)) + (1.0 - b2) * (g * g)
        if group["amsgrad"]:
            v = state["max_exp_avg_sq"] = state.get("max_exp_avg_sq", _zeros(p)).maximum(v)
        rate = (group["lr"] / (1.0 - b1**t)).to(p.dtype)
        scale = (1.0 / (1.0 - b2**t).sqrt()).to(p.dtype)
        new: Tensor = p - rate * (m / (v.sqrt() * scale + group["eps"]))
        return new


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
        required("RMSprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
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
        alpha = group["alpha"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        v = state["square_avg"] = alpha * state.get("square_avg", _zeros(p)) + (1.0 - alpha) * (g * g)
        if group["centered"]:
            a = state["grad_avg"] = alpha * state.get("grad_avg", _zeros(p)) + (1.0 - alpha) * g
            v = v - a * a
        g = g / (v.sqrt() + group["eps"])
        if group["momentum"]:
            g = state["momentum_buffer"] = group["momentum"] * state.get("momentum_buffer", _zeros(p)) + g
        new: Tensor = p - group["lr"] * g
        return new


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares (Duchi, Hazan and Singer, 2011).

    g = g + weight_decay p;  v = v + g^2;  p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        required("Adagrad", lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps)
        required("Adagrad", initial_accumulator_value=initial_accumulator_value)
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
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        t = _count(state)
        v = state.get("sum")
        v = (_zeros(p) + group["initial_accumulator_value"] if v is None else v) + g * g
        state["sum"] = v
        rate = (group["lr"] / (1.0 + (t - 1.0) * group["lr_decay"])).to(p.dtype)
        new: Tensor = p - rate * (g / (v.sqrt() + group["eps"]))
        return new
