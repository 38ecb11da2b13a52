"""The training loop as a generator of events: the command line, a notebook and a test read the same loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import tinygrad_seq
from tinygrad_seq.data import (
    Corpus,
    Progress,
    Tokens,
    is_large,
    rates,
    read_text,
    split,
    stored_tokens,
    tokenize,
)
from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.random import Generator as Stream
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.evaluation import bits, evaluate
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
from tinygrad_seq.training.interrupt import uninterrupted
from tinygrad_seq.training.learner import Learner, unwarned, why_not_finite
from tinygrad_seq.training.plan import Plan
from tinygrad_seq.training.run_folder import Run, RunFolder, new_model
from tinygrad_seq.training.sampling import sample

__all__ = ["train"]


def train(
    config: Config,
    *,
    corpus: Corpus | Tokens | None = None,
    folder: str | Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[Progress], object] | None = None,
) -> Generator[Event, None, None]:
    """Train a character model, and tell of it event by event.

    B streams of the text run side by side. The state of each is carried from window to window and detached
    between them, so that the gradient reaches back through one window and the memory further; where the
    streams start the text again, the state starts from zero. The loss is the mean of -log P in nats per
    token, which is a character where the tokenizer is `char`. The text is `corpus`, or what `config.corpus`
    names; a large one is not held in memory, and `progress` is told how far its tokens are. With a `folder`
    the run is written there, as `run_folder` says; without, nothing is written. `clock` counts seconds.

    Weights, dropout and samples draw from streams of `config.seed` that are this run's own: the same settings
    give the same run (unless it is planned by `minutes`), and how often it is evaluated or sampled changes
    nothing in it. Ctrl+C ends the run after a whole step, with the last weights saved and `Interrupted` as
    the last event; so does closing the generator, without an event.

    Raises `DataError` for a text that cannot be read or is too short, `CheckpointError` for a folder that is
    not free, both before the first event; later `NonFiniteError`, with the op where it arose, when loss or
    gradient is no finite number. The weights saved last are then still good.

    >>> text = Corpus("to be or not to be, that is the question. " * 20)
    >>> for event in train(Config(hidden=8, batch=4, window=8, steps=3, sample_every=0), corpus=text):
    ...     print(type(event).__name__)
    Started
    Step
    Step
    Step
    Evaluated
    Finished
    """
    return _Training(config, corpus or _text_of(config, progress), folder, clock).events()


def _text_of(config: Config, progress: Callable[[Progress], object] | None) -> Corpus | Tokens:
    source, encoding, bad_bytes = config.corpus, config.encoding, config.bad_bytes
    if not is_large(source):
        return read_text(source, encoding=encoding, bad_bytes=bad_bytes)
    return stored_tokens(source, config.tokenizer, encoding=encoding, bad_bytes=bad_bytes, progress=progress)


class _Training:
    """The course of one run: steps, and between them what is told, measured, sampled and saved."""

    def __init__(
        self,
        config: Config,
        corpus: Corpus | Tokens,
        folder: str | Path | None,
        clock: Callable[[], float],
    ):
        self.config, self.corpus, self.clock = config, corpus, clock
        tokens = corpus if isinstance(corpus, Tokens) else tokenize(corpus, config.tokenizer)
        vocabulary = tokens.tokenizer
        self.parts = split(tokens.ids)
        self.validation_size = vocabulary.measure(self.parts.validation)
        self.run = Run(new_model(vocabulary, config), vocabulary, config)
        self.learner = Learner(self.run, self.parts.train)
        self.folder = RunFolder.create(folder) if folder is not None else None
        self.path = self.folder.path if self.folder else None
        self.plan = Plan(config, clock)
        self.sampling = Stream(config.seed, "sampling")
        self.saved_at = -1
        self.validation = self.best = math.inf
        # Since the last report: the losses, and the seconds that their steps took.
        self.losses: list[float] = []
        self.seconds = 0.0

    def events(self) -> Generator[Event, None, None]:
        """The run, and what is done where it ends before its time."""
        try:
            yield from self._course()
        except KeyboardInterrupt:
            # A second Ctrl+C may have cut a step in two; the weights saved before are better than those now.
            if not self.learner.whole:
                raise
            yield from self._save()
            yield Interrupted(self.run, self.learner.done, self.plan.elapsed(), self.path)
        except GeneratorExit:
            for _ in self._save():
                pass
            raise

    def _course(self) -> Iterator[Event]:
        config = self.config
        if self.folder:
            self.folder.describe(self.run, self._facts())
        # Saved before the first step: even a run that is killed at once leaves a folder that can be loaded.
        train, validation, test = map(len, self.parts)
        yield Started(self.run, self.corpus, (train, validation, test), self.path)
        yield from self._save()
        self.plan = Plan(config, self.clock)
        last = False
        while not last:
            step, last = self._step()
            yield step
            if last or step.step % config.eval_every == 0:
                yield from self._evaluate(step)
            elif step.report:
                self._record(step)
            if config.sample_every and (last or step.step % config.sample_every == 0):
                yield self._sample()
        yield Finished(
            self.run,
            self.learner.done,
            self.validation,
            self.best,
            self.plan.elapsed(),
            self.path,
            rates(self.validation, self.validation_size),
            rates(self.best, self.validation_size),
        )

    def _step(self) -> tuple[Step, bool]:
        """One update, and whether it was the last."""
        config, learner, begin = self.config, self.learner, self.clock()
        self.plan.adjust(learner.schedule, learner.done)
        lr = learner.schedule.get_last_lr()[0]
        with uninterrupted():
            loss, gradient = learner.step()
        self.losses.append(loss)
        self.seconds += self.clock() - begin
        n, total = learner.done, self.plan.total(learner.done)
        last = total is not None and n >= total
        step = Step(
            step=n,
            steps=total,
            loss=loss,
            recent=sum(self.losses) / len(self.losses),
            report=not last and n % config.report_every == 0 and n % config.eval_every != 0,
            gradient=gradient,
            lr=lr,
            rate=len(self.losses) * config.batch * config.window / max(self.seconds, 1e-9),
            seconds=self.plan.elapsed(),
            left=self.plan.seconds_left(n),
            flow=learner.gauge.flow(),
        )
        return step, last

    def _evaluate(self, step: Step) -> Iterator[Event]:
        begin = self.clock()
        model, ids = self.run.model, self.parts.validation
        with unwarned():
            self.validation = evaluate(model, ids)
        if not math.isfinite(self.validation):
            found: dict[str, object] = {"validation": self.validation}
            raise NonFiniteError(why_not_finite(f"step {step.step}", found, lambda: evaluate(model, ids)))
        better = self.validation < self.best
        self.best = min(self.best, self.validation)
        self._record(step, self.validation)
        yield Evaluated(step, self.validation, better, rates(self.validation, self.validation_size))
        yield from self._save({"validation": repr(self.validation)}, best=better)
        self.plan.closing = self.clock() - begin

    def _sample(self) -> Sampled:
        config, run = self.config, self.run
        text = sample(run.model, run.vocabulary, "", config.sample_length, config.temperature, self.sampling)
        if self.folder:
            self.folder.add_sample(self.learner.done, text)
        return Sampled(self.learner.done, text)

    def _save(self, facts: Mapping[str, str] | None = None, best: bool = False) -> Iterator[Event]:
        """The weights as they are now, as the last and where they are as the best too."""
        n = self.learner.done
        if not self.folder or self.saved_at == n:
            return
        facts = {"step": str(n), **(facts or {})}
        path = self.folder.save(self.run, facts)
        self.saved_at = n
        yield Saved(n, path)
        if best:
            yield Saved(n, self.folder.save(self.run, facts, best=True))

    def _record(self, step: Step, validation: float | None = None) -> None:
        """A line of the metrics; the means start anew."""
        if self.folder:
            values: dict[str, float | None] = {
                "step": step.step,
                "loss": step.recent,
                "bits": bits(step.recent),
                "gradient": step.gradient,
                "lr": step.lr,
                "characters_per_second": round(step.rate, 1),
                "seconds": round(step.seconds, 3),
            }
            values |= step.flow.scalars() if step.flow else {}
            if validation is not None:
                found = rates(validation, self.validation_size)
                values |= {"validation": validation, "validation_bits": bits(validation)}
                values |= found._asdict()
            self.folder.add_metrics(values)
        self.losses.clear()
        self.learner.gauge.reset()
        self.seconds = 0.0

    def _facts(self) -> dict[str, str | int]:
        return {
            "tinygrad_seq": tinygrad_seq.__version__,
            "corpus": self.corpus.name,
            "sha256": self.corpus.sha256,
            "characters": self.corpus.characters,
            "symbols": len(self.run.vocabulary),
            "train": len(self.parts.train),
            "validation": len(self.parts.validation),
            "test": len(self.parts.test),
            "parameters": self.run.model.count(),
        }
