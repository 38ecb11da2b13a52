"""The product of Jacobians between two states, and the two paths through an LSTM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq.bptt.partial import Apart, one, refuse_parts, refuse_side_branches
from tinygrad_seq.bptt.reaching import norm_of
from tinygrad_seq.bptt.summary import Reading, counted
from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.partial_backward import Independent, Route, node_of
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ArgumentError, GraphError, RangeError, ShapeError
from tinygrad_seq.runtime.arrays import Array

# Above this many numbers in a state its Jacobian is no longer written out.
LARGEST_WRITTEN_OUT = 64
MOST_ROUNDS = 500


@dataclass(frozen=True, repr=False)
class JacobianProduct(Reading):
    """Singular values of d h_t / d h_k, largest first, as natural logarithms: products of many steps underflow.

    `log_largest[j]` is the logarithm of the largest singular value of d h_t / d h_(t-j), j = 0 .. t - k, where the
    product was written out; else of the whole alone. `lag` is t - k.
    """

    chart: ClassVar[str] = "spectra"

    log_values: Array
    log_largest: Array
    lag: int

    @property
    def values(self) -> Array:
        """The singular values."""
        return np.asarray(np.exp(self.log_values))

    @property
    def rate(self) -> float:
        """The factor a step by which the largest changed: its (t - k)-th root."""
        return math.exp(self.log_values[0] / self.lag) if self.lag else 1.0

    @property
    def words(self) -> str:
        """One line."""
        if np.isneginf(self.log_values[0]):
            return f"nothing passes through {counted(self.lag)}"
        smallest = f"; the smallest is {self.values[-1]:.3g}" if len(self.log_values) > 1 else ""
        largest = self.values[0]
        said = f"over {counted(self.lag)} the largest singular value is {largest:.3g}, {self.rate:.3g} a step"
        return said + smallest


def jacobian_product(
    states: Sequence[Any],
    k: int,
    t: int,
    *,
    method: str = "auto",
    count: int | None = None,
    row: int | None = None,
) -> JacobianProduct:
    """The singular values of d h_t / d h_k, on the tape that the states hang on; the graph is kept.

        d h_t / d h_k = (d h_t / d h_(t-1)) ... (d h_(k+1) / d h_k)

    `states[j]` is h_j: a tensor or a tree of tensors, (h, c), whose leaves are concatenated and taken as
    independent. `method` is "product" (every Jacobian written out, N backward passes a step for a state of N
    numbers), "power" (the `count` largest, default 1, by orthogonal iteration with products J v and J^T u: for
    large N), or "auto": product up to N = 64. `row` picks one row of the first axis, a sequence of the batch: rows
    do not depend on each other. Values below about 1e-15 of the largest are rounding. Raises RangeError for states
    that are not there, k > t, GraphError for states without gradient. (Pascanu, Mikolov and Bengio, 2013.)

    >>> import tinygrad_seq as tgs
    >>> w, h = tgs.tensor([[0.5, 0.0], [0.0, 2.0]]), tgs.ones(1, 2, requires_grad=True)
    >>> states = [h]
    >>> for _ in range(2):
    ...     states.append(states[-1] @ w)
    >>> tgs.bptt.jacobian_product(states, 0, 2).values.tolist()
    [4.0, 0.25]
    """
    if not 0 <= k <= t < len(states):
        rule = f"expected 0 <= k <= t < {len(states)}, got k = {k}, t = {t}."
        raise RangeError("jacobian_product: no such states", None, rule)
    if count is not None and count < 1:
        raise ArgumentError("jacobian_product: count out of range", {"count": count}, "expected at least 1.")
    if method not in ("auto", "product", "power"):
        rule = f"expected 'auto', 'product' or 'power', got {method!r}."
        raise ArgumentError("jacobian_product: unknown method", None, rule)
    flat = [_Flat(s, row) for s in states[k : t + 1]]
    size = flat[0].size
    if k == t:
        return JacobianProduct(np.zeros(size), np.zeros(1), 0)
    nodes = [[node_of(x) for x in f.tensors] for f in flat]
    refuse_side_branches("jacobian_product", nodes[-1], nodes[0])
    if method == "power" or (method == "auto" and size > LARGEST_WRITTEN_OUT):
        logs = _by_power(flat[0], flat[-1], min(count or 1, size))
        return JacobianProduct(logs, logs[:1], t - k)
    refuse_parts("jacobian_product", nodes)
    product, scale, largest = np.eye(flat[-1].size), 0.0, [0.0]
    for later, earlier in zip(flat[:0:-1], flat[-2::-1], strict=True):
        product = product @ _written_out(earlier, later)
        # Scaled to about 1; the logarithm of the scale is kept separately.
        peak = float(np.abs(product).max(initial=0.0))
        if peak > 0 and math.isfinite(peak):
            product, scale = product / peak, scale + math.log(peak)
        largest.append(_logs(product, scale)[0])
    logs = _logs(product, scale)
    return JacobianProduct(logs[:count], np.array(largest), t - k)


def _logs(matrix: Array, scale: float) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.linalg.svd(matrix, compute_uv=False)) + scale)


class _Flat:
    """A state's parts end to end as one vector, or those of one row of them."""

    def __init__(self, state: Any, row: int | None):
        self.tensors, self.row = leaves(state), row
        for x in self.tensors:
            if not x.mode & WANTS:
                rule = (
                    "expected states that depend on a tensor with requires_grad=True, the first one included."
                )
                raise GraphError("jacobian_product: no gradient flows to this state", {"state": x}, rule)
            if row is not None and not (x.ndim and -x.shape[0] <= row < x.shape[0]):
                raise RangeError("jacobian_product: no such row", {"state": x, "row": row})
        self.nodes = [node_of(x) for x in self.tensors]
        self.size = sum(x.array[self.index].size for x in self.tensors)

    @property
    def index(self) -> Any:
        return ... if self.row is None else self.row

    def laid(self, vector: Array) -> list[Array]:
        """The vector as arrays of the parts' shapes, zeros in other rows."""
        found, start = [], 0
        for x in self.tensors:
            whole = np.zeros(x.shape, x.dtype)
            part = whole[self.index]
            whole[self.index] = vector[start : start + part.size].reshape(part.shape)
            start += part.size
            found.append(whole)
        return found

    def joined(self, arrays: Sequence[Any]) -> Array:
        """The arrays of the parts as one vector, float64; None is zeros."""
        pieces = [
            np.zeros(x.shape)[self.index] if a is None else a[self.index]
            for x, a in zip(self.tensors, arrays, strict=True)
        ]
        return np.concatenate([np.asarray(p, np.float64).ravel() for p in pieces])


def _written_out(earlier: _Flat, later: _Flat) -> Array:
    apart = Apart(later.nodes, earlier.nodes)
    rows = [earlier.joined(apart.pull(later.laid(unit))) for unit in np.eye(later.size)]
    return np.array(rows).reshape(later.size, earlier.size)


def _by_power(earlier: _Flat, later: _Flat, count: int) -> Array:
    """The logarithms of the largest singular values, by orthogonal iteration on J^T J."""
    apart = Apart(later.nodes, earlier.nodes)
    # u -> u^T J is linear in u: its derivative along v is J v. Recorded once, one backward pass for each v.
    dummies = [wrap(np.zeros(x.shape, x.dtype)).requires_grad_() for x in later.tensors]
    pulled = apart.pull(dummies, create_graph=True)
    live = [i for i, g in enumerate(pulled) if g is not None and g.mode & WANTS]
    ends = [node_of(d) for d in dummies]
    onward = Route([node_of(pulled[i]) for i in live], ends)

    def push(v: Array) -> Array:
        seeds = earlier.laid(v)
        found = onward.pull([seeds[i] for i in live])
        return later.joined([found.get(e) for e in ends])

    # Almost any start will do; a fixed seed, so that calls give equal results.
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((earlier.size, count)))[0]
    values = np.zeros(count)
    for _ in range(MOST_ROUNDS):
        image = np.stack([push(v) for v in basis.T], axis=1)
        before, values = values, np.linalg.svd(image, compute_uv=False)
        if np.all(np.abs(values - before) <= 1e-13 * values[0]):
            break
        image /= values[0]  # too small for the orthogonalisation otherwise
        turned = np.linalg.qr(image)[0]
        back = np.stack([earlier.joined(apart.pull(later.laid(u))) for u in turned.T], axis=1)
        basis = np.linalg.qr(back / max(np.abs(back).max(), np.finfo(np.float64).tiny))[0]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))


@dataclass(frozen=True, repr=False)
class LSTMPaths(Reading):
    """The gradient at each cell state but the last: the part along the path through the forget gates, and the rest.

    `direct[s]` and `rest[s]` have the shape of c_s and sum to d loss / d c_s with h_s held fixed; `forget[s]` are the
    gates between c_s and c_(s+1).
    """

    chart: ClassVar[str] = "paths"

    direct: Array
    rest: Array
    forget: Array

    @property
    def norms(self) -> Array:
        """(T, 3): the norms of the direct part, of the rest, and of their sum."""
        rows = zip(self.direct, self.rest, strict=True)
        return np.array([[norm_of([d]), norm_of([r]), norm_of([d + r])] for d, r in rows])

    @property
    def words(self) -> str:
        """One line."""
        direct, rest, _ = self.norms[0]
        straight = f"{counted(len(self.direct))} back {direct:.3g} arrives straight through the forget gates"
        return f"{straight} and {rest:.3g} by other ways; the gates are {self.forget.mean():.2g} on average"


def lstm_paths(loss: Tensor, states: Sequence[tuple[Tensor, Tensor]]) -> LSTMPaths:
    """The direct path through an LSTM's forget gates against all others; the graph is kept.

        direct_s = (d loss / d c_(T-1)) f_(T-1) ... f_(s+1),   rest_s = d loss / d c_s - direct_s

    `states[s]` is (h_s, c_s) after step s, up to the last, T, which the loss looks at: c_(T-1) reaches it by f_T
    alone. All derivatives at c_s hold h_s fixed. The gates are read off the tape: f_(s+1) is d c_(s+1) / d c_s, which
    with peepholes or zoneout holds what these add to the forget gate's own way.
    The rest is what takes the way round by h, and what comes from losses before T. (Hochreiter and Schmidhuber,
    1997; Gers et al., 2000.) Raises ShapeError for less than two states, and states that are not pairs.
    """
    pairs = [leaves(s) for s in states]
    if len(pairs) < 2 or any(len(p) != 2 for p in pairs):
        rule = "expected a pair (h, c) for each of at least two steps."
        raise ShapeError("lstm_paths: not the states of an LSTM", None, rule)
    nodes = [[node_of(h), node_of(c)] for h, c in pairs]
    total = Route([node_of(loss)], {n for pair in nodes for n in pair}).pull([one(loss)])
    found = Independent(nodes).of(total)
    gates, totals = [], []
    for (_, c), earlier, (_, later), root in zip(pairs, nodes, pairs[1:], nodes[1:], strict=False):
        _, gate = Apart(root[1:], earlier).pull([np.ones(later.shape, later.dtype)])
        zeros = np.zeros(c.shape, c.dtype)
        gates.append(zeros if gate is None else np.array(gate))
        totals.append(np.array(found.get(earlier[1], zeros)))
    direct = [totals[-1]]
    for gate in reversed(gates[:-1]):
        direct.append(direct[-1] * gate)
    straight = np.array(direct[::-1])
    return LSTMPaths(straight, np.array(totals) - straight, np.array(gates))


answer(globals(), "jacobian_product", "lstm_paths")
