"""What `fuzz_methods` compares with NumPy: the table of calls, and what draws their arguments."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import Tensor
from tinygrad_seq import functional as F

DTYPES = ["float32", "float64", "int64", "int32", "int8", "uint8", "bool"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e-30]


def shape(rng: random.Random, most: int = 3) -> tuple[int, ...]:
    """Few axes of few sizes, 0 and 1 among them."""
    return tuple(rng.choice([0, 1, 1, 2, 3, 3, 4, 5]) for _ in range(rng.randint(0, most)))


def array(rng: random.Random, dtype: str | None = None, sizes: tuple[int, ...] | None = None) -> np.ndarray:
    """Numbers of a random dtype, shape and layout; some of them NaN or infinite."""
    kind = np.dtype(dtype or rng.choice(DTYPES))
    sizes = shape(rng) if sizes is None else sizes
    laid = np.random.default_rng(rng.randrange(2**32))
    wide = tuple(2 * n for n in sizes)
    if kind.kind == "f":
        x = laid.normal(0, 2, wide).astype(kind)
        if rng.random() < 0.25 and x.size:
            with np.errstate(all="ignore"):
                x.flat[rng.randrange(x.size)] = rng.choice(SPECIAL)
                x[...] = np.where(laid.random(wide) < 0.2, np.asarray(rng.choice(SPECIAL), kind), x)
    elif kind.kind == "b":
        x = laid.random(wide) < 0.5
    else:
        limits = np.iinfo(kind)
        big = rng.random() < 0.2
        x = laid.integers(limits.min if big else max(limits.min, -5), limits.max if big else 6, wide, kind)
    x = x[tuple(slice(rng.choice([0, 1]), None, 2) if rng.random() < 0.5 else slice(n) for n in sizes)]
    if rng.random() < 0.3:
        x = x[tuple(slice(None, None, -1) for _ in sizes)]
    if rng.random() < 0.3:
        x = np.ascontiguousarray(x.T).T if x.ndim else x
    if rng.random() < 0.1 and 1 not in sizes and x.size:
        x = np.broadcast_to(x[tuple(slice(1) for _ in sizes)], sizes)
    return np.asarray(x)


def axis(rng: random.Random, x: np.ndarray) -> int:
    return rng.randrange(-x.ndim, x.ndim) if x.ndim else 0


def beside(rng: random.Random, x: np.ndarray) -> Any:
    """An operand that broadcasts with x: an array, or a number."""
    if rng.random() < 0.3:
        return rng.choice([0, 1, 2, -1, 0.5, -3.0, True, 300])
    sizes = tuple(rng.choice([n, 1]) for n in x.shape)[rng.randint(0, x.ndim) :]
    return array(rng, None if rng.random() < 0.3 else str(x.dtype), sizes)


def reshaped(rng: random.Random, x: np.ndarray) -> tuple[int, ...]:
    return rng.choice([(-1,), (x.size,), (1, x.size), x.shape[::-1], (*x.shape, 1)])


Draw = Callable[[random.Random, np.ndarray], tuple[Any, ...]]
none: Draw = lambda rng, x: ()  # noqa: E731
by_axis: Draw = lambda rng, x: (axis(rng, x),)  # noqa: E731
by_other: Draw = lambda rng, x: (beside(rng, x),)  # noqa: E731


def kept(rng: random.Random, x: np.ndarray) -> tuple[Any, ...]:
    axes: Any = rng.choice([None, axis(rng, x), tuple(range(x.ndim))[: rng.randint(0, x.ndim)]])
    return axes, rng.random() < 0.5


def wide(x: Any) -> Any:
    """Integers as PyTorch's and our float functions take them."""
    return x if np.asarray(x).dtype.kind == "f" else np.asarray(x).astype(np.float32)


def exactly(x: np.ndarray) -> Any:
    """The dtype in which sums of floats keep their digits."""
    return np.float64 if x.dtype.kind == "f" else None


def mean(x: np.ndarray, axes: Any, keepdims: bool) -> Any:
    return (x.astype(np.float64) if x.dtype != np.float64 else x).mean(axes, keepdims=keepdims)


# name: (arguments, ours, NumPy's)
CALLS: dict[str, tuple[Draw, Callable[..., Any], Callable[..., Any]]] = {
    "sum": (kept, Tensor.sum, lambda x, a, k: x.sum(a, keepdims=k, dtype=exactly(x))),
    "mean": (kept, Tensor.mean, mean),
    "var": (kept, lambda x, a, k: x.var(a, keepdims=k, correction=0),
            lambda x, a, k: x.astype(float).var(a, keepdims=k)),
    "max": (kept, lambda x, a, k: x.max(axis=a, keepdims=k), lambda x, a, k: x.max(a, keepdims=k)),
    "min": (kept, lambda x, a, k: x.min(axis=a, keepdims=k), lambda x, a, k: x.min(a, keepdims=k)),
    "all": (by_axis, lambda x, a: x.all(a), lambda x, a: x.all(a)),
    "any": (by_axis, lambda x, a: x.any(a), lambda x, a: x.any(a)),
    "argmax": (by_axis, lambda x, a: x.argmax(a), lambda x, a: x.argmax(a)),
    "argmin": (by_axis, lambda x, a: x.argmin(a), lambda x, a: x.argmin(a)),
    "cumsum": (by_axis, lambda x, a: x.cumsum(a), lambda x, a: x.cumsum(a, dtype=exactly(x) or int)),
    "reshape": (lambda rng, x: (reshaped(rng, x),), Tensor.reshape, np.reshape),
    "flatten": (none, Tensor.flatten, lambda x: x.reshape(-1)),
    "transpose": (lambda rng, x: (axis(rng, x), axis(rng, x)), Tensor.transpose, np.swapaxes),
    "permute": (lambda rng, x: (rng.sample(range(x.ndim), x.ndim),), Tensor.permute, np.transpose),
    "T": (none, lambda x: x.T, lambda x: x.T),
    "expand": (lambda rng, x: ((2, *x.shape),), Tensor.expand, np.broadcast_to),
    "squeeze": (none, Tensor.squeeze, np.squeeze),
    "unsqueeze": (lambda rng, x: (rng.randint(-x.ndim - 1, x.ndim),), Tensor.unsqueeze, np.expand_dims),
    "flip": (by_axis, Tensor.flip, np.flip),
    "roll": (lambda rng, x: (rng.randint(-4, 4), axis(rng, x)), Tensor.roll, np.roll),
    "tile": (lambda rng, x: (rng.randint(0, 3),), Tensor.tile, np.tile),
    "tril": (none, Tensor.tril, lambda x: np.tril(x) if x.ndim > 1 else 1 / 0),
    "stack": (none, lambda x: tgs.stack([x, x], -1), lambda x: np.stack([x, x], -1)),
    "concat": (by_axis, lambda x, a: tgs.concat([x, x], a), lambda x, a: np.concatenate([x, x], a)),
    "where": (by_other, lambda x, y: tgs.where(x > 0, x, y), lambda x, y: np.where(x > 0, x, y)),
    "index": (lambda rng, x: (rng.randrange(-6, 6),), lambda x, i: x[i], lambda x, i: x[i]),
    "take": (lambda rng, x: ([0, -1, 1],), lambda x, i: x.take(i, 0), lambda x, i: np.take(x, i, 0)),
    "slice": (lambda rng, x: (slice(rng.randint(-3, 3), None, rng.choice([1, 2, -1])),),
              lambda x, i: x[..., i], lambda x, i: x[..., i]),
    **{n: (by_other, getattr(Tensor, n), f) for n, f in {
        "__add__": np.add, "__sub__": np.subtract, "__mul__": np.multiply, "maximum": np.maximum,
        "minimum": np.minimum, "__lt__": np.less, "__le__": np.less_equal, "__eq__": np.equal, "__ne__": np.not_equal,
        "__gt__": np.greater, "__ge__": np.greater_equal, "__mod__": np.remainder, "__floordiv__": np.floor_divide,
        "__truediv__": lambda x, y: np.true_divide(np.asarray(x, float), np.asarray(y, float)),
    }.items()},
    **{n: (none, getattr(Tensor, n), f) for n, f in {
        "__neg__": np.negative, "__abs__": np.abs, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
        "sign": np.sign, "round": np.round, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite,
        "exp": lambda x: np.exp(wide(x)), "log": lambda x: np.log(wide(x)), "sqrt": lambda x: np.sqrt(wide(x)),
        "sin": lambda x: np.sin(wide(x)), "cos": lambda x: np.cos(wide(x)), "tanh": lambda x: np.tanh(wide(x)),
        "square": lambda x: x * x, "clone": lambda x: x, "double": lambda x: x.astype(float),
    }.items()},
    "clip": (lambda rng, x: (rng.choice([-1, -2, 0.5, None]), 2), Tensor.clip, lambda x, a, b: np.clip(x, a, b)),
    "matmul": (lambda rng, x: (array(rng, str(x.dtype), (x.shape[-1], 3) if x.ndim else (3,)),),
               lambda x, y: x @ y, np.matmul),
    "relu": (none, F.relu, lambda x: np.where(x < 0, 0, x)),
    "einsum": (none, lambda x: tgs.einsum("...i->...", x), lambda x: x.sum(-1)),
}  # fmt: skip


def mild(x: Any) -> Any:
    """Numbers whose products and squares overflow nowhere."""
    return x.clip(-3, 3)


def whole_axis(rng: random.Random, x: np.ndarray) -> tuple[Any, ...]:
    """An axis, a start and a length on it."""
    a = axis(rng, x)
    start = rng.randint(0, x.shape[a]) if x.ndim else 0
    return a, start, rng.randint(0, x.shape[a] - start) if x.ndim else 0


def mask_of(x: Any) -> Any:
    return x > 0 if np.asarray(x).dtype.kind != "b" else x


def placed(rng: random.Random, x: np.ndarray) -> tuple[Any, ...]:
    """An axis, and ids along it in an array of x's axes."""
    a = axis(rng, x)
    sizes = tuple(2 if i == a % max(1, x.ndim) else n for i, n in enumerate(x.shape))
    top = x.shape[a] if x.ndim else 1
    return a, np.random.default_rng(rng.randrange(2**32)).integers(0, max(1, top), sizes)


def logsumexp(x: np.ndarray, a: int) -> Any:
    x = wide(x).astype(float)
    return np.logaddexp.reduce(x, a)


def softmax(x: np.ndarray, a: int) -> Any:
    """Zeros in a row of nothing but -inf, as our documents say."""
    x = wide(x).astype(float)
    e = np.exp(x - np.where(np.isinf(m := x.max(a, keepdims=True, initial=-np.inf)), 0, m))
    total = e.sum(a, keepdims=True)
    return e / np.where(total == 0, 1, total)


def by_number(rng: random.Random, x: np.ndarray) -> tuple[Any, ...]:
    return (rng.choice([1, 2, -1, 3]),)


def written(name: str, made: Callable[..., Any]) -> tuple[Draw, Callable[..., Any], Callable[..., Any]]:
    """A method that writes, which must return the tensor itself and leave in it what NumPy makes."""

    def ours(x: Tensor, *args: Any) -> Any:
        assert getattr(x, name)(*args) is x
        return x

    return (
        none if name in ("neg_", "relu_", "zero_", "exp_", "sqrt_") else by_number,
        ours,
        lambda x, *args: np.asarray(made(x, *args)).astype(x.dtype),
    )


# What PyTorch's users know by name, beside NumPy's forms.
CALLS |= {
    **{n: (by_other, getattr(Tensor, n), f) for n, f in {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "lt": np.less, "le": np.less_equal, "eq": np.equal,
        "ne": np.not_equal, "gt": np.greater, "ge": np.greater_equal, "div": CALLS["__truediv__"][2],
    }.items()},
    **{n: (none, getattr(Tensor, n), f) for n, f in {
        "neg": np.negative, "abs": np.abs, "square": lambda x: x * x, "logical_not": np.logical_not,
        "reciprocal": lambda x: 1 / wide(x), "rsqrt": lambda x: 1 / np.sqrt(wide(x)), 
        "log1p": lambda x: np.log1p(wide(x)),
        "sigmoid": lambda x: 1 / (1 + np.exp(-wide(x).astype(float))), "relu": lambda x: np.where(x < 0, 0, x),
        "contiguous": lambda x: x, "numel": lambda x: x.size,
    }.items()},
    "mT": (none, lambda x: x.mT, lambda x: np.swapaxes(x, -1, -2)),
    "t": (none, Tensor.t, lambda x: x.T if x.ndim < 3 else 1 / 0),
    "pow": (lambda rng, x: (rng.choice([0, 1, 2, 3]),), lambda x, n: mild(x).pow(n), lambda x, n: mild(x) ** n),
    "prod": (kept, lambda x, a, k: mild(x).prod(a, k),
        lambda x, a, k: mild(x).prod(a, keepdims=k, dtype=exactly(x))),
    "std": (kept, lambda x, a, k: mild(x).std(a, keepdims=k, correction=0),
            lambda x, a, k: mild(x).astype(float).std(a, keepdims=k)),
    "norm": (kept, lambda x, a, k: mild(x).norm(2, a, k),
             lambda x, a, k: np.sqrt((mild(x).astype(float) ** 2).sum(a, keepdims=k))),
    "amax": (kept, Tensor.amax, lambda x, a, k: x.max(a, keepdims=k)),
    "amin": (kept, Tensor.amin, lambda x, a, k: x.min(a, keepdims=k)),
    "logsumexp": (by_axis, Tensor.logsumexp, logsumexp),
    "softmax": (by_axis, Tensor.softmax, softmax),
    "log_softmax": (by_axis, lambda x, a: mild(x).log_softmax(a), lambda x, a: np.log(softmax(mild(x), a))),
    "sort": (by_axis, lambda x, a: x.sort(a).values, lambda x, a: np.sort(x, a)),
    "argsort": (by_axis, Tensor.argsort, lambda x, a: np.argsort(x, a, kind="stable") if x.ndim else 1 / 0),
    "topk": (by_axis, lambda x, a: x.topk(1, a, False).values, lambda x, a: np.sort(x, a).take([0], a)),
    "view": (lambda rng, x: (reshaped(rng, x),), Tensor.view, np.reshape),
    "repeat": (lambda rng, x: (rng.randint(0, 2),), lambda x, n: x.repeat(n, *[1] * (x.ndim - 1)),
               lambda x, n: np.tile(x, (n, *[1] * (x.ndim - 1)))),
    "repeat_interleave": (lambda rng, x: (rng.randint(0, 3), axis(rng, x)), Tensor.repeat_interleave, np.repeat),
    "movedim": (lambda rng, x: (axis(rng, x), axis(rng, x)), Tensor.movedim, np.moveaxis),
    "swapaxes": (lambda rng, x: (axis(rng, x), axis(rng, x)), Tensor.swapaxes, np.swapaxes),
    "narrow": (whole_axis, Tensor.narrow, lambda x, a, i, n: x.take(range(i, i + n), a)),
    "select": (lambda rng, x: (axis(rng, x), 0), Tensor.select, lambda x, a, i: x.take(i, a)),
    "index_select": (lambda rng, x: (axis(rng, x), np.array([0, 0])), Tensor.index_select,
                     lambda x, a, i: x.take(i, a)),
    "unbind": (by_axis, lambda x, a: tgs.stack(x.unbind(a), a), lambda x, a: x if x.shape[a] else 1 / 0),
    "split": (by_axis, lambda x, a: tgs.cat(x.split(2, a), a), lambda x, a: x),
    "chunk": (by_axis, lambda x, a: tgs.cat(x.chunk(3, a), a), lambda x, a: x),
    "masked_fill": (none, lambda x: x.masked_fill(mask_of(x), 1),
        lambda x: np.where(mask_of(x), np.ones((), x.dtype), x)),
    "masked_select": (none, lambda x: x.masked_select(mask_of(x)), lambda x: x[mask_of(x)]),
    "triu": (none, Tensor.triu, lambda x: np.triu(x) if x.ndim > 1 else 1 / 0),
    "gather": (placed, Tensor.gather, lambda x, a, i: np.take_along_axis(x, i, a)),
    "unfold": (by_axis, lambda x, a: x.unfold(a, 2, 1),
               lambda x, a: np.lib.stride_tricks.sliding_window_view(x, 2, a)),
    "clamp": CALLS["clip"],
    "float": (none, Tensor.float, lambda x: x.astype(np.float32)),
    "bool": (none, Tensor.bool, lambda x: x.astype(bool)),
    "new_full": (none, lambda x: x.new_full((2,), 1), lambda x: np.ones(2, x.dtype)),
    "new_ones": (none, lambda x: x.new_ones(2), lambda x: np.ones(2, x.dtype)),
    "new_zeros": (none, lambda x: x.new_zeros(2), lambda x: np.zeros(2, x.dtype)),
    "add_": written("add_", np.add), "sub_": written("sub_", np.subtract), "mul_": written("mul_", np.multiply),
    "div_": written("div_", lambda x, y: x / np.asarray(y, x.dtype)), "neg_": written("neg_", np.negative),
    "pow_": written("pow_", lambda x, y: x**y if y == 1 else 1 / 0),
    "relu_": written("relu_", lambda x: np.where(x < 0, 0, x)), "zero_": written("zero_", np.zeros_like),
    "fill_": written("fill_", np.full_like), "copy_": written("copy_", np.full_like),
    "exp_": written("exp_", np.exp), "sqrt_": written("sqrt_", np.sqrt),
    "clamp_": written("clamp_", lambda x, y: np.clip(x, y, None)),
    "masked_fill_": (none, lambda x: x.masked_fill_(mask_of(x), 1),
        lambda x: np.where(mask_of(x), 1, x).astype(x.dtype)),
}  # fmt: skip
# Public names without a twin in NumPy, or whose values other tests compare; they are called oddly all the same.
UNVALUED = {
    "assign", "astype", "cpu", "cuda", "detach_", "dim", "element_size", "erf", "expand_as", "int",
    "is_floating_point", "item", "long", "new_empty", "new_tensor", "normal_", "numpy", "requires_grad_",
    "resize_", "to", "tolist", "type", "type_as", "uniform_", "view_as",
}  # fmt: skip
