"""A character LSTM in forty lines: read text, train with a carried state, write something like it.

    python demos/char_lstm.py                     # the language reference inside every Python, about a minute
    python demos/char_lstm.py mybook.txt --steps 4000

The same as `tgs train`, with everything in the open: B parallel streams over the text, the state carried from
window to window and detached between them, so that each gradient reaches back one window and no further.
"""

from __future__ import annotations

import argparse
import math
import os
import time

# Products as small as these are not worth a second thread, and two threads on a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import data, optim
from tinygrad_seq.models import CharLM


def write(model: CharLM, vocabulary: data.Vocabulary, prime: str, n: int, temperature: float) -> str:
    """`prime` and `n` characters after it, drawn one by one."""
    rng, text, state = tgs.Generator(1, "sampling"), prime, None
    ids = vocabulary.encode(prime).reshape(-1, 1)
    with tgs.no_grad():
        for _ in range(n):
            logits, state = model(ids, state)
            p = tgs.functional.softmax(logits[-1, 0].double() / temperature).numpy()
            drawn = min(int((p.cumsum() < rng.rand(dtype="float64").item()).sum()), len(vocabulary) - 1)
            ids = np.array([[drawn]])
            text += vocabulary.decode([drawn])
    return text


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", nargs="?", default="builtin:topics")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument(
        "--reach", type=float, default=None, help="fail unless the loss gets below this, in nats"
    )
    args = parser.parse_args(argv)

    tgs.manual_seed(1)
    corpus = data.read_text(args.corpus)
    vocabulary = data.Vocabulary(corpus.text)
    parts = data.split(vocabulary.encode(corpus.text))
    streams = data.Streams(parts.train, batch=32, window=32)
    model = CharLM(len(vocabulary), args.hidden)
    print(f"{corpus}\n{model}")

    optimizer = optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.99))
    schedule = optim.CosineWithWarmup(optimizer, args.steps, warmup=min(100, args.steps // 4), final=0.02)
    state, smooth, start = None, math.log(len(vocabulary)), time.perf_counter()
    for step in range(1, args.steps + 1):
        batch = streams.next_batch()
        if batch.fresh:
            state = None
        loss, state = model.loss(batch.inputs, tgs.tensor(batch.targets), state)
        state = tgs.detach(state)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        smooth += 0.02 * (loss.item() - smooth)
        if step % max(1, args.steps // 10) == 0:
            seconds = time.perf_counter() - start
            print(
                f"step {step:5d}  {smooth:.3f} nats  {smooth / math.log(2):.3f} bits  {seconds:.0f} s",
                flush=True,
            )
    print("\n" + write(model, vocabulary, "The ", 300, 0.7))
    if args.reach is not None and not smooth < args.reach:
        raise SystemExit(f"the loss is {smooth:.3f} nats, not below {args.reach}")


if __name__ == "__main__":
    main()
