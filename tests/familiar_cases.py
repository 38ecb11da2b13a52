"""The table's lines for methods that PyTorch's users know, against NumPy where it has the same."""

from __future__ import annotations

import numpy as np

from tests.cases import IDS, MASK, OFF_KINKS, POSITIVE, Case


def _windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2]


SOME = np.array([[False, True], [True, True], [True, True]])
PLACES = IDS[:, :2] % 3

FAMILIAR = [
    Case("add method", lambda x, y: x.add(y, alpha=3), [(2, 3), (3,)], numpy=lambda x, y: x + 3 * y),
    Case("sub method", lambda x, y: x.sub(y, alpha=3), [(2, 3), (3,)], numpy=lambda x, y: x - 3 * y),
    Case("mul method", lambda x, y: x.mul(y), [(2, 3), (3,)], numpy=np.multiply),
    Case("div method", lambda x, y: x.div(y), [(2, 3), (3,)], **POSITIVE, numpy=np.divide),
    Case("pow method", lambda x: x.pow(3), [(2, 3)], numpy=lambda x: x**3),
    Case("neg method", lambda x: x.neg() * x, [(2, 3)], numpy=lambda x: -x * x),
    Case("square", lambda x: x.square(), [(2, 3)], numpy=np.square),
    Case("reciprocal", lambda x: x.reciprocal(), [(2, 3)], **POSITIVE, numpy=np.reciprocal),
    Case("rsqrt", lambda x: x.rsqrt(), [(2, 3)], **POSITIVE, numpy=lambda x: 1 / np.sqrt(x)),
    Case("sign", lambda x: x * x.sign(), [(2, 3)], **OFF_KINKS, numpy=np.abs),
    Case("ceil", lambda x: x * x.ceil(), [(2, 3)], low=1.1, high=1.9, numpy=lambda x: x * np.ceil(x)),
    Case("trunc", lambda x: x * x.trunc(), [(2, 3)], low=-1.9, high=-1.1, numpy=lambda x: x * np.trunc(x)),
    Case("round", lambda x: x * x.round(), [(2, 3)], low=0.6, high=1.4, numpy=lambda x: x * np.round(x)),
    Case(
        "logical",
        lambda x: x * x.logical_not() + x * (x.isnan() | x.isinf()),
        [(2, 3)],
        numpy=lambda x: x * 0,
    ),
    Case("isfinite", lambda x: x * x.isfinite(), [(2, 3)], numpy=lambda x: x * np.isfinite(x)),
    Case("eq lt", lambda x: x * (x.eq(0) | x.lt(0)), [(2, 3)], **OFF_KINKS, numpy=lambda x: x * (x < 0)),
    Case("ne gt", lambda x: x * (x.ne(0) & x.gt(0)), [(2, 3)], **OFF_KINKS, numpy=lambda x: x * (x > 0)),
    Case("le ge", lambda x: x * (x.le(0) ^ x.ge(0)), [(2, 3)], **OFF_KINKS, numpy=lambda x: x),
    Case("contiguous", lambda x: x.contiguous() * x.cpu(), [(2, 3)], numpy=lambda x: x * x),
    Case("t", lambda x: x.t() @ x, [(2, 3)], numpy=lambda x: x.T @ x),
    Case("mT", lambda x: x.mT @ x, [(4, 2, 3)], numpy=lambda x: x.swapaxes(-1, -2) @ x),
    Case("swapaxes", lambda x: x.swapaxes(0, -1), [(4, 2, 3)], numpy="same"),
    Case("movedim", lambda x: x.movedim(0, -1), [(4, 2, 3)], numpy=lambda x: np.moveaxis(x, 0, -1)),
    Case("expand_as", lambda x, y: x.expand_as(y) * y, [(3,), (2, 3)], numpy=lambda x, y: x * y),
    Case("view_as", lambda x, y: x.view_as(y) * y, [(6,), (2, 3)], numpy=lambda x, y: x.reshape(2, 3) * y),
    Case("repeat", lambda x: x.repeat(2, 1, 3), [(2, 3)], numpy=lambda x: np.tile(x, (2, 1, 3))),
    Case("repeat none", lambda x: x.repeat(0, 1), [(2, 3)], numpy=lambda x: np.tile(x, (0, 1))),
    Case("tile", lambda x: x.tile(2), [(2, 3)], numpy=lambda x: np.tile(x, 2)),
    Case("repeat_interleave", lambda x: x.repeat_interleave(2), [(2, 3)], numpy=lambda x: np.repeat(x, 2)),
    Case(
        "repeat_interleave dim",
        lambda x: x.repeat_interleave(2, dim=1),
        [(2, 3)],
        numpy=lambda x: np.repeat(x, 2, 1),
    ),
    Case("roll", lambda x: x.roll(2) * x, [(2, 3)], numpy=lambda x: np.roll(x, 2) * x),
    Case(
        "roll dims", lambda x: x.roll((1, -1), (0, 1)), [(3, 4)], numpy=lambda x: np.roll(x, (1, -1), (0, 1))
    ),
    Case("unfold", lambda x: x.unfold(1, 3, 2), [(2, 6)], numpy=_windows),
    Case("unfold front", lambda x: x.unfold(0, 2, 1), [(3, 2)], numpy=lambda x: np.stack([x[:2].T, x[1:].T])),
    Case("narrow", lambda x: x.narrow(1, 1, 2), [(2, 4)], numpy=lambda x: x[:, 1:3]),
    Case("select", lambda x: x.select(1, -1), [(2, 4)], numpy=lambda x: x[:, -1]),
    Case("index_select", lambda x: x.index_select(0, [1, 1, 0]), [(2, 4)], numpy=lambda x: x[[1, 1, 0]]),
    Case("unbind", lambda x: x.unbind(1), [(2, 3)], numpy=lambda x: tuple(x.T)),
    Case(
        "tril",
        lambda x: x.tril() + x.triu(1) * 2,
        [(2, 3, 4)],
        numpy=lambda x: np.tril(x) + 2 * np.triu(x, 1),
    ),
    Case("masked_fill", lambda x: x.masked_fill(MASK, 2.0), [(3, 4)], numpy=lambda x: np.where(MASK, 2.0, x)),
    Case("masked_select", lambda x: x.masked_select(MASK), [(3, 4)], numpy=lambda x: x[MASK]),
    Case("sort", lambda x: x.sort(0).values, [(3, 4)], **OFF_KINKS, numpy=lambda x: np.sort(x, 0)),
    Case(
        "sort down", lambda x: x.sort(descending=True)[0], [(3, 4)], **OFF_KINKS, numpy=lambda x: -np.sort(-x)
    ),
    Case("argsort", lambda x: x[0][x.argsort(1)[0]], [(3, 4)], **OFF_KINKS, numpy=lambda x: np.sort(x[0])),
    Case("topk", lambda x: x.topk(2).values, [(3, 4)], **OFF_KINKS, numpy=lambda x: -np.sort(-x)[:, :2]),
    Case(
        "topk low", lambda x: x.topk(2, 0, False)[0], [(3, 4)], **OFF_KINKS, numpy=lambda x: np.sort(x, 0)[:2]
    ),
    Case("cumsum", lambda x: x.cumsum(0), [(5, 2)], numpy=lambda x: np.cumsum(x, 0)),
    Case("cumsum dim", lambda x: x.cumsum(dim=-1), [(2, 1)], numpy=lambda x: np.cumsum(x, -1)),
    Case("cumsum none", lambda x: x.cumsum(0), [(0, 2)], numpy=lambda x: np.cumsum(x, 0)),
    Case("prod", lambda x: x.prod(1), [(2, 5)], numpy=lambda x: x.prod(1)),
    Case("prod all", lambda x: x.prod(), [(3, 2)], numpy=np.prod),
    Case("prod of a nought", lambda x: (x * SOME).prod(0), [(3, 2)], numpy=lambda x: (x * SOME).prod(0)),
    Case(
        "prod kept",
        lambda x: x.prod((0, 2), True),
        [(2, 3, 3)],
        numpy=lambda x: x.prod((0, 2), keepdims=True),
    ),
    Case("prod none", lambda x: x.prod(0), [(0, 3)], numpy=lambda x: x.prod(0)),
    Case("norm", lambda x: x.norm(), [(3, 4)], numpy=np.linalg.norm),
    Case(
        "norm dim",
        lambda x: x.norm(dim=1, keepdim=True),
        [(3, 4)],
        numpy=lambda x: np.linalg.norm(x, axis=1)[:, None],
    ),
    Case("norm one", lambda x: x.norm(1, 0), [(3, 4)], **OFF_KINKS, numpy=lambda x: np.abs(x).sum(0)),
    Case(
        "norm three", lambda x: x.norm(3, 0), [(3, 4)], **OFF_KINKS, numpy=lambda x: np.linalg.norm(x, 3, 0)
    ),
    Case("norm inf", lambda x: x.norm(np.inf), [(3, 4)], **OFF_KINKS, numpy=lambda x: np.abs(x).max()),
    Case("astype", lambda x: x.astype(x.dtype) * x.type(x.dtype), [(3, 4)], numpy=lambda x: x * x),
    Case("type_as", lambda x, y: x.type_as(y) * y, [(3, 4), (3, 4)], numpy=lambda x, y: x * y),
    Case("truth", lambda x: x * x.bool() * x.long().int(), [(3, 4)], low=1.1, high=1.9, numpy=lambda x: x),
    Case(
        "gather method",
        lambda x: x.gather(0, PLACES),
        [(3, 2)],
        numpy=lambda x: np.take_along_axis(x, PLACES, 0),
    ),
]
