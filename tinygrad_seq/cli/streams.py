"""Standard input, output and error for a command: always open, in an encoding that can write every character.

Where one of them is closed or cannot be written while a command runs, the command prints one line at most and
ends with the exit code that a shell expects.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from tinygrad_seq.terminal import VisibleStream, bare

__all__ = ["CLOSED_PIPE", "OutputError", "close_quietly", "complain", "flushed", "prepared"]

CLOSED_PIPE = 141
"""The exit code of a program whose reader has gone: 128 and SIGPIPE, on every system."""


class OutputError(OSError):
    """Standard output that cannot be written to."""


@contextmanager
def prepared(to_the_end: bool) -> Iterator[None]:
    """Inside, what is written to standard output and error is visible text. Afterwards all is as before.

    `to_the_end` says that the process ends with the block: then nothing is put back, so that what Python itself
    writes last, such as a traceback, is harmless too.
    """
    if to_the_end:
        _occupy_closed()
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Output(_made_safe(sys.stdout)))
    sys.stderr = cast(TextIO, _Messages(_made_safe(sys.stderr)))
    try:
        yield
    finally:
        if not to_the_end:
            sys.stdout, sys.stderr = before


def _occupy_closed() -> None:
    """Open the null device where 0, 1 or 2 is closed: the next file would get this number, and our lines with it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _made_safe(stream: TextIO | None) -> TextIO:
    """No character stops the program: UTF-8 unless the user says otherwise, `?` where that fails."""
    if stream is None or stream.closed:  # started without it, as services are, and `>&-`
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    stream = bare(stream)  # a command that calls another
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        with contextlib.suppress(OSError):  # the buffer cannot be written; the next write reports it
            if not os.environ.get("PYTHONIOENCODING"):
                reconfigure(encoding="utf-8")
            reconfigure(errors="replace")
    return stream


def flushed(code: int) -> int:
    """Flush standard output, then return the exit code. Raises OSError where it cannot be written."""
    sys.stdout.flush()
    return code


class _Output(VisibleStream):
    """Standard output: where it cannot be written, the error says that it is this and no file."""

    def write(self, text: str) -> int:
        with _told():
            return super().write(text)

    def flush(self) -> None:
        with _told():
            self.bare.flush()


class _Messages(VisibleStream):
    """Standard error: where it cannot be written, the message is dropped and the work goes on."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.bare.flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"tgs: standard output cannot be written: {reason}.") from error


def close_quietly() -> None:
    """Discard what is still in the buffer: Python would try to write it at exit, and complain."""
    for stream in map(bare, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def complain(text: str) -> None:
    """Write a line to standard error, if it is open."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
    close_quietly()
