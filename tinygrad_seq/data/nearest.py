"""Names in error messages: shortened, and with the nearest name that exists."""

from __future__ import annotations

import difflib
import os

__all__ = ["nearest", "neighbors", "shorten"]


def nearest(word: str, known: list[str]) -> str:
    """`Did you mean 'x'? ` for the likeliest of `known`, or nothing when none is near."""
    found = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {found[0]!r}? " if found else ""


def shorten(name: str) -> str:
    """A name as a message shows it: quoted, and without its middle when it is very long."""
    quoted = repr(name)
    return quoted if len(quoted) <= 200 else f"{quoted[:98]}...{quoted[-98:]}"


def neighbors(name: str) -> list[str]:
    """Paths that exist in the folder where `name` was looked for, written as `name` was."""
    folder = os.path.dirname(name)
    try:
        return [os.path.join(folder, entry) for entry in sorted(os.listdir(folder or os.curdir))]
    except (OSError, ValueError):
        return []
