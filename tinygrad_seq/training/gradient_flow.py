"""The gradient through time, measured while a model is trained.

Norms are taken in the backward pass of every tenth step, at some time steps of the window. The measurement
changes no number of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import WANTS
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.nn import Module
from tinygrad_seq.nn.hooks import recurrent_layers, seeing
from tinygrad_seq.runtime.arrays import Array

__all__ = ["EVERY", "Flow", "GradientMonitor"]

EVERY = 10  # steps of training from one measurement to the next
MARKS = 8  # time steps of a window that are measured, the first and the last among them


@dataclass(frozen=True)
class Flow:
    """Means over the steps since the last report.

    `norms["dh_l0"][t]` is the norm of d loss / d h_t in layer 0 over the whole batch, `dc` that of d loss / d c_t
    with h_t held fixed, so what comes from the next step: 0 at the last. `clipped` is the share of steps whose
    gradient was scaled down, `update` the norm of the update over that of the weights. `looks` steps were measured;
    where there were none, `norms` is empty and `update` None. `looked` says whether the last step was; where it was
    not, `norms` and `update` have not changed since the step before.
    """

    clipped: float
    update: float | None
    norms: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    looks: int = 0
    looked: bool = False

    def scalars(self) -> dict[str, float | None]:
        """One number for each name, as a line of the metrics holds them: None for what is not finite.

        >>> Flow(0.5, 0.001, {"dh_l0": {0: 0.25, 7: 1.0}}, 1).scalars()
        {'clipped': 0.5, 'update_ratio': 0.001, 'dh_l0_t0': 0.25, 'dh_l0_t7': 1.0}
        """
        values: dict[str, float | None] = {"clipped": self.clipped}
        if self.update is not None:
            values["update_ratio"] = self.update
        for name, norms in self.norms.items():
            values |= {f"{name}_t{t}": norm for t, norm in norms.items()}
        return {name: v if v is not None and math.isfinite(v) else None for name, v in values.items()}


class GradientMonitor:
    """Reads the flow of the gradient of one model while it is trained; `flow` is what was read since `reset`."""

    def __init__(self, model: Module, parameters: Sequence[Tensor], clip: float, window: int):
        self.model, self.parameters, self.clip = model, list(parameters), clip
        self.marks = {round(t) for t in np.linspace(0, window - 1, min(MARKS, window))}
        self.state_names = {
            f"{prefix}{suffix[1:]}": net.cell_class.states
            for prefix, net in recurrent_layers(model).items()
            for k in range(net.num_layers)
            for suffix in net._suffixes(k)
        }
        self.before: list[Array] | None = None
        self.look = object()
        self.reset()

    def reset(self) -> None:
        """Forget the measurements."""
        self.steps = self.clips = self.looks = 0
        self.looked = False
        self.updates = 0.0
        self.sums: dict[str, dict[int, float]] = {}

    @contextmanager
    def looking(self, step: int) -> Iterator[None]:
        """The forward and backward pass of a step; in every tenth the states' gradients are read."""
        self.before, self.look = None, object()
        if step % EVERY:
            yield
            return
        with seeing(self.model, self._see):
            yield
        self.before = [p.array for p in self.parameters]

    def stepped(self, norm: float) -> None:
        """Take the update of the optimiser, for a gradient of this norm before clipping."""
        self.steps += 1
        self.clips += norm > self.clip
        self.looked = self.before is not None
        if self.before is None:
            return
        self.looks += 1
        moved = whole = 0.0
        with np.errstate(all="ignore"):
            for p, before in zip(self.parameters, self.before, strict=True):
                moved += _squared(p.array - before)
                whole += _squared(before)
        self.before = None
        self.updates += math.sqrt(moved / whole) if whole else math.inf

    def state_dict(self) -> dict[str, Any]:
        """What was read since `reset`, as plain values."""
        sums = {name: {str(t): norm for t, norm in marks.items()} for name, marks in self.sums.items()}
        return {
            "steps": self.steps,
            "clips": self.clips,
            "looks": self.looks,
            "looked": self.looked,
            "updates": self.updates,
            "sums": sums,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the measurements of another one."""
        self.steps, self.clips, self.looks = (int(state[name]) for name in ("steps", "clips", "looks"))
        self.looked = bool(state.get("looked"))  # absent in the states of first versions
        self.updates = float(state["updates"])
        self.sums = {
            name: {int(t): norm for t, norm in marks.items()} for name, marks in state["sums"].items()
        }

    def flow(self) -> Flow:
        """What was read so far."""
        looks = self.looks
        norms = {
            name: {t: found[t] / looks if looks else math.nan for t in sorted(found)}
            for name, found in sorted(self.sums.items(), key=lambda entry: self._order(entry[0]))
        }
        share = self.clips / self.steps if self.steps else 0.0
        update = self.updates / looks if looks else None
        return Flow(share, update, norms if looks else {}, looks, self.looked)

    def _order(self, name: str) -> int:
        return list(self.state_names).index(name.split("_", 1)[1])

    def _see(self, layer: str, t: int, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if t not in self.marks or not state[0].mode & WANTS:
            return state
        new = [state[0]]
        # On the tape h_t may be computed from c_t, or both may be outputs of one fused step. A copy of c_t as a
        # node of its own has the gradient from the next step in both cases.
        new += [s.reshape(s.shape) for s in state[1:]]
        for kind, s in zip(self.state_names[layer], new, strict=True):
            sums = self.sums.setdefault(f"d{kind}_{layer}", {})
            sums.setdefault(t, 0.0)
            s.register_hook(self._adding(sums, t))
        return tuple(new)

    def _adding(self, sums: dict[int, float], t: int) -> Callable[[Tensor], None]:
        look = self.look

        def hook(g: Tensor) -> None:
            # Later backward passes may go through this window again; they are not measured.
            if look is self.look:
                sums[t] += math.sqrt(_squared(g.array))

        return hook


def _squared(a: Array) -> float:
    flat = a.ravel().astype(np.float64)  # squares overflow early in float32
    return float(np.dot(flat, flat))
