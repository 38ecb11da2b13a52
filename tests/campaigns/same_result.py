"""The same command again and again: every run must leave the same weights, samples and validation, to the bit.

Models of all kinds, small and large, are trained by the command line in several processes. Each process has another
seed for Python's hashes and another size of its environment, and stirs the heap while it trains, so that arrays lie
elsewhere in every run. Half of the processes find all cores kept busy.

    python tests/campaigns/same_result.py --runs 200
    python tests/campaigns/same_result.py --runs 10 --only "large lstm"
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "then",
    "wind",
    "water",
    "stone",
    "river",
    "bird",
    "moon",
    "light",
    "small",
    "great",
    "green",
]
OFTEN = "--save-every 10 --eval-every 20 --sample-every 15 --set sample_length=20"
SMALL = f"--window 8 --hidden 16 --layers 2 --batch 2 --steps 40 --dropout 0.1 {OFTEN}"
LARGE = f"--window 32 --layers 2 --steps 6 --dropout 0.1 {OFTEN}"
TIMES = ("seconds", "characters_per_second")
CASES = {
    **{f"small {model}": f"--model {model} {SMALL}" for model in ("lstm", "gru", "rnn")},
    "small transformer": f"--model transformer --heads 2 {SMALL}",
    **{
        f"large {model}": f"--model {model} --hidden 256 --batch 32 {LARGE}"
        for model in ("lstm", "gru", "rnn")
    },
    "large transformer": f"--model transformer --hidden 128 --heads 4 --batch 12 {LARGE}",
}


def written(folder: Path, seed: int = 1) -> Path:
    """A text of some 8 kB."""
    rng = random.Random(seed)
    path = folder / "text.txt"
    path.write_text("".join(rng.choice(WORDS) + rng.choice(["", "", ",", ".\n"]) + " " for _ in range(1600)))
    return path


# ---- in a process of its own -----------------------------------------------------------------------------------
@contextlib.contextmanager
def stirred(seed: int) -> Iterator[None]:
    """Arrays of all sizes come and go on another thread: what lies where is another thing in every run."""
    rng, stop = random.Random(seed), threading.Event()
    kept: list[np.ndarray[Any, Any]] = []

    def stir() -> None:
        while not stop.is_set():
            for _ in range(rng.randrange(20)):
                kept.append(
                    np.empty(rng.choice([rng.randrange(1, 300), rng.randrange(300, 40_000)]), np.uint8)
                )
            while len(kept) > 400:
                kept.pop(rng.randrange(len(kept)))
            time.sleep(0.002)

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def digest(run: Path) -> str:
    """All that a run computed: weights, samples, and the numbers of its course apart from times."""
    parts = [(run / name).read_bytes() for name in ("last.safetensors", "best.safetensors", "samples.txt")]
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        parts.append(repr([(k, v) for k, v in told.items() if k not in TIMES]).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def work(case: str, text: Path, runs: int, seed: int) -> None:
    """Some runs one after the other; prints a digest for each."""
    from tinygrad_seq.cli import main as tgs

    for number in range(runs):
        with tempfile.TemporaryDirectory() as name, stirred(seed * 1000 + number):
            run, said = Path(name, "run"), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = tgs(["train", str(text), *CASES[case].split(), "-o", str(run)])
            print(digest(run) if not code else f"ended with {code}: {said.getvalue()[-300:]}", flush=True)


# ---- from outside -------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def spinning(cores: int) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def found(case: str, text: Path, runs: int, seed: int) -> list[str]:
    """The digests of a process with hashes and an environment of its own."""
    padding = {"PADDING": "x" * (97 * seed % 4096), "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    arguments = ["--work", case, str(text), str(runs), str(seed)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, env={**os.environ, **padding}
    )
    return done.stdout.splitlines() or [f"died with {done.returncode}: {done.stderr[-300:]}"]


def campaign(cases: list[str], runs: int, processes: int = 4, spinners: int | None = None) -> list[str]:
    """The cases whose runs were not all alike, a line each; `runs` of each case, half of them on busy cores."""
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        text = written(Path(name))
        for case in cases:
            digests: collections.Counter[str] = collections.Counter()
            counts = collections.Counter[str]()
            for number in range(processes):
                share = runs * (number + 1) // processes - runs * number // processes
                busy = number % 2 == 1
                if not share:
                    continue
                with spinning((spinners or os.cpu_count() or 1) if busy else 0):
                    told = found(case, text, share, number)
                digests.update(told)
                counts["busy" if busy else "idle"] += len(told)
            line = f"{case}: {counts['idle']} runs idle, {counts['busy']} busy, {len(digests)} result(s)"
            print(line, dict(digests), flush=True)
            if len(digests) != 1 or digests.total() != runs or " " in next(iter(digests)):
                wrong.append(line)
    return wrong


def main() -> int:
    """Read the options, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="of each case; half of them on busy cores")
    parser.add_argument("--processes", type=int, default=4, help="that share the runs of a case")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        case, text, runs, seed = options.work
        work(case, Path(text), int(runs), int(seed))
        return 0
    wrong = campaign([c for c in CASES if options.only in c], options.runs, options.processes)
    print("\n".join(wrong) or "all alike")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
