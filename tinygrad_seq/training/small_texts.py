"""Texts that are too small for the batch and window of the settings, or for the number of weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygrad_seq.training.config import Config
from tinygrad_seq.training.evaluation import parts_of

__all__ = ["made_smaller", "suited", "too_many_weights"]

_USUAL_BATCH, _USUAL_WINDOW = 4, 16  # the other is made smaller down to here first


def suited(config: Config, ids: Any) -> tuple[Config, str]:
    """The settings with as large a batch and window as the text has room for, and what was changed, in words.

    B streams of windows of T tokens need B (T + 1) of them, windows drawn at random T + 1. Where there are fewer, B
    is halved down to 4, then T down to 16, then B, then T. `reach` keeps its ratio to the window. Nothing is changed
    where all fits. Raises `DataError` for a text that cannot be divided as `split` says.
    """
    found = config
    while not _fits(found, ids) and found.batch * found.window > 1:
        many = found.batch > _USUAL_BATCH or found.window <= _USUAL_WINDOW
        if config.reading == "streams" and found.batch > 1 and (many or found.window == 1):
            found = replace(found, batch=found.batch // 2)
        else:
            found = _with_window(found, found.window // 2)
    return found, made_smaller(config, found, len(ids))


def made_smaller(asked: Config, found: Config, tokens: int) -> str:
    """A note of the batch and window that a text of so many tokens has room for; empty where these are what was asked
    for.
    """
    changed = [
        f"{name} {getattr(found, name)} in the place of {getattr(asked, name)}"
        for name in ("batch", "window")
        if getattr(found, name) != getattr(asked, name)
    ]
    return f"a text of {tokens:,} tokens has room for {' and '.join(changed)}" if changed else ""


def _fits(config: Config, ids: Any) -> bool:
    streams = config.batch if config.reading == "streams" else 1
    return len(parts_of(ids, config.split, config.batch).train) >= streams * (config.window + 1)


def _with_window(config: Config, window: int) -> Config:
    reach = config.reach
    if reach is not None:
        reach = window * (reach // config.window) if reach > config.window else min(reach, window)
    return replace(config, window=window, reach=reach)


def too_many_weights(parameters: int, tokens: int, patience: int = 0) -> str:
    """A warning where a model has more weights than its text has tokens to train on, otherwise nothing. Where
    `patience` is given, it is not recommended again.

    >>> too_many_weights(90_000, 30_000)[:57]
    '90,000 parameters are many for 30,000 tokens to train on:'
    >>> too_many_weights(90_000, 90_000)
    ''
    """
    if parameters <= tokens:
        return ""
    ways = (
        "--dropout 0.2 or more text"
        if patience
        else ("--dropout 0.2, more text, or --patience 5, which ends a run that gets worse")
    )
    return (
        f"{parameters:,} parameters are many for {tokens:,} tokens to train on: the model may learn them by heart. "
        f"A smaller --hidden, {ways}"
    )
