"""`Module`: its attributes are the tree of parameters; its methods have PyTorch's names."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import numpy as np

from tinygrad_seq.arguments import flag
from tinygrad_seq.engine.dtypes import is_bfloat16
from tinygrad_seq.engine.foreign_keywords import answer_methods
from tinygrad_seq.engine.node import STATE, Node, inside
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import CheckpointError, describe_shape, short_dtype
from tinygrad_seq.nn.holders import is_slot, is_used_up, looked_through, walked
from tinygrad_seq.nn.lost import (
    in_slot,
    one_name_for_two,
    refuse_dropped,
    refuse_loss,
    refuse_no_buffer,
    refuse_strays,
    remember,
    replaced,
    shared_by_all,
    two_values_for_one,
    used_up,
)
from tinygrad_seq.nn.module_methods import FamiliarModule
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.weakrefs import Held

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that is trained: it requires a gradient, and a module finds it among its attributes."""

    __slots__ = ("successor",)
    successor: ref[Parameter] | None
    """What took its place in a module, where something did: an optimiser that has only the old one is told."""
    learnt = True

    def __init__(self, data: Any, dtype: Any = None, requires_grad: bool = True, name: str = ""):
        super().__init__(data, dtype, requires_grad, name)
        self.successor = None


class Mismatch(NamedTuple):
    """The missing and the unexpected names of `load_state_dict`."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(FamiliarModule):
    """A layer or a model. Parameters and modules are found among the attributes, in the order of definition.

    They may stand in lists, tuples and dicts to any depth; what stands where it is not found (a set, a closure, an
    object of another class, a slot, the class itself) is refused when parameters are asked for. Tensors that are no
    Parameters are constants and are not saved; one that requires a gradient is refused, because it would be lost.

    A subclass defines `forward`; calling the module runs it in a scope that bears the module's name, so that
    errors, listings and pictures can say where an op belongs.

    >>> from tinygrad_seq.nn import Linear
    >>> layer = Linear(3, 2)
    >>> [name for name, _ in layer.named_parameters()]
    ['weight', 'bias']
    """

    training: bool = True
    _scope: str = ""

    def forward(self, *args: Any, **settings: Any) -> Any:
        """The module's function; each subclass defines its own."""
        raise TypeError(f"{type(self).__name__} defines no forward().")

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Run `forward` in the module's scope."""
        # The module may store its arguments, as for a saliency map: these are no lost parameters.
        given = (*args, *settings.values()) if settings else args
        leaves = [Held(x) for x in given if isinstance(x, Tensor) and type(x.node) is not Node]
        self.__dict__["_given"] = leaves
        state = STATE.__dict__
        before = state["place"]
        state["place"] = inside(before, self._scope or type(self).__name__.lower())
        try:
            if self._hooked:
                return self._hooked.call(self, args, settings)
            return self.forward(*args, **settings)
        finally:
            state["place"] = before

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_given"}

    def __copy__(self: M) -> M:
        twin = type(self).__new__(type(self))
        vars(twin).update(self.__getstate__())
        if self._hooked is not None:  # the copy's hooks come and go by themselves
            vars(twin)["_hooked"] = self._hooked.copy()
        return twin

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            for path, child in walked(name, value, KINDS):
                raise shared_by_all(cls, path, child)

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        if before is not None and before is not value:
            held = dict(walked(name, before, KINDS))
            if held:
                refuse_loss(self, name, held, value, KINDS)
                replaced(held, dict(walked(name, value, KINDS)))
        refuse_no_buffer(self, name, value)
        if is_used_up(value):
            raise used_up(self, name, value)
        object.__setattr__(self, name, value)
        for key, child in walked(name, value, KINDS):
            if is_slot(type(self), name):
                raise in_slot(self, name)
            if isinstance(child, Module):
                object.__setattr__(child, "_scope", key)
            else:
                child.name = child.name or key
                remember(self, key)

    # ---- the tree --------------------------------------------------------------------------------------
    def _children(self) -> Children:
        return looked_through(self, KINDS)[0]

    def _tree(self, prefix: str = "", above: tuple[int, ...] = ()) -> Iterator[Level]:
        """Every path to every module, with its content; a cycle ends at the module that is already in the path."""
        children, others = looked_through(self, KINDS)
        yield prefix, self, children, others
        above = (*above, id(self))
        for name, child in children:
            if isinstance(child, Module) and id(child) not in above:
                yield from child._tree(f"{prefix}.{name}" if prefix else name, above)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, each once, with their paths."""
        seen: set[int] = set()
        for path, module, *_ in self._tree(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module

    def modules(self) -> Iterator[Module]:
        """The module itself and all below it."""
        return (module for _, module in self.named_modules())

    def _all_parameters(self) -> dict[str, Parameter]:
        """Every path to every parameter. Raises where one would be neither learnt nor saved, or two share a path."""
        modules = list(self._tree())
        found: dict[str, Parameter] = {}
        known = {id(level[1]) for level in modules}
        for path, module, children, _ in modules:
            if "_within" in vars(module):
                refuse_dropped(module, children)
            for name, child in children:
                if isinstance(child, Parameter):
                    if "." in name:
                        remember(module, name)
                    full = f"{path}.{name}" if path else name
                    if found.setdefault(full, child) is not child:
                        raise one_name_for_two(self, full, found[full], child)
                    known.add(id(child))
        refuse_strays(modules, known, KINDS)
        return found

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once with its path, which is then its name in error texts."""
        seen: set[int] = set()
        for name, p in self._all_parameters().items():
            if id(p) not in seen:
                seen.add(id(p))
                if p.label != name:
                    p.name = name
                yield name, p

    def parameters(self) -> Iterator[Parameter]:
        """Each parameter once."""
        return (p for _, p in self.named_parameters())

    # ---- saving and loading ----------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all parameters and persistent buffers by path, off the tape: nothing done later changes them."""
        return {name: wrap(p.array.copy()) for name, p in self._saved().items()}

    def _saved(self) -> dict[str, Tensor]:
        """What is saved: of each module its parameters, then its buffers."""
        self._all_parameters()  # refuses what would be lost
        saved: dict[str, Tensor] = {}
        for path, module, children, _ in self._tree():
            dot = f"{path}." if path else ""
            saved |= {dot + name: p for name, p in children if isinstance(p, Parameter)}
            saved |= {dot + name: b for name, b in module._own_buffers(False)}
        return saved

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Mismatch:
        """Take values by name: NumPy arrays, our tensors or PyTorch's. All are checked before any is taken.

        Raises CheckpointError that lists every missing and unexpected name (where `strict`) and every shape
        that does not fit.
        """
        if not isinstance(state, Mapping):
            rule = "expected what state_dict() of a module gives: a dict of arrays by name."
            raise CheckpointError("load_state_dict: no state of a module", {"state": state}, rule)
        own = self._saved()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        arrays = {name: plain_array(name, state[name]) for name in own if name in state}
        complaints = (
            [f"missing: {name} {describe_shape(own[name].shape)}" for name in missing] if strict else []
        )
        if strict:
            complaints += [f"unexpected: {name}" for name in unexpected]
        complaints += two_values_for_one(own, arrays)
        complaints += [
            f"{name}: expected {describe_shape(own[name].shape)}, got {describe_shape(a.shape)}"
            for name, a in arrays.items()
            if a.shape != own[name].shape
        ]
        if complaints:
            what = f"load_state_dict: the weights are not those of this {type(self).__name__}"
            listed = complaints[:20] + [f"... and {len(complaints) - 20} more"] * (len(complaints) > 20)
            raise CheckpointError(what, None, "\n  ".join(listed))
        for name, array in arrays.items():
            own[name].assign(array)
        return Mismatch(missing, unexpected)

    # ---- modes -----------------------------------------------------------------------------------------
    def train(self: M, mode: bool = True) -> M:
        """Training mode on or off, here and below."""
        mode = flag("train", "mode", mode)
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self: M) -> M:
        """Training mode off."""
        return self.train(False)

    def requires_grad_(self: M, on: bool = True) -> M:
        """Set whether the parameters require gradients."""
        for p in self.parameters():
            p.requires_grad = on
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or to zeros."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else wrap(np.zeros(p.shape, p.dtype))

    # ---- showing ---------------------------------------------------------------------------------------
    def count(self) -> int:
        """How many numbers are learnt."""
        return sum(p.size for p in self.parameters())

    def summary(self) -> str:
        """A table: each parameter with its shape and count, each module with its sum.

        >>> from tinygrad_seq.nn import Linear
        >>> print(Linear(3, 2).summary())
        Linear                       8
          weight  f32(2, 3)          6
          bias    f32(2,)            2
        """
        rows: list[tuple[str, str, int]] = []
        for path, module in self.named_modules():
            depth = "  " * (path.count(".") + 1 if path else 0)
            label = f"{path.rsplit('.', 1)[-1]}: {type(module).__name__}" if path else type(module).__name__
            rows.append((depth + label, "", module.count()))
            for name, p in module._children():
                if isinstance(p, Parameter):
                    rows.append((f"{depth}  {name}", short_dtype(p.dtype) + describe_shape(p.shape), p.size))
        left, middle = max(len(r[0]) for r in rows), max(len(r[1]) for r in rows)
        width = max(9, *(len(f"{n:,}") for _, _, n in rows))
        return "\n".join(f"{name:<{left}}  {shape:<{middle}}  {n:>{width},}" for name, shape, n in rows)

    def describe(self) -> str:
        """The settings that the repr shows between its parentheses."""
        return ""

    @reprlib.recursive_repr("the module itself")
    def __repr__(self) -> str:
        own = [
            f"  {name}: {short_dtype(p.dtype)}{describe_shape(p.shape)}"
            for name, p in self._children()
            if isinstance(p, Parameter)
        ]
        below = [
            f"  {name}: " + repr(child).replace("\n", "\n  ")
            for name, child in self._children()
            if isinstance(child, Module)
        ]
        head = f"{type(self).__name__}({self.describe()})  # {self.count():,} parameters"
        return "\n".join([head, *own, *below])


KINDS = (Module, Parameter)
Children = list[tuple[str, Module | Parameter]]
Level = tuple[str, Module, Children, list[tuple[str, Any]]]


def plain_array(name: str, value: Any) -> Array:
    """A saved value as an array; PyTorch's tensors are known by their `detach`."""
    if isinstance(value, Tensor):
        return value.array
    if hasattr(value, "detach"):
        value = (value.float() if is_bfloat16(value) else value).detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise CheckpointError("load_state_dict: a value is no array of numbers", {name: value})
    return array


answer_methods(Parameter)
