"""The states of all steps of all recurrent layers, seen as they are made; layers know nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tinygrad_seq.nn import Module
from tinygrad_seq.nn.recurrences import Recurrence
from tinygrad_seq.nn.recurrent import Recurrent
from tinygrad_seq.nodes import STATE
from tinygrad_seq.tensor import Tensor

__all__ = ["recurrent_layers", "seeing", "states_of"]

See = Callable[[str, int, tuple[Tensor, ...]], tuple[Tensor, ...]]


def recurrent_layers(model: Module) -> dict[str, Recurrent]:
    """The recurrent networks of a model by what their layers' names begin with: nothing where there is one."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, Recurrent)}
    if len(found) == 1:
        return {"": next(iter(found.values()))}
    return {f"{name}.": m for name, m in found.items()}


@contextmanager
def seeing(model: Module, see: See) -> Iterator[None]:
    """Inside, `see(layer, t, state)` is called after each step, and what it returns goes on into the next.

    `layer` is `l0` or `l1_reverse`, after the network's name where the model has several; `state` is (h,) or
    (h, c). The step's output is that of the network, whatever is returned.
    """
    with ExitStack() as stack:
        for prefix, net in recurrent_layers(model).items():
            own = net.kind
            names = [f"{prefix}{s[1:]}" for k in range(net.num_layers) for s in net._suffixes(k)]
            vars(net)["kind"] = _Seen(own, names, see)
            stack.callback(vars(net).__setitem__, "kind", own)
        yield


class _Seen:
    """A recurrence whose steps are seen; in all else it is the one that it stands for."""

    def __init__(self, own: Recurrence, names: list[str], see: See):
        self.own, self.names, self.see, self.calls = own, names, see, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def step(self, w: Any, **settings: Any) -> Any:
        """The step of the recurrence, seen: it is asked for once for each layer and direction, in order."""
        name, see = self.names[self.calls % len(self.names)], self.see
        self.calls += 1
        step = self.own.step(w, **settings)

        def seen(xw: Tensor, state: Any) -> Any:
            out, new, *rest = step(xw, state)
            return (out, see(name, STATE.place.step or 0, new), *rest)

        return seen


@contextmanager
def states_of(model: Module) -> Iterator[dict[str, dict[int, tuple[Tensor, ...]]]]:
    """The states that the forward pass inside makes: `found[layer][t]` is (h_t,) or (h_t, c_t), on the tape.

    >>> import tinygrad_seq as tgs
    >>> layer = tgs.LSTM(2, 3)
    >>> with states_of(layer) as found:
    ...     out, _ = layer(tgs.ones(4, 1, 2))
    >>> list(found["l0"]), found["l0"][3][0].shape
    ([0, 1, 2, 3], (1, 3))
    """
    found: dict[str, dict[int, tuple[Tensor, ...]]] = {}

    def keep(name: str, t: int, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found.setdefault(name, {})[t] = state
        return state

    with seeing(model, keep):
        yield found
