"""Arrays declared apart: LLVM then makes no test at run time, by which the place of an array chooses a loop.

A loop over several arrays is right as a vector loop only if none is written into that another is read from. What LLVM
cannot know it tests as the loop begins: an output that lies 32 to 252 bytes behind an input is sent to a scalar
loop. There the sum of a row is added in another order, so its last bit hung on where NumPy had found room.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["compiler"]


@functools.cache
def compiler() -> type[Any]:
    """Numba's compiler, for functions that write into no array which they are handed under another name as well.

    Every pointer among the arguments is marked `noalias`, as numba does for its own parallel loops. Arrays that are
    only read may be one.
    """
    from numba.core.compiler import Compiler

    class Apart(Compiler):
        """The default compiler with one flag more."""

        def define_pipelines(self) -> Any:
            """The default pipelines, under that flag."""
            self.state.flags.noalias = True
            return super().define_pipelines()  # type: ignore[no-untyped-call]

    return Apart
