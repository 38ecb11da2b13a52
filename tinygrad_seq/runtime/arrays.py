"""Array routines that NumPy lacks and the primitives need: erf, counter-based random numbers, rows by id.

Plain NumPy in, plain NumPy out; no tensors, no gradients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.runtime import jit
from tinygrad_seq.runtime.sums import BLOCK

Array = np.ndarray[Any, np.dtype[Any]]

# Chebyshev fits of our own (made with 40 digits, written as powers). NEAR is erf(x)/x in s = 2x^2 - 1 for
# |x| <= 1; FAR is erfc(x) exp(x^2) for 1 <= x <= 6 in s, where t = (x-3)/(x+3) runs over [-1/2, 1/3].
_NEAR = (
    0.9654687386698673, -0.1405360890227171, 0.019852496688983708, -0.0022854855611441132,
    0.00021751715604159932, -1.7537169441124866e-05, 1.223382738359897e-06, -7.511569286591727e-08,
    4.115800583208149e-09, -2.035228405815769e-10, 9.167619596865806e-12, -3.8078824063194953e-13,
    1.4543887079465116e-14,
)  # fmt: skip
_FAR = (
    0.20798329133342885, -0.15436117429436919, 0.04969844540339414, -0.012713147695691918,
    0.002479314697086253, -0.0003316029605792838, 1.956358319778174e-05, 2.425557485042923e-06,
    -5.54127309801664e-07, -4.5267318133461335e-09, 1.133933573114706e-08, -2.637756022974126e-10,
    -2.5700407551346905e-10, 6.02173256030324e-12, 6.043792147788813e-12, 6.697645564790815e-15,
)  # fmt: skip


def _powers(coefficients: Sequence[float], s: Array) -> Array:
    total = np.full_like(s, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= s
        total += c
    return total


def erf(x: Array) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-u^2) from 0 to x, within 4e-16.

    float32 is computed in float64 and rounded once. NaN stays NaN.
    """
    wide = np.atleast_1d(np.asarray(x, dtype=np.float64))
    size = np.minimum(np.abs(wide), 6.0)  # erf(6) is 1 to the last bit
    near = wide * _powers(_NEAR, 2.0 * np.minimum(size, 1.0) ** 2 - 1.0)
    t = (size - 3.0) / (size + 3.0)
    far = 1.0 - np.exp(-size * size) * _powers(_FAR, (t + 1.0 / 12.0) * 2.4)
    out = np.where(size <= 1.0, near, np.copysign(far, wide))
    return out.astype(x.dtype, copy=False).reshape(x.shape)


def floor_divide(x: Array, y: Array) -> Array:
    """x / y rounded down, as Python's `//`; of integers exact, and ZeroDivisionError for x // 0."""
    return _divided(np.floor_divide, x, y)


def remainder(x: Array, y: Array) -> Array:
    """x - y (x // y), exact and of y's sign, as Python's `%`; ZeroDivisionError for an integer % 0."""
    return _divided(np.remainder, x, y)


def _divided(division: Any, x: Array, y: Array) -> Array:
    if y.dtype.kind != "f" and x.size and not y.all():
        raise ZeroDivisionError
    # Infinities and NaN are valid results; the least integer by -1 wraps around, like a sum that overflows.
    with np.errstate(all="ignore"):
        return division(x, y)  # type: ignore[no-any-return]


_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 0xFFFFFFFFFFFFFFFF


def mix(word: int) -> int:
    """A 64-bit word hashed so that the results of neighbouring inputs are unrelated (the finaliser of SplitMix64)."""
    word = (word + _GOLDEN) & _WORD
    word = ((word ^ (word >> 30)) * _MIX[0]) & _WORD
    word = ((word ^ (word >> 27)) * _MIX[1]) & _WORD
    return word ^ (word >> 31)


def uniform(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Numbers in [0, 1): element i depends only on `key` and i, so any part can be computed again anywhere.

    SplitMix64 in counter form (Steele, Lea and Flood, 2014); float32 takes the top 24 bits, float64 53.
    """
    count = int(np.prod(shape, dtype=np.int64))
    word = np.arange(1, count + 1, dtype=np.uint64)
    word *= np.uint64(_GOLDEN)
    word += np.uint64(key)
    word ^= word >> np.uint64(30)
    word *= np.uint64(_MIX[0])
    word ^= word >> np.uint64(27)
    word *= np.uint64(_MIX[1])
    word ^= word >> np.uint64(31)
    bits = 24 if dtype == np.float32 else 53
    word >>= np.uint64(64 - bits)
    numbers: Array = word.astype(dtype) * dtype.type(2.0**-bits)
    return numbers.reshape(shape)


# ---- rows by id ----------------------------------------------------------------------------------------------
# Sums by id of so many numbers are compiled. The loop is faster at every size, and the same to the bit; but below
# this it saves some 0.1 ms at most, and a program that compiles nothing else would wait half a second for numba.
COMPILED_FROM = 2**16


def gather(x: Array, ids: Sequence[Array]) -> Array:
    """`x[ids]`, one id array per leading axis of `x`; negative ids count from the end.

    Raises IndexError for an id outside its axis.
    """
    # `take` copies row by row and is as fast as a compiled loop, at twice the speed of `x[ids]` and more; but it
    # would first copy an `x` that is not contiguous.
    if len(ids) == 1 and ids[0].ndim and ids[0].dtype.kind == "i" and x.flags.c_contiguous:
        return x.take(ids[0], axis=0)
    found: Array = x[tuple(ids)]
    return found


def scatter(values: Array, ids: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` to which `values` are added at `ids`, one id array per leading axis.

    Rows that meet at one place are summed in the order of their ids, so the result is the same at every run; where
    more than `sums.BLOCK` meet they are summed in float64.
    Raises IndexError for an id outside its axis, ValueError for values that do not fit.
    """
    rest = shape[len(ids) :]
    places = math.prod(shape[: len(ids)])
    flat = flat_ids(ids, shape)
    out = np.zeros((places, *rest), dtype=values.dtype)
    wanted = (*np.broadcast_shapes(*(i.shape for i in ids)), *rest)
    # Broadcast only at need: the result cannot be written to, which to numba is a type of its own.
    rows = values if values.shape == wanted else np.broadcast_to(values, wanted)
    if rows.size:
        rows, totals = np.ascontiguousarray(rows).reshape(flat.size, -1), out.reshape(places, -1)
        _add(rows, flat, totals)
    return out.reshape(shape)


def _add(rows: Array, flat: Array, totals: Array) -> None:
    """Add rows[k] to totals[flat[k]], in float64 where one place has so many that narrow sums would lose digits."""
    if flat.size > BLOCK and rows.dtype.kind == "f" and rows.itemsize < 8:
        often = np.flatnonzero(np.bincount(flat) > BLOCK)
        if often.size:
            # Extra rows behind the others: a float64 table for all rows would take too much memory.
            place = np.arange(len(totals))
            place[often] = -1 - np.arange(often.size)
            wide = np.zeros((often.size, rows.shape[1]))
            flat = place[flat]
            _add_in_order(rows, flat, totals, wide)
            with np.errstate(over="ignore"):
                totals[often] = wide
            return
    _add_in_order(rows, flat, totals, np.zeros((0, rows.shape[1])))


def _add_in_order(rows: Array, flat: Array, totals: Array, wide: Array) -> None:
    if _added_by_kernel(rows, flat, totals, wide):
        return
    # Number by number: NumPy's fast path, which it does not use for whole rows, in the same order.
    columns = np.arange(rows.shape[1])
    for out, mine, place in ((totals, flat >= 0, flat), (wide, flat < 0, -1 - flat)):
        if len(out):
            at = (place[mine][:, None] * columns.size + columns).reshape(-1)
            np.add.at(out.reshape(-1), at, rows[mine].reshape(-1))


def _added_by_kernel(rows: Array, places: Array, out: Array, wide: Array) -> bool:
    """Add the rows by the compiled loop where it exists and is worth it; returns whether it did."""
    if rows.size < COMPILED_FROM or rows.dtype not in (np.float32, np.float64):
        return False
    add = _compiled_add_rows() if jit.kernels_wanted() else None
    if add is None:
        return False
    wrong = add(rows, np.ascontiguousarray(places), out, wide)
    assert wrong < 0, "flat_ids has checked every id"
    return True


@functools.cache
def _compiled_add_rows() -> Callable[..., Any] | None:
    # No fast-math flags: the sum is in the order of the ids, to the bit.
    return jit.build_function(add_rows, flags=())


def add_rows(rows: Any, places: Any, out: Any, wide: Any) -> int:
    """Add rows[k] to out[places[k]] for each k in turn, to wide[-1 - places[k]] where that is negative.

    Returns the first k whose place is in neither, or -1.
    """
    for k in range(len(places)):
        place, row = places[k], rows[k]
        if 0 <= place < len(out):
            total = out[place]
            for j in range(len(row)):
                total[j] += row[j]
        elif -len(wide) <= place < 0:
            sums = wide[-1 - place]
            for j in range(len(row)):
                sums[j] += row[j]
        else:
            return k
    return -1


def flat_ids(ids: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """The ids of several leading axes as places in those axes laid end to end; negative ids count back.

    Raises IndexError for an id outside its axis.
    """
    flat = np.zeros((), dtype=np.int64)
    for axis, (axis_ids, size) in enumerate(zip(ids, shape, strict=False)):
        wide = axis_ids.astype(np.int64, copy=False)  # narrow ids would wrap around
        if wide.size and wide.min() < 0:
            wide = np.where(wide < 0, wide + size, wide)
        # A negative number is a large one without its sign: one comparison for both ends.
        outside = wide.view(np.uint64) >= size
        if outside.any():
            wrong = axis_ids[outside].flat[0]
            raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {size}")
        flat = wide if axis == 0 else flat * size + wide
    return flat.reshape(-1)
