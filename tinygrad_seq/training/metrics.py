"""A run as plain values for its files: a line of the metrics, and the facts at its start."""

from __future__ import annotations

import math
from pathlib import Path

from tinygrad_seq.data import Corpus, Splits, TextSize, Tokens
from tinygrad_seq.training.divergence import Divergence
from tinygrad_seq.training.evaluation import Measured, bits
from tinygrad_seq.training.events import Step
from tinygrad_seq.training.find_text import begun_in
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.version import __version__

__all__ = ["metrics_of", "start_of"]


def metrics_of(
    step: Step, found: Measured | None, size: TextSize, divergence: Divergence
) -> dict[str, float | bool | None]:
    """The line of the metrics about a step, and about its validation, whose text has this size. Where the loss has
    diverged, the line has the bound too.
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
    values |= {"highest_loss": divergence.highest} if divergence.count else {}
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
