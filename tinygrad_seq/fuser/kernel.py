"""A generated kernel: its text, its loops with their costs, and its parameters.

All of it is noted during code generation; nothing is read back from the text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

# Nanoseconds of one iteration: for each polynomial in float32 and in float64, and for each line.
NANOSECONDS_F32, NANOSECONDS_F64, NANOSECONDS_LINE = 0.8, 8.0, 0.05


@dataclass(frozen=True)
class Loop:
    """A loop over columns: the index of its length among the kernel's sizes, and its content.

    `float32` and `float64` count the polynomials (exp, tanh, ...) of each dtype.
    """

    size: int
    lines: int
    float32: int = 0
    float64: int = 0

    @property
    def nanoseconds(self) -> float:
        """An estimate of one iteration on one core."""
        polynomials = NANOSECONDS_F32 * self.float32 + NANOSECONDS_F64 * self.float64
        return polynomials + NANOSECONDS_LINE * self.lines


@dataclass(frozen=True)
class Kernel:
    """An emitted function: its text in parts, and what to call it with after `lo, hi` (the rows).

    `sizes` are the column counts and starts it was traced with, `numbers` the slots of constants that go with
    the sizes; then come the inputs and the outputs, by slot. `parameters` are the names of all of these in the
    text. `summed` says which outputs are sums over the rows. `limits`, `math` and `scalars` are what it imports
    (inf and nan, the library, names of `scalars`), `kinds` the dtypes that it names.
    """

    title: str
    body: tuple[str, ...]
    parameters: tuple[str, ...]
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    summed: tuple[bool, ...]
    loops: tuple[Loop, ...]
    math: bool = False
    limits: bool = False
    scalars: tuple[str, ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()

    @functools.cached_property
    def source(self) -> str:
        """The text of the module with the function `kernel`."""
        return self._module((), self.body)

    def pieces(self, several: bool) -> str:
        """The text with a second function, `pieces`, that runs the kernel on the pieces, side by side if `several`.

        An output that is a sum has one element for each piece.
        """
        outputs = self.parameters[len(self.parameters) - len(self.outputs) :]
        own = {name: f"{name}[i]" for name, summed in zip(outputs, self.summed, strict=True) if summed}
        driver = [
            "",
            f"def pieces({', '.join(['chunks', 'rows', *self.parameters])}):",
            "    step = (rows + chunks - 1) // chunks",
            f"    for i in {'prange' if several else 'range'}(chunks):",
            "        lo, hi = min(rows, i * step), min(rows, i * step + step)",
            f"        kernel({', '.join(['lo', 'hi', *(own.get(n, n) for n in self.parameters)])})",
            "",
        ]
        return self._module(("from numba import prange",) if several else (), (*self.body, *driver))

    @property
    def vectors(self) -> int:
        """How many vectors a loop computes at a time."""
        # The steps of a polynomial wait for each other, so two vectors side by side take a quarter off its time. In a
        # loop of several polynomials four take another tenth off; elsewhere they only leave more columns over.
        return 2 if max((loop.float32 for loop in self.loops), default=0) <= 2 else 4

    def _module(self, imports: Sequence[str], body: Sequence[str]) -> str:
        lines = [f'"""{self.title}"""', ""]
        lines += ["import math", ""] * self.math
        lines += ["import numpy as np", *imports]
        lines += ["from math import inf, nan"] * self.limits
        if self.scalars:
            lines.append(f"from tinygrad_seq.fuser.scalars.maths import {', '.join(self.scalars)}")
        lines += ["", *(f"{short} = np.{long}" for long, short in self.kinds), "", "", *body]
        return "\n".join(lines)
