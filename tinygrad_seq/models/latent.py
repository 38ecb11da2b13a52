"""Latent autoregressive models: a net carries a state H, and X_t ~ P( . | X_{t-1}, H_t).

They differ in the net: `RNN`, `LSTM`, `GRU`, or one of the user's own.
"""

from __future__ import annotations

from typing import Any

from tinygrad_seq.arguments import count
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.nn import Dropout, Embedding, Linear, Module

__all__ = ["LanguageModel", "LatentAR"]


class LatentAR(NeuralModel):
    """Embedding, a net with a state, Linear: log P(x_{t+1} | x_1 .. x_t) for each of V symbols.

        e = embedding(ids);  h, state = net(e, state);  logits = W h + b

    `net` is a recurrent layer, or a module with its `input_size`, `hidden_size` and `forward(x (T, B, I), state) ->
    (h (T, B, H), state)`. ids (T, B) of integers from 0 to V - 1; logits (T, B, V).

    Raises `ArgumentError` for a bidirectional net: it would read the symbols that it has to predict.

    >>> from tinygrad_seq.nn import LSTM
    >>> model = LatentAR(5, LSTM(8, 16))
    >>> round(float(model.conditional([3, 1, 4]).sum()), 6)
    1.0
    """

    _net = "net"  # the attribute that holds the net
    embedding: Module

    def __init__(
        self, vocabulary_size: int, net: Module, dropout: float = 0.0, *, rng: Generator | None = None
    ):
        self.vocabulary_size = count("LatentAR", "vocabulary_size", vocabulary_size, 1)
        wrong = {name: value for name in ("bidirectional", "batch_first") if (value := getattr(net, name, 0))}
        if wrong:
            rule = "expected a net that runs from the first symbol to the last, time on the first axis."
            raise ArgumentError("LatentAR: this net cannot tell what comes next", wrong, rule)
        if not (hasattr(net, "input_size") and hasattr(net, "hidden_size")):
            rule = "expected a recurrent layer, such as nn.GRU(E, H)."
            raise ArgumentError("LatentAR: this net keeps no state", {"net": type(net).__name__}, rule)
        inputs, hidden = (int(getattr(net, name)) for name in ("input_size", "hidden_size"))
        self.embedding = Embedding(self.vocabulary_size, inputs, rng=rng)
        self.net = net
        self.dropout = Dropout(dropout)
        self.head = Linear(getattr(net, "proj_size", 0) or hidden, self.vocabulary_size, rng=rng)

    def forward(self, ids: Any, state: Any = None) -> tuple[Tensor, Any]:
        """Logits for the symbol after each of `ids`, and the state after the last."""
        h, state = getattr(self, self._net)(self.embedding(ids), state)
        return self.head(self.dropout(h)), state


class LanguageModel(NeuralModel):
    """Any module with `forward(ids (T, B), state) -> (logits (T, B, V), state)`, behind the protocol.

    `longest` is how many symbols the module can read in all, `block` how many it sees before it starts again
    from the last half of them, as `GPT` does; None where there is no bound.
    """

    def __init__(
        self, net: Module, vocabulary_size: int, longest: int | None = None, block: int | None = None
    ):
        self.vocabulary_size = count("LanguageModel", "vocabulary_size", vocabulary_size, 1)
        self.longest = None if longest is None else count("LanguageModel", "longest", longest, 1)
        self.block = None if block is None else count("LanguageModel", "block", block, 1)
        self.net = net

    def forward(self, ids: Any, state: Any = None) -> tuple[Tensor, Any]:
        """The logits and state of the module."""
        return self.net(ids, state)  # type: ignore[no-any-return]


answer(globals(), "LanguageModel", "LatentAR")
