"""The table's functions of whole rows: sums, products, norms, softmax and its kin, losses, attention.

Each loss of a row is sum(w out) with weights w that are the upstream gradient; what is true is told by mpmath, the
slopes by differences of 250 digits. Here a unit is that of the result's condition: the sum of the sizes of what is
added, for no sum in floating point is better than that. How many roundings there are gives the bound: a sum of n
numbers has n - 1 in the worst order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

N = 8  # numbers in a row
DIGITS = 250
Row = list[Any]


@dataclass(frozen=True)
class RowLine:
    """A function of rows; `sizes(row, weights, out, slopes)` gives what a unit of values and slopes is taken of."""

    name: str
    ours: Callable[[Any], Any]
    true: Callable[[Row], Row]
    sizes: Callable[[Row, Row, Row, Row], tuple[Row, Row]]
    value: float
    slope: float
    why: str
    covers: tuple[str, ...] = ()
    spread: float = 3.0  # rows have sizes from 10^-spread to 10^spread
    sure: bool = False  # rows of logits, in which one may win by up to 100
    width: int = N
    own: bool = True


def _mean(x: Row) -> Any:
    return mp.fsum(x) / len(x)


def _softmax(x: Row) -> Row:
    top = max(x)
    e = [mp.exp(v - top) for v in x]
    total = mp.fsum(e)
    return [v / total for v in e]


def _logsumexp(x: Row) -> Any:
    top = max(x)
    return top + mp.log(mp.fsum(mp.exp(v - top) for v in x))


def _var(x: Row) -> Any:
    m = _mean(x)
    return mp.fsum((v - m) ** 2 for v in x) / (len(x) - 1)


def _layer_norm(x: Row) -> Row:
    m = _mean(x)
    root = mp.sqrt(mp.fsum((v - m) ** 2 for v in x) / len(x) + mp.mpf(1e-5))
    return [(v - m) / root for v in x]


def _rms_norm(x: Row) -> Row:
    root = mp.sqrt(mp.fsum(v * v for v in x) / len(x) + mp.mpf(1e-5))
    return [v / root for v in x]


def _total(x: Row) -> Any:
    return mp.fsum(abs(v) for v in x)


def _all(size: Any, x: Row) -> Row:
    return [size] * len(x)


def _result(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    """Relative to the results themselves."""
    return out, slopes


def _spread_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    """var, std, norm: the value as it is; a slope is a multiple of a deviation, a difference of the largest."""
    return out, _all(max(abs(v) for v in slopes), slopes)


def _chances(x: Row) -> tuple[Row, Any]:
    """What each exp(x - max) / sum is as good as, by its depth below the largest; and all depths."""
    p, top = _softmax(x), max(x)
    depth = mp.fsum(s * (top - v) for s, v in zip(p, x, strict=True))
    return [s * (1 + top - v + depth) for s, v in zip(p, x, strict=True)], depth


def _softmax_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    p, _ = _chances(x)
    mixed = mp.fsum(abs(a) * b for a, b in zip(w, p, strict=True))
    return p, [s * (abs(a) + mixed) for s, a in zip(p, w, strict=True)]


def _log_softmax_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    p, depth = _chances(x)
    return [abs(v) + depth for v in out], [abs(a) + b * _total(w) for a, b in zip(w, p, strict=True)]


def _logsumexp_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    p, depth = _chances(x)
    return [abs(max(x)) + _logsumexp(x) - max(x) + depth], p


def _cross_entropy_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    p, depth = _chances(x)
    odds = _logsumexp(x[1:]) - x[0]
    return [out[0] + depth], [abs(slopes[0]) * (1 + abs(odds)), *p[1:]]


def _norm_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    """Deviations are as good as the numbers they are made of, in units of the root."""
    m, root = _mean(x), mp.sqrt(_mean([(v - _mean(x)) ** 2 for v in x]) + mp.mpf(1e-5))
    reach = max(abs(v) for v in x) / root + abs(m) / root
    mixed = _mean([abs(v) for v in w])
    return _all(reach, out), _all((max(abs(v) for v in w) + mixed) * (1 + reach) ** 2 / root, x)


def _rms_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    root = mp.sqrt(_mean([v * v for v in x]) + mp.mpf(1e-5))
    mixed = _mean([abs(a * b) for a, b in zip(w, out, strict=True)])
    return out, [(abs(a) + abs(b) * mixed) / root for a, b in zip(w, out, strict=True)]


def _sum_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    return [_total(x)], slopes


def _cumsum(x: Row) -> Row:
    return [mp.fsum(x[: i + 1]) for i in range(len(x))]


def _cumsum_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    return _cumsum([abs(v) for v in x]), [_total(w[i:]) for i in range(len(x))]


MATRIX = np.random.default_rng(5).normal(size=(3, N)).astype("float32")  # both dtypes hold it


def _products(x: Row) -> Row:
    return [mp.fsum(mp.mpf(float(m)) * v for m, v in zip(row, x, strict=True)) for row in MATRIX]


def _product_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    size = [[abs(mp.mpf(float(m))) for m in row] for row in MATRIX]
    values = [mp.fsum(m * abs(v) for m, v in zip(row, x, strict=True)) for row in size]
    return values, [mp.fsum(abs(w[j]) * size[j][i] for j in range(3)) for i in range(len(x))]


def _attention(x: Row) -> Row:
    """One query of 2 numbers, three keys of 2, three values of 2: 14 numbers in a row."""
    q, k, v = x[:2], [x[2:4], x[4:6], x[6:8]], [x[8:10], x[10:12], x[12:14]]
    p = _softmax([(q[0] * a + q[1] * b) / mp.sqrt(2) for a, b in k])
    return [mp.fsum(p[j] * v[j][i] for j in range(3)) for i in range(2)]


def _attention_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    """Scores are as good as the products they are made of, and a weight as good as its score."""
    size = [abs(a) for a in x]
    q, k, v = size[:2], [size[2:4], size[4:6], size[6:8]], [size[8:10], size[10:12], size[12:14]]
    depth = 1 + 2 * max((q[0] * a + q[1] * b) / mp.sqrt(2) for a, b in k)
    most, g = max(max(r) for r in v), _total(w)
    back = 2 * g * most * depth
    return _all(most * depth, out), [
        *_all(back * max(max(r) for r in k), q),
        *_all(back * max(q), size[2:8]),
        *_all(g * depth, size[8:14]),
    ]


def _attend(x: Any) -> Any:
    q, k, v = x[:, None, :2], x[:, 2:8].reshape(-1, 3, 2), x[:, 8:].reshape(-1, 3, 2)
    return F.scaled_dot_product_attention(q, k, v)[:, 0]


def _answers(x: Any) -> Any:
    return np.zeros(x.shape[0], int)


WEIGHTS = np.array([0.5, 0.25, 0.125, 0.125, 0, 0, 0, 0])


def _shared(x: Row) -> Row:
    return [mp.fsum(mp.mpf(p) * (_logsumexp(x) - v) for p, v in zip(WEIGHTS.tolist(), x, strict=True))]


def _shared_sizes(x: Row, w: Row, out: Row, slopes: Row) -> tuple[Row, Row]:
    p, depth = _chances(x)
    return [out[0] + depth], [a + mp.mpf(b) for a, b in zip(p, WEIGHTS.tolist(), strict=True)]


ADDED = "a unit is that of what is added; n - 1 roundings"
DEEP = "a difference of logits counts with its depth: exp(x - max) is as good as x - max"
ROWS = [
    RowLine("sum", lambda x: x.sum(-1), lambda x: [mp.fsum(x)], _sum_sizes, N, 0, ADDED, ("sum",), 30, own=False),
    RowLine("mean", lambda x: x.mean(-1), lambda x: [_mean(x)],
            lambda x, w, o, s: (_all(_total(x) / N, o), s), N + 1, 1, ADDED, ("mean",), 30, own=False),
    RowLine("cumsum", lambda x: x.cumsum(-1), _cumsum, _cumsum_sizes, N, N, ADDED, ("cumsum",), 30),
    RowLine("prod", lambda x: x.prod(-1), lambda x: [mp.fprod(x)], _result, N, N, "n - 1 roundings, each relative",
            ("prod",), own=False),
    RowLine("var", lambda x: x.var(-1), lambda x: [_var(x)], _spread_sizes, N + 5, N + 5,
            "relative to the variance: deviations, twice centred; their squares; n roundings", ("var",), own=False),
    RowLine("std", lambda x: x.std(-1), lambda x: [mp.sqrt(_var(x))], _spread_sizes, N + 5, N + 8,
            "the same and the root", ("std",), own=False),
    RowLine("norm", lambda x: x.norm(dim=-1), lambda x: [mp.sqrt(mp.fsum(v * v for v in x))], _result, N, N + 4,
            "relative to the norm: squares have one sign", ("norm",), 36),
    RowLine("amax", lambda x: x.amax(-1), lambda x: [max(x)], _result, 0, 0, "exact", ("max", "amax"), 30),
    RowLine("amin", lambda x: x.amin(-1), lambda x: [min(x)], _result, 0, 0, "exact", ("min", "amin"), 30),
    RowLine("linear", lambda x: F.linear(x, tgs.tensor(MATRIX.astype(x.dtype))), _products, _product_sizes, N, 3,
            ADDED, ("linear", "matmul", "__matmul__", "__rmatmul__"), 15),
    RowLine("softmax", F.softmax, _softmax, _softmax_sizes, N + 4, N + 8, DEEP, ("softmax",), sure=True),
    RowLine("log_softmax", F.log_softmax, lambda x: [v - _logsumexp(x) for v in x], _log_softmax_sizes, N + 4, N + 8,
            DEEP, ("log_softmax",), sure=True),
    RowLine("logsumexp", F.logsumexp, lambda x: [_logsumexp(x)], _logsumexp_sizes, N + 4, N + 8, DEEP, ("logsumexp",),
            sure=True),
    RowLine("cross_entropy", lambda x: F.cross_entropy(x, _answers(x), reduction="none"),
            lambda x: [_logsumexp(x) - x[0]], _cross_entropy_sizes, N + 4, N + 8, DEEP, ("cross_entropy",),
            sure=True),
    RowLine("cross_entropy, shares", lambda x: F.cross_entropy(x, np.broadcast_to(WEIGHTS, x.shape).astype(x.dtype),
            reduction="none"), _shared, _shared_sizes, N + 6, N + 9, DEEP, ("cross_entropy",), sure=True),
    RowLine("nll_loss", lambda x: F.nll_loss(x, _answers(x), reduction="none"), lambda x: [-x[0]], _result, 0, 0,
            "exact", ("nll_loss",)),
    RowLine("layer_norm", lambda x: F.layer_norm(x, N), _layer_norm, _norm_sizes, N + 6, 2 * N + 8,
            "deviations are as good as the numbers they are made of", ("layer_norm",)),
    RowLine("rms_norm", lambda x: F.rms_norm(x, N, eps=1e-5), _rms_norm, _rms_sizes, N + 4, 2 * N + 6,
            "relative to the result; a slope to its two terms", ("rms_norm",)),
    RowLine("scaled_dot_product_attention", _attend, _attention, _attention_sizes, 12, 24,
            "a score is as good as the products in it, a weight as its score", ("scaled_dot_product_attention",),
            0.7, width=14),
]  # fmt: skip


def rows(line: RowLine, dtype: str, count: int) -> Any:
    """Rows of many sizes and offsets; logits by how much one wins, ties among them."""
    rng = np.random.default_rng(len(line.name))
    x = rng.normal(size=(count, line.width))
    if line.sure:
        x *= np.linspace(0.1, 8.0, count)[:, None]
        x[: count // 2, 0] += np.linspace(0, 80, count // 2)
        x[count // 2 : -1, 1] += np.linspace(0, 80, count - count // 2 - 1)
        x[-1] = 1.5
    else:
        x *= 10 ** np.linspace(-line.spread, line.spread, count)[:, None]
        x += np.where(np.arange(count) % 3, 0.0, 30.0)[:, None] * np.abs(x[:, :1]) * (line.spread == 3.0)
    return x.astype(dtype)
