"""Optimisers, schedules and clipping."""

from tinygrad_seq.optim.clipping import clip_grad_norm_, clip_grad_value_, grad_norm
from tinygrad_seq.optim.optimiser import Optimizer
from tinygrad_seq.optim.rules import SGD, Adagrad, Adam, AdamW, RMSprop
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
