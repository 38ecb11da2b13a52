"""Public callables and arguments that they take, for `odd_calls`, which puts an odd one in the place of each.

`TENSORS` maps a name to what makes its arguments anew, for a call may change them; `odd_runs` has those for texts,
models and runs.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import bptt, data, models, nn, optim, sampling, training, viz
from tinygrad_seq import functional as F

TEXT = "to be or not to be, that is the question\n" * 8
HOMES: dict[str, Any] = {
    "": tgs, "functional": F, "nn": nn, "nn.init": nn.init, "nn.utils": nn.utils, "optim": optim, "data": data,
    "bptt": bptt, "models": models, "training": training, "sampling": sampling, "viz": viz,
}  # fmt: skip


def t(*sizes: int, wants: bool = False) -> tgs.Tensor:
    """Numbers from 0 to 1 of these sizes."""
    count = int(np.prod(sizes))
    x = np.linspace(0.1, 1.0, count, dtype=np.float32).reshape(sizes)
    return tgs.tensor(x, requires_grad=wants)


def ids(*sizes: int) -> tgs.Tensor:
    """Ids from 0 to 2."""
    return tgs.tensor(np.arange(int(np.prod(sizes))).reshape(sizes) % 3)


def weights() -> list[Any]:
    """Two parameters with gradients."""
    found = [nn.Parameter([1.0, 2.0]), nn.Parameter([[3.0]])]
    for p in found:
        p.grad = tgs.ones_like(p)
    return found


@functools.cache
def folder() -> Path:
    """A folder for what is written, gone at the end."""
    kept = tempfile.TemporaryDirectory()
    folder_of.append(kept)
    home = Path(kept.name)
    (home / "a.txt").write_text(TEXT, encoding="utf-8")
    (home / "images").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6]))
    (home / "labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 0]))
    vocabulary().save(home / "char.json")
    return home


folder_of: list[Any] = []
_numbers = iter(range(10**9))


def new_folder() -> str:
    """A path where nothing is yet."""
    return str(folder() / f"run{next(_numbers)}")


@functools.cache
def vocabulary() -> Any:
    """The tokenizer of the text."""
    return data.learn_tokenizer("char", TEXT)


@functools.cache
def language_model() -> Any:
    """A small model that samples."""
    return models.CharLM(len(vocabulary()), 4)


@functools.cache
def run() -> str:
    """A run that was trained for a step."""
    to = new_folder()
    list(
        training.train(
            training.Config(corpus=(str(folder() / "a.txt"),), hidden=4, batch=2, window=8, steps=1),
            folder=to,
        )
    )
    return to


def chain() -> tuple[list[Any], list[Any], Any]:
    """Losses and states of three steps, and the weight."""
    w, h = tgs.tensor(0.5, requires_grad=True), tgs.tensor([1.0], requires_grad=True)
    losses, states = [], []
    for _ in range(3):
        h = (h * w).tanh()
        states.append(h)
        losses.append(h.sum())
    return losses, states, w


def config() -> dict[str, Any]:
    """Settings of a run of one step."""
    return {
        "corpus": (str(folder() / "a.txt"),), "model": "lstm", "hidden": 4, "layers": 1, "heads": 1, "embedding": 2,
        "dropout": 0.0, "batch": 2, "window": 8, "steps": 1, "eval_tokens": 20, "seed": 1, "lr": 0.1, "clip": 1.0,
        "warmup": 0, "report_every": 1, "eval_every": 1, "save_every": 0, "sample_every": 0, "sample_length": 2,
        "temperature": 1.0, "weight_decay": 0.0, "split": "90,5,5", "tokenizer": "char", "optimizer": "AdamW",
        "schedule": "cosine", "patience": 0, "init": "usual", "min_lr": 0.0, "max_size": None, "reach": None,
    }  # fmt: skip


def optimizer() -> Any:
    """One with two parameters."""
    return optim.SGD(weights(), 0.1)


def sgd(**more: Any) -> Callable[[], dict[str, Any]]:
    """Settings of an optimizer."""
    return lambda: {"params": weights(), "lr": 0.1, "eps": 1e-8, "weight_decay": 0.0, **more}


def recurrent(**more: Any) -> Callable[[], dict[str, Any]]:
    """Settings of a recurrent layer."""
    return lambda: {
        "input_size": 2,
        "hidden_size": 3,
        "bias": True,
        "layer_norm": False,
        "dtype": "float32",
        **more,
    }


def over_time(**more: Any) -> Callable[[], dict[str, Any]]:
    """Settings of one over time."""
    return recurrent(num_layers=1, batch_first=False, dropout=0.0, bidirectional=False, **more)


def of_weight(**more: Any) -> Callable[[], dict[str, Any]]:
    """Settings of what initialises."""
    return lambda: {"tensor": nn.Parameter(np.ones((2, 3), np.float32)), **more}


def given(**settings: Any) -> Callable[[], dict[str, Any]]:
    """Settings that no call changes."""
    return lambda: dict(settings)


LAYER = {"d_model": 4, "nhead": 2, "dim_feedforward": 4, "dropout": 0.0, "activation": "relu", "layer_norm_eps": 1e-5,
         "batch_first": False, "norm_first": False, "bias": True, "dtype": "float32"}  # fmt: skip
POINT = {"temperature": 0.8, "top_k": 2, "top_p": 0.9, "min_p": 0.0, "repetition_penalty": 1.0}
SAID = {"prime": "to", "n": 2, "on_unknown": "error", "until": None, **POINT}

TENSORS: dict[str, Callable[[], dict[str, Any]]] = {
    "zeros": given(_=(2, 3), dtype="float32", requires_grad=False), "ones": given(_=(2,)), "empty": given(_=(2,)),
    "full": given(size=(2,), fill_value=1.0, dtype="float32"), "eye": given(_=(2, 3), dtype="float32"),
    "arange": given(_=(0, 4, 1), dtype="float32"), "linspace": given(start=0, end=1, steps=3),
    "rand": given(_=(2,), rng=None), "randn": given(_=(2,), dtype="float32"), "randint": given(_=(0, 3, (2,))),
    "randperm": given(_=(3,)), "manual_seed": given(_=(1,)), "tensor": given(data=[1.0], dtype="float32"),
    "bernoulli": lambda: {"_": (t(2),)}, "multinomial": lambda: {"_": (t(3), 2)},
        "checkpoint": lambda: {"_": (F.tanh, t(2))},
    "unroll": lambda: {"cell": nn.RNNCell(2, 2), "xs": t(3, 1, 2), "state": t(1, 2), "lengths": None,
        "reverse": False},
    "Generator": given(seed=1, stream="init"), "as_tensor": given(_=([1.0],)), "cat": lambda: {"_": ([t(2), t(2)],
        0)},
    "stack": lambda: {"_": ([t(2), t(2)], 0)}, "einsum": lambda: {"_": ("i,i->", t(2), t(2))},
    "gradcheck": lambda: {"fn": F.tanh, "inputs": [tgs.tensor(np.ones(2), requires_grad=True)], "eps": 1e-6,
        "rtol": 1e-4, "order": 1, "seed": 0}, "scope": given(_=("a",)), "time_step": given(_=(1,)),

    "functional.binary_cross_entropy_with_logits": lambda: {"input": t(2), "target": t(2), "weight": t(2),
        "pos_weight": t(2), "reduction": "mean"},
    "functional.cross_entropy": lambda: {"input": t(2, 3), "target": ids(2), "weight": t(3), "ignore_index": -100,
        "label_smoothing": 0.1, "reduction": "sum"},
    "functional.nll_loss": lambda: {"input": t(2, 3), "target": ids(2), "weight": t(3), "ignore_index": 0,
        "reduction": "none"},
    "functional.l1_loss": lambda: {"input": t(2), "target": t(2), "reduction": "mean"},
    "functional.mse_loss": lambda: {"input": t(2), "target": t(2), "reduction": "mean"},
    "functional.dropout": lambda: {"x": t(2), "p": 0.5, "training": True, "rng": tgs.Generator(1)},
    "functional.embedding": lambda: {"ids": ids(2), "weight": t(3, 2), "padding_idx": 0},
    "functional.gelu": lambda: {"x": t(2), "approximate": "tanh"}, "functional.linear": lambda: {"x": t(2, 3),
        "weight": t(4, 3), "bias": t(4)},
    "functional.layer_norm": lambda: {"x": t(2, 3), "normalized_shape": (3,), "weight": t(3), "bias": t(3),
        "eps": 1e-5},
    "functional.rms_norm": lambda: {"x": t(2, 3), "normalized_shape": 3, "weight": t(3), "eps": 1e-5},
    "functional.log_softmax": lambda: {"x": t(2, 3), "dim": -1, "dtype": "float32"},
    "functional.softmax": lambda: {"x": t(2, 3), "dim": -1, "dtype": "float32"},
    "functional.logsumexp": lambda: {"x": t(2, 3), "dim": -1, "keepdim": True},
    "functional.one_hot": lambda: {"ids": ids(3), "num_classes": 3, "dtype": "float32"},
    "functional.scaled_dot_product_attention": lambda: {"query": t(1, 2, 3), "key": t(1, 2, 3), "value": t(1, 2,
        3), "attn_mask": None, "dropout_p": 0.0, "is_causal": True, "scale": 1.0, "enable_gqa": False},
    "functional.checked_ids": lambda: {"call": "ids", "ids": ids(2), "size": 3, "ignore": None},
    **{f"functional.{n}": lambda: {"x": t(2)} for n in ("relu", "sigmoid", "silu", "softplus", "tanh",
        "logsigmoid")},

    "nn.Linear": given(in_features=2, out_features=3, bias=True, dtype="float32", rng=None),
        "nn.ALiBi": given(heads=2),
    "nn.BCEWithLogitsLoss": given(weight=None, reduction="mean", pos_weight=None),
        "nn.MSELoss": given(reduction="mean"),
    "nn.CrossEntropyLoss": given(weight=None, ignore_index=1, reduction="sum", label_smoothing=0.0),
        "nn.L1Loss": given(reduction="mean"),
    "nn.NLLLoss": given(weight=None, ignore_index=1, reduction="sum"), "nn.Dropout": given(p=0.5, rng=None),
    "nn.Embedding": given(num_embeddings=3, embedding_dim=2, padding_idx=1, dtype="float32", rng=None),
    "nn.Flatten": given(start_dim=1, end_dim=-1), "nn.GELU": given(approximate="none"), "nn.Softmax": given(dim=-1),
    "nn.LogSoftmax": given(dim=-1), "nn.ReLU": given(inplace=False), "nn.Parameter": given(data=[1.0],
        requires_grad=True),
    "nn.GRU": over_time(reset_after=True), "nn.LSTM": over_time(proj_size=0, peepholes=False),
        "nn.RNN": over_time(nonlinearity="tanh"),
    "nn.GRUCell": recurrent(reset_after=True), "nn.LSTMCell": recurrent(peepholes=False, forget_bias=1.0),
        "nn.RNNCell": recurrent(nonlinearity="relu", init="torch"),
    "nn.LayerNorm": given(normalized_shape=(2,), eps=1e-5, elementwise_affine=True, bias=True, dtype="float32"),
    "nn.RMSNorm": given(normalized_shape=2, eps=None, elementwise_affine=True, dtype="float32"),
    "nn.LearnedPositions": given(max_len=3, width=2, batch_first=False, dtype="float32", rng=None),
    "nn.RotaryPositions": given(head_dim=4, base=100.0, interleaved=False),
        "nn.SinusoidalPositions": given(width=4, base=100.0, scale=1.0, batch_first=False),
    "nn.sinusoidal": given(steps=3, width=4, offset=0, base=100.0, dtype="float32"),
        "nn.generate_square_subsequent_mask": given(sz=3, dtype="float32"),
    "nn.ModuleDict": lambda: {"modules": {"a": nn.Linear(1, 1)}},
        "nn.ModuleList": lambda: {"modules": [nn.Linear(1, 1)]},
    "nn.Sequential": lambda: {"_": (nn.Linear(1, 1), F.tanh)},
    "nn.MultiheadAttention": given(embed_dim=4, num_heads=2, dropout=0.0, bias=True, add_bias_kv=False,
        add_zero_attn=False, kdim=4, vdim=4, batch_first=False, head_dim=2, out_dim=4, positions=None,
        dtype="float32"),
    "nn.Transformer": given(d_model=4, nhead=2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=4,
        dropout=0.0, activation="relu", layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True,
        dtype="float32", custom_encoder=None),
    "nn.TransformerEncoderLayer": given(**LAYER), "nn.TransformerDecoderLayer": given(**LAYER),
    "nn.TransformerEncoder": lambda: {"encoder_layer": nn.TransformerEncoderLayer(4, 2, 4), "num_layers": 2,
        "norm": None},
    "nn.TransformerDecoder": lambda: {"decoder_layer": nn.TransformerDecoderLayer(4, 2, 4), "num_layers": 2,
        "norm": None},
    "nn.detach": lambda: {"state": (t(2), t(2)), "where": tgs.tensor([True, False]), "axis": 0},
    "nn.zoneout": lambda: {"new": t(2), "old": t(2), "p": 0.5, "training": True, "rng": None},

    "nn.init.calculate_gain": given(nonlinearity="leaky_relu", param=0.1), "nn.init.constant_": of_weight(val=1.0),
    **{f"nn.init.{n}_": of_weight() for n in ("eye", "ones", "zeros")},
    **{f"nn.init.kaiming_{n}_": of_weight(a=0, mode="fan_in", nonlinearity="relu",
        generator=None) for n in ("normal", "uniform")},
    **{f"nn.init.xavier_{n}_": of_weight(gain=1.0, generator=None) for n in ("normal", "uniform")},
    "nn.init.normal_": of_weight(mean=0.0, std=1.0, generator=None), "nn.init.uniform_": of_weight(a=0.0, b=1.0),
        "nn.init.orthogonal_": of_weight(gain=1.0),
    "nn.init.trunc_normal_": of_weight(mean=0.0, std=1.0, a=-2.0, b=2.0),
    "nn.utils.clip_grad_norm_": lambda: {"parameters": weights(), "max_norm": 1.0, "norm_type": 2.0,
        "error_if_nonfinite": False},
    "nn.utils.clip_grad_value_": lambda: {"parameters": weights(), "clip_value": 1.0},
    "nn.utils.parameters_to_vector": lambda: {"parameters": weights()},
    "nn.utils.vector_to_parameters": lambda: {"vector": t(3), "parameters": weights()},

    "optim.SGD": lambda: {"params": weights(), "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0,
        "nesterov": False},
    "optim.Adam": sgd(betas=(0.9, 0.99), amsgrad=False), "optim.AdamW": sgd(betas=(0.9, 0.99), amsgrad=False),
    "optim.Adagrad": sgd(lr_decay=0.0, initial_accumulator_value=0.0), "optim.RMSprop": sgd(alpha=0.9,
        momentum=0.0, centered=False),
    "optim.CosineWithWarmup": lambda: {"optimizer": optimizer(), "total": 3, "warmup": 1, "final": 0.0},
    "optim.DelayedStepLR": lambda: {"optimizer": optimizer(), "step_size": 1, "gamma": 0.5, "start": 0,
        "final": 0.0, "warmup": 0},
    "optim.ExponentialLR": lambda: {"optimizer": optimizer(), "gamma": 0.5},
        "optim.StepLR": lambda: {"optimizer": optimizer(), "step_size": 1, "gamma": 0.5},
    "optim.grad_norm": lambda: {"parameters": weights(), "norm_type": 2.0},
}  # fmt: skip
