"""The README of a run's folder: what the run is, how good it is, and the commands to use it."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

from tinygrad_seq.data import Corpus, Rates, Tokens
from tinygrad_seq.terminal import one_line
from tinygrad_seq.training.console import clock
from tinygrad_seq.training.run_folder import Run, RunFolder

__all__ = ["card", "describe"]


def describe(
    folder: RunFolder,
    run: Run,
    text: Corpus | Tokens,
    step: int,
    seconds: float,
    found: tuple[Rates, Rates, Rates],
) -> None:
    """Write the README of a run's folder; `found`: validation, lowest, error."""
    last, _, error = found
    folder.write_card(card(run, text, step, seconds, folder.path, last, error.bits_per_character))


def card(
    run: Run, text: Corpus | Tokens, step: int, seconds: float, folder: Path, found: Rates, error: float
) -> str:
    """The README in Markdown after `step` steps; `found` is the validation, `error` that of bits per character."""
    config, size = run.config, run.model.count()
    sure = f" (standard error {error:z.3f})" if math.isfinite(error) else ""
    told = "not measured yet"
    if math.isfinite(found.bits_per_character):
        told = f"{found.bits_per_character:z.3f} bits per character{sure}, {found.bits_per_byte:z.3f} bits per byte"
    name, path = _plain(folder.name), _word(folder.as_posix())
    return f"""# {name}

A character model, trained with tinygrad_seq.

| | |
|---|---|
| text | {_plain(text.name)}: {text}, sha256 `{text.sha256[:12]}` |
| model | {config.model}, {config.layers} x {config.hidden}, {size:,} parameters, tokenizer {config.tokenizer} |
| trained | {step:,} steps in {clock(seconds)}, {config.optimizer}, seed {config.seed} |
| validation | {told} |

    tgs sample {path} -n 300
    tgs eval {path}
    tgs inspect {path} --text "..." -o report.html
    tgs train --resume {path} --steps {2 * step}

`config.toml` holds every setting, `metrics.jsonl` the course of the run, `samples.txt` what it wrote on the way.
`best.safetensors` are the weights with the best validation, `last.safetensors` the last ones, `state.safetensors` is
what a resumed run goes on from.
"""


def _plain(name: str) -> str:
    """A name as Markdown shows it: on one line, and no link, no mark and no HTML."""
    return re.sub(r"([\\`*\[\]<>|&#!]|\b_|_\b)", r"\\\1", one_line(name))


def _word(path: str) -> str:
    """A path as a command line in a block of code has it, on one line."""
    return one_line(path if re.fullmatch(r"[\w./:-]+", path) else shlex.quote(path))
