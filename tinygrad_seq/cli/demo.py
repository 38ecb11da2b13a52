"""`tgs demo`: the tour. A minute of training on text that every Python brings along, a sample, a picture."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tinygrad_seq.cli.cores import suit_threads
from tinygrad_seq.cli.progress import follow, inspect_command, last_words, program, sample_command
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.terminal import one_line
from tinygrad_seq.training import Config, Interrupted, free_folder, sample, train

EXAMPLE = "  tgs demo"

DEMO = Config(
    corpus=("builtin:topics",),
    hidden=128,
    batch=32,
    window=64,
    steps=1000,
    lr=1e-2,
    warmup=50,
    eval_every=200,
    sample_every=400,
)
"""All settings of the demo, tuned for two cores: about a minute, below 2.05 bits per character."""

_WELCOME = """\
One LSTM layer of {hidden} units learns to write like Python's language reference, character by
character: no network, no GPU, about a minute. Every op of it is on a tape that can be read and drawn.
"""

_NEXT = """\
What is where
  {graph:<34}the tape of three steps, drawn: look at this first
  {samples:<34}what the model wrote while it learnt
  {metrics:<34}loss, validation and gradient by step
  {config:<34}every setting
What to try next
  {sample} --temperature 0.5
  {inspect} --text "What does it look at?" -o report.html
  {program} train builtin:stdlib --minutes 5
  {program} train your-book.txt --hidden 256 --layers 2 --dropout 0.2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs demo`."""
    parser.add_argument("--steps", type=int, metavar="N", help=f"updates (default {DEMO.steps:,})")


def run(args: argparse.Namespace) -> int:
    """Train, sample, draw, and say what there is to see."""
    config = DEMO if args.steps is None else replace(DEMO, steps=args.steps)
    folder = free_folder(Path("runs", "demo"))
    suit_threads(vars(config))
    print(_WELCOME.format(hidden=config.hidden))
    end = follow(train(config, folder=folder), ("svg", "png"))
    if isinstance(end, Interrupted):
        with last_words():
            print(f"saved   {one_line(folder)}\nnext    {sample_command(end.prime, folder)}")
        return 128 + end.signal
    prime = end.prime
    text = sample(end.run.model, end.run.vocabulary, prime, 300, 0.5, Generator(config.seed, "demo"))
    print(f"\n--- what it writes after {prime!r}, at temperature 0.5 ---\n{prime + text}\n---\n")
    print(
        _NEXT.format(
            graph=str(next(folder.glob("graph.[sd]*"))),
            samples=str(folder / "samples.txt"),
            metrics=str(folder / "metrics.jsonl"),
            config=str(folder / "config.toml"),
            sample=sample_command(end.prime, folder),
            inspect=inspect_command(folder),
            program=program(),
        )
    )
    print(f"validation {end.rates.bits_per_character:z.3f} bits per character")
    return 0
