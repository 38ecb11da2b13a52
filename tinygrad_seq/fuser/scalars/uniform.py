"""Counter-based random numbers inside kernels: the same numbers as `runtime/arrays` makes of a whole array."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.fuser.scalars.intrinsics import COMPILED, inlined
from tinygrad_seq.runtime.arrays import uniform

u8, i4, i8, f4, f8 = np.uint64, np.int32, np.int64, np.float32, np.float64
GOLDEN, FIRST, SECOND = u8(0x9E3779B97F4A7C15), u8(0xBF58476D1CE4E5B9), u8(0x94D049BB133111EB)
ONE, BITS_27, BITS_30, BITS_31 = u8(1), u8(27), u8(30), u8(31)
TO_24, TO_53 = u8(40), u8(11)
STEP_24, STEP_53 = f4(2.0**-24), f8(2.0**-53)


@inlined
def _word(key: Any, place: Any) -> Any:
    """64 bits that depend on the key and the place alone (SplitMix64; Steele, Lea and Flood, 2014)."""
    word = (u8(place) + ONE) * GOLDEN + key
    word = (word ^ (word >> BITS_30)) * FIRST
    word = (word ^ (word >> BITS_27)) * SECOND
    return word ^ (word >> BITS_31)


def _compiled_f32(key: Any, place: Any) -> Any:
    # By way of a signed integer, for which processors have a vector instruction.
    return f4(i4(_word(key, place) >> TO_24)) * STEP_24


def _compiled_f64(key: Any, place: Any) -> Any:
    return f8(i8(_word(key, place) >> TO_53)) * STEP_53


def _plain(dtype: Any) -> Any:
    def at_place(key: Any, place: int) -> Any:
        """The number at one place of an array of that many and one numbers."""
        return uniform(key, (place + 1,), np.dtype(dtype))[place]

    return at_place


# The number in [0, 1) at a place: top 24 bits in float32, 53 in float64.
uniform_f32 = inlined(_compiled_f32) if COMPILED else _plain(f4)
uniform_f64 = inlined(_compiled_f64) if COMPILED else _plain(f8)
