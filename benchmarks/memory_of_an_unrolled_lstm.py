"""What the unrolled LSTM holds between forward and backward, against a count on paper; and with checkpoints.

    python benchmarks/memory_of_an_unrolled_lstm.py

On paper, per step, in arrays of B x H float32 numbers. The gates as one kernel keep the tanh inside each of the
three sigmoids (3) and that of the candidate (1); the old cell state is a factor (1), and h is there for the next
product (1): 6 in all. What is cheap to compute again is: each gate from its tanh, and tanh(c) from those kept.

Composed (`with tgs.composed()`), the rules read: tanh's output inside each of the three sigmoids (3), the three
gates (3) and the candidate (1) as factors, the old cell state as a factor (1), tanh(c) (1), and h for the next
product (1): 10 in all. A sigmoid is 0.5 tanh(0.5 x) + 0.5, so its tanh and its value are two arrays.

The input was there before, and the stacked output is not counted on either side. Python's own objects are counted
in what is held, not on paper.
"""

from __future__ import annotations

import argparse
import gc
import math
import tracemalloc
from contextlib import nullcontext

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.runtime.jit import kernels_wanted

BATCH, HIDDEN = 32, 128
# How the gates run, and the arrays that a step then keeps, on paper.
WAYS = {"fused": (nullcontext, 6), "composed": (tgs.composed, 10)}


def held_after_forward(layer: nn.LSTM, x: tgs.Tensor) -> tuple[int, int]:
    """Bytes alive after the forward pass beyond those before it, and the peak over both passes."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    out, _ = layer(x)
    loss = (out * out).sum()
    held = tracemalloc.get_traced_memory()[0] - before - out.array.nbytes
    loss.backward()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return held, peak


def with_checkpoints(layer: nn.LSTM, x: tgs.Tensor, segment: int) -> tuple[int, int]:
    """The same loss with the loop in checkpointed segments: bytes held, and the peak."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    zero = tgs.zeros(1, x.shape[1], layer.hidden_size)
    h, c, total = zero, zero, tgs.zeros(())

    def run(start: int, h: tgs.Tensor, c: tgs.Tensor) -> tuple[tgs.Tensor, ...]:
        out, (h, c) = layer(x[start : start + segment], (h, c))
        return (out * out).sum(), h, c

    for start in range(0, x.shape[0], segment):
        part, h, c = tgs.checkpoint(lambda h, c, start=start: run(start, h, c), h, c)
        total = total + part
    held = tracemalloc.get_traced_memory()[0] - before
    total.backward()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return held, peak


def table(layer: nn.LSTM, steps: list[int], arrays: int) -> None:
    """A line for each length, then the longest again with checkpoints."""
    print(f"{'T':>6} {'held MB':>9} {'a step kB':>10} {'paper MB':>9} {'ratio':>6} {'peak MB':>9}")
    for length in steps:
        x = tgs.randn(length, BATCH, HIDDEN)
        held_after_forward(layer, x[:2])
        layer.zero_grad()
        held, peak = held_after_forward(layer, x)
        layer.zero_grad()
        paper = arrays * length * BATCH * HIDDEN * 4
        mb = (held / 1e6, held / length / 1e3, paper / 1e6, held / paper, peak / 1e6)
        print("{:6d} {:9.2f} {:10.1f} {:9.2f} {:6.3f} {:9.2f}".format(length, *mb))
    segment = math.isqrt(length)
    _, checkpointed = with_checkpoints(layer, x, segment)
    layer.zero_grad()
    ending = f"peak {checkpointed / 1e6:.2f} MB, {checkpointed / peak:.3f} of that without"
    print(f"T {length}, checkpoints every {segment}: {ending}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[64, 256, 1024])
    steps = parser.parse_args().steps
    layer = nn.LSTM(HIDDEN, HIDDEN)
    print(f"LSTM, B {BATCH}, H {HIDDEN}, float32; MB = 10^6 bytes")
    for way, (context, arrays) in WAYS.items():
        if way == "fused" and not kernels_wanted():
            print("gates fused: not measured, numba is not there or switched off")
            continue
        print(f"gates {way}: {arrays} arrays a step on paper")
        with context():
            table(layer, steps, arrays)


if __name__ == "__main__":
    main()
