"""Errors in units in the last place of the result, against 60 digits: `python -m tests.campaigns.ulp_table --write`.

For each function the worst over a dense sweep of its range, its value and its slope, float32 and float64, by kernel
and composed. `--points N` says how dense; `--write` renews docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import ops
from tinygrad_seq.fusing import fused

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
DTYPES, WAYS = ("float32", "float64"), ("fused", "composed")
mp.mp.dps = 60


@dataclass(frozen=True)
class Line:
    """A function, its value and slope in mpmath, where it is swept, and what its errors may be.

    `value` and `slope` are bounds in units in the last place. Where the true slope crosses zero, or is made from the
    output (tanh), a unit is that of `size`, its largest term.
    """

    name: str
    ours: Callable[[Any], Any]
    true: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    low: float
    high: float
    value: float
    slope: float
    size: Callable[[Any], Any] | None = None
    least: Callable[[Any], Any] | None = None  # in least normal numbers, what may be lost below: see the page


def _s(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _phi(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _by_tanh(x: Any) -> Any:
    return 2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


def _by_tanh_slope(x: Any) -> Any:
    u, du = _by_tanh(x), 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * x * x)
    return _s(u) + x * _s(u) * _s(-u) * du


FAR = 800.0  # past every end of float32 and float64
LINES = [
    Line("exp", lambda x: x.exp(), mp.exp, mp.exp, -FAR, 709.0, 2.0, 2.0),
    Line("log", lambda x: x.log(), mp.log, lambda x: 1 / x, 1e-30, 1e30, 2.0, 1.0),
    Line("log1p", ops.log1p, mp.log1p, lambda x: 1 / (1 + x), -0.999, 1e30, 2.5, 2.0),
    Line("sqrt", lambda x: x.sqrt(), mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), 1e-30, 1e30, 1.0, 2.0),
    Line("sin", lambda x: x.sin(), mp.sin, mp.cos, -100.0, 100.0, 2.5, 2.5),
    Line("cos", lambda x: x.cos(), mp.cos, lambda x: -mp.sin(x), -100.0, 100.0, 2.5, 2.5),
    Line(
        "tanh", F.tanh, mp.tanh, lambda x: 1 - mp.tanh(x) ** 2, -FAR, FAR, 4.0, 8.0, lambda x: 1
    ),
    Line("erf", lambda x: x.erf(), mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), -30.0, 30.0, 4.0, 6.0),
    Line("sigmoid", F.sigmoid, _s, lambda x: _s(x) * _s(-x), -FAR, FAR, 4.0, 6.0, None, lambda x: 2.0**53),
    Line("silu", F.silu, lambda x: x * _s(x), lambda x: _s(x) + x * _s(x) * _s(-x), -FAR, FAR, 4.0, 9.0,
         lambda x: _s(x) * (1 + abs(x) * _s(-x)), abs),
    Line("softplus", F.softplus, lambda x: mp.log1p(mp.exp(x)), _s, -FAR, FAR, 4.0, 6.0),
    Line("logsigmoid", F.logsigmoid, lambda x: -mp.log1p(mp.exp(-x)), lambda x: _s(-x), -FAR, FAR, 4.0, 6.0),
    Line("gelu", F.gelu, lambda x: x * mp.ncdf(x), lambda x: mp.ncdf(x) + x * _phi(x), -45.0, 45.0, 7.0, 10.0,
         lambda x: mp.ncdf(x) + abs(x) * _phi(x), abs),
    Line("gelu, tanh", lambda x: F.gelu(x, "tanh"), lambda x: x * _s(_by_tanh(x)), _by_tanh_slope, -30.0, 30.0,
         1500.0, 2500.0, lambda x: _s(_by_tanh(x)) * (1 + 4 * abs(x) * (1 + x * x) * _s(-_by_tanh(x))), abs),
    Line("bce, answer 1", lambda x: F.binary_cross_entropy_with_logits(x, tgs.ones_like(x), reduction="none"),
         lambda x: mp.log1p(mp.exp(-x)), lambda x: -_s(-x), -FAR, FAR, 4.0, 6.0),
    Line("bce, answer 0", lambda x: F.binary_cross_entropy_with_logits(x, tgs.zeros_like(x), reduction="none"),
         lambda x: mp.log1p(mp.exp(x)), _s, -FAR, FAR, 4.0, 6.0),
    Line("softmax of (x, 0)", lambda x: F.softmax(_pair(x))[:, 0], _s, lambda x: _s(x) * _s(-x), -FAR, FAR, 5.0, 6.0,
         _s),
    Line("log_softmax of (x, 0)", lambda x: F.log_softmax(_pair(x))[:, 0],
         lambda x: -mp.log1p(mp.exp(-x)), lambda x: _s(-x), -FAR, FAR, 5.0, 6.0, lambda x: 1),
    Line("logsumexp of (x, 0)", lambda x: F.logsumexp(_pair(x)), lambda x: mp.log1p(mp.exp(x)), _s, -FAR, FAR,
         5.0, 6.0),
    Line("cross_entropy of (x, 0), answer 0",
         lambda x: F.cross_entropy(_pair(x), np.zeros(len(x), int), reduction="none"),
         lambda x: mp.log1p(mp.exp(-x)), lambda x: -_s(-x), -FAR, FAR, 5.0, 6.0, lambda x: 1),
]  # fmt: skip


def _pair(x: Any) -> Any:
    return tgs.stack([x, x * 0.0], 1)


def points(line: Line, dtype: str, count: int) -> Any:
    """Evenly and by powers, over the whole range and near 0, in this dtype."""
    low, high = line.low, line.high
    if dtype == "float32":
        low, high = max(low, -110.0), min(high, 88.0 if line.name == "exp" else high)
    tiny = [v for v in np.geomspace(1e-12, max(abs(low), abs(high)), count // 4).tolist()]
    near = np.linspace(max(low, -25.0), min(high, 25.0), count // 2)
    found = np.concatenate([np.linspace(low, high, count // 4), near, tiny, [-v for v in tiny]])
    found = found[(found > low) & (found < high) & (found != 0)]
    return np.unique(found.astype(dtype))


def units(got: Any, true: list[Any], sizes: list[Any], dtype: str) -> float:
    """The worst distance in units in the last place of the true value, or of what stands for its size."""
    worst = mp.mpf(0)
    least, digits = (-149, 24) if dtype == "float32" else (-1074, 53)
    top = mp.mpf(float(np.finfo(dtype).max))
    for g, t, size in zip(got.tolist(), true, sizes, strict=True):
        if abs(t) > top:
            continue
        unit = (
            mp.ldexp(1, max(mp.frexp(max(abs(t), abs(size)))[1] - digits, least))
            if t or size
            else mp.ldexp(1, least)
        )
        worst = max(worst, abs(mp.mpf(g) - t) / unit)
    return float(worst)


def measured(line: Line, dtype: str, way: str, count: int) -> tuple[float, float]:
    """The worst error of the value and of the slope."""
    x = points(line, dtype, count)
    ours = (
        fused(line.ours) if way == "fused" and "(" not in line.name and "bce" not in line.name else line.ours
    )
    with contextlib.nullcontext() if way == "fused" else tgs.composed(), np.errstate(all="ignore"):
        t = tgs.tensor(x, requires_grad=True)
        y = ours(t)
        (g,) = tgs.grad(y.sum(), [t])
    exact = [mp.mpf(v) for v in x.tolist()]
    normal = mp.mpf(float(np.finfo(dtype).smallest_normal))
    least = [
        normal * (min(mp.mpf(line.least(v)), 2**24 if dtype == "float32" else 2**53) if line.least else 0)
        for v in exact
    ]
    sizes = [
        max(mp.mpf(line.size(v)) if line.size else mp.mpf(0), low)
        for v, low in zip(exact, least, strict=True)
    ]
    value = units(
        y.numpy(),
        [line.true(v) for v in exact],
        least if line.least is abs else [mp.mpf(0)] * len(exact),
        dtype,
    )
    return value, units(g.numpy(), [line.derivative(v) for v in exact], sizes, dtype)


def table(count: int) -> str:
    """The table, a line for each function."""
    ways = [(d, w) for d in DTYPES for w in WAYS]
    rows = ["| function | bounds: value, slope | " + " | ".join(f"{d} {w}" for d, w in ways) + " |",
            "|---|---|" + "---|" * len(ways)]  # fmt: skip
    for line in LINES:
        found = [measured(line, d, w, count) for d, w in ways]
        cells = [f"{value:.2f}, {slope:.2f}" for value, slope in found]
        name = line.name + (" †" if line.size else "")
        rows.append(f"| {name} | {line.value:g}, {line.slope:g} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    text = table(args.points)
    print(text)
    if args.write:
        head = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")[0]
        PAGE.write_text(f"{head}<!-- table -->\n{text}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
