"""The length of a run: a number of steps, known from the start or computed from the measured time of a step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from tinygrad_seq.optim import CosineWithWarmup, Schedule
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.pace import pace_of

__all__ = ["Plan", "lasted", "never_back"]

_MEASURED = 5  # steps until the measured rate is reliable
_RECENT = 64  # steps from which the current rate is measured
_USUAL = 250  # steps from one validation to the next
_PASSES, _SOONEST = 10, 25  # over the text, and steps, from one validation to the next
_FAR = 10**9  # a total so large that the cosine stays at its top


def never_back(clock: Callable[[], float]) -> Callable[[], float]:
    """The seconds of a clock that never decrease: while the clock is behind, the last value is repeated.

    >>> times = iter([5.0, 7.0, -100.0, -99.0])
    >>> now = never_back(lambda: next(times))
    >>> [now() for _ in range(4)]
    [0.0, 2.0, 2.0, 3.0]
    """
    last, passed = math.nan, 0.0

    def now() -> float:
        nonlocal last, passed
        time = clock()
        passed += time - last if time > last else 0.0
        last = time
        return passed

    return now


def lasted(seconds: float) -> float:
    """The seconds of training stored in a run's folder; 0 where a clock was set back.

    >>> lasted(3.5), lasted(-37114.0), lasted(math.nan)
    (3.5, 0.0, 0.0)
    """
    return float(seconds) if math.isfinite(seconds) and seconds > 0 else 0.0


class Plan:
    """The number of steps of a run, whichever of `steps`, `epochs` and `minutes` ends it first.

    By time, the number is found anew after each step from the time that was used and the time that is left,
    evaluations included, so that the run ends in time with its learning rate at the end of its cosine.
    `clock` counts seconds, which count from `begin` on. `per_pass` is the number of steps in one pass over the text.
    A resumed run has been trained for `used` seconds and `begun` steps before.
    """

    def __init__(
        self, config: Config, clock: Callable[[], float], per_pass: int, used: float = 0.0, begun: int = 0
    ):
        self.config, self.per_pass = config, per_pass
        self.clock = clock
        self.used, self.begun = used, begun
        self.start: float | None = None
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.stepping = 0.0
        """Seconds of all steps since the start, what is done between them not counted."""
        self.closing = 0.0
        """Seconds to keep for the evaluation after the last step: as many as the one before took."""
        by_epochs = [] if config.epochs is None else [max(1, math.ceil(config.epochs * per_pass))]
        self.steps = min([*by_epochs, *([] if config.steps is None else [config.steps])], default=None)

    def validates(self, done: int) -> bool:
        """Whether validation is due after so many steps: every `eval_every` of them; where that is not given, every
        250, and also after each ten passes over the text, because a small text is soon memorised.
        """
        every = self.config.eval_every
        if every is None:
            every = min(_USUAL, max(_SOONEST, _PASSES * self.per_pass))
        return done % every == 0

    def chores(self, done: int, last: bool) -> list[str]:
        """What is due after so many steps, in its order."""
        config = self.config
        validates = last or self.validates(done)
        saves = validates or (config.save_every and done % config.save_every == 0)
        samples = config.sample_every and (last or done % config.sample_every == 0)
        records = not validates and done % config.report_every == 0
        due = {"evaluate": validates, "record": records, "sample": samples, "save": saves}
        return [chore for chore, is_due in due.items() if is_due]

    def begin(self) -> None:
        """Start the clock."""
        self.start = self.clock()

    def elapsed(self) -> float:
        """Seconds of training, including those before a resumption."""
        return self.used + self._seconds()

    def total(self, done: int) -> int | None:
        """The number of steps in all, estimated after `done` of them; None as long as the rate is not known."""
        steps, minutes = self.steps, self.config.minutes
        if minutes is None:
            return steps
        left = 60.0 * minutes - self.closing - self.elapsed()
        if left <= 0.0:
            return done
        if done - self.begun < _MEASURED:
            return steps
        by_time = done + int(left / self._seconds_a_step(done))
        return by_time if steps is None else min(steps, by_time)

    def stepped(self, seconds: float) -> float:
        """Record the time that a step took, and return it."""
        self.stepping += seconds
        self.recent.append(seconds)
        return seconds

    def seconds_left(self, done: int) -> float | None:
        """Seconds until the last step at the rate so far, inside `range_left`; None as long as that is not known."""
        total = self.total(done)
        if total is None or done == self.begun:
            return None
        left = (total - done) * self._seconds_a_step(done)
        ends = self.range_left(done)
        return left if ends is None else min(max(left, ends[0]), ends[1])

    def range_left(self, done: int) -> tuple[float, float] | None:
        """The least and the most seconds until the last step, as the steps of late differ, with what was done between
        them so far; None as long as few steps are seen, and for a run by time, whose end is known.
        """
        # The first step builds kernels.
        seen = list(self.recent)[1 if done - self.begun <= _RECENT else 0 :]
        if self.steps is None or self.config.minutes is not None or len(seen) < _MEASURED:
            return None
        pace, n = pace_of(seen), self.steps - done
        between = max(0.0, self._seconds() - self.stepping) / (done - self.begun)
        return n * (pace.low + between), n * (pace.high + between)

    def _seconds_a_step(self, done: int) -> float:
        # Only times since the start or the resumption: the run may have come from another machine.
        return self._seconds() / (done - self.begun)

    def _seconds(self) -> float:
        return 0.0 if self.start is None else self.clock() - self.start

    def adjust(self, schedule: Schedule, done: int) -> None:
        """Give the schedule the number of steps that is now known, a tenth of them at most to warm up."""
        total = self.total(done)
        known = _FAR if total is None else max(1, total)
        if isinstance(schedule, CosineWithWarmup):
            schedule.total = known
        vars(schedule)["warmup"] = min(self.config.warmup, known // 10)
        schedule.load_state_dict({**schedule.state_dict(), "n": done})
