"""`checkpoint`: a segment of the tape that is not kept, but recorded again when the backward pass reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_seq.engine.apply import WANTS, Recorded, leaf, picked
from tinygrad_seq.engine.backward import BackwardPass, at_node
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.inplace import alias
from tinygrad_seq.engine.messages import refuse_assigned
from tinygrad_seq.engine.node import STATE, At, Leaf, Node, new_node, next_index, recording
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.random import drawn_again, noted
from tinygrad_seq.engine.tensor import as_tensor
from tinygrad_seq.engine.traversal import AnyNode, is_inside, reachable
from tinygrad_seq.errors import DTypeError

__all__ = ["checkpoint"]


def checkpoint(fn: Callable[..., Any], *inputs: Any) -> Any:
    """`fn(*inputs)` without saving the values inside; the backward pass runs `fn` again to compute them.

    One more forward pass saves memory: T steps in segments of sqrt(T) need memory of order sqrt(T). Gradients
    are bit-equal to those without it. Tensors that `fn` closes over (parameters) get theirs too. `fn` must
    compute the same again: its random draws, of whatever generator, are repeated; more draws or fewer, and a
    parameter that took a new value before the backward pass, are a GraphError.
    """
    tensors = [as_tensor(x) for x in inputs]
    start = next_index()
    with noted() as words:
        value = fn(*map(alias, tensors))  # because fn may write x += y
    outs = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(o, Recorded) for o in outs):
        rule = "expected a function that returns a tensor or a tuple of tensors."
        raise DTypeError("checkpoint: the function gave no tensor", {"result": value}, rule)
    if not any(o.mode & WANTS for o in outs):
        return value
    # The parents of the segment: its inputs, and all other older nodes or leaves that `fn` used.
    inside = reachable([o.node for o in outs if o.node], since=start)
    given = [t.node or leaf(t) for t in tensors]
    outside = [n for n in inside if n.wants and not is_inside(n, start) and n not in given]
    parents = (*given, *outside)
    saved = (*(t.array for t in tensors), *(_value(n) for n in outside))
    settings = {"fn": fn, "inputs": len(tensors), "words": words}
    node = new_node(CHECKPOINT, parents, settings, saved, None, STATE.place, (), outs[0].dtype, True)
    picks = picked(node, tuple(o.array for o in outs), WANTS)
    results = tuple(p if o.mode & WANTS else o.detach() for p, o in zip(picks, outs, strict=True))
    return results if isinstance(value, tuple) else results[0]


def _value(node: AnyNode) -> Any:
    """The value that a second run would read at this node, which `fn` closes over: a leaf's array may have been
    replaced.
    """
    tensor = node.tensor() if isinstance(node, Leaf) else None
    return node if tensor is None else tensor.array


def _replay(run: BackwardPass, node: Node, g: Any, saved: Any, out: Any) -> None:
    """Record the segment again on the nodes it hung on, and go back through it as if it had been there.

    Its gradients meet those of the rest in the same order as without it: the sums are bit-equal.
    """
    settings = node.settings or {}
    count, start = settings["inputs"], next_index()
    refuse_assigned(node)
    pairs = zip(saved[:count], node.parents[:count], strict=True)
    inputs = [x if isinstance(x, Recorded) else at_node(x, p) for x, p in pairs]
    with recording(True), At(node.place), drawn_again(settings["words"]):
        value = settings["fn"](*inputs)
    outs = value if isinstance(value, tuple) else (value,)
    roots = [o.node for o in outs if o.mode & WANTS]
    inside = [n for n in reachable(roots, wanting=True, since=start) if is_inside(n, start)]
    for n in inside:
        if any(p in run.useful for p in n.parents):
            run.useful.add(n)
    for o, dx in zip(outs, g, strict=True):
        if dx is not None and o.node in run.useful:
            run.pending.add(o.node, dx)
    run.through([n for n in inside if n in run.useful])


CHECKPOINT = Op("checkpoint", lambda *_: None, "call", propagate=_replay)

answer(globals())
