"""The training loop as a generator of events: the command line, a notebook and a test read the same loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygrad_seq.data import (
    Corpus,
    Progress,
    Tokens,
    from_texts,
    is_large,
    read_text,
    stored_tokens,
    tokenize,
)
from tinygrad_seq.data.sources.paths import left_out_of
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import CheckpointError, explain
from tinygrad_seq.training.budget import lasted
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.events import Event
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.find_text import BEGUN_IN, Found, found_text
from tinygrad_seq.training.run_folder import Run, RunFolder
from tinygrad_seq.training.small_texts import suited
from tinygrad_seq.training.trainer import Trainer

__all__ = ["resume", "text_of", "train"]

Text = Corpus | Tokens | Iterable[object]
Data = str | Path | Sequence[str | Path]
Report = Callable[[Progress], object]


def train(
    config: Config | None = None,
    *,
    corpus: Text | None = None,
    folder: str | Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Report | None = None,
    notes: Iterable[str] = (),
    **settings: Any,
) -> Generator[Event, None, None]:
    """Train a character model; yields events.

    B streams of the text run side by side. The state of each is carried from window to window and detached
    between them, so that the gradient reaches back through one window and the memory further; where the
    streams start the text again, the state starts from zero. With `reading="random"` each window is drawn and
    starts without a state. The loss is the mean of -log P in nats per token, which is a character where the
    tokenizer is `char`. `settings` change single settings of `config`.

    Where the text is too short for the batch and window of the settings, smaller ones are taken, as `Started.notes`
    says. The text is `corpus` (also any iterable of strings, or of dicts with a text under `text`), or what
    `config.corpus` names; a large one is not held in memory, and `progress` is told how far its tokens are. With
    a `folder` the run is written there, as `run_folder` says, and `resume` goes on with it; without, nothing is
    written. `clock` counts seconds. `notes` are added to those of `Started`.

    Weights, dropout, windows and samples draw from streams of `config.seed` that are this run's own: the same
    settings give the same run (unless it is planned by `minutes`), and how often it is evaluated, sampled or saved
    changes nothing in it. Ctrl+C ends the run after a whole step, with its state saved and `Interrupted` as
    the last event; so does closing the generator, without an event.

    Raises `DataError` for a text that cannot be read or is too short, `CheckpointError` for a folder that is
    not free, both before the first event; later `NonFiniteError`, with the op where it arose, when loss or
    gradient is no finite number. What was saved last is then still good.

    >>> text = Corpus("to be or not to be, that is the question. " * 20)
    >>> for event in train(hidden=8, batch=4, window=8, steps=3, sample_every=0, corpus=text):
    ...     print(type(event).__name__)
    Started
    Step
    Step
    Step
    Evaluated
    Finished
    """
    config = Config(**settings) if config is None else _changed(config, settings)
    if folder is not None:
        RunFolder.free(folder)  # before a long text is read
    text = text_of(config, progress) if corpus is None else _text(corpus)
    tokens = text if isinstance(text, Tokens) else tokenize(text, config.tokenizer)
    config, note = suited(config, tokens.ids)
    notes = [*notes, note, _left_out(config) if corpus is None else ""]
    run = Run(new_model(tokens.tokenizer, config), tokens.tokenizer, config)
    trainer = Trainer(run, text, tokens, None, clock, notes=notes)
    if folder is not None:
        trainer.folder = RunFolder.create(folder)  # after all checks: refused settings leave no folder
    return trainer.events()


def resume(
    folder: str | Path,
    *,
    corpus: Text | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    data: Data | None = None,
    allow_new_data: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    progress: Report | None = None,
    **settings: Any,
) -> Generator[Event, None, None]:
    """Resume the run in a folder from its saved state, as if it had never stopped.

    N steps are, bit for bit, k steps, a stop of any kind, and N - k more: weights, moments and metrics, whatever
    the stop; only times differ. `steps` and `epochs` are counted from the beginning of the run, `minutes` are
    further ones; where none is given, the plan is the run's own. `settings` change what may change in a run, such
    as `lr` or `eval_every`. The text is found by the run's settings, also where it was moved with the run or the run
    without it; or it is `corpus`, or what the names in `data` lead to, which are the run's from then on.

    Raises `CheckpointError` for a folder without a state, for a run that has ended unless more is asked for, for a
    setting that the weights depend on, and for another text than the run's own unless `allow_new_data` (the place
    in the text and the best validation then start anew); `DataError` for a text that cannot be read.
    """
    own, run = RunFolder.open(folder)
    arrays, facts = own.load_state()
    config = _changed(run.config, _plan_of(run.config, facts, steps, epochs, minutes))
    _refuse_fixed(settings, own.path)
    config = _changed(config, settings)
    place: str | None = facts.get("from")
    if corpus is None:
        found = _found_again(config, own, facts, data, progress)
        text, place = found.text, found.place
        config = _changed(config, {"corpus": found.names})
    else:
        text = _text(corpus)
    run, known = replace(run, config=config), facts["sha256"]
    if text.sha256 != known and not allow_new_data:
        what = f"resume: the run in {str(folder)!r} was trained on another text than {text.name!r}"
        sums = {"its sha256": known[:12], "that of this text": text.sha256[:12]}
        hint = "Give the text that it was trained on, or allow this one by name: --allow-new-data."
        raise CheckpointError(what, sums, "", hint)
    tokens = text if isinstance(text, Tokens) else tokenize(text, run.vocabulary)
    saved, new = (arrays, facts), text.sha256 != known
    trainer = Trainer(run, text, tokens, own, clock, saved, new_data=new, run_from=place)
    if trainer.over and not trainer.state.chores and own.has_card():
        raise CheckpointError(_ended(trainer, folder))
    return trainer.events()


# Settings that may not change: they decide the shapes of the arrays, or the meaning of the position in the text.
_FIXED = (
    *(
        "split",
        "tokenizer",
        "encoding",
        "bad_bytes",
        "batch",
        "window",
        "reach",
        "reading",
        "optimizer",
        "seed",
    ),
    *("model", "hidden", "layers", "heads", "embedding", "init", "forget_bias"),
)


def _found_again(
    config: Config, own: RunFolder, facts: Mapping[str, Any], data: Data | None, progress: Report | None
) -> Found:
    """The text of a resumed run, by its own names or by those that are given now."""

    def read(sources: tuple[str, ...]) -> Corpus | Tokens:
        return text_of(replace(config, corpus=sources), progress, own.path)

    if data is not None:
        names = config.changed({"corpus": data}).corpus
        text = read(names)
        return Found(text, text.sha256 == facts["sha256"], names, os.getcwd())
    what = f"resume: the text of the run in {str(own.path)!r} cannot be had again"
    hint = f"Name it where it is now: tgs train PATH --resume {own.path}"
    known = {BEGUN_IN: facts.get("from"), **own.facts(), "sha256": facts["sha256"]}
    return found_text(what, config.corpus, own.path, known, read, hint)


def _left_out(config: Config) -> str:
    n = left_out_of(config.corpus, config.ext)
    return f"{n:,} file{' that is' if n == 1 else 's that are'} no UTF-8 text left out" if n else ""


def _ended(trainer: Trainer, folder: str | Path) -> str:
    done, patience = trainer.updater.done, trainer.run.config.patience
    found = {"steps": done}
    rule, more = f"expected more than {done:,} steps.", f"--steps {2 * done}"
    if trainer.spent:
        found |= {"patience": patience, "validations without a better one": trainer.state.waited}
        rule, more = "expected a longer patience, or 0 for none.", f"--patience {2 * patience}"
    hint = f"Give them: {more}. To use the model: tgs sample {folder}"
    if trainer.spent:
        hint = hint.replace("Give them", "Give it")
    return explain(f"resume: the run in {str(folder)!r} has ended", found, rule, hint)


def _refuse_fixed(settings: dict[str, Any], path: Path) -> None:
    fixed = [name for name in settings if name in _FIXED]
    if fixed:
        rule = f"A run keeps these from its beginning: {', '.join(_FIXED)}."
        hint = "Train a new one, or leave the setting out."
        what = f"resume: {fixed[0]} of the run in {str(path)!r} cannot change"
        raise CheckpointError(what, {fixed[0]: settings[fixed[0]]}, rule, hint)


def _plan_of(
    config: Config, facts: dict[str, Any], steps: int | None, epochs: float | None, minutes: float | None
) -> dict[str, Any]:
    """The plan of a resumed run: its own, or the one that is asked for."""
    if steps is None and epochs is None and minutes is None:
        return {}
    more = None if minutes is None else minutes + lasted(facts["seconds"]) / 60
    return {"steps": steps, "epochs": epochs, "minutes": more}


def _changed(config: Config, settings: dict[str, Any]) -> Config:
    return config.changed(settings) if settings else config


def _text(corpus: Text) -> Corpus | Tokens:
    return corpus if isinstance(corpus, Corpus | Tokens) else from_texts(corpus)


def text_of(config: Config, progress: Report | None = None, run: str | Path | None = None) -> Corpus | Tokens:
    """The text that the settings name: in memory, or where it is large its tokens, by the tokenizer of `run`."""
    source = config.corpus
    how: dict[str, Any] = {
        name: getattr(config, name) for name in ("encoding", "bad_bytes", "max_size", "ext")
    }
    if not is_large(source, config.ext):
        return read_text(source, **how)
    kind = config.tokenizer if run is None else RunFolder.open(run)[1].vocabulary
    return stored_tokens(source, kind, progress=progress, **how)


answer(globals(), "resume", "train")
