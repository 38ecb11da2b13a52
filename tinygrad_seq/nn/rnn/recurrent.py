"""RNN, LSTM and GRU: recurrences in several layers and both directions, with PyTorch's names and shapes."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import choice, flag, probability, room, size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import scope
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, concat
from tinygrad_seq.errors import explain, warn
from tinygrad_seq.functional.layers import say_wide
from tinygrad_seq.nn.rnn.base_cell import Cell, described
from tinygrad_seq.nn.rnn.cells import NONLINEARITIES, GRUCell, LSTMCell, RNNCell
from tinygrad_seq.nn.rnn.state import first_state, laid_out, last_state, sequence_mask, time_first
from tinygrad_seq.nn.rnn.unrolling import Lengths, Trace, after_hook, run
from tinygrad_seq.nn.rnn.weights import checked_projection, checked_start, set_weights, zone_of
from tinygrad_seq.nn.step_hooks import SteppedModule


class Recurrent(SteppedModule):
    """The base class of RNN, LSTM and GRU, which define the step.

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
        init                `torch`, `orthogonal` or `identity`, see `set_weights`
        rng, dropout_rng    where weights and masks are drawn from; else the streams `init` and `dropout`

    `dropout` acts on the outputs of all layers but the last, with a new mask for each step.
    """

    cell_class: ClassVar[type[Cell]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        *,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        layer_norm: bool = False,
        init: str = "torch",
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Generator | None = None,
        dropout_rng: Generator | None = None,
    ):
        call, kind = type(self).__name__, self.cell_class
        self.input_size = size(call, "input_size", input_size)
        self.hidden_size = size(call, "hidden_size", hidden_size)
        self.num_layers = size(call, "num_layers", num_layers)
        self.dropout = probability(call, "dropout", dropout)
        self.batch_first = flag(call, "batch_first", batch_first)
        self.bidirectional = flag(call, "bidirectional", bidirectional)
        self.recurrent_dropout = probability(call, "recurrent_dropout", recurrent_dropout)
        self.zoneout = zone_of(call, zoneout, kind.states)
        self.dropout_rng = dropout_rng
        self.bias, self.layer_norm = flag(call, "bias", bias), flag(call, "layer_norm", layer_norm)
        checked_start(call, init, forget_bias, "c" in kind.states, bias)
        if dropout and num_layers == 1:
            rule = "expected num_layers of 2 or more, or dropout=0.0."
            what = f"{call}: dropout acts between layers, and there is one"
            warn(explain(what, {"dropout": dropout}, rule))
        cell = kind.of(self)
        room(call, self.num_layers * self.directions * self.hidden_size * (self.hidden_size + 1))
        for layer in range(self.num_layers):
            inputs = input_size if layer == 0 else cell.widths["h"] * self.directions
            for suffix in self._suffixes(layer):
                shapes = cell.shapes(inputs)
                set_weights(self, suffix, shapes, len(kind.gates), init, forget_bias, dtype, rng)

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
        steps only. Later steps are never read, not even NaN; the output is 0 there; the last state
        is the row's own, and its first state where it has no steps; the other direction begins at its own end.

        With `return_trace` also a dict of all gates and states of all steps, of `i_l0` or `h_l1_reverse`:
        (T, B, H) each, laid out as the output is, 0 behind a row's end. Gates are given as they act on the
        state, after their sigmoid or tanh.

        Raises ShapeError, DTypeError or ArgumentError for what does not fit.
        """
        call = type(self).__name__
        x, layout = time_first(call, x, self.input_size, self.batch_first)
        say_wide(x, getattr(self, "weight_ih_l0"))  # noqa: B009
        steps, count = x.shape[0], self.num_layers * self.directions
        starts = first_state(call, x, state, self.cell_class.of(self).widths, count, layout)
        rows = None
        if lengths is not None:
            rows = Lengths(call, lengths, steps, None if layout == "alone" else x.shape[1])
            x = rows.fill(x)
        lasts: list[tuple[Tensor, ...]] = []
        trace: Trace = {}
        for layer in range(self.num_layers):
            outs = []
            for suffix in self._suffixes(layer):
                start = tuple([s[len(lasts)] for s in starts])
                cell = self.cell_class.of(self, suffix)
                with scope(f"layer{suffix[2:]}"):
                    mask = self._recurrent_mask(start[0])
                    xw = cell._project(x)
                    step = partial(cell._step, cell._fixed(mask, return_trace))
                    hook = self._step_hook(suffix[1:], after_hook)
                    out, last, parts = run(
                        step, xw, start, rows, suffix.endswith("reverse"), return_trace, hook
                    )
                outs.append(out)
                lasts.append(last)
                trace |= {name + suffix: part for name, part in parts.items()}
            with scope(f"layer{layer}"):
                x = outs[0] if len(outs) == 1 else concat(outs, -1)
                if layer < self.num_layers - 1:
                    x = F.dropout(x, self.dropout, self.training, self.dropout_rng)

        def laid(out: Tensor) -> Tensor:
            return laid_out(out if rows is None else rows.pad(out, steps), layout)

        state = last_state(lasts, layout)
        return (laid(x), state, {k: laid(v) for k, v in trace.items()}) if return_trace else (laid(x), state)

    def _recurrent_mask(self, h: Tensor) -> Tensor | None:
        """The mask on h (B, P) before W_hh in all steps, in training."""
        p, (rows, width) = self.recurrent_dropout, h.shape
        return sequence_mask(rows, width, p, h.dtype, self.dropout_rng) if p and self.training else None

    def describe(self) -> str:
        """Sizes."""
        usual = {"num_layers": 1, "nonlinearity": "tanh", "bias": True, "batch_first": False, "dropout": 0.0}
        usual |= {"bidirectional": False, "proj_size": 0, "reset_after": True, "recurrent_dropout": 0.0}
        return described(self, **usual, zoneout=(), layer_norm=False, peepholes=False)


class RNN(Recurrent):
    """A plain recurrent layer (Elman, 1990).

        h = tanh(W_ih x + b_ih + W_hh h + b_hh)

    or with relu, sigmoid or identity in the place of tanh; as in PyTorch, `nonlinearity` stands fourth.
    Shapes and settings are in `Recurrent`; the state is h.
    """

    cell_class = RNNCell

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
        choice("RNN: no such nonlinearity", "nonlinearity", nonlinearity, tuple(NONLINEARITIES))
        self.nonlinearity = nonlinearity
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, layer_norm=layer_norm, **settings)


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

    cell_class = LSTMCell

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
        self.proj_size = checked_projection("LSTM", proj_size, hidden_size)
        self.peepholes = flag("LSTM", "peepholes", peepholes)
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, layer_norm=layer_norm, **settings)


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

    cell_class = GRUCell

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
        self.reset_after = flag("GRU", "reset_after", reset_after)
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, layer_norm=layer_norm, **settings)


answer(globals())
