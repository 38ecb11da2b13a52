"""Train on a book by events: what `tgs train` shows, with your own few lines around it.

    python demos/shakespeare.py tinyshakespeare.txt          # any text; without one, Python's language reference
    python demos/shakespeare.py book.txt --minutes 10 --folder runs/book

`training.train(config)` is a generator. It does the work between two `yield`s and says what happened: a step, an
evaluation, a sample. Who wants to log, plot or stop does it in the `for` loop; to stop is to `break`. With a folder,
all that is needed to go on stands there at any time. Look at how the samples become words, then lines, and at the
distance between the loss on what is learnt from and on what is held out.

The loss is -log P of the next character, in nats. A model that knows nothing but how many characters there are
begins at ln V: 4.17 for the 65 of Tiny Shakespeare. There this ends at 1.587 on the held-out part, in two minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tinygrad_seq import training
from tinygrad_seq.errors import CheckpointError, DataError


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", default="builtin:topics", help="a text file, packed or not")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000, help="updates")
    parser.add_argument(
        "--minutes", type=float, default=None, help="stop after these, if the steps take longer"
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4, help="how often the model writes")
    parser.add_argument("--folder", default=None, help="keep the run here, for tgs sample and tgs inspect")
    parser.add_argument(
        "--reach", type=float, default=None, help="fail unless validation gets below this, in nats"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = options(argv)
    sys.stdout.reconfigure(errors="replace")  # a console may lack a letter of the book

    often = -(-args.steps // max(1, args.samples))
    config = training.Config(
        corpus=args.text,
        hidden=args.hidden,
        batch=args.batch,
        window=args.window,
        steps=args.steps,
        minutes=args.minutes,
        eval_every=often,
        sample_every=often,
        sample_length=200,
    )
    best, run = math.inf, None
    try:
        for event in training.train(config, folder=args.folder):
            match event:
                case training.Started():
                    run = event.run
                    print(
                        f"{event.corpus}\n{run.model}\nknowing nothing: {math.log(len(run.vocabulary)):.3f} nats"
                    )
                case training.Step() if event.report:
                    print(f"step {event.step:5d}  {event.recent:.3f} nats, {event.seconds:.0f} s", flush=True)
                case training.Evaluated():
                    best = min(best, event.validation)
                    print(f"            held out: {event.validation:.3f} nats")
                case training.Sampled():
                    print(f"---- after step {event.step} it writes:\n{event.text}\n----")
                case training.Interrupted():
                    print("interrupted; the model is that of the last whole step")
    except (DataError, CheckpointError) as error:
        raise SystemExit(str(error)) from None

    print(f"\nbest on the held-out part: {best:.3f} nats, {best / math.log(2):.3f} bits a character")
    print(
        "A careful writer (temperature 0.5):\n"
        + training.sample(run.model, run.vocabulary, n=200, temperature=0.5)
    )
    if args.folder:
        print("\ngo on with:")
        for command in ("sample", "inspect", "train --resume"):
            print(f"  tgs {command} {args.folder}")
    if args.reach is not None and not best < args.reach:
        raise SystemExit(f"the loss on the held-out part is {best:.3f} nats, not below {args.reach}")


if __name__ == "__main__":
    main()
