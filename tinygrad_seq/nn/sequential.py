"""`Sequential`: modules and functions applied one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import DTypeError
from tinygrad_seq.nn.module import Module


class Function(Module):
    """A function of one argument as a module, so that it has a place and a name: what `Sequential` makes of one."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def forward(self, x: Any) -> Any:
        """What the function gives."""
        return self.function(x)

    def describe(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))


class Sequential(Module):
    """Modules and functions applied one after the other; named by their numbers, or by the keys of one dict.

    Raises DTypeError for whatever is neither: a list, a class, None.

    >>> from tinygrad_seq import zeros
    >>> from tinygrad_seq.nn import Linear, functional
    >>> Sequential(Linear(3, 4), functional.relu, Linear(4, 2))(zeros(5, 3)).shape
    (5, 2)
    """

    def __init__(self, *modules: Module | Callable[[Any], Any] | Mapping[str, Any]):
        parts: Any = enumerate(modules)
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            parts = modules[0].items()
        for name, part in parts:
            setattr(self, str(name), applicable("Sequential", name, part))

    def forward(self, x: Any) -> Any:
        """Each part's result is the next one's input."""
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (m for m in vars(self).values() if isinstance(m, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: Any) -> Any:
        """One part, or a Sequential of some: the same modules, under new numbers."""
        parts = list(self)[i]
        return Sequential(*parts) if isinstance(parts, list) else parts


def applicable(call: str, name: Any, part: Any) -> Module:
    """A module as it is, a function as a `Function`; DTypeError for what is neither."""
    if isinstance(part, Module):
        return part
    if callable(part) and not isinstance(part, (type, Tensor)):
        return Function(part)
    rule = f"expected a module or a function, got {part.__name__ if isinstance(part, type) else type(part).__name__}."
    hint = ""
    if isinstance(part, type):
        rule, hint = f"{part.__name__} is a class.", f"Write {part.__name__}(...)."
    elif isinstance(part, (list, tuple)) or hasattr(part, "__next__"):
        hint = f"Write {call}(*parts)."
    raise DTypeError(f"{call}: part {name} cannot be applied", None, rule, hint)


answer(globals())
