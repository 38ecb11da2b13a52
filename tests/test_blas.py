"""The threads of NumPy's matrix products: asked, set, and left alone where the library is another."""

import types

import numpy as np
import pytest

from tinygrad_seq import blas


@pytest.fixture
def another(monkeypatch):
    """Put another library in the place of NumPy's."""
    return lambda library: monkeypatch.setattr(blas, "_library", lambda: library)


def test_what_is_set_is_what_is_asked():
    """Products come out alike on one thread and on two."""
    before = blas.threads()
    if before is None:
        pytest.skip("this NumPy brings another library")
    x = np.random.default_rng(0).standard_normal((300, 300))
    found = []
    try:
        for n in (2, 1):
            assert blas.set_threads(n)
            assert blas.threads() == n
            found.append(x @ x)
    finally:
        blas.set_threads(before)
    # Sums of 300 products near 1: what is nearly 0 is not near in its own measure.
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=300 * 20 * 2.3e-16)


@pytest.mark.parametrize("prefix", ["scipy_openblas", "openblas"])
@pytest.mark.parametrize("suffix", ["64_", ""])
def test_every_name_that_wheels_have_given_it(another, prefix, suffix):
    """NumPy's wheels have changed the names of these functions."""
    told = []
    library = types.SimpleNamespace()
    setattr(library, f"{prefix}_get_num_threads{suffix}", lambda: 3)
    setattr(library, f"{prefix}_set_num_threads{suffix}", told.append)
    another(library)
    assert blas.threads() == 3
    assert blas.set_threads(2)
    assert told == [2]


@pytest.mark.parametrize("library", [None, types.SimpleNamespace()])
def test_another_library_is_left_alone(another, library):
    """Nothing is known of its threads."""
    another(library)
    assert blas.threads() is None
    assert blas.set_threads(1) is False
