"""Attention as maths: scores, masks, weights, and the weighted sum of values.

There are two families of masks, with different names: PyTorch's (`attn_mask`, `is_causal`), which mean what
they mean there, and our own (`allow`, `bias`, `causal`), which mean one thing everywhere.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_seq.arguments import probability
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import FLOAT32
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor, where, wrap
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError, describe_shape
from tinygrad_seq.functional.activations import softmax
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.runtime.arrays import Array

__all__ = ["attend", "attention_weights", "one_family", "scaled_dot_product_attention"]


@fused
def attention_weights(
    scores: Tensor, *given: Tensor, scale: float, biased: bool = False, p: float = 0.0
) -> Tensor:
    """softmax(scale scores + bias) over the columns; a row whose bias is -inf throughout is all zeros.

    scores (..., L, S). Beside them stand the bias where `biased`, and the key of a draw where p is not 0: each
    weight is then zeroed with probability p and the others divided by 1 - p.
    """
    rest = iter(given)
    x = scores * scale
    weights = softmax(x + next(rest) if biased else x)
    if p:
        chance = ops.uniform(next(rest), shape=weights.shape, dtype=FLOAT32)
        weights = where(chance < p, 0.0, weights * (1.0 / (1.0 - p)))
    return weights


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allow: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    p: float = 0.0,
    scale: float | None = None,
    rng: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The weighted sums of the values and the weights, from operands that fit and masks of our own family.

    query (..., H, L, K), key (..., G, S, K), value (..., G, S, V); where H is a multiple of G > 1, each H / G
    queries that follow each other share a key.
    """
    grouped = query.ndim > 2 and key.ndim > 2 and 1 != query.shape[-3] != key.shape[-3] > 1
    if grouped:  # queries that share a key are rows of one product
        *lead, heads, length, size = query.shape
        group = heads // key.shape[-3]
        query = query.reshape(*lead, key.shape[-3], group * length, size)
    scores = query @ key.transpose(-2, -1)
    if grouped:
        tall = scores.shape
        scores = scores.reshape(*tall[:-3], heads, length, tall[-1])
    weights = _weights(
        scores, allow, bias, causal, p, query.shape[-1] ** -0.5 if scale is None else scale, rng
    )
    if not grouped:
        return weights @ value, weights
    out = weights.reshape(tall) @ value
    return out.reshape(*out.shape[:-3], heads, length, out.shape[-1]), weights


def _weights(
    scores: Tensor,
    allow: Tensor | None,
    bias: Tensor | None,
    causal: bool,
    p: float,
    scale: float,
    rng: Generator | None,
) -> Tensor:
    length, size = scores.shape[-2:]
    if size == 0:
        return scores  # no keys: weights without columns, and sums of zero
    if p == 1.0:
        return scores * 0.0
    # Masked scores get -inf added. A kernel adds as fast as it reads, while a choice in it would cost half as much
    # again; and the gradient reads only the weights, so it needs no mask.
    terms = [] if bias is None else [bias.to(scores.dtype)]
    if allow is not None:
        terms.append(where(allow, 0.0, -np.inf).to(scores.dtype))
    if causal and length > 1:  # the last query sees every key
        terms.append(wrap(_causal(length, size, scores.dtype.name)))
    given = [functools.reduce(operator.add, terms)] if terms else []
    if p:
        given.append(given_or(rng, "dropout").next_key())
    return attention_weights(scores, *given, scale=float(scale), biased=bool(terms), p=float(p))


@functools.lru_cache(16)
def _causal(length: int, size: int, dtype: str) -> Array:
    """0 where query i may see key j, j <= i + size - length, and -inf elsewhere."""
    mask = np.where(np.tri(length, size, size - length, dtype=bool), 0.0, -np.inf).astype(dtype)
    mask.flags.writeable = False
    return mask


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    allow: Any = None,
    bias: Any = None,
    causal: bool = False,
    return_weights: bool = False,
    rng: Generator | None = None,
) -> Any:
    """The values, weighted by how well their keys answer the queries (Vaswani et al., 2017).

        weights = softmax(scale query key^T + bias)        where allowed, else 0
        out = weights value

    With L queries, S keys and values, sizes K and V: query (..., L, K), key (..., S, K), value (..., S, V),
    out (..., L, V), weights (..., L, S); `scale` is 1 / sqrt(K) where not given. With `enable_gqa` a key serves
    several heads: query (..., H, L, K), key (..., G, S, K), value (..., G, S, V), H a multiple of G.

    Our own masks: `allow` (broadcast to (..., L, S)), True where a query may attend; `bias`, added to the
    scaled scores; `causal`, query i sees keys up to i + S - L, so that the last query sees the last key (right
    with a cache). PyTorch's: `attn_mask`, True where a query may attend, or floats to be added; `is_causal`,
    query i sees keys up to i. A query that may attend to nothing gets zeros, and sends no gradient.

    `dropout_p` acts whenever it is not 0, in evaluation too. With `return_weights` the result is (out, weights),
    the weights as they were used, after dropout.

    Raises ArgumentError where masks of both families are given, ShapeError and DTypeError for what does not fit.

    >>> x = Tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> scaled_dot_product_attention(x, x, x, causal=True, scale=0.0)
    Tensor([[1. , 0. ],
            [0.5, 0.5]], f32(2, 2))
    """
    call = "scaled_dot_product_attention"
    q, k, v = (input_tensor("scaled_dot_product_attention", x) for x in (query, key, value))
    shape = _check_operands(call, q, k, v, enable_gqa)
    dropout_p = probability(call, "dropout_p", dropout_p)
    theirs = {"attn_mask": attn_mask, "is_causal": is_causal}
    masks = _one_form(call, shape, theirs, {"allow": allow, "bias": bias, "causal": causal})
    out, weights = attend(q, k, v, *masks, dropout_p, scale, rng)
    return (out, weights) if return_weights else out


def _one_form(
    call: str, shape: tuple[int, ...], theirs: dict[str, Any], ours: dict[str, Any]
) -> tuple[Tensor | None, Tensor | None, bool]:
    """Allow, bias and causal from the masks of either family, for scores of this shape."""
    one_family(call, theirs, ours)
    mask, is_causal, causal = theirs["attn_mask"], theirs["is_causal"], bool(ours["causal"])
    if mask is not None and is_causal:
        raise ArgumentError(f"{call}: attn_mask and is_causal at once", theirs, "expected one of them.")
    if mask is not None:
        mask = checked_mask(call, "attn_mask", mask, "fb", shape)
        return (mask, None, False) if mask.dtype.kind == "b" else (None, mask, False)
    if is_causal:
        square = shape[-2] == shape[-1]
        return (None if square else wrap(np.tri(*shape[-2:], dtype=bool))), None, square
    allow, bias = (
        None if ours[name] is None else checked_mask(call, name, ours[name], kind, shape)
        for name, kind in (("allow", "b"), ("bias", "f"))
    )
    return allow, bias, causal


def given_ones(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are given: neither None nor False."""
    return {
        name: value
        for name, value in settings.items()
        if value is not None and (not isinstance(value, (bool, np.bool_)) or value)
    }


def one_family(call: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise ArgumentError where masks of both families are given: they mean different things."""
    named = given_ones(theirs) | given_ones(ours)
    if not (given_ones(theirs) and given_ones(ours)):
        return
    rule = f"expected PyTorch's ({', '.join(theirs)}) or our own ({', '.join(ours)}), not both."
    hint = "allow=~blocked says what blocked=True keeps apart, and combines with causal=True."
    raise ArgumentError(f"{call}: masks of two families", named, rule, hint)


def checked_mask(call: str, name: str, mask: Any, kinds: str, shape: tuple[int, ...]) -> Tensor:
    """A mask as a tensor of one of these kinds of dtype that broadcasts to `shape`, the shape of the scores."""
    found = as_tensor(mask)
    if found.dtype.kind not in kinds:
        rule = {"b": "expected booleans.", "f": "expected floats."}.get(kinds, "expected booleans or floats.")
        raise DTypeError(f"{call}: {name} is of the wrong dtype", {name: found}, rule)
    try:
        fits = np.broadcast_shapes(found.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        rule = f"expected a shape that broadcasts to that of the scores, {describe_shape(shape)}."
        raise ShapeError(f"{call}: {name} does not fit", {name: found}, rule)
    return found


def _check_operands(call: str, q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> tuple[int, ...]:
    """The shape of the scores; raises where the operands do not fit each other."""
    named = {"query": q, "key": k, "value": v}

    def refuse(what: str, rule: str) -> ShapeError:
        return ShapeError(f"{call}: {what}", named, rule)

    if any(x.dtype.kind != "f" for x in (q, k, v)):
        raise DTypeError(f"{call}: attention is of floats", named, "expected floats.")
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise refuse("too few axes", "expected (..., L, K), (..., S, K) and (..., S, V).")
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        rule = f"expected one size of at least 1, got {q.shape[-1]} and {k.shape[-1]}."
        raise refuse("query and key differ in their last size", rule)
    if k.shape[-2] != v.shape[-2]:
        rule = f"expected as many values as keys, got {v.shape[-2]} and {k.shape[-2]}."
        raise refuse("keys and values differ in number", rule)
    leads = [q.shape[:-2], k.shape[:-2], v.shape[:-2]]
    if grouped:
        heads = [lead[-1] if lead else 0 for lead in leads]
        if not heads[1] or heads[1] != heads[2] or heads[0] % heads[1]:
            rule = "expected a number of query heads that is a multiple of that of the keys and values."
            raise refuse("the heads cannot be grouped", rule)
        leads = [leads[0], *((*lead[:-1], heads[0]) for lead in leads[1:])]
    try:
        return (*np.broadcast_shapes(*leads), q.shape[-2], k.shape[-2])
    except ValueError:
        way = "" if grouped else " Heads that share keys need enable_gqa=True."
        raise refuse(
            "the leading axes do not broadcast", f"expected equal leading axes, or 1.{way}"
        ) from None


answer(globals(), "scaled_dot_product_attention")
