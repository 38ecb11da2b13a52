"""Stacks of Transformer layers: encoder, decoder, and both together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_seq.arguments import room, size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, where, wrap
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError
from tinygrad_seq.nn.basic_layers import LayerNorm
from tinygrad_seq.nn.masks import counted, generate_square_subsequent_mask
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nn.sequential import applicable
from tinygrad_seq.nn.transformer_layers import Activation, TransformerDecoderLayer, TransformerEncoderLayer

Layers = Module | Callable[[], Module]


def stacked(call: str, layer: Layers, count: int, rng: Generator | None = None) -> list[Module]:
    """`count` layers: a copy of the one given and others of its settings with weights of their own.

    A function makes every layer itself.
    """
    count = size(call, "num_layers", count)
    if not isinstance(layer, Module):
        return made_by_function(call, layer, count)
    if type(layer) not in (TransformerEncoderLayer, TransformerDecoderLayer) and count > 1:
        rule = "expected a layer that can make another with weights of its own, or a function that makes one."
        hint = f"Pass a function of no arguments: {call}(lambda: {type(layer).__name__}(...), {count})."
        raise ArgumentError(
            f"{call}: {type(layer).__name__} cannot make others like itself", None, rule, hint
        )
    room(call, count * max(1, layer.count()))
    fresh: Callable[..., Module] = getattr(layer, "fresh")  # noqa: B009
    return [copy.deepcopy(layer), *(fresh(rng) for _ in range(count - 1))]


def made_by_function(call: str, make: Any, count: int) -> list[Module]:
    """`count` modules from a function; DTypeError where it gives something else, or one module twice."""
    if not callable(make):
        rule = f"expected a layer, or a function that makes one, got {type(make).__name__}."
        raise DTypeError(f"{call}: not made of layers", None, rule)
    layers = [make() for _ in range(count)]
    for i, layer in enumerate(layers):
        if not isinstance(layer, Module):
            rule = f"expected the function to give a module, got {type(layer).__name__}."
            raise DTypeError(f"{call}: not made of layers", None, rule)
        if any(layer is other for other in layers[:i]):
            rule = "expected the function to make a new module each time."
            raise DTypeError(f"{call}: one layer would be all of them", None, rule)
    return layers


class TransformerEncoder(Module):
    """`num_layers` encoder layers one after the other, and `norm` after the last where given.

    PyTorch copies `encoder_layer`, so that all layers start from the same weights and, with the same input
    statistics, learn alike for long. Here the first layer is a copy of the one given, and each of the others is
    drawn anew with its settings; names and shapes are PyTorch's, so a `state_dict` moves both ways all the same.
    For layers of your own pass a function that makes one: `TransformerEncoder(lambda: MyLayer(8), 6)`.
    `enable_nested_tensor` and `mask_check` are taken for PyTorch's sake; results never depended on them.
    """

    def __init__(
        self,
        encoder_layer: Layers,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
        *,
        rng: Generator | None = None,
    ):
        self.layers = stacked("TransformerEncoder", encoder_layer, num_layers, rng)
        self.norm = None if norm is None else applicable(type(self).__name__, "norm", norm)

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
        *,
        allow: Any = None,
        bias: Any = None,
        causal: bool = False,
        lengths: Any = None,
        cache: Sequence[Any] | None = None,
    ) -> Any:
        """X (T, B, d_model) after all layers; (x, cache) where a cache was given, which is () at first.

        Masks as in `MultiheadAttention`. With `lengths` (B,), steps beyond a sequence's length are ignored, even
        NaN, and their outputs are zero.
        """
        x = input_tensor("TransformerEncoder", src)
        _fits("TransformerEncoder", cache, self.layers)
        ours = {"allow": allow, "bias": bias, "causal": causal}
        inside = None
        if lengths is not None:
            x, inside, ours["allow"] = self._within(x, lengths, allow, cache)
        new = []
        theirs = (mask, src_key_padding_mask, bool(is_causal))
        for i, layer in enumerate(self.layers):
            if cache is None:
                x = layer(x, *theirs, **ours)
            else:
                x, kept = layer(x, *theirs, **ours, cache=cache[i] if cache else ())
                new.append(kept)
        x = x if self.norm is None else self.norm(x)
        if inside is not None:
            x = where(inside, x, 0.0)
        return x if cache is None else (x, tuple(new))

    def _within(self, x: Tensor, lengths: Any, allow: Any, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
        """X with zeros beyond the lengths, which steps are within them, and who may attend to whom."""
        if cache is not None or x.ndim != 3:
            rule = "expected a batch, and no cache."
            raise ArgumentError("TransformerEncoder: lengths are for whole sequences", {"src": x}, rule)
        batch_first = getattr(getattr(self.layers[0], "self_attn", None), "batch_first", None)
        if batch_first is None:
            rule = "expected layers with `self_attn`, as TransformerEncoderLayer has."
            raise ArgumentError("TransformerEncoder: lengths need layers of ours", None, rule)
        batch, steps = x.shape[:2] if batch_first else x.shape[1::-1]
        real = counted("TransformerEncoder", lengths, batch, steps)
        inside = wrap(real if batch_first else real.T).unsqueeze(-1)
        reach = wrap(real[:, None, None, :])
        if allow is not None:
            allow = as_tensor(allow)
            reach = reach & (allow if allow.ndim != 3 else allow.unsqueeze(1))
        return where(inside, x, 0.0), inside, reach


class TransformerDecoder(Module):
    """`num_layers` decoder layers one after the other, and `norm` after the last where given.

    The layers start from weights of their own, as in `TransformerEncoder`.
    """

    def __init__(
        self,
        decoder_layer: Layers,
        num_layers: int,
        norm: Module | None = None,
        *,
        rng: Generator | None = None,
    ):
        self.layers = stacked("TransformerDecoder", decoder_layer, num_layers, rng)
        self.norm = None if norm is None else applicable(type(self).__name__, "norm", norm)

    def forward(
        self,
        tgt: Any,
        memory: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        allow: Any = None,
        causal: bool = False,
        memory_allow: Any = None,
        cache: Sequence[Any] | None = None,
    ) -> Any:
        """X (T, B, d_model) after all layers; (x, cache) where a cache was given.

        The cache is () at first, or what `precompute(memory)` returned; the memory is then read no more.
        """
        x = input_tensor("TransformerDecoder", tgt)
        _fits("TransformerDecoder", cache, self.layers)
        theirs = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, bool(tgt_is_causal))
        new = []
        for i, layer in enumerate(self.layers):
            ours = {"allow": allow, "causal": causal, "memory_allow": memory_allow}
            if cache is None:
                x = layer(x, memory, *theirs, memory_is_causal, **ours)
            else:
                x, kept = layer(x, memory, *theirs, memory_is_causal, **ours, cache=cache[i] if cache else ())
                new.append(kept)
        x = x if self.norm is None else self.norm(x)
        return x if cache is None else (x, tuple(new))

    def precompute(self, memory: Any) -> tuple[Any, ...]:
        """A cache before the first step that holds the memory's keys and values of every layer."""
        return tuple(((), layer.multihead_attn.project(memory)) for layer in self.layers)  # type: ignore[attr-defined]


def _fits(call: str, cache: Any, layers: Any) -> None:
    """Refuse a cache that is not of these layers."""
    if cache is not None and (not isinstance(cache, (tuple, list)) or len(cache) not in (0, len(layers))):
        rule = f"expected () or what an earlier call returned: a tuple of {len(layers)}, one for each layer."
        raise ArgumentError(f"{call}: the cache does not fit", {"cache": type(cache).__name__}, rule)


class Transformer(Module):
    """Encoder and decoder (Vaswani et al., 2017): the decoder attends to the encoder's output.

        memory = encoder(src);  out = decoder(tgt, memory)

    src (S, B, d_model), tgt and out (T, B, d_model), or batch axis first where `batch_first`. Both stacks end in
    a LayerNorm; every matrix is drawn by Glorot and Bengio's uniform rule, as in PyTorch. Embeddings and
    positions are not part of it.
    """

    generate_square_subsequent_mask = staticmethod(generate_square_subsequent_mask)

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        settings = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
        )
        self.d_model, self.batch_first = d_model, batch_first

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings, bias, dtype=dtype, rng=rng),
            num_encoder_layers,
            norm(),
            rng=rng,
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings, bias, dtype=dtype, rng=rng),
            num_decoder_layers,
            norm(),
            rng=rng,
        )
        for p in self.parameters():
            if p.ndim > 1:
                bound = math.sqrt(6.0 / sum(p.shape))
                p.assign(given_or(rng, "init").uniform(-bound, bound, p.shape, p.dtype))

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        src_allow: Any = None,
        tgt_allow: Any = None,
        memory_allow: Any = None,
        causal: bool = False,
        src_lengths: Any = None,
    ) -> Tensor:
        """The decoder's output. `causal` is our own mask of the target; `src_lengths` end the sources."""
        s, t = input_tensor("Transformer", src), input_tensor("Transformer", tgt)
        batch_axis = 0 if self.batch_first else 1
        fits = s.ndim == t.ndim in (2, 3) and s.shape[-1] == t.shape[-1] == self.d_model
        if not fits or (s.ndim == 3 and s.shape[batch_axis] != t.shape[batch_axis]):
            rule = f"expected {self.d_model} features in both, and one number of sequences."
            raise ShapeError("Transformer: src and tgt do not fit", {"src": s, "tgt": t}, rule)
        memory = self.encoder(
            s, src_mask, src_key_padding_mask, src_is_causal, allow=src_allow, lengths=src_lengths
        )
        if src_lengths is not None:
            steps = s.shape[1 - batch_axis]
            reach = wrap(counted("Transformer", src_lengths, s.shape[batch_axis], steps)[:, None, None, :])
            if memory_allow is not None:
                given = as_tensor(memory_allow)
                reach = reach & (given if given.ndim != 3 else given.unsqueeze(1))
            memory_allow = reach
        padding = (tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal, memory_is_causal)
        ours = {"allow": tgt_allow, "causal": causal, "memory_allow": memory_allow}
        return self.decoder(t, memory, tgt_mask, memory_mask, *padding, **ours)  # type: ignore[no-any-return]


answer(globals())
