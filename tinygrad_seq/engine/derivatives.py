"""Derivatives of any order: `grad value_and_grad vjp jvp jacobian hvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS, leaf
from tinygrad_seq.engine.backward import run_backward
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.leaf_gradients import cotangent, own
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.tensor import Tensor, as_tensor, wrap
from tinygrad_seq.errors import ArgumentError, GraphError, ShapeError

__all__ = ["grad", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """The gradient of the sum of outputs . grad_outputs at each of `inputs`, without touching any `.grad`.

    Returns one tensor for one input, a tuple for several; zeros where an output does not depend on an input.
    With `create_graph` the results are on the tape and can be differentiated again.

    >>> import tinygrad_seq as tgs
    >>> x = tgs.tensor(3.0, requires_grad=True)
    >>> (slope,) = tgs.grad(x**3, [x], create_graph=True)
    >>> slope.item(), tgs.grad(slope, x).item()
    (27.0, 18.0)
    """
    if callable(outputs) or not isinstance(outputs, (Tensor, list, tuple)):
        rule = "expected the tensors that a function has given, as in torch.autograd.grad."
        hint = "For the gradient of a function itself: value_and_grad(f)(x)."
        raise ArgumentError("grad: outputs are no tensors", {"outputs": outputs}, rule, hint)
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = list(grad_outputs) if isinstance(grad_outputs, (list, tuple)) else [grad_outputs] * len(outs)
    if len(given) != len(outs):
        rule = f"expected {len(outs)} gradients, one for each output, got {len(given)}."
        raise ShapeError("grad: outputs and grad_outputs differ in number", None, rule)
    for x in ins:
        if not x.mode & WANTS:
            rule = "expected inputs with requires_grad=True."
            raise GraphError("grad: an input does not want a gradient", {"input": x}, rule)
    seeds = [cotangent("grad", o, g) for o, g in zip(outs, given, strict=True)]
    keep = create_graph if retain_graph is None else retain_graph
    found, mine = run_backward(outs, seeds, ins, create_graph=create_graph, release=not keep)
    results = []
    for x in ins:
        node = x.node or leaf(x)
        g = found.get(node)
        if g is None:
            g = np.zeros(x.shape, x.dtype)
        elif not isinstance(g, Tensor):
            g = own(node, g, mine)
        results.append(g if isinstance(g, Tensor) else wrap(g))
    return results[0] if isinstance(inputs, Tensor) else tuple(results)


def _leaves(inputs: Sequence[Any]) -> list[Tensor]:
    """Leaves that require gradients; an input that requires one itself stays on its tape.

    A tensor given twice becomes two: each argument has a gradient of its own.
    """
    tensors = [as_tensor(x) for x in inputs]
    with recording(True):
        return [
            t.detach().requires_grad_()
            if not t.mode & WANTS
            else t.reshape(t.shape)
            if sum(t is other for other in tensors) > 1
            else t
            for t in tensors
        ]


def _single(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise GraphError("the function must return one tensor", {"returned": outputs})
    return outputs


def value_and_grad(fn: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that returns `fn(*args)` and its gradients with respect to the arguments `argnums`."""
    wholes = isinstance(argnums, (list, tuple)) and all(isinstance(i, int) for i in argnums)
    if not callable(fn) or isinstance(argnums, bool) or not (isinstance(argnums, int) or wholes):
        rule = "expected a function, and the numbers of the arguments that gradients are for."
        hint = "It returns a function: value, gradient = value_and_grad(f)(x)."
        raise ArgumentError("value_and_grad: called with values", {"argnums": argnums}, rule, hint)
    places = [argnums] if isinstance(argnums, int) else list(argnums)

    def both(*args: Any, **settings: Any) -> tuple[Tensor, Any]:
        full = list(args)
        for i, t in zip(places, _leaves([args[i] for i in places]), strict=True):
            full[i] = t
        with recording(True):
            value = _single(fn(*full, **settings))
        gradients = grad(value, [full[i] for i in places])
        return value.detach(), gradients[0] if isinstance(argnums, int) else gradients

    return both


def vjp(fn: Function, *inputs: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """`fn(*inputs)` and the function that maps v, a gradient of the value, to v^T J for each input."""
    leaves = _leaves(inputs)
    with recording(True):
        value = _single(fn(*leaves))

    def pull(v: Any) -> tuple[Tensor, ...]:
        return grad(value, leaves, [v], retain_graph=True)  # type: ignore[no-any-return]

    return value.detach(), pull


def jvp(fn: Function, inputs: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """`fn(*inputs)` and J v: how the value changes as the inputs move along the tangents.

    J v is the derivative of u -> u^T J, which is linear in u, along v: two backward passes, no forward rules.
    """
    xs, vs = (list(inputs), list(tangents)) if isinstance(inputs, (list, tuple)) else ([inputs], [tangents])
    leaves = _leaves(xs)
    with recording(True):
        value = _single(fn(*leaves))
    if not value.mode & WANTS:
        return value.detach(), wrap(np.zeros(value.shape, value.dtype))
    dummy = wrap(np.zeros(value.shape, value.dtype)).requires_grad_()
    pulled = grad(value, leaves, [dummy], create_graph=True)
    live = [(p, as_tensor(v, x)) for p, v, x in zip(pulled, vs, leaves, strict=True) if p.mode & WANTS]
    if not live:
        return value.detach(), wrap(np.zeros(value.shape, value.dtype))
    pushed = grad([p for p, _ in live], dummy, [v for _, v in live])
    return value.detach(), pushed


def jacobian(fn: Function, inputs: Any) -> Any:
    """All d fn(x)[i] / d x[j] as one tensor of shape (*value, *x); a tuple of them for several inputs."""
    single = not isinstance(inputs, (list, tuple))
    leaves = _leaves([inputs] if single else inputs)
    with recording(True):
        value = _single(fn(*leaves))
    rows = np.zeros((value.size, *value.shape), value.dtype)
    rows.reshape(value.size, value.size)[np.diag_indices(value.size)] = 1
    if value.mode & WANTS:
        pulled = [grad(value, leaves, [wrap(row)], retain_graph=True) for row in rows]
    else:
        pulled = [tuple(wrap(np.zeros(x.shape, x.dtype)) for x in leaves) for _ in rows]
    stacked = tuple(
        wrap(np.array([p[i].array for p in pulled], dtype=x.dtype).reshape((*value.shape, *x.shape)))
        for i, x in enumerate(leaves)
    )
    return stacked[0] if single else stacked


def hvp(fn: Function, inputs: Any, v: Any) -> tuple[Tensor, Any]:
    """`fn(x)`, one number, and the product of its Hessian with `v`; tuples for several inputs."""
    single = not isinstance(inputs, (list, tuple))
    leaves = _leaves([inputs] if single else inputs)
    vs = [as_tensor(t, x) for t, x in zip([v] if single else v, leaves, strict=True)]
    with recording(True):
        value = _single(fn(*leaves))
        slopes = grad(value, leaves, create_graph=True)
        live = [(s, t) for s, t in zip(slopes, vs, strict=True) if s.mode & WANTS]
        products = (
            grad([s for s, _ in live], leaves, [t for _, t in live])
            if live
            else tuple(wrap(np.zeros(x.shape, x.dtype)) for x in leaves)
        )
    return value.detach(), products[0] if single else products


answer(globals())
