"""The course of one run: steps, and between them the chores: measure, report, sample, save."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from tinygrad_seq.data import Corpus, Tokens, let_go, rates
from tinygrad_seq.engine.random import Generator as Stream
from tinygrad_seq.sampling import sample
from tinygrad_seq.training.budget import Plan, never_back
from tinygrad_seq.training.busy_cores import ProductThreads, tried
from tinygrad_seq.training.divergence import Divergence, diverged
from tinygrad_seq.training.evaluation import Measured
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
from tinygrad_seq.training.snapshot import Arrays, course_state, restore_course
from tinygrad_seq.training.step import Learner
from tinygrad_seq.training.validation import parts_of, validated

__all__ = ["Course"]

_HELD = 20  # steps whose pages of mapped ids are kept in memory
Saving = tuple[Arrays, Mapping[str, Any]]


class Course:
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
        self.learner = Learner(run, self.parts.train)
        self.sampling = Stream(config.seed, "sampling")
        self.saved_at: tuple[int, tuple[str, ...]] | None = None
        self.validation = self.best = math.inf
        self.error = math.nan
        self.waited = self.best_step = 0
        """Validations since the best one, and its step."""
        self.divergence = Divergence(len(run.vocabulary))
        # Since the last report: the losses, and the seconds that their steps took.
        self.losses, self.seconds = list[float](), 0.0
        self.step: Step | None = None
        self.whole = True
        """False while a step or a chore is under way that must not be seen half done."""
        self.chores: list[str] = []
        """What is still to be done about the last step; a stop between two of them loses none."""
        self.sizes: Mapping[str, int] | None = None
        used = restore_course(self, *saved, new_data) if saved is not None else 0.0
        self.plan = Plan(config, self.clock, self.learner.batches.batches_per_pass, used, self.learner.done)
        self.threads = ProductThreads(lambda: tried(run, self.parts.train))
        self.resumed = self.learner.done if saved is not None else 0

    @property
    def over(self) -> bool:
        """Whether all planned steps are done, or none seems worth while; there may still be chores."""
        total = self.plan.total(self.learner.done)
        return (total is not None and self.learner.done >= total) or self.spent

    @property
    def spent(self) -> bool:
        """Whether so many validations in a row were no better that the run ends."""
        return 0 < self.run.config.patience <= self.waited

    def events(self) -> Generator[Event, None, None]:
        """The run, and what is done where it ends before its time.

        Raises `CheckpointError` if another process trains in this folder.
        """
        with stoppable(), alone(self.folder.path) if self.folder else nullcontext():
            yield from self._to_the_end()

    def _to_the_end(self) -> Iterator[Event]:
        try:
            yield from self._course()
        except KeyboardInterrupt as stop:
            # A second Ctrl+C may have cut a step in two; what was saved before is better than what is now.
            if not self.whole:
                raise
            with undisturbed():
                saved = list(self._save_now())
                describe(self)
            yield from saved
            path = self.folder.path if self.folder else None
            yield Interrupted(
                self.run, self.learner.done, self.plan.elapsed(), path, number_of(stop), *self._told
            )
        except GeneratorExit:
            if self.whole:
                with undisturbed():
                    list(self._save_now())
            raise

    def _course(self) -> Iterator[Event]:
        path = self.folder.path if self.folder else None
        # Saved before the first step: even a run that is killed at once leaves a folder that can be loaded.
        with self._undivided():
            saved = self._begin()
        train, validation, test = map(len, self.parts)
        many = too_many_weights(self.run.model.count(), train, self.run.config.patience)
        notes = filter(None, (*self.notes, many))
        yield Started(self.run, self.text, (train, validation, test), path, self.resumed, tuple(notes))
        yield from saved
        self.plan.begin()
        last = bool(self.resumed) and self.over
        yield from self._do_chores()
        while not last:
            step, last = self._advance()
            yield step
            yield from self._do_chores()
            last = last or self.spent
        if self.wild:  # no spike: it does not come down any more
            raise diverged(self)
        describe(self)
        size, done = self.validation_size, self.learner.done
        found = rates(self.validation, size), rates(self.best, size), rates(self.error, size)
        early = self.spent and done != self.plan.total(done)
        numbers = self.validation, self.best, self.plan.elapsed()
        yield Finished(self.run, done, *numbers, path, *found, early, *self._told, self.best_step)

    @property
    def wild(self) -> bool:
        """Whether its loss is no training any more."""
        return self.divergence.wild(self.losses) or self.divergence.above(self.learner.loss_now())

    @contextmanager
    def _undivided(self) -> Iterator[None]:
        """Ctrl+C waits for the end of the block; where something else cuts it, nothing is saved any more."""
        with uninterrupted():
            self.whole = False
            yield
            self.whole = True

    def _begin(self) -> list[Event]:
        """The folder as it is before the first step, its settings last: what holds them can be loaded."""
        folder = self.folder
        if not folder:
            return []
        folder.sweep()
        if self.sizes is not None:
            folder.remove_card()
            folder.describe(self.run, self._start())
            folder.cut_back(self.sizes)
            self.saved_at = self.learner.done, tuple(self.chores)
            return []
        folder.save_tokenizer(self.run)
        saved = list(self._save_now())
        folder.describe(self.run, self._start())
        return saved

    def _start(self) -> dict[str, str | int]:
        assert self.folder is not None
        return start_of(self.run, self.text, self.parts, self.folder.path, self.run_from)

    # ---- a step and what follows it --------------------------------------------------------------------
    def _advance(self) -> tuple[Step, bool]:
        """One update, and whether it was the last; what is to be done after it is noted."""
        config, learner = self.run.config, self.learner
        self.plan.adjust(learner.schedule, learner.done)
        if learner.done % _HELD == 0:
            let_go(self.parts.train)
        lr = learner.schedule.get_last_lr()[0]
        self.threads.prepare()
        begin = self.clock()
        with self._undivided():
            with self.threads.step():
                loss, gradient = learner.step()
            self.losses.append(loss)
            self.divergence.see(loss)
            self.seconds += self.plan.stepped(self.clock() - begin)
            n, total = learner.done, self.plan.total(learner.done)
            last = total is not None and n >= total
            measured = last or self.plan.validates(n)
            reported = not measured and n % config.report_every == 0
            saved = measured or (config.save_every and n % config.save_every == 0)
            sampled = config.sample_every and (last or n % config.sample_every == 0)
            due = {"evaluate": measured, "record": reported, "sample": sampled, "save": saved}
            self.chores = [chore for chore, is_due in due.items() if is_due]
            self.step = Step(
                step=n,
                steps=total,
                about=config.minutes is not None and total is not None and not last,
                loss=loss,
                recent=sum(self.losses) / len(self.losses),
                report=reported,
                gradient=gradient,
                lr=lr,
                rate=len(self.losses) * config.batch * config.window * self._width / max(self.seconds, 1e-9),
                seconds=self.plan.elapsed(),
                left=self.plan.seconds_left(n),
                flow=learner.gauge.flow(),
                width=self._width,
                left_range=self.plan.range_left(n),
                note=self.threads.word(),
            )
        return self.step, last

    @property
    def _told(self) -> tuple[str, tuple[Mapping[str, Any], ...]]:
        return prime_of(self.text.head, self.run.vocabulary), tuple(self.rows)

    @property
    def _width(self) -> float:
        """Characters per token."""
        return self.validation_size.characters / max(1, self.validation_size.tokens)

    def _do_chores(self) -> Iterator[Event]:
        begin, evaluates = self.clock(), "evaluate" in self.chores
        while self.chores:
            assert self.step is not None
            yield from getattr(self, f"_{self.chores[0]}")(self.step)
        if evaluates:
            self.plan.closing = self.clock() - begin

    def _evaluate(self, step: Step) -> Iterator[Event]:
        found = self._measured(step)
        with self._undivided():
            self.validation, self.error = found.nats, found.error
            better = self.validation < self.best
            self.best = min(self.best, self.validation)
            self.waited, self.best_step = (0, step.step) if better else (self.waited + 1, self.best_step)
            self._report(step, found)  # first: no weights are in the folder whose line is not
            path = None
            if better and self.folder and not self.wild:
                facts = {"step": str(step.step), "validation": repr(self.validation)}
                path = self.folder.save(self.run, facts, best=True)
                self.divergence.saved(step.step, path.name)
            self.chores.remove("evaluate")
        size = self.validation_size
        per, errors = found.rates(size), found.errors(size)
        seen: Any = {"lowest": self.best, "best_step": self.best_step, "waited": self.waited}
        yield Evaluated(step, found.nats, better, per, errors, found.whole, **seen)
        if path:
            yield Saved(step.step, path)

    def _measured(self, step: Step) -> Measured:
        return validated(self.run.model, self.run.config, self.parts.validation, step.step)

    def _record(self, step: Step) -> Iterator[Event]:
        with self._undivided():
            self._report(step)
            self.chores.remove("record")
        yield from ()

    def _sample(self, step: Step) -> Iterator[Event]:
        config, run, before = self.run.config, self.run, self.sampling.state_dict()
        try:
            text = sample(
                run.model, run.vocabulary, "", config.sample_length, config.temperature, self.sampling
            )
        except KeyboardInterrupt:
            self.sampling.load_state_dict(before)  # it is drawn again, and the same
            raise
        with self._undivided():
            if self.folder:
                self.folder.add_sample(step.step, text)
            self.chores.remove("sample")
        yield Sampled(step.step, text)

    def _save(self, step: Step) -> Iterator[Event]:
        self.chores.remove("save")
        yield from self._save_now(stopped=False)

    def _save_now(self, stopped: bool = True) -> Iterator[Event]:
        """The run as it is now: the weights as the last ones and all that is needed to go on. Of a run that is wild
        nothing replaces what is good, except where it is stopped: then all but the weights is saved.
        """
        now = self.learner.done, tuple(self.chores)
        if not self.folder or self.saved_at == now:
            return
        path, wild = None, self.wild
        if wild and not stopped:
            return
        if not wild:
            measured = {"validation": repr(self.validation)} if math.isfinite(self.validation) else {}
            facts = {"step": str(self.learner.done), **measured}
            path = self.folder.save(self.run, facts)
            self.divergence.saved(self.learner.done, path.name)
        self.folder.save_state(*course_state(self))
        self.saved_at = now
        if path is not None:
            yield Saved(self.learner.done, path)

    # ---- what is written down --------------------------------------------------------------------------
    def _report(self, step: Step, found: Measured | None = None) -> None:
        """A line of the metrics; the means start anew."""
        last = self.divergence.report(step.recent)
        self.rows.append(metrics_of(step, found, self.validation_size, self.divergence))
        if self.folder:
            self.folder.add_metrics(self.rows[-1])
        self.losses.clear()
        self.learner.gauge.reset()
        self.seconds = 0.0
        if last:
            raise diverged(self)
