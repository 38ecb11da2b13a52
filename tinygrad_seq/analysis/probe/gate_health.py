"""Gates and states over a text in a few numbers: which are closed, which are open, which never change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygrad_seq.bptt.summary import Shown
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Gate", "LayerHealth", "gates", "health"]

SHUT, OPEN = 0.1, 0.9
_NAMES = {"i": "input", "f": "forget", "o": "output", "r": "reset", "z": "update"}


@dataclass(frozen=True, repr=False)
class Gate(Shown):
    """One gate of a layer over a text, by unit (H,): the share of steps below 0.1 and above 0.9, and its mean.

    `memory` (H,) is -1 / ln(mean) of a forget gate (and of z, which keeps a GRU's state): the steps after which
    1 / e is left at that mean; None for the others. (Karpathy, Johnson and Fei-Fei, 2015.)
    """

    name: str
    shut: Array
    open: Array
    mean: Array
    memory: Array | None

    @property
    def lifetime(self) -> Array | None:
        """(H,): 1 / (1 - mean), how many steps a value stays in the state on average; inf for a gate that is 1."""
        if self.memory is None:
            return None
        with np.errstate(all="ignore"):
            return np.asarray(1.0 / (1.0 - self.mean))


def gates(parts: Mapping[str, Array]) -> list[Gate]:
    """The gates among the parts of a text, (T, H) each, by the names that a layer's trace gives them.

    >>> found = gates({"f_l0": np.array([[0.5, 0.95], [0.5, 0.99]])})[0]
    >>> found.open.tolist(), found.memory.round(1).tolist()
    ([0.0, 1.0], [1.4, 32.8])
    """
    found = []
    for name, values in parts.items():
        kind = name.split("_")[0]
        if kind not in _NAMES:
            continue
        mean = values.mean(0)
        with np.errstate(all="ignore"):
            memory = -1.0 / np.log(mean) if kind in "fz" else None
        found.append(Gate(name, (values < SHUT).mean(0), (values > OPEN).mean(0), mean, memory))
    return found


@dataclass(frozen=True, repr=False)
class LayerHealth(Shown):
    """A layer over a text: how many units, how many of them never change or are stuck at 1 or -1, and the rest.

    `std` is the mean over the units of how much h varies, `lost` counts numbers that are not finite.
    """

    layer: str
    units: int
    constant: int
    stuck: int
    lost: int
    std: float
    gates: tuple[Gate, ...]

    @property
    def words(self) -> list[str]:
        """Plain sentences, worst first."""
        said = []
        if self.lost:
            said.append(f"{self.lost:,} numbers of layer {self.layer} are not finite.")
        if self.constant:
            said.append(f"{self.constant} of {self.units} units of layer {self.layer} never change.")
        if self.stuck:
            said.append(f"{self.stuck} of {self.units} units of layer {self.layer} stay beyond 0.99.")
        for gate in self.gates:
            what = f"The {_NAMES[gate.name.split('_')[0]]} gate of layer {self.layer}"
            said.append(
                f"{what} is shut {gate.shut.mean():z.0%} of the time and open {gate.open.mean():z.0%}."
            )
            stays = gate.lifetime
            if stays is not None and np.isfinite(stays).any():
                middle = float(np.median(stays[np.isfinite(stays)]))
                # The sentence before names the layer and the gate.
                said[-1] += (
                    f" By 1 / (1 - its mean), half of its units remember for {middle:.2g} steps or more."
                )
        return said


def health(parts: Mapping[str, Array]) -> list[LayerHealth]:
    """One entry for each layer of which the parts hold h, or x as it leaves a Transformer's layer.

    >>> h = np.array([[0.0, 0.5], [0.0, -0.5]])
    >>> health({"h_l0": h})[0].words
    ['1 of 2 units of layer l0 never change.']
    """
    found = []
    for name, h in parts.items():
        kind, _, layer = name.partition("_")
        if kind not in "hx":
            continue
        own = {n: a for n, a in parts.items() if n.partition("_")[2] == layer}
        with np.errstate(all="ignore"):
            spread = h.std(0)
        finite = spread[np.isfinite(spread)]
        found.append(
            LayerHealth(
                layer=layer,
                units=h.shape[1],
                constant=int((spread < 1e-6).sum()),
                stuck=int(((np.abs(h) > 0.99).all(0) & (spread >= 1e-6)).sum()) if kind == "h" else 0,
                lost=int(sum((~np.isfinite(a)).sum() for a in own.values())),
                std=float(finite.mean()) if len(finite) else math.nan,
                gates=tuple(gates(own)),
            )
        )
    return found
