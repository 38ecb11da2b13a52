"""Watch a gradient travel back through time: in a plain RNN, in an LSTM, and behind a detached state.

    python demos/gradient_through_time.py

The loss looks at the last output alone. Printed is the norm of its gradient at the hidden state of every
step, as a bar on a logarithmic scale. In the RNN it shrinks by about the same factor at each step; in the
LSTM the cell state carries it further; behind `detach` there is none at all.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

Step = Callable[[tgs.Tensor, tuple[tgs.Tensor, ...]], tuple[tgs.Tensor, ...]]


def rnn(size: int, rng: tgs.Generator) -> Step:
    """h = tanh(x + W h), with a W whose largest singular value is below 1."""
    w = tgs.tensor(rng.randn(size, size).numpy() * (0.45 / math.sqrt(size)), requires_grad=True)
    return lambda x, state: ((x + state[0] @ w.T).tanh(),)


def lstm(size: int, rng: tgs.Generator) -> Step:
    """The LSTM written out, with a forget gate that starts open (bias 2)."""
    w = tgs.tensor(rng.randn(4 * size, size).numpy() * (0.45 / math.sqrt(size)), requires_grad=True)
    bias = np.repeat([0.0, 2.0, 0.0, 0.0], size).astype(np.float32)

    def step(x: tgs.Tensor, state: tuple[tgs.Tensor, ...]) -> tuple[tgs.Tensor, ...]:
        h, c = state
        i, f, g, o = (x @ w.T + h @ w.T + bias).chunk(4, -1)
        c = F.sigmoid(f) * c + F.sigmoid(i) * g.tanh()
        return F.sigmoid(o) * c.tanh(), c

    return step


def norms(step: Step, parts: int, length: int, size: int, detach_at: int | None) -> list[float]:
    """The norm of d loss / d h_t for each t, where the loss is the sum of the last output."""
    xs = tgs.randn(length, 1, size, rng=tgs.Generator(1))
    state: tuple[tgs.Tensor, ...] = tuple(tgs.zeros(1, size, requires_grad=True) for _ in range(parts))
    hidden = []
    for t in range(length):
        if t == detach_at:
            state = tgs.detach(state)
        with tgs.time_step(t):
            state = step(xs[t], state)
        state[0].retain_grad()
        hidden.append(state[0])
    state[0].sum().backward()
    return [0.0 if h.grad is None else float(np.linalg.norm(h.grad.numpy())) for h in hidden]


def show(title: str, values: list[float]) -> None:
    """One row a step, newest first; a tenth of the gradient is four signs less."""
    print(f"\n{title}")
    for t in reversed(range(len(values))):
        bar = "#" * max(1, round(44 + 4 * math.log10(values[t]))) if values[t] > 0 else "(nothing arrives)"
        print(f"  t = {t:2d}  {values[t]:9.2e}  {bar}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--size", type=int, default=32)
    args = parser.parse_args(argv)
    rng = tgs.Generator(0)
    plain, gated = rnn(args.size, rng), lstm(args.size, rng)
    half = args.steps // 2
    runs = {
        "RNN: h = tanh(x + W h)": norms(plain, 1, args.steps, args.size, None),
        "LSTM, forget bias 2": norms(gated, 2, args.steps, args.size, None),
        f"LSTM, state detached before t = {half}": norms(gated, 2, args.steps, args.size, half),
    }
    print(
        f"The number is the norm of d loss / d h_t; the loss is the sum of the last output, h_{args.steps - 1}.\n"
        "The bar is its logarithm: four signs less are a tenth of it, and the shortest bar is one sign."
    )
    for title, values in runs.items():
        show(title, values)
    full, long_term, truncated = runs.values()
    lost = [v / full[-1] for v in (full[0], long_term[0])]
    print(f"\nOf the last step's norm {lost[0]:.1e} reaches t = 0 in the RNN, {lost[1]:.1e} in the LSTM.")
    assert lost[1] > 1e3 * lost[0], "the LSTM should carry the gradient orders of magnitude further"
    assert not any(truncated[:half]), "nothing may arrive behind a detached state"


if __name__ == "__main__":
    main()
