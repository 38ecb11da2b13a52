"""A gradient taken apart as a sum: that of a shared weight by time step, that of a state by its source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.bptt.partial import one
from tinygrad_seq.bptt.reaching import norm_of
from tinygrad_seq.bptt.summary import Fading, Reading
from tinygrad_seq.engine.accumulate import unbroadcast
from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.checkpointing import CHECKPOINT
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.partial_backward import Route, node_of
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.traversal import AnyNode
from tinygrad_seq.errors import GraphError
from tinygrad_seq.runtime.arrays import Array

Piece = tuple[AnyNode, Any, Array]  # where it arrives, at which part (None: all of it), and the gradient


@dataclass(frozen=True, repr=False)
class Ledger(Reading):
    """The contributions to a shared weight's gradient: `contributions[i]`, (N, *shape), is that of `steps[i]`.

    Steps are in order; None, the last, stands for what is used outside of any marked step.
    """

    chart: ClassVar[str] = "ledger"

    steps: tuple[int | None, ...]
    contributions: Array

    @property
    def gradient(self) -> Array:
        """The sum of all contributions."""
        return np.asarray(self.contributions.sum(0))

    @property
    def norms(self) -> Array:
        """The norm of each contribution, (N,)."""
        return np.array([norm_of([c]) for c in self.contributions])

    @property
    def fading(self) -> Fading:
        """How the norm changes with the distance from the last step."""
        marked = {s: n for s, n in zip(self.steps, self.norms, strict=True) if s is not None}
        last = max(marked, default=-1)
        first = min(marked, default=0)
        return Fading.of(np.array([marked.get(s, 0.0) for s in range(last, first - 1, -1)]))

    @property
    def words(self) -> str:
        """One line."""
        if self.steps == (None,):
            return "one contribution, made outside of any step: no op that uses it carries a time mark"
        fading = self.fading
        said = fading.origin("the weight's gradient")
        return said if math.isnan(fading.slope) else f"{said}; step by step back, {fading.fit.words}"


@dataclass(frozen=True, repr=False)
class Parts(Reading):
    """The gradient at h_t in two parts: from its own step's output, and from the next step's state."""

    chart: ClassVar[str] = "parts"

    step: int
    own: Array
    future: Array

    @property
    def whole(self) -> Array:
        """The gradient at h_t: the sum of both."""
        return np.asarray(self.own + self.future)

    @property
    def words(self) -> str:
        """One line."""
        own, future, whole = (norm_of([a]) for a in (self.own, self.future, self.whole))
        said = f"at step {self.step} {own:.3g} arrives from the output and {future:.3g} from the next state"
        return f"{said}; together {whole:.3g}"


class Collector:
    """An observer that keeps the contributions to some nodes, by the time mark of the op that they come from."""

    def __init__(self, takes: Callable[[AnyNode, AnyNode], bool]):
        self.takes = takes
        self.pieces: dict[int | None, list[Piece]] = {}

    def made(self, *_: Any) -> None:
        """Values do not matter here."""

    def arrived(self, *_: Any) -> None:
        """Whole gradients neither."""

    def sent(self, node: AnyNode, parent: AnyNode, g: Any, dx: Any) -> None:
        """Keep a copy: the backward pass accumulates into its arrays."""
        if not self.takes(node, parent):
            return
        index = None
        if node.op is not None and node.op.part:
            index = node.settings[node.op.part]  # type: ignore[index]
        elif dx.shape != parent.shape:
            dx = unbroadcast(dx, parent.shape)
        self.pieces.setdefault(node.place.step, []).append((parent, index, np.array(dx)))


def _summed(pieces: list[Piece], node: AnyNode) -> Array:
    total = np.zeros(node.shape, node.dtype)
    for at, index, g in pieces:
        if at is node:
            total[... if index is None else index] += g
    return total


def _made_outside(route: Route, target: AnyNode) -> set[AnyNode]:
    """The target and what is made of it alone outside of any step: a transpose, an input's hoisted product."""
    found = {target}
    for node in route.order:
        if node.op is not None and node.place.step is None and node.op is not CHECKPOINT:
            ways = [p for p in node.parents if p in route.useful]
            if ways and all(p in found for p in ways):
                found.add(node)
    return found


def ledger(loss: Tensor, parameter: Tensor) -> Ledger:
    """The contributions of each time step to the gradient of a weight that all of them share; the graph is kept.

        d loss / d W = sum over t of (d loss / d h_t) (d h_t / d W, h_(t-1) held fixed)

    Steps are those of the time marks (`unroll`, `with time_step(t)`). Where all steps' products with the weight were
    taken out of the loop as one, the contribution is still that of the step which reads it. (Werbos, 1990.)
    Raises GraphError where the parameter wants no gradient.

    >>> import tinygrad_seq as tgs
    >>> w, h = tgs.tensor(2.0, requires_grad=True), tgs.tensor(1.0)
    >>> for t in range(3):
    ...     with tgs.time_step(t):
    ...         h = h * w
    >>> tgs.bptt.ledger(h, w).contributions.tolist()
    [4.0, 4.0, 4.0]
    """
    if not isinstance(parameter, Tensor) or not parameter.mode & WANTS:
        rule = "expected a tensor with requires_grad=True, such as cell.weight_hh."
        raise GraphError("ledger: no gradient flows to this tensor", {"parameter": parameter}, rule)
    target, seed = node_of(parameter), one(loss)
    root = node_of(loss)
    route = Route([root], [target], [target])
    outside = _made_outside(route, target)
    if root in outside or root not in route.useful:
        g = route.pull([seed]).get(target)
        return Ledger((None,), np.array([np.zeros(parameter.shape, parameter.dtype) if g is None else g]))
    collector = Collector(lambda node, parent: parent in outside and node not in outside)
    route.pull([seed], watch=collector)
    steps = sorted(collector.pieces, key=lambda s: (s is None, s))
    onwards: dict[AnyNode, Route] = {}
    rows = []
    for step in steps:
        pieces = collector.pieces.pop(step)
        row = _summed(pieces, target)
        for node in {at: None for at, _, _ in pieces if at is not target}:
            way = onwards.setdefault(node, Route([node], [target], [target]))
            row += way.pull([_summed(pieces, node)])[target]
        rows.append(row)
    return Ledger(tuple(steps), np.array(rows))


def parts(loss: Tensor, state: Tensor, step: int | None = None) -> Parts:
    """The gradient at h_t from o_t, and that from h_(t+1), which are added there; the graph is kept.

    What reads h_t in its own step, or outside of any step, is its output's part; what reads it in another step
    is the future's. `step` is t, by default the mark that h_t was made under. The sum is what `h_t.grad` would be.
    Raises GraphError where no gradient flows to the state, or its step is not known.

    >>> import tinygrad_seq as tgs
    >>> h, w = tgs.tensor(1.0, requires_grad=True), tgs.tensor(3.0)
    >>> with tgs.time_step(0):
    ...     out = h * 10.0
    >>> with tgs.time_step(1):
    ...     out = out + h * w
    >>> found = tgs.bptt.parts(out, h, step=0)
    >>> found.own.item(), found.future.item()
    (10.0, 3.0)
    """
    if not state.mode & WANTS:
        rule = "expected a state that depends on a tensor with requires_grad=True."
        raise GraphError("parts: no gradient flows to this state", {"state": state}, rule)
    node, root = node_of(state), node_of(loss)
    t = node.place.step if step is None else step
    if t is None:
        hint = "Make it inside `with time_step(t):`, or say which it is: parts(loss, h, step=t)."
        raise GraphError(
            "parts: the step is not known", {"state": state}, "the state has no time mark.", hint
        )
    seed = one(loss)
    collector = Collector(lambda _, parent: parent is node)
    Route([root], [node], [node]).pull([seed], watch=collector)
    own, future = np.zeros(state.shape, state.dtype), np.zeros(state.shape, state.dtype)
    if root is node:
        own += seed
    for mark, pieces in collector.pieces.items():
        if mark is None or mark == t:
            own += _summed(pieces, node)
        else:
            future += _summed(pieces, node)
    return Parts(t, own, future)


answer(globals(), "ledger", "parts")
