"""The trainer of one run: steps, and between them the chores: measure, report, sample, save."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tinygrad_seq.data import Corpus, Tokens, let_go
from tinygrad_seq.engine.random import Generator as Stream
from tinygrad_seq.sampling import sample
from tinygrad_seq.training.budget import Plan, lasted, never_back
from tinygrad_seq.training.busy_cores import ProductThreads, tried
from tinygrad_seq.training.divergence import Divergence
from tinygrad_seq.training.evaluation import Measured, parts_of, validated
from tinygrad_seq.training.events import (
    Evaluated,
    Event,
    Finished,
    Interrupted,
    Sampled,
    Saved,
    Started,
    Step,
)
from tinygrad_seq.training.metrics import metrics_of, start_of
from tinygrad_seq.training.priming import prime_of
from tinygrad_seq.training.process import alone
from tinygrad_seq.training.readme import describe
from tinygrad_seq.training.run_folder import Run, RunFolder
from tinygrad_seq.training.signals import number_of, stoppable, undisturbed, uninterrupted
from tinygrad_seq.training.small_texts import too_many_weights
from tinygrad_seq.training.snapshot import Arrays, RunState, restore_run, saved_run
from tinygrad_seq.training.step import Updater

__all__ = ["Trainer"]

_HELD = 20  # steps whose pages of mapped ids are kept in memory
Saving = tuple[Arrays, Mapping[str, Any]]


class Trainer:
    """One run, from its first step or from where it was saved."""

    def __init__(
        self,
        run: Run,
        text: Corpus | Tokens,
        tokens: Tokens,
        folder: RunFolder | None,
        clock: Callable[[], float],
        saved: Saving | None = None,
        *,
        new_data: bool = False,
        run_from: str | None = None,
        notes: Iterable[str] = (),
    ):
        self.notes, self.rows = tuple(notes), list[Mapping[str, Any]]()
        self.run, self.text, self.folder, self.clock = run, text, folder, never_back(clock)
        self.run_from = run_from or os.getcwd()
        """Where the names of the text's files are seen from."""
        config = run.config
        self.parts = parts_of(tokens.ids, config.split, config.batch)
        self.validation_size = run.vocabulary.measure(self.parts.validation)
        self.updater = Updater(run, self.parts.train)
        self.sampling = Stream(config.seed, "sampling")
        self.saved_at: tuple[int, tuple[str, ...]] | None = None
        self.state = RunState(Divergence(len(run.vocabulary)))
        self.seconds = 0.0
        """How long the steps since the last report took."""
        self.whole = True
        """False while a step or a chore is under way that must not be seen half done."""
        self.sizes: Mapping[str, int] | None = None
        used = 0.0
        if saved is not None:
            restore_run(self.state, self.updater, self.sampling, *saved, new_data)
            self.sizes, used = saved[1]["sizes"], lasted(saved[1]["seconds"])
        self.plan = Plan(config, self.clock, self.updater.batches.batches_per_pass, used, self.updater.done)
        self.threads = ProductThreads(lambda: tried(run, self.parts.train))
        self.resumed = self.updater.done if saved is not None else 0

    @property
    def over(self) -> bool:
        """Whether all planned steps are done or `patience` has ended the run; a last report may still be due."""
        total = self.plan.total(self.updater.done)
        return (total is not None and self.updater.done >= total) or self.spent

    @property
    def spent(self) -> bool:
        """Whether so many validations in a row were no better that the run ends."""
        return 0 < self.run.config.patience <= self.state.waited

    def events(self) -> Generator[Event, None, None]:
        """The run, also where it ends before its time; `BusyError` if another process trains in this folder."""
        with stoppable(), alone(self.folder.path) if self.folder else nullcontext():
            yield from self._to_the_end()

    def _to_the_end(self) -> Iterator[Event]:
        try:
            yield from self._events()
        except KeyboardInterrupt as stop:
            # A second Ctrl+C may have interrupted a step; the earlier checkpoint is better than the present state.
            if not self.whole:
                raise
            with undisturbed():
                saved = list(self._save_now())
                self._write_card()
            yield from saved
            seconds, number = self.plan.elapsed(), number_of(stop)
            yield Interrupted(self.run, self.updater.done, seconds, self._path, number, *self._told)
        except GeneratorExit:
            if self.whole:
                with undisturbed():
                    list(self._save_now())
            raise

    def _events(self) -> Iterator[Event]:
        # Saved before the first step: even a run that is killed at once leaves a folder that can be loaded.
        with self._undivided():
            saved = self._begin()
        train, validation, test = map(len, self.parts)
        many = too_many_weights(self.run.model.count(), train, self.run.config.patience)
        notes = filter(None, (*self.notes, many))
        yield Started(self.run, self.text, (train, validation, test), self._path, self.resumed, tuple(notes))
        yield from saved
        self.plan.begin()
        last = bool(self.resumed) and self.over
        yield from self._do_chores()
        while not last:
            step, last = self._advance()
            yield step
            yield from self._do_chores()
            last = last or self.spent
        if self.wild:  # no spike: the loss does not come down any more
            raise self.state.diverged(self.updater.loss_now(), self._path)
        self._write_card()
        state, done = self.state, self.updater.done
        early = self.spent and done != self.plan.total(done)
        numbers = state.validation, state.best, self.plan.elapsed()
        found = state.rates(self.validation_size)
        yield Finished(self.run, done, *numbers, self._path, *found, early, *self._told, state.best_step)

    @property
    def wild(self) -> bool:
        """Whether its loss has diverged."""
        return self.state.wild(self.updater.loss_now())

    @contextmanager
    def _undivided(self) -> Iterator[None]:
        """Ctrl+C waits for the end of the block; after any other interruption nothing is saved any more."""
        with uninterrupted():
            self.whole = False
            yield
            self.whole = True

    def _begin(self) -> list[Event]:
        """The folder as it is before the first step, its settings last: what holds them can be loaded."""
        folder = self.folder
        if not folder:
            return []
        start = start_of(self.run, self.text, self.parts, folder.path, self.run_from)
        folder.sweep()
        if self.sizes is not None:
            folder.remove_card()
            folder.describe(self.run, start)
            folder.cut_back(self.sizes)
            self.saved_at = self.updater.done, tuple(self.state.chores)
            return []
        folder.save_tokenizer(self.run)
        saved = list(self._save_now())
        folder.describe(self.run, start)
        return saved

    # ---- a step and what follows it --------------------------------------------------------------------
    def _advance(self) -> tuple[Step, bool]:
        """One update, and whether it was the last; what is to be done after it is noted."""
        config, updater, state = self.run.config, self.updater, self.state
        self.plan.adjust(updater.schedule, updater.done)
        if updater.done % _HELD == 0:
            let_go(self.parts.train)
        lr = updater.schedule.get_last_lr()[0]
        self.threads.prepare()
        begin = self.clock()
        with self._undivided():
            with self.threads.step():
                loss, gradient = updater.step()
            state.losses.append(loss)
            state.divergence.see(loss)
            self.seconds += self.plan.stepped(self.clock() - begin)
            n, total = updater.done, self.plan.total(updater.done)
            last = total is not None and n >= total
            state.chores = self.plan.chores(n, last)
            state.step = Step(
                step=n,
                steps=total,
                about=config.minutes is not None and total is not None and not last,
                loss=loss,
                recent=sum(state.losses) / len(state.losses),
                report="record" in state.chores,
                gradient=gradient,
                lr=lr,
                rate=len(state.losses) * config.batch * config.window * self._width / max(self.seconds, 1e-9),
                seconds=self.plan.elapsed(),
                left=self.plan.seconds_left(n),
                flow=updater.monitor.flow(),
                width=self._width,
                left_range=self.plan.range_left(n),
                note=self.threads.word(),
            )
        return state.step, last

    @property
    def _told(self) -> tuple[str, tuple[Mapping[str, Any], ...]]:
        return prime_of(self.text.head, self.run.vocabulary), tuple(self.rows)

    @property
    def _width(self) -> float:
        """Characters per token."""
        return self.validation_size.characters / max(1, self.validation_size.tokens)

    def _do_chores(self) -> Iterator[Event]:
        begin, evaluates = self.clock(), "evaluate" in self.state.chores
        while self.state.chores:
            assert self.state.step is not None
            yield from _CHORES[self.state.chores[0]](self, self.state.step)
        if evaluates:
            self.plan.closing = self.clock() - begin

    def _evaluate(self, step: Step) -> Iterator[Event]:
        found, state = self._measured(step), self.state
        with self._undivided():
            better = state.see(found, step.step)
            self._report(step, found)  # first: no weights are in the folder whose line is not
            path = None
            if better and self.folder and not self.wild:
                facts = {"step": str(step.step), "validation": repr(found.nats)}
                path = self.folder.save(self.run, facts, best=True)
                state.divergence.saved(step.step, path.name)
            state.chores.remove("evaluate")
        per, errors = found.rates(self.validation_size), found.errors(self.validation_size)
        seen: Any = {"lowest": state.best, "best_step": state.best_step, "waited": state.waited}
        yield Evaluated(step, found.nats, better, per, errors, found.whole, **seen)
        if path:
            yield Saved(step.step, path)

    def _measured(self, step: Step) -> Measured:
        return validated(self.run.model, self.run.config, self.parts.validation, step.step)

    def _record(self, step: Step) -> Iterator[Event]:
        with self._undivided():
            self._report(step)
            self.state.chores.remove("record")
        yield from ()

    def _sample(self, step: Step) -> Iterator[Event]:
        config, run, before = self.run.config, self.run, self.sampling.state_dict()
        try:
            length, temperature = config.sample_length, config.temperature
            text = sample(run.model, run.vocabulary, "", length, temperature, self.sampling)
        except KeyboardInterrupt:
            self.sampling.load_state_dict(before)  # it is drawn again, and the same
            raise
        with self._undivided():
            if self.folder:
                self.folder.add_sample(step.step, text)
            self.state.chores.remove("sample")
        yield Sampled(step.step, text)

    def _save(self, step: Step) -> Iterator[Event]:
        self.state.chores.remove("save")
        yield from self._save_now(stopped=False)

    def _save_now(self, stopped: bool = True) -> Iterator[Event]:
        """The run as it is now: the weights as the last ones and all that is needed to go on. Of a run that is wild
        nothing replaces what is good, except where it is stopped: then all but the weights is saved.
        """
        now = self.updater.done, tuple(self.state.chores)
        if not self.folder or self.saved_at == now:
            return
        path, wild = None, self.wild
        if wild and not stopped:
            return
        if not wild:
            told = {"step": str(self.updater.done)}
            if math.isfinite(self.state.validation):
                told["validation"] = repr(self.state.validation)
            path = self.folder.save(self.run, told)
            self.state.divergence.saved(self.updater.done, path.name)
        arrays, facts = saved_run(self.state, self.updater, self.sampling)
        facts |= {"sha256": self.text.sha256, "from": self.run_from, "seconds": self.plan.elapsed()}
        self.folder.save_state(arrays, facts | {"sizes": self.folder.sizes()})
        self.saved_at = now
        if path is not None:
            yield Saved(self.updater.done, path)

    # ---- what is written down --------------------------------------------------------------------------
    def _report(self, step: Step, found: Measured | None = None) -> None:
        """A line of the metrics; the means start anew."""
        last = self.state.divergence.report(step.recent)
        after = self.updater.loss_now() if found is not None and self.over else 0.0
        self.rows.append(metrics_of(step, found, self.validation_size, self.state.divergence, after))
        if self.folder:
            self.folder.add_metrics(self.rows[-1])
        self.state.losses.clear()
        self.updater.monitor.reset()
        self.seconds = 0.0
        if last:
            raise self.state.diverged(self.updater.loss_now(), self._path)

    @property
    def _path(self) -> Path | None:
        return self.folder.path if self.folder else None

    def _write_card(self) -> None:
        if self.folder:
            progress = self.updater.done, self.plan.elapsed()
            describe(self.folder, self.run, self.text, *progress, self.state.rates(self.validation_size))


_CHORES: dict[str, Callable[[Trainer, Step], Iterator[Event]]] = {
    "evaluate": Trainer._evaluate,
    "record": Trainer._record,
    "sample": Trainer._sample,
    "save": Trainer._save,
}
