"""A small autograd engine for sequence models: write the recurrence as maths, read the tape it leaves behind.

>>> import tinygrad_seq as tgs
>>> x = tgs.tensor([1.0, 2.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
Tensor([2., 4.], f32(2,))
"""

import builtins
from importlib import import_module
from typing import Any

from tinygrad_seq.engine import above as _above
from tinygrad_seq.version import __version__ as __version__

# The public names and the module that each comes from, in the order of the folders. Nothing is imported before it is
# asked for: `tgs --help` needs no more than Python, and a program does not pay for what it does not use. The same
# names stand in `__init__.pyi`, which type checkers read in place of this file.
_HOMES = {
    "errors": (
        "ArgumentError CheckpointError DataError DivergedError DTypeError GradientError GraphError "
        "NonFiniteError RangeError RenderError ShapeError TraceError"
    ),
    "engine.tensor": "cat concat einsum maximum minimum stack Tensor where",
    "engine.creation": ("arange eye full full_like ones ones_like rand randn tensor zeros zeros_like"),
    "engine.random": "Generator manual_seed",
    "engine.functions": (
        "abs absolute add all allclose amax amin any argmax argmin argsort bmm ceil chunk clamp clip clone "
        "cos cumsum div divide dot eq equal erf exp flatten flip floor gather ge gt index_select isfinite "
        "isinf isnan le log log1p log_softmax logical_not logsumexp lt masked_fill masked_select matmul max "
        "mean min mm movedim mul multiply mv narrow ne neg negative norm numel permute pow prod reciprocal "
        "relu repeat_interleave reshape roll round rsqrt sigmoid sign sin softmax sort split sqrt square "
        "squeeze std sub subtract sum swapaxes t tanh tile topk transpose tril triu trunc unbind unsqueeze "
        "var"
    ),
    "engine.torch_names": (
        "accelerator as_tensor backends bernoulli BoolTensor ByteTensor cuda DoubleTensor empty empty_like "
        "enable_grad FloatTensor from_numpy get_default_dtype inference_mode IntTensor is_floating_point "
        "is_grad_enabled is_tensor linspace LongTensor mps multinomial normal rand_like randint randn_like "
        "randperm set_default_device set_default_dtype set_grad_enabled"
    ),
    "engine.dtypes": (
        "bool device double float float16 float32 float64 half int int16 int32 int64 int8 long short uint8"
    ),
    "engine.node": "no_grad scope time_step",
    "engine.ops": "cut",
    "engine.checkpointing": "checkpoint",
    "engine.derivatives": "grad hvp jacobian jvp value_and_grad vjp",
    "engine.gradcheck": "gradcheck",
    "engine.anomaly": "detect_anomaly",
    "tape.tape": "Tape",
    "fuser.decorator": "composed fused",
    "nn": (
        "detach Dropout Embedding GRU GRUCell LayerNorm Linear LSTM LSTMCell Module Parameter RNN RNNCell "
        "Sequential unroll"
    ),
    "viz": "draw",
    "models": "CharLM GPT",
    "sampling": "beam_search Sampler",
    "training": "Config fit load_run resume sample train",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_FOLDERS = [
    "analysis",
    "bptt",
    "data",
    "functional",
    "models",
    "nn",
    "optim",
    "replay",
    "sampling",
    "training",
    "viz",
]

# What `from tinygrad_seq import *` brings: not `sum`, `abs` and others that would hide a built-in function of Python.
__all__ = [name for name in [*_HOME_OF, *_FOLDERS] if not hasattr(builtins, name)]


_above.functional = lambda: import_module("tinygrad_seq.functional")


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(f"tinygrad_seq.{name}")
    if name not in _HOME_OF:
        raise import_module("tinygrad_seq.engine.unknown_names").missing(
            "module 'tinygrad_seq'", name, lambda: [*_HOME_OF, *_FOLDERS]
        )
    value = getattr(import_module(f"tinygrad_seq.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_FOLDERS})
