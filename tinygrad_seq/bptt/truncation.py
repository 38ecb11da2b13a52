"""Truncation: cutting a state off its past, and a runner that does it on a live tape.

Nothing is computed twice. The backward pass of a window that reaches back over an update uses the values of
that forward pass: an optimiser gives a parameter a new array, and the tape keeps the old one.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_seq.arguments import count
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.messages import Made
from tinygrad_seq.engine.node import STATE, At, Leaf, Node, next_index, time_step
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.random import Generator, given_or
from tinygrad_seq.engine.tensor import Tensor, as_tensor, wrap
from tinygrad_seq.engine.traversal import reachable
from tinygrad_seq.engine.tree import leaves, tree_map
from tinygrad_seq.errors import ArgumentError, GraphError, ShapeError, describe_shape
from tinygrad_seq.runtime.malloc import collector_paused


def cut(state: Any) -> Any:
    """The same state, whose gradient stops here: an edge cut.

    Each tensor of a tree is cut. The step of the state still gets the gradient of its own outputs (h_t from
    o_t); only the edge from h_(t+1) back to h_t is cut. The memory behind is kept; `detach` frees it.

    >>> import tinygrad_seq as tgs
    >>> w, h = tgs.tensor(3.0, requires_grad=True), tgs.tensor(1.0)
    >>> for _ in range(2):
    ...     h = w * tgs.bptt.cut(h)
    >>> h.backward()
    >>> w.grad.item()
    3.0
    """
    return tree_map(ops.cut, state)


class TruncatedBPTT:
    """Back-propagation through time, truncated: every k1 steps, through at most k2 steps, on the live tape.

    The sequence is taken in periods of k1 steps (the last may be shorter). At the end of each the gradient of the sum
    of its losses is added to `.grad`, through a window that ends there:

        k2 >= k1: the period and the k2 - k1 steps before it. Every loss counts once; windows overlap.
        k2 <  k1: the last k2 steps of the period. The losses before them train nothing: a sample of the sequence.

    So k1 = k2 detaches the state every k1 steps; k1 = 1 looks back exactly k2 steps from each loss; k2=None or
    "full" never truncates. Only edges from one step's state to the next are cut: a weight's use in the window's first
    step counts. A state given at the start gets its gradient from the first windows. The tape behind is freed.
    (Williams and Peng, 1990: BPTT(h; h') with h = k2, h' = k1; Sutskever, 2013.)

    With `randomised` each edge is closed with probability c = 1 / k2, and what passes an open one is weighted by
    1 / (1 - c): the expected gradient is the full one, its variance is larger. With `alpha` > 2 lengths are drawn
    with a tail of l^-alpha: c = (alpha - 1) / ((alpha - 2) k2 + l), l steps after the last closed edge. (Tallec and
    Ollivier, 2017: ARTBP.) `rng` draws. `k2` is then the mean length; memory is bounded in the mean only.

    Either call `carry` once a step, or hand the loop to `run`. Losses are summed: divide them yourself.

    >>> import tinygrad_seq as tgs
    >>> w, h, window = tgs.tensor(2.0, requires_grad=True), tgs.tensor(1.0), TruncatedBPTT(2, 2)
    >>> for _ in range(4):
    ...     h = h * w
    ...     h = window.carry(h, loss=h)
    ...     if window.due:
    ...         print(w.grad.item())
    ...         w.grad = None
    5.0
    20.0
    """

    def __init__(
        self,
        k1: int,
        k2: int | str | None = None,
        *,
        randomized: bool = False,
        alpha: float | None = None,
        rng: Generator | None = None,
    ):
        self.k1 = count("TruncatedBPTT", "k1", k1)
        full = k2 is None or k2 == "full"
        self.k2 = None if full else count("TruncatedBPTT", "k2", k2, 2 if randomized else 1)
        self.randomized, self.alpha = randomized, alpha
        if randomized and full:
            rule = "expected k2, the mean number of steps."
            raise ArgumentError("TruncatedBPTT: randomised needs a length", None, rule)
        if alpha is not None and not (randomized and alpha > 2):
            rule = f"expected randomised=True and alpha above 2, got randomised={randomized}, alpha={alpha}."
            raise ArgumentError("TruncatedBPTT: alpha out of place", None, rule)
        self.rng = rng
        self.reset()

    def reset(self) -> None:
        """Forget the sequence so far, for a new one. Losses that were not back-propagated yet are dropped."""
        self.step, self.start, self.since = 0, 0, 1
        self.due = False
        self.begun = self.window_begun = next_index()
        self.checks = 2
        self.edges: deque[tuple[int, int, list[Node]]] = deque()
        short = self.k2 is not None and self.k2 < self.k1 and not self.randomized
        self.losses: deque[tuple[int, Tensor]] = deque(maxlen=self.k2 if short else None)

    # ---- one step --------------------------------------------------------------------------------------
    def carry(self, state: Any, loss: Tensor | None = None) -> Any:
        """The state for the next step, after a step that ended in `state` and had this loss (None: no loss).

        If the step ends a period, the gradients are in `.grad` afterwards and `due` is True.
        Raises ShapeError for a loss of several elements.
        """
        if loss is not None:
            loss = as_tensor(loss)
            if loss.size != 1:
                rule = f"expected 1 element, got shape {describe_shape(loss.shape)}; use .sum() or .mean()."
                raise ShapeError("TruncatedBPTT: a step's loss is one number", {"loss": loss}, rule)
            self.losses.append((self.step, loss))
        self.step += 1
        self._shorten()
        self.due = self.step - self.start == self.k1 and self._back()
        if self.step - self.start == self.k1:
            self.start = self.step
            self._shorten()
        return self._edge(state)

    def finish(self) -> bool:
        """Back-propagate the losses of a last period shorter than k1; True where there were any.

        The sequence ends here. A state that goes on into the next one must be detached.
        """
        self._shorten()
        found = self._back()
        self.reset()
        self.due = found
        return found

    def _back(self) -> bool:
        first = self._first()  # steps may have no loss: those that are kept can be older than the window
        losses = [loss for step, loss in self.losses if step >= first]
        self.losses.clear()
        if not losses:
            return False
        total = functools.reduce(Tensor.__add__, losses)
        total.backward(
            retain_graph=True
        )  # overlapping windows use it again; the cut frees what is not needed any more
        return True

    # ---- the edges -------------------------------------------------------------------------------------
    def _first(self) -> int:
        """The step that the current window begins with."""
        if self.k2 is None or self.randomized:
            return 0
        if self.k2 >= self.k1:
            return self.start + self.k1 - self.k2
        return max(self.start, self.step - self.k2)

    def _shorten(self) -> None:
        """Cut the edge into the first step of the window, and forget those before it."""
        first = self._first()
        while self.edges and self.edges[0][0] <= first:
            _, self.window_begun, nodes = self.edges.popleft()
            for node in nodes:
                _sever(node)

    def _edge(self, state: Any) -> Any:
        if self.k2 is None:
            return state
        if self.randomized:
            return self._drawn(state, self.k2)
        if self.step == self._first():
            return tree_map(Tensor.detach, state)
        if self.k2 >= self.k1 and (self.step - self.start + self.k2) % self.k1:
            return state  # no window begins here
        here = STATE.place
        with At(Place(here.scope, self.step, here.phase)):
            state = tree_map(_copied, state)
        nodes = [t.node for t in leaves(state) if isinstance(t.node, Node)]
        self.edges.append((self.step, next_index(), nodes))
        return state

    def _drawn(self, state: Any, mean: int) -> Any:
        closes = 1.0 / mean
        if self.alpha is not None:
            closes = (self.alpha - 1.0) / ((self.alpha - 2.0) * mean + self.since)
        draw = given_or(self.rng, "truncation").rand(1, dtype=np.float64).item()
        if draw < closes:
            self.since = 1
            return tree_map(Tensor.detach, state)
        self.since += 1
        weight = 1.0 / (1.0 - closes)

        def weighted(h: Tensor) -> Tensor:
            if h.mode & WANTS:
                h = _copied(h)
                h.register_hook(lambda g: g * weight)
            return h

        return tree_map(weighted, state)

    # ---- the loop --------------------------------------------------------------------------------------
    def run(
        self,
        step: Callable[[Any, Any], tuple[Tensor | None, Any]],
        items: Iterable[Any],
        state: Any,
        update: Callable[[], Any] | None = None,
    ) -> tuple[float, Any]:
        """Run `loss, state = step(item, state)` over all items; the mean loss, and the last state off the tape.

        `update` is called whenever gradients were added to `.grad`: clip, step, zero_grad. Without it they add up.
        Items are taken one at a time: a sequence may be of any length. Ops of step t carry the time mark t.
        Raises GraphError where a loss reaches behind its window by another path than the state.
        """
        if update is not None and not callable(update):
            rule = "expected a function without arguments: clip, optimizer.step(), zero_grad()."
            raise ArgumentError("TruncatedBPTT: update is no function", {"update": update}, rule)
        self.reset()
        rest, total, count = iter(items), 0.0, 0
        more = True
        while more:
            more = False
            with collector_paused():
                for item in islice(rest, min(self.k1, 4096)):
                    more = True
                    with time_step(self.step):
                        loss, state = step(item, state)
                    if loss is not None:
                        if not isinstance(loss, Tensor) or loss.size != 1:
                            rule = "expected (loss, state), the loss one element or None."
                            named = {"first": loss, "second": state}
                            raise ShapeError("TruncatedBPTT: a step's loss is one number", named, rule)
                        self._check(loss)
                        total, count = total + loss.item(), count + 1
                    state = self.carry(state, loss)
                    if self.due and update is not None:
                        update()
        if self.finish() and update is not None:
            update()
        return total / max(count, 1), tree_map(Tensor.detach, state)

    def _check(self, loss: Tensor) -> None:
        """Check the first windows that begin behind a cut; later steps are built in the same way."""
        if not self.checks or self.k2 is None or self.randomized or not isinstance(loss.node, Node):
            return
        at_end = self.step - self.start + 1 == self.k1
        first = self._first()
        if first < 1 or not at_end or self.k2 < self.k1:
            return
        self.checks -= 1
        for node in reachable([loss.node], wanting=True):
            inside = self.begun < node.index < self.window_begun
            if inside and isinstance(node, Node) and node.place.step is not None:
                raise GraphError(
                    "TruncatedBPTT: a loss reaches behind its window by another way than the state",
                    {"loss": loss, "reached": Made(node)},
                    f"expected nothing from before step {first} but the state.",
                    "Cut what is kept of earlier steps with detach(), or use k2='full' with checkpoint().",
                )


def _copied(h: Tensor) -> Tensor:
    """The same values behind a node of its own: the edge from one step to the next."""
    copy: Tensor = ops.reshape(h, shape=h.shape)
    return copy


def _sever(node: Node) -> None:
    """Turn an existing edge into a cut: no gradient passes, and the memory behind is freed."""
    stub = wrap(np.broadcast_to(np.zeros((), node.dtype), node.shape))
    node.op, node.settings, node.wants = ops.cut, None, False
    node.parents = (Leaf(stub, False, ""),)
    node.saved, node.out, node.hooks = node.parents, None, None


answer(globals(), "TruncatedBPTT", "cut")
