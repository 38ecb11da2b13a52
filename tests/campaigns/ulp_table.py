"""Errors in units in the last place of the result, against 60 digits: `python -m tests.campaigns.ulp_table --write`.

For each function the worst over a dense sweep of its range, its value and its slope, float32 and float64, by kernel
and composed. `--points N` says how dense; `--write` renews docs/accuracy.md. The functions are in `ulp_lines.py` and
`ulp_rows.py`, what has no line and why in `ulp_reasons.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

import tinygrad_seq as tgs
from tests.campaigns.ulp_lines import LINES, Line, places
from tests.campaigns.ulp_rows import DIGITS, ROWS, RowLine, rows
from tinygrad_seq.fuser.decorator import fused

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
DTYPES, WAYS = ("float32", "float64"), ("fused", "composed")
EVERY: list[Line | RowLine] = [*LINES, *ROWS]
TOGETHER = 9  # functions in one kernel: few kernels are quicker made than many
mp.mp.dps = 60


def units(got: Any, true: Any, size: Any, dtype: str, lost: Any = 0) -> float:
    """The distance in units in the last place of the true value, or of what stands for its size; NaN is infinite.

    Beyond the largest number stands the power of two that follows it, so that an overflow is a distance too.
    """
    least, digits, end = (-149, 24, 128) if dtype == "float32" else (-1074, 53, 1024)
    end = mp.ldexp(1, end)
    if np.isnan(got):
        return float("inf")
    found = mp.sign(got) * end if np.isinf(got) else mp.mpf(float(got))
    true = mp.sign(true) * end if abs(true) > end else true
    size = min(max(abs(true), abs(size)), end)
    unit = mp.ldexp(1, max(mp.frexp(size)[1] - digits, least)) if size else mp.ldexp(1, least)
    return round(float(abs(found - true) / max(unit, mp.ldexp(1, least) * lost)), 9)


def kernels() -> dict[str, tuple[Any, list[Line | RowLine], int]]:
    """For each line that is no kernel by itself: a kernel of several lines, those lines, and its place in it."""
    out: dict[str, tuple[Any, list[Line | RowLine], int]] = {}
    kinds: list[list[Line | RowLine]] = [
        [line for line in LINES if not line.own],
        [line for line in ROWS if not line.own],
    ]
    for kind in kinds:
        for start in range(0, len(kind), TOGETHER):
            part = kind[start : start + TOGETHER]

            def many(*xs: Any, part: Any = tuple(part)) -> Any:
                rest = iter(xs)
                return tuple(line.ours(*[next(rest) for _ in range(_arity(line))]) for line in part)

            made = fused(many)
            out.update({line.name: (made, part, i) for i, line in enumerate(part)})
    return out


KERNELS = kernels()


def _arity(line: Line | RowLine) -> int:
    return len(line.where) if isinstance(line, Line) else 1


@functools.lru_cache(None)
def inputs(name: str, dtype: str, count: int) -> list[Any]:
    """The arrays that a line is swept over."""
    line = next(line for line in EVERY if line.name == name)
    return places(line, dtype, count) if isinstance(line, Line) else [rows(line, dtype, max(8, count // 12))]


def _upstream(shape: tuple[int, ...], dtype: str) -> Any:
    if len(shape) == 1:
        return np.ones(shape, dtype)
    return np.random.default_rng(3).normal(size=shape).astype(dtype)


def _found(outs: list[Any], given: list[list[Any]], dtype: str) -> list[tuple[Any, list[Any]]]:
    flows = [y for y in outs if y.requires_grad]
    total: Any = sum((y * _upstream(y.shape, dtype)).sum() for y in flows)
    every = [t for part in given for t in part]
    slopes = iter(tgs.grad(total, every) if flows else [])
    return [
        (y.numpy(), [next(slopes).numpy() for _ in part] if y.requires_grad or len(outs) > 1 else [])
        for y, part in zip(outs, given, strict=True)
    ]


@functools.lru_cache(None)
def together(first: str, dtype: str, count: int) -> list[tuple[Any, list[Any]]]:
    """Values and slopes of all lines in one kernel; short sweeps are repeated to the length of the longest."""
    made, part, _ = KERNELS[first]
    longest = max(len(inputs(line.name, dtype, count)[0]) for line in part)
    given = [
        [tgs.tensor(np.resize(x, (longest, *x.shape[1:])), requires_grad=True) for x in xs]
        for xs in (inputs(line.name, dtype, count) for line in part)
    ]
    with np.errstate(all="ignore"):
        return _found(list(made(*[t for xs in given for t in xs])), given, dtype)


def computed(line: Line | RowLine, dtype: str, way: str, count: int) -> tuple[Any, list[Any]]:
    """Value and slopes as the package has them."""
    if way == "fused" and not line.own:
        _, part, place = KERNELS[line.name]
        return together(part[0].name, dtype, count)[place]
    with contextlib.nullcontext() if way == "fused" else tgs.composed(), np.errstate(all="ignore"):
        given = [[tgs.tensor(x, requires_grad=True) for x in inputs(line.name, dtype, count)]]
        return _found([line.ours(*given[0])], given, dtype)[0]


@functools.lru_cache(None)
def exact_line(name: str, dtype: str, count: int) -> list[list[tuple[Any, Any, Any] | None]]:
    """For value and each slope, at each place: the true number, its size, and what may be lost below."""
    line = next(line for line in LINES if line.name == name)
    points = [[mp.mpf(float(v)) for v in x] for x in inputs(name, dtype, count)]
    top = mp.mpf(float(np.finfo(dtype).max))
    least = mp.mpf(2) ** (24 if dtype == "float32" else 53)
    out = []
    for i, true in enumerate((line.true, *line.slopes)):
        size = (line.sizes[i : i + 1] or (None,))[0]
        lost = (line.lost[i : i + 1] or (None,))[0]
        skip = line.unless if i else None
        out.append([
            None if skip and skip(*p, top)
            else (true(*p), size(*p) if size else 0, min(lost(*p), least) if lost else 0)
            for p in zip(*points, strict=True)
        ])  # fmt: skip
    return out


@functools.lru_cache(None)
def exact_rows(name: str, dtype: str, count: int) -> list[tuple[Any, Any, Any, Any]]:
    """For each row: the true values and slopes, by differences, and their sizes."""
    line = next(line for line in ROWS if line.name == name)
    (x,) = inputs(name, dtype, count)
    with mp.workdps(60):
        many = len(line.true([mp.mpf(float(v)) for v in x[0]]))
    one = _single(line)
    weights = _upstream((len(x),) if one else (len(x), many), dtype).reshape(len(x), many)
    out = []
    for row, w in zip(x.tolist(), weights.tolist(), strict=True):
        with mp.workdps(DIGITS):
            at, weight = [mp.mpf(v) for v in row], [mp.mpf(v) for v in w]
            slopes = [_difference(line, at, weight, i) for i in range(len(at))]
        value = line.true(at)
        out.append((value, slopes, *line.sizes(at, weight, value, slopes)))
    return out


def _single(line: RowLine) -> bool:
    return bool(line.ours(tgs.tensor(np.ones((2, line.width)))).ndim == 1)


def _difference(line: RowLine, at: list[Any], weight: list[Any], i: int) -> Any:
    step = (abs(at[i]) or mp.mpf(1)) * mp.mpf(10) ** -40
    sides = [line.true([v + side * step if j == i else v for j, v in enumerate(at)]) for side in (1, -1)]
    return mp.fsum(w * (a - b) for w, a, b in zip(weight, *sides, strict=True)) / (2 * step)


def measured(line: Line | RowLine, dtype: str, way: str, count: int) -> tuple[float, float]:
    """The worst error of the value and of the slopes."""
    value, slopes = computed(line, dtype, way, count)
    if isinstance(line, Line):
        exact = exact_line(line.name, dtype, count)
        errors = [
            max(units(g, *t[:2], dtype, t[2]) for g, t in zip(got, truths, strict=False) if t is not None)
            for got, truths in zip([value, *slopes], exact, strict=False)
        ]
        return errors[0], max(errors[1:], default=0.0)
    worst = [0.0, 0.0]
    for n, (values, true_slopes, value_sizes, slope_sizes) in enumerate(exact_rows(line.name, dtype, count)):
        for i, got, true, size in (
            (0, np.atleast_1d(value[n]), values, value_sizes),
            (1, slopes[0][n], true_slopes, slope_sizes),
        ):
            worst[i] = max(
                worst[i], *(units(g, t, s, dtype) for g, t, s in zip(got, true, size, strict=True))
            )
    return worst[0], worst[1]


def table(count: int) -> str:
    """The table, a line for each function."""
    ways = [(d, w) for d in DTYPES for w in WAYS]
    out = ["| function | bounds: value, slope | " + " | ".join(f"{d} {w}" for d, w in ways) + " | why |",
            "|---|---|" + "---|" * (len(ways) + 1)]  # fmt: skip
    for line in EVERY:
        found = [measured(line, d, w, count) for d, w in ways]
        cells = [f"{value:.2f}, {slope:.2f}" for value, slope in found]
        out.append(f"| {line.name} | {line.value:g}, {line.slope:g} | {' | '.join(cells)} | {line.why} |")
    return "\n".join(out)


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
