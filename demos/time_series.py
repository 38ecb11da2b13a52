"""A chaotic series: linear regression on the past, an RNN and an LSTM, asked for one step and for many.

    python demos/time_series.py
    python demos/time_series.py --plot series.png        # needs matplotlib

The series is that of Mackey and Glass (1977), a model of the number of blood cells:

    dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t)

solved by the method of Runge and Kutta of order 4 with step 0.1 and x = 1.2 before t = 0, then read every 6 units, as
is usual since Lapedes and Farber (1987). AR(tau) is linear least squares on the last tau values (Yule, 1927). The
networks read the values one by one and keep what they want of them in their state.

All three learn to tell the next value. Then they run freely: each value they tell is read as if it had been seen.
Look at how an error that is small for one step grows when it is fed back: two series of a chaotic system that differ
by little drift apart by themselves. And at AR, which falls to the mean in a few steps: what comes next is no linear
function of the past. NRMSE is the root of the mean square of the error, over the spread of the series: 1 is as good
as saying the mean. 14 steps are the 84 units of the older papers. Found with seed 1, in about a minute and a half:

    steps ahead        1        5       14       60
    AR(10)        0.3926   0.6912   0.6498   0.9181
    RNN           0.0032   0.0082   0.0218   0.2539
    LSTM          0.0060   0.0091   0.0212   0.3060

A plain RNN is enough here: the delay is three steps long. Compare `adding_problem.py`, where it is not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import models, nn, optim

DELAY, STEP, EVERY = 17.0, 0.1, 6
AHEAD = 60  # steps that are told from each start
BARS = "▁▂▃▄▅▆▇█"
PLAIN = "12345678"  # for a console that has no such signs


def mackey_glass(count: int, skipped: int = 100) -> np.ndarray:
    """So many values of the series, `EVERY` time units apart, after the first ones are skipped."""
    lag, each = round(DELAY / STEP), round(EVERY / STEP)
    x = np.full(lag + (count + skipped) * each + 1, 1.2)

    def slope(now: float, then: float) -> float:
        return 0.2 * then / (1.0 + then**10) - 0.1 * now

    for k in range(lag, len(x) - 1):
        then, soon = x[k - lag], x[k - lag + 1]
        half = 0.5 * (
            then + soon
        )  # the delayed value half a step later: known already, unlike that of x itself
        k1 = slope(x[k], then)
        k2 = slope(x[k] + 0.5 * STEP * k1, half)
        k3 = slope(x[k] + 0.5 * STEP * k2, half)
        k4 = slope(x[k] + STEP * k3, soon)
        x[k + 1] = x[k] + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[lag::each][skipped : skipped + count]


class Forecaster(tgs.Module):
    """The next value from a recurrent layer that has read all before it."""

    def __init__(self, cell: str, hidden: int):
        self.layer = {"RNN": nn.RNN, "LSTM": nn.LSTM}[cell](1, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: tgs.Tensor, state=None):
        """What comes after each of x (T, B, 1), and the state."""
        h, state = self.layer(x, state)
        return x + self.head(h), state  # the change is what is learnt: the last value alone is a good guess

    def told(self, past: np.ndarray, steps: int) -> np.ndarray:
        """After each row of `past` (B, T), `steps` values that run freely, (B, steps)."""
        out = []
        with tgs.no_grad():
            x, state = self(tgs.tensor(past.T[..., None].astype(np.float32)))
            for _ in range(steps):
                out.append(x[-1:].numpy()[0, :, 0])
                x, state = self(x[-1:], state)
        return np.stack(out, 1)


class Regression:
    """AR(tau): the same two questions to a linear model."""

    def __init__(self, tau: int, series: np.ndarray):
        self.model = models.LinearAR(tau).fit(series)

    def told(self, past: np.ndarray, steps: int) -> np.ndarray:
        """After each row of `past` (B, T), `steps` values that run freely, (B, steps)."""
        rows, tau = past, self.model.tau
        for _ in range(steps):
            latest_first = rows[:, : -tau - 1 : -1]
            next_value = latest_first @ self.model.coefficients + self.model.intercept
            rows = np.concatenate([rows, next_value[:, None]], 1)
        return rows[:, past.shape[1] :]


def train(cell: str, series: np.ndarray, args: argparse.Namespace) -> Forecaster:
    """Windows of the series drawn at random; the loss is the squared error of the next value."""
    tgs.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = Forecaster(cell, args.hidden)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    schedule = optim.CosineWithWarmup(optimizer, args.steps)
    recent, start = 1.0, time.perf_counter()
    for step in range(1, args.steps + 1):
        starts = rng.integers(0, len(series) - args.window - 1, args.batch)
        windows = series[starts + np.arange(args.window + 1)[:, None], None].astype(np.float32)
        out, _ = model(tgs.tensor(windows[:-1]))
        # The first outputs have seen next to nothing.
        loss = F.mse_loss(out[8:], tgs.tensor(windows[9:]))
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += 0.05 * (loss.item() - recent)
        if step % max(1, args.steps // 5) == 0:
            seconds = time.perf_counter() - start
            print(
                f"  {cell:4s} step {step:5d}  NRMSE {recent**0.5:.4f} in training, {seconds:.0f} s",
                flush=True,
            )
    return model


def nrmse(told: np.ndarray, series: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """At each number of steps ahead, (steps,); the series has spread 1."""
    truth = series[starts[:, None] + np.arange(told.shape[1])]
    return np.sqrt(((told - truth) ** 2).mean(0))


def sparkline(values: np.ndarray, low: float, high: float, bars: str = BARS) -> str:
    """A bar a value."""
    scaled = (values - low) / (high - low) * len(bars)
    return "".join(bars[int(np.clip(v, 0, len(bars) - 1))] if np.isfinite(v) else "?" for v in scaled)


def bars_for(encoding: str | None) -> str:
    """The signs that such a console can show."""
    try:
        BARS.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN
    return BARS


def pictures() -> Any:
    """What makes a figure, or a word on how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("--plot needs matplotlib: python -m pip install matplotlib") from None
    return Figure


def picture(path: Path, truth: np.ndarray, told: dict[str, np.ndarray]) -> None:
    """The free runs beside the truth, in a file."""
    figure = pictures()(figsize=(9, 2 * len(told)), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(told), sharex=True), told.items(), strict=True):
        axes.plot(truth, color="0.7", linewidth=3, label="truth")
        axes.plot(values, label=f"{name}, running freely")
        axes.set_ylim(truth.min() - 0.5, truth.max() + 1.8)  # room for the legend
        axes.legend(loc="upper right", ncols=2)
    axes.set_xlabel(f"steps of {EVERY} units")
    figure.savefig(path)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--length", type=int, default=4000, help="values to learn from; a quarter more are for the test"
    )
    parser.add_argument("--tau", type=int, default=10, help="how many values AR(tau) looks back on")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000, help="updates")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="a picture of the free runs, .png, .svg or .pdf"
    )
    parser.add_argument(
        "--reach", type=float, default=None, help="fail unless the LSTM's NRMSE at one step is below"
    )
    args = parser.parse_args(argv)
    if args.length // 4 < args.window + 2 * AHEAD or args.window < 10 or args.tau > args.window:
        parser.error(
            f"wanted: 10 <= window, tau <= window, and a length of {4 * (args.window + 2 * AHEAD)} at least"
        )
    if args.plot:  # asked now, and not after the training
        if args.plot.suffix not in (".png", ".svg", ".pdf") or not args.plot.parent.is_dir():
            parser.error(f"--plot wants a .png, .svg or .pdf in a folder that there is, got {args.plot}")
        pictures()
    return args


def main(argv: list[str] | None = None) -> None:
    args = options(argv)
    series = mackey_glass(args.length * 5 // 4)
    middle, spread = series[: args.length].mean(), series[: args.length].std()
    series = (series - middle) / spread
    known, unseen = series[: args.length], series[args.length :]
    print(
        f"Mackey-Glass: {len(known):,} values to learn from, {len(unseen):,} to test on, every {EVERY} units"
    )
    forecasters = {
        f"AR({args.tau})": Regression(args.tau, known),
        "RNN": train("RNN", known, args),
        "LSTM": train("LSTM", known, args),
    }

    starts = np.arange(args.window, len(unseen) - AHEAD, 3)
    past = unseen[starts[:, None] - args.window + np.arange(args.window)]
    told = {name: one.told(past, AHEAD) for name, one in forecasters.items()}
    print(f"\nNRMSE on {len(starts)} starts: one step, then running freely; 1 is as good as saying the mean")
    shown = (1, 2, 5, 14, 30, 60)
    print("  steps ahead " + "".join(f"{k:9d}" for k in shown))
    errors = {name: nrmse(values, unseen, starts) for name, values in told.items()}
    for name, found in errors.items():
        print(f"  {name:12s}" + "".join(f"{found[k - 1]:9.4f}" for k in shown))

    bars = bars_for(sys.stdout.encoding)
    truth = unseen[starts[0] : starts[0] + AHEAD]
    print(f"\n{AHEAD} steps from the first start")
    for name, values in {"truth": truth, **{name: v[0] for name, v in told.items()}}.items():
        print(f"  {name:8s} {sparkline(values, truth.min(), truth.max(), bars)}")
    if args.plot:
        picture(args.plot, truth, {name: values[0] for name, values in told.items()})
        print(f"written: {args.plot}")
    one_step = errors["LSTM"][0]
    if args.reach is not None and not one_step < args.reach:
        raise SystemExit(f"the LSTM's NRMSE at one step is {one_step:.4f}, not below {args.reach}")


if __name__ == "__main__":
    main()
