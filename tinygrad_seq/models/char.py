"""A character language model: which symbol comes next, given all that came before."""

from __future__ import annotations

from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.nn import LSTM, Dropout, Embedding, Linear, Module
from tinygrad_seq.nn.recurrent import State
from tinygrad_seq.random import Generator
from tinygrad_seq.tensor import Tensor


class CharLM(Module):
    """Embedding, LSTM, Linear: log P(x_{t+1} | x_1 .. x_t) for each of V symbols.

        e = embedding(ids);  h, state = lstm(e, state);  logits = W h + b

    ids (T, B) of integers from 0 to V - 1; logits (T, B, V); the state is (h, c), each (L, B, H), and carries
    everything the model knows of the past.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden: int = 128,
        layers: int = 1,
        embedding: int | None = None,
        dropout: float = 0.0,
        *,
        rng: Generator | None = None,
    ):
        self.embedding = Embedding(vocabulary_size, embedding or hidden, rng=rng)
        self.lstm = LSTM(embedding or hidden, hidden, layers, dropout=dropout, rng=rng)
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden, vocabulary_size, rng=rng)

    def forward(self, ids: Any, state: State | None = None) -> tuple[Tensor, State]:
        """Logits for the symbol after each of `ids`, and the state after the last."""
        h, state = self.lstm(self.embedding(ids), state)
        return self.head(self.dropout(h)), state

    def loss(self, ids: Any, targets: Any, state: State | None = None) -> tuple[Tensor, State]:
        """The mean of -log P(target) in nats per symbol, and the state after the last step."""
        logits, state = self(ids, state)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)), state
