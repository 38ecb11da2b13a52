"""All verdicts on a run: from its metrics, from its gates on its own text, beside n-gram counts and published
figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_seq.analysis.compare.common_text import own_parts
from tinygrad_seq.analysis.compare.counting import KNESER_NEY, UNIGRAM, baselines
from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.analysis.doctor.judge import (
    Level,
    Verdict,
    clipping,
    diverged,
    finite,
    fit,
    learning_rate,
    length,
    size,
    spikes,
    trend,
)
from tinygrad_seq.analysis.doctor.published import ELSEWHERE, published_for
from tinygrad_seq.analysis.probe import activations, health
from tinygrad_seq.errors import first_line
from tinygrad_seq.training import load_run
from tinygrad_seq.training.evaluation import Measured, difference, validate

if TYPE_CHECKING:
    from tinygrad_seq.models import NeuralModel
    from tinygrad_seq.runtime.arrays import Array

__all__ = ["against_counting", "against_published", "gates", "verdicts"]

READ = 1000  # symbols of the validation part on which the gates are looked at
MOST = 200_000  # tokens that are measured
SATURATED, BETWEEN, STUCK, DEAD = 0.9, 0.03, 0.3, 0.1


def verdicts(record: Record, data: Sequence[str] | None = None) -> Iterator[Verdict]:
    """Yield the verdicts on a run: from the metrics only, where weights or text are missing. `data` names its
    text where that is not found automatically.
    """
    nats, error = _best_nats(record), 0.0
    more: list[Verdict] = []
    try:
        run = load_run(record.path)
        parts = own_parts(record, run.vocabulary, data)
        part = parts.parts["validation"]
        found = validate(run.model, run.config, part, MOST)
        nats, error = found.nats, found.error if math.isfinite(found.error) else 0.0
        counted = baselines(parts.parts["train"], part, len(run.vocabulary), MOST)
        more += [against_counting(found, counted), *_gates_on(run.model, part)]
    except (ValueError, TypeError, LookupError, OSError, RuntimeError) as problem:
        what = f"neither counting nor the gates were looked at: {first_line(problem)}."
        more.append(Verdict("weights", "hint", what))
    gone = diverged(record)  # with such losses the validation has no meaning
    course = (
        finite(record),
        gone,
        length(record),
        size(record),
        None if gone else fit(record, error),
        None if gone else trend(record),
        learning_rate(record),
    )
    for one in (*course, clipping(record), spikes(record), *more):
        if one is not None:
            yield one
    characters = record.settings.get("tokenizer", "char") == "char"
    if nats is not None and characters:
        yield against_published(nats, record.sha256)


def _best_nats(record: Record) -> float | None:
    validation = record.column("validation")
    kept = validation[np.isfinite(validation)]
    return float(kept.min()) if len(kept) else None


def against_counting(model: Measured, counted: Mapping[str, Measured]) -> Verdict:
    """The model beside the unigram and Kneser-Ney on the same tokens, in nats per token."""
    low, high = counted[KNESER_NEY], counted[UNIGRAM]
    numbers = f"{model.nats:z.3f} nats per token; unigram {high.nats:z.3f}, {KNESER_NEY} {low.nats:z.3f}"
    # Both are measured on the same tokens, so that their difference has a small variance.
    apart = 2 * difference(model, low)[1] if len(model.sizes) > 1 else 0.0
    level: Level
    if model.nats > high.nats - apart:
        level, words = "problem", f"it knows no more than how frequent each symbol is: {numbers}"
    elif model.nats > low.nats + apart:
        level, words = "hint", f"counting the last five symbols tells more: {numbers}"
    elif model.nats > low.nats - apart:
        level, words = "ok", f"about as good as counting the last five symbols: {numbers}"
    else:
        level, words = "ok", f"better than counting the last five symbols: {numbers}"
    return Verdict("counting", level, words + ".")


def against_published(nats: float, sha256: str | None) -> Verdict:
    """The best validation, in nats per character, beside what others have published for the same text."""
    known = published_for(sha256)
    rows = known or ELSEWHERE
    listed = "; ".join(
        f"{one.nats:.3g} {one.model}{'' if known else f' on {one.text}'} ({one.source})" for one in rows
    )
    if not known:
        words = f"nothing is published for this text; this run {nats:z.3f} nats per character. Elsewhere: {listed}."
        return Verdict("reference", "ok", words)
    above = nats > max(one.nats for one in known)
    words = (
        f"this run {nats:z.3f} nats per character; published for this text, by splits of their own: {listed}."
    )
    return Verdict("reference", "hint" if above else "ok", words)


def _gates_on(model: NeuralModel, part: Array) -> list[Verdict]:
    try:
        seen = activations(model, np.asarray(part[:READ], np.int64))
    except ValueError:
        return []  # no recurrent layers, no gates
    return gates(seen.parts)


def gates(parts: Mapping[str, Array]) -> list[Verdict]:
    """A verdict for each layer: gates always closed or open, units that never change, values that are not finite.

    `parts` are those of `probe.activations`, (T, H) each. An open forget gate remembers, which is no fault; the
    same holds for the update gate of a GRU.
    """
    found = []
    for layer in health(parts):
        wrong = []
        for gate in layer.gates:
            shut, opened = float(gate.shut.mean()), float(gate.open.mean())
            if shut > SATURATED:
                wrong.append(f"gate {gate.name} is shut (below 0.1) {shut:z.0%} of the time")
            elif opened > SATURATED and gate.memory is None:
                wrong.append(f"gate {gate.name} is open (above 0.9) {opened:z.0%} of the time")
            elif shut + opened > 1 - BETWEEN and (gate.memory is None or shut > 0.1):
                wrong.append(
                    f"gate {gate.name} is shut {shut:z.0%} and open {opened:z.0%} of the time, never between"
                )
        h = parts[f"h_{layer.layer}"]
        stuck = float((np.abs(h) > 0.99).mean())
        if stuck > STUCK:
            wrong.append(f"h is beyond 0.99 {stuck:z.0%} of the time")
        if layer.constant > DEAD * layer.units:
            wrong.append(f"{layer.constant} of {layer.units} units never change")
        if layer.lost:
            wrong.append(f"{layer.lost:,} numbers are not finite")
        if wrong:
            words = f"saturated: {'; '.join(wrong)}. A lower lr, or weights drawn smaller, leaves them room."
            found.append(Verdict(f"layer {layer.layer}", "problem", words))
            continue
        states = ", ".join(
            f"{g.name.split('_')[0]} shut {g.shut.mean():z.0%} open {g.open.mean():z.0%}" for g in layer.gates
        )
        idle = f"h beyond 0.99 {stuck:z.0%}; {layer.constant} of {layer.units} units never change"
        found.append(Verdict(f"layer {layer.layer}", "ok", f"{states + '; ' if states else ''}{idle}."))
    return found
