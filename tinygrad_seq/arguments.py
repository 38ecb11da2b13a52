"""Arguments as callers give them, checked in one place: whole numbers, sizes, axes, real numbers, flags.

Integers of Python and NumPy, and integer tensors of one element, count as whole numbers; True and False do not.
Axis 0 of a number, which has no axes, is refused everywhere, as in NumPy.
"""

from __future__ import annotations

import functools
import math
import operator
import os
from typing import Any

import numpy as np

from tinygrad_seq.errors import (
    ArgumentError,
    DTypeError,
    RangeError,
    Refusal,
    ShapeError,
    TooLargeError,
    describe_shape,
    short_dtype,
)

_LARGEST = int(np.finfo(np.float64).max)
MOST_AXES = 64  # of NumPy's arrays


def whole(call: str, name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """`value` as an int between the bounds; DTypeError for what is no whole number, ArgumentError outside."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except (TypeError, ValueError):
        rule = "expected a whole number."
        raise DTypeError(f"{call}: {name} is no whole number", {name: value}, rule) from None
    if (low is not None and number < low) or (high is not None and number > high):
        span = f"of at least {low}" if high is None else f"of at most {high}" if low is None else ""
        rule = f"expected a whole number {span or f'from {low} to {high}'}, got {number}."
        raise ArgumentError(f"{call}: {name} out of range", None, rule)
    return number


def real(call: str, name: str, value: Any, *, positive: bool = False, low: float | None = None) -> float:
    """`value` as a float that is no NaN; DTypeError for what is no real number, ArgumentError for NaN and outside."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        rule = "expected a number that a float holds."
        raise DTypeError(f"{call}: {name} is no real number", {name: value}, rule) from None
    if math.isnan(number) or (positive and not number > 0) or (low is not None and number < low):
        span = " above 0" if positive else "" if low is None else f" of at least {low:g}"
        rule = f"expected a number{span}, got {number}."
        raise ArgumentError(f"{call}: {name} out of range", None, rule)
    return number


def is_whole(value: Any) -> bool:
    """Whether this is an integer of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether this is an integer or a float of Python or NumPy; True and False are none."""
    return is_whole(value) or isinstance(value, (float, np.floating))


def count(
    call: str,
    name: str,
    value: Any,
    least: int = 1,
    what: str = "out of range",
    kind: type[Refusal] = ArgumentError,
) -> int:
    """A setting as an int of at least `least`; for anything else one error, which says that it is `what`."""
    if not is_whole(value) or value < least:
        rule = f"expected a whole number of at least {least}, got {value!r}."
        raise kind(f"{call}: {name} {what}", None, rule)
    return int(value)


def size(call: str, name: str, value: Any) -> int:
    """A size as an int of at least 1."""
    return count(call, name, value, 1, "is no size")


def probability(call: str, name: str, value: Any) -> float:
    """A probability as a number from 0 to 1."""
    if not is_number(value) or not 0.0 <= value <= 1.0:
        rule = f"expected a probability from 0 to 1, got {value!r}."
        raise ArgumentError(f"{call}: {name} out of range", None, rule)
    return value if isinstance(value, int) else float(value)


def flag(call: str, name: str, value: Any) -> bool:
    """`value` as a bool; DTypeError for anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise DTypeError(f"{call}: {name} is no flag", {name: value}, "expected True or False.")
    return bool(value)


def function_of(call: str, name: str, value: Any) -> Any:
    """`value` where it can be called; DTypeError for anything else."""
    if not callable(value):
        raise DTypeError(f"{call}: {name} is no function", {name: value}, "expected a function or a module.")
    return value


def choice(problem: str, name: str, value: Any, words: tuple[str, ...]) -> str:
    """`value` where it is one of the words; ArgumentError, with this as its first line, for anything else."""
    if isinstance(value, str) and value in words:
        return value
    listed = ", ".join(repr(w) for w in words[:-1]) + f" or {words[-1]!r}"
    raise ArgumentError(problem, {name: value}, f"expected {listed}.")


def kept(keepdims: Any, keepdim: Any) -> bool:
    """Whether reduced axes stay at size 1, under NumPy's name or PyTorch's."""
    if keepdims is False and keepdim is False:
        return False
    return flag("reduction", "keepdims", keepdims) or flag("reduction", "keepdim", keepdim)


def sequence(call: str, name: str, value: Any) -> list[Any]:
    """The members of a list, tuple or the like; DTypeError for what has none."""
    try:
        if isinstance(value, (str, bytes, dict, set)):
            raise TypeError
        return list(value)
    except TypeError:
        rule = "expected a list or a tuple."
        raise DTypeError(f"{call}: {name} is no list", {name: value}, rule) from None


# ---- numbers beside an array -----------------------------------------------------------------------------------
def number_as(value: float | int | bool, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The number as an array of a dtype; ArgumentError for an integer beyond it. A large float is infinite."""
    try:
        with np.errstate(over="ignore"):
            return np.asarray(value, dtype=dtype)
    except OverflowError:
        rule = "expected a number that a float holds."
        if dtype.kind in "iu":
            rule = f"expected a whole number from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}."
        hint = "Widen the tensor first, as in x.to('int64') or x.double()."
        what = f"a number does not fit {short_dtype(dtype)}"
        raise ArgumentError(what, {"number": value}, rule, hint) from None


def exactly_in(value: Any, dtype: np.dtype[Any]) -> Any:
    """A number that integers or booleans hold as it is, as 2.0 or 1, as one of them; anything else as it came."""
    if dtype.kind == "f" or type(value) is bool or not isinstance(value, (int, float, np.number)):
        return value
    if dtype.kind == "b":
        return bool(value) if value in (0, 1) else value
    return int(value) if isinstance(value, (float, np.floating)) and float(value).is_integer() else value


def comparable(value: Any, dtype: np.dtype[Any]) -> Any:
    """A number to compare with: infinite where it lies beyond all numbers of an integer dtype or of floats."""
    if isinstance(value, np.integer):
        value = value.item()
    if type(value) is not int:
        return value
    if dtype.kind == "f":
        low, high = -_LARGEST, _LARGEST
    else:
        limits = np.iinfo(dtype if dtype.kind in "iu" else np.int64)
        low, high = limits.min, limits.max
    return math.inf if value > high else -math.inf if value < low else value


# ---- sizes -------------------------------------------------------------------------------------------------
def sizes_of(sizes: tuple[Any, ...], call: str = "shape", low: int = -1) -> tuple[int, ...]:
    """`(2, 3)` from `2, 3` or from one tuple, list or array of them; each at least `low`.

    Raises ShapeError for more than 64 axes or more elements than can be counted.
    """
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    elif len(sizes) == 1 and isinstance(sizes[0], np.ndarray) and sizes[0].ndim == 1:
        sizes = tuple(sizes[0].tolist())
    count = 1
    for n in sizes:
        if type(n) is not int or n < low:
            return sizes_of(tuple([whole(call, "size", n, low) for n in sizes]), call, low)
        if n > 0:
            count *= n
    if len(sizes) > MOST_AXES or count >= 2**59:
        given = {"shape": sizes} if len(sizes) <= MOST_AXES else {}
        rule = f"expected at most {MOST_AXES} axes and fewer than 2^59 elements."
        raise ShapeError(f"{call}: a shape beyond all memory", given, rule)
    return sizes


@functools.cache
def installed() -> int:
    """Bytes of memory that this machine has; where the system does not tell, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**44


def room(call: str, count: int, itemsize: int = 4) -> None:
    """TooLargeError for more numbers than this machine has memory for, before any is asked for."""
    if count * itemsize > installed():
        told = f"{count:,}" if count < 10**30 else "more than 10^30"
        rule = f"{told} elements of {itemsize} bytes each are more than this machine holds."
        raise TooLargeError(f"{call}: there is no memory for so many elements", None, rule)


def too_large(call: str, sizes: tuple[int, ...]) -> TooLargeError:
    """The error for an array that there is no memory for."""
    count = math.prod(sizes)
    rule = f"{describe_shape(sizes)} has {count:,} elements."
    return TooLargeError(f"{call}: there is no memory for so many elements", None, rule)


# ---- axes --------------------------------------------------------------------------------------------------
def one_of_two(call: str, axis: Any, dim: Any) -> Any:
    """What is meant by `axis=` (NumPy's name) or `dim=` (PyTorch's); both at once are refused."""
    if dim is None:
        return axis
    if axis is not None:
        given = {"axis": axis, "dim": dim}
        raise ArgumentError(f"{call}: axis and dim are one setting", given, "expected one of them.")
    return dim


def first_axis(call: str, axis: Any, dim: Any) -> Any:
    """The same where axis 0 is meant if none is given."""
    at = one_of_two(call, axis, dim)
    return 0 if at is None else at


def axis_error(call: str, axis: object, ndim: int, operands: dict[str, Any]) -> RangeError:
    """The error for an axis that is not there."""
    rule = f"expected an axis from {-ndim} to {ndim - 1}, got {axis}."
    if not ndim:
        rule = f"x has no axes, got {axis}."
    return RangeError(f"{call}: axis out of range", operands, rule)


def axis_of(call: str, axis: Any, ndim: int, x: object) -> int:
    """An axis counted from 0; negative ones count from the end."""
    if isinstance(axis, (bool, np.bool_)):  # in PyTorch another setting, such as `std(False)`
        raise axis_error(call, axis, ndim, {"x": x})
    try:
        i = operator.index(axis)
    except (TypeError, ValueError):
        raise axis_error(call, axis, ndim, {"x": x}) from None
    if not -ndim <= i < ndim:
        raise axis_error(call, axis, ndim, {"x": x})
    return i % ndim


def distinct_axes(call: str, axes: Any, ndim: int, x: object) -> tuple[int, ...]:
    """Several axes counted from 0, in their order; ArgumentError where one is given twice, as in NumPy."""
    found = tuple([axis_of(call, a, ndim, x) for a in axes])
    if len(set(found)) < len(found):
        rule = f"expected each axis once, got {describe_shape(tuple(axes))}."
        raise ArgumentError(f"{call}: an axis is given twice", {"x": x}, rule)
    return found
