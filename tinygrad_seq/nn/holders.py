"""Where a module may hold parameters and modules: in attributes, and in lists, tuples and dicts to any depth.

Those in other places (a set, a closure, an object of another class) are found here too, so that they can be
refused: they would be neither trained nor saved.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
from collections.abc import Collection, ItemsView, Iterator, KeysView, Sequence, ValuesView
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.tree import children
from tinygrad_seq.nn.forward_hooks import Hooked

Kinds = tuple[type, ...]
# The most frequent types, which never hold anything.
PLAIN = frozenset(
    (
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        bytearray,
        range,
        slice,
        type,
        np.dtype,
        types.ModuleType,
        Hooked,
    )
)
# Attributes of every module that hold neither parameters nor modules.
BOOKKEEPING = frozenset(("_buffers", "_given", "_scope", "_within"))
_DEPTH = 4  # of objects in objects that a search for what would be lost goes down
_MOST = 1000  # the parts of one object that it looks at


class Stray(NamedTuple):
    """A parameter or a module outside of the module tree: the attribute's path, and a text on what holds it."""

    path: str
    holder: str
    child: Any


def walked(name: str, value: Any, kinds: Kinds, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The objects of `kinds` in an attribute: itself, or all in its lists, tuples and dicts, as `name.key.key`."""
    if isinstance(value, kinds):
        yield name, value
    elif type(value) not in PLAIN and id(value) not in above:
        for key, part in _nested(value):
            if isinstance(part, kinds):
                yield f"{name}.{key}", part
            elif type(part) not in PLAIN:
                yield from walked(f"{name}.{key}", part, kinds, (*above, id(value)))


def looked_through(module: Any, kinds: Kinds) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """The objects found in a module's attributes, and the attributes that may hold hidden ones."""
    found, others = [], []
    for name, value in vars(module).items():
        if isinstance(value, kinds):
            found.append((name, value))
        elif type(value) not in PLAIN and name not in BOOKKEEPING:
            found.extend(walked(name, value, kinds))
            others.append((name, value))
    return found, others


def _nested(value: Any) -> Iterator[tuple[Any, Any]]:
    parts = children(value)
    if parts is not None:
        return iter(parts)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview, range)):
        return iter(enumerate(value))  # a deque or a list of one's own
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return iter(
            [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if hasattr(value, f.name)]
        )
    return iter(())


def strays(path: str, value: Any, kinds: Kinds, above: tuple[int, ...] = ()) -> Iterator[Stray]:
    """The objects of `kinds` in an attribute that are outside of the module tree."""
    if (
        type(value) in PLAIN
        or isinstance(value, (Tensor, *kinds))
        or id(value) in above
        or len(above) > _DEPTH
    ):
        return
    above = (*above, id(value))
    nested = False
    for key, part in _nested(value):
        nested = True
        if type(part) not in PLAIN and not isinstance(part, kinds):
            yield from strays(f"{path}.{key}", part, kinds, above)
    if nested:
        return
    holder, parts = _hidden(value)
    for _, part in zip(range(_MOST), parts, strict=False):
        for _, child in walked("", part, kinds):
            yield Stray(path, holder, child)
        for stray in strays(path, part, kinds, above):
            yield Stray(path, holder, stray.child)


def _hidden(value: Any) -> tuple[str, Collection[Any]]:
    """The content of a value outside of the module tree, and a text for it."""
    if isinstance(value, (set, frozenset)):
        return f"a {type(value).__name__}", value
    if isinstance(value, functools.partial):
        return "a functools.partial", (value.func, *value.args, *value.keywords.values())
    if isinstance(value, types.MethodType):
        return "a method", (value.__self__,)
    if isinstance(value, types.FunctionType):
        return "a function", closed_over(value)
    if isinstance(value, np.ndarray):
        return "an array of objects", value.ravel().tolist() if value.dtype == object else ()
    if isinstance(value, (KeysView, ValuesView, ItemsView)):
        return "a view of a dict", list(value)
    if isinstance(value, type) or type(value).__module__ == "builtins":
        return "", ()
    slots = [n for kind in type(value).__mro__ for n in _slots_of(kind) if hasattr(value, n)]
    held = [*getattr(value, "__dict__", {}).values(), *(getattr(value, n) for n in slots)]
    return f"an object of class {type(value).__name__}", held


def _slots_of(kind: type) -> list[str]:
    return [name for name, entry in vars(kind).items() if isinstance(entry, types.MemberDescriptorType)]


def closed_over(function: types.FunctionType) -> list[Any]:
    """The values in a function's closure and its defaults."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def is_used_up(value: Any) -> bool:
    """True for a generator, `map`, `zip`, `iter([...])` and the like, which can be read only once."""
    return (
        isinstance(value, Iterator)
        and type(value).__module__ in ("builtins", "itertools")
        and not isinstance(value, itertools.count)
    )


def is_slot(kind: type, name: str) -> bool:
    """True where the attribute is a slot, which is not in the dict of attributes."""
    return isinstance(getattr(kind, name, None), types.MemberDescriptorType)
