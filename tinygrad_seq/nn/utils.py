"""PyTorch's `nn.utils`: clipping, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, concat
from tinygrad_seq.errors import ShapeError
from tinygrad_seq.optim.clipping import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters concatenated, (n,)."""
    return concat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Assign the values of a vector to the parameters, in the order of `parameters_to_vector`."""
    own = list(parameters)
    if vector.shape != (sum(p.numel() for p in own),):
        rule = f"expected ({sum(p.numel() for p in own)},)."
        raise ShapeError("vector_to_parameters: the vector does not fit", {"vector": vector}, rule)
    for p, part in zip(own, vector.detach().split([p.numel() for p in own]), strict=True):
        p.assign(part.reshape(p.shape))


answer(globals())
