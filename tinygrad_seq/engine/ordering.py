"""Methods for order, running sums and norms: sort, topk, cumsum, norm; and those that call `functional`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.arguments import axis_of, flag, kept, one_of_two, whole
from tinygrad_seq.engine import above, ops
from tinygrad_seq.engine.apply import FLOAT32, T, wrap
from tinygrad_seq.engine.inplace import unshared
from tinygrad_seq.engine.shapes import concat
from tinygrad_seq.errors import ArgumentError, RangeError


class Ordered(NamedTuple):
    """Sorted values, and their indices."""

    values: Any
    indices: Any


def _largest(x: Any, at: Any, keeps: bool) -> Any:
    """The largest |x| over these axes, without a gradient; 1 where it cannot be a divisor."""
    if not x.array.size:
        return 1.0
    top = ops.cut(abs(x).amax(at, keeps))
    return ops.where((top == 0.0) | (top == math.inf), 1.0, top)


def argsort(
    self: T, axis: Any = None, descending: bool = False, *, dim: Any = None, stable: bool = True
) -> T:
    """The indices that sort the values along `axis` (the last), stable for equal ones; no gradient."""
    self._looked_at("argsort")
    descending = flag("argsort", "descending", descending)
    at = one_of_two("argsort", axis, dim)
    if not self.array.ndim:
        return wrap(np.zeros((), np.int64))
    i = axis_of("argsort", -1 if at is None else at, self.array.ndim, self)
    array = self.array
    if descending:  # NaN counts as the largest, in either order
        array = np.flip(array, i)
        places = np.flip(np.argsort(array, axis=i, kind="stable"), i)
        return wrap(array.shape[i] - 1 - places)
    return wrap(np.argsort(array, axis=i, kind="stable"))


def sort(self: T, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Ordered:
    """The pair (values, indices) in order along `dim`, as in PyTorch; the tensor itself stays as it is."""
    return _at(self, argsort(self, dim, descending), dim)


def topk(self: T, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """The pair (values, indices) of the k largest along `dim`, the largest first."""
    i = axis_of("topk", dim, max(1, self.array.ndim), self)
    size = self.array.shape[i] if self.array.ndim else 1
    k = whole("topk", "k", k)
    if not 0 <= k <= size:
        raise RangeError("topk: k out of range", {"x": self}, f"expected 0 to {size}, got {k}.")
    places: Any = argsort(self, dim, largest)
    return _at(self, places[(slice(None),) * i + (slice(k),)] if self.array.ndim else places, dim)


def _at(self: T, places: Any, dim: int) -> Ordered:
    x: Any = self
    return Ordered(x.gather(dim, places) if self.array.ndim else x, places)


def cumsum(self: T, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> T:
    """The sums of the values up to each place along `axis`, of the values in `dtype`."""
    x: Any = self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]
    at = one_of_two("cumsum", axis, dim)
    if at is None:
        raise ArgumentError("cumsum: along which axis?", {"x": self}, "expected axis= or dim=.")
    i = axis_of("cumsum", at, x.ndim, self)
    before, size = (slice(None),) * i, x.shape[i]
    kind = x.dtype
    # Float sums are of few numbers at a time and in float64: an overflow that cancels must leave no NaN.
    x = x.to(np.float64) if kind.kind == "f" else x.long()
    for shift in (2**n for n in range(max(0, size - 1).bit_length())):
        x = concat(
            [x[(*before, slice(shift))], x[(*before, slice(shift, None))] + x[(*before, slice(-shift))]],
            i,
        )
    x = x.to(kind) if kind.kind == "f" else x
    return unshared(x) if x.array is self.array else x  # type: ignore[no-any-return]


def norm(
    self: T, p: Any = 2, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> T:
    """(sum of |x|^p)^(1/p) over `axis` (all axes); the largest |x| for p = inf. Its gradient at 0 is 0."""
    at, keeps = one_of_two("norm", axis, dim), kept(keepdims, keepdim)
    p = 2 if p is None or (isinstance(p, str) and p == "fro") else p
    if not isinstance(p, (int, float)) or isinstance(p, bool) or not p > 0:
        raise ArgumentError("norm: no such norm", {"p": p}, "expected a number above 0.")
    # An even power needs no |x|, whose kink at 0 would make the second derivative wrong there.
    whole_powers = p < math.inf and p % 2 == 0
    x: Any = self if self.array.dtype.kind == "f" else self.to(FLOAT32)  # type: ignore[attr-defined]
    x = x if whole_powers else abs(x)
    if p == math.inf:
        return x.amax(at, keeps)  # type: ignore[no-any-return]
    if p == 1:
        return x.sum(at, keeps)  # type: ignore[no-any-return]
    if p < 1:  # 1 / p times the norm, which its gradient has in it, may overflow where the norm does not
        x = x.to(np.float64)
    # Powers of 1e30 and 1e-30 overflow or underflow; those of quotients by the largest do not.
    x = x / _largest(x, at, True)
    if p == 2:
        total = (x * x).sum(at, keeps)
    elif p < 2:  # the first or second derivative is infinite at 0
        total = ops.where(x == 0.0, 0.0, ops.where(x == 0.0, 1.0, x) ** p).sum(at, keeps)
    else:
        total = (x**p).sum(at, keeps)
    # The root's derivative at 0 is infinite, and infinity times 0 would be NaN.
    none = total == 0.0
    safe = ops.where(none, 1.0, total)
    root = safe.sqrt() if p == 2 else safe ** (1.0 / p)
    norm = ops.where(none, 0.0, root) * _largest(self, at, keeps)
    return norm.to(self.array.dtype if self.array.dtype.kind == "f" else FLOAT32) if p < 1 else norm  # type: ignore[no-any-return]


# ---- functions as methods --------------------------------------------------------------------------
def sigmoid(self: T) -> T:
    """1 / (1 + exp(-x))."""
    return above.functional().sigmoid(self)  # type: ignore[no-any-return]


def relu(self: T) -> T:
    """max(x, 0)."""
    return above.functional().relu(self)  # type: ignore[no-any-return]


def softmax(self: T, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> T:
    """exp(x) / sum(exp(x)) along `dim`, the last where none is given."""
    return _along(self, "softmax", axis, dim, dtype)


def log_softmax(self: T, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> T:
    """x - log(sum(exp(x))) along `dim`, the last where none is given."""
    return _along(self, "log_softmax", axis, dim, dtype)


def _along(self: T, name: str, axis: Any, dim: Any, dtype: Any) -> T:
    at = one_of_two(name, axis, dim)
    x: Any = self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]
    return getattr(above.functional(), name)(x, -1 if at is None else at)  # type: ignore[no-any-return]


def logsumexp(
    self: T, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> T:
    """log(sum(exp(x))) along `dim`, the last where none is given."""
    at = one_of_two("logsumexp", axis, dim)
    return above.functional().logsumexp(self, -1 if at is None else at, kept(keepdims, keepdim))  # type: ignore[no-any-return]
