"""What a scalar function costs in a compiled loop, beside NumPy's own and libm's through numba, and how exact it is.

    python benchmarks/scalar_functions.py

Nanoseconds per float32 element of a row that fits the first cache, one thread; the three take turns, medians and
quartiles over repeats. `worst` is the greatest error found over every 2039th float32, in units in its last place;
`below` is the bound that `tests/fuser/scalars/test_maths.py` holds it to.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from tinygrad_seq.fuser.scalars import maths
from tinygrad_seq.runtime import arrays

Array = np.ndarray[Any, np.dtype[Any]]
Loop = Callable[[Array, Array], object]
FLAGS = {"contract", "reassoc", "arcp", "afn", "nsz"}
ONE = np.float32(1)


def looped(function: Callable[[Any], Any]) -> Loop:
    """A kernel that applies the function to each element of a row."""

    @numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True)
    def run(x: Array, out: Array) -> None:
        for j in range(x.size):
            out[j] = function(x[j])

    return run


def numpy_sigmoid(x: Array, out: Array) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, ONE, out=out)
    np.divide(ONE, out, out=out)


def exact_sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


@numba.njit
def libm_sigmoid(x: Any) -> Any:
    return ONE / (ONE + math.exp(-x))


def with_out(function: Any) -> Loop:
    """A NumPy function that writes where it is told."""
    return lambda x, out: function(x, out=out)


# name -> NumPy's way with a row, libm's with a number, the true value in float64.
FUNCTIONS: dict[str, tuple[Loop, Any, Callable[[Array], Array]]] = {
    "exp": (with_out(np.exp), math.exp, np.exp),
    "expm1": (with_out(np.expm1), math.expm1, np.expm1),
    "tanh": (with_out(np.tanh), math.tanh, np.tanh),
    "sigmoid": (numpy_sigmoid, libm_sigmoid, exact_sigmoid),
    "erf": (lambda x, out: arrays.erf(x), math.erf, arrays.erf),
    "log": (with_out(np.log), math.log, np.log),
    "log1p": (with_out(np.log1p), math.log1p, np.log1p),
}


def worst_error(run: Loop, reference: Callable[[Array], Array]) -> float:
    """The greatest distance from the true value, in units in the last place of float32."""
    x = np.arange(0, 1 << 32, 2039, dtype=np.uint64).astype(np.uint32).view(np.float32)
    out = np.empty_like(x)
    run(x, out)
    with np.errstate(all="ignore"):
        true = np.clip(reference(x.astype(np.float64)), -(2.0**128), 2.0**128)
        found = np.clip(out.astype(np.float64), -(2.0**128), 2.0**128)
        unit = np.ldexp(1.0, np.clip(np.frexp(np.nan_to_num(true))[1] - 24, -149, 104))
        return float(np.nanmax(np.abs(found - true) / unit))


def take_turns(runs: dict[str, Loop], x: Array, repeats: int) -> dict[str, list[float]]:
    """Nanoseconds per element of each, sorted."""
    out = np.empty_like(x)
    times: dict[str, list[float]] = {name: [] for name in runs}
    loops = {}
    for name, run in runs.items():
        run(x, out)
        start = time.perf_counter()
        run(x, out)
        loops[name] = max(1, int(2e-3 / (time.perf_counter() - start)))  # about 2 ms a turn
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(loops[name]):
                run(x, out)
            times[name].append((time.perf_counter() - start) / loops[name] / x.size * 1e9)
    return {name: sorted(column) for name, column in times.items()}


def cell(column: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(column, n=4)
    return f"{middle:6.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="elements of the row")
    parser.add_argument("--repeats", type=int, default=31)
    args = parser.parse_args()
    x = (4 * np.random.default_rng(0).standard_normal(args.size)).astype(np.float32)
    columns = ("ours", "NumPy", "libm in numba")
    print(
        f"{'ns per element':14s} " + " ".join(f"{c:>24s}" for c in columns) + f" {'worst':>7s} {'below':>6s}"
    )
    for name, (vectors, libm, reference) in FUNCTIONS.items():
        ours = looped(getattr(maths, f"{name}_f32"))
        row = np.abs(x) if name.startswith("log") else x
        times = take_turns(dict(zip(columns, (ours, vectors, looped(libm)), strict=True)), row, args.repeats)
        cells = " ".join(f"{cell(times[c]):>24s}" for c in columns)
        print(f"{name:14s} {cells} {worst_error(ours, reference):7.2f} {maths.BOUNDS[name]:6.2f}")


if __name__ == "__main__":
    main()
