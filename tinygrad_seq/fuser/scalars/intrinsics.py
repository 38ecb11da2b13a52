"""The few places that use numba's internals: bit casts, fused multiply-add, extremes that keep NaN.

Each name works twice: inside compiled code as LLVM instructions and, where numba is missing or switched off
(`NUMBA_DISABLE_JIT=1`), as plain Python on NumPy scalars. Kernels and tapes are in other files.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

try:
    import numba
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic
except ImportError:
    COMPILED = False
else:
    COMPILED = not cast(Any, numba.config).DISABLE_JIT  # numba sets its options when it runs

Function = TypeVar("Function", bound=Callable[..., Any])

# The scalars' own, not those of the kernel that calls them: LLVM keeps them by instruction when it inlines. None:
# "reassoc" would cancel the rounding trick `(x + big) - big`, "arcp" loosen a division, "nsz" lose the sign of zero;
# "contract" makes one step of a product and a sum in one copy of a loop and not in another; `fma` says where.
FLAGS: tuple[str, ...] = ()


def inlined(body: Function) -> Function:
    """The function compiled to vanish into its caller, which can then vectorise; itself without numba.

    LLVM inlines it, not numba (`inline="always"`), which would compile the body under the caller's flags.
    Division follows IEEE 754 and raises nothing.
    """
    if not COMPILED:
        return body
    return cast(Function, numba.njit(error_model="numpy", forceinline=True, fastmath=set(FLAGS))(body))


def scalar(dtype: type[np.floating[Any]], plain: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """A decorator: the body inside compiled code; without numba `plain` of a float64, rounded to `dtype`."""

    def choose(body: Function) -> Function:
        if COMPILED:
            return inlined(body)

        @functools.wraps(body)
        def rounded(x: Any) -> Any:
            with np.errstate(all="ignore"):  # infinities and NaN are valid results here, as in a kernel
                return dtype(plain(np.float64(x)))

        return cast(Function, rounded)

    return choose


# What numba asks of an intrinsic: a function of the argument types that gives the signature and how to lower
# it, or None for types it does not take.


def _word_as_float(_context: Any, bits: Any) -> Any:
    if not isinstance(bits, types.Integer):
        return None

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (word,) = arguments
        if signature.args[0].bitwidth > 32:  # numba widens sums of int32; LLVM narrows them again from here
            word = builder.trunc(word, context.get_value_type(types.int32))
        return builder.bitcast(word, context.get_value_type(types.float32))

    return types.float32(bits), lower


def _float_as_word(_context: Any, x: Any) -> Any:
    if x != types.float32:
        return None

    def lower(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(x), lower


def _extreme(name: str, flags: tuple[str, ...] = ()) -> Callable[[Any, Any, Any], Any]:
    def typed(_context: Any, x: Any, y: Any) -> Any:
        if x != y or not isinstance(x, types.Float):
            return None

        def lower(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            kind = arguments[0].type
            signature = ir.FunctionType(kind, [kind, kind])
            function = builder.module.declare_intrinsic(name, [kind], signature)
            return builder.call(function, arguments, fastmath=flags)

        return x(x, y), lower

    return typed


def _sum_in_any_order(_context: Any, x: Any, y: Any) -> Any:
    if x != y or not isinstance(x, types.Float):
        return None

    def lower(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments, flags=("reassoc",))

    return x(x, y), lower


def _fused(_context: Any, a: Any, b: Any, c: Any) -> Any:
    if not a == b == c or not isinstance(a, types.Float):
        return None

    def lower(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if has_fma(*context.codegen().magic_tuple()):
            return builder.fma(*arguments)
        return builder.fadd(builder.fmul(*arguments[:2]), arguments[2])

    return a(a, b, c), lower


def has_fma(triple: str, _name: str, features: str) -> bool:
    """Whether a processor, as numba's cache knows it, makes one step of a product and a sum.

    Where it does not, LLVM would call a function of the library for each number.
    """
    if triple.startswith(("aarch64", "arm64")):
        return True
    return {"+fma", "+avx"} <= set(features.split(","))


def _plain_fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def _plain_bits_to_float(bits: Any) -> Any:
    return np.uint32(int(bits) & 0xFFFFFFFF).view(np.float32)


def _plain_float_to_bits(x: Any) -> Any:
    return np.float32(x).view(np.int32)


def _compiled_or(plain: Callable[..., Any], typed: Callable[..., Any]) -> Any:
    return intrinsic(typed) if COMPILED else plain


# The float32 that has these 32 bits (of a wider integer its lowest 32); the bits of a float32 as an int32.
bits_to_float: Callable[[Any], Any] = _compiled_or(_plain_bits_to_float, _word_as_float)
float_to_bits: Callable[[Any], Any] = _compiled_or(_plain_float_to_bits, _float_as_word)

# The greater and the lesser of two floats of one type, NaN if either is NaN (IEEE 754-2019). Python's `max`
# and `min` lose NaN and keep the reduction of a row from vectorising; these do neither.
maximum: Callable[[Any, Any], Any] = _compiled_or(np.maximum, _extreme("llvm.maximum"))
minimum: Callable[[Any, Any], Any] = _compiled_or(np.minimum, _extreme("llvm.minimum"))

# The same for the greatest of a row, in half the time: of 0.0 and -0.0 it is either, as it is for `np.max`.
greatest: Callable[[Any, Any], Any] = _compiled_or(np.maximum, _extreme("llvm.maximum", ("nsz",)))


def division(dtype: type[np.floating[Any]]) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Python's `%` and `//` of two floats of this type, by IEEE 754: NaN and x / 0 for a divisor of 0."""
    if not COMPILED:
        return _quiet(np.remainder), _quiet(np.floor_divide)
    zero, half, one = dtype(0), dtype(0.5), dtype(1)  # of this type, for a bare number would widen the result

    @inlined
    def remainder(x: Any, y: Any) -> Any:
        rest = np.fmod(x, y)
        if rest == zero:
            return np.copysign(rest, y)
        return rest + y if (rest < zero) != (y < zero) else rest

    @inlined
    def floor_divide(x: Any, y: Any) -> Any:
        if y == zero:
            return x / y
        rest = np.fmod(x, y)
        quotient = (x - rest) / y
        if rest != zero and (rest < zero) != (y < zero):
            quotient = quotient - one
        if quotient == zero:
            return np.copysign(quotient, x / y)
        whole = np.floor(quotient)
        return whole + one if quotient - whole > half else whole

    return remainder, floor_divide


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def quiet(x: Any, y: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(x, y)

    return quiet


remainder_f4, floor_divide_f4 = division(np.float32)
remainder_f8, floor_divide_f8 = division(np.float64)

# x + y, where x is a running sum whose order does not matter: only so is the sum of a row vectorised. Freedom of
# order for all sums of a kernel would fold x - x to 0 and hide that x was NaN.
added: Callable[[Any, Any], Any] = _compiled_or(operator.add, _sum_in_any_order)

# a b + c, rounded once where the processor can, else twice: in every copy of a loop alike. LLVM left to itself
# ("contract") does it in one copy and not in another.
fma: Callable[[Any, Any, Any], Any] = _compiled_or(_plain_fma, _fused)
