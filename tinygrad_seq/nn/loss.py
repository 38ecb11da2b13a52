"""Losses as modules; each calls the function of `functional`."""

from __future__ import annotations

from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.functional.pointwise_losses import known
from tinygrad_seq.nn.module import Module


class Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none"."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, reduction: str):
        self.reduction = known(reduction)

    def _keep(self, name: str, weight: Any) -> None:
        """Keep weights as a buffer, which is no parameter."""
        given = weight is None or isinstance(weight, Tensor)
        self.register_buffer(name, weight if given else Tensor(weight))


class CrossEntropyLoss(Loss):
    """-log softmax(x)[target] in nats: logits (N, C) or (N, C, d...), ids (N, d...) or probabilities."""

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Loss):
    """-logp[target], for log-probabilities (N, C) or (N, C, d...) and ids (N, d...)."""

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss."""
        settings: Any = {"ignore_index": self.ignore_index, "reduction": self.reduction}
        return F.nll_loss(input, target, self.weight, **settings)


class MSELoss(Loss):
    """(x - target)^2 of equal shapes."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """abs(x - target) of equal shapes."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), for targets y in [0, 1] of the shape of x."""

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss."""
        settings: Any = {"pos_weight": self.pos_weight, "reduction": self.reduction}
        return F.binary_cross_entropy_with_logits(input, target, self.weight, **settings)


answer(globals())
