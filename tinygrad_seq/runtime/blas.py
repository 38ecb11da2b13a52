"""The number of threads of the OpenBLAS inside NumPy's wheels, read and set; other libraries are not touched."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["VARIABLES", "set_threads", "threads"]

VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""What a user sets the number with."""

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")


def threads() -> int | None:
    """How many threads a matrix product may use; None where the library is another one."""
    ask = _function("get_num_threads")
    return int(ask()) if ask else None


def set_threads(n: int) -> bool:
    """Let matrix products use `n` threads; False, and nothing done, where the library is another one."""
    put = _function("set_num_threads")
    if put:
        put(n)
    return put is not None


def _function(name: str) -> Callable[..., Any] | None:
    names = (f"{before}_{name}{after}" for before in _PREFIXES for after in _SUFFIXES)
    return next((getattr(_library(), n) for n in names if hasattr(_library(), n)), None)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The library that NumPy has loaded: beside the package on Linux and Windows, inside it on macOS."""
    package = Path(np.__file__).parent
    for path in (*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(path))
    return None
