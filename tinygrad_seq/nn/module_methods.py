"""Methods of PyTorch's modules besides the weights: buffers, children, `apply`, devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tinygrad_seq.engine.dtypes import check_device, dtype_of, is_device
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.unknown_names import missing
from tinygrad_seq.errors import ArgumentError, DTypeError
from tinygrad_seq.nn.forward_hooks import HookedModule

F = TypeVar("F", bound="FamiliarModule")


class FamiliarModule(HookedModule):
    """Buffers, children, `apply`, `to`, hooks: the part of `Module` that is not about learning."""

    _buffers: dict[str, bool]  # the names of buffers, and whether they are saved

    # ---- buffers ---------------------------------------------------------------------------------------
    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Keep a tensor that is not learnt as `self.name`; a `persistent` one stands in the `state_dict`."""
        if tensor is not None and not isinstance(tensor, Tensor):
            rule = "expected a tensor or None."
            raise ArgumentError(f"register_buffer: {name!r} is no tensor", {name: tensor}, rule)
        if not name or "." in name or (hasattr(type(self), name) or name in vars(self)):
            rule = "expected a name without dots that is not taken."
            raise ArgumentError("register_buffer: not a name for a buffer", {"name": name}, rule)
        object.__setattr__(self, "_buffers", {**vars(self).get("_buffers", {}), name: persistent})
        setattr(self, name, tensor)

    def _own_buffers(self, all_of_them: bool = True) -> Iterator[tuple[str, Tensor]]:
        for name, persistent in vars(self).get("_buffers", {}).items():
            value = vars(self).get(name)
            if isinstance(value, Tensor) and (persistent or all_of_them):
                yield name, value

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Each buffer with its path."""
        for path, module in self._modules_below():
            for name, value in module._own_buffers():
                yield f"{path}.{name}" if path else name, value

    def buffers(self) -> Iterator[Tensor]:
        """Each buffer."""
        return (b for _, b in self.named_buffers())

    def register_parameter(self, name: str, parameter: Any) -> None:
        """Keep a Parameter, or None, as `self.name`."""
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Any) -> None:
        """Keep a module as `self.name`."""
        setattr(self, name, module)

    register_module = add_module

    # ---- the tree --------------------------------------------------------------------------------------
    def _modules_below(self) -> Iterator[tuple[str, Any]]:
        return self.named_modules()  # type: ignore[attr-defined, no-any-return]

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The modules directly below, with their names."""
        seen: set[int] = set()
        for name, child in self._children():  # type: ignore[attr-defined]
            if isinstance(child, FamiliarModule) and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Any]:
        """The modules directly below."""
        return (m for _, m in self.named_children())

    def apply(self: F, fn: Callable[[Any], Any]) -> F:
        """Call `fn` on every module below, then on the module itself, and return it."""
        self._applied(fn, ())
        return self

    def _applied(self, fn: Callable[[Any], Any], above: tuple[Any, ...]) -> None:
        above = (*above, self)
        for child in self.children():
            if not any(child is m for m in above):  # one that holds itself
                child._applied(fn, above)
        fn(self)

    # ---- dtypes and devices ----------------------------------------------------------------------------
    def to(self: F, *place: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> F:
        """The parameters and floating buffers in another floating dtype; the device "cpu" changes nothing."""
        for given in place:
            if isinstance(given, Tensor):
                dtype = given.dtype
            elif is_device(given):
                device = given
            elif given is not None and not isinstance(given, bool):
                dtype = given
        check_device("to", device)
        if dtype is None:
            return self
        kind = dtype_of("to", dtype)
        if kind.kind != "f":
            rule = "expected a floating dtype."
            raise DTypeError("to: parameters are floats", {"dtype": str(kind)}, rule)
        for p in (*self.parameters(), *(b for b in self.buffers() if b.dtype.kind == "f")):  # type: ignore[attr-defined]
            p.array = STATE.run(p.array.astype, kind)
            p.node, p.grad = None, None
        return self

    def double(self: F) -> F:
        """The parameters in float64."""
        return self.to(np.float64)

    def float(self: F) -> F:
        """The parameters in float32."""
        return self.to(np.float32)

    def cpu(self: F) -> F:
        """The module itself: it is on the CPU."""
        return self

    def cuda(self: F, device: Any = "cuda") -> F:
        """Refused: there is no other device than the CPU."""
        return self.to(device="cuda")

    if not TYPE_CHECKING:  # a type checker is to know which attributes there are

        def __getattr__(self, name: str) -> Any:
            raise missing(repr(type(self).__name__), name, lambda: {*dir(type(self)), *vars(self)})


answer(globals())
