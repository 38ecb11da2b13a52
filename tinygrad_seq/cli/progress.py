"""Showing a run while it trains: shared by `tgs train` and `tgs demo`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from tinygrad_seq.cli.save_graph import save_graph
from tinygrad_seq.data import Progress
from tinygrad_seq.terminal import one_line
from tinygrad_seq.training import Event, Finished, Interrupted, Started
from tinygrad_seq.training.console import Lines, lines_for
from tinygrad_seq.training.metrics import as_json

__all__ = [
    "follow",
    "inspect_command",
    "last_words",
    "print_json",
    "program",
    "resume_command",
    "sample_command",
    "say_progress",
]


def follow(
    events: Generator[Event, None, None], endings: Sequence[str] = ("svg",), *, quiet: bool = False
) -> Finished | Interrupted:
    """Show a run until it ends, and draw its graph where it starts; returns its last event."""
    with lines_for(sys.stdout) as lines:
        return _to_the_end(events, lambda event: _show(event, lines, endings, quiet))


def print_json(events: Generator[Event, None, None]) -> Finished | Interrupted:
    """One line of JSON for each event, until the run ends; returns its last event."""
    return _to_the_end(events, _print_json)


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """Inside, an output that was closed stops nothing: a run whose terminal closes is saved, and its exit
    code says so.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError:
        # Python would try once more when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_the_end(
    events: Generator[Event, None, None], tell: Callable[[Event], None]
) -> Finished | Interrupted:
    """Print each event of a run; where printing fails, the run is saved all the same."""
    last: Event | None = None
    with contextlib.closing(events):
        try:
            for last in events:
                _told(last, tell)
        except KeyboardInterrupt as stop:
            # It came while a line was being written: the run stands between two steps and ends there.
            for last in itertools.chain([events.throw(stop)], events):
                _told(last, tell)
    assert isinstance(last, Finished | Interrupted)
    return last


def _told(event: Event, tell: Callable[[Event], None]) -> None:
    with last_words() if isinstance(event, Interrupted) else contextlib.nullcontext():
        tell(event)


def _print_json(event: Event) -> None:
    # A console that does not write every character would put `?` for the others.
    whole = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    print(json.dumps(as_json(event), ensure_ascii=not whole, allow_nan=False), flush=True)


def say_progress(every: float = 2.0) -> Callable[[Progress], None]:
    """What writes how far the tokens of a large text are to standard error, every so many seconds."""
    last = [time.monotonic()]

    def say(now: Progress) -> None:
        if time.monotonic() - last[0] >= every:
            last[0] = time.monotonic()
            of = f" of {now.total / 1e6:,.0f}" if now.total else ""
            print(f"text    {now.stage}: {now.done / 1e6:,.0f}{of} MB", file=sys.stderr, flush=True)

    return say


def _show(event: Event, lines: Lines, endings: Sequence[str], quiet: bool) -> None:
    if not quiet:
        lines.show(event)
    if isinstance(event, Started) and event.folder and not event.resumed:
        files, missing = save_graph(event.run, event.corpus.head, event.folder, endings)
        if not quiet:
            if files:
                lines.write(f"graph   {', '.join(map(str, files))}")
            if missing:
                lines.write(missing)


def sample_command(prime: str, folder: Path) -> str:
    """The command that samples from a run, as it can be typed."""
    return f"{program()} sample {_typed(str(folder))}" + (f" --prime {_typed(prime)}" if prime else "")


def inspect_command(folder: Path) -> str:
    """The command that looks into a run, as it can be typed."""
    return f"{program()} inspect {_typed(str(folder))}"


def resume_command(folder: Path) -> str:
    """The command that resumes a run, as it can be typed."""
    return f"{program()} train --resume {_typed(str(folder))}"


def program() -> str:
    """How this program can be called from here: by its name, by its path, or through Python."""
    if shutil.which("tgs"):
        return "tgs"
    return _typed(sys.argv[0]) if Path(sys.argv[0]).stem == "tgs" else "python -m tinygrad_seq"


def _typed(word: str) -> str:
    if os.name == "nt":
        return f'"{word}"' if " " in word else word
    if one_line(word) != word:
        # Quoted so that bash and zsh read it back, and without control characters for the terminal.
        data = "".join(
            chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in os.fsencode(word)
        )
        return f"$'{data}'"
    return (
        word if re.fullmatch(r"[\w@%+=:,./-]+", word) else shlex.quote(word)
    )  # shlex quotes all that is no ASCII
