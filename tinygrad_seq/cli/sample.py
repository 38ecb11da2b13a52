"""`tgs sample`: text from a trained model, on standard output as it is drawn."""

from __future__ import annotations

import argparse
import sys
import unicodedata

from tinygrad_seq import Generator
from tinygrad_seq.data.tokenizer import ON_UNKNOWN
from tinygrad_seq.training import load_run, sample_stream

EXAMPLE = '  tgs sample runs/topics-lstm128 --prime "The " -n 300 --temperature 0.5 --seed 1'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs sample`."""
    parser.add_argument("run", metavar="RUN", help="folder that tgs train or tgs demo has made")
    parser.add_argument("--prime", default="", metavar="TEXT", help="what the text begins with")
    parser.add_argument(
        "--on-unknown",
        choices=ON_UNKNOWN,
        default="error",
        help="what to do about characters of the prime that the model does not know (default error)",
    )
    parser.add_argument("-n", type=int, default=500, metavar="N", help="characters to write (default 500)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="T",
        help="0 takes the likeliest character, 1 draws as learnt, more is wilder (default 0.8)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="the same seed gives the same text (default: another)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the prime and what the model makes of it."""
    trained = load_run(args.run)
    # Corpora are in this form; some keyboards and file systems give the other.
    prime = unicodedata.normalize("NFC", args.prime)
    rng = Generator(args.seed, "sampling")
    if args.on_unknown != "error":
        prime = trained.vocabulary.decode(trained.vocabulary.encode(prime, args.on_unknown))
    characters = sample_stream(trained.model, trained.vocabulary, prime, args.n, args.temperature, rng)
    sys.stdout.write(prime)
    for character in characters:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
