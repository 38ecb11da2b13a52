"""Which loss reaches which state: the norms of d loss_t / d h_s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.bptt.partial import one, refuse_side_branches
from tinygrad_seq.bptt.summary import Fading, Reading
from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.partial_backward import Independent, Route, node_of
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ShapeError
from tinygrad_seq.runtime.arrays import Array


@dataclass(frozen=True, repr=False)
class Reach(Reading):
    """The matrix of norms of d loss_t / d h_s: `norms[t, s]`, (losses, states), float64.

    The last loss is taken to stand at the last state; so the lag of an entry is the number of steps between.
    """

    chart: ClassVar[str] = "reach"

    norms: Array

    @cached_property
    def by_lag(self) -> Array:
        """The mean norm at lag 0, 1, ... over all losses that have a state so far back."""
        losses, states = self.norms.shape
        offset = states - losses
        rows = [
            [
                self.norms[t, t + offset - lag]
                for t in range(losses)
                if t + offset >= lag >= t + offset - states + 1
            ]
            for lag in range(states)
        ]
        return np.array([np.mean(row) if row else 0.0 for row in rows])

    @property
    def fading(self) -> Fading:
        """How the norm changes with the lag."""
        return Fading.of(self.by_lag)

    @property
    def words(self) -> str:
        """One line."""
        return self.fading.words


def reach(losses: Tensor | Sequence[Tensor], states: Sequence[Any]) -> Reach:
    """The norms of d loss_t / d h_s for all losses and states, by one backward pass for each loss; the graph is kept.

        norms[t, s] = sqrt(sum((d losses[t] / d states[s])^2))

    A state may be a tensor or a tree of them, (h, c): then the norm is that over all its leaves, taken as
    independent (a path to c_s through h_s counts at h_s). Entries that no path leads to are exactly 0: all with s
    after t, all behind a cut, and states off the tape. A slice of a layer's stacked outputs is a side branch, which
    no later step reads: take the states from a cell or a loop of your own.

    Raises GraphError where a loss has not one element or wants no gradient, ShapeError for more losses than states.

    >>> import tinygrad_seq as tgs
    >>> w, h = tgs.tensor(0.5, requires_grad=True), tgs.tensor(1.0, requires_grad=True)
    >>> states = [h]
    >>> for _ in range(2):
    ...     states.append(states[-1] * w)
    >>> tgs.bptt.reach(states[2], states).norms.round(2).tolist()
    [[0.25, 0.5, 1.0]]
    """
    rows = [losses] if isinstance(losses, Tensor) else list(losses)
    if not rows or len(rows) > len(states):
        rule = f"expected from 1 to {len(states)} losses, one at each of the last states, got {len(rows)}."
        raise ShapeError("reach: losses and states differ in number", None, rule)
    parts = [[node_of(t) for t in leaves(s) if t.mode & WANTS] for s in states]
    ends = {n for nodes in parts for n in nodes}
    refuse_side_branches("reach", [node_of(loss) for loss in rows], list(ends))
    independent = Independent(parts)
    norms = np.zeros((len(rows), len(states)))
    for t, loss in enumerate(rows):
        found = independent.of(Route([node_of(loss)], ends).pull([one(loss)]))
        for s, nodes in enumerate(parts):
            norms[t, s] = norm_of([found[n] for n in nodes if n in found])
    return Reach(norms)


def norm_of(arrays: Sequence[Any]) -> float:
    """The norm of all elements of these arrays together, in float64."""
    flat = [np.asarray(a, np.float64).ravel() for a in arrays]
    return float(np.linalg.norm(np.concatenate(flat))) if flat else 0.0


answer(globals(), "reach")
