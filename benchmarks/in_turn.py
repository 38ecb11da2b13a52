"""Two or more sides of a comparison, each in a process of its own, measured turn by turn: A B A B ...

In one process, numba's OpenMP threads and PyTorch's spin against each other after every parallel loop, and calls
of microseconds take milliseconds. Here one side works while the others sleep, blocked on a pipe. A machine that
slows down slows down neighbouring turns alike, so what is reported is the median of the ratios of neighbours.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Threads spin for some milliseconds after their last loop (OpenMP's own habit); a turn begins after that.
REST = 0.02
THIS_TREE = Path(__file__).resolve().parent.parent


class Child:
    """The same program again, as one side: it answers each request, a line of JSON, with a line of JSON.

    `tree` is the source tree whose package it imports.
    """

    def __init__(self, side: str, threads: int, tree: Path = THIS_TREE):
        self.side = side
        env = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        env["PYTHONPATH"] = os.pathsep.join([str(tree.resolve()), *filter(None, [env.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--child", side],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.requests, self.answers = process, process.stdin, process.stdout

    def ask(self, request: Any) -> Any:
        """The answer to a request, once it is there."""
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()
        line = self.answers.readline()
        if not line:
            raise SystemExit(f"The process of {self.side!r} ended; its error is above.")
        return json.loads(line)

    def close(self) -> None:
        """No more requests: the process ends."""
        self.requests.close()
        self.process.wait()
        self.answers.close()


@contextmanager
def children(sides: list[str], threads: int, trees: list[Path] | None = None) -> Iterator[list[Child]]:
    """One process for each side, with so many threads; `trees` where their source trees differ."""
    with ExitStack() as stack:
        made = []
        for side, tree in zip(sides, trees or [THIS_TREE] * len(sides), strict=True):
            made.append(Child(side, threads, tree))
            stack.callback(made[-1].close)
        yield made


def serve(answer: Callable[[Any], Any]) -> None:
    """The child's part: answer requests until there are no more. What else is printed goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        replies.write(json.dumps(answer(json.loads(line))) + "\n")
        replies.flush()


def take_turns(made: list[Child], request: Any, turns: int) -> list[list[Any]]:
    """For each child its answers, one a turn. The first turn is not counted."""
    answers: list[list[Any]] = [[] for _ in made]
    for turn in range(turns + 1):
        for child, column in zip(made, answers, strict=True):
            time.sleep(REST)
            answer = child.ask(request)
            if turn:
                column.append(answer)
    return answers


def repeated(run: Callable[[], Mapping[str, float]], least: int = 10, most: int = 200) -> dict[str, float]:
    """One turn: medians over 10 to 200 runs, for 20 ms if that is enough, after two that warm up."""
    run()
    start = time.perf_counter()
    run()
    count = min(most, max(least, int(0.02 / (time.perf_counter() - start))))
    rows = [run() for _ in range(count)]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def quartiles(column: list[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third."""
    if len(column) < 2:
        return column[0], column[0], column[0]
    low, middle, high = statistics.quantiles(column, n=4, method="inclusive")
    return low, middle, high


def ratio(ours: list[float], theirs: list[float]) -> str:
    """The median of the ratios of neighbouring turns, and their quartiles."""
    low, middle, high = quartiles([a / b for a, b in zip(ours, theirs, strict=True)])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def circumstances(*packages: str) -> str:
    """The day, the processor, how busy it is, and the versions that were measured."""
    name = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        models = [
            s.partition(":")[2].strip() for s in facts.read_text().splitlines() if s.startswith("model n")
        ]
        name = next(iter(models), name)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    # Where others are at work, threads that wait for each other spin through whole time slices: 8 or 16 ms a call.
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    cores = f"{name}, {os.cpu_count()} cores{load}"
    return f"{datetime.date.today()}, {cores}; Python {platform.python_version()}, {versions}"
