"""The events of a training run, one frozen record each. `str(event)` is a line for a log.

The command line, notebooks and tests read the same events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_seq.data import Corpus, Rates, Tokens
from tinygrad_seq.training.evaluation import bits, has_risen
from tinygrad_seq.training.gradient_flow import Flow
from tinygrad_seq.training.run_folder import Run

__all__ = ["Evaluated", "Event", "Finished", "Interrupted", "Sampled", "Saved", "Started", "Step"]

_LONG = 4  # validations without a better one, from which on there is a warning


@dataclass(frozen=True)
class Started:
    """The run is set up: `parts` are the tokens to train on, to validate and to test with; with the tokenizer
    `char` these are characters. `corpus` is the text, or its tokens where it is large. `resumed` is the step
    that the run goes on from, 0 for a new one. `notes` are warnings, a sentence each.
    """

    run: Run
    corpus: Corpus | Tokens
    parts: tuple[int, int, int]
    folder: Path | None
    resumed: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        how = f"resumed after step {self.resumed}" if self.resumed else "started"
        return f"{how}: {self.corpus}, {self.run.model.count():,} parameters"


@dataclass(frozen=True)
class Step:
    """One update. Losses in nats per token: `loss` of this batch before the update, `recent` the mean of
    the steps since the last report (this one included), `report` whether this one is reported.

    `step` counts from 1, `steps` is how many are planned; that is an estimate where `about`, for a run planned by
    time counts anew after each step what fits into it. `gradient` is the norm before clipping, `rate` the characters
    trained on per second, `seconds` since the start, `left` the seconds to go, `left_range` where that lies as the
    steps of late differ, in a run by steps. What is not known yet is None. `flow` is what the gradient did in the
    steps since the last report, `width` the characters per token, `note` a word about the machine, mostly none.
    """

    step: int
    steps: int | None
    loss: float
    recent: float
    report: bool
    gradient: float
    lr: float
    rate: float
    seconds: float
    left: float | None
    flow: Flow | None = None
    width: float = 1.0
    about: bool = False
    left_range: tuple[float, float] | None = None
    note: str = ""

    @property
    def bits(self) -> float:
        """The recent loss in bits per character."""
        return bits(self.recent) / self.width

    def __str__(self) -> str:
        return (
            f"step {self.step}: loss {self.recent:z.3f} nats, {self.bits:z.3f} bits per character, "
            f"gradient {self.gradient:z.2f}, {self.rate:z,.0f} characters per second"
        )


@dataclass(frozen=True)
class Evaluated:
    """The validation part was read: nats per token after `step`, the best so far or not, and `rates`, the same for
    each character and each byte of UTF-8, with their standard errors; `whole` says whether all of it was read.
    `lowest` is the best so far in nats per token, of step `best_step`, and `waited` how many validations came since.
    """

    step: Step
    validation: float
    best: bool
    rates: Rates
    errors: Rates | None = None
    whole: bool = True
    lowest: float = math.nan
    best_step: int = 0
    waited: int = 0

    @property
    def risen(self) -> str:
        """A warning, after 4, 8, 16, ... validations without a better one, where validation has risen: where it lies
        1 % and two standard errors above the best. Otherwise nothing.
        """
        ratio = (
            self.rates.nats_per_token / self.rates.bits_per_character
            if self.rates.bits_per_character
            else 1.0
        )
        error = self.errors.nats_per_token if self.errors is not None else math.nan
        due = self.waited >= _LONG and self.waited & (self.waited - 1) == 0
        if not due or not has_risen(self.validation, self.lowest, error):
            return ""
        low, now = self.lowest / ratio, self.rates.bits_per_character
        return (
            f"validation has risen from {low:z.3f} bits per character at step {self.best_step:,} to {now:z.3f}: "
            "the model learns its text by heart. The best weights are kept; --patience N ends such a run by itself"
        )

    def __str__(self) -> str:
        best = ", the best so far" if self.best else ""
        return f"{self.step}, validation {self.rates.bits_per_character:z.3f} bits per character{best}"


@dataclass(frozen=True)
class Sampled:
    """A sample of the model after `step` steps."""

    step: int
    text: str

    def __str__(self) -> str:
        return f"sample after step {self.step}:\n{self.text}"


@dataclass(frozen=True)
class Saved:
    """Weights were written after `step` steps, whole and flushed to the disk."""

    step: int
    path: Path

    def __str__(self) -> str:
        return f"saved: {self.path}"


@dataclass(frozen=True)
class Finished:
    """All planned steps are done: nats per token on the validation part, at the end and at best; `rates` and
    `best_rates` are the same for each character and each byte, `errors` the standard errors of `rates`. `early` says
    that `patience` ended it, `prime` is a word of the text that a sample may begin with,
    `rows` are the reports since the run began or went on, `best_step` is the step of the best validation.
    """

    run: Run
    step: int
    validation: float
    best: float
    seconds: float
    folder: Path | None
    rates: Rates
    best_rates: Rates
    errors: Rates | None = None
    early: bool = False
    prime: str = ""
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    best_step: int = 0

    @property
    def risen(self) -> str:
        """A warning where validation is worse at the end than at its best, by more than noise. Otherwise nothing."""
        error = self.errors.nats_per_token if self.errors is not None else math.nan
        if not self.best_step or not has_risen(self.validation, self.best, error):
            return ""
        kept = ". The weights of that step are kept, and tgs sample takes them" if self.folder else ""
        ways = "" if self.early else "; --patience N would have ended it" if self.folder else ""
        return f"validation got worse after step {self.best_step:,}: the model learnt its text by heart{kept}{ways}"

    def __str__(self) -> str:
        return (
            f"finished after {self.step} steps: validation {self.rates.bits_per_character:z.3f} "
            "bits per character"
        )


@dataclass(frozen=True)
class Interrupted:
    """Ctrl+C, or a signal that asks for the end: the model is that of the last whole step, and saved where there is
    a folder. `signal` is the number of what stopped it, 2 for Ctrl+C, `prime` and `rows` are as in `Finished`.
    """

    run: Run
    step: int
    seconds: float
    folder: Path | None
    signal: int = 2
    prime: str = ""
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return f"interrupted after {self.step} steps"


Event = Started | Step | Evaluated | Sampled | Saved | Finished | Interrupted
