"""Errors for parameters that would be lost silently: neither trained nor saved."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError, DTypeError, describe
from tinygrad_seq.nn.holders import Kinds, closed_over, strays, walked
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.weakrefs import Held

_KEEP = "expected it in an attribute, or in lists, tuples and dicts of one."


def refuse_loss(module: Any, name: str, held: Mapping[str, Any], value: Any, kinds: Kinds) -> None:
    """Raise where an attribute that holds parameters or modules is to be set to something that drops them."""
    if value is None:
        return
    what = f"{type(module).__name__}.{name}: "
    before = held.get(name)
    if before is not None and not isinstance(before, Tensor):
        if not isinstance(value, kinds[0]):
            rule = f"expected a module or None, got {_named(value)}."
            raise DTypeError(what + "a module would be lost", None, rule, f"First: del module.{name}.")
        return
    # A list of parameters may be set to a list of their new values, as a step of descent written out would.
    new = dict(walked(name, value, (Tensor, np.ndarray)))
    if before is not None:
        new = {name: value}
    for path, child in held.items():
        if isinstance(child, Tensor) and path in new and not isinstance(new[path], kinds[1]):
            rule = f"expected a Parameter or None, got {_named(new[path])}."
            hint = "New values: .assign(x), or .data = x. Another parameter: Parameter(x)."
            raise DTypeError(what + "a parameter would be lost", {path: child}, rule, hint)


def refuse_no_buffer(module: Any, name: str, value: Any) -> None:
    """Raise where a buffer is to be set to something that would not be saved."""
    if name in vars(module).get("_buffers", ()) and value is not None and not isinstance(value, Tensor):
        rule = f"expected a tensor or None, got {_named(value)}."
        what = f"{type(module).__name__}.{name}: a buffer would be lost"
        raise DTypeError(what, None, rule, "Write tensor(x).")


def remember(module: Any, path: str) -> None:
    """Note that a list or dict of the module has a parameter at `path`: no assignment is seen where it goes."""
    if "." in path and path not in vars(module).get("_within", ()):
        object.__setattr__(module, "_within", frozenset((path, *vars(module).get("_within", ()))))


def refuse_dropped(module: Any, children: Iterable[tuple[str, Any]]) -> None:
    """Raise where a list or dict has a plain tensor or array in the place of a parameter that it had."""
    gone = vars(module)["_within"] - {path for path, _ in children}
    if gone:
        for name, value in vars(module).items():
            for path, found in walked(name, value, (Tensor, np.ndarray)):
                if path in gone:
                    rule = f"expected a Parameter, got {_named(found)}."
                    hint = "New values: .assign(x), or .data = x. Another parameter: Parameter(x)."
                    what = f"{type(module).__name__}.{path}: a parameter was lost"
                    raise DTypeError(what, None, rule, hint)


def _named(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{type(value).__name__} {describe(value).split('   ')[0]}"
    return type(value).__name__


def replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Note on each parameter that goes which one took its place: that of the same path, or any."""
    new = dict(_parameters(after))
    still = {id(p) for p in new.values()}
    for path, p in _parameters(before):
        if id(p) not in still and new:
            p.successor = Held(new.get(path, next(iter(new.values()))))


def _parameters(held: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, child in held.items():
        if isinstance(child, Tensor):
            yield path, child
        else:
            for below, _, children, _ in child._tree(path):
                for name, p in children:
                    if isinstance(p, Tensor):
                        yield f"{below}.{name}", p


def used_up(module: Any, name: str, value: Any) -> Exception:
    """The error for a generator, which could be looked through only once."""
    rule = f"expected a list or a tuple, got a {type(value).__name__}."
    hint = f"Write self.{name} = list(...)."
    return DTypeError(f"{type(module).__name__}.{name}: cannot be looked through twice", None, rule, hint)


def in_slot(module: Any, name: str) -> Exception:
    """The error for a slot."""
    rule = "expected no __slots__ for parameters and modules."
    return DTypeError(f"{type(module).__name__}.{name}: a slot is not looked through", None, rule)


def shared_by_all(kind: type, path: str, child: Any) -> Exception:
    """The error for what stands in the class."""
    rule = "expected it to be made in __init__, for each module anew."
    what = f"{kind.__name__}.{path}: a {type(child).__name__} of the class would be shared by all its modules"
    return DTypeError(what, None, rule)


def one_name_for_two(module: Any, path: str, first: Any, second: Any) -> Exception:
    """The error for two parameters of one path."""
    rule, hint = "expected paths of their own.", "Use other names or keys, without dots."
    what = f"{type(module).__name__}: two parameters are called {path!r}"
    return ArgumentError(what, {"first": Tensor(first), "second": Tensor(second)}, rule, hint)


def two_values_for_one(own: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[str]:
    """An error for each parameter with several names that would get different values."""
    first: dict[int, str] = {}
    found = []
    for name in arrays:
        other = first.setdefault(id(own[name]), name)
        if other != name and not np.array_equal(arrays[other], arrays[name], equal_nan=True):
            found.append(f"{name}: expected the value of {other}, for they are one parameter")
    return found


def refuse_strays(levels: Iterable[tuple[str, Any, Any, Any]], known: set[int], kinds: Kinds) -> None:
    """Raise where a module holds a parameter, a module or a tensor that requires a gradient in a place that is not
    searched.
    """
    classes = set()
    for path, module, _, others in levels:
        for name, value in others:
            full = f"{path}.{name}" if path else name
            for at, t in walked(full, value, (Tensor, *kinds)):
                if (
                    isinstance(t, Tensor)
                    and t.mode & WANTS
                    and t.is_leaf
                    and id(t) not in known
                    and not _was_given(module, t)
                ):
                    raise _no_parameter(module, at, t)
            for stray in strays(full, value, kinds):
                if id(stray.child) not in known:
                    raise _unseen(module, stray.path, stray.holder, stray.child)
        if type(module) in classes:
            continue
        classes.add(type(module))
        for name, function in _functions(type(module)):
            for stray in strays(name, function, kinds):
                if id(stray.child) not in known:
                    raise _unseen(module, name, stray.holder, stray.child)


def _was_given(module: Any, t: Tensor) -> bool:
    """True for an argument of the module's last call: a batch that requires a gradient, stored for later use."""
    return any(given() is t for given in vars(module).get("_given", ()))


def _functions(kind: type) -> Iterator[tuple[str, Any]]:
    """The functions of a class from outside this package that bring something along."""
    for base in kind.__mro__:
        if not base.__module__.startswith("tinygrad_seq."):
            for name, function in vars(base).items():
                if isinstance(function, types.FunctionType) and closed_over(function):
                    yield name, function


def _unseen(module: Any, path: str, holder: str, child: Any) -> Exception:
    thing = "parameter" if isinstance(child, Tensor) else f"module ({type(child).__name__})"
    what = f"{type(module).__name__}: the {thing} in {path!r} would be neither learnt nor saved"
    return DTypeError(what, None, f"it stands in {holder}.", _KEEP)


def _no_parameter(module: Any, path: str, t: Tensor) -> Exception:
    what = f"{type(module).__name__}: {path!r} wants a gradient, but would be neither learnt nor saved"
    rule = "expected a Parameter, or a tensor without gradient."
    hint = f"Write self.{path.rsplit('.', 1)[-1]} = Parameter(...), or .detach()."
    return DTypeError(what, {path: t}, rule, hint)
