"""Does an op cost more on a longer tape? Build, walk and free chains of 10^3 to 10^5 ops, time per op.

    python benchmarks/cost_of_a_long_tape.py

Medians over repeats, lengths in turn; the same number of ops is timed for each length. Once as it is, once
with Python's cyclic collector paused, as `unroll` does: a tape holds no cycles, but the collector walks it.
"""

from __future__ import annotations

import argparse
import statistics
import time

import tinygrad_seq as tgs
from tinygrad_seq.runtime.malloc import collector_paused


def chain(length: int) -> tuple[float, float, float]:
    """Seconds to build, to walk and to free a chain of `length` ops on 8 numbers."""
    x = tgs.ones(8, requires_grad=True)
    clock = time.perf_counter
    start = clock()
    y = x
    for _ in range(length // 2):
        y = (y * 1.0001).tanh()
    total = y.sum()
    built = clock()
    total.backward()
    walked = clock()
    del y, total
    return built - start, walked - built, clock() - walked


def measure(lengths: list[int], repeats: int) -> None:
    times: dict[int, list[tuple[float, ...]]] = {n: [] for n in lengths}
    for _ in range(repeats):
        for n in lengths:
            runs = [chain(n) for _ in range(max(lengths) // n)]
            times[n].append(tuple(sum(r[i] for r in runs) / len(runs) / n * 1e6 for i in range(3)))
    print(f"{'ops':>8} {'build':>22} {'walk':>22} {'free':>22}")
    for n, rows in times.items():
        cells = []
        for i in range(3):
            column = sorted(row[i] for row in rows)
            cells.append(f"{statistics.median(column):6.2f} ({column[0]:.2f} to {column[-1]:.2f})")
        print(f"{n:8d} " + " ".join(f"{c:>22}" for c in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    chain(args.lengths[0])
    print("microseconds per op, median (least to most)")
    measure(args.lengths, args.repeats)
    print("with the collector paused")
    with collector_paused():
        measure(args.lengths, args.repeats)


if __name__ == "__main__":
    main()
