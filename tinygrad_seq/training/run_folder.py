"""The folder of a run: its files, how it is made, and how a model is loaded from it.

config.toml         all settings, and what was found: package version, text, counts
vocabulary.json     the tokenizer: the characters the model knows, or what stands for them
metrics.jsonl       one JSON object for each report
samples.txt         what the model wrote while it was training
last.safetensors    the weights at the last evaluation, or where the run was stopped
best.safetensors    the weights with the best validation so far
state.safetensors   all that a run needs to go on as if it had not stopped: weights, moments, draws, place in the text
README.md           what this is, in words, once the run has ended
graph.svg           the tape of a few steps, or graph.dot where nothing can draw it
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinygrad_seq.data import Tokenizer, load_tokenizer
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import CheckpointError, explain, few
from tinygrad_seq.models import NeuralModel
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.files import UNFINISHED, atomic_write_text
from tinygrad_seq.runtime.untrusted_files import read_file, reason_of, require_file
from tinygrad_seq.training.checkpoint import load_state, load_weights, save_state, save_weights
from tinygrad_seq.training.config import FACTS, Config
from tinygrad_seq.training.factory import new_model
from tinygrad_seq.training.find_text import OLD_EXT
from tinygrad_seq.training.toml import TomlValue

__all__ = ["Run", "RunFolder", "free_folder", "load_run", "usual_name"]

CONFIG, VOCABULARY = "config.toml", "vocabulary.json"
METRICS, SAMPLES = "metrics.jsonl", "samples.txt"
LAST, BEST, STATE = "last.safetensors", "best.safetensors", "state.safetensors"
README = "README.md"
ADDED = (METRICS, SAMPLES)
_LARGEST_CONFIG = 1 << 20  # bytes


@dataclass(frozen=True)
class Run:
    """A model, its tokenizer (a `Vocabulary` where that is `char`), and the settings it was trained with."""

    model: NeuralModel
    vocabulary: Tokenizer
    config: Config


def usual_name(config: Config) -> str:
    """The default name of a run: the text, the kind of model and its size.

    >>> usual_name(Config(corpus=("books/Alice in Wonderland.txt",), hidden=64))
    'Alice-in-Wonderland-lstm64'
    """
    first = config.corpus[0]
    stem = "stdin" if first == "-" else re.split(r"[:/\\]", first.rstrip("/\\"))[-1].rsplit(".", 1)[0]
    text = re.sub(r"[^\w.]+", "-", stem).strip("-.")[:40] or "text"
    return f"{text}-{config.model}{config.hidden}" + (f"x{config.layers}" if config.layers > 1 else "")


# The files before the settings, which are written last: a folder without settings is of a run that never began.
_FIRST = (VOCABULARY, LAST, STATE)


def free_folder(path: str | os.PathLike[str]) -> Path:
    """`path` if it is free: not there or empty; otherwise the first of path-2, path-3, ... that is."""
    wanted = Path(path)
    numbered = (wanted.with_name(f"{wanted.name}-{n}") for n in itertools.count(2))
    return next(one for one in itertools.chain([wanted], numbered) if not _occupied(one))


class RunFolder:
    """A new folder to write a run into. `create` makes it and never uses one that is not empty."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Make the folder and those above it.

        Raises `CheckpointError` if it is not free, or if it cannot be made.
        """
        folder = cls.free(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = _reason(folder, error)
            hint = "Give a folder that you may write to with -o."
            raise CheckpointError(
                f"train: {os.fspath(path)!r} cannot be made: {reason}", None, "", hint
            ) from error
        return cls(folder)

    @classmethod
    def free(cls, path: str | os.PathLike[str]) -> Path:
        """The path of a new folder. Raises `CheckpointError` if there is a file or a folder that is not empty.

        The files of a run that was killed before it began do not count.
        """
        folder = Path(path)
        name = os.fspath(path)
        if (folder / CONFIG).exists():
            hint = "Give another folder with -o, or remove this one if the run is not needed any more."
            raise CheckpointError(f"train: {name!r} already holds a run", None, "", hint)
        if _occupied(folder):
            what = f"train: {name!r} is {'a folder that is not empty' if folder.is_dir() else 'a file'}"
            rule = "expected the name of a new or empty folder; a run overwrites nothing."
            raise CheckpointError(what, None, rule, "Give another folder with -o.")
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> tuple[RunFolder, Run]:
        """The folder of a run to resume, and the run: its settings, its tokenizer, an untrained model.

        Raises what `load_run` raises, and `CheckpointError` where there is no saved state.
        """
        folder, name = Path(path), os.fspath(path)
        config, vocabulary = _described(folder, name)
        if not os.path.lexists(folder / STATE):
            what = f"resume: the run in {name!r} cannot go on: it holds no {STATE}"
            hint = f"It can still write: tgs sample {name}. To train, start a new run."
            raise CheckpointError(what, None, "", hint)
        return cls(folder), Run(new_model(vocabulary, config), vocabulary, config)

    def describe(self, run: Run, facts: Mapping[str, TomlValue]) -> None:
        """Write the settings and the facts found at the start: from then on, this is the folder of a run."""
        head = "# The settings of this run, all of them, and what it found when it started.\n\n"
        atomic_write_text(self.path / CONFIG, head + run.config.to_toml(facts))

    def facts(self) -> dict[str, Any]:
        """What `describe` wrote beside the settings."""
        found = tomllib.loads(read_file(self.path / CONFIG, _LARGEST_CONFIG).decode()).get(FACTS)
        return found if isinstance(found, dict) else {}

    def save_tokenizer(self, run: Run) -> None:
        """Write the vocabulary, or other tokenizer."""
        run.vocabulary.save(self.path / VOCABULARY)

    def save(self, run: Run, facts: Mapping[str, str], *, best: bool = False) -> Path:
        """Write the weights as the last ones, or as the best; returns the file.

        As before `save_state`, what was added to the metrics and the samples is on the disk before the weights are.
        """
        self._flush_added()
        path = self.path / (BEST if best else LAST)
        save_weights(path, run.model, run.vocabulary, {"config": json.dumps(asdict(run.config)), **facts})
        return path

    def save_state(self, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
        """Write all that a resumption needs; the old file is kept until the new one is complete."""
        self._flush_added()
        save_state(self.path / STATE, arrays, facts)

    def load_state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What `save_state` wrote last."""
        return load_state(self.path / STATE)

    def sizes(self) -> dict[str, int]:
        """How many bytes the files have that a run adds to."""
        return {name: require_file(path) for name in ADDED if os.path.lexists(path := self.path / name)}

    def sweep(self) -> None:
        """Remove the unfinished files of a run that was killed."""
        for path in self.path.glob(UNFINISHED):
            with contextlib.suppress(OSError):
                path.unlink()

    def cut_back(self, sizes: Mapping[str, int]) -> None:
        """Cut these files back to these sizes: the steps after them will be done again."""
        for name in ADDED:
            path = self.path / name
            with _explained(path):
                if os.path.lexists(path) and require_file(path) > sizes.get(name, 0):
                    os.truncate(path, sizes.get(name, 0))

    def write_card(self, text: str) -> None:
        """Write the README of the run."""
        atomic_write_text(self.path / README, text)

    def has_card(self) -> bool:
        """Whether the run was described, which is the last thing that a run does."""
        return os.path.lexists(self.path / README)

    def remove_card(self) -> None:
        """Remove the README, because the run goes on."""
        with _explained(self.path / README), contextlib.suppress(FileNotFoundError):
            (self.path / README).unlink()

    def add_metrics(self, values: Mapping[str, object]) -> None:
        """Append one line of JSON to the metrics: the system has it when this returns, the disk when it is saved."""
        self._append(METRICS, json.dumps(values, allow_nan=False) + "\n")

    def add_sample(self, step: int, text: str) -> None:
        """Append what the model wrote after `step` steps."""
        self._append(SAMPLES, f"--- step {step} ---\n{text}\n\n")

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        # Opened for each report, so that a killed run loses no line in a buffer.
        with _explained(path):
            if os.path.lexists(path):
                require_file(path)
            with path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)

    def _flush_added(self) -> None:
        """Flush to the disk, so that metrics and samples match the weights after a power cut too."""
        for name in ADDED:
            path = self.path / name
            if os.path.lexists(path):
                with _explained(path):
                    require_file(path)  # a pipe would hang
                    with path.open("ab") as file:
                        os.fsync(file.fileno())


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """An OSError as a `CheckpointError` in plain words."""
    try:
        yield
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "its folder does not exist" if missing else reason_of(error)
        hint = "The weights saved so far are whole. Make room, or check that the folder still exists."
        raise CheckpointError(
            f"train: {os.fspath(path)!r} cannot be written: {reason}", None, "", hint
        ) from error


def load_run(path: str | os.PathLike[str], weights: str | None = None) -> Run:
    """The model of a run folder in evaluation mode, with its vocabulary and settings.

    `weights` is "best" or "last"; where it is not given, the best if there are any, otherwise the last.

    Raises `CheckpointError` if the folder does not exist, holds no run, or holds files that are damaged or do
    not belong together, and `ArgumentError` for settings that make no sense.
    """
    folder, name = Path(path), os.fspath(path)
    config, vocabulary = _described(folder, name)
    model = new_model(vocabulary, config)
    chosen = {"best": BEST, "last": LAST}.get(weights or "", BEST if os.path.lexists(folder / BEST) else LAST)
    load_weights(folder / chosen, model, vocabulary)
    model.eval()
    return Run(model, vocabulary, config)


def _described(folder: Path, name: str) -> tuple[Config, Tokenizer]:
    """The settings and the tokenizer of a run."""
    if not os.path.lexists(folder / CONFIG):
        raise CheckpointError(_no_run(folder, name))
    try:
        text = read_file(folder / CONFIG, _LARGEST_CONFIG).decode()
    except (OSError, UnicodeDecodeError) as error:
        what = f"load: {os.fspath(folder / CONFIG)!r} cannot be read: {_reason(folder, error)}"
        raise CheckpointError(what, None, "expected UTF-8 text as TOML.") from error
    config = Config.from_toml(text, repr(os.fspath(folder / CONFIG)))
    if "ext" not in tomllib.loads(text) and any(map(os.path.isdir, config.corpus)):
        config = config.changed({"ext": OLD_EXT})
    return config, load_tokenizer(folder / VOCABULARY)


def _occupied(folder: Path) -> bool:
    """Whether there is a file of this name, or a folder with more than a run killed in its first moment leaves."""
    if folder.is_dir():
        left = [one for one in folder.iterdir() if not (one.match(UNFINISHED) and one.is_file())]
        # Weights without a vocabulary, which is written first, are not of such a run.
        own = (folder / VOCABULARY).exists() and not (folder / CONFIG).exists()
        return any(not (own and one.name in _FIRST) for one in left)
    return os.path.lexists(folder)


def _reason(folder: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        above = next((one for one in folder.parents if one.is_file()), folder)
        return f"{os.fspath(above)!r} is a file"
    return type(error).__name__ if isinstance(error, UnicodeError) else reason_of(error)


def _no_run(folder: Path, name: str) -> str:
    what, hint = f"load: {name!r} is not the folder of a run: it holds no {CONFIG}", ""
    if folder.is_file():
        what = f"load: {name!r} is a file, not the folder of a run"
        if (folder.parent / CONFIG).is_file():
            hint = f"Give the folder that it is in: {os.fspath(folder.parent)}"
    elif not folder.exists():
        what = f"load: there is no folder {name!r}"
    if not hint:
        runs = sorted(str(one.parent) for one in Path("runs").glob(f"*/{CONFIG}"))
        hint = f"There are: {few(runs)}." if runs else "Train one with: tgs train builtin:topics"
    return explain(what, None, "expected a folder that tgs train has made.", hint)


answer(globals(), "free_folder", "load_run", "usual_name")
