"""How the gradient of an op's result reaches its inputs: four ways, one of which is a property of each op.

Each is `way(run, node, g, saved, out)`: `run` is the backward pass, `g` the whole gradient of the node's result,
`saved` and `out` what the node has kept of its inputs and its result. On arrays it is maths on arrays, on Tensors it
is recorded: nothing here knows which.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def by_rules(run: Any, node: Any, g: Any, saved: Any, out: Any) -> None:
    """Rule i turns g into the gradient of input i."""
    parents, settings, useful, pending = node.parents, node.settings, run.useful, run.pending
    for i, rule in node.op.active:
        p = parents[i]
        if p not in useful:
            continue
        dx = rule(g, out, *saved, **settings) if settings else rule(g, out, *saved)
        dx = pending.add(p, dx)  # as `_send` does
        if run.watch is not None:
            run.watch.sent(node, p, g, dx)


def _send(run: Any, node: Any, p: Any, g: Any, dx: Any, owned: bool = False) -> None:
    dx = run.pending.add(p, dx, owned)
    if run.watch is not None:
        run.watch.sent(node, p, g, dx)


def jointly(run: Any, node: Any, g: Any, saved: Any, out: Any) -> None:
    """One call gives the gradients of all inputs; `g` is a list for an op with several outputs."""
    op, gs = node.op, g if isinstance(g, list) else [g]
    wanted = tuple([p in run.useful for p in node.parents])
    if run.create_graph and op.traced_vjp is not None:
        found = op.traced_vjp(node, wanted, gs)
    else:
        found = op.joint_vjp(wanted, gs, out, *saved, **(node.settings or {}))
    owned = op.owned and not run.create_graph and _are_apart(found)
    for p, want, dx in zip(node.parents, wanted, found, strict=True):
        if want and dx is not None:
            _send(run, node, p, g, dx, owned)


def _are_apart(found: Any) -> bool:
    """Whether no two of these arrays share memory, as those of two inputs may (x + y)."""
    memory = [id(dx if dx.base is None else dx.base) for dx in found if isinstance(dx, np.ndarray)]
    return len(set(memory)) == len(memory)


def to_part(run: Any, node: Any, g: Any, saved: Any, out: Any) -> None:
    """g is the gradient of a part of the input: no array of the input's size is made for each part."""
    p = node.parents[0]
    if p in run.useful:
        if run.watch is not None:
            run.watch.sent(node, p, g, g)
        run.pending.add_slice(p, g, node.settings[node.op.part])


def by_products(run: Any, node: Any, g: Any, saved: Any, out: Any) -> None:
    """As by rules; but the gradient of input 1, x^T g, waits: those of many time steps are then one product."""
    x, (px, pw) = saved[0], node.parents
    if run.create_graph or pw not in run.useful or not x.ndim == g.ndim == 2 == len(pw.shape):
        by_rules(run, node, g, saved, out)
        return
    (_, rule_x), (_, rule_w) = node.op.active
    if px in run.useful:
        _send(run, node, px, g, rule_x(g, out, *saved))
    if run.watch is not None:
        run.watch.sent(node, pw, g, rule_w(g, out, *saved))  # only to be looked at
    run.pending.add_product(pw, x, g)
