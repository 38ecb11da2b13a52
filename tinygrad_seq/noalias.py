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
    only read may be one. And what is compiled stays a function of its own (`noinline`): woven into different callers,
    a kernel had its products and sums put together in different ways.
    """
    from numba.core.compiler import Compiler
    from numba.core.compiler_machinery import LoweringPass, register_pass
    from numba.core.typed_passes import NativeLowering

    @register_pass(mutates_CFG=False, analysis_only=True)  # type: ignore[no-untyped-call]
    class Whole(LoweringPass):
        """Marks the function as LLVM made it, for those that will be linked with it."""

        _name = "tinygrad_seq_whole"

        def __init__(self) -> None:
            LoweringPass.__init__(self)  # type: ignore[no-untyped-call]

        def run_pass(self, state: Any) -> bool:
            """Says that numba's own representation was not changed."""
            module = state.library._final_module
            module.get_function(state.cr.fndesc.llvm_func_name).add_function_attribute("noinline")
            return False

    class Apart(Compiler):
        """The default compiler with one flag and one pass more."""

        def define_pipelines(self) -> Any:
            """The default pipelines, under that flag."""
            self.state.flags.noalias = True
            pipelines: Any = super().define_pipelines()  # type: ignore[no-untyped-call]
            if self.state.flags.auto_parallel.enabled:  # nobody is linked with that
                return pipelines
            for pipeline in pipelines:
                pipeline.add_pass_after(Whole, NativeLowering)
                pipeline.finalize()
            return pipelines

    return Apart
