"""`backward()`: the gradients of one tensor, added to what the leaves have."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS, as_tensor, wrap
from tinygrad_seq.engine.backward import AnyNode, walk
from tinygrad_seq.errors import GraphError, ShapeError, describe_shape


def cotangent(call: str, output: Any, gradient: Any) -> Any:
    """What a walk starts with: the gradient of a loss to `output`, which is 1 for a number."""
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


def backward(output: Any, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """What `Tensor.backward` does."""
    if not output.mode & WANTS:
        raise GraphError(
            "backward: nothing here wants a gradient",
            {"output": output},
            "expected an output made from tensors with requires_grad=True, outside no_grad().",
        )
    seed = cotangent("backward", output, gradient)
    found, mine = walk(
        [output], [seed], None, create_graph=create_graph, release=not (retain_graph or create_graph)
    )
    for node, g in found.items():
        target = node.tensor() if node.op is None else None
        if target is None:
            continue
        if not create_graph:
            g = wrap(own(node, g, mine))
        target._grad = g if target._grad is None else target._grad + g


def own(node: AnyNode, g: Any, mine: set[AnyNode]) -> Any:
    """A gradient as an array that nobody else has: two leaves may have been handed one (x + y), or a view."""
    if node in mine and g.flags.owndata:
        mine.discard(node)  # whoever asks for it again gets a copy
        return g
    return np.array(g)
