"""A character language model: which symbol comes next, given all that came before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_seq.arguments import choice, count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.functional.layers import one_hot
from tinygrad_seq.models.latent import LatentAR
from tinygrad_seq.nn import GRU, LSTM, RNN, Dropout, Embedding, Linear, Module

CELLS: dict[str, Any] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class CharLM(LatentAR):
    """Embedding, recurrent layers, Linear: log P(x_{t+1} | x_1 .. x_t) for each of V symbols.

        e = embedding(ids);  h, state = lstm(e, state);  logits = W h + b

    ids (T, B) of integers from 0 to V - 1; logits (T, B, V). The state holds everything that the model keeps
    of the past: (h, c) of an LSTM, h of an RNN or a GRU, each (L, B, H). `cell` chooses one of them, and the
    layer has its name: `model.lstm`, `model.gru` or `model.rnn`. `embedding` is `hidden` where not given; 0
    gives the layer one-hot vectors, without weights.

    Raises `ArgumentError` for a cell that is none of them.
    """

    lstm: LSTM

    def __init__(
        self,
        vocabulary_size: int,
        hidden: int = 128,
        layers: int = 1,
        embedding: int | None = None,
        dropout: float = 0.0,
        *,
        cell: str = "lstm",
        rng: Generator | None = None,
    ):
        choice("CharLM: no such cell", "cell", cell, tuple(CELLS))
        self.vocabulary_size, self._net = count("CharLM", "vocabulary_size", vocabulary_size, 1), cell
        width = hidden if embedding is None else embedding
        self.embedding = OneHot(self.vocabulary_size, self._dtype)
        if width:
            self.embedding = Embedding(vocabulary_size, width, rng=rng)
        width = width or self.vocabulary_size
        between = dropout if layers > 1 else 0.0
        setattr(self, cell, CELLS[cell](width, hidden, layers, dropout=between, rng=rng))
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden, vocabulary_size, rng=rng)

    def _dtype(self) -> Any:
        return self.head.weight.dtype


class OneHot(Module):
    """Each id as a row of zeros with a single 1: ids (...) to (..., V), in the dtype of the model at that time."""

    def __init__(self, vocabulary_size: int, dtype: Callable[[], Any]):
        self.vocabulary_size, self.dtype = vocabulary_size, dtype

    def forward(self, ids: Any) -> Tensor:
        """The rows."""
        return one_hot(ids, self.vocabulary_size, self.dtype())

    def describe(self) -> str:
        """The size."""
        return str(self.vocabulary_size)


answer(globals())
