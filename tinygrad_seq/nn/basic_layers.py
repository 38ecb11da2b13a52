"""Layers without a notion of time: Linear, Embedding, Dropout, LayerNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import flag, probability, real, room, size
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.functional.layers import padding_row
from tinygrad_seq.nn.module import Module, Parameter


def uniform_parameter(bound: float, shape: tuple[int, ...], dtype: Any, rng: Generator | None) -> Parameter:
    """A parameter drawn from U(-bound, bound), from `rng` or the stream `init`."""
    return Parameter(given_or(rng, "init").uniform(-bound, bound, shape, float_dtype("Parameter", dtype)))


class Linear(Module):
    """y = x W^T + b.

    x (..., in_features), y (..., out_features); `weight` (out_features, in_features), `bias` (out_features,),
    both drawn from U(-k, k) with k = 1 / sqrt(in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        self.in_features = size("Linear", "in_features", in_features)
        self.out_features = size("Linear", "out_features", out_features)
        bias = bias is not None and flag("Linear", "bias", bias)
        bound = 1.0 / math.sqrt(self.in_features)
        self.weight = uniform_parameter(bound, (self.out_features, self.in_features), dtype, rng)
        self.bias = uniform_parameter(bound, (self.out_features,), dtype, rng) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """X W^T + b."""
        return F.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}{'' if self.bias is not None else ', bias=False'}"


class Embedding(Module):
    """y = weight[ids]: one learnt row for each of `num_embeddings` symbols.

    ids (...) of integers, y (..., embedding_dim); `weight` drawn from N(0, 1), row `padding_idx` zero and
    never trained.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        self.num_embeddings = size("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = size("Embedding", "embedding_dim", embedding_dim)
        self.padding_idx = None
        if padding_idx is not None:
            self.padding_idx = padding_row("Embedding", padding_idx, self.num_embeddings)
        self.weight = Parameter(
            given_or(rng, "init").randn(num_embeddings, embedding_dim, dtype=float_dtype("Embedding", dtype))
        )
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0.0

    def forward(self, ids: Any) -> Tensor:
        """weight[ids]."""
        return F.embedding(ids, self.weight, self.padding_idx)

    def describe(self) -> str:
        """Sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """In training, zeroes each element with probability p and divides the others by 1 - p."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rng: Generator | None = None):
        self.p = probability("Dropout", "p", p)
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        """Dropout where training, x itself where not."""
        return F.dropout(x, self.p, self.training, self.rng)

    def describe(self) -> str:
        """The probability."""
        return f"p={self.p}"


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, over the last axes (Ba, Kiros and Hinton, 2016).

    x (..., *normalized_shape); `weight` starts at 1, `bias` at 0.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        elementwise_affine = flag("LayerNorm", "elementwise_affine", elementwise_affine)
        self.normalized_shape = tuple(size("LayerNorm", "normalized_shape", n) for n in shape)
        room("LayerNorm", math.prod(self.normalized_shape))
        self.eps, bias = real("LayerNorm", "eps", eps), flag("LayerNorm", "bias", bias)
        kind = float_dtype("LayerNorm", dtype)
        self.weight = Parameter(np.ones(self.normalized_shape, kind)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, kind)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        """Sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich, 2019).

    x (..., *normalized_shape); `weight` starts at 1; without `eps` it is the smallest step from 1 of x's dtype.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        elementwise_affine = flag("RMSNorm", "elementwise_affine", elementwise_affine)
        self.normalized_shape = tuple(size("RMSNorm", "normalized_shape", n) for n in shape)
        self.eps = None if eps is None else real("RMSNorm", "eps", eps)
        room("RMSNorm", math.prod(self.normalized_shape))
        ones = np.ones(self.normalized_shape, float_dtype("RMSNorm", dtype))
        self.weight = Parameter(ones) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def describe(self) -> str:
        """Sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"


answer(globals())
