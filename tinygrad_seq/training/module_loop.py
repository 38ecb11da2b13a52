"""Any module and its loss, trained on any batches: the loop of `fit` where there is no text."""

from __future__ import annotations

import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from tinygrad_seq import optim
from tinygrad_seq.arguments import real
from tinygrad_seq.engine.random import Generator, replayed
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError, DivergedError, NonFiniteError
from tinygrad_seq.nn import Module, Parameter
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.budget import never_back
from tinygrad_seq.training.divergence import REPORTS, TIMES, Divergence

__all__ = ["Fitted", "fit_module"]

_AT_THE_END = 2  # reports: a single batch may only be a hard one


@dataclass(frozen=True, repr=False)
class Fitted:
    """The result of `fit` for a module: `losses` has one number for each step, before its update; `rows` are the
    same numbers for `plots.learning`.
    """

    model: Module
    losses: tuple[float, ...]
    seconds: float

    @property
    def step(self) -> int:
        """How many updates were made."""
        return len(self.losses)

    def __repr__(self) -> str:
        first, last = self.losses[0], self.losses[-1]
        name = type(self.model).__name__
        return (
            f"Fitted({name}, {self.step:,} steps in {self.seconds:.1f} s, loss {first:z.4f} to {last:z.4f})"
        )

    @property
    def rows(self) -> tuple[Mapping[str, float], ...]:
        """Step and loss of each step."""
        return tuple({"step": i + 1, "loss": loss} for i, loss in enumerate(self.losses))


def fit_module(
    model: Module,
    data: Iterable[Any] | None = None,
    loss: Callable[..., Any] | None = None,
    *,
    steps: int,
    lr: float = 1e-3,
    optimizer: str = "AdamW",
    clip: float = 1.0,
    seed: int | None = None,
    diverged: float = TIMES,
    say: Callable[[str], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Fitted:
    """Make `steps` updates of a module's parameters, each with the next batch of `data`, from the first again after
    the last. Without data the loss is called with the model only.

        loss(model, *batch)   of a tuple or list;   loss(model, batch)   else;   not given: model.loss(*batch)

    Of a tuple that it gives, such as (loss, state), the first is taken. `say` is told a line now and then.

    With a `seed` the run has default random streams of its own: two runs in two threads then draw the same numbers
    as one after the other, in dropout and elsewhere. Without a seed the current default streams are used.

    Raises `ArgumentError` where there is no loss, no batch, or an iterator that ends before the steps do;
    `NonFiniteError` for a loss or gradient that is no finite number, the parameters are then as before that
    step; `DivergedError` where the loss is above `diverged` times the size of its first value (0: never) in 5
    reports in a row, each the mean of a twentieth of the steps, or in the last two. The parameters are then those
    with which the last good report was made.
    """
    told = loss if loss is not None else getattr(model, "loss", None)
    if not callable(told):
        rule = "expected a method `loss` of the module, or loss=, a function of the module and a batch."
        raise ArgumentError("fit: this module has no loss", {"model": type(model).__name__}, rule)
    parameters = list(model.parameters())
    rule_of = getattr(optim, optimizer)(parameters, lr=lr)
    watch = _Watch(parameters, steps, real("fit", "diverged", diverged, low=0))
    clock = never_back(clock)
    begin, every = clock(), watch.every

    def report(n: int, loss: float, norm: float) -> None:
        if say is not None and (n % every == 0 or n in (1, steps)):
            say(f"step {n:,}/{steps:,}  loss {loss:z.4f}  gradient {norm:.3g}  {clock() - begin:.1f} s")

    model.train()
    with nullcontext() if seed is None else replayed((Generator(seed).seed, {})):
        losses = _updates([] if loss is None else [model], data, told, rule_of, watch, clip, report)
    if len(losses) < steps:
        found = {"steps": steps, "batches": len(losses)}
        rule = "expected a list, or an iterator with a batch for each step."
        raise ArgumentError("fit: the data ended before the steps did", found, rule)
    return Fitted(model, tuple(losses), clock() - begin)


def _updates(
    first: list[Module],
    data: Iterable[Any] | None,
    told: Callable[..., Any],
    rule_of: optim.Optimizer,
    watch: _Watch,
    clip: float,
    report: Callable[[int, float, float], None],
) -> list[float]:
    """The loop of `fit_module`: the loss of each step that there was a batch for; `first` stands before the batch."""
    losses = []
    for n, batch in zip(range(1, watch.steps + 1), _again(data), strict=False):
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        given = [*first, *([] if data is None else parts)]
        if n == 1:
            _require_loss_of(told, given)
        found = _number(told(*given))
        rule_of.zero_grad()
        found.backward()
        norm = float(optim.clip_grad_norm_(watch.parameters, clip or math.inf).item())
        value = float(found.item()) + 0.0
        if not (math.isfinite(value) and math.isfinite(norm)):
            numbers = {"loss": value, "norm of the gradient": norm}
            raise NonFiniteError(f"fit: step {n}: a number is not finite", numbers, "Try a lower lr.")
        watch.see(n, value)
        rule_of.step()
        losses.append(value)
        report(n, value, norm)
    return losses


def _number(found: Any) -> Tensor:
    """The loss, from itself or from a tuple such as (loss, state)."""
    found = found[0] if isinstance(found, tuple) else found
    if not isinstance(found, Tensor) or found.size != 1:
        rule = "expected a tensor of one."
        raise ArgumentError("fit: the loss is not one number", {"loss": found}, rule)
    return found


class _Watch:
    """Looks whether the losses are those of a training, and keeps the parameters of the last report that was good."""

    def __init__(self, parameters: list[Parameter], steps: int, times: float):
        self.parameters, self.steps, self.every = parameters, steps, max(1, steps // 20)
        self.divergence, self.losses = Divergence(times=times), list[float]()
        self.kept, self.good = self._now(), 1

    def see(self, step: int, loss: float) -> None:
        """Take the loss of a step before its update. Raises `DivergedError`."""
        watch, last = self.divergence, step == self.steps
        watch.see(loss)
        self.losses.append(loss)
        if step % self.every and not last:
            return
        mean = math.fsum(self.losses) / len(self.losses)
        self.losses.clear()
        if watch.report(mean) or (last and watch.count >= _AT_THE_END):
            for p, values in zip(self.parameters, self.kept, strict=True):
                p.assign(values)
            found = {"loss": mean, "loss of the first step": watch.first}
            rule = f"expected at most {watch.highest:.4g}, {watch.times:g} times the size of the first,\n"
            rule += f"  in one of {REPORTS} reports in a row and in one of the last {_AT_THE_END}."
            hint = f"The parameters are again those before step {self.good:,}. Try a lower lr, or diverged=0."
            raise DivergedError(f"fit: step {step:,}: the loss has diverged", found, rule, hint)
        if not watch.count:
            self.kept, self.good = self._now(), step

    def _now(self) -> list[Array]:
        return [p.array for p in self.parameters]  # an update makes new arrays


def _require_loss_of(loss: Callable[..., Any], given: list[Any]) -> None:
    """Raise `ArgumentError` for a loss that does not take the module and the batch, such as `F.mse_loss`."""
    try:
        inspect.signature(loss.forward if isinstance(loss, Module) else loss).bind(*given)
    except ValueError:  # written in C: it has no signature to look at
        return
    except TypeError as error:
        takes = getattr(loss, "__name__", type(loss).__name__)
        raise ArgumentError(
            f"fit: the loss cannot be called with what there is: {error}",
            {"loss": takes, "given": ", ".join(type(one).__name__ for one in given)},
            "expected a function of the module and the parts of a batch.",
            "For a batch (x, y): lambda model, x, y: F.mse_loss(model(x), y)",
        ) from error


def _again(data: Iterable[Any] | None) -> Iterator[Any]:
    if data is None:
        yield from itertools.repeat(())
        return
    if iter(data) is data:
        yield from data
        return
    while True:
        empty = True
        for batch in data:
            empty = False
            yield batch
        if empty:
            return
