"""Layers with a loop over time. The loop leaves its tape behind, so BPTT is nothing extra."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.errors import ShapeError, describe_shape, explain
from tinygrad_seq.fusing import fused
from tinygrad_seq.nn.basic import probability, size, uniform_parameter
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nodes import collector_paused, scope, time_step
from tinygrad_seq.random import Generator
from tinygrad_seq.recording import as_tensor, wrap
from tinygrad_seq.shapes import stack
from tinygrad_seq.tensor import Tensor

State = tuple[Tensor, Tensor]


def unroll(step: Callable[[Tensor, Any], tuple[Tensor, Any]], xs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Run `out, state = step(xs[t], state)` for t = 0 .. T - 1; all outs stacked (T, ...) and the last state.

    Ops made in step t carry t as their time mark.
    """
    outs = []
    with collector_paused():
        for t in range(xs.shape[0]):
            with time_step(t):
                out, state = step(xs[t], state)
            outs.append(out)
    return stack(outs), state


def detach(state: Any) -> Any:
    """The same state (a tensor, or tuples of them) off the tape: later losses do not reach behind it."""
    if isinstance(state, Tensor):
        return state.detach()
    return type(state)(detach(s) for s in state)


@fused
def lstm_gates(xw: Tensor, hu: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The pointwise part of an LSTM's step: from xw + hu (B, 4H) and the cell c (B, H) the new h and c (B, H)."""
    i, f, g, o = (xw + hu).chunk(4, -1)
    c = F.sigmoid(f) * c + F.sigmoid(i) * g.tanh()
    return F.sigmoid(o) * c.tanh(), c


class LSTM(Module):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).

        i, f, g, o = chunk(W_ih x + b_ih + W_hh h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)

    With T steps, B sequences, I inputs, H units, L layers: input (T, B, I), or (B, T, I) where `batch_first`,
    or (T, I); output (T, B, H) likewise; the state is (h, c), each (L, B, H), or (L, H) for unbatched input.
    Parameters bear PyTorch's names and gate order, and are drawn from U(-k, k), k = 1 / sqrt(H).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        dtype: Any = None,
        rng: Generator | None = None,
    ):
        self.input_size = size("LSTM", "input_size", input_size)
        self.hidden_size = size("LSTM", "hidden_size", hidden_size)
        self.num_layers = size("LSTM", "num_layers", num_layers)
        self.dropout = probability("LSTM", "dropout", dropout)
        self.bias, self.batch_first = bias, batch_first
        bound = 1.0 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size
            for name, shape in (
                ("weight_ih", (4 * hidden_size, inputs)),
                ("weight_hh", (4 * hidden_size, hidden_size)),
                *((("bias_ih", (4 * hidden_size,)), ("bias_hh", (4 * hidden_size,))) if bias else ()),
            ):
                setattr(self, f"{name}_l{layer}", uniform_parameter(bound, shape, dtype, rng))

    def forward(self, x: Any, state: State | None = None) -> tuple[Tensor, State]:
        """All outputs of the last layer, and the state (h, c) after the last step."""
        x = as_tensor(x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            rule = f"expected (T, B, {self.input_size}) or (T, {self.input_size})."
            if self.batch_first:
                rule = f"expected (B, T, {self.input_size}) or (T, {self.input_size})."
            raise ShapeError(explain("LSTM: the input does not fit", {"input": x}, rule))
        batched = x.ndim == 3
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        if x.shape[0] == 0:
            raise ShapeError(explain("LSTM: no time steps", {"input": x}, "expected at least one."))
        h_0, c_0 = self._first_state(x, state, batched)
        hs, cs = [], []
        for layer in range(self.num_layers):
            with scope(f"layer{layer}"):
                x, (h, c) = self._run_layer(layer, x, (h_0[layer], c_0[layer]))
                if layer < self.num_layers - 1:
                    x = F.dropout(x, self.dropout, self.training)
            hs.append(h)
            cs.append(c)
        last = stack(hs), stack(cs)
        if not batched:
            return x.squeeze(1), (last[0].squeeze(1), last[1].squeeze(1))
        return x.transpose(0, 1) if self.batch_first else x, last

    def _first_state(self, x: Tensor, state: State | None, batched: bool) -> State:
        shape = (self.num_layers, x.shape[1], self.hidden_size)
        if state is None:
            # A real zero state, so that the first step runs the same code as all others.
            zero = wrap(np.zeros(shape, x.dtype if x.dtype.kind == "f" else np.float32))
            return zero, zero
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            rule = "expected a pair (h_0, c_0)."
            raise ShapeError(explain("LSTM: the state does not fit", {"state": state}, rule))
        given = tuple(as_tensor(s) for s in state)
        expected = shape if batched else (shape[0], shape[2])
        for name, s in zip(("h_0", "c_0"), given, strict=True):
            if s.shape != expected:
                rule = f"expected {describe_shape(expected)}."
                raise ShapeError(explain(f"LSTM: {name} does not fit", {"input": x, name: s}, rule))
        return given if batched else tuple(s.unsqueeze(1) for s in given)  # type: ignore[return-value]

    def _run_layer(self, layer: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_ih, weight_hh = (getattr(self, f"weight_{name}_l{layer}") for name in ("ih", "hh"))
        xw = x @ weight_ih.T
        if self.bias:
            xw = xw + (getattr(self, f"bias_ih_l{layer}") + getattr(self, f"bias_hh_l{layer}"))
        recurrent = weight_hh.T

        def step(xw_t: Tensor, state: State) -> tuple[Tensor, State]:
            h, c = lstm_gates(xw_t, state[0] @ recurrent, state[1])
            return h, (h, c)

        return unroll(step, xw, state)

    def describe(self) -> str:
        """Sizes."""
        extras = "".join(
            f", {name}={getattr(self, name)}"
            for name, usual in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0))
            if getattr(self, name) != usual
        )
        return f"{self.input_size}, {self.hidden_size}{extras}"
