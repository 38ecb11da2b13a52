"""The model, the optimiser and the schedule of a run's settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq import optim
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.models import GPT, CharLM, NeuralModel
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.rules import checked_init

__all__ = ["MOST_WEIGHTS", "new_model", "new_optimizer", "new_schedule", "weights_of"]

MOST_WEIGHTS = 1_000_000_000
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def weights_of(symbols: int, config: Config) -> int:
    """How many numbers the model of the settings learns, without making it.

    A recurrent layer of G gates: G H (I + H + 2); a transformer's: 12 H^2 + 2 H, its positions T H.
    """
    h, e = config.hidden, config.hidden if config.embedding is None else config.embedding
    if config.model == "transformer":
        return symbols * h + config.window * h + config.layers * (12 * h * h + 2 * h) + h
    gates = _GATES[config.model]
    layers = gates * h * ((e or symbols) + h + 2) + (config.layers - 1) * gates * h * (2 * h + 2)
    return layers + symbols * e + symbols * (h + 1)


def new_model(vocabulary: Tokenizer, config: Config) -> NeuralModel:
    """The untrained model of the settings, its weights drawn from the stream `init` of the seed.

    Raises ArgumentError for a model that would not fit into memory.
    """
    weights = weights_of(len(vocabulary), config)
    if weights > MOST_WEIGHTS:
        # With the gradient and two moments, four bytes each.
        what = f"train: a model of {weights:,} weights needs {16 * weights / 1e9:,.0f} GB"
        rule = f"expected at most {MOST_WEIGHTS:,} weights."
        raise ArgumentError(
            what, {"hidden": config.hidden, "layers": config.layers}, rule, "Choose less of either."
        )
    rng = Generator(config.seed, "init")
    symbols, hidden, layers = len(vocabulary), config.hidden, config.layers
    model: NeuralModel
    if config.model == "transformer":
        # Without biases, as its published recipe has it.
        model = GPT(symbols, config.window, layers, config.heads, hidden, config.dropout, bias=False, rng=rng)
    else:
        embedding, dropout, cell = config.embedding, config.dropout, config.model
        model = CharLM(symbols, hidden, layers, embedding, dropout, cell=cell, rng=rng)
    _draw_anew(model, config, rng)
    return model


def _draw_anew(model: NeuralModel, config: Config, rng: Generator) -> None:
    """Draw the initial weights where `init` is not "usual"."""
    kind, scale = checked_init(config.init)
    for _, p in model.named_parameters():
        if kind == "uniform":
            p.assign(rng.uniform(-scale, scale, p.shape))
        elif kind == "normal":
            p.assign(rng.randn(*p.shape) * scale if p.ndim > 1 else np.zeros(p.shape, np.float32))
    if config.forget_bias is None:
        return
    h = config.hidden
    for name, p in model.named_parameters():
        if "bias_ih" in name:
            p.array[h : 2 * h] = config.forget_bias
        elif "bias_hh" in name and kind != "uniform":
            p.array[h : 2 * h] = 0.0


def new_optimizer(model: NeuralModel, config: Config) -> optim.Optimizer:
    """The update rule of the settings, over all parameters of a model.

    In a transformer only matrices decay, as its published recipe has it: gains and shifts have no reason to be small.
    """
    rule = getattr(optim, config.optimizer)
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer in ("Adam", "AdamW"):
        settings["betas"] = (_given(config.beta1, 0.9), _given(config.beta2, 0.999))
    if config.optimizer == "RMSprop" and config.alpha is not None:
        settings["alpha"] = config.alpha
    parameters = list(model.parameters())
    if config.model != "transformer" or not config.weight_decay:
        return rule(parameters, **settings)  # type: ignore[no-any-return]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return rule(groups, **settings)  # type: ignore[no-any-return]


def new_schedule(optimizer: optim.Optimizer, config: Config, per_pass: int) -> optim.Schedule:
    """The schedule of the learning rate; `per_pass` is the number of steps in one pass over the text."""
    floor = config.min_lr / config.lr
    if config.schedule == "cosine":
        return optim.CosineWithWarmup(optimizer, total=1, final=floor)
    if config.schedule == "constant":
        return optim.DelayedStepLR(optimizer, 1, 1.0)
    every = max(1, round(config.decay_every * per_pass))
    return optim.DelayedStepLR(optimizer, every, config.decay, round(config.decay_after * per_pass), floor)


def _given(value: float | None, usual: float) -> float:
    return usual if value is None else value
