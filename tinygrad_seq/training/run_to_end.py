"""`fit`: a run to its end, or a module's own loss, with its progress shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.nn import Module
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.console import Lines
from tinygrad_seq.training.events import Event, Finished, Interrupted
from tinygrad_seq.training.loop import train
from tinygrad_seq.training.module_loop import Fitted, fit_module
from tinygrad_seq.training.notebook import shown

__all__ = ["fit"]


@overload
def fit(what: Module, *on: Any, quiet: bool = False, **settings: Any) -> Fitted: ...
@overload
def fit(
    what: Config | None = None, *on: Callable[[Event], object], quiet: bool = False, **settings: Any
) -> Finished | Interrupted: ...
def fit(
    what: Config | Module | None = None, *on: Any, quiet: bool = False, **settings: Any
) -> Finished | Interrupted | Fitted:
    """Train to the end: a character model by its settings, or any module by its loss.

    Of a `Config`, `train`; each of `on` is called with every event, and without any the progress is shown, unless
    `quiet`: in a notebook as a display, else as lines. `settings` are those of `train`, single settings of the run
    among them. Returns the last event, which holds the run. What `on` raises ends the run, whose state is saved.

    Of a `Module`, `fit_module(module, data, loss, steps=...)`, whose arguments `on` and `settings` are; a line is
    printed now and then, unless `quiet`. `analysis.plots.learning` draws either result.

    >>> steps = []
    >>> text = ["to be or not to be, that is the question. "] * 20
    >>> end = fit(None, steps.append, corpus=text, hidden=8, batch=4, window=8, steps=3)
    >>> len(steps), end.step
    (7, 3)
    """
    if isinstance(what, Module):
        return fit_module(what, *on, say=None if quiet else print, **settings)
    calls = on if on or quiet else (shown(),)
    last: Event | None = None
    events = train(what, **settings)
    try:
        for last in events:
            for call in calls:
                call(last)
    finally:
        events.close()
        for call in calls:
            if isinstance(lines := getattr(call, "__self__", None), Lines):
                lines.close()
    assert isinstance(last, Finished | Interrupted)
    return last


answer(globals(), "fit")
