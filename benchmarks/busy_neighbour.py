"""A training step and its estimate with a free and a busy second core: all threads, and threads as they are chosen.

    python benchmarks/busy_neighbour.py
    python benchmarks/busy_neighbour.py --model transformer --hidden 128 --window 64 --steps 300
    python benchmarks/busy_neighbour.py --old ../an-earlier-checkout

Each row is a process of its own. `all` keeps the products on all cores; `chosen` lets a run choose; `old` is the
package in another folder, such as a worktree of an earlier commit. The losses of `all` and `chosen` must be the same
to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEXT = "the wind went over the water and the moon stood over the stone. " * 2000


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Median and longest step of the second half of a run, its notes, the digest of its losses, and the estimate."""
    from tinygrad_seq.data import Corpus
    from tinygrad_seq.training import Config, Step, train
    from tinygrad_seq.training.estimate import estimate

    if options.child == "all":
        from tinygrad_seq.training import busy_cores

        busy_cores.ProductThreads._choice = lambda self: 0  # type: ignore[method-assign]
    config = Config(
        model=options.model, hidden=options.hidden, window=options.window, batch=options.batch, steps=options.steps,
        sample_every=0, eval_every=10**9, lr=1e-3,
    )  # fmt: skip
    text = Corpus(TEXT)
    found = estimate(config, text)
    times, losses, notes = [0.0], [], []
    for event in train(config, corpus=text):
        if isinstance(event, Step):
            times.append(event.seconds)
            losses.append(event.loss)
            note = getattr(event, "note", "")  # earlier versions have none, and no range
            notes += [note] if note else []
    taken = [b - a for a, b in itertools.pairwise(times)]
    late = sorted(taken[len(taken) // 2 :])
    return {
        "ms": 1000 * late[len(late) // 2],
        "longest": 1000 * max(late),
        "seconds": times[-1],
        "estimate": [options.steps * end for end in (found.seconds, *getattr(found, "seconds_range", ()))],
        "notes": notes,
        "digest": hashlib.sha256(repr(losses).encode()).hexdigest()[:12],
    }


def main() -> int:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lstm")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--programs", type=int, default=1, help="that keep a core busy each")
    parser.add_argument("--old", metavar="FOLDER", help="that holds an earlier version of the package")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options)))
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.campaigns.same_result import spinning

    digests = set()
    for busy in (0, options.programs):
        for way in (*(["old"] if options.old else []), "all", "chosen"):
            root = options.old if way == "old" else str(ROOT)
            with spinning(busy):
                command = [sys.executable, __file__, *sys.argv[1:], "--child", way]
                own = {**os.environ, "PYTHONPATH": root}
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=own)
            found = json.loads(done.stdout)
            if way != "old":
                digests.add(found["digest"])
            typical, *ends = (f"{seconds:.1f}" for seconds in found["estimate"])
            print(
                f"{busy} busy, {way:6}: {found['ms']:8.1f} ms a step, longest {found['longest']:8.1f} ms, run "
                f"{found['seconds']:6.1f} s, estimated {typical} s{' (' + ' to '.join(ends) + ')' if ends else ''}",
                *(f"    {note}" for note in found["notes"]), sep="\n", flush=True,
            )  # fmt: skip
    print("losses the same to the bit" if len(digests) == 1 else f"losses differ: {digests}")
    return len(digests) != 1


if __name__ == "__main__":
    sys.exit(main())
