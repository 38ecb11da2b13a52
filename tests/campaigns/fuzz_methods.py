"""Random calls of every public method of `Tensor` and every function: the right value, or an error of our own.

Shapes with sizes of 0, transposed, stepped, reversed and stretched arrays, all dtypes, NaN and infinities. A call
of the table is compared with NumPy; every name is also called with odd arguments (strings, None, fractions, complex
numbers, huge and negative sizes), where only the kind of the error counts. `tests/parity/test_fuzz.py` compares the
gradients with PyTorch's.

    python -m tests.campaigns.fuzz_methods --calls 20000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import random
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tests.campaigns.fuzz_table import CALLS, array
from tinygrad_seq import Tensor, errors
from tinygrad_seq import functional as F

OWN = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))
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
    "tensor_type", "set_grad_enabled", "enable_grad", "inference_mode", "device", "backends",
}  # fmt: skip


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
    """Whether an error is of our own kind."""
    return isinstance(error, OWN)


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
        if refused is None and not may_refuse(name, x, args, error):
            return name, f"{told}: refused: {error}"
        return name, ""
    # Beside a float an integer is float32, as in PyTorch: what is left of a division by it is another number.
    rounded = (
        name in ("__mod__", "__floordiv__") and x.dtype.kind in "iu" and any(type(a) is float for a in args)
    )
    if refused is not None or (name, x.dtype.kind) in ELSE or rounded:
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
    *((name, "b") for name in ("pow", "prod", "std", "norm", "log_softmax", "clamp")),
}


def no_room(name: str, x: np.ndarray, args: tuple[Any, ...]) -> bool:
    """What is written is of a wider kind: floats into integers, whole numbers other than 0 and 1 into booleans."""
    if name in ("exp_", "sqrt_", "div_"):
        return x.dtype.kind != "f"
    if name == "fill_":
        return x.dtype.kind == "b" and args[0] not in (0, 1)
    return x.dtype.kind == "b" and name in ("add_", "sub_", "mul_", "pow_", "clamp_", "relu_")


def beyond(name: str, x: np.ndarray, args: tuple[Any, ...]) -> bool:
    """A whole number that the integers of x do not reach to."""
    limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else np.iinfo(np.int64)
    return any(type(a) is int and not limits.min <= a <= limits.max for a in args)


# Calls that NumPy takes and we do not: how the message begins, and for which arguments alone it may be said.
REFUSALS: list[tuple[str, Callable[[str, np.ndarray, tuple[Any, ...]], bool]]] = [
    (r"\w+: x cannot hold the result", no_room),
    (r"a number does not fit [iu]\d+", beyond),
    # NumPy answers with 0 and a warning
    (r"(remainder|floor_divide): integers divided by zero",
     lambda name, x, args: x.dtype.kind in "iub" and not np.asarray(args[0]).all()),
    # PyTorch has axis 0 of a number, NumPy now and then; we have it nowhere
    (r"\w+: axis out of range|einsum '...i->...': a term does not fit", lambda name, x, args: not x.ndim),
    # PyTorch refuses these of truth values, NumPy makes float16 of them
    (r"neg: not defined for these dtypes|round: truth values are not rounded",
     lambda name, x, args: x.dtype.kind == "b" and name in ("ceil", "trunc", "round")),
    # id 0 of an axis without elements, which NumPy does not look at where the result is empty
    (r"(gather|take): ids out of range|index: out of range",
     lambda name, x, args: name in ("index_select", "select") and not x.shape[args[0]]),
]  # fmt: skip


def may_refuse(name: str, x: np.ndarray, args: tuple[Any, ...], error: BaseException) -> bool:
    """Whether a refusal is one of those above, for their arguments."""
    return any(re.match(text, str(error)) and cause(name, x, args) for text, cause in REFUSALS)


def names() -> list[tuple[str, Any]]:
    """Every public method and function that may be called with anything."""
    found: list[tuple[str, Any]] = [
        (f"Tensor.{n}", n)
        for n in dir(Tensor)
        if not n.startswith("_") and callable(getattr(Tensor, n, None))
    ]
    known = sorted({*tgs.__all__, *tgs._HOME_OF})
    found += [(n, getattr(tgs, n)) for n in known if n[0].islower() and callable(getattr(tgs, n))]
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


@contextlib.contextmanager
def little_memory(more: int = 2 << 30) -> Iterator[None]:
    """No more than so many bytes beside those that are used now, where the system can tell: a number of a billion,
    taken for a size, is right and no fault, but would take all that the machine has.
    """
    try:
        resource = importlib.import_module("resource")
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run(calls: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """How often each name was called, and what was wrong."""
    with little_memory():
        return _run(calls, seed)


def _run(calls: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
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
