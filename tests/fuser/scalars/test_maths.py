"""Scalar maths of kernels: each stated bound on a dense sweep, the ends by name, and the same without the JIT.

All of it holds for the compiled bodies and for the plain ones: the last test runs this file again in processes
where the JIT is off and where numba is missing.
"""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.fuser.scalars import maths
from tinygrad_seq.fuser.scalars.intrinsics import COMPILED, has_fma
from tinygrad_seq.fuser.scalars.maths import BOUNDS, SCALARS
from tinygrad_seq.runtime import special
from tinygrad_seq.runtime.arrays import Array

pytestmark = pytest.mark.laws

KERNEL = {"fastmath": {"contract", "reassoc", "arcp", "afn", "nsz"}, "error_model": "numpy", "nogil": True}
F4 = np.float32
TOP = 2.0**128  # stands for infinity, so that an overflow too early or too late is a distance like any other


def lesser(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x > 0, -np.maximum(e / (1 + e), 2.0**-126), e / (1 + e))


def erf(x: Array) -> Array:
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


def exact_ndtr(x: float) -> float:
    """By C's erfc, and what the rounding of its argument takes from it: -2/sqrt(pi) exp(-t^2) for each unit."""
    t = max(-60.0, min(60.0, -x * math.sqrt(0.5)))  # NaN stays
    if x == x and abs(t) < 60.0:
        missing = float(Fraction(-x) * ROOT_HALF - Fraction(t))
        return 0.5 * math.erfc(t) - missing * math.exp(-t * t) / math.sqrt(math.pi)
    return 0.5 * math.erfc(t if x == x else x)


ROOT_HALF = Fraction(math.isqrt(5 * 10**79), 10**40)


REFERENCE = {
    "exp": np.exp, "expm1": np.expm1, "tanh": np.tanh, "lesser": lesser, "erf": erf, "log": np.log,
    "log1p": np.log1p, "ndtr": special.ndtr,
}  # fmt: skip
each_function = pytest.mark.parametrize("name", REFERENCE)
compiled_only = pytest.mark.skipif(not COMPILED, reason="asks what the compiler made")

# Where a formula changes or a result leaves the normal numbers.
SEAMS = (0.0, 2.0**-149, 2.0**-126, 2.0**-24, 0.5**0.5, 0.55, 0.95, 1.0, 2.0**0.5, 3.93, 9.05, 18.0, 87.33654,
         13.0, 14.2, 14.5, 88.72283, 103.97208, 104.0, 2.0**60, 3.4028235e38, math.inf)  # fmt: skip


@functools.cache
def kernel(name: str) -> Callable[[Array, Array], None]:
    """A loop over a row as an emitted kernel has it, under a kernel's flags."""
    function = getattr(maths, name)

    def run(x: Array, out: Array) -> None:
        for j in range(x.size):
            out[j] = function(x[j])

    if not COMPILED:
        return run
    import numba

    return numba.njit(**KERNEL)(run)


def results(name: str, x: Array) -> Array:
    out = np.empty_like(x)
    kernel(name)(x, out)
    return out


def units(out: Array, x: Array, reference: Callable[[Array], Array]) -> Array:
    """The distance of each result from the true value, in units in the last place of float32.

    Infinite where NaN, an infinite limit or the sign of a zero is wrong.
    """
    with np.errstate(all="ignore"):
        true = reference(x.astype(np.float64))
        wide = out.astype(np.float64)
    lost = np.isnan(true) != np.isnan(wide)
    lost |= np.isinf(true) & (np.signbit(true) != np.signbit(wide))
    lost |= (true == 0) & (x == 0) & (np.signbit(true) != np.signbit(wide))
    true, wide = np.nan_to_num(np.clip(true, -TOP, TOP)), np.nan_to_num(np.clip(wide, -TOP, TOP))
    unit = np.ldexp(1.0, np.clip(np.frexp(true)[1] - 24, -149, 104))
    return np.where(lost, np.inf, np.abs(wide - true) / unit)


def sweep() -> Iterator[Array]:
    """Every 1021st bit pattern (NaN of all kinds too), 2 million numbers in [-20, 20], and what is near a seam."""
    step, chunk, count = (1021, 1 << 20, 2_000_000) if COMPILED else (1021 * 211, 1 << 14, 10_000)
    patterns = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32).view(F4)
    near = np.array(SEAMS, F4).view(np.int32)[:, None] + np.arange(-500, 501, 1 if COMPILED else 50)
    seams = near[(near >= 0) & (near <= 0x7F800000)].astype(np.uint32).view(F4)
    numbers = np.concatenate([patterns, np.linspace(-20, 20, count, dtype=F4), seams, -seams])
    for start in range(0, numbers.size, chunk):
        yield numbers[start : start + chunk]


@each_function
def test_no_result_is_further_off_than_stated(name):
    """The worst over the sweep, a little below or at the worst over all float32 that the table was made from."""
    worst = max(float(units(results(f"{name}_f32", x), x, REFERENCE[name]).max()) for x in sweep())
    assert worst <= BOUNDS[name]


RANGES = {
    "tanh": (0, 1),
    "erf": (0, 1),
    "lesser": (-0.5, 0.5),
    "ndtr": (0, 1),
    "exp": (0, np.inf),
    "expm1": (-1, np.inf),
}


@each_function
def test_results_keep_within_the_range_of_the_function(name):
    """Odd functions are odd to the bit; tanh and erf never pass 1, sigmoid stays in [0, 1], exp from 0 up."""
    x = np.concatenate([part[part > 0] for part in sweep()])
    up, down = results(f"{name}_f32", x), results(f"{name}_f32", -x)
    if name in ("tanh", "erf"):
        np.testing.assert_array_equal(up, -down)
    low, high = RANGES.get(name, (-np.inf, np.inf))
    assert ((up >= low) & (up <= high)).all()
    if name not in ("tanh", "erf", "log", "log1p"):
        assert ((down >= low) & (down <= high)).all()


NAN, INF, LEAST, HUGE = math.nan, math.inf, 2.0**-149, 3.4028235e38
ODD = [(0.0, 0.0), (-0.0, -0.0), (LEAST, LEAST), (-LEAST, -LEAST)]  # near 0 these functions are x
ENDS = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (LEAST, 1.0), (INF, INF), (-INF, 0.0), (HUGE, INF), (-HUGE, 0.0),
            (88.72283, 3.4027985e38), (88.72284, INF), (-87.34, 1.17144408e-38), (-103.28, LEAST), (-103.97, LEAST),
            (-103.98, 0.0)],
    "expm1": [*ODD, (INF, INF), (-INF, -1.0), (88.72284, INF), (-17.4, -1.0), (-HUGE, -1.0)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (9.1, 1.0), (-HUGE, -1.0)],
    "lesser": [(0.0, 0.5), (-0.0, 0.5), (INF, -(2.0**-126)), (-INF, 0.0), (HUGE, -(2.0**-126)), (-HUGE, 0.0),
               (-103.97, LEAST), (-103.98, 0.0), (87.0, -1.6458115e-38), (88.0, -(2.0**-126)), (LEAST, -0.5)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (4.0, 1.0), (-HUGE, -1.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (-LEAST, NAN), (-1.0, NAN), (-INF, NAN), (INF, INF),
            (LEAST, -103.27893), (HUGE, 88.72284)],
    "ndtr": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (HUGE, 1.0), (-HUGE, 0.0), (5.5, 1.0),
             (-14.1693, LEAST), (-14.3, 0.0), (-13.0, 6.1171644e-39), (-12.9, 2.25049703e-38)],
    "log1p": [*ODD, (-1.0, -INF), (-2.0, NAN), (-INF, NAN), (INF, INF), (HUGE, 88.72284)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "x", "expected"), [(name, *ends) for name in ENDS for ends in ENDS[name]])
def test_ends(name, x, expected):
    """Zeros with their sign, infinities, the last finite and the least subnormal results."""
    out = results(f"{name}_f32", np.full(3, x, F4))[0]
    np.testing.assert_allclose(out, F4(expected), rtol=3e-7)
    assert np.isnan(expected) or np.signbit(out) == np.signbit(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_function
def test_nan_stays_nan(name, dtype):
    """Quiet, of either sign, and among other numbers of one vector."""
    x = np.full(37, 0.5, dtype)
    x[::3], x[1::5] = np.nan, -np.nan
    np.testing.assert_array_equal(np.isnan(results(SCALARS[name][dtype], x)), np.isnan(x))


@each_function
def test_float64_is_the_library(name):
    """To a last place or two, and at the same ends without a warning or an exception."""
    x = np.concatenate(
        [np.linspace(-750, 750, 4001), np.geomspace(1e-300, 1e300, 601), [0.0, -0.0, INF, -INF]]
    )
    with np.errstate(all="ignore"):
        expected = REFERENCE[name](x) if name != "ndtr" else np.array([exact_ndtr(v) for v in x.tolist()])
    if name == "lesser":  # its negative end is float64's own
        e = np.exp(-np.abs(x))
        expected = np.where(x > 0, -np.maximum(e / (1 + e), 2.0**-1022), e / (1 + e))
    np.testing.assert_allclose(results(f"{name}_f64", x), expected, rtol=1e-15, atol=1e-322)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_the_extreme_of_a_row_keeps_nan(name, dtype):
    """Wherever in the row it stands; without NaN it is NumPy's."""
    function, start = getattr(maths, SCALARS[name][dtype]), -np.inf if name == "maximum" else np.inf

    def reduce(x: Array) -> Any:
        found = x.dtype.type(start)
        for j in range(x.size):
            found = function(found, x[j])
        return found

    if COMPILED:
        import numba

        reduce = numba.njit(**KERNEL)(reduce)
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 16, 33, 70):
        x = rng.standard_normal(size).astype(dtype)
        assert reduce(x) == getattr(np, name).reduce(x)
        for j in range(size):
            spoilt = x.copy()
            spoilt[j] = np.nan
            assert np.isnan(reduce(spoilt))
    if COMPILED:
        (text,) = reduce.inspect_llvm().values()
        assert re.search(r"@llvm\.vector\.reduce\.f(max|min)imum", text)


def test_bits_of_a_float_and_back():
    """Both casts, as compiled code sees them, on numbers of every kind."""
    x = np.array([0.0, -0.0, 1.0, -1.5, 2.0**-149, np.inf, -np.inf, np.nan], F4)
    words, back = np.empty(x.size, np.int32), np.empty_like(x)

    def run(x: Array, words: Array, back: Array) -> None:
        for j in range(x.size):
            words[j] = maths.float_to_bits(x[j])
            back[j] = maths.bits_to_float(words[j])

    if COMPILED:
        import numba

        run = numba.njit(run)
    run(x, words, back)
    np.testing.assert_array_equal(words, x.view(np.int32))
    np.testing.assert_array_equal(back.view(np.int32), x.view(np.int32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fused_step_is_rounded_once_or_twice_as_the_processor_can(dtype):
    """(1 + u)^2 - (1 + 2 u) is u^2 rounded once and 0 rounded twice: alike in a vector and in what is left over."""
    kind = np.dtype(dtype).type
    u = kind(2.0 ** -(12 if dtype == "float32" else 27))
    x = np.full(37, 1 + u, dtype)
    c, out = -np.full(37, 1 + 2 * u, dtype), np.full(37, np.nan, dtype)

    def run(x: Array, c: Array, out: Array) -> None:
        for j in range(x.size):
            out[j] = maths.fma(x[j], x[j], c[j])

    once = False
    if COMPILED:
        import numba
        from numba.core.registry import cpu_target

        run = numba.njit(run)
        once = has_fma(*cpu_target.target_context.codegen().magic_tuple())
    run(x, c, out)
    np.testing.assert_array_equal(out, u * u if once else kind(0))


def test_which_processors_have_a_fused_step():
    """By what numba compiles for: its list of features ends the same way with AVX switched off."""
    assert has_fma("x86_64-unknown-linux-gnu", "znver5", "+avx,+avx2,+fma,-fma4")
    assert has_fma("arm64-apple-darwin23", "apple-m1", "")
    assert has_fma("aarch64-unknown-linux-gnu", "generic", "+neon")
    assert not has_fma("x86_64-pc-windows-msvc", "generic", "")
    assert not has_fma("x86_64-unknown-linux-gnu", "znver5", "-avx,-avx2,+fma")
    assert not has_fma("x86_64-unknown-linux-gnu", "nehalem", "+sse4.2,-avx,-fma,+fma4")


def test_the_tables_are_complete():
    """Every op has a bound and a function for both dtypes, and the table names nothing else."""
    assert set(SCALARS) - {"uniform"} == set(BOUNDS) == set(REFERENCE) | {"maximum", "minimum"}
    for names in SCALARS.values():
        assert set(names) == {"float32", "float64"}
        assert all(callable(getattr(maths, name)) and name in maths.__all__ for name in names.values())


@compiled_only
@each_function
def test_a_row_vectorises(name):
    """The compiled loop multiplies whole vectors of float32 and calls no function of the library."""
    run = kernel(f"{name}_f32")
    results(f"{name}_f32", np.ones(3, F4))
    (text,) = run.inspect_llvm().values()
    assert re.search(r"fmul <\d+ x float>", text)
    assert not re.search(r"x float> @\w*(exp|log|tanh|erf|pow)|call float @\w*(exp|log|tanh|erf|pow)", text)


@compiled_only
@each_function
def test_float64_is_no_argument_of_a_float32_function(name):
    """A number that widened by mistake is refused when the kernel is built, not computed to seven digits."""
    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        getattr(maths, f"{name}_f32")(1.5)


@pytest.mark.once
@compiled_only
@pytest.mark.parametrize(
    "start", ["", "import sys; sys.modules['numba'] = None; "], ids=["JIT off", "no numba"]
)
def test_the_same_without_the_jit(start):
    """This file again where a kernel is plain Python; there too a warning is an error."""
    code = f"{start}import sys, pytest; sys.exit(pytest.main(['-n', '0', '-p', 'no:cacheprovider', {__file__!r}]))"
    environment = os.environ if start else os.environ | {"NUMBA_DISABLE_JIT": "1"}
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert child.returncode == 0, child.stdout + child.stderr
