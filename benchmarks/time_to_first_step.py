"""Seconds from starting `tgs train` to the end of its first step: with an empty kernel cache, and with a full one.

    python benchmarks/time_to_first_step.py

Each run is a new process of `python -m tinygrad_seq train builtin:topics --steps 1 --sample-every 0`, all else at
its default, with TINYGRAD_SEQ_CACHE in a private temporary folder that is empty (cold) or holds what the cold run
before left (warm). The run's metrics do not count from the start of the process, so the command runs with one
function wrapped: the one that does an update tells the time when it returns for the first time. The process as a
whole is timed too; after the step it evaluates the validation text once and saves. Python's own bytecode files
are there already: a run before the first that counts sees to that. Medians, least to most.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUNDS = {"cold": 10.0, "warm": 1.5}
COMMAND = ["train", "builtin:topics", "--steps", "1", "--sample-every", "0", "--quiet", "--out"]
CHILD, MARK = "BENCHMARK_CHILD", "first step ended at "


def child() -> None:
    """`python -m tinygrad_seq` with this process's arguments, and a mark when the first update is done."""
    import runpy

    # The command imports it too, so that nothing is loaded that would not be.
    from tinygrad_seq.training import step as updater

    step = updater.Updater.step

    def telling(self: updater.Updater) -> tuple[float, float]:
        result = step(self)
        # The time of day, the one clock that two processes surely share.
        print(f"{MARK}{time.monotonic():.6f}", flush=True)
        updater.Updater.step = step  # type: ignore[method-assign]
        return result

    updater.Updater.step = telling  # type: ignore[method-assign]
    runpy.run_module("tinygrad_seq", run_name="__main__", alter_sys=True)


def one_run(folder: Path, cache: Path) -> tuple[float, float]:
    """Seconds to the end of the first step, and to the end of the process."""
    package = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": paths, "TINYGRAD_SEQ_CACHE": str(cache), CHILD: "1"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, *COMMAND, str(folder)],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    stop = time.monotonic()
    marks = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    return float(marks[0].removeprefix(MARK)) - start, stop - start


def main() -> None:
    if os.environ.get(CHILD):
        return child()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    times: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    # Folders made so are the user's alone (mode 0700), which the cache insists on.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        before = Path(made, "before")
        one_run(before / "run", before / "cache")
        for repeat in range(repeats):
            place = Path(made, str(repeat))
            for state, column in times.items():
                column.append(one_run(place / state, place / "cache"))
    print(f"tgs {' '.join(COMMAND[:-2])}: seconds from the start of the process, {repeats} runs each")
    print(f"{'kernel cache':12s} {'end of the first step':>24s} {'bound':>6s} {'end of the process':>24s}")
    for state, column in times.items():
        cells = []
        for seconds in zip(*column, strict=True):
            cells.append(f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})")
        print(f"{state:12s} {cells[0]:>24s} {BOUNDS[state]:6.1f} {cells[1]:>24s}")
    return None


if __name__ == "__main__":
    main()
