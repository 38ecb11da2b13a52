"""Which arguments of a call that failed are of another kind than the function's annotations say.

It is asked only after Python or NumPy has raised an error of its own, so a call that is right costs nothing. What
cannot be told, as `Any` and names that only a type checker knows, counts as right: the error then stays as it is.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import math
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, get_args, get_origin

import numpy as np

from tinygrad_seq.errors import DTypeError

_MANY = ("Sequence", "Iterable", "Iterator", "Collection", "list", "tuple", "set", "frozenset")
_MOST = 1000  # members of a list that are looked at


def unfit(
    function: Callable[..., Any], call: str, args: tuple[Any, ...], settings: Mapping[str, Any]
) -> DTypeError | None:
    """The error that names the arguments of the wrong kind, or None where all may be right."""
    try:
        bound = inspect.signature(function).bind(*args, **settings).arguments
    except (TypeError, ValueError):
        return None
    wrong, rules = {}, []
    for name, parameter in inspect.signature(function).parameters.items():
        written = parameter.annotation
        if name in bound and isinstance(written, str) and name != "self":
            values = [bound[name]]
            if parameter.kind is parameter.VAR_POSITIONAL:
                values = list(bound[name])
            elif parameter.kind is parameter.VAR_KEYWORD:
                values = list(bound[name].values())
            named = getattr(inspect.unwrap(function), "__globals__", {})
            if not all(_accepts(_parsed(written), value, named) for value in values):
                wrong[name] = bound[name]
                rules.append(f"{name}: {written}")
    if not wrong:
        return None
    what = f"{call}: {' and '.join(wrong)} of the wrong kind"
    return DTypeError(what, wrong, f"expected {', '.join(rules)}.")


@functools.lru_cache(512)
def _parsed(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _accepts(node: ast.expr, value: Any, named: Mapping[str, Any]) -> bool:
    """Whether a value may be what an annotation says."""
    if isinstance(node, ast.BinOp):
        return _accepts(node.left, value, named) or _accepts(node.right, value, named)
    if isinstance(node, ast.Constant):
        return value is None if node.value is None else True
    if isinstance(node, ast.Subscript):
        return _accepts_many(node, value, named)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if name in _PLAIN:
        return _PLAIN[name](value)
    if name in _MANY:
        return _is_many(name, value)
    return _is_kind(value, _found(node, named))


def _is_kind(value: Any, kind: Any) -> bool:
    """Whether a value is of a class, or of what a module has a name for, as `Source = str | Path`."""
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return any(_is_kind(value, one) for one in get_args(kind))
    origin = get_origin(kind) or kind
    if origin is Callable:
        return callable(value)
    if origin is int or origin is float or origin is str or origin is bool:
        return _PLAIN[origin.__name__](value)
    if not inspect.isclass(origin) or origin is object or getattr(origin, "_is_protocol", False):
        return True
    if (
        isinstance(value, (str, bytes))
        and issubclass(origin, Iterable)
        and not issubclass(origin, (str, bytes))
    ):
        return False
    try:
        return isinstance(value, origin)
    except TypeError:
        return True


def _accepts_many(node: ast.Subscript, value: Any, named: Mapping[str, Any]) -> bool:
    base, of = ast.unparse(node.value).rpartition(".")[2], node.slice
    if base == "Callable":
        return callable(value)
    if base in ("Mapping", "MutableMapping", "dict"):
        return isinstance(value, Mapping)
    if base == "type":
        return isinstance(value, type)
    if base in ("NDArray", "ndarray"):
        return isinstance(value, np.ndarray)
    if base not in _MANY:
        return _accepts(node.value, value, named) if base != "Literal" else True
    if not _is_many(base, value):
        return False
    if isinstance(of, ast.Tuple) or not hasattr(value, "__len__"):
        return True  # pairs; and what can be gone through once is left as it is
    return all(_accepts(of, member, named) for member in itertools.islice(iter(value), _MOST))


def _is_many(base: str, value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    return hasattr(value, "__iter__") and (base in ("Iterable", "Iterator") or hasattr(value, "__len__"))


def _found(node: ast.expr, named: Mapping[str, Any]) -> Any:
    """What a dotted name means in the function's module, or None where only a type checker knows it."""
    if isinstance(node, ast.Attribute):
        return getattr(_found(node.value, named), node.attr, None)
    return named.get(node.id) if isinstance(node, ast.Name) else None


def _is_whole(value: Any) -> bool:
    try:
        operator.index(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    try:
        return not isinstance(value, (str, bytes, bool, np.bool_)) and not math.isnan(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _is_numbers(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except (TypeError, ValueError):
        return False


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "Any": lambda value: True,
    "object": lambda value: True,
    "int": _is_whole,
    "float": _is_real,
    "bool": lambda value: isinstance(value, (bool, np.bool_)),
    "str": lambda value: isinstance(value, str),
    "bytes": lambda value: isinstance(value, bytes),
    "Array": lambda value: isinstance(value, np.ndarray),
    "ArrayLike": _is_numbers,
    "Ids": _is_numbers,
    "None": lambda value: value is None,
}
