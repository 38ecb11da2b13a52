"""How many threads NumPy's matrix products and our kernels may use.

The products of a small recurrent model take microseconds. Two threads gain a few per cent of a step there
when nothing else runs, and where something does, one spins while it waits for the other: on two cores with
another busy program, steps of 0.05 s were measured to take up to 7 s.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

__all__ = ["use_one_thread"]

_SMALL = 128  # hidden units up to which a second thread is no gain
_SET_BY_USER = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "GOTO_NUM_THREADS")
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def use_one_thread(hidden: int) -> bool:
    """Let OpenBLAS use one thread where the model is small and the user has not chosen; says whether it does.

    Where NumPy brings another library, nothing is changed there. The kernels keep to one thread likewise.
    """
    if hidden <= _SMALL:
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if hidden > _SMALL or any(name in os.environ for name in _SET_BY_USER):
        return False
    package = Path(np.__file__).parent
    # Where NumPy's wheels keep it: beside the package on Linux and Windows, inside on macOS.
    libraries = [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")]
    for library in libraries:
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError:
            continue
        for name in _SETTERS:
            if hasattr(loaded, name):
                getattr(loaded, name)(1)
                return True
    return False
