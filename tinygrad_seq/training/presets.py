"""Settings by name: published runs, exactly where that is possible, and sizes that fit a number of minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_seq.data import Tokens, tokenize
from tinygrad_seq.data.nearest import nearest
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.training.busy_cores import ProductThreads, tried
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.pace import Pace, pace_of
from tinygrad_seq.training.run_folder import Run
from tinygrad_seq.training.small_texts import made_smaller, suited
from tinygrad_seq.training.step import Updater

__all__ = ["PRESETS", "Preset", "fitted", "pace", "preset"]


@dataclass(frozen=True)
class Preset:
    """Settings with a name: their source, the published result, and what differs here."""

    settings: Mapping[str, Any]
    source: str
    published: str
    differs: str = ""


_NANOGPT = {
    "model": "transformer",
    "split": "90,10,0",
    "layers": 4,
    "heads": 4,
    "hidden": 128,
    "dropout": 0.0,
    "window": 64,
    "batch": 12,
    "steps": 2000,
    "optimizer": "AdamW",
    "lr": 1e-3,
    "min_lr": 1e-4,
    "schedule": "cosine",
    "warmup": 100,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "clip": 1.0,
}

PRESETS = {
    "shakespeare-char-cpu": Preset(
        {**_NANOGPT, "lr": 3e-3},
        "nanoGPT, README, train_shakespeare_char.py on a CPU (Karpathy, 2023)",
        "validation 1.88 nats per character after 2,000 steps, over 20 batches drawn at random",
        "the rate climbs to 0.003, not 0.001: so few steps learn more that way; validation is the whole part, in "
        "windows of 64 that know nothing of the one before",
    ),
    "nanogpt-char-cpu": Preset(
        _NANOGPT,
        "nanoGPT, README, train_shakespeare_char.py on a CPU (Karpathy, 2023)",
        "as shakespeare-char-cpu, whose recipe this is to the letter",
        "validation here is the whole part, in windows of 64 that know nothing of the one before",
    ),
    "char-rnn": Preset(
        {
            "model": "lstm",
            "split": "95,5,0 columns",
            "layers": 2,
            "hidden": 128,
            "embedding": 0,
            "dropout": 0.0,
            "window": 50,
            "batch": 50,
            "epochs": 50.0,
            "optimizer": "RMSprop",
            "alpha": 0.95,
            "lr": 2e-3,
            "schedule": "decay",
            "decay": 0.97,
            "decay_after": 10.0,
            "warmup": 0,
            "clip": 0.0,
            "clip_value": 5.0,
            "weight_decay": 0.0,
            "init": "uniform:0.08",
            "forget_bias": 1.0,
            "eval_every": 1000,
        },
        "char-rnn, train.lua, defaults (Karpathy, 2015)",
        "a user's run on Shakespeare ends at 1.42 nats per character (50 epochs, size not stated)",
        "the original trains on the mean over a window of the loss of each of its steps, as here",
    ),
    "torch-rnn": Preset(
        {
            "model": "lstm",
            "split": "80,10,10",
            "layers": 2,
            "hidden": 128,
            "embedding": 64,
            "dropout": 0.0,
            "window": 50,
            "batch": 50,
            "epochs": 50.0,
            "optimizer": "Adam",
            "lr": 2e-3,
            "schedule": "decay",
            "decay": 0.5,
            "decay_every": 5.0,
            "warmup": 0,
            "clip": 0.0,
            "clip_value": 5.0,
            "weight_decay": 0.0,
            "forget_bias": 1.0,
            "eval_every": 1000,
        },
        "torch-rnn, train.lua, defaults (Johnson, 2016)",
        "a user's run on Shakespeare ends at 1.6 to 1.7 nats per character",
        "weights are drawn as PyTorch's layers draw them",
    ),
    "min-char-rnn": Preset(
        {
            "model": "rnn",
            "split": "95,5,0",
            "layers": 1,
            "hidden": 100,
            "embedding": 0,
            "window": 25,
            "batch": 1,
            "steps": 100_000,
            "optimizer": "Adagrad",
            "lr": 0.1,
            "schedule": "constant",
            "warmup": 0,
            "clip": 0.0,
            "clip_value": 0.2,
            "weight_decay": 0.0,
            "init": "normal:0.01",
            "eval_every": 10_000,
            "report_every": 1000,
            "sample_every": 10_000,
        },
        "min-char-rnn.py, a gist (Karpathy, 2015)",
        "smoothed loss 43.11 over 25 characters, so 1.72 nats each, after 100,000 steps on another text",
        "the loss is the mean of 25 steps, not their sum: elements are held at 5 / 25, Adagrad's step is the same; "
        "the layer has two biases, as PyTorch's; a twentieth of the text is kept to validate with",
    ),
}
"""Recipes by name; `auto` is found by `fitted`."""


def preset(name: str) -> Mapping[str, Any]:
    """The settings of a preset. Raises `ArgumentError` for a name that there is not, with the nearest.

    >>> preset("char-rnn")["optimizer"]
    'RMSprop'
    """
    if name not in PRESETS:
        known = [*PRESETS, "auto"]
        rule = f"expected one of {', '.join(known)}."
        hint = nearest(name, known).strip()
        raise ArgumentError(f"train: there is no preset {name!r}", None, rule, hint)
    return PRESETS[name].settings


# What `auto` chooses from, largest first.
_SIZES = [
    {"hidden": 512, "layers": 2, "batch": 32, "dropout": 0.2, "lr": 2e-3},
    {"hidden": 256, "layers": 2, "batch": 32, "dropout": 0.1, "lr": 3e-3},
    {"hidden": 256, "layers": 1, "batch": 32, "dropout": 0.0, "lr": 5e-3},
    {"hidden": 128, "layers": 1, "batch": 32, "dropout": 0.0, "lr": 1e-2},
    {"hidden": 64, "layers": 1, "batch": 16, "dropout": 0.0, "lr": 1e-2},
]
_ENOUGH = 1500  # steps below which the next smaller size learns more in the same time
_SECONDS = 2.0
_IDS = 1 << 20  # that are enough to measure with


def fitted(
    config: Config,
    text: Any,
    given: frozenset[str],
    clock: Callable[[], float] = time.perf_counter,
    suit: Callable[[Config], object] = lambda config: None,
) -> tuple[Config, str, str]:
    """The settings of the largest model that can make enough steps in `minutes`, what was measured, in words, and a
    note where the text has no room for the batch and window that these would have. `suit` is called with each size
    before it is tried.

    Each size is trained for a few steps, two seconds in all; what is in `given` stays as it is. The number of steps
    follows from the rate. Where the text is short, fewer streams run, so that each has some windows.
    """
    tokens = text if isinstance(text, Tokens) else tokenize(text, config.tokenizer)
    whole, config = config, suited(config, tokens.ids)[0]
    minutes = config.minutes or 5.0
    config = replace(config, minutes=minutes, steps=config.steps if "steps" in given else None)
    share = _SECONDS / len(_SIZES)
    for size in reversed(_SIZES):
        trial = _with(config, size, given, len(tokens))
        suit(trial)
        seconds = pace(trial, tokens, share, clock, choose=False)[0].typical
        steps = int(0.9 * 60 * minutes / seconds)
        if size is not _SIZES[-1] and steps < _ENOUGH:
            break
        best, rate = trial, steps
        asked = whole if "batch" in given else replace(whole, batch=int(size["batch"]))
    words = f"{rate:,} steps of {best.batch} x {best.window} tokens fit into {minutes:g} min on this machine"
    if rate < _ENOUGH:
        longer = minutes * _ENOUGH / max(1, rate)
        words += f"; the {_ENOUGH:,} that it takes to learn much would be about {longer:.0f} min"
    return best, words, made_smaller(asked, best, len(tokens))


def _with(config: Config, size: Mapping[str, Any], given: frozenset[str], tokens: int) -> Config:
    room = max(1, int(0.9 * tokens) // (4 * (config.window + 1)))
    wanted = {**size, "batch": min(size["batch"], room)}
    if config.model == "transformer":
        del wanted["lr"]  # those of the sizes are for recurrent layers
    return replace(config, **{name: value for name, value in wanted.items() if name not in given})


def pace(
    config: Config,
    tokens: Tokens,
    share: float,
    clock: Callable[[], float] = time.perf_counter,
    choose: bool = True,
) -> tuple[Pace, str]:
    """How long steps of a new model take, and a word about busy cores: as many steps as fit into `share` seconds, two
    at least. If `choose`, products are on the threads that a run would give them, which where the cores seem busy
    takes the time of some twenty steps more to find out.
    """
    run = Run(new_model(tokens.tokenizer, config), tokens.tokenizer, config)
    updater = Updater(run, tokens.ids[:_IDS])
    updater.step()  # compiles, reads weights into the cache
    threads = ProductThreads(lambda: tried(run, tokens.ids), watched=2, first=0)
    begin, taken = clock(), list[tuple[bool, float]]()
    now = begin
    while len(taken) < 2 or threads.deciding or now - begin < share:
        if choose:
            threads.prepare()
        now, way = clock(), threads.next
        with threads.step() if choose else nullcontext():
            updater.step()
        before, now = now, clock()
        taken.append((way, now - before))
    kept = [seconds for way, seconds in taken if way is threads.one]
    return pace_of(kept), threads.word()


answer(globals(), "preset")
