"""The state of a run as arrays and plain values, and the exact run restored from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq.data import Batch, Rates, TextSize, rates
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import DivergedError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.divergence import Divergence, diverged
from tinygrad_seq.training.evaluation import Measured
from tinygrad_seq.training.events import Step
from tinygrad_seq.training.run_folder import BEST, LAST
from tinygrad_seq.training.step import Updater, Window

__all__ = ["Arrays", "RunState", "restore_run", "restore_updater", "saved_run", "updater_state"]

Arrays = dict[str, Array]
_OF_THE_MOMENT = ("flow", "left_range", "note")  # of a step: computed anew, or sent already


@dataclass
class RunState:
    """What a run has seen of itself so far, and what is still to be done about its last step."""

    divergence: Divergence
    validation: float = math.inf
    """Nats per token at the last validation; `error` is its standard error, `best` the lowest of all."""
    error: float = math.nan
    best: float = math.inf
    best_step: int = 0
    waited: int = 0
    """Validations since the best one."""
    losses: list[float] = field(default_factory=list)
    """Since the last report."""
    step: Step | None = None
    chores: list[str] = field(default_factory=list)
    """What is still to be done about the last step; a stop between two of them loses none."""

    def see(self, found: Measured, step: int) -> bool:
        """What was measured after a step; returns whether it is the lowest so far."""
        self.validation, self.error = found.nats, found.error
        better = found.nats < self.best
        if better:
            self.best, self.best_step, self.waited = found.nats, step, 0
        else:
            self.waited += 1
        return better

    def rates(self, size: TextSize) -> tuple[Rates, Rates, Rates]:
        """The last validation, the lowest and the error of the last, for a text of this size."""
        return rates(self.validation, size), rates(self.best, size), rates(self.error, size)

    def wild(self, loss_now: float) -> bool:
        """Whether the losses since the last report, or the loss as it is now, are no training any more."""
        return self.divergence.wild(self.losses) or self.divergence.above(loss_now)

    def diverged(self, loss_now: float, folder: Path | None) -> DivergedError:
        """The error that ends the run; `folder` is where its good weights are."""
        assert self.step is not None
        return diverged(self.divergence, self.step, loss_now, folder)

    def state_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        step = self.step and {
            field.name: getattr(self.step, field.name)
            for field in fields(Step)
            if field.name not in _OF_THE_MOMENT
        }
        names = ("validation", "error", "best", "best_step", "waited", "losses", "chores")
        plain = {name: getattr(self, name) for name in names}
        return plain | {"divergence": self.divergence.state_dict(), "step": step}

    def load_state_dict(self, facts: Mapping[str, Any], updater: Updater, new_data: bool = False) -> None:
        """Go on from a saved state; with `new_data` validations start anew."""
        self.losses, self.chores = list(facts["losses"]), list(facts["chores"])
        if facts["step"]:
            self.step = Step(**facts["step"], flow=updater.monitor.flow())
        if not new_data:
            self.validation, self.best, self.error = (facts[k] for k in ("validation", "best", "error"))
            # Runs of earlier versions count from here on.
            self.best_step, self.waited = facts.get("best_step", 0), facts.get("waited", 0)
        if "divergence" in facts:
            self.divergence.load_state_dict(facts["divergence"])
        else:  # a run of an earlier version: the first loss is that of its next step
            best = self.best_step
            self.divergence.saved(best or updater.done, BEST if best else LAST)


def saved_run(state: RunState, updater: Updater, sampling: Generator) -> tuple[Arrays, dict[str, Any]]:
    """A run as arrays and plain values: its updater, what was seen of it so far, and what is still to be done."""
    arrays, learnt = updater_state(updater)
    return arrays, {"learner": learnt, "sampling": sampling.state_dict(), **state.state_dict()}


def restore_run(
    state: RunState,
    updater: Updater,
    sampling: Generator,
    arrays: Mapping[str, Array],
    facts: Mapping[str, Any],
    new_data: bool,
) -> None:
    """Make a new run of the same settings the one that was saved; with `new_data` at the start of its text."""
    restore_updater(updater, arrays, facts["learner"], new_data)
    sampling.load_state_dict(facts["sampling"])
    state.load_state_dict(facts, updater, new_data)


def updater_state(updater: Updater) -> tuple[Arrays, dict[str, Any]]:
    """Weights, moments, carried state and earlier windows as arrays; counts, draws and places as plain values."""
    arrays: Arrays = {f"model.{name}": p.array for name, p in updater.model.state_dict().items()}
    optimizer = updater.optimizer.state_dict()
    for i, moments in optimizer["state"].items():
        arrays |= {f"optimiser.{i}.{name}": value for name, value in moments.items()}
    carried = _flat("carried", updater.state, arrays)
    windows = [_flat_window(f"window.{i}", one, i == 0, arrays) for i, one in enumerate(updater.windows)]
    return arrays, {
        "done": updater.done,
        "base_lrs": updater.schedule.base_lrs,
        "batches": updater.batches.state_dict(),
        "dropout": updater.dropout.state_dict(),
        "gauge": updater.monitor.state_dict(),
        "carried": carried,
        "windows": windows,
    }


def restore_updater(
    updater: Updater, arrays: Mapping[str, Array], facts: Mapping[str, Any], new_data: bool = False
) -> None:
    """Make a new updater of the same settings the one that was saved.

    With `new_data` its place in the text, and what it carries from there, stay as they are: at the start. Raises
    `CheckpointError` for weights or places that do not fit.
    """
    updater.model.load_state_dict(dict(_under("model.", arrays)))
    moments: dict[int, Arrays] = {}
    for name, value in _under("optimiser.", arrays):
        i, kind = name.split(".", 1)
        moments.setdefault(int(i), {})[kind] = value
    # Rates and other settings are those of the run's settings, which may have changed.
    groups = updater.optimizer.state_dict()["param_groups"]
    updater.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    updater.done = int(facts["done"])
    updater.dropout.load_state_dict(facts["dropout"])
    updater.monitor.load_state_dict(facts["gauge"])
    if new_data:
        return
    updater.batches.load_state_dict(facts["batches"])
    for k, form in enumerate(facts["windows"]):
        updater.run_again(_window(f"window.{k}", form, arrays))
    updater.dropout.load_state_dict(facts["dropout"])
    if not facts["windows"]:
        updater.state = _nested(facts["carried"], arrays)


def _under(prefix: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    return ((name.removeprefix(prefix), a) for name, a in arrays.items() if name.startswith(prefix))


def _flat_window(name: str, window: Window, oldest: bool, arrays: Arrays) -> dict[str, Any]:
    arrays |= {f"{name}.weights.{k}": a for k, a in enumerate(window.weights)}
    arrays |= {f"{name}.inputs": window.batch.inputs, f"{name}.targets": window.batch.targets}
    # Each later window starts from the state that the one before it leaves, on its tape.
    before = _flat(f"{name}.before", window.before if oldest else None, arrays)
    return {"fresh": window.batch.fresh, "draws": dict(window.draws), "before": before}


def _window(name: str, form: Mapping[str, Any], arrays: Mapping[str, Array]) -> Window:
    weights: list[Array] = []
    while f"{name}.weights.{len(weights)}" in arrays:
        weights.append(arrays[f"{name}.weights.{len(weights)}"])
    batch = Batch(arrays[f"{name}.inputs"], arrays[f"{name}.targets"], form["fresh"])
    return Window(weights, batch, form["draws"], _nested(form["before"], arrays))


def _flat(name: str, state: Any, arrays: Arrays) -> Any:
    """The form of a tree of tensors in JSON, with the names of the arrays as leaves."""
    if isinstance(state, Tensor):
        arrays[name] = state.array
        return name
    return None if state is None else [_flat(f"{name}.{k}", one, arrays) for k, one in enumerate(state)]


def _nested(form: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(form, str):
        return wrap(np.array(arrays[form]))
    return None if form is None else tuple(_nested(part, arrays) for part in form)
