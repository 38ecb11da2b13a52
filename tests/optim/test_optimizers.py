"""Optimisers and schedules where no other engine is needed to tell right from wrong."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import optim
from tinygrad_seq.errors import ShapeError, describe
from tinygrad_seq.fuser.decorator import composed, kernels_wanted
from tinygrad_seq.optim import buffers
from tinygrad_seq.optim import optimizers as rules

pytestmark = [pytest.mark.engine, pytest.mark.laws, pytest.mark.switched_off]


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


# ---- one buffer for many parameters ------------------------------------------------------------------------
RULES = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1),
    "sgd momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "sgd nesterov": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda ps: optim.Adam(ps, lr=0.1, weight_decay=0.1),
    "adamw amsgrad": lambda ps: optim.AdamW(ps, lr=0.1, amsgrad=True),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.1, centered=True, momentum=0.5, alpha=0.9),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2),
}


def awkward():
    """No axes, no elements, one element, a transposed array, several in one dtype and one in another."""
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s).astype("float32") for s in ((), (0, 3), (1,), (4, 5), (7,), (2, 3, 2))]
    arrays += [arrays[3].T, rng.standard_normal((3, 2))]
    parameters = [tgs.tensor(0.0, requires_grad=True) for _ in arrays]
    for p, a in zip(parameters, arrays, strict=True):
        p.array = a
    return parameters


@pytest.mark.parametrize("rule", RULES)
def test_joined_parameters_learn_as_each_would_alone(rule):
    """Values, moments and step counts, with gradients absent in some steps."""
    joined, alone = awkward(), awkward()
    together, each = RULES[rule](joined), [RULES[rule]([p]) for p in alone]
    rng = np.random.default_rng(2)
    for step in range(6):
        for i, (p, q) in enumerate(zip(joined, alone, strict=True)):
            p.grad = q.grad = None
            if (step + i) % 4 or i > 4:
                g = tgs.tensor(rng.standard_normal(p.shape[::-1]).astype(p.dtype).T)
                p.grad, q.grad = g, g
        together.step()
        with composed():
            for one in each:
                one.step()
        for p, q, one in zip(joined, alone, each, strict=True):
            tolerance = {"float32": 2e-6, "float64": 1e-12}[str(p.dtype)]
            pairs = [(p, q)] + [(together.state[p][k], v) for k, v in one.state.get(q, {}).items()]
            assert list(together.state.get(p, {})) == list(one.state.get(q, {}))
            for mine, theirs in pairs:
                assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
                np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (16384,), (16385,)])
def test_a_parameter_alone_learns_in_a_kernel_as_in_the_composition(shape):
    """One element, none, a whole row and one more."""
    pair = [tgs.tensor(np.full(shape, 2.0), requires_grad=True) for _ in range(2)]
    one, other = (optim.AdamW([p], lr=0.1) for p in pair)
    for _ in range(3):
        for p in pair:
            p.grad = tgs.tensor(np.linspace(-1.0, 1.0, p.size).reshape(shape))
        optim.clip_grad_norm_([pair[0]], 1.0)
        one.step()
        with composed():
            optim.clip_grad_norm_([pair[1]], 1.0)
            other.step()
    assert pair[0].shape == shape
    np.testing.assert_allclose(pair[0].numpy(), pair[1].numpy(), rtol=0, atol=1e-12)


def test_parameters_with_moments_of_other_names_are_updated_apart():
    """Where one has a mean and the other a momentum, as many as the first, neither is given the other's."""
    made = []
    for together in (True, False):
        x, y = parameter(), parameter(2.0)
        settings = {"centered": True, "momentum": 0.5}
        optimizers = [optim.RMSprop(ps, **settings) for ps in ([[x, y]] if together else [[x], [y]])]
        for p, name in ((x, "grad_avg"), (y, "momentum_buffer")):
            p.grad = tgs.ones(2)
            optimizers[-1 if p is y else 0].state[p] = {"square_avg": tgs.ones(2), name: tgs.ones(2) * 0.5}
        for optimizer in optimizers:
            optimizer.step()
        made.append([x.tolist(), y.tolist()])
    assert made[0] == made[1]


@pytest.mark.parametrize("sizes", [(3, 4), (16384, 5)])
def test_from_the_second_step_on_nothing_is_copied_together(sizes, monkeypatch):
    """Parameters and moments come back as they were handed out; after clipping the gradients do too."""
    parameters = [tgs.ones(n, requires_grad=True) for n in sizes]
    optimizer = optim.AdamW(parameters)
    copies = []
    concatenate = np.concatenate
    monkeypatch.setattr(np, "concatenate", lambda *a, **k: copies.append(1) or concatenate(*a, **k))
    for step in range(3):
        copies.clear()
        for p in parameters:
            p.grad = tgs.ones(*p.shape)
        optim.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        assert len(copies) == 1 if step else len(copies) >= 2
    # A parameter that was given another array is not what the buffer holds.
    parameters[1].assign(parameters[1].detach() * 0.0)
    before = [p.numpy().copy() for p in parameters]
    optimizer.step()
    for p, b in zip(parameters, before, strict=True):
        assert 0 < np.abs(p.numpy() - b).max() < 2e-3
    # What is written into one view is what the next step starts from, and its neighbour has nothing of it.
    parameters[0].data[...] = 50.0
    assert np.abs(parameters[1].numpy()).max() < 1.0
    optimizer.step()
    assert parameters[0].numpy().min() > 49.0


def test_what_is_cut_out_knows_its_buffer():
    """A result that is part of something larger is cut out of a copy."""
    arrays = [np.array([1.0, 2.0]), np.array([[3.0], [4.0], [5.0]])]
    joined = buffers.gathered(arrays)
    np.testing.assert_array_equal(joined, [1, 2, 3, 4, 5])
    places = buffers.spans(arrays)
    for buffer in (joined, np.pad(joined, 1)[1:-1], np.concatenate([joined, joined])[:5]):
        views = buffers.cut_up(buffer, places)
        assert [v.tolist() for v in views] == [a.tolist() for a in arrays]
        again = buffers.gathered(views)
        assert np.shares_memory(again, views[0])
        np.testing.assert_array_equal(again, joined)
        assert not np.shares_memory(buffers.gathered(views[::-1]), views[0])
        assert buffers.gathered(views[:1]).tolist() == [1.0, 2.0]


def test_a_step_leaves_a_live_tape_right_when_parameters_are_views():
    """The third step makes a new buffer, as the first did."""
    x, y = parameter(2.0), parameter(3.0)
    optimizer = optim.SGD([x, y], lr=1.0)
    for _ in range(2):
        x.grad, y.grad = tgs.ones(2), tgs.ones(2)
        optimizer.step()
    loss = (x * x * y).sum()
    optimizer.step()
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 2 * -4.0 * -5.0])


def test_a_schedule_needs_no_new_kernel():
    """Another rate, beta, eps or decay is another argument of the same plan; which derives from the rule."""
    if not kernels_wanted():
        pytest.skip("numba is switched off or not installed")
    x = parameter()
    x.grad = tgs.ones(2)
    optimizer = optim.AdamW([x])
    optimizer.step()
    known = len(rules.adam.kernels.plans)
    for k in range(1, 4):
        optimizer.param_groups[0].update(
            lr=0.1 / k, betas=(0.9 / k, 0.99 / k), eps=1e-8 / k, weight_decay=0.1 / k
        )
        optimizer.step()
    assert len(rules.adam.kernels.plans) == known
    assert None not in rules.adam.kernels.plans.values()
    assert "derived from the tape of `adam`" in rules.adam.source().lower()


class Normalised(optim.Optimizer):
    """A rule of one's own that is not elementwise: p less lr times the direction of its gradient."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1.0})

    def update(self, p, g, state, group):
        """The length of g is that of one parameter's gradient."""
        return p - group["lr"] * g / (g * g).sum().sqrt()


class Layerwise(optim.Adam):
    """Adam's update, with its length brought to 1 in each parameter."""

    def update(self, p, g, state, group):
        """Adam's own update sees the parameter in its shape."""
        change = super().update(p, g, state, group) - p
        return p + change / (change * change).sum().sqrt()


@pytest.mark.parametrize("make", [Normalised, Layerwise])
def test_a_rule_that_is_not_elementwise_sees_one_parameter_at_a_time(make):
    """Each moves by a length of 1, one without axes too."""
    parameters = [tgs.tensor(np.zeros(s), requires_grad=True) for s in ((2, 3), (4,), ())]
    for p in parameters:
        p.grad = tgs.tensor(np.full(p.shape, 5.0))
    make(parameters).step()
    for p in parameters:
        assert np.linalg.norm(p.numpy()) == pytest.approx(1.0, rel=1e-6)


def test_a_saved_state_is_a_copy_of_its_own():
    """Neither later steps nor writing into it reach from one to the other; shapes are the parameters'."""
    x, y = tgs.ones(2, 3, requires_grad=True), tgs.ones(4, requires_grad=True)
    x.grad, y.grad = tgs.ones(2, 3), tgs.ones(4)
    optimizer = optim.Adam([x, y])
    optimizer.step()
    saved = optimizer.state_dict()["state"]
    assert {k: v.shape for k, v in saved[0].items()} == {"step": (), "exp_avg": (2, 3), "exp_avg_sq": (2, 3)}
    kept = saved[1]["exp_avg"].copy()
    saved[0]["exp_avg"][...] = saved[0]["step"][...] = 7.0
    assert optimizer.state[x]["exp_avg"].numpy().max() < 1.0
    assert optimizer.state[y]["step"].item() == 1.0
    optimizer.step()
    np.testing.assert_array_equal(saved[1]["exp_avg"], kept)


def test_a_gradient_of_another_shape_is_refused_where_it_is_set():
    """Not at the next step, which may be far away; the gradient before stays."""
    x = parameter()
    for value in (tgs.ones(1, 2), np.ones(3), 1.0):
        with pytest.raises(ShapeError) as error:
            x.grad = value
        shown = describe(value if np.ndim(value) else tgs.tensor(value))
        assert str(error.value) == (
            f"grad: the gradient does not fit.\n  x: f32(2,)\n  grad: {shown.replace('f64', 'f32')}\n"
            "  expected floats of shape (2,)."
        )
    with pytest.raises(tgs.DTypeError):
        x.grad = "ab"
    assert x.grad is None


def test_an_array_may_be_a_gradient():
    """A copy in the parameter's dtype: the step is that of the tensor."""
    x = parameter()
    for value in (np.array([1.0, 2.0]), [1.0, 2.0], tgs.tensor([1.0, 2.0])):
        before = x.numpy()
        x.grad = value
        assert (type(x.grad), x.grad.dtype) == (tgs.Tensor, np.float32)
        optim.SGD([x], lr=0.5).step()
        np.testing.assert_array_equal(x.numpy(), before - np.float32([0.5, 1.0]))


# ---- norms and bounds --------------------------------------------------------------------------------------
def with_gradients(*arrays):
    """Parameters with these gradients."""
    parameters = [tgs.tensor(np.zeros(a.shape, a.dtype), requires_grad=True) for a in arrays]
    for p, a in zip(parameters, arrays, strict=True):
        p.grad = tgs.tensor(a)
    return parameters


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
def test_the_norm_of_a_million_numbers(norm_type):
    """Relative 1e-6 in float32, uneven magnitudes; float32 unless a gradient is float64."""
    rng = np.random.default_rng(0)
    a = (rng.standard_normal(999_000) * np.exp(rng.standard_normal(999_000))).astype("float32")
    b = rng.standard_normal((10, 100)).astype("float32")
    whole = np.concatenate([a, b.ravel()]).astype("float64")
    expected = np.linalg.norm(whole, norm_type)
    norm = optim.grad_norm(with_gradients(a, b), norm_type)
    assert norm.dtype == np.float32
    assert norm.shape == ()
    assert norm.item() == pytest.approx(expected, rel=1e-6)
    mixed = optim.grad_norm(with_gradients(a, b.astype("float64")), norm_type)
    assert mixed.dtype == np.float64
    assert mixed.item() == pytest.approx(expected, rel=1e-12)


def test_norms_of_nothing_and_of_what_is_not_finite():
    """No gradient has norm 0; NaN and inf come through in every norm."""
    x = parameter()
    empty = with_gradients(np.zeros((0, 2), "float32"))
    for norm_type in (1.0, 2.0, math.inf):
        assert optim.grad_norm([x, *empty], norm_type).item() == 0.0
        for bad in (math.nan, math.inf, -math.inf):
            norm = optim.grad_norm(with_gradients(np.array([1.0, bad, 2.0], "float32")), norm_type).item()
            assert str(norm) == ("nan" if math.isnan(bad) else "inf")
    optim.clip_grad_norm_([x, *empty], 1.0)
    optim.clip_grad_value_([x, *empty], 1.0)
    assert x.grad is None
    assert empty[0].grad.shape == (0, 2)


@pytest.mark.parametrize(
    "clip", [lambda ps: optim.clip_grad_norm_(ps, 0.5), lambda ps: optim.clip_grad_value_(ps, 0.5)]
)
def test_clipping_writes_into_no_gradient_that_someone_holds(clip):
    """The first clipping joins copies; the second finds them joined, and still makes new ones."""
    a, b, c = np.array([[3.0, -4.0]], "float32"), np.array([6.0], "float32"), np.array([2.0])
    parameters = with_gradients(a, b, c)
    held = [p.grad.array for p in parameters]
    clip(parameters)
    for array, value in zip(held, (a, b, c), strict=True):
        np.testing.assert_array_equal(array, value)
    assert parameters[0].grad.array.base is parameters[1].grad.array.base
    assert [p.grad.dtype for p in parameters] == ["float32", "float32", "float64"]
    held = [p.grad.array for p in parameters]
    values = [g.copy() for g in held]
    for p in parameters[:2]:
        p.grad.data[...] *= 10.0
    values = [g.copy() for g in held]
    clip(parameters)
    for p, array, value in zip(parameters, held, values, strict=True):
        np.testing.assert_array_equal(array, value)
        assert np.abs(p.grad.numpy()).max() <= 0.5


@pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed")
def test_without_kernels_the_same_comes_out():
    """In another process with NUMBA_DISABLE_JIT=1: three clipped steps of AdamW."""
    code = (
        "import numpy as np, tinygrad_seq as tgs; from tinygrad_seq import optim\n"
        "ps = [tgs.tensor(np.arange(1.0, n), requires_grad=True) for n in (4, 6)]\n"
        "o = optim.AdamW(ps, lr=0.1)\n"
        "for _ in range(3):\n"
        "    for p in ps: p.grad = p.detach() * 2.0\n"
        "    norm = optim.clip_grad_norm_(ps, 1.0); optim.clip_grad_value_(ps, 0.3); o.step()\n"
        "import sys; print([p.tolist() for p in ps], norm.item(), 'numba' in sys.modules)\n"
    )
    found = {}
    for off in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": off}
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found[off] = run.stdout.replace("[", "").replace("]", "").split()
    assert found["1"].pop() == "False"
    assert found["0"].pop() == str(kernels_wanted())
    mine, theirs = ([float(x.strip(",")) for x in found[off]] for off in ("0", "1"))
    assert len(mine) == 9
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


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
