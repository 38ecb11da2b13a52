"""One update after the other: model, optimiser, streams of text, and the state carried between windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import numpy.typing as npt

from tinygrad_seq import optim
from tinygrad_seq.anomaly import detect_anomaly
from tinygrad_seq.data import Batch, Streams
from tinygrad_seq.errors import NonFiniteError, explain
from tinygrad_seq.nn import detach
from tinygrad_seq.nn.recurrent import State
from tinygrad_seq.random import Generator, stream
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.training.flow import Gauge
from tinygrad_seq.training.run_folder import Run

__all__ = ["Learner", "drawing_from", "unwarned", "why_not_finite"]


class Learner:
    """What changes from step to step. `done` counts the updates; `whole` is false while one is under way.

    Raises `DataError` if the ids are too few for the batch and window of the settings.
    """

    def __init__(self, run: Run, ids: npt.ArrayLike):
        config = run.config
        self.model = run.model
        self.streams = Streams(ids, config.batch, config.window)
        self.parameters = list(run.model.parameters())
        rule = getattr(optim, config.optimiser)
        self.optimiser: optim.Optimizer = rule(
            self.parameters, lr=config.lr, weight_decay=config.weight_decay
        )
        self.schedule = optim.CosineWithWarmup(self.optimiser, total=1)
        self.clip = config.clip or math.inf
        self.gauge = Gauge(self.model, self.parameters, self.clip, config.window)
        self.dropout = Generator(config.seed, "dropout")
        self.state: State | None = None
        self.done = 0
        self.whole = True

    def step(self) -> tuple[float, float]:
        """One update with the next batch: loss in nats per character and the gradient's norm, before it.

        Raises `NonFiniteError`, which names the first op at fault, if one of them is no finite number; then
        no parameter has been changed.
        """
        self.whole = False
        self.model.train()
        batch = next(self.streams)
        begin = self.dropout.state_dict()
        before = None if batch.fresh else self.state
        with unwarned():
            with self.gauge.looking(self.done):
                loss, state = self._backward(batch, before)
            norm = float(optim.clip_grad_norm_(self.parameters, self.clip).item())
        value = float(loss.item())
        if not (math.isfinite(value) and math.isfinite(norm)):
            self.optimiser.zero_grad()
            self.dropout.load_state_dict(begin)
            found = {"loss": value, "norm of the gradient": norm}
            raise NonFiniteError(
                why_not_finite(f"step {self.done + 1}", found, lambda: self._backward(batch, before))
            )
        self.optimiser.step()
        self.gauge.stepped(norm)
        self.optimiser.zero_grad()
        # Off the tape: the next window carries on from these values and learns nothing about how they came.
        self.state = detach(state)
        self.done += 1
        self.whole = True
        return value, norm

    def _backward(self, batch: Batch, before: State | None) -> tuple[Tensor, State]:
        with drawing_from(self.dropout):
            loss, state = self.model.loss(batch.inputs, batch.targets, before)
        loss.backward()
        return loss, state


@contextmanager
def drawing_from(own: Generator) -> Iterator[None]:
    """Inside, layers that draw from the default stream of `own`'s name draw from `own` in its place."""
    default = stream(own.stream)
    before = default.state_dict()
    default.load_state_dict(own.state_dict())
    try:
        yield
    finally:
        own.load_state_dict(default.state_dict())
        default.load_state_dict(before)


def unwarned() -> AbstractContextManager[None]:
    """NumPy does not warn inside: the loop looks for what is not finite itself, and says more of it."""
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
