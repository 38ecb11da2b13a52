"""The arrays of `analysis.probe` for one model and one text, collected into a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.analysis import probe
from tinygrad_seq.analysis.probe.text import entropy_of
from tinygrad_seq.analysis.probe.units import LEAST
from tinygrad_seq.analysis.report.captions import Token, placed_label_of, tokens_of
from tinygrad_seq.analysis.report.record import SECTIONS, GateOnText, Heads, Layer, Record
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.errors import ArgumentError, DataError
from tinygrad_seq.models import GPT, LatentAR
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.nn.multihead_attention import MultiheadAttention
from tinygrad_seq.nn.rnn.recurrent import Recurrent
from tinygrad_seq.runtime.arrays import Array

__all__ = ["checked_sections", "gathered", "shortened"]

LIKELIEST = 5  # guesses that are kept for each token
CHARACTERS_A_TOKEN = 16  # of a longer text, what is encoded at all


def checked_sections(only: Iterable[str] | None) -> tuple[str, ...]:
    """The sections asked for, in the order of the page.

    Raises ArgumentError for a name that is none of them.
    """
    wanted = SECTIONS if only is None else tuple(only)
    wrong = [name for name in wanted if name not in SECTIONS]
    if wrong or not wanted:
        what = f"report: there is no section {wrong[0]!r}" if wrong else "report: no section is asked for"
        raise ArgumentError(what, None, f"expected some of {', '.join(SECTIONS)}.")
    return tuple(name for name in SECTIONS if name in wanted)


def gathered(
    model: NeuralModel,
    tokenizer: Tokenizer,
    text: str,
    sections: tuple[str, ...],
    longest: int,
    title: str,
    source: str = "",
) -> Record:
    """Everything about the first tokens of a text, at most `longest` of them; a GPT reads them window by window."""
    if not isinstance(model, GPT) and not _net(model):
        rule = "expected a CharLM, or a LatentAR of an RNN, GRU or LSTM, or a GPT."
        raise ArgumentError(f"report: {type(model).__name__} cannot be looked into", None, rule)
    ids, notes = shortened(tokenizer, text, longest)
    windows = probe.windows_of(model, len(ids))
    if len(windows) > 1:
        notes.append(_in_windows(windows))
    shown_text, tokens = tokens_of(tokenizer, ids)
    parts: Mapping[str, Array]
    seen = probe.activations(model, ids) if _net(model) else None
    attended = probe.attention_in_windows(model, ids) if seen is None else None
    parts = seen.parts if seen is not None else attended.parts if attended is not None else {}
    gates = probe.gates(parts)
    left_out = _left_out(model, sections, bool(gates))
    shown = tuple(name for name in sections if name not in left_out)
    log_probs = probe.log_probs(model, ids, windows=True)
    spans = tokenizer.spans(ids)
    found, cannot_tell = _found(parts, shown_text, tokens, notes) if "units" in shown else ([], {})
    return Record(
        title=title,
        facts=_facts(model, tokenizer, tokens, log_probs, ids, source),
        notes=notes,
        left_out=left_out,
        text=shown_text,
        tokens=tokens,
        log_p=log_probs[np.arange(len(ids)), ids],
        entropy=entropy_of(log_probs),
        likeliest=_likeliest(tokenizer, log_probs),
        saliency=probe.saliency(model, ids, windows=True) if "saliency" in shown else None,
        parts=_kept(parts, shown, {g.name for g in gates}),
        found=found,
        cannot_tell=cannot_tell,
        gates=_gates(gates) if "gates" in shown else [],
        attention=_heads(attended) if attended is not None and "attention" in shown else [],
        health=_health(parts) if "health" in shown else [],
        shown=shown,
        starts=[w.start for w in windows for _ in range(w.first, w.stop)],
        spans=spans,
        by_character=probe.saliency(model, ids, spans=spans, windows=True)
        if "saliency" in shown and len(spans) < len(ids)
        else None,
    )


def _in_windows(windows: Sequence[probe.Window]) -> str:
    first, second = windows[:2]
    return (
        f"The model sees {first.stop:,} tokens at once. The text is read in {len(windows):,} windows, as the model "
        f"reads a long text itself: each but the first begins with the last {second.first - second.start:,} tokens "
        "of the one before, and sees nothing before them."
    )


def _net(model: Any) -> Recurrent | None:
    net = getattr(model, model._net, None) if isinstance(model, LatentAR) else None
    return net if isinstance(net, Recurrent) else None


def shortened(tokenizer: Tokenizer, text: str, longest: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The ids of a text (T,), of its beginning where it is too long, and what to say of that.

    Raises DataError for less than two tokens and for characters that the tokenizer does not know.
    """
    beginning = text[: longest * CHARACTERS_A_TOKEN]
    ids = tokenizer.encode(beginning)
    if len(ids) < 2:
        rule = f"expected at least 2 tokens, got {len(ids)}."
        raise DataError("report: the text is too short", {"text": text}, rule)
    if len(ids) <= longest and len(beginning) == len(text):
        return ids, []
    kept = min(longest, len(ids))
    # The cut must not go through a character.
    while kept > 2 and not beginning.startswith(tokenizer.decode(ids[:kept])):
        kept -= 1
    text_length = f"{len(text):,} characters"
    why = "a page of more would be slow"
    note = f"The text is longer than what is shown: the first {kept:,} tokens of {text_length}; {why}."
    return ids[:kept], [note]


def _left_out(model: NeuralModel, sections: tuple[str, ...], has_gates: bool) -> dict[str, str]:
    why = {}
    if "gates" in sections and not has_gates:
        why["gates"] = (
            "A Transformer has no gates." if isinstance(model, GPT) else "A plain RNN has no gates."
        )
    if "attention" in sections and not isinstance(model, GPT):
        why["attention"] = "This model is recurrent: what it keeps is a state, and it attends to nothing."
    return why


def _facts(
    model: NeuralModel, tokenizer: Tokenizer, tokens: list[Token], log_probs: Array, ids: Array, source: str
) -> dict[str, str]:
    weights = sum(p.size for p in model.parameters())
    net = _net(model)
    if net is not None:
        kind = f"{type(net).__name__}, {net.num_layers} x {net.hidden_size} units"
    else:
        heads = [m.num_heads for m in model.modules() if isinstance(m, MultiheadAttention)]
        kind = f"GPT, {len(heads)} layers of {heads[0]} heads"
    bits = -float(log_probs[np.arange(len(ids)), ids][1:].mean()) / np.log(2)
    return {
        "Model": kind,
        "Weights": f"{weights:,}",
        "Tokenizer": f"{tokenizer.spec}, {len(tokenizer):,} symbols",
        "Text": f"{len(tokens):,} tokens" + (f", {source}" if source else ""),
        "Loss on it": f"{bits:z.3f} bits per token, the first left out",
    }


def _likeliest(tokenizer: Tokenizer, log_probs: Array) -> list[list[list[Any]]]:
    best = np.argsort(-log_probs, axis=1, kind="stable")[:, :LIKELIEST]
    names = {int(i): placed_label_of(tokenizer, int(i)) for i in np.unique(best)}
    return [
        [[names[int(i)], float(np.exp(row[i]))] for i in ids]
        for row, ids in zip(log_probs, best, strict=True)
    ]


def _kept(parts: Mapping[str, Array], shown: tuple[str, ...], gates: set[str]) -> dict[str, Array]:
    """The parts that a section of the page reads."""
    return {n: a for n, a in parts.items() if "units" in shown or ("gates" in shown and n in gates)}


def _found(
    parts: Mapping[str, Array], text: str, tokens: list[Token], notes: list[str]
) -> tuple[list[probe.Detected], dict[str, str]]:
    """The units found, and the properties that cannot be judged."""
    after = [t.last - 1 for t in tokens]
    wanted = {name: values[after] for name, values in probe.detectors(text).items()}
    why = probe.cannot_tell(wanted)
    if len(tokens) < LEAST:
        notes.append(f"Too short to tell which units follow something: {next(iter(why.values()))}.")
        return [], why
    return probe.find_units(parts, wanted), why


def _gates(found: list[probe.Gate]) -> list[GateOnText]:
    return [GateOnText(g.name, g.shut, g.open, g.mean, g.lifetime) for g in found]


def _heads(attended: probe.AttendedInWindows) -> list[Heads]:
    return [Heads(name, a.weights, a.entropy, a.distance) for name, a in attended.layers.items()]


def _health(parts: Mapping[str, Array]) -> list[Layer]:
    return [
        Layer(one.layer, one.units, one.constant, one.stuck, one.lost, one.std, one.words)
        for one in probe.health(parts)
    ]
