"""The unrolled LSTM from primitives, eager, forward and backward: the same lines on our engine and PyTorch's.

    pip install torch==2.13.0
    python benchmarks/lstm_against_pytorch.py

One set of weights; each side has a process of its own and they take turns (`in_turn.py` says why): medians and
quartiles over turns, each the median of 10 or more runs, and the ratios of neighbouring turns. The first losses
must agree. The peer is PyTorch's own primitives: once with the sigmoid as we write it, 0.5 tanh(0.5 x) + 0.5, once
with its fused sigmoid. No derived kernel runs on our side: this is the bare engine.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import in_turn
import numpy as np

SIDES = ("ours", "torch", "torch, its sigmoid")
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


def timed(loss_of: Callable[[], Any], leaves: list[Any]) -> dict[str, float]:
    """Milliseconds forward and backward, and the loss."""
    for leaf in leaves:
        leaf.grad = None
    start = time.perf_counter()
    loss = loss_of()
    middle = time.perf_counter()
    loss.backward()
    stop = time.perf_counter()
    forward, backward = (middle - start) * 1e3, (stop - middle) * 1e3
    return {"forward": forward, "backward": backward, "both": forward + backward, "loss": loss.item()}


def child(side: str) -> None:
    if side == "ours":
        import tinygrad_seq

        tensor, sigmoid, stack = tinygrad_seq.tensor, composed_sigmoid, tinygrad_seq.stack
    else:
        import torch

        tensor, stack = torch.tensor, torch.stack
        sigmoid = composed_sigmoid if side == "torch" else torch.sigmoid

    @functools.cache
    def case(batch: int, steps: int, hidden: int) -> tuple[Callable[[], Any], list[Any]]:
        rng = np.random.default_rng(0)
        shapes = [(steps, batch, hidden), (batch, hidden), (batch, hidden)]
        shapes += [(4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,)]
        arrays = [rng.standard_normal(s).astype(np.float32) * np.float32(0.1) for s in shapes]
        leaves = [tensor(a, requires_grad=i > 2) for i, a in enumerate(arrays)]
        return lambda: lstm_loss(*leaves, sigmoid, stack), leaves

    in_turn.serve(lambda size: in_turn.repeated(lambda: timed(*case(*size))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child)
    print(in_turn.circumstances("numpy", "torch"))
    print(f"{args.threads} thread{'s' * (args.threads > 1)}; milliseconds; ratios ours / it")
    with in_turn.children(list(SIDES), args.threads) as made:
        for size in SIZES:
            answers = in_turn.take_turns(made, size, args.turns)
            losses = [column[0]["loss"] for column in answers]
            if not max(losses) - min(losses) <= 1e-4 * abs(losses[0]):
                raise SystemExit(f"the losses differ: {losses}")
            print("B {}, T {}, H {}".format(*size))
            for side, column in zip(SIDES, answers, strict=True):
                forward, backward, both = (
                    in_turn.quartiles([a[what] for a in column]) for what in ("forward", "backward", "both")
                )
                ratio = in_turn.ratio([a["both"] for a in answers[0]], [a["both"] for a in column])
                print(
                    f"  {side:20s} forward {forward[1]:7.2f}  backward {backward[1]:7.2f}"
                    f"  both {both[1]:7.2f} ({both[0]:.2f}-{both[2]:.2f})  ratio {ratio}"
                )
    return None


if __name__ == "__main__":
    main()
