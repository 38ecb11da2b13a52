"""A small autograd engine for sequence models: write the recurrence as maths, read the tape it leaves behind.

>>> import tinygrad_seq as tgs
>>> x = tgs.tensor([1.0, 2.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
Tensor([2., 4.], f32(2,))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_seq import functional, nn, optim
from tinygrad_seq.anomaly import detect_anomaly
from tinygrad_seq.autodiff import checkpoint, grad, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_seq.check import gradcheck
from tinygrad_seq.creation import (
    arange,
    eye,
    full,
    maximum,
    minimum,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    where,
    zeros,
    zeros_like,
)
from tinygrad_seq.einsum import einsum
from tinygrad_seq.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DTypeError,
    GradientError,
    GraphError,
    NonFiniteError,
    RangeError,
    RenderError,
    ShapeError,
    TraceError,
)
from tinygrad_seq.fusing import composed, fused
from tinygrad_seq.memory import keep_freed_pages
from tinygrad_seq.nn import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Embedding,
    GRUCell,
    LayerNorm,
    Linear,
    LSTMCell,
    Module,
    Parameter,
    RNNCell,
    Sequential,
    detach,
    unroll,
)
from tinygrad_seq.nodes import no_grad, scope, time_step
from tinygrad_seq.ops import cut
from tinygrad_seq.random import Generator, manual_seed
from tinygrad_seq.shapes import cat, concat, stack
from tinygrad_seq.tape import Tape
from tinygrad_seq.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_seq import (
        bptt,
        charts,
        comparing,
        data,
        diagnosis,
        inspection,
        models,
        pictures,
        report,
        training,
    )
    from tinygrad_seq.models import GPT, CharLM
    from tinygrad_seq.pictures import draw
    from tinygrad_seq.sampling import Sampler, beam_search
    from tinygrad_seq.training import Config, fit, load_run, resume, sample, train

__version__ = "0.1.0"

keep_freed_pages()

# What only some programs use is imported when it is first asked for: `import tinygrad_seq` stays quick.
_LATER: dict[str, str | None] = dict.fromkeys(
    (
        *("bptt", "charts", "comparing", "data", "diagnosis", "inspection", "models", "pictures", "report"),
        "training",
    )
)
_LATER["draw"] = "tinygrad_seq.pictures"
_LATER |= dict.fromkeys(("Config", "fit", "load_run", "resume", "sample", "train"), "tinygrad_seq.training")
_LATER |= dict.fromkeys(("Sampler", "beam_search"), "tinygrad_seq.sampling")
_LATER |= dict.fromkeys(("CharLM", "GPT"), "tinygrad_seq.models")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tinygrad_seq' has no attribute {name!r}")
    home = _LATER[name]
    return getattr(import_module(home), name) if home else import_module(f"tinygrad_seq.{name}")


__all__ = [
    "GPT",
    "GRU",
    "LSTM",
    "RNN",
    "ArgumentError",
    "CharLM",
    "CheckpointError",
    "Config",
    "DTypeError",
    "DataError",
    "Dropout",
    "Embedding",
    "GRUCell",
    "Generator",
    "GradientError",
    "GraphError",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "Module",
    "NonFiniteError",
    "Parameter",
    "RNNCell",
    "RangeError",
    "RenderError",
    "Sampler",
    "Sequential",
    "ShapeError",
    "Tape",
    "Tensor",
    "TraceError",
    "arange",
    "beam_search",
    "bptt",
    "cat",
    "charts",
    "checkpoint",
    "comparing",
    "composed",
    "concat",
    "cut",
    "data",
    "detach",
    "detect_anomaly",
    "diagnosis",
    "draw",
    "einsum",
    "eye",
    "fit",
    "full",
    "functional",
    "fused",
    "grad",
    "gradcheck",
    "hvp",
    "inspection",
    "jacobian",
    "jvp",
    "load_run",
    "manual_seed",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "pictures",
    "rand",
    "randn",
    "report",
    "resume",
    "sample",
    "scope",
    "stack",
    "tensor",
    "time_step",
    "train",
    "training",
    "unroll",
    "value_and_grad",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]
