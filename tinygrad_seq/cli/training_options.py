"""The settings of a run on the command line: one option each, merged with a file of settings and a preset."""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.data.sources.decode import BAD_BYTES
from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.runtime.untrusted_files import read_file, reason_of
from tinygrad_seq.training import Config
from tinygrad_seq.training.config import KINDS, USUAL_LR, set_by_words
from tinygrad_seq.training.divergence import REPORTS, TIMES
from tinygrad_seq.training.presets import PRESETS, preset
from tinygrad_seq.training.rules import CHOICES

__all__ = ["add_settings", "given_settings"]

_DEFAULTS = Config()
# Groups of settings: the option has the setting's name, and its kind.
_GROUPS: dict[str, dict[str, str]] = {
    "text": {
        "tokenizer": "char, byte, jamo (Korean letters) or bpe:N (with the extra tinygrad_seq[bpe])",
        "encoding": "of the text files, such as cp949",
        "bad_bytes": "what to do about bytes that are not of the encoding",
        "ext": "which files of a folder, such as py,md (default: every text that is not hidden)",
        "max_size": "megabytes that a packed text may expand to (default: 200 times its size, or 64), or a pipe hold",
        "split": "per cent to train, validate and test with",
    },
    "model": {
        "model": "kind of layers",
        "hidden": "units of each layer",
        "layers": "layers",
        "heads": "attention heads of a transformer",
        "embedding": "width of the embedding, 0 for one-hot vectors; as wide as hidden where not given",
        "dropout": "probability of dropout between the layers and after the last",
    },
    "gradient": {
        "batch": "windows that run side by side",
        "window": "tokens of one update",
        "reading": "streams carry their state from window to window, random windows start from nothing",
    },
    "plan": {
        "steps": f"updates (default {_DEFAULTS.steps:,}, unless epochs or minutes are given)",
        "epochs": "passes over the text",
        "minutes": "time to train, building kernels included, with --resume from now on; what ends first of steps, "
        "epochs and minutes",
        "patience": "end after N validations in a row without a better one, 0 for never",
        "optimizer": "update rule",
        "lr": f"highest learning rate (default {USUAL_LR['lstm']:g}, for a transformer {USUAL_LR['transformer']:g})",
        "min_lr": "where the cosine ends",
        "schedule": "how the rate goes after the warm-up",
        "warmup": "steps in which the rate climbs",
        "clip": "bound on the norm of the gradient, 0 for none",
        "clip_value": "bound on each element of the gradient, 0 for none",
        "weight_decay": "pull of the weights towards 0",
        "seed": "the same seed and settings give the same run",
    },
    "looking": {
        "eval_every": "steps from one validation to the next (default 250, for a small text ten passes over it)",
        "save_every": "steps from one saving to the next, 0 for at validations",
        "sample_every": "steps from one sample to the next, 0 for none",
    },
}

_ABOUT = {
    "plan": f"A run whose loss is above {TIMES:g} times the larger of its first value and ln V (V kinds of token) in "
    f"{REPORTS} reports in a row or at its end has diverged: it ends with an error, and its good weights are kept."
}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """An option for each setting that is often set; `--set` reaches all of them."""
    start = parser.add_argument_group("where settings come from")
    start.add_argument(
        "--preset",
        metavar="NAME",
        help=f"a recipe: {', '.join(PRESETS)}; or auto, which measures this machine for two seconds and takes "
        "the size and steps that fit --minutes (default 5)",
    )
    start.add_argument("--config", metavar="FILE", help="settings as TOML, such as a run's config.toml")
    start.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="words",
        help="any setting of config.toml; may be given several times. What wins: options, then --set, then "
        "--config, then --preset",
    )
    for title, settings in _GROUPS.items():
        group = parser.add_argument_group(title, _ABOUT.get(title))
        for name, what in settings.items():
            _add(group, name, what)
    parser.add_argument(
        "--tbptt",
        metavar="K1,K2",
        help="an update every K1 tokens, whose gradient reaches back through K2; full: through the whole window",
    )


def _add(group: Any, name: str, what: str) -> None:
    option, usual = f"--{name.replace('_', '-')}", getattr(_DEFAULTS, name)
    if usual is not None and name not in ("steps", "reading", "lr", "ext"):
        what += f" (default {usual:g})" if isinstance(usual, int | float) else f" (default {usual})"
    choices = {**CHOICES, "bad_bytes": BAD_BYTES}.get(name)
    kind = KINDS[name].plain
    metavar = {"tokenizer": "KIND", "encoding": "NAME", "split": "A,B,C", "ext": "ENDINGS"}.get(name, "N")
    if choices:
        group.add_argument(option, choices=choices, help=what)
    else:
        group.add_argument(option, type=kind, metavar=metavar, help=what)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given by options, by `--set` and by a file. Raises what `Config` raises for those names."""
    found: dict[str, Any] = {}
    if args.preset and args.preset != "auto":
        found |= preset(args.preset)
    if args.config:
        found |= _from_file(Path(args.config))
    found |= set_by_words(args.words)
    options = [name for settings in _GROUPS.values() for name in settings]
    found |= {name: value for name in options if (value := getattr(args, name)) is not None}
    if args.tbptt is not None:
        found |= _truncation(args.tbptt)
    return found


def _truncation(word: str) -> dict[str, Any]:
    if word == "full":
        return {"reach": None}
    try:
        k1, *rest = (int(part) for part in word.split(","))
    except ValueError:
        rest = [0, 0]
    if len(rest) > 1:
        rule = "expected two numbers of tokens, such as 16,64, one number for both, or full."
        raise UsageError(explain("tgs train: --tbptt cannot be understood", {"tbptt": word}, rule))
    return {"window": k1, "reach": rest[0] if rest else k1}


def _from_file(path: Path) -> dict[str, Any]:
    """The settings that a file names, and no others, each checked."""
    try:
        text = read_file(path, 1 << 20).decode("utf-8-sig")  # Windows' editors put a mark before it
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not UTF-8"
        what = f"tgs train: --config {str(path)!r} cannot be read: {reason}"
        raise ArgumentError(what, None, "expected a file of lines such as: hidden = 128") from error
    config = Config.from_toml(text, repr(str(path)))
    named = tomllib.loads(text)
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(Config) if field.name in named
    }
