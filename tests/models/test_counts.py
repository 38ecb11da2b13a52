"""Counting models against counting by hand, and the network that must find the same table."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import Markov, Naive, NeuralMarkov

pytestmark = pytest.mark.engine

IDS = np.random.default_rng(3).choice(4, 400, p=[0.5, 0.3, 0.15, 0.05])
ROWS = [IDS[:3].tolist(), IDS[3:4].tolist(), IDS[4:200].tolist(), IDS[200:].tolist()]


def runs(n: int) -> Counter[tuple[int, ...]]:
    """How often each run of n symbols stands in the rows."""
    return Counter(tuple(row[i : i + n]) for row in ROWS for i in range(len(row) - n + 1))


def by_hand(kind: str, context: tuple[int, ...], v: int, top: bool = True) -> float:
    """P(v | context), as the docstring of `Markov` has it, with dictionaries."""
    came = runs(len(context) + 1)
    if kind == "kneser-ney" and not top:
        came = Counter(longer[1:] for longer in runs(len(context) + 2))
    after = {w: came[(*context, w)] for w in range(4)}
    n, d = sum(after.values()), sum(m > 0 for m in after.values())
    if kind == "additive":
        return (after[v] + 0.5) / (n + 0.5 * 4)
    lower = by_hand(kind, context[1:], v, False) if context else 1 / 4
    if not n:
        return lower
    if kind == "witten-bell":
        return (after[v] + d * lower) / (n + d)
    once, twice = (sum(m == k for m in came.values()) for k in (1, 2))
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return (max(after[v] - discount, 0) + discount * d * lower) / n


@pytest.mark.parametrize("kind", ["additive", "witten-bell", "kneser-ney"])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_counts_are_those_of_dictionaries(kind: str, k: int) -> None:
    """Contexts that came and that never came, short ones at the beginning, rows that do not run together."""
    model = Markov(4, k, smoothing=kind, alpha=0.5 if kind == "additive" else None).fit(ROWS)
    for context in [(), (2,), (3, 3), (3, 3, 3), (0, 1, 2), (3, 2, 3, 3), (1, 0, 0, 2, 1)]:
        seen = context[max(0, len(context) - k) :]
        expected = [by_hand(kind, seen, v) for v in range(4)]
        np.testing.assert_allclose(model.conditional(context), expected, atol=1e-12)


def test_order_zero_is_the_unigram() -> None:
    """Frequencies, whatever came before."""
    model = Markov(4, 0, alpha=0).fit(IDS)
    for prefix in ([], [0], [3, 1, 2]):
        np.testing.assert_allclose(model.conditional(prefix), np.bincount(IDS) / len(IDS), atol=1e-15)


def test_smoothing_pays_on_a_text_that_was_not_counted() -> None:
    """At order 4, with few examples of each context: interpolation below adding, each below no smoothing."""
    rng = np.random.default_rng(5)
    chain = rng.dirichlet(np.full(8, 0.3), 8)
    text = [0]
    for _ in range(3000):
        text.append(int(rng.choice(8, p=chain[text[-1]])))
    train, test = text[:2000], text[2000:]
    told = {
        kind: -Markov(8, 4, smoothing=kind).fit(train).score(test).mean()
        for kind in ("additive", "witten-bell", "kneser-ney")
    }
    assert told["kneser-ney"] < told["witten-bell"] < told["additive"]
    assert Markov(8, 4, alpha=0).fit(train).log_prob(test) == -math.inf


def test_order_one_finds_the_chain() -> None:
    """The transition matrix of a known chain, to 4 standard errors."""
    rng = np.random.default_rng(6)
    chain = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.05, 0.9]])
    text = [0]
    for _ in range(20_000):
        text.append(int(rng.choice(3, p=chain[text[-1]])))
    model = Markov(3, alpha=0).fit(text)
    for i in range(3):
        error = np.sqrt(chain[i] * (1 - chain[i]) / text.count(i))
        assert (np.abs(model.conditional([i]) - chain[i]) < 4 * error).all()
    assert model.contexts == 3
    assert model.degrees == 6


def test_the_naive_model_knows_by_heart_and_nothing_else() -> None:
    """Chance 1 for its text, ln V a symbol once the past is new, and a past more for every symbol."""
    model = Naive(4).fit(IDS)
    assert model.log_prob(IDS) == 0.0
    assert model.contexts == len(IDS) + 1
    other = [(int(IDS[0]) + 1) % 4, *IDS[1:].tolist()]
    np.testing.assert_allclose(model.score(other)[1:], -math.log(4))
    many = Naive(4, 0.5).fit([[0, 1], [0, 1], [0, 2]])
    np.testing.assert_allclose(many.conditional([0]), np.array([0.5, 2.5, 1.5, 0.5]) / 5)
    assert many.fit([1]).contexts == 2, "fitting anew forgets"


def test_the_naive_model_is_markov_of_all_the_past() -> None:
    """At step s it is the model of order s - 1, where every row begins at the beginning."""
    rows = np.random.default_rng(8).integers(0, 2, (30, 1))
    rows = np.concatenate([rows, (rows + np.arange(30)[:, None]) % 2], axis=1).tolist()
    naive, markov = Naive(2, 0.5).fit(rows), Markov(2, 1, alpha=0.5).fit(rows)
    for first in range(2):
        np.testing.assert_allclose(naive.conditional([first]), markov.conditional([first]), atol=1e-15)


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_neural_table_ends_up_at_the_counts(order: int) -> None:
    """Every log-chance within 1e-3 nats of the count with half a symbol added, short contexts included."""
    network = NeuralMarkov(3, order, rng=Generator(1, "init")).fit(IDS % 3, alpha=0.5)
    counts = Markov(3, order, alpha=0.5).fit(IDS % 3)
    for context in ([], [0], [2], [1, 2], [2, 2], [0, 1, 2]):
        a, b = (np.log(model.conditional(context)) for model in (network, counts))
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_neural_bigram_without_smoothing() -> None:
    """On words with many pairs that never come, -log P per symbol is within 1e-3 nats of the counts'."""
    text = " ".join(sorted(vars(np))[:300]) * 2
    symbols = sorted(set(text))
    ids = np.array([symbols.index(c) for c in text])
    network = NeuralMarkov(len(symbols), rng=Generator(1, "init")).fit(ids)
    counts = Markov(len(symbols), alpha=0).fit(ids)
    gap = network.score(ids).mean() - counts.score(ids).mean()
    assert -1e-3 < gap <= 1e-12, "no table tells its own text better than its counts"


def test_fitting_is_training_on_the_text() -> None:
    """The gradient of `fit`'s loss is that of `loss` over the text, at any weights."""
    network = NeuralMarkov(4, rng=Generator(2, "init"), dtype=np.float64)
    loss, _ = network.loss(IDS[:-1, None], tgs.tensor(IDS[1:, None]))
    loss.backward()
    share = Markov(4, 1, alpha=0).fit(IDS)
    p = np.exp(network.table.weight.numpy()[:4])
    p /= p.sum(-1, keepdims=True)
    often = np.bincount(IDS[:-1], minlength=4)[:, None] / (len(IDS) - 1)
    expected = often * (p - [share.conditional([i]) for i in range(4)])
    np.testing.assert_allclose(network.table.weight.grad.numpy()[:4], expected, atol=1e-12)
