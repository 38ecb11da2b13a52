"""`checkpoint`: the gradients are those without it, the memory is not."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import GraphError, Tensor, checkpoint, gradcheck, nn
from tinygrad_seq import functional as F
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.random import Generator, manual_seed, stream

Step = Callable[..., Any]


def plainly(fn: Step, *inputs: Any) -> Any:
    """What `checkpoint` is compared with."""
    return fn(*inputs)


def weights() -> tuple[Tensor, Tensor]:
    """A state and a matrix, in float32, that want gradients; the same at every call."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3), (3, 3)))
    return tgs.tensor(x, requires_grad=True), tgs.tensor(w * 0.5, requires_grad=True)


def unrolled(segment: Step, steps: int = 3) -> list[Any]:
    """The loss of a recurrence and its gradients at state and weight, its segments run by `segment`."""
    x, w = weights()

    def step(h: Tensor) -> tuple[Tensor, Tensor]:
        a = (h @ w).tanh()
        return a, (a * w[0] + h).sum()

    h, loss = x, Tensor(0.0)
    for _ in range(steps):
        h, part = segment(step, h)
        loss = loss + part + (h * h).sum()
    loss = loss + (w * w).sum()
    gradients = tgs.grad(loss, [x, w])
    return [loss.array, *(g.array for g in gradients)]


def assert_bit_equal(some: list[Any], others: list[Any]) -> None:
    """Same arrays to the last bit."""
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_are_bit_equal() -> None:
    """Inputs, carried state and closed-over parameters get the very gradients they get without it."""
    assert_bit_equal(unrolled(checkpoint), unrolled(plainly))


def test_nested_checkpoints_are_bit_equal() -> None:
    """A checkpoint inside a checkpoint inside a checkpoint changes nothing either."""

    def nested(step: Step, h: Tensor) -> Any:
        return checkpoint(lambda h: checkpoint(lambda h: checkpoint(step, h), h), h)

    assert_bit_equal(unrolled(nested), unrolled(plainly))


def test_dot_grad_is_bit_equal() -> None:
    """backward() reaches the leaves inside as well, those named as inputs and those closed over."""
    slopes = []
    for run in (checkpoint, plainly):
        x, w = weights()
        run(lambda h, w=w: (h @ w).exp() * w.sum(), x).sum().backward()
        assert x.grad is not None
        assert w.grad is not None
        slopes.append([x.grad.array, w.grad.array])
    assert_bit_equal(*slopes)


def test_random_draws_are_repeated() -> None:
    """The replay draws the same dropout masks, and leaves the streams where the forward pass left them."""
    results = []
    for run in (checkpoint, plainly):
        manual_seed(3)
        x, w = weights()
        stream("dropout").rand(5)

        def noisy(h: Tensor, w: Tensor = w) -> Tensor:
            kept = stream("dropout").rand(4, 3) < 0.5
            return (h @ w) * kept * stream("other").rand(3)

        h = run(noisy, run(noisy, x))
        between = stream("dropout").rand(2)
        gradients = tgs.grad((h * h).sum(), [x, w])
        after = stream("dropout").rand(3)
        results.append([h.array, between.array, after.array, *(g.array for g in gradients)])
        assert stream("dropout").drawn == 5
    assert_bit_equal(*results)


def test_random_draws_are_repeated_after_another_seed() -> None:
    """Seeding anew between forward and backward does not change what the replay draws."""
    results = []
    for run in (checkpoint, plainly):
        manual_seed(3)
        x, _ = weights()
        loss = run(lambda h: h * h * stream("first drawn inside").rand(3), x).sum()
        manual_seed(4)
        results.append([tgs.grad(loss, x).array, stream("first drawn inside").rand(3).array])
    assert_bit_equal(*results)


def test_draws_of_any_generator_are_repeated() -> None:
    """One's own, of a layer, seeded by the system, or made inside; also where checkpoints are nested."""
    results = []
    for run in (checkpoint, plainly):
        manual_seed(3)
        own, drop = Generator(5), nn.Dropout(0.5, rng=Generator(6))
        x, w = weights()

        def inner(h: Tensor, own: Generator = own, drop: Any = drop) -> Tensor:
            return drop(h * own.rand(4, 3)) + stream("dropout").rand(3) * Generator(8).rand(3)

        def outer(
            h: Tensor, own: Generator = own, w: Tensor = w, run: Any = run, inner: Any = inner
        ) -> Tensor:
            return run(inner, (h @ w) * own.rand(3)) * own.rand(3)

        h = run(outer, x)
        gradients = tgs.grad((h * h).sum(), [x, w])
        results.append([h.array, *(g.array for g in gradients), own.rand(2).array, tgs.rand(2).array])
    assert_bit_equal(*results)
    x, _ = weights()
    y = checkpoint(lambda h: h * Generator().rand(4, 3), x)
    np.testing.assert_array_equal(tgs.grad(y.sum(), x).numpy() * x.numpy(), y.numpy())


@pytest.mark.parametrize(("first", "then", "how"), [(1, 2, "more"), (2, 1, "fewer"), (1, 0, "fewer")])
def test_other_draws_than_at_first_are_refused(first: int, then: int, how: str) -> None:
    """As where the model was switched to evaluation between the two passes."""
    x, _ = weights()
    count = [first]

    def noisy(h: Tensor) -> Tensor:
        for _ in range(count[0]):
            h = F.dropout(h, 0.5)
        return h

    y = checkpoint(noisy, x)
    count[0] = then
    with pytest.raises(GraphError) as caught:
        tgs.grad(y.sum(), x)
    assert str(caught.value) == (
        "checkpoint: the function does not do the same again.\n"
        f"  expected as many random draws as in the forward pass, got {how}."
    )


def test_derivatives_of_any_order_pass_through() -> None:
    """create_graph works through a checkpoint: it agrees with differences at orders 1 to 3."""
    rng = np.random.default_rng(0)
    x, w = (tgs.tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3), (3, 3)))
    for order in (1, 2, 3):
        assert gradcheck(lambda x, w: checkpoint(lambda h: (h @ w).tanh() * h, x), (x, w), order=order)
        assert gradcheck(
            lambda x, w: checkpoint(lambda h, w: checkpoint(lambda h: ((h @ w).sin(), h.exp()), h)[0], x, w),
            (x, w),
            order=order,
        )


def test_outputs_may_go_unused() -> None:
    """Of several outputs, those that no loss uses send nothing back."""
    x, w = weights()
    first, second, third = checkpoint(lambda h: ((h @ w).tanh(), h * 2.0, (h * h).exp()), x)
    assert tgs.grad(second.sum(), x, retain_graph=True).tolist() == [[2.0] * 3] * 4
    assert tgs.grad(third.sum(), x).shape == x.shape
    with pytest.raises(GraphError, match="earlier backward"):
        tgs.grad(first.sum(), x)


def test_outputs_without_a_gradient_stay_without() -> None:
    """Whole numbers, truths and constants among the outputs do not start to want gradients."""
    x, _ = weights()
    y, best, positive, cut = checkpoint(lambda h: (h * h, h.argmax(1), h > 0.0, ops.cut(h)), x)
    assert [t.requires_grad for t in (y, best, positive, cut)] == [True, False, False, False]
    slope = tgs.grad((y * positive * cut).sum() + y[[0, 1], best[:2]].sum(), x).array
    expected = 2 * x.array * np.maximum(x.array, 0)
    expected[[0, 1], best.array[:2]] += 2 * x.array[[0, 1], best.array[:2]]
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_what_does_nothing_costs_nothing() -> None:
    """The identity, a constant function and one under no_grad come back as they are."""
    x, _ = weights()
    y = x * 2.0
    same = checkpoint(lambda h: h, y)
    assert tgs.grad((same * y).sum(), x).tolist() == (8.0 * x.array).tolist()
    constant = Tensor([1.0])
    assert checkpoint(lambda h: constant, x) is constant
    with tgs.no_grad():
        assert not checkpoint(lambda h: h * h, x).requires_grad


def test_what_happens_inside_is_not_kept() -> None:
    """After the forward pass only inputs and outputs are alive; after backward not even those are held."""
    x, w = weights()
    inside: list[weakref.ref[Any]] = []

    def step(h: Tensor) -> Tensor:
        a = (h @ w).exp()
        inside.append(weakref.ref(a.array))
        return (a * a).tanh()

    h = x * 1.0
    first = weakref.ref(h.array)
    loss = checkpoint(step, h).sum()
    del h
    assert inside[0]() is None
    assert first() is not None
    loss.backward()
    assert len(inside) == 2
    assert inside[1]() is None
    assert first() is None
    with pytest.raises(GraphError, match="walked before"):
        loss.backward()


def test_a_kept_graph_is_replayed_again() -> None:
    """With retain_graph each walk runs the segment anew and finds the same gradient."""
    x, w = weights()
    calls: list[int] = []

    def step(h: Tensor) -> Tensor:
        calls.append(1)
        return (h @ w).tanh()

    loss = checkpoint(step, x).sum()
    first = tgs.grad(loss, [x, w], retain_graph=True)
    again = tgs.grad(loss, [x, w])
    assert len(calls) == 3
    assert_bit_equal([g.array for g in first], [g.array for g in again])


def test_a_replay_on_changed_values_is_refused() -> None:
    """An input or a closed-over parameter written to since the forward pass would give a wrong gradient."""
    x, w = weights()
    w.name = "w"
    for change in (x, w):
        loss = checkpoint(lambda h: (h @ w).tanh(), x).sum()
        change.data -= 1.0
        with pytest.raises(GraphError, match="the gradient of checkpoint reads was changed in place"):
            loss.backward()
    loss = checkpoint(lambda h: (h @ w).tanh(), x).sum()
    w.assign(w.detach() * 2.0)
    with pytest.raises(GraphError) as caught:
        loss.backward()
    assert str(caught.value) == (
        "backward: a tensor that a checkpointed function reads took a new value.\n"
        "  tensor: f32(3, 3)   parameter 'w'\n"
        "  read by: f32(4, 3)   from checkpoint\n"
        "  expected the value of the forward pass, for the function runs again.\n"
        "  Call backward() before assign()."
    )


def test_an_input_that_was_assigned_since_is_replayed_as_it_was() -> None:
    """Inputs are kept by the checkpoint: a new value afterwards does not reach the replay."""
    x, w = weights()
    expected = tgs.grad((x @ w).tanh().sum(), [x, w])
    loss = checkpoint(lambda h, w: (h @ w).tanh(), x, w).sum()
    x.assign(x.detach() + 1.0)
    w.assign(w.detach() + 1.0)
    assert_bit_equal([g.array for g in tgs.grad(loss, [x, w])], [g.array for g in expected])


def test_only_wanted_gradients_are_walked() -> None:
    """A replay walks only what leads to the targets asked for."""
    x, w = weights()
    loss = checkpoint(lambda h: (h.exp() @ w).sum() + h.sum(), x)
    assert tgs.grad(loss, w).tolist() == tgs.grad((x.exp() @ w).sum(), w).tolist()


def test_hooks_inside_run_in_the_replay() -> None:
    """A hook registered by the function acts on the gradient inside."""
    x, _ = weights()

    def step(h: Tensor) -> Tensor:
        y = h * 2.0
        y.register_hook(lambda g: g * 10.0)
        return y * 3.0

    assert tgs.grad(checkpoint(step, x).sum(), x).tolist() == [[60.0] * 3] * 4


def test_ops_of_a_replay_stand_where_the_checkpoint_stood() -> None:
    """An error inside a replay names the scope and time step of the forward pass."""
    x, _ = weights()
    places = []
    with tgs.scope("block"), tgs.time_step(7):
        loss = checkpoint(lambda h: places.append((h * h).origin) or (h * h).sum(), x)
    loss.backward()
    assert places == ["from mul in block, step 7"] * 2
