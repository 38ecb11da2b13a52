"""A small autograd engine for sequence models: write the recurrence as maths, read the tape it leaves behind.

>>> import tinygrad_seq as tgs
>>> x = tgs.tensor([1.0, 2.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
Tensor([2., 4.], f32(2,))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_seq.version import __version__ as __version__

if TYPE_CHECKING:
    from tinygrad_seq import analysis, bptt, data, functional, models, nn, optim, training, viz
    from tinygrad_seq.engine.anomaly import detect_anomaly
    from tinygrad_seq.engine.creation import (
        arange,
        eye,
        full,
        full_like,
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
    from tinygrad_seq.engine.derivatives import checkpoint, grad, hvp, jacobian, jvp, value_and_grad, vjp
    from tinygrad_seq.engine.dtypes import *  # noqa: F403
    from tinygrad_seq.engine.functions import *  # noqa: F403
    from tinygrad_seq.engine.gradcheck import gradcheck
    from tinygrad_seq.engine.node import no_grad, scope, time_step
    from tinygrad_seq.engine.ops import cut
    from tinygrad_seq.engine.random import Generator, manual_seed
    from tinygrad_seq.engine.shapes import cat, concat, stack
    from tinygrad_seq.engine.tensor import Tensor
    from tinygrad_seq.engine.torch_names import *  # noqa: F403
    from tinygrad_seq.errors import (
        ArgumentError,
        CheckpointError,
        DataError,
        DivergedError,
        DTypeError,
        GradientError,
        GraphError,
        NonFiniteError,
        RangeError,
        RenderError,
        ShapeError,
        TraceError,
    )
    from tinygrad_seq.functional.contraction import einsum
    from tinygrad_seq.fuser.decorator import composed, fused
    from tinygrad_seq.models import (
        GPT,
        CharLM,
    )
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
    from tinygrad_seq.sampling import (
        Sampler,
        beam_search,
    )
    from tinygrad_seq.tape.tape import Tape
    from tinygrad_seq.training import (
        Config,
        fit,
        load_run,
        resume,
        sample,
        train,
    )
    from tinygrad_seq.viz import draw

# Nothing is imported before it is asked for: `tgs --help` needs no more than Python, and what a program does not use
# costs it nothing. Each public name stands behind the module that it comes from.
_HOMES = {
    "engine.anomaly": "detect_anomaly",
    "engine.derivatives": "checkpoint grad hvp jacobian jvp value_and_grad vjp",
    "engine.gradcheck": "gradcheck",
    "engine.creation": (
        "arange eye full full_like maximum minimum ones ones_like rand randn tensor where zeros zeros_like"
    ),
    "functional.contraction": "einsum",
    "errors": (
        "ArgumentError CheckpointError DTypeError DataError DivergedError GradientError GraphError NonFiniteError "
        "RangeError RenderError ShapeError TraceError"
    ),
    "engine.torch_names": (
        "BoolTensor ByteTensor DoubleTensor FloatTensor IntTensor LongTensor accelerator as_tensor backends "
        "bernoulli cuda empty empty_like enable_grad from_numpy get_default_dtype inference_mode "
        "is_floating_point is_grad_enabled is_tensor linspace mps multinomial normal rand_like randint randn_like "
        "randperm set_default_device set_default_dtype set_grad_enabled"
    ),
    "engine.functions": (
        "abs absolute add all allclose amax amin any argmax argmin argsort bmm ceil chunk clamp clip clone cos "
        "cumsum div divide dot eq equal erf exp flatten flip floor gather ge gt index_select isfinite isinf isnan "
        "le log log1p log_softmax logical_not logsumexp lt masked_fill masked_select matmul max mean min mm "
        "movedim mul multiply mv narrow ne neg negative norm numel permute pow prod reciprocal relu "
        "repeat_interleave reshape roll round rsqrt sigmoid sign sin softmax sort split sqrt square squeeze std "
        "sub subtract sum swapaxes t tanh tile topk transpose tril triu trunc unbind unsqueeze var"
    ),
    "engine.dtypes": (
        "bool device double float float16 float32 float64 half int int16 int32 int64 int8 long short uint8"
    ),
    "fuser.decorator": "composed fused",
    "models": "CharLM GPT",
    "nn": (
        "Dropout Embedding GRU GRUCell LSTM LSTMCell LayerNorm Linear Module Parameter RNN RNNCell "
        "Sequential detach unroll"
    ),
    "engine.node": "no_grad scope time_step",
    "engine.ops": "cut",
    "viz": "draw",
    "engine.random": "Generator manual_seed",
    "sampling": "Sampler beam_search",
    "engine.shapes": "cat concat stack",
    "tape.tape": "Tape",
    "engine.tensor": "Tensor",
    "training": "Config fit load_run resume sample train",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_MODULES = ("analysis", "bptt", "data", "functional", "models", "nn", "optim", "training", "viz")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"tinygrad_seq.{name}")
    if name not in _HOME_OF:
        raise import_module("tinygrad_seq.engine.unknown_names").missing(
            "module 'tinygrad_seq'", name, lambda: [*_HOME_OF, *_MODULES]
        )
    value = getattr(import_module(f"tinygrad_seq.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    "DivergedError",
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
    "analysis",
    "arange",
    "beam_search",
    "bptt",
    "cat",
    "checkpoint",
    "composed",
    "concat",
    "cut",
    "data",
    "detach",
    "detect_anomaly",
    "draw",
    "einsum",
    "eye",
    "fit",
    "full",
    "full_like",
    "functional",
    "fused",
    "grad",
    "gradcheck",
    "hvp",
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
    "rand",
    "randn",
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
    "viz",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]
