"""`Module`: a tree of parameters that is its own attributes, with PyTorch's names for what it can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygrad_seq.errors import CheckpointError, describe_shape, explain, short_dtype
from tinygrad_seq.nodes import scope
from tinygrad_seq.numerics import Array
from tinygrad_seq.tensor import Tensor

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that is learnt: it wants a gradient, and a module finds it among its attributes."""

    __slots__ = ()
    learnt = True

    def __init__(self, data: Any, dtype: Any = None, requires_grad: bool = True, name: str = ""):
        super().__init__(data, dtype, requires_grad, name)


class Mismatch(NamedTuple):
    """What `load_state_dict` did not find, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A layer or a model. Parameters and modules are found by walking attributes, in the order of definition.

    A subclass defines `forward`; calling the module runs it in a scope that bears the module's name, so that
    errors, listings and pictures can say where an op belongs. Tensors that are no Parameters are constants
    and are not saved.

    >>> from tinygrad_seq.nn import Linear
    >>> layer = Linear(3, 2)
    >>> [name for name, _ in layer.named_parameters()]
    ['weight', 'bias']
    """

    training: bool = True
    _scope: str = ""

    def forward(self, *args: Any, **settings: Any) -> Any:
        """The module's function; each subclass writes its own."""
        raise TypeError(f"{type(self).__name__} defines no forward().")

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Run `forward` in the module's scope."""
        with scope(self._scope or type(self).__name__.lower()):
            return self.forward(*args, **settings)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        for key, child in _entries(name, value):
            if isinstance(child, Module):
                object.__setattr__(child, "_scope", key)
            elif not child.name:
                child.name = key

    # ---- the tree --------------------------------------------------------------------------------------
    def _children(self) -> Iterator[tuple[str, Module | Parameter]]:
        for name, value in vars(self).items():
            yield from _entries(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, with their paths."""
        yield prefix, self
        for name, child in self._children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """The module itself and all below it."""
        return (module for _, module in self.named_modules())

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for path, module in self.named_modules():
            for name, child in module._children():
                if isinstance(child, Parameter):
                    yield f"{path}.{name}" if path else name, child

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once with its path, by which error texts call it from then on."""
        seen: set[int] = set()
        for name, p in self._all_parameters():
            if id(p) not in seen:
                seen.add(id(p))
                p.name = name
                yield name, p

    def parameters(self) -> Iterator[Parameter]:
        """Each parameter once."""
        return (p for _, p in self.named_parameters())

    # ---- saving and loading ----------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Tensor]:
        """All parameters by path, off the tape. Later training does not change what is returned."""
        return {name: p.detach() for name, p in self._all_parameters()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Mismatch:
        """Take values by name: NumPy arrays, our tensors or PyTorch's. All are checked before any is taken.

        Raises CheckpointError that lists every missing and unexpected name (where `strict`) and every shape
        that does not fit.
        """
        own = dict(self._all_parameters())
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        arrays = {name: plain_array(name, state[name]) for name in own if name in state}
        complaints = (
            [f"missing: {name} {describe_shape(own[name].shape)}" for name in missing] if strict else []
        )
        if strict:
            complaints += [f"unexpected: {name}" for name in unexpected]
        complaints += [
            f"{name}: expected {describe_shape(own[name].shape)}, got {describe_shape(a.shape)}"
            for name, a in arrays.items()
            if a.shape != own[name].shape
        ]
        if complaints:
            what = f"load_state_dict: the weights are not those of this {type(self).__name__}"
            listed = complaints[:20] + [f"... and {len(complaints) - 20} more"] * (len(complaints) > 20)
            raise CheckpointError(explain(what, None, "\n  ".join(listed)))
        for name, array in arrays.items():
            own[name].assign(array)
        return Mismatch(missing, unexpected)

    # ---- modes -----------------------------------------------------------------------------------------
    def train(self: M, mode: bool = True) -> M:
        """Training mode on or off, here and below."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self: M) -> M:
        """Training mode off."""
        return self.train(False)

    def requires_grad_(self: M, on: bool = True) -> M:
        """Whether the parameters want gradients."""
        for p in self.parameters():
            p.requires_grad = on
        return self

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters():
            p.grad = None

    def to(self: M, dtype: Any) -> M:
        """The parameters in another floating dtype."""
        for p in self.parameters():
            p.array = p.array.astype(dtype)
            p.node, p.grad = None, None
        return self

    def double(self: M) -> M:
        """The parameters in float64."""
        return self.to(np.float64)

    def float(self: M) -> M:
        """The parameters in float32."""
        return self.to(np.float32)

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


def _entries(name: str, value: Any) -> list[tuple[str, Any]]:
    """Parameters and modules of one attribute: itself, or those in a list, tuple or dict, as `name.key`."""
    if isinstance(value, (Module, Parameter)):
        return [(name, value)]
    if isinstance(value, (list, tuple)):
        items: Any = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    else:
        return []
    return [(f"{name}.{key}", v) for key, v in items if isinstance(v, (Module, Parameter))]


def plain_array(name: str, value: Any) -> Array:
    """A saved value as an array; PyTorch's tensors are known by their `detach`."""
    if isinstance(value, Tensor):
        return value.array
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise CheckpointError(explain("load_state_dict: a value is no array of numbers", {name: value}))
    return array
