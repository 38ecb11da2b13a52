"""Python's own functions on a tensor: print, len, iter, float, copy, pickle."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS, as_tensor, wrap
from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, describe
from tinygrad_seq.runtime.arrays import Array


def text(self: Any) -> str:
    """The values, the dtype and the shape."""
    values = np.array2string(self.array, separator=", ", prefix="Tensor(", threshold=60)
    wants = ", requires_grad=True" if self.mode & WANTS and self.is_leaf else ""
    return f"Tensor({values}, {' '.join(describe(self).split())}{wants})"


def length(self: Any) -> int:
    """The size of the first axis."""
    if not self.array.ndim:
        raise TypeError("len: a tensor without axes has no length.")
    return len(self.array)


def entries(self: Any) -> Any:
    """The entries of the first axis, one by one."""
    return (self[i] for i in range(len(self)))


def contains(self: Any, value: Any) -> bool:
    """True where an element is equal to this."""
    return bool((self == as_tensor(value, self)).any())


def truth(self: Any) -> bool:
    """The truth value of one element; an error for several."""
    if self.array.size != 1:
        rule = "expected 1 element; use .all() or .any()."
        raise ShapeError("bool: the truth of several elements is not one", {"x": self}, rule)
    self._looked_at("bool")
    return bool(self.array)


def to_float(self: Any) -> float:
    """The one element as a float."""
    return float(self.item())


def to_int(self: Any) -> int:
    """The one element as an int."""
    return int(self.item())


def to_index(self: Any) -> int:
    """The one integer as an index."""
    if self.array.dtype.kind not in "iu":
        raise DTypeError("index: not an integer", {"x": self}, "expected an integer tensor.")
    return int(self.item())


def copy(self: Any) -> Any:
    """A leaf of its own, as `copy.copy` gives it."""
    return deepcopy(self, {})


def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    """A leaf with an array and a gradient of its own."""
    _refuse_copy(self, "deepcopy")
    twin = _rebuilt(type(self), self.array.copy(), bool(self.mode & WANTS), self.name)
    twin._grad = None if self._grad is None else wrap(self._grad.array.copy())
    return twin


def reduce(self: Any) -> Any:
    """The pickled content of a leaf: class, array, requires_grad, name."""
    _refuse_copy(self, "pickle")
    return (_rebuilt, (type(self), self.array, self.requires_grad, self.name))


def _refuse_copy(self: Any, call: str) -> None:
    if not self.is_leaf:
        what = f"{call}: x was made by a recorded op"
        rule = "only leaves can be copied with their gradient setting."
        raise GraphError(what, {"x": self}, rule, "Use x.detach().")


def _rebuilt(kind: type[Any], array: Array, wants: bool, name: str) -> Any:
    """A leaf of that class, made without `__init__`, because a subclass may have changed its arguments."""
    made: Any = object.__new__(kind)
    made.array, made.node, made.mode, made._grad = array, None, WANTS if wants else 0, None
    made.label, made.viewed = name, ()
    return made
