"""Optimisers (SGD, Adam, AdamW, RMSprop, Adagrad), schedules of the learning rate, and gradient clipping."""

from typing import TYPE_CHECKING

from tinygrad_seq.engine.unknown_names import missing
from tinygrad_seq.optim.clipping import clip_grad_norm_, clip_grad_value_, grad_norm
from tinygrad_seq.optim.optimizer import Optimizer
from tinygrad_seq.optim.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from tinygrad_seq.optim.schedules import CosineWithWarmup, DelayedStepLR, ExponentialLR, Schedule, StepLR

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineWithWarmup",
    "DelayedStepLR",
    "ExponentialLR",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "grad_norm",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        raise missing("module 'tinygrad_seq.optim'", name, lambda: __all__)
