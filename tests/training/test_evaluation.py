"""Laws of measuring: one pass, the same numbers as by hand, and standard errors that are those of the mean."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinygrad_seq import nn
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus, TextSize, split, tokenize
from tinygrad_seq.engine.random import Generator, positions
from tinygrad_seq.errors import ArgumentError, DataError, NonFiniteError
from tinygrad_seq.models import GPT, CharLM, LanguageModel, Markov, NeuralModel, SymbolAR, SymbolModel
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training import Config, evaluate, load_run, train
from tinygrad_seq.training.context_curve import ContextCurve, context_curve
from tinygrad_seq.training.evaluation import (
    BLOCKS,
    Measured,
    batch_means,
    difference,
    measure,
    scored,
)

pytestmark = pytest.mark.laws

TEXT = "to be or not to be, that is the question:\n" * 40
WAY_OUT = "Name it where it is now: --data PATH. Other files are measured by: tgs eval RUN FILE..."
V = len(set(TEXT))
IDS = tokenize(TEXT).ids
RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 5, 1000)


def model(kind: str = "lstm", size: int = V) -> NeuralModel:
    """A small untrained model, the same at every call, with weights large enough to make a difference."""
    rng = Generator(1, "init")
    if kind == "gpt":
        return GPT(size, block=8, layers=1, heads=2, width=8, rng=rng)
    return CharLM(size, 8, cell=kind, rng=rng)


class Known(SymbolModel):
    """Gives symbol 0 the chance p, whatever came before."""

    vocabulary_size = 2

    def __init__(self, p: float):
        self.p = p

    def init_state(self) -> None:
        return None

    def step(self, symbol: int | None, state: None) -> tuple[Array, None]:
        with np.errstate(divide="ignore"):
            return np.log([self.p, 1 - self.p]), None


# ---------------------------------------------------------------- measure


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "gpt"])
@pytest.mark.parametrize("count", [2, 3, 50, 500, len(IDS)])
@pytest.mark.parametrize("shape", [(32, 64), (4, 8), (1, 5)])
def test_measure_is_evaluate(kind: str, count: int, shape: tuple[int, int]) -> None:
    """The same mean over the same rows, every id but the first asked for once."""
    one, (batch, window) = model(kind), shape
    found = measure(one, IDS[:count], batch=batch, window=window)
    assert found.nats == pytest.approx(evaluate(one, IDS[:count], batch, window), rel=1e-6)
    assert found.tokens == found.of == count - 1
    assert found.whole
    assert found.sizes.sum() == count - 1
    assert found.sizes.max() - found.sizes.min() <= 1


def test_one_row_is_the_models_own_score() -> None:
    """A batch of one forgets nothing: the sum of `score` without its first; accuracy by `conditional`."""
    one, ids = model(), NOISE[:80] % V
    found = measure(one, ids, batch=1, window=7)
    assert found.nats == pytest.approx(-one.score(ids)[1:].mean(), rel=1e-6)
    hits = [int(one.conditional(ids[:s]).argmax() == ids[s]) for s in range(1, 80)]
    assert found.accuracy == pytest.approx(np.mean(hits))
    assert scored(one, ids).nats == pytest.approx(found.nats, rel=1e-6)


def test_from_no_state_each_window_stands_alone() -> None:
    """The mean over windows of what each of them is by itself."""
    one, ids = model(), IDS[:41]
    found = measure(one, ids, batch=1, window=8, carried=False)
    alone = [-one.score(ids[at : at + 9])[1:].mean() for at in range(0, 40, 8)]
    assert found.nats == pytest.approx(np.mean(alone), rel=1e-6)
    assert found.nats != pytest.approx(measure(one, ids, batch=1, window=8).nats, rel=1e-4)


def test_most_asks_pieces_spread_over_the_text() -> None:
    """From the first token to the last, no more than asked for, the same every time, and said."""
    where = np.arange(100_000)
    steps: list[Array] = []

    class Spy(Known):
        def score(self, sequence: Array) -> Array:
            steps.append(sequence)
            return np.zeros(len(sequence))

    found = measure(Spy(0.5), where, most=3000, batch=10, window=50)
    assert [len(piece) for piece in steps] == [301] * 10
    assert steps[0][0] == 0
    assert steps[-1][-1] == 99_999
    gaps = np.diff([piece[0] for piece in steps])
    assert gaps.max() - gaps.min() <= 1
    assert (found.tokens, found.of, found.whole) == (3000, 99_999, False)
    one = model()
    assert measure(one, IDS, most=200) == measure(one, IDS, most=200)
    assert measure(one, IDS, most=10**9) == measure(one, IDS)
    assert measure(one, IDS, most=1).tokens == 1


def test_counting_models_are_asked_by_score() -> None:
    """The whole text at once, whatever the batch; accuracy is not asked for."""
    markov = Markov(V, 3, smoothing="kneser-ney").fit(IDS[:800])
    found = measure(markov, IDS[800:])
    assert found.nats == pytest.approx(-markov.score(IDS[800:])[1:].mean(), rel=1e-12)
    assert found.accuracy is None
    assert found == scored(markov, IDS[800:])


def test_known_chances_give_known_numbers() -> None:
    """Nats, perplexity, bits in every unit."""
    ids = np.array([0, 0, 0, 1, 0] * 20)
    found = measure(Known(0.8), ids)
    ones = (ids[1:] == 1).sum()
    nats = -((99 - ones) * math.log(0.8) + ones * math.log(0.2)) / 99
    assert found.nats == pytest.approx(nats, rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(nats))
    rates = found.rates(TextSize(tokens=100, characters=50, utf8_bytes=200))
    assert rates == pytest.approx((nats, 2 * nats / math.log(2), 0.5 * nats / math.log(2)))
    errors = found.errors(TextSize(tokens=100, characters=50, utf8_bytes=200))
    assert errors == pytest.approx(np.array(rates) * found.error / nats)


def test_a_model_of_bounded_length_is_asked_in_windows() -> None:
    """One that can read five symbols in all is asked five by five, each from the beginning."""

    class Net(nn.Module):
        def __init__(self) -> None:
            self.inner = model("gpt")

        def forward(self, ids: Array, state: object) -> object:
            assert state is None
            assert len(ids) <= 5
            return self.inner(ids, None)

    found = measure(LanguageModel(Net(), V, longest=5), IDS[:101])
    assert found.nats == pytest.approx(measure(model("gpt"), IDS[:101], window=5, carried=False).nats)


def test_measuring_leaves_no_trace() -> None:
    """Dropout is off and on again, nothing is drawn, no gradient is recorded."""
    one = CharLM(V, 8, 2, dropout=0.5, rng=Generator(1, "init"))
    one.train()
    before = positions()
    assert measure(one, IDS) == measure(one, IDS)
    context_curve(one, IDS, [1, 2], tokens=10)
    assert positions() == before
    assert all(m.training for m in one.modules())
    assert all(p.grad is None for p in one.parameters())


def test_large_texts_are_mapped_and_not_copied(tmp_path: Path) -> None:
    """Ids of one byte, on the disk, give what the same ids in memory give."""
    np.save(tmp_path / "ids.npy", IDS.astype(np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    assert measure(model(), mapped) == measure(model(), IDS)
    assert context_curve(model(), mapped, [1, 4], tokens=9) == context_curve(model(), IDS, [1, 4], tokens=9)


def test_refusals_of_measure() -> None:
    """Too short, not finite, a setting that is no count; the full text."""
    with pytest.raises(DataError, match="the text is too short to be evaluated"):
        measure(model(), [1])
    with pytest.raises(DataError, match="the text is too short to be evaluated"):
        scored(Known(0.5), [1])
    with pytest.raises(ArgumentError, match="measure: most out of range"):
        measure(model(), IDS, most=0)
    with pytest.raises(NonFiniteError) as caught:
        measure(Known(1.0), [0, 1, 0])
    assert str(caught.value) == (
        "measure: the loss is not finite.\n  nats per token: inf\n  expected finite numbers.\n"
        "  A network that diverged says so; train it again with a lower lr. Counts need smoothing."
    )


# ---------------------------------------------------------------- standard errors


def test_batch_means_of_equal_blocks_is_the_textbook_formula() -> None:
    """s / sqrt(K); unequal blocks are weighted by what they hold."""
    means = RNG.normal(size=30)
    assert batch_means(means, np.full(30, 7)) == pytest.approx(means.std(ddof=1) / math.sqrt(30))
    assert batch_means(np.array([1.0, 3.0]), np.array([3, 1])) == pytest.approx(
        math.sqrt(2 * ((0.75 * 0.5) ** 2 + (0.25 * 1.5) ** 2))
    )
    assert math.isnan(batch_means(np.array([1.0]), np.array([5])))


@pytest.mark.parametrize(("rho", "low", "high"), [(0.0, 0.9, 1.1), (0.9, 0.85, 1.15)])
def test_the_error_is_that_of_the_mean(rho: float, low: float, high: float) -> None:
    """Over many series, independent or correlated, the mean of the errors squared is the variance of the mean.

    The formula for independent numbers would be four times too small at rho 0.9.
    """
    rng = np.random.default_rng(5)
    T, many = 3000, 400
    x = rng.normal(size=(many, T))
    for t in range(1, T):
        x[:, t] += rho * x[:, t - 1]
    blocks = x.reshape(many, BLOCKS, -1).mean(2)
    errors = np.array([batch_means(row, np.full(BLOCKS, T // BLOCKS)) for row in blocks])
    true = x.mean(1).std(ddof=1)
    assert low < math.sqrt((errors**2).mean()) / true < high
    if rho:
        naive = (x.std(1) / math.sqrt(T)).mean()
        assert naive < 0.3 * true


def test_blocks_follow_the_text() -> None:
    """A passage that is hard is hard in its own blocks, whichever rows run side by side."""
    ids = np.concatenate([np.zeros(1501, int), np.ones(1500, int)])
    for batch in (1, 7, 32):

        class Net(nn.Module):
            def forward(self, ids: Array, state: object) -> object:
                from tinygrad_seq import tensor

                return tensor(np.broadcast_to([[[2.0, 0.0]]], (*np.shape(ids), 2)).copy()), 0

        found = measure(LanguageModel(Net(), 2), ids, batch=batch)
        assert np.allclose(found.blocks[:15], math.log(1 + math.exp(-2)), rtol=1e-6)
        assert np.allclose(found.blocks[15:], 2 + math.log(1 + math.exp(-2)), rtol=1e-6)


def test_differences_are_paired() -> None:
    """The same hard passages drop out: two like models are known apart far better than either is known."""
    ids = IDS[:1200]
    a = measure(Markov(V, 1, alpha=0.1).fit(IDS), ids)
    b = measure(Markov(V, 1, alpha=0.11).fit(IDS), ids)
    mean, error = difference(b, a)
    assert mean == pytest.approx(b.nats - a.nats)
    assert error < 0.05 * a.error
    assert difference(a, a) == (0.0, 0.0)
    with pytest.raises(ArgumentError) as caught:
        difference(a, measure(Markov(V, 1).fit(IDS), ids[:600]))
    assert str(caught.value) == (
        "difference: these were measured on different tokens.\n  one: '1199 tokens'\n  other: '599 tokens'\n"
        "  expected two models on the same text, with the same tokens, batch, window and most."
    )


# ---------------------------------------------------------------- context


def test_a_context_beyond_what_a_model_sees_changes_nothing() -> None:
    """AR(3) is the same from three symbols on, and not before; each length is the chance given so many."""
    one = SymbolAR(5, 3, 16, rng=Generator(4, "init"))
    curve = context_curve(one, NOISE, [1, 2, 3, 4, 9], tokens=50)
    assert curve.nats[2] == pytest.approx(curve.nats[3], rel=1e-6) == pytest.approx(curve.nats[4], rel=1e-6)
    assert curve.nats[1] != pytest.approx(curve.nats[2], rel=1e-5)
    assert curve.tokens == 50
    places = 9 + np.arange(50) * (len(NOISE) - 9) // 50
    by_hand = [-math.log(one.conditional(NOISE[s - 2 : s])[NOISE[s]]) for s in places]
    assert curve.nats[1] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_context_is_tried_by_doubling_up_to_what_there_is() -> None:
    """256, the block of a GPT, half of a short text; every token of a short text is asked for."""
    lstm = model(size=5)
    assert context_curve(lstm, NOISE, tokens=2).lengths == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert context_curve(model("gpt", 5), NOISE, tokens=2).lengths == (1, 2, 4, 8)
    short = context_curve(lstm, NOISE[:13])
    assert short.lengths == (1, 2, 4, 7)
    assert short.tokens == 6
    assert context_curve(lstm, NOISE[:2]).lengths == (1,)
    assert context_curve(lstm, NOISE, [4, 4, 1], tokens=3).lengths == (1, 4)


def test_enough_context_in_words() -> None:
    """The first length within 1 % of the best; where it is the last, more may help."""
    nothing = (0.0,) * 3
    assert ContextCurve((1, 2, 4), (2.0, 1.009, 1.0), nothing, 9).enough == 2
    assert ContextCurve((1, 2, 4), (2.0, 1.02, 1.0), nothing, 9).enough == 4
    assert ContextCurve((1, 2, 4), (2.0, 1.02, 1.0), nothing, 9).words == (
        "4 symbols of context come within 1 % of the best loss, 1.0000 nats per token, of contexts up to 4; "
        "more than was tried may help."
    )
    assert ContextCurve((1, 2), (1.0, 1.0), nothing[:2], 9).words == (
        "1 symbol of context comes within 1 % of the best loss, 1.0000 nats per token, of contexts up to 2."
    )


def test_refusals_of_context_curve() -> None:
    """Longer than the block or the text, no count."""
    with pytest.raises(DataError) as caught:
        context_curve(model("gpt", 5), NOISE, [4, 9])
    assert str(caught.value) == (
        "context_curve: these contexts are not to be had.\n  ids: i64(1000,)\n"
        "  expected lengths from 1 to 8, got [4, 9]."
    )
    for wrong in ([], [1000]):
        with pytest.raises(DataError, match="expected lengths from 1 to 999"):
            context_curve(model(size=5), NOISE, wrong)
    with pytest.raises(ArgumentError, match="a length out of range"):
        context_curve(model(size=5), NOISE, [0])
    with pytest.raises(DataError, match="too short to be evaluated"):
        context_curve(model(size=5), NOISE[:1])


# ---------------------------------------------------------------- tgs eval

SMALL = Config(corpus=("hamlet.txt",), hidden=8, batch=4, window=8, steps=6, eval_every=3, sample_every=0)
Tgs = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("hamlet.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str]) -> Tgs:
    """Runs a command here: its exit code, its output and its errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def trained(config: Config = SMALL, text: str = TEXT) -> Path:
    """A run in the folder `run`."""
    list(train(config, corpus=Corpus(text, config.corpus[0]), folder="run"))
    return Path("run")


def test_eval_measures_the_runs_own_parts(tgs: Tgs) -> None:
    """Validation as the metrics have it, test as the rest of the text, baselines counted on what it learnt from."""
    run = trained()
    code, out, err = tgs("eval", "run", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    best = min(r["validation"] for r in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()))
    parts = said["parts"]
    assert list(parts) == ["validation", "test"]
    ours = parts["validation"]["models"]["LSTM 1 x 8"]
    assert ours["nats_per_token"] == pytest.approx(best, rel=1e-6)
    assert ours["bits_per_character_error"] > 0
    assert 0 <= ours["accuracy"] <= 1
    pieces = split(IDS)
    test = parts["test"]["models"]
    assert test["LSTM 1 x 8"]["nats_per_token"] == pytest.approx(
        evaluate(load_run("run").model, pieces.test), rel=1e-6
    )
    counted = Markov(V, 5, smoothing="kneser-ney").fit(pieces.train)
    assert test["Kneser-Ney, order 5"]["nats_per_token"] == pytest.approx(scored(counted, pieces.test).nats)
    assert test["Kneser-Ney, order 5"]["accuracy"] is None
    assert test["unigram"]["nats_per_token"] > test["Kneser-Ney, order 5"]["nats_per_token"]
    assert said["text"]["sha256"] == Corpus(TEXT).sha256


def test_eval_prints_a_table(tgs: Tgs) -> None:
    """One line for each part and model, without control codes; context where asked for."""
    trained()
    code, out, err = tgs("eval", "run", "--part", "test", "--context", "--weights", "last")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "run     run: LSTM 1 x 8, 848 parameters, last weights"
    assert lines[1].startswith("text    hamlet.txt, sha256 ")
    assert lines[3].split() == [
        "nats/token",
        "bits/char",
        "bits/byte",
        "perplexity",
        "accuracy",
        "tokens",
    ]
    assert [line[:22].strip() for line in lines[4:7]] == [
        "test: LSTM 1 x 8",
        "unigram",
        "Kneser-Ney, order 5",
    ]
    assert lines[4].endswith("83")
    assert lines[-1].endswith(" nats per token, of contexts up to 42.") or "more than was tried" in lines[-1]
    assert not set(out) & {chr(c) for c in range(32) if c != 10}


def test_eval_on_files(tgs: Tgs) -> None:
    """A text of its own, whole; unknown characters as asked; no baselines where the run's text is gone."""
    trained()
    Path("other.txt").write_text("to be!\n" * 30)
    code, out, err = tgs("eval", "run", "other.txt")
    assert (code, out) == (2, "")
    assert err.startswith("encode: the vocabulary does not hold '!'.")
    code, out, _ = tgs("eval", "run", "other.txt", "--on-unknown", "skip")
    assert code == 0
    assert "; 30 unknown characters left out\n" in out
    assert "\ntext: LSTM 1 x 8" in out
    assert "Kneser-Ney" in out
    Path("hamlet.txt").unlink()
    code, out, _ = tgs("eval", "run", "other.txt", "--on-unknown", "skip", "--most", "50")
    assert code == 0
    assert "        no baselines: run: its text cannot be had again\n" in out
    assert out.split("\ntext: LSTM")[1].splitlines()[0].endswith("50 of 179")
    Path("short.txt").write_text("t")
    assert tgs("eval", "run", "short.txt") == (
        2,
        "",
        "eval: short.txt holds too little for this model.\n"
        "  expected at least two tokens that the model knows.\n",
    )


def test_eval_refuses_another_text(tgs: Tgs) -> None:
    """A text that changed, one that is gone, one that came through a pipe: the whole message."""
    trained()
    Path("hamlet.txt").write_text(TEXT + "Alas!")
    code, out, err = tgs("eval", "run")
    assert (code, out) == (2, "")
    assert err == (
        "run: its text, hamlet.txt, is not what it was.\n"
        f"  sha256 when it was trained: {Corpus(TEXT).sha256!r}\n"
        f"  sha256 now: {Corpus(TEXT + 'Alas!').sha256!r}\n"
        "  expected the same text: on another, its parts would not be what they were.\n"
        f"  {WAY_OUT}\n"
    )
    Path("hamlet.txt").unlink()
    here = Path.cwd()
    places = ", ".join(repr(str(one)) for one in (here, here.parent, here / "run"))
    assert tgs("eval", "run")[2] == (
        f"run: its text cannot be had again.\n  corpus: ['hamlet.txt']\n  it is not in {places}.\n"
        "  expected the files of its config.toml, from the folder that it was started in or beside the run.\n"
        f"  {WAY_OUT}\n"
    )
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace('["hamlet.txt"]', '["-"]'))
    assert tgs("eval", "run")[2] == (
        f"run: its text came through standard input and is kept nowhere.\n  {WAY_OUT}\n"
    )


def test_eval_in_every_unit_for_every_tokenizer(tgs: Tgs) -> None:
    """Bytes and characters of Korean: bits per character are more than bits per byte by their number."""
    text = "하나 둘 셋 넷\n" * 60
    Path("hamlet.txt").write_text(text, encoding="utf-8")
    for kind in ("byte", "jamo", "char"):
        run = trained(replace(SMALL, tokenizer=kind), text)
        said = json.loads(tgs("eval", "run", "--part", "train", "--json")[1])
        one = said["parts"]["train"]["models"]["LSTM 1 x 8"]
        ratio = one["bits_per_character"] / one["bits_per_byte"]
        assert ratio == pytest.approx(len(text.encode()) / len(text), rel=0.02)
        assert list(said["parts"]["train"]["models"]) == ["LSTM 1 x 8"]  # counts know their own text by heart
        run.rename(kind)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["eval", "run", "hamlet.txt", "--part", "test"],
            "tgs eval: --part belongs to the run's own text, not to files.\n  Leave out one of them.\n",
        ),
        (["eval", "run", "--most", "0"], "tgs eval: --most is too small.\n  expected at least 1, got 0.\n"),
        (
            ["eval", "hamlet.txt"],
            "'hamlet.txt' is not the folder of a run: it holds no config.toml.\n"
            "  expected a folder that tgs train has made.\n",
        ),
    ],
)
def test_eval_explains_mistakes(tgs: Tgs, arguments: list[str], text: str) -> None:
    """Exit code 2 and the full text."""
    assert tgs(*arguments) == (2, "", text)


def test_measured_prints_what_matters() -> None:
    """Blocks are not part of what it shows or is compared by."""
    one = Measured(1.0, 0.1, 5, 5, 0.5, np.ones(5), np.ones(5))
    assert repr(one) == "Measured(nats=1.0, error=0.1, tokens=5, of=5, accuracy=0.5)"
    assert one == replace(one, blocks=np.zeros(5))
