"""The three recurrences, each with its parameters, the product taken for all steps at once, and its step.

Layers and cells hold one of these; it holds no numbers itself. A step maps (xw_t, state) to the next state,
always a tuple, and to (state, gates) where it is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.engine.names import role
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, concat, wrap
from tinygrad_seq.nn.rnn import gates as maths
from tinygrad_seq.nn.rnn.unrolling import Step, zoneout

Weights = dict[str, Tensor]
Advance = Callable[[Tensor, Any], Any]
SYMBOLS = {"h": "h", "c": "C"}  # as pictures write the states


@dataclass(frozen=True)
class Recurrence:
    """What the three have in common. `gates` blocks of H rows in each weight; `states` names what is carried."""

    hidden_size: int
    bias: bool = True
    layer_norm: bool = False

    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The width of each state; the first is that of the output."""
        return (self.hidden_size,)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Each parameter's shape, in PyTorch's order; those that PyTorch does not have stand last."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self.sizes[0]),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        shapes |= self._more_shapes()
        if self.layer_norm:
            shapes |= {"gain_ih": (rows,), "gain_hh": (rows,)}
        return shapes

    def _more_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def project(self, w: Weights, x: Tensor) -> Tensor:
        """What the inputs bring to the steps, W_ih x + biases, for x (..., I): (..., G H)."""
        xw = x @ w["weight_ih"].T
        if self.layer_norm:
            xw = F.layer_norm(xw, xw.shape[-1], w["gain_ih"], eps=maths.EPS)
        return xw + self._input_bias(w) if self.bias else xw

    def _input_bias(self, w: Weights) -> Tensor:
        return w["bias_ih"] + w["bias_hh"]

    def advance(self, w: Weights, mask: Tensor | None = None, traced: bool = False) -> Advance:
        """The step as a function; the state meets `mask` (B, H) on its way into the recurrent product."""
        raise NotImplementedError

    def step(
        self,
        w: Weights,
        *,
        mask: Tensor | None = None,
        zone: tuple[float, ...] = (),
        training: bool = False,
        rng: Generator | None = None,
        traced: bool = False,
    ) -> Step:
        """`advance` as `unroll` wants it: (out, state), or (out, state, gates and states) where traced.

        `zone` has a probability of zoneout for each state, or nothing.
        """
        advance = self.advance(w, mask, traced)

        def zoned(new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            parts = zip(self.states, new, old, zone, strict=True)
            return tuple([role(SYMBOLS[s], zoneout(n, o, p, training, rng)) for s, n, o, p in parts])

        def plain(xw: Tensor, state: Any) -> Any:
            new = advance(xw, state)
            new = zoned(new, state) if zone else new
            return new[0], new

        def shown(xw: Tensor, state: Any) -> Any:
            new, parts = advance(xw, state)
            new = zoned(new, state) if zone else new
            return new[0], new, {**parts, **dict(zip(self.states, new, strict=True))}

        return shown if traced else plain

    def _product(
        self, weight: Tensor, gain: Tensor | None, mask: Tensor | None
    ) -> Callable[[Tensor], Tensor]:
        """h -> W h, of a dropped-out h and with the product normalised, where that is wanted."""
        u = weight.T
        if gain is None and mask is None:
            return lambda h: h @ u

        def product(h: Tensor) -> Tensor:
            hu = (h if mask is None else h * mask) @ u
            return hu if gain is None else F.layer_norm(hu, hu.shape[-1], gain, eps=maths.EPS)

        return product


@dataclass(frozen=True)
class Elman(Recurrence):
    """h = nonlinearity(W_ih x + b_ih + W_hh h + b_hh)."""

    nonlinearity: str = "tanh"

    def advance(self, w: Weights, mask: Tensor | None = None, traced: bool = False) -> Advance:
        """As in `Recurrence`."""
        product, act = (
            self._product(w["weight_hh"], w.get("gain_hh"), mask),
            maths.RNN_STEPS[self.nonlinearity],
        )
        if traced:
            return lambda xw, state: ((act(xw, product(state[0])),), {})
        return lambda xw, state: (act(xw, product(state[0])),)


@dataclass(frozen=True)
class LongShort(Recurrence):
    """The LSTM: gates i, f, g, o; states h and c; with `proj_size`, h = W_hr (o tanh(c))."""

    proj_size: int = 0
    peepholes: bool = False

    gates: ClassVar[int] = 4
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The width of h and of c."""
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def _more_shapes(self) -> dict[str, tuple[int, ...]]:
        size = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_hr": (self.proj_size, size)} if self.proj_size else {}
        if self.peepholes:
            shapes["peephole"] = (3 * size,)
        if self.layer_norm:
            shapes |= {"gain_c": (size,), **({"shift_c": (size,)} if self.bias else {})}
        return shapes

    def advance(self, w: Weights, mask: Tensor | None = None, traced: bool = False) -> Advance:
        """As in `Recurrence`."""
        product = self._product(w["weight_hh"], w.get("gain_hh"), mask)
        project = w["weight_hr"].T if self.proj_size else None
        more = [w[name] for name in ("peephole", "gain_c", "shift_c") if name in w]
        if not (more or traced):
            if project is None:
                return lambda xw, state: maths.lstm_gates(xw, product(state[0]), state[1])

            def narrowed(xw: Tensor, state: Any) -> Any:
                h, c = maths.lstm_gates(xw, product(state[0]), state[1])
                return role("h", h @ project), c

            return narrowed

        def step(xw: Tensor, state: Any) -> Any:
            h, c, *parts = maths.lstm_variant(
                xw, product(state[0]), state[1], *more, peepholes=self.peepholes, traced=traced
            )
            new = (h if project is None else role("h", h @ project)), c
            return (new, dict(zip("ifgo", parts, strict=True))) if traced else new

        return step


@dataclass(frozen=True)
class Gated(Recurrence):
    """The GRU: gates r, z, n; h = (1 - z) n + z h; the reset gate acts after or before the recurrent product."""

    reset_after: bool = True

    gates: ClassVar[int] = 3

    def _input_bias(self, w: Weights) -> Tensor:
        if not self.reset_after:
            return w["bias_ih"] + w["bias_hh"]
        # b_hn stands inside r (...), so it cannot go with the others.
        two, none = 2 * self.hidden_size, wrap(np.zeros(self.hidden_size, w["bias_hh"].dtype))
        return w["bias_ih"] + concat([w["bias_hh"][:two], none])

    def advance(self, w: Weights, mask: Tensor | None = None, traced: bool = False) -> Advance:
        """As in `Recurrence`."""
        if not self.reset_after:
            return self._reset_before(w, mask, traced)
        product = self._product(w["weight_hh"], w.get("gain_hh"), mask)
        bias = (w["bias_hh"][2 * self.hidden_size :],) if self.bias else ()
        if not traced:
            return lambda xw, state: (maths.gru_gates(xw, product(state[0]), state[0], *bias),)

        def step(xw: Tensor, state: Any) -> Any:
            h, *parts = maths.gru_traced(xw, product(state[0]), state[0], *bias)
            return (h,), dict(zip("rzn", parts, strict=True))

        return step

    def _reset_before(self, w: Weights, mask: Tensor | None, traced: bool) -> Advance:
        two, gain = 2 * self.hidden_size, w.get("gain_hh")
        u, v = w["weight_hh"][:two], w["weight_hh"][two:]
        by_gates = self._product(u, None if gain is None else gain[:two], None)
        by_new = self._product(v, None if gain is None else gain[two:], None)

        def step(xw: Tensor, state: Any) -> Any:
            h = state[0]
            seen = h if mask is None else h * mask
            reset, r, z = maths.gru_reset(xw, by_gates(seen), seen)
            new, n = maths.gru_mix(xw, by_new(reset), z, h)
            return ((new,), {"r": r, "z": z, "n": n}) if traced else (new,)

        return step
