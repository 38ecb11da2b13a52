"""A character model without recurrence: attention over all symbols before (Radford et al., 2019)."""

from __future__ import annotations

import itertools
import math
from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, concat
from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.models.neural import NeuralModel, named_as
from tinygrad_seq.nn.basic_layers import Dropout, Embedding, LayerNorm, Linear
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nn.multihead_attention import check_heads
from tinygrad_seq.nn.positions import ALiBi, LearnedPositions, RotaryPositions, SinusoidalPositions
from tinygrad_seq.nn.transformer import TransformerEncoder
from tinygrad_seq.nn.transformer_layers import TransformerEncoderLayer

GPTState = tuple[Tensor, tuple[Any, ...]]
POSITIONS = ("learned", "rotary", "sinusoidal", "alibi")


class GPT(NeuralModel):
    """Embedding, `layers` pre-norm Transformer layers that see no future, LayerNorm, Linear.

        x = dropout(embedding(ids) + positions)
        x = x + attention(norm1(x));  x = x + W_2 gelu(W_1 norm2(x) + b_1) + b_2        in each layer
        logits = head(norm(x))

    ids (T, B) of integers from 0 to V - 1, logits (T, B, V). No symbol sees more than `block` - 1 others before
    it. `positions` are 'learned', 'rotary', 'sinusoidal' or 'alibi'; with `tied` the head's weight is the
    embedding's. Matrices are drawn from N(0, 0.02), those that add to x in each layer from N(0, 0.02 / sqrt(2
    layers)); biases are zero.

    >>> from tinygrad_seq import zeros
    >>> model = GPT(65, block=8, layers=2, heads=2, width=16)
    >>> logits, state = model(zeros(5, 3, dtype=int))
    >>> logits.shape
    (5, 3, 65)
    """

    block: int

    def __init__(
        self,
        vocabulary_size: int,
        block: int = 64,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        *,
        positions: str = "learned",
        tied: bool = True,
        bias: bool = True,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        self.block, self.layers = size("GPT", "block", block), size("GPT", "layers", layers)
        heads, width = size("GPT", "heads", heads), size("GPT", "width", width)
        check_heads("GPT", "width", width, heads, None, False)
        if positions not in POSITIONS:
            rule = f"expected one of {', '.join(POSITIONS)}."
            raise ArgumentError("GPT: no such positions", {"positions": positions}, rule)
        self.vocabulary_size = size("GPT", "vocabulary_size", vocabulary_size)
        self.embedding = Embedding(vocabulary_size, width, dtype=dtype, rng=rng)
        self.positions: Module | None = None
        if positions == "learned":
            self.positions = LearnedPositions(block, width, batch_first=True, dtype=dtype, rng=rng)
        elif positions == "sinusoidal":
            # The scale of the embeddings: a sine of amplitude 1 would be far larger than they are.
            self.positions = SinusoidalPositions(width, scale=0.02 * math.sqrt(2.0), batch_first=True)
        inside: RotaryPositions | ALiBi | None = None
        if positions == "rotary":
            inside = RotaryPositions(width // heads)
        elif positions == "alibi":
            inside = ALiBi(heads)
        layer = TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
            bias=bias,
            positions=inside,
            dtype=dtype,
            rng=rng,
        )
        self.dropout = Dropout(dropout)
        self.blocks = TransformerEncoder(layer, layers, LayerNorm(width, bias=bias, dtype=dtype), rng=rng)
        self.head = Linear(width, vocabulary_size, bias=False, dtype=dtype, rng=rng)
        if tied:
            self.head.weight = self.embedding.weight
        self._draw(rng)

    def _draw(self, rng: Generator | None) -> None:
        """The first weights, small enough for the sum of all layers to be as large as one of them."""
        for name, p in self.named_parameters():
            if p.ndim > 1:
                adds = name.endswith(("out_proj.weight", "linear2.weight"))
                scale = 0.02 / math.sqrt(2 * self.layers) if adds else 0.02
                p.assign(given_or(rng, "init").randn(*p.shape, dtype=p.dtype) * scale)
            elif name.endswith("bias"):
                p.array[...] = 0.0

    def forward(self, ids: Any, state: GPTState | None = None) -> tuple[Tensor, GPTState]:
        """Logits for the symbol after each of `ids`, and the state after the last.

        The state holds the symbols that are still seen, with their keys and values. A sequence in pieces gives the
        same logits as the whole, as long as it is no longer than `block`. Beyond that the window starts again: with
        the last `block` // 2 symbols before these, fewer where these leave less room, and with none where these are
        `block` themselves. More than `block` at once are read in pieces, and see what they would see one by one.
        """
        logits, state = self._logits(ids, state)
        return logits.transpose(0, 1), state

    def loss(self, ids: Any, targets: Any, state: GPTState | None = None) -> tuple[Tensor, GPTState]:
        """The mean of -log P(target) in nats per symbol, and the state after the last step."""
        logits, state = self._logits(ids, state)
        wanted = named_as(targets, as_tensor(targets).transpose(0, 1).reshape(-1))
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted), state

    def _logits(self, ids: Any, state: GPTState | None) -> tuple[Tensor, GPTState]:
        """The logits (B, T, V): with the batch first, the layers' products are rows of contiguous memory."""
        ids = as_tensor(ids)
        if ids.ndim != 2 or ids.shape[0] == 0:
            raise ShapeError("GPT: the ids do not fit", {"ids": ids}, "expected (T, B), T at least 1.")
        if state is not None and state[0].shape[1] != ids.shape[1]:
            rule = f"expected {ids.shape[1]} sequences, got {state[0].shape[1]}."
            raise ShapeError("GPT: the state does not fit", {"ids": ids, "seen": state[0]}, rule)
        if ids.shape[0] <= self.block:
            return self._window(ids, state)
        pieces, half = [], self.block - self.block // 2
        room = self.block - (0 if state is None else state[0].shape[0])
        stops = [*([room] if room else []), *range(room + half, ids.shape[0] + half, half)]
        for start, stop in itertools.pairwise([0, *stops]):
            logits, state = self._window(ids[start:stop], state)
            pieces.append(logits)
        assert state is not None
        return concat(pieces, 1), state

    def _window(self, ids: Tensor, state: GPTState | None) -> tuple[Tensor, GPTState]:
        seen, cache = state or (ids[:0], ())
        again = 0
        if seen.shape[0] + ids.shape[0] > self.block:
            again = min(self.block // 2, self.block - ids.shape[0])
            ids, seen, cache = concat([seen[seen.shape[0] - again :], ids]), ids[:0], ()
        x = self.embedding(named_as(ids, ids.transpose(0, 1)))
        if self.positions is not None:
            x = self.positions(x, seen.shape[0])
        x, cache = self.blocks(self.dropout(x), causal=True, cache=cache)
        if again:
            x = x[:, again:]
        return self.head(x), (concat([seen, ids]) if seen.shape[0] else ids, cache)


answer(globals())
