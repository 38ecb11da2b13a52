"""States, predictions and saliency of a character model at each character of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tinygrad_seq import functional as F
from tinygrad_seq.analysis.probe.unrolled_graph import at_rest
from tinygrad_seq.bptt.summary import Shown
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models.gpt import GPT
from tinygrad_seq.models.latent import LatentAR
from tinygrad_seq.models.neural import NeuralModel, evaluating, log_softmax
from tinygrad_seq.models.protocol import read_ids
from tinygrad_seq.nn.basic_layers import Embedding
from tinygrad_seq.nn.rnn.recurrent import Recurrent
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Activations", "Window", "activations", "log_probs", "saliency", "windows_of"]

ROWS = 32  # losses that one backward pass takes together, each in a row of the batch of its own
LOGITS = 1 << 24  # numbers in the logits of such a pass, at the most


@dataclass(frozen=True, repr=False)
class Activations(Shown):
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


def activations(model: NeuralModel, ids: npt.ArrayLike) -> Activations:
    """Read ids (T,) once, without dropout and off the tape, and keep all gates and states.

    Raises ArgumentError for a model that is not recurrent, DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import CharLM
    >>> seen = activations(CharLM(5, 4), [0, 3, 1])
    >>> sorted(seen.parts), seen.parts["f_l0"].shape
    (['c_l0', 'f_l0', 'g_l0', 'h_l0', 'i_l0', 'o_l0'], (3, 4))
    """
    char, net = cast(LatentAR, model), _net(model)
    if net is None:
        rule = "expected a CharLM or LatentAR of an RNN, GRU or LSTM."
        raise ArgumentError(f"activations: {type(model).__name__} has no gates to look at", None, rule)
    known = read_ids("activations", ids, model.vocabulary_size, 1)
    with evaluating(model):
        h, _, trace = net(char.embedding(known[:, None]), return_trace=True)
        after = log_softmax(char.head(h).numpy()[:, 0])
    chosen = np.concatenate([model.first()[None], after[:-1]])
    parts = {name: np.asarray(part.numpy()[:, 0], np.float64) for name, part in trace.items()}
    return Activations(known, chosen[np.arange(len(known)), known], entropy_of(chosen), parts)


def entropy_of(log_probs: Array) -> Array:
    """(T,): the entropy in nats of each row of log-probabilities, (T, V)."""
    probabilities = np.exp(log_probs)
    return np.asarray(-np.sum(probabilities * np.where(probabilities > 0, log_probs, 0.0), axis=1))


class Window(NamedTuple):
    """A piece of a text that a model reads at once, symbols `start` to `stop` - 1; those from `first` on are new."""

    start: int
    first: int
    stop: int


def windows_of(model: NeuralModel, T: int) -> tuple[Window, ...]:
    """The windows in which a model reads T symbols: one, or as a `GPT` does that sees no more than `block` at once.

    Its first window is `block` symbols; each other begins with the last `block` // 2 of the one before.

    >>> windows_of(GPT(5, block=8, layers=1, heads=1, width=4), 14)
    (Window(start=0, first=0, stop=8), Window(start=4, first=8, stop=12), Window(start=8, first=12, stop=14))
    """
    block = model.block
    if block is None or block >= T:
        return (Window(0, 0, T),)
    again = block // 2
    firsts = range(block, T, block - again)
    later = [Window(first - again, first, min(first + block - again, T)) for first in firsts]
    return (Window(0, 0, block), *later)


def log_probs(model: NeuralModel, ids: npt.ArrayLike, *, windows: bool = False) -> Array:
    """log P(x_s = v | x_1 .. x_{s-1}) for each s and v, (T, V), in nats, without dropout and off the tape.

    With `windows` a text may be longer than a GPT sees at once: it is read as in `windows_of`.

    Raises DataError and RangeError for ids that are none, ArgumentError for more than the model sees.

    >>> from tinygrad_seq.models import CharLM
    >>> log_probs(CharLM(5, 4), [0, 3, 1]).shape
    (3, 5)
    """
    known = read_ids("log_probs", ids, model.vocabulary_size, 1)
    if not windows or model.block is None:
        require_one_window("log_probs", model, len(known))
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
        raise ArgumentError(what, None, rule, "Give the piece that you want to look at.")


def saliency(
    model: NeuralModel,
    ids: npt.ArrayLike,
    *,
    spans: Sequence[tuple[int, int]] | None = None,
    windows: bool = False,
) -> Array:
    """How much the prediction of each symbol depends on each before it: (T, T), zero on and above the diagonal.

        norms[t, s] = sqrt(sum((d log P(x_t | x_1 .. x_{t-1}) / d e_s)^2)),   e_s the embedding of x_s, s < t

    With `spans`, as `Tokenizer.spans` has them, G of them, the same of characters, (G, G): log P is that of all
    symbols of a character, which is their sum, and e_s the embeddings of all symbols of an earlier one. With
    `windows` a text may be longer than a GPT sees at once: it is read as in `windows_of`, and what is before the
    window that a prediction is made from has no part in it, 0.

    Many losses go back together, each in a row of the batch. Raises ArgumentError for a model that is neither
    recurrent nor a GPT, for more than a GPT's window and for spans that do not cover the ids one after the other,
    DataError and RangeError for ids that are none.

    >>> from tinygrad_seq.models import CharLM
    >>> found = saliency(CharLM(5, 4), [0, 3, 1])
    >>> (found > 0).tolist()
    [[False, False, False], [True, False, False], [True, True, False]]
    """
    if not isinstance(model, GPT) and _net(model) is None:
        rule = "expected a CharLM, a LatentAR of an RNN, GRU or LSTM, or a GPT."
        what = f"saliency: {type(model).__name__} is no model whose embeddings can be told apart by step"
        raise ArgumentError(what, None, rule)
    known = read_ids("saliency", ids, model.vocabulary_size, 1)
    if not windows:
        require_one_window("saliency", model, len(known))
    groups = _checked_spans(spans, len(known))
    firsts = [first for first, _ in groups]
    squares = np.zeros((len(groups), len(groups)))
    begun: dict[int, Array] = {}  # slopes of characters of which a window before holds a part
    for window in windows_of(model, len(known)):
        for which, slopes in _by_group(model, known, groups, window):
            for g, slope in zip(which, slopes, strict=True):
                whole = begun.pop(g, np.zeros(()))
                if whole.ndim or groups[g][1] - 1 > window.stop:
                    whole = whole if whole.ndim else np.zeros((len(known), slope.shape[1]))
                    whole[window.start : window.start + len(slope)] += slope
                    begun[g] = whole
                else:
                    squares[g] = _lengths(slope, window.start, len(known), firsts)
    for g, whole in begun.items():
        squares[g] = _lengths(whole, 0, len(known), firsts)
    return np.sqrt(np.tril(squares, -1))


def _checked_spans(spans: Sequence[tuple[int, int]] | None, T: int) -> list[tuple[int, int]]:
    groups = [(t, t + 1) for t in range(T)] if spans is None else [(int(a), int(b)) for a, b in spans]
    ends = [0, *(b for _, b in groups)]
    if [a for a, _ in groups] != ends[:-1] or ends[-1] != T or any(a >= b for a, b in groups):
        rule = f"expected (first, last) of each character, one after the other, together {T:,} ids."
        raise ArgumentError("saliency: the spans do not cover the ids", {"spans": groups}, rule)
    return groups


def _lengths(slope: Array, start: int, T: int, firsts: list[int]) -> Array:
    """(G,): by character the squared length of a slope (L, E) whose first row is of symbol `start`."""
    squares = np.zeros(T)
    squares[start : start + len(slope)] = (slope * slope).sum(-1)
    return np.asarray(np.add.reduceat(squares, firsts))


def _by_group(
    model: Any, known: Array, groups: list[tuple[int, int]], window: Window
) -> Iterator[tuple[list[int], Array]]:
    """Numbers of characters of which a window predicts symbols, and (B, L, E) how log P of those depends on it."""
    # Symbol t is predicted from the window that holds the one before it.
    low, high = window.first + 1, min(window.stop, len(known) - 1)
    inside = [g for g, (a, b) in enumerate(groups) if max(a, low) <= min(b - 1, high)]
    size = (window.stop - window.start) * model.vocabulary_size
    together = max(1, min(ROWS, LOGITS // size))
    for at in range(0, len(inside), together):
        which = inside[at : at + together]
        steps = [np.arange(max(groups[g][0], low), min(groups[g][1] - 1, high) + 1) for g in which]
        columns = np.repeat(np.arange(len(which)), [len(one) for one in steps])
        rows = np.concatenate(steps)
        read = np.repeat(known[window.start : rows.max(), None], len(which), axis=1)
        yield which, _slopes(model, read, rows - window.start, columns, known[rows])


def _slopes(model: Any, read: Array, rows: Array, columns: Array, targets: Array) -> Array:
    """(B, L, E): how the sum of log P(targets[n]) after `rows[n]` symbols of column `columns[n]` depends on e."""
    with at_rest(model), _leaves(model.embedding) as leaves:
        if isinstance(model, GPT):
            logits = model(read)[0][rows - 1, columns]
        else:
            h, _ = getattr(model, model._net)(model.embedding(read))
            logits = model.head(h[rows - 1, columns])
        (slope,) = grad(_log_probs(logits, targets).sum(), [leaves[0]])
    g: Array = slope.numpy().astype(np.float64)
    return g if isinstance(model, GPT) else g.transpose(1, 0, 2)


@contextmanager
def _leaves(embedding: Embedding) -> Iterator[list[Tensor]]:
    """What the embedding gives inside, each a leaf of the tape."""
    found: list[Tensor] = []

    def cut(_: Any, args: Any, out: Tensor) -> Tensor:
        found.append(out.detach().requires_grad_())
        return found[-1]

    with embedding.register_forward_hook(cut):
        yield found


def _log_probs(logits: Tensor, targets: Array) -> Tensor:
    rows: Tensor = F.log_softmax(logits, -1)
    return rows[np.arange(len(targets)), targets]
