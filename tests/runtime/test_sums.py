"""Long sums keep their digits wherever something is summed: right values are NumPy's, in wider numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tinygrad_seq import Tensor
from tinygrad_seq import functional as F
from tinygrad_seq.runtime import arrays, sums

pytestmark = [pytest.mark.engine, pytest.mark.laws]

MANY = 10**7
TENTH = np.float32(0.1)


def error(found: object, true: float) -> float:
    """The largest relative error."""
    return float(np.max(np.abs(np.asarray(found, np.longdouble) - true)) / abs(true))


def stretched(value: object, rows: int, dtype: object = np.float32, width: int = 2) -> np.ndarray:
    """So many equal rows that take no memory."""
    return np.broadcast_to(np.full((1, width), value, dtype), (rows, width))


# ---- the routine -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["column", "rows", "reversed"])
def test_ten_million_rows_are_within_the_stated_bound(dtype: str, layout: str) -> None:
    """A sum of 10^7 equal rows, whatever their layout, is within `error_bound`; NumPy's is 1e-1 off in float32."""
    x = np.full((MANY, 1), 0.1, dtype) if layout == "column" else stretched(0.1, MANY, dtype)
    x = x[::-1] if layout == "reversed" else x
    found = sums.total(x, (0,))
    assert found.dtype == dtype
    assert error(found, np.longdouble(x[0, 0]) * MANY) <= sums.error_bound(MANY, dtype)
    assert sums.error_bound(MANY, "float32") < 8e-6
    assert sums.error_bound(MANY, "float64") < 6e-14


@settings(max_examples=60)
@given(
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 127, 128, 129, 300]), min_size=1, max_size=3).filter(
        lambda shape: np.prod(shape) < 100_000
    ),
    data=st.data(),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_any_axes_of_any_layout(shape: list[int], data: st.DataObject, dtype: str) -> None:
    """Transposed, stepped, reversed and stretched arrays; every set of axes; kept or not."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.normal(size=shape).astype(dtype)
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    x = x[
        tuple(
            data.draw(st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2)]))
            for _ in shape
        )
    ]
    if data.draw(st.booleans()):
        x = np.broadcast_to(x, (2, *x.shape))
    axis = tuple(i for i in range(x.ndim) if data.draw(st.booleans()))
    kept = data.draw(st.booleans())
    wide = x.astype(np.longdouble)
    found, true = sums.total(x, axis, kept), wide.sum(axis, keepdims=kept)
    assert found.shape == true.shape
    assert found.dtype == x.dtype
    bound = sums.error_bound(x.size, dtype) * np.abs(wide).sum(axis, keepdims=kept)
    assert (np.abs(found - true) <= bound + 1e-300).all()


def test_integers_and_truth_values_are_exact() -> None:
    """Sums of integers are NumPy's, in NumPy's dtype."""
    x = np.full((1000, 3), 2**52 + 1, np.int64)
    assert sums.total(x, (0,)).tolist() == [1000 * (2**52 + 1)] * 3
    assert sums.total(x == 0, (0,)).dtype == np.int64


def test_infinities_and_nan_stay() -> None:
    """A block with an infinity or a NaN gives what the plain sum gives."""
    x = np.ones((1000, 3), np.float32)
    x[500, 0], x[3, 1], x[900, 2], x[901, 2] = np.inf, np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        assert repr(sums.total(x, (0,)).tolist()) == "[inf, nan, nan]"


def test_float16_is_summed_wider() -> None:
    """The sum of 10^5 halves of 0.5 is 50,000, and what does not fit is infinite without a warning."""
    assert sums.total(np.full((100_000, 2), 0.5, np.float16), (0,)).tolist() == [np.float16(50_000)] * 2
    assert sums.total(np.full((200_000, 2), 0.5, np.float16), (0,)).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 1), (12, 12)])
def test_products_with_a_long_inner_axis(rows: int, columns: int) -> None:
    """x y over an inner axis of 10^6; a matrix library alone is 3e-5 to 7e-4 off."""
    x, y = stretched(0.1, 10**6, width=rows).T, stretched(0.1, 10**6, width=columns)
    found = (tgs.tensor(x) @ tgs.tensor(y)).numpy()
    assert error(found, np.longdouble(TENTH) ** 2 * 10**6) < 5e-6
    assert error((x.astype(float) @ y.astype(float)), float(TENTH) ** 2 * 10**6) < 1e-10


# ---- wherever something is summed --------------------------------------------------------------------------------
ROWS = 200_000
WHOLE = np.longdouble(TENTH) * ROWS


def bias(x: Tensor) -> Tensor:
    b = tgs.zeros(2, requires_grad=True)
    return tgs.grad((x + b) * TENTH, b, tgs.ones(*x.shape))


def scalar_bias(x: Tensor) -> Tensor:
    b = tgs.zeros(1, 1, requires_grad=True)
    return tgs.grad((x + b) * TENTH, b, tgs.ones(*x.shape)) / 2.0


def embedded(x: Tensor) -> Tensor:
    table = tgs.zeros(3, 2, requires_grad=True)
    ids = Tensor(np.ones(ROWS, np.int64))
    return tgs.grad(F.embedding(ids, table), table, x)[1]


def indexed(x: Tensor) -> Tensor:
    table = tgs.zeros(3, 2, requires_grad=True)
    return tgs.grad(table[np.full(ROWS, -1), np.zeros(ROWS, int)], table, x[:, 0])[2, 0]


def linear(x: Tensor) -> Tensor:
    w = tgs.zeros(2, 3, requires_grad=True)
    return tgs.grad(x @ w, w, tgs.ones(ROWS, 3))


def normed(x: Tensor) -> Tensor:
    w, b = tgs.ones(2, requires_grad=True), tgs.zeros(2, requires_grad=True)
    return tgs.grad(F.layer_norm(x, 2, w, b), b, x)


SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(0),
    "sum of all": lambda x: x.sum() / 2.0,
    "sum of a slice": lambda x: x[:, :1].sum(),
    "mean": lambda x: x.mean(0) * float(ROWS),
    "einsum": lambda x: tgs.einsum("ij->j", x),
    "einsum of a product": lambda x: tgs.einsum("ij,i->j", x, tgs.ones(ROWS)),
    "expand": lambda x: tgs.grad((e := tgs.zeros(1, 2, requires_grad=True)).expand(ROWS, 2), e, x),
    "bias": bias,
    "bias of one number": scalar_bias,
    "embedding": embedded,
    "index": indexed,
    "linear": linear,
    "layer norm's bias": normed,
    "nll_loss": lambda x: -F.nll_loss(x, Tensor(np.zeros(ROWS, np.int64)), reduction="sum"),
    "mse_loss": lambda x: F.mse_loss(x, x * 0.0, reduction="sum") / 2.0 / TENTH,
}


@pytest.mark.parametrize("name", SUMS)
def test_every_sum_over_many_rows(name: str) -> None:
    """200,000 rows of 0.1 give 20,000 within 8e-6 wherever they are summed, forward or backward."""
    assert error(SUMS[name](Tensor(stretched(0.1, ROWS))).numpy(), WHOLE) < 8e-6


def test_a_weight_that_is_used_at_every_step() -> None:
    """Contributions to one gradient are summed in blocks: those of ops, of slices, of numbers, and recorded ones."""
    w, number = tgs.zeros(2, 2, requires_grad=True), tgs.zeros(requires_grad=True)
    x = tgs.zeros(2)
    for _ in range(10_000):
        x = x + w[0] + number
    loss = (x * TENTH).sum()
    for create_graph in (False, True):
        g, n = tgs.grad(loss, [w, number], create_graph=create_graph, retain_graph=True)
        assert error(g.numpy()[0], np.longdouble(TENTH) * 10_000) < 8e-6
        assert g.numpy()[1].tolist() == [0.0, 0.0]
        assert error(n.numpy(), np.longdouble(TENTH) * 20_000) < 8e-6
        assert g.dtype == n.dtype == np.float32


def test_one_id_a_million_times() -> None:
    """A row of an embedding's gradient that gets 10^6 contributions, beside rows that get a few."""
    ids = np.zeros(10**6, np.int64)
    ids[:3] = [1, 2, 2]
    found = arrays.scatter(np.broadcast_to(TENTH, (10**6, 1)), (ids,), (4, 1))[:, 0]
    assert error(found[0], np.longdouble(TENTH) * (10**6 - 3)) < 1e-7
    assert found[1:].tolist() == [TENTH, TENTH + TENTH, 0.0]


# ---- variances ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [50, 1000, 300_000])
def test_a_small_spread_far_from_zero(rows: int) -> None:
    """The spread of 10,000 + noise of 0.01 is that of the same float32 numbers in float64."""
    x = (1e4 + np.random.default_rng(0).normal(0, 0.01, (rows, 3))).astype(np.float32)
    true = x.astype(np.float64).std(0, ddof=1)
    np.testing.assert_allclose(Tensor(x).std(0).numpy(), true, rtol=2e-6)
    np.testing.assert_allclose(Tensor(x).var(0).numpy(), true**2, rtol=4e-6)
    leaf = Tensor(x, requires_grad=True)
    slope = (x - x.astype(np.float64).mean(0)) / true / (rows - 1)
    np.testing.assert_allclose(tgs.grad(leaf.std(0).sum(), leaf).numpy(), slope, rtol=1e-5, atol=1e-4 / rows)


def test_a_constant_column_has_no_spread() -> None:
    """Equal numbers, four million of them: their std is 0, not 1.3."""
    x = Tensor(stretched(0.1, 4_000_000))
    assert x.std(0).tolist() == [0.0, 0.0]
    assert error(x.mean(0).numpy(), np.longdouble(TENTH)) < 1.5e-6
    assert tgs.ones(49).mean().item() == 1.0


def test_means_of_integers_are_rounded_once() -> None:
    """Integers beyond float32's 2^24 count with all their digits."""
    x = Tensor(np.array([2**24 + 1, 2**24 + 3]))
    assert x.mean().dtype == x.var().dtype == np.float32
    assert x.mean().item() == 2**24 + 2
    assert x.var().item() == 2.0


# ---- long rows, in kernels and composed --------------------------------------------------------------------------
LONG_ROWS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[np.ndarray], np.ndarray]]] = {
    "layer_norm": (
        lambda x: F.layer_norm(x, x.shape[-1]),
        lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
    ),
    "rms_norm": (
        lambda x: F.rms_norm(x, x.shape[-1], eps=1e-5),
        lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5),
    ),
    "softmax": (F.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "logsumexp": (F.logsumexp, lambda x: np.log(np.exp(x).sum(-1))),
}


@pytest.mark.parametrize("way", ["fused", "composed"])
@pytest.mark.parametrize("name", LONG_ROWS)
def test_sums_along_a_long_row(name: str, way: str) -> None:
    """Rows of 10^6 numbers, most of them equal: within 2e-6 of float64, fused and composed."""
    x = np.full((2, 10**6), 0.3, np.float32)
    x[:, :1000] = np.linspace(-1, 1, 1000)
    function, true = LONG_ROWS[name]
    with tgs.composed() if way == "composed" else contextlib.nullcontext():
        found = function(Tensor(x)).numpy()
    wide = true(x.astype(np.float64))
    assert np.abs(found - wide).max() <= 2e-6 * np.abs(wide).max()
