"""`arrays` and `random`: erf against the C library's, draws against what random numbers must look like."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import DTypeError, Generator, Tensor
from tinygrad_seq.engine.random import manual_seed, positions, replayed, stream
from tinygrad_seq.runtime import arrays, jit, kernel_cache
from tinygrad_seq.runtime.arrays import erf, gather, mix, scatter, uniform

pytestmark = [pytest.mark.engine, pytest.mark.laws, pytest.mark.switched_off]

SWEEP = np.concatenate(
    [
        np.linspace(-6.5, 6.5, 400_001),
        np.geomspace(1e-320, 1e300, 20_001),
        -np.geomspace(1e-320, 1e300, 20_001),
        np.nextafter(np.repeat([1.0, -1.0, 6.0, -6.0], 2), np.tile([0.0, 9.0], 4)),
    ]
)

GOLDEN = [0.8392682267780109, 0.17553163511565062, 0.6250550412192392]


# ---- erf ---------------------------------------------------------------------------------------------------
def test_erf_is_within_its_bound() -> None:
    """No value differs from the C library's by more than 4e-16, nor a small one by more than 4 roundings."""
    exact = np.array([math.erf(x) for x in SWEEP.tolist()])
    ours = erf(SWEEP)
    assert np.abs(ours - exact).max() <= 4e-16
    assert np.abs(ours).max() <= 1.0
    near = np.abs(SWEEP) < 1.0
    np.testing.assert_allclose(ours[near], exact[near], rtol=4 * 2.0**-52, atol=1e-323)
    np.testing.assert_array_equal(erf(-SWEEP), -ours)


def test_erf_of_float32_is_rounded_once() -> None:
    """float32 stays float32 and is the exact value rounded, to a hair over half a unit in the last place."""
    x = SWEEP[np.abs(SWEEP) < 1e30].astype(np.float32)
    ours = erf(x)
    assert ours.dtype == np.float32
    exact = np.array([math.erf(v) for v in x.astype(float).tolist()])
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(float)
    assert (np.abs(ours.astype(float) - exact) <= 0.5001 * unit).all()


def test_erf_of_what_is_no_ordinary_number() -> None:
    """NaN stays NaN, infinity gives 1, zero keeps its sign, shapes stay; nothing warns."""
    with np.errstate(all="raise", under="ignore"):
        out = erf(np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1e308]))
    assert math.isnan(out[0])
    assert out[1:].tolist() == [1.0, -1.0, 0.0, -0.0, 5e-324, 1.0]
    assert np.signbit(out).tolist()[3:5] == [False, True]
    for shape in ((), (0, 3), (2, 1, 3)):
        assert erf(np.zeros(shape)).shape == shape
    assert Tensor([0]).erf().dtype == np.float32


# ---- rows by id --------------------------------------------------------------------------------------------
@pytest.fixture(params=["compiled", "NumPy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums by id of every size with the compiler, where there is one, and without."""
    if request.param == "NumPy":
        monkeypatch.setattr(jit, "kernels_wanted", lambda: False)
        yield
        return
    if not jit.kernels_wanted():
        pytest.skip("numba is switched off or not installed")
    monkeypatch.setattr(arrays, "COMPILED_FROM", 1)
    used: list[int] = []
    real = arrays._compiled_add_rows()
    assert real is not None

    def watched(*arrays: np.ndarray) -> int:
        used.append(1)
        assert all(a.flags.c_contiguous and a.dtype.isnative for a in arrays)  # each layout is one more build
        return int(real(*arrays))

    monkeypatch.setattr(arrays, "_compiled_add_rows", lambda: watched)
    yield
    assert used


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels of the tests go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path_factory.mktemp("kernels")))
        kernel_cache.cache_folder.cache_clear()
        yield
    kernel_cache.cache_folder.cache_clear()


def same_sums(values: np.ndarray, ids: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> None:
    """What NumPy's slow way gives, to the bit, twice."""
    expected = np.zeros(shape, values.dtype)
    np.add.at(expected, ids, values)
    for _ in range(2):
        ours = scatter(values, ids, shape)
        assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(ours, expected)
        np.testing.assert_array_equal(np.signbit(ours[ours == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("id_dtype", ["i8", "i4", "i2", "u1"])
def test_scatter_adds_as_numpy_does(way: None, dtype: str, id_dtype: str) -> None:
    """Rows that meet are summed as `np.add.at` sums them, negative ids and several id arrays included."""
    rng = np.random.default_rng(0)
    for shape, count in (((5,), 1), ((5, 3), 1), ((1, 7), 1), ((4, 3, 2), 2), ((2, 3, 2), 3), ((300, 4), 1)):
        least = 0 if id_dtype == "u1" else -1
        ids = tuple(
            rng.integers(least * min(n, 128), min(n, 128), (40, 2)).astype(id_dtype) for n in shape[:count]
        )
        values = rng.standard_normal((40, 2, *shape[count:])).astype(dtype)
        same_sums(values, ids, shape)
        values.flat[[3, 20]] = np.nan, np.inf
        same_sums(values, ids, shape)


def test_scatter_of_any_layout(way: None) -> None:
    """Transposed, strided, reversed, broadcast and unwritable values and ids."""
    rng = np.random.default_rng(1)
    ids = rng.integers(-5, 5, (12, 2))
    fixed = ids.copy()
    fixed.flags.writeable = False
    base = rng.standard_normal((24, 12, 6)).astype("f4")
    for values in (
        base[::2, ::-6, ::2],
        base.T[:3].transpose(2, 1, 0)[:12, :2],
        np.broadcast_to(base[0, 0, :3], (12, 2, 3)),
    ):
        for some in (ids, ids[::-1, ::-1], fixed, np.asfortranarray(ids)):
            same_sums(values, (some,), (5, 3))
    # Values and ids broadcast together, as in x[rows[:, None], columns].
    rows, columns = np.array([[0], [2]]), np.array([1, 1, 3])
    expected = np.zeros((3, 4, 2))
    np.add.at(expected, (rows, columns), 1.5)
    np.testing.assert_array_equal(scatter(np.asarray(1.5), (rows, columns), (3, 4, 2)), expected)


def test_the_order_of_the_sum_is_that_of_the_ids(way: None) -> None:
    """1 is lost beside 1e8 in float32, not after it has been cancelled."""
    values = np.array([[1.0], [1e8], [-1e8], [1.0], [1.0]], "f4")
    assert scatter(values, (np.zeros(5, "i8"),), (2, 1)).ravel().tolist() == [2.0, 0.0]


SHAPES = [
    ((), (4, 3)),
    ((0,), (4, 3)),
    ((5,), (4, 0)),
    ((0,), (0, 3)),
    ((0,), (0,)),
    ((2, 0), (4, 2)),
    ((1,), (1, 1)),
]


@pytest.mark.parametrize(("ids_shape", "shape"), SHAPES)
def test_no_ids_and_no_columns(ids_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Nothing is nothing, of the right shape; one id may have no axis."""
    ids, x = np.zeros(ids_shape, "i8"), np.arange(np.prod(shape), dtype="f4").reshape(shape)
    np.testing.assert_array_equal(gather(x, (ids,)), x[ids])
    assert gather(x, (ids,)).shape == (*ids_shape, *shape[1:])
    same_sums(np.ones((*ids_shape, *shape[1:]), "f4"), (ids,), shape)
    with pytest.raises(ValueError, match=r"broadcast|more dimensions"):
        scatter(np.ones((*ids_shape, *shape[1:], 7)), (ids,), shape)


@pytest.mark.parametrize("id_dtype", ["i8", "i4"])
@pytest.mark.parametrize("bad", [5, -6, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
def test_ids_outside_are_refused_as_numpy_refuses_them(way: None, bad: int, id_dtype: str) -> None:
    """The same error with the same words, on any axis; nothing is read or written outside."""
    if id_dtype == "i4" and abs(bad) > 2**31:
        bad %= 77
    ids = np.array([[0, 1, bad], [4, -5, 7]], id_dtype)
    scatter(np.ones((2, 2), "f4"), (np.array([0, -5]),), (5, 2))
    for x in (np.ones((5, 2), "f4"), np.ones((5, 4))[:, ::2], np.ones(5)):
        with pytest.raises(IndexError) as theirs:
            x[ids]
        for call in (lambda x=x: gather(x, (ids,)), lambda x=x: scatter(x[ids % 5], (ids,), x.shape)):
            with pytest.raises(IndexError) as ours:
                call()
            assert str(ours.value) == str(theirs.value)
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 1 with size 5"):
        scatter(np.ones((2, 3)), (np.zeros_like(ids), ids), (2, 5))


def test_the_loop_never_leaves_its_array() -> None:
    """Places are checked where they are used as well: the number of the first wrong one is returned."""
    loops = [
        arrays.add_rows,
        *filter(None, [arrays._compiled_add_rows() if jit.kernels_wanted() else None]),
    ]
    for loop in loops:
        for wrong in (3, -1, 2**40):
            out = np.zeros((5, 2))
            assert loop(np.ones((3, 2)), np.array([0, wrong, 1]), out[:3], np.zeros((0, 2))) == 1
            assert out.ravel().tolist() == [1.0, 1.0] + [0.0] * 8
        assert loop(np.ones((3, 2)), np.array([0, 2, 0]), out[:3], np.zeros((0, 2))) == -1


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("id_dtype", ["i8", "i4", "i1", "u1", "u8"])
def test_gather_is_numpys_indexing(dtype: str, id_dtype: str) -> None:
    """To the bit, whatever the layout, NaN and the signs of zero included."""
    rng = np.random.default_rng(2)
    base = rng.standard_normal((12, 8, 6)).astype(dtype)
    if base.dtype.kind == "f":
        base[::3, ::3, 0] = np.nan, -0.0, -np.inf
    ids = rng.integers(0 if id_dtype[0] == "u" else -6, 6, (7, 4)).astype(id_dtype)
    for x in (
        base,
        base[:6],
        base[::2],
        base[::-1, ::-1],
        base.T,
        base[:, 0, 0],
        np.broadcast_to(base[0], (9, 8, 6)),
    ):
        for some in (ids, ids[::-2], ids.T, ids[0, 0]):
            ours, theirs = gather(x, (some,)), x[some]
            assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
    np.testing.assert_array_equal(gather(base, (ids, ids[:1])), base[ids, ids[:1]])
    mask = np.arange(12) % 3 == 0
    np.testing.assert_array_equal(gather(base, (mask,)), base[mask])


def test_small_sums_do_not_wait_for_the_compiler() -> None:
    """Below the threshold numba is not imported; from it on it is, where it is wanted."""
    code = (
        "import sys, numpy as np; from tinygrad_seq.runtime import arrays\n"
        "for n in (-1, 0):\n"
        "    rows = np.ones((arrays.COMPILED_FROM // 128 + n, 128), 'f4')\n"
        "    arrays.scatter(rows, (np.zeros(len(rows), 'i8'),), (3, 128)); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(jit.kernels_wanted())]


# ---- draws by counter --------------------------------------------------------------------------------------
def test_an_element_depends_on_the_key_and_its_own_number_alone() -> None:
    """SplitMix64 by counter: each element can be made alone, in Python's integers, and any shape agrees."""
    key = np.uint64(0xFEDCBA9876543210)
    wide, narrow = (uniform(np.asarray(key), (1000,), np.dtype(kind)) for kind in ("f8", "f4"))
    for i in (0, 1, 17, 999):
        word = mix((int(key) + i * 0x9E3779B97F4A7C15) & (2**64 - 1))
        assert wide[i] == (word >> 11) * 2.0**-53
        assert narrow[i] == (word >> 40) * 2.0**-24
    np.testing.assert_array_equal(uniform(np.asarray(key), (10, 4, 25), np.dtype("f8")).ravel(), wide)
    np.testing.assert_array_equal(uniform(np.asarray(key), (7,), np.dtype("f8")), wide[:7])
    assert mix(0) == 0xE220A8397B1DCDAF  # SplitMix64's published first output for the seed 0
    assert uniform(np.asarray(key), (), np.dtype("f4")).shape == ()
    assert uniform(np.asarray(key), (0, 3), np.dtype("f4")).shape == (0, 3)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_uniform_numbers_are_uniform(dtype: str) -> None:
    """In [0, 1), with the mean, variance, bits, lag correlations and distribution of a million numbers."""
    n = 1_000_000
    u = Generator(5, "uniform").rand(n, dtype=np.dtype(dtype)).array
    assert u.dtype == dtype
    assert 0.0 <= u.min() < 1e-4
    assert 1.0 - 1e-4 < u.max() < 1.0
    u = u.astype(float)
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / n)
    centered = (u - u.mean()) / u.std()
    for lag in (1, 2, 3, 7, 64, 1024):
        assert abs(np.mean(centered[lag:] * centered[:-lag])) < 4.5 / math.sqrt(n)
    gap = np.abs(np.sort(u) - (np.arange(n) + 0.5) / n).max()
    assert gap < 1.95 / math.sqrt(n)  # Kolmogorov and Smirnov: one seed in a thousand exceeds it
    for bit in range(1, 20):
        ones = np.floor(u * 2.0**bit).astype(np.int64) & 1
        assert abs(ones.mean() - 0.5) < 4.5 * 0.5 / math.sqrt(n)


def test_normal_numbers_are_normal() -> None:
    """The first four moments, the tails and the distribution function of a million normal numbers."""
    n = 1_000_000
    z = Generator(6, "normal").randn(n, dtype=np.float64).array
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs(np.mean(z**3)) < 4 * math.sqrt(15 / n)
    assert abs(np.mean(z**4) - 3) < 4 * math.sqrt(96 / n)
    ordered = np.sort(z)
    gap = np.abs(0.5 + 0.5 * erf(ordered / math.sqrt(2)) - (np.arange(n) + 0.5) / n).max()
    assert gap < 1.95 / math.sqrt(n)
    assert 4.5 < np.abs(z).max() < 6.5
    narrow = Generator(6, "normal").randn(n).array
    assert narrow.dtype == np.float32
    assert np.isfinite(narrow).all()
    assert abs(narrow.astype(float).var() - 1) < 4 * math.sqrt(2 / n)


def test_whole_numbers_are_even() -> None:
    """Each number from low to high - 1 comes up as often as the others, and none beside them."""
    drawn = Generator(7).integers(-3, 4, (70_000,))
    assert drawn.dtype == np.int64
    counts = np.bincount(drawn.array + 3)
    assert len(counts) == 7
    assert ((counts - 10_000.0) ** 2 / 10_000).sum() < 22.5  # chi-squared, 6 degrees: one seed in a thousand
    spread = Generator(8).uniform(-1.0, 3.0, (100_000,)).array
    assert -1.0 <= spread.min() < -0.99
    assert 2.99 < spread.max() <= 3.0
    assert abs(spread.mean() - 1.0) < 4 * math.sqrt(16 / 12 / 100_000)


def test_the_same_seed_gives_the_same_numbers_and_another_others() -> None:
    """Seed, stream and number of the draw say all; whichever differs, nothing is shared, at any lag."""
    n = 4096
    first = Generator(7, "a").rand(n, dtype=np.float64).array
    np.testing.assert_array_equal(first, Generator(7, "a").rand(n, dtype=np.float64).array)
    later = Generator(7, "a")
    later.rand(3)
    others = [
        Generator(seed, name).rand(n, dtype=np.float64).array
        for seed, name in ((8, "a"), (7, "b"), (-7, "a"), (2**63, "a"), (7, ""))
    ]
    others.append(later.rand(n, dtype=np.float64).array)
    for other in others:
        assert not np.isin(first, other).any()
        product = np.fft.ifft(np.fft.fft(first - 0.5) * np.conj(np.fft.fft(other - 0.5))).real * 12
        assert np.abs(product).max() < 5.5 * math.sqrt(n)


def test_the_numbers_of_a_seed_never_change() -> None:
    """A run can be repeated with any later version: these are the numbers of seed 7."""
    assert Generator(7, "a").rand(3, dtype=np.float64).tolist() == GOLDEN
    assert Generator(7, "a").integers(0, 1000, (3,)).tolist() == [int(1000 * u) for u in GOLDEN]


def test_a_generator_goes_on_where_it_was_saved() -> None:
    """The state is three values; loaded elsewhere, the draws go on as if nothing had happened."""
    rng = Generator(3, "data")
    rng.rand(5)
    state = rng.state_dict()
    assert state == {"seed": 3, "stream": "data", "drawn": 1}
    expected = rng.rand(4).tolist()
    other = Generator(0)
    other.load_state_dict(state)
    assert other.rand(4).tolist() == expected
    assert repr(other) == "Generator(seed=3, stream='data', drawn=2)"
    assert Generator().seed != Generator().seed
    with pytest.raises(DTypeError, match="a seed is a whole number"):
        Generator(1.5)  # type: ignore[arg-type]


def test_streams_do_not_disturb_each_other() -> None:
    """Drawing from one default stream leaves the others where they were; a seed restarts them all."""
    manual_seed(11)
    held = stream("dropout")
    init = stream("init").rand(3).tolist()
    manual_seed(11)
    stream("sampling").rand(100)
    dropout = stream("dropout").rand(3).tolist()
    assert stream("init").rand(3).tolist() == init
    assert dropout != init
    manual_seed(11)
    assert held.rand(3).tolist() == dropout
    manual_seed(12)
    assert held.rand(3).tolist() != dropout
    assert stream("dropout") is held


def test_rand_and_randn_draw_from_the_default_stream_or_their_own() -> None:
    """`tgs.rand` and `tgs.randn` follow manual_seed, and a generator that is passed alone."""
    manual_seed(1)
    first = tgs.rand(3).tolist(), tgs.randn((2, 2)).tolist()
    manual_seed(1)
    own = tgs.rand(3, rng=Generator(5))
    assert (tgs.rand(3).tolist(), tgs.randn(2, 2).tolist()) == first
    assert own.tolist() == Generator(5).rand(3).tolist()
    x = tgs.randn(3, dtype=np.float64, requires_grad=True)
    assert (x.dtype, x.requires_grad, x.is_leaf) == (np.float64, True, True)


def test_replayed_draws_again_and_puts_back() -> None:
    """Inside the block the draws of old come again; after it, also after an error, all is as before."""
    manual_seed(2)
    stream("dropout").rand(3)
    before = positions()
    drawn = stream("dropout").rand(3).tolist(), stream("made since").rand(2).tolist()
    manual_seed(9)
    stream("dropout").rand(1)
    now = positions()
    again: list[object] = []

    def fail() -> None:
        with replayed(before):
            again.append((stream("dropout").rand(3).tolist(), stream("made since").rand(2).tolist()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert again == [drawn]
    assert positions() == now
    with replayed(before):
        assert stream("dropout").rand(3).tolist() == drawn[0]
        stream("made inside").rand(3)
    assert stream("dropout").drawn == 1
    assert stream("made inside").drawn == 0
