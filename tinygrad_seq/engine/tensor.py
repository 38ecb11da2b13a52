"""`Tensor`: an array that remembers how it was made; how it leaves the tape."""

from __future__ import annotations

import builtins
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from tinygrad_seq.arguments import flag

# isort: off
from tinygrad_seq.engine import apply, contraction, converting, dtypes, elementwise, indexing, inplace
from tinygrad_seq.engine import inplace_methods, leaf_gradients, numpy_functions, numpy_protocols, operators
from tinygrad_seq.engine import ops, ordering, origins, python_protocols, rearranging, reductions, shapes

# isort: on
from tinygrad_seq.engine.apply import WANTS, Recorded, record, unary
from tinygrad_seq.engine.array_data import array_of
from tinygrad_seq.engine.foreign_keywords import answer_methods
from tinygrad_seq.engine.inplace import take_array
from tinygrad_seq.engine.node import STATE, Node
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.unknown_names import missing, tell_of_absent
from tinygrad_seq.engine.watched_data import is_view_of, watched
from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, describe_shape
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.malloc import keep_freed_pages

__all__ = ["Tensor", "cat", "concat", "einsum", "maximum", "minimum", "stack", "where"]

keep_freed_pages()  # before the first tape


class Tensor(Recorded):
    """An n-dimensional array on the tape.

    `Tensor(data)` copies. Lists of Python floats become float32, integers int64; arrays keep their dtype.
    Ops on tensors that require a gradient are recorded; `backward()` reads the record.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.], f32(2,))
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Op.recorders[cls] = record

    def __init__(self, data: Any, dtype: Any = None, requires_grad: bool = False, name: str = ""):
        self.array = array_of(data, dtype)
        self.node = None
        self.mode = 0
        self._grad = None
        self.viewed = ()
        self.name = name
        if flag("tensor", "requires_grad", requires_grad):
            self.requires_grad = True

    @property
    def T(self) -> Tensor:
        """The axes in reverse order; the transpose of a matrix."""
        return unary(ops.permute, self, {"axes": tuple(range(self.array.ndim))[::-1]})

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return self.transpose(-2, -1)

    @property
    def size(self) -> converting.Count:
        """The number of elements; called, the shape (`x.size()`) or the size of an axis (`x.size(0)`)."""
        return converting.count(self)

    @property
    def nbytes(self) -> builtins.int:
        """Bytes of all elements."""
        return self.array.nbytes

    @property
    def device(self) -> dtypes.device:
        """The CPU."""
        return dtypes.CPU

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise converting.foreign_function(func)

    if not TYPE_CHECKING and sys.version_info >= (3, 12):  # before, it would slow each attribute down

        def __getattr__(self, name: str) -> Any:
            raise missing("a Tensor", name, lambda: dir(type(self)))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def origin(self) -> str:
        """Its origin, for error texts."""
        if isinstance(self.node, Node):
            return f"from {self.node.op.name} {self.node.place}".rstrip()
        if self.name:
            return f"parameter {self.name!r}" if self.mode & WANTS else repr(self.name)
        return ""

    @property
    def is_leaf(self) -> bool:
        """True where no recorded op made it."""
        return not isinstance(self.node, Node)

    @property
    def requires_grad(self) -> bool:
        """Does a gradient flow here? May be set on leaves of a floating dtype."""
        return bool(self.mode & WANTS)

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        on = flag("requires_grad", "requires_grad", on)
        if not self.is_leaf:
            rule, hint = "x was made by a recorded op.", "Use x.detach() for a leaf with the same value."
            raise GraphError("requires_grad: only a leaf's can be set", {"x": self}, rule, hint)
        if on and self.array.dtype.kind != "f":
            rule = "expected a floating dtype, f32 or f64."
            raise DTypeError("requires_grad: only floating tensors have gradients", {"x": self}, rule)
        self.mode = (self.mode & ~WANTS) | (WANTS if on else 0)
        self.node = None

    def requires_grad_(self, on: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = flag("requires_grad_", "on", on)
        return self

    @property
    def data(self) -> Array:
        """The array itself. Tapes that have saved it notice writes such as `t.data[0] = 1`."""
        return watched(self.array)

    @data.setter
    def data(self, value: Any) -> None:
        if not is_view_of(value, self.array):
            self.assign(value)

    def assign(self, value: Any) -> Tensor:
        """Take a copy of a value of the same shape in a new array; tapes keep the old one. For leaves."""
        if not self.is_leaf:
            raise GraphError("assign: x was made by a recorded op", {"x": self}, "expected a leaf.")
        if isinstance(value, Tensor):
            array = value.array
        else:
            array = array_of(value, self.array.dtype if self.array.dtype.kind == "f" else None)
        if array.shape != self.array.shape:
            rule = f"expected shape {describe_shape(self.shape)}."
            shown = value if isinstance(value, (Tensor, np.ndarray)) else array
            raise ShapeError("assign: the value does not fit", {"x": self, "value": shown}, rule)
        take_array(self, STATE.run(array.astype, self.array.dtype))
        return self

    # ---- leaving the tape ------------------------------------------------------------------------------
    def numpy(self) -> Array:
        """The values as a read-only view; the gradient stops here. `.numpy().copy()` may be written to."""
        view = self.array.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self.array.size != 1:
            raise ShapeError(
                "item: not one element", {"x": self}, f"expected 1 element, got {self.array.size}."
            )
        self._looked_at("item")
        return self.array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.array.tolist()

    def detach(self) -> Tensor:
        """The same values off the tape: no gradient flows back, and the graph behind can be freed."""
        if isinstance(self.node, Node):
            origins.note(self.array, self.node)
        twin = wrap(self.array)
        twin.viewed = (weakref.ref(self), *self.viewed)
        return twin

    def clone(self) -> Tensor:
        """A copy through which the gradient flows."""
        return self * 1 if self.mode & WANTS else wrap(self.array.copy())

    # ---- gradients -------------------------------------------------------------------------------------
    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` has accumulated here, or None. A tensor or float array may be assigned."""
        return self._grad  # type: ignore[no-any-return]

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(value, self.array.dtype)
        if value is not None and (value.array.shape != self.array.shape or value.array.dtype.kind != "f"):
            rule = f"expected floats of shape {describe_shape(self.shape)}."
            raise ShapeError("grad: the gradient does not fit", {"x": self, "grad": value}, rule)
        self._grad = value

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_functions.call(func, args, kwargs)

    # ---- what stands in other files, by what it does --------------------------------------------------
    # fmt: off
    backward, retain_grad = leaf_gradients.backward, leaf_gradients.retain_grad
    register_hook = leaf_gradients.register_hook
    # operators
    __add__, __radd__, __sub__, __rsub__ = operators.add, operators.radd, operators.sub, operators.rsub
    __mul__, __rmul__, __truediv__ = operators.mul, operators.rmul, operators.truediv
    __rtruediv__, __floordiv__, __rfloordiv__ = operators.rtruediv, operators.floordiv, operators.rfloordiv
    __mod__, __rmod__, __divmod__, __rdivmod__ = operators.mod, operators.rmod, operators.divmod, operators.rdivmod
    __pow__, __rpow__, __neg__, __pos__ = operators.pow, operators.rpow, operators.neg, operators.pos
    __abs__, __matmul__, __rmatmul__, __lt__ = operators.abs_, operators.matmul_, operators.rmatmul_, operators.lt
    __gt__, __eq__, __ne__, __le__, __ge__ = operators.gt, operators.eq, operators.ne, operators.le, operators.ge
    __and__, __or__, __xor__, __invert__ = operators.and_, operators.or_, operators.xor, operators.invert
    __rand__, __ror__, __rxor__, __hash__ = operators.and_, operators.or_, operators.xor, object.__hash__
    # element by element
    exp, log, sqrt, sin, cos = operators.exp, operators.log, operators.sqrt, operators.sin, operators.cos
    tanh, erf, floor, abs = operators.tanh, operators.erf, operators.floor, operators.abs
    maximum, minimum, clip, matmul = operators.maximum, operators.minimum, operators.clip, operators.matmul
    add, sub, mul, div, pow = elementwise.add, elementwise.sub, elementwise.mul, elementwise.div, elementwise.pow
    neg, square, reciprocal, rsqrt = elementwise.neg, elementwise.square, elementwise.reciprocal, elementwise.rsqrt
    log1p, eq, ne, lt, le = elementwise.log1p, elementwise.eq, elementwise.ne, elementwise.lt, elementwise.le
    gt, ge, logical_not, isnan = elementwise.gt, elementwise.ge, elementwise.logical_not, elementwise.isnan
    isinf, isfinite, ceil, trunc = elementwise.isinf, elementwise.isfinite, elementwise.ceil, elementwise.trunc
    sign, round = elementwise.sign, elementwise.round
    clamp = operators.clip
    # shapes and parts
    reshape, flatten, permute, transpose = shapes.reshape, shapes.flatten, shapes.permute, shapes.transpose
    expand, squeeze, unsqueeze, flip = shapes.expand, shapes.squeeze, shapes.unsqueeze, shapes.flip
    split, chunk = shapes.split, shapes.chunk
    contiguous, t, swapaxes = rearranging.contiguous, rearranging.t, rearranging.swapaxes
    movedim, expand_as, view_as = rearranging.movedim, rearranging.expand_as, rearranging.view_as
    repeat, tile, repeat_interleave = rearranging.repeat, rearranging.tile, rearranging.repeat_interleave
    roll, unfold, narrow, select = rearranging.roll, rearranging.unfold, rearranging.narrow, rearranging.select
    index_select, unbind, tril = rearranging.index_select, rearranging.unbind, rearranging.tril
    triu, masked_fill, masked_select = rearranging.triu, rearranging.masked_fill, rearranging.masked_select
    __getitem__, __setitem__, take, gather = indexing.getitem, indexing.setitem, indexing.take, indexing.gather
    view = shapes.reshape
    # along axes
    sum, prod, max, min, amax = reductions.sum, reductions.prod, reductions.max, reductions.min, reductions.amax
    amin, mean, var, std = reductions.amin, reductions.mean, reductions.var, reductions.std
    argmax, argmin, all, any = reductions.argmax, reductions.argmin, reductions.all, reductions.any
    argsort, sort, topk, cumsum = ordering.argsort, ordering.sort, ordering.topk, ordering.cumsum
    norm, sigmoid, relu, softmax = ordering.norm, ordering.sigmoid, ordering.relu, ordering.softmax
    log_softmax, logsumexp = ordering.log_softmax, ordering.logsumexp
    # written in place
    add_, sub_, mul_, div_ = inplace_methods.add_, inplace_methods.sub_, inplace_methods.mul_, inplace_methods.div_
    pow_, neg_, exp_ = inplace_methods.pow_, inplace_methods.neg_, inplace_methods.exp_
    sqrt_, relu_, clamp_ = inplace_methods.sqrt_, inplace_methods.relu_, inplace_methods.clamp_
    masked_fill_, zero_, fill_ = inplace_methods.masked_fill_, inplace_methods.zero_, inplace_methods.fill_
    copy_, uniform_, normal_ = inplace_methods.copy_, inplace_methods.uniform_, inplace_methods.normal_
    detach_, resize_ = inplace_methods.detach_, inplace_methods.resize_
    __iadd__, __isub__, __imul__, __itruediv__ = inplace.iadd, inplace.isub, inplace.imul, inplace.itruediv
    __ifloordiv__, __imod__, __ipow__, __imatmul__ = inplace.ifloordiv, inplace.imod, inplace.ipow, inplace.imatmul
    __iand__, __ior__, __ixor__ = inplace.iand, inplace.ior, inplace.ixor
    # what it is; as numbers of Python, text and arrays
    dim, numel, element_size = converting.dim, converting.numel, converting.element_size
    is_floating_point, to, astype = converting.is_floating_point, converting.to, converting.astype
    type, type_as, float, double = converting.type, converting.type_as, converting.float, converting.double
    long, int, bool, cpu, cuda = converting.long, converting.int, converting.bool, converting.cpu, converting.cuda
    new_full, new_zeros, new_empty = converting.new_full, converting.new_zeros, converting.new_empty
    new_ones, new_tensor, __format__ = converting.new_ones, converting.new_tensor, converting.formatted
    __round__ = converting.rounded
    __array__, __dlpack__ = numpy_protocols.array, numpy_protocols.dlpack
    __dlpack_device__, __array_ufunc__ = numpy_protocols.dlpack_device, numpy_protocols.array_ufunc
    __repr__, __len__, __iter__ = python_protocols.text, python_protocols.length, python_protocols.entries
    __contains__, __bool__, __float__ = python_protocols.contains, python_protocols.truth, python_protocols.to_float
    __int__, __index__, __copy__ = python_protocols.to_int, python_protocols.to_index, python_protocols.copy
    __deepcopy__, __reduce__ = python_protocols.deepcopy, python_protocols.reduce
    # fmt: on


P = ParamSpec("P")


def _typed(make: Callable[P, Any]) -> Callable[P, Tensor]:
    """A function from below this file that makes tensors, for type checkers: there, the class is not known yet."""
    return make


wrap, as_tensor, input_tensor = _typed(apply.wrap), _typed(apply.as_tensor), _typed(apply.input_tensor)
cat, concat, stack = _typed(shapes.cat), _typed(shapes.concat), _typed(shapes.stack)
where, maximum, minimum = _typed(elementwise.where), _typed(elementwise.maximum), _typed(elementwise.minimum)
einsum = _typed(contraction.einsum)
Recorded.tensor_type = Tensor
Op.recorders[Tensor] = record
answer_methods(Tensor)
if sys.version_info < (3, 12):
    tell_of_absent(Tensor, "a Tensor")
