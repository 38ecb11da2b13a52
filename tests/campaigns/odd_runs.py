"""Arguments of what deals with texts, models and runs, as `odd_table` has those of tensors and layers.

Records, which keep what they are given and are made by the package alone, stand in `RECORDS`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.campaigns.odd_table import (
    POINT,
    SAID,
    TENSORS,
    TEXT,
    chain,
    config,
    folder,
    given,
    language_model,
    new_folder,
    run,
    t,
    vocabulary,
)
from tinygrad_seq import data, nn, sampling, training

more = itertools.count(2)  # steps, one more with every run that goes on
RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "data.Corpus": given(text="a", name="b"), "data.JamoTokenizer": lambda: {"vocabulary": data.Vocabulary("ab")},
    "data.Vocabulary": given(symbols="ab", form=None),
    "data.RandomWindows": lambda: {"ids": np.arange(20), "batch": 2, "window": 3, "rng": None},
    "data.Streams": lambda: {"ids": np.arange(20), "batch": 2, "window": 3},
        "data.windows": lambda: {"ids": np.arange(20), "batch": 2, "window": 3},
    "data.from_texts": given(texts=["a", "b"], name="c"),
        "data.is_large": lambda: {"source": str(folder() / "a.txt"), "ext": ""},
    "data.labelled_images": lambda: {"images": str(folder() / "images"), "labels": str(folder() / "labels")},
    "data.learn_tokenizer": given(spec="char", text="ab"), "data.let_go": lambda: {"ids": np.arange(3)},
    "data.load_tokenizer": lambda: {"path": str(folder() / "char.json")}, "data.rates": given(nats_per_token=1.0,
        size=data.TextSize(1, 1, 1)),
    "data.read_idx": lambda: {"path": str(folder() / "labels"), "largest": 100},
    "data.read_text": lambda: {"source": str(folder() / "a.txt"), "encoding": "utf-8", "bad_bytes": "error",
        "max_size": 10**6, "ext": ""},
    "data.split": lambda: {"ids": np.arange(20), "fractions": (0.8, 0.1, 0.1)},
        "data.split_columns": lambda: {"ids": np.arange(60), "rows": 2, "fractions": (0.8, 0.1, 0.1)},
    "data.stored_texts": lambda: {"texts": ["a", "b"], "tokenizer": "char", "name": "c", "folder": new_folder(),
        "on_unknown": "error", "progress": None, "chunk": 100},
    "data.stored_tokens": lambda: {"source": str(folder() / "a.txt"), "tokenizer": "char", "folder": new_folder(),
        "encoding": "utf-8", "bad_bytes": "error", "max_size": None, "ext": "", "on_unknown": "error",
        "progress": None, "chunk": 100},
    "data.stream_text": lambda: {"source": str(folder() / "a.txt"), "encoding": "utf-8", "bad_bytes": "error",
        "max_size": None, "ext": "", "chunk": 100},
    "data.tokenize": given(corpus="abc", tokenizer="char", on_unknown="skip"),

    "bptt.TruncatedBPTT": given(k1=2, k2=2, randomized=True, alpha=3.0, rng=None),
        "bptt.cut": lambda: {"state": t(2)},
    "bptt.jacobian_product": lambda: {"states": chain()[1], "k": 0, "t": 2, "method": "auto", "count": 1,
        "row": None},
    "bptt.ledger": lambda: (lambda losses, s, w: {"loss": losses[-1], "parameter": w})(*chain()),
    "bptt.lstm_paths": lambda: (lambda losses, s, w: {"loss": losses[-1], "states": [(h,
        h * 1.0) for h in s]})(*chain()),
    "bptt.parts": lambda: (lambda losses, s, w: {"loss": losses[-1], "state": s[0], "step": 0})(*chain()),
    "bptt.reach": lambda: (lambda losses, s, w: {"losses": losses, "states": s})(*chain()),
    "bptt.truncation_bias": lambda: (lambda losses, s, w: {"losses": losses, "states": s, "parameters": [w],
        "k2": 2, "k1": 1})(*chain()),

    "models.CharLM": given(vocabulary_size=3, hidden=4, layers=1, embedding=2, dropout=0.0, cell="gru", rng=None),
    "models.GPT": given(vocabulary_size=3, block=4, layers=1, heads=2, width=4, dropout=0.0, positions="learned",
        tied=True, bias=True, dtype="float32"),
    "models.LinearAR": given(tau=2), "models.MLPAR": given(tau=2, hidden=3, dtype="float32"),
        "models.Naive": given(vocabulary_size=3, alpha=0.1),
    "models.Markov": given(vocabulary_size=3, order=1, smoothing="additive", alpha=0.1),
        "models.NeuralMarkov": given(vocabulary_size=3, order=1, dtype="float32"),
    "models.SymbolAR": given(vocabulary_size=3, tau=2, hidden=3, embedding=2),
        "models.LatentAR": lambda: {"vocabulary_size": 3, "net": nn.GRU(3, 4), "dropout": 0.0},
    "models.LanguageModel": lambda: {"net": nn.GRU(3, 4), "vocabulary_size": 3, "longest": None, "block": None},
    "models.Normal": lambda: {"mean": t(2), "std": 1.0},
    "models.select_order": lambda: {"sequence": np.arange(30) % 3, "orders": [1, 2], "criterion": "bic",
        "make": None, "held_out": 0.25},

    "training.Config": config, "training.bits": given(nats=1.0), "training.preset": given(name="char-rnn"),
    "training.evaluate": lambda: {"model": language_model(), "ids": vocabulary().encode(TEXT), "batch": 2,
        "window": 8},
    "training.measure": lambda: {"model": language_model(), "ids": vocabulary().encode(TEXT), "batch": 2,
        "window": 8, "carried": True, "most": 50},
    "training.free_folder": lambda: {"path": new_folder()}, "training.load_run": lambda: {"path": run(),
        "weights": "best"},
    "training.usual_name": lambda: {"config": training.Config()}, "training.shown": given(stream=None),
    "training.train": lambda: {"config": training.Config(**{**config(), "eval_every": 10}), "folder": new_folder(),
        "corpus": None, "progress": None, "notes": ()},
    "training.resume": lambda: {"folder": run(), "steps": next(more), "epochs": None, "minutes": None, "data": None,
        "allow_new_data": False},
    "training.fit": lambda: {"what": None, "corpus": [TEXT], "quiet": True, "steps": 1, "hidden": 4, "batch": 2,
        "window": 8},
    "training.sample": lambda: {"model": language_model(), "vocabulary": vocabulary(), **SAID},
    "sampling.sample": lambda: {"model": language_model(), "vocabulary": vocabulary(), **SAID},
    "sampling.sample_stream": lambda: {"model": language_model(), "vocabulary": vocabulary(), **SAID,
        "cached": True},
    "sampling.DecodingConfig": given(**POINT), "sampling.Sampler": lambda: {"model": language_model(),
        "vocabulary": vocabulary(), "how": None, "cached": True},
    "sampling.beam_search": lambda: {"model": language_model(), "vocabulary": vocabulary(), "prime": "to",
        "width": 2, "length": 2, "length_penalty": 0.0, "until": None},
    "sampling.probabilities": lambda: {"logits": np.ones(3),
        "how": sampling.DecodingConfig(), "seen": None, "allowed": None},
    "viz.draw": lambda: {"_": (t(2, wants=True).sum(),), "level": "op", "view": "auto", "expand": (),
        "collapse": (), "color": "kind", "which": "forward", "values": False, "names": None},
}  # fmt: skip
TABLE = {**TENSORS, **RUNS}
RECORDS = {
    *(
        "nn.Mismatch",
        "nn.Module",
        "nn.Identity",
        "nn.SiLU",
        "nn.Sigmoid",
        "nn.Softplus",
        "nn.Tanh",
        "data.ByteTokenizer",
    ),
    *(
        "optim.Optimizer",
        "optim.Schedule",
        "data.Batch",
        "data.Decoder",
        "data.Progress",
        "data.Rates",
        "data.Splits",
    ),
    *(
        "data.TextSize",
        "data.Tokenizer",
        "data.Tokens",
        "bptt.Fading",
        "bptt.JacobianProduct",
        "bptt.LSTMPaths",
    ),
    *(
        "bptt.Ledger",
        "bptt.Parts",
        "bptt.Reach",
        "bptt.TruncationBias",
        "models.NeuralModel",
        "models.OrderChoice",
    ),
    *(
        "models.SequenceModel",
        "models.SeriesModel",
        "models.SymbolModel",
        "training.Evaluated",
        "training.Finished",
    ),
    *("training.Fitted", "training.Flow", "training.Interrupted", "training.Measured", "training.Notebook"),
    *(
        "training.Run",
        "training.Sampled",
        "training.Saved",
        "training.Started",
        "training.Step",
        "training.Event",
    ),
    *("training.difference", "sampling.Beam", "sampling.Candidate", "sampling.Character", "sampling.Sample"),
    *("sampling.Token", "sampling.characters_of", "viz.Edge", "viz.Graph", "viz.Node", "viz.Picture"),
}
# Its text is read by a package that need not be there.
RECORDS |= {"data.BPETokenizer"}
# The same function under a second name.
RECORDS |= {
    "nn.unroll",
    "bptt.detach",
    "optim.clip_grad_norm_",
    "optim.clip_grad_value_",
    "training.sample_stream",
}
