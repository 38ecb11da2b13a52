"""Unknown keyword arguments: those of other libraries are accepted where they change nothing, all others are refused.

Python's own error ("got an unexpected keyword argument") has neither a near name nor a hint. `answer` is
called once at the end of a module, for all that is public in it; a call that fits costs one call more.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from tinygrad_seq.engine.argument_kinds import unfit
from tinygrad_seq.engine.dtypes import check_device, device
from tinygrad_seq.errors import BeyondError, Refusal, SignatureError, TooLargeError, explain

# Keywords of PyTorch and NumPy, and the values that mean what is done here anyway.
_NOTHING_ASKED: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("foreach", "fused"), (None, False, True)),  # how an update is computed, not its result
    **dict.fromkeys(("capturable", "differentiable", "maximize", "inplace"), (False, None)),
    **dict.fromkeys(("pin_memory", "share_memory", "sparse", "scale_grad_by_freq"), (False, None)),
    **dict.fromkeys(("non_blocking", "async_op"), (False, True)),
    **dict.fromkeys(("out", "size_average", "reduce", "names", "like", "max_norm", "generator"), (None,)),
    **dict.fromkeys(("where", "subok"), (True, None)),
    **dict.fromkeys(("requires_grad", "copy"), (None,)),
    "order": (None, "K", "A", "C"),
    "casting": (None, "same_kind", "safe"),
    "kind": (None, "stable"),
    "memory_format": (None, "torch.preserve_format", "torch.contiguous_format"),
    "layout": (None, "torch.strided"),
    "norm_type": (2, None),
    "_stacklevel": (3,),
}
_INSTEAD = {
    "maximize": "To climb, call backward() on the negative of what is to grow.",
    "inplace": "Results are tensors of their own; methods whose names end in _ write.",
    "out": "Results are tensors of their own; write them with x.copy_(...).",
    "where": "Choose with tgs.where(condition, x, y).",
    "capturable": "There is nothing to capture: everything runs on the CPU.",
    "differentiable": "An update is on no tape; tgs.grad(..., create_graph=True) gives gradients to go on from.",
    "pin_memory": "Everything is in the memory of the CPU.",
    "sparse": "Gradients are dense; a table's rows that were not read get zeros.",
    "memory_format": "Arrays are laid out as NumPy lays them out.",
    "layout": "Tensors are dense.",
    "max_norm": "Scale the rows yourself, inside no_grad().",
    "scale_grad_by_freq": "Divide by the counts yourself.",
    "size_average": "Write reduction='mean', 'sum' or 'none'.",
    "reduce": "Write reduction='mean', 'sum' or 'none'.",
    "generator": "Draws are from streams that tgs.manual_seed(...) sets.",
    "dtype": "Convert the result, as in y.to('float64').",
    "requires_grad": "Ask for it after, as in x.requires_grad_().",
    "copy": "Write x.clone() for a copy.",
}


_MISSING = object()


def answer(namespace: dict[str, Any], *names: str) -> None:
    """Give these functions and classes of a module, or all public ones, our error for unknown keywords."""
    for name in names or list(namespace):
        value = namespace[name]
        if getattr(value, "__module__", None) != namespace["__name__"]:
            continue  # another module's, which calls `answer` itself
        if type(value) is FunctionType and not name.startswith("_"):
            namespace[name] = answering(value)
        elif inspect.isclass(value) and not issubclass(value, BaseException):
            answer_methods(value)


def answer_methods(*classes: type) -> None:
    """The same for the constructor and the public methods of each class."""
    for cls in classes:
        for name, value in list(vars(cls).items()):
            if type(value) is FunctionType and (name == "__init__" or not name.startswith("_")):
                setattr(cls, name, answering(value))
        if "forward" in vars(cls) and not any("__init__" in vars(c) for c in cls.__mro__[:-1]):
            setattr(cls, "__init__", answering(_made_of_nothing))  # noqa: B010 - mypy's rule is the other


def _made_of_nothing(self: Any) -> None:
    object.__init__(self)


_made_of_nothing.__name__ = "__init__"


def answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; it is called again without keywords that change nothing, or raises for unknown ones."""

    @functools.wraps(function)
    def answered(*args: Any, **settings: Any) -> Any:
        try:
            # Python's fast paths, because the shortest calls are the most frequent ones.
            if settings:
                return function(*args, **settings)
            return function(args[0]) if len(args) == 1 else function(*args)
        except Exception as error:
            settings = _after(error, function, args, settings)
        return answered(*args, **settings)

    if inspect.isgeneratorfunction(function):
        return _told_by_steps(function, answered)
    one = inspect.signature(function).parameters.keys() in ({"self"}, {"x"})
    return _of_one(function, answered) if one else answered


def _told_by_steps(function: Callable[..., Any], answered: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what makes a generator, whose errors come when it is gone through."""

    @functools.wraps(function)
    def begun(*args: Any, **settings: Any) -> Any:
        return steps(answered(*args, **settings), args, settings)

    def steps(made: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        try:
            return (yield from made)
        except Exception as error:
            _after(error, function, args, settings)
            raise

    return begun


def _after(
    error: Exception, function: Callable[..., Any], args: tuple[Any, ...], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What to call the function with again; else raises the error, or one of ours that says what is wrong."""
    told: Exception | None = None
    try:
        if isinstance(error, Refusal):
            raise error
        if isinstance(error, (MemoryError, OverflowError)):
            raise _beyond(_name(function, args), error) from error
        kept = fitting(function, args, settings) if type(error) is TypeError else dict(settings)
        if len(kept) < len(settings):
            return kept
        name = _name(
            function, args
        )  # what is the package's own leaves it to its caller to say what was given
        known = isinstance(error, _FROM_INSIDE) and not name.startswith("_")
        told = unfit(function, name, args, settings) if known else None
        if told is None:
            raise error
        raise told from error
    finally:
        del error, told  # this frame stands in their tracebacks: a circle that only the collector would find


# What Python and NumPy raise where an argument is of another kind than they can work with.
_FROM_INSIDE = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError)


def _of_one(function: Callable[[Any], Any], general: Callable[..., Any]) -> Callable[..., Any]:
    """The same for `x.tanh()` and other methods, where the indirect call would cost half."""

    @functools.wraps(function)
    def answered(x: Any = _MISSING, /, *args: Any, **settings: Any) -> Any:
        if args or settings or x is _MISSING:
            return general(*(() if x is _MISSING else (x, *args)), **settings)
        try:
            return function(x)
        except Exception as error:
            return _after(error, function, (x,), {})  # always raises: there is no keyword to leave out

    return answered


def fitting(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings that the function knows; SignatureError where the others ask for something, or more is wrong."""
    signature = inspect.signature(function)
    known = [
        p.name for p in signature.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    call = _name(function, args)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = {name: value for name, value in settings.items() if name not in known and not takes_all}
    kept = {name: value for name, value in settings.items() if name not in unknown}
    asking = {name: value for name, value in unknown.items() if not _asks_nothing(call, name, value)}
    if asking:
        names = [n for n in known if n != "self"]
        raise SignatureError(_unknown(call, asking, names)) from None
    try:
        signature.bind(*args, **kept)
    except TypeError as unfit:
        parameters = [p.replace(annotation=p.empty) for n, p in signature.parameters.items() if n != "self"]
        form = signature.replace(parameters=parameters, return_annotation=signature.empty)
        rule = f"expected {call}{form}."
        raise SignatureError(f"{call}: {unfit}", None, rule) from None
    return kept


def _beyond(call: str, error: Exception) -> Exception:
    """An error of Python or NumPy about a size or a number, as an error of ours that is also of their class."""
    if isinstance(error, MemoryError):
        return TooLargeError(f"{call}: there is no memory for so many elements", None, f"{error}")
    return BeyondError(f"{call}: a number is too large", None, f"{error}")


def _name(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The name of a call in errors: a class by its own name, a method by the method's."""
    name = (
        getattr(function, "__name__", "call").lstrip("_") if function.__name__ != "__init__" else "__init__"
    )
    return type(args[0]).__name__ if name in ("__init__", "forward") and args else name


def _asks_nothing(call: str, name: str, value: Any) -> bool:
    if name == "device":
        check_device(call, value)
        return True
    if type(value).__module__ == "torch":
        value = str(value)
    allowed = _NOTHING_ASKED.get(name, ())
    return isinstance(value, (bool, int, float, str, type(None))) and any(
        value is a or (type(value) is type(a) and value == a) or (type(value) is float and value == a)
        for a in allowed
    )


def _unknown(call: str, asking: Mapping[str, Any], known: list[str]) -> str:
    from difflib import get_close_matches  # imported only for an error

    rule = (
        f"expected {'some of ' if len(known) > 1 else ''}{', '.join(known)}." if known else "expected none."
    )
    near = [n for name in asking for n in get_close_matches(name, known, 1, 0.7)]
    ways = [_INSTEAD[name] for name in asking if name in _INSTEAD]
    hint = f"Near it: {', '.join(near)}." if near else ways[0] if ways else ""
    return explain(f"{call}: no such setting: {', '.join(asking)}", asking, rule, hint)


answer_methods(device)  # which stands below this module
