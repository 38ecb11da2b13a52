"""Laws of sampling: the probabilities are those of the model, and the state is that of the whole text before."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import Tensor
from tinygrad_seq.data import Corpus, Vocabulary
from tinygrad_seq.engine.random import Generator, manual_seed, positions
from tinygrad_seq.errors import ArgumentError, DataError, NonFiniteError
from tinygrad_seq.models import CharLM
from tinygrad_seq.training import Config, Finished, sample, sample_stream, train

VOCABULARY = Vocabulary("abcd\n")


def model_with(logits: list[float]) -> CharLM:
    """A model that knows nothing of the past: these are its logits after whatever text."""
    model = CharLM(len(VOCABULARY), 4, rng=Generator(0))
    model.head.weight.assign(np.zeros(model.head.weight.shape, np.float32))
    assert model.head.bias is not None
    model.head.bias.assign(np.array(logits, np.float32))
    return model


def model_that_counts() -> CharLM:
    """An untrained model with large weights, so that the next character depends on all before it."""
    model = CharLM(len(VOCABULARY), 8, layers=2, dropout=0.5, rng=Generator(25))
    for p in model.parameters():
        p.assign(p.numpy() * 6)
    return model


def test_probabilities_are_the_softmax() -> None:
    """In 3,000 draws no frequency is off by more than 4 standard errors, at temperatures 1, 0.5 and 2."""
    logits = [0.0, 1.0, -1.0, 0.5, -math.inf]
    for temperature in (1.0, 0.5, 2.0):
        p = np.exp(np.array(logits) / temperature)
        p /= p.sum()
        ids = VOCABULARY.encode(sample(model_with(logits), VOCABULARY, "", 3000, temperature, Generator(1)))
        found = np.bincount(ids, minlength=5) / 3000
        assert (np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / 3000)).all(), (temperature, found, p)
        assert found[4] == 0.0, "a chance of zero is never drawn"


def test_temperature_zero_is_the_likeliest() -> None:
    """Greedy, and the limit of small temperatures; very large ones draw evenly."""
    model = model_with([0.0, 2.0, 1.0, 1.9, -5.0])
    assert VOCABULARY.decode([1] * 50) == sample(model, VOCABULARY, "", 50, 0)
    for small in (1e-3, 1e-30, 5e-324):
        assert sample(model, VOCABULARY, "", 50, small, Generator(1)) == VOCABULARY.decode([1] * 50)
    ids = VOCABULARY.encode(sample(model, VOCABULARY, "", 4000, 1e300, Generator(1)))
    assert np.abs(np.bincount(ids) / 4000 - 0.2).max() < 4 * math.sqrt(0.16 / 4000)


def test_state_is_carried_from_character_to_character() -> None:
    """Each greedy character is the likeliest after one pass over everything before it, prime included."""
    model = model_that_counts()
    text = "\nabca" + sample(model, VOCABULARY, "\nabca", 40, 0)
    assert len(set(text[5:])) > 3, "this test needs a text that changes"
    model.eval()
    logits = model(VOCABULARY.encode(text)[:, None])[0].numpy()[:, 0]
    assert VOCABULARY.decode(logits.argmax(-1)[4:-1]) == text[5:]


def test_same_seed_gives_the_same_text() -> None:
    """And another seed another; the default stream does for those who give none."""
    model = model_that_counts()
    one = sample(model, VOCABULARY, "a", 60, 1.0, Generator(7))
    assert one == sample(model, VOCABULARY, "a", 60, 1.0, Generator(7))
    assert one != sample(model, VOCABULARY, "a", 60, 1.0, Generator(8))
    manual_seed(3)
    two = sample(model, VOCABULARY, "a", 60, 1.0)
    assert two != sample(model, VOCABULARY, "a", 60, 1.0)
    manual_seed(3)
    assert two == sample(model, VOCABULARY, "a", 60, 1.0)


def test_stream_is_the_same_text_one_by_one() -> None:
    """Characters come as they are drawn, and beginning to read costs no more than was read."""
    model = model_that_counts()
    rng = Generator(7)
    stream = sample_stream(model, VOCABULARY, "a", 10**9, 1.0, rng)
    assert rng.drawn == 0
    first = "".join(itertools.islice(stream, 30))
    assert rng.drawn == 30
    assert first == sample(model, VOCABULARY, "a", 30, 1.0, Generator(7))


def test_sampling_leaves_no_trace() -> None:
    """Between two characters the model is in its own mode and records; no default stream moves."""
    model = model_that_counts()
    before = positions()
    for _ in sample_stream(model, VOCABULARY, "a", 3, 1.0, Generator(7)):
        assert all(module.training for module in model.modules())
        assert (model.head.weight * 1.0).requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert positions() == before


def test_without_a_prime_it_starts_after_a_newline() -> None:
    """Or after the first symbol, where the model knows no newline; the start itself is not returned."""
    model = model_that_counts()
    assert sample(model, VOCABULARY, "", 30, 0) == sample(model, VOCABULARY, "\n", 30, 0)
    letters = Vocabulary("abcde")
    assert sample(model, letters, "", 30, 0) == sample(model, letters, "a", 30, 0)
    assert sample(model, VOCABULARY, "a", 0) == ""


def test_trained_model_writes_its_text() -> None:
    """What has been learnt by heart comes back at temperature 0."""
    text = "abcdcba\n" * 200
    config = Config(hidden=24, batch=8, window=16, steps=60, lr=0.03, sample_every=0, eval_every=1000)
    end = list(train(config, corpus=Corpus(text)))[-1]
    assert isinstance(end, Finished)
    assert end.validation < 0.1
    assert sample(end.run.model, end.run.vocabulary, "abcd", 20, 0) == "cba\nabcdcba\nabcdcba\n"


def test_unknown_characters_in_the_prime_are_named() -> None:
    """At once, before anything is drawn."""
    with pytest.raises(DataError) as caught:
        sample_stream(model_that_counts(), VOCABULARY, "abxé", 5)
    assert str(caught.value) == (
        "encode: the vocabulary does not hold 'x', 'é'.\n"
        "  position of the first: 2\n"
        "  vocabulary: '\\nabcd'\n"
        "  expected only the 5 symbols that the model knows.\n"
        "  Leave them out or replace them: on_unknown 'skip' or 'replace' (--on-unknown). "
        "Or train a model with a text that holds them."
    )


@pytest.mark.parametrize("temperature", [-0.1, math.nan, math.inf, "hot", True])
def test_temperature_out_of_range_is_refused(temperature: Any) -> None:
    """Before anything is drawn."""
    with pytest.raises(ArgumentError) as caught:
        sample_stream(model_that_counts(), VOCABULARY, "", 5, temperature)
    assert str(caught.value) == (
        f"sample: temperature out of range.\n  temperature: {temperature!r}\n"
        "  expected a finite number from 0 upwards; 0 takes the likeliest character."
    )


@pytest.mark.parametrize("n", [-1, 1.5, True, None])
def test_number_that_is_no_count_is_refused(n: Any) -> None:
    """Before anything is drawn."""
    with pytest.raises(ArgumentError) as caught:
        sample_stream(model_that_counts(), VOCABULARY, "", n)
    assert str(caught.value) == (
        f"sample: n is no count.\n  expected a whole number of at least 0, got {n!r}."
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    """At any temperature, instead of a text that means nothing."""
    for temperature in (0.0, 1.0):
        with pytest.raises(NonFiniteError) as caught:
            sample(model_with([0.0, bad, 0.0, 0.0, 0.0]), VOCABULARY, "", 5, temperature)
        assert str(caught.value) == (
            "sample: the model's logits are not finite.\n  logits: f32(5,)\n  expected finite numbers.\n"
            "  Were the weights saved by a run that diverged? Train again with a lower learning rate."
        )


def test_state_given_by_hand_goes_on_exactly() -> None:
    """One step at a time equals all steps at once to rounding, so that streaming is no approximation."""
    model = model_that_counts().eval()
    ids = VOCABULARY.encode("abcd\nabcd\ndcba")
    whole = model(ids[:, None])[0].numpy()
    state: Any = None
    for t, i in enumerate(ids):
        logits, state = model(np.array([[i]]), state)
        assert isinstance(logits, Tensor)
        np.testing.assert_allclose(logits.numpy()[0], whole[t], rtol=0, atol=1e-5)
