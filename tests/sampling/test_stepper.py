"""Laws of the recorded step: it does what the model does, with a state or without, however the text was begun."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import GPT, CharLM, LanguageModel, LatentAR, NeuralModel, SymbolAR
from tinygrad_seq.nn import LSTM, Embedding, Linear, Module
from tinygrad_seq.sampling import sample
from tinygrad_seq.sampling.stepper import Stepper

pytestmark = pytest.mark.laws

V = 11
VOCABULARY = Vocabulary("abcdefghij\n")


def loud(model: Any) -> Any:
    """Weights so large that each symbol depends on all before it."""
    for p in model.parameters():
        if p.ndim > 1:
            p.assign(p.numpy() * 4)
    return model


MODELS: dict[str, Any] = {
    "rnn": lambda: loud(CharLM(V, 12, cell="rnn", rng=Generator(0))),
    "gru": lambda: loud(CharLM(V, 12, layers=2, cell="gru", rng=Generator(0))),
    "lstm": lambda: loud(CharLM(V, 12, layers=2, rng=Generator(0))),
    "gpt": lambda: loud(GPT(V, block=16, layers=2, heads=2, width=12, rng=Generator(0))),
}
MORE: dict[str, Any] = {
    **MODELS,
    "float64": lambda: loud(CharLM(V, 12, rng=Generator(0))).double(),
    "rotary": lambda: loud(GPT(V, 9, 2, 2, 12, positions="rotary", rng=Generator(0))),
    "sinusoidal": lambda: loud(GPT(V, 9, 2, 2, 12, positions="sinusoidal", rng=Generator(0))),
    "alibi": lambda: loud(GPT(V, 9, 2, 2, 12, positions="alibi", tied=False, rng=Generator(0))),
    "block of 1": lambda: loud(GPT(V, 1, 1, 1, 4, rng=Generator(0))),
    "block of 2": lambda: loud(GPT(V, 2, 1, 1, 4, rng=Generator(0))),
    "symbol ar": lambda: SymbolAR(V, 3, rng=Generator(0)),
    "variants": lambda: LatentAR(
        V, LSTM(6, 8, 2, proj_size=3, layer_norm=True, peepholes=True, zoneout=0.1, rng=Generator(0)), 0.3
    ),
    "no gradients": lambda: loud(CharLM(V, 12, cell="gru", rng=Generator(0))).requires_grad_(False),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("begun", [1, 7, 40])
def test_recorded_step_is_that_of_the_model(name: str, begun: int) -> None:
    """Logits agree with one pass over the whole text, at every symbol, whatever was read before in one go."""
    model = MORE[name]()
    ids = np.random.default_rng(1).integers(0, V, 80)
    model.eval()
    whole = model(ids[:, None])[0].numpy()[:, 0]
    stepper = Stepper(model)
    logits, at = stepper.start(ids[:begun])
    close = {"rtol": 0, "atol": 1e-4 * np.abs(whole).max()}
    np.testing.assert_allclose(logits, whole[begun - 1], **close)
    for t in range(begun, 80):
        logits, at = stepper.step(int(ids[t]), at)
        np.testing.assert_allclose(logits, whole[t], **close)
    assert stepper.proved, "the recorded step ran"
    assert None not in stepper.programs.values(), "none was refused"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("double", [True, False])
def test_with_a_state_and_without_the_choices_are_the_same(name: str, double: bool) -> None:
    """1,000 characters, bit-equal; without, each is chosen after one pass over all before it by the model itself."""
    model = MODELS[name]()
    if double:
        model.double()
    # One pass over so far 1,000 symbols tells what each choice was made from: the prefix read anew, a row for each.
    cached = sample(model, VOCABULARY, "ab", 1000, 1.0, Generator(5), top_p=0.98)
    text = "ab" + cached
    assert len(set(cached)) > 5
    ids = VOCABULARY.encode(text)
    model.eval()
    rows = model(ids[:-1, None])[0].numpy()[:, 0]
    rng = Generator(5)
    from tinygrad_seq.sampling.decoding import DecodingConfig, drawn, probabilities, uniform

    how = DecodingConfig(1.0, top_p=0.98)
    again = [drawn(probabilities(row, how), uniform(rng)) for row in rows[1:]]
    assert VOCABULARY.decode(again) == cached
    # And the slow way itself, as far as it is quick.
    assert sample(model, VOCABULARY, "ab", 120, 1.0, Generator(5), top_p=0.98, cached=False) == cached[:120]


def test_positions_may_be_gone_back_to() -> None:
    """A step leaves the position it was taken from as it was: beams and samples branch from one."""
    for name in MODELS:
        stepper = Stepper(MODELS[name]())
        _, at = stepper.start(np.array([1, 2, 3]))
        for i in (4, 5, 6, 7):
            _, at = stepper.step(i, at)
        before = [a.copy() for a in at.flat or ()]
        one = stepper.step(3, at)[0].copy()
        stepper.step(4, at)
        np.testing.assert_array_equal(stepper.step(3, at)[0], one)
        for a, b in zip(at.flat or (), before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_between_two_steps_is_seen() -> None:
    """New weights count from the next step on, assigned or written in place."""
    model = MODELS["lstm"]().eval()
    stepper = Stepper(model)
    _, at = stepper.start(np.array([1]))
    for i in (2, 3, 4):
        _, at = stepper.step(i, at)
    optimizer = tgs.optim.SGD(model.parameters(), lr=0.5)
    model.loss(np.array([[1], [2]]), tgs.tensor([[2], [3]]))[0].backward()
    optimizer.step()
    logits, _ = stepper.step(5, at)
    np.testing.assert_allclose(logits, model(np.array([[5]]), at.whole())[0].numpy()[0, 0], rtol=0, atol=1e-4)
    model.head.bias.assign(model.head.bias.numpy() + 3)
    np.testing.assert_allclose(stepper.step(5, at)[0], logits + 3, rtol=0, atol=1e-4)


class Looks(NeuralModel):
    """A model whose step depends on a value that no tape holds: which symbol it reads decides what it does."""

    def __init__(self) -> None:
        self.vocabulary_size = V
        self.embedding, self.head = Embedding(V, 4, rng=Generator(0)), Linear(4, V, rng=Generator(0))

    def forward(self, ids: Any, state: Any = None) -> Any:
        x = self.embedding(ids)
        if int(np.asarray(ids if isinstance(ids, np.ndarray) else ids.array)[-1, 0]) % 2:
            x = x * 2.0
        return self.head(x), tgs.zeros(1, ids.shape[1])


def test_step_that_cannot_be_recorded_is_left_to_the_model() -> None:
    """A user's model is not recorded unless asked for; then the next step finds a branch on a value out."""
    model = Looks()
    for replay in (None, True):
        stepper = Stepper(model, replay=replay)
        _, at = stepper.start(np.array([0]))
        for i in (2, 3, 4, 5, 7, 2):
            logits, at = stepper.step(i, at)
            np.testing.assert_allclose(logits, model(np.array([[i]]))[0].numpy()[0, 0], rtol=0, atol=1e-5)
        assert list(stepper.programs.values()) == ([None] if replay else [])


class Counts(Module):
    """A net whose state is a dict, which no recipe takes apart."""

    def __init__(self) -> None:
        self.weight = tgs.nn.Parameter(np.eye(V, dtype=np.float32))

    def forward(self, ids: Any, state: Any = None) -> Any:
        seen = {"n": 0 if state is None else state["n"] + 1}
        return tgs.functional.embedding(ids, self.weight) * float(seen["n"]), seen


def test_state_of_another_kind_is_left_to_the_model() -> None:
    """It is handed on as it is."""
    stepper = Stepper(LanguageModel(Counts(), V), replay=True)
    _, at = stepper.start(np.array([0]))
    for n in (1, 2, 3):
        logits, at = stepper.step(4, at)
        assert logits[4] == n


def test_composed_and_watched_steps_are_the_models() -> None:
    """Who looks at every op gets every op."""
    model = MODELS["lstm"]()
    plain = sample(model, VOCABULARY, "a", 30, 0)
    with tgs.composed():
        assert sample(model, VOCABULARY, "a", 30, 0) == plain


def test_without_compiled_kernels() -> None:
    """The same text where nothing is compiled."""
    code = (
        "from tests.sampling.test_stepper import *\n"
        "for name in MODELS: print(repr(sample(MODELS[name](), VOCABULARY, 'a', 40, 0)))"
    )
    import os
    from pathlib import Path

    root = str(Path(__file__).parents[2])
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [repr(sample(MODELS[n](), VOCABULARY, "a", 40, 0)) for n in MODELS]
