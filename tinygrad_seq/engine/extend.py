"""The doorway for a primitive of your own: its value in NumPy, and a rule for the gradient of each input.

>>> import numpy as np
>>> import tinygrad_seq as tgs
>>> cube = new_op("cube", lambda x: x * x * x, lambda g, out, x: g * 3.0 * x * x)
>>> x = tgs.tensor([2.0], requires_grad=True)
>>> cube(x).backward()
>>> x.grad.item()
12.0
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tinygrad_seq.engine.op import Op, Rule
from tinygrad_seq.errors import ArgumentError


def new_op(name: str, forward: Callable[..., Any], *rules: Rule | None) -> Op:
    """An op that is called with tensors, arrays or numbers, is recorded, and has derivatives of any order.

    `forward(*arrays, **settings)` returns an array of its own and changes none. The gradient at input i is
    `rules[i](g, out, *inputs, **settings)`, of the shape that broadcasting gives; None where none flows. A rule gets
    arrays, and tensors where its own gradient is wanted: write it with operators and NumPy's functions, which take
    both. No kernel holds such an op: a function marked `fused` refuses it, but inside `composed()`.
    Raises ArgumentError where there is not a rule, or None, for each input.
    """
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    inputs = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in positional]
    if len(rules) != len(inputs):
        given = {"inputs": ", ".join(inputs), "rules": len(rules)}
        expected = "expected a rule for each input, or None where no gradient flows."
        raise ArgumentError(f"new_op: {name!r} has not as many rules as inputs", given, expected)
    reads = (*range(len(inputs)), -1)
    return Op(name, forward, "call", rules, tuple(reads if rule else () for rule in rules), fusible=False)
