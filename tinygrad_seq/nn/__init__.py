"""Layers with PyTorch's names, shapes, parameter names, gate order and initialisation."""

from tinygrad_seq import functional
from tinygrad_seq.nn.basic import Dropout, Embedding, LayerNorm, Linear, RMSNorm, Sequential
from tinygrad_seq.nn.module import Mismatch, Module, Parameter
from tinygrad_seq.nn.recurrent import LSTM, detach, unroll

__all__ = [
    "LSTM",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Mismatch",
    "Module",
    "Parameter",
    "RMSNorm",
    "Sequential",
    "detach",
    "functional",
    "unroll",
]
