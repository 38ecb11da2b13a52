"""Each method as a function: `exp(x)` is `x.exp()`, and x may be an array, a list or a number too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tinygrad_seq.arguments import real
from tinygrad_seq.engine.foreign_keywords import answer, fitting
from tinygrad_seq.engine.tensor import Tensor, input_tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _of(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """A method as a function, whose first argument need not be a tensor yet; PyTorch calls it `input`."""
    call = method.__name__

    @functools.wraps(method)
    def function(*args: _P.args, **settings: _P.kwargs) -> _R:
        if not args and "input" not in settings:
            fitting(method, args, settings)
        x: Any = args[0] if args else settings.pop("input")
        return method(input_tensor(call, x), *args[1:], **settings)  # type: ignore[arg-type]

    return function


abs, absolute, neg, negative = _of(Tensor.abs), _of(Tensor.abs), _of(Tensor.neg), _of(Tensor.neg)
exp, log, sqrt, rsqrt, square = (
    _of(Tensor.exp), _of(Tensor.log), _of(Tensor.sqrt), _of(Tensor.rsqrt), _of(Tensor.square),
)  # fmt: skip
sin, cos, tanh, erf = _of(Tensor.sin), _of(Tensor.cos), _of(Tensor.tanh), _of(Tensor.erf)
sigmoid, relu, log1p, prod = _of(Tensor.sigmoid), _of(Tensor.relu), _of(Tensor.log1p), _of(Tensor.prod)
floor, ceil, trunc, round, sign = (
    _of(Tensor.floor), _of(Tensor.ceil), _of(Tensor.trunc), _of(Tensor.round), _of(Tensor.sign),
)  # fmt: skip
reciprocal, clamp, clip = _of(Tensor.reciprocal), _of(Tensor.clip), _of(Tensor.clip)
isnan, isinf, isfinite, logical_not = (
    _of(Tensor.isnan), _of(Tensor.isinf), _of(Tensor.isfinite), _of(Tensor.logical_not),
)  # fmt: skip
add, sub, subtract, mul, multiply = (
    _of(Tensor.add), _of(Tensor.sub), _of(Tensor.sub), _of(Tensor.mul), _of(Tensor.mul),
)  # fmt: skip
div, divide, pow, matmul = _of(Tensor.div), _of(Tensor.div), _of(Tensor.pow), _of(Tensor.matmul)
mm, bmm, mv, dot = _of(Tensor.matmul), _of(Tensor.matmul), _of(Tensor.matmul), _of(Tensor.matmul)
eq, ne, lt, le, gt, ge = (
    _of(Tensor.eq), _of(Tensor.ne), _of(Tensor.lt), _of(Tensor.le), _of(Tensor.gt), _of(Tensor.ge),
)  # fmt: skip
sum, mean, var, std, norm = (
    _of(Tensor.sum), _of(Tensor.mean), _of(Tensor.var), _of(Tensor.std), _of(Tensor.norm),
)  # fmt: skip
max, min, amax, amin = _of(Tensor.max), _of(Tensor.min), _of(Tensor.amax), _of(Tensor.amin)
argmax, argmin, all, any = _of(Tensor.argmax), _of(Tensor.argmin), _of(Tensor.all), _of(Tensor.any)
softmax, log_softmax, logsumexp, cumsum = (
    _of(Tensor.softmax), _of(Tensor.log_softmax), _of(Tensor.logsumexp), _of(Tensor.cumsum),
)  # fmt: skip
sort, argsort, topk, gather = _of(Tensor.sort), _of(Tensor.argsort), _of(Tensor.topk), _of(Tensor.gather)
reshape, flatten, squeeze, unsqueeze = (
    _of(Tensor.reshape), _of(Tensor.flatten), _of(Tensor.squeeze), _of(Tensor.unsqueeze),
)  # fmt: skip
transpose, permute, movedim, t, swapaxes = (
    _of(Tensor.transpose), _of(Tensor.permute), _of(Tensor.movedim), _of(Tensor.t), _of(Tensor.swapaxes),
)  # fmt: skip
flip, roll, tile, repeat_interleave = (
    _of(Tensor.flip), _of(Tensor.roll), _of(Tensor.tile), _of(Tensor.repeat_interleave),
)  # fmt: skip
split, chunk, unbind, narrow = _of(Tensor.split), _of(Tensor.chunk), _of(Tensor.unbind), _of(Tensor.narrow)
index_select, masked_select, masked_fill = (
    _of(Tensor.index_select), _of(Tensor.masked_select), _of(Tensor.masked_fill),
)  # fmt: skip
tril, triu, clone, numel = _of(Tensor.tril), _of(Tensor.triu), _of(Tensor.clone), _of(Tensor.numel)


def equal(x: Any, y: Any) -> bool:
    """Whether two tensors have the same shape and values."""
    a, b = input_tensor("equal", x), input_tensor("equal", y)
    return a.shape == b.shape and bool((a == b).all())


def allclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |x - y| is at most atol + rtol |y| everywhere."""
    a, b = input_tensor("allclose", x), input_tensor("allclose", y)
    rtol, atol = real("allclose", "rtol", rtol), real("allclose", "atol", atol)
    near = (a == b) | (abs(a - b) <= atol + rtol * abs(b))
    return bool((near | (a.isnan() & b.isnan()) if equal_nan else near).all())


answer(globals(), "allclose", "equal")
