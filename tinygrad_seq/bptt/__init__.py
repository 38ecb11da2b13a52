"""The gradient through time: truncated on a live tape, and taken apart.

Truncation: `cut`, `detach`, `TruncatedBPTT`. Readings, each plain arrays with `.words`: `reach`, `ledger`,
`parts`, `jacobian_product`, `lstm_paths`, `truncation_bias`.
"""

from tinygrad_seq.bptt.bias import TruncationBias, truncation_bias
from tinygrad_seq.bptt.contributions import Ledger, Parts, ledger, parts
from tinygrad_seq.bptt.jacobians import JacobianProduct, LSTMPaths, jacobian_product, lstm_paths
from tinygrad_seq.bptt.reaching import Reach, reach
from tinygrad_seq.bptt.summary import Fading
from tinygrad_seq.bptt.truncation import TruncatedBPTT, cut
from tinygrad_seq.engine.tree import detach

__all__ = [
    "Fading",
    "JacobianProduct",
    "LSTMPaths",
    "Ledger",
    "Parts",
    "Reach",
    "TruncatedBPTT",
    "TruncationBias",
    "cut",
    "detach",
    "jacobian_product",
    "ledger",
    "lstm_paths",
    "parts",
    "reach",
    "truncation_bias",
]
