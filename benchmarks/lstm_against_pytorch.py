"""The unrolled LSTM from primitives, eager, forward and backward: the same lines on our engine and PyTorch's.

    pip install torch==2.13.0
    python benchmarks/lstm_against_pytorch.py

One process, one set of weights, runs in turn; medians, spread, and the median of the ratios of neighbouring
runs. The peer is PyTorch's own primitives: once with the sigmoid as we write it, 0.5 tanh(0.5 x) + 0.5, once
with its fused sigmoid. Both use the threads given (NumPy's matrix library is told by the environment).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

ARGS = argparse.ArgumentParser(description=__doc__.splitlines()[0])
ARGS.add_argument("--threads", type=int, default=2)
ARGS.add_argument("--repeats", type=int, default=25)

SIZES = ((32, 64, 128), (1, 64, 16))


def lstm_loss(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, sigmoid: Any, stack: Any) -> Any:
    """The sum of squared outputs of one layer over all steps; the same text runs on either engine."""
    outs, size = [], h.shape[1]
    xw, u_t = x @ w.T + b, u.T
    for t in range(x.shape[0]):
        z = xw[t] + h @ u_t
        i, f, g, o = z[:, :size], z[:, size : 2 * size], z[:, 2 * size : 3 * size], z[:, 3 * size :]
        c = sigmoid(f) * c + sigmoid(i) * g.tanh()
        h = sigmoid(o) * c.tanh()
        outs.append(h)
    out = stack(outs)
    return (out * out).sum()


def composed_sigmoid(x: Any) -> Any:
    return 0.5 * (0.5 * x).tanh() + 0.5


def timed(fn: Callable[[], Any], leaves: list[Any]) -> tuple[float, float]:
    """Milliseconds forward and backward."""
    for leaf in leaves:
        leaf.grad = None
    start = time.perf_counter()
    loss = fn()
    middle = time.perf_counter()
    loss.backward()
    return (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3


def main() -> None:
    args = ARGS.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    import numpy as np
    import torch

    import tinygrad_seq as tgs

    torch.set_num_threads(args.threads)
    versions = f"numpy {np.__version__}, torch {torch.__version__}"
    print(f"{versions}, {args.threads} threads, {args.repeats} runs in turn")
    for batch, steps, hidden in SIZES:
        rng = np.random.default_rng(0)
        shapes = [(steps, batch, hidden), (batch, hidden), (batch, hidden)]
        shapes += [(4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,)]
        arrays = [rng.standard_normal(s).astype(np.float32) * 0.1 for s in shapes]
        ours = [tgs.tensor(a, requires_grad=i > 2) for i, a in enumerate(arrays)]
        theirs = [torch.tensor(a, requires_grad=i > 2) for i, a in enumerate(arrays)]
        runs: dict[str, tuple[Callable[[], Any], list[Any]]] = {
            "ours": (lambda p=ours: lstm_loss(*p, composed_sigmoid, tgs.stack), ours),
            "torch": (lambda p=theirs: lstm_loss(*p, composed_sigmoid, torch.stack), theirs),
            "torch, its sigmoid": (lambda p=theirs: lstm_loss(*p, torch.sigmoid, torch.stack), theirs),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for repeat in range(args.repeats + 3):
            for name, (fn, leaves) in runs.items():
                pair = timed(fn, leaves)
                if repeat >= 3:
                    times[name].append(pair)
        print(f"B {batch}, T {steps}, H {hidden}: milliseconds, median (least to most)")
        for name, pairs in times.items():
            totals = sorted(f + b for f, b in pairs)
            ratios = sorted((f + b) / sum(own) for own, (f, b) in zip(times["ours"], pairs, strict=True))
            print(
                f"  {name:20s} forward {statistics.median(p[0] for p in pairs):7.2f}"
                f"  backward {statistics.median(p[1] for p in pairs):7.2f}"
                f"  both {statistics.median(totals):7.2f} ({totals[0]:.2f} to {totals[-1]:.2f})"
                f"  ours / it {1 / statistics.median(ratios):.2f}"
            )


if __name__ == "__main__":
    main()
