"""Arrays declared `noalias`: then LLVM adds no run-time test that chooses a loop by the addresses of the arrays.

A vector loop over several arrays is correct only if no output overlaps an input. LLVM cannot know that, so it tests
at the start of the loop: an output 32 to 252 bytes behind an input goes to a scalar loop. There the sum of a row is
added in another order, so its last bit would depend on where NumPy allocated the array.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["compiler"]


@functools.cache
def compiler(vectors: int = 1) -> type[Any]:
    """Numba's compiler, for functions whose outputs overlap none of their other arguments.

    Every pointer among the arguments is marked `noalias`, as numba does for its own parallel loops. Arrays that are
    only read may be one. Loops work on so many vectors, for the dtypes of the first call and for all that follow.
    """
    from numba.core.compiler import Compiler

    class Apart(Compiler):
        """The default compiler with one more flag, under LLVM's options for the vectors."""

        def define_pipelines(self) -> Any:
            """The default pipelines, with that flag."""
            self.state.flags.noalias = True
            return super().define_pipelines()  # type: ignore[no-untyped-call]

        def compile_extra(self, function: Any) -> Any:
            """One function for one set of dtypes."""
            with _side_by_side(vectors):
                return super().compile_extra(function)  # type: ignore[no-untyped-call]

    return Apart


_inside = threading.local()  # of the options, in a thread: a kernel is compiled while what calls it is


@contextlib.contextmanager
def _side_by_side(vectors: int) -> Iterator[None]:
    """Loops compiled inside work on this many vectors at a time; LLVM itself would do so for short loops only.

    The options are LLVM's own and hold for all that is compiled, so they are set while numba's compiler is ours,
    and unset after.
    """
    import llvmlite.binding
    from numba.core.compiler_lock import global_compiler_lock

    if getattr(_inside, "options", False):
        yield
        return
    with global_compiler_lock:
        # A row read from six arrays and written to three takes more tests for overlap than LLVM likes to make, and
        # one scalar loop costs more than all of them.
        for option in (f"-force-vector-interleave={vectors}", "-runtime-memory-check-threshold=128"):
            llvmlite.binding.set_option("", option)
        _inside.options = True
        try:
            yield
        finally:
            _inside.options = False
            for option in ("-force-vector-interleave=0", "-runtime-memory-check-threshold=8"):
                llvmlite.binding.set_option("", option)
