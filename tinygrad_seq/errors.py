"""The errors this package raises. Each builds its own text.

A message says what is wrong in one clause, lists each operand with dtype, shape and origin, states the rule with
the numbers, and ends with the hint, the usual solution. No `Tensor` is imported here: `dtype`, `shape` and, if
there is one, `origin` are read from any operand.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any

from tinygrad_seq.terminal import visible

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DTypeError",
    "DataError",
    "DivergedError",
    "GradientError",
    "GraphError",
    "NonFiniteError",
    "RangeError",
    "RenderError",
    "ShapeError",
    "TraceError",
]


class Refusal(Exception):
    """The base of all errors: a text made of what is wrong, the operands, what was expected, and a hint.

    >>> raise ShapeError("split: sizes do not add up", {"sizes": (2, 3)}, "expected a sum of 6.")
    Traceback (most recent call last):
    tinygrad_seq.errors.ShapeError: split: sizes do not add up.
      sizes: (2, 3)
      expected a sum of 6.
    """

    def __init__(
        self,
        what: str,
        operands: Mapping[str, object] | None = None,
        expected: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(explain(what, operands, expected, hint))

    @property
    def details(self) -> str:
        """Its text below the first line."""
        return str(self).partition("\n")[2].strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_text, (type(self), str(self)), self.__dict__


def _with_text(kind: type[Refusal], text: str) -> Refusal:
    """An error that another process raised, with the text it had there."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    return error


class ShapeError(Refusal, ValueError):
    """Sizes that do not fit together."""


class ArgumentError(Refusal, ValueError):
    """A setting outside what is allowed."""


class SignatureError(ArgumentError, TypeError):
    """Unknown or missing arguments of a function."""


class TooLargeError(ShapeError, MemoryError):
    """An array that there is no memory for."""


class BeyondError(ArgumentError, OverflowError):
    """A number that no float or integer of the machine holds."""


class DTypeError(Refusal, TypeError):
    """A kind of number, or of object, where another is needed."""


class RangeError(Refusal, IndexError):
    """An index or id outside its axis."""


class GraphError(Refusal, RuntimeError):
    """A gradient that cannot be computed on this tape."""


class TraceError(Refusal, RuntimeError):
    """A step that cannot be traced."""


class GradientError(Refusal, AssertionError):
    """A gradient that disagrees with finite differences."""


class NonFiniteError(GraphError):
    """A NaN or an infinity, found where it first arose."""


class DivergedError(NonFiniteError):
    """A training loss that is still finite, but so large that the model no longer learns."""


class DataError(Refusal, ValueError):
    """Text, ids or files that cannot be read as what they should be."""


class RenderError(Refusal, RuntimeError):
    """A picture that no installed renderer can draw."""


class CheckpointError(Refusal, ValueError):
    """Saved weights or a run folder that are damaged or belong to something else."""


class BusyError(CheckpointError):
    """A run folder in which another process trains."""


_OURS = __name__.partition(".")[0] + "."
_SHORT = {"float": "f", "int": "i", "uint": "u", "complex": "c"}


def short_dtype(dtype: object) -> str:
    """`float32` as `f32`, `int64` as `i64`, `bool` as `bool`."""
    name = str(dtype)
    kind = name.rstrip("0123456789")
    return _SHORT[kind] + name[len(kind) :] if kind in _SHORT else name


def first_line(error: BaseException) -> str:
    """What is wrong, in one clause: the first line of an error's text without its end; without a text, its kind.

    >>> first_line(ShapeError("split: sizes do not add up", None, "expected a sum of 6.")), first_line(KeyError())
    ('split: sizes do not add up', 'KeyError')
    """
    return (str(error).splitlines() or [""])[0].rstrip(".:") or type(error).__name__


def describe(value: object) -> str:
    """One operand: dtype, shape and origin of an array or tensor, the repr of anything else."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, tuple) or dtype is None:
        text = repr(value)
        return text if len(text) <= 80 else text[:77] + "..."
    text = f"{short_dtype(dtype)}{describe_shape(shape)}"
    origin = getattr(value, "origin", "")
    return f"{text}   {origin}" if origin else text


def describe_shape(shape: tuple[int, ...]) -> str:
    """`(32, 65)`, `(4,)`, `()`."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def few(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are.

    >>> few(["a", "b"]), few(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b and 2 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def explain(
    what: str,
    operands: Mapping[str, object] | None = None,
    expected: str = "",
    hint: str = "",
) -> str:
    """The text of an error: what is wrong, the operands, what was expected, and a hint.

    A `what` of several lines is a text that was explained already.

    >>> print(explain("split: sizes do not add up", {"sizes": (2, 3)}, "expected a sum of 6."))
    split: sizes do not add up.
      sizes: (2, 3)
      expected a sum of 6.
    """
    lines = [what if what.endswith((".", "?")) or "\n" in what else what + "."]
    lines += [f"  {name}: {describe(value)}" for name, value in (operands or {}).items()]
    lines += [f"  {line}" for line in (expected, hint) if line]
    return visible("\n".join(lines))  # names and contents of files stand in it


def warn(text: str) -> None:
    """A UserWarning at the line of the user's that called the package, however many frames of ours lie between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def is_slip(error: BaseException) -> bool:
    """True for a name that is missing in a file of this package: no matter of the user's function."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return isinstance(error, NameError) and frame.f_globals.get("__name__", "").startswith(_OURS)
