"""`gradcheck`: gradients of any order against central differences; public, for functions of users."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.arguments import real, whole
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.random import Generator, positions, replayed
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError, DTypeError, GradientError, GraphError
from tinygrad_seq.runtime.arrays import Array

__all__ = ["gradcheck"]

Function = Callable[..., Any]
FLOAT64 = np.dtype(np.float64)
# Each of the two sums in a difference has an error of about this many roundings of its terms.
_ROUNDINGS = 4.0


def gradcheck(
    fn: Function,
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    rtol: float = 1e-6,
    order: int = 1,
    seed: int = 0,
) -> bool:
    """True where the gradient of `fn` at `inputs` agrees with finite differences; else raises GradientError.

    The outputs, one tensor or a tuple, are reduced to one number by fixed random weights w, S = sum of w f(x). For
    each input that requires a gradient, and one random direction v, so that every entry is tested at constant cost,

        numeric  = (S(x + eps v) - S(x - eps v)) / (2 eps)
        analytic = sum of v dS/dx
        error    = |numeric - analytic| / max(|numeric|, |analytic|, noise / rtol)
        noise    = 4 * 2^-52 * sum of |w f(x)| / eps        (the rounding error of `numeric`)

    and `error <= rtol` is asked for. With `order` n > 1 the function checked is the gradient of order n - 1.
    All in float64, at a point away from kinks and poles. An input that wants no gradient is a constant.
    Inputs are changed in place and restored, so parameters of a layer that `fn` closes over may be among them;
    draws from the default random streams are the same at every call.

    >>> x = Tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> gradcheck(lambda x: x.log() * x, x, order=2)
    True
    """
    order, eps = whole("gradcheck", "order", order, 1, 10), real("gradcheck", "eps", eps, positive=True)
    rtol = real("gradcheck", "rtol", rtol, positive=True)
    if eps == math.inf:
        raise ArgumentError("gradcheck: eps out of range", None, "expected a finite number above 0.")
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    wanting = _wanting(given)
    rng = Generator(seed, "gradcheck")
    before = positions()

    def outputs() -> tuple[Tensor, ...]:
        with recording(True), replayed(before):
            value = fn(*given)
        return value if isinstance(value, tuple) else (value,)

    for _ in range(order - 1):
        outputs = _gradient_of(outputs, list(wanting.values()), rng)
    weights = _weights(outputs(), rng)
    slopes = grad(_total(outputs(), weights), list(wanting.values()))
    for (place, x), slope in zip(wanting.items(), slopes, strict=True):
        direction = _direction(x.shape, rng)
        numeric, analytic, noise = _compare(outputs, weights, x, slope.array, direction, eps)
        gap = abs(numeric - analytic)
        error = gap / max(abs(numeric), abs(analytic), noise / rtol) if gap else 0.0
        if not error <= rtol:  # NaN fails too
            found = {"order": order, "seed": seed, "numeric": numeric, "analytic": analytic}
            named = {"function": _Named(fn), "output": outputs()[0], f"input {place}": x, **found}
            rule = f"expected a relative error of at most {rtol:g}, got {error:.3g}."
            what = "gradcheck: the gradient disagrees with finite differences"
            raise GradientError(what, named, rule)
    return True


class _Named:
    """A function as an error text shows it."""

    def __init__(self, fn: Function):
        self.name = getattr(fn, "__qualname__", None) or repr(fn)

    def __repr__(self) -> str:
        return self.name


def _wanting(given: Sequence[Any]) -> dict[int, Tensor]:
    """The inputs to move, by place."""
    wanting = {i: x for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad}
    named: dict[str, object] = {f"input {i}": x for i, x in enumerate(given)}
    if not wanting:
        rule = "expected at least one input with requires_grad=True."
        raise GraphError("gradcheck: no input wants a gradient", named, rule)
    for i, x in wanting.items():
        if x.dtype != FLOAT64:
            rule = "expected f64: in f32, differences have 3 or 4 digits."
            raise DTypeError("gradcheck: only float64 can be checked", {f"input {i}": x}, rule)
        if not x.is_leaf:
            rule = "expected leaves, which can be moved."
            raise GraphError(
                "gradcheck: an input was made by an op", {f"input {i}": x}, rule, "Use x.detach()."
            )
    return wanting


def _gradient_of(outputs: Function, wanting: list[Tensor], rng: Generator) -> Function:
    """The gradient of the weighted sum of `outputs`, as the next function to check."""
    weights = _weights(outputs(), rng)

    def slopes() -> tuple[Tensor, ...]:
        with recording(True):
            return grad(_total(outputs(), weights), wanting, create_graph=True)  # type: ignore[no-any-return]

    return slopes


def _weights(outs: Sequence[Tensor], rng: Generator) -> list[Array]:
    for i, o in enumerate(outs):
        if not isinstance(o, Tensor) or (o.dtype.kind == "f" and o.dtype != FLOAT64):
            rule = "expected float64 tensors, or integers and booleans, which have no gradient."
            raise DTypeError("gradcheck: the function left float64", {f"output {i}": o}, rule)
    return [_direction(o.shape, rng) for o in outs]


def _direction(shape: tuple[int, ...], rng: Generator) -> Array:
    """Random signs times sizes from 0.5 to 1.5: every entry has a weight."""
    u = rng.rand(*shape, dtype=FLOAT64).array
    return np.where(u < 0.5, 0.5 + 2.0 * u, 0.5 - 2.0 * u)  # type: ignore[no-any-return]


def _total(outs: Sequence[Tensor], weights: Sequence[Array]) -> Tensor:
    total: Any = 0.0
    for o, w in zip(outs, weights, strict=True):
        total = (o * w).sum() + total
    return total  # type: ignore[no-any-return]


def _compare(
    outputs: Function, weights: Sequence[Array], x: Tensor, slope: Array, direction: Array, eps: float
) -> tuple[float, float, float]:
    """(numeric, analytic, rounding error of numeric) for the step that float64 really takes."""
    kept, totals, size = x.array, [], 0.0
    ends = [np.asarray(kept + step * direction) for step in (eps, -eps)]
    try:
        for end in ends:
            x.array = end
            outs = outputs()
            totals.append(_total(outs, weights).item())
            size += 0.5 * sum(float(np.abs(o.array * w).sum()) for o, w in zip(outs, weights, strict=True))
    finally:
        x.array = kept
    numeric = (totals[0] - totals[1]) / (2.0 * eps)
    analytic = float(np.sum(slope * (ends[0] - ends[1]))) / (2.0 * eps)
    return numeric, analytic, _ROUNDINGS * 2.0**-52 * size / eps


answer(globals(), "gradcheck")
