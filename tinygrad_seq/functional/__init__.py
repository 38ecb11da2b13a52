"""Composed maths, written once from primitives: activations, softmax, losses, normalisation, attention, embedding.

Everything here stays finite for inputs of +-1e4, in value and in gradient. What is marked `@fused` runs as one
kernel forward and one backward, derived from its formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_seq.engine.unknown_names import missing
from tinygrad_seq.functional.activations import (
    gelu,
    log_softmax,
    logsigmoid,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from tinygrad_seq.functional.attention import scaled_dot_product_attention
from tinygrad_seq.functional.layers import dropout, embedding, layer_norm, linear, one_hot, rms_norm
from tinygrad_seq.functional.losses import checked_ids, cross_entropy, nll_loss
from tinygrad_seq.functional.pointwise_losses import binary_cross_entropy_with_logits, l1_loss, mse_loss

__all__ = [
    "binary_cross_entropy_with_logits",
    "checked_ids",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise missing("module 'tinygrad_seq.functional'", name, lambda: __all__)
