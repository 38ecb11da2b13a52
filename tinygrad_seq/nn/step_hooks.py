"""Hooks after each time step of a recurrent layer, called with the new state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_seq.engine.handles import HOOK_CALLS, RemovableHandle
from tinygrad_seq.nn.module import Module

StepHook = Callable[[int, Any], Any]


class SteppedModule(Module):
    """A module that runs over time and calls hooks at each step."""

    def register_step_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, layer, t, state)` after each step; returns a handle to remove it.

        `layer` is `l0`, or `l1_reverse`; `state` holds h, or h and c, as a tuple of tensors (B, H) on the tape. What
        it returns goes on into the next step, unless None: a tuple of tensors of the same shapes, else ShapeError.
        The outputs of the layer stay those of the network. Beside that all is as in `register_forward_hook`.

        >>> from tinygrad_seq import LSTM, zeros
        >>> layer, seen = LSTM(2, 3), []
        >>> with layer.register_step_hook(lambda module, layer, t, state: seen.append((layer, t, len(state)))):
        ...     _ = layer(zeros(2, 1, 2))
        >>> seen
        [('l0', 0, 2), ('l0', 1, 2)]
        """
        return self._hooks_here().steps.register("register_step_hook", hook)

    def _step_hook(self, layer: str, check: Callable[[Any, Any], Any]) -> StepHook | None:
        """What `unroll` calls, if anything; `check(returned, state)` is the state after a hook."""
        hooked = self._hooked
        if hooked is None or not hooked.steps:
            return None

        def call(t: int, state: Any) -> Any:
            HOOK_CALLS.count += 1
            for hook in list(hooked.steps.values()):
                state = check(hook(self, layer, t, state), state)
            return state

        return call
