"""One folder of kernels and one number of threads for a whole run of the tests, apart from the user's own."""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec

import pytest
from hypothesis import settings

from tinygrad_seq.runtime import blas, kernel_cache

# What is compared with PyTorch wants it at import.
collect_ignore_glob = [] if find_spec("torch") else ["campaigns/fuzz_torch*.py"]

if "TINYGRAD_SEQ_CACHE" not in os.environ:
    os.environ["TINYGRAD_SEQ_CACHE"] = tempfile.mkdtemp(prefix="tinygrad_seq-tests-")
    atexit.register(shutil.rmtree, os.environ["TINYGRAD_SEQ_CACHE"], ignore_errors=True)

# numba reads it again at each compilation and refuses a change: a command that is run here may set it, and a fixture
# may take it away.
os.environ.setdefault("NUMBA_NUM_THREADS", str(os.cpu_count() or 1))

# OpenBLAS itself begins with no more threads than there are cores; CI runs the laws with more.
_asked = os.environ.get("OPENBLAS_NUM_THREADS", "")
if _asked.isdigit() and int(_asked) > (blas.threads() or int(_asked)):
    blas.set_threads(int(_asked))

# What a process says once about building kernels is tested in `runtime/test_jit`; elsewhere it would come or not come
# with the order of the tests.
kernel_cache._said.add("building")

# How long an example takes is no matter of right and wrong, least of all on a busy machine.
settings.register_profile("any load", deadline=None)
settings.load_profile("any load")


def pytest_runtest_setup(item):
    """A test that is marked `extra` is skipped where the package that it names is not installed."""
    for mark in item.iter_markers("extra"):
        pytest.importorskip(*mark.args)
