"""How the learning rate changes from step to step: constant steps, exponential decay, cosine with warm-up."""

from __future__ import annotations

import math
import weakref
from typing import Any

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, CheckpointError
from tinygrad_seq.optim.optimizer import Optimizer
from tinygrad_seq.runtime.weakrefs import WeakMap


class Schedule:
    """Sets each group's `lr` to its first value times `factor(n)`; call `step()` once after each update.

    A closed form of n, so that a run can be continued from its number of steps alone. Of several schedules on one
    optimiser the factors are multiplied, as PyTorch chains them, for as long as each is alive. A group that is
    added later begins at its own rate, times the factors at the next step.
    """

    def __init__(self, optimizer: Optimizer):
        if not isinstance(optimizer, Optimizer):
            rule = f"expected an optimiser, got {type(optimizer).__name__}."
            raise ArgumentError(f"{type(self).__name__}: nothing to schedule", None, rule)
        self.optimizer = optimizer
        others = _schedules_of(optimizer)
        rates = [group["lr"] for group in optimizer.param_groups]
        # The first rates, not those that another schedule has set.
        self.base_lrs: list[float] = (
            others[0].base_lrs + rates[len(others[0].base_lrs) :] if others else rates
        )
        self.n = 0
        self._set()

    def factor(self, n: int) -> float:
        """The factor after n steps."""
        raise TypeError(f"{type(self).__name__} defines no factor().")

    def _set(self) -> None:
        schedules, groups = self._enrolled(), self.optimizer.param_groups
        for schedule in schedules:
            schedule.base_lrs += [group["lr"] for group in groups[len(schedule.base_lrs) :]]
        for group, lr in zip(groups, self.base_lrs, strict=True):
            for schedule in schedules:
                lr *= schedule.factor(schedule.n)
            group["lr"] = lr

    def _enrolled(self) -> list[Schedule]:
        """All schedules of the optimiser, this one among them."""
        schedules = _schedules_of(self.optimizer)
        if not any(s is self for s in schedules):
            schedules = [*schedules, self]
            _SCHEDULES[self.optimizer] = [weakref.ref(s) for s in schedules]
        return schedules

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enrolled()  # a copy made together with a copy of the optimiser counts before its first step

    def __copy__(self) -> Schedule:
        what = "copy: two schedules of one optimiser would both act on its rates"
        raise ArgumentError(what, None, "", "Use copy.deepcopy((schedule, optimizer)).")

    def step(self) -> None:
        """Count one update and set the rates of the next."""
        self.n += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the first rates."""
        return {"n": self.n, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state. Raises CheckpointError where its number of groups differs."""
        rates = [float(lr) for lr in state["base_lrs"]]
        if len(rates) != len(self.optimizer.param_groups):
            rule = f"expected the rates of {len(self.optimizer.param_groups)} groups, got {len(rates)}."
            raise CheckpointError("load_state_dict: the groups differ", None, rule)
        self.n, self.base_lrs = int(state["n"]), rates
        self._set()


# The schedules of each optimiser. One that the program has dropped no longer counts.
_SCHEDULES: WeakMap[list[weakref.ref[Schedule]]] = WeakMap()


def _schedules_of(optimizer: Optimizer) -> list[Schedule]:
    return [s for ref in _SCHEDULES.get(optimizer, []) if (s := ref()) is not None]


class StepLR(Schedule):
    """gamma^(n // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        if step_size < 1:
            rule = f"expected at least 1, got {step_size}."
            raise ArgumentError("StepLR: step_size out of range", None, rule)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, n: int) -> float:
        """gamma^(n // step_size)."""
        return float(self.gamma ** (n // self.step_size))


class ExponentialLR(Schedule):
    """gamma^n."""

    def __init__(self, optimizer: Optimizer, gamma: float):
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, n: int) -> float:
        """gamma^n."""
        return float(self.gamma**n)


class DelayedStepLR(Schedule):
    """Constant for `start` steps, then times gamma at once and again after each `step_size`; never below `final`.

    1 for n < start; else max(final, gamma^((n - start) // step_size + 1)). In the first `warmup` steps at most
    (n + 1) / warmup. `start` 0 waits `step_size` steps. So char-rnn's rate falls from the tenth epoch on.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float,
        start: int = 0,
        final: float = 0.0,
        warmup: int = 0,
    ):
        if step_size < 1 or start < 0:
            rule = f"expected step_size of at least 1 and start of at least 0, got {step_size} and {start}."
            raise ArgumentError("DelayedStepLR: steps out of range", None, rule)
        self.step_size, self.gamma, self.start = step_size, gamma, start or step_size
        self.final, self.warmup = final, warmup
        super().__init__(optimizer)

    def factor(self, n: int) -> float:
        """The factor after n steps."""
        falls = (n - self.start) // self.step_size + 1 if n >= self.start else 0
        factor = max(self.final, float(self.gamma**falls)) if falls else 1.0
        return min(factor, (n + 1) / self.warmup) if n < self.warmup else factor


class CosineWithWarmup(Schedule):
    """A linear rise over `warmup` steps, half a cosine down to `final` at `total` steps, then constant.

    (n + 1) / warmup for n < warmup; else final + (1 - final) (1 + cos(pi u)) / 2, where u runs from 0 to 1
    (Loshchilov and Hutter, 2017).
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, final: float = 0.0):
        if not 0 <= warmup <= total or total < 1:
            rule = f"expected 0 <= warmup <= total, got {warmup} and {total}."
            raise ArgumentError("CosineWithWarmup: steps out of range", None, rule)
        self.total, self.warmup, self.final = total, warmup, final
        super().__init__(optimizer)

    def factor(self, n: int) -> float:
        """The factor after n steps."""
        if n < self.warmup:
            return (n + 1) / self.warmup
        done = min(1.0, (n - self.warmup) / max(1, self.total - self.warmup))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * done))


answer(globals())
