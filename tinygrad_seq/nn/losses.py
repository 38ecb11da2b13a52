"""Losses as modules; each calls the function of `functional`."""

from __future__ import annotations

from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.nn.module import Module
from tinygrad_seq.tensor import Tensor


class CrossEntropyLoss(Module):
    """-log softmax(x)[target] in nats: logits (N, C) or (N, C, d...), ids (N, d...) or probabilities."""

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss."""
        return F.cross_entropy(
            x,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """-logp[target], for log-probabilities (N, C) or (N, C, d...) and ids (N, d...)."""

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean"):
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logp: Any, target: Any) -> Tensor:
        """The loss."""
        return F.nll_loss(logp, target, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(Module):
    """(x - target)^2 of equal shapes."""

    def __init__(self, *, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss."""
        return F.mse_loss(x, target, reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), for targets y in [0, 1] of the shape of x."""

    def __init__(self, *, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss."""
        return F.binary_cross_entropy_with_logits(x, target, reduction=self.reduction)
