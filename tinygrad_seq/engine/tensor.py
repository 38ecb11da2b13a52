"""`Tensor`: an array that remembers how it was made; how it leaves the tape."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

import numpy as np

from tinygrad_seq.arguments import flag
from tinygrad_seq.engine import apply, contraction, elementwise, numpy_functions, origins, shapes
from tinygrad_seq.engine.apply import WANTS, Recorded, leaf, record
from tinygrad_seq.engine.array_data import array_of
from tinygrad_seq.engine.converting import ConvertingMethods
from tinygrad_seq.engine.elementwise import ElementwiseMethods
from tinygrad_seq.engine.foreign_keywords import answer_methods
from tinygrad_seq.engine.handles import Hooks, RemovableHandle
from tinygrad_seq.engine.indexing import IndexingMethods
from tinygrad_seq.engine.inplace import InplaceMethods, take_array
from tinygrad_seq.engine.inplace_methods import WritingMethods
from tinygrad_seq.engine.leaf_gradients import backward
from tinygrad_seq.engine.node import STATE, Node
from tinygrad_seq.engine.numpy_protocols import NumpyMethods
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.ordering import OrderingMethods
from tinygrad_seq.engine.rearranging import RearrangingMethods
from tinygrad_seq.engine.reductions import ReductionMethods
from tinygrad_seq.engine.shapes import ShapeMethods
from tinygrad_seq.engine.watched_data import is_view_of, watched
from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, describe, describe_shape
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.malloc import keep_freed_pages
from tinygrad_seq.runtime.weakrefs import Held

__all__ = ["Tensor", "cat", "concat", "einsum", "maximum", "minimum", "stack", "where"]

keep_freed_pages()  # before the first tape


class Tensor(
    ElementwiseMethods,
    ShapeMethods,
    RearrangingMethods,
    ReductionMethods,
    OrderingMethods,
    IndexingMethods,
    InplaceMethods,
    ConvertingMethods,
    WritingMethods,
    NumpyMethods,
):
    """An n-dimensional array on the tape.

    `Tensor(data)` copies. Lists of Python floats become float32, integers int64; arrays keep their dtype.
    Ops on tensors that want a gradient are recorded; `backward()` reads the record.

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
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def origin(self) -> str:
        """Where it came from, as error texts say it."""
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
        """The array itself. What is written to it, as by `t.data[0] = 1`, is noticed by tapes that hold it."""
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
        """The same values off the tape: no gradient flows back, and the memory behind is let go."""
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
        """The gradient that `backward()` left here, or None. A tensor or array of floats may be put in its place."""
        return self._grad  # type: ignore[no-any-return]

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(value, self.array.dtype)
        if value is not None and (value.array.shape != self.array.shape or value.array.dtype.kind != "f"):
            rule = f"expected floats of shape {describe_shape(self.shape)}."
            raise ShapeError("grad: the gradient does not fit", {"x": self, "grad": value}, rule)
        self._grad = value

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add d self / d leaf to the `.grad` of every leaf that wants one.

        `gradient` is d loss / d self; needed unless `self` has one element. The graph is released on the way
        unless `retain_graph`; with `create_graph` the gradients are on the tape themselves.
        Raises GraphError where nothing wants a gradient or the graph was released before.
        """
        backward(self, gradient, retain_graph, create_graph)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate tensor in `.grad`, as leaves do anyway."""
        here = Held(self)  # a tensor that its own tape held on to would be freed late

        def keep(g: Tensor) -> None:
            kept = here()
            if kept is not None:
                kept.grad = g if kept.grad is None else kept.grad + g

        if not (self.is_leaf and self.mode & WANTS):
            self._hooks()["retain_grad"] = keep

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(gradient)` when the gradient here is complete; what it returns replaces it, unless None.

        Returns a handle whose `remove()` takes the hook away again.
        """
        return self._hooks().register("register_hook", hook)

    def _hooks(self) -> Hooks:
        if not self.mode & WANTS:
            rule = "expected a tensor with requires_grad=True, or made from one."
            raise GraphError("register_hook: no gradient flows here", {"x": self}, rule)
        node = self.node or leaf(self)
        node.hooks = Hooks() if node.hooks is None else node.hooks
        return node.hooks

    # ---- Python's protocols ------------------------------------------------------------------
    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="Tensor(", threshold=60)
        wants = ", requires_grad=True" if self.mode & WANTS and self.is_leaf else ""
        return f"Tensor({values}, {' '.join(describe(self).split())}{wants})"

    def __len__(self) -> int:
        if not self.array.ndim:
            raise TypeError("len: a tensor without axes has no length.")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == as_tensor(value, self)).any())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            rule = "expected 1 element; use .all() or .any()."
            raise ShapeError("bool: the truth of several elements is not one", {"x": self}, rule)
        self._looked_at("bool")
        return bool(self.array)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iu":
            raise DTypeError("index: not an integer", {"x": self}, "expected an integer tensor.")
        return int(self.item())

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        self._refuse_copy("deepcopy")
        twin = _rebuilt(type(self), self.array.copy(), bool(self.mode & WANTS), self.name)
        twin._grad = None if self._grad is None else wrap(self._grad.array.copy())
        return twin

    def __reduce__(self) -> Any:
        self._refuse_copy("pickle")
        return (_rebuilt, (type(self), self.array, self.requires_grad, self.name))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_functions.call(func, args, kwargs)

    def _refuse_copy(self, call: str) -> None:
        if not self.is_leaf:
            what = f"{call}: x was made by a recorded op"
            rule = "only leaves can be copied with their gradient setting."
            raise GraphError(what, {"x": self}, rule, "Use x.detach().")


def _rebuilt(kind: type[Tensor], array: Array, wants: bool, name: str) -> Tensor:
    """A leaf of that class, made without its `__init__`, whose arguments a subclass may have changed."""
    made = kind.__new__(kind)
    made.array, made.node, made.mode, made._grad = array, None, WANTS if wants else 0, None
    made.label, made.viewed = name, ()
    return made


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
answer_methods(*Tensor.__mro__[:-1])
