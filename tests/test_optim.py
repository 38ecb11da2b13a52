"""Optimisers and schedules where no other engine is needed to tell right from wrong."""

import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import optim


def parameter(value=1.0):
    return tgs.tensor([value, -value], requires_grad=True)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad])
def test_every_rule_finds_the_bottom_of_a_bowl(make):
    """(x - 3)^2 from 1: within 0.05 after 800 steps."""
    x = parameter()
    optimizer = make([x], lr=0.05 if make is not optim.Adagrad else 0.5)
    for _ in range(800):
        loss = ((x - 3.0) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(x.numpy(), [3, 3], atol=0.05)


def test_a_step_leaves_a_live_tape_right():
    """An assignment makes a new array: a graph recorded before still has its own values."""
    x = parameter(2.0)
    y = (x * x * x).sum()
    x.grad = tgs.ones(2)
    optim.SGD([x], lr=1.0).step()
    x.grad = None
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [12.0, 12.0])


def test_parameters_without_a_gradient_stay():
    """And nothing is kept for them."""
    x, y = parameter(), parameter()
    y.grad = tgs.ones(2)
    optimizer = optim.Adam([x, y], lr=0.1)
    optimizer.step()
    assert x.tolist() == [1.0, -1.0]
    assert list(optimizer.state) == [y]


def test_schedules_are_their_formulas():
    """The rate after each of 12 steps, and after a resume from step 5."""
    expected = {
        "step": [0.5 ** (n // 4) for n in range(13)],
        "exponential": [0.9**n for n in range(13)],
        "cosine": [(n + 1) / 3 for n in range(3)]
        + [0.1 + 0.45 * (1 + math.cos(math.pi * min(1, (n - 3) / 7))) for n in range(3, 13)],
    }
    for name, rates in expected.items():
        for resumed in (False, True):
            optimizer = optim.SGD([{"params": parameter(), "lr": 2.0}, {"params": parameter(), "lr": 1.0}])
            make = {
                "step": lambda o: optim.StepLR(o, 4, 0.5),
                "exponential": lambda o: optim.ExponentialLR(o, 0.9),
                "cosine": lambda o: optim.CosineWithWarmup(o, 10, 3, 0.1),
            }[name]
            schedule = make(optimizer)
            for n in range(13):
                assert schedule.get_last_lr() == pytest.approx([2 * rates[n], rates[n]], rel=1e-12)
                schedule.step()
                if resumed and n == 5:
                    state = schedule.state_dict()
                    schedule = make(optimizer)
                    schedule.load_state_dict(state)


def test_clipping_by_norm_scales_all_alike():
    """Directions stay; the norm comes down to the bound; a small gradient is left alone."""
    x, y = parameter(), parameter()
    x.grad, y.grad = tgs.tensor([3.0, 0.0]), tgs.tensor([0.0, 4.0])
    assert optim.clip_grad_norm_([x, y], 1.0).item() == 5.0
    np.testing.assert_allclose([*x.grad.numpy(), *y.grad.numpy()], [0.6, 0, 0, 0.8], rtol=1e-6)
    assert optim.clip_grad_norm_([x, y], 10.0).item() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), [0.6, 0], rtol=1e-6)


REFUSED = {
    "no parameters": (lambda: optim.SGD([]), "SGD: no parameters given.\n  expected at least one."),
    "a rate": (
        lambda: optim.Adam([parameter()], lr=-1),
        "Adam: lr out of range.\n  expected lr of at least 0, got -1.",
    ),
    "a beta": (
        lambda: optim.AdamW([parameter()], betas=(1.0, 0.9)),
        "AdamW: beta1 out of range.\n  expected beta1 from 0 to below 1, got 1.0.",
    ),
    "nesterov": (
        lambda: optim.SGD([parameter()], nesterov=True),
        "SGD: nesterov needs momentum without dampening.\n"
        "  expected momentum above 0 and dampening 0, got 0.0 and 0.0.",
    ),
    "a setting": (
        lambda: optim.SGD([{"params": [parameter()], "rate": 1}]),
        "SGD: no such setting: rate.\n  expected some of lr, momentum, dampening, weight_decay, nesterov.",
    ),
    "a result": (
        lambda: optim.SGD([parameter() * 2]),
        "SGD: only leaf tensors are learnt.\n  params: f32(2,)   from mul",
    ),
    "other groups": (
        lambda: optim.SGD([parameter()]).load_state_dict(optim.SGD([parameter(), parameter()]).state_dict()),
        "load_state_dict: the groups differ.\n  expected groups of [1] parameters, got [2].",
    ),
    "a non-finite gradient": (
        lambda: _clip_nan(),
        "clip_grad_norm_: the gradient is not finite.\n  norm: f32()\n  expected a finite norm.\n"
        "  Run the step inside detect_anomaly() to see where it first arises.",
    ),
}


def _clip_nan():
    x = parameter()
    x.grad = tgs.tensor([math.nan, 0.0])
    optim.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises((ValueError, RuntimeError)) as error:
        call()
    assert str(error.value) == text
