"""Methods that reduce axes: sum, mean, max, min, var. `axis=`/`keepdims=`, or PyTorch's `dim=`/`keepdim=`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq import ops
from tinygrad_seq.arithmetic import reverse
from tinygrad_seq.errors import ShapeError, explain
from tinygrad_seq.recording import FLOAT32, Recorded, unary
from tinygrad_seq.shapes import axis_of

if TYPE_CHECKING:
    from tinygrad_seq.tensor import Tensor


def axes_of(call: str, axis: Any, x: Recorded) -> tuple[int, ...]:
    """The axes meant by None (all), a number or a tuple, sorted and counted from 0."""
    ndim = x.array.ndim
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        return tuple(sorted({axis_of(call, a, ndim, x) for a in axis}))
    return (axis_of(call, axis, ndim, x),)


class ReductionMethods(Recorded):
    """`sum mean max min var std argmax argmin all any`."""

    __slots__ = ()

    def sum(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """The sum over `axis` (all axes where None)."""
        axes = axes_of("sum", dim if axis is None else axis, self)
        return unary(ops.sum_, self, {"axis": axes, "keepdims": keepdims or keepdim})

    def max(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """The largest value over `axis`; equal ones share the gradient. Values only, as `torch.amax`."""
        axes = axes_of("max", dim if axis is None else axis, self)
        return unary(ops.max_, self, {"axis": axes, "keepdims": keepdims or keepdim})

    def min(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """The smallest value over `axis`; equal ones share the gradient."""
        return reverse(reverse(self).max(axis, keepdims, dim=dim, keepdim=keepdim))  # type: ignore[no-any-return]

    def mean(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """The mean over `axis`; integers are taken as float32."""
        axes = axes_of("mean", dim if axis is None else axis, self)
        x: Any = self if self.array.dtype.kind == "f" else ops.cast(self, dtype=FLOAT32)
        count = math.prod(self.array.shape[a] for a in axes)
        total = unary(ops.sum_, x, {"axis": axes, "keepdims": keepdims or keepdim})
        return total * (1.0 / count if count else math.nan)

    def var(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Tensor:
        """The variance over `axis`: the sum of squared deviations by n - correction (1 as in PyTorch)."""
        axes = axes_of("var", dim if axis is None else axis, self)
        deviation = self - self.mean(axes, keepdims=True)
        count = math.prod(self.array.shape[a] for a in axes) - correction
        total = unary(ops.sum_, deviation * deviation, {"axis": axes, "keepdims": keepdims or keepdim})
        return total * (1.0 / count if count > 0 else math.nan)

    def std(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Tensor:
        """The square root of `var`; its gradient over equal numbers is 0."""
        var = self.var(axis, keepdims, correction=correction, dim=dim, keepdim=keepdim)
        # The root's slope at 0 is infinite, and infinite times a deviation of 0 would be NaN.
        root = ops.where(var == 0.0, 1.0, var).sqrt()
        return ops.where(var == 0.0, 0.0, root)  # type: ignore[no-any-return]

    def argmax(self, axis: Any = None, *, dim: Any = None) -> Tensor:
        """The place of the first largest value (over all elements where `axis` is None); no gradient."""
        return self._place(np.argmax, "argmax", dim if axis is None else axis)

    def argmin(self, axis: Any = None, *, dim: Any = None) -> Tensor:
        """The place of the first smallest value; no gradient."""
        return self._place(np.argmin, "argmin", dim if axis is None else axis)

    def _place(self, find: Any, call: str, axis: Any) -> Tensor:
        from_zero = None if axis is None else axis_of(call, axis, self.array.ndim, self)
        try:
            places = find(self.array, axis=from_zero)
        except ValueError:
            rule = "expected at least one element to search."
            raise ShapeError(explain(f"{call}: nothing to search", {"x": self}, rule)) from None
        return Recorded.tensor_type(np.asarray(places))  # type: ignore[no-any-return]

    def all(self, axis: Any = None) -> Tensor:
        """True where no element is zero or False."""
        x: Any = self
        return (x == 0).sum(axis) == 0  # type: ignore[no-any-return]

    def any(self, axis: Any = None) -> Tensor:
        """True where some element is neither zero nor False."""
        x: Any = self
        return (x != 0).sum(axis) != 0  # type: ignore[no-any-return]
