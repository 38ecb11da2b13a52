"""`@fused`: marks a composition whose kernels are derived from its tape when it is first called.

The composition stays the only formula: it runs for higher derivatives, for pictures of its ops, in the anomaly
mode, and without numba.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from tinygrad_seq.engine.apply import TRACED, WANTS, Recorded, is_operand
from tinygrad_seq.engine.foreign_keywords import answer, fitting
from tinygrad_seq.engine.names import made_by
from tinygrad_seq.engine.node import STATE, next_index
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.tensor import as_tensor, input_tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.jit import kernels_wanted, switched_off

if TYPE_CHECKING:
    from tinygrad_seq.engine.tensor import Tensor
    from tinygrad_seq.fuser.dispatch import KernelCache
    from tinygrad_seq.fuser.specialization import Specialization

__all__ = ["composed", "fused"]

P = ParamSpec("P")
R = TypeVar("R")
_UNKNOWN: Any = object()
_RECORDED = WANTS | TRACED


@contextmanager
def composed() -> Iterator[None]:
    """Inside, fused functions run as their compositions: each op is on the tape.

    >>> import tinygrad_seq as tgs
    >>> x = tgs.tensor([1.0, 2.0], requires_grad=True)
    >>> with composed():
    ...     y = tgs.functional.silu(x)
    >>> "lesser" in tgs.Tape.of(y).ops()
    True
    """
    before = STATE.composed
    STATE.composed = True
    try:
        yield
    finally:
        STATE.composed = before


class Fused:
    """A fused function. `fn` is the composition; `source("forward")` shows the kernel made of it.

    A call goes through three layers: this function, which finds the specialization for the shapes and dtypes of its
    arguments; the specialization, which records it as one op; the kernel bound to those shapes.
    """

    def __init__(self, fn: Callable[..., Any]):
        functools.update_wrapper(self, fn)
        self.fn = fn
        parameters = inspect.signature(fn).parameters.values()
        placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.least, self.most = sum(p.default is p.empty for p in placed), len(placed)
        self.known = {p.name for p in parameters}
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            self.most = sys.maxsize
        self._kernels: KernelCache | None = None

    @property
    def kernels(self) -> KernelCache:
        """The kernels of this function."""
        if self._kernels is None:
            # This imports numba, which takes a moment: only when a kernel is needed.
            self._kernels = import_module("tinygrad_seq.fuser.dispatch").KernelCache(self.fn)
        return self._kernels

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """The value, by a kernel where one exists, else by the composition."""
        # Written for speed: in a step of a small model this takes as long as the kernel.
        if not self.least <= len(inputs) <= self.most or not settings.keys() <= self.known:
            settings = fitting(self.fn, inputs, settings)
        if settings and (
            len(inputs) < self.least or any(isinstance(v, (Recorded, np.ndarray)) for v in settings.values())
        ):
            inputs, settings = self._by_place(inputs, settings)
        state = STATE
        if state.composed or state.tracing or state.watch is not None or not kernels_wanted():
            return self._composed(inputs, settings)
        tensors: list[Tensor] = []
        arrays: list[Array] = []
        signs: list[Any] = []
        mode = 0
        for x in inputs:
            t = x if isinstance(x, Recorded) else self._operand(x)
            a = t.array
            mode |= t.mode
            tensors.append(t)  # type: ignore[arg-type]
            arrays.append(a)
            signs += a.shape, a.dtype
        if settings:
            # By the type of a setting too: 1, 1.0 and True are equal, but a composition may distinguish them.
            signs += [(k, type(v), repr(v)) for k, v in settings.items()]
        records = mode & _RECORDED and state.recording
        cache = self._kernels or self.kernels
        key = tuple(signs)
        specialization = cache.specializations.get(key, _UNKNOWN)
        if specialization is _UNKNOWN:
            specialization = cache.specialize(key, arrays, settings, bool(records))
        if specialization is None:
            return self.fn(*tensors, **settings)
        if records:
            return specialization.record(tensors, arrays, WANTS | (mode & TRACED))
        return specialization.value(arrays)

    def _operand(self, x: Any) -> Tensor:
        return as_tensor(x) if is_operand(x) else input_tensor(self.fn.__name__.lstrip("_"), x)

    def _composed(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        if not all(map(is_operand, inputs)):
            inputs = tuple([self._operand(x) for x in inputs])
        start = next_index()
        return made_by(self.fn.__name__.lstrip("_"), start, self.fn(*inputs, **settings))

    def _by_place(
        self, inputs: tuple[Any, ...], settings: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tensors that were given as keywords, as positional inputs."""
        names = list(inspect.signature(self.fn).parameters)[len(inputs) :]
        # Without a positional argument the first one is the tensor, even as a list; any other may be a setting.
        needed = [] if inputs else names[:1]
        given = [n for n in names if n in needed or isinstance(settings.get(n), (Recorded, np.ndarray))]
        if given != names[: len(given)]:
            rule = f"expected them by place, in the order {', '.join(names)}."
            raise ArgumentError(f"{self.fn.__name__}: tensors given by name leave a gap", None, rule)
        rest = {k: v for k, v in settings.items() if k not in given}
        return (*inputs, *(settings[n] for n in given)), rest

    def __copy__(self) -> Fused:
        return self

    def __deepcopy__(self, memo: Any) -> Fused:
        return self  # like a function, a copy of a module shares it

    def __reduce__(self) -> str:
        return str(self.fn.__qualname__)  # pickled by its name, like a function

    def source(self, which: str = "forward") -> str:
        """The text of the kernel that ran last: "forward" or "backward"."""
        if not kernels_wanted():
            why = f"expected a compiler: {switched_off() or 'numba cannot be imported'}."
            raise ArgumentError("source: there are no kernels, compositions run", None, why)
        return str(self.kernels.source(which))


def fused(fn: Callable[P, R]) -> Callable[P, R]:
    """Derive kernels for a function of tensors, forward and backward, from the tape of its composition.

    The function may use pointwise ops with broadcasting, sums and maxima over the last axis and what is made of
    them, slices of the last axis, and one element gathered from each row. It returns a tensor or a tuple of
    them. Positional arguments are tensors (or arrays), keyword arguments are settings. Numbers that the function
    takes from outside are read once, when it is traced, and frozen.

    Each new pattern of ranks, broadcasting and dtypes is first tried on random numbers, and so is its gradient:
    where the kernel does not say what the composition says (one that counts axes from the front, say), the
    composition runs. A branch on a size is taken as it was when it was tried. An id out of range gives NaN.

    Raises TraceError for what no kernel can hold, such as a matrix product or a look at a value.
    """
    return Fused(fn)


def specialization_of(op: Op) -> Specialization | None:
    """The specialization that recorded a fused op; None for another op.

    Who runs the op again on arrays needs of it `settings`, `hung` and `cache`: `cache.fn` is the composition, and
    `cache.bound(arrays, settings)` the kernel for the value alone.
    """
    return getattr(op.joint_vjp, "__self__", None) if op.kind == "fused" else None


answer(globals(), "composed", "fused")
