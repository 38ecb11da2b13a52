"""Is one state of the source slower than another? The same small jobs on two trees, in two processes, in turn.

    git worktree add ../before <commit>
    python benchmarks/two_trees.py --old ../before --new .
    python benchmarks/two_trees.py --old ../before --new . --jobs "add" "cross_entropy (2048, 256)" --turns 60

Microseconds are medians over turns; ratios are new / old of neighbouring turns, median and quartiles, above 1 where
the new tree is slower. Compare a tree with itself first: what comes out then is the noise of the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import in_turn
import numpy as np

Job = Callable[[], object]


def training_step(model: Any, ids: Any) -> Job:
    """Forward, backward, clipping and AdamW on one batch (time, batch)."""
    from tinygrad_seq import functional as F
    from tinygrad_seq import optim

    parameters = list(model.parameters())
    optimizer = optim.AdamW(parameters, lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        logits, _ = model(ids)
        F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids.reshape(-1)).backward()
        optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def made() -> dict[str, Callable[[], Job]]:
    """name -> what prepares the job."""
    import tinygrad_seq as tgs
    from tinygrad_seq import functional as F
    from tinygrad_seq import nn
    from tinygrad_seq.models import GPT, CharLM

    rng = np.random.default_rng(0)

    def normal(*sizes: int, wants: bool = True) -> Any:
        return tgs.tensor(rng.standard_normal(sizes).astype(np.float32), requires_grad=wants)

    a, b, big, small = normal(8, 16), normal(8, 16, wants=False), normal(2048, 256), normal(2048, 2)
    linear, layers, net = nn.Linear(16, 16), [nn.Linear(16, 16) for _ in range(100)], nn.Module()
    net.layers = layers
    ids = rng.integers(0, 256, 2048)
    return {
        "add": lambda: lambda: a + b,
        "mul": lambda: lambda: a * b,
        "tanh": lambda: a.tanh,
        "a[2]": lambda: lambda: a[2],
        "add, backward": lambda: lambda: (a + b).sum().backward(),
        "sigmoid, backward": lambda: lambda: F.sigmoid(a).sum().backward(),
        "Linear(16)": lambda: lambda: linear(a),
        "parameters of 100 Linears": lambda: lambda: list(net.parameters()),
        "cross_entropy (8, 16)": lambda: lambda: F.cross_entropy(a, ids[:8] % 16).backward(),
        "cross_entropy (2048, 256)": lambda: lambda: F.cross_entropy(big, ids).backward(),
        "cross_entropy (2048, 2)": lambda: lambda: F.cross_entropy(small, ids % 2).backward(),
        "layer_norm (2048, 256)": lambda: lambda: F.layer_norm(big, 256).sum().backward(),
        "sum(0) (2048, 256)": lambda: lambda: big.sum(0),
        "LSTM step, batch 1": lambda: training_step(CharLM(65, 128), rng.integers(0, 65, (64, 1))),
        "LSTM step, batch 32": lambda: training_step(CharLM(65, 128), rng.integers(0, 65, (64, 32))),
        "GPT step, 4 x 128, batch 12": lambda: training_step(
            GPT(65, block=64, layers=4, heads=4, width=128), rng.integers(0, 65, (64, 12))
        ),
    }


def child() -> None:
    """One side: a request names a job, the answer is its time in seconds; a request for "" lists the names."""
    jobs, ready = made(), dict[str, Job]()

    def timed(run: Job) -> dict[str, float]:
        start = time.perf_counter()
        run()
        return {"seconds": time.perf_counter() - start}

    def answer(name: str) -> Any:
        if not name:
            return list(jobs)
        run = ready.setdefault(name, ready.get(name) or jobs[name]())
        return in_turn.repeated(lambda: timed(run))["seconds"]

    in_turn.serve(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, help="the tree to compare with")
    parser.add_argument("--new", type=Path, default=Path(__file__).parent.parent, help="default: this tree")
    parser.add_argument("--jobs", nargs="+", help="default: all")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child()
    if args.old is None:
        parser.error("expected --old PATH")
    print(in_turn.circumstances("numpy", "numba"))
    with in_turn.children(["old", "new"], args.threads, [args.old, args.new]) as sides:
        for name in args.jobs or sides[0].ask(""):
            old, new = in_turn.take_turns(sides, name, args.turns)
            microseconds = [f"{statistics.median(column) * 1e6:10.2f}" for column in (old, new)]
            print(
                f"{name:28s} old {microseconds[0]}  new {microseconds[1]}  {in_turn.ratio(new, old)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
