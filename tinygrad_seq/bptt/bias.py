"""The bias of truncation: the truncated gradient beside the full one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.bptt.partial import one, refuse_parts
from tinygrad_seq.bptt.summary import Reading, counted
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.partial_backward import Route, node_of
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.runtime.arrays import Array


@dataclass(frozen=True, repr=False)
class TruncationBias(Reading):
    """For each `k2`: the cosine between truncated and full gradient, and the truncated one's norm over the full's."""

    chart: ClassVar[str] = "bias"

    k2: Array
    cosine: Array
    ratio: Array

    @property
    def words(self) -> str:
        """One line."""
        said = [
            f"a gradient of {counted(int(k))} points {c:.3g} along the full one and is {r:.3g} as long"
            for k, c, r in zip(self.k2, self.cosine, self.ratio, strict=True)
        ]
        return "; ".join(said)


def truncation_bias(
    losses: Sequence[Tensor],
    states: Sequence[Any],
    parameters: Tensor | Sequence[Tensor],
    k2: int | Sequence[int],
    *,
    k1: int = 1,
) -> TruncationBias:
    """How far truncated gradients are off, on one tape of the whole sequence; the graph is kept.

        cosine = (a . b) / (|a| |b|),   ratio = |a| / |b|,   a truncated, b full, over all parameters together

    `losses[t]` is the loss of step t and `states[t]` the state after it. The truncated gradient is what
    `TruncatedBPTT(k1, k2)` sums up to without updates in between; by default every loss looks back k2 steps exactly.
    Raises ShapeError where losses and states differ in number, ArgumentError for k2 < k1 or k1 < 1.
    """
    if len(losses) == 0 or len(losses) != len(states):
        rule = f"expected one of each for every step, got {len(losses)} and {len(states)}."
        raise ShapeError("truncation_bias: losses and states differ in number", None, rule)
    spans = [int(k2)] if isinstance(k2, (int, np.integer)) else list(k2)
    if k1 < 1 or not spans or min(spans) < k1:
        rule = f"expected 1 <= k1 <= k2, got k1 = {k1}, k2 = {k2}."
        raise ArgumentError("truncation_bias: windows out of range", None, rule)
    refuse_parts("truncation_bias", [[node_of(t) for t in leaves(s)] for s in states])
    params = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not params:
        rule = "expected at least one."
        raise ArgumentError("truncation_bias: no parameters", {"parameters": parameters}, rule)
    whole = _gradient(losses, params, [])
    norm = np.linalg.norm(whole)
    rows = []
    for span in spans:
        total = np.zeros_like(whole)
        for start in range(0, len(losses), k1):
            before = start - (span - k1) - 1
            behind = leaves(states[before]) if before >= 0 else []
            total += _gradient(losses[start : start + k1], params, behind)
        length = np.linalg.norm(total)
        both = length * norm
        rows.append((total @ whole / both if both else np.nan, length / norm if norm else np.nan))
    cosine, ratio = np.array(rows, np.float64).T
    return TruncationBias(np.array(spans), cosine, ratio)


def _gradient(losses: Sequence[Tensor], params: Sequence[Tensor], closed: Sequence[Tensor]) -> Array:
    ends = [node_of(p) for p in params]
    route = Route([node_of(loss) for loss in losses], ends, {node_of(t) for t in closed})
    found = route.pull([one(loss) for loss in losses])
    pieces = [found.get(e, np.zeros(p.shape)) for e, p in zip(ends, params, strict=True)]
    return np.concatenate([np.asarray(g, np.float64).ravel() for g in pieces])


answer(globals(), "truncation_bias")
