"""When does a gradient vanish or explode? The notes' rule of thumb, measured beside the bounds of theory.

    python demos/vanishing.py

The rule: sigmoid and tanh let it vanish, ReLU lets it explode, LSTM and GRU carry it. What counts is the product

    d h_t / d h_k = product of diag(phi'(a_j)) W,   largest singular value at most (max phi' * s_max(W))^(t - k)

with phi' at most 1/4 for sigmoid, 1 for tanh and ReLU (Pascanu, Mikolov and Bengio, 2013). Printed for each
network are the bound a step, what was measured, and whether the rule holds.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import bptt, nn

STEEPEST = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0}
FADES, GROWS = 0.97, 1.03  # a step; between them it is carried


@dataclass
class Measured:
    """One network: the bound on the factor a step, the factor found, and ln of the whole product."""

    name: str
    bound: float
    rate: float
    product: float

    @property
    def verdict(self) -> str:
        """What the gradient does on its way back."""
        if self.rate == 0:
            return "vanishes"
        return "vanishes" if self.rate < FADES else "explodes" if self.rate > GROWS else "is carried"


def radius(w: np.ndarray, to: float) -> np.ndarray:
    """The matrix scaled to this spectral radius."""
    return w * (to / np.abs(np.linalg.eigvals(w)).max())


def run(cell: nn.Module, steps: int, size: int, scale: float = 1.0, first: float = 0.1) -> list:
    """The states of a cell on random inputs, the first one included, which is `first` in all its elements."""
    xs = tgs.tensor(tgs.Generator(5).randn(steps, 1, 4, dtype=np.float64).numpy() * scale)
    pair = isinstance(cell, nn.LSTMCell)
    start = [tgs.tensor(np.full((1, size), first), requires_grad=True) for _ in range(2 if pair else 1)]
    state = tuple(start) if pair else start[0]
    states = [state]
    for t in range(steps):
        with tgs.time_step(t):
            state = cell(xs[t], state)
        states.append(state)
    return states


def plain(
    name: str, nonlinearity: str, w: np.ndarray, steps: int, scale: float = 1.0, first: float = 0.1
) -> Measured:
    """An RNN with this recurrent matrix; its bound is asserted for every lag."""
    size = len(w)
    cell = nn.RNNCell(4, size, nonlinearity=nonlinearity, rng=tgs.Generator(2)).double()
    cell.weight_hh.assign(w)
    for bias in (cell.bias_ih, cell.bias_hh):
        bias.assign(np.zeros(size))
    bound = STEEPEST[nonlinearity] * np.linalg.svd(w, compute_uv=False)[0]
    found = bptt.jacobian_product(run(cell, steps, size, scale, first), 0, steps, method="product")
    assert np.all(found.log_largest <= np.arange(steps + 1) * math.log(bound) + 1e-8), "theory was broken"
    return Measured(name, bound, found.rate, found.log_values[0])


def row(m: Measured, says: str) -> None:
    """One line of the table."""
    holds = "holds" if says == m.verdict else f"DOES NOT HOLD ({says})"
    print(
        f"  {m.name:34s} {m.bound:7.3f} {m.rate:9.3f} {m.product / math.log(10):10.1f}   {m.verdict:11s}{holds}"
    )


HEAD = f"  {'':34s} {'bound':>7s} {'measured':>9s} {'log10 all':>10s}   verdict    the rule"


def grid(size: int, steps: int) -> dict[tuple[str, float], Measured]:
    """sigmoid, tanh, ReLU x spectral radius 0.5, 1, 1.5."""
    random = tgs.Generator(0).randn(size, size, dtype=np.float64).numpy()
    found = {}
    print(
        f"RNN of {size} units, {steps} steps, random W: factor a step of the largest singular value\n{HEAD}"
    )
    for nonlinearity in STEEPEST:
        for rho in (0.5, 1.0, 1.5):
            m = plain(f"{nonlinearity}, spectral radius {rho}", nonlinearity, radius(random, rho), steps)
            row(m, "explodes" if nonlinearity == "relu" else "vanishes")
            found[nonlinearity, rho] = m
    return found


def exceptions(size: int, steps: int) -> dict[str, Measured]:
    """Matrices chosen so that the rule fails, or so that it holds exactly."""
    random = tgs.Generator(0).randn(size, size, dtype=np.float64).numpy()
    q = np.linalg.qr(random)[0]
    print(f"\nThe same with a W that was chosen\n{HEAD}")
    positive = np.abs(random)
    found = {
        "sigmoid": plain("sigmoid, 40 x orthogonal, no inputs", "sigmoid", 40 * q, steps, 0.0, 0.0),
        "tanh orthogonal": plain("tanh, orthogonal, small inputs", "tanh", q, steps, 1e-4, 1e-5),
        # Without inputs no unit of these can die, at any size: what carries or grows is W alone.
        "relu identity": plain("ReLU, identity, no inputs", "relu", np.eye(size), steps, 0.0),
        "relu grows": plain("ReLU, all positive, radius 1.5", "relu", radius(positive, 1.5), steps, 0.0),
        "relu fades": plain("ReLU, all positive, radius 0.5", "relu", radius(positive, 0.5), steps, 0.0),
    }
    for name, m in found.items():
        row(m, "explodes" if name.startswith("relu") else "vanishes")
    return found


def gated(size: int, steps: int) -> dict[str, float]:
    """RNN, GRU and LSTM as PyTorch starts them: the norm of the gradient at the first state over that at the last."""
    cells = {
        "RNN, tanh": nn.RNNCell(4, size, rng=tgs.Generator(2)),
        "GRU": nn.GRUCell(4, size, rng=tgs.Generator(2)),
        "LSTM": nn.LSTMCell(4, size, rng=tgs.Generator(2)),
        "LSTM, forget bias 1": nn.LSTMCell(4, size, rng=tgs.Generator(2), forget_bias=1.0),
        "LSTM, forget bias 3": nn.LSTMCell(4, size, rng=tgs.Generator(2), forget_bias=3.0),
    }
    print(
        f"\nWeights as PyTorch draws them, {size} units, {steps} steps; the loss is the sum of the last output\n"
        f"  at lag {steps}: the norm of d loss / d state {steps} steps back, as a share of that at the last state\n"
        f"  (the state is h, in an LSTM (h, c)); at the last state the norm is sqrt({size}) = {math.sqrt(size):.3g}\n"
        "  below an LSTM: norms of the two parts of d loss / d c there, of c alone with h held fixed, not as a share"
    )
    found = {}
    for name, cell in cells.items():
        states = run(cell.double(), steps, size)
        h = states[-1][0] if isinstance(states[-1], tuple) else states[-1]
        seen = bptt.reach(h.sum(), states)
        found[name] = seen.norms[0, 0] / seen.norms[0, -1]
        print(f"  {name:22s} at lag {steps}: {found[name]:9.2e} of the last;  {seen.words}")
        if isinstance(cell, nn.LSTMCell):
            print(f"  {'':22s} d loss / d c: {bptt.lstm_paths(h.sum(), states).words}")
    return found


def check(args: argparse.Namespace, table: dict, chosen: dict, carried: dict) -> None:
    """What was said is asserted: some of it at any size, the rest where there are units and steps enough."""
    for m in table.values():
        assert m.bound >= FADES or m.verdict == "vanishes", f"{m.name}: below the bound it must vanish"
    assert chosen["tanh orthogonal"].verdict == "is carried"
    assert chosen["relu identity"].verdict == "is carried"
    assert chosen["relu grows"].verdict == "explodes"
    if args.size < 8 or args.steps < 12 or args.long < 40:
        print(
            "\nWith fewer than 8 units, 12 steps, or 40 for the gated cells, chance has a large part in these\n"
            "figures: only the bounds, the identity, the orthogonal and the positive W are asserted."
        )
        return
    assert all(table["sigmoid", rho].verdict == "vanishes" for rho in (0.5, 1.0, 1.5))
    assert table["relu", 0.5].verdict == "vanishes", "ReLU with a small radius should fade"
    for name in ("LSTM, forget bias 1", "LSTM, forget bias 3"):
        further = carried[name] > 1e3 * carried["RNN, tanh"]
        assert further, f"{name}: it should carry the gradient much further"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--long", type=int, default=100, help="steps for the comparison with GRU and LSTM")
    args = parser.parse_args(argv)
    with tgs.composed():  # a few small steps of many kinds: not worth a kernel for each
        table = grid(args.size, args.steps)
        chosen = exceptions(args.size, args.steps)
        carried = gated(args.size, args.long)
    print(
        "\nWhere the rule of thumb does not hold\n"
        "  ReLU explodes only where W grows on the units that are active: about half of them are, so a random W\n"
        "  needs a radius well above 1, and with radius 0.5 ReLU fades like any other. Identity carries (Le et al.,\n"
        "  2015).\n"
        "  tanh fades for certain only where s_max(W) < 1. With an orthogonal W and small inputs it carries; above\n"
        "  a radius of 1 it grows unless large inputs drive the units to where they are flat.\n"
        "  sigmoid fades for certain where s_max(W) < 4; above that the bound allows growth.\n"
        "  A gate alone carries nothing far: a fresh LSTM forgets half of its cell in each step (f is about 1/2), a\n"
        "  fresh GRU likewise. With a forget bias the LSTM carries. What holds always is the bound."
    )
    check(args, table, chosen, carried)


if __name__ == "__main__":
    main()
