"""What the demos are made of: generators of tasks, the parser of number words, the series, the forecasters."""

from __future__ import annotations

import argparse
import doctest
import gzip
import importlib.util
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tgs

DEMOS = Path(__file__).resolve().parents[2] / "demos"


def load(name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ---- the adding problem ----------------------------------------------------------------------------------------
def test_the_adding_problem():
    """One mark in each half, the sum of what is marked, and 1/6 for who always says 1."""
    demo = load("adding_problem")
    x, y = demo.problem(20_000, 10, np.random.default_rng(0))
    assert x.shape == (10, 20_000, 2)
    assert y.shape == (20_000, 1)
    marks = x[:, :, 1]
    assert set(np.unique(marks)) == {0.0, 1.0}
    assert (marks[:5].sum(0) == 1).all()
    assert (marks[5:].sum(0) == 1).all()
    assert (marks.sum(1) > 3000).all()  # of 4,000: each place of a half is as likely
    for row in range(5):
        assert y[row, 0] == pytest.approx(sum(v for v, m in x[:, row] if m))
    assert float(((y - 1) ** 2).mean()) == pytest.approx(demo.BASELINE, rel=0.03)
    assert pytest.approx(1 / 6) == demo.BASELINE


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_that_start_by_keeping(cell):
    """Without inputs each unit keeps the share of its state that its bias says: half-lives up to about T."""
    demo = load("adding_problem")
    model = demo.Adder(cell, 50)
    demo.keep_for(model.cell, 100, np.random.default_rng(0))
    for weight in (model.cell.weight_ih, model.cell.weight_hh):
        weight.assign(np.zeros_like(weight.numpy()))
    x, one = tgs.zeros(1, 2), tgs.ones(1, 50)
    kept = (model.cell(x, (one, one))[1] if cell == "lstm" else model.cell(x, one)).numpy()[0]
    steps = 1 / (1 - kept)
    assert steps.min() > 1.9
    assert 50 < steps.max() <= 100.5


def test_the_written_out_loop_is_the_model():
    """The readings are taken of what is trained: the same loss, one state more than steps."""
    demo = load("adding_problem")
    seen = demo.problem(4, 6, np.random.default_rng(0))
    for cell in demo.CELLS:
        tgs.manual_seed(0)
        found = demo.reading(demo.Adder(cell, 5), *seen)
        assert found.norms.shape == (1, 7)
        assert (found.norms > 0).all()


# ---- copy memory -------------------------------------------------------------------------------------------------
def test_copy_memory():
    """Ten symbols, blanks, the sign eleven times; wanted are the symbols at the very end."""
    demo = load("copy_memory")
    read, wanted = demo.problem(200, 5, np.random.default_rng(0))
    assert read.shape == wanted.shape == (25, 200)
    assert set(np.unique(read[:10])) == set(range(1, 9))
    assert (read[10:14] == 0).all()
    assert (read[14:] == 9).all()
    assert (wanted[:15] == 0).all()
    np.testing.assert_array_equal(wanted[15:], read[:10])
    read, _ = demo.problem(3, 1, np.random.default_rng(0))
    assert (read[10:] == 9).all()
    assert demo.baseline(50) == pytest.approx(0.2971, abs=5e-5)
    assert [round(demo.baseline(T), 4) for T in (100, 200, 500)] == [0.1733, 0.0945, 0.04]


def test_the_baseline_is_what_a_guesser_gets():
    """Blanks for certain, and each symbol with 1/8."""
    demo = load("copy_memory")
    _, wanted = demo.problem(7, 30, np.random.default_rng(0))
    logits = np.full((50, 7, 10), -1e4, np.float32)
    logits[:40, :, 0] = 0
    logits[40:, :, 1:9] = 0
    assert demo.cross_entropy(tgs.tensor(logits), wanted).item() == pytest.approx(demo.baseline(30), rel=1e-5)


# ---- digits -------------------------------------------------------------------------------------------------------
def test_a_fifth_is_held_out():
    demo = load("digits_rows")
    train, held_out = demo.split(1797, 0)
    assert (len(train), len(held_out)) == (1438, 359)
    assert sorted([*train, *held_out]) == list(range(1797))
    assert demo.split(1797, 0)[1].tolist() == held_out.tolist()


def test_shifts():
    """All nine shifts come, each is that of its image, and what leaves the picture is gone."""
    demo = load("digits_rows")
    image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3)
    moved = demo.shifted(np.repeat(image, 500, 0), 1, np.random.default_rng(0))
    wide = np.pad(image[0], 1)
    expected = {wide[i : i + 3, j : j + 3].tobytes() for i in range(3) for j in range(3)}
    assert {one.tobytes() for one in moved} == expected
    np.testing.assert_array_equal(demo.shifted(image, 0, np.random.default_rng(0)), image)


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def test_digits_from_idx_files(tmp_path, capsys):
    """Images of one bar each, packed as MNIST is: learnt from the files, and refused in one message."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    images = rng.integers(0, 60, (300, 6, 5))
    images[np.arange(300), labels] = 255
    paths = tmp_path / "images.gz", tmp_path / "labels"
    paths[0].write_bytes(gzip.compress(idx(images)))
    paths[1].write_bytes(idx(labels))
    demo = load("digits_rows")
    files = ["--images", str(paths[0]), "--labels", str(paths[1])]
    demo.main([*files, "--epochs", "20", "--hidden", "24", "--shift", "0", "--reach", "0.95"])
    told = capsys.readouterr().out
    assert "240 images to learn from, 60 held out; 6 rows of 5" in told
    assert "of 60 images right" in told
    with pytest.raises(SystemExit, match=r"labelled_images: '.*' holds no images"):
        demo.main(["--images", str(paths[1]), "--labels", str(paths[0])])
    with pytest.raises(SystemExit, match="give both"):
        demo.main(["--images", str(paths[0])])


def test_without_scikit_learn(monkeypatch):
    """The message names the line that installs it, and the other way."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit) as ended:
        load("digits_rows").load(argparse.Namespace(images=None, labels=None))
    assert ended.value.code == (
        "The images come with scikit-learn, which is not installed: python -m pip install scikit-learn\n"
        "Or give IDX files such as MNIST's: --images FILE --labels FILE"
    )


# ---- Korean number words ----------------------------------------------------------------------------------------
# From a grammar, not from the program.
SINO = {1: "일", 10: "십", 11: "십일", 20: "이십", 100: "백", 101: "백일", 110: "백십", 325: "삼백이십오",
        999: "구백구십구", 1000: "천", 1234: "천이백삼십사", 2026: "이천이십육", 10_000: "만", 10_010: "만십",
        11_111: "만천백십일", 77_777: "칠만칠천칠백칠십칠", 90_001: "구만일"}  # fmt: skip
NATIVE = {1: "하나", 5: "다섯", 10: "열", 11: "열하나", 20: "스물", 23: "스물셋", 34: "서른넷", 48: "마흔여덟",
          56: "쉰여섯", 67: "예순일곱", 72: "일흔둘", 85: "여든다섯", 99: "아흔아홉"}  # fmt: skip


def test_number_words():
    demo = load("hangul_jamo")
    assert {n: demo.sino(n) for n in SINO} == SINO
    assert {n: demo.native(n) for n in NATIVE} == NATIVE
    assert {demo.read(word): word for word in [*SINO.values()]} == SINO
    assert {demo.read(word): word for word in [*NATIVE.values()]} == NATIVE
    tried = doctest.testmod(demo)
    assert tried.attempted >= 3
    assert not tried.failed


def test_all_words_are_read_back():
    """Every number of the range in both systems; no two have the same word."""
    demo = load("hangul_jamo")
    words = [demo.sino(n) for n in range(1, demo.LARGEST + 1)]
    assert [demo.read(word) for word in words] == list(range(1, demo.LARGEST + 1))
    natives = [demo.native(n) for n in range(1, 100)]
    assert [demo.read(word) for word in natives] == list(range(1, 100))
    assert len({*words, *natives}) == demo.LARGEST + 99
    tokenizer = tgs.data.JamoTokenizer.learn(["\n"])
    longest = max(words, key=lambda word: len(tokenizer.encode(word)))
    assert len(tokenizer.encode(longest + "\n")) <= demo.LONGEST


def test_what_is_no_number_word():
    """A one that is said, places out of order or twice, both systems in one word, letters alone, other text."""
    demo = load("hangul_jamo")
    for word in (
        *(
            "일십",
            "일백",
            "일천",
            "일만",
            "십만",
            "이십삼백",
            "백천",
            "삼이",
            "영",
            "공",
            "이십이십",
            "만만",
            "십백",
        ),
        *(
            "하나둘",
            "하나열",
            "스물열",
            "열십",
            "십하나",
            "이십하나",
            "스무",
            "네",
            "삼백이십오삼",
            "삼백 이십",
        ),
        *("ᄉ", "삼백ㅇ", "325", "three", "이십a", "", " ", "이십\n"),
    ):
        assert demo.read(word) is None, word


def test_a_word_with_one_letter_changed_is_another_number_or_none():
    """The parser sees every letter: nothing that it takes for the same number is spelt otherwise."""
    demo = load("hangul_jamo")
    word = "삼백이십오"
    for i in range(len(word)):
        assert demo.read(word[:i] + word[i + 1 :]) != 325
        for letter in "일이삼사오육칠팔구십백천만하":
            if letter != word[i]:
                assert demo.read(word[:i] + letter + word[i + 1 :]) != 325


def test_judging_words():
    demo = load("hangul_jamo")
    right, new = demo.judge(["삼백이십오", "천", "스물", "일십", ""], {325})
    assert right == 3 / 5
    assert new == pytest.approx(1 / 3)  # 1,000; native words are all learnt from
    assert demo.judge(["x"], set()) == (0.0, 0.0)


def test_numbers_held_out():
    demo = load("hangul_jamo")
    known, held_out = demo.numbers(0.2, 0)
    assert len(known) == 20_000
    assert sorted([*known, *held_out]) == list(range(1, 100_000))
    words = demo.lines(known[:50], 5000, np.random.default_rng(0))
    values = [demo.read(word) for word in words]
    sino = [n for word, n in zip(words, values, strict=True) if word == demo.sino(n)]
    assert set(sino) == set(known[:50].tolist())
    assert len(sino) == pytest.approx(4500, abs=100)
    # The entropy of the two kinds and of the draw in each.
    probabilities = np.concatenate([np.full(99_999, 0.9 / 99_999), np.full(99, 0.1 / 99)])
    assert demo.floor() == pytest.approx(-(probabilities * np.log(probabilities)).sum())


class Reciter:
    """A model that knows one text by heart, whatever came before."""

    def __init__(self, ids, size):
        self.ids, self.size = ids, size

    def __call__(self, ids, state):
        t = 0 if state is None else state
        logits = np.full((1, ids.shape[1], self.size), -100.0, np.float32)
        logits[..., self.ids[t % len(self.ids)]] = 100.0
        return tgs.tensor(logits), t + 1


def test_words_are_taken_from_what_is_written():
    """The first words of each text, broken ones as they are, missing ones as empty."""
    demo = load("hangul_jamo")
    tokenizer = tgs.data.JamoTokenizer.learn(["\n"])
    model = Reciter(tokenizer.encode("둘\n이십\n"), len(tokenizer))
    assert demo.write(model, tokenizer, 3, 0) == ["둘", "이십", "둘"] * 100
    endless = demo.write(Reciter(tokenizer.encode("이"), len(tokenizer)), tokenizer, 2, 0)
    assert endless[1] == ""
    assert demo.read(endless[0]) is None
    broken = demo.write(Reciter(tokenizer.encode("이\n")[1:], len(tokenizer)), tokenizer, 1, 0)
    assert demo.read(broken[0]) is None
    assert tokenizer.ill_formed(tokenizer.encode(broken[0])) == 1


# ---- the series ------------------------------------------------------------------------------------------------
def test_mackey_glass():
    """It solves its equation, stays in its band, has a spread of its own, and differs when begun a little later."""
    demo = load("time_series")
    x = demo.mackey_glass(500)
    assert x.shape == (500,)
    assert 0.2 < x.min() < 0.5
    assert 1.2 < x.max() < 1.4
    np.testing.assert_array_equal(x, demo.mackey_glass(500))
    np.testing.assert_array_equal(x[:200], demo.mackey_glass(200))
    np.testing.assert_array_equal(x[50:], demo.mackey_glass(450, skipped=150))


def test_the_solver_is_of_high_order(monkeypatch):
    """A step half as long changes the first values, before chaos takes over, by next to nothing."""
    demo = load("time_series")
    coarse = demo.mackey_glass(30, skipped=0)
    monkeypatch.setattr(demo, "STEP", 0.05)
    np.testing.assert_allclose(coarse, demo.mackey_glass(30, skipped=0), atol=1e-4)
    # Before the delay is over the delayed value is 1.2, and the equation is linear: solved by hand.
    pull = 0.2 * 1.2 / (1 + 1.2**10)
    for k in (1, 2):
        by_hand = 10 * pull + (1.2 - 10 * pull) * math.exp(-0.1 * 6 * k)
        assert coarse[k] == pytest.approx(by_hand, abs=1e-8)


def test_regression_runs_freely():
    """On a series that is exactly AR(2), a sine, it tells any number of steps."""
    demo = load("time_series")
    series = np.sin(0.3 * np.arange(200))
    told = demo.Regression(2, series[:100]).told(np.stack([series[100:110], series[120:130]]), 15)
    np.testing.assert_allclose(told, [series[110:125], series[130:145]], atol=1e-6)


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_a_network_runs_freely(cell):
    """What it tells is what it would tell had its own values been seen."""
    demo = load("time_series")
    tgs.manual_seed(0)
    model = demo.Forecaster(cell, 6)
    past = np.random.default_rng(0).standard_normal((3, 8))
    told = model.told(past, 4)
    assert told.shape == (3, 4)
    longer = np.concatenate([past, told[:, :3]], 1).astype(np.float32)
    with tgs.no_grad():
        out, _ = model(tgs.tensor(longer.T[..., None]))
    np.testing.assert_allclose(told, out.numpy()[7:, :, 0].T, atol=1e-5)


def test_errors_and_bars():
    demo = load("time_series")
    series = np.arange(10.0)
    told = np.array([[2.0, 3.0], [5.0, 9.0]])
    np.testing.assert_allclose(demo.nrmse(told, series, np.array([2, 5])), [0, math.sqrt(9 / 2)])
    values = np.array([0.0, 0.5, 1.0, 9.0, -9.0, math.nan])
    assert demo.sparkline(values, 0.0, 1.0) == "▁▅██▁?"
    assert demo.sparkline(values, 0.0, 1.0, demo.bars_for("cp1252")) == "15881?"
    assert demo.bars_for(None) == demo.PLAIN
    assert demo.bars_for("utf-8") == demo.BARS


def test_a_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    demo = load("time_series")
    path = tmp_path / "series.svg"
    demo.picture(path, np.sin(np.arange(20.0)), {"a": np.zeros(20), "b": np.ones(20)})
    assert path.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match="pip install matplotlib"):
        demo.main(["--plot", str(path)])
    for wrong in (tmp_path / "x.nope", tmp_path / "none" / "x.png"):
        with pytest.raises(SystemExit):
            demo.main(["--plot", str(wrong)])


# ---- a book ----------------------------------------------------------------------------------------------------
def test_a_book_of_ones_own(tmp_path, capsys):
    """A file by its path, a folder that can be sampled from afterwards, and an error in words."""
    demo = load("shakespeare")
    book, folder = tmp_path / "book.txt", tmp_path / "run"
    book.write_text("to be or not to be, that is the question.\n" * 60, encoding="utf-8")
    small = ["--steps", "30", "--hidden", "16", "--batch", "4", "--window", "16"]
    demo.main([str(book), *small, "--folder", str(folder)])
    told = capsys.readouterr().out
    assert told.count("it writes:") == 4
    assert f"tgs sample {folder}" in told
    run = tgs.training.load_run(folder)
    assert len(tgs.training.sample(run.model, run.vocabulary, n=10)) == 10
    with pytest.raises(SystemExit, match="does not exist"):
        demo.main([str(tmp_path / "no.txt")])
