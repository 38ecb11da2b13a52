"""Losses in nats over classes, and the ids they take."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_seq.arguments import real, whole
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.creation import iota
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor, input_tensor, where, wrap
from tinygrad_seq.errors import ArgumentError, DTypeError, RangeError, ShapeError, describe_shape
from tinygrad_seq.functional.activations import floats, log_softmax, row_peak, softplus
from tinygrad_seq.functional.pointwise_losses import known, reduced
from tinygrad_seq.fuser.decorator import fused


def checked_ids(call: str, ids: Any, size: int, ignore: int | None = None) -> Tensor:
    """`ids` as a tensor of integers from 0 to size - 1 (or `ignore`); RangeError or DTypeError else."""
    return _checked(call, ids, size, ignore)[0]


def _checked(call: str, ids: Any, size: int, ignore: int | None) -> tuple[Tensor, bool]:
    """The same, and whether all ids lie from 0 to size - 1."""
    checked = input_tensor(call, ids)
    if checked.dtype.kind not in "iu":
        raise DTypeError(f"{call}: ids must be integers", {"ids": checked}, "expected an integer dtype.")
    if checked.dtype != np.int64:
        checked = checked.to(np.int64)
    array = checked.array
    # As unsigned, a negative number is a large one: one comparison for both ends.
    if not array.size or array.view(np.uint64).max() < size:
        return checked, True
    wrong = (array < 0) | (array >= size)
    if ignore is not None:
        wrong &= checked.array != ignore
    if wrong.any():
        first = int(checked.array[wrong].flat[0])
        rule = f"expected ids from 0 to {size - 1}, got {first} ({int(wrong.sum())} out of range)."
        raise RangeError(f"{call}: an id is out of range", {"ids": checked}, rule)
    return checked, False


def _classes_last(call: str, x: Tensor, target: Tensor, ids: bool = True) -> tuple[Tensor, Tensor]:
    """(N, C, d...) and (N, d...) as (M, C) and (M,); probabilities like x as (M, C)."""
    if x.ndim == 2 and ids and target.shape == x.shape[:1]:
        return x, target
    if not x.ndim >= 1:
        raise ShapeError(f"{call}: no axis of classes", {"input": x}, "expected (C,), (N, C) or (N, C, ...).")
    axis = min(1, x.ndim - 1)
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != (rest if ids else x.shape):
        rule = f"expected ids {describe_shape(rest)} or probabilities {describe_shape(x.shape)}."
        raise ShapeError(f"{call}: the target does not fit", {"input": x, "target": target}, rule)
    order = (*(i for i in range(x.ndim) if i != axis), axis)
    flat = [
        t.permute(order).reshape(-1, x.shape[axis]) if t.ndim > 2 else t
        for t in (x, target)
        if t.shape == x.shape
    ]
    rows = flat[0] if flat[0].ndim == 2 else flat[0].reshape(1, -1)
    if target.shape == rest:
        return rows, target.reshape(-1)
    return rows, flat[1] if flat[1].ndim == 2 else flat[1].reshape(1, -1)


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-logp[n, target[n]], over the targets that are not `ignore_index`; logp (N, C) or (N, C, ...), nats.

    `weight` (C,) is the weight of each class, in the mean too, as in `cross_entropy`.
    """
    logp = floats(input_tensor("nll_loss", input))
    ignore_index = whole("nll_loss", "ignore_index", ignore_index)
    size = logp.shape[min(1, logp.ndim - 1)] if logp.ndim else 0
    ids, inside = _checked("nll_loss", target, size, ignore_index)
    rows, flat = _classes_last("nll_loss", logp, ids)
    if weight is not None:
        return _by_class("nll_loss", rows, flat, weight, ignore_index, 0.0, reduction, ids.shape)
    share = _share(ids, ignore_index, inside, rows.dtype, reduction)
    loss = _nll(rows, _column(flat), *share, ignore=ignore_index)
    return loss if share else loss.reshape(ids.shape)


def _column(ids: Tensor) -> Tensor:
    """(M,) as (M, 1); plain ids need no record of it."""
    return ids.unsqueeze(-1) if ids.mode else wrap(ids.array[:, None])


@fused
def _nll(logp: Tensor, ids: Tensor, *share: Tensor, ignore: int, smoothing: float = 0.0) -> Tensor:
    """-logp[r, ids[r]] for each row r, 0 where the id is `ignore`; logp (M, C), ids (M, 1), result (M,).

    With `share`, the weight of each row, their weighted sum.
    """
    ids = ids.squeeze(-1)
    counted = ids != ignore
    loss = -ops.gather(logp, iota(logp.shape[0]), where(counted, ids, 0))
    if smoothing:
        loss = (1.0 - smoothing) * loss - smoothing * logp.mean(-1)
    loss = where(counted, loss, 0.0)
    return (loss * share[0]).sum() if share else loss


@fused
def _smoothed(x: Tensor, ids: Tensor, *share: Tensor, ignore: int, smoothing: float) -> Tensor:
    return _nll(log_softmax(x), ids, *share, ignore=ignore, smoothing=smoothing)


@fused
def _cross_entropy(x: Tensor, ids: Tensor, places: Tensor, *share: Tensor, ignore: int) -> Tensor:
    """softplus(log(sum of exp(x) over all others) - x[id]) for each row: so neither loss nor slope is a difference.

    `places` holds 0 to C - 1, in a dtype that x can be compared in.
    """
    counted = ids != ignore
    ids = where(counted, ids, 0)
    y = x - row_peak(x)
    chosen = ops.gather(y, iota(x.shape[0]), ids.squeeze(-1)).unsqueeze(-1)
    total = where(places == ids.to(places.dtype), 0.0, y.exp()).sum(-1, keepdims=True)
    alone = (total == 0.0) & (chosen == chosen)  # chosen is NaN where x[id] is infinite: so is all else
    others = where(alone, -math.inf, where(alone, 1.0, total).log())
    empty = alone & (chosen == -math.inf)
    loss = where(empty, math.inf, softplus(where(empty, 0.0, others - chosen)))
    loss = where(counted, loss, 0.0).squeeze(-1)
    return (loss * share[0]).sum() if share else loss


def _share(ids: Tensor, ignore: int, inside: bool, dtype: Any, reduction: str) -> tuple[Tensor, ...]:
    """The weight of each loss in the reduced one, for the mean 1 over their number; () for "none"."""
    if known(reduction) == "none":
        return ()
    if reduction == "sum":
        return (wrap(np.ones((), dtype)),)
    if ids.mode:
        return (1.0 / (ids != ignore).to(dtype).sum().maximum(1.0),)
    ignored = 0 if inside and ignore < 0 else int(np.count_nonzero(ids.array == ignore))
    return (wrap(np.asarray(1.0 / max(ids.array.size - ignored, 1), dtype)),)


def _by_class(
    call: str,
    logp: Tensor,
    ids: Tensor,
    weight: Any,
    ignore: int,
    smoothing: float,
    reduction: str,
    shape: tuple[int, ...],
) -> Tensor:
    """The losses of rows whose classes count by `weight`: their mean is by the weights of the targets."""
    w = _class_weights(call, weight, logp)
    counted = ids != ignore
    each = where(counted, ops.gather(w, where(counted, ids, 0)), 0.0)
    loss = each * _nll(logp, _column(ids), ignore=ignore)
    if smoothing:
        even = where(counted, -(logp * w).sum(-1), 0.0) * (smoothing / logp.shape[-1])
        loss = (1.0 - smoothing) * loss + even
    if reduction != "mean":
        return reduced(loss.reshape(shape), reduction)
    total = each.sum()
    return loss.sum() / where(total == 0.0, 1.0, total)


def _class_weights(call: str, weight: Any, rows: Tensor) -> Tensor:
    w, size = floats(input_tensor(call, weight)), rows.shape[-1]
    if w.shape != (size,):
        rule = f"expected one number for each of {size} classes."
        raise ShapeError(f"{call}: weight does not fit", {"weight": w}, rule)
    return w.to(rows.dtype)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """-log softmax(x)[target] in nats, from logits x of shape (N, C), (C,) or (N, C, d...).

    `target` holds ids (N, d...), or probabilities of the shape of x. The mean is over targets that are not
    `ignore_index`; where all are ignored it is 0. `weight` (C,) is the weight of each class: the loss is multiplied
    by the weight of its target, and the mean divides by the sum of these. `label_smoothing` e mixes the target with
    the uniform distribution: (1 - e) target + e / C.

    >>> cross_entropy(Tensor([[0.0, 0.0]]), Tensor([1]))
    Tensor(0.6931472, f32())
    """
    x, target = floats(input_tensor("cross_entropy", input)), input_tensor("cross_entropy", target)
    label_smoothing = real("cross_entropy", "label_smoothing", label_smoothing)
    ignore_index = whole("cross_entropy", "ignore_index", ignore_index)
    if not 0.0 <= label_smoothing <= 1.0:
        rule = f"expected a number from 0 to 1, got {label_smoothing}."
        raise ArgumentError("cross_entropy: label_smoothing out of range", None, rule)
    if target.dtype.kind == "f" and target.shape == x.shape:
        return _of_probabilities(x, target, weight, label_smoothing, reduction)
    size = x.shape[min(1, x.ndim - 1)] if x.ndim else 0
    ids, inside = _checked("cross_entropy", target, size, ignore_index)
    rows, flat = _classes_last("cross_entropy", x, ids)
    if weight is not None:
        logp = log_softmax(rows)
        return _by_class(
            "cross_entropy", logp, flat, weight, ignore_index, label_smoothing, reduction, ids.shape
        )
    share = _share(ids, ignore_index, inside, rows.dtype, reduction)
    given = rows, _column(flat)
    if label_smoothing:
        loss = _smoothed(*given, *share, ignore=ignore_index, smoothing=label_smoothing)
    else:
        loss = _cross_entropy(*given, _places(size, rows.dtype), *share, ignore=ignore_index)
    return loss if share else loss.reshape(ids.shape)


@functools.lru_cache(16)
def _places(size: int, dtype: Any) -> Tensor:
    """0 to size - 1 as floats that hold them. Not read-only, for a kernel would be handed a copy each time."""
    return wrap(np.arange(size, dtype=dtype if size <= 2**24 else np.float64))


def _of_probabilities(x: Tensor, target: Tensor, weight: Any, smoothing: float, reduction: str) -> Tensor:
    rows, p = _classes_last("cross_entropy", x, target, ids=False)
    if smoothing:
        p = p * (1.0 - smoothing) + smoothing / rows.shape[1]
    if weight is not None:
        p = p * _class_weights("cross_entropy", weight, rows)
    loss = _weighed(log_softmax(rows), p)
    axis = min(1, x.ndim - 1)
    return reduced(
        loss.reshape(x.shape[:axis] + x.shape[axis + 1 :]) if reduction == "none" else loss, reduction
    )


@fused
def _weighed(logp: Tensor, p: Tensor) -> Tensor:
    """-sum(p logp) of each row, with 0 log 0 = 0."""
    nothing = where(p == 0.0, logp == -np.inf, False)
    return -(p * where(nothing, 0.0, logp)).sum(-1)


answer(globals(), "checked_ids", "cross_entropy", "nll_loss")
