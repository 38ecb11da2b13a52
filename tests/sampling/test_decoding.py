"""Laws of choosing: each truncation against a plain reference, frequencies against probabilities, bad settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, NonFiniteError
from tinygrad_seq.sampling import DecodingConfig, probabilities
from tinygrad_seq.sampling.decoding import drawn, log_prob, uniform

LOGITS = np.array([1.5, -0.3, 0.2, 0.2, -2.0, 3.0, 0.0, -math.inf])


def softmax(x: Any) -> Any:
    p = np.exp(np.asarray(x, float) - np.max(x))
    return p / p.sum()


def reference(x: Any, how: DecodingConfig, seen: Any = ()) -> Any:
    """The six steps as a loop in plain Python, symbol by symbol."""
    x = [float(v) for v in x]
    for v in seen:
        x[v] = x[v] / how.repetition_penalty if x[v] > 0 else x[v] * how.repetition_penalty
    if how.temperature == 0:
        return np.eye(len(x))[x.index(max(x))]
    p = softmax(np.array(x) / how.temperature)
    ranked = sorted(range(len(x)), key=lambda v: (-p[v], v))
    if how.top_k:
        ranked = ranked[: how.top_k]
    total, kept, reached = sum(p[v] for v in ranked), [], 0.0
    for v in ranked:
        kept.append(v)
        reached += p[v] / total
        if reached >= how.top_p:
            break
    kept = [v for v in kept if p[v] >= how.min_p * p[ranked[0]]]
    found = np.zeros(len(x))
    found[kept] = p[kept]
    return found / found.sum()


SETTINGS = [
    DecodingConfig(temperature=1.0),
    DecodingConfig(temperature=0.3),
    DecodingConfig(temperature=1.0, top_k=1),
    DecodingConfig(temperature=1.0, top_k=3),
    DecodingConfig(temperature=1.0, top_k=100),
    DecodingConfig(temperature=1.0, top_p=0.5),
    DecodingConfig(temperature=2.0, top_p=0.93),
    DecodingConfig(temperature=1.0, min_p=0.05),
    DecodingConfig(temperature=1.0, min_p=1.0),
    DecodingConfig(temperature=1.0, repetition_penalty=1.7),
    DecodingConfig(temperature=1.3, top_k=5, top_p=0.9, min_p=0.06, repetition_penalty=1.4),
    DecodingConfig(temperature=0.0, top_k=2, repetition_penalty=4.0),
]


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_probabilities_are_those_of_the_plain_loop(how: DecodingConfig) -> None:
    """On a fixed row with ties and a -inf, and on 50 random rows, with symbols that have occurred."""
    rows = [LOGITS, *np.random.default_rng(0).normal(size=(50, 8)) * 2]
    for x in rows:
        for seen in ((), (5,), (0, 4, 5)):
            mask = np.zeros(8, bool)
            mask[list(seen)] = True
            p = probabilities(x, how, mask)
            np.testing.assert_allclose(p, reference(x, how, seen), rtol=1e-12, atol=1e-15)
            assert p.dtype == np.float64
            assert abs(p.sum() - 1) < 1e-12


def test_order_of_the_steps() -> None:
    """Temperature acts before top_p, top_k before top_p, and top_p before min_p."""
    x = np.log([0.4, 0.3, 0.2, 0.1])
    assert (probabilities(x, DecodingConfig(1.0, top_p=0.6)) > 0).sum() == 2
    assert (probabilities(x, DecodingConfig(0.25, top_p=0.6)) > 0).sum() == 1, (
        "the tempered probabilities are sharper"
    )
    # Of the two likeliest the first has 4 / 7, so it reaches a half; of all it has 0.4 and does not.
    assert (probabilities(x, DecodingConfig(1.0, top_p=0.5)) > 0).sum() == 2
    assert (probabilities(x, DecodingConfig(1.0, top_k=2, top_p=0.5)) > 0).sum() == 1


def test_ties_go_to_the_lower_id() -> None:
    """Greedy, top_k and top_p; min_p keeps all that are equal."""
    flat = np.zeros(5)
    assert probabilities(flat, DecodingConfig(0.0)).tolist() == [1, 0, 0, 0, 0]
    assert probabilities(flat, DecodingConfig(1.0, top_k=2)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert probabilities(flat, DecodingConfig(1.0, top_p=0.4)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert probabilities(flat, DecodingConfig(1.0, min_p=1.0)).tolist() == [0.2] * 5


def test_penalty_lowers_whatever_the_sign() -> None:
    """A logit of 2 becomes 1, one of -2 becomes -4, 0 and -inf stay."""
    x, seen = np.array([2.0, -2.0, 0.0, -math.inf, 1.0]), np.array([True, True, True, True, False])
    p = probabilities(x, DecodingConfig(1.0, repetition_penalty=2.0), seen)
    np.testing.assert_allclose(p, softmax([1.0, -4.0, 0.0, -math.inf, 1.0]), rtol=1e-14)


def test_what_is_not_allowed_is_never_chosen() -> None:
    """Not by any setting, and not as one of the k."""
    allowed = np.array([True] * 5 + [False] + [True] * 2)
    for how in SETTINGS:
        assert probabilities(LOGITS, how, None, allowed)[5] == 0.0
    assert probabilities(LOGITS, DecodingConfig(1.0, top_k=1), None, allowed)[0] == 1.0


@pytest.mark.parametrize("how", SETTINGS[:11], ids=str)
def test_frequencies_are_the_probabilities(how: DecodingConfig) -> None:
    """Chi-square of 4,000 draws with a fixed seed stays below its 99.9 % point (24.3 for 7 degrees)."""
    p, rng = probabilities(LOGITS, how), Generator(3)
    found = np.bincount([drawn(p, uniform(rng)) for _ in range(4000)], minlength=8)
    assert found[p == 0].sum() == 0, "what was cut off is never drawn"
    live = p > 0
    assert float(((found[live] - 4000 * p[live]) ** 2 / (4000 * p[live])).sum()) < 24.3


def test_ends_of_the_draw() -> None:
    """The first symbol with a chance at u = 0, the last at u just below 1, whatever surrounds them."""
    p = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    assert (drawn(p, 0.0), drawn(p, np.nextafter(0.5, 0)), drawn(p, 0.5)) == (1, 1, 3)
    assert drawn(p, np.nextafter(1.0, 0)) == 3
    assert drawn(np.array([0.1] * 3 + [0.0]), 1.0) == 2


def test_extreme_temperatures_and_logits() -> None:
    """Limits instead of NaN: of tiny and huge temperatures, and of huge float32 logits."""
    x = np.array([0.0, 2.0, 1.0], np.float32)
    for small in (1e-3, 1e-30, 5e-324):
        assert probabilities(x, DecodingConfig(small)).tolist() == [0, 1, 0]
    np.testing.assert_allclose(probabilities(x, DecodingConfig(1e300)), 1 / 3)
    assert probabilities(np.array([3e38, -3e38], np.float32), DecodingConfig(1.0)).tolist() == [1, 0]
    assert probabilities(np.array([1.0]), DecodingConfig(1.0, 1, 0.1, 1.0, 2.0)).tolist() == [1]


def test_log_prob_is_of_the_model() -> None:
    """Without temperature; float32 logits are summed in float64."""
    x = LOGITS.astype(np.float32)
    for i in range(7):
        assert log_prob(x, i) == pytest.approx(math.log(softmax(x.astype(float))[i]), abs=1e-12)
    assert log_prob(x, 7) == -math.inf


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"temperature": -1},
            "sample: temperature out of range.\n  temperature: -1\n"
            "  expected a finite number from 0 upwards; 0 takes the likeliest character.",
        ),
        (
            {"top_k": -1},
            "sample: top_k is no count.\n  top_k: -1\n"
            "  expected a whole number from 1 upwards, or None or 0 to keep all.",
        ),
        (
            {"top_k": 2.0},
            "sample: top_k is no count.\n  top_k: 2.0\n"
            "  expected a whole number from 1 upwards, or None or 0 to keep all.",
        ),
        (
            {"top_p": 0},
            "sample: top_p out of range.\n  top_p: 0\n  expected a number above 0 and up to 1; 1 keeps all.",
        ),
        (
            {"top_p": math.nan},
            "sample: top_p out of range.\n  top_p: nan\n  expected a number above 0 and up to 1; 1 keeps all.",
        ),
        (
            {"min_p": 1.5},
            "sample: min_p out of range.\n  min_p: 1.5\n  expected a number from 0 to 1; 0 keeps all.",
        ),
        (
            {"repetition_penalty": 0},
            "sample: repetition_penalty out of range.\n  repetition_penalty: 0\n"
            "  expected a finite number above 0; 1 penalises nothing.",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: Any, text: str) -> None:
    """Each by one error that says the rule."""
    with pytest.raises(ArgumentError) as caught:
        DecodingConfig(**settings)
    assert str(caught.value) == text


def test_logits_that_are_no_numbers_are_refused() -> None:
    """NaN anywhere, +inf, or nothing but -inf."""
    for bad in ([0.0, math.nan, 1.0], [0.0, math.inf], [-math.inf, -math.inf]):
        with pytest.raises(NonFiniteError, match="the model's logits are not finite"):
            probabilities(bad, DecodingConfig(1.0))
