"""Layers with PyTorch's names, shapes, parameter names, gate order and initialisation."""

from typing import TYPE_CHECKING

from tinygrad_seq.absent import missing
from tinygrad_seq.nn import functional, init, utils
from tinygrad_seq.nn.activations import (
    GELU,
    Flatten,
    Identity,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_seq.nn.attention import MultiheadAttention
from tinygrad_seq.nn.basic import Dropout, Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_seq.nn.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_seq.nn.chain import Sequential
from tinygrad_seq.nn.containers import ModuleDict, ModuleList
from tinygrad_seq.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from tinygrad_seq.nn.masks import generate_square_subsequent_mask
from tinygrad_seq.nn.module import Mismatch, Module, Parameter
from tinygrad_seq.nn.nests import detach
from tinygrad_seq.nn.position import (
    ALiBi,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    sinusoidal,
)
from tinygrad_seq.nn.recurrent import GRU, LSTM, RNN
from tinygrad_seq.nn.stacks import Transformer, TransformerDecoder, TransformerEncoder
from tinygrad_seq.nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from tinygrad_seq.nn.unrolling import unroll, zoneout

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "ALiBi",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Identity",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Mismatch",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "detach",
    "functional",
    "generate_square_subsequent_mask",
    "init",
    "sinusoidal",
    "unroll",
    "utils",
    "zoneout",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        raise missing("module 'tinygrad_seq.nn'", name, lambda: __all__)
