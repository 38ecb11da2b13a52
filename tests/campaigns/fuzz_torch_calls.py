"""The calls of `fuzz_torch`: for each name how arguments are drawn, our call and PyTorch's."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as TF

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

Make = Callable[..., np.ndarray]
Drawn = tuple[list[np.ndarray], tuple[Any, ...]]
Draw = Callable[[random.Random, Make], Drawn]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e-30, 100.0, -100.0]


@dataclass(frozen=True)
class Call:
    """How arrays and settings are drawn, and both calls; `refuses` says which arguments we may refuse."""

    draw: Draw
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    floats: bool = False
    views: bool = True
    refuses: Callable[..., bool] = lambda *_: False  # arguments that we may refuse, each for a reason
    apart: Callable[..., bool] = lambda *_: (
        False
    )  # arguments for which PyTorch is no judge, each for a reason


def sizes(rng: random.Random, least: int = 0, most: int = 3) -> tuple[int, ...]:
    return tuple(rng.choice([0, 1, 1, 2, 3, 3, 4, 5]) for _ in range(rng.randint(least, most)))


def array(rng: random.Random, kind: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Numbers of a dtype and shape: some with ties, some with NaN, infinities and zeros."""
    shape, numbers = sizes(rng) if shape is None else shape, np.random.default_rng(rng.randrange(2**32))
    if kind == "bool":
        return numbers.random(shape) < 0.5
    if kind not in ("float32", "float64"):
        return numbers.integers(0 if kind == "uint8" else -5, 6, shape, kind)
    x = numbers.normal(0, 2, shape)
    if rng.random() < 0.3:
        x = np.round(x)
    if rng.random() < 0.25:
        x = np.where(numbers.random(shape) < 0.3, rng.choice(SPECIAL), x)
    return x.astype(kind)


def axis(rng: random.Random, x: np.ndarray) -> int:
    return rng.randrange(-x.ndim, x.ndim)


def one(least: int = 0) -> Draw:
    return lambda rng, make: ([make(sizes(rng, least))], ())


def along(rng: random.Random, make: Make) -> Drawn:
    x = make(sizes(rng, 1))
    return [x], (axis(rng, x),)


def along_or_all(rng: random.Random, make: Make) -> Drawn:
    """One axis, several, or all; kept or not."""
    x = make(sizes(rng, 1))
    axes = rng.choice([axis(rng, x), tuple(sorted(rng.sample(range(x.ndim), rng.randint(1, x.ndim))))])
    return [x], (axes, rng.random() < 0.5)


def two(rng: random.Random, make: Make) -> Drawn:
    """Operands that broadcast."""
    x = make()
    return [x, make(tuple(rng.choice([n, 1]) for n in x.shape)[rng.randint(0, x.ndim) :])], ()


def with_number(rng: random.Random, make: Make) -> Drawn:
    return [make()], (rng.choice([0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.5, 1e-3]),)


def product(rng: random.Random, make: Make) -> Drawn:
    lead, (m, k, n) = sizes(rng, 0, 2), (rng.choice([0, 1, 2, 3, 5]) for _ in range(3))
    left, right = rng.choice([(m, k), (k,), (*lead, m, k)]), rng.choice([(k, n), (k,), (*lead, k, n)])
    return [make(left), make(right)], ()


def entry(name: str, draw: Draw, floats: bool = False, **more: Any) -> Call:
    """A method of the same name on both sides."""
    return Call(
        draw, lambda x, *a: getattr(x, name)(*a), lambda x, *a: getattr(x, name)(*a), floats=floats, **more
    )


def numbers(*given: Any) -> list[np.ndarray]:
    """The arrays of floats among the arguments."""
    return [a for a in given if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def cancelling(*given: Any) -> bool:
    """1e30 or infinite beside numbers of size 1: a mean of them, taken off, leaves rounding errors on either side."""
    return any((np.abs(a) > 1e6).any() for a in numbers(*given))


def infinite(*given: Any) -> bool:
    """An infinity: a product of it and of 0 is NaN, and which of them is formed is each library's own."""
    return any(np.isinf(a).any() for a in numbers(*given))


def cube_overflows(x: np.ndarray) -> bool:
    """A cube that is infinite, of which PyTorch makes a slope of NaN where it is 1 or 0."""
    with np.errstate(over="ignore"):
        return any(np.isinf(a * a * a).any() and not np.isnan(a).any() for a in numbers(x))


def zero_base(x: np.ndarray, number: Any) -> bool:
    """0 ** x, whose curvature PyTorch gives as NaN, ours as 0."""
    return number == 0


def root_of_zero(x: np.ndarray, number: Any) -> bool:
    """x ** -0.5 by 1 / sqrt in PyTorch: NaN for -inf and -inf for -0, where C's pow has 0 and inf."""
    return number == -0.5 and bool((np.isneginf(x) | (x == 0)).any())


def alone(x: np.ndarray, *settings: Any) -> bool:
    """Infinities, whose slopes are NaN or infinite by the way taken; one element, whose variance is NaN."""
    for seen in (x, x[..., 1::2], x.swapaxes(0, -1)) if x.ndim else (x,):
        axes = settings[0] if settings else tuple(range(x.ndim))
        if math.prod(seen.shape[i] for i in (axes if isinstance(axes, tuple) else (axes,))) == 1:
            return True
    return infinite(x)


def with_nan(*given: Any) -> bool:
    """NaN among the numbers: which of them it beats, and so who learns, is a matter of taste."""
    return any(np.isnan(a).any() for a in given if isinstance(a, np.ndarray) and a.dtype.kind == "f")


def beyond_the_root(x: np.ndarray, y: np.ndarray) -> bool:
    """A base of 0 or less under a power that is learnt: there is no logarithm of it."""
    return not (x > 0).all() or infinite(x, y)


def nothing_left(x: np.ndarray, *settings: Any) -> bool:
    """A row of nothing but -inf, for which our rule (no gradient, no weight) is written in the docs."""
    return any(np.isneginf(v).all(a).any() for v in seen(x) for a in range(v.ndim))


def a_kink_or_nan(x: np.ndarray, p: Any, *_: Any) -> bool:
    """Powers of |0| whose second derivative PyTorch gives as NaN; and NaN, for which it picks who learns."""
    return with_nan(x) or (p not in (1, 2, np.inf) and not x.all())


def squares_overflow(x: np.ndarray, *_: Any) -> bool:
    """Infinite, or with a square that is: PyTorch's gelu and its slopes are NaN there, ours as in float64."""
    with np.errstate(over="ignore"):
        return any(np.isinf(a * a).any() for a in numbers(x))


def no_norm(x: np.ndarray, *settings: Any) -> bool:
    """Numbers whose squares PyTorch loses; zeros alone, where it gives a second derivative of NaN, ours is 0."""
    zeros = not x.all() and (
        x.ndim == 0 or any((v == 0).all(a).any() for v in seen(x) for a in range(x.ndim))
    )
    with np.errstate(over="ignore", under="ignore"):
        small = any(((a != 0) & (a * a == 0)).any() for a in numbers(x))
    return (
        zeros or small or squares_overflow(x) or with_nan(x) or bool(settings and a_kink_or_nan(x, *settings))
    )


def seen(x: np.ndarray) -> list[np.ndarray]:
    """An array as the views of the fuzz show it, apart from their order."""
    return [x, x[..., 1::2], x[..., None], x[None]] if x.ndim else [x]


def tied(x: np.ndarray, *_: Any) -> bool:
    """Equal numbers, of which PyTorch picks any."""
    return np.unique(x).size < x.size


def ids(rng: random.Random, count: int, shape: tuple[int, ...], negative: bool = False) -> np.ndarray:
    return np.array(
        [rng.randrange(-count if negative else 0, count) for _ in range(int(np.prod(shape)))], np.int64
    ).reshape(shape)


UNARY = (
    "neg",
    "abs",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "square",
    "sin",
    "cos",
    "tanh",
    "erf",
    "sigmoid",
    "relu",
    "reciprocal",
    "floor",
    "ceil",
    "trunc",
    "round",
    "sign",
    "clone",
    "isnan",
    "isinf",
    "isfinite",
)
CALLS: dict[str, Call] = {n: entry(n, one(), n in ("rsqrt", "sqrt", "reciprocal", "log")) for n in UNARY}
for n, ours, theirs in (
    ("silu", F.silu, TF.silu), ("softplus", F.softplus, TF.softplus), ("gelu", F.gelu, TF.gelu),
    ("logsigmoid", F.logsigmoid, TF.logsigmoid), ("functional.sigmoid", F.sigmoid, torch.sigmoid),
    ("functional.relu", F.relu, TF.relu), ("functional.tanh", F.tanh, torch.tanh),
):  # fmt: skip
    CALLS[n] = Call(one(), ours, theirs, True)
CALLS["gelu"] = replace(CALLS["gelu"], apart=squares_overflow)
CALLS["gelu_tanh"] = Call(
    one(), lambda x: F.gelu(x, "tanh"), lambda x: TF.gelu(x, approximate="tanh"), True, apart=cube_overflows
)

# ---- two operands ------------------------------------------------------------------------------------------
for n in ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge"):
    CALLS[n] = entry(n, two, n in ("sub", "div"))
CALLS["pow"] = entry("pow", two, True, apart=beyond_the_root)
for n in ("maximum", "minimum"):
    CALLS[n] = entry(n, two, apart=with_nan)
for n in ("__mod__", "__floordiv__"):
    CALLS[n] = entry(n, two, True)
for n in ("__add__", "__sub__", "__mul__", "__truediv__", "__radd__", "__rsub__", "__rmul__", "__rtruediv__"):
    CALLS[f"{n} number"] = entry(n, with_number, True)
CALLS["__rpow__ number"] = entry("__rpow__", with_number, True, apart=zero_base)
CALLS["__pow__ number"] = entry("__pow__", with_number, True, apart=root_of_zero)
CALLS["__mod__ number"] = entry("__mod__", with_number, True)
CALLS["sign"] = entry("sign", one(), apart=with_nan)  # NaN here as in NumPy, 0 in PyTorch
CALLS["matmul"] = entry("matmul", product, True)
CALLS["where"] = Call(two, lambda x, y: tgs.where(x > y, x, y), lambda x, y: torch.where(x > y, x, y))
CALLS["where number"] = Call(
    with_number, lambda x, c: tgs.where(x > 0, x, c), lambda x, c: torch.where(x > 0, x, c), True
)
CALLS["add alpha"] = Call(two, lambda x, y: x.add(y, alpha=2), lambda x, y: x.add(y, alpha=2), True)
CALLS["x twice"] = Call(one(), lambda x: x * x + x, lambda x: x * x + x, True)


def clamped(rng: random.Random, make: Make) -> Drawn:
    return [make()], (rng.choice([None, -1, 0.0, 2]), rng.choice([1, 2.0, 3]))


CALLS["clamp"] = Call(
    clamped, lambda x, a, b: x.clamp(a, b), lambda x, a, b: x.clamp(a, b), True, apart=with_nan
)
CALLS["masked_fill"] = Call(
    one(), lambda x: x.masked_fill(x > 0, -1.0), lambda x: x.masked_fill(x > 0, -1.0), True
)
CALLS["masked_select"] = Call(one(), lambda x: x.masked_select(x > 0), lambda x: x.masked_select(x > 0))
CALLS["mask"] = Call(one(1), lambda x: x[x > 0], lambda x: x[x > 0])

# ---- reductions --------------------------------------------------------------------------------------------
for n in ("sum", "mean"):
    CALLS[n] = entry(n, along_or_all, n == "mean")
for n in ("amax", "amin"):
    CALLS[n] = entry(n, along_or_all, apart=with_nan)
CALLS["logsumexp"] = entry("logsumexp", along_or_all, True, apart=nothing_left)
for n in ("softmax", "log_softmax"):
    CALLS[n] = entry(n, along, True, apart=nothing_left)
for n in ("argmax", "argmin"):
    CALLS[n] = entry(n, along)
CALLS["cumsum"] = entry("cumsum", along)
for n in ("sum", "mean", "var", "std", "max", "min", "norm"):
    CALLS[f"{n} of all"] = Call(
        one(),
        lambda x, n=n: getattr(x, n)(),
        lambda x, n=n: getattr(x, n)(),
        n not in ("sum", "max", "min"),
        apart=alone if n in ("var", "std") else no_norm if n == "norm" else with_nan,
    )
for n in ("var", "std"):
    CALLS[n] = Call(
        along_or_all,
        lambda x, a, k, n=n: getattr(x, n)(dim=a, keepdim=k),
        lambda x, a, k, n=n: getattr(x, n)(dim=a, keepdim=k),
        True,
        apart=alone,
    )
    CALLS[f"{n} correction 0"] = Call(
        along_or_all,
        lambda x, a, k, n=n: getattr(x, n)(dim=a, keepdim=k, correction=0),
        lambda x, a, k, n=n: getattr(x, n)(dim=a, keepdim=k, correction=0),
        True,
        apart=alone,
    )
for n in ("max", "min"):
    CALLS[f"{n} dim"] = Call(
        along, lambda x, a, n=n: getattr(x, n)(dim=a), lambda x, a, n=n: getattr(x, n)(dim=a)
    )


def normed(rng: random.Random, make: Make) -> Drawn:
    arrays, (axes, keeps) = along_or_all(rng, make)
    return arrays, (rng.choice([1, 2, 3, 0.5, float("inf")]), axes, keeps)


CALLS["norm"] = entry("norm", normed, True, apart=no_norm)
CALLS["all"] = Call(along, lambda x, a: (x > 0).all(a), lambda x, a: (x > 0).all(a))
CALLS["any"] = Call(along, lambda x, a: (x > 0).any(a), lambda x, a: (x > 0).any(a))
CALLS["sort"] = Call(
    along,
    lambda x, a: x.sort(dim=a, descending=True, stable=True),
    lambda x, a: x.sort(dim=a, descending=True, stable=True),
)
CALLS["topk"] = Call(
    along,
    lambda x, a: x.topk(min(2, x.shape[a]), a).values,
    lambda x, a: x.topk(min(2, x.shape[a]), a).values,
    True,
    apart=tied,
)
NO_GRADIENT = {
    "isnan",
    "isinf",
    "isfinite",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "argmax",
    "argmin",
    "all",
    "any",
    "floor",
    "ceil",
    "trunc",
    "round",
    "sign",
    "__floordiv__",
}
