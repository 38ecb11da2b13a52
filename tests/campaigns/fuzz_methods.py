"""Random calls of every public method of `Tensor` and every function: the right value, or an error of our own.

Shapes with sizes of 0, transposed, stepped, reversed and stretched arrays, all dtypes, NaN and infinities. A call
of the table is compared with NumPy; every name is also called with odd arguments (strings, None, fractions, complex
numbers, huge and negative sizes), where only the kind of the error counts. `tests/parity/test_fuzz.py` compares the
gradients with PyTorch's.

    python tests/campaigns/fuzz_methods.py --calls 20000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import importlib
import random
import re
import traceback
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import Tensor, errors
from tinygrad_seq import functional as F

OWN = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))
DTYPES = ["float32", "float64", "int64", "int32", "int8", "uint8", "bool"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e-30]
ODD: list[Any] = [
    "a", "", b"x", None, 1.5, -0.0, float("nan"), float("inf"), Fraction(1, 2), Decimal("0.1"), 1j, object(),
    [], (), {}, [1, 2], (0, 0), [[1], [2, 3]], np.int64(1), np.uint8(0), np.float32(2.0), np.bool_(True), True,
    False, -1, 0, 1, 2, 7, 100, -(10**6), 2**40, 2**70, -(2**70), 10**400, slice(None), ..., np.zeros(3),
    np.array(["a"]), np.array([1j]), np.array(None), int, range(3), {1}, lambda x: x,
]  # fmt: skip
# They write files, draw, seed the process, or are classes and settings of Python's own kind.
LEFT_OUT = {
    "backward", "register_hook", "retain_grad", "fit", "train", "sample", "resume", "load_run", "draw", "manual_seed",
    "no_grad", "scope", "time_step", "composed", "detect_anomaly", "fused", "checkpoint", "unroll", "beam_search",
    "gradcheck", "jacobian", "jvp", "vjp", "hvp", "value_and_grad", "grad", "detach", "checked_ids", "data",
    "tensor_type",
}  # fmt: skip


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
SIGNATURE = re.compile(r"[\w.<>]+\(\) (missing|takes|got) |unsupported operand type")
TOLERANCE = {2: 4e-3, 4: 3e-6, 8: 1e-12}


def values(found: Any) -> Any:
    return found.array if isinstance(found, Tensor) else np.asarray(found)


def differs(found: Any, true: Any, size: int) -> str:
    """How two results differ, or nothing."""
    found, true = values(found), np.asarray(true)
    if found.shape != true.shape:
        return f"shape {found.shape}, not {true.shape}"
    if found.dtype.kind in "iub" and true.dtype.kind in "iub":
        return "" if (found == true).all() else f"{found.tolist()}, not {true.tolist()}"
    close = TOLERANCE[size]
    with np.errstate(over="ignore"):
        narrow = true.astype(found.dtype) if found.dtype.kind == "f" else true
    scale = np.abs(true[np.isfinite(true)]).max(initial=1.0) if true.size else 1.0
    with np.errstate(all="ignore"):
        same = np.isclose(found, narrow, rtol=close, atol=close * float(min(scale, 1e30)), equal_nan=True)
    return "" if same.all() else f"{found.tolist()}, not {true.tolist()}"


def tried(call: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """The result of a call, or its error; a warning that is not of floating arithmetic is an error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        try:
            return call(*args), None
        except Exception as error:
            return None, error


def is_ours(error: BaseException) -> bool:
    """Whether an error is of our own kind, or Python's word: a signature that does not fit, no memory."""
    return isinstance(error, (*OWN, MemoryError)) or (
        isinstance(error, TypeError) and SIGNATURE.match(str(error)) is not None
    )


def compared(rng: random.Random) -> tuple[str, str]:
    """One call of the table beside NumPy's: (name, what is wrong or nothing)."""
    name = rng.choice(sorted(CALLS))
    draw, ours, numpys = CALLS[name]
    x = array(rng)
    args = draw(rng, x)
    mine, error = tried(ours, Tensor(x), *(Tensor(a) if isinstance(a, np.ndarray) else a for a in args))
    true, refused = tried(numpys, x, *args)
    told = f"{name} of {x.dtype}{x.shape} {x.tolist()!r:.200} with {args!r:.200}"
    if error is not None:
        if not is_ours(error):
            return name, f"{told}: {type(error).__name__}: {error}"
        if refused is None and not may_refuse(name, x, args):
            return name, f"{told}: refused: {error}"
        return name, ""
    if refused is not None or (name, x.dtype.kind) in ELSE:
        return name, ""
    size = min([values(mine).dtype.itemsize if values(mine).dtype.kind == "f" else 8, *sizes_of(x, args)])
    wrong = differs(mine, true, size)
    return name, f"{told}: {wrong}" if wrong else ""


def sizes_of(x: np.ndarray, args: tuple[Any, ...]) -> list[int]:
    return [a.dtype.itemsize for a in (x, *args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


# Where NumPy has another dtype in mind: a sum of int8, arithmetic that wraps in the wider of two.
ELSE = {
    ("square", "b"),
    ("clip", "b"),
    ("__mod__", "b"),
    ("__floordiv__", "b"),
    ("einsum", "b"),
    ("matmul", "b"),
}


def may_refuse(name: str, x: np.ndarray, args: tuple[Any, ...]) -> bool:
    """Calls that NumPy takes and we do not, each for a reason that its own test states."""
    others = [a for a in args if not isinstance(a, np.ndarray)]
    integral = x.dtype.kind in "iub"
    return (
        (name in ("__mod__", "__floordiv__") and integral)  # by zero, which NumPy answers with 0
        or any(
            o in (300, -1, -2) for o in others if type(o) is int
        )  # a number that a small dtype cannot hold
        or (name == "__truediv__" and integral and any(isinstance(o, np.integer) for o in others))
        or not x.ndim  # axis 0 of a number
        or x.dtype.kind == "b"
        or (name == "permute" and x.ndim == 0)
    )


def names() -> list[tuple[str, Any]]:
    """Every public method and function that may be called with anything."""
    found: list[tuple[str, Any]] = [
        (f"Tensor.{n}", n) for n in dir(Tensor) if not n.startswith("_") and callable(getattr(Tensor, n))
    ]
    found += [(n, getattr(tgs, n)) for n in tgs.__all__ if n[0].islower() and callable(getattr(tgs, n))]
    found += [(f"functional.{n}", getattr(F, n)) for n in F.__all__]
    return [(full, f) for full, f in found if full.split(".")[-1] not in LEFT_OUT]


def oddly(rng: random.Random, known: list[tuple[str, Any]]) -> tuple[str, str]:
    """One call of any name with odd arguments: (name, what is wrong or nothing)."""
    name, target = rng.choice(known)
    x = Tensor(array(rng))
    args = [rng.choice(ODD) if rng.random() < 0.7 else Tensor(array(rng)) for _ in range(rng.randint(0, 3))]
    if not isinstance(target, str) and rng.random() < 0.8:
        args.insert(0, x)
    call = getattr(x, target) if isinstance(target, str) else target
    _, error = tried(call, *args)
    if error is None or is_ours(error):
        return name, ""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    at = f"{frame.filename.split('/')[-1]}:{frame.lineno}"
    told = f"{name}({', '.join(f'{a!r:.60}' for a in args)}) on {x!r:.80}"
    return name, f"{told}: {type(error).__name__}: {error!s:.120} ({at})"


def run(calls: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """How often each name was called, and what was wrong."""
    rng, known = random.Random(seed), names()
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for _ in range(calls):
        name, fault = compared(rng) if rng.random() < 0.5 else oddly(rng, known)
        counts[name] += 1
        if fault:
            wrong.append(fault)
    return counts, wrong


def beside_torch() -> Callable[[int, int], tuple[collections.Counter[str], list[str]]]:
    """The calls that are compared with PyTorch, which need not be installed for the others."""
    return importlib.import_module("tests.campaigns.fuzz_torch").run  # type: ignore[no-any-return]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torch", action="store_true", help="beside PyTorch: values and gradients")
    options = parser.parse_args()
    counts, wrong = (beside_torch() if options.torch else run)(options.calls, options.seed)
    for line in wrong:
        print(line)
    print(f"{options.calls:,} calls of {len(counts)} names: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
