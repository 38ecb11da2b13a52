"""Methods about what a tensor is, not what it holds: sizes, dtype, device, text, and new ones like it."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from tinygrad_seq.arguments import axis_of, real, sizes_of, whole
from tinygrad_seq.engine import dtypes, ops
from tinygrad_seq.engine.apply import WANTS, Recorded, as_tensor, wrap
from tinygrad_seq.engine.unknown_names import missing
from tinygrad_seq.errors import DTypeError


class Count(int):
    """The number of elements, NumPy's `x.size`, which may be called for the shape, PyTorch's `x.size()`.

    >>> from tinygrad_seq import zeros
    >>> x = zeros(2, 3)
    >>> x.size, x.size(), x.size(-1)
    (6, (2, 3), 3)
    """

    tensor: Any

    def __call__(self, dim: int | None = None) -> Any:
        """The sizes of all axes, or of axis `dim`."""
        shape = self.tensor.array.shape
        return shape if dim is None else shape[axis_of("size", dim, len(shape), self.tensor)]


class ConvertingMethods(Recorded):
    """`size dim numel to type float long cpu device new_zeros` and the like; how it is written in a text."""

    __slots__ = ()

    @property
    def size(self) -> Count:
        """The number of elements; called, the shape (`x.size()`) or the size of an axis (`x.size(0)`)."""
        count = Count(self.array.size)
        count.tensor = self
        return count

    def dim(self) -> builtins.int:
        """The number of axes."""
        return self.array.ndim

    def numel(self) -> builtins.int:
        """The number of elements."""
        return self.array.size

    def element_size(self) -> builtins.int:
        """Bytes of an element."""
        return self.array.itemsize

    @property
    def nbytes(self) -> builtins.int:
        """Bytes of all elements."""
        return self.array.nbytes

    def is_floating_point(self) -> builtins.bool:
        """True for a floating dtype."""
        return self.array.dtype.kind == "f"

    @property
    def device(self) -> dtypes.device:
        """The CPU."""
        return dtypes.CPU

    # ---- dtypes and devices ----------------------------------------------------------------------------
    def to(
        self, *place: Any, dtype: Any = None, device: Any = None, copy: builtins.bool = False, **hints: Any
    ) -> Self:
        """The values in another dtype; the gradient comes back in this one, and none through integers.

        Takes a dtype, the device "cpu", both, or a tensor whose dtype is taken. Any other device is refused.
        """
        for given in place:
            if isinstance(given, Recorded):
                dtype = given.dtype
            elif dtypes.is_device(given):
                device = given
            elif given is not None and not isinstance(given, builtins.bool):
                dtype = given
        dtypes.check_device("to", device)
        if not set(hints) <= {"non_blocking", "memory_format"}:
            raise DTypeError("to: no such setting", hints, "expected dtype, device or copy.")
        x: Any = self
        kind = self.array.dtype if dtype is None else dtypes.dtype_of("to", dtype, self)
        if kind == self.array.dtype:
            return x * 1 if copy else x  # type: ignore[no-any-return]
        x = ops.cut(self) if self.mode & WANTS and kind.kind != "f" else self
        return ops.cast(x, dtype=kind)  # type: ignore[no-any-return]

    def astype(self, dtype: Any) -> Self:
        """NumPy's name for `to`."""
        return self.to(dtype)

    def type(self, dtype: Any = None) -> Any:
        """The values in another dtype, as `to`; without one, the dtype's name."""
        return str(self.array.dtype) if dtype is None else self.to(dtype)

    def type_as(self, other: Any) -> Self:
        """The values in the dtype of `other`."""
        return self.to(as_tensor(other).dtype)

    def float(self) -> Self:
        """The values as float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """The values as float64."""
        return self.to(dtypes.float64)

    def long(self) -> Self:
        """The values as int64, towards zero; no gradient."""
        return self.to(dtypes.int64)

    def int(self) -> Self:
        """The values as int32, towards zero; no gradient."""
        return self.to(dtypes.int32)

    def bool(self) -> Self:
        """Where the values are not 0."""
        return self.to(dtypes.bool)

    def cpu(self) -> Self:
        """The tensor itself: it is on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> Self:
        """Refused: there is no other device than the CPU."""
        return self.to(device="cuda")

    # ---- others like it --------------------------------------------------------------------------------
    def new_full(
        self,
        size: Any,
        fill_value: Any,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: builtins.bool = False,
    ) -> Self:
        """A tensor of one value, of this one's dtype."""
        kind = self._kind(dtype)
        value = (
            real("new_full", "fill_value", fill_value)
            if kind.kind == "f"
            else whole("new_full", "fill_value", fill_value)
        )
        return self._new(np.full(sizes_of((size,)), value, kind), device, requires_grad)

    def new_zeros(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Self:
        """Zeros of this dtype."""
        return self._new(np.zeros(sizes_of(size, "new", 0), self._kind(dtype)), device, requires_grad)

    def new_empty(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Self:
        """A tensor of this dtype to be written to; zeros until then."""
        return self.new_zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)

    def new_ones(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Self:
        """Ones of this dtype."""
        return self._new(np.ones(sizes_of(size, "new", 0), self._kind(dtype)), device, requires_grad)

    def new_tensor(
        self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Self:
        """A tensor of `data`, of this dtype."""
        dtypes.check_device("new_tensor", device)
        return self.tensor_type(data, self._kind(dtype), requires_grad)  # type: ignore[no-any-return]

    def _kind(self, dtype: Any) -> np.dtype[Any]:
        return self.array.dtype if dtype is None else dtypes.dtype_of("new", dtype)

    def _new(self, array: Any, device: Any, requires_grad: builtins.bool) -> Self:
        dtypes.check_device("new", device)
        return wrap(array).requires_grad_(requires_grad)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        name = getattr(func, "__name__", "function")
        rule = "a tensor of tinygrad_seq is not one of PyTorch's."
        hint = "Use torch.from_numpy(x.detach().numpy().copy()), or the function of this library."
        raise DTypeError(f"torch.{name}: one argument is a tensor of ours", None, rule, hint)

    if not TYPE_CHECKING:  # a type checker is to know which attributes there are

        def __getattr__(self, name: str) -> Any:
            raise missing("a Tensor", name, lambda: dir(type(self)))

    # ---- text ------------------------------------------------------------------------------------------
    def __format__(self, spec: str) -> str:
        """`f"{loss:.3f}"`: a tensor of one element is written as its number."""
        if self.array.size == 1 and (spec or not self.array.ndim):
            self._looked_at("format")
            value = self.array.reshape(())[()]
            return format(value.item(), spec) if spec else str(value)
        if spec:
            rule, hint = f"expected 1 element, got {self.array.size}.", "Write each, or x.tolist()."
            raise DTypeError(f"format: {spec!r} is for one number", {"x": self}, rule, hint)
        return str(self)

    def __round__(self, digits: builtins.int | None = None) -> Any:
        """`round(loss, 3)`: a Python number where there is one element, a tensor where there are more."""
        if self.array.size == 1:
            self._looked_at("round")
            return round(self.array.item(), digits)
        x: Any = self
        return x.round(digits or 0)
