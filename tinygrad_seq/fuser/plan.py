"""The plan of a fused function for one pattern of arguments: its program, the saved values, its kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_seq.errors import TraceError, is_slip
from tinygrad_seq.fuser.codegen import emit
from tinygrad_seq.fuser.launch import CompiledKernel, Traced
from tinygrad_seq.fuser.reassociate import taken_apart
from tinygrad_seq.fuser.remat import choose, inputs_kept, quotients
from tinygrad_seq.fuser.schedule import Space, Unfusable, primitive
from tinygrad_seq.fuser.trace import Program, name_of, trace

# Columns from which on the sums along a row are kept in float64: a vector's worth of running sums is too few then.
# A power of two, for there is a plan for each magnitude.
LONG = 8192


class Plan:
    """A composition traced for inputs of these kinds, widths and dtypes, and the kernels made from it.

    `longest` is the number of columns it is wanted for, where it is traced with fewer.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        kinds: Sequence[str],
        widths: Sequence[int],
        dtypes: Sequence[Any],
        not_rows: Sequence[int] = (),
        longest: int = 0,
    ):
        self.program: Program = taken_apart(trace(fn, kinds, widths, dtypes, choose, not_rows))
        p = self.program
        try:
            space = Space(p)
            varying = _numbers_of_the_size(p, _wider(fn, kinds, widths, dtypes))
            width = 0 if varying is None or varying else _common_width(p, space)
            self.traced = Traced(name_of(fn), p, space, varying or frozenset(), width, longest >= LONG)
            read = tuple(p.outputs[i] for i in p.read)
            self.kept = inputs_kept(p, (*read, *p.hidden))
            asked = space.needed([g for g in p.gradients if g is not None], [*p.inputs, *p.hidden])
            self.quotients = {
                n: q for n, q in quotients(space, p).items() if n in asked and n not in p.hidden
            }
            stats = self._row_sums_the_gradient_reads()
            # The saved values besides inputs, in this order.
            self.beside = tuple(
                dict.fromkeys((*read, *p.hidden, *stats, *(q for q, _ in self.quotients.values())))
            )
            inside = tuple(s for s in self.beside if s not in p.outputs)
            self.plain = CompiledKernel(self.traced, p.inputs, p.outputs, "forward")
            self.keeping = (
                CompiledKernel(self.traced, p.inputs, (*p.outputs, *inside), "forward")
                if inside
                else self.plain
            )
            made = (*p.outputs, *inside)
            self.beside_from = tuple(made.index(s) for s in self.beside)
            self.at_hand = (*(s if s in self.kept else -1 for s in p.inputs), *self.beside, *p.seeds)
            self._backward: dict[Any, CompiledKernel] = {}
            self.refused = self._refusal_of_the_gradient()
            # The inputs of the trial, and the gradients that were found right on them.
            self.tried_on: Any = None
            self.settings: dict[str, Any] = {}
            self.proved: set[Any] = set()
        except Unfusable as error:
            raise TraceError(error.told(p.lines)) from None

    def _refusal_of_the_gradient(self) -> str:
        """Why there is no kernel for the gradient, found before anything depends on it; or ""."""
        p = self.program
        outputs = tuple(dict.fromkeys(g for g in p.gradients if g is not None))
        later = frozenset(p.seeds[len(p.outputs) :])
        given = tuple(-1 if s in later else s for s in self.at_hand)
        try:
            if outputs:
                emit(p, given, outputs, "", self.traced.varying, later, self.quotients)
        except Unfusable as error:
            return f"its gradient has a {error.row.op} that no kernel holds ({error.why})"
        return ""

    def _row_sums_the_gradient_reads(self) -> tuple[int, ...]:
        """Sums and maxima along rows that forward and backward pass share: one number a row, saved for the backward
        pass.
        """
        p, space = self.program, self.traced.space
        forward = space.needed(p.outputs, p.inputs)
        wall = [*p.inputs, *p.hidden, *self.quotients]
        backward = space.needed([g for g in p.gradients if g is not None], wall)
        backward |= space.needed([d for _, d in self.quotients.values()], wall)
        return tuple(s for s in sorted(forward & backward) if space.is_row_reduction(p.tape[s]))

    def backward(self, wanted: tuple[bool, ...], given: tuple[bool, ...]) -> CompiledKernel:
        """The kernel for the gradients of the wanted inputs from those of the outputs that have one."""
        kernel = self._backward.get((wanted, given))
        if kernel is None:
            p = self.program
            outputs = tuple(g for g, want in zip(p.gradients, wanted, strict=True) if want and g is not None)
            missing = frozenset(s for s, there in zip(p.seeds, given, strict=True) if not there)
            at_hand = tuple(-1 if s in missing else s for s in self.at_hand)
            try:
                kernel = CompiledKernel(self.traced, at_hand, outputs, "backward", missing, self.quotients)
            except Unfusable as error:
                raise TraceError(error.told(p.lines)) from None
            self._backward[wanted, given] = kernel
        return kernel


def _wider(
    fn: Callable[..., Any], kinds: Sequence[str], widths: Sequence[int], dtypes: Sequence[Any]
) -> Program | None:
    """The program for twice as many columns; None where the function has none for so many."""
    try:
        return taken_apart(trace(fn, kinds, [2 * n if n > 1 else n for n in widths], dtypes, choose))
    except (
        Exception
    ) as error:  # a user's function may raise anything; then the plan is for its own widths only
        if is_slip(error):
            raise
        return None


def _numbers_of_the_size(program: Program, wider: Program | None) -> frozenset[int] | None:
    """The constants that change with the number of columns (1/n): arguments of a kernel, not part of it.

    None where more than that changes.
    """
    mine, theirs = program.tape, wider.tape if wider else ()
    if [(r.op, r.args) for r in mine] != [(r.op, r.args) for r in theirs]:
        return None
    return frozenset(r.slot for r in mine if r.value is not None and r.value != theirs[r.slot].value)


def _common_width(program: Program, space: Space) -> int:
    """The one number of columns that all wide values have, or 0 where some have another."""
    widths = {space.width(s) for s in space.kinds} - {1}
    if len(widths) == 1 and not any(primitive(row).own_columns for row in program.tape):
        return widths.pop()
    return 0
