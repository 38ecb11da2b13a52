"""What a GPT does on a text, seen from outside: chances, slopes, attention, and what its layers give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.errors import ArgumentError, RangeError
from tinygrad_seq.inspection import attention_on_text, gates, health, on_text, saliency, told
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
