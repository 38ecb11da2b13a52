"""Arguments read by argparse, refused in this package's own words and with the nearest name."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

from tinygrad_seq.errors import explain

__all__ = ["Parser", "UsageError", "checked_arguments", "nearest_to", "new_parser"]


_NAMES = ("FILE", "FOLDER", "PATH", "RUN")  # what stands for the name of a file or folder in the help


class UsageError(ValueError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise UsageError(explain(f"{self.prog}: {message}", None, "", f"See {self.prog} --help."))

    def print_help(self, file: Any = None) -> None:
        """Print the help; unlike argparse, report where it cannot be written."""
        print(self.format_help(), end="", file=file)


def new_parser(command: str, summary: str, example: str) -> Parser:
    """The parser of a command, with the options that all commands have."""
    parser = Parser(
        prog=f"tgs {command}",
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def checked_arguments(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """The arguments of a command; an unknown option is refused with the one that it looks like."""
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        first = next((one for one in unknown if one.startswith("-")), unknown[0])
        if not first.startswith("-"):
            parser.error(f"one argument too many: {first!r}")
        option = first.split("=", 1)[0]
        options = [name for action in parser._actions for name in action.option_strings]
        hint = nearest_to(option, options) + f"See {parser.prog} --help."
        raise UsageError(explain(f"{parser.prog}: there is no option {option!r}", None, "", hint))
    for action in parser._actions:
        # An empty name, of a shell's variable that is not set, would otherwise pass for an option not given.
        if (
            action.option_strings
            and getattr(known, action.dest, None) in ("", [""])
            and action.metavar in _NAMES
        ):
            parser.error(f"{action.option_strings[-1]} is empty: expected the name of a file or folder")
    return known


def nearest_to(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'? ` or nothing."""
    from tinygrad_seq.data.nearest import nearest  # the data package takes a while, and help needs none of it

    return nearest(word, list(known))
