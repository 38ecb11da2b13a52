"""How many threads a command's matrix products and kernels use: several only where they gain.

The products of a small recurrent model take microseconds. Two threads gain a few per cent of a step there
when nothing else runs, and where something does, one spins while it waits for the other: on two cores with
another busy program, steps of 0.05 s were measured to take up to 7 s. A transformer's products have a row for
each token of the batch; on two threads they take half the time, as long as no thread of a kernel is in the way.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from typing import Any

from tinygrad_seq.fuser import threads as kernel_threads
from tinygrad_seq.runtime import blas

__all__ = ["suit_threads", "use_one_thread"]

_SMALL = 128  # hidden units of a recurrent layer up to which a second thread is no gain
_FEW = 256  # rows of a transformer's products, likewise


def suit_threads(*runs: Mapping[str, Any]) -> bool:
    """Choose for models with these settings, whatever was chosen before; returns whether it is one thread."""
    if all(_is_small(run) for run in runs):
        return use_one_thread()
    if (many := _at_first()) is not None and not _chosen():
        blas.set_threads(many)
    kernel_threads.use_one(any(run.get("model") == "transformer" for run in runs))
    return False


def use_one_thread() -> bool:
    """Use one thread for products and kernels where the user has not chosen; returns whether products do.

    Where NumPy brings another library, nothing is changed there.
    """
    _at_first()
    kernel_threads.use_one()
    return not _chosen() and blas.set_threads(1)


@functools.cache
def _at_first() -> int | None:
    """The threads of products before any was chosen here."""
    return blas.threads()


def _chosen() -> bool:
    """Whether the user has chosen the number."""
    return any(name in os.environ for name in blas.VARIABLES)


def _is_small(run: Mapping[str, Any]) -> bool:
    hidden, batch, window = (_number(run.get(name)) for name in ("hidden", "batch", "window"))
    if run.get("model") == "transformer":
        return hidden * batch * window <= _SMALL * _FEW
    return hidden <= _SMALL


def _number(value: object) -> float:
    """A size among settings that were read from a file; 0 for anything that is no size."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 1.0
