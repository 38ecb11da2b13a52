"""The threads of NumPy's matrix products: asked, set, and left alone where the library is another."""

import ctypes
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from tinygrad_seq.fuser import threads
from tinygrad_seq.runtime import blas, jit

pytestmark = pytest.mark.laws


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


# ---- under which conditions the tests run -------------------------------------------------------------------------
CORE = """
import ctypes
from tinygrad_seq.runtime import blas
name = blas._function("get_corename")
name.restype = ctypes.c_char_p
print(name().decode())
"""


@pytest.mark.skipif("OPENBLAS_CORETYPE" not in os.environ, reason="products by this processor's own kernels")
def test_other_kernels_of_products_are_others():
    """CI runs the laws with OPENBLAS_CORETYPE; were it ignored, nothing would be tested."""
    name = blas._function("get_corename")
    if name is None:
        pytest.skip("this NumPy brings another library")
    name.restype = ctypes.c_char_p
    plain = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    own = subprocess.run([sys.executable, "-c", CORE], env=plain, capture_output=True, text=True, check=True)
    assert name().decode() != own.stdout.strip()


@pytest.mark.skipif("NUMBA_CPU_NAME" not in os.environ, reason="kernels for this processor")
@pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed")
def test_kernels_are_built_for_the_processor_that_was_named():
    """With NUMBA_CPU_NAME=generic there is no fused step."""
    from numba.core.registry import cpu_target

    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    assert name == os.environ["NUMBA_CPU_NAME"]
    assert name != "generic" or "+fma" not in features


def test_there_are_as_many_threads_as_were_asked_for():
    """Also more than there are cores."""
    asked = os.environ.get("OPENBLAS_NUM_THREADS")
    if asked is not None and blas.threads() is not None:
        assert blas.threads() == int(asked)
    if jit.kernels_wanted():
        assert threads.count() == int(os.environ["NUMBA_NUM_THREADS"])
