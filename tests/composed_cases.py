"""The table's lines for composed functions and layers: one each, in the forms that differ."""

from __future__ import annotations

import numpy as np

import tinygrad_seq as tgs
from tests.cases import Case
from tinygrad_seq import functional as F
from tinygrad_seq import nn
from tinygrad_seq.models import CharLM
from tinygrad_seq.nn.rnn import cells, unrolling

IDS = np.array([2, 0, 1])
SOME = np.array([2, -100, 1])
P = np.random.default_rng(0).dirichlet(np.ones(4), 3)


def with_weights(module: nn.Module, *call: object):
    """The module as a function of its input and of all its parameters, in float64."""
    module = module.double()
    places = [(path, m, name) for path, m in module.named_modules() for name in vars(m)]
    own = [(m, n) for _, m, n in places if isinstance(vars(m)[n], nn.Parameter)]

    def fn(x, *weights):
        for (m, name), w in zip(own, weights, strict=True):
            object.__setattr__(m, name, w)
        given = [np.asarray(a, x.dtype if np.asarray(a).dtype.kind == "f" else None) for a in call]
        out = module(x, *[tgs.tensor(a) for a in given])
        return out[0] if isinstance(out, tuple) else out

    return fn, [tuple(vars(m)[n].shape) for m, n in own]


def layer(name: str, module: nn.Module, x: object, *call: object) -> Case:
    """A case for a layer: its input and every parameter are checked; `call` is what else it is given."""
    fn, shapes = with_weights(module, *call)
    return Case(name, fn, [x, *shapes], low=-1.0, high=1.0)  # type: ignore[list-item]


FUNCTIONS = [
    Case("sigmoid", F.sigmoid, [(3, 4)]),
    Case("tanh function", F.tanh, [(3, 4)]),
    Case("relu", F.relu, [(3, 4)], apart=0.1),
    Case("gelu", F.gelu, [(3, 4)]),
    Case("gelu tanh", lambda x: F.gelu(x, "tanh"), [(3, 4)]),
    Case("silu", F.silu, [(3, 4)]),
    Case("softplus", F.softplus, [(3, 4)]),
    Case("logsigmoid", F.logsigmoid, [(3, 4)]),
    Case("softmax function", F.softmax, [(3, 4)], apart=0.3),
    Case("softmax of axis 0", lambda x: F.softmax(x, 0), [(3, 2, 2)], apart=0.3),
    Case("softmax of nothing", lambda x: F.softmax(x, 1), [(0, 4)]),
    Case("log_softmax", F.log_softmax, [(3, 4)], apart=0.3),
    Case("logsumexp", F.logsumexp, [(3, 4)], apart=0.3),
    Case("logsumexp keepdim", lambda x: F.logsumexp(x, 0, True), [(3, 4)], apart=0.3),
    Case("cross_entropy", lambda x: F.cross_entropy(x, IDS), [(3, 4)], apart=0.3),
    Case("cross_entropy of one", lambda x: F.cross_entropy(x, np.array(2)), [(4,)], apart=0.3),
    Case("cross_entropy sum", lambda x: F.cross_entropy(x, IDS, reduction="sum"), [(3, 4)], apart=0.3),
    Case(
        "cross_entropy smoothed, ignoring",
        lambda x: F.cross_entropy(x, SOME, label_smoothing=0.2, reduction="none"),
        [(3, 4)],
        apart=0.3,
    ),
    Case("cross_entropy of images", lambda x: F.cross_entropy(x, IDS.reshape(1, 3)), [(1, 4, 3)], apart=0.3),
    Case("cross_entropy of probabilities", lambda x, p: F.cross_entropy(x, p), [(3, 4), (3, 4)], apart=0.3),
    Case("nll_loss", lambda x: F.nll_loss(x, SOME), [(3, 4)]),
    Case("mse_loss", F.mse_loss, [(3, 4), (3, 4)]),
    Case("l1_loss", F.l1_loss, [(3, 4), (3, 4)], apart=0.1),
    Case("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, [(3, 4), (3, 4)], apart=0.2),
    Case("linear", F.linear, [(2, 3, 4), (5, 4), (5,)]),
    Case("linear without rows", F.linear, [(0, 4), (5, 4), (5,)]),
    Case("layer_norm", lambda x, w, b: F.layer_norm(x, 4, w, b), [(3, 4), (4,), (4,)], apart=0.3),
    Case("layer_norm of two axes", lambda x: F.layer_norm(x, (2, 4)), [(3, 2, 4)], apart=0.3),
    Case("rms_norm", lambda x, w: F.rms_norm(x, 4, w), [(3, 4), (4,)], apart=0.3),
    Case("rms_norm of two axes", lambda x: F.rms_norm(x, (2, 4), eps=0.1), [(3, 2, 4)], apart=0.3),
    Case("dropout", lambda x: F.dropout(x, 0.4, rng=tgs.Generator(1)), [(5, 6)]),
    Case("embedding", lambda w: F.embedding(IDS, w), [(4, 3)]),
    Case("embedding padded", lambda w: F.embedding(IDS, w, padding_idx=3) ** 2, [(4, 3)]),
    Case("einsum", lambda x, y: tgs.einsum("bij,bjk->ik", x, y), [(2, 3, 4), (2, 4, 2)]),
    Case("einsum diagonal", lambda x: tgs.einsum("iij->ij", x), [(3, 3, 2)]),
    Case("unroll", lambda x, s: tgs.unroll(lambda a, b: ((a * b).tanh(), b + a), x, s)[0], [(4, 2), (2,)]),
    Case("checkpoint", lambda x: tgs.checkpoint(lambda a: a.tanh() * a, x), [(3, 4)]),
]  # fmt: skip

FUNCTIONS += [
    Case(
        "scaled_dot_product_attention",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, causal=True),
        [(2, 3, 4), (2, 5, 4), (2, 5, 3)],
    ),
    Case(
        "_held in unroll",
        lambda x, s: tgs.unroll(lambda a, b: ((a * b).tanh(), b + a), x, s, lengths=[4, 1])[0],
        [(4, 2, 3), (2, 3)],
    ),
    Case(
        "held of two",
        lambda a, b, c, d: unrolling.held(np.array([True, False]), (a, b), (c, d)),
        [(2, 3)] * 4,
    ),
    Case("zoneout", lambda a, b: nn.zoneout(a, b, 0.3, rng=tgs.Generator(1)), [(5, 6), (5, 6)]),
    Case("zoneout not training", lambda a, b: nn.zoneout(a, b, 0.3, training=False), [(3, 4), (3, 4)]),
    Case(
        "lstm_variant",
        lambda *a: cells.lstm_variant(*a, peepholes=True, traced=True),
        [(2, 12), (2, 12), (2, 3), (9,), (3,), (3,)],
    ),
    Case("gru_traced", cells.gru_traced, [(2, 9), (2, 9), (2, 3), (3,)]),
]
MEMORY = np.full((2, 2, 4), 0.3)

LAYERS = [
    layer("Linear", nn.Linear(4, 3), (2, 4)),
    layer("Linear without bias", nn.Linear(4, 3, bias=False), (2, 4)),
    layer("LayerNorm", nn.LayerNorm(4), (3, 4)),
    layer("RMSNorm", nn.RMSNorm(4), (3, 4)),
    layer("Sequential", nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), (3, 4)),
    layer("LSTM", nn.LSTM(2, 3), (4, 2, 2)),
    layer("LSTM of two layers, batch first, no bias", nn.LSTM(2, 3, 2, False, True), (2, 3, 2)),
    layer("LSTM unbatched", nn.LSTM(2, 3), (3, 2)),
    layer("RNN", nn.RNN(2, 3, 2, bidirectional=True), (4, 2, 2)),
    layer("RNN relu", nn.RNN(2, 3, nonlinearity="relu"), (2, 2, 2)),
    layer("RNN sigmoid", nn.RNN(2, 3, nonlinearity="sigmoid"), (2, 2, 2)),
    layer("GRU", nn.GRU(2, 3), (4, 2, 2)),
    layer("GRU reset before", nn.GRU(2, 3, reset_after=False), (4, 2, 2)),
    layer(
        "LSTM with everything",
        nn.LSTM(2, 3, proj_size=2, bidirectional=True, layer_norm=True, peepholes=True),
        (3, 2, 2),
    ),
    layer("RNNCell", nn.RNNCell(2, 3), (2, 2)),
    layer("LSTMCell", nn.LSTMCell(2, 3), (2, 2)),
    layer("GRUCell", nn.GRUCell(2, 3), (2, 2)),
    layer("MultiheadAttention", nn.MultiheadAttention(4, 2), (3, 2, 4)),
    layer("MultiheadAttention free form", nn.MultiheadAttention(5, 8, head_dim=3, out_dim=5), (2, 5)),
    layer("TransformerEncoderLayer", nn.TransformerEncoderLayer(4, 2, 3, 0.0, "gelu"), (3, 2, 4)),
    layer("TransformerEncoderLayer relu", nn.TransformerEncoderLayer(4, 2, 3, 0.0), (3, 2, 4)),
    layer(
        "TransformerEncoder",
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 3, 0.0, "gelu"), 2),
        (3, 2, 4),
    ),
    layer("TransformerDecoderLayer", nn.TransformerDecoderLayer(4, 2, 3, 0.0, "gelu"), (3, 2, 4), MEMORY),
    layer(
        "TransformerDecoder",
        nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 3, 0.0, "gelu"), 1),
        (3, 2, 4),
        MEMORY,
    ),
    layer("Transformer", nn.Transformer(4, 2, 1, 1, 3, 0.0, "gelu"), (2, 2, 4), MEMORY),
    layer("SinusoidalPositions", nn.SinusoidalPositions(4), (3, 2, 4)),
    layer("LearnedPositions", nn.LearnedPositions(5, 4), (3, 2, 4)),
    layer("RotaryPositions", nn.RotaryPositions(4), (2, 3, 4)),
    layer("Embedding", nn.Embedding(4, 3), IDS),
    *(
        layer(kind.__name__, kind(), (3, 4))
        for kind in (
            nn.GELU,
            nn.SiLU,
            nn.Tanh,
            nn.Sigmoid,
            nn.Softplus,
            nn.Softmax,
            nn.LogSoftmax,
            nn.Identity,
            nn.Flatten,
        )
    ),
    layer("ReLU", nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (3, 4)),
    layer("MSELoss", nn.MSELoss(), (3, 4), np.full((3, 4), 0.3)),
    layer("L1Loss", nn.L1Loss(), (3, 4), np.full((3, 4), 9.0)),
    layer("BCEWithLogitsLoss", nn.BCEWithLogitsLoss(), (3, 4), np.full((3, 4), 0.3)),
    layer("CrossEntropyLoss", nn.CrossEntropyLoss(), (3, 4), np.array([0, 3, 1])),
    layer("NLLLoss", nn.NLLLoss(), (3, 4), np.array([0, 3, 1])),
    layer("CharLM", CharLM(4, hidden=3, embedding=2), np.array([[0, 3], [1, 2], [2, 2]])),
]

COMPOSED_CASES = [*FUNCTIONS, *LAYERS]
