"""How long our own part of a picture takes (without Graphviz): reading the tape, folding, JSON, DOT and SVG.

    python benchmarks/picture_times.py

Seconds of this process, the median of some turns and the least and most of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.runtime.malloc import collector_paused
from tinygrad_seq.viz import draw


def lstm(steps: int, layers: int, composed: bool) -> Tensor:
    """The sum of an LSTM's outputs, its tape op by op or by kernel."""
    with tgs.composed() if composed else recording(True):
        return nn.LSTM(3, 4, layers)(tgs.randn(steps, 2, 3))[0].sum()


def chain(length: int) -> Tensor:
    """One product a step."""
    w, h = Tensor(0.999, requires_grad=True), Tensor(1.0, requires_grad=True)
    with collector_paused():
        for t in range(length):
            with tgs.time_step(t):
                h = h * w
    return h


def folded(output: Tensor) -> None:
    """At the level of cells, as JSON and as DOT."""
    drawn = draw(output, level="cell")
    drawn.graph.to_json()
    assert drawn.dot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--longest", type=int, default=100_000)
    args = parser.parse_args()
    long = chain(args.longest)
    cases: dict[str, tuple[Tensor, Callable[[Tensor], object]]] = {
        "T 64, 2 layers, op by op: folded DOT": (lstm(64, 2, True), lambda y: draw(y).dot),
        "T 1,000, 2 layers, by kernel: JSON, folded DOT": (lstm(1000, 2, False), folded),
        "T 1,000, op by op: JSON, folded DOT": (lstm(1000, 1, True), folded),
        f"T {args.longest:,}, one op each: JSON": (long, lambda y: draw(y).graph.to_json()),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(args.turns + 1):
        for name, (output, work) in cases.items():
            start = time.process_time()
            work(output)
            times[name].append(time.process_time() - start)
    for name, (_, *column) in times.items():  # the first turn pays for what is loaded once
        print(f"{name:48s} {statistics.median(column):7.3f} s  ({min(column):.3f} to {max(column):.3f})")


if __name__ == "__main__":
    main()
