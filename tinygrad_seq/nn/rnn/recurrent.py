"""RNN, LSTM and GRU: recurrences in several layers and both directions, with PyTorch's names and shapes."""

from __future__ import annotations

import warnings
from typing import Any

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import choice, flag, probability, size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import scope
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, concat
from tinygrad_seq.engine.tree import detach
from tinygrad_seq.errors import ArgumentError, explain
from tinygrad_seq.functional.layers import say_wide
from tinygrad_seq.nn.rnn.gates import RNN_STEPS, gru_gates, lstm_gates
from tinygrad_seq.nn.rnn.recurrences import Elman, Gated, LongShort, Recurrence
from tinygrad_seq.nn.rnn.state import first_state, last_state, time_first
from tinygrad_seq.nn.rnn.unrolling import Spans, Trace, after_hook, run, sequence_mask, unroll, zoneout
from tinygrad_seq.nn.rnn.weights import checked_start, starting_weights, zone_of
from tinygrad_seq.nn.step_hooks import SteppedModule

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Recurrent",
    "State",
    "detach",
    "gru_gates",
    "lstm_gates",
    "unroll",
    "zoneout",
]

State = tuple[Tensor, Tensor]


class Recurrent(SteppedModule):
    """What RNN, LSTM and GRU have in common; each of them says what runs in a step.

    With T steps, B sequences, I inputs, H units, L layers, D directions, and an output of P numbers a step and
    direction (H, or the LSTM's `proj_size`):

        input    (T, B, I), or (B, T, I) with `batch_first`, or (T, I) for a single sequence
        output   (T, B, D P), likewise; the forward direction first
        state    (D L, B, P), for c (D L, B, H); entry 2 k + d is layer k in direction d; (D L, P) for a single
                 sequence. `batch_first` does not touch it. None is zeros.

    Keyword settings beside PyTorch's:

        recurrent_dropout   p of a mask on h on its way into W_hh, one for the whole sequence, drawn anew for
                            each layer, direction and row (Gal and Ghahramani, 2016); while training
        zoneout             p with which each element of the state keeps its old value (Krueger et al., 2016);
                            the expectation where not training; for the LSTM also a pair, for h and c
        layer_norm          W_ih x and W_hh h each normalised over all their gates, times `gain_ih` and
                            `gain_hh`, as in the LSTM of Ba, Kiros and Hinton (2016)
        init                `torch`, `orthogonal` or `identity`, see `starting_weights`
        rng, dropout_rng    where weights and masks are drawn from; else the streams `init` and `dropout`

    `dropout` acts on the outputs of all layers but the last, afresh for each element and step.
    """

    def __init__(
        self,
        kind: Recurrence,
        input_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        *,
        recurrent_dropout: float = 0.0,
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
        self.hidden_size, self.bias = size(call, "hidden_size", kind.hidden_size), kind.bias
        self.num_layers = size(call, "num_layers", num_layers)
        self.dropout = probability(call, "dropout", dropout)
        self.batch_first = flag(call, "batch_first", batch_first)
        self.bidirectional = flag(call, "bidirectional", bidirectional)
        self.recurrent_dropout = probability(call, "recurrent_dropout", recurrent_dropout)
        self.zone = zone_of(call, zoneout, kind.states)
        self.dropout_rng = dropout_rng
        for name in ("bias", "layer_norm"):
            flag(call, name, getattr(kind, name))
        checked_start(call, kind, init, forget_bias)
        if dropout and num_layers == 1:
            rule = "expected num_layers of 2 or more, or dropout=0.0."
            text = explain(
                f"{call}: dropout acts between layers, and there is one", {"dropout": dropout}, rule
            )
            warnings.warn(text, UserWarning, stacklevel=3)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else kind.sizes[0] * self.directions
            for suffix in self._suffixes(layer):
                weights = starting_weights(call, kind, inputs, init, forget_bias, dtype, rng)
                for name, weight in weights.items():
                    setattr(self, name + suffix, weight)

    @property
    def directions(self) -> int:
        """2 where the sequence is also read from its end, else 1."""
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: self.directions]

    def forward(
        self, x: Any, state: Any = None, *, lengths: Any = None, return_trace: bool = False
    ) -> tuple[Any, ...]:
        """All outputs of the last layer, and the state after the last step.

        `lengths` (B,), in any order, 0 .. T, or one number for a single sequence: row b has the first lengths[b]
        steps only. What stands behind them is never read, not even NaN; the output is 0 there; the last state
        is the row's own, and its first state where it has no steps; the other direction begins at its own end.

        With `return_trace` also a dict of all gates and states of all steps, of `i_l0` or `h_l1_reverse`:
        (T, B, H) each, laid out as the output is, 0 behind a row's end. Gates are given as they act on the
        state, after their sigmoid or tanh.

        Raises ShapeError, DTypeError or ArgumentError for what does not fit.
        """
        call = type(self).__name__
        x, layout = time_first(call, x, self.input_size, self.batch_first)
        say_wide(x, getattr(self, "weight_ih_l0"))  # noqa: B009
        steps, rows = x.shape[:2]
        count = self.num_layers * self.directions
        starts = first_state(call, x, state, self.kind, count, layout)
        spans = None
        if lengths is not None:
            spans = Spans(call, lengths, steps, None if layout == "alone" else rows)
            x = spans.filled(x)
        lasts: list[tuple[Tensor, ...]] = []
        trace: Trace = {}
        for layer in range(self.num_layers):
            outs = []
            for suffix in self._suffixes(layer):
                start = tuple([s[len(lasts)] for s in starts])
                out, last, parts = self._run(suffix, x, start, spans, return_trace)
                outs.append(out)
                lasts.append(last)
                trace |= {name + suffix: part for name, part in parts.items()}
            with scope(f"layer{layer}"):
                x = outs[0] if len(outs) == 1 else concat(outs, -1)
                if layer < self.num_layers - 1:
                    x = F.dropout(x, self.dropout, self.training, self.dropout_rng)
        state = last_state(lasts, layout)

        def laid(out: Tensor) -> Tensor:
            out = out if spans is None else spans.padded(out, steps)
            return out.squeeze(1) if layout == "alone" else out.transpose(0, 1) if layout == "batch" else out

        if return_trace:
            return laid(x), state, {name: laid(part) for name, part in trace.items()}
        return laid(x), state

    def _run(
        self, suffix: str, x: Tensor, start: tuple[Tensor, ...], spans: Spans | None, traced: bool
    ) -> tuple[Tensor, Any, Trace]:
        """One layer in one direction."""
        w = {name: getattr(self, name + suffix) for name in self.kind.shapes(1)}
        with scope(f"layer{suffix[2:]}"):
            mask = None
            if self.recurrent_dropout and self.training:
                p, width = self.recurrent_dropout, self.kind.sizes[0]
                mask = sequence_mask(x.shape[1], width, p, start[0].dtype, self.dropout_rng)
            xw = self.kind.project(w, x)
            step = self.kind.step(
                w, mask=mask, zone=self.zone, training=self.training, rng=self.dropout_rng, traced=traced
            )
            hook = self._step_hook(suffix[1:], after_hook)
            return run(step, xw, start, spans, suffix.endswith("reverse"), traced, hook)

    def describe(self) -> str:
        """Sizes."""
        settings: list[tuple[str, Any, Any]] = [
            ("num_layers", self.num_layers, 1),
            ("nonlinearity", getattr(self.kind, "nonlinearity", "tanh"), "tanh"),
            ("bias", self.bias, True),
            ("batch_first", self.batch_first, False),
            ("dropout", self.dropout, 0.0),
            ("bidirectional", self.bidirectional, False),
            ("proj_size", getattr(self.kind, "proj_size", 0), 0),
            ("reset_after", getattr(self.kind, "reset_after", True), True),
            ("recurrent_dropout", self.recurrent_dropout, 0.0),
            ("zoneout", self.zone, ()),
            ("layer_norm", self.kind.layer_norm, False),
            ("peepholes", getattr(self.kind, "peepholes", False), False),
        ]
        extras = "".join(f", {name}={value}" for name, value, usual in settings if value != usual)
        return f"{self.input_size}, {self.hidden_size}{extras}"


class RNN(Recurrent):
    """A plain recurrent layer (Elman, 1990).

        h = tanh(W_ih x + b_ih + W_hh h + b_hh)

    or with relu, sigmoid or identity in the place of tanh; as in PyTorch, `nonlinearity` stands fourth.
    Shapes and settings are in `Recurrent`; the state is h.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        layer_norm: bool = False,
        **settings: Any,
    ):
        choice("RNN: no such nonlinearity", "nonlinearity", nonlinearity, tuple(RNN_STEPS))
        kind = Elman(hidden_size, bias, layer_norm, nonlinearity)
        super().__init__(kind, input_size, num_layers, batch_first, dropout, bidirectional, **settings)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).

        i, f, g, o = chunk(W_ih x + b_ih + W_hh h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)

    With `proj_size`, h = W_hr (sigmoid(o) * tanh(c)) (Sak, Senior and Beaufays, 2014). With `peepholes`, i and f
    also see the old c and o the new one, each through a weight a unit, `peephole` (3H,) (Gers and Schmidhuber,
    2000). With `layer_norm`, h = sigmoid(o) * tanh(norm(c) * gain_c + shift_c) too; the cell that is carried on
    is c itself. `forget_bias` is where the forget gate's bias starts: 1 is usual. Shapes and further settings
    are in `Recurrent`; the state is (h, c).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        layer_norm: bool = False,
        peepholes: bool = False,
        **settings: Any,
    ):
        size("LSTM", "hidden_size", hidden_size)
        if isinstance(proj_size, bool) or not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            rule = f"expected 0 for none, or a whole number below hidden_size, {hidden_size}."
            raise ArgumentError("LSTM: proj_size out of range", {"proj_size": proj_size}, rule)
        flag("LSTM", "peepholes", peepholes)
        kind = LongShort(hidden_size, bias, layer_norm, proj_size, peepholes)
        self.proj_size = proj_size
        super().__init__(kind, input_size, num_layers, batch_first, dropout, bidirectional, **settings)


class GRU(Recurrent):
    """A gated recurrent unit (Cho et al., 2014).

        r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)             the blocks of r and z
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))             with reset_after, as in PyTorch and cuDNN
        n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)             without, as in the paper and in textbooks
        h = (1 - z) * n + z * h

    Blocks lie in the order r, z, n. Some texts write z for what is 1 - z here. With `layer_norm` and without
    `reset_after` the two products W_hh h and W_hn (r * h) are normalised each by itself. Shapes and settings
    are in `Recurrent`; the state is h.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        **settings: Any,
    ):
        kind = Gated(hidden_size, bias, layer_norm, flag("GRU", "reset_after", reset_after))
        super().__init__(kind, input_size, num_layers, batch_first, dropout, bidirectional, **settings)


answer(globals())
