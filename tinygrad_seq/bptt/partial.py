"""Checks of a loss and its states, and partial derivatives of states that depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.partial_backward import Route
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.traversal import AnyNode, reachable
from tinygrad_seq.errors import GraphError


def one(loss: Tensor) -> Any:
    """The cotangent of a loss, an array of one. Raises GraphError for what has several elements or no gradient."""
    if loss.size != 1 or not loss.mode & WANTS:
        rule = "expected one element that depends on a tensor with requires_grad=True."
        raise GraphError("bptt: not a loss", {"loss": loss}, rule)
    return np.ones(loss.shape, loss.dtype)


def refuse_side_branches(call: str, roots: Sequence[AnyNode], states: Sequence[AnyNode]) -> None:
    """Raise GraphError where no root was computed from any of the states: a result of zeros would be misleading."""
    found = set(reachable(roots))
    if states and not found & set(states):
        rule = "expected states on the way there; slices of a layer's stacked outputs are side branches."
        hint = "Take the states from a cell, or from a loop of your own."
        raise GraphError(f"{call}: nothing was made from these states", None, rule, hint)


def refuse_parts(call: str, states: Sequence[Sequence[AnyNode]]) -> None:
    """Raise GraphError where a path from one state to the next but one does not go through the state between.

    An example is h alone of an LSTM: the path through c passes no h.
    """
    for j, (earlier, middle, later) in enumerate(zip(states, states[1:], states[2:], strict=False)):
        first = min((n.index for n in earlier), default=0)
        seen, todo = set(later), list(later)
        while todo:
            node = todo.pop()
            if node in middle or node.index < first:
                continue
            if node in earlier:
                rule = (
                    f"expected whole states: a way from state {j} to state {j + 2} goes round state {j + 1}."
                )
                hint = "Give all that is carried: (h, c) for an LSTM."
                raise GraphError(f"{call}: these are parts of the states", None, rule, hint)
            fresh = [p for p in node.parents if p.wants and p not in seen]
            seen.update(fresh)
            todo += fresh


class Apart:
    """Partial derivatives at several ends: each as if the others did not depend on it.

    So d c_t / d c_(t-1) of an LSTM leaves out the way by h_(t-1), which is a part of the state itself.
    """

    def __init__(self, roots: Sequence[AnyNode], ends: Sequence[AnyNode]):
        self.ends = list(ends)
        together = Route(roots, ends, set(ends))
        # Where one end is computed from another, one backward pass would continue through it.
        mixed = any(p in together.useful for e in ends for p in e.parents)
        self.routes = [Route(roots, [e], set(ends)) for e in ends] if mixed else [together]

    def pull(self, seeds: Sequence[Any], create_graph: bool = False) -> list[Any]:
        """The gradient at each end, None where none arrives."""
        found: dict[AnyNode, Any] = {}
        for route in self.routes:
            found.update(route.pull(seeds, create_graph=create_graph))
        return [found.get(e) for e in self.ends]
