"""The weights of every attention in a model, seen as they are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.nn import Module
from tinygrad_seq.nn.attention import MultiheadAttention
from tinygrad_seq.numerics import Array

__all__ = ["Attention", "attention_of"]


@dataclass(frozen=True)
class Attention:
    """The weights of one layer, (B, heads, L, S), and what they come to in each head."""

    weights: Array

    @property
    def entropy(self) -> Array:
        """(heads,): how many nats the choice of a key is worth, mean over rows and queries: 0 is one key alone."""
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
                vars(one)["forward"] = _shown(one, found.setdefault(name, []))
                stack.callback(vars(one).pop, "forward")
        yield found


def _shown(one: MultiheadAttention, seen: list[Attention]) -> Any:
    own: Any = one.forward

    def forward(
        *args: Any, need_weights: bool = True, average_attn_weights: bool = True, **settings: Any
    ) -> Any:
        out, weights, *rest = own(*args, need_weights=True, average_attn_weights=False, **settings)
        seen.append(Attention(np.asarray(weights.numpy(), np.float64)))
        if not need_weights:
            weights = None
        elif average_attn_weights:
            weights = weights.mean(-3)
        return (out, weights, *rest)

    return forward
