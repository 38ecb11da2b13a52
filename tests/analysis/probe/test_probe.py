"""What a GPT does on a text, seen from outside: probabilities, slopes, attention, and what its layers give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.analysis.probe import (
    activations,
    attention_in_windows,
    attention_on_text,
    cannot_tell,
    find_units,
    gates,
    health,
    log_probs,
    saliency,
    windows_of,
)
from tinygrad_seq.errors import ArgumentError, RangeError
from tinygrad_seq.models import GPT, CharLM, LanguageModel

IDS = np.array([3, 1, 4, 1, 5, 2, 6, 5, 3, 5])


@pytest.fixture(autouse=True)
def composed() -> Any:
    """A few tiny steps of many kinds: not worth a kernel for each."""
    with tgs.composed():
        yield


def gpt(positions: str = "learned", block: int = 10) -> Any:
    """A small GPT in float64 that attends to some places more than to others."""
    one = GPT(7, block=block, layers=2, heads=2, width=8, positions=positions, rng=tgs.Generator(1)).double()
    for p in one.parameters():
        if p.ndim > 1:
            p.array[...] *= 20.0
    return one


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi"])
def test_saliency_of_a_gpt_is_what_central_differences_say(
    positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-5, however many rows go together; the model is left as it was."""
    from tinygrad_seq.analysis.probe import text

    one = gpt(positions)
    found = saliency(one, IDS)
    monkeypatch.setattr(text, "ROWS", 4)
    np.testing.assert_allclose(saliency(one, IDS), found, rtol=1e-9)
    monkeypatch.setattr(text, "LOGITS", 1)
    np.testing.assert_allclose(saliency(one, IDS), found, rtol=1e-9)
    assert "forward" not in vars(one.embedding)
    assert all(p.grad is None for p in one.parameters())
    e = one.embedding(IDS[None]).numpy()

    def log_p(changed: np.ndarray, t: int) -> float:
        vars(one.embedding)["forward"] = lambda ids: tgs.tensor(changed[:, :t])
        try:
            logits, _ = one(IDS[:t, None])
        finally:
            del vars(one.embedding)["forward"]
        row = logits.numpy()[-1, 0]
        return float(row[IDS[t]] - row.max() - np.log(np.exp(row - row.max()).sum()))

    for t in (1, 4, 9):
        for s in range(len(IDS)):
            slope = np.zeros(8)
            for k in range(8 if s < t else 0):
                there, back = e.copy(), e.copy()
                there[0, s, k] += 1e-6
                back[0, s, k] -= 1e-6
                slope[k] = (log_p(there, t) - log_p(back, t)) / 2e-6
            assert found[t, s] == pytest.approx(np.linalg.norm(slope), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("one", [gpt(), CharLM(7, 5, cell="gru", rng=tgs.Generator(1))])
def test_told_is_what_the_model_scores(one: Any) -> None:
    """Chances add up to 1, and those of the text are `score`; one symbol alone has nothing before it."""
    found = log_probs(one, IDS)
    np.testing.assert_allclose(np.exp(found).sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[np.arange(10), IDS], one.score(IDS), rtol=1e-6)
    np.testing.assert_allclose(log_probs(one, [2]), -np.log(7.0) * np.ones((1, 7)))


def test_attention_on_text_keeps_layers_and_weights() -> None:
    """The last layer's rows lead to the logits; weights see nothing ahead; dropout is off."""
    one = GPT(7, block=10, layers=2, heads=2, width=8, dropout=0.5, rng=tgs.Generator(1)).double()
    found = attention_on_text(one, IDS)
    assert list(found.parts) == ["x_l0", "x_l1"]
    assert list(found.layers) == ["l0", "l1"]
    logits, _ = one.eval()(IDS[:, None])
    last = one.head(one.blocks.norm(tgs.tensor(found.parts["x_l1"]))).numpy()
    np.testing.assert_allclose(last, logits.numpy()[:, 0], rtol=1e-10)
    for layer in found.layers.values():
        assert layer.weights.shape == (1, 2, 10, 10)
        assert np.all(np.triu(layer.weights[0], 1) == 0)
    assert all("forward" not in vars(m) for m in one.modules())
    assert [h.layer for h in health(found.parts)] == ["l0", "l1"]


LONG = np.random.default_rng(0).integers(0, 7, 37)


@pytest.mark.parametrize("T", [1, 9, 10, 11, 15, 16, 37])
@pytest.mark.parametrize("block", [1, 2, 7, 10])
def test_windows_are_those_of_the_model(T: int, block: int) -> None:
    """Each symbol is new in one window, none is longer than the model sees; probabilities are its own."""
    one = gpt(block=block)
    windows = windows_of(one, T)
    assert [t for w in windows for t in range(w.first, w.stop)] == list(range(T))
    assert all(
        w.stop - w.start <= block and w.first - w.start == (block // 2 if w.start or w.first else 0)
        for w in windows
    )
    assert windows_of(CharLM(7, 4), T) == ((0, 0, T),)
    ids = LONG[:T]
    found = log_probs(one, ids, windows=True)
    np.testing.assert_allclose(found[np.arange(T), ids], one.score(ids), rtol=1e-9)
    for w in windows:
        logits = one(ids[w.start : w.stop, None])[0].numpy()[w.first - w.start :, 0]
        after = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        np.testing.assert_allclose(found[w.first + 1 : w.stop + 1], after[: T - w.first - 1], rtol=1e-9)


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi"])
def test_windows_hold_what_each_holds_alone(positions: str) -> None:
    """States and weights are those of a separate read of each window, to the bit, and lead to the model's logits."""
    one = gpt(positions)
    found = attention_in_windows(one, LONG)
    assert len(found.windows) == 7
    for w in found.windows:
        alone = attention_on_text(one, LONG[w.start : w.stop])
        new = slice(w.first - w.start, None)
        for name, values in alone.parts.items():
            np.testing.assert_array_equal(found.parts[name][w.first : w.stop], values[new])
        for name, layer in alone.layers.items():
            kept, wide = found.layers[name].weights[:, w.first : w.stop], w.stop - w.start
            np.testing.assert_array_equal(kept[..., :wide], layer.weights[0][:, new])
            assert np.all(kept[..., wide:] == 0)
            assert found.layers[name].starts[w.first : w.stop].tolist() == [w.start] * (w.stop - w.first)
    logits, _ = one.eval()(LONG[:, None])
    last = one.head(one.blocks.norm(tgs.tensor(found.parts["x_l1"]))).numpy()
    np.testing.assert_allclose(last, logits.numpy()[:, 0], rtol=1e-9)
    short = attention_in_windows(one, IDS)
    whole = attention_on_text(one, IDS)
    for name, layer in found.layers.items():
        np.testing.assert_allclose(layer.weights.sum(-1), 1.0, rtol=1e-12)
        square = np.zeros((2, 37, 37))
        for t, start in enumerate(layer.starts):
            square[:, t, start : t + 1] = layer.weights[:, t, : t + 1 - start]
        apart = np.subtract.outer(np.arange(37), np.arange(37))
        np.testing.assert_allclose(layer.distance, (square * apart).sum(-1).mean(1), rtol=1e-12)
        np.testing.assert_allclose(
            layer.entropy, -(square * np.log(np.where(square > 0, square, 1))).sum(-1).mean(1), rtol=1e-12
        )
        np.testing.assert_array_equal(short.layers[name].weights, whole.layers[name].weights[0])
        np.testing.assert_allclose(short.layers[name].distance, whole.layers[name].distance)


def test_saliency_in_windows_is_that_of_each_window() -> None:
    """Row t is that of a text of one window up to t; what is before the window is 0."""
    one = gpt()
    found = saliency(one, LONG, windows=True)
    for w in windows_of(one, len(LONG)):
        # One symbol more than the window is predicted, and its own slopes are wanted of none.
        for t in range(w.first + 1, min(w.stop + 1, len(LONG))):
            assert np.all(found[t, : w.start] == 0)
            if t < w.stop:
                alone = saliency(one, LONG[w.start : t + 1])[-1]
                np.testing.assert_allclose(found[t, w.start : t + 1], alone, rtol=1e-9)
            assert found[t, w.start] > 0
    np.testing.assert_array_equal(saliency(one, IDS, windows=True), saliency(one, IDS))


@pytest.mark.parametrize("one", [gpt(block=6), CharLM(7, 5, 2, rng=tgs.Generator(1)).double()])
def test_saliency_of_syllables_is_what_central_differences_say(one: Any) -> None:
    """Of the sum of log P of all letters, by all embeddings of an earlier syllable, also across windows."""
    ids, spans = LONG[:13], [(0, 3), (3, 4), (4, 8), (8, 11), (11, 13)]
    assert any(a <= w.stop < b - 1 for a, b in spans for w in windows_of(gpt(block=6), 13))
    found = saliency(one, ids, spans=spans, windows=True)
    own, windows = one.embedding, windows_of(one, len(ids))
    e = own(ids).numpy()

    def log_p(changed: np.ndarray, first: int, last: int) -> float:
        total = 0.0
        for t in range(first, last):
            w = next(w for w in windows if w.first <= t - 1 < w.stop)
            rows = changed[w.start : t]
            vars(own)["forward"] = lambda ids, e=rows: tgs.tensor(
                e[None] if isinstance(one, GPT) else e[:, None]
            )
            try:
                logits = one(ids[w.start : t, None])[0].numpy()[-1, 0]
            finally:
                del vars(own)["forward"]
            total += float(logits[ids[t]] - np.log(np.exp(logits).sum()))
        return total

    for g, (first, last) in enumerate(spans):
        for k, (a, b) in enumerate(spans):
            slope = np.zeros((b - a, e.shape[1]))
            for s, n in np.ndindex(slope.shape if k < g else (0, 0)):
                there, back = e.copy(), e.copy()
                there[a + s, n] += 1e-6
                back[a + s, n] -= 1e-6
                slope[s, n] = (log_p(there, first, last) - log_p(back, first, last)) / 2e-6
            assert found[g, k] == pytest.approx(np.linalg.norm(slope), rel=1e-5, abs=1e-8)
    alone = saliency(one, ids, spans=[(t, t + 1) for t in range(13)], windows=True)
    np.testing.assert_array_equal(alone, saliency(one, ids, windows=True))


@pytest.mark.parametrize("spans", [[(0, 3), (4, 10)], [(0, 9)], [(0, 11)], [(1, 10)], [], [(0, 0), (0, 10)]])
def test_spans_cover_the_ids(spans: Any) -> None:
    """One after the other, none empty, none left over."""
    with pytest.raises(ArgumentError) as error:
        saliency(gpt(), IDS, spans=spans)
    assert str(error.value) == (
        f"saliency: the spans do not cover the ids.\n  spans: {spans!r}\n"
        "  expected (first, last) of each character, one after the other, together 10 ids."
    )


def test_lifetime_of_a_gate() -> None:
    """1 / (1 - mean) where the gate keeps the state; a gate that is 1 keeps it for ever."""
    found = gates({"f_l0": np.array([[0.5, 1.0], [0.7, 1.0]]), "i_l0": np.ones((2, 2))})
    np.testing.assert_allclose(found[0].lifetime, [2.5, np.inf])
    assert found[1].lifetime is None


def test_refusals() -> None:
    """Each says what is wrong and what is expected."""
    short = gpt(block=4)
    for call in (log_probs, saliency, attention_on_text):
        with pytest.raises(ArgumentError) as error:
            call(short, IDS)
        assert str(error.value) == (
            f"{call.__name__}: GPT does not see the text at once.\n"
            "  expected at most 4 symbols, got 10.\n"
            "  Give the piece that you want to look at."
        )
    with pytest.raises(ArgumentError, match="CharLM has none"):
        attention_on_text(CharLM(7, 4), IDS)
    with pytest.raises(RangeError):
        saliency(short, [1, 7])
    other = LanguageModel(CharLM(7, 4), 7)
    with pytest.raises(ArgumentError, match="LanguageModel has no gates to look at"):
        activations(other, IDS)
    with pytest.raises(ArgumentError) as error:
        saliency(other, IDS)
    assert str(error.value) == (
        "saliency: LanguageModel is no model whose embeddings can be told apart by step.\n"
        "  expected a CharLM, a LatentAR of an RNN, GRU or LSTM, or a GPT."
    )


# ---- the unit finder ---------------------------------------------------------------------------------------
def test_many_units_make_no_score_look_found() -> None:
    """The control is the best of all units, as the score is: of 400 units of noise, one is found in 6 % at the most.

    Against a control of one unit, nearly all would be.
    """
    rng = np.random.default_rng(0)
    found, of_one = 0, 0
    for k in range(80):
        units = rng.standard_normal((120, 400))
        wanted = {"x": (rng.random(120) < 0.2).astype(float)}
        (one,) = find_units({"h": units}, wanted, seed=k)
        found += one.found
        (alone,) = find_units({"h": units[:, one.unit : one.unit + 1]}, wanted, seed=k)
        of_one += abs(one.correlation) > alone.chance
    assert found <= 5
    assert of_one > 60


def test_a_line_that_does_not_end_says_nothing_of_columns() -> None:
    """A unit that drifts from the beginning on looks like the column of a text of few lines: of many it is judged."""
    T = 240
    drift = np.linspace(-1, 1, T)[:, None] + 0.05 * np.random.default_rng(0).standard_normal((T, 3))
    rng = np.random.default_rng(1)
    for lines, judged in ((1, False), (3, False), (7, False), (20, True)):
        ends = set(rng.choice(np.arange(1, T), lines - 1, replace=False).tolist())
        column = np.zeros(T)
        for t in range(T):
            column[t] = 0.0 if t in ends else column[t - 1] + 1.0
        found = find_units({"h": drift}, {"column": column})
        assert len(found) == judged, lines
    assert cannot_tell({"column": np.arange(T) % 80.0}) == {
        "column": "a line ends at 3 of 240 tokens, 8 are needed"
    }


def test_a_text_that_repeats_itself_has_units_that_follow_it() -> None:
    """A turn by a whole repetition changes nothing: that no unit does better then is no chance."""
    wanted = {"x": (np.arange(300) % 25 < 5).astype(float)}
    units = np.random.default_rng(0).standard_normal((300, 50))
    units[:, 7] += 8 * wanted["x"]
    (one,) = find_units({"h": units}, wanted)
    assert (one.unit, one.found) == (7, True)
    assert one.chance < 0.8 < one.correlation
    blink = np.arange(300) % 2.0  # no turn changes it but into its opposite
    (one,) = find_units({"h": blink[:, None]}, {"x": blink})
    assert one.correlation == pytest.approx(one.chance)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.arange(99) % 2, "the text has 99 tokens, 100 are needed"),
        (np.arange(1), "the text has 1 token, 100 are needed"),
        (np.arange(100) % 2, None),
        (np.arange(1000) < 7, "it holds at 7 of 1,000 tokens, 8 are needed"),
        (np.arange(1000) < 8, None),
        (np.arange(1000) >= 7, "it is absent at 7 of 1,000 tokens, 8 are needed"),
        (np.arange(1000) >= 8, None),
        (np.zeros(100), "it does not occur"),
        (np.full(100, 2.0), "it is the same all through"),
        (np.linspace(0.1, 1, 100), None),
        (np.where(np.arange(100) == 3, np.nan, 1.0), "its numbers are not all finite"),
    ],
)
def test_what_is_too_rare_is_not_told(values: np.ndarray, why: str | None) -> None:
    """100 tokens, and 8 at which it holds and does not; what is left out by the finder is what is named."""
    assert cannot_tell({"x": values}) == ({} if why is None else {"x": why})
    if len(values) >= 100:
        units = np.random.default_rng(0).standard_normal((len(values), 4))
        assert [d.detector for d in find_units({"h": units}, {"x": values})] == ([] if why else ["x"])
