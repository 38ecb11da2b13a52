"""Layers with PyTorch's names, shapes, parameter names, gate order and initialisation."""

from tinygrad_seq import functional
from tinygrad_seq.nn.attention import MultiheadAttention
from tinygrad_seq.nn.basic import Dropout, Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_seq.nn.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_seq.nn.chain import Sequential
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
    "GRU",
    "LSTM",
    "RNN",
    "ALiBi",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Mismatch",
    "Module",
    "MultiheadAttention",
    "Parameter",
    "RMSNorm",
    "RNNCell",
    "RotaryPositions",
    "Sequential",
    "SinusoidalPositions",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "detach",
    "functional",
    "generate_square_subsequent_mask",
    "sinusoidal",
    "unroll",
    "zoneout",
]
