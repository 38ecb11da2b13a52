"""Primitives, methods and transforms against PyTorch: values, slopes, conventions at edges, dtypes."""

from __future__ import annotations

import operator
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tinygrad_seq import Tensor

Array = np.ndarray[Any, Any]
MASK = np.array([[True, False, True, True], [False] * 4, [True] * 4])
IDS = np.array([[2, 0, 2], [1, 1, 2]])
T_IDS = torch.tensor(IDS)
OFF_KINKS = {"apart": 0.1}
POSITIVE = {"low": 0.5}

# name: our function, PyTorch's (None where the same function takes either), shapes, domain
ROWS: dict[str, tuple[Any, Any, list[tuple[int, ...]], dict[str, float]]] = {
    "add": (lambda x, y: x + y, None, [(3, 1), (2, 1, 4)], {}),
    "sub": (lambda x, y: x - y, None, [(3, 1), (2, 1, 4)], {}),
    "mul": (lambda x, y: x * y, None, [(3, 1), (2, 1, 4)], {}),
    "div": (lambda x, y: x / y, None, [(3, 1), (2, 1, 4)], POSITIVE),
    "pow": (lambda x, y: x**y, None, [(3, 1), (2, 1, 4)], POSITIVE),
    "mod": (lambda x, y: x % y, None, [(3, 4), (4,)], POSITIVE),
    "numbers": (
        lambda x: 2.0 - x * 3 + 1.0 / x - x / 4 + 2.0**x + x**3 - x**-1 + x**0.5,
        None,
        [(5,)],
        POSITIVE,
    ),
    "neg": (lambda x: -x + (+x) * x, None, [(3, 4)], {}),
    "exp": (lambda x: x.exp(), None, [(3, 4)], {}),
    "log": (lambda x: x.log(), None, [(3, 4)], POSITIVE),
    "sqrt": (lambda x: x.sqrt(), None, [(3, 4)], POSITIVE),
    "sin": (lambda x: x.sin(), None, [(3, 4)], {}),
    "cos": (lambda x: x.cos(), None, [(3, 4)], {}),
    "tanh": (lambda x: x.tanh(), None, [(3, 4)], {}),
    "erf": (lambda x: x.erf(), None, [(3, 4)], {}),
    "abs": (lambda x: x.abs() * x, None, [(3, 4)], OFF_KINKS),
    "maximum": (lambda x, y: x.maximum(y) * x, None, [(3, 4), (4,)], OFF_KINKS),
    "minimum": (lambda x, y: x.minimum(y) * x, None, [(3, 4), (4,)], OFF_KINKS),
    "maximum function": (tgs.maximum, torch.maximum, [(3, 4), (3, 4)], OFF_KINKS),
    "minimum function": (tgs.minimum, torch.minimum, [(3, 4), (3, 4)], OFF_KINKS),
    "clip": (lambda x: x.clip(-0.2, 0.3) * x, None, [(3, 4)], OFF_KINKS),
    "clamp": (lambda x: x.clamp(-0.2) * x, None, [(3, 4)], OFF_KINKS),
    "clip between tensors": (lambda x, y, z: x.clip(y, z), None, [(3, 4), (4,), (3, 1)], OFF_KINKS),
    "where": (
        lambda x, y: tgs.where(MASK, x * y, y),
        lambda x, y: torch.where(torch.tensor(MASK), x * y, y),
        [(3, 4), (4,)],
        {},
    ),
    "cast": (
        lambda x: x.double().float() * x.to(np.float64),
        lambda x: x.double().float() * x.double(),
        [(4,)],
        {},
    ),
    "clone": (lambda x: x.clone() * x, None, [(3,)], {}),
    "sum": (lambda x: x.sum() * x, None, [(3, 4)], {}),
    "sum dims": (lambda x: x.sum((0, -1), True) * x, None, [(3, 4, 2)], {}),
    "sum dim keepdim": (lambda x: x.sum(dim=1, keepdim=True) * x, None, [(3, 4, 2)], {}),
    "mean": (lambda x: x.mean(1) * x.mean(), None, [(3, 4)], {}),
    "mean dim": (lambda x: x.mean(dim=(0, 2), keepdim=True) * x, None, [(3, 4, 2)], {}),
    "var": (lambda x: x.var() * x, None, [(3, 4)], {}),
    "var dim": (lambda x: x.var(dim=1, correction=0, keepdim=True) * x, None, [(3, 4)], {}),
    "std": (lambda x: x.std(dim=1, keepdim=True) * x, None, [(3, 4)], {}),
    "max": (lambda x: x.max() * x, None, [(3, 4)], OFF_KINKS),
    "max dim": (lambda x: x.max(1, True) * x, lambda x: x.amax(1, True) * x, [(3, 4)], OFF_KINKS),
    "min dims": (lambda x: x.min((0, 1)) * x, lambda x: x.amin((0, 1)) * x, [(3, 4)], OFF_KINKS),
    "reshape": (lambda x: x.reshape(2, -1) * x.view(2, 6), None, [(3, 4)], {}),
    "flatten": (lambda x: x.flatten(1, 2) * x.flatten().sum(), None, [(2, 3, 2)], {}),
    "permute": (lambda x: x.permute(2, 0, 1) * x.sum(), None, [(2, 3, 4)], {}),
    "transpose": (lambda x: x.transpose(0, -1) * x.sum(), None, [(2, 3, 4)], {}),
    "T": (lambda x: x.T @ x, None, [(3, 2)], {}),
    "expand": (lambda x: x.expand(2, -1, 4) * x, None, [(3, 1)], {}),
    "squeeze": (lambda x: x.squeeze() * x.squeeze(0).sum() * x.squeeze(1).sum(), None, [(1, 3, 1)], {}),
    "unsqueeze": (lambda x: x.unsqueeze(-1) * x.unsqueeze(0), None, [(3,)], {}),
    "flip": (lambda x: x.flip(0, 1) * x, None, [(2, 3)], {}),
    "split": (lambda x: x.split(2)[0] * x.split([1, 2, 2])[1], None, [(5, 2)], {}),
    "chunk": (lambda x: x.chunk(3)[1] * x.chunk(2)[1], None, [(4, 2)], {}),
    "concat": (
        lambda x, y: tgs.concat([x, y, x], 1) * tgs.cat([y, x, x], dim=1),
        lambda x, y: torch.concat([x, y, x], 1) * torch.cat([y, x, x], dim=1),
        [(2, 3), (2, 1)],
        {},
    ),
    "stack": (
        lambda x, y: tgs.stack([x, y, x * y], 1),
        lambda x, y: torch.stack([x, y, x * y], 1),
        [(3,), (3,)],
        {},
    ),
    "slices": (lambda x: x[1:, None, ::2] * x[-1, 1] * x[..., 0].sum(), None, [(4, 3)], {}),
    "slice loop": (lambda x: sum((x[t] * x[t + 1].tanh() for t in range(3)), x[0]), None, [(4, 2)], {}),
    "gather": (lambda x: x[IDS] * x.sum(), lambda x: x[T_IDS] * x.sum(), [(3, 2)], {}),
    "gather inner": (lambda x: x[:, IDS] ** 2, lambda x: x[:, T_IDS] ** 2, [(2, 3)], {}),
    "gather apart": (lambda x: x[[0, 1], :, [1, -1]] ** 2, None, [(2, 3, 2)], {}),
    "gather mask": (lambda x: x[MASK] ** 2, lambda x: x[torch.tensor(MASK)] ** 2, [(3, 4)], {}),
    "take": (
        lambda x: x.take([2, 0, 2], 1) ** 2,
        lambda x: x.index_select(1, torch.tensor([2, 0, 2])) ** 2,
        [(2, 3)],
        {},
    ),
    "matmul 1 1": (lambda x, y: x @ y, None, [(3,), (3,)], {}),
    "matmul 1 3": (lambda x, y: x @ y, None, [(3,), (2, 3, 4)], {}),
    "matmul 2 2": (lambda x, y: x.matmul(y), None, [(2, 3), (3, 4)], {}),
    "matmul 3 1": (lambda x, y: x @ y, None, [(2, 4, 3), (3,)], {}),
    "matmul 3 2": (lambda x, y: x @ y, None, [(2, 4, 3), (3, 2)], {}),
    "matmul 4 3": (lambda x, y: x @ y, None, [(2, 1, 4, 3), (3, 3, 2)], {}),
    "recurrence": (lambda x, w: ((x @ w).tanh() @ w + x).tanh() @ w, None, [(2, 3), (3, 3)], {}),
}
each_row = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def arrays_for(
    name: str, shapes: list[tuple[int, ...]], low: float = -2.0, apart: float = 0.0
) -> list[Array]:
    """Arrays from [low, 2), or 0 +- apart/2, 3/2, ... in random order."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    total = sum(int(np.prod(s)) for s in shapes)
    numbers = (rng.permutation(total) - total // 2 + 0.5) * apart if apart else rng.uniform(low, 2.0, total)
    ends = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(numbers, ends), shapes, strict=True)]


def weight(shape: Any) -> Array:
    """The fixed numbers that an output or a gradient is met by."""
    return np.random.default_rng(1).uniform(0.5, 1.5, tuple(shape))


def ours(fn: Callable[..., Any], arrays: list[Array]) -> list[Array]:
    """Value, gradients and the gradients of the weighted gradients."""
    xs = [tgs.tensor(a, requires_grad=True) for a in arrays]
    out = fn(*xs)
    slopes = tgs.grad(out, xs, weight(out.shape), create_graph=True)
    seconds = tgs.grad(sum((s * weight(s.shape)).sum() for s in slopes), xs)
    return [t.array for t in (out, *slopes, *seconds)]


def theirs(fn: Callable[..., Any], arrays: list[Array]) -> list[Array]:
    """The same by PyTorch."""
    xs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = fn(*xs)
    slopes = torch.autograd.grad(out, xs, torch.tensor(weight(out.shape), dtype=out.dtype), create_graph=True)
    total = sum((s * torch.tensor(weight(s.shape), dtype=s.dtype)).sum() for s in slopes)
    seconds: Any = [None] * len(xs)
    if total.requires_grad:
        seconds = torch.autograd.grad(total, xs, allow_unused=True)
    filled = [torch.zeros_like(x) if s is None else s for s, x in zip(seconds, xs, strict=True)]
    return [t.detach().numpy() for t in (out, *slopes, *filled)]


def assert_agree(mine: list[Array], torchs: list[Array], dtype: Any) -> None:
    """Same dtypes and shapes; values within 32 roundings of the largest entry."""
    for a, b in zip(mine, torchs, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        atol = 32 * np.finfo(dtype).eps * np.abs(b).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@each_row
@each_dtype
def test_value_slope_and_curvature(name: str, dtype: Any) -> None:
    """Each function, its gradient and the gradient of that."""
    fn, other, shapes, domain = ROWS[name]
    arrays = [a.astype(dtype) for a in arrays_for(name, shapes, **domain)]
    assert_agree(ours(fn, arrays), theirs(other or fn, arrays), dtype)


# ---- conventions at ties, edges and what is no ordinary number ---------------------------------------------
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -3e38, 0.5])
UNARY = ["exp", "log", "sqrt", "sin", "cos", "tanh", "erf", "abs", "neg", "floor"]


def of(name: str) -> Callable[[Any], Any]:
    """A unary function of either kind of tensor."""
    return operator.neg if name == "neg" else operator.methodcaller(name)


@pytest.mark.parametrize("name", UNARY)
@each_dtype
def test_special_numbers(name: str, dtype: Any) -> None:
    """NaN, infinities, signed zeros and extremes: value and sign, and the slope there."""
    a = SPECIAL.astype(dtype)
    x, y = tgs.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    with np.errstate(all="ignore"):
        mine, torchs = of(name)(x), of(name)(y)
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(mine.array, torchs.detach().numpy(), rtol=eps)
    if name != "abs":  # the larger of 0 and -0 may be either
        np.testing.assert_array_equal(np.signbit(mine.array[:3]), torch.signbit(torchs[:3]).numpy())
    if name == "floor":
        assert not mine.requires_grad
        return
    slope = tgs.grad(mine, x, np.ones(len(a), dtype)).array
    expected = torch.autograd.grad(torchs.sum(), y)[0].numpy()
    known = ~np.isnan(a) if name == "abs" else np.full(len(a), True)
    np.testing.assert_allclose(slope[known], expected[known], rtol=eps, atol=eps)


NUMBERS_AT_EDGES = [0.0, -0.0, 1.0, -1.0, 2.5, -2.0, 0.5, np.inf, -np.inf, np.nan]
PAIRS = np.array([(a, b) for a in NUMBERS_AT_EDGES for b in NUMBERS_AT_EDGES])


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "pow", "maximum", "minimum", "lt", "le", "eq", "ne", "ge"]
)
def test_special_pairs(name: str) -> None:
    """Two operands, each of them ordinary, zero, infinite or NaN: the value, and the sign of zeros."""
    fn = operator.methodcaller if name in ("maximum", "minimum") else None
    call = (lambda x, y: fn(name, y)(x)) if fn else getattr(operator, name)
    with np.errstate(all="ignore"):
        mine = call(tgs.tensor(PAIRS[:, 0]), tgs.tensor(PAIRS[:, 1])).array
    torchs = call(torch.tensor(PAIRS[:, 0]), torch.tensor(PAIRS[:, 1])).numpy()
    assert mine.dtype == torchs.dtype
    np.testing.assert_allclose(mine.astype(float), torchs.astype(float), rtol=4e-16)
    if mine.dtype != bool and fn is None:
        np.testing.assert_array_equal(
            np.signbit(mine[~np.isnan(mine)]), np.signbit(torchs[~np.isnan(torchs)])
        )


@pytest.mark.parametrize(
    ("fn", "other", "a"),
    [
        (lambda x: x.abs(), None, [0.0, -0.0, 1.0]),
        (lambda x: x.clip(-1.0, 1.0), None, [-1.0, 1.0, 0.0, -2.0, 2.0]),
        (lambda x: x.clip(low=1.0), lambda x: x.clip(min=1.0), [1.0, 0.5]),
        (lambda x: x.clip(2.0, 1.0), None, [0.0, 1.0, 1.5, 2.0, 3.0]),
        (lambda x: x.maximum(x.detach()), None, [1.0, 2.0]),
        (lambda x: x.maximum(0.0 * x.detach()), None, [0.0, -0.0, 1.0]),
        (lambda x: x.minimum(0.0 * x.detach()), None, [0.0, -0.0, 1.0]),
        (lambda x: x.max(), lambda x: x.amax(), [2.0, 1.0, 2.0, 2.0]),
        (lambda x: x.max(0), lambda x: x.amax(0), [[1.0, 2.0], [1.0, 0.0], [1.0, 2.0]]),
        (lambda x: x.min(1), lambda x: x.amin(1), [[1.0, 1.0], [1.0, 0.0]]),
        (lambda x: x.max(), lambda x: x.amax(), [-np.inf, -np.inf]),
        (lambda x: x**0.0, None, [0.0, 2.0, -1.0]),
        (lambda x: x**1.0, None, [0.0, -0.0, -2.0]),
        (lambda x: x**2, None, [0.0, -0.0, -2.0]),
        (lambda x: x**3.0, None, [0.0, -0.0, -2.0]),
        (lambda x: x**0.5, None, [0.0, 4.0]),
        (lambda x: x**-1.0, None, [-2.0, 4.0]),
        (lambda x: 0.0**x, None, [0.0, 1.0, 2.0, -1.0, -np.inf, np.inf, np.nan]),
        (lambda x: (-0.0) ** x, None, [0.0, 3.0, -1.0, -2.0]),
        (lambda x: x**x, None, [0.0, 1.0, 2.0]),
        (lambda x: x % 2.0, None, [-3.0, -0.5, 0.0, 3.5]),
    ],
)
def test_slopes_at_ties_and_edges(fn: Any, other: Any, a: Any) -> None:
    """At kinks, bounds and zeros the gradient follows PyTorch's conventions."""
    x, y = (make(a, requires_grad=True) for make in (tgs.tensor, torch.tensor))
    with np.errstate(all="ignore"):
        fn(x).sum().backward()
    (other or fn)(y).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.array, y.grad.numpy(), rtol=1e-6)


def test_ties_of_two_tensors() -> None:
    """maximum and minimum give each of two equal sides half, as PyTorch does."""
    a, b = np.array([1.0, 2.0, -0.0, 3.0]), np.array([1.0, 3.0, 0.0, -np.inf])
    for name in ("maximum", "minimum"):
        xs = [tgs.tensor(v, requires_grad=True) for v in (a, b)]
        ys = [torch.tensor(v, requires_grad=True) for v in (a, b)]
        call = operator.methodcaller
        slopes = tgs.grad(call(name, xs[1])(xs[0]).sum(), xs)
        expected = torch.autograd.grad(call(name, ys[1])(ys[0]).sum(), ys)
        for mine, torchs in zip(slopes, expected, strict=True):
            np.testing.assert_array_equal(mine.array, torchs.numpy())


def test_places_of_ties_and_nan() -> None:
    """argmax and argmin name the first of equals and the first NaN; max and min spread NaN."""
    for a in ([1.0, 3.0, 3.0, 0.0, 0.0], [1.0, np.nan, 3.0, np.nan], [np.inf, -np.inf, np.inf]):
        x, y = tgs.tensor(a), torch.tensor(a)
        assert (x.argmax().item(), x.argmin().item()) == (y.argmax().item(), y.argmin().item())
        np.testing.assert_array_equal([x.max().item(), x.min().item()], [y.max().item(), y.min().item()])


# ---- dtypes ------------------------------------------------------------------------------------------------
KINDS = ["bool", "uint8", "int32", "int64", "float32", "float64"]
NUMBERS = [True, 2, 2.5]
OPERATORS = [operator.add, operator.mul, operator.truediv, operator.pow, operator.lt, operator.eq]


MIXED = [(op, a, b) for op in OPERATORS for a in KINDS for b in (*KINDS, *NUMBERS)]


@pytest.mark.parametrize(
    ("op", "left", "right"),
    [row for row in MIXED if row[:2] != (operator.pow, "bool") or row[2] not in ("bool", True)],
)
def test_dtypes_of_mixed_operands(op: Any, left: str, right: Any) -> None:
    """Two tensors, or a tensor and a Python number on either side: PyTorch's dtype and value."""
    a, c = (make(np.array([1, 0, 3]).astype(left)) for make in (tgs.tensor, torch.tensor))
    b = d = right
    if right in KINDS:
        b, d = (make(np.array([3, 0, 1]).astype(right)) for make in (tgs.tensor, torch.tensor))
    with np.errstate(all="ignore"):
        for mine, torchs in ((op(a, b), op(c, d)), (op(b, a), op(d, c))):
            assert str(mine.dtype) == str(torchs.dtype).removeprefix("torch.")
            np.testing.assert_allclose(mine.array, torchs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes_of_methods(kind: str) -> None:
    """Unary maths turns integers into float32; sums of integers are int64; comparisons are bool."""
    a = np.array([[1, 0, 1], [1, 1, 1]]).astype(kind)
    x, y = tgs.tensor(a), torch.tensor(a)
    calls: list[Any] = [
        lambda t: t.exp(), lambda t: t.tanh(), lambda t: t.sqrt(), lambda t: t.erf(), lambda t: t > 0,
        lambda t: ~(t > 0), lambda t: (t > 0).all(), lambda t: (t > 0).any(0), lambda t: t.float(),
        lambda t: t.double(), lambda t: t.reshape(3, 2), lambda t: t[0], lambda t: t[[1, 0]],
        lambda t: t.max(),
    ]  # fmt: skip
    if kind != "uint8":  # NumPy's sums of unsigned numbers stay unsigned
        calls += [lambda t: t.sum(), lambda t: t.sum(1)]
    if kind != "bool":
        calls += [
            lambda t: t.abs(),
            lambda t: t.clip(0, 1),
            lambda t: t**2,
            lambda t: t // 2,
            lambda t: t % 2,
        ]
        calls += [lambda t: t.argmax(), lambda t: t.min()]
    if kind.startswith("float"):
        calls += [
            lambda t: t.mean(),
            lambda t: t.var(),
            lambda t: t.std(0),
            lambda t: t.floor(),
            lambda t: -t,
        ]
    for call in calls:
        mine, torchs = call(x), call(y)
        assert str(mine.dtype) == str(torchs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(mine.array, torchs.numpy(), rtol=1e-6)


# ---- transforms --------------------------------------------------------------------------------------------
A = np.random.default_rng(3).standard_normal((3, 3))


def vector(x: Any, a: Any = None) -> Any:
    """A function of a vector that either kind of tensor goes through."""
    m = torch.tensor(A) if isinstance(x, torch.Tensor) else Tensor(A)
    return (m @ x).tanh() * x.exp() + x[0] * x


def test_transforms() -> None:
    """vjp, jvp, jacobian, hvp and value_and_grad against torch.func."""
    p, v = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -0.5])
    tp, tv = torch.tensor(p), torch.tensor(v)

    def scalar(x: Any) -> Any:
        return (vector(x) ** 2).sum()

    pairs = [
        (tgs.vjp(vector, Tensor(p))[1](v)[0], torch.func.vjp(vector, tp)[1](tv)[0]),
        (tgs.jvp(vector, Tensor(p), v)[1], torch.autograd.functional.jvp(vector, tp, tv)[1]),
        (tgs.jacobian(vector, Tensor(p)), torch.func.jacrev(vector)(tp)),
        (tgs.hvp(scalar, Tensor(p), v)[1], torch.autograd.functional.hvp(scalar, tp, tv)[1]),
        (tgs.value_and_grad(scalar)(p)[1], torch.func.grad(scalar)(tp)),
        (
            tgs.jacobian(lambda x: tgs.grad(scalar(x), x, create_graph=True), Tensor(p)),
            torch.autograd.functional.hessian(scalar, tp),
        ),
    ]
    for mine, torchs in pairs:
        np.testing.assert_allclose(mine.array, torchs.numpy(), rtol=1e-12, atol=1e-12)


# ---- compositions ------------------------------------------------------------------------------------------
STEPS: list[Callable[..., Any]] = [
    lambda x, y: x * y + x, lambda x, y: x @ y.T @ y, lambda x, y: (x - y).tanh(),
    lambda x, y: x / (y * y + 1.0),
    lambda x, y: x.flip(0) * y, lambda x, y: x[1:].sum(0) * y, lambda x, y: x.T.reshape(3, 4) + y,
    lambda x, y: (x * 0.3).exp() - y, lambda x, y: (x * x + 0.5).sqrt() * y.sin(), lambda x, y: (x + y).cos(),
    lambda x, y: (x * x + 1.0).log() * y, lambda x, y: x - x.mean(1, True) + y, lambda x, y: x * y.var(dim=0),
    lambda x, y: x[[2, 0, 0]] * y[:, [3, 1, 1, 0]], lambda x, y: x.maximum(y) * x.sum(0),
    lambda x, y: x.erf() + y[0], lambda x, y: x.expand(2, 3, 4)[1] * y,
    lambda x, y: sum(p * q for p, q in zip(x.split(1), y.chunk(3), strict=True)) + x,
    lambda x, y: x.clip(-0.7, 0.9) * y, lambda x, y: ((x * x + 0.1) ** (y * 0.5)) * 0.5,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
@each_dtype
def test_random_compositions(seed: int, dtype: Any) -> None:
    """Eight steps at random, each fed by the last two results: value, gradient and curvature."""
    rng = np.random.default_rng(seed)
    chosen = [STEPS[i] for i in rng.permutation(len(STEPS))[:8]]

    def composed(x: Any, y: Any) -> Any:
        for step in chosen:
            x, y = step(x, y).tanh(), x
        return x * y

    arrays = [rng.uniform(-1.0, 1.0, (3, 4)).astype(dtype) for _ in range(2)]
    mine, torchs = ours(composed, arrays), theirs(composed, arrays)
    for a, b in zip(mine, torchs, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=0, atol=2000 * np.finfo(dtype).eps * np.abs(b).max())


def test_std_of_equal_numbers_has_gradient_zero() -> None:
    """Where the root's slope is infinite and the deviations are zero."""
    x = np.array([[3.0, 3.0, 3.0], [1.0, 2.0, 4.0]])
    mine, other = tgs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    mine.std(1).sum().backward()
    other.std(1).sum().backward()
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-12)
