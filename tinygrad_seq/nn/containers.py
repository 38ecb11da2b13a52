"""`ModuleList` and `ModuleDict`: modules by number or by name, as parts of the module tree."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from tinygrad_seq.arguments import sequence
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.nn.module import Module


def _checked(call: str, module: Any) -> Module:
    if not isinstance(module, Module):
        raise ArgumentError(f"{call}: not a module", {"entry": module}, "expected an nn.Module.")
    return module


class ModuleList(Module):
    """Modules by number. It has no `forward`: call them one by one.

    >>> from tinygrad_seq import nn
    >>> layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> [name for name, _ in layers.named_parameters()][:2], len(layers)
    (['0.weight', '0.bias'], 3)
    """

    def __init__(self, modules: Iterable[Module] = ()):
        self.extend(modules)

    def _all(self) -> list[Module]:
        return [m for m in vars(self).values() if isinstance(m, Module)]

    def append(self, module: Module) -> ModuleList:
        """One more at the end."""
        setattr(self, str(len(self)), _checked("ModuleList", module))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """More at the end."""
        for module in (
            modules if isinstance(modules, ModuleList) else sequence("ModuleList", "modules", modules)
        ):
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._all())

    def __getitem__(self, i: Any) -> Any:
        found = self._all()[i]
        return ModuleList(found) if isinstance(found, list) else found

    def __setitem__(self, i: int, module: Module) -> None:
        setattr(self, str(range(len(self))[i]), _checked("ModuleList", module))


class ModuleDict(Module):
    """Modules by name, in the order they came in: `d["name"]` or `d.name`. It has no `forward`."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()):
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add each of these."""
        for name, module in dict(modules).items():
            self[name] = module

    def _all(self) -> dict[str, Module]:
        return {name: m for name, m in vars(self).items() if isinstance(m, Module)}

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name or hasattr(ModuleDict, name):
            rule = "expected a text without dots that is no attribute of a module."
            raise ArgumentError("ModuleDict: not a name for a module", {"name": name}, rule)
        setattr(self, name, _checked("ModuleDict", module))

    def __getitem__(self, name: str) -> Module:
        found = self._all()
        if name not in found:
            rule = f"expected one of {', '.join(found) or 'none'}."
            raise ArgumentError("ModuleDict: no such module", {"name": name}, rule)
        return found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._all().keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._all().values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self._all().items()


answer(globals())
