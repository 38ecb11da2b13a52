"""The exercise of the notes: a linear RNN with two weights learns to add up a sequence of zeros and ones.

    python demos/linear_rnn.py

    S_k = x_k wx + S_(k-1) wRec,   S_0 = 0,   loss = mean((S_n - target)^2)

Its gradient is computed three times: by the loop written out by hand, by reading the tape, and by finite
differences. Then: where the loss is steep, what becomes of the gradient on its way back, and why resilient
propagation, which looks at signs alone, gets from (-1.5, 2) to (1, 1) all the same.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import bptt

SAMPLES, LENGTH = 100, 10


def data() -> tuple[np.ndarray, np.ndarray]:
    """X (100, 10) of zeros and ones, and the sum of each row."""
    x = tgs.Generator(1).rand(SAMPLES, LENGTH, dtype=np.float64).numpy().round()
    return x, x.sum(axis=1)


# ---- by hand -------------------------------------------------------------------------------------------
def states_by_hand(x: np.ndarray, wx: float, w_rec: float) -> np.ndarray:
    """All S, (100, 11): column k is S_k."""
    s = np.zeros((len(x), x.shape[1] + 1))
    for k in range(1, x.shape[1] + 1):
        s[:, k] = x[:, k - 1] * wx + s[:, k - 1] * w_rec
    return s


def loss_by_hand(x: np.ndarray, target: np.ndarray, wx: float, w_rec: float) -> float:
    """The mean squared distance of the last state from the target."""
    return float(np.mean((states_by_hand(x, wx, w_rec)[:, -1] - target) ** 2))


def gradient_by_hand(
    x: np.ndarray, target: np.ndarray, wx: float, w_rec: float
) -> tuple[float, float, np.ndarray]:
    """The loop of the notes, from the last state back: both slopes, and the gradient over time (100, 11)."""
    s = states_by_hand(x, wx, w_rec)
    over_time = np.zeros_like(s)
    over_time[:, -1] = 2.0 * (s[:, -1] - target)
    wx_slope = w_rec_slope = 0.0
    for k in range(x.shape[1], 0, -1):
        wx_slope += np.mean(over_time[:, k] * x[:, k - 1])
        w_rec_slope += np.mean(over_time[:, k] * s[:, k - 1])  # the state before: S_(k-1), not S_k
        over_time[:, k - 1] = over_time[:, k] * w_rec
    return wx_slope, w_rec_slope, over_time


# ---- on the tape ---------------------------------------------------------------------------------------
def on_tape(
    x: np.ndarray, target: np.ndarray, wx: float, w_rec: float
) -> tuple[tgs.Tensor, list[tgs.Tensor], tgs.Tensor, tgs.Tensor]:
    """Loss, states and weights: the recurrence as it is written."""
    a = tgs.tensor(np.array(wx), requires_grad=True)
    b = tgs.tensor(np.array(w_rec), requires_grad=True)
    columns, s = tgs.tensor(x.T), tgs.tensor(np.zeros(len(x)))
    states = []
    for k in range(x.shape[1]):
        with tgs.time_step(k + 1):
            s = columns[k] * a + s * b
        states.append(s)
    return ((s - tgs.tensor(target)) ** 2).mean(), states, a, b


def slopes(x: np.ndarray, target: np.ndarray, wx: float, w_rec: float) -> tuple[float, float]:
    """Both slopes, read off the tape."""
    loss, _, a, b = on_tape(x, target, wx, w_rec)
    found = tgs.grad(loss, [a, b])
    return found[0].item(), found[1].item()


def side_by_side(x: np.ndarray, target: np.ndarray, wx: float, w_rec: float) -> None:
    """The three gradients, and the sum that the one of wRec is."""
    eps = 1e-7
    hand = gradient_by_hand(x, target, wx, w_rec)
    tape = slopes(x, target, wx, w_rec)
    numeric = [
        (loss_by_hand(x, target, wx + dx, w_rec + dr) - loss_by_hand(x, target, wx - dx, w_rec - dr))
        / 2
        / eps
        for dx, dr in ((eps, 0.0), (0.0, eps))
    ]
    print(
        f"Gradient at wx = {wx}, wRec = {w_rec}\n          by hand          tape             finite differences"
    )
    for name, by_hand, by_tape, by_steps in zip(("wx", "wRec"), hand, tape, numeric, strict=False):
        print(f"  {name:5s} {by_hand:16.9f} {by_tape:16.9f} {by_steps:16.9f}")
        assert math.isclose(by_hand, by_tape, rel_tol=1e-12)
        assert math.isclose(by_hand, by_steps, rel_tol=1e-5)
    loss, _, _, b = on_tape(x, target, wx, w_rec)
    rows = bptt.ledger(loss, b)
    print("\nThe slope of wRec is a sum, one term (d loss / d S_k) S_(k-1) for each step:")
    print("  " + " + ".join(f"{c:.1f}" for c in rows.contributions) + f" = {rows.gradient:.4f}")
    assert math.isclose(float(rows.gradient), hand[1], rel_tol=1e-10)


def surface(x: np.ndarray, target: np.ndarray, columns: int = 13, rows: int = 11) -> None:
    """log10 of the loss over both weights."""
    print("\nlog10 of the loss; down wRec, across wx")
    across = np.linspace(-3, 3, columns)
    print("        " + "".join(f"{wx:6.1f}" for wx in across))
    for w_rec in np.linspace(2.5, -2.5, rows):
        values = [math.log10(max(loss_by_hand(x, target, wx, w_rec), 1e-4)) for wx in across]
        print(f"  {w_rec:5.1f} " + "".join(f"{v:6.1f}" for v in values))
    print(
        "Flat between |wRec| < 1, a cliff of ten thousandfold beyond: one step of plain descent jumps across it."
    )


def over_time(x: np.ndarray, target: np.ndarray) -> None:
    """The norm of the gradient at each state, for several weights, and its slope beside ln |wRec|."""
    pairs = ((2.1, 0.8), (1.0, 0.5), (1.5, 1.0), (1.2, 1.2), (0.9, -1.5))
    print("\nNorm of d loss / d S_k, k = 1 .. 10, over that at k = 10")
    for wx, w_rec in pairs:
        loss, states, _, _ = on_tape(x, target, wx, w_rec)
        found = bptt.reach(loss, states)
        relative = found.norms[0] / found.norms[0, -1]
        print(f"  wx {wx:4.1f}, wRec {w_rec:4.1f}: " + " ".join(f"{v:7.3g}" for v in relative))
        print(f"    slope {found.fading.slope:+.12f}, ln |wRec| {math.log(abs(w_rec)):+.12f}; {found.words}")
        assert abs(found.fading.slope - math.log(abs(w_rec))) < 1e-10
    print(
        "It fades or grows by |wRec| a step, whatever wx and the data: exactly so, for the recurrence is linear."
    )


def resilient(
    x: np.ndarray, target: np.ndarray, start: tuple[float, float], steps: int
) -> list[tuple[float, float]]:
    """Resilient propagation (Riedmiller and Braun, 1993): a step for each weight, longer while its sign stays.

    The size of a slope, which here goes over many powers of ten, plays no part.
    """
    point, size, before = np.array(start), np.full(2, 0.001), np.zeros(2)
    path = [start]
    for _ in range(steps):
        sign = np.sign(slopes(x, target, *point))
        size = np.where(sign * before > 0, size * 1.2, np.where(sign * before < 0, size * 0.5, size))
        point, before = point - sign * size, sign
        path.append((float(point[0]), float(point[1])))
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500, help="steps of resilient propagation")
    args = parser.parse_args(argv)
    x, target = data()
    side_by_side(x, target, 1.2, 1.2)
    surface(x, target)
    over_time(x, target)
    path = resilient(x, target, (-1.5, 2.0), args.steps)
    print("\nResilient propagation, from (-1.5, 2)")
    for i in sorted({0, *np.linspace(0, args.steps, 11).astype(int).tolist()}):
        wx, w_rec = path[i]
        print(
            f"  step {i:4d}  wx {wx:8.5f}  wRec {w_rec:8.5f}  loss {loss_by_hand(x, target, wx, w_rec):.3e}"
        )
    wx, w_rec = path[-1]
    print(f"It ends at ({wx:.6f}, {w_rec:.6f}); the answer is (1, 1): add each number, forget nothing.")
    if args.steps >= 500:
        assert max(abs(wx - 1), abs(w_rec - 1)) < 1e-3, "resilient propagation should have found (1, 1)"


if __name__ == "__main__":
    main()
