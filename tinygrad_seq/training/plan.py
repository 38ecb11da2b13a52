"""How long a run is: a number of steps, known from the start or found from how fast the steps are."""

from __future__ import annotations

from collections.abc import Callable

from tinygrad_seq.optim import CosineWithWarmup
from tinygrad_seq.training.config import Config

__all__ = ["Plan"]

_MEASURED = 5  # steps until the rate means something
_FAR = 10**9  # a total so large that the cosine stays at its top


class Plan:
    """The number of steps of a run, whichever of `steps` and `minutes` ends it first.

    By time, the number is found anew after each step from the time that was used and the time that is left,
    evaluations included, so that the run ends in time with its learning rate at the end of its cosine.
    `clock` counts seconds.
    """

    def __init__(self, config: Config, clock: Callable[[], float]):
        self.config = config
        self.clock = clock
        self.start = clock()
        self.closing = 0.0
        """Seconds to keep for the evaluation after the last step: as many as the one before took."""

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.start

    def total(self, done: int) -> int | None:
        """The number of steps in all, seen after `done` of them; None as long as the rate is not known."""
        steps, minutes = self.config.steps, self.config.minutes
        if minutes is None:
            return steps
        elapsed = self.elapsed()
        left = 60.0 * minutes - self.closing - elapsed
        if left <= 0.0:
            return done
        if done < _MEASURED:
            return steps
        by_time = done + int(left / (elapsed / done))
        return by_time if steps is None else min(steps, by_time)

    def seconds_left(self, done: int) -> float | None:
        """Seconds until the last step at the rate so far; None as long as that is not known."""
        total = self.total(done)
        if total is None or not done:
            return None
        return (total - done) * self.elapsed() / done

    def adjust(self, schedule: CosineWithWarmup, done: int) -> None:
        """Give the schedule the number of steps that is now known, a tenth of them at most to warm up."""
        total = self.total(done)
        schedule.total = _FAR if total is None else max(1, total)
        schedule.warmup = min(self.config.warmup, schedule.total // 10)
        schedule.load_state_dict({**schedule.state_dict(), "n": done})
