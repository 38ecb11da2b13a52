"""The base of the recurrent cells: parameters, the input product of all steps at once, and the formula of one
step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

from tinygrad_seq import functional as F
from tinygrad_seq.arguments import flag, size
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.names import role
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, as_tensor, input_tensor
from tinygrad_seq.errors import ArgumentError, ShapeError
from tinygrad_seq.nn.module import Module, Parameter
from tinygrad_seq.nn.rnn.state import given_state, zero_state, zoneout
from tinygrad_seq.nn.rnn.weights import Shapes, checked_start, set_weights, zone_of

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Any], Any]

EPS = 1e-5
_SYMBOLS = {"h": "h", "c": "C"}  # as pictures write the states


class Fixed(NamedTuple):
    """The values shared by all steps of one sequence, computed once: transposed weights, a dropout mask, options.

    `u` is W_hh^T (P, G H), `gain` that of its normalised product, `mask` (B, P) what h meets on its way into it;
    `own` is what one kind of cell reads beside them.
    """

    u: Tensor
    gain: Tensor | None = None
    mask: Tensor | None = None
    traced: bool = False
    own: tuple[Any, ...] = ()


def described(module: Any, **usual: Any) -> str:
    """Sizes, and the settings that differ from the defaults."""
    there = {name: getattr(module, name, usual[name]) for name in usual}
    extras = "".join(f", {name}={value}" for name, value in there.items() if value != usual[name])
    return f"{module.input_size}, {module.hidden_size}{extras}"


def product(h: Tensor, u: Tensor, gain: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """W h (B, G H), with dropout on h (B, P) and normalised where these are set."""
    hu = (h if mask is None else h * mask) @ u
    return hu if gain is None else F.layer_norm(hu, hu.shape[-1], gain, eps=EPS)


class Cell(Module, ABC):
    """One step of a recurrence: `cell(x, state)` is the next state; `unroll` and the layers run it over time.

    x (B, I), or (I,) for a single row; each state (B, H), or (H,); None is zeros. `zoneout`, `layer_norm`,
    `init`, `rng` and `dropout_rng` are those of the layers (`Recurrent`).

    The three cells define the differences: `gates`, the blocks of H rows in each weight; `states`, the names of the
    carried state; `settings`, their own attributes; `shapes`; and `_step`, the formula. They override nothing else.
    """

    gates: ClassVar[str]
    states: ClassVar[tuple[str, ...]] = ("h",)
    settings: ClassVar[tuple[str, ...]] = ()

    hidden_size: int
    bias: bool
    layer_norm: bool
    proj_size: int = 0
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter
    bias_hh: Parameter
    gain_ih: Parameter
    gain_hh: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        *,
        layer_norm: bool = False,
        zoneout: float | tuple[float, ...] = 0.0,
        init: str = "torch",
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Generator | None = None,
        dropout_rng: Generator | None = None,
    ):
        call = type(self).__name__
        self.input_size = size(call, "input_size", input_size)
        self.hidden_size = size(call, "hidden_size", hidden_size)
        self.bias, self.layer_norm = flag(call, "bias", bias), flag(call, "layer_norm", layer_norm)
        self.zoneout = zone_of(call, zoneout, self.states)
        self.dropout_rng = dropout_rng
        checked_start(call, init, forget_bias, "c" in self.states, bias)
        if not bias:
            self.bias_ih = self.bias_hh = None  # type: ignore[assignment]  # as in PyTorch
        set_weights(self, "", self.shapes(input_size), len(self.gates), init, forget_bias, dtype, rng)

    @classmethod
    def of(cls, layer: Module, suffix: str | None = None) -> Self:
        """A recurrent layer's cell: its settings and, with a suffix such as `_l0`, its own parameters, not copied."""
        cell = cls.__new__(cls)
        common = ("training", "hidden_size", "bias", "layer_norm", "zoneout", "dropout_rng")
        vars(cell).update({name: getattr(layer, name) for name in (*common, *cls.settings)})
        if suffix is not None:
            vars(cell).update({name: getattr(layer, name + suffix) for name in cell.shapes(1)})
        return cell

    @property
    def widths(self) -> dict[str, int]:
        """The width of each state by name; the first, h, is also the output."""
        return dict.fromkeys(self.states, self.hidden_size) | {"h": self.proj_size or self.hidden_size}

    def shapes(self, inputs: int) -> Shapes:
        """Each parameter's shape, in PyTorch's order; those that PyTorch does not have stand last."""
        rows = len(self.gates) * self.hidden_size
        found: Shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.widths["h"])}
        if self.bias:
            found |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        found |= self._own_shapes()
        if self.layer_norm:
            found |= {"gain_ih": (rows,), "gain_hh": (rows,)}
        return found

    @abstractmethod
    def _own_shapes(self) -> Shapes:
        """The shapes of the parameters that only this cell has."""

    @abstractmethod
    def _input_bias(self) -> Tensor:
        """The biases (G H,) that are added to the input's product."""

    @abstractmethod
    def _fixed(self, mask: Tensor | None = None, traced: bool = False) -> Fixed:
        """The values shared by the steps of one sequence; the recurrent product is that of h * `mask` (B, P)."""

    @abstractmethod
    def _step(self, fixed: Fixed, xw: Tensor, state: State) -> Any:
        """The formula: (out, state) from xw (B, G H), what the input brings, and (out, state, trace) where traced."""

    def _project(self, x: Tensor) -> Tensor:
        """The input's part of the gates, W_ih x + biases (..., G H), for x (..., I): all steps at once."""
        xw = x @ self.weight_ih.T
        if self.layer_norm:
            xw = F.layer_norm(xw, xw.shape[-1], self.gain_ih, eps=EPS)
        return xw + self._input_bias() if self.bias else xw

    def _stepped(self, fixed: Fixed, new: State, old: State, *gates: Tensor) -> Any:
        """The result of `_step`: the new state after zoneout, and where traced all gates and states by name."""
        if self.zoneout:
            parts = zip(self.states, new, old, self.zoneout, strict=True)
            new = tuple(
                [role(_SYMBOLS[s], zoneout(n, o, p, self.training, self.dropout_rng)) for s, n, o, p in parts]
            )
        if fixed.traced:
            named = dict(zip(self.gates, gates, strict=False))  # of an RNN, which has none, nothing
            return new[0], new, named | dict(zip(self.states, new, strict=True))
        return new[0], new

    def forward(self, x: Any, state: Any = None) -> Any:
        """The state after the step: h, or (h, c) for the LSTM."""
        x = input_tensor(type(self).__name__, x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            rule = f"expected (B, {self.input_size}) or ({self.input_size},)."
            raise ShapeError(f"{type(self).__name__}: the input does not fit", {"input": x}, rule)
        start = self._started(x, state, x.shape[:-1])
        if x.ndim == 2:
            return self.shown(self._step(self._fixed(), self._project(x), start)[1])
        x, start = x.unsqueeze(0), tuple([s.unsqueeze(0) for s in start])
        return self.shown(
            tuple([s.squeeze(0) for s in self._step(self._fixed(), self._project(x), start)[1]])
        )

    def prepare(self, xs: Tensor, state: Any, traced: bool) -> tuple[Tensor, Step, State]:
        """The parts that `unroll` runs: the input product of all steps (T, B, G H), the step, and the first state."""
        if xs.ndim != 3 or xs.shape[-1] != self.input_size:
            rule = f"expected (T, B, {self.input_size})."
            raise ShapeError(f"{type(self).__name__}: the input does not fit", {"xs": xs}, rule)
        start = self._started(xs[0], state, xs.shape[1:2])
        if self._hooked:
            if traced:
                rule = "expected a cell without forward hooks; unroll's step_hook= does not stand in the way."
                raise ArgumentError("unroll: return_trace beside the cell's hooks", None, rule)
            return xs, self._called, start
        return self._project(xs), partial(self._step, self._fixed(None, traced)), start

    def _called(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of `unroll` by way of the cell's hooks."""
        new = self(x, self.shown(state))
        new = new if isinstance(new, tuple) else (new,)
        return new[0], new

    def init_state(self, rows: int, dtype: Any = None) -> Any:
        """The zero state of `rows` rows, in the dtype of the weights if none is given."""
        like = as_tensor(self.weight_hh)
        return self.shown(zero_state(like if dtype is None else like.to(dtype), (rows,), self.widths))

    def shown(self, state: State) -> Any:
        """A state in the form that the user gets: h, or (h, c)."""
        return state if len(state) > 1 else state[0]

    def _started(self, x: Tensor, state: Any, rows: tuple[int, ...]) -> State:
        if state is None:
            return zero_state(x, rows, self.widths)
        return given_state(type(self).__name__, x, state, self.widths, rows)

    def describe(self) -> str:
        """Sizes."""
        usual = {"bias": True, "nonlinearity": "tanh", "proj_size": 0, "reset_after": True, "zoneout": ()}
        return described(self, **usual, layer_norm=False, peepholes=False)


answer(globals(), "Cell")
