"""Arrays declared `noalias`: then LLVM adds no run-time test that chooses a loop by the addresses of the arrays.

A vector loop over several arrays is correct only if no output overlaps an input. LLVM cannot know that, so it tests
at the start of the loop: an output 32 to 252 bytes behind an input goes to a scalar loop. There the sum of a row is
added in another order, so its last bit would depend on where NumPy allocated the array.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["compiler"]


@functools.cache
def compiler() -> type[Any]:
    """Numba's compiler, for functions whose outputs overlap none of their other arguments.

    Every pointer among the arguments is marked `noalias`, as numba does for its own parallel loops. Arrays that are
    only read may be one.
    """
    from numba.core.compiler import Compiler

    class Apart(Compiler):
        """The default compiler with one more flag."""

        def define_pipelines(self) -> Any:
            """The default pipelines, with that flag."""
            self.state.flags.noalias = True
            return super().define_pipelines()  # type: ignore[no-untyped-call]

    return Apart
