"""Settings by name, by file, by word and by option: what they are, which of them wins, and what they cost."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.optim import SGD, DelayedStepLR
from tinygrad_seq.training import Config, load_run
from tinygrad_seq.training.factory import new_model, new_optimizer, weights_of
from tinygrad_seq.training.presets import PRESETS, fitted, preset

TEXT = "to be or not to be, that is the question:\n" * 60
Tgs = Callable[..., tuple[int, str, str]]


class Letters:
    """As much of a tokenizer as a model needs: a number of symbols."""

    def __init__(self, symbols: int) -> None:
        self.symbols = symbols

    def __len__(self) -> int:
        return self.symbols


@pytest.fixture
def tgs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tgs:
    """Runs a command in an empty folder with one text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("hamlet.txt").write_text(TEXT, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("name", "count"),
    [("char-rnn", 240_321), ("shakespeare-char-cpu", 804_096), ("nanogpt-char-cpu", 795_904 + 8_192)],
)
def test_recipes_have_the_published_size(name: str, count: int) -> None:
    """For the 65 characters of Tiny Shakespeare."""
    config = Config(**preset(name))
    assert new_model(Letters(65), config).count() == weights_of(65, config) == count  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_recipe_is_complete(name: str) -> None:
    """It can be run, says where it comes from, what was published, and what is not the same here."""
    recipe = PRESETS[name]
    config = Config(**recipe.settings)
    assert set(recipe.settings) <= {field.name for field in fields(Config)}
    assert recipe.source
    assert recipe.published
    new_optimizer(new_model(Letters(30), config), config)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "transformer"])
def test_number_of_weights_is_known_beforehand(model: str) -> None:
    """Without making the model, for every kind."""
    for more in ({"layers": 1}, {"layers": 3}, {"embedding": 0}, {"embedding": 5}):
        if model == "transformer" and "embedding" in more:
            continue
        config = Config(model=model, hidden=8, **more)
        assert new_model(Letters(11), config).count() == weights_of(11, config)  # type: ignore[arg-type]


def test_rates_fall_as_the_recipes_say() -> None:
    """char-rnn: times 0.97 after each epoch from the tenth on; torch-rnn: halved every five."""

    def factors(schedule: DelayedStepLR) -> list[float]:
        return [round(schedule.factor(epoch * 10), 6) for epoch in range(13)]

    rule = SGD([Tensor([1.0], requires_grad=True)])
    assert factors(DelayedStepLR(rule, 10, 0.97, 100)) == [1.0] * 10 + [0.97, 0.9409, 0.912673]
    assert factors(DelayedStepLR(rule, 50, 0.5)) == [1.0] * 5 + [0.5] * 5 + [0.25] * 3
    assert DelayedStepLR(rule, 1, 0.1, final=0.5).factor(9) == 0.5
    assert [DelayedStepLR(rule, 1, 1.0, warmup=4).factor(n) for n in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    with pytest.raises(ArgumentError, match="steps out of range"):
        DelayedStepLR(rule, 0, 0.5)


def test_first_weights_are_drawn_as_asked_for() -> None:
    """U(-A, A) for all; N(0, A) with biases of 0; a forget gate's bias on top."""
    wide = new_model(Letters(9), Config(hidden=16, init="uniform:0.08", forget_bias=1.0))  # type: ignore[arg-type]
    state = {name: p.numpy() for name, p in wide.state_dict().items()}
    assert max(abs(a).max() for name, a in state.items() if "bias_ih" not in name) <= 0.08
    assert (state["lstm.bias_ih_l0"][16:32] == 1.0).all()
    small = new_model(Letters(9), Config(model="rnn", hidden=16, init="normal:0.01", embedding=0))  # type: ignore[arg-type]
    for name, p in small.named_parameters():
        assert p.numpy().std() == (pytest.approx(0.01, rel=0.3) if p.ndim > 1 else 0.0), name


def test_auto_takes_the_largest_that_can_make_enough_steps() -> None:
    """By a clock on which each reading takes so long: a fast machine gets a larger model; what is given stays."""

    def machine(seconds: float) -> Callable[[], float]:
        now = [0.0]

        def clock() -> float:
            now[0] += seconds
            return now[0]

        return clock

    text = Corpus(TEXT * 4)
    short = Config(minutes=100, window=4)
    sizes = [fitted(short, text, frozenset(), machine(s))[0].hidden for s in (9.0, 4.0, 3.0, 1.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 64
    assert sizes[-1] == 512
    config, words, note = fitted(Config(hidden=24, window=8), text, frozenset({"hidden"}), machine(0.1))
    assert (config.hidden, config.minutes, config.steps, note) == (24, 5.0, None, "")
    assert "fit into 5 min on this machine" in words


def test_auto_says_what_a_short_text_has_no_room_for(tgs: Tgs) -> None:
    """In one note with every number that is another than it would be: among the lines, in JSON, in a dry run."""
    Path("short.txt").write_text("to be or not to be, that is it:\n" * 10, encoding="utf-8")
    auto = ["short.txt", "--preset", "auto", "--hidden", "4", "--steps", "2", "--sample-every", "0"]
    given = [*auto, "--batch", "24", "--window", "300"]
    found = r"a text of 320 tokens has room for batch 3 in the place of 24 and window 75 in the place of 300"
    code, out, err = tgs("train", *given, "-o", "run")
    assert (code, err) == (0, "")
    assert re.findall(r"(?m)^note    a text .*", out) == [f"note    {found}"]
    assert load_run("run").config.batch == 3
    told = json.loads(tgs("train", *given, "--json", "-o", "other")[1].splitlines()[0])
    assert told["notes"][0] == found
    dry = re.findall(r"(?m)^note     a text .*", tgs("train", *auto, "--dry-run")[1])
    assert len(dry) == 1
    assert re.fullmatch(r"note     a text of 320 tokens has room for batch 1 in the place of (16|32)", dry[0])


# ---------------------------------------------------------------- what wins


def test_options_win_over_words_over_files_over_presets(tgs: Tgs) -> None:
    """And what nobody names has its default."""
    Path("my.toml").write_text("batch = 3\nwindow = 9\nhidden = 8\nlr = 0.5\n", encoding="utf-8")
    arguments = ["--preset", "char-rnn", "--config", "my.toml", "--set", "lr=0.25", "--set", "hidden=6"]
    code, out, _ = tgs("train", "hamlet.txt", *arguments, "--hidden", "4", "--steps", "2", "-q", "-o", "run")
    assert (code, out) == (0, "run\n")
    config = load_run("run").config
    assert (config.hidden, config.lr, config.window, config.optimizer) == (4, 0.25, 9, "RMSprop")
    assert config.temperature == 0.8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--preset", "char-rn"],
            "train: there is no preset 'char-rn'.\n  expected one of shakespeare-char-cpu, nanogpt-char-cpu, "
            "char-rnn, torch-rnn, min-char-rnn, auto.\n  Did you mean 'char-rnn'?",
        ),
        (["--set", "hiden=3"], "Did you mean 'hidden'?"),
        (["--set", "hidden"], "config: 'hidden' sets nothing.\n  expected NAME=VALUE."),
        (
            ["--set", "hidden=big"],
            "config: hidden is of the wrong kind.\n  hidden: 'big'\n  expected a whole number.",
        ),
        (
            ["--tbptt", "4,x"],
            "tgs train: --tbptt cannot be understood.\n  tbptt: '4,x'\n  expected two numbers of tokens, such as "
            "16,64, one number for both, or full.",
        ),
        (["--tbptt", "4,6"], "config: reach is no multiple of window.\n  window: 4\n  reach: 6"),
        (["--config", "none.toml"], "tgs train: --config 'none.toml' cannot be read: "),
        (
            ["--model", "transformer", "--heads", "3"],
            "config: hidden is no multiple of heads.\n  hidden: 128\n",
        ),
        (
            ["--model", "transformer", "--reading", "streams"],
            "config: a transformer carries no state from window to window.",
        ),
        (["--split", "90,20,0"], "config: split out of range.\n  split: '90,20,0'\n"),
        (["--set", "init=odd:3"], "config: init out of range.\n  init: 'odd:3'\n"),
        (["--allow-new-data"], "tgs train: --allow-new-data is for --resume."),
    ],
)
def test_settings_that_cannot_be(tgs: Tgs, arguments: list[str], text: str) -> None:
    """One clear error each, and no folder."""
    code, out, err = tgs("train", "hamlet.txt", *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert not Path("runs").exists()


def test_truncation_by_option(tgs: Tgs) -> None:
    """K1,K2; one number for both; full."""
    small = ["--hidden", "4", "--batch", "2", "--steps", "1", "--sample-every", "0", "-q"]
    found = {}
    for word in ("4,12", "6", "full"):
        tgs("train", "hamlet.txt", *small, "--tbptt", word, "-o", word)
        config = load_run(word).config
        found[word] = (config.window, config.reach)
    assert found == {"4,12": (4, 12), "6": (6, 6), "full": (64, None)}


# ---------------------------------------------------------------- what it would cost


def test_dry_run_says_all_and_writes_nothing(tgs: Tgs) -> None:
    """The settings as TOML that can be given back with --config; the weights by count."""
    small = ["--hidden", "8", "--batch", "2", "--window", "16", "--epochs", "2", "--dry-run"]
    code, out, _ = tgs("train", "hamlet.txt", *small)
    words, settings = out.split("\n\n")
    assert code == 0
    assert Config.from_toml(settings) == Config(
        corpus=("hamlet.txt",), hidden=8, batch=2, window=16, epochs=2.0
    )
    assert "model    848 parameters" in words
    assert re.search(r"the run  140 steps, (about [\d.]+|[\d.]+ to [\d.]+) (s|min), evaluations", words)
    assert list(Path().iterdir()) == [Path("hamlet.txt")]
    Path("again.toml").write_text(settings, encoding="utf-8")
    assert tgs("train", "--config", "again.toml", "--dry-run")[1].split("\n\n")[1] == settings


def test_arithmetic_equals_the_closed_formulas(tgs: Tgs) -> None:
    """Products of an LSTM: 2 B T (4 H (E + H) + H V) forward, three times that in all; the tape grows with T."""
    found = {}
    for window in (16, 32):
        small = ["--hidden", "64", "--batch", "4", "--window", str(window), "--steps", "3"]
        found[window] = json.loads(tgs("train", "hamlet.txt", *small, "--dry-run", "--json")[1])
    symbols = len(set(TEXT))
    products = 3 * 2 * 4 * 32 * (4 * 64 * (64 + 64) + 64 * symbols)
    assert products < found[32]["flops"] < 1.1 * products
    assert found[32]["flops"] == pytest.approx(2 * found[16]["flops"], rel=0.01)
    assert found[32]["saved"] == pytest.approx(2 * found[16]["saved"], rel=0.15)
    assert found[32]["steps"] == 3
    assert found[32]["config"]["window"] == 32


def test_events_as_json(tgs: Tgs) -> None:
    """One object a line, from the start to the end, and nothing else."""
    small = ["--hidden", "4", "--batch", "2", "--window", "8", "--steps", "3", "--sample-every", "3"]
    code, out, err = tgs("train", "hamlet.txt", *small, "--json", "-o", "run")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [row["event"] for row in rows if row["event"] != "Saved"] == [
        *("Started", "Step", "Step", "Step", "Evaluated", "Sampled", "Finished")
    ]
    assert rows[-1]["rates"]["bits_per_character"] > 0
    assert rows[0]["folder"] == "run"
    facts = tomllib.loads(Path("run/config.toml").read_text(encoding="utf-8"))["facts"]
    assert facts["parameters"] == rows[0]["parameters"]


def test_file_of_settings_from_a_windows_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte order mark is no part of the settings; a table is no corpus."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("to be or not to be, that is the question. " * 20, encoding="utf-8")
    Path("a.toml").write_text("\ufeffhidden = 7\n", encoding="utf-8")
    assert main(["train", "text.txt", "--config", "a.toml", "--steps=1", "--batch=2", "-q", "-o", "run"]) == 0
    assert load_run(Path("run")).config.hidden == 7
    with pytest.raises(ArgumentError, match="corpus out of range"):
        Config.from_toml("corpus = {a = 1}")
