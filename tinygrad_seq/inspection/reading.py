"""What a character model of recurrent layers does with each character of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.autodiff import grad
from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.inspection.unrolling import at_rest
from tinygrad_seq.models.latent import LatentAR
from tinygrad_seq.models.neural import NeuralModel, evaluating, log_softmax
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.nn.recurrent import Recurrent
from tinygrad_seq.numerics import Array
from tinygrad_seq.tensor import Tensor

__all__ = ["OnText", "on_text", "saliency"]

ROWS = 32  # losses that one backward pass takes together, each in a row of the batch of its own


@dataclass(frozen=True)
class OnText:
    """What a model of T symbols read: `parts["h_l0"][s]` (T, H) is the state after symbol s, gates likewise.

    `log_p[s]` is log P(x_s | x_1 .. x_{s-1}) in nats, `entropy[s]` that of the prediction it was drawn from;
    both of the first symbol are those of `model.first()`.
    """

    ids: Array
    log_p: Array
    entropy: Array
    parts: Mapping[str, Array]


def _recurrent(call: str, model: NeuralModel) -> tuple[LatentAR, Recurrent]:
    net = getattr(model, model._net, None) if isinstance(model, LatentAR) else None
    if not isinstance(model, LatentAR) or not isinstance(net, Recurrent):
        rule = "expected a CharLM or LatentAR of an RNN, GRU or LSTM."
        raise ArgumentError(explain(f"{call}: {type(model).__name__} has no gates to look at", None, rule))
    return model, net


def on_text(model: NeuralModel, ids: npt.ArrayLike) -> OnText:
    """Read ids (T,) once, without dropout and off the tape, and keep all gates and states.

    Raises ArgumentError for a model that is not recurrent, DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import CharLM
    >>> seen = on_text(CharLM(5, 4), [0, 3, 1])
    >>> sorted(seen.parts), seen.parts["f_l0"].shape
    (['c_l0', 'f_l0', 'g_l0', 'h_l0', 'i_l0', 'o_l0'], (3, 4))
    """
    char, net = _recurrent("on_text", model)
    known = read_ids("on_text", ids, model.vocabulary_size, 1)
    with evaluating(model):
        h, _, trace = net(char.embedding(known[:, None]), return_trace=True)
        told = log_softmax(char.head(h).numpy()[:, 0])
    told = np.concatenate([model.first()[None], told[:-1]])
    chances = np.exp(told)
    entropy = -np.sum(chances * np.where(chances > 0, told, 0.0), axis=1)
    parts = {name: np.asarray(part.numpy()[:, 0], np.float64) for name, part in trace.items()}
    return OnText(known, told[np.arange(len(known)), known], entropy, parts)


def saliency(model: NeuralModel, ids: npt.ArrayLike) -> Array:
    """How much the prediction of each symbol depends on each before it: (T, T), zero on and above the diagonal.

        norms[t, s] = sqrt(sum((d log P(x_t | x_1 .. x_{t-1}) / d e_s)^2)),   e_s the embedding of x_s, s < t

    Many losses go back together, each in a row of the batch. Raises as `on_text` does.

    >>> from tinygrad_seq.models import CharLM
    >>> found = saliency(CharLM(5, 4), [0, 3, 1])
    >>> (found > 0).tolist()
    [[False, False, False], [True, False, False], [True, True, False]]
    """
    char, net = _recurrent("saliency", model)
    known = read_ids("saliency", ids, model.vocabulary_size, 1)
    norms = np.zeros((len(known), len(known)))
    for first in range(1, len(known), ROWS):
        rows = np.arange(first, min(first + ROWS, len(known)))
        with at_rest(model):
            read = np.repeat(known[: rows[-1], None], len(rows), axis=1)
            e = char.embedding(read).detach().requires_grad_()
            h, _ = net(e)
            logits = char.head(h[rows - 1, np.arange(len(rows))])
            (slope,) = grad(_log_chances(logits, known[rows]).sum(), [e])
        g = slope.numpy().astype(np.float64)
        norms[rows, : rows[-1]] = np.sqrt((g * g).sum(-1)).T
    return norms


def _log_chances(logits: Tensor, targets: Array) -> Tensor:
    rows: Tensor = F.log_softmax(logits, -1)
    return rows[np.arange(len(targets)), targets]
