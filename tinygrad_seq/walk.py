"""The walk back along the tape: each node once, newest first, its rules applied to the gradient that arrived.

One loop serves every order of derivative. Without `create_graph` the rules run on plain arrays and nothing is
recorded; with it they run on Tensors and the gradient is itself on the tape.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_seq import nodes, ops
from tinygrad_seq.errors import GraphError, ShapeError, describe_shape, explain
from tinygrad_seq.nodes import PICK, STATE, At, Leaf, Node, changed_since, next_index, recording
from tinygrad_seq.ops import Op
from tinygrad_seq.random import replayed
from tinygrad_seq.recording import WANTS, leaf, wrap
from tinygrad_seq.tensor import Tensor

AnyNode = Node | Leaf


CHECKPOINT = Op("checkpoint", lambda *_: None, "call")


def reachable(roots: Sequence[AnyNode], *, wanting: bool = False, since: int = -1) -> list[AnyNode]:
    """The nodes that lead to `roots`, oldest first: the tape.

    With `wanting`, only through parents that want a gradient; nodes made before `since` are not looked past.
    """
    seen: set[AnyNode] = set(roots)
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node.index < since:
            continue
        for p in node.parents:
            if p not in seen and (p.wants or not wanting):
                seen.add(p)
                todo.append(p)
    return sorted(seen, key=_by_index)


_by_index = attrgetter("index")


def is_inside(node: AnyNode, start: int) -> bool:
    """Was this op recorded at or after the creation index `start`?"""
    return node.op is not None and node.index >= start


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` summed over the axes along which an array of `shape` was stretched: broadcasting undone."""
    extra = len(g.shape) - len(shape)
    if extra:
        g = ops.sum_(g, axis=tuple(range(extra)), keepdims=False)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return ops.sum_(g, axis=stretched, keepdims=True) if stretched else g


class Arrivals:
    """The gradients that have arrived so far, by node.

    Full contributions are summed as they come, from the second on in a buffer of our own. What comes through a
    slice touches only a part: arrays are added to the buffer in place; Tensors wait in `parts` and become one
    concat where they tile an axis. A loop over `xs[t]` would else make T arrays of full size.
    """

    __slots__ = ("mine", "parts", "sums")

    def __init__(self) -> None:
        self.sums: dict[Any, Any] = {}
        self.mine: set[Any] = set()
        self.parts: dict[Any, list[tuple[Any, Any]]] = {}

    def add(self, node: Any, g: Any) -> None:
        """A contribution of full shape."""
        before = self.sums.get(node)
        if before is None:
            self.sums[node] = g
        elif node in self.mine:
            np.add(before, g, out=before)
        else:
            total = self.sums[node] = before + g
            if type(total) is np.ndarray:
                self.mine.add(node)

    def add_part(self, node: Any, g: Any, index: Any) -> None:
        """A contribution to the part of the node's value at `index`."""
        if isinstance(g, Tensor):
            self.parts.setdefault(node, []).append((g, index))
            self.sums.setdefault(node, None)
            return
        buffer = self.sums.get(node)
        if node not in self.mine:
            buffer = np.zeros(node.shape, node.dtype) if buffer is None else np.array(buffer)
            self.sums[node] = buffer
            self.mine.add(node)
        buffer[index] += g  # type: ignore[index]

    def take(self, node: Any) -> Any:
        """The whole gradient of a node, or None; it is forgotten here."""
        if node in self.parts:
            for g in _laid_end_to_end(self.parts.pop(node), node.shape):
                self.add(node, g)
        return self.sums.pop(node, None)


def _laid_end_to_end(parts: list[tuple[Any, Any]], shape: tuple[int, ...]) -> list[Any]:
    """Parts that tile one axis as a single concat, others as one pad each."""
    spans = [_span(index, shape) for _, index in parts]
    tiles = sorted((span, i) for i, span in enumerate(spans) if span)
    if len(tiles) == len(parts) and len({span[0] for span, _ in tiles}) == 1:
        axis = tiles[0][0][0]
        stops = [0, *(span[2] for span, _ in tiles)]
        starts = [*(span[1] for span, _ in tiles), shape[axis]]
        if stops == starts:
            sizes = [(*shape[:axis], stop - start, *shape[axis + 1 :]) for (_, start, stop), _ in tiles]
            whole = [ops.reshape(parts[i][0], shape=size) for (_, i), size in zip(tiles, sizes, strict=True)]
            return [ops.concat(*whole, axis=axis)]
    return [ops.pad(g, index=index, shape=shape) for g, index in parts]


def _span(index: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(axis, start, stop) of an index that takes one range of one axis and all of the others, else None."""
    found = None
    for axis, i in enumerate(index):
        if isinstance(i, slice):
            start, stop, step = i.indices(shape[axis])
            if step != 1 or stop < start:
                return None
            if (start, stop) == (0, shape[axis]):
                continue
        elif isinstance(i, int):
            start = i % shape[axis]
            stop = start + 1
        else:
            return None
        if found:
            return None
        found = (axis, start, stop)
    return found


def walk(
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    targets: Sequence[Tensor] | None,
    *,
    create_graph: bool = False,
    release: bool = True,
) -> tuple[dict[AnyNode, Any], set[AnyNode]]:
    """The gradients at the targets (at every leaf that wants one, where None), as arrays or as Tensors.

    Also returns the nodes whose array nobody else holds. With `release` a node lets go of what it saved as soon
    as it has been used.
    """
    roots = [t.node or leaf(t) for t in outputs]
    ends = {t.node or leaf(t) for t in targets} if targets is not None else None
    order = _leading_to(roots, ends)
    useful = set(order)
    arrivals = Arrivals()
    for root, seed in zip(roots, seeds, strict=True):
        if root in useful:
            arrivals.add(root, seed if create_graph else seed.array)
    trip = Walk(set(roots), ends, useful, arrivals, create_graph, release)
    with recording(create_graph), np.errstate(all="ignore"):
        trip.visit(order)
    return trip.found, arrivals.mine


class Walk:
    """One walk: where it starts and ends, what leads there, and what has arrived."""

    def __init__(
        self,
        roots: set[AnyNode],
        ends: set[AnyNode] | None,
        useful: set[AnyNode],
        arrivals: Arrivals,
        create_graph: bool,
        release: bool,
    ):
        self.roots, self.ends, self.useful, self.arrivals = roots, ends, useful, arrivals
        self.create_graph, self.release = create_graph, release
        self.watch, self.suspicious = STATE.watch, nodes.any_changed()
        self.found: dict[AnyNode, Any] = {}

    def visit(self, order: Sequence[AnyNode]) -> None:
        """Take these nodes newest first and send each one's gradient on to its parents."""
        arrivals, ends, create_graph, here = self.arrivals, self.ends, self.create_graph, STATE.place
        for node in reversed(order):
            g = arrivals.take(node)
            if g is None:
                continue
            if node.hooks:
                g = _hooked(node, g, create_graph)
            if type(node) is Leaf or (ends is not None and node in ends):
                self.found[node] = g
            if type(node) is not Node:
                continue
            if node.saved is None:
                raise _released(node, node in self.roots)
            if self.suspicious:
                _refuse_changed(node)
            if create_graph:
                STATE.place = node.place.backward()
                self.propagate(node, g, *_lifted(node))
                STATE.place = here
            else:
                self.propagate(node, g, node.saved, node.out)
            if self.release:
                node.saved = node.out = None

    def propagate(self, node: Node, g: Any, saved: Any, out: Any) -> None:
        """Send the gradient of one node's output on to its parents."""
        op, settings, parents, useful, arrivals = node.op, node.settings, node.parents, self.useful, self.arrivals
        if not op.flowing:
            self.propagate_jointly(node, g, saved, out)
            return
        for i, rule in op.flowing:
            p = parents[i]
            if p not in useful:
                continue
            if op is ops.slice_:
                arrivals.add_part(p, g, settings["index"])  # type: ignore[index]
                continue
            dx = rule(g, out, *saved, **settings) if settings else rule(g, out, *saved)
            if dx.shape != p.shape:
                dx = sum_to(dx, p.shape)
            arrivals.add(p, dx)
            if self.watch is not None:
                self.watch(p, op, (), np.asarray(dx))

    def propagate_jointly(self, node: Node, g: Any, saved: Any, out: Any) -> None:
        """The same for ops whose gradients come from one call, and for the outputs of ops that have several."""
        op, parents, settings = node.op, node.parents, node.settings or {}
        if op is PICK:
            # The outputs' gradients wait as one list at the node they were picked from.
            waiting = self.arrivals.sums.setdefault(parents[0], [None] * len(parents[0].shape))
            waiting[settings["i"]] = g
            return
        if op is CHECKPOINT:
            self.replay(node, g, saved)
            return
        wanted = tuple(p in self.useful for p in parents)
        gs = g if isinstance(g, list) else [g]
        for p, want, dx in zip(parents, wanted, op.joint(wanted, gs, out, *saved, **settings), strict=True):  # type: ignore[misc]
            if want and dx is not None:
                self.arrivals.add(p, dx if dx.shape == p.shape else sum_to(dx, p.shape))
                if self.watch is not None:
                    self.watch(p, op, (), np.asarray(dx))

    def replay(self, node: Node, gs: list[Any], saved: Any) -> None:
        """Record a checkpointed segment again on the nodes it hung on, and walk it as if it had been there.

        Its gradients meet those of the rest in the same order as without a checkpoint: the sums are bit-equal.
        """
        settings = node.settings or {}
        count, start = settings["inputs"], next_index()
        inputs = [x if isinstance(x, Tensor) else at_node(x, p) for x, p in zip(saved, node.parents, strict=True)][:count]
        with recording(True), At(node.place), replayed(settings["before"]):
            value = settings["fn"](*inputs)
        outs = value if isinstance(value, tuple) else (value,)
        roots = [o.node for o in outs if o.mode & WANTS]
        inside = [n for n in reachable(roots, wanting=True, since=start) if is_inside(n, start)]
        for n in inside:
            if any(p in self.useful for p in n.parents):
                self.useful.add(n)
        for o, g in zip(outs, gs, strict=True):
            if g is not None and o.node in self.useful:
                self.arrivals.add(o.node, g)
        self.visit([n for n in inside if n in self.useful])


def _leading_to(roots: Sequence[AnyNode], ends: set[AnyNode] | None) -> list[AnyNode]:
    """The nodes between the roots and the ends (any leaf that wants a gradient), oldest first."""
    if ends is None:
        return reachable([r for r in roots if r.wants], wanting=True)
    useful: set[AnyNode] = set()
    order = []
    for node in reachable(roots):
        if node in ends or any(p in useful for p in node.parents):
            useful.add(node)
            order.append(node)
    return order


def _lifted(node: Node) -> tuple[tuple[Any, ...], Any]:
    """The saved arrays as Tensors that hang on the tape where they hung before."""
    saved = tuple(
        at_node(value, p) if isinstance(value, np.ndarray) else value
        for value, p in zip(node.saved or (), node.parents, strict=True)
    )
    return saved, at_node(node.out, node) if isinstance(node.out, np.ndarray) else node.out


def at_node(array: Any, node: AnyNode) -> Tensor:
    """A tensor of this value that hangs at this node."""
    return wrap(array, node, WANTS if node.wants else 0)


def _hooked(node: AnyNode, g: Any, create_graph: bool) -> Any:
    for hook in list(node.hooks or []):
        changed = hook(g if create_graph else wrap(np.array(g)))
        if changed is not None:
            if changed.shape != node.shape:
                rule = f"expected shape {describe_shape(node.shape)}."
                raise ShapeError(explain("hook: it returned another shape", {"gradient": changed}, rule))
            g = changed if create_graph else changed.array
    return g


def _released(node: Node, is_root: bool) -> GraphError:
    here = f"{node.op.name} {node.place}".rstrip()
    if is_root:
        return GraphError(
            explain(
                "backward: this graph was walked before and its memory released",
                {"output": node.op.name + " " + describe_shape(node.shape)},
                "expected one backward() per forward pass.",
                "Compute the value again, or keep the graph with backward(retain_graph=True).",
            )
        )
    return GraphError(
        explain(
            "backward: the walk reached a graph that an earlier backward() released",
            {"first released": Carried(node, here)},
            "a value carried over from there, such as a recurrent state, still hangs on it.",
            "Cut a carried state between windows: state = detach(state). For two losses on one graph, pass "
            "retain_graph=True to the first backward().",
        )
    )


class Carried:
    """A node as an error text shows it: dtype, shape, and where it was made."""

    def __init__(self, node: Node, here: str):
        self.shape, self.dtype, self.origin = node.shape, node.dtype, f"from {here}"


def _refuse_changed(node: Node) -> None:
    for kept in (*(node.saved or ()), node.out):
        if changed_since(kept, node.index):
            raise GraphError(
                explain(
                    f"backward: a value that the gradient of {node.op.name} reads was changed in place",
                    {"value": kept, "read by": Carried(node, f"{node.op.name} {node.place}".rstrip())},
                    "expected the value to be what it was in the forward pass.",
                    "Make a new tensor (y = x + 1) instead of writing into x, or call backward() first.",
                )
            )
