"""Laws of the run folder: what is written can be had back, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
import os
import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import tinygrad_seq
from tinygrad_seq.data import Corpus, Vocabulary
from tinygrad_seq.errors import ArgumentError, CheckpointError
from tinygrad_seq.models import CharLM
from tinygrad_seq.nn import Linear
from tinygrad_seq.training import Config, Run, free_folder, load_run, train, usual_name
from tinygrad_seq.training.checkpoint import load_weights, save_weights
from tinygrad_seq.training.factory import new_model, weights_of
from tinygrad_seq.training.run_folder import RunFolder
from tinygrad_seq.training.toml import to_toml

TEXT = Corpus("to be or not to be, that is the question:\n" * 30, "hamlet.txt")
SMALL = Config(corpus=("hamlet.txt",), hidden=8, batch=4, window=8, steps=4, eval_every=2, sample_every=2)
AGAIN = "Copy the whole folder anew from where the model was trained, or train again."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, so that the names in messages are short and known."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test may change."""
    path = tmp_path_factory.mktemp("trained") / "run"
    list(train(SMALL, corpus=TEXT, folder=path))
    return path


@pytest.fixture
def run_folder(trained: Path) -> Path:
    """A copy of the run, to be damaged."""
    copy = Path("run")
    copy.mkdir()
    for file in trained.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def message(error: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


# ---------------------------------------------------------------- settings as TOML

PLAIN = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), PLAIN | TEXTS | st.lists(TEXTS)))
def test_toml_is_read_as_it_was_written(values: dict[str, Any]) -> None:
    """Whatever the characters and numbers; types included."""
    again = tomllib.loads(to_toml(values))
    assert again == values
    assert {key: type(value) for key, value in again.items()} == {k: type(v) for k, v in values.items()}


def test_name_that_is_no_unicode_becomes_readable() -> None:
    """A file name may hold bytes that are no UTF-8, which Python shows as lone surrogates; TOML cannot."""
    assert tomllib.loads(to_toml({"corpus": ("a\udcff.txt",)})) == {"corpus": ["a?.txt"]}


@given(
    st.builds(
        Config,
        corpus=st.lists(TEXTS, min_size=1).map(tuple),
        embedding=st.none() | st.integers(1, 99),
        steps=st.none() | st.integers(1, 10**9),
        minutes=st.none() | st.floats(0.001, 1e6),
        lr=st.floats(1e-9, 1.0),
        seed=st.integers(-(2**40), 2**40),
    )
)
def test_settings_survive_toml(config: Config) -> None:
    """Every setting, given or left open, with facts beside it."""
    assert Config.from_toml(config.to_toml()) == config
    assert Config.from_toml(config.to_toml({"sha256": "0", "characters": 3})) == config


def test_settings_left_out_have_their_defaults() -> None:
    """An empty file is a complete one."""
    assert Config.from_toml("") == Config()


def test_unknown_setting_is_refused_with_the_nearest() -> None:
    """A misspelt setting would otherwise silently have its default."""
    known = (
        "corpus, split, tokenizer, encoding, bad_bytes, max_size, ext, model, hidden, layers, heads, embedding, "
        "dropout, init, forget_bias, batch, window, reach, reading, steps, epochs, minutes, patience, optimizer, lr, "
        "min_lr, schedule, warmup, decay, decay_every, decay_after, beta1, beta2, alpha, clip, clip_value, "
        "weight_decay, report_every, eval_every, eval_tokens, save_every, sample_every, sample_length, "
        "temperature, seed"
    )
    assert message(ArgumentError, Config.from_toml, "hiden = 3", "'my.toml'") == (
        "config: 'my.toml' has an unknown setting 'hiden'.\n"
        f"  expected some of {known}.\n  Did you mean 'hidden'?"
    )
    assert message(ArgumentError, Config.from_toml, "[network]\nsize = 3") == (
        f"config: config has an unknown setting 'network'.\n  expected some of {known}."
    )


def test_text_that_is_no_toml_is_refused() -> None:
    """With the place that the parser names."""
    text = message(ArgumentError, Config.from_toml, "hidden: 3", "'my.toml'")
    assert text.startswith("config: 'my.toml' is not TOML: ")
    assert text.endswith("\n  expected lines such as: hidden = 128")


# ---------------------------------------------------------------- what a run leaves


def test_folder_holds_what_it_should(trained: Path) -> None:
    """These files and no temporary ones."""
    assert sorted(file.name for file in trained.iterdir()) == [
        "README.md",
        "best.safetensors",
        "config.toml",
        "last.safetensors",
        "metrics.jsonl",
        "samples.txt",
        "state.safetensors",
        "vocabulary.json",
    ]


def test_config_is_complete(trained: Path) -> None:
    """All settings, and what was found: version, text with its fingerprint, counts."""
    text = (trained / "config.toml").read_text(encoding="utf-8")
    assert Config.from_toml(text) == SMALL
    facts = tomllib.loads(text)["facts"]
    place, from_run = facts.pop("begun_in"), facts.pop("begun_in_from_run")
    assert Path(place).is_absolute()
    assert facts == {
        "tinygrad_seq": tinygrad_seq.__version__,
        "corpus": "hamlet.txt",
        "sha256": TEXT.sha256,
        "characters": 1260,
        "symbols": 16,
        "train": 1134,
        "validation": 63,
        "test": 63,
        "parameters": 16 * 8 + 4 * (8 * 8 + 8 * 8 + 8 + 8) + 16 * 8 + 16,
    }
    assert (trained / from_run).resolve() == Path(place).resolve()


def test_metrics_are_lines_of_json(trained: Path) -> None:
    """One object for each report, losses in nats and in bits."""
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    for row in rows:
        assert row["bits"] == pytest.approx(row["loss"] / np.log(2), rel=1e-12)
        assert row["validation_bits"] == pytest.approx(row["validation"] / np.log(2), rel=1e-12)
        assert row["characters_per_second"] > 0
        assert {"gradient", "lr", "seconds"} <= set(row)


def test_metrics_are_on_the_disk_before_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut at any rename the lines about the weights are there; not each line costs a flush."""
    sync, rename = os.fsync, os.replace
    folder = tmp_path / "run"
    flushed: dict[str, bytes] = {}
    told: list[tuple[str, int, int]] = []

    def synced(descriptor: int) -> None:
        for name in ("metrics.jsonl", "samples.txt"):
            path = folder / name
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                flushed[name] = path.read_bytes()
        sync(descriptor)

    def renamed(old: Path, new: Path) -> None:
        rename(old, new)
        if Path(new).suffix == ".safetensors":
            for name in ("metrics.jsonl", "samples.txt"):
                path = folder / name
                assert flushed.get(name, b"") == (path.read_bytes() if path.exists() else b""), new
            with safe_open(new, "numpy") as file:
                facts = file.metadata()
            lines = [json.loads(line) for line in flushed.get("metrics.jsonl", b"").splitlines()]
            step = int(facts["step"]) if "step" in facts else -1
            told.append((Path(new).name, step, lines[-1]["step"] if lines else 0))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    config = Config(hidden=4, batch=2, window=4, steps=6, eval_every=3, report_every=1, sample_every=2)
    list(train(config, corpus=TEXT, folder=folder))
    best = [one for one in told if one[0] == "best.safetensors"]
    assert best
    assert all(step == line for _, step, line in best)
    assert {one for one in told if one[0] == "last.safetensors"} == {
        ("last.safetensors", n, n) for n in (0, 3, 6)
    }


def test_samples_are_kept(trained: Path) -> None:
    """Each under its step, with the number of characters that the settings say."""
    text = (trained / "samples.txt").read_text(encoding="utf-8")
    first, second = text.removeprefix("--- step 2 ---\n").split("--- step 4 ---\n")
    assert len(first) == len(second) == SMALL.sample_length + 2


def test_weights_file_says_what_it_is(trained: Path) -> None:
    """Any reader of safetensors sees the format, the settings, the step and the vocabulary's hash."""
    with safe_open(trained / "best.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "tinygrad_seq weights"
    assert metadata["version"] == "1"
    assert json.loads(metadata["config"])["hidden"] == 8
    assert metadata["step"] in ("2", "4")
    assert len(metadata["vocabulary"]) == 64
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert float(metadata["validation"]) == min(row["validation"] for row in rows)


def test_loaded_model_computes_the_same(trained: Path) -> None:
    """Bit by bit, in evaluation mode, with the vocabulary it was trained with."""
    events = list(train(SMALL, corpus=TEXT))
    model = events[0].run.model  # type: ignore[union-attr]
    model.eval()
    loaded = load_run(trained, "last")
    assert loaded.config == SMALL
    assert loaded.vocabulary == Vocabulary(TEXT.text)
    assert not any(module.training for module in loaded.model.modules())
    ids = loaded.vocabulary.encode("to be or not")[:, None]
    assert (loaded.model(ids)[0].numpy() == model(ids)[0].numpy()).all()


def test_best_is_loaded_where_there_is_one(run_folder: Path) -> None:
    """Unless the last is asked for; a run stopped before its first evaluation has only the last."""
    run = load_run(run_folder)
    bias = run.model.head.bias
    assert bias is not None
    bias.assign(np.full(bias.shape, 7, np.float32))
    RunFolder(run_folder).save(run, {}, best=True)
    assert float(load_run(run_folder).model.head.bias.numpy()[0]) == 7.0  # type: ignore[union-attr]
    assert float(load_run(run_folder, "last").model.head.bias.numpy()[0]) != 7.0  # type: ignore[union-attr]
    (run_folder / "best.safetensors").unlink()
    assert float(load_run(run_folder).model.head.bias.numpy()[0]) != 7.0  # type: ignore[union-attr]


# ---------------------------------------------------------------- names of folders


def test_free_folder_counts_on() -> None:
    """A name that is taken gets a number; an empty folder is free, a file is not."""
    assert free_folder("runs/a") == Path("runs/a")
    Path("runs/a").mkdir(parents=True)
    assert free_folder("runs/a") == Path("runs/a")
    Path("runs/a/x").write_text("")
    Path("runs/a-2").write_text("")
    Path("runs/a-3").mkdir()
    assert free_folder("runs/a") == Path("runs/a-3")
    Path("runs/a-3/x").write_text("")
    assert free_folder("runs/a") == Path("runs/a-4")


@pytest.mark.parametrize(
    ("corpus", "layers", "name"),
    [
        ("builtin:topics", 1, "topics-lstm128"),
        ("some/where/Alice in Wonderland.txt", 1, "Alice-in-Wonderland-lstm128"),
        ("C:\\texts\\한글.v2.txt", 2, "한글.v2-lstm128x2"),
        ("-", 1, "stdin-lstm128"),
        ("../..", 1, "text-lstm128"),
        ("x" * 300, 1, "x" * 40 + "-lstm128"),
    ],
)
def test_run_is_called_after_its_text(corpus: str, layers: int, name: str) -> None:
    """No separator, no space and no mere dots get into the name of the folder."""
    assert usual_name(Config(corpus=(corpus,), layers=layers)) == name


def test_folder_in_use_is_refused(run_folder: Path) -> None:
    """A run, other files, a file in its place or above it: nothing is overwritten."""
    before = {file: file.read_bytes() for file in run_folder.iterdir()}
    assert message(CheckpointError, RunFolder.create, run_folder) == (
        "train: 'run' already holds a run.\n"
        "  Give another folder with -o, or remove this one if the run is not needed any more."
    )
    assert {file: file.read_bytes() for file in run_folder.iterdir()} == before
    rule = (
        "  expected the name of a new or empty folder; a run overwrites nothing.\n"
        "  Give another folder with -o."
    )
    assert message(CheckpointError, RunFolder.create, ".") == (
        f"train: '.' is a folder that is not empty.\n{rule}"
    )
    Path("file").write_text("")
    assert message(CheckpointError, RunFolder.create, "file") == f"train: 'file' is a file.\n{rule}"
    assert message(CheckpointError, RunFolder.create, Path("file/a")).replace("\\\\", "/") == (
        "train: 'file/a' cannot be made: 'file' is a file.\n  Give a folder that you may write to with -o."
    )


def test_folder_that_disappears_is_explained() -> None:
    """Somebody clears up while the run goes on."""
    assert message(CheckpointError, RunFolder(Path("gone")).add_sample, 1, "x").replace("\\\\", "/") == (
        "train: 'gone/samples.txt' cannot be written: its folder does not exist.\n"
        "  The weights saved so far are whole. Make room, or check that the folder still exists."
    )


# ---------------------------------------------------------------- what cannot be loaded


def test_place_without_a_run_is_refused(run_folder: Path) -> None:
    """No folder, a folder of something else, a file beside a run and one elsewhere."""
    rule = "  expected a folder that tgs train has made.\n"
    train_one = "  Train one with: tgs train builtin:topics"
    assert message(CheckpointError, load_run, "nowhere") == (
        f"load: there is no folder 'nowhere'.\n{rule}{train_one}"
    )
    Path("runs/other").mkdir(parents=True)
    assert message(CheckpointError, load_run, "runs") == (
        f"load: 'runs' is not the folder of a run: it holds no config.toml.\n{rule}{train_one}"
    )
    (Path("runs/other") / "config.toml").write_text("")
    assert message(CheckpointError, load_run, "topics") == (
        f"load: there is no folder 'topics'.\n{rule}  There are: {Path('runs/other')}."
    )
    for i in range(6):
        Path(f"runs/more{i}").mkdir()
        (Path(f"runs/more{i}") / "config.toml").write_text("")
    assert message(CheckpointError, load_run, "topics").endswith(
        f"{Path('runs/more3')}, {Path('runs/more4')} and 2 more."
    )
    assert message(CheckpointError, load_run, "run/config.toml") == (
        f"load: 'run/config.toml' is a file, not the folder of a run.\n{rule}"
        "  Give the folder that it is in: run"
    )


@pytest.mark.parametrize("kept", [0, 7, 8, 100, -1])
def test_truncated_weights_are_refused(run_folder: Path, kept: int) -> None:
    """Wherever the file ends too early."""
    path = run_folder / "best.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} is damaged: it is no complete safetensors file.\n  {AGAIN}"
    )


def test_changed_number_is_noticed(run_folder: Path) -> None:
    """One bit of one weight; the format itself would load it without a word."""
    path = run_folder / "best.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    load_file(path)
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} is damaged: its arrays are not those that were written.\n  {AGAIN}"
    )


def test_missing_weights_are_refused(run_folder: Path) -> None:
    """The folder was copied in part."""
    (run_folder / "best.safetensors").unlink()
    (run_folder / "last.safetensors").unlink()
    path = str(run_folder / "last.safetensors")
    assert message(CheckpointError, load_run, run_folder) == f"load: {path!r} does not exist.\n  {AGAIN}"


def test_folder_in_place_of_weights_is_refused(run_folder: Path) -> None:
    """What the system says is said, in one sentence."""
    (run_folder / "best.safetensors").unlink()
    (run_folder / "best.safetensors").mkdir()
    text = message(CheckpointError, load_run, run_folder)
    assert text.startswith(f"load: {str(run_folder / 'best.safetensors')!r} cannot be read: ")
    assert text.endswith("\n  Check what stands under this name.")


def test_weights_of_another_model_are_refused(run_folder: Path) -> None:
    """With every name and shape that does not fit; the model keeps its own."""
    path = run_folder / "best.safetensors"
    save_weights(path, Linear(3, 2), Vocabulary(TEXT.text))
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} holds the weights of another model.\n"
        "  missing: embedding.weight (16, 8)\n"
        "  missing: lstm.weight_ih_l0 (32, 8)\n"
        "  missing: lstm.weight_hh_l0 (32, 8)\n"
        "  missing: lstm.bias_ih_l0 (32,)\n"
        "  missing: lstm.bias_hh_l0 (32,)\n"
        "  missing: head.weight (16, 8)\n"
        "  missing: head.bias (16,)\n"
        "  unexpected: bias\n"
        "  unexpected: weight"
    )
    vocabulary = Vocabulary(TEXT.text)
    save_weights(path, CharLM(len(vocabulary), 4), vocabulary)
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} holds the weights of another model.\n"
        "  embedding.weight: expected (16, 8), got (16, 4)\n"
        "  lstm.weight_ih_l0: expected (32, 8), got (16, 4)\n"
        "  lstm.weight_hh_l0: expected (32, 8), got (16, 4)\n"
        "  lstm.bias_ih_l0: expected (32,), got (16,)\n"
        "  lstm.bias_hh_l0: expected (32,), got (16,)\n"
        "  head.weight: expected (16, 8), got (16, 4)"
    )


def test_vocabulary_of_another_text_is_refused(run_folder: Path) -> None:
    """As many symbols, but not the same: every character would be read as another."""
    Vocabulary("abcdefghijklmnop").save(run_folder / "vocabulary.json")
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(run_folder / 'best.safetensors')!r} belongs to another vocabulary: the same number of "
        "symbols, but not the same symbols.\n  Put back the vocabulary.json that was saved beside it."
    )


def test_weights_of_another_program_are_refused(run_folder: Path) -> None:
    """Right names and shapes do not say which vocabulary they were trained with."""
    path = run_folder / "best.safetensors"
    save_file(load_file(path), path)
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} was not written by this package: no format 'tinygrad_seq weights'.\n  {AGAIN}"
    )


def test_newer_format_is_refused(run_folder: Path) -> None:
    """Instead of being misread."""
    path = run_folder / "best.safetensors"
    save_file(load_file(path), path, {"format": "tinygrad_seq weights", "version": "2"})
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} has version '2' of the format, this package reads '1'.\n"
        "  Use the version of tinygrad_seq that wrote it."
    )


def test_nothing_is_unpickled(run_folder: Path) -> None:
    """A pickle in place of the weights is a damaged file; what it holds is not run."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path("sprung").touch, ()

    (run_folder / "best.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "is damaged" in message(CheckpointError, load_run, run_folder)
    assert not Path("sprung").exists()


def test_config_that_was_edited_badly_is_refused(run_folder: Path) -> None:
    """The file is named, whether the setting is unknown or the text cannot be read at all."""
    path = run_folder / "config.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("hidden =", "hiden ="), encoding="utf-8")
    refusal = message(ArgumentError, load_run, run_folder)
    assert refusal.startswith(f"config: {str(path)!r} has an unknown setting 'hiden'.\n")
    assert refusal.endswith("\n  Did you mean 'hidden'?")
    path.write_bytes(b"hidden = \xff")
    assert message(CheckpointError, load_run, run_folder) == (
        f"load: {str(path)!r} cannot be read: UnicodeDecodeError.\n  expected UTF-8 text as TOML."
    )


def test_facts_come_back_with_the_weights(trained: Path) -> None:
    """What was written beside the arrays is returned, without what only serves to check them."""
    run: Run = load_run(trained)
    facts = load_weights(trained / "last.safetensors", run.model, run.vocabulary)
    assert set(facts) == {"config", "step", "validation"}
    assert facts["step"] == "4"


@pytest.mark.parametrize("settings", [{}, {"layers": 3}, {"embedding": 5}])
def test_weights_are_counted_before_they_are_made(settings: dict[str, Any]) -> None:
    """The formula is the model's own count."""
    config = Config(hidden=12, **settings)
    vocabulary = Vocabulary("abcdef")
    assert weights_of(6, config) == new_model(vocabulary, config).count()


def test_a_model_that_no_memory_holds_is_refused() -> None:
    """At once and in words, not by the system after minutes."""
    with pytest.raises(ArgumentError) as error:
        new_model(Vocabulary("ab"), Config(hidden=100_000_000))
    assert str(error.value) == (
        "train: a model of 80,000,001,200,000,002 weights needs 1,280,000,019 GB.\n"
        "  hidden: 100000000\n  layers: 1\n"
        "  expected at most 1,000,000,000 weights.\n"
        "  Choose less of either."
    )
