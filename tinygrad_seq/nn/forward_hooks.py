"""Hooks around a module's `forward`: to read arguments and outputs, or to replace them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_seq.arguments import flag
from tinygrad_seq.engine.handles import HOOK_CALLS, Hooks, RemovableHandle
from tinygrad_seq.errors import DTypeError


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class Hooked:
    """The hooks of one module; a module that never had one has none of these either."""

    def __init__(self) -> None:
        self.before, self.after, self.steps = Hooks(), Hooks(), Hooks()

    def __bool__(self) -> bool:
        """True where a call has hooks."""
        return bool(self.before or self.after)

    def copy(self) -> Hooked:
        """The same functions, in dicts of its own."""
        twin = Hooked()
        twin.before.update(self.before)
        twin.after.update(self.after)
        twin.steps.update(self.steps)
        return twin

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`module.forward` between its hooks."""
        HOOK_CALLS.count += 1
        todo = dict(self.after)
        try:
            for hook in list(self.before.values()):
                args, kwargs = _given(module, hook, args, kwargs)
            out = module.forward(*args, **kwargs)
            todo = dict(self.after)  # with those that the pre-hooks and forward itself have registered
            for number, hook in list(todo.items()):
                del todo[number]
                made = _after(hook, module, args, kwargs, out)
                out = out if made is None else made
        except BaseException as error:
            for hook in todo.values():
                if hook.always_call:
                    try:
                        _after(hook, module, args, kwargs, None)
                    except Exception as second:
                        error.add_note(f"A hook with always_call raised as well: {second!r}")
            raise
        return out


def _given(module: Any, hook: _Hook, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after a pre-hook."""
    if not hook.with_kwargs:
        made = hook.function(module, args)
        if made is None:
            return args, kwargs
        return made if isinstance(made, tuple) else (made,), kwargs
    made = hook.function(module, args, kwargs)
    if made is None:
        return args, kwargs
    if (
        isinstance(made, tuple)
        and len(made) == 2
        and isinstance(made[0], tuple)
        and isinstance(made[1], dict)
    ):
        return made
    rule = "expected None or a pair (args, kwargs): a tuple and a dict."
    what = f"register_forward_pre_hook: a hook of {type(module).__name__} returned something else"
    raise DTypeError(what, {"returned": type(made).__name__}, rule)


def _after(hook: _Hook, module: Any, args: Any, kwargs: Any, out: Any) -> Any:
    return hook.function(module, args, kwargs, out) if hook.with_kwargs else hook.function(module, args, out)


class HookedModule:
    """The part of `Module` that registers hooks."""

    _hooked: Hooked | None = None

    @property
    def has_hooks(self) -> bool:
        """True where a hook is registered here: a call may then do more than `forward` does."""
        hooked = self._hooked
        return hooked is not None and bool(hooked or hooked.steps)

    def _hooks_here(self) -> Hooked:
        if self._hooked is None:
            object.__setattr__(self, "_hooked", Hooked())
        assert self._hooked is not None
        return self._hooked

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each `forward`, as PyTorch does; returns a handle to remove it.

        What it returns takes the place of the arguments, unless None: a tuple, or the one argument. With
        `with_kwargs` it is `hook(module, args, kwargs)`, and returns None or the pair of both. With `prepend` it is
        called before the hooks that are there. What it raises ends the call. Hooks are called in training and
        evaluation alike, and stand in no `state_dict`; a copy of the module has them too. One that is removed while
        hooks run is still called in that call, and no more after it.

        >>> from tinygrad_seq.nn import Identity
        >>> layer = Identity()
        >>> handle = layer.register_forward_pre_hook(lambda module, args: args[0] * 2)
        >>> layer(3), handle.remove(), layer(3)
        (6, None, 3)
        """
        call = "register_forward_pre_hook"
        entry = _Hook(hook, flag(call, "with_kwargs", with_kwargs))
        return self._hooks_here().before.register(call, hook, entry, flag(call, "prepend", prepend))

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each `forward`, as PyTorch does; returns a handle to remove it.

        What it returns takes the place of the output, unless None. With `with_kwargs` it is `hook(module, args,
        kwargs, output)`. With `always_call` it is also called where something raised before it, with None as output.
        All else is as in `register_forward_pre_hook`.

        >>> from tinygrad_seq.nn import Identity
        >>> layer = Identity()
        >>> with layer.register_forward_hook(lambda module, args, output: output + 1):
        ...     layer(3)
        4
        """
        call = "register_forward_hook"
        always = flag(call, "always_call", always_call)
        entry = _Hook(hook, flag(call, "with_kwargs", with_kwargs), always)
        return self._hooks_here().after.register(call, hook, entry, flag(call, "prepend", prepend))
