"""What a GPT does on a text, seen from outside: chances, slopes, attention, and what its layers give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.errors import ArgumentError, RangeError
from tinygrad_seq.inspection import (
    attention_on_text,
    cannot_tell,
    find_units,
    gates,
    health,
    on_text,
    saliency,
    told,
)
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
    from tinygrad_seq.inspection import reading

    one = gpt(positions)
    found = saliency(one, IDS)
    monkeypatch.setattr(reading, "ROWS", 4)
    np.testing.assert_allclose(saliency(one, IDS), found, rtol=1e-9)
    monkeypatch.setattr(reading, "LOGITS", 1)
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
    found = told(one, IDS)
    np.testing.assert_allclose(np.exp(found).sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[np.arange(10), IDS], one.score(IDS), rtol=1e-6)
    np.testing.assert_allclose(told(one, [2]), -np.log(7.0) * np.ones((1, 7)))


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


def test_lifetime_of_a_gate() -> None:
    """1 / (1 - mean) where the gate keeps the state; a gate that is 1 keeps it for ever."""
    found = gates({"f_l0": np.array([[0.5, 1.0], [0.7, 1.0]]), "i_l0": np.ones((2, 2))})
    np.testing.assert_allclose(found[0].lifetime, [2.5, np.inf])
    assert found[1].lifetime is None


def test_refusals() -> None:
    """Each says what is wrong and what is expected."""
    short = gpt(block=4)
    for call in (told, saliency, attention_on_text):
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
        on_text(other, IDS)
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
