"""Finding the text of a run from another working folder, or after the text or the run was moved.

A name in the settings is relative to the folder that the run began in. That folder is stored as an absolute path
and as a path from the run's own folder, so that a run may be moved with its text or without it. A file that is
found counts only if the hash of its content is the run's.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from tinygrad_seq.data.nearest import shorten
from tinygrad_seq.errors import DataError, first_line

__all__ = ["BEGUN_IN", "BEGUN_IN_FROM_RUN", "OLD_EXT", "Found", "begun_in", "found_text"]

BEGUN_IN, BEGUN_IN_FROM_RUN = "begun_in", "begun_in_from_run"
"""The facts of a run that hold the folder it began in: its path, and the same from the run's folder on."""


class _Text(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


OLD_EXT = "txt,text,md"
"""The endings that runs of earlier versions, which know no `ext`, took from a folder."""
_SHOWN = 3

T = TypeVar("T", bound=_Text)
Sources = tuple[str, ...]


class Found(NamedTuple):
    """A text, and whether its content is the run's own; the names it was read by, seen from the folder `place`."""

    text: Any
    same: bool
    names: Sources
    place: str


def begun_in(run: Path, place: str) -> dict[str, str]:
    """The facts that store the folder `place`, to which the names of a run's text are relative."""
    facts = {BEGUN_IN: place}
    # On Windows there is no relative path to another drive.
    with contextlib.suppress(ValueError):
        facts[BEGUN_IN_FROM_RUN] = Path(os.path.relpath(place, os.path.realpath(run))).as_posix()
    return facts


def found_text(
    what: str,
    corpus: Sequence[str],
    run: Path,
    facts: Mapping[str, Any],
    read: Callable[[Sources], T],
    hint: str,
) -> Found:
    """The first text with the content of the run's own (`facts["sha256"]`) that its names `corpus` lead to.

    Where there is none, the first text that there is, with `same` False.

    `read` makes a text of names. Raises `DataError`, which begins with `what` and ends with `hint`, where there is
    none that can be read.
    """
    sha256, other = facts.get("sha256"), None
    failed: DataError | None = None
    looked: list[str] = []
    for sources, names, place in _tried(corpus, run, facts):
        looked += [os.path.dirname(os.path.abspath(one)) for one in sources if not _is_there(one)]
        if not all(map(_is_there, sources)):
            continue
        try:
            text = read(sources)
        except DataError as error:
            failed = failed or error
            continue
        if sha256 in (None, text.sha256):
            return Found(text, True, names, place)
        other = other or Found(text, False, names, place)
    if other is not None:
        return other
    rule = "expected the files of its config.toml, from the folder that it was started in or beside the run."
    places = list(dict.fromkeys(looked))
    why = first_line(failed) if failed else f"it is not in {', '.join(map(shorten, places[:_SHOWN]))}"
    raise DataError(what, {"corpus": list(corpus)}, f"{why}.\n  {rule}", hint) from failed


def _tried(corpus: Sequence[str], run: Path, facts: Mapping[str, Any]) -> list[tuple[Sources, Sources, str]]:
    """The places where the names may lead, the likeliest first: what to read, its names, and the folder of these."""
    at, here = os.path.realpath(run), os.getcwd()
    begun, beside = (facts.get(name) for name in (BEGUN_IN, BEGUN_IN_FROM_RUN))
    bases = [os.path.join(at, place) for place in (begun, beside) if isinstance(place, str)]
    # Runs of earlier versions did not store it: most began two folders above, because runs/NAME is the usual place.
    bases += [here, os.path.join(at, os.pardir, os.pardir), os.path.join(at, os.pardir), at]
    whole = tuple(corpus)
    moved = tuple(_from(begun, one) for one in corpus)
    # A text that was copied beside the run is looked for by its name without folders.
    last = tuple(one if _is_no_file(one) else os.path.basename(one.rstrip("/\\")) for one in corpus)
    found: dict[Sources, tuple[Sources, Sources, str]] = {}
    for names in (whole, moved, last):
        for base in dict.fromkeys(map(os.path.normpath, bases)):
            sources = tuple(one if base == here else _joined(base, one) for one in names)
            found.setdefault(sources, (sources, names, base))
    return list(found.values())


def _from(begun: object, source: str) -> str:
    """A name made relative to the folder that the run began in."""
    if not isinstance(begun, str) or not os.path.isabs(source):
        return source
    try:
        return os.path.relpath(source, begun)
    except ValueError:
        return source


def _joined(base: str, source: str) -> str:
    if source == "-" or source.startswith("builtin:"):
        return source
    return os.path.join(glob.escape(base) if glob.has_magic(source) else base, source)


def _is_no_file(source: str) -> bool:
    return source == "-" or source.startswith("builtin:") or glob.has_magic(source)


def _is_there(source: str) -> bool:
    if source == "-" or source.startswith("builtin:"):
        return True
    try:
        return os.path.exists(source) or (glob.has_magic(source) and bool(glob.glob(source, recursive=True)))
    except ValueError:
        return False  # a name with a zero byte
