"""`MultiheadAttention`: PyTorch's by name, weights and meaning; beside it the free form and the cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import flag, probability, size
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.names import role
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, concat, input_tensor, where, wrap
from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.functional.attention import attend, one_family
from tinygrad_seq.nn.basic_layers import Linear, uniform_parameter
from tinygrad_seq.nn.masks import Masks, counted, masks_of
from tinygrad_seq.nn.module import Module, Parameter
from tinygrad_seq.nn.positions import ALiBi, RotaryPositions

Cache = tuple[Tensor, ...]


def check_heads(
    call: str, width_name: str, width: int, heads: int, head_dim: int | None, hint: bool = True
) -> int:
    """The size of a head; raises ArgumentError where the width cannot be cut into so many."""
    if head_dim is not None:
        return size(call, "head_dim", head_dim)
    if width % heads:
        rule = f"expected a multiple of {heads}, got {width}."
        free = f"Pass head_dim= for heads of a size of their own, such as head_dim={-(-width // heads)}."
        named = {width_name: width, "heads": heads}
        raise ArgumentError(
            f"{call}: {width_name} cannot be cut into equal heads", named, rule, free if hint else ""
        )
    return width // heads


class MultiheadAttention(Module):
    """Several attentions side by side, each on its own projection of the input (Vaswani et al., 2017).

        q_h, k_h, v_h = W_q,h query + b_q,h;  W_k,h key + b_k,h;  W_v,h value + b_v,h
        out = W_o concat(attention(q_1, k_1, v_1), ..., attention(q_H, k_H, v_H)) + b_o

    With L queries, S keys, B sequences, H heads of size D (`embed_dim` / H, or `head_dim`): query (L, B,
    embed_dim), key (S, B, kdim), value (S, B, vdim), out (L, B, out_dim); batch axis first where `batch_first`;
    without it for a single sequence. Parameters bear PyTorch's names: `in_proj_weight` (3 H D, embed_dim) with
    rows q, k, v, or `q_proj_weight k_proj_weight v_proj_weight` where kdim or vdim differ, `in_proj_bias`
    (3 H D,), `out_proj`, and drawn as there. `head_dim` and `out_dim` are the free form, which PyTorch lacks;
    `positions` (`RotaryPositions` or `ALiBi`) are applied to queries and keys here.

    >>> from tinygrad_seq import zeros
    >>> attention = MultiheadAttention(5, 8, head_dim=3, out_dim=5)
    >>> attention.out_proj.weight.shape, attention(zeros(2, 5))[0].shape
    ((5, 24), (2, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        head_dim: int | None = None,
        out_dim: int | None = None,
        positions: RotaryPositions | ALiBi | None = None,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        call = "MultiheadAttention"
        self.embed_dim, self.num_heads = (
            size(call, "embed_dim", embed_dim),
            size(call, "num_heads", num_heads),
        )
        self.head_dim = check_heads(call, "embed_dim", embed_dim, num_heads, head_dim)
        self.out_dim = size(call, "out_dim", embed_dim if out_dim is None else out_dim)
        self.kdim, self.vdim = (
            embed_dim if n is None else size(call, "kdim or vdim", n) for n in (kdim, vdim)
        )
        self.dropout = probability(call, "dropout", dropout)
        self.bias, self.batch_first = flag(call, "bias", bias), flag(call, "batch_first", batch_first)
        self.add_zero_attn = flag(call, "add_zero_attn", add_zero_attn)
        self.positions, self.inner = positions, num_heads * self.head_dim
        self.packed = self.kdim == self.vdim == embed_dim
        inner, kind = self.inner, float_dtype("MultiheadAttention", dtype)
        if self.packed:
            self.in_proj_weight = _xavier(3 * inner, embed_dim, kind, rng)
        else:
            for name, n in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
                setattr(self, f"{name}_proj_weight", _xavier(inner, n, kind, rng))
        self.in_proj_bias = Parameter(np.zeros(3 * inner, kind)) if bias else None
        self.out_proj = Linear(inner, self.out_dim, bias, dtype=dtype, rng=rng)
        if self.out_proj.bias is not None:
            self.out_proj.bias.array[...] = 0.0
        self.bias_k, self.bias_v = (_one_more(inner, kind, rng) if add_bias_kv else None for _ in range(2))

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        allow: Any = None,
        bias: Any = None,
        causal: bool = False,
        lengths: Any = None,
        cache: Cache | None = None,
        projected: Cache | None = None,
    ) -> tuple[Any, ...]:
        """(out, weights), and the new cache too where `cache` was given; no weights unless `need_weights`.

        Without `key` the queries are the keys, without `value` the keys are the values. The weights are (B, L,
        S), the mean over the heads, or (B, H, L, S) without `average_attn_weights`; after dropout.

        PyTorch's masks: `attn_mask` (L, S) or (B H, L, S) and `key_padding_mask` (B, S), True where blocked, or
        floats to be added; `is_causal` only says that `attn_mask` is causal. Our own: `allow` (L, S), (B, L, S)
        or (B, H, L, S), True where a query may attend; `bias`, floats of such a shape to be added; `causal`,
        the last query sees the last key; `lengths` (B,), how many keys count: the others are ignored, even NaN, and
        where queries are keys, outputs beyond them are zero. Both families at once are an error.

        `cache` holds the keys and values (B, H, t, D) of t steps before these, or is () before the first; the
        new one holds these too. With `causal` the results equal those of the whole sequence at once.
        `projected` replaces key and value by the result of `project`, computed once for a decoder's memory.
        """
        ours = {"allow": allow, "bias": bias, "causal": causal, "lengths": lengths}
        theirs = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        one_family("MultiheadAttention", theirs, ours)
        q, k, v, single = self._operands(query, key, value)
        same = q is k and projected is None
        self._check(q, k, v, lengths, cache, projected)
        inside = None
        if lengths is not None:
            at = 0 if self.batch_first else 1
            ours["lengths"] = real = counted("MultiheadAttention", lengths, k.shape[at], k.shape[1 - at])
            inside = wrap(real if self.batch_first else real.T).unsqueeze(-1)
            kept = where(inside, k, 0.0)
            q, k, v = (kept if same else q), kept, (kept if v is k else where(inside, v, 0.0))
        qs, ks, vs = self._placed(q, k, v, cache, projected)
        batch, heads, length, _ = qs.shape
        masks = masks_of("MultiheadAttention", (batch, heads, length, ks.shape[-2]), theirs, ours)
        out, weights = self._attended(qs, ks, vs, masks)
        out = self.out_proj(out)
        if inside is not None and same:
            out = where(inside, out, 0.0)
        if single:
            out, weights = out.squeeze(0 if self.batch_first else 1), weights.squeeze(0)
        shown = (weights.mean(-3) if average_attn_weights else weights) if need_weights else None
        return (out, shown) if cache is None else (out, shown, (ks, vs))

    def project(self, key: Any, value: Any = None) -> Cache:
        """Keys and values (B, H, S, D) of each head, for any number of calls with `projected`."""
        _, k, v, _ = self._operands(key, key, value)
        self._check(None, k, v, None, None, None)
        _, ks, vs = self._projected(None, k, v)
        return (self.positions(ks), vs) if isinstance(self.positions, RotaryPositions) else (ks, vs)

    def _operands(self, query: Any, key: Any, value: Any) -> tuple[Tensor, Tensor, Tensor, bool]:
        """Query, key and value with an axis of sequences, and whether it is new.

        An argument given twice is one tensor: its projections are one product.
        """
        q = input_tensor("MultiheadAttention", query)
        single = q.ndim == 2

        def batched(x: Any) -> Tensor:
            t = input_tensor("MultiheadAttention", x)
            return t.unsqueeze(0 if self.batch_first else 1) if single and t.ndim == 2 else t

        q = batched(q)
        k = q if key is None or key is query else batched(key)
        return q, k, (k if value is None or value is key else batched(value)), single

    def _placed(
        self, q: Tensor, k: Tensor, v: Tensor, cache: Cache | None, projected: Cache | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The heads' queries, keys and values, rotated by their positions, after those of the cache."""
        if projected is not None:
            (qs,), (ks, vs) = self._part(q, 0, 1), projected
        else:
            qs, ks, vs = self._projected(q, k, v)
        if isinstance(self.positions, RotaryPositions):
            past = cache[0].shape[-2] if cache else 0
            qs = self.positions(qs, past)
            ks = ks if projected is not None else self.positions(ks, past)
        if cache:
            ks, vs = concat([cache[0], ks], -2), concat([cache[1], vs], -2)
        return qs, ks, vs

    def _part(self, x: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
        """Projections of x, of those that lie in the order q, k, v: each (B, H, L, D)."""
        rows, whole = slice(first * self.inner, last * self.inner), last - first == 3
        if self.packed:
            weight = self.in_proj_weight if whole else self.in_proj_weight[rows]
        else:
            weight = getattr(self, f"{'qkv'[first]}_proj_weight")
        bias = self.in_proj_bias if whole or self.in_proj_bias is None else self.in_proj_bias[rows]
        heads = F.linear(x, weight, bias).reshape(*x.shape[:2], last - first, self.num_heads, self.head_dim)
        laid = heads.permute(2, 0, 3, 1, 4) if self.batch_first else heads.permute(2, 1, 3, 0, 4)
        return tuple(role("qkv"[first + i], laid[i]) for i in range(last - first))

    def _projected(self, q: Tensor | None, k: Tensor, v: Tensor) -> tuple[Any, ...]:
        """Queries, keys and values; equal inputs share one product."""
        if q is k is v and self.packed:
            return self._part(k, 0, 3)
        qs = (None,) if q is None else self._part(q, 0, 1)
        if k is v and self.packed:
            return (*qs, *self._part(k, 1, 3))
        return (*qs, *self._part(k, 1, 2), *self._part(v, 2, 3))

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """The heads' results side by side, in the layout of the input, and the weights (B, H, L, S)."""
        batch, heads, length, _ = q.shape
        steps = k.shape[-2]
        if isinstance(self.positions, ALiBi):
            far = self.positions(length, steps, dtype=q.dtype)
            masks = masks._replace(bias=far if masks.bias is None else masks.bias + far)
        if self.bias_k is not None and self.bias_v is not None:
            one = (batch, heads, 1, self.head_dim)
            k, v = (
                concat([x, row.reshape(1, *one[1:]).expand(one)], -2)
                for x, row in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            zero = wrap(np.zeros((batch, heads, 1, self.head_dim), k.dtype))
            k, v = concat([k, zero], -2), concat([v, zero], -2)
        if k.shape[-2] != steps:
            masks = masks.wider(length, steps, k.shape[-2] - steps)
        p = self.dropout if self.training else 0.0
        out, weights = attend(q, k, v, *masks, p)
        out = out.permute(0, 2, 1, 3) if self.batch_first else out.permute(2, 0, 1, 3)
        return out.reshape(*out.shape[:2], self.inner), weights

    def _check(
        self,
        q: Tensor | None,
        k: Tensor,
        v: Tensor,
        lengths: Any,
        cache: Cache | None,
        projected: Cache | None,
    ) -> None:
        call, batch_axis = "MultiheadAttention", 0 if self.batch_first else 1
        given = {"query": (q, self.embed_dim), "key": (k, self.kdim), "value": (v, self.vdim)}
        there = {
            n: (x, w) for n, (x, w) in given.items() if x is not None and (not projected or n == "query")
        }
        named = {n: x for n, (x, _) in there.items()}
        for name, (x, width) in there.items():
            if x.ndim != 3 or x.shape[-1] != width:
                layout = f"(B, T, {width})" if self.batch_first else f"(T, B, {width})"
                rule = f"expected {layout} or (T, {width})."
                raise ShapeError(f"{call}: {name} does not fit", named, rule)
        sizes = {x.shape[batch_axis] for x, _ in there.values()}
        if len(sizes) > 1 or (not projected and k.shape[:2] != v.shape[:2]):
            rule = "expected one number of sequences throughout, and as many values as keys."
            raise ShapeError(f"{call}: query, key and value do not fit each other", named, rule)
        if cache is not None and (projected or q is not k or v is not k or lengths is not None):
            rule = "expected queries that are the keys, and allow= or causal= rather than lengths=."
            raise ArgumentError(f"{call}: a cache is for self-attention", None, rule)
        if projected and lengths is not None:
            rule = "expected allow=, for the keys that were projected before."
            raise ArgumentError(f"{call}: lengths beside projected keys", None, rule)
        for name, pair in (("cache", cache), ("projected", projected)):
            if pair and q is not None:
                self._check_pair(name, pair, q)

    def _check_pair(self, name: str, pair: Cache, q: Tensor) -> None:
        batch, width = q.shape[0 if self.batch_first else 1], self.head_dim
        fits = len(pair) == 2 and pair[0].shape == pair[1].shape and pair[0].ndim == 4
        if not fits or (*pair[0].shape[:2], pair[0].shape[3]) != (batch, self.num_heads, width):
            named = {"query": q, **{f"{name}[{i}]": t for i, t in enumerate(pair)}}
            rule = f"expected a pair of keys and values ({batch}, {self.num_heads}, t, {width})."
            raise ShapeError(f"MultiheadAttention: {name} does not fit", named, rule)

    def describe(self) -> str:
        """Sizes."""
        free = "" if self.inner == self.embed_dim else f", head_dim={self.head_dim}"
        free += "" if self.out_dim == self.embed_dim else f", out_dim={self.out_dim}"
        return f"{self.embed_dim}, {self.num_heads}{free}"


def _xavier(rows: int, columns: int, dtype: Any, rng: Generator | None) -> Parameter:
    """Xavier-uniform (Glorot and Bengio, 2010), over the matrix as a whole as PyTorch has it."""
    return uniform_parameter(math.sqrt(6.0 / (rows + columns)), (rows, columns), dtype, rng)


def _one_more(width: int, dtype: Any, rng: Generator | None) -> Parameter:
    drawn = given_or(rng, "init").randn(1, 1, width, dtype=dtype)
    return Parameter(drawn * (1.0 / math.sqrt(width)))


answer(globals())
