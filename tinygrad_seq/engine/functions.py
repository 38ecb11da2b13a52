"""Each method as a function: `exp(x)` is `x.exp()`, and x may be an array, a list or a number too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tinygrad_seq.arguments import real
from tinygrad_seq.engine.apply import input_tensor
from tinygrad_seq.engine.foreign_keywords import answer, fitting
from tinygrad_seq.engine.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def of(method: Callable[P, R]) -> Callable[P, R]:
    """A method as a function, whose first argument need not be a tensor yet; PyTorch calls it `input`."""
    call = method.__name__

    @functools.wraps(method)
    def function(*args: P.args, **settings: P.kwargs) -> R:
        if not args and "input" not in settings:
            fitting(method, args, settings)
        x: Any = args[0] if args else settings.pop("input")
        return method(input_tensor(call, x), *args[1:], **settings)  # type: ignore[arg-type]

    return function


abs, absolute, neg, negative = of(Tensor.abs), of(Tensor.abs), of(Tensor.neg), of(Tensor.neg)
exp, log, sqrt, rsqrt, square = (
    of(Tensor.exp), of(Tensor.log), of(Tensor.sqrt), of(Tensor.rsqrt), of(Tensor.square),
)  # fmt: skip
sin, cos, tanh, erf = of(Tensor.sin), of(Tensor.cos), of(Tensor.tanh), of(Tensor.erf)
sigmoid, relu, log1p, prod = of(Tensor.sigmoid), of(Tensor.relu), of(Tensor.log1p), of(Tensor.prod)
floor, ceil, trunc, round, sign = (
    of(Tensor.floor), of(Tensor.ceil), of(Tensor.trunc), of(Tensor.round), of(Tensor.sign),
)  # fmt: skip
reciprocal, clamp, clip = of(Tensor.reciprocal), of(Tensor.clip), of(Tensor.clip)
isnan, isinf, isfinite, logical_not = (
    of(Tensor.isnan), of(Tensor.isinf), of(Tensor.isfinite), of(Tensor.logical_not),
)  # fmt: skip
add, sub, subtract, mul, multiply = (
    of(Tensor.add), of(Tensor.sub), of(Tensor.sub), of(Tensor.mul), of(Tensor.mul),
)  # fmt: skip
div, divide, pow, matmul = of(Tensor.div), of(Tensor.div), of(Tensor.pow), of(Tensor.matmul)
mm, bmm, mv, dot = of(Tensor.matmul), of(Tensor.matmul), of(Tensor.matmul), of(Tensor.matmul)
eq, ne, lt, le, gt, ge = (
    of(Tensor.eq), of(Tensor.ne), of(Tensor.lt), of(Tensor.le), of(Tensor.gt), of(Tensor.ge),
)  # fmt: skip
sum, mean, var, std, norm = (
    of(Tensor.sum), of(Tensor.mean), of(Tensor.var), of(Tensor.std), of(Tensor.norm),
)  # fmt: skip
max, min, amax, amin = of(Tensor.max), of(Tensor.min), of(Tensor.amax), of(Tensor.amin)
argmax, argmin, all, any = of(Tensor.argmax), of(Tensor.argmin), of(Tensor.all), of(Tensor.any)
softmax, log_softmax, logsumexp, cumsum = (
    of(Tensor.softmax), of(Tensor.log_softmax), of(Tensor.logsumexp), of(Tensor.cumsum),
)  # fmt: skip
sort, argsort, topk, gather = of(Tensor.sort), of(Tensor.argsort), of(Tensor.topk), of(Tensor.gather)
reshape, flatten, squeeze, unsqueeze = (
    of(Tensor.reshape), of(Tensor.flatten), of(Tensor.squeeze), of(Tensor.unsqueeze),
)  # fmt: skip
transpose, permute, movedim, t, swapaxes = (
    of(Tensor.transpose), of(Tensor.permute), of(Tensor.movedim), of(Tensor.t), of(Tensor.swapaxes),
)  # fmt: skip
flip, roll, tile, repeat_interleave = (
    of(Tensor.flip), of(Tensor.roll), of(Tensor.tile), of(Tensor.repeat_interleave),
)  # fmt: skip
split, chunk, unbind, narrow = of(Tensor.split), of(Tensor.chunk), of(Tensor.unbind), of(Tensor.narrow)
index_select, masked_select, masked_fill = (
    of(Tensor.index_select), of(Tensor.masked_select), of(Tensor.masked_fill),
)  # fmt: skip
tril, triu, clone, numel = of(Tensor.tril), of(Tensor.triu), of(Tensor.clone), of(Tensor.numel)


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
