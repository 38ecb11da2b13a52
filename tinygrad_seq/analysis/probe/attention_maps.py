"""The attention weights of every layer of a model, recorded while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.analysis.probe.text import require_one_window
from tinygrad_seq.bptt.summary import Shown
from tinygrad_seq.engine.handles import RemovableHandle
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models.neural import NeuralModel, evaluating
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.nn import Module
from tinygrad_seq.nn.multihead_attention import MultiheadAttention
from tinygrad_seq.nn.transformer_layers import TransformerEncoderLayer
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Attended", "Attention", "attention_of", "attention_on_text"]


@dataclass(frozen=True, repr=False)
class Attention(Shown):
    """The attention weights of one layer, (B, heads, L, S), and their entropy and mean distance in each head."""

    weights: Array

    @property
    def entropy(self) -> Array:
        """(heads,): the entropy of the weights in nats, mean over rows and queries: 0 where one key has all."""
        w = self.weights
        return np.asarray(-(w * np.log(np.where(w > 0, w, 1.0))).sum(-1).mean((0, 2)))

    @property
    def distance(self) -> Array:
        """(heads,): the mean number of steps between a query and its keys, the last of each standing together."""
        L, S = self.weights.shape[-2:]
        apart = np.abs(np.arange(L)[:, None] + S - L - np.arange(S))
        return np.asarray((self.weights * apart).sum(-1).mean((0, 2)))


@contextmanager
def attention_of(model: Module) -> Iterator[dict[str, list[Attention]]]:
    """`found[name]` lists what the attention of that name computes inside, call by call.

    >>> from tinygrad_seq.models import GPT
    >>> model = GPT(5, block=4, layers=2, heads=2, width=4).eval()
    >>> with attention_of(model) as found:
    ...     logits, _ = model(np.array([[0], [1], [2]]))
    >>> list(found)[1], found[list(found)[1]][0].weights.shape
    ('blocks.layers.1.self_attn', (1, 2, 3, 3))
    """
    found: dict[str, list[Attention]] = {}
    with ExitStack() as stack:
        for name, one in model.named_modules():
            if isinstance(one, MultiheadAttention):
                for handle in _watched(one, found.setdefault(name, [])):
                    stack.enter_context(handle)
        yield found


def _watched(one: MultiheadAttention, seen: list[Attention]) -> Iterator[RemovableHandle]:
    """Ask for the weights of each head at every call, and give the caller what it asked for."""
    asked: list[tuple[bool, bool]] = []

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        given = inspect.signature(one.forward).bind(*args, **kwargs).arguments
        asked.append((given.get("need_weights", True), given.get("average_attn_weights", True)))
        given |= {"need_weights": True, "average_attn_weights": False}
        return (), given

    def after(_: Any, args: Any, out: Any) -> Any:
        need, average = asked.pop()
        seen.append(Attention(np.asarray(out[1].numpy(), np.float64)))
        return (out[0], (out[1].mean(-3) if average else out[1]) if need else None, *out[2:])

    yield one.register_forward_pre_hook(before, with_kwargs=True)
    # The first of all: those of others see what the caller sees.
    yield one.register_forward_hook(after, prepend=True)


@dataclass(frozen=True, repr=False)
class Attended(Shown):
    """What a Transformer read: `parts["x_l0"]` (T, E) leaves its layer 0, `layers["l0"]` is the attention there."""

    parts: Mapping[str, Array]
    layers: Mapping[str, Attention]


def attention_on_text(model: NeuralModel, ids: npt.ArrayLike) -> Attended:
    """Read ids (T,) once, without dropout and off the tape, and keep what the layers give and what they attend to.

    Raises ArgumentError for a model without Transformer layers and for more symbols than it sees at once,
    DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import GPT
    >>> seen = attention_on_text(GPT(5, block=4, layers=2, heads=2, width=4), [0, 3, 1])
    >>> sorted(seen.parts), seen.layers["l1"].weights.shape
    (['x_l0', 'x_l1'], (1, 2, 3, 3))
    """
    layers = [one for one in model.modules() if isinstance(one, TransformerEncoderLayer)]
    if not layers:
        rule = "expected a GPT, or another model of Transformer encoder layers."
        raise ArgumentError(f"attention_on_text: {type(model).__name__} has none", None, rule)
    known = read_ids("attention_on_text", ids, model.vocabulary_size, 1)
    require_one_window("attention_on_text", model, len(known))
    given: list[Array] = []
    with evaluating(model), attention_of(model) as found, ExitStack() as stack:
        for one in layers:
            stack.enter_context(one.register_forward_hook(_kept(given)))
        model(known[:, None])
    parts = {f"x_l{k}": a.reshape(len(known), -1) for k, a in enumerate(given)}
    return Attended(parts, {f"l{k}": calls[0] for k, calls in enumerate(found.values())})


def _kept(given: list[Array]) -> Any:
    def hook(_: Any, args: Any, out: Any) -> None:
        x = out[0] if isinstance(out, tuple) else out
        given.append(np.asarray(x.numpy(), np.float64))

    return hook
