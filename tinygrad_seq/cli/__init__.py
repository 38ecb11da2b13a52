"""The command line: `tgs COMMAND ...`, also `python -m tinygrad_seq COMMAND ...`.

One file per command, imported when that command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from tinygrad_seq import errors
from tinygrad_seq.cli.parser import UsageError, checked_arguments, nearest_to, new_parser
from tinygrad_seq.cli.streams import CLOSED_PIPE, OutputError, close_quietly, complain, flushed, prepared
from tinygrad_seq.version import __version__

__all__ = ["main"]

COMMANDS = {
    "demo": "a tour of about a minute, offline: trains, samples, draws",
    "train": "train a character model on text",
    "sample": "write text with a trained model",
    "eval": "measure a trained model on text: nats, bits, perplexity, accuracy",
    "compare": "runs, or the whole family of models, side by side",
    "inspect": "a page of what a trained model does on a text, or charts of its gradients",
    "graph": "the graph of a model or a run, as a tree or a picture",
    "kernels": "what has been compiled for this processor",
    "doctor": "look at this machine, or at what became of a run",
    "selftest": "check in half a minute that everything works here",
}

# What a user can mend, shown without a traceback: every error class of this package, and errors about files.
_USER_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    UsageError,
    OSError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 2 a mistake that the message explains, 130 Ctrl+C, 141 standard output closed by its reader.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with prepared(to_the_end=argv is None):
        try:
            return flushed(_run(arguments))
        except SystemExit as stop:
            return _ended(stop)
        except KeyboardInterrupt as stop:
            complain("\nstopped")
            return 128 + getattr(stop, "number", 2)  # the exit code of a program ended by a signal
        except BrokenPipeError:
            # The reader of the output has closed it (`| head`).
            close_quietly()
            return CLOSED_PIPE
        except _USER_ERRORS as error:
            if "--debug" in arguments:
                raise
            complain(_words(error))
            return 2
        finally:
            close_quietly()


def _ended(stop: SystemExit) -> int:
    """The exit code of `--help`, which argparse ends with an exception."""
    try:
        return flushed(stop.code if isinstance(stop.code, int) else 0)
    except BrokenPipeError:
        close_quietly()
        return CLOSED_PIPE
    except OSError as error:
        complain(_words(error))
        return 2


def _words(error: Exception) -> str:
    """The text of an error; one of the system about a file begins with the file's name instead of an error number."""
    if not isinstance(error, OSError) or isinstance(error, OutputError) or error.errno is None:
        return str(error)
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return errors.explain(f"tgs: the system refuses: {reason}")
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    hint = "Check what stands under this name, and whether you may use it."
    return errors.explain(f"tgs: {name!r} cannot be used: {reason}", None, "", hint)


def _run(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        print(_help())
        return 0
    if first == "--version":
        print(f"tinygrad_seq {__version__}")
        return 0
    if first not in COMMANDS:
        kind = "option" if first.startswith("-") else "command"
        known = ["--help", "--version"] if kind == "option" else list(COMMANDS)
        raise UsageError(
            errors.explain(
                f"tgs: there is no {kind} {first!r}",
                None,
                f"expected one of {', '.join(known)}.",
                nearest_to(first, known) + "See tgs --help.",
            )
        )
    command = import_module(f"tinygrad_seq.cli.{first}")
    parser = new_parser(first, COMMANDS[first], command.EXAMPLE)
    command.add_arguments(parser)
    return int(command.run(checked_arguments(parser, arguments[1:])))


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: tgs COMMAND [options]",
            "",
            "Small sequence models: train them, let them write, look at their graph.",
            "",
            "commands:",
            *(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()),
            "",
            "example:",
            "  tgs demo",
            "",
            "tgs COMMAND --help explains one command; tgs --version shows the version.",
        ]
    )
