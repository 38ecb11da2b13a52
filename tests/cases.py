"""The table of cases, one line each, and the laws of `test_laws` run over all of them.

A line is a name, a function of tensors, its inputs and the domain they are drawn from. The first word of the
name is the primitive, method or function it is about. Kinks and poles are kept off by the domain, never by a
looser tolerance. To add a function or a layer, add lines to `CASES`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import Tensor
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import wrap
from tinygrad_seq.runtime.arrays import Array

Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One line: `inputs` holds a shape for each array to draw and check, an array for each constant.

    Numbers lie evenly in [low, high); with `apart`, they are 0 +- apart/2, 3/2, ... in random order, each
    moved by a tenth of that at most, so that no two are closer than 0.8 apart and none is near 0. `numpy` is
    the same function of arrays ("same" where `fn` itself takes arrays), None where NumPy has none.
    """

    name: str
    fn: Function
    inputs: Sequence[tuple[int, ...] | Array]
    low: float = -2.0
    high: float = 2.0
    apart: float = 0.0
    numpy: Function | str | None = None

    @property
    def key(self) -> str:
        """What the case is about."""
        return self.name.split()[0]

    @property
    def reference(self) -> Function | None:
        """The same function of NumPy arrays, where there is one."""
        return self.fn if self.numpy == "same" else self.numpy  # type: ignore[return-value]

    def arrays(self, dtype: Any = np.float64) -> list[Array]:
        """The inputs, the same at every call."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        shapes = [x for x in self.inputs if isinstance(x, tuple)]
        total = sum(int(np.prod(shape)) for shape in shapes)
        if self.apart:
            places = rng.permutation(total) - total // 2 + 0.5
            numbers = self.apart * (places + rng.uniform(-0.1, 0.1, total))
        else:
            numbers = rng.uniform(self.low, self.high, total)
        arrays = []
        for x in self.inputs:
            if isinstance(x, tuple):
                size = int(np.prod(x))
                arrays.append(numbers[:size].reshape(x).astype(dtype))
                numbers = numbers[size:]
            else:
                arrays.append(x)
        return arrays

    def tensors(self, dtype: Any = np.float64) -> list[Tensor]:
        """The inputs as tensors; those that are drawn want a gradient."""
        drawn = [isinstance(x, tuple) for x in self.inputs]
        return [wrap(a).requires_grad_(d) for a, d in zip(self.arrays(dtype), drawn, strict=True)]

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs, as a tuple even where there is one."""
        value = self.fn(*tensors)
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _lines(forms: dict[str, list[tuple[int, ...]]], rows: Sequence[tuple[Any, ...]]) -> list[Case]:
    """Each row at each form: a row is (name, function, NumPy's function, domain)."""
    return [
        Case(f"{name} {form}", fn, shapes, numpy=numpy, **domain)
        for name, fn, numpy, domain in rows
        for form, shapes in forms.items()
    ]


IDS = np.array([[2, 0, 2], [-1, 1, 2]])
MASK = np.array([[True, False, True, True], [False] * 4, [True] * 4])
KEY = np.array(1234567, dtype=np.uint64)
OFF_KINKS = {"apart": 0.1}
POSITIVE = {"low": 0.5}
erf = np.vectorize(math.erf, otypes=[np.float64])

UNARY_FORMS = {"matrix": [(3, 4)], "number": [()], "empty": [(0, 3)]}
UNARY = _lines(UNARY_FORMS, [
    ("neg", lambda x: -x, "same", {}),
    ("exp", lambda x: x.exp(), np.exp, {}),
    ("log", lambda x: x.log(), np.log, POSITIVE),
    ("sqrt", lambda x: x.sqrt(), np.sqrt, POSITIVE),
    ("sin", lambda x: x.sin(), np.sin, {}),
    ("cos", lambda x: x.cos(), np.cos, {}),
    ("tanh", lambda x: x.tanh(), np.tanh, {}),
    ("erf", lambda x: x.erf(), erf, {}),
    ("log1p", ops.log1p, np.log1p, {"low": -0.5}),
    ("log1p method", lambda x: x.log1p(), np.log1p, {"low": -0.5}),
    ("lesser", ops.lesser, lambda x: 1.0 / (1.0 + np.exp(-x)) - (x > 0), OFF_KINKS),
    ("ndtr", ops.ndtr, lambda x: 0.5 + 0.5 * erf(x / math.sqrt(2.0)), {}),
    ("floor", lambda x: x * x.floor(), lambda x: x * np.floor(x), {"low": 1.1, "high": 1.9}),
    ("cut", lambda x: x * (ops.cut(x - x) + 1.0), lambda x: x, {}),
    ("abs", lambda x: x.abs(), np.abs, OFF_KINKS),
    ("__abs__", lambda x: abs(x), "same", OFF_KINKS),
    ("__pos__", lambda x: +x, "same", {}),
    ("clone", lambda x: x.clone() * x, lambda x: x * x, {}),
    ("clip", lambda x: x.clip(-0.15, 0.2), lambda x: x.clip(-0.15, 0.2), OFF_KINKS),
    ("clip low", lambda x: x.clip(-0.2), lambda x: x.clip(-0.2), OFF_KINKS),
    ("clip high", lambda x: x.clip(high=0.0), lambda x: x.clip(None, 0.0), OFF_KINKS),
    ("clamp", lambda x: x.clamp(low=0.2), lambda x: x.clip(0.2), OFF_KINKS),
    ("to", lambda x: x.to(np.float64) * x.to("f8"), lambda x: x * x, {}),
    ("to whole", lambda x: x * x.to(np.int64), lambda x: x * x.astype(np.int64), {"low": 1.1, "high": 1.9}),
    ("radd", lambda x: 2.0 + x, "same", {}),
    ("rsub", lambda x: 2 - x, "same", {}),
    ("rmul", lambda x: 2.5 * x, "same", {}),
    ("rtruediv", lambda x: 2.0 / x, "same", POSITIVE),
    ("rpow", lambda x: 1.5**x, "same", {}),
    ("rmod", lambda x: 3.0 % x, "same", {"low": 1.6, "high": 2.9}),
    ("rfloordiv", lambda x: x * (3.0 // x), "same", {"low": 1.6, "high": 2.9}),
    ("remainder", lambda x: x % 0.7, "same", {"low": 0.8, "high": 1.3}),
    ("remainder of", lambda x: 3.0 % x, "same", {"low": 1.6, "high": 2.9}),
    ("floor_divide", lambda x: x * (x // 0.7), "same", {"low": 0.8, "high": 1.3}),
    ("pow square", lambda x: x**2, "same", {}),
    ("pow root", lambda x: x**0.5, "same", POSITIVE),
    ("pow inverse", lambda x: x**-1, "same", POSITIVE),
    ("pow cube", lambda x: x**3, "same", {}),
    ("pow nothing", lambda x: x**0, "same", {}),
    ("pow part", lambda x: x**2.5, "same", POSITIVE),
    ("mod number", lambda x: x % 1.0, "same", {"low": 1.1, "high": 1.9}),
])  # fmt: skip

BINARY_FORMS = {
    "same": [(3, 4), (3, 4)],
    "row": [(3, 4), (4,)],
    "both ways": [(3, 1), (2, 1, 4)],
    "number": [(), (2, 3)],
    "empty": [(0, 3), (1,)],
    "empty by one": [(2, 1, 3), (2, 0, 1)],
}
BINARY = _lines(BINARY_FORMS, [
    ("add", lambda x, y: x + y, "same", {}),
    ("sub", lambda x, y: x - y, "same", {}),
    ("mul", lambda x, y: x * y, "same", {}),
    ("div", lambda x, y: x / y, "same", POSITIVE),
    ("pow", lambda x, y: x**y, "same", POSITIVE),
    ("maximum", lambda x, y: x.maximum(y), np.maximum, OFF_KINKS),
    ("minimum", lambda x, y: x.minimum(y), np.minimum, OFF_KINKS),
    ("less", lambda x, y: (x < y) * x, "same", OFF_KINKS),
    ("equal", lambda x, y: (x == y) + x * y, "same", OFF_KINKS),
    ("ne", lambda x, y: (x != y) * (x * y), "same", OFF_KINKS),
    ("gt", lambda x, y: (x > y) * y, "same", OFF_KINKS),
    ("le", lambda x, y: (x <= y) * y, "same", OFF_KINKS),
    ("ge", lambda x, y: (x >= y) * y, "same", OFF_KINKS),
    ("and", lambda x, y: ((x > 0) & (y > 0)) * x, "same", OFF_KINKS),
    ("or", lambda x, y: ((x > 0) | (y > 0)) * x, "same", OFF_KINKS),
    ("xor", lambda x, y: ((x > 0) ^ (y > 0)) * x, "same", OFF_KINKS),
    ("invert", lambda x, y: ~(x > y) * x, "same", OFF_KINKS),
    ("where", lambda x, y: tgs.where(x < y, x * y, y), lambda x, y: np.where(x < y, x * y, y), OFF_KINKS),
    ("remainder", lambda x, y: (x + 2.0) % (y * y + 0.8), "same", {"low": 0.05, "high": 0.4}),
    ("floor_divide", lambda x, y: x * (x // (y * y + 0.5)), "same", {"low": 0.05, "high": 0.4}),
])  # fmt: skip

LOGIC = [
    Case("rand", lambda x: (True & (x > 0)) * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("ror", lambda x: (False | (x > 0)) * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("rxor", lambda x: (True ^ (x > 0)) * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("all", lambda x: (x > -0.5).all(1).to(x.dtype) * x.sum(1), [(3, 4)], apart=0.1),
    Case("any", lambda x: (x > 0.5).any(0).to(x.dtype) * x.sum(0), [(3, 4)], apart=0.1),
    Case("argmax", lambda x: x.argmax(1) * x.sum(1), [(3, 4)], apart=0.1, numpy="same"),
    Case("argmax flat", lambda x: x.argmax() * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("argmin", lambda x: x.argmin(0) * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("cast", lambda x: ops.cast(x * x, dtype=np.float64) * x, [(3, 4)]),
    Case("cast truth", lambda x: ops.cast(x > 0, dtype=x.dtype) * x, [(3, 4)], apart=0.1),
    Case("float", lambda x: (x > 0).float() * x, [(3, 4)], apart=0.1),
    Case("double", lambda x: x.double() * (x > 0).double(), [(3, 4)], apart=0.1),
    Case("uniform", lambda x: x * ops.uniform(Tensor(KEY), shape=(3, 4), dtype=x.dtype), [(3, 4)]),
    Case(
        "where constant", lambda x: tgs.where(MASK, x, 0.5), [(3, 4)], numpy=lambda x: np.where(MASK, x, 0.5)
    ),
    Case("where one side", lambda x: tgs.where(MASK, 0, x), [(4,)], numpy=lambda x: np.where(MASK, 0, x)),
    Case("where ids", lambda x, i: tgs.where(i, x, -x), [(2, 3), np.array([[3], [0]])]),
    Case("maximum of numbers", lambda x: tgs.maximum(0.0, x) + tgs.minimum(x, 0.25), [(3, 4)], apart=0.1),
    Case("matmul of arrays", lambda x: np.ones((2, 3), "f4") @ x, [(3, 4)], numpy="same"),
    Case("add of arrays", lambda x: np.ones((2, 1, 1), "f4") + x, [(3, 4)], numpy="same"),
]

REDUCTIONS = [
    Case("sum", lambda x: x.sum(), [(3, 4)], numpy="same"),
    Case("sum axis", lambda x: x.sum(1), [(3, 4)], numpy="same"),
    Case("sum axes kept", lambda x: x.sum((0, -1), keepdims=True), [(3, 4, 2)], numpy="same"),
    Case("sum dim", lambda x: x.sum(dim=-2, keepdim=True), [(3, 4, 2)]),
    Case("sum of a number", lambda x: x.sum(), [()], numpy="same"),
    Case("sum of nothing", lambda x: x.sum(0), [(0, 3)], numpy="same"),
    Case("sum over no axis", lambda x: x.sum(()) * x, [(2, 3)], numpy="same"),
    Case("max", lambda x: x.max(), [(3, 4)], apart=0.1, numpy="same"),
    Case("max axis", lambda x: x.max(1) * x.max(1), [(3, 4)], apart=0.1),
    Case("max axes kept", lambda x: x.max((0, 2), keepdims=True), [(3, 4, 2)], apart=0.1, numpy="same"),
    Case("max dim", lambda x: x.max(dim=0, keepdim=True).values, [(3, 4)], apart=0.1),
    Case("max of a number", lambda x: x.max(), [()], numpy="same"),
    Case("amax", lambda x: x.amax(1) * x.amin(0, keepdims=True)[0, :3], [(3, 4)], apart=0.1),
    Case("max of nothing", lambda x: x.max(1), [(0, 3)], numpy="same"),
    Case("min", lambda x: x.min(), [(3, 4)], apart=0.1, numpy="same"),
    Case("min axis", lambda x: x.min(-1, keepdims=True) * x, [(3, 4)], apart=0.1, numpy="same"),
    Case("mean", lambda x: x.mean(), [(3, 4)], numpy="same"),
    Case("mean axis", lambda x: x.mean((0, 1), keepdims=True) * x, [(3, 4, 2)], numpy="same"),
    Case("var", lambda x: x.var(), [(3, 4)], numpy=lambda x: x.var(ddof=1)),
    Case("var axis", lambda x: x.var(1, correction=0), [(3, 4)], numpy=lambda x: x.var(1)),
    Case("std", lambda x: x.std(1), [(3, 4)], numpy=lambda x: x.std(1, ddof=1)),
    Case("std kept", lambda x: x.std(0, True, correction=0), [(3, 4)], numpy=lambda x: x.std(0)[None]),
]  # fmt: skip

MOVES = [
    Case("reshape", lambda x: x.reshape(2, 6) * x.reshape((2, -1)), [(3, 4)], numpy="same"),
    Case("reshape number", lambda x: x.reshape(1, 1), [()], numpy="same"),
    Case("reshape empty", lambda x: x.reshape(3, 0, 2), [(0, 4)], numpy="same"),
    Case("view", lambda x: x.view(-1) * 2.0, [(3, 4)], numpy=lambda x: x.reshape(-1) * 2.0),
    Case("flatten", lambda x: x.flatten(), [(2, 3, 2)], numpy="same"),
    Case("flatten some", lambda x: x.flatten(1, -1), [(2, 3, 2)], numpy=lambda x: x.reshape(2, 6)),
    Case("flatten number", lambda x: x.flatten(), [()], numpy="same"),
    Case("permute", lambda x: x.permute(2, 0, 1), [(2, 3, 4)], numpy=lambda x: x.transpose(2, 0, 1)),
    Case("permute back", lambda x: x.permute((-1, 0, -2)), [(2, 3, 4)], numpy=lambda x: x.transpose(2, 0, 1)),
    Case("transpose", lambda x: x.transpose(0, -1), [(2, 3, 4)], numpy=lambda x: x.swapaxes(0, -1)),
    Case("T", lambda x: x.T @ x, [(3, 2)], numpy="same"),
    Case("expand", lambda x: x.expand(2, 3, 4), [(3, 1)], numpy=lambda x: np.broadcast_to(x, (2, 3, 4))),
    Case("expand kept", lambda x: x.expand(-1, 4), [(3, 1)], numpy=lambda x: np.broadcast_to(x, (3, 4))),
    Case("expand number", lambda x: x.expand(2, 2), [()], numpy=lambda x: np.broadcast_to(x, (2, 2))),
    Case("expand to nothing", lambda x: x.expand(0, 3), [(1, 3)], numpy=lambda x: np.broadcast_to(x, (0, 3))),
    Case("squeeze", lambda x: x.squeeze(), [(1, 3, 1)], numpy="same"),
    Case("squeeze axis", lambda x: x.squeeze(-1).squeeze(dim=0), [(1, 3, 1)], numpy=np.squeeze),
    Case("squeeze wide", lambda x: x.squeeze(1) * 2.0, [(1, 3)], numpy=lambda x: x * 2.0),
    Case("unsqueeze", lambda x: x.unsqueeze(-1) * x.unsqueeze(0), [(3,)], numpy=lambda x: x[:, None] * x),
    Case("flip", lambda x: x.flip(1), [(2, 3)], numpy=lambda x: np.flip(x, 1)),
    Case("flip all", lambda x: x.flip() * x, [(2, 3)], numpy=lambda x: np.flip(x) * x),
    Case("split", lambda x: x.split(2), [(5, 2)], numpy=lambda x: (x[:2], x[2:4], x[4:])),
    Case("split sizes", lambda x: x.split([1, 0, 2]), [(3, 2)], numpy=lambda x: (x[:1], x[1:1], x[1:])),
    Case("split dim", lambda x: x.split([1, 2], dim=1), [(2, 3)], numpy=lambda x: (x[:, :1], x[:, 1:])),
    Case("chunk", lambda x: x.chunk(3, axis=1), [(2, 7)], numpy=lambda x: (x[:, :3], x[:, 3:6], x[:, 6:])),
    Case("chunk uneven use", lambda x: x.chunk(2)[1] * x, [(2, 3)], numpy=lambda x: x[1:] * x),
    Case("pad", lambda x: ops.pad(x, index=(slice(1, 3), 2), shape=(4, 3)), [(2,)]),
    Case("pad steps", lambda x: ops.pad(x, index=(slice(None, None, -2),), shape=(4, 2)), [(2, 2)]),
    Case("slice", lambda x: x[1:3], [(4, 2)], numpy="same"),
    Case("slice number", lambda x: x[-1] * x[0], [(4, 2)], numpy="same"),
    Case("slice steps", lambda x: x[::-2, 1::2], [(5, 4)], numpy="same"),
    Case("slice new", lambda x: x[None, ..., 1, None], [(3, 2)], numpy="same"),
    Case("slice nothing", lambda x: x[2:2], [(4, 2)], numpy="same"),
    Case("slice of a number", lambda x: x[...] * x[None] * x[()], [()], numpy="same"),
    Case("slice tiles", lambda x: x[0] * x[2] + x[1], [(3, 2)], numpy="same"),
    Case("slice loop", lambda x: sum(x[t] * x[t + 1].tanh() for t in range(3)), [(4, 2)]),
    Case("slice beside whole", lambda x: x * x[0] + x.tanh() * x[1] + x.exp(), [(4, 2)]),
    Case("slice windows", lambda x: x[:-1] * x[1:] + x[:1], [(4, 2)], numpy="same"),
    Case("concat", lambda x, y: tgs.concat([x, y]), [(2, 3), (1, 3)], numpy=lambda x, y: np.r_[x, y]),
    Case("concat axis", lambda x, y: tgs.cat([y, x], -1), [(2, 3), (2, 1)], numpy=lambda x, y: np.c_[y, x]),
    Case("concat empty", lambda x, y: tgs.cat([x, y], dim=0), [(0, 3), (2, 3)], numpy=lambda x, y: y),
    Case("concat constant", lambda x: tgs.concat([x, np.ones((2, 3), "f4")]), [(2, 3)]),
    Case("stack", lambda x, y: tgs.stack([x, y]), [(2, 3), (2, 3)], numpy=lambda *xs: np.stack(xs)),
    Case("stack last", lambda x, y: tgs.stack([x, y], -1), [(3,), (3,)], numpy=lambda *xs: np.stack(xs, -1)),
    Case("stack numbers", lambda x, y: tgs.stack([x, y]), [(), ()], numpy=lambda x, y: np.stack([x, y])),
]  # fmt: skip

INDEXING = [
    Case("gather", lambda x: x[IDS], [(3, 2)], numpy="same"),
    Case("gather ids", lambda x, i: x[i] * x[i], [(3, 2), IDS], numpy="same"),
    Case("gather empty", lambda x: x[np.zeros((0, 2), int)], [(3, 2)], numpy="same"),
    Case("gather two", lambda x: x[IDS, IDS[0] % 2], [(3, 2)], numpy="same"),
    Case("gather inner", lambda x: x[:, IDS], [(2, 3)], numpy="same"),
    Case("gather apart", lambda x: x[[0, 1], :, [1, -1]], [(2, 3, 2)], numpy="same"),
    Case("gather beside", lambda x: x[1:, [2, 0], 1], [(3, 3, 2)], numpy="same"),
    Case("gather mask", lambda x: x[MASK], [(3, 4)], numpy="same"),
    Case("gather mask beside", lambda x: x[:, MASK[0]], [(2, 4)], numpy="same"),
    Case("gather no axes", lambda x: x[np.array(1)] * x[True][0], [(2, 3)], numpy="same"),
    Case("gather vector", lambda x: x[[3, 3, 0]], [(4,)], numpy="same"),
    Case("take", lambda x: x.take(IDS, 1), [(2, 3)], numpy=lambda x: x.take(IDS % 3, 1)),
    Case("take one", lambda x: x.take(1, axis=-1), [(2, 3)], numpy="same"),
    Case("scatter", lambda x: ops.scatter(x, IDS, shape=(3, 2)), [(2, 3, 2)]),
    Case("scatter two", lambda x: ops.scatter(x, IDS, IDS[0] % 2, shape=(3, 2)), [(2, 3)]),
    Case("scatter stretched", lambda x: ops.scatter(x, IDS[0], shape=(3, 2)), [(2,)]),
    Case("scatter empty", lambda x: ops.scatter(x, IDS[:0, 0], shape=(3, 2)), [(0, 2)]),
]  # fmt: skip

MATMUL = [
    Case(f"matmul {len(x)} by {len(y)} {form}".rstrip(), lambda x, y: x @ y, [x, y], numpy="same")
    for form, x, y in [
        ("", (3,), (3,)),
        ("", (3,), (3, 2)),
        ("", (2, 3), (3,)),
        ("", (2, 3), (3, 4)),
        ("", (3,), (2, 3, 4)),
        ("", (2, 4, 3), (3,)),
        ("", (2, 4, 3), (3, 2)),
        ("", (4, 3), (2, 3, 2)),
        ("", (2, 4, 3), (2, 3, 2)),
        ("stretched", (2, 4, 3), (1, 3, 2)),
        ("", (2, 1, 4, 3), (3, 3, 2)),
        ("", (2, 2, 2, 3), (2, 2, 3, 2)),
        ("", (3, 2), (2, 2, 2, 2)),
        ("", (2,), (2, 3, 2, 2)),
        ("", (3, 2, 2, 2), (2,)),
        ("no rows", (0, 3), (3, 2)),
        ("no inside", (2, 0), (0, 3)),
        ("no batch", (0, 2, 3), (3, 2)),
        ("no batch", (0, 2, 3), (0, 3, 2)),
    ]
] + [Case("rmatmul", lambda x: x.__rmatmul__(np.ones((2, 3), "f4")), [(3, 2)])]
MATMUL += [Case("matmul method", lambda x, y: x.matmul(y), [(2, 3), (3, 2)], numpy=np.matmul)]

COMPOSED = [
    Case("diamond", lambda x: x.tanh() * x.exp() + x.tanh(), [(3, 4)]),
    Case("recurrence", lambda x, w: sum((x @ w).tanh() @ w for _ in range(3)), [(2, 3), (3, 3)]),
    Case("softmax", lambda x: x.exp() / x.exp().sum(-1, True), [(3, 4)]),
]  # fmt: skip

CASES = [*UNARY, *BINARY, *LOGIC, *REDUCTIONS, *MOVES, *INDEXING, *MATMUL, *COMPOSED]
