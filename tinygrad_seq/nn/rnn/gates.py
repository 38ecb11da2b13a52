"""What each recurrence does between its matrix products: one formula, one kernel forward and one backward.

`xw` is what the input brings to a step, W_ih x with the biases; `hu` what the state brings, W_hh h.
"""

from __future__ import annotations

from collections.abc import Callable

from tinygrad_seq import functional as F
from tinygrad_seq.engine.names import role
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.fuser.decorator import fused

EPS = 1e-5


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


RNN_STEPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tanh": rnn_tanh,
    "relu": rnn_relu,
    "sigmoid": rnn_sigmoid,
    "identity": rnn_identity,
}


# ---- LSTM ------------------------------------------------------------------------------------------------
def _lstm(
    xw: Tensor,
    hu: Tensor,
    c: Tensor,
    peephole: Tensor | None = None,
    norm_c: tuple[Tensor, ...] = (),
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
