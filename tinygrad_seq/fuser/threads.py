"""Large work on all cores, by numba's own threads; small work is done before another core has woken up.

An array is cut into the same pieces whatever the number of threads, so that sums come out alike everywhere.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygrad_seq.numerics import Array

if TYPE_CHECKING:
    from tinygrad_seq.fuser.runner import Call

CHUNKS = 8
# Nanoseconds of one core from which on several are used (`benchmarks/kernels_against_pytorch.py --threshold`).
WORTH_THREADS = 100_000.0

# Numba's threads serve one caller at a time, and do not live on in a forked process.
_free = threading.Lock()
_started = False
_forked = False


def _after_fork() -> None:
    global _forked, _free
    _forked, _free = _started, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def count() -> int:
    """How many threads numba would use: NUMBA_NUM_THREADS, `numba.set_num_threads`, or all cores."""
    import numba

    return int(numba.get_num_threads())


def run(call: Call, arguments: Sequence[Any], results: Sequence[Array]) -> None:
    """The kernel over all pieces; outputs that sum up have a place for each piece."""
    global _started
    if not _forked and count() > 1 and _free.acquire(blocking=False):
        try:
            _started = True
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numba tells of thread libraries that it does not take
                call.runner.threaded(call.chunks, call.rows, *call.leading, *arguments, *results)
        finally:
            _free.release()
        return
    if not any(zero for _, _, _, zero in call.made):
        call.runner.function(0, call.rows, *call.leading, *arguments, *results)
        return
    step = -(-call.rows // call.chunks)
    for i in range(call.chunks):
        own = [r[i] if zero else r for r, (_, _, _, zero) in zip(results, call.made, strict=True)]
        lo, hi = min(call.rows, i * step), min(call.rows, (i + 1) * step)
        call.runner.function(lo, hi, *call.leading, *arguments, *own)


def driver(source: str, summed: Sequence[bool]) -> str:
    """The kernel's text with a second function, `threaded`, that runs it on the pieces side by side."""
    header = next(line for line in source.splitlines() if line.startswith("def kernel("))
    names = header.removeprefix("def kernel(").removesuffix("):").split(", ")[2:]
    own = {f"o{i}": f"o{i}[i]" for i, s in enumerate(summed) if s}
    return "\n".join(
        [
            source.replace("import numpy as np\n", "import numpy as np\nfrom numba import prange\n", 1),
            "",
            f"def threaded(chunks, rows, {', '.join(names)}):",
            "    step = (rows + chunks - 1) // chunks",
            "    for i in prange(chunks):",
            "        lo, hi = min(rows, i * step), min(rows, i * step + step)",
            f"        kernel(lo, hi, {', '.join(own.get(n, n) for n in names)})",
            "",
        ]
    )
