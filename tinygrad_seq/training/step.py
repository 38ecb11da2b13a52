"""One training step: model, optimiser, batches of text, and the state carried between windows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq import optim
from tinygrad_seq.bptt import TruncatedBPTT
from tinygrad_seq.data import Batch, RandomWindows, Streams
from tinygrad_seq.engine.anomaly import detect_anomaly
from tinygrad_seq.engine.inplace import take_array
from tinygrad_seq.engine.node import no_grad
from tinygrad_seq.engine.random import Generator, drawing_from
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import NonFiniteError, explain
from tinygrad_seq.nn import detach
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.factory import new_optimizer, new_schedule
from tinygrad_seq.training.gradient_flow import GradientMonitor
from tinygrad_seq.training.run_folder import Run

__all__ = ["Updater", "Window", "unwarned", "why_not_finite"]


@dataclass(frozen=True)
class Window:
    """The inputs of one forward pass: weights, text, random draws, and the first state."""

    weights: list[Array]
    batch: Batch
    draws: Mapping[str, Any]
    before: Any


class Updater:
    """What changes from step to step. `done` counts the updates.

    Raises `DataError` if the ids are too few for the batch and window of the settings.
    """

    def __init__(self, run: Run, ids: npt.ArrayLike):
        config = run.config
        self.model = run.model
        self.batches: Streams | RandomWindows
        if config.reading == "random":
            draws = Generator(config.seed, "data")
            self.batches = RandomWindows(ids, config.batch, config.window, draws)
        else:
            self.batches = Streams(ids, config.batch, config.window)
        self.parameters = list(run.model.parameters())
        self.optimizer = new_optimizer(run.model, config)
        self.schedule = new_schedule(self.optimizer, config, self.batches.batches_per_pass)
        self.clip, self.clip_value = config.clip or math.inf, config.clip_value
        self.monitor = GradientMonitor(self.model, self.parameters, self.clip, config.window)
        self.dropout = Generator(config.seed, "dropout")
        self.reach = config.reach or config.window
        self.carry = TruncatedBPTT(1, max(1, self.reach // config.window))
        # The earlier windows that the gradient reaches: a resumed run records their tape again.
        self.windows: deque[Window] = deque(maxlen=max(0, self.reach // config.window - 1))
        self.state: Any = None
        self.latest: tuple[Batch, Any] | None = None
        """The last batch, and the state that it started from."""
        self.done = 0

    def step(self) -> tuple[float, float]:
        """One update with the next batch: loss in nats per token and the gradient's norm, before it.

        Raises `NonFiniteError`, which names the first op at fault, if one of them is no finite number; then
        no parameter has been changed.
        """
        self.model.train()
        batch = self.batches.next_batch()
        begin = self.dropout.state_dict()
        before = None if batch.fresh else self.state
        if batch.fresh:
            self.carry.reset()
            self.windows.clear()
        window = Window([p.array for p in self.parameters], batch, begin, before)
        with unwarned():
            with self.monitor.looking(self.done):
                loss, state = self._backward(batch, before)
            if self.clip_value:
                optim.clip_grad_value_(self.parameters, self.clip_value)
            norm = float(optim.clip_grad_norm_(self.parameters, self.clip).item())
        value = float(loss.item()) + 0.0  # a certain prediction has the loss 0, not -0
        if not (math.isfinite(value) and math.isfinite(norm)):
            self.optimizer.zero_grad()
            self.dropout.load_state_dict(begin)
            found = {"loss": value, "norm of the gradient": norm}
            raise NonFiniteError(
                why_not_finite(f"step {self.done + 1}", found, lambda: self._backward(batch, before))
            )
        self.optimizer.step()
        self.monitor.stepped(norm)
        self.optimizer.zero_grad()
        self.windows.append(window)
        self.latest = batch, None if before is None else detach(before)
        self.state = state
        self.done += 1
        return value, norm

    def loss_now(self) -> float:
        """Nats per token of the last batch by the weights as they are after it, without dropout; 0 before any."""
        if self.latest is None:
            return 0.0
        self.model.eval()
        with unwarned(), no_grad():
            return float(self._forward(*self.latest)[0].item())

    def run_again(self, window: Window) -> None:
        """Make the tape of an earlier window anew, as it was, and carry on from it; nothing is learnt."""
        self.model.train()
        now = [p.array for p in self.parameters]
        if window.batch.fresh:
            self.carry.reset()
        self.dropout.load_state_dict(dict(window.draws))
        for p, array in zip(self.parameters, window.weights, strict=True):
            take_array(p, array)
        # The oldest window starts from values, each later one from the tape of the one before.
        before = self.state if self.windows else window.before
        _, state = self._forward(window.batch, None if window.batch.fresh else before)
        self.state = self.carry.carry(state)
        for p, array in zip(self.parameters, now, strict=True):
            take_array(p, array)
        self.windows.append(replace(window, before=before))

    def _backward(self, batch: Batch, before: Any) -> tuple[Tensor, Any]:
        """The gradient of a batch's loss; returns the loss and the state that the next window starts from."""
        loss, state = self._forward(batch, before)
        if self.windows.maxlen:
            # Backward through this window and those before it that are kept.
            return loss, self.carry.carry(state, loss)
        loss.backward()
        # Detached: the next window starts from these values, and its gradient ends here.
        return loss, detach(state)

    def _forward(self, batch: Batch, before: Any) -> tuple[Tensor, Any]:
        inputs, targets, blind = batch.inputs, batch.targets, len(batch.inputs) - self.reach
        with drawing_from(self.dropout):
            if blind > 0:
                with no_grad():
                    _, before = self.model.loss(inputs[:blind], targets[:blind], before)
                inputs, targets = inputs[blind:], targets[blind:]
            return self.model.loss(inputs, targets, before)


def unwarned() -> AbstractContextManager[None]:
    """NumPy does not warn inside: the loop checks for values that are not finite, with a better message."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def why_not_finite(where: str, found: Mapping[str, object], again: Callable[[], object]) -> str:
    """The text of a NonFiniteError: what was found, and the first op at fault when it is done `again`."""
    try:
        with detect_anomaly():
            again()
    except NonFiniteError as error:
        first = "It first arose here:\n    " + str(error).replace("\n", "\n    ")
    else:
        first = "Done again op by op, every number was finite."
    return explain(
        f"train: {where}: a number is not finite",
        found,
        "expected finite numbers.",
        f"Weights saved before are still good. Try a lower lr.\n  {first}",
    )
