"""What is copied, pickled or sent to another process works there as it did here, or is refused in words."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.training.test_threads import at_once
from tinygrad_seq import nn, optim
from tinygrad_seq.engine.random import Generator, drawing_from, manual_seed, stream
from tinygrad_seq.errors import ArgumentError, GraphError
from tinygrad_seq.models import GPT, CharLM
from tinygrad_seq.nn import Module, Parameter

pytestmark = pytest.mark.engine


def pickled(x: Any) -> Any:
    """What comes out of a pickle."""
    return pickle.loads(pickle.dumps(x))


WAYS: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": pickled}


class Own(Parameter):
    """A parameter whose class is made otherwise than the package's."""

    def __init__(self, rows: int):
        super().__init__(np.ones((rows, 2)))


class Net(Module):
    """Layers in every holder, a shared weight, a buffer, generators, and hooks with the handle kept."""

    def __init__(self) -> None:
        rng = Generator(3)
        self.lstm = tgs.LSTM(3, 4, 2, dropout=0.5, zoneout=0.2, rng=rng, dropout_rng=Generator(4, "dropout"))
        self.parts = [nn.Linear(4, 4, rng=rng), {"head": nn.Linear(4, 3, rng=rng)}]
        self.tied = self.parts[0].weight  # type: ignore[attr-defined]
        self.own = Own(1)
        self.drop = nn.Dropout(0.5, rng=Generator(5))
        self.register_buffer("scale", tgs.tensor([2.0]))
        self.calls = 0
        self.handle = self.drop.register_forward_hook(self._called)

    def _called(self, *_: Any) -> None:
        self.calls += 1

    def forward(self, x: Any) -> Any:
        """All of it."""
        h, _ = self.lstm(x)
        h = self.drop(self.parts[0](h) * self.scale)  # type: ignore[operator]
        return self.parts[1]["head"](h) + self.own.sum()  # type: ignore[index]


def trained(model: Any, optimizer: Any, schedules: list[Any], steps: int = 3) -> list[Any]:
    """Losses and rates of some steps."""
    found = []
    for _ in range(steps):
        loss = (model(Generator(1).randn(3, 2, 3)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for schedule in schedules:
            schedule.step()
        found += [loss.item(), *(group["lr"] for group in optimizer.param_groups)]
    return [*found, *(p.tolist() for p in model.parameters())]


def a_run(kind: str = "AdamW") -> tuple[Any, Any, list[Any]]:
    """A model, its optimiser and two schedules, in the middle of a training."""
    model = Net()
    parameters = list(model.parameters())
    groups = [{"params": parameters[:3], "lr": 0.1}, {"params": parameters[3:]}]
    optimizer = getattr(optim, kind)(groups, lr=0.05)
    schedules = [optim.ExponentialLR(optimizer, 0.9), optim.StepLR(optimizer, 2, 0.5)]
    trained(model, optimizer, schedules, 2)
    return model, optimizer, schedules


def rest(run: Any) -> list[Any]:
    """What is done in another process."""
    return trained(*run)


def in_a_process(work: list[tuple[Callable[..., Any], Any]]) -> list[Any]:
    """All in one process that was spawned: it has nothing of ours but what it is sent."""
    return [function(value) for function, value in work]


def drawn(generator: Generator) -> list[float]:
    """The next numbers."""
    return generator.rand(3).tolist()  # type: ignore[no-any-return]


def logits(model: Any) -> Any:
    """What a character model says."""
    return model.eval()(np.array([[0], [1]]))[0].tolist()


def tensor_facts(x: tgs.Tensor) -> list[Any]:
    """All that a tensor is."""
    return [x.tolist(), str(x.dtype), x.requires_grad, x.name, type(x).__name__, x.is_leaf]


def gradients(model: Net) -> list[Any]:
    """Of a call on ones, with what it draws."""
    (model(tgs.ones(2, 1, 3)) ** 2).sum().backward()
    return [model.calls, *(p.grad.tolist() for p in model.parameters() if p.grad is not None)]


def cases() -> list[tuple[Callable[..., Any], Any]]:
    """A function of a value, and the value, made anew at each call."""
    return [
        (tensor_facts, tgs.tensor([[1.0, np.nan], [np.inf, -0.0]], requires_grad=True)),
        (tensor_facts, tgs.tensor([1, 2], dtype="int64")),
        (tensor_facts, tgs.zeros(0, 3, dtype="float64")),
        (tensor_facts, tgs.ones(4, 6)[::2, 1]),
        (tensor_facts, Own(2)),
        (drawn, Generator(7, "mine")),
        (drawn, Generator(2**70)),
        (logits, CharLM(5, 4, embedding=0, rng=Generator(1))),
        (logits, CharLM(5, 4, 2, rng=Generator(1), cell="gru")),
        (logits, GPT(5, block=4, layers=2, heads=2, width=4, rng=Generator(1))),
        (gradients, Net()),
        *((rest, a_run(kind)) for kind in ("SGD", "AdamW", "RMSprop", "Adagrad")),
    ]


def same(found: Any, expected: Any) -> None:
    """Equal in every number, NaN included."""
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_does_what_the_first_does(way: str) -> None:
    """And leaves it as it is."""
    for (function, value), (_, again) in zip(cases(), cases(), strict=True):
        twin = WAYS[way](value)
        found = function(twin)
        same(found, function(again))
        same(function(value), found)


def test_in_threads_at_once() -> None:
    """Copied and used by three threads together."""
    expected = [function(value) for function, value in cases()]
    values = cases()

    def run(way: str) -> list[Any]:
        return [function(value) for function, value in WAYS[way](values)]

    for found in at_once(lambda: run("deepcopy"), lambda: run("pickle"), lambda: run("deepcopy")):
        same(found, expected)


def test_in_a_spawned_process() -> None:
    """Sent there, used there, and the results sent back."""
    expected = [function(value) for function, value in cases()]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(in_a_process, (cases(),))
        sent = pool.apply(copy.copy, (tgs.tensor([1.0, 2.0], requires_grad=True),))
        with pytest.raises(GraphError) as caught:
            pool.apply(copy.copy, (tgs.ones(2, requires_grad=True) * 2.0,))
    same(found, expected)
    assert tensor_facts(sent) == [[1.0, 2.0], "float32", True, "", "Tensor", True]
    assert str(caught.value).startswith("pickle: x was made by a recorded op.\n")


def test_what_is_on_the_tape_is_refused() -> None:
    """Here and below in a module; a value off the tape goes."""
    y = tgs.ones(2, requires_grad=True) * 2.0
    for call, way in (("deepcopy", copy.deepcopy), ("deepcopy", copy.copy), ("pickle", pickle.dumps)):
        for x in (y, [y], {"a": (y,)}):
            if way is copy.copy and x is not y:
                continue
            with pytest.raises(GraphError) as caught:
                way(x)
            assert str(caught.value) == (
                f"{call}: x was made by a recorded op.\n  x: f32(2,)   from mul\n"
                "  only leaves can be copied with their gradient setting.\n  Use x.detach()."
            )
    assert pickled(y.detach()).tolist() == [2.0, 2.0]


def test_what_belongs_together_stays_so() -> None:
    """A weight of two names is one, the optimiser's parameters are the model's, a kept handle is the copy's."""
    for way in WAYS.values():
        model, optimizer, schedules = way(a_run())
        assert model.tied is model.parts[0].weight
        known = {id(p) for g in optimizer.param_groups for p in g["params"]}
        assert known == {id(p) for p in model.parameters()} == {id(p) for p in optimizer.state}
        assert all(s.optimizer is optimizer for s in schedules)
        model.handle.remove()
        assert not model.drop.has_hooks
    first = Net()
    twin = copy.deepcopy(first)
    twin.handle.remove()
    assert first.drop.has_hooks
    one = CharLM(5, 4, embedding=0)
    other = copy.deepcopy(one).double()
    assert logits(other) is not None
    assert other(np.array([[0]]))[0].dtype == np.float64
    assert one(np.array([[0]]))[0].dtype == np.float32


def test_copied_schedules_all_have_their_say() -> None:
    """Also where only one of them steps; a copy on the same optimiser, which would act twice, is refused."""
    for way in WAYS.values():
        _, optimizer, schedules = way(a_run())
        before = [g["lr"] for g in optimizer.param_groups]
        schedules[0].step()
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.9 * lr for lr in before])
    with pytest.raises(ArgumentError) as caught:
        copy.copy(schedules[0])
    assert str(caught.value) == (
        "copy: two schedules of one optimiser would both act on its rates.\n"
        "  Use copy.deepcopy((schedule, optimizer))."
    )


def test_a_copied_generator_is_its_own() -> None:
    """Also that of a default stream, which then belongs to no purpose; it goes on from where that stands."""
    manual_seed(5)
    for way in (*WAYS.values(), copy.copy):
        twin = way(stream("data"))
        assert drawn(twin) == drawn(Generator(5, "data"))
        assert stream("data").drawn == 0
        with drawing_from(Generator(6, "data")):
            assert drawn(way(stream("data"))) == drawn(Generator(6, "data"))
            assert twin.drawn == 1


def test_a_module_that_cannot_be_pickled_says_why() -> None:
    """A function without a name cannot be sent: one line, that of Python's own."""
    for model in (nn.Sequential(lambda x: x), nn.Identity()):
        if isinstance(model, nn.Identity):
            model.register_forward_hook(lambda *_: None)
        with pytest.raises((pickle.PicklingError, AttributeError), match=r"<lambda>") as caught:
            pickle.dumps(model)
        assert "\n" not in str(caught.value)
        copy.deepcopy(model)
