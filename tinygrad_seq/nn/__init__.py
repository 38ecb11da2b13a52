"""Layers with PyTorch's names, shapes, parameter names, gate order and initialisation."""

from typing import TYPE_CHECKING

from tinygrad_seq.engine.tree import detach
from tinygrad_seq.engine.unknown_names import missing
from tinygrad_seq.nn import functional, init, utils
from tinygrad_seq.nn.activation import (
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
from tinygrad_seq.nn.basic_layers import Dropout, Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_seq.nn.containers import ModuleDict, ModuleList
from tinygrad_seq.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from tinygrad_seq.nn.masks import generate_square_subsequent_mask
from tinygrad_seq.nn.module import Mismatch, Module, Parameter
from tinygrad_seq.nn.multihead_attention import MultiheadAttention
from tinygrad_seq.nn.positions import (
    ALiBi,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    sinusoidal,
)
from tinygrad_seq.nn.rnn.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_seq.nn.rnn.recurrent import GRU, LSTM, RNN
from tinygrad_seq.nn.rnn.state import zoneout
from tinygrad_seq.nn.rnn.unrolling import unroll
from tinygrad_seq.nn.sequential import Sequential
from tinygrad_seq.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from tinygrad_seq.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

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
