"""Optimisers, schedules and vocabularies that do not belong to what they are used with."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import ArgumentError, CheckpointError, GraphError, RangeError, nn, optim
from tinygrad_seq import functional as F
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import CharLM

pytestmark = pytest.mark.engine


def text_of(error: type[Exception], call: Callable[[], object]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


def rates(optimizer: optim.Optimizer) -> list[float]:
    """The rate of each group."""
    return [group["lr"] for group in optimizer.param_groups]


def weights(count: int = 1) -> list[nn.Parameter]:
    """Parameters of two numbers."""
    return [nn.Parameter([1.0, 2.0]) for _ in range(count)]


# ---- schedules -------------------------------------------------------------------------------------------
@pytest.mark.extra("torch")
def test_two_schedules_multiply() -> None:
    """As PyTorch's StepLR and ExponentialLR on one optimiser; in whichever order they step."""
    import torch

    ours = optim.SGD(weights(2), lr=0.8)
    mine = [optim.StepLR(ours, 2, 0.5), optim.ExponentialLR(ours, 0.9)]
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.8)
    other = [
        torch.optim.lr_scheduler.StepLR(theirs, 2, 0.5),
        torch.optim.lr_scheduler.ExponentialLR(theirs, 0.9),
    ]
    for n in range(7):
        assert rates(ours) == pytest.approx([theirs.param_groups[0]["lr"]], rel=1e-12)
        theirs.step()
        for k in (0, 1) if n % 2 else (1, 0):
            mine[k].step()
            other[k].step()
    saved = [s.state_dict() for s in mine]
    again = optim.SGD(weights(2), lr=0.8)
    new = [optim.StepLR(again, 2, 0.5), optim.ExponentialLR(again, 0.9)]
    for schedule, state in zip(new, saved, strict=True):
        schedule.load_state_dict(state)
    assert rates(again) == rates(ours)


def test_a_schedule_that_nobody_holds_has_no_say() -> None:
    """`schedule = Another(optimizer)` begins from the first rate, not from where the other had come to."""
    optimizer = optim.SGD(weights(), lr=1.0)
    schedule: Any = optim.ExponentialLR(optimizer, 0.1)
    schedule.step()
    schedule = optim.ExponentialLR(optimizer, 0.5)
    gc.collect()
    schedule.step()
    assert rates(optimizer) == [0.5]


def test_a_group_that_joins_under_a_schedule() -> None:
    """At its own rate, times the factors from the next step on; with two schedules too, whichever steps."""
    optimizer = optim.SGD(weights(), lr=1.0)
    schedules = [optim.ExponentialLR(optimizer, 0.5), optim.ExponentialLR(optimizer, 0.1)]
    schedules[0].step()
    optimizer.add_param_group({"params": weights(), "lr": 4.0})
    assert rates(optimizer) == [0.5, 4.0]
    schedules[1].step()
    assert rates(optimizer) == pytest.approx([0.05, 0.2])
    assert schedules[0].base_lrs == schedules[1].base_lrs == [1.0, 4.0]
    third = optim.ExponentialLR(optimizer, 1.0)
    assert third.base_lrs == [1.0, 4.0]
    assert rates(optimizer) == pytest.approx([0.05, 0.2])
    assert text_of(CheckpointError, lambda: schedules[0].load_state_dict({"n": 3, "base_lrs": [1.0]})) == (
        "load_state_dict: the groups differ.\n  expected the rates of 2 groups, got 1."
    )
    assert text_of(ArgumentError, lambda: optim.ExponentialLR(weights(), 0.5)) == (  # type: ignore[arg-type]
        "ExponentialLR: nothing to schedule.\n  expected an optimiser, got list."
    )


def test_beyond_the_end_a_schedule_stays() -> None:
    """Long after `total` the rate is the final one."""
    optimizer = optim.SGD(weights(), lr=2.0)
    schedule = optim.CosineWithWarmup(optimizer, 3, 1, 0.25)
    for _ in range(20):
        schedule.step()
    assert rates(optimizer) == [0.5]


# ---- optimisers ------------------------------------------------------------------------------------------
def test_a_parameter_that_was_replaced_is_noticed() -> None:
    """By another parameter or another layer: the old one would be learnt, and the new one never."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    net[0].weight = nn.Parameter(np.ones((2, 2), np.float32))
    assert text_of(GraphError, optimizer.step) == (
        "step: a parameter has been replaced.\n  old: f32(2, 2)   parameter '0.weight'\n"
        "  new: f32(2, 2)   parameter 'weight'\n"
        "  its module has another one in its place, which would never be learnt.\n"
        "  Make the optimiser after the model is complete, or add_param_group() the new one."
    )
    optimizer.add_param_group({"params": net[0].weight})
    net(tgs.ones(1, 2)).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(net[0].weight.numpy(), 0.9, rtol=1e-6)
    model = nn.Module()
    model.head, model.body = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters())
    model.head = nn.Linear(2, 5)
    with pytest.raises(GraphError, match="a parameter has been replaced"):
        optimizer.step()
    tied = nn.Module()
    tied.a, tied.b = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = optim.Adam(tied.parameters())
    tied.b.weight = tied.a.weight
    optimizer.step()


def test_groups_without_parameters_and_generators_used_up() -> None:
    """Refused, and so is clipping what is left of a generator."""
    spent = (p for p in weights())
    list(spent)
    used_up = "expected at least one. A generator, as of model.parameters(), can be gone through only once."
    for given in ([], spent):
        assert text_of(ArgumentError, lambda given=given: optim.SGD(given)) == (
            "SGD: no parameters given.\n  " + ("expected at least one." if given == [] else used_up)
        )
    assert text_of(ArgumentError, lambda: optim.SGD([{"params": spent}])) == (
        f"SGD: a group has no parameters.\n  {used_up}"
    )
    assert text_of(ArgumentError, lambda: optim.SGD([{"lr": 1.0}])) == (
        "SGD: a group has no 'params'.\n  group: {'lr': 1.0}"
    )
    assert text_of(ArgumentError, lambda: optim.clip_grad_norm_(spent, 1.0)) == (
        "gradients: no parameters are left.\n  expected at least one: a generator can be gone through only once.\n"
        "  Ask again: clip_grad_norm_(model.parameters(), 1.0)."
    )
    (w,) = weights()
    for given in ([w, w], [{"params": [w]}, {"params": [w]}]):
        assert text_of(ArgumentError, lambda given=given: optim.SGD(given)) == (
            "SGD: a parameter stands in two groups.\n  p: f32(2,)"
        )


def test_the_state_of_another_optimizer_is_refused() -> None:
    """Other groups, other settings, a number beyond the parameters; nothing is taken."""
    adam, sgd = optim.Adam(weights()), optim.SGD(weights())
    assert text_of(CheckpointError, lambda: sgd.load_state_dict(adam.state_dict())) == (
        "load_state_dict: no settings of SGD: amsgrad, betas, eps.\n"
        "  expected some of lr, momentum, dampening, weight_decay, nesterov."
    )
    state = adam.state_dict()
    state["state"] = {3: {"step": np.zeros(())}}
    assert text_of(CheckpointError, lambda: adam.load_state_dict(state)) == (
        "load_state_dict: no such parameter.\n  expected numbers from 0 to 0, got 3."
    )
    with pytest.raises(CheckpointError, match="the groups differ"):
        optim.Adam(weights(2)).load_state_dict(adam.state_dict())


# ---- gradients that tensor() would cut -------------------------------------------------------------------
def test_tensors_that_want_gradients_do_not_become_values() -> None:
    """In lists, to any depth, alone, in full; `stack` carries the gradient on, and no_grad() lets values go."""
    w = tgs.tensor([2.0, 3.0], requires_grad=True)
    lost = "{}: the gradient would be lost.\n  x: {}\n  {}\n  {}"
    hint = "Write stack([x, y]), or x.detach() for each."
    for data in ([w[0], w[1]], [[w[0], 1.0], [2.0, w[1]]], ((w[0],), [3.0])):
        for make in (tgs.tensor, tgs.Tensor, nn.Parameter):
            assert text_of(GraphError, lambda make=make, data=data: make(data)) == (
                lost.format("tensor", "f32()   from slice", "expected values alone.", hint)
            )
    assert text_of(GraphError, lambda: tgs.tensor(w * 1.0)) == (
        lost.format(
            "tensor", "f32(2,)   from mul", "expected values alone.", "Write x.clone(), or x.detach()."
        )
    )
    assert text_of(GraphError, lambda: tgs.full((2,), w[0])) == (
        lost.format("full", "f32()   from slice", "expected a number.", "Write x.expand(sizes).")
    )
    with tgs.no_grad():
        assert tgs.tensor([w[0], w[1]]).tolist() == [2.0, 3.0]
        assert tgs.full((2,), w[0]).tolist() == [2.0, 2.0]
    assert tgs.tensor([[w.detach()[0], 1.0], [2.0, 5]]).tolist() == [[2.0, 1.0], [2.0, 5.0]]
    tgs.stack([w[0] * 3.0, w[1]]).sum().backward()
    assert w.grad.tolist() == [3.0, 1.0]


# ---- vocabularies and ids --------------------------------------------------------------------------------
def test_a_vocabulary_of_another_size_is_refused() -> None:
    """By `sample`, `Sampler` and `beam_search`, larger or smaller."""
    model = CharLM(3, 4, rng=Generator(0))
    for letters in ("ab", "abcd"):
        vocabulary = Vocabulary(letters)
        for call in (
            lambda v=vocabulary: tgs.sample(model, v, "a", 3),
            lambda v=vocabulary: tgs.Sampler(model, v),
            lambda v=vocabulary: tgs.beam_search(model, v, "a", 2, 3),
        ):
            assert text_of(ArgumentError, call) == (
                "sample: the vocabulary is not the model's.\n"
                f"  expected one of 3 symbols, as the model has, got {len(letters)}."
            )
    assert len(tgs.Sampler(model, Vocabulary("abc")).sample("a", 3).text) == 3


def test_ids_beyond_either_end_are_refused() -> None:
    """Negative ones too, which NumPy would count from the end; `ignore_index` alone may lie outside."""
    table, logits = nn.Embedding(3, 2), tgs.zeros(2, 3)
    for wrong in (-1, 3):
        ids = np.array([0, wrong])
        for call in (
            lambda i=ids: table(i),
            lambda i=ids: F.one_hot(i, 3),
            lambda i=ids: F.cross_entropy(logits, i),
            lambda i=ids: F.nll_loss(logits, i),
            lambda i=ids: CharLM(3, 4, rng=Generator(0))(i[:, None]),
        ):
            assert f"got {wrong}" in text_of(RangeError, call)
    for padding in (3, -4):
        text = f": padding_idx out of range.\n  expected an id from 0 to 2, got {padding}."
        assert text_of(ArgumentError, lambda k=padding: nn.Embedding(3, 2, k)) == "Embedding" + text
        assert text_of(ArgumentError, lambda k=padding: F.embedding(np.array([0]), tgs.ones(3, 2), k)) == (
            "embedding" + text
        )
    assert F.cross_entropy(logits, np.array([0, -100])).item() == pytest.approx(np.log(3.0))


def test_a_copied_schedule_schedules_the_copied_optimizer() -> None:
    """By deepcopy and by pickle, together; the first goes on as before."""
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    for twin, other in (
        copy.deepcopy((schedule, optimizer)),
        pickle.loads(pickle.dumps((schedule, optimizer))),
    ):
        twin.step()
        assert rates(other) == [0.25]
    assert rates(optimizer) == [0.5]


def test_whatever_has_parameters_is_taken_for_them() -> None:
    """A module alone, in a group, and for clipping; what cannot be gone through is refused in words."""
    layer = nn.Linear(2, 1)
    layer(tgs.ones(1, 2)).sum().backward()
    assert len(optim.Adam([{"params": layer, "lr": 0.1}]).param_groups[0]["params"]) == 2
    norm = nn.utils.clip_grad_norm_(layer, 1.0)
    assert norm.item() == pytest.approx(3**0.5, rel=1e-6)
    assert text_of(ArgumentError, lambda: optim.SGD([{"params": 3}], lr=0.1)) == (
        "SGD: nothing to learn.\n  params: 3\n  expected parameters, as of model.parameters()."
    )
