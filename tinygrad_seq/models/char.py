"""A character language model: which symbol comes next, given all that came before."""

from __future__ import annotations

from typing import Any

from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.models.latent import LatentAR
from tinygrad_seq.nn import GRU, LSTM, RNN, Dropout, Embedding, Linear
from tinygrad_seq.random import Generator

CELLS: dict[str, Any] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class CharLM(LatentAR):
    """Embedding, recurrent layers, Linear: log P(x_{t+1} | x_1 .. x_t) for each of V symbols.

        e = embedding(ids);  h, state = lstm(e, state);  logits = W h + b

    ids (T, B) of integers from 0 to V - 1; logits (T, B, V). The state carries everything the model knows of
    the past: (h, c) of an LSTM, h of an RNN or a GRU, each (L, B, H). `cell` says which of them it is, and the
    layer bears its name: `model.lstm`, `model.gru` or `model.rnn`.

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
        if cell not in CELLS:
            rule = f"expected one of {', '.join(map(repr, CELLS))}."
            raise ArgumentError(explain("CharLM: no such cell", {"cell": cell}, rule))
        width = hidden if embedding is None else embedding
        self.embedding = Embedding(vocabulary_size, width, rng=rng)
        between = dropout if layers > 1 else 0.0
        setattr(self, cell, CELLS[cell](width, hidden, layers, dropout=between, rng=rng))
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden, vocabulary_size, rng=rng)
        self.vocabulary_size, self._net = self.embedding.num_embeddings, cell
