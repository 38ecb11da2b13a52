"""The trial of a kernel before its first use: its results on random numbers beside those of the composition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.node import STATE, recording
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.fuser.trace import lines_noted
from tinygrad_seq.runtime.arrays import Array


def drawn(specs: Sequence[tuple[Any, Any, Any]]) -> list[Array]:
    """Random numbers in place of floats; integers are unchanged."""
    rng = np.random.default_rng(0)
    return [
        np.asarray(rng.uniform(0.1, 0.9, shape), dtype) if whole is None else whole
        for shape, dtype, whole in specs
    ]


def alike(mine: Array, theirs: Array) -> bool:
    """True where two results are equal up to rounding."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype or mine.dtype.kind != "f":
        return False
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0))
    return bool(np.allclose(mine, theirs, rtol=0, atol=1e-4 * scale, equal_nan=True))


def tried(fn: Callable[..., Any], arrays: Sequence[Any], settings: Mapping[str, Any]) -> list[Any]:
    """The results of a composition for these arrays. Raises TraceError for an op that no kernel can hold."""
    with recording(False), lines_noted(fn), np.errstate(all="ignore"):
        value = fn(*[wrap(a) for a in arrays], **settings)
    return [o.array for o in (value if isinstance(value, tuple) else (value,)) if isinstance(o, Tensor)]


def slopes(
    fn: Callable[..., Any],
    settings: Mapping[str, Any],
    arrays: Sequence[Any],
    seeds: Sequence[Any],
    wanted: Sequence[bool],
) -> list[Any]:
    """The gradients of the composition at the wanted inputs, None at the others."""
    before, STATE.composed = STATE.composed, True
    try:
        with recording(True), np.errstate(all="ignore"):
            inputs = [wrap(a).requires_grad_(bool(w)) for a, w in zip(arrays, wanted, strict=True)]
            value = fn(*inputs, **settings)
            outputs = value if isinstance(value, tuple) else (value,)
            pairs = [(o, g) for o, g in zip(outputs, seeds, strict=False) if g is not None and o.mode & WANTS]
            learnt = [x for x, w in zip(inputs, wanted, strict=True) if w]
            if not pairs:
                return [None] * len(inputs)
            found = iter(grad([o for o, _ in pairs], learnt, [wrap(g) for _, g in pairs]))
    finally:
        STATE.composed = before
    return [next(found).array if w else None for w in wanted]
