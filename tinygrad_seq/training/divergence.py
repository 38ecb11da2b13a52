"""Divergence of a run: the mean loss stays far above its first value, report after report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinygrad_seq.errors import DivergedError
from tinygrad_seq.training.evaluation import bits
from tinygrad_seq.training.events import Step
from tinygrad_seq.training.run_folder import BEST, LAST

__all__ = ["REPORTS", "TIMES", "Divergence", "diverged", "highest_of"]

TIMES = 10.0
"""So many times its first value, or ln V, a loss may be. Knowing nothing costs ln V, few starts cost twice that."""
REPORTS = 5
"""So many reports in a row above that end a run: a warm-up that goes wild for a few of them may calm down."""


def highest_of(first: float, symbols: int | None = None, times: float = TIMES) -> float:
    """The highest loss, in nats per token, that still counts as training.

        times * max(|first|, ln V)      V symbols, 2 at least; without V: times * |first|

    Infinite where neither is known, and where `times` is 0.

    >>> round(highest_of(4.2, 65), 1), round(highest_of(0.5, 65), 1), highest_of(0.5)
    (42.0, 41.7, 5.0)
    """
    known = abs(first) if math.isfinite(first) else 0.0
    scale = max(known, 0.0 if symbols is None else math.log(max(2, symbols)))
    return times * scale if times and scale else math.inf


class Divergence:
    """Counts the reports in a row whose loss lies above the highest that counts as training.

    `symbols` is the size of the vocabulary where the loss is nats per token, None for any other loss.

    >>> watch = Divergence(symbols=65)
    >>> watch.see(4.2)
    >>> [watch.report(loss) for loss in (4.0, 50.0, 50.0, 3.9, 43.0)]
    [False, False, False, False, False]
    >>> watch.count, watch.above(50.0), [watch.report(1e37) for _ in range(4)]
    (1, True, [False, False, False, True])
    """

    def __init__(self, symbols: int | None = None, times: float = TIMES):
        self.symbols, self.times = symbols, times
        self.first = math.nan
        """The loss of the first step; where that is 0, the first that is not."""
        self.count = 0
        self.kept: tuple[int, str] = (0, LAST)
        """The step and the file of the weights that `load_run` takes."""

    @property
    def highest(self) -> float:
        """The highest loss that still counts as training."""
        return highest_of(self.first, self.symbols, self.times)

    def see(self, loss: float) -> None:
        """Take the loss of a step: the first one of a run sets the scale."""
        if not self.first:  # a first loss of 0 gives no scale
            self.first = math.nan
        if math.isnan(self.first):
            self.first = loss

    def above(self, loss: float) -> bool:
        """Whether a loss is more than training may cost; NaN is."""
        return not loss <= self.highest

    def report(self, loss: float) -> bool:
        """Count a report with this mean loss; returns whether the run must end with it."""
        self.count = self.count + 1 if self.above(loss) else 0
        return self.count >= REPORTS

    def wild(self, losses: Iterable[float]) -> bool:
        """Whether the last report, or one of the losses since then, is above the highest."""
        return self.count > 0 or any(map(self.above, losses))

    def saved(self, step: int, name: str) -> None:
        """Note which weights were saved: the best, or the last as long as there are no best."""
        if name == BEST or self.kept[1] == LAST:
            self.kept = step, name

    def state_dict(self) -> dict[str, Any]:
        """The counters as plain values."""
        return {
            "first": None if math.isnan(self.first) else self.first,
            "count": self.count,
            "kept": self.kept,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the counters of another one."""
        first = state["first"]
        self.first, self.count = math.nan if first is None else float(first), int(state["count"])
        step, name = state["kept"]
        self.kept = int(step), str(name)


def diverged(seen: Divergence, step: Step, loss_now: float, folder: Path | None) -> DivergedError:
    """What ends a run: its last report, in nats per token, and which weights in its folder are good."""
    assert seen.symbols is not None
    found = {"loss": step.recent, "loss of the first step": seen.first, "ln V": math.log(seen.symbols)}
    found |= {"loss of its last batch now": loss_now}
    high = f"{seen.highest:.4g} nats ({bits(seen.highest):.4g} bits) per token"
    rule = (
        f"expected a loss of at most {high}, {TIMES:g} times the larger of its first value and ln V,\n"
        f"  at the end and in one of {REPORTS} reports in a row."
    )
    hint = "Try a lower lr."
    if folder:
        good, name = seen.kept
        hint = f"The weights of step {good:,} are kept in {str(folder / name)!r}. {hint}"
    what = f"train: step {step.step:,}: the run has diverged"
    return DivergedError(what, found, rule, hint)
