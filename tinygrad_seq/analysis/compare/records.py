"""A run read from its folder without the weights: settings, facts, and the lines of its metrics.

A run that has not ended, was killed, or was written by another version is read as far as possible; `notes`
lists what was skipped.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq.errors import CheckpointError, few
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.untrusted_files import read_file, reason_of
from tinygrad_seq.terminal import one_line

__all__ = ["Record", "read_record"]

_CONFIG, _METRICS, _FACTS = "config.toml", "metrics.jsonl", "facts"
_LARGEST_CONFIG, _LARGEST_METRICS = 1 << 20, 1 << 28  # bytes


@dataclass(frozen=True)
class Record:
    r"""A run by its files: all `settings`, the `facts` found at its start, a dict for each report in `rows`.

    >>> run = Record(Path("runs/a"), {"hidden": 8}, {}, [{"step": 50, "seconds": 2.0}, {"step": 60}])
    >>> run.name.replace("\\", "/"), run.steps, run.seconds, run.model
    ('runs/a', 60, 2.0, 'LSTM 1 x 8')
    """

    path: Path
    settings: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder as it was given: the last part alone may be that of another run too."""
        return os.fspath(self.path)

    @property
    def cell(self) -> str:
        """The kind of model: lstm unless the settings say otherwise."""
        return str(self.settings.get("model", "lstm"))

    @property
    def model(self) -> str:
        """The kind and size of the model in a few characters."""
        kind = {"transformer": "GPT"}.get(self.cell, self.cell.upper())
        return f"{one_line(kind)} {self.setting('layers', 1):g} x {self.setting('hidden', 128):g}"

    @property
    def sha256(self) -> str | None:
        """The fingerprint of the text, None where the run does not say."""
        found = self.facts.get("sha256")
        return found if isinstance(found, str) else None

    @property
    def parameters(self) -> int | None:
        """How many numbers were learnt."""
        found = self.facts.get("parameters")
        return found if isinstance(found, int) else None

    @property
    def steps(self) -> int:
        """Updates up to the last report."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def seconds(self) -> float:
        """Seconds of the run up to the last report, NaN where no report has them or a clock was set back."""
        found = _last(self.column("seconds"))
        return found if found >= 0 else math.nan

    @property
    def rate(self) -> float:
        """Characters trained on per second: the median of the reports, for the first of them builds kernels."""
        found = self.column("characters_per_second")
        found = found[np.isfinite(found)]
        return float(np.median(found)) if len(found) else math.nan

    def column(self, name: str) -> Array:
        """One number for each report, f64(reports,), NaN where it has none."""
        return np.array([_number(row.get(name)) for row in self.rows], np.float64)

    def validation(self) -> Array:
        """Validation in bits per character at each report, NaN where there was none."""
        bits = self.column("bits_per_character")
        # Runs of the first versions had only characters as tokens.
        return np.where(np.isfinite(bits), bits, self.column("validation_bits"))

    def best(self) -> tuple[int, float] | None:
        """The step of the best validation, and its bits per character; None where there was none."""
        found = self.validation()
        if not np.isfinite(found).any():
            return None
        at = int(np.nanargmin(np.where(np.isfinite(found), found, np.inf)))
        return int(self.rows[at]["step"]), float(found[at])

    def setting(self, name: str, usual: float) -> float:
        """A setting that is a number, `usual` where it is none."""
        found = _number(self.settings.get(name))
        return found if math.isfinite(found) else usual


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record of a run folder. Incomplete lines of the metrics are skipped and noted.

    Where a run was resumed from an earlier step, the later lines of the file replace the earlier ones. Raises
    `CheckpointError` for a folder that holds no run, or whose settings cannot be read.
    """
    folder, name = Path(path), os.fspath(path)
    try:
        text = read_file(folder / _CONFIG, _LARGEST_CONFIG).decode()
        settings = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        why = f"it holds no {_CONFIG}" if missing else f"its {_CONFIG} cannot be read: {_why(error)}"
        rule = "expected a folder that tgs train has made."
        runs = sorted(str(one.parent) for one in Path("runs").glob(f"*/{_CONFIG}"))
        hint = f"There are: {few(runs)}." if runs else ""
        raise CheckpointError(f"{name!r} is not the folder of a run: {why}", None, rule, hint) from error
    facts = settings.pop(_FACTS, {})
    rows, notes = _rows(folder / _METRICS)
    return Record(folder, settings, facts if isinstance(facts, dict) else {}, rows, tuple(notes))


def _rows(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    try:
        data = read_file(path, _LARGEST_METRICS)
    except OSError as error:
        return [], [f"no metrics: {path.name}: {reason_of(error)}"]
    rows: list[dict[str, Any]] = []
    broken = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            broken += 1
            continue
        while rows and rows[-1]["step"] >= step:
            rows.pop()
        rows.append(row)
    lines = f"{broken} line{'' if broken == 1 else 's'}"
    notes = [f"{lines} of {path.name} passed over: no whole report"] if broken else []
    return rows, notes if rows else [*notes, f"{path.name} holds no report"]


def _why(error: Exception) -> str:
    return reason_of(error) if isinstance(error, OSError) else str(error) or "it is nested too deeply"


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits, in a damaged line
        return math.nan


def _last(values: Array) -> float:
    found = values[np.isfinite(values)]
    return float(found[-1]) if len(found) else math.nan
