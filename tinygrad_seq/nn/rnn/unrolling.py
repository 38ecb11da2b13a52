"""The loop over time: forwards and backwards, for rows of different lengths.

The tape of the loop is the unrolled network, so its backward pass is BPTT. Any function of (x_t, state) can
be unrolled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.arguments import function_of
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.inplace import alias
from tinygrad_seq.engine.node import STATE, At, scope
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.tensor import Tensor, as_tensor, concat, stack, where, wrap
from tinygrad_seq.engine.tree import detach, paired
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nn.rnn.base_cell import Cell, Step
from tinygrad_seq.nn.step_hooks import StepHook
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.malloc import collector_paused

Trace = dict[str, Tensor]


def unroll(
    cell: Any,
    xs: Any,
    state: Any = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    return_trace: bool = False,
    step_hook: StepHook | None = None,
) -> Any:
    """Run `out, state = cell(xs[t], state)` for all t: all outs stacked (T, ...) and the last state.

        t = 0 .. T - 1, or T - 1 .. 0 with `reverse`; outs[t] is always that of xs[t]

    xs (T, ...), or (T, B, ...) with `lengths`; `state` is a tensor or tuples of them, nested as you like, each
    (B, ...). `cell` is a function of your own, or an `RNNCell`, `LSTMCell` or `GRUCell`, whose input product is
    then taken for all t at once, and whose state None is zeros. Ops made in step t carry t as their time mark.

    `lengths` (B,), in any order, 0 .. T: row b has the steps below lengths[b] only. Later steps of xs are never
    read, not even NaN; outs are 0 there; the state stays as it was (and is first changed at step lengths[b] - 1
    with `reverse`), so that each row has the result that it has alone.

    `step_hook(t, state)` is called after each step with the new state; a result other than None replaces the state.
    The outs are always those of the cell.

    With `return_trace` the cell returns a dict of tensors as a third value (ours do: gates and states), and so
    does `unroll`: each of them stacked as outs are.

    >>> from tinygrad_seq import tensor, zeros
    >>> total = lambda x, s: (s + x, s + x)
    >>> unroll(total, tensor([[1.0, 1.0], [2.0, 2.0]]), zeros(2), lengths=[2, 1])[0]
    Tensor([[1., 1.],
            [3., 0.]], f32(2, 2))

    Raises ShapeError, ArgumentError or DTypeError for what does not fit, and where the cell returns no pair.
    """
    xs = as_tensor(xs)
    if xs.ndim == 0 or xs.shape[0] == 0:
        raise ShapeError("unroll: no time steps", {"xs": xs}, "expected at least one.")
    steps, rows = xs.shape[0], None
    if lengths is not None:
        if xs.ndim < 2:
            rule = "expected (T, B, ...): with lengths, xs has an axis of rows."
            raise ShapeError("unroll: xs does not fit", {"xs": xs}, rule)
        rows = Lengths("unroll", lengths, steps, xs.shape[1])
        xs = rows.fill(xs)
    if isinstance(cell, Cell):
        with scope(cell._scope or type(cell).__name__.lower()):
            xs, step, start = cell.prepare(xs, state, return_trace)
            outs, last, trace = run(step, xs, start, rows, reverse, return_trace, step_hook)
        last = cell.shown(last)
    elif isinstance(cell, Module) and hasattr(cell, "num_layers"):
        rule = "expected a cell, or a function of (x_t, state): a layer runs over time by itself."
        raise ArgumentError("unroll: this is no cell", {"cell": cell}, rule)
    else:
        step = _guarded(function_of("unroll", "cell", cell), state, rows, reverse)
        outs, last, trace = run(step, xs, state, rows, reverse, return_trace, step_hook, True)
    if rows is not None:
        outs, trace = rows.pad(outs, steps), {k: rows.pad(v, steps) for k, v in trace.items()}
    return (outs, last, trace) if return_trace else (outs, last)


def run(
    step: Step,
    xs: Tensor,
    state: Any,
    lengths: Lengths | None,
    reverse: bool,
    traced: bool,
    step_hook: StepHook | None = None,
    theirs: bool = False,
) -> tuple[Tensor, Any, Trace]:
    """The loop itself, over the steps of xs: outs, the last state and the trace, 0 behind a row's end."""
    # A user's step or hook may change a state that is also the output: h += x.
    theirs = theirs or step_hook is not None
    outs: list[Tensor] = []
    traces: list[Trace] = []
    count, shortest = 3 if traced else 2, xs.shape[0] if lengths is None else lengths.shortest
    here, thread = STATE.place, STATE.__dict__
    with collector_paused(), At(here):
        for t in range(xs.shape[0])[:: -1 if reverse else 1]:
            thread["place"] = Place(here.scope, t, here.phase)
            made = step(xs[t], state)
            if type(made) is not tuple or len(made) != count:
                raise _no_pair(made, count)
            # Rows that have ended, or have not begun, keep the state they have.
            state = made[1] if t < shortest else held(lengths.alive(t), made[1], state)  # type: ignore[union-attr]
            if step_hook is not None:
                state = after_hook(step_hook(t, state), state)
            outs.append(alias(made[0]) if theirs and isinstance(made[0], Tensor) else made[0])
            if traced:
                traces.append(made[2])
    if reverse:
        outs.reverse()
        traces.reverse()
    gathered = {name: stack([trace[name] for trace in traces]) for name in (traces[0] if traced else ())}
    if lengths is None or lengths.shortest >= lengths.longest:
        return stack(outs), state, gathered
    return lengths.mask_padding(stack(outs)), state, {k: lengths.mask_padding(v) for k, v in gathered.items()}


def _guarded(cell: Any, first: Any, lengths: Lengths | None, reverse: bool) -> Step:
    """A user's cell whose ended rows get their first state again.

    Their results are not used; but where a derivative is infinite at their last state, 0 times infinity would
    be a NaN in the gradient of the earlier steps.
    """
    if lengths is None or reverse or first is None:
        return cell  # type: ignore[no-any-return]
    begun, shortest, at = detach(first), lengths.shortest, iter(range(lengths.longest))

    def step(x: Tensor, state: Any) -> Any:
        t = next(at)
        return cell(x, held(lengths.alive(t), state, begun) if t >= shortest else state)

    return step


def after_hook(returned: Any, state: Any) -> Any:
    """The state after a step's hook."""

    def join(new: Tensor, old: Tensor) -> Tensor:
        if new.shape != old.shape:
            rule = f"expected {old.shape}, as the state that it was given."
            raise ShapeError("step_hook: it returned another shape", {"returned": new}, rule)
        return new

    return state if returned is None else paired("step_hook", join, returned, state)


def _no_pair(made: Any, count: int) -> DTypeError:
    rule = f"expected {'a pair (out, state)' if count == 2 else 'three: (out, state, trace)'}."
    named = {f"value {i}": v for i, v in enumerate(made)} if isinstance(made, tuple) else {"value": made}
    return DTypeError("unroll: the cell returned something else", named, rule)


class Lengths:
    """The number of steps of each row of a batch, in any order, 0 included, and the masks made from it."""

    def __init__(self, call: str, lengths: Any, steps: int, rows: int | None):
        given = lengths.array if isinstance(lengths, Tensor) else np.asarray(lengths)
        if given.dtype.kind not in "iu" and given.size:
            rule = "expected whole numbers, one for each row."
            raise DTypeError(f"{call}: lengths are no counts", {"lengths": lengths}, rule)
        if given.shape != (() if rows is None else (rows,)):
            rule = "expected one number." if rows is None else f"expected ({rows},): one for each row."
            raise ShapeError(f"{call}: lengths do not fit", {"lengths": given}, rule)
        self.counts = given.reshape(-1).astype(np.int64)
        if ((self.counts < 0) | (self.counts > steps)).any():
            wrong = int(np.flatnonzero((self.counts < 0) | (self.counts > steps))[0])
            rule = f"expected 0 to {steps}, the number of steps; row {wrong} has {self.counts[wrong]}."
            raise ArgumentError(f"{call}: a length out of range", {"lengths": given}, rule)
        self.shortest = int(self.counts.min(initial=steps))
        # One step at least, so that there is an output whose sizes can be read.
        self.longest = max(1, int(self.counts.max(initial=0)))

    def alive(self, t: int) -> Array:
        """Which rows have a step t (B,)."""
        return t < self.counts

    def _mask(self, ndim: int) -> Tensor:
        mask = np.arange(self.longest)[:, None] < self.counts
        return wrap(mask.reshape(*mask.shape, *(1,) * (ndim - 2)))

    def fill(self, xs: Tensor) -> Tensor:
        """The steps that some row has; the padding of each row is replaced by its first step.

        Not by 0, because a cell might take its logarithm; a row without steps gets that of another row.
        """
        xs = xs if self.longest == xs.shape[0] else xs[: self.longest]
        if self.shortest >= self.longest:
            return xs
        lender = np.where(self.counts > 0, np.arange(len(self.counts)), self.counts.argmax())
        first = xs.array[0, lender] if self.counts.any() else np.zeros_like(xs.array[0])
        return where(self._mask(xs.ndim), xs, first)

    def mask_padding(self, outs: Tensor) -> Tensor:
        """0 behind each row's end."""
        if outs.ndim < 2 or outs.shape[1] != len(self.counts):
            rule = f"expected {len(self.counts)} rows in each: its first size after T."
            raise ShapeError("unroll: the outputs do not fit the lengths", {"outputs": outs}, rule)
        return where(self._mask(outs.ndim), outs, np.zeros((), outs.dtype))

    def pad(self, outs: Tensor, steps: int) -> Tensor:
        """All steps of the input; those that no row has are 0."""
        if outs.shape[0] == steps:
            return outs
        return concat([outs, wrap(np.zeros((steps - outs.shape[0], *outs.shape[1:]), outs.dtype))])


def held(alive: Array, new: Any, old: Any) -> Any:
    """The new state for rows that are alive (B,), the old one for the others."""
    if type(new) is type(old) is tuple and _alike(len(alive), *new, *old):
        return _both_held(wrap(alive[:, None]), *new, *old)

    def join(n: Tensor, o: Any) -> Any:
        if n.ndim == 0 or n.shape[0] != len(alive):
            rule = f"expected {len(alive)} rows."
            raise ShapeError("unroll: a state does not fit the lengths", {"state": n}, rule)
        return _held(wrap(alive.reshape(-1, *(1,) * (n.ndim - 1))), n, o)

    return paired("unroll", join, new, old)


def _alike(rows: int, *states: Any) -> bool:
    """True where one kernel can do it: two new matrices and two old ones, of one shape."""
    if len(states) != 4 or not all(isinstance(s, Tensor) for s in states):
        return False
    shapes = {s.array.shape for s in states}
    shape = shapes.pop()
    return not shapes and len(shape) == 2 and shape[0] == rows


@fused
def _held(alive: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return where(alive, new, old)


@fused
def _both_held(
    alive: Tensor, new: Tensor, other_new: Tensor, old: Tensor, other_old: Tensor
) -> tuple[Tensor, Tensor]:
    return where(alive, new, old), where(alive, other_new, other_old)


answer(globals(), "unroll")
