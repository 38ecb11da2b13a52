"""The README of a run: what it is, how well it does, and what can be done with it, for whoever finds the folder."""

from __future__ import annotations

import math
from pathlib import Path

from tinygrad_seq.data import Corpus, Rates, Tokens
from tinygrad_seq.training.live import clock
from tinygrad_seq.training.run_folder import Run

__all__ = ["card"]


def card(
    run: Run, text: Corpus | Tokens, step: int, seconds: float, folder: Path, found: Rates, error: float
) -> str:
    """Markdown on a run after `step` steps; `found` is its validation, `error` that of bits per character."""
    config, size = run.config, run.model.count()
    sure = f" (standard error {error:.3f})" if math.isfinite(error) else ""
    told = "not measured yet"
    if math.isfinite(found.bits_per_character):
        told = f"{found.bits_per_character:.3f} bits per character{sure}, {found.bits_per_byte:.3f} bits per byte"
    name, path = folder.name, folder.as_posix()
    return f"""# {name}

A character model, trained with tinygrad_seq.

| | |
|---|---|
| text | {text.name.replace("|", " ")}: {text}, sha256 `{text.sha256[:12]}` |
| model | {config.model}, {config.layers} x {config.hidden}, {size:,} parameters, tokenizer {config.tokenizer} |
| trained | {step:,} steps in {clock(seconds)}, {config.optimiser}, seed {config.seed} |
| validation | {told} |

    tgs sample {path} -n 300
    tgs eval {path}
    tgs inspect {path} --text "..." -o report.html
    tgs train --resume {path} --steps {2 * step}

`config.toml` holds every setting, `metrics.jsonl` the course of the run, `samples.txt` what it wrote on the way.
`best.safetensors` are the weights with the best validation, `last.safetensors` the last ones, `state.safetensors` is
what a resumed run goes on from.
"""
