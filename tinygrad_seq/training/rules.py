"""The allowed values of each setting: type, range, words. One check for the API, TOML and flags."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from tinygrad_seq.data.nearest import nearest
from tinygrad_seq.errors import ArgumentError

__all__ = ["CHOICES", "Kind", "checked", "checked_init", "checked_split", "from_word", "sources"]

CHOICES: dict[str, tuple[str, ...]] = {
    "model": ("lstm", "gru", "rnn", "transformer"),
    "reading": ("streams", "random"),
    "optimizer": ("AdamW", "Adam", "SGD", "RMSprop", "Adagrad"),
    "schedule": ("cosine", "constant", "decay"),
}
"""The settings that are one of a few words."""

# Lowest and highest value allowed, and whether the lowest itself is.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "max_size": (1, math.inf, True),
    "hidden": (1, math.inf, True),
    "layers": (1, math.inf, True),
    "heads": (1, math.inf, True),
    "embedding": (0, math.inf, True),
    "dropout": (0, 1, True),
    "batch": (1, math.inf, True),
    "window": (1, math.inf, True),
    "reach": (1, math.inf, True),
    "steps": (1, math.inf, True),
    "epochs": (0, math.inf, False),
    "minutes": (0, math.inf, False),
    "patience": (0, math.inf, True),
    "lr": (0, math.inf, False),
    "min_lr": (0, math.inf, True),
    "warmup": (0, math.inf, True),
    "decay": (0, 1, False),
    "decay_every": (0, math.inf, False),
    "decay_after": (0, math.inf, True),
    "beta1": (0, 1, True),
    "beta2": (0, 1, True),
    "alpha": (0, 1, True),
    "clip": (0, math.inf, True),
    "clip_value": (0, math.inf, True),
    "weight_decay": (0, math.inf, True),
    "report_every": (1, math.inf, True),
    "eval_every": (1, math.inf, True),
    "eval_tokens": (2, math.inf, True),
    "save_every": (0, math.inf, True),
    "sample_every": (0, math.inf, True),
    "sample_length": (1, math.inf, True),
    "temperature": (0, math.inf, True),
}
_ACCEPTED: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
}


class Kind(NamedTuple):
    """The plain type of a setting's value, and whether it may be left open."""

    plain: type
    may_be_open: bool


def checked(name: str, value: Any, kind: Kind) -> Any:
    """The value as the plain type of its setting. Raises `ArgumentError` for one that is not allowed."""
    if value is None and kind.may_be_open:
        return None
    accepted, words = _ACCEPTED[kind.plain]
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ArgumentError(f"config: {name} is of the wrong kind", {name: value}, f"expected {words}.")
    value = kind.plain(value)
    if name in CHOICES and value not in CHOICES[name]:
        choices = CHOICES[name]
        rule = f"expected one of {', '.join(choices)}."
        raise ArgumentError(
            f"config: no such {name}", {name: value}, rule, nearest(value, list(choices)).strip()
        )
    low, high, included = _RANGES.get(name, (-math.inf, math.inf, True))
    if kind.plain is not str and not (
        low <= value <= high and (included or value > low) and math.isfinite(value)
    ):
        limits = f"of at least {low}" if included else f"above {low}"
        limits = limits if high == math.inf else f"from {low} to {high}"
        rule = f"expected {words} {limits}." if math.isfinite(value) else "expected a finite number."
        raise ArgumentError(f"config: {name} out of range", {name: value}, rule)
    return value


def from_word(name: str, word: str, kind: Kind) -> Any:
    """The value of a word of the command line; a word that is no number stays a word, to be refused later."""
    if kind.may_be_open and word in ("", "none"):
        return None
    if kind.plain is not str:
        for parse in (int, float):
            try:
                return parse(word)
            except ValueError:
                pass
    return word


def sources(value: object) -> tuple[str, ...]:
    """The sources of a text as strings. Raises `ArgumentError` where there are none, or for anything else."""
    found = tuple(value) if isinstance(value, Iterable) and not isinstance(value, Mapping) else ()
    if not found or not all(isinstance(one, str | os.PathLike) for one in found):
        rule = "expected one or more of: the path of a text file, '-', builtin:topics, builtin:stdlib."
        raise ArgumentError("config: corpus out of range", {"corpus": value}, rule)
    return tuple(os.fspath(one) for one in found)


def checked_split(value: str) -> tuple[tuple[float, float, float], bool]:
    """The three shares of `split`, adding up to 1, and whether columns are shared out instead of the text.

    >>> checked_split("90,5,5")
    ((0.9, 0.05, 0.05), False)
    """
    words, _, by = value.partition(" ")
    try:
        shares = tuple(float(word) / 100 for word in words.split(","))
    except ValueError:
        shares = ()
    well = len(shares) == 3 and all(share >= 0 for share in shares) and math.isclose(sum(shares), 1)
    if not well or by not in ("", "columns") or shares[0] == 0 or shares[1] == 0:
        rule = (
            "expected percentages to train, validate and test with, the first two above 0, such as 90,5,5; "
            "with ' columns' behind them each of the streams is divided so, not the text."
        )
        raise ArgumentError("config: split out of range", {"split": value}, rule)
    return (shares[0], shares[1], shares[2]), by == "columns"


def checked_init(value: str) -> tuple[str, float]:
    """How weights are drawn, and how wide: the layers' own way, uniform:A or normal:A.

    >>> checked_init("uniform:0.08")
    ('uniform', 0.08)
    """
    kind, _, width = value.partition(":")
    try:
        scale = float(width) if width else 0.0
    except ValueError:
        scale = math.nan
    if kind == "usual" and not width:
        return kind, 0.0
    if kind not in ("uniform", "normal") or not 0 < scale < math.inf:
        rule = "expected usual, uniform:A for U(-A, A), or normal:A for N(0, A) with biases of 0; A above 0."
        raise ArgumentError("config: init out of range", {"init": value}, rule)
    return kind, scale


def unknown_setting(key: str, known: Sequence[str], where: str) -> ArgumentError:
    """The error about a name that is no setting, with the nearest that is one."""
    rule = f"expected some of {', '.join(known)}."
    what = f"config: {where} has an unknown setting {key!r}"
    return ArgumentError(what, None, rule, nearest(key, list(known)).strip())
