"""`backward()`: the gradients of one tensor, added to the `.grad` of the leaves; hooks on gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS, as_tensor, leaf, wrap
from tinygrad_seq.engine.backward import run_backward
from tinygrad_seq.engine.handles import Hooks, RemovableHandle
from tinygrad_seq.engine.traversal import AnyNode
from tinygrad_seq.errors import GraphError, ShapeError, describe_shape
from tinygrad_seq.runtime.weakrefs import Held


def cotangent(call: str, output: Any, gradient: Any) -> Any:
    """The cotangent of `output`, with which a backward pass starts: 1 for a number."""
    if gradient is None:
        if output.size != 1:
            raise GraphError(
                f"{call}: only one number has a gradient by itself",
                {"output": output},
                f"expected 1 element, got {output.size}.",
                "Reduce it first, for example .sum() or .mean(), or pass the gradient of a loss to it.",
            )
        return wrap(np.ones(output.shape, output.dtype))
    seed: Any = as_tensor(gradient, output)
    if seed.shape != output.shape:
        named, rule = {"output": output, "gradient": seed}, f"expected shape {describe_shape(output.shape)}."
        raise ShapeError(f"{call}: the gradient's shape is not the output's", named, rule)
    return seed if seed.dtype == output.dtype else seed.to(output.dtype)


def backward(self: Any, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add d self / d leaf to the `.grad` of every leaf that requires one.

    `gradient` is d loss / d self; needed unless `self` has one element. The graph is released on the way
    unless `retain_graph`; with `create_graph` the gradients are on the tape themselves.
    Raises GraphError where nothing requires a gradient or the graph was released before.
    """
    if not self.mode & WANTS:
        raise GraphError(
            "backward: nothing here wants a gradient",
            {"output": self},
            "expected an output made from tensors with requires_grad=True, outside no_grad().",
        )
    seed = cotangent("backward", self, gradient)
    found, mine = run_backward(
        [self], [seed], None, create_graph=create_graph, release=not (retain_graph or create_graph)
    )
    for node, g in found.items():
        target = node.tensor() if node.op is None else None
        if target is None:
            continue
        if not create_graph:
            g = wrap(own(node, g, mine))
        target._grad = g if target._grad is None else target._grad + g


def own(node: AnyNode, g: Any, mine: set[AnyNode]) -> Any:
    """A gradient as an array without another owner: two leaves may have got the same one (x + y), or a view."""
    if node in mine and g.flags.owndata:
        mine.discard(node)  # the next request gets a copy
        return g
    return np.array(g)


def retain_grad(self: Any) -> None:
    """Keep the gradient of this intermediate tensor in `.grad`, as leaves do anyway."""
    here = Held(self)  # a tensor referenced by its own tape would be freed late

    def keep(g: Any) -> None:
        kept = here()
        if kept is not None:
            kept.grad = g if kept.grad is None else kept.grad + g

    if not (self.is_leaf and self.mode & WANTS):
        _hooks(self)["retain_grad"] = keep


def register_hook(self: Any, hook: Callable[[Any], Any]) -> RemovableHandle:
    """Call `hook(gradient)` when the gradient here is complete; what it returns replaces it, unless None.

    Returns a handle whose `remove()` takes the hook away again.
    """
    return _hooks(self).register("register_hook", hook)


def _hooks(self: Any) -> Hooks:
    if not self.mode & WANTS:
        rule = "expected a tensor with requires_grad=True, or made from one."
        raise GraphError("register_hook: no gradient flows here", {"x": self}, rule)
    node = self.node or leaf(self)
    node.hooks = Hooks() if node.hooks is None else node.hooks
    return node.hooks
