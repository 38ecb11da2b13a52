"""`Config`: every setting of a training run in one frozen record, checked when it is made, saved as TOML.

`training/rules` has the allowed values of each setting.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from tinygrad_seq.data.sources.decode import Decoding
from tinygrad_seq.data.tokenizers.registry import checked_spec
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.training.rules import (
    CHOICES,
    Kind,
    checked,
    checked_init,
    checked_split,
    from_word,
    sources,
    unknown_setting,
)
from tinygrad_seq.training.toml import TomlValue, to_toml

__all__ = ["FACTS", "OPTIMIZERS", "USUAL_LR", "Config"]

OPTIMIZERS = CHOICES["optimizer"]
FACTS = "facts"
"""The table of a run's `config.toml` that holds what was found when it started: no settings."""

USUAL_LR = {"lstm": 5e-3, "gru": 5e-3, "rnn": 5e-3, "transformer": 2e-3}
"""The learning rate of each kind of model where none is given."""

_DEFAULT_STEPS = 2000


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a training run. Sizes are counts, `minutes` is wall time, what is "every" counts steps.

    *Text.* `corpus` holds the sources as `data.read_text` takes them. `split` is the share in per cent to train,
    validate and test with, in the order of the text; "95,5,0 columns" divides each of the streams instead.
    `tokenizer` is `char`, `byte`, `jamo` or `bpe:N`; `encoding`, `bad_bytes`, `max_size` and `ext` are as in
    `data.read_text`.

    *Model.* `model` is lstm, gru, rnn (tanh) or transformer, of `layers` layers of `hidden` units; a transformer has
    `heads` heads and sees `window` tokens. `embedding` is `hidden` where not given, 0 gives the recurrent layers
    one-hot vectors. `init` is usual, uniform:A or normal:A; `forget_bias` is what an LSTM's forget gates start with.

    *Gradient.* `reading` is streams (the state is carried from window to window, a recurrent model's way) or random
    (each window is drawn and starts without a state, a transformer's only way). An update is made every `window`
    tokens; the gradient reaches back through `reach` of them: `window` where not given, a multiple of it, or fewer.

    *Plan.* A run ends after `steps`, `epochs` or `minutes`, whichever comes first; with none given, after 2,000
    steps. The learning rate climbs to `lr` (not given: 0.005, for a transformer 0.002) in `warmup` steps (a tenth of
    the run at most); then `schedule` is cosine (falls to `min_lr` at the end), constant, or decay (times `decay`
    after each `decay_every` epochs from `decay_after` epochs on). `beta1` and `beta2` are Adam's, `alpha` RMSprop's,
    where not given PyTorch's defaults. `clip` bounds the norm of the gradient, `clip_value` each of its elements
    before, 0 neither. `weight_decay` is for all weights of a recurrent model, for a transformer's matrices only.

    *Ending early.* With `patience` N a run ends after N validations in a row that were no better than the best
    before, with 0 never; the best weights are kept.

    *Looking.* Validation comes after every `eval_every` steps; where that is not given after every 250, and as often
    as the text has been read ten times, at least 25 steps apart. It reads `eval_tokens` tokens at most, spread over
    the part. `save_every` 0 saves at every validation and at the end; `sample_every` 0 draws no samples.

    Raises `ArgumentError` for a value outside what is allowed.

    >>> Config(hidden=64, minutes=1.5).hidden
    64
    >>> Config().lr, Config(model="transformer").lr
    (0.005, 0.002)
    """

    corpus: tuple[str, ...] = ("builtin:topics",)
    split: str = "90,5,5"
    tokenizer: str = "char"
    encoding: str = "utf-8"
    bad_bytes: str = "error"
    max_size: int | None = None
    ext: str = ""
    model: str = "lstm"
    hidden: int = 128
    layers: int = 1
    heads: int = 4
    embedding: int | None = None
    dropout: float = 0.0
    init: str = "usual"
    forget_bias: float | None = None
    batch: int = 32
    window: int = 64
    reach: int | None = None
    reading: str | None = None
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    patience: int = 0
    optimizer: str = "AdamW"
    lr: float = None  # type: ignore[assignment]  # a number once it is made: every reader finds one
    min_lr: float = 0.0
    schedule: str = "cosine"
    warmup: int = 50
    decay: float = 1.0
    decay_every: float = 1.0
    decay_after: float = 0.0
    beta1: float | None = None
    beta2: float | None = None
    alpha: float | None = None
    clip: float = 1.0
    clip_value: float = 0.0
    weight_decay: float = 0.01
    report_every: int = 50
    eval_every: int | None = None
    eval_tokens: int = 200_000
    save_every: int = 0
    sample_every: int = 500
    sample_length: int = 200
    temperature: float = 0.8
    seed: int = 1337

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if isinstance(self.corpus, str | os.PathLike):
            put("corpus", (self.corpus,))
        put("corpus", sources(self.corpus))
        if self.steps is None and self.minutes is None and self.epochs is None:
            put("steps", _DEFAULT_STEPS)
        if self.reading is None:
            put("reading", "random" if self.model == "transformer" else "streams")
        for name, kind in KINDS.items():
            put(name, checked(name, getattr(self, name), kind))
        if self.lr is None:
            put("lr", USUAL_LR[self.model])
        put("tokenizer", checked_spec(self.tokenizer))
        put("encoding", Decoding(self.encoding, self.bad_bytes).encoding)
        checked_split(self.split)
        checked_init(self.init)
        self._fit_together()

    def _fit_together(self) -> None:
        """Refuse settings that are each allowed, but not together."""
        if self.model == "transformer" and self.hidden % self.heads:
            _refuse("hidden is no multiple of heads", self, "hidden", "heads")
        if self.model == "transformer" and self.embedding not in (None, self.hidden):
            _refuse("a transformer's embedding is as wide as its layers", self, "embedding", "hidden")
        if self.reading == "streams" and self.model == "transformer":
            _refuse("a transformer carries no state from window to window", self, "model", "reading")
        reach = self.reach or self.window
        if reach != self.window and self.reading == "random":
            _refuse("windows drawn at random have nothing behind them to reach", self, "reach", "reading")
        if reach > self.window and reach % self.window:
            _refuse("reach is no multiple of window", self, "window", "reach")
        if self.min_lr > self.lr:
            _refuse("min_lr is above lr", self, "lr", "min_lr")
        if self.forget_bias is not None and self.model != "lstm":
            _refuse("only an LSTM has forget gates", self, "model", "forget_bias")

    def changed(self, settings: Mapping[str, Any]) -> Config:
        """The same settings but for these. Another `model` reads the text in its own way, unless that is given, and
        where `lr` is the usual one of the model before, it becomes that of the new one.

        Raises `ArgumentError` for an unknown setting, with the nearest that there is.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in settings:
            if name not in known:
                raise unknown_setting(name, known, "train()")
        given = dict(settings)
        if "model" in given and "reading" not in given:
            given["reading"] = None
        if "model" in given and self.lr == USUAL_LR[self.model]:
            given.setdefault("lr", None)
        if {"epochs", "minutes"} & given.keys() and "steps" not in given and self.steps == _DEFAULT_STEPS:
            given["steps"] = None
        return dataclasses.replace(self, **given)

    def to_toml(self, facts: Mapping[str, TomlValue] | None = None) -> str:
        """All settings as TOML, one a line; a setting that is not given stands there as a comment.

        `facts` follow in a table of that name, which `from_toml` passes over.

        >>> Config(minutes=2).to_toml().splitlines()[19:23]
        ['# steps is not set', '# epochs is not set', 'minutes = 2.0', 'patience = 0']
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return to_toml(values) + (f"\n[{FACTS}]\n{to_toml(facts)}" if facts else "")

    @classmethod
    def from_toml(cls, text: str, name: str = "config") -> Config:
        """The settings in a TOML text; what it leaves out has its default. `name` is for errors.

        Raises `ArgumentError` if it is not TOML, or for an unknown setting or a value that is not allowed.

        >>> Config.from_toml("hidden = 64").hidden
        64
        """
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            what = f"config: {name} is not TOML: {error}"
            raise ArgumentError(what, None, "expected lines such as: hidden = 128") from error
        if isinstance(values.get(FACTS), dict):
            del values[FACTS]
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_setting(key, known, name)
        return cls(**values)


def set_by_words(words: Iterable[str]) -> dict[str, Any]:
    """The settings in words such as `hidden=64`, as the command line has them; `none` leaves one open.

    Raises `ArgumentError` for a word that is none, and for an unknown setting.

    >>> set_by_words(["hidden=64", "optimizer=RMSprop"])
    {'hidden': 64, 'optimizer': 'RMSprop'}
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ArgumentError(f"config: {word!r} sets nothing", None, "expected NAME=VALUE.")
        if name not in KINDS:
            raise unknown_setting(name, list(KINDS), "the command line")
        found[name] = from_word(name, value, KINDS[name])
    return found


def _refuse(what: str, config: Config, *names: str) -> None:
    raise ArgumentError(f"config: {what}", {name: getattr(config, name) for name in names})


def _kinds() -> dict[str, Kind]:
    """Per setting of one value: its type, and whether it may be left open."""
    hints = get_type_hints(Config)
    return {
        field.name: Kind((get_args(hints[field.name]) or (hints[field.name],))[0], field.default is None)
        for field in dataclasses.fields(Config)
        if field.name != "corpus"
    }


KINDS = _kinds()


answer(globals(), "Config")
