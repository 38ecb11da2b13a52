"""The same command again and again: every run must leave the same weights, samples and validation, to the bit.

Models of all kinds, small and large, are trained by the command line in several processes. Each process has another
seed for Python's hashes and another size of its environment, and stirs the heap while it trains, so that arrays lie
elsewhere in every run. Half of the processes find all cores kept busy.

    python tests/campaigns/same_result.py --runs 200
    python tests/campaigns/same_result.py --runs 10 --only "large lstm"
    python tests/campaigns/same_result.py --runs 1000 --only small --bare
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
MODELS = ("lstm", "gru", "rnn", "transformer")
OFTEN = {
    "dropout": 0.1,
    "layers": 2,
    "save_every": 10,
    "eval_every": 20,
    "sample_every": 15,
    "sample_length": 20,
}
SMALL = {"window": 8, "hidden": 16, "heads": 2, "batch": 2, "steps": 40}
LARGE = {"window": 32, "hidden": 256, "heads": 4, "batch": 32, "steps": 6}
TIMES = ("seconds", "characters_per_second")
CASES: dict[str, dict[str, Any]] = {
    f"{size} {model}": {"model": model, **OFTEN, **sizes}
    for size, sizes in (("small", SMALL), ("large", LARGE))
    for model in MODELS
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


def commanded(case: str, text: Path) -> str:
    """The digest of a run of `tgs train`."""
    from tinygrad_seq.cli import main as tgs

    settings = [word for k, v in CASES[case].items() for word in ("--set", f"{k}={v}")]
    with tempfile.TemporaryDirectory() as name:
        run, said = Path(name, "run"), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = tgs(["train", str(text), *settings, "-o", str(run)])
        return f"ended with {code}: {said.getvalue()[-300:]}" if code else digest(run)


def trained(case: str, text: Path) -> str:
    """The digest of losses and weights of `train`, which writes and draws nothing: quicker by far."""
    from tinygrad_seq.training import Finished, Step, train

    parts = []
    for event in train(corpus=[text.read_text()], **{**CASES[case], "sample_every": 0}):
        if isinstance(event, Step):
            parts.append(repr((event.loss, event.gradient)).encode())
        elif isinstance(event, Finished):
            parts.append(repr(event.validation).encode())
            weights = event.run.model.state_dict()
            parts += [np.asarray(weights[name]).tobytes() for name in weights]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def work(case: str, text: Path, runs: int, seed: int, bare: bool) -> None:
    """Some runs one after the other; prints a digest for each."""
    for number in range(runs):
        with stirred(seed * 1000 + number):
            print((trained if bare else commanded)(case, text), flush=True)


# ---- from outside -------------------------------------------------------------------------------------------------
# Until it is ended, or whoever started it is gone.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))"


@contextlib.contextmanager
def spinning(cores: int) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy."""
    spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(cores)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def found(case: str, text: Path, runs: int, seed: int, bare: bool) -> list[str]:
    """The digests of a process with hashes and an environment of its own."""
    padding = {"PADDING": "x" * (97 * seed % 4096), "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    arguments = ["--work", case, str(text), str(runs), str(seed), *(["--bare"] if bare else [])]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, env={**os.environ, **padding}
    )
    return done.stdout.splitlines() or [f"died with {done.returncode}: {done.stderr[-300:]}"]


def campaign(cases: list[str], runs: int, processes: int = 4, bare: bool = False) -> list[str]:
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
                with spinning((os.cpu_count() or 1) if busy else 0):
                    told = found(case, text, share, number, bare)
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
    parser.add_argument(
        "--bare", action="store_true", help="train() alone, without the command and its files"
    )
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        case, text, runs, seed = options.work
        work(case, Path(text), int(runs), int(seed), options.bare)
        return 0
    wrong = campaign([c for c in CASES if options.only in c], options.runs, options.processes, options.bare)
    print("\n".join(wrong) or "all alike")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
