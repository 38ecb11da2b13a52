"""Hooks in the order of their registration, and the handle that removes one."""

from __future__ import annotations

import itertools
import threading
from typing import Any, ClassVar
from weakref import ref

from tinygrad_seq.errors import ArgumentError

_ids = itertools.count()


class HookCalls(threading.local):
    """How many hooks of modules this thread has called: who records a call must know that there were some."""

    count = 0


HOOK_CALLS = HookCalls()


class Hooks(dict[int | str, Any]):
    """Functions by number, in the order they are called in. `newest` is the number of the last one of all."""

    newest: ClassVar[int] = -1

    def register(self, call: str, hook: Any, entry: Any = None, prepend: bool = False) -> RemovableHandle:
        """Add `hook`, or an `entry` that holds it; raises ArgumentError for what cannot be called."""
        if not callable(hook):
            rule = "expected a function."
            raise ArgumentError(f"{call}: a hook must be callable", {"hook": hook}, rule)
        number = Hooks.newest = next(_ids)
        if prepend:
            later = dict(self)
            self.clear()
            self[number] = hook if entry is None else entry
            self.update(later)
        else:
            self[number] = hook if entry is None else entry
        return RemovableHandle(self, number)


class RemovableHandle:
    """The result of a registration: `remove()` removes the hook; calling it again does nothing.

    As a `with` block it does so at the end, also where an error ends it. Calling it does the same as `remove`. It
    does not keep the hook's owner alive.

    >>> from tinygrad_seq.nn import Linear
    >>> layer, shapes = Linear(3, 2), []
    >>> with layer.register_forward_hook(lambda module, args, out: shapes.append(out.shape)):
    ...     _ = layer([[1.0, 2.0, 3.0]])
    >>> _ = layer([[1.0, 2.0, 3.0]])
    >>> shapes
    [(1, 2)]
    """

    def __init__(self, hooks: Hooks, number: int):
        self._hooks, self.id = ref(hooks), number

    def remove(self) -> None:
        """Remove the hook; nothing happens where it is removed already."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    __call__ = remove

    def __getstate__(self) -> tuple[Hooks | None, int]:
        return self._hooks(), self.id  # that of a module that is copied with it removes the copy's hook

    def __setstate__(self, state: tuple[Hooks | None, int]) -> None:
        hooks, self.id = state
        self._hooks = ref(Hooks() if hooks is None else hooks)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
