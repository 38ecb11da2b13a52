"""Positions: sinusoidal, learnt, rotary, and ALiBi. Each takes an `offset`, the position of the first step.

Attention ignores the order of its input: without positions, permuted inputs give permuted outputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import count, real, room, size, whole
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, concat, input_tensor, wrap
from tinygrad_seq.errors import ShapeError
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.nn.module import Module, Parameter
from tinygrad_seq.runtime.arrays import Array


def _angles(steps: int, offset: int, width: int, base: float) -> Array:
    """The position times base^(-2i / width), for each i below width / 2; (steps, ceil(width / 2)), float64."""
    slowness = base ** (np.arange(0, width, 2) / width)
    angles: Array = np.arange(offset, offset + steps).reshape(-1, 1) / slowness
    return angles


def sinusoidal(
    steps: int, width: int, offset: int = 0, base: float = 10000.0, dtype: Any = FLOAT32
) -> Tensor:
    """Sines and cosines of `steps` positions from `offset` on, (steps, width) (Vaswani et al., 2017).

        out[p, 2i] = sin(p / base^(2i / width));  out[p, 2i + 1] = cos(p / base^(2i / width))

    k steps further the row is each pair rotated by an angle that depends only on k. An odd width
    has one sine more than cosines.

    >>> sinusoidal(2, 2)
    Tensor([[0.        , 1.        ],
            [0.84147096, 0.5403023 ]], f32(2, 2))
    """
    offset = count("sinusoidal", "offset", offset, 0, "is no position")
    width, steps = size("sinusoidal", "width", width), whole("sinusoidal", "steps", steps, 0)
    base = real("sinusoidal", "base", base, positive=True)
    room("sinusoidal", steps * width, 8)
    angles = _angles(steps, offset, width, base)
    out = np.empty((steps, width), np.float64)
    out[:, 0::2] = np.sin(angles)
    out[:, 1::2] = np.cos(angles)[:, : width // 2]
    return wrap(out.astype(float_dtype("sinusoidal", dtype)))


class _Added(Module):
    """Positions that are added to their input: how many steps it has, and where their rows belong."""

    width: int
    batch_first: bool

    def _steps(self, x: Tensor, call: str) -> int:
        if x.ndim not in (2, 3) or x.shape[-1] != self.width:
            layout = "(B, T, {0})" if self.batch_first else "(T, B, {0})"
            rule = f"expected {layout.format(self.width)} or (T, {self.width})."
            raise ShapeError(f"{call}: the input does not fit", {"input": x}, rule)
        return x.shape[1 if self.batch_first and x.ndim == 3 else 0]

    def _added(self, x: Tensor, rows: Tensor) -> Tensor:
        return x + (rows.unsqueeze(1) if x.ndim == 3 and not self.batch_first else rows)


class SinusoidalPositions(_Added):
    """y = x + scale sinusoidal(T, width, offset): positions that are not learnt (Vaswani et al., 2017).

    x (T, B, width), (B, T, width) where `batch_first`, or (T, width); any width, any number of steps.
    Where x is much smaller than a sine, choose a `scale` of the size of x.
    """

    def __init__(self, width: int, *, base: float = 10000.0, scale: float = 1.0, batch_first: bool = False):
        self.width = size("SinusoidalPositions", "width", width)
        self.base, self.scale, self.batch_first = base, scale, batch_first

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        """X with the positions from `offset` on added."""
        x = input_tensor(type(self).__name__, x)
        steps = self._steps(x, "SinusoidalPositions")
        table = sinusoidal(steps, self.width, offset, self.base, x.dtype)
        return self._added(x, table if self.scale == 1.0 else table * self.scale)

    def describe(self) -> str:
        """The width."""
        return f"{self.width}"


class LearnedPositions(_Added):
    """y = x + weight[offset : offset + T]: one learnt row for each of `max_len` positions.

    x (T, B, width), (B, T, width) where `batch_first`, or (T, width); `weight` (max_len, width) drawn from
    N(0, 1). Raises ShapeError beyond the last position.
    """

    def __init__(
        self,
        max_len: int,
        width: int,
        *,
        batch_first: bool = False,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        self.max_len = size("LearnedPositions", "max_len", max_len)
        self.width = size("LearnedPositions", "width", width)
        self.batch_first = batch_first
        self.weight = Parameter(
            given_or(rng, "init").randn(max_len, width, dtype=float_dtype("LearnedPositions", dtype))
        )

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        """X with the positions from `offset` on added."""
        x = input_tensor(type(self).__name__, x)
        stop = self._steps(x, "LearnedPositions") + count(
            "LearnedPositions", "offset", offset, 0, "is no position"
        )
        if stop > self.max_len:
            rule = f"expected offset + T of at most {self.max_len}, got {stop}."
            named = {"input": x, "weight": self.weight}
            raise ShapeError("LearnedPositions: there are not so many positions", named, rule)
        return self._added(x, self.weight[offset:stop])

    def describe(self) -> str:
        """Sizes."""
        return f"{self.max_len}, {self.width}"


@fused
def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Halves a, b of x turned by angles: a cos - b sin, b cos + a sin; what is beyond two halves stays."""
    half = cos.shape[-1]
    a, b, *rest = x.split([half, half, *[1] * (x.shape[-1] - 2 * half)], -1)
    return concat([a * cos - b * sin, b * cos + a * sin, *rest], -1)


class RotaryPositions(Module):
    """Queries and keys turned by their position, so that their product knows the distance (Su et al., 2021).

        angle[p, i] = p / base^(2i / head_dim)
        out[i], out[i + h] = x[i] cos - x[i + h] sin,  x[i + h] cos + x[i] sin          h = head_dim // 2

    x (..., T, head_dim). With `interleaved` the pairs are neighbours, (2i, 2i + 1), as the paper has them, not
    (i, i + h): the same up to the order of features. Of an odd size the last feature is not turned.
    """

    def __init__(self, head_dim: int, *, base: float = 10000.0, interleaved: bool = False):
        self.head_dim = size("RotaryPositions", "head_dim", head_dim)
        self.base, self.interleaved = base, interleaved

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        """X turned, its first step being at position `offset`."""
        x = input_tensor(type(self).__name__, x)
        if x.ndim < 2 or x.shape[-1] != self.head_dim:
            rule = f"expected (..., T, {self.head_dim})."
            raise ShapeError("RotaryPositions: the input does not fit", {"input": x}, rule)
        offset, half = count("RotaryPositions", "offset", offset, 0, "is no position"), self.head_dim // 2
        if half == 0:
            return x  # type: ignore[no-any-return]
        angles = _angles(x.shape[-2], offset, 2 * half, self.base)
        cos, sin = (wrap(f(angles).astype(x.dtype)) for f in (np.cos, np.sin))
        if not self.interleaved:
            return _rotated(x, cos, sin)
        order = np.r_[0 : 2 * half : 2, 1 : 2 * half : 2, 2 * half : self.head_dim]
        turned: Tensor = _rotated(x[..., order], cos, sin)
        return turned[..., np.argsort(order)]

    def describe(self) -> str:
        """Sizes."""
        return f"{self.head_dim}, base={self.base:g}{', interleaved=True' if self.interleaved else ''}"


class ALiBi(Module):
    """A bias on the scores that falls with the distance, by a slope for each head (Press, Smith, Lewis, 2022).

        bias[h, i, j] = -slope[h] |i + offset - j|

    With L queries and S keys: bias (heads, L, S); the queries stand at positions offset .. offset + L - 1, where
    the offset is S - L if not given, the keys at 0 .. S - 1. The slopes of n heads, n a power of two, are
    2^(-8 / n), 2^(-16 / n), ..., 2^-8; other numbers take every second slope of twice the power below them.
    """

    def __init__(self, heads: int):
        self.heads = size("ALiBi", "heads", heads)
        room("ALiBi", self.heads, 64)
        power = 2 ** math.floor(math.log2(self.heads))
        slopes = [2.0 ** (-8.0 * k / power) for k in range(1, power + 1)]
        slopes += [2.0 ** (-4.0 * k / power) for k in range(1, 2 * power, 2)]
        self.slopes: Array = np.array(slopes[: self.heads])

    def forward(
        self, queries: int, keys: int | None = None, offset: int | None = None, dtype: Any = None
    ) -> Tensor:
        """The bias for so many queries and keys."""
        keys = queries if keys is None else keys
        first = keys - queries if offset is None else count("ALiBi", "offset", offset, 0, "is no position")
        distance = np.abs(np.arange(first, first + queries).reshape(-1, 1) - np.arange(keys))
        return wrap((-self.slopes.reshape(-1, 1, 1) * distance).astype(float_dtype("ALiBi", dtype)))

    def describe(self) -> str:
        """The number of heads."""
        return f"{self.heads}"


answer(globals())
