"""Attention masks: PyTorch's of `MultiheadAttention` and our own, converted to one form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.arguments import room, whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.dtypes import float_dtype
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, as_tensor, wrap
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError, describe_shape
from tinygrad_seq.functional.attention import given_ones
from tinygrad_seq.runtime.arrays import Array


class Masks(NamedTuple):
    """What holds for scores (B, H, L, S): booleans that broadcast to them, floats that do, and `causal`."""

    allow: Tensor | None = None
    bias: Tensor | None = None
    causal: bool = False

    def wider(self, length: int, size: int, extra: int) -> Masks:
        """The same for `extra` more keys at the end, which every query may attend to."""
        allow, bias = self.allow, self.bias
        if self.causal:
            early = wrap(np.tri(length, size, size - length, dtype=bool))
            allow = early if allow is None else allow & early
        if allow is not None:
            allow = ~_with_zeros(~allow, size, extra)
        return Masks(allow, None if bias is None else _with_zeros(bias, size, extra))


def _with_zeros(mask: Tensor, size: int, extra: int) -> Tensor:
    *lead, own = mask.shape
    if own != size:
        mask = mask.expand(*lead, size)
    zeros = wrap(np.zeros((*lead, extra), mask.dtype))
    return ops.concat(mask, zeros, axis=len(lead))  # type: ignore[no-any-return]


def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
    """PyTorch's causal mask for `attn_mask`: 0 on and below the diagonal, -inf above; (sz, sz).

    >>> generate_square_subsequent_mask(2)
    Tensor([[  0., -inf],
            [  0.,   0.]], f32(2, 2))
    """
    sz = whole("generate_square_subsequent_mask", "sz", sz, 0)
    room("generate_square_subsequent_mask", sz * sz)
    return wrap(np.triu(np.full((sz, sz), -np.inf, float_dtype("generate_square_subsequent_mask", dtype)), 1))


def counted(call: str, lengths: Any, batch: int, steps: int) -> Array:
    """True where a step belongs to its sequence, (B, T), from the B lengths; each from 0 to T."""
    found = np.asarray(as_tensor(lengths).array if not isinstance(lengths, (list, tuple)) else lengths)
    if found.shape != (batch,) or (found.size and found.dtype.kind not in "iu"):
        rule = f"expected {batch} whole numbers, one for each sequence."
        raise ShapeError(f"{call}: lengths do not fit", {"lengths": lengths}, rule)
    if found.size and (found.min() < 0 or found.max() > steps):
        rule = f"expected lengths from 0 to {steps}."
        raise ArgumentError(f"{call}: a length is out of range", {"lengths": lengths}, rule)
    inside: Array = np.arange(steps) < found.reshape(-1, 1)
    return inside


def masks_of(
    call: str, shape: tuple[int, int, int, int], theirs: dict[str, Any], ours: dict[str, Any]
) -> Masks:
    """One form of the masks of either family, for scores of shape (B, H, L, S).

    `theirs` are attn_mask, key_padding_mask (True or -inf where blocked) and is_causal; `ours` are allow, bias,
    causal and the keys that count. Only one of the families may be given.
    """
    if given_ones(theirs):
        return _theirs(call, shape, **theirs)
    allow = None if ours["allow"] is None else _ours(call, "allow", ours["allow"], "b", shape)
    bias = None if ours["bias"] is None else _ours(call, "bias", ours["bias"], "f", shape)
    if ours.get("lengths") is not None:  # as booleans (B, S)
        inside = wrap(ours["lengths"].reshape(shape[0], 1, 1, shape[3]))
        allow = inside if allow is None else allow & inside
    return Masks(allow, bias, bool(ours["causal"]))


def _theirs(
    call: str, shape: tuple[int, int, int, int], attn_mask: Any, key_padding_mask: Any, is_causal: bool
) -> Masks:
    batch, heads, length, size = shape
    if is_causal and attn_mask is None:
        rule = "expected attn_mask too: as in PyTorch, is_causal only says of it that it is causal."
        hint = "Pass causal=True for a causal mask."
        raise ArgumentError(f"{call}: is_causal without attn_mask", None, rule, hint)
    forms: list[Tensor] = []
    if attn_mask is not None:
        mask, flat = _boolean_or_float(call, "attn_mask", attn_mask), (batch * heads, length, size)
        if mask.shape not in ((length, size), flat):
            rule = f"expected {describe_shape((length, size))} or {describe_shape(flat)}."
            raise ShapeError(f"{call}: attn_mask does not fit", {"attn_mask": mask}, rule)
        forms.append(mask if mask.ndim == 2 else mask.reshape(batch, heads, length, size))
    if key_padding_mask is not None:
        mask = _boolean_or_float(call, "key_padding_mask", key_padding_mask)
        if mask.shape != (batch, size) and not (batch == 1 and mask.shape == (size,)):
            rule = f"expected {describe_shape((batch, size))}, one row for each sequence."
            named = {"key_padding_mask": mask}
            raise ShapeError(f"{call}: key_padding_mask does not fit", named, rule)
        forms.append(mask.reshape(batch, 1, 1, size))
    allow: Tensor | None = None
    bias: Tensor | None = None
    for mask in forms:
        if mask.dtype.kind == "b":
            allow = ~mask if allow is None else allow & ~mask
        else:
            bias = mask if bias is None else bias + mask
    return Masks(allow, bias)


def _boolean_or_float(call: str, name: str, mask: Any) -> Tensor:
    found = as_tensor(mask)
    if found.dtype.kind not in "bf":
        rule = "expected booleans (True is blocked) or floats to be added."
        raise DTypeError(f"{call}: {name} is of the wrong dtype", {name: found}, rule)
    return found


def _ours(call: str, name: str, mask: Any, kind: str, shape: tuple[int, int, int, int]) -> Tensor:
    """A mask (L, S), (B, L, S) or (B, H, L, S), sizes of 1 standing for any, with as many axes as scores."""
    found = as_tensor(mask)
    if found.dtype.kind != kind:
        rule = "expected booleans, True where a query may attend." if kind == "b" else "expected floats."
        raise DTypeError(f"{call}: {name} is of the wrong dtype", {name: found}, rule)
    batch, heads, *last = shape
    wide = found if found.ndim != 3 else found.unsqueeze(1)
    sizes = (*last,) if wide.ndim == 2 else shape
    if wide.ndim not in (2, 4) or any(n not in (1, m) for n, m in zip(wide.shape, sizes, strict=True)):
        forms = " or ".join(describe_shape(s) for s in ((*last,), (batch, *last), (batch, heads, *last)))
        rule = f"expected {forms}; a size may be 1."
        raise ShapeError(f"{call}: {name} does not fit", {name: found}, rule)
    return wide


answer(globals(), "generate_square_subsequent_mask")
