"""The folder of a run: what is in it, how it is made, and how a model is had back from it.

config.toml         all settings, and what was found: package version, text, counts
vocabulary.json     the tokenizer: the characters the model knows, or what stands for them
metrics.jsonl       one JSON object for each report
samples.txt         what the model wrote while it was training
last.safetensors    the weights at the last evaluation, or where the run was stopped
best.safetensors    the weights with the best validation so far
graph.svg           the tape of a few steps, or graph.dot where nothing can draw it
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tinygrad_seq.data import Tokenizer, load_tokenizer
from tinygrad_seq.errors import ArgumentError, CheckpointError, explain
from tinygrad_seq.files import atomic_write_text
from tinygrad_seq.models import CharLM
from tinygrad_seq.random import Generator
from tinygrad_seq.training.checkpoint import load_weights, save_weights
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.toml_text import TomlValue

__all__ = ["Run", "RunFolder", "free_folder", "load_run", "usual_name"]

CONFIG, VOCABULARY = "config.toml", "vocabulary.json"
METRICS, SAMPLES = "metrics.jsonl", "samples.txt"
LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Run:
    """A model, its tokenizer (a `Vocabulary` where that is `char`), and the settings it was trained with."""

    model: CharLM
    vocabulary: Tokenizer
    config: Config


MOST_WEIGHTS = 1_000_000_000


def weights_of(symbols: int, config: Config) -> int:
    """How many numbers the model of the settings learns: 4 H (I + H + 2) a layer, the embedding, the head."""
    h, e = config.hidden, config.embedding or config.hidden
    layers = 4 * h * (e + h + 2) + (config.layers - 1) * 4 * h * (2 * h + 2)
    return layers + symbols * e + symbols * (h + 1)


def new_model(vocabulary: Tokenizer, config: Config) -> CharLM:
    """The untrained model of the settings, its weights drawn from the stream `init` of the seed.

    Raises ArgumentError for a model that no memory here would hold.
    """
    weights = weights_of(len(vocabulary), config)
    if weights > MOST_WEIGHTS:
        # With the gradient and two moments, four bytes each.
        what = f"train: a model of {weights:,} weights needs {16 * weights / 1e9:,.0f} GB"
        rule = f"expected at most {MOST_WEIGHTS:,} weights."
        raise ArgumentError(
            explain(what, {"hidden": config.hidden, "layers": config.layers}, rule, "Choose less of either.")
        )
    return CharLM(
        len(vocabulary),
        config.hidden,
        config.layers,
        config.embedding,
        config.dropout,
        rng=Generator(config.seed, "init"),
    )


def usual_name(config: Config) -> str:
    """What a run is called where nobody says: the text, the kind of model and its size.

    >>> usual_name(Config(corpus=("books/Alice in Wonderland.txt",), hidden=64))
    'Alice-in-Wonderland-lstm64'
    """
    first = config.corpus[0]
    stem = "stdin" if first == "-" else re.split(r"[:/\\]", first.rstrip("/\\"))[-1].rsplit(".", 1)[0]
    text = re.sub(r"[^\w.]+", "-", stem).strip("-.")[:40] or "text"
    return f"{text}-lstm{config.hidden}" + (f"x{config.layers}" if config.layers > 1 else "")


def free_folder(path: str | os.PathLike[str]) -> Path:
    """`path` if it does not exist or is empty, otherwise the first of path-2, path-3, ... that is free so."""
    wanted = Path(path)
    numbered = (wanted.with_name(f"{wanted.name}-{n}") for n in itertools.count(2))
    return next(one for one in itertools.chain([wanted], numbered) if not _occupied(one))


class RunFolder:
    """A new folder to write a run into. `create` makes it and never takes one that holds anything."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Make the folder and those above it.

        Raises `CheckpointError` if there is a file or a folder that is not empty, or if it cannot be made.
        """
        folder = Path(path)
        name = os.fspath(path)
        if (folder / CONFIG).exists():
            way_out = "Give another folder with -o, or remove this one if the run is not needed any more."
            raise CheckpointError(explain(f"train: {name!r} already holds a run", None, "", way_out))
        if _occupied(folder):
            what = f"train: {name!r} is {'a folder that is not empty' if folder.is_dir() else 'a file'}"
            rule = "expected the name of a new or empty folder; a run overwrites nothing."
            raise CheckpointError(explain(what, None, rule, "Give another folder with -o."))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = _reason(folder, error)
            way_out = "Give a folder that you may write to with -o."
            raise CheckpointError(
                explain(f"train: {name!r} cannot be made: {reason}", None, "", way_out)
            ) from error
        return cls(folder)

    def describe(self, run: Run, facts: Mapping[str, TomlValue]) -> None:
        """Write the settings, the facts found at the start, and the vocabulary."""
        head = "# The settings of this run, all of them, and what it found when it started.\n\n"
        atomic_write_text(self.path / CONFIG, head + run.config.to_toml(facts))
        run.vocabulary.save(self.path / VOCABULARY)

    def save(self, run: Run, facts: Mapping[str, str], *, best: bool = False) -> Path:
        """Write the weights as the last ones, or as the best; returns the file."""
        path = self.path / (BEST if best else LAST)
        save_weights(path, run.model, run.vocabulary, {"config": json.dumps(asdict(run.config)), **facts})
        return path

    def add_metrics(self, values: Mapping[str, object]) -> None:
        """Append one line of JSON to the metrics, on its way to the disk before this returns."""
        self._append(METRICS, json.dumps(values, allow_nan=False) + "\n")

    def add_sample(self, step: int, text: str) -> None:
        """Append what the model wrote after `step` steps."""
        self._append(SAMPLES, f"--- step {step} ---\n{text}\n\n")

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        try:
            # Opened for each report: a run that is killed has no line left in a buffer.
            with path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            way_out = "The weights saved so far are whole. Make room, or check that the folder still exists."
            raise CheckpointError(
                explain(f"train: {os.fspath(path)!r} cannot be written: {reason}", None, "", way_out)
            ) from error


def load_run(path: str | os.PathLike[str], weights: str | None = None) -> Run:
    """The model of a run folder in evaluation mode, with its vocabulary and settings.

    `weights` is "best" or "last"; where it is not given, the best if there are any, otherwise the last.

    Raises `CheckpointError` if the folder does not exist, holds no run, or holds files that are damaged or do
    not belong together, and `ArgumentError` for settings that make no sense.
    """
    folder, name = Path(path), os.fspath(path)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(_no_run(folder, name))
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"load: {os.fspath(folder / CONFIG)!r} cannot be read: {_reason(folder, error)}"
        raise CheckpointError(explain(what, None, "expected UTF-8 text as TOML.")) from error
    config = Config.from_toml(text, repr(os.fspath(folder / CONFIG)))
    vocabulary = load_tokenizer(folder / VOCABULARY)
    model = new_model(vocabulary, config)
    chosen = {"best": BEST, "last": LAST}.get(weights or "", BEST if (folder / BEST).exists() else LAST)
    load_weights(folder / chosen, model, vocabulary)
    model.eval()
    return Run(model, vocabulary, config)


def _occupied(folder: Path) -> bool:
    """Whether there is a file of this name, or a folder with something in it."""
    if folder.is_dir():
        return any(folder.iterdir())
    return os.path.lexists(folder)


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        above = next((one for one in folder.parents if one.is_file()), folder)
        return f"{os.fspath(above)!r} is a file"
    return getattr(error, "strerror", None) or type(error).__name__


def _no_run(folder: Path, name: str) -> str:
    what, way_out = f"load: {name!r} is not the folder of a run: it holds no {CONFIG}", ""
    if folder.is_file():
        what = f"load: {name!r} is a file, not the folder of a run"
        if (folder.parent / CONFIG).is_file():
            way_out = f"Give the folder that it is in: {os.fspath(folder.parent)}"
    elif not folder.exists():
        what = f"load: there is no folder {name!r}"
    if not way_out:
        runs = sorted(one.parent for one in Path("runs").glob(f"*/{CONFIG}"))
        way_out = (
            f"There are: {', '.join(map(str, runs[:5]))}."
            if runs
            else "Train one with: tgs train builtin:topics"
        )
    return explain(what, None, "expected a folder that tgs train has made.", way_out)
