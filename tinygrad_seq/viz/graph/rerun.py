"""A recorded program run again from its leaves: for graphs that `backward()` freed, and values that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS, record
from tinygrad_seq.engine.checkpointing import CHECKPOINT
from tinygrad_seq.engine.node import PICK, At, Leaf, Node, changed_since, recording
from tinygrad_seq.engine.partial_backward import node_of
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.engine.traversal import AnyNode, reachable
from tinygrad_seq.errors import GraphError

_HINT = "Draw before backward(), or call backward(retain_graph=True)."


def is_freed(outputs: Sequence[Tensor]) -> bool:
    """True where a backward pass has freed the values that this graph needs."""
    return any(
        isinstance(n, Node) and n.wants and n.saved is None for n in reachable([node_of(o) for o in outputs])
    )


def run_again(outputs: Sequence[Tensor]) -> tuple[list[Tensor], dict[AnyNode, Any]]:
    """The same outputs from ops recorded anew on the same leaves, and by old node its new value, a tuple for several.

    Raises GraphError where a leaf is gone or was changed since, where there is a checkpoint, or where the outputs
    have other values in the second run.
    """
    made: dict[AnyNode, Any] = {}
    roots = [node_of(o) for o in outputs]
    order = reachable(roots)
    kept = _kept_leaves(order)
    with recording(True), np.errstate(all="ignore"):
        for node in order:
            if isinstance(node, Leaf):
                made[node] = _leaf(node, kept)
            else:
                for p in node.parents:
                    if p not in made:
                        made[p] = _leaf(p, kept)
                    if isinstance(p, Leaf) and is_changed(p, made[p].array, node):
                        raise _impossible(f"{_called(p)} was changed since")
                made[node] = _op(node, made)
    for root in roots:
        if root not in made:
            made[root] = _leaf(root, kept)
    if not all(_agree(made[root].array, o.array) for root, o in zip(roots, outputs, strict=True)):
        raise _impossible("it comes to another value than before")
    return [made[root] for root in roots], made


def node_behind(value: Any) -> AnyNode:
    """The node of a result of `run_again`: that of the op itself where it has several outputs."""
    if isinstance(value, tuple):
        pick = node_of(value[0])
        return pick.parents[0] if pick.parents else pick
    return node_of(value)


def _op(node: Node, made: Mapping[AnyNode, Any]) -> Any:
    inputs = [made[p] for p in node.parents]
    if node.op is PICK:
        i = (node.settings or {})["i"]
        if not isinstance(inputs[0], tuple) or i >= len(inputs[0]):
            raise _impossible("it holds a recorded gradient")
        return inputs[0][i]
    if node.op is CHECKPOINT:
        raise _impossible("it holds a checkpoint")
    with At(node.place):
        if node.op.kind == "fused":
            again = node.op.joint_vjp.__self__.record(inputs, [t.array for t in inputs])  # type: ignore[union-attr]
            # One output may hang on the op by a pick, beside others that the gradient alone sees.
            return (again,) if isinstance(again, Tensor) and node_of(again).op is PICK else again
        return record(node.op, tuple(inputs), node.settings or {})


def _kept_leaves(order: Sequence[AnyNode]) -> dict[AnyNode, Any]:
    """The arrays of leaves that rules keep, though their tensors may be gone."""
    return {
        p: value
        for node in order
        for p, value in zip(node.parents, getattr(node, "saved", None) or (), strict=False)
        if isinstance(p, Leaf) and isinstance(value, np.ndarray)
    }


def _leaf(leaf: Any, kept: Mapping[AnyNode, Any]) -> Tensor:
    array = value_of(leaf)
    array = kept.get(leaf) if array is None else array
    if array is None:
        raise _impossible(f"{_called(leaf)} " + ("is gone" if leaf.tensor() is None else "was changed since"))
    return wrap(array, leaf, WANTS if leaf.wants else 0)


def value_of(leaf: Leaf) -> Any:
    """The array of a leaf, or None where it is gone."""
    tensor = leaf.tensor()
    if tensor is not None and tensor.node is leaf:
        return tensor.array
    if leaf.value is not None:
        return np.asarray(leaf.value, leaf.dtype)
    return leaf.data.array() if leaf.data is not None else None


def is_changed(leaf: Leaf, array: Any, reader: AnyNode) -> bool:
    """True where a leaf has another array, or other numbers in it, than when `reader` was recorded."""
    return leaf.value is None and (leaf.replaced > reader.index or changed_since(array, reader.index))


def _agree(found: Any, known: Any) -> bool:
    """True where a recomputed value is equal to the known one: a leaf may have been changed unnoticed."""
    if found.shape != known.shape or found.dtype != known.dtype:
        return False
    if known.dtype.kind != "f":
        return bool((found == known).all())
    same = (found == known) | (np.isnan(found) & np.isnan(known))
    a, b = (np.asarray(x[~same], np.float64) for x in (found, known))
    return bool(np.abs(a - b).sum() <= np.sqrt(np.finfo(known.dtype).eps) * np.abs(b).sum())


def _called(leaf: Leaf) -> str:
    return leaf.name or f"an input of shape {leaf.shape}"


def _impossible(why: str) -> GraphError:
    return GraphError(f"draw: the graph cannot be run again, for {why}", None, "", _HINT)
