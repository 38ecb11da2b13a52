"""The calls of `fuzz_torch` that move, index and join, and the functions of layers and losses."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as TF

import tinygrad_seq as tgs
from tests.campaigns.fuzz_torch_calls import (
    Call,
    Draw,
    Drawn,
    Make,
    along,
    axis,
    cancelling,
    entry,
    ids,
    infinite,
    nothing_left,
    one,
    sizes,
)
from tinygrad_seq import functional as F

CALLS: dict[str, Call] = {}
INDICES: list[Any] = [
    0, -1, None, ..., slice(None), slice(1, None), slice(None, -1), slice(None, None, 2), slice(2, 1),
    (..., 0), (slice(None), None), (None, 0), (..., slice(1, None)), (0, ...), (slice(1, None), ..., 0), [0, 0],
    [-1], ([0, 0], [0, -1]), (slice(None), [0, 0]), ([0, -1], slice(None), 0), (None, [0]), [], ([[0], [0]],),
]  # fmt: skip


def shaped(rng: random.Random, make: Make) -> Drawn:
    x = make()
    return [x], (rng.choice([(-1,), x.shape[::-1], (*x.shape, 1), (1, x.size), (x.size,)]),)


def two_axes(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    return [x], (axis(rng, x), axis(rng, x))


def order(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    return [x], (rng.sample(range(x.ndim), x.ndim),)


def numbers(low: int, high: int, count: int = 1, with_axis: bool = False) -> Draw:
    """Whole numbers as settings, with an axis before or behind them."""

    def draw(rng: random.Random, make: Make) -> Drawn:
        x = make(sizes(rng, 2 if count == 1 else 3))
        found = tuple(rng.randint(low, high) for _ in range(count))
        return [x], (*found, axis(rng, x)) if with_axis else found

    return draw


def pieces(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    i = axis(rng, x)
    cut = rng.randint(0, x.shape[i])
    return [x], (rng.choice([1, 2, 3, [cut, x.shape[i] - cut]]), i)


def windows(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    i = axis(rng, x)
    return [x], (i, rng.randint(1, max(1, x.shape[i])), rng.randint(1, 3))


def span(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    i = axis(rng, x)
    start = rng.randint(0, x.shape[i])
    return [x], (i, start, rng.randint(0, x.shape[i] - start))


def picked(rng: random.Random, make: Make) -> Drawn:
    """An axis and ids along it, with repeats."""
    x = make(tuple(max(1, n) for n in sizes(rng, 1)))
    i = axis(rng, x)
    return [x], (i, ids(rng, x.shape[i], (rng.randint(0, 4),)))


def gathered(rng: random.Random, make: Make) -> Drawn:
    x = make(tuple(max(1, n) for n in sizes(rng, 1)))
    i = axis(rng, x) % x.ndim
    return [x], (i, ids(rng, x.shape[i], (*x.shape[:i], rng.randint(0, 4), *x.shape[i + 1 :])))


def several(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    return [x, make(x.shape), x], (axis(rng, x),)


def plain(index: Any) -> Any:
    """NumPy's ids as PyTorch takes them."""
    return torch.from_numpy(index) if isinstance(index, np.ndarray) else index


for n, draw in (
    ("reshape", shaped), ("view", shaped), ("flatten", one()), ("transpose", two_axes), ("movedim", two_axes),
    ("permute", order), ("squeeze", one()), ("unsqueeze", along), ("flip", along), ("tril", numbers(-2, 2)),
    ("triu", numbers(-2, 2)), ("roll", numbers(-4, 4, with_axis=True)), ("split", pieces), ("unbind", along),
    ("chunk", numbers(1, 4, with_axis=True)), ("unfold", windows), ("narrow", span), ("tile", numbers(0, 3, 2)),
    ("repeat", numbers(0, 2, 4)), ("repeat_interleave", numbers(0, 3, with_axis=True)),
):  # fmt: skip
    CALLS[n] = entry(n, draw, n == "view", views=n != "view")
CALLS["squeeze axis"] = entry("squeeze", along)
CALLS["T"] = Call(numbers(0, 0), lambda x, _: x.mT, lambda x, _: x.mT)
CALLS["expand"] = Call(
    one(), lambda x: x.unsqueeze(0).expand(3, *x.shape), lambda x: x.unsqueeze(0).expand(3, *x.shape)
)
CALLS["expand_as"] = Call(one(), lambda x: x.expand(2, *x.shape), lambda x: x.expand(2, *x.shape))
CALLS["index_select"] = Call(
    picked, lambda x, i, k: x.index_select(i, k), lambda x, i, k: x.index_select(i, plain(k))
)
CALLS["take"] = Call(picked, lambda x, i, k: x.take(k, i), lambda x, i, k: x.index_select(i, plain(k)))
CALLS["gather"] = Call(
    gathered, lambda x, i, k: x.gather(i, k), lambda x, i, k: x.gather(i, plain(k)), views=False
)
CALLS["index"] = Call(
    lambda rng, make: ([make()], (rng.choice(INDICES),)), lambda x, i: x[i], lambda x, i: x[i]
)
CALLS["cat"] = Call(
    several, lambda x, y, z, a: tgs.cat([x, y, z], a), lambda x, y, z, a: torch.cat([x, y, z], a)
)
CALLS["stack"] = Call(
    several, lambda x, y, z, a: tgs.stack([x, y, z], a), lambda x, y, z, a: torch.stack([x, y, z], a)
)
EQUATIONS = [
    "ij,jk->ik",
    "bij,bjk->bik",
    "ij->ji",
    "ii->i",
    "ii",
    "i,j->ij",
    "ij,ij->i",
    "ij->",
    "...i,...i->...",
]


def summed(rng: random.Random, make: Make) -> Drawn:
    equation = rng.choice(EQUATIONS)
    size = {letter: rng.choice([0, 1, 2, 3]) for letter in "ijkb"}
    parts = equation.split("->")[0].replace("...", "b").split(",")
    return [make(tuple(size[letter] for letter in part)) for part in parts], (equation,)


CALLS["einsum"] = Call(
    summed, lambda *a: tgs.einsum(a[-1], *a[:-1]), lambda *a: torch.einsum(a[-1], *a[:-1]), True
)


# ---- layers and losses: x, what else, and settings --------------------------------------------------------
def classes(rng: random.Random, make: Make) -> Drawn:
    n, c, rest = rng.choice([0, 1, 3, 4]), rng.choice([1, 2, 5]), rng.choice([(), (2,), (3, 2)])
    target = ids(rng, c, (n, *rest))
    if rng.random() < 0.4:
        target[np.random.default_rng(rng.randrange(2**32)).random(target.shape) < 0.4] = -100
    smooth = rng.choice([0.0, 0.0, 0.2, 1.0])
    return [make((n, c, *rest))], (target, rng.choice(["mean", "sum", "none"]), smooth)


def nothing_counted(x: np.ndarray, target: np.ndarray, *_: Any) -> bool:
    """A mean over no target is 0 here and NaN in PyTorch; a row of nothing but -inf."""
    return not (target >= 0).any() or nothing_left(x)


CALLS["cross_entropy"] = Call(
    classes,
    lambda x, t, r, s: F.cross_entropy(x, t, reduction=r, label_smoothing=s),
    lambda x, t, r, s: TF.cross_entropy(x, plain(t), reduction=r, label_smoothing=s),
    True,
    False,
    apart=nothing_counted,
)
CALLS["nll_loss"] = Call(
    classes,
    lambda x, t, r, _: F.nll_loss(x, t, reduction=r),
    lambda x, t, r, _: TF.nll_loss(x, plain(t), reduction=r),
    True,
    False,
    apart=nothing_counted,
)


def paired(rng: random.Random, make: Make) -> Drawn:
    x = make()
    return [x, make(x.shape)], (rng.choice(["mean", "sum", "none"]),)


CALLS["mse_loss"] = Call(
    paired,
    lambda x, y, r: F.mse_loss(x, y, reduction=r),
    lambda x, y, r: TF.mse_loss(x, y, reduction=r),
    True,
)
CALLS["bce_with_logits"] = Call(
    paired,
    lambda x, y, r: F.binary_cross_entropy_with_logits(x, y.sigmoid().detach(), reduction=r),
    lambda x, y, r: TF.binary_cross_entropy_with_logits(x, y.sigmoid().detach(), reduction=r),
    True,
    apart=lambda x, y, r: bool(np.isneginf(x).any()),  # PyTorch forms 0 times infinity
)


def normal(rng: random.Random, make: Make) -> Drawn:
    x = make(tuple(max(1, n) for n in sizes(rng, 2)))
    axes = x.shape[-rng.randint(1, 2) :]
    return [x, make(axes), make(axes)], (axes, rng.choice([1e-5, 1e-3]))


CALLS["layer_norm"] = Call(
    normal, lambda x, w, b, n, e: F.layer_norm(x, n, w, b, e), lambda x, w, b, n, e: TF.layer_norm(x, n, w, b, e),
    True, apart=cancelling,
)  # fmt: skip
CALLS["rms_norm"] = Call(
    normal, lambda x, w, b, n, e: F.rms_norm(x, n, w, e) + b, lambda x, w, b, n, e: TF.rms_norm(x, n, w, e) + b,
    True, apart=cancelling,
)  # fmt: skip


def affine(rng: random.Random, make: Make) -> Drawn:
    i, o = rng.choice([1, 2, 5]), rng.choice([1, 3, 4])
    return [make((*sizes(rng, 0, 2), i)), make((o, i)), make((o,))], ()


CALLS["linear"] = Call(affine, F.linear, TF.linear, True)


def table(rng: random.Random, make: Make) -> Drawn:
    rows = rng.choice([1, 3, 6])
    return [make((rows, rng.choice([1, 4])))], (
        ids(rng, rows, sizes(rng, 0, 2)),
        rng.choice([None, 0, rows - 1, -1]),
    )


CALLS["embedding"] = Call(
    table, lambda w, k, p: F.embedding(k, w, p), lambda w, k, p: TF.embedding(plain(k), w, p), True, False
)


def attending(rng: random.Random, make: Make) -> Drawn:
    lead, q, k, d, e = rng.choice([(), (2,), (2, 1)]), *(rng.choice([1, 2, 4]) for _ in range(4))
    causal = rng.random() < 0.4
    mask = (
        None
        if causal or rng.random() < 0.5
        else np.random.default_rng(rng.randrange(999)).random((q, k)) < 0.7
    )
    if mask is not None:
        mask[:, 0] = True  # PyTorch's mathematics gives NaN to a query that sees nothing
    return [make((*lead, q, d)), make((*lead, k, d)), make((*lead, k, e))], (mask, causal)


CALLS["scaled_dot_product_attention"] = Call(
    attending,
    lambda q, k, v, m, c: F.scaled_dot_product_attention(q, k, v, m, is_causal=c),
    lambda q, k, v, m, c: TF.scaled_dot_product_attention(q, k, v, plain(m), is_causal=c),
    True,
    False,
    apart=infinite,
)
