"""Activations as modules, for `Sequential`: each calls the function of its name."""

from __future__ import annotations

from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, input_tensor
from tinygrad_seq.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace  # accepted without effect: the result is a new tensor

    def forward(self, x: Any) -> Tensor:
        """max(x, 0)."""
        return F.relu(x)


class GELU(Module):
    """x times the normal distribution function at x; with `approximate="tanh"` by its approximation."""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        """gelu(x)."""
        return F.gelu(input_tensor("GELU", x), self.approximate)


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Any) -> Tensor:
        """x sigmoid(x)."""
        return F.silu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        """tanh(x)."""
        return input_tensor("Tanh", x).tanh()


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Tensor:
        """1 / (1 + exp(-x))."""
        return F.sigmoid(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Any) -> Tensor:
        """log(1 + exp(x))."""
        return F.softplus(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        """softmax(x)."""
        return F.softmax(input_tensor("Softmax", x), self.dim)


class LogSoftmax(Module):
    """x - log(sum(exp(x))) along `dim`."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        """log_softmax(x)."""
        return F.log_softmax(input_tensor("LogSoftmax", x), self.dim)


class Identity(Module):
    """x, whatever it is made with."""

    def __init__(self, *ignored: Any, **also: Any):
        super().__init__()

    def forward(self, x: Any) -> Any:
        """The input."""
        return x


class Flatten(Module):
    """The axes `start_dim` to `end_dim` as one; by default all but the first, that of the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        """x.flatten(start_dim, end_dim)."""
        return input_tensor("Flatten", x).flatten(self.start_dim, self.end_dim)


answer(globals())
