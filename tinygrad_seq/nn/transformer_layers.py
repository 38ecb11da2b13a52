"""The layers of the Transformer of Vaswani et al. (2017), by PyTorch's names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import scope
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, input_tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.nn.basic_layers import Dropout, LayerNorm, Linear
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nn.multihead_attention import Cache, MultiheadAttention, check_heads
from tinygrad_seq.nn.positions import ALiBi, RotaryPositions

Activation = str | Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


@fused
def _biased_relu(x: Tensor, bias: Tensor) -> Tensor:
    return F.relu(x + bias)


@fused
def _biased_gelu(x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


# Activations whose kernel also adds the bias of the product before them, and sums its gradient.
BIASED: dict[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] = {
    F.relu: _biased_relu,
    F.gelu: _biased_gelu,
}


class _Layer(Module):
    """What encoder and decoder layers share: their parts, the feed-forward net, and how a sublayer is added.

    `attends` names the attentions; each is followed by a LayerNorm and a Dropout, and so is the net.
    """

    attends: ClassVar[tuple[str, ...]] = ("self_attn",)

    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        positions: RotaryPositions | ALiBi | None = None,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        call = type(self).__name__
        check_heads(call, "d_model", size(call, "d_model", d_model), size(call, "nhead", nhead), None, False)
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            rule = "expected 'relu', 'gelu' or a function of a tensor."
            raise ArgumentError(f"{call}: no such activation", {"activation": activation}, rule)
        self.activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.norm_first = norm_first
        sizes = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps
        self.again = functools.partial(type(self), *sizes, batch_first, norm_first, bias, positions=positions)
        ways = {"batch_first": batch_first, "dtype": dtype, "rng": rng}
        for name in self.attends:
            where = positions if name == "self_attn" else None  # a memory has no places of its own
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, positions=where, **ways))
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype, rng=rng)
        sublayers = range(1, len(self.attends) + 2)
        for i in sublayers:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for i in sublayers:
            setattr(self, f"dropout{i}", Dropout(dropout))

    def fresh(self, rng: Generator | None = None) -> Any:
        """A layer of the same settings and dtype, with weights of its own."""
        return self.again(dtype=self.linear1.weight.dtype, rng=rng).train(self.training)

    def _added(
        self, x: Tensor, norm: LayerNorm, dropout: Dropout, sublayer: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """x + sublayer(norm(x)) where `norm_first`, norm(x + sublayer(x)) where not."""
        out: Tensor = x + dropout(sublayer(norm(x))) if self.norm_first else norm(x + dropout(sublayer(x)))
        return out

    def _feed(self, x: Tensor) -> Tensor:
        one, kernel = self.linear1, BIASED.get(self.activation)
        if kernel is None or one.bias is None or one._hooked:
            hidden = self.activation(one(x))
        else:
            with scope("linear1"):
                hidden = kernel(F.linear(x, one.weight), one.bias)
        out: Tensor = self.linear2(self.dropout(hidden))
        return out


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward net, each added to what it reads.

        x = norm1(x + dropout(self_attn(x)))                 x = x + dropout(self_attn(norm1(x)))
        x = norm2(x + dropout(feed(x)))          or          x = x + dropout(feed(norm2(x)))

        feed(x) = W_2 dropout(activation(W_1 x + b_1)) + b_2

    on the right where `norm_first`. x (T, B, d_model), (B, T, d_model) where `batch_first`, or (T, d_model).
    `activation` is 'relu', 'gelu' (exact) or a function. `positions` are those of `MultiheadAttention`.
    """

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        allow: Any = None,
        bias: Any = None,
        causal: bool = False,
        cache: Cache | None = None,
    ) -> Any:
        """X after the layer; (x, cache) where a cache was given. The masks are those of `MultiheadAttention`."""
        kept: list[Cache] = []

        def attend(x: Tensor) -> Tensor:
            out, _, *new = self.self_attn(
                x,
                key_padding_mask=src_key_padding_mask,
                need_weights=False,
                attn_mask=src_mask,
                is_causal=is_causal,
                allow=allow,
                bias=bias,
                causal=causal,
                cache=cache,
            )
            kept.extend(new)
            return out  # type: ignore[no-any-return]

        x = self._added(input_tensor("TransformerEncoderLayer", src), self.norm1, self.dropout1, attend)
        x = self._added(x, self.norm2, self.dropout2, self._feed)
        return x if cache is None else (x, kept[0])


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, and a feed-forward net, each added to what it reads.

    As `TransformerEncoderLayer`, with norm2(x + dropout(multihead_attn(x, memory))) between the two, or x +
    dropout(multihead_attn(norm2(x), memory)) where `norm_first`. tgt (T, B, d_model), memory (S, B, d_model).
    """

    attends = ("self_attn", "multihead_attn")

    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def forward(
        self,
        tgt: Any,
        memory: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        allow: Any = None,
        causal: bool = False,
        memory_allow: Any = None,
        cache: tuple[Cache, Cache] | tuple[()] | None = None,
    ) -> Any:
        """X after the layer; (x, cache) where a cache was given.

        `allow` and `causal` are our own masks of the self-attention, `memory_allow` that of the attention to the
        memory. The cache, () before the first step, holds keys and values of the steps so far and those of the
        memory, which is then read no more and may be None.
        """
        first, second = cache or ((), None)
        if memory is None and second is None:
            rule = "expected the memory, or a cache that holds its keys and values."
            raise ArgumentError("TransformerDecoderLayer: no memory to attend to", None, rule)
        kept: list[Cache] = []
        if cache is not None and second is None:
            second = self.multihead_attn.project(memory)

        def attend(x: Tensor) -> Tensor:
            theirs = {
                "attn_mask": tgt_mask,
                "key_padding_mask": tgt_key_padding_mask,
                "is_causal": tgt_is_causal,
            }
            ours = {"allow": allow, "causal": causal, "cache": None if cache is None else first}
            out, _, *new = self.self_attn(x, need_weights=False, **theirs, **ours)
            kept.extend(new)
            return out  # type: ignore[no-any-return]

        def attend_to_memory(x: Tensor) -> Tensor:
            masks = {"attn_mask": memory_mask, "key_padding_mask": memory_key_padding_mask}
            masks |= {"is_causal": memory_is_causal, "allow": memory_allow}
            given = memory if second is None else None
            return self.multihead_attn(x, given, need_weights=False, projected=second, **masks)[0]  # type: ignore[no-any-return]

        x = self._added(input_tensor("TransformerDecoderLayer", tgt), self.norm1, self.dropout1, attend)
        x = self._added(x, self.norm2, self.dropout2, attend_to_memory)
        x = self._added(x, self.norm3, self.dropout3, self._feed)
        return x if cache is None else (x, (kept[0], second))


answer(globals())
