"""Gradients of the models' losses against finite differences, at order 1 and 2, fused and composed."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import MLPAR, CharLM, NeuralMarkov, NeuralModel, SymbolAR

pytestmark = [pytest.mark.engine, pytest.mark.laws]

IDS = np.random.default_rng(0).integers(0, 3, (5, 2))
MODELS = {
    "bigram": lambda: NeuralMarkov(3, rng=Generator(1)),
    "trigram": lambda: NeuralMarkov(3, 2, rng=Generator(1)),
    "AR(2)": lambda: SymbolAR(3, 2, 4, 2, rng=Generator(1)),
    "RNN": lambda: CharLM(3, 2, cell="rnn", rng=Generator(1)),
    "GRU": lambda: CharLM(3, 2, cell="gru", rng=Generator(1)),
    "LSTM": lambda: CharLM(3, 2, rng=Generator(1)),
}


def loss_of(model: NeuralModel, carried: bool):
    """The loss as a function of the parameters, alone or with the state of a first piece on the tape."""
    names = [name for name, _ in model.named_parameters()]
    homes = dict(model.named_modules())

    def fn(*weights):
        for name, w in zip(names, weights, strict=True):
            path, _, last = name.rpartition(".")
            object.__setattr__(homes[path], last, w)
        state = model(IDS[:2])[1] if carried else None
        return model.loss(IDS[2:-1], tgs.tensor(IDS[3:]), state)[0]

    return fn


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_loss(name: str, carried: bool) -> None:
    model = MODELS[name]().double()
    weights = [tgs.tensor(p.numpy(), requires_grad=True) for p in model.parameters()]
    fn = loss_of(model, carried)
    assert tgs.gradcheck(fn, weights)
    assert tgs.gradcheck(fn, weights, order=2)
    with tgs.composed():
        assert tgs.gradcheck(fn, weights)


def test_gradients_of_the_network_of_values() -> None:
    """Of inputs, which a series of measurements may be."""
    model = MLPAR(2, 3, rng=Generator(1))
    x = tgs.tensor(np.random.default_rng(1).standard_normal((4, 2)), requires_grad=True)
    assert tgs.gradcheck(lambda x: model(x).sum(), [x])
    assert tgs.gradcheck(lambda x: model(x).sum(), [x], order=2)
