"""The cost of a run, estimated before it starts: size, memory, arithmetic and time of a step."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.data import Corpus, Tokens, tokenize
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.training.budget import Plan
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.evaluation import parts_of
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.pace import is_wide, span
from tinygrad_seq.training.presets import pace
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.training.small_texts import suited, too_many_weights
from tinygrad_seq.training.step import Updater
from tinygrad_seq.viz import draw

__all__ = ["Estimate", "estimate"]

_SECONDS = 2.0
_SHORT = (3, 5)  # lengths of sequences whose difference is the cost of two more steps
_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Estimate:
    """`flops` and `saved` (bytes that the tape keeps) are for one update, `weights` (bytes) hold parameters, gradient
    and moments, `seconds` were measured on this machine, the median of some updates, `seconds_range` the least and
    the largest mean of a group of them; `steps` is how many updates are planned.
    `config` holds the settings as the run would have them, `notes` warnings.
    """

    text: str
    tokens: int
    parameters: int
    weights: int
    saved: int
    flops: int
    seconds: float
    steps: int | None
    minutes: float | None
    config: Config
    seconds_range: tuple[float, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        run = f"{self.steps:,} steps, {self._lasting()}" if self.steps else ""
        if self.minutes is not None:
            by_time = f"{self.minutes:g} min, {self._steps(self.minutes)} steps"
            run = f"{run} or {by_time}, whichever ends first" if run else by_time
        return "\n".join(
            [
                f"text     {self.text}, {self.tokens:,} tokens to train on",
                f"model    {self.parameters:,} parameters",
                f"memory   {self.weights / 1e6:,.1f} MB for weights, gradient and moments, "
                f"{self.saved / 1e6:,.1f} MB for the tape of a step",
                f"a step   {self.flops / 1e9:,.2f} GFLOP, {1e3 * self.seconds:,.1f} ms on this machine "
                f"({self.flops / self.seconds / 1e9:,.1f} GFLOP/s)",
                f"the run  {run}, evaluations and samples not counted",
                *(f"note     {note}" for note in self.notes),
            ]
        )

    def _lasting(self) -> str:
        """How long all steps take."""
        assert self.steps is not None
        low, high = (self.steps * end for end in self.seconds_range)
        return span(low, high) or f"about {_time(self.steps * self.seconds)}"

    def _steps(self, minutes: float) -> str:
        """How many steps fit."""
        low, high = self.seconds_range
        if not is_wide(low, high):
            return f"about {int(60 * minutes / self.seconds):,}"
        return f"{int(60 * minutes / high):,} to {int(60 * minutes / low):,}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return dataclasses.asdict(self)


def estimate(config: Config, text: Corpus | Tokens) -> Estimate:
    """The cost of a run with these settings on a text. Nothing is written.

    Arithmetic and tape are read off the graph of a loss: a product of (m, k) and (k, n) counts 2 m k n, a pointwise
    op 1 a number; backward counts twice forward. A recurrent model's are linear in the number of steps, so two
    short sequences give that of a long one; a transformer's graph does not grow with its length. Two seconds of
    steps are made.

    Raises what `train` raises for the settings and the text.
    """
    tokens = text if isinstance(text, Tokens) else tokenize(text, config.tokenizer)
    config, note = suited(config, tokens.ids)
    model = new_model(tokens.tokenizer, config)
    run = Run(model, tokens.tokenizer, config)
    train = parts_of(tokens.ids, config.split, config.batch).train
    per_pass = Updater(run, train).batches.batches_per_pass
    plan = Plan(config, time.perf_counter, per_pass)
    flops, saved = _cost(model, config)
    moments = {"SGD": 0, "RMSprop": 1, "Adagrad": 1}.get(config.optimizer, 2)
    parameters = model.count()
    measured, word = pace(config, tokens, _SECONDS)
    return Estimate(
        text=f"{text.name}: {text}",
        tokens=len(train),
        parameters=parameters,
        weights=parameters * _BYTES * (2 + moments),
        saved=saved,
        flops=3 * flops,
        seconds=measured.typical,
        steps=plan.steps,
        minutes=config.minutes,
        config=config,
        seconds_range=(measured.low, measured.high),
        notes=tuple(filter(None, [note, word, too_many_weights(parameters, len(train), config.patience)])),
    )


def _cost(model: NeuralModel, config: Config) -> tuple[int, int]:
    """FLOP of a forward pass over one window, and bytes kept."""

    def of(steps: int) -> Any:
        ids = np.zeros((steps, config.batch), np.int64)
        model.train()
        totals = draw(model.loss(ids, ids)[0], level="model").graph.totals
        return np.array([totals.flops, totals.saved or 0])

    if config.model == "transformer":
        found = of(config.window)
    else:
        few, more = (of(steps) for steps in _SHORT)
        found = few + (more - few) / (_SHORT[1] - _SHORT[0]) * (config.window - _SHORT[0])
    return int(found[0]), int(found[1])


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
