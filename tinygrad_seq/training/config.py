"""`Config`: every setting of a training run in one frozen record, checked when it is made, kept as TOML.

This file knows no model, no optimiser and no loop; it only knows what each setting may be.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints

from tinygrad_seq.data.decoding import Decoding
from tinygrad_seq.data.naming import nearest
from tinygrad_seq.data.tokenizer_kinds import checked_spec
from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.training.toml_text import TomlValue, to_toml

__all__ = ["FACTS", "OPTIMISERS", "Config"]

OPTIMISERS = ("AdamW", "Adam", "SGD", "RMSprop", "Adagrad")
FACTS = "facts"
"""The table of a run's `config.toml` that holds what was found when it started: no settings."""

_DEFAULT_STEPS = 2000
# Lowest and highest value allowed, and whether the lowest itself is.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "hidden": (1, math.inf, True),
    "layers": (1, math.inf, True),
    "embedding": (1, math.inf, True),
    "dropout": (0, 1, True),
    "batch": (1, math.inf, True),
    "window": (1, math.inf, True),
    "steps": (1, math.inf, True),
    "minutes": (0, math.inf, False),
    "lr": (0, math.inf, False),
    "warmup": (0, math.inf, True),
    "clip": (0, math.inf, True),
    "weight_decay": (0, math.inf, True),
    "report_every": (1, math.inf, True),
    "eval_every": (1, math.inf, True),
    "sample_every": (0, math.inf, True),
    "sample_length": (1, math.inf, True),
    "temperature": (0, math.inf, True),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a training run. Sizes are counts, `minutes` is wall time, what is "every" counts steps.

    `corpus` holds the sources as `data.read_text` takes them. `embedding` is `hidden` where not given. A run
    ends after `steps` or after `minutes`, whichever comes first; with neither given, after 2,000 steps. The
    learning rate climbs to `lr` in `warmup` steps (a tenth of the run at most) and falls along a cosine to 0
    at the end. `tokenizer` is `char`, `byte`, `jamo` or `bpe:N`; `encoding` and `bad_bytes` are as in
    `data.read_text`. `clip` bounds the norm of the gradient, 0 leaves it alone. `sample_every` 0 draws no samples.

    Raises `ArgumentError` for a value outside what is allowed.

    >>> Config(hidden=64, minutes=1.5).hidden
    64
    """

    corpus: tuple[str, ...] = ("builtin:topics",)
    hidden: int = 128
    layers: int = 1
    embedding: int | None = None
    dropout: float = 0.0
    batch: int = 32
    window: int = 64
    steps: int | None = None
    minutes: float | None = None
    optimiser: str = "AdamW"
    lr: float = 5e-3
    warmup: int = 50
    clip: float = 1.0
    weight_decay: float = 0.01
    report_every: int = 50
    eval_every: int = 250
    sample_every: int = 500
    sample_length: int = 200
    temperature: float = 0.8
    seed: int = 1337
    tokenizer: str = "char"
    encoding: str = "utf-8"
    bad_bytes: str = "error"

    def __post_init__(self) -> None:
        if isinstance(self.corpus, str | os.PathLike):
            object.__setattr__(self, "corpus", (self.corpus,))
        object.__setattr__(self, "corpus", _sources(self.corpus))
        if self.steps is None and self.minutes is None:
            object.__setattr__(self, "steps", _DEFAULT_STEPS)
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind))
        if self.optimiser not in OPTIMISERS:
            rule = f"expected one of {', '.join(OPTIMISERS)}."
            way_out = nearest(self.optimiser, list(OPTIMISERS)).strip()
            raise ArgumentError(
                explain("config: no such optimiser", {"optimiser": self.optimiser}, rule, way_out)
            )

        object.__setattr__(self, "tokenizer", checked_spec(self.tokenizer))
        object.__setattr__(self, "encoding", Decoding(self.encoding, self.bad_bytes).encoding)

    def to_toml(self, facts: Mapping[str, TomlValue] | None = None) -> str:
        """All settings as TOML, one a line; a setting that is not given stands there as a comment.

        `facts` follow in a table of that name, which `from_toml` passes over.

        >>> Config(minutes=2).to_toml().splitlines()[7:9]
        ['# steps is not set', 'minutes = 2.0']
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
            raise ArgumentError(explain(what, None, "expected lines such as: hidden = 128")) from error
        if isinstance(values.get(FACTS), dict):
            del values[FACTS]
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                rule = f"expected some of {', '.join(known)}."
                what = f"config: {name} has an unknown setting {key!r}"
                raise ArgumentError(explain(what, None, rule, nearest(key, known).strip()))
        return cls(**values)


def _sources(value: object) -> tuple[str, ...]:
    sources = tuple(value) if isinstance(value, Iterable) else ()
    if not sources or not all(isinstance(one, str | os.PathLike) for one in sources):
        rule = "expected one or more of: the path of a text file, '-', builtin:topics, builtin:stdlib."
        raise ArgumentError(explain("config: corpus out of range", {"corpus": value}, rule))
    return tuple(os.fspath(one) for one in sources)


def _kinds() -> dict[str, tuple[type, bool]]:
    """Per setting of one value: its type, and whether it may be left open."""
    kinds = {}
    for name, hint in get_type_hints(Config).items():
        if name != "corpus":
            options = get_args(hint) or (hint,)
            kinds[name] = (options[0], type(None) in options)
    return kinds


_KINDS = _kinds()
_NUMBERS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
}


def _checked(name: str, value: Any, kind: tuple[type, bool]) -> Any:
    """The value as the plain type of its setting."""
    plain, may_be_open = kind
    if value is None and may_be_open:
        return None
    accepted, words = _NUMBERS[plain]
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ArgumentError(
            explain(f"config: {name} is of the wrong kind", {name: value}, f"expected {words}.")
        )
    value = plain(value)
    low, high, included = _RANGES.get(name, (-math.inf, math.inf, True))
    if plain is not str and not (low <= value <= high and (included or value > low) and math.isfinite(value)):
        limits = f"of at least {low}" if included else f"above {low}"
        limits = limits if high == math.inf else f"from {low} to {high}"
        rule = f"expected {words} {limits}." if math.isfinite(value) else "expected a finite number."
        raise ArgumentError(explain(f"config: {name} out of range", {name: value}, rule))
    return value
