"""RNNCell, LSTMCell and GRUCell: one step of a recurrence, with PyTorch's names; `unroll` runs them over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_seq.arguments import choice, flag, size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor
from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.nn.module import Module
from tinygrad_seq.nn.rnn.gates import RNN_STEPS
from tinygrad_seq.nn.rnn.recurrences import Elman, Gated, LongShort, Recurrence, Weights
from tinygrad_seq.nn.rnn.state import given_state, zero_state
from tinygrad_seq.nn.rnn.unrolling import Step
from tinygrad_seq.nn.rnn.weights import checked_start, starting_weights, zone_of


class Cell(Module):
    """What the three cells have in common: `cell(x, state)` is the state after one step.

    x (B, I), or (I,) for a single row; each state (B, H), or (H,); None is zeros. `zoneout`, `layer_norm`,
    `init`, `rng` and `dropout_rng` are those of the layers (`Recurrent`).
    """

    def __init__(
        self,
        kind: Recurrence,
        input_size: int,
        *,
        zoneout: float | tuple[float, ...] = 0.0,
        init: str = "torch",
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Generator | None = None,
        dropout_rng: Generator | None = None,
    ):
        call = type(self).__name__
        self.kind = kind
        self.input_size = size(call, "input_size", input_size)
        self.hidden_size = size(call, "hidden_size", kind.hidden_size)
        self.bias = flag(call, "bias", kind.bias)
        flag(call, "layer_norm", kind.layer_norm)
        self.zone = zone_of(call, zoneout, kind.states)
        self.dropout_rng = dropout_rng
        checked_start(call, kind, init, forget_bias)
        if not kind.bias:
            self.bias_ih = self.bias_hh = None
        for name, weight in starting_weights(call, kind, input_size, init, forget_bias, dtype, rng).items():
            setattr(self, name, weight)

    def _weights(self) -> Weights:
        return {name: getattr(self, name) for name in self.kind.shapes(1)}

    def _step(self, traced: bool = False) -> Step:
        return self.kind.step(
            self._weights(), zone=self.zone, training=self.training, rng=self.dropout_rng, traced=traced
        )

    def init_state(self, rows: int, dtype: Any = None) -> Any:
        """The zero state of `rows` rows, in the dtype of the weights if none is given."""
        like = as_tensor(getattr(self, "weight_hh"))  # noqa: B009
        zeros = zero_state(like if dtype is None else like.to(dtype), (rows,), self.kind)
        return self._shown(zeros)

    def _shown(self, state: tuple[Tensor, ...]) -> Any:
        return state if len(state) > 1 else state[0]

    def _started(self, x: Tensor, state: Any, rows: tuple[int, ...]) -> tuple[Tensor, ...]:
        if state is None:
            return zero_state(x, rows, self.kind)
        return given_state(type(self).__name__, x, state, self.kind, rows, self.kind.states)

    def forward(self, x: Any, state: Any = None) -> Any:
        """The state after the step: h, or (h, c) for the LSTM."""
        x = input_tensor(type(self).__name__, x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            rule = f"expected (B, {self.input_size}) or ({self.input_size},)."
            raise ShapeError(f"{type(self).__name__}: the input does not fit", {"input": x}, rule)
        start = self._started(x, state, x.shape[:-1])
        if x.ndim == 1:
            x, start = x.unsqueeze(0), tuple([s.unsqueeze(0) for s in start])
            _, last = self._step()(self.kind.project(self._weights(), x), start)
            return self._shown(tuple([s.squeeze(0) for s in last]))
        _, last = self._step()(self.kind.project(self._weights(), x), start)
        return self._shown(last)

    def prepare(
        self, xs: Tensor, state: Any, traced: bool
    ) -> tuple[Tensor, Step, tuple[Tensor, ...], Callable[[tuple[Tensor, ...]], Any]]:
        """What `unroll` runs: the input product of all steps (T, B, G H), the step, its state, and the way back."""
        if xs.ndim != 3 or xs.shape[-1] != self.input_size:
            rule = f"expected (T, B, {self.input_size})."
            raise ShapeError(f"{type(self).__name__}: the input does not fit", {"xs": xs}, rule)
        start = self._started(xs[0], state, xs.shape[1:2])
        if self._hooked:
            if traced:
                rule = "expected a cell without forward hooks; unroll's step_hook= does not stand in the way."
                raise ArgumentError("unroll: return_trace beside the cell's hooks", None, rule)
            return xs, self._called, start, self._shown
        return self.kind.project(self._weights(), xs), self._step(traced), start, self._shown

    def _called(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step of `unroll` by way of the cell's hooks."""
        new = self(x, self._shown(state))
        new = new if isinstance(new, tuple) else (new,)
        return new[0], new

    def describe(self) -> str:
        """Sizes."""
        settings: list[tuple[str, Any, Any]] = [
            ("bias", self.bias, True),
            ("nonlinearity", getattr(self.kind, "nonlinearity", "tanh"), "tanh"),
            ("reset_after", getattr(self.kind, "reset_after", True), True),
            ("zoneout", self.zone, ()),
            ("layer_norm", self.kind.layer_norm, False),
            ("peepholes", getattr(self.kind, "peepholes", False), False),
        ]
        extras = "".join(f", {name}={value}" for name, value, usual in settings if value != usual)
        return f"{self.input_size}, {self.hidden_size}{extras}"


class RNNCell(Cell):
    """One step of an RNN: h = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu, sigmoid or identity.

    >>> from tinygrad_seq import zeros
    >>> RNNCell(3, 4)(zeros(2, 3)).shape
    (2, 4)
    """

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
        choice("RNNCell: no such nonlinearity", "nonlinearity", nonlinearity, tuple(RNN_STEPS))
        super().__init__(Elman(hidden_size, bias, layer_norm, nonlinearity), input_size, **settings)


class LSTMCell(Cell):
    """One step of an LSTM: (h, c) from x and (h, c), by the formula of `LSTM`.

    >>> from tinygrad_seq import zeros
    >>> h, c = LSTMCell(3, 4)(zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        layer_norm: bool = False,
        peepholes: bool = False,
        **settings: Any,
    ):
        flag("LSTMCell", "peepholes", peepholes)
        kind = LongShort(hidden_size, bias, layer_norm, peepholes=peepholes)
        super().__init__(kind, input_size, **settings)


class GRUCell(Cell):
    """One step of a GRU, by the formula of `GRU`; `reset_after` as there.

    >>> from tinygrad_seq import zeros
    >>> GRUCell(3, 4)(zeros(2, 3)).shape
    (2, 4)
    """

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
        kind = Gated(hidden_size, bias, layer_norm, flag("GRUCell", "reset_after", reset_after))
        super().__init__(kind, input_size, **settings)


answer(globals())
