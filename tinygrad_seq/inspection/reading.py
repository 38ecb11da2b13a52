"""What a character model does with each character of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.autodiff import grad
from tinygrad_seq.bptt.words import Shown
from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.inspection.unrolling import at_rest
from tinygrad_seq.models.gpt import GPT
from tinygrad_seq.models.latent import LatentAR
from tinygrad_seq.models.neural import NeuralModel, evaluating, log_softmax
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.nn.basic import Embedding
from tinygrad_seq.nn.recurrent import Recurrent
from tinygrad_seq.numerics import Array
from tinygrad_seq.tensor import Tensor

__all__ = ["OnText", "on_text", "saliency", "told"]

ROWS = 32  # losses that one backward pass takes together, each in a row of the batch of its own
LOGITS = 1 << 24  # numbers in the logits of such a pass, at the most


@dataclass(frozen=True, repr=False)
class OnText(Shown):
    """What a model of T symbols read: `parts["h_l0"][s]` (T, H) is the state after symbol s, gates likewise.

    `log_p[s]` is log P(x_s | x_1 .. x_{s-1}) in nats, `entropy[s]` that of the prediction it was drawn from;
    both of the first symbol are those of `model.first()`.
    """

    ids: Array
    log_p: Array
    entropy: Array
    parts: Mapping[str, Array]


def _net(model: NeuralModel) -> Recurrent | None:
    net = getattr(model, model._net, None) if isinstance(model, LatentAR) else None
    return net if isinstance(net, Recurrent) else None


def on_text(model: NeuralModel, ids: npt.ArrayLike) -> OnText:
    """Read ids (T,) once, without dropout and off the tape, and keep all gates and states.

    Raises ArgumentError for a model that is not recurrent, DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import CharLM
    >>> seen = on_text(CharLM(5, 4), [0, 3, 1])
    >>> sorted(seen.parts), seen.parts["f_l0"].shape
    (['c_l0', 'f_l0', 'g_l0', 'h_l0', 'i_l0', 'o_l0'], (3, 4))
    """
    char, net = cast(LatentAR, model), _net(model)
    if net is None:
        rule = "expected a CharLM or LatentAR of an RNN, GRU or LSTM."
        raise ArgumentError(explain(f"on_text: {type(model).__name__} has no gates to look at", None, rule))
    known = read_ids("on_text", ids, model.vocabulary_size, 1)
    with evaluating(model):
        h, _, trace = net(char.embedding(known[:, None]), return_trace=True)
        after = log_softmax(char.head(h).numpy()[:, 0])
    chosen = np.concatenate([model.first()[None], after[:-1]])
    parts = {name: np.asarray(part.numpy()[:, 0], np.float64) for name, part in trace.items()}
    return OnText(known, chosen[np.arange(len(known)), known], entropy_of(chosen), parts)


def entropy_of(log_chances: Array) -> Array:
    """(T,): the entropy in nats of each row of log-chances, (T, V)."""
    chances = np.exp(log_chances)
    return np.asarray(-np.sum(chances * np.where(chances > 0, log_chances, 0.0), axis=1))


def told(model: NeuralModel, ids: npt.ArrayLike) -> Array:
    """log P(x_s = v | x_1 .. x_{s-1}) for each s and v, (T, V), in nats, without dropout and off the tape.

    Raises DataError and RangeError for ids that are none, ArgumentError for more than the model sees at once.

    >>> from tinygrad_seq.models import CharLM
    >>> told(CharLM(5, 4), [0, 3, 1]).shape
    (3, 5)
    """
    known = read_ids("told", ids, model.vocabulary_size, 1)
    require_one_window("told", model, len(known))
    if len(known) == 1:
        return model.first()[None]
    with evaluating(model):
        logits, _ = model(known[:-1, None])
    return np.concatenate([model.first()[None], log_softmax(logits.numpy()[:, 0])])


def require_one_window(call: str, model: NeuralModel, T: int) -> None:
    """Raise ArgumentError for a text in which the model would start again: what it sees would jump."""
    most = model.block if model.block is not None else model.longest
    if most is not None and most < T:
        rule = f"expected at most {most:,} symbols, got {T:,}."
        what = f"{call}: {type(model).__name__} does not see the text at once"
        raise ArgumentError(explain(what, None, rule, "Give the piece that you want to look at."))


def saliency(model: NeuralModel, ids: npt.ArrayLike) -> Array:
    """How much the prediction of each symbol depends on each before it: (T, T), zero on and above the diagonal.

        norms[t, s] = sqrt(sum((d log P(x_t | x_1 .. x_{t-1}) / d e_s)^2)),   e_s the embedding of x_s, s < t

    Many losses go back together, each in a row of the batch. Raises ArgumentError for a model that is neither
    recurrent nor a GPT and for more than a GPT's window, DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import CharLM
    >>> found = saliency(CharLM(5, 4), [0, 3, 1])
    >>> (found > 0).tolist()
    [[False, False, False], [True, False, False], [True, True, False]]
    """
    if not isinstance(model, GPT) and _net(model) is None:
        rule = "expected a CharLM, a LatentAR of an RNN, GRU or LSTM, or a GPT."
        what = f"saliency: {type(model).__name__} is no model whose embeddings can be told apart by step"
        raise ArgumentError(explain(what, None, rule))
    known = read_ids("saliency", ids, model.vocabulary_size, 1)
    require_one_window("saliency", model, len(known))
    norms = np.zeros((len(known), len(known)))
    together = max(1, min(ROWS, LOGITS // (len(known) * model.vocabulary_size)))
    for first in range(1, len(known), together):
        rows = np.arange(first, min(first + together, len(known)))
        read = np.repeat(known[: rows[-1], None], len(rows), axis=1)
        g = _slopes(model, read, rows, known[rows])
        norms[rows, : rows[-1]] = np.sqrt((g * g).sum(-1))
    return norms


def _slopes(model: Any, read: Array, rows: Array, targets: Array) -> Array:
    """(B, T, E): how log P(targets[b]) after `rows[b]` symbols of column b depends on their embeddings."""
    each = np.arange(len(rows))
    with at_rest(model), _leaves(model.embedding) as leaves:
        if isinstance(model, GPT):
            logits = model(read)[0][rows - 1, each]
        else:
            h, _ = getattr(model, model._net)(model.embedding(read))
            logits = model.head(h[rows - 1, each])
        (slope,) = grad(_log_chances(logits, targets).sum(), [leaves[0]])
    g: Array = slope.numpy().astype(np.float64)
    return g if isinstance(model, GPT) else g.transpose(1, 0, 2)


@contextmanager
def _leaves(embedding: Embedding) -> Iterator[list[Tensor]]:
    """What the embedding gives inside, each a leaf of the tape."""
    found: list[Tensor] = []
    own = embedding.forward

    def forward(ids: Any) -> Tensor:
        found.append(own(ids).detach().requires_grad_())
        return found[-1]

    vars(embedding)["forward"] = forward
    try:
        yield found
    finally:
        del vars(embedding)["forward"]


def _log_chances(logits: Tensor, targets: Array) -> Tensor:
    rows: Tensor = F.log_softmax(logits, -1)
    return rows[np.arange(len(targets)), targets]
