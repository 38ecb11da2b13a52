"""Laws of comparing: what is read of a run, which runs compare, how far apart they are, and the ladder."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tinygrad_seq.analysis.compare import Protocol, Rung, broken, compare, ladder, own_parts, read_record
from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus, split, tokenize
from tinygrad_seq.errors import CheckpointError
from tinygrad_seq.models import CharLM, Markov
from tinygrad_seq.training import Config, load_run, train
from tinygrad_seq.training.evaluation import Measured, bits, difference, measure

TEXT = "to be or not to be, that is the question:\n" * 40
SMALL = Config(corpus=("hamlet.txt",), hidden=8, batch=4, window=8, steps=6, eval_every=3, sample_every=0)
Tgs = Callable[..., tuple[int, str, str]]
draws = pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, two of them of one text; no test may change them."""
    place = tmp_path_factory.mktemp("made")
    list(train(SMALL, corpus=Corpus(TEXT, "hamlet.txt"), folder=place / "one"))
    list(train(replace(SMALL, steps=60, lr=0.02), corpus=Corpus(TEXT, "hamlet.txt"), folder=place / "two"))
    other = Corpus(TEXT.upper(), "upper.txt")
    list(train(replace(SMALL, corpus=("upper.txt",)), corpus=other, folder=place / "upper"))
    return place


@pytest.fixture(autouse=True)
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs and their texts."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("hamlet.txt").write_text(TEXT, encoding="utf-8")
    Path("upper.txt").write_text(TEXT.upper(), encoding="utf-8")
    return tmp_path


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str]) -> Tgs:
    """Runs a command here: its exit code, its output and its errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


# ---------------------------------------------------------------- records


def test_a_record_is_what_the_run_wrote() -> None:
    """Settings, facts, the last step, the best validation, the median rate."""
    record = read_record("one")
    rows = [json.loads(line) for line in Path("one/metrics.jsonl").read_text().splitlines()]
    model = load_run("one").model
    assert record.settings["hidden"] == 8
    assert "facts" not in record.settings
    assert (record.model, record.parameters, record.steps) == ("LSTM 1 x 8", model.count(), 6)
    assert record.sha256 == Corpus(TEXT).sha256
    assert record.seconds == rows[-1]["seconds"]
    assert record.rate == pytest.approx(np.median([r["characters_per_second"] for r in rows]))
    best = min(rows, key=lambda r: r["bits_per_character"])
    assert record.best() == (best["step"], best["bits_per_character"])
    assert record.notes == ()


def test_broken_lines_are_passed_over_and_noted() -> None:
    """Half a line, no JSON, JSON that is no report, bytes that are no text: the rest is read."""
    path = Path("one/metrics.jsonl")
    whole = path.read_bytes()
    before = read_record("one").rows
    path.write_bytes(
        b"\n[1]\n"
        + whole
        + b'null\n{"step": true}\n{"step": "7"}\n\xff\xfe\n'
        + b"[" * 100_000
        + b"\n"
        + whole[:30]
    )
    record = read_record("one")
    assert record.rows == before
    assert record.notes == ("7 lines of metrics.jsonl passed over: no whole report",)
    path.write_bytes(whole[:30])
    assert read_record("one").notes == (
        "1 line of metrics.jsonl passed over: no whole report",
        "metrics.jsonl holds no report",
    )
    path.unlink()
    assert read_record("one").notes == ("no metrics: metrics.jsonl: it does not exist",)
    assert math.isnan(read_record("one").rate)
    assert read_record("one").best() is None


def test_numbers_that_no_float_holds_are_none() -> None:
    """A line with a number of a thousand digits, or NaN, is a report without it."""
    path = Path("one/metrics.jsonl")
    path.write_text(f'{{"step": 1, "loss": {"9" * 1000}, "seconds": NaN}}\n{{"step": 2, "loss": Infinity}}\n')
    record = read_record("one")
    assert np.isnan(record.column("loss")[0])
    assert (record.steps, record.notes, record.best()) == (2, (), None)
    assert math.isnan(record.seconds)


def test_a_resumed_run_counts_once() -> None:
    """Reports of steps that were taken again replace those before."""
    path = Path("one/metrics.jsonl")
    with path.open("a") as file:
        file.write('{"step": 3, "loss": 1.0, "bits_per_character": 9.0}\n{"step": 9, "loss": 0.5}\n')
    record = read_record("one")
    assert record.column("step").tolist() == [3, 9]
    assert record.best() == (3, 9.0)


def test_runs_of_first_versions_are_read() -> None:
    """Bits per character were `validation_bits`; a report without numbers has none."""
    record = Record(Path("a"), {}, {}, [{"step": 1, "validation_bits": 2.5, "loss": None}, {"step": 2}])
    assert record.best() == (1, 2.5)
    assert np.isnan(record.column("loss")).all()
    assert Record(Path("a"), {"model": "transformer", "layers": 4}).model == "GPT 4 x 128"
    assert Record(Path("a"), {"model": "gru", "hidden": 512}).model == "GRU 1 x 512"


def test_what_is_no_run_is_explained() -> None:
    """No folder, a file, settings that are no TOML; runs that there are."""
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/config.toml").write_text("hidden = ")
    with pytest.raises(CheckpointError) as caught:
        read_record("nowhere")
    assert str(caught.value) == (
        "'nowhere' is not the folder of a run: it holds no config.toml.\n"
        f"  expected a folder that tgs train has made.\n  There are: {Path('runs/x')}."
    )
    with pytest.raises(CheckpointError, match=r"its config.toml cannot be read: Invalid value"):
        read_record("runs/x")
    with pytest.raises(CheckpointError, match=r"'hamlet\.txt' is not the folder of a run"):
        read_record("hamlet.txt")


def test_parts_are_those_of_the_run() -> None:
    """As its settings divide the text, or by the lengths that it wrote down; a part without tokens is none."""
    run = load_run("one")
    parts = own_parts(read_record("one"), run.vocabulary).parts
    usual = split(tokenize(TEXT).ids)
    assert all(np.array_equal(parts[name], getattr(usual, name)) for name in ("train", "validation", "test"))
    record = read_record("one")
    columns = replace(record, settings={**record.settings, "split": "80,20,0 columns", "batch": 4})
    found = own_parts(columns, run.vocabulary).parts
    assert {name: len(part) for name, part in found.items()} == {"train": 4 * 336, "validation": 4 * 84}
    assert found["train"][336] == tokenize(TEXT).ids[420]
    record = replace(record, settings={k: v for k, v in record.settings.items() if k != "split"})
    lengths = {"train": 1500, "validation": 180, "test": 0}
    other = own_parts(replace(record, facts={**record.facts, **lengths}), run.vocabulary).parts
    assert {name: len(part) for name, part in other.items()} == {"train": 1500, "validation": 180}
    wrong = own_parts(replace(record, facts={**record.facts, "train": 1}), run.vocabulary).parts
    assert np.array_equal(wrong["train"], usual.train)


# ---------------------------------------------------------------- runs


def test_runs_of_one_text_are_compared_in_pairs() -> None:
    """Each measured again by its best weights; the distance to the best is that of the same tokens."""
    one, two = compare([read_record("one"), read_record("two")])
    measured = [
        measure(load_run(name).model, split(tokenize(TEXT).ids).validation) for name in ("one", "two")
    ]
    assert [one.measured, two.measured] == measured
    assert one.best == pytest.approx(bits(measured[0].nats), rel=1e-5)
    assert one.error == pytest.approx(bits(measured[0].error))
    assert two.best < one.best
    assert two.behind is None
    assert one.behind == pytest.approx(tuple(bits(x) for x in difference(*measured)))
    assert (one.text, two.text, one.notes) == ("A", "A", ())


def test_quick_reads_the_metrics_alone() -> None:
    """No weights are needed."""
    shutil.rmtree("two")
    for path in Path("one").glob("*.safetensors"):
        path.unlink()
    (one,) = compare([read_record("one")], again=False)
    assert math.isnan(one.error)
    assert one.best == read_record("one").best()[1]  # type: ignore[index]
    assert (one.measured, one.behind, one.notes) == (None, None, ())


@draws
def test_other_texts_are_marked_and_never_subtracted(tgs: Tgs) -> None:
    """Letters by text, in the table and below it."""
    code, out, err = tgs("compare", "one", "upper", "two", "-o", "c.png")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[-1] == "text"
    assert [line.split()[-1] for line in lines[1:4]] == ["A", "A", "B"]
    assert [line.split()[0] for line in lines[1:4]] == ["two", "one", "upper"]
    assert "Best first, text by text: by validation in bits per character." in lines
    assert "These runs are of different texts, and do not compare across them:" in lines
    assert f"  A  hamlet.txt, sha256 {Corpus(TEXT).sha256[:12]}" in lines
    assert f"  B  upper.txt, sha256 {Corpus(TEXT.upper()).sha256[:12]}" in lines
    said = json.loads(tgs("compare", "one", "upper", "two", "--json")[1])["runs"]
    assert [one["behind"] is None for one in said] == [False, True, True]
    assert [one["text"] for one in said] == ["A", "B", "A"]
    assert [one["run"] for one in said] == ["one", "upper", "two"]


def test_runs_with_other_tokenizers_stand_side_by_side() -> None:
    """Bits per character compare; token by token they do not, so no distance is given."""
    Path("hamlet.txt").write_text("é" + TEXT + "é" * 90, encoding="utf-8")
    whole = Corpus("é" + TEXT + "é" * 90, "hamlet.txt")
    list(train(replace(SMALL, tokenizer="byte"), corpus=whole, folder="b"))
    list(train(SMALL, corpus=whole, folder="c"))
    found = compare([read_record("b"), read_record("c")])
    assert [one.text for one in found] == ["A", "A"]
    assert all(math.isfinite(one.error) for one in found)
    assert all(one.behind is None for one in found)


def test_runs_validated_on_other_tokens_of_one_text_are_not_paired() -> None:
    """A split by columns leaves as many tokens to validate with, but others; each kind has a best run of its own."""
    corpus = Corpus(TEXT, "hamlet.txt")
    for name, steps in (("columns", 6), ("columns of more steps", 60)):
        settings = replace(SMALL, split="90,5,5 columns", steps=steps, lr=0.02)
        list(train(settings, corpus=corpus, folder=name))
    list(train(replace(SMALL, split="90,5,5"), corpus=corpus, folder="plain"))
    found = compare([read_record(n) for n in ("columns", "plain", "two", "columns of more steps")])
    assert [one.text for one in found] == ["A"] * 4
    columns, plain, two, more = found
    assert columns.tokens == more.tokens != plain.tokens == two.tokens
    assert two.behind is None
    assert more.behind is None
    assert plain.behind is not None
    assert columns.behind is not None
    assert columns.behind[0] == pytest.approx(columns.best - more.best, rel=1e-4)


@draws
def test_the_table_of_runs(tgs: Tgs) -> None:
    """Whole, but for times; a picture that says the same."""
    code, out, err = tgs("compare", "one", "two", "-o", "curves.svg")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    head = [
        "run",
        "model",
        "parameters",
        "steps",
        "time",
        "best,",
        "bits/char",
        "at",
        "step",
        "behind",
        "char/s",
    ]
    assert lines[0].split() == head
    assert lines[1].split()[:7] == ["two", "LSTM", "1", "x", "8", "848", "60"]
    assert lines[2].split()[:5] == ["one", "LSTM", "1", "x", "8"]
    assert lines[1].count("±") == 1
    assert lines[2].count("±") == 2
    assert "Best first: by validation in bits per character." in lines
    assert lines[-1] == "picture curves.svg"
    svg = Path("curves.svg").read_text(encoding="utf-8")
    assert "<!-- two, LSTM 1 x 8 -->" in svg
    assert not set(out) & {chr(c) for c in range(32) if c != 10}


def test_the_best_run_stands_first_and_one_without_a_loss_last(
    tgs: Tgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the table; a single run is in no order."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shutil.copytree("one", "none")
    Path("none/metrics.jsonl").unlink()
    _, out, _ = tgs("compare", "none", "one", "two", "--quick")
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["two", "one", "none"]
    assert "Best first" not in tgs("compare", "one", "--quick")[1]


@draws
def test_what_is_wrong_with_a_run_is_said_beside_the_others(tgs: Tgs) -> None:
    """Damaged weights, a text that changed, half a line: the table stands."""
    Path("one/best.safetensors").write_bytes(b"x")
    Path("upper.txt").write_text("other")
    with Path("two/metrics.jsonl").open("a") as file:
        file.write('{"step"')
    code, out, err = tgs("compare", "one", "two", "upper", "-o", "c.png")
    assert (code, err) == (0, "")
    best = str(Path("one/best.safetensors"))
    assert f"one: not measured again: load: {best!r} is damaged: it is no complete safetensors file\n" in out
    assert "upper: not measured again: upper: its text, upper.txt, is not what it was\n" in out
    assert "two: 1 line of metrics.jsonl passed over: no whole report\n" in out


def test_a_picture_that_nobody_named_is_no_reason_to_fail(tgs: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the table is all, and how to have the picture; one that was asked for is refused."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = tgs("compare", "one", "--quick")
    assert (code, err) == (0, "")
    assert out.endswith(
        "\nNo picture: charts: matplotlib is not installed. "
        "Install it with: python -m pip install 'tinygrad_seq[plot]'\n"
    )
    code, out, err = tgs("compare", "one", "--quick", "-o", "x.png")
    assert code == 2
    assert err.startswith("charts: matplotlib is not installed.")
    code, out, err = tgs("compare", "one", "--quick", "--json")
    assert (code, err) == (0, "")
    assert not Path("compare.png").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "tgs compare: expected either runs or --ladder CORPUS.\n  See tgs compare --help.\n"),
        (
            ["one", "--ladder", "hamlet.txt"],
            "tgs compare: expected either runs or --ladder CORPUS.\n  See tgs compare --help.\n",
        ),
        (
            ["one", "--steps", "3"],
            "tgs compare: --steps belongs to --ladder.\n  Leave it out, or see tgs compare --help.\n",
        ),
        (
            ["one", "-o", "a.txt"],
            "tgs compare: 'a.txt' is no picture.\n  expected a name that ends in .png, .svg or .pdf.\n",
        ),
        (
            ["--ladder", "hamlet.txt", "--steps", "0"],
            "tgs compare: --steps is too small.\n  expected at least 1, got 0.\n",
        ),
    ],
)
def test_compare_explains_mistakes(tgs: Tgs, arguments: list[str], text: str) -> None:
    """Exit code 2, the full text, nothing on standard output."""
    assert tgs("compare", *arguments) == (2, "", text)


# ---------------------------------------------------------------- the ladder

QUICK = Protocol(steps=30, batch=4, window=8, hidden=8, orders=2, test=80)


def test_the_ladder_is_the_family_under_one_protocol() -> None:
    """Every kind of model, asked for the same symbols; what is counted comes out as counted by hand."""
    parts = split(tokenize(TEXT * 2).ids)
    V = len(set(TEXT))
    rungs = list(ladder(parts, V, QUICK))
    names = [rung.name for rung in rungs]
    assert names == [
        "naive, all the past", "unigram", "Markov, order 1", "Markov, order 2", "AR(3), MLP", "RNN", "GRU",
        "LSTM", "GPT of 2 layers",
    ]  # fmt: skip
    assert {rung.measured.tokens for rung in rungs} == {79}
    assert [rung.name for rung in rungs if rung.judged] == [
        "unigram", "Markov, order 1", "AR(3), MLP", "RNN", "GRU", "LSTM",
    ]  # fmt: skip
    by_hand = -Markov(V, 2, smoothing="kneser-ney").fit(parts.train).score(parts.test[:80])[1:].mean()
    assert rungs[3].bits == pytest.approx(bits(by_hand))
    assert rungs[0].bits == pytest.approx(math.log2((1 + V) / 2))  # the text begins again, and came once
    assert rungs[7].numbers == CharLM(V, 8).count()
    assert all(rung.bits < math.log2(V) for rung in rungs[1:])
    again = list(ladder(parts, V, QUICK))
    assert [rung.measured.nats for rung in again] == [rung.measured.nats for rung in rungs]


def test_a_broken_ladder_is_said() -> None:
    """Which rung does not stand where the notes have it; GRU and LSTM both against the RNN."""

    def rungs(*values: float) -> list[Rung]:
        names = ["unigram", "Markov", "AR", "RNN", "GRU", "LSTM"]
        return [
            Rung(name, Measured(x, 0.0, 1, 1, None, np.ones(1), np.ones(1)), 1, False, 0.0, True)
            for name, x in zip(names, values, strict=True)
        ]

    assert broken(rungs(6, 5, 4, 3, 2, 2.5)) == []
    assert broken(rungs(6, 5, 5, 3, 4, 2)) == ["AR is not below Markov", "GRU is not below RNN"]


@draws
def test_ladder_from_the_command_line(tgs: Tgs) -> None:
    """A line as each model is done, the verdict, a picture; or JSON alone."""
    Path("hamlet.txt").write_text(TEXT * 4, encoding="utf-8")
    sizes = ["--steps", "2", "--hidden", "8", "--orders", "1", "--test", "50", "--seed", "2"]
    code, out, err = tgs("compare", "--ladder", "hamlet.txt", *sizes, "-o", "ladder.svg")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "text    hamlet.txt: 6,048 characters to learn from, 50 asked for, 16 symbols (4.000 bits)"
    )
    assert lines[1] == "plan    networks: 2 steps of 32 x 32, width 8, learning rate 0.004 (GPT 0.001)"
    assert [line[:22].strip(" *") for line in lines[4:12]] == [
        "naive, all the past", "unigram", "Markov, order 1", "AR(3), MLP", "RNN", "GRU", "LSTM", "GPT of 2 layers",
    ]  # fmt: skip
    assert lines[13].startswith("* unigram > Markov > AR > RNN > GRU, LSTM: ")
    assert "<!-- GPT of 2 layers -->" in Path("ladder.svg").read_text(encoding="utf-8")
    code, out, err = tgs("compare", "--ladder", "hamlet.txt", *sizes, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["protocol"]["steps"] == 2
    assert [one["judged"] for one in said["models"]] == [False, True, True, True, True, True, True, False]
    assert not Path("compare.png").exists()
