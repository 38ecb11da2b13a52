"""Judgements of a run from its metrics, as sentences with the numbers behind them.

Each function judges one thing and returns a `Verdict`, or None where the metrics are not enough for it. The
bounds are rules of thumb, named in each verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.divergence import TIMES, highest_of
from tinygrad_seq.training.evaluation import has_risen
from tinygrad_seq.training.small_texts import too_many_weights

__all__ = [
    "Verdict",
    "clipping",
    "diverged",
    "finite",
    "fit",
    "learning_rate",
    "length",
    "size",
    "spikes",
    "trend",
]

Level = Literal["ok", "hint", "problem"]

CLOSE, APART = 0.03, 0.15  # of the validation: how far the training loss lies below it
FALLING = 0.01  # of the validation, over the last quarter of the run
OFTEN = 0.5  # of the steps
BOLD, TIMID, STILL = 1e-2, 5e-4, 1e-4  # the update's norm over that of the weights; usual is 1e-3
SPIKE = 0.1  # of the loss before it
_BY_SIZE = ("SGD",)  # optimisers whose step is as large as the gradient
_TINY = 1e-9  # nats; a text of one symbol has an entropy of 0


@dataclass(frozen=True)
class Verdict:
    """`topic` in one word, how bad it is, and the sentence for the user."""

    topic: str
    level: Level
    words: str


def _trained(record: Record) -> tuple[Array, Array, Array]:
    """Steps, training and validation loss in nats per token at the evaluations."""
    step, loss, validation = (record.column(n) for n in ("step", "loss", "validation"))
    seen = np.isfinite(validation) & np.isfinite(loss)
    return step[seen], loss[seen], validation[seen]


def finite(record: Record) -> Verdict | None:
    """Whether every report has a finite loss."""
    loss = record.column("loss")
    lost = ~np.isfinite(loss)
    if not len(loss) or not lost.any():
        return None
    first = int(record.rows[int(np.argmax(lost))]["step"])
    words = f"the loss is no finite number in {lost.sum()} of {len(loss)} reports, first at step {first:,}"
    return Verdict("loss", "problem", f"{words}. Train again with a lower lr, or clip.")


def diverged(record: Record) -> Verdict | None:
    """Whether the loss has diverged at the last report, and since when."""
    if record.rows and "loss_after" in record.rows[-1]:
        return _gone_at_the_end(record)
    loss, step, noted = (record.column(name) for name in ("loss", "step", "highest_loss"))
    seen = np.isfinite(loss)
    loss, step, noted = loss[seen], step[seen], noted[seen]
    if not len(loss):
        return None
    symbols = record.facts.get("symbols")
    usual = highest_of(float(loss[0]), symbols if isinstance(symbols, int) else None)
    # Runs of earlier versions did not store the loss of their first step.
    above = np.isfinite(noted) | (loss > usual)
    if not above[-1]:
        return None
    reports = len(above) - 1 - int(np.max(np.flatnonzero(~above), initial=-1))
    high = float(noted[-1]) if np.isfinite(noted[-1]) else usual
    last = "report" if reports == 1 else f"{reports} reports"
    words = (
        f"diverged: the loss was {loss[-1]:.4g} nats per token at step {step[-1]:,.0f}, and above {high:.4g} in the "
        f"last {last}, {TIMES:g} times the larger of its first value and ln V, which is what knowing nothing costs. "
        "The weights saved before are kept. Train again with a lower lr."
    )
    return Verdict("loss", "problem", words)


def _gone_at_the_end(record: Record) -> Verdict:
    """The last update of all has spoilt the weights: the report before it shows nothing."""
    row = record.rows[-1]
    after = row["loss_after"]
    now = "no finite number" if after is None else f"{after:.4g} nats per token"
    words = (
        f"diverged: the last update, step {int(row['step']):,}, made the loss of its own batch {now}, above "
        f"{row['highest_loss']:.4g}, {TIMES:g} times the larger of its first value and ln V. The weights saved "
        "before are kept. Train again with a lower lr."
    )
    return Verdict("loss", "problem", words)


def fit(record: Record, error: float = 0.0) -> Verdict | None:
    """Under- or overfitting: validation beside training, and the last validation beside the best.

    `error` is the standard error of the validation in nats per token; a rise below two of them is none.
    """
    step, loss, validation = _trained(record)
    if len(step) < 2:
        return None
    best = int(np.argmin(validation))
    last, low, train = validation[-1], validation[best], loss[-1]
    gap = (last - train) / max(last, _TINY)
    numbers = f"training {train:z.3f}, validation {last:z.3f} nats per token at step {step[-1]:z,.0f}"
    if has_risen(last, low, error) and step[best] < 0.9 * step[-1] and train < loss[best]:
        words = (
            f"overfitting: validation was best at step {step[best]:z,.0f} ({low:z.3f}) and has risen to {last:z.3f}, "
            f"while training fell from {loss[best]:z.3f} to {train:z.3f}. The best weights are kept; more text, "
            "dropout or a smaller model would help, more steps would not; --patience ends such a run by itself."
        )
        return Verdict("fit", "problem", words)
    if gap > APART:
        words = (
            f"{numbers}: {gap:z.0%} apart. It begins to know its text by heart (dropout or more text would "
            "help), or the part to validate with, the end of the text, is of another kind."
        )
        return Verdict("fit", "hint", words)
    jumps = spikes(record)
    if jumps is not None and jumps.level == "problem":
        return Verdict(
            "fit", "hint", f"{numbers}: while the loss jumps, that tells neither under- nor overfitting."
        )
    if gap < CLOSE:
        dropout = " (with dropout, which training alone bears)" if record.setting("dropout", 0.0) else ""
        words = f"underfitting: {numbers}, {abs(gap):z.1%} apart{dropout}. A larger model or more steps have room."
        return Verdict("fit", "hint", words)
    return Verdict("fit", "ok", f"{numbers}, {gap:z.1%} apart: neither under- nor overfitted by much.")


def trend(record: Record) -> Verdict | None:
    """Whether validation still fell in the last quarter of the run."""
    step, _, validation = _trained(record)
    before = np.flatnonzero(step <= 0.75 * step[-1]) if len(step) else np.array([], int)
    if not len(before):
        return None
    at = int(before[-1])
    fallen = (validation[at] - validation[-1]) / max(validation[at], _TINY)
    numbers = f"from {validation[at]:z.3f} at step {step[at]:z,.0f} to {validation[-1]:z.3f} at step {step[-1]:z,.0f}"
    if fallen > FALLING:
        return Verdict(
            "trend", "hint", f"validation is still falling: {numbers}, {fallen:z.1%}. More steps would help."
        )
    if fallen < -FALLING:
        return Verdict("trend", "problem", f"validation is rising: {numbers}, {-fallen:z.1%}.")
    lr = record.column("lr")
    faded = np.isfinite(lr).any() and lr[np.isfinite(lr)][-1] < 0.05 * np.nanmax(lr)
    why = ", as it will where the learning rate has gone to 0" if faded else ""
    return Verdict("trend", "ok", f"validation is flat: {numbers}{why}.")


def size(record: Record) -> Verdict | None:
    """Whether the text has as many tokens to train on as the model has weights."""
    tokens = record.facts.get("train")
    if record.parameters is None or not isinstance(tokens, int) or tokens < 1:
        return None
    words = too_many_weights(record.parameters, tokens, int(record.setting("patience", 0)))
    if words:
        return Verdict("size", "hint", f"{words}.")
    return Verdict("size", "ok", f"{record.parameters:,} parameters for {tokens:,} tokens to train on.")


def length(record: Record) -> Verdict | None:
    """Whether the run was long enough to have seen its text, and came to its planned end."""
    steps, size = record.steps, record.facts.get("train")
    if not steps:
        return Verdict("length", "problem", "no report was written: the run ended before its first.")
    planned = record.setting("steps", math.nan)
    stopped = f" It was stopped before its {planned:z,.0f} steps." if planned > steps else ""
    early = 0 < record.setting("patience", 0) <= (waited := _waited(record))
    if early:
        stopped = f" It ended early, as --patience says: {waited} validations in a row were no better."
    seen = steps * record.setting("batch", 32) * record.setting("window", 64)
    if not isinstance(size, int) or size < 1:
        return Verdict("length", "hint", stopped.strip()) if stopped else None
    epochs = seen / size
    times = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
    words = f"{steps:,} steps read {seen:z,.0f} tokens, {times} times the {size:,} of the text"
    if epochs < 1:
        return Verdict("length", "hint", f"too short: {words}. Part of it was never seen.{stopped}")
    return Verdict("length", "hint" if stopped and not early else "ok", f"{words}.{stopped}")


def _waited(record: Record) -> int:
    """Validations since the best one."""
    found = record.column("validation")
    found = found[np.isfinite(found)]
    return len(found) - 1 - int(np.argmin(found)) if len(found) else 0


def _second_half(record: Record, name: str) -> Array:
    """The second half of a column: in the first half the values still change too fast to be judged."""
    values, step = record.column(name), record.column("step")
    kept = values[(step > record.steps / 2) & np.isfinite(values)] if len(step) else values
    return kept if len(kept) else values[np.isfinite(values)]


def clipping(record: Record) -> Verdict | None:
    """How often the gradient was scaled down."""
    clip = record.setting("clip", 1.0)
    clipped = _second_half(record, "clipped")
    if not clip or not len(clipped):
        return None
    share = float(clipped.mean())
    norm = _second_half(record, "gradient")
    usual = f"; its norm was {np.median(norm):.2g} in the middle" if len(norm) else ""
    words = f"{share:z.0%} of the steps of the second half were clipped to {clip:g}{usual}"
    if share > OFTEN:
        optimizer = record.settings.get("optimizer", "AdamW")
        if optimizer in _BY_SIZE:
            hint = "the clip, not the lr, sets the size of a step. Raise it, or lower lr."
        else:
            # A factor common to all gradients is divided out again.
            hint = f"all gradients count alike, and {optimizer} sees none as larger than another. Raise the clip."
        return Verdict("clipping", "problem" if share > 0.9 else "hint", f"{words}: {hint}")
    return Verdict("clipping", "ok", f"{words}.")


def learning_rate(record: Record) -> Verdict | None:
    """The update over the weights, where the rate was at least half of its highest: about 1e-3 is usual.

    (A rule of thumb of Karpathy, CS231n, 2015.)
    """
    ratio, lr = record.column("update_ratio"), record.column("lr")
    seen = np.isfinite(ratio) & np.isfinite(lr)
    if not seen.any():
        return None
    high = seen & (lr >= 0.5 * lr[seen].max())
    middle = float(np.median(ratio[high]))
    words = (
        f"an update moved the weights by {middle:.1e} of their norm at lr {lr[seen].max():.3g} (usual: 1e-3)"
    )
    troubled = diverged(record) or spikes(record) or finite(record)
    if middle > BOLD:
        if troubled and troubled.level == "problem":
            return Verdict("lr", "problem", f"too high: {words}, and the loss jumps. Try a third of it.")
        return Verdict("lr", "hint", f"high: {words}. The loss bears it; where it does not, try a third.")
    if middle < TIMID:
        level: Level = "problem" if middle < STILL else "hint"
        return Verdict("lr", level, f"low: {words}. Three times as much would learn sooner.")
    return Verdict("lr", "ok", f"{words}.")


def spikes(record: Record) -> Verdict | None:
    """Reports whose training loss lies above the three before: by a tenth, and by five times the usual noise.

        off = loss - median(the three before)
        spike where off > 0.1 median and off > m + 5 * 1.48 * median(|off - m|)

    with m the median of all `off`. The factor makes the median of the deviations a standard deviation where they
    are normal.
    """
    loss, step = record.column("loss"), record.column("step")
    kept = np.isfinite(loss)
    loss, step = loss[kept], step[kept]
    if len(loss) < 4:
        return None
    before = np.array([np.median(loss[max(0, i - 3) : i]) for i in range(1, len(loss))])
    off = loss[1:] - before
    middle = np.median(off)
    noise = 1.48 * np.median(np.abs(off - middle))
    jumps = np.flatnonzero((off > SPIKE * before) & (off > middle + 5 * noise))
    if not len(jumps):
        return Verdict(
            "spikes", "ok", f"none: no report's loss stands out by {SPIKE:z.0%} above those before it."
        )
    worst = int(jumps[np.argmax(off[jumps])])
    words = (
        f"{len(jumps)} of {len(loss)} reports jump, the worst from {before[worst]:z.3f} to {loss[worst + 1]:z.3f} "
        f"at step {step[worst + 1]:z,.0f}. A lower lr or clip, or a longer warm-up, calms that."
    )
    return Verdict("spikes", "problem", words)
