"""Autoregression of real numbers: known coefficients, known orders, and what is no series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError, ShapeError
from tinygrad_seq.models import MLPAR, LinearAR, Markov, Normal, SeriesModel, select_order

pytestmark = [pytest.mark.engine, pytest.mark.laws]


def ar_series(coefficients: list[float], n: int, seed: int = 0, std: float = 0.5, start: float = 1.0):
    """A series of known coefficients, after 200 values of running in."""
    rng = np.random.default_rng(seed)
    x = [0.0] * len(coefficients)
    for _ in range(n + 200):
        x.append(start + sum(c * x[-1 - i] for i, c in enumerate(coefficients)) + std * rng.standard_normal())
    return np.array(x[-n:])


SERIES = ar_series([0.6, -0.3], 4000)


def test_known_coefficients() -> None:
    """AR(2) with 4,000 values: each coefficient within 4 of its standard errors, as is the noise."""
    model = LinearAR(2).fit(SERIES)
    # Var of the estimates: std^2 (n Gamma)^-1, with Gamma of an AR(2); both coefficients have 1 - a2^2 over n.
    error = math.sqrt((1 - 0.3**2) / len(SERIES))
    np.testing.assert_allclose(model.coefficients, [0.6, -0.3], atol=4 * error)
    assert model.intercept == pytest.approx(1.0, abs=0.1)
    assert model.std == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2 * len(SERIES)))


def test_without_noise_the_coefficients_are_exact() -> None:
    """x_s = 1.5 x_{s-1} - 0.9 x_{s-2}, to 1e-10, and forecasts that go on with the recurrence."""
    x = [1.0, 0.5]
    for _ in range(40):
        x.append(1.5 * x[-1] - 0.9 * x[-2])
    model = LinearAR(2).fit(x[:30])
    np.testing.assert_allclose(model.coefficients, [1.5, -0.9], atol=1e-10)
    np.testing.assert_allclose(model.forecast(x[:30], 10), x[30:40], atol=1e-8)


def test_scores_are_densities() -> None:
    """Written out for AR(1), and the density of one value integrates to 1."""
    model = LinearAR(1).fit(SERIES)
    x, told = SERIES[:3], model.score(SERIES[:3])
    mean = model.intercept + model.coefficients[0] * x[1]
    z = (x[2] - mean) / model.std
    assert told[2] == pytest.approx(-0.5 * z * z - math.log(model.std * math.sqrt(2 * math.pi)))
    grid = np.linspace(-10, 12, 20_001)
    density = [Normal(*model.conditional(x)).log_prob(v) for v in grid]
    assert np.trapezoid(np.exp(density), grid) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "model", [LinearAR(0), LinearAR(3), MLPAR(2, 4, rng=Generator(1))], ids=lambda m: type(m).__name__
)
def test_all_ways_of_asking_agree(model: SeriesModel) -> None:
    """`step`, `conditional`, `score` at once and what the base class makes of `step`, the beginning included."""
    model = model.fit(SERIES[:200], **({"steps": 20} if isinstance(model, MLPAR) else {}))  # type: ignore[attr-defined]
    x = SERIES[300:310]
    asked = [model.conditional(x[:s]).log_prob(x[s]) for s in range(10)]
    np.testing.assert_allclose(model.score(x), asked, atol=1e-12)
    np.testing.assert_allclose(SeriesModel.score(model, x), asked, atol=1e-12)
    np.testing.assert_allclose(model.score(x[:1]), asked[:1], atol=1e-12)
    assert model.log_prob(x) == pytest.approx(sum(asked))
    mean, second = model.forecast(x, 2)
    assert mean == model.conditional(x).mean
    assert second == pytest.approx(model.conditional([*x, mean]).mean)


def test_a_network_tells_what_a_line_cannot() -> None:
    """The logistic map has no linear autocorrelation: a line leaves its whole spread, tanh units a tenth."""
    x = [0.3]
    for _ in range(600):
        x.append(3.9 * x[-1] * (1 - x[-1]))
    line, network = LinearAR(1).fit(x[:400]), MLPAR(1, 16, rng=Generator(3)).fit(x[:400], 800, 0.03)
    told = [-model.score(x[400:])[1:].mean() for model in (line, network)]
    assert told[1] < told[0] - math.log(10)


def test_a_saved_network_needs_no_fitting() -> None:
    """Centre, scale and noise travel with the weights."""
    model = MLPAR(2, 4, rng=Generator(1)).fit(SERIES[:100], 10)
    other = MLPAR(2, 4, rng=Generator(2))
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.score(SERIES[:20]), model.score(SERIES[:20]))


# ---------------------------------------------------------------- which order


@pytest.mark.parametrize("criterion", ["bic", "aic", "held-out"])
def test_the_true_order_of_a_series(criterion: str) -> None:
    """Of orders 0 to 5, for an AR(3) whose last coefficient is large."""
    choice = select_order(ar_series([0.3, -0.2, 0.5], 4000, 4), range(6), criterion)
    assert choice.order == 3
    assert min(choice.values, key=choice.values.get) == 3
    assert choice.values[0] > choice.values[1] > choice.values[3]


@pytest.mark.parametrize("criterion", ["bic", "held-out"])
def test_the_true_order_of_a_chain(criterion: str) -> None:
    """Of orders 0 to 4, for symbols that follow from the two before them, three times of four."""
    rng = np.random.default_rng(5)
    text = [0, 1]
    for _ in range(6000):
        text.append((text[-1] + 2 * text[-2]) % 3 if rng.random() < 0.75 else int(rng.integers(3)))
    assert select_order(text, range(5), criterion).order == 2
    assert select_order(text, range(5), criterion, make=lambda k: Markov(3, k, alpha=0.1)).order == 2


def test_orders_are_asked_for_the_same_values() -> None:
    """The value for one order does not depend on which larger one is the last but through what all are asked."""
    one, two = (select_order(SERIES, orders, "held-out").values for orders in ((1, 4), (1, 2, 4)))
    assert one[1] == two[1]
    assert one[4] == two[4]


# ---------------------------------------------------------------- bad inputs


def fitted() -> list[SeriesModel]:
    return [LinearAR(2).fit(SERIES[:50]), MLPAR(2, 4, rng=Generator(1)).fit(SERIES[:50], 2)]


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_a_value_that_is_missing(missing: float) -> None:
    """Fitting, scoring, asking, stepping: one error that says where."""
    for model in fitted():
        for ask in (model.fit, model.score, model.conditional):  # type: ignore[attr-defined]
            with pytest.raises(DataError) as caught:
                ask([1.0, 2.0, missing, 3.0, 4.0, 5.0, 6.0])
            assert str(caught.value) == (
                f"{type(model).__name__}.{ask.__name__}: a value is missing.\n"
                "  series: f64(7,)\n"
                f"  expected finite numbers, got {missing} at position 2.\n"
                "  Cut the series there, or fill the gap first."
            )
        with pytest.raises(DataError, match="a value is missing"):
            model.step(missing, model.init_state())


def test_what_is_no_series() -> None:
    for model in fitted():
        with pytest.raises(DataError, match="the sequence is empty"):
            model.score([])
        with pytest.raises(ShapeError, match="expected one axis, got 2"):
            model.score([[1.0], [2.0]])
        with pytest.raises(DTypeError, match="a series is made of real numbers"):
            model.score(["a", "b"])
        with pytest.raises(DataError, match=r"expected at least 2 tau \+ 2 = 6 values, got 5"):
            model.fit([1.0, 2.0, 3.0, 2.0, 1.0])  # type: ignore[attr-defined]
        with pytest.raises(DataError, match=r"expected values that differ, got 1\.0 alone"):
            model.fit(np.ones(20))  # type: ignore[attr-defined]
        with pytest.raises(ArgumentError, match="steps out of range"):
            model.forecast([1.0], 0)


def test_settings_that_are_none() -> None:
    for make, text in (
        (
            lambda: LinearAR(-1),
            "LinearAR: tau out of range.\n  expected a whole number of at least 0, got -1.",
        ),
        (lambda: MLPAR(0), "MLPAR: tau out of range"),
        (lambda: select_order(SERIES, []), "no orders to choose from"),
        (lambda: select_order(SERIES, [1, -2]), "expected a whole number of at least 0, got -2."),
        (lambda: select_order(SERIES, [1], "best"), "expected 'held-out', 'aic' or 'bic'."),
        (lambda: select_order(SERIES, [1], held_out=1.0), "expected a number between 0 and 1."),
    ):
        with pytest.raises(ArgumentError) as caught:
            make()
        assert text in str(caught.value)
    with pytest.raises(DataError, match="too short for these orders"):
        select_order([1.0, 2.0, 3.0], [3])
    for model in (LinearAR(1), MLPAR(1)):
        with pytest.raises(DataError, match="not fitted yet"):
            model.score([1.0])
