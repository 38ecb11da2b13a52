"""The states of all steps of all recurrent layers, read by their step hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.nn import Module
from tinygrad_seq.nn.rnn.recurrent import Recurrent

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
            stack.enter_context(net.register_step_hook(_named(prefix, see)))
        yield


def _named(prefix: str, see: See) -> Callable[..., Any]:
    return lambda net, layer, t, state: see(prefix + layer, t, state)


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
