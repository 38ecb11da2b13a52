"""RNNCell, LSTMCell and GRUCell, with PyTorch's names: the formula of one step, its shapes and its kernels.

Between its matrix products a step is one kernel forward and one backward. `xw` is the input's part, W_ih x with the
biases; `hu` the state's part, W_hh h.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import choice, flag
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.names import role
from tinygrad_seq.engine.tensor import Tensor, concat, wrap
from tinygrad_seq.fuser.decorator import fused
from tinygrad_seq.nn.module import Parameter
from tinygrad_seq.nn.rnn.base_cell import EPS, Cell, Fixed, State, product
from tinygrad_seq.nn.rnn.weights import Shapes, checked_projection


# ---- RNN -------------------------------------------------------------------------------------------------
@fused
def rnn_tanh(xw: Tensor, hu: Tensor) -> Tensor:
    """tanh(xw + hu)."""
    return role("h", (xw + hu).tanh())


@fused
def rnn_relu(xw: Tensor, hu: Tensor) -> Tensor:
    """relu(xw + hu)."""
    return role("h", F.relu(xw + hu))


@fused
def rnn_sigmoid(xw: Tensor, hu: Tensor) -> Tensor:
    """sigmoid(xw + hu)."""
    return role("h", F.sigmoid(xw + hu))


def rnn_identity(xw: Tensor, hu: Tensor) -> Tensor:
    """xw + hu."""
    return role("h", xw + hu)


NONLINEARITIES = {"tanh": rnn_tanh, "relu": rnn_relu, "sigmoid": rnn_sigmoid, "identity": rnn_identity}


class RNNCell(Cell):
    """One step of an RNN: h = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu, sigmoid or identity.

    >>> from tinygrad_seq import zeros
    >>> RNNCell(3, 4)(zeros(2, 3)).shape
    (2, 4)
    """

    gates = "h"
    settings = ("nonlinearity",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        layer_norm: bool = False,
        **settings: Any,
    ):
        choice("RNNCell: no such nonlinearity", "nonlinearity", nonlinearity, tuple(NONLINEARITIES))
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, layer_norm=layer_norm, **settings)

    def _own_shapes(self) -> Shapes:
        return {}

    def _input_bias(self) -> Tensor:
        return self.bias_ih + self.bias_hh

    def _fixed(self, mask: Tensor | None = None, traced: bool = False) -> Fixed:
        """As in `Cell`."""
        act = NONLINEARITIES[self.nonlinearity]
        return Fixed(self.weight_hh.T, self.gain_hh if self.layer_norm else None, mask, traced, (act,))

    def _step(self, fixed: Fixed, xw: Tensor, state: State) -> Any:
        """h (B, H) from xw (B, H): h = tanh(xw + W_hh h)."""
        u, gain, mask, _, (act,) = fixed
        h = act(xw, product(state[0], u, gain, mask))
        return self._stepped(fixed, (h,), state)


# ---- LSTM ------------------------------------------------------------------------------------------------
def _lstm(
    xw: Tensor, hu: Tensor, c: Tensor, peephole: Tensor | None = None, norm_c: tuple[Tensor, ...] = ()
) -> tuple[Tensor, ...]:
    i, f, g, o = (xw + hu).chunk(4, -1)
    if peephole is not None:
        by_i, by_f, by_o = peephole.chunk(3, -1)
        i, f = i + by_i * c, f + by_f * c
    f = role("f", F.sigmoid(f))
    kept = f * c
    i = role("i", F.sigmoid(i))
    g = role("C\u0303", g.tanh())
    c = role("C", kept + i * g)
    if peephole is not None:
        o = o + by_o * c
    o = role("o", F.sigmoid(o))
    shown = c
    if norm_c:
        centered = c - c.mean(-1, keepdims=True)
        shown = centered / ((centered * centered).mean(-1, keepdims=True) + EPS).sqrt() * norm_c[0]
        shown = shown + norm_c[1] if len(norm_c) > 1 else shown
    return role("h", o * shown.tanh()), c, i, f, g, o


@fused
def lstm_gates(xw: Tensor, hu: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """The new h and c (B, H) of an LSTM, from xw and hu (B, 4H) and the cell c (B, H).

    i, f, g, o = chunk(xw + hu, 4);  c = sigmoid(f) c + sigmoid(i) tanh(g);  h = sigmoid(o) tanh(c)
    """
    return _lstm(xw, hu, c)[:2]


@fused
def lstm_variant(
    xw: Tensor, hu: Tensor, c: Tensor, *more: Tensor, peepholes: bool = False, traced: bool = False
) -> tuple[Tensor, ...]:
    """`lstm_gates` with peepholes, with a normalised cell, or with all gates: h, c, i, f, g, o.

    `more` holds the peephole weights (3H,) of i, f and o where there are any, then the gain (H,) and the shift
    (H,) of the normalised cell, if it is normalised.
    """
    out = _lstm(xw, hu, c, more[0] if peepholes else None, more[1:] if peepholes else more)
    return out if traced else out[:2]


class LSTMCell(Cell):
    """One step of an LSTM: (h, c) from x and (h, c), by the formula of `LSTM`; `proj_size` as there.

    >>> from tinygrad_seq import zeros
    >>> h, c = LSTMCell(3, 4)(zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = "ifgo"
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    settings = ("proj_size", "peepholes")

    weight_hr: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        proj_size: int = 0,
        layer_norm: bool = False,
        peepholes: bool = False,
        **settings: Any,
    ):
        self.proj_size = checked_projection("LSTMCell", proj_size, hidden_size)
        self.peepholes = flag("LSTMCell", "peepholes", peepholes)
        super().__init__(input_size, hidden_size, bias, layer_norm=layer_norm, **settings)

    def _own_shapes(self) -> Shapes:
        width = self.hidden_size
        shapes: Shapes = {"weight_hr": (self.proj_size, width)} if self.proj_size else {}
        if self.peepholes:
            shapes["peephole"] = (3 * width,)
        if self.layer_norm:
            shapes |= {"gain_c": (width,), **({"shift_c": (width,)} if self.bias else {})}
        return shapes

    def _input_bias(self) -> Tensor:
        return self.bias_ih + self.bias_hh

    def _fixed(self, mask: Tensor | None = None, traced: bool = False) -> Fixed:
        """As in `Cell`."""
        u, gain = self.weight_hh.T, self.gain_hh if self.layer_norm else None
        project = self.weight_hr.T if self.proj_size else None
        more = [getattr(self, name) for name in ("peephole", "gain_c", "shift_c") if name in vars(self)]
        return Fixed(u, gain, mask, traced, (project, more))

    def _step(self, fixed: Fixed, xw: Tensor, state: State) -> Any:
        """h (B, P) and c (B, H) from xw (B, 4H).

        i, f, g, o = chunk(xw + W_hh h, 4);  c = sigmoid(f) c + sigmoid(i) tanh(g);  h = sigmoid(o) tanh(c)
        """
        u, gain, mask, traced, (project, more) = fixed
        h, c = state
        hu = product(h, u, gain, mask)
        if more or traced:
            h, c, *gates = lstm_variant(xw, hu, c, *more, peepholes=self.peepholes, traced=traced)
        else:
            h, c, *gates = lstm_gates(xw, hu, c)
        if project is not None:
            h = role("h", h @ project)
        return self._stepped(fixed, (h, c), state, *gates)


# ---- GRU -------------------------------------------------------------------------------------------------
def _gru(xw: Tensor, hu: Tensor, h: Tensor, *bias: Tensor) -> tuple[Tensor, ...]:
    xr, xz, xn = xw.chunk(3, -1)
    hr, hz, hn = hu.chunk(3, -1)
    r, z = role("r", F.sigmoid(xr + hr)), role("z", F.sigmoid(xz + hz))
    n = role("h\u0303", (xn + r * (hn + bias[0] if bias else hn)).tanh())
    return role("h", (1.0 - z) * n + z * h), r, z, n


@fused
def gru_gates(xw: Tensor, hu: Tensor, h: Tensor, *bias: Tensor) -> Tensor:
    """The new h (B, H) of a GRU that resets after the product, from xw and hu (B, 3H), h (B, H) and b_hn (H,).

    r, z = sigmoid(xw + hu);  n = tanh(xw + r (hu + b_hn));  h = (1 - z) n + z h
    """
    return _gru(xw, hu, h, *bias)[0]


@fused
def gru_traced(xw: Tensor, hu: Tensor, h: Tensor, *bias: Tensor) -> tuple[Tensor, ...]:
    """`gru_gates` with its gates: h, r, z, n."""
    return _gru(xw, hu, h, *bias)


@fused
def gru_reset(xw: Tensor, hu: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """r h, r and z (B, H) of a GRU that resets before the product, from xw (B, 3H), hu (B, 2H) and h (B, H)."""
    xr, xz, _ = xw.chunk(3, -1)
    hr, hz = hu.chunk(2, -1)
    r = role("r", F.sigmoid(xr + hr))
    return r * h, r, role("z", F.sigmoid(xz + hz))


@fused
def gru_mix(xw: Tensor, nu: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The new h and n (B, H) of a GRU that resets before the product: n = tanh(xw + nu), h = (1 - z) n + z h."""
    _, _, xn = xw.chunk(3, -1)
    n = role("h\u0303", (xn + nu).tanh())
    return role("h", (1.0 - z) * n + z * h), n


class GRUCell(Cell):
    """One step of a GRU, by the formula of `GRU`; `reset_after` as there.

    >>> from tinygrad_seq import zeros
    >>> GRUCell(3, 4)(zeros(2, 3)).shape
    (2, 4)
    """

    gates = "rzn"
    settings = ("reset_after",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        **settings: Any,
    ):
        self.reset_after = flag("GRUCell", "reset_after", reset_after)
        super().__init__(input_size, hidden_size, bias, layer_norm=layer_norm, **settings)

    def _own_shapes(self) -> Shapes:
        return {}

    def _input_bias(self) -> Tensor:
        if not self.reset_after:
            return self.bias_ih + self.bias_hh
        # b_hn stands inside r (...), so it cannot go with the others.
        two, none = 2 * self.hidden_size, wrap(np.zeros(self.hidden_size, self.bias_hh.dtype))
        return self.bias_ih + concat([self.bias_hh[:two], none])

    def _fixed(self, mask: Tensor | None = None, traced: bool = False) -> Fixed:
        """As in `Cell`."""
        gain, two = self.gain_hh if self.layer_norm else None, 2 * self.hidden_size
        if self.reset_after:
            u = self.weight_hh.T
            return Fixed(u, gain, mask, traced, (self.bias_hh[two:],) if self.bias else ())
        gates, new = self.weight_hh[:two], self.weight_hh[two:]
        gains = (None, None) if gain is None else (gain[:two], gain[two:])
        return Fixed(gates.T, gains[0], mask, traced, (new.T, gains[1]))

    def _step(self, fixed: Fixed, xw: Tensor, state: State) -> Any:
        """h (B, H) from xw (B, 3H).

        r, z = sigmoid(xw + W_hh h);  n = tanh(xw + r (W_hn h + b_hn)), or tanh(xw + W_hn (r h));  h = (1 - z) n + z h
        """
        u, gain, mask, traced, own = fixed
        (h,) = state
        if self.reset_after:
            hu = product(h, u, gain, mask)
            h, *gates = gru_traced(xw, hu, h, *own) if traced else (gru_gates(xw, hu, h, *own),)
        else:
            seen = h if mask is None else h * mask
            reset, r, z = gru_reset(xw, product(seen, u, gain), seen)
            h, n = gru_mix(xw, product(reset, *own), z, h)
            gates = [r, z, n]
        return self._stepped(fixed, (h,), state, *gates)


answer(globals(), "RNNCell", "LSTMCell", "GRUCell")
