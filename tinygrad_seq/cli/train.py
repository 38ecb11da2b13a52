"""`tgs train`: a character model, trained on text, in a folder of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_seq.cli.blas import use_one_thread
from tinygrad_seq.cli.following import follow, sample_command, say_progress
from tinygrad_seq.data.decoding import BAD_BYTES
from tinygrad_seq.training import Config, Finished, Interrupted, free_folder, train, usual_name

EXAMPLE = """\
  tgs train builtin:topics --minutes 2
  tgs train book.txt notes.txt --hidden 256 --layers 2 --dropout 0.2 --steps 5000 -o runs/books"""

_DEFAULTS = Config()
# Setting, kind, what it is; the option has the setting's name.
_OPTIONS: list[tuple[str, type[int] | type[float], str]] = [
    ("hidden", int, "units of each LSTM layer"),
    ("layers", int, "LSTM layers"),
    ("dropout", float, "probability of dropout between the layers and after the last"),
    ("batch", int, "streams of text that run side by side"),
    ("window", int, "characters that a gradient reaches back through"),
    ("lr", float, "highest learning rate"),
    ("clip", float, "bound on the norm of the gradient, 0 for none"),
    ("seed", int, "the same seed and settings give the same run"),
    ("eval_every", int, "steps from one validation to the next"),
    ("sample_every", int, "steps from one sample to the next, 0 for none"),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs train`."""
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="text files (also packed by gzip, bzip2, xz or zip), folders or globs of them, "
        "- for standard input, builtin:topics (Python's language reference) "
        "or builtin:stdlib (the source of its library)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help=f"updates (default {_DEFAULTS.steps:,})")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="time to train; with --steps, what ends first"
    )
    for name, kind, what in _OPTIONS:
        usual = f"{what} (default {getattr(_DEFAULTS, name):g})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=usual)
    parser.add_argument(
        "--tokenizer",
        metavar="KIND",
        help="char, byte, jamo (Korean letters) or bpe:N (with the extra tinygrad_seq[bpe]); default "
        f"{_DEFAULTS.tokenizer}",
    )
    parser.add_argument(
        "--encoding", metavar="NAME", help=f"of the text files (default {_DEFAULTS.encoding}), such as cp949"
    )
    parser.add_argument(
        "--bad-bytes",
        choices=BAD_BYTES,
        help=f"what to do about bytes that are not of the encoding (default {_DEFAULTS.bad_bytes})",
    )
    parser.add_argument(
        "-o", "--out", metavar="FOLDER", help="new folder for the run (default: a new one in runs)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the folder of the run")


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say."""
    texts = ["tokenizer", "encoding", "bad_bytes"]
    names = ["corpus", "steps", "minutes", *texts, *(name for name, _, _ in _OPTIONS)]
    config = Config(**{name: value for name in names if (value := getattr(args, name)) is not None})
    folder = Path(args.out) if args.out else free_folder(Path("runs", usual_name(config)))
    use_one_thread(config.hidden)
    end = follow(
        train(config, folder=folder, progress=None if args.quiet else say_progress()), quiet=args.quiet
    )
    if args.quiet:
        print(folder)
    else:
        if isinstance(end, Finished):
            print(
                f"result  validation {end.rates.bits_per_character:.3f} bits per character, "
                f"best {end.best_rates.bits_per_character:.3f}"
            )
        print(f"saved   {folder}\nnext    {sample_command(end.run, folder)}")
    return 130 if isinstance(end, Interrupted) else 0
