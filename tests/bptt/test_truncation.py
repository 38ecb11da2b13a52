"""Truncation on the live tape: against full BPTT, chunks, the explicitly cut graph, and all outcomes of a draw."""

import gc
import itertools
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import bptt, nn, optim
from tinygrad_seq.bptt import TruncatedBPTT

pytestmark = pytest.mark.engine

H, B = 4, 3


class Plain:
    """h = tanh(x W + h U + b), loss = mean((h V - y)^2): with weights given from outside, for chosen versions."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.params = [
            tgs.tensor(rng.standard_normal(shape) * 0.7, requires_grad=True)
            for shape in ((2, H), (H, H), (H,), (H, 1))
        ]

    def step(self, item, h, params=None):
        w, u, b, v = params or self.params
        x, y = item
        h = (x @ w + h @ u + b).tanh()
        return ((h @ v - y) ** 2).mean(), h

    def start(self):
        return tgs.tensor(np.zeros((B, H)) + 0.3, requires_grad=True)


class Gated:
    """An LSTM layer, one step at a time, and a readout."""

    def __init__(self):
        self.lstm = nn.LSTM(2, H, 2, rng=tgs.Generator(1)).double()
        self.head = nn.Linear(H, 1, rng=tgs.Generator(2)).double()
        self.params = [*self.lstm.parameters(), *self.head.parameters()]

    def step(self, item, state):
        x, y = item
        out, state = self.lstm(x[None], state)
        return ((self.head(out[0]) - y) ** 2).mean(), state

    def start(self):
        return tuple(tgs.tensor(np.full((2, B, H), 0.2), requires_grad=True) for _ in range(2))


def items(steps, seed=3):
    rng = np.random.default_rng(seed)
    return [tuple(tgs.tensor(rng.standard_normal((B, n))) for n in (2, 1)) for _ in range(steps)]


def leaves(model, state):
    return [*model.params, *(state if isinstance(state, tuple) else (state,))]


def gradients(tensors):
    return [None if t.grad is None else t.grad.numpy().copy() for t in tensors]


def forget(tensors):
    for t in tensors:
        t.grad = None


def windows(model, runner, data, state):
    """The gradients that each window adds, one list for each."""
    found, tensors = [], leaves(model, state)

    def update():
        found.append(gradients(tensors))
        forget(tensors)

    runner.run(model.step, data, state, update)
    return found


def cut_graph(model, data, state, k1, k2):
    """The same from scratch: each window's forward pass again, its state cut off by hand."""
    values, h = [state], state
    with tgs.no_grad():
        for item in data:
            h = model.step(item, h)[1]
            values.append(h)
    found, tensors = [], leaves(model, state)
    for start in range(0, len(data), k1):
        end = min(start + k1, len(data))
        first = max(0, start - (k2 - k1)) if k2 >= k1 else max(start, end - k2)
        h = values[first] if first == 0 else tgs.detach(values[first])
        losses = []
        for t in range(first, end):
            loss, h = model.step(data[t], h)
            losses += [loss] if t >= start else []
        sum(losses[1:], losses[0]).backward()
        found.append(gradients(tensors))
        forget(tensors)
    return found


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, b)


MODELS = [Plain, Gated]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("k2", [11, 12, 1000, None, "full"])
def test_k2_of_at_least_t_is_full_bptt_bit_for_bit(model, k2):
    """One window over all, and one over all before it for each period."""
    model, data = model(), items(11)
    state, whole = model.start(), []
    h = state
    for item in data:
        loss, h = model.step(item, h)
        whole.append(loss)
    sum(whole[1:], whole[0]).backward()
    expected = [gradients(leaves(model, state))]
    forget(leaves(model, state))
    same(windows(model, TruncatedBPTT(11, k2), data, state), expected)
    periods = []
    for start in range(0, 11, 4):
        h, losses = state, []
        for item in data:
            loss, h = model.step(item, h)
            losses.append(loss)
        chosen = losses[start : start + 4]
        sum(chosen[1:], chosen[0]).backward()
        periods.append(gradients(leaves(model, state)))
        forget(leaves(model, state))
    same(windows(model, TruncatedBPTT(4, None if k2 in (None, "full") else k2 + 3), data, state), periods)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("steps", "k"), [(12, 4), (11, 4), (3, 4), (5, 1), (1, 1)])
def test_k1_equal_to_k2_is_detaching_each_chunk(model, steps, k):
    """Bit for bit, a shorter last chunk included."""
    model, data = model(), items(steps)
    state = model.start()
    h, expected = state, []
    for start in range(0, steps, k):
        losses = []
        h = h if start == 0 else tgs.detach(h)
        for item in data[start : start + k]:
            loss, h = model.step(item, h)
            losses.append(loss)
        sum(losses[1:], losses[0]).backward()
        expected.append(gradients(leaves(model, state)))
        forget(leaves(model, state))
    same(windows(model, TruncatedBPTT(k, k), data, state), expected)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("k1", "k2"), [(1, 2), (1, 5), (2, 3), (3, 7), (4, 6), (2, 8), (3, 1), (5, 2), (4, 3), (20, 3), (20, 1)]
)
def test_windows_equal_the_explicitly_cut_graph(model, k1, k2):
    """Bit for bit, overlapping windows and windows shorter than a period."""
    model, data = model(), items(13)
    state = model.start()
    same(windows(model, TruncatedBPTT(k1, k2), data, state), cut_graph(model, data, state, k1, k2))


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.RMSprop])
def test_a_window_over_an_update_sees_the_values_of_its_forward_pass(optimizer):
    """Each step's weights as they were in that step, from scratch with one leaf for each version."""
    model, data, k1, k2 = Plain(), items(12), 2, 6
    rule = optimizer(model.params, lr=0.05)
    versions, states, found = [], [], []
    now = [p.numpy().copy() for p in model.params]

    def step(item, h):
        versions.append([p.numpy().copy() for p in model.params])
        states.append(h.numpy().copy())
        return model.step(item, h)

    def update():
        found.append(gradients(model.params))
        rule.step()
        rule.zero_grad()

    TruncatedBPTT(k1, k2).run(step, data, model.start(), update)
    assert all(np.any(p.numpy() != before) for p, before in zip(model.params, now, strict=True))
    for n, start in enumerate(range(0, 12, k1)):
        first = max(0, start - (k2 - k1))
        own = [[tgs.tensor(a, requires_grad=True) for a in versions[t]] for t in range(first, start + k1)]
        h, total = tgs.tensor(states[first]), tgs.tensor(np.zeros(()))
        for t in range(first, start + k1):
            loss, h = model.step(data[t], h, own[t - first])
            total = total + loss if t >= start else total
        total.backward()
        for i, g in enumerate(found[n]):
            uses = [params[i].grad.numpy() for params in own if params[i].grad is not None]
            np.testing.assert_allclose(g, np.sum(uses, axis=0), rtol=1e-12, atol=1e-15)


def test_writing_in_place_over_a_live_window_is_refused():
    """What an optimiser does not do is noticed, not silently wrong."""
    model = Plain()

    def update():
        for p in model.params:
            p.data -= 0.01 * p.grad.numpy()
            p.grad = None

    with pytest.raises(tgs.GraphError, match="was changed in place"):
        TruncatedBPTT(2, 6).run(model.step, items(8), model.start(), update)
    TruncatedBPTT(2, 2).run(model.step, items(8), model.start(), update)  # nothing live is behind the update


def test_carry_by_hand_is_run():
    """The two ways to drive it."""
    model, data = Plain(), items(10)
    state = model.start()
    expected = windows(model, TruncatedBPTT(3, 5), data, state)
    runner, h, found = TruncatedBPTT(3, 5), state, []
    for item in data:
        loss, h = model.step(item, h)
        h = runner.carry(h, loss)
        if runner.due:
            found.append(gradients(leaves(model, state)))
            forget(leaves(model, state))
    assert runner.finish()
    found.append(gradients(leaves(model, state)))
    same(found, expected)
    assert not runner.finish()


def test_steps_without_a_loss_and_states_of_any_form():
    """None as a loss; a dict of tensors and None as a state."""
    w = tgs.tensor(1.5, requires_grad=True)
    runner, state = TruncatedBPTT(2, 4), {"h": tgs.tensor(1.0), "more": [None, ()]}
    for t in range(6):
        state = {**state, "h": state["h"] * w}
        state = runner.carry(state, state["h"] if t == 5 else None)
    assert runner.due
    assert w.grad.item() == pytest.approx(4 * 1.5**5)  # four uses of six are within reach
    assert state["more"] == [None, ()]


def test_the_mean_loss_and_the_last_state_come_back():
    """Off the tape, the mean over the steps that have one."""
    w = tgs.tensor(2.0, requires_grad=True)

    def step(item, h):
        h = h * w
        return (h if item else None), h

    mean, state = TruncatedBPTT(2, 3).run(step, [True, False, True], tgs.tensor(1.0))
    assert mean == 5.0
    assert state.item() == 8.0
    assert not state.requires_grad
    assert TruncatedBPTT(2, 3).run(step, [], tgs.tensor(1.0))[0] == 0.0


def test_the_weight_keeps_its_immediate_term_at_a_cut():
    """h_t = h_(t-1) U with h_(t-1) cut: U still learns from the value of h_(t-1), and h_(t-1) from its output."""
    u = tgs.tensor([[0.5, 0.1], [0.2, -0.3]], requires_grad=True)
    h = tgs.tensor([[1.0, 2.0]], requires_grad=True)
    (bptt.cut(h) @ u).sum().backward()
    np.testing.assert_array_equal(u.grad.numpy(), [[1.0, 1.0], [2.0, 2.0]])
    assert h.grad is None
    first = h * 1.0
    (first.sum() * 3.0 + (bptt.cut((first, None))[0] @ u).sum()).backward()
    np.testing.assert_array_equal(h.grad.numpy(), [[3.0, 3.0]])


def test_rows_of_the_batch_are_detached_alone():
    """Masked rows get exactly nothing, the others what they got; both layouts of a state."""
    mask = np.array([True, False, True])
    for shape, at in (((3, 2), (slice(None),)), ((2, 3, 2), (slice(None), slice(None)))):
        h = tgs.randn(*shape, requires_grad=True)
        kept = bptt.detach((h, {"c": h}), where=tgs.tensor(mask))
        np.testing.assert_array_equal(kept[0].numpy(), h.numpy())
        (kept[0] ** 2 + kept[1]["c"]).sum().backward()
        expected = 2 * h.numpy() + 1
        expected[(*at[:-1], mask)] = 0
        np.testing.assert_array_equal(h.grad.numpy(), expected)
    h = tgs.ones(3, requires_grad=True)
    bptt.detach(h, where=mask).sum().backward()
    np.testing.assert_array_equal(h.grad.numpy(), [0, 1, 0])
    assert not bptt.detach(h, where=[True] * 3).requires_grad
    assert bptt.detach(h, where=[False] * 3) is h
    assert not bptt.detach([h])[0].requires_grad


def test_a_masked_row_passes_no_nan_back():
    """Selected, not multiplied by zero."""
    h = tgs.ones(2, 1, requires_grad=True)
    (bptt.detach(h, where=[True, False]) * tgs.tensor([[np.nan], [2.0]])).sum().backward()
    np.testing.assert_array_equal(h.grad.numpy(), [[0.0], [2.0]])


# ---- randomised -----------------------------------------------------------------------------------------
class Scripted(tgs.Generator):
    """A generator that says whether each edge closes."""

    def __init__(self, closes):
        super().__init__(0)
        self.draws = iter(closes)

    def rand(self, *_, **__):
        return tgs.tensor(np.array([0.0 if next(self.draws) else 1.0]))


@pytest.mark.parametrize("alpha", [None, 4.0])
@pytest.mark.parametrize("k1", [1, 2, 5])
def test_randomized_truncation_is_unbiased(alpha, k1):
    """The mean over all outcomes, each with its probability, is the full gradient."""
    model, data, mean = Plain(), items(5), 3
    state = model.start()
    full = sum_of(windows(model, TruncatedBPTT(5), data, state))
    expected = [np.zeros_like(g) for g in full]
    mass, lengths = 0.0, set()
    for closes in itertools.product([False, True], repeat=5):
        probability, since = 1.0, 1
        for closed in closes:
            c = 1 / mean if alpha is None else (alpha - 1) / ((alpha - 2) * mean + since)
            probability *= c if closed else 1 - c
            since = 1 if closed else since + 1
        runner = TruncatedBPTT(k1, mean, randomized=True, alpha=alpha, rng=Scripted(closes))
        found = sum_of(windows(model, runner, data, state))
        lengths.add(float(found[1][0, 0]))
        mass += probability
        for total, g in zip(expected, found, strict=True):
            total += probability * g
    assert mass == pytest.approx(1.0)
    assert len(lengths) > 8
    for a, b in zip(expected, full, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def sum_of(found):
    columns = zip(*found, strict=True)
    return [np.sum([g for g in column if g is not None], axis=0) for column in columns]


def test_randomized_truncation_repeats_with_its_generator():
    """And differs from another's."""
    model, data = Plain(), items(12)
    runs = [
        sum_of(
            windows(model, TruncatedBPTT(4, 3, randomized=True, rng=tgs.Generator(n)), data, model.start())
        )
        for n in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert np.any(runs[0][1] != runs[2][1])


# ---- memory -----------------------------------------------------------------------------------------------
def peak(runner, steps):
    """The most bytes held: rows enough that arrays, not Python's own lists of free objects, make up the sum."""
    model, rng, rows = Plain(), np.random.default_rng(0), 1000
    rule = optim.SGD(model.params, lr=1e-3)
    stream = (tuple(tgs.tensor(rng.standard_normal((rows, n))) for n in (2, 1)) for _ in range(steps))

    def update():
        rule.step()
        rule.zero_grad()

    gc.collect()
    tracemalloc.start()
    runner.run(model.step, stream, tgs.tensor(np.zeros((rows, H))), update)
    high = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return high


@pytest.mark.parametrize(("k1", "k2"), [(10, 20), (20, 20), (40, 20)])
def test_memory_does_not_grow_with_the_sequence(k1, k2):
    """Four times the steps, the same peak; without truncation it is a multiple."""
    short, long = peak(TruncatedBPTT(k1, k2), 100), peak(TruncatedBPTT(k1, k2), 400)
    assert long < 1.1 * short
    assert peak(TruncatedBPTT(400), 400) > 5 * long


def test_the_tape_behind_a_window_is_freed_at_once():
    """No collector needed: nodes hold no cycles."""
    model, runner, made = Plain(), TruncatedBPTT(2, 4), []
    h = model.start()
    gc.disable()
    try:
        for item in items(20):
            loss, h = model.step(item, h)
            made.append(weakref.ref(h.node))
            h = runner.carry(h, loss)
        assert sum(r() is not None for r in made) <= 4
    finally:
        gc.enable()


# ---- refusals -----------------------------------------------------------------------------------------------
def test_a_loss_that_reaches_behind_its_window_is_told():
    """By a list of old states, as a maximum over time would."""
    model, kept = Plain(), []

    def step(item, h):
        loss, h = model.step(item, h)
        kept.append(h)
        return loss + sum(k.sum() for k in kept[-6:]) * 0.1, h

    with pytest.raises(tgs.GraphError) as told:
        TruncatedBPTT(2, 4).run(step, items(8), model.start())
    text = str(told.value).splitlines()
    assert text[0] == "TruncatedBPTT: a loss reaches behind its window by another way than the state."
    assert text[1:] == [
        "  loss: f64()   from add step 5",
        "  reached: f64(3, 4)   from matmul step 0",
        "  expected nothing from before step 2 but the state.",
        "  Cut what is kept of earlier steps with detach(), or use k2='full' with checkpoint().",
    ]


def test_what_is_made_once_for_many_steps_is_no_leak():
    """An input's product taken out of the loop, for all steps or for a chunk of them."""
    model = Plain()

    def hoisted(data):
        for chunk in itertools.batched(data, 6) if hasattr(itertools, "batched") else [data]:
            xw = tgs.stack([x for x, _ in chunk]) @ model.params[0]
            yield from ((xw[i], y) for i, (_, y) in enumerate(chunk))

    def step(item, h):
        return model.step((item[0], item[1]), h, [tgs.tensor(np.eye(H)), *model.params[1:]])

    runner, data = TruncatedBPTT(2, 4), items(12)
    runner.run(step, hoisted(data), model.start())
    found = gradients(model.params)
    forget(model.params)
    runner.run(model.step, data, model.start())
    for a, b in zip(found, gradients(model.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: TruncatedBPTT(0, 3),
            "TruncatedBPTT: k1 out of range.\n  expected a whole number of at least 1, got 0.",
        ),
        (
            lambda: TruncatedBPTT(2, 2.5),
            "TruncatedBPTT: k2 out of range.\n  expected a whole number of at least 1, got 2.5.",
        ),
        (
            lambda: TruncatedBPTT(2, "all"),
            "TruncatedBPTT: k2 out of range.\n  expected a whole number of at least 1, got 'all'.",
        ),
        (
            lambda: TruncatedBPTT(2, 1, randomized=True),
            "TruncatedBPTT: k2 out of range.\n  expected a whole number of at least 2, got 1.",
        ),
        (
            lambda: TruncatedBPTT(2, randomized=True),
            "TruncatedBPTT: randomised needs a length.\n  expected k2, the mean number of steps.",
        ),
        (
            lambda: TruncatedBPTT(2, 4, alpha=3.0),
            "TruncatedBPTT: alpha out of place.\n"
            "  expected randomised=True and alpha above 2, got randomised=False, alpha=3.0.",
        ),
        (
            lambda: TruncatedBPTT(2, 4).carry(tgs.zeros(2), tgs.zeros(2)),
            "TruncatedBPTT: a step's loss is one number.\n  loss: f32(2,)\n"
            "  expected 1 element, got shape (2,); use .sum() or .mean().",
        ),
        (
            lambda: bptt.detach(tgs.zeros(2, 3), where=[True]),
            "detach: the mask does not fit.\n  state: f32(2, 3)\n  where: bool(1,)\n"
            "  expected (2,) booleans, one for each row along axis -2.",
        ),
        (
            lambda: bptt.detach(tgs.zeros(2, 3), where=[0, 1]),
            "detach: the mask does not fit.\n  state: f32(2, 3)\n  where: i64(2,)\n"
            "  expected (2,) booleans, one for each row along axis -2.",
        ),
        (
            lambda: bptt.cut((tgs.zeros(2), "h")),
            "state: not made of tensors.\n  part: 'h'\n"
            "  expected a tensor, None, or tuples, lists and dicts of them.",
        ),
    ],
)
def test_what_is_refused(make, text):
    """The whole text."""
    with pytest.raises((tgs.ArgumentError, tgs.ShapeError, tgs.DTypeError)) as told:
        make()
    assert str(told.value) == text
