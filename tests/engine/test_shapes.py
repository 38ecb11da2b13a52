"""Any shapes: broadcasting, indexing, reductions, products and moves against NumPy, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import tinygrad_seq as tgs
from tinygrad_seq import Tensor
from tinygrad_seq.runtime.arrays import Array

many = settings(max_examples=300, derandomize=True)
some = settings(max_examples=60, derandomize=True)
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
SEEDS = st.integers(0, 2**32 - 1)


def numbers(shape: tuple[int, ...], seed: int, low: float = -2.0, high: float = 2.0) -> Array:
    """An array drawn from [low, high)."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def leaf(array: Array) -> Tensor:
    """A leaf of this value that wants a gradient."""
    return tgs.tensor(array, requires_grad=True)


def summed_to(g: Array, shape: tuple[int, ...]) -> Array:
    """`g` added up over what was stretched: each element goes to the place it was copied from."""
    size = math.prod(shape)
    places = np.broadcast_to(np.arange(size).reshape(shape), g.shape)
    return np.bincount(places.ravel(), g.ravel(), minlength=size).reshape(shape)


def assert_close(tensor: Tensor, array: Any) -> None:
    """Same shape, and same value to a few roundings."""
    assert tensor.shape == np.shape(array)
    np.testing.assert_allclose(tensor.array, array, rtol=1e-12, atol=1e-12)


def assert_adjoint(fn: Callable[[Tensor], Any], shape: tuple[int, ...], seed: int) -> None:
    """The gradient of a linear function is its transpose: <g, f(v)> = <gradient, v> for any v."""
    x, v = leaf(numbers(shape, seed)), numbers(shape, seed + 1)
    outs = fn(x)
    outs = list(outs) if isinstance(outs, (tuple, list)) else [outs]
    weights = [numbers(o.shape, seed + 2) for o in outs]
    gradient = tgs.grad(outs, x, weights)
    assert gradient.shape == shape
    moved = fn(Tensor(v))
    moved = moved if isinstance(moved, (tuple, list)) else [moved]
    expected = sum((np.sum(w * m.array) for w, m in zip(weights, moved, strict=True)), 0.0)
    assert np.sum(gradient.array * v) == pytest.approx(expected, rel=1e-10, abs=1e-10)


# ---- broadcasting ------------------------------------------------------------------------------------------
BINARY: dict[str, tuple[Any, Any, Any, Any]] = {
    # name: the function of tensors or arrays, NumPy's, d/dx, d/dy
    "add": (lambda x, y: x + y, np.add, lambda x, y: 1.0, lambda x, y: 1.0),
    "sub": (lambda x, y: x - y, np.subtract, lambda x, y: 1.0, lambda x, y: -1.0),
    "mul": (lambda x, y: x * y, np.multiply, lambda x, y: y, lambda x, y: x),
    "div": (lambda x, y: x / y, np.divide, lambda x, y: 1 / y, lambda x, y: -x / y**2),
    "pow": (lambda x, y: x**y, np.power, lambda x, y: y * x ** (y - 1), lambda x, y: x**y * np.log(x)),
    "maximum": (Tensor.maximum, np.maximum, lambda x, y: x > y, lambda x, y: y > x),
    "minimum": (Tensor.minimum, np.minimum, lambda x, y: x < y, lambda x, y: y < x),
    "mod": (lambda x, y: x % y, np.mod, lambda x, y: 1.0, lambda x, y: -np.floor(x / y)),
}


@pytest.mark.parametrize("name", BINARY)
@some
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4), seed=SEEDS)
def test_broadcasting_is_numpys(name: str, shapes: Any, seed: int) -> None:
    """Value, shape and gradient of each binary op, for any two shapes that fit together."""
    fn, reference, dx, dy = BINARY[name]
    a, b = (numbers(shape, seed + i, 0.5, 3.0) for i, shape in enumerate(shapes.input_shapes))
    x, y = leaf(a), leaf(b)
    out = fn(x, y)
    assert_close(out, reference(a, b))
    assert out.shape == shapes.result_shape
    g = numbers(out.shape, seed + 2)
    gx, gy = tgs.grad(out, [x, y], g)
    with np.errstate(all="ignore"):
        assert_close(gx, summed_to(g * dx(a, b), a.shape))
        assert_close(gy, summed_to(g * dy(a, b), b.shape))


@many
@given(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=3), seed=SEEDS)
def test_where_broadcasts_all_three(shapes: Any, seed: int) -> None:
    """Condition and both sides stretch; each side gets the gradient of the places it was taken at."""
    c, a, b = (numbers(shape, seed + i) for i, shape in enumerate(shapes.input_shapes))
    x, y = leaf(a), leaf(b)
    out = tgs.where(c > 0, x, y)
    assert_close(out, np.where(c > 0, a, b))
    g = numbers(out.shape, seed + 3)
    gx, gy = tgs.grad(out, [x, y], g)
    assert_close(gx, summed_to(np.where(c > 0, g, 0.0), a.shape))
    assert_close(gy, summed_to(np.where(c > 0, 0.0, g), b.shape))


@some
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3), seed=SEEDS)
def test_comparisons_and_logic_are_numpys(shapes: Any, seed: int) -> None:
    """All six comparisons and the four connectives, with ties and NaN among the numbers."""
    rng = np.random.default_rng(seed)
    a, b = (rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, np.inf], shape) for shape in shapes.input_shapes)
    x, y = Tensor(a), Tensor(b)
    for out, expected in [
        (x < y, a < b), (x <= y, a <= b), (x > y, a > b), (x >= y, a >= b), (x == y, a == b),
        (x != y, a != b),
        ((x < y) & (x == x), (a < b) & (a == a)), ((x < y) | (y == 0), (a < b) | (b == 0)),
        ((x < y) ^ (x > 0), (a < b) ^ (a > 0)), (~(x < y), ~(a < b)),
    ]:  # fmt: skip
        assert out.dtype == bool
        np.testing.assert_array_equal(out.array, expected)


# ---- indexing ----------------------------------------------------------------------------------------------
def small(low: int, high: int) -> st.SearchStrategy[int | None]:
    """A number, or None."""
    return st.none() | st.integers(low, high)


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A mix of numbers, slices, None, Ellipsis, masks and integer arrays, nearly always one that fits."""
    ids_shape = draw(st.sampled_from([(), (1,), (3,), (2, 1), (2, 3)]))
    entries: list[Any] = []
    axis, seen_ellipsis = 0, False
    while axis < len(shape):
        kind = draw(
            st.sampled_from(["slice", "int", "ids", "ids", "mask", "none", "truth", "ellipsis", "stop"])
        )
        size = shape[axis]
        if kind == "stop" and not seen_ellipsis:
            break
        if kind == "none":
            entries.append(None)
        elif kind == "truth":
            if len(entries) < 2:
                entries.append(draw(st.sampled_from([True, True, False, np.array(True)])))
        elif kind == "ellipsis":
            if not seen_ellipsis:
                entries.append(...)
                axis += draw(st.integers(0, len(shape) - axis))
            seen_ellipsis = True
        elif kind == "slice":
            step = draw(st.none() | st.sampled_from([1, 2, 3, -1, -2, -3]))
            entries.append(slice(draw(small(-5, 5)), draw(small(-5, 5)), step))
            axis += 1
        elif kind == "mask":
            width = draw(st.integers(1, len(shape) - axis))
            bits = draw(st.lists(st.booleans(), min_size=1, max_size=8))
            count = math.prod(shape[axis : axis + width])
            entries.append(np.resize(np.array(bits), count).reshape(shape[axis : axis + width]))
            axis += width
        elif size == 0:
            entries.append(np.zeros((0,), dtype=np.int64))
            axis += 1
        elif kind == "int":
            entries.append(draw(st.integers(-size, size - 1)))
            axis += 1
        else:
            mine = draw(st.sampled_from([ids_shape, ids_shape, ids_shape[1:], (1,) * len(ids_shape)]))
            kind_of = draw(st.sampled_from([np.int64, np.int32, np.int8]))
            drawn = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=6))
            entries.append(np.resize(np.array(drawn, dtype=kind_of), mine))
            axis += 1
    return tuple(entries)


SHAPES_AND_KEYS = SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), keys(shape)))


@settings(max_examples=1500, derandomize=True)
@given(SHAPES_AND_KEYS, SEEDS)
@example(((3, 2, 4), (np.array([0, 1]), slice(None), np.array([1, -1]))), 0)
@example(((3, 2, 4), (slice(None), np.array([0, 1]), ..., np.array([1, -1]))), 0)
@example(((3, 2, 4), (0, slice(None), np.array([1, -1]))), 0)
@example(((3, 2, 4), (slice(None), None, np.array([1, 0]), np.array(2))), 0)
@example(((3, 2), (np.array([[True, False], [True, True], [False, False]]),)), 0)
@example(((3,), (True, np.array([0, 1]))), 0)
@example(((2, 2), ([0, 1], [True, False])), 0)
def test_indexing_is_numpys(shape_and_key: tuple[tuple[int, ...], tuple[Any, ...]], seed: int) -> None:
    """x[key] has NumPy's value, its gradient adds up at the places read; what NumPy refuses is refused."""
    shape, key = shape_and_key
    a = numbers(shape, seed)
    x = leaf(a)
    try:
        expected = a[key]
    except IndexError:
        with pytest.raises((IndexError, ValueError, TypeError)):
            x[key]
        return
    out = x[key]
    np.testing.assert_array_equal(out.array, expected, strict=True)
    g = numbers(out.shape, seed + 1)
    for create_graph in (False, True):
        gradient = np.zeros(shape)
        np.add.at(gradient, key, g)
        assert_close(tgs.grad(x[key], x, g, create_graph=create_graph), gradient)
    tensors = tuple(Tensor(e) if isinstance(e, np.ndarray) else e for e in key)
    np.testing.assert_array_equal(x[tensors].array, expected, strict=True)
    b = a.copy()
    b[key] = 7.0
    y = Tensor(a)
    y[key] = 7.0
    np.testing.assert_array_equal(y.array, b)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_ids_of_any_integer_type(dtype: str) -> None:
    """Ids too narrow for the size of the axis, or unsigned, read and send back to the same places."""
    x, y = leaf(numbers((300, 2), 0)), leaf(numbers((300, 4), 1))
    ids, inner = np.array([0, 7, 7, 100], dtype=dtype), np.array([3, 0, 3, 1], dtype=dtype)
    x[ids].sum().backward()
    y[ids, inner].sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    expected = np.zeros((300, 4))
    np.add.at(expected, (ids.astype(int), inner.astype(int)), 1.0)
    np.testing.assert_array_equal(y.grad.array, expected)
    np.testing.assert_array_equal(x.grad.array, expected.sum(1, keepdims=True).repeat(2, 1))


@many
@given(SHAPES.filter(len), st.data(), SEEDS)
def test_take_is_numpys(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    """Entries along any axis at ids of any shape."""
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    ids = np.random.default_rng(seed).integers(-size, size, (2, 3)) if size else np.zeros((0, 2), int)
    assert_close(Tensor(numbers(shape, seed)).take(ids, axis), np.take(numbers(shape, seed), ids, axis))
    assert_adjoint(lambda x: x.take(ids, axis), shape, seed)


# ---- reductions --------------------------------------------------------------------------------------------
def axes_of(draw: Any, ndim: int) -> Any:
    """None, one axis or a tuple of axes, some counted from the end."""
    if not ndim or draw(st.booleans()):
        return None
    axes = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim))
    signed = tuple(a - ndim if draw(st.booleans()) else a for a in axes)
    return signed[0] if len(signed) == 1 and draw(st.booleans()) else signed


@many
@given(SHAPES, st.data(), st.booleans(), SEEDS)
def test_sums_and_means_are_numpys(shape: tuple[int, ...], data: Any, keepdims: bool, seed: int) -> None:
    """sum, mean and var over any axes, as value and as transpose."""
    axis, a = axes_of(data.draw, len(shape)), numbers(shape, seed)
    x = leaf(a)
    with np.errstate(all="ignore"):
        assert_close(x.sum(axis, keepdims), a.sum(axis, keepdims=keepdims))
        assert_adjoint(lambda x: x.sum(axis, keepdims), shape, seed)
        whole = a.sum(axis, keepdims=True)
        count = a.size // whole.size if whole.size else 0
        if not count:
            return
        assert_close(x.mean(axis, keepdims), a.mean(axis, keepdims=keepdims))
        assert_adjoint(lambda x: x.mean(axis, keepdims), shape, seed)
        assert_close(x.var(axis, keepdims=keepdims, correction=0), a.var(axis, keepdims=keepdims))
        if count > 1:
            assert_close(x.var(axis, keepdims=keepdims), a.var(axis, keepdims=keepdims, ddof=1))
            gradient = tgs.grad(x.var(axis, keepdims=keepdims).sum(), x)
            assert_close(gradient, 2 * (a - whole / count) / (count - 1))


@many
@given(SHAPES, st.data(), st.booleans(), st.booleans(), SEEDS)
def test_extremes_share_the_gradient_of_ties(
    shape: tuple[int, ...], data: Any, keepdims: bool, smallest: bool, seed: int
) -> None:
    """max and min over any axes: NumPy's value; k equal winners get one k-th of the gradient each."""
    axis = axes_of(data.draw, len(shape))
    a = np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float64)
    x = leaf(a)
    fn, reference = (x.min, np.min) if smallest else (x.max, np.max)
    try:
        expected = reference(a, axis=axis, keepdims=keepdims)
    except ValueError:
        with pytest.raises(tgs.ShapeError, match="nothing to reduce"):
            fn(axis, keepdims)
        return
    out = fn(axis, keepdims)
    np.testing.assert_array_equal(out.array, expected)
    g = numbers(out.shape, seed)
    kept = reference(a, axis=axis, keepdims=True)
    winners = (a == kept).astype(float)
    share = winners / np.sum(winners, axis=axis, keepdims=True) * g.reshape(kept.shape)
    assert_close(tgs.grad(out, x, g), share)


@many
@given(SHAPES.filter(lambda s: s and 0 not in s), st.data(), SEEDS)
def test_places_of_extremes_are_numpys(shape: tuple[int, ...], data: Any, seed: int) -> None:
    """argmax and argmin name the first of equal elements; all and any agree over any axes."""
    a = np.random.default_rng(seed).integers(-1, 2, shape)
    x = Tensor(a)
    one = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    np.testing.assert_array_equal(x.argmax(one).array, a.argmax(one))
    np.testing.assert_array_equal(x.argmin(one).array, a.argmin(one))
    axis = axes_of(data.draw, len(shape))
    np.testing.assert_array_equal(x.all(axis).array, a.all(axis))
    np.testing.assert_array_equal(x.any(axis).array, a.any(axis))


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "i8", "u8"])
def test_extremes_of_whole_numbers_never_wrap(dtype: str) -> None:
    """min, minimum, abs, max and clip of integers up to the limits of their type, signed or not."""
    info = np.iinfo(dtype)
    a = np.array([[info.max, 0, 5], [info.min + (info.min < 0), 7, 5]], dtype=dtype)
    b = np.array([3, 3, info.max], dtype=dtype)
    x, y = Tensor(a), Tensor(b)
    pairs = [
        (x.min(), a.min()), (x.min(1), a.min(1)), (x.max(0), a.max(0)), (x.minimum(y), np.minimum(a, b)),
        (x.maximum(y), np.maximum(a, b)), (x.minimum(3), np.minimum(a, 3)), (abs(x), np.abs(a)),
        (x.clip(1, 6), a.clip(1, 6)), (Tensor(a > 3).min(0), (a > 3).min(0)), (abs(Tensor(a > 3)), a > 3),
    ]  # fmt: skip
    if info.bits < 64:  # integers are divided in float64
        pairs += [
            (x // 2, a // 2),
            (x % 3, a % 3),
            (-5 // (y % 7 + 1).to(np.int64), -5 // (b % 7 + 1).astype(int)),
        ]
    for out, expected in pairs:
        assert out.dtype == expected.dtype
        np.testing.assert_array_equal(out.array, expected)


# ---- products ----------------------------------------------------------------------------------------------
@st.composite
def factors(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes of one to four axes that matmul takes."""
    lead = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3)).input_shapes
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    x = (k,) if draw(st.integers(0, 3)) == 0 else (*lead[0], n, k)
    y = (k,) if draw(st.integers(0, 3)) == 0 else (*lead[1], k, m)
    return x, y


@many
@given(factors(), SEEDS)
def test_matmul_is_numpys(shapes: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
    """Vectors, matrices and stacks of up to four axes: NumPy's value, and in each factor its transpose."""
    a, b = (numbers(shape, seed + i) for i, shape in enumerate(shapes))
    assert_close(Tensor(a) @ Tensor(b), a @ b)
    assert_close(a @ Tensor(b), a @ b)
    assert_adjoint(lambda x: x @ b, a.shape, seed)
    assert_adjoint(lambda y: a @ y, b.shape, seed)


# ---- moves -------------------------------------------------------------------------------------------------
@many
@given(SHAPES, st.data(), SEEDS)
def test_moves_are_numpys(shape: tuple[int, ...], data: Any, seed: int) -> None:
    """permute, flip, reshape, expand, squeeze and their kin: NumPy's value, and its transpose."""
    draw, ndim, a = data.draw, len(shape), numbers(shape, seed)
    order = tuple(draw(st.permutations(range(ndim))))
    flipped = tuple(draw(st.lists(st.integers(0, ndim - 1), unique=True))) if ndim else ()
    place = draw(st.integers(-ndim - 1, ndim))
    wide = (*draw(array_shapes(min_dims=0, max_dims=2, max_side=3)), *(n if n != 1 else 3 for n in shape))
    flat = (-1,) if a.size else (0,)
    cases: list[tuple[Any, Any]] = [
        (lambda x: x.permute(*order), a.transpose(order)),
        (lambda x: x.T, a.T),
        (lambda x: x.flip(flipped) if flipped else x.flip(), np.flip(a, flipped or None)),
        (lambda x: x.reshape(flat), a.reshape(flat)),
        (lambda x: x.reshape(*shape[::-1]), a.reshape(shape[::-1])),
        (lambda x: x.expand(wide), np.broadcast_to(a, wide)),
        (lambda x: x.squeeze(), a.squeeze()),
        (lambda x: x.unsqueeze(place), np.expand_dims(a, place)),
    ]
    if ndim:
        i, j = draw(st.integers(-ndim, ndim - 1)), draw(st.integers(0, ndim - 1))
        first, last = sorted((i % ndim, j))
        middle = math.prod(shape[first : last + 1])
        cases += [
            (lambda x: x.transpose(i, j), np.swapaxes(a, i, j)),
            (lambda x: x.flatten(first, last), a.reshape(*shape[:first], middle, *shape[last + 1 :])),
        ]
    for fn, expected in cases:
        np.testing.assert_array_equal(fn(Tensor(a)).array, expected, strict=True)
        assert_adjoint(fn, shape, seed)


@many
@given(SHAPES.filter(len), st.data(), SEEDS)
def test_joining_and_cutting_are_inverse(shape: tuple[int, ...], data: Any, seed: int) -> None:
    """split and chunk cut as NumPy does, concat undoes them, stack is concat of new axes."""
    draw, a = data.draw, numbers(shape, seed)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    cuts = sorted(draw(st.lists(st.integers(0, shape[axis]), max_size=3)))
    sizes = np.diff([0, *cuts, shape[axis]]).tolist()
    x = Tensor(a)
    for piece, expected in zip(x.split(sizes, axis), np.split(a, cuts, axis), strict=True):
        np.testing.assert_array_equal(piece.array, expected, strict=True)
    for pieces in (x.split(sizes, axis), x.split(draw(st.integers(1, 5)), axis), x.chunk(3, axis)):
        np.testing.assert_array_equal(tgs.concat(pieces, axis).array, a, strict=True)
    assert_adjoint(lambda x: x.split(sizes, axis), shape, seed)
    assert_adjoint(lambda x: x.chunk(2, axis), shape, seed)
    place = draw(st.integers(-len(shape) - 1, len(shape)))
    np.testing.assert_array_equal(
        tgs.stack([x, x + 1.0], place).array, np.stack([a, a + 1.0], place), strict=True
    )
    assert_adjoint(lambda x: tgs.stack([x, x * 2.0], place), shape, seed)
    assert_adjoint(lambda x: tgs.concat([x, x * 3.0], axis), shape, seed)
