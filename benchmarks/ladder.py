"""The ladder of the lecture notes on one text: same split, same protocol, bits per character in one table.

    python benchmarks/ladder.py                             # the language reference inside every Python
    python benchmarks/ladder.py --corpus book.txt --steps 4000

naive, unigram, Markov, AR(tau), RNN, GRU, LSTM. Every model is fitted to the first nine tenths of the text and then
asked, by `score`, for each character of the last twentieth, given all before it there. The networks take the same
number of steps over the same batches with one optimiser, one schedule and one rate, none of it tuned. Counts have no
steps to take: on a short text, and with few steps, those of many symbols with good smoothing tell more than small
networks do. They are in the table too, but no rungs: the notes' Markov model is order 1.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time

# Products as small as these are not worth a second thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import in_turn
import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import data, models, optim
from tinygrad_seq.random import Generator

BATCH, WINDOW = 32, 32


def train(model: models.NeuralModel, ids: np.ndarray, steps: int, rate: float) -> models.NeuralModel:
    """The model after `steps` updates; the state is carried from window to window and detached between."""
    streams = data.Streams(ids, BATCH, WINDOW)
    optimizer = optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99))
    schedule = optim.CosineWithWarmup(optimizer, steps, warmup=min(100, steps // 4), final=0.02)
    state = None
    for _ in range(steps):
        batch = streams.next_batch()
        loss, state = model.loss(batch.inputs, tgs.tensor(batch.targets), None if batch.fresh else state)
        state = tgs.detach(state)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def bits_of(model: models.SymbolModel, ids: np.ndarray) -> tuple[float, float]:
    """Bits per character over all but the first, and the standard error of the mean, from blocks of 500."""
    bits = -model.score(ids)[1:] / math.log(2)
    blocks = [block.mean() for block in np.array_split(bits, max(2, len(bits) // 500))]
    return float(bits.mean()), float(np.std(blocks, ddof=1) / math.sqrt(len(blocks)))


def rungs(V: int, ids: np.ndarray, args: argparse.Namespace):
    """Name, how the model comes to be, and whether it is a rung of the ladder."""
    yield "naive, all the past", lambda: models.Naive(V).fit(ids), False
    for k in range(args.orders + 1):
        name = f"Markov, order {k}" if k else "unigram"
        yield name, lambda k=k: models.Markov(V, k, smoothing="kneser-ney").fit(ids), k < 2
    tau, hidden = args.tau, args.hidden
    rng = Generator(args.seed, "init")
    yield (
        f"AR({tau}), MLP",
        lambda: train(models.SymbolAR(V, tau, hidden, rng=rng), ids, args.steps, args.lr),
        True,
    )
    for cell in ("RNN", "GRU", "LSTM"):
        yield (
            cell,
            lambda cell=cell: train(
                models.CharLM(V, hidden, cell=cell.lower(), rng=rng), ids, args.steps, args.lr
            ),
            True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="builtin:topics")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--tau", type=int, default=3)
    parser.add_argument("--orders", type=int, default=5, help="the largest order that is counted")
    parser.add_argument("--test", type=int, default=50_000, help="characters asked for, at the most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unjudged", action="store_true", help="any order of the rungs will do")
    args = parser.parse_args()

    corpus = data.read_text(args.corpus)
    vocabulary = data.Vocabulary(corpus.text)
    parts = data.split(vocabulary.encode(corpus.text))
    V, test = len(vocabulary), parts.test[: args.test]
    print(in_turn.circumstances("numpy"))
    print(
        f"{corpus}\n{len(parts.train):,} characters to learn from, {len(test):,} asked for, {V} symbols "
        f"({math.log2(V):.3f} bits)\n"
        f"networks: {args.steps:,} steps of {BATCH} x {WINDOW}, H {args.hidden}, lr {args.lr:g}\n"
    )
    print(f"  {'':22s}{'bits/char':>10s}{'+-':>8s}{'numbers':>12s}{'seconds':>9s}")
    ladder = []
    for name, make, is_rung in rungs(V, parts.train, args):
        start = time.perf_counter()
        model = make()
        bits, error = bits_of(model, test)
        numbers = model.count() if isinstance(model, models.NeuralModel) else model.contexts
        kind = "" if isinstance(model, models.NeuralModel) else " contexts"
        seconds = time.perf_counter() - start
        print(
            f"{'*' if is_rung else ' '} {name:22s}{bits:10.3f}{error:8.3f}{numbers:12,}{seconds:9.1f}{kind}",
            flush=True,
        )
        if is_rung:
            ladder.append((name, bits))
    *lower, gru, lstm = ladder
    steps = [*itertools.pairwise(lower), (lower[-1], gru), (lower[-1], lstm)]
    broken = [f"{b[0]} is not below {a[0]}" for a, b in steps if not b[1] < a[1]]
    print("\n* unigram > Markov > AR > RNN > GRU, LSTM: " + ("; ".join(broken) or "it holds"))
    if broken and not args.unjudged:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
