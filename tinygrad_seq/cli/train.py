"""`tgs train`: train a character model on text, in a folder of its own; it can be stopped and resumed."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygrad_seq.cli.cores import suit_threads
from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.cli.progress import (
    follow,
    last_words,
    print_json,
    resume_command,
    sample_command,
    say_progress,
)
from tinygrad_seq.cli.training_options import add_settings, given_settings
from tinygrad_seq.errors import BusyError, CheckpointError, explain
from tinygrad_seq.terminal import bare, one_line
from tinygrad_seq.training import (
    Config,
    Finished,
    Interrupted,
    free_folder,
    load_run,
    resume,
    train,
    usual_name,
)
from tinygrad_seq.training.estimate import estimate
from tinygrad_seq.training.loop import text_of
from tinygrad_seq.training.presets import fitted
from tinygrad_seq.training.run_folder import STATE

EXAMPLE = """\
  tgs train builtin:topics --minutes 2
  tgs train book.txt notes.txt --hidden 256 --layers 2 --dropout 0.2 --steps 5000 -o runs/books
  tgs train book.txt --model transformer --layers 4 --preset auto --minutes 10
  tgs train input.txt --preset shakespeare-char-cpu --dry-run
  tgs train --resume runs/books --steps 8000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs train`."""
    parser.add_argument(
        "corpus",
        nargs="*",
        metavar="CORPUS",
        help="text files (also packed by gzip, bzip2, xz or zip), folders or globs of them, "
        "- for standard input, builtin:topics (Python's language reference) "
        "or builtin:stdlib (the source of its library)",
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with a run that was stopped, exactly where it was"
    )
    parser.add_argument(
        "--allow-new-data", action="store_true", help="go on with another text than the run's own"
    )
    parser.add_argument(
        "-o", "--out", metavar="FOLDER", help="new folder for the run (default: a new one in runs)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only print all settings, the size of the model, memory, arithmetic and time of a step",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each event")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the folder of the run")
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say."""
    settings = given_settings(args)
    if args.resume is not None:
        return _resume(args, settings)
    if args.allow_new_data:
        raise UsageError(
            explain("tgs train: --allow-new-data is for --resume", None, "See tgs train --help.")
        )
    if not args.corpus and "corpus" not in settings:
        hint = "Give a file. Without a file: tgs train builtin:topics"
        raise UsageError(explain("tgs train: there is nothing to train on", None, "", hint))
    settings |= {"corpus": tuple(args.corpus)} if args.corpus else {}
    config, text, note = Config(**settings), None, ""
    progress = None if args.quiet or args.json else say_progress()
    suit_threads(vars(config))
    if args.preset == "auto" or args.dry_run:
        text = text_of(config, progress)
    if args.preset == "auto":
        config, words, note = fitted(
            config, text, frozenset(settings), suit=lambda size: suit_threads(vars(size))
        )
        suit_threads(vars(config))
        if not (args.quiet or args.json or args.dry_run):
            print(f"auto    {words}")
    if args.dry_run:
        return _print_estimate(config, text, note, args.json)
    folder = Path(args.out) if args.out else free_folder(Path("runs", usual_name(config)))
    events = train(config, corpus=text, folder=folder, progress=progress, notes=[note])
    return _follow(args, events, folder)


def _resume(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    misplaced = {
        "--out": args.out,
        "--preset": args.preset,
        "--config": args.config,
        "--dry-run": args.dry_run,
    }
    for option, value in misplaced.items():
        if value:
            hint = "A run goes on in its own folder, with its own settings; see its config.toml."
            raise UsageError(explain(f"tgs train: {option} does not go with --resume", None, "", hint))
    folder = Path(args.resume)
    config = load_run(folder, "last").config
    suit_threads(vars(config))
    progress = None if args.quiet or args.json else say_progress()
    data = args.corpus or None
    events = resume(folder, data=data, allow_new_data=args.allow_new_data, progress=progress, **settings)
    return _follow(args, events, folder)


def _follow(args: argparse.Namespace, events: Any, folder: Path) -> int:
    try:
        end = print_json(events) if args.json else follow(events, quiet=args.quiet)
    except BusyError:
        raise
    except CheckpointError as error:
        if not (folder / STATE).exists():
            raise
        hint = f"What was saved last is whole. To go on from there: {resume_command(folder)}"
        raise CheckpointError(f"{error}\n  {hint}") from error
    if args.quiet and not args.json:
        # A program that reads the name wants it as it is.
        if sys.stdout.isatty():
            print(one_line(folder))
        else:
            print(folder, file=bare(sys.stdout), flush=True)
    if args.quiet or args.json:
        if isinstance(end, Interrupted):
            # The output is JSON for a program; this line is for the person who stopped it.
            with last_words():
                print(f"saved   {one_line(folder)}\nnext    {resume_command(folder)}", file=sys.stderr)
            return 128 + end.signal
        return 0
    if isinstance(end, Finished):
        print(
            f"result  validation {end.rates.bits_per_character:z.3f} bits per character, "
            f"best {end.best_rates.bits_per_character:z.3f}"
            + f" at step {end.best_step:,}"
            * bool(end.best_step)
        )
        if end.risen:
            print(f"note    {end.risen}")
    if isinstance(end, Interrupted):
        with last_words():
            print(f"saved   {one_line(folder)}\nnext    {resume_command(folder)}")
            print(f"        {sample_command(end.prime, folder)}")
        return 128 + end.signal
    print(f"saved   {one_line(folder)}\nnext    {sample_command(end.prime, folder)}")
    return 0


def _print_estimate(config: Config, text: Any, note: str, as_json: bool) -> int:
    found = estimate(config, text)
    found = replace(found, notes=(*filter(None, [note]), *found.notes))
    if as_json:
        print(json.dumps(found.as_json()))
    else:
        print(f"{found}\n\n{found.config.to_toml()}", end="")
    return 0
