"""Initialisation of weights: PyTorch's functions, which write into a tensor and return it; draws from the stream
`init`.

The fan-in of a weight (O, I) is I and its fan-out O, each times the size of further axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import real
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError, ShapeError


def _fans(call: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        rule = "expected at least 2 axes, (out, in, ...)."
        raise ShapeError(f"{call}: a weight without fan-in and fan-out", {"tensor": tensor}, rule)
    rest = math.prod(tensor.shape[2:])
    return tensor.shape[1] * rest, tensor.shape[0] * rest


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain by which a weight compensates for a nonlinearity's effect on the standard deviation."""
    slope = 0.01 if param is None else param
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    gains["leaky_relu"] = math.sqrt(2.0 / (1 + slope * slope))
    if nonlinearity not in gains:
        rule = f"expected one of {', '.join(gains)}."
        raise ArgumentError("calculate_gain: no such nonlinearity", {"nonlinearity": nonlinearity}, rule)
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U(a, b)."""
    with recording(False):
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """N(mean, std^2)."""
    with recording(False):
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """N(mean, std^2) within [a, b]: numbers outside are drawn again."""
    mean, std, a, b = (
        real("trunc_normal_", name, value)
        for name, value in (("mean", mean), ("std", std), ("a", a), ("b", b))
    )
    if not a < b or std <= 0:
        rule = f"expected a below b and std above 0, got {a}, {b} and {std}."
        raise ArgumentError("trunc_normal_: no such distribution", None, rule)
    rng, drawn = given_or(generator, "init"), np.full(tensor.shape, np.nan)
    for _ in range(1000):
        open_ = ~((drawn >= a) & (drawn <= b))
        if not open_.any():
            break
        drawn[open_] = rng.randn(int(open_.sum()), dtype=np.float64).array * std + mean
    return _put(tensor, np.clip(drawn, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value."""
    with recording(False):
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity, for a weight (O, I)."""
    _fans("eye_", tensor)
    return _put(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    a = gain * math.sqrt(6.0 / max(1, sum(_fans("xavier_uniform_", tensor))))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """N(0, s^2) with s = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return normal_(
        tensor, 0.0, gain * math.sqrt(2.0 / max(1, sum(_fans("xavier_normal_", tensor)))), generator
    )


def _kaiming(call: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"{call}: no such mode", {"mode": mode}, "expected 'fan_in' or 'fan_out'.")
    fan = _fans(call, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """U(-b, b) with b = gain sqrt(3 / fan) (He et al., 2015); `a` is the slope of a leaky ReLU."""
    bound = math.sqrt(3.0) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """N(0, s^2) with s = gain / sqrt(fan) (He et al., 2015); `a` is the slope of a leaky ReLU."""
    return normal_(tensor, 0.0, _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """gain times a matrix whose rows, or columns if they are fewer, are orthonormal (Saxe et al., 2014)."""
    _fans("orthogonal_", tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = given_or(generator, "init").randn(rows, columns, dtype=np.float64).array
    q, r = np.linalg.qr(drawn if rows >= columns else drawn.T)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # else the signs would not be even
    return _put(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def _put(tensor: Tensor, values: Any) -> Tensor:
    with recording(False):
        return tensor.copy_(np.asarray(values))


answer(globals())
