"""A run as plain values for its files: a line of the metrics, and the facts at its start."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tinygrad_seq.data import Corpus, Splits, TextSize, Tokens
from tinygrad_seq.training.divergence import Divergence
from tinygrad_seq.training.evaluation import Measured, bits
from tinygrad_seq.training.events import Event, Started, Step
from tinygrad_seq.training.find_text import begun_in
from tinygrad_seq.training.gradient_flow import Flow
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.version import __version__

__all__ = ["as_json", "metrics_of", "start_of"]


def metrics_of(
    step: Step, found: Measured | None, size: TextSize, divergence: Divergence, after: float = 0.0
) -> dict[str, float | bool | None]:
    """The line of the metrics about a step, and about its validation, whose text has this size. Where the loss has
    diverged, the line has the bound too; and where the last update of all has done it, the loss of that update's own
    batch `after` it, which no later report would show.
    """
    values: dict[str, float | bool | None] = {
        "step": step.step,
        "loss": step.recent,
        "bits": bits(step.recent) / step.width,
        "gradient": step.gradient,
        "lr": step.lr,
        "characters_per_second": round(step.rate, 1),
        "seconds": round(step.seconds, 3),
    }
    values |= step.flow.scalars() if step.flow else {}
    gone = divergence.above(after)
    values |= {"highest_loss": divergence.highest} if divergence.count or gone else {}
    values |= {"loss_after": after if math.isfinite(after) else None} if gone else {}
    if found is not None:
        error = found.error if math.isfinite(found.error) else None
        values |= {"validation": found.nats, "validation_bits": bits(found.nats)}
        values |= {"validation_error": error, "validation_whole": found.whole}
        values |= found.rates(size)._asdict()
    return values


def start_of(
    run: Run, text: Corpus | Tokens, parts: Splits, folder: Path, place: str
) -> dict[str, str | int]:
    """The text, its parts and the size of the model, and which version of this package found them. The names of the
    text's files are seen from the folder `place`.
    """
    return {
        "tinygrad_seq": __version__,
        "corpus": text.name,
        "sha256": text.sha256,
        "characters": text.characters,
        "symbols": len(run.vocabulary),
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
        "parameters": run.model.count(),
        **begun_in(folder, place),
    }


def as_json(event: Event) -> dict[str, Any]:
    """The event's name under `event`, and its fields; numbers that are none become None. The update ratio and the
    norms through time are measured in some steps only, and are in the events of these.

    >>> from tinygrad_seq.training import Sampled
    >>> as_json(Sampled(500, "to be"))
    {'event': 'Sampled', 'step': 500, 'text': 'to be'}
    """
    found: dict[str, Any] = {"event": type(event).__name__}
    if isinstance(event, Started):
        corpus = event.corpus
        found |= {"corpus": corpus.name, "characters": corpus.characters, "sha256": corpus.sha256}
        found |= {"parameters": event.run.model.count(), "parts": list(event.parts), "resumed": event.resumed}
        found["notes"] = list(event.notes)
        return found | {"folder": _plain(event.folder)}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "rows":
            continue  # each had its own event
        if isinstance(value, Flow):
            # Between two measurements the means do not change: only new ones are written, and all of them in a
            # report.
            new = value.looked or getattr(event, "report", False)
            found |= (value if new else replace(value, update=None, norms={})).scalars()
        elif not isinstance(value, Run):
            found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if hasattr(value, "__dataclass_fields__"):
        return {k: v for k, v in as_json(value).items() if k != "event"}
    return value
