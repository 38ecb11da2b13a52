"""Kernels for a gate of your own: ten lines of formula with `@tgs.fused` on them, and nothing else.

    python demos/fused_unit.py
    python demos/fused_unit.py --source       # and the gradient's kernel, as it was written for numba

The gate is that of an LSTM with peepholes (Gers, Schraudolph and Schmidhuber, 2002): what `nn.LSTM(...,
peepholes=True)` computes, written anew by hand. The program trains it for a few steps, checks its gradient against
finite differences, takes the time with and without kernels, and shows the error for what no kernel can hold.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import optim


@tgs.fused
def peephole(
    z: tgs.Tensor, c: tgs.Tensor, to_i: tgs.Tensor, to_f: tgs.Tensor, to_o: tgs.Tensor
) -> tuple[tgs.Tensor, tgs.Tensor]:
    """From z (B, 4H), the cell c (B, H) and three peepholes (H,) the new h and c, each (B, H)."""
    i, f, g, o = z.chunk(4, -1)
    new = F.sigmoid(f + to_f * c) * c + F.sigmoid(i + to_i * c) * g.tanh()
    return F.sigmoid(o + to_o * new) * new.tanh(), new


@tgs.fused
def with_product(x: tgs.Tensor, w: tgs.Tensor) -> tgs.Tensor:
    """A product of matrices is no pointwise op: this one is refused."""
    return (x @ w).tanh()


class PeepholeLSTM(tgs.Module):
    """A recurrence around the gate, and a number read off each of its outputs."""

    def __init__(self, size: int):
        self.inside, self.enters = tgs.nn.Linear(size, 4 * size), tgs.nn.Linear(1, 4 * size)
        self.to_i, self.to_f, self.to_o = (tgs.Parameter(tgs.zeros(size)) for _ in range(3))
        self.leaves = tgs.nn.Linear(size, 1)

    def forward(self, x: tgs.Tensor) -> tgs.Tensor:
        """A number for each of x (T, B, 1)."""

        def step(x_t, state):
            h, c = state
            state = peephole(x_t + self.inside(h), c, self.to_i, self.to_f, self.to_o)
            return state[0], state

        start = tgs.zeros(x.shape[1], len(self.to_i))
        return self.leaves(tgs.unroll(step, self.enters(x), (start, start))[0])


def train(steps: int) -> tuple[float, float]:
    """The loss before and after some steps of telling the next number of a sine of unknown phase."""
    phase = np.linspace(0, 2 * math.pi, 16, endpoint=False)
    wave = np.sin(0.4 * np.arange(25)[:, None] + phase)[..., None].astype(np.float32)
    model = PeepholeLSTM(16)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        loss = F.mse_loss(model(tgs.tensor(wave[:-1])), tgs.tensor(wave[1:]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


def milliseconds(inputs: list[tgs.Tensor], repeats: int) -> float:
    """The median time of a forward and a backward pass."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        h, c = peephole(*inputs)
        tgs.grad((h * c).sum(), inputs)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--source", action="store_true", help="print the kernel of the gradient")
    args = parser.parse_args(argv)
    tgs.manual_seed(0)

    before, after = train(args.steps)
    print(f"trained: squared error {before:.3f}, after {args.steps} steps {after:.4f}")
    assert after < 0.1 * before, "the recurrence should learn a sine"

    shapes = ((3, 20), (3, 5), (5,), (5,), (5,))
    tgs.gradcheck(peephole, [tgs.randn(*s).double().requires_grad_() for s in shapes])
    print("gradcheck: the kernels' gradient agrees with finite differences in float64")

    inputs = [tgs.randn(*s).requires_grad_() for s in ((64, 512), (64, 128), (128,), (128,), (128,))]
    fused = milliseconds(inputs, args.repeats)
    with tgs.composed():
        composed = milliseconds(inputs, args.repeats)
    print(f"B 64, H 128, forward and backward: {composed:.2f} ms composed, {fused:.2f} ms by kernels")

    if args.source:
        print("\n" + peephole.source("backward").rstrip())

    print("\nWhat no kernel holds is refused when it is first called:\n")
    try:
        with_product(tgs.randn(8, 8), tgs.randn(8, 8))
        print("(without numba nothing is: the composition runs)")
    except tgs.TraceError as error:
        print(error)


if __name__ == "__main__":
    main()
