"""The cache folder of compiled kernels, private to the user, and the messages about it."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tinygrad_seq.terminal import visible

_PACKAGE = __name__.partition(".")[0]


def folder_name() -> Path:
    """The folder of kernels, there or not; `TINYGRAD_SEQ_CACHE` names another than the system's usual one.

    Raises RuntimeError where the user has no home.
    """
    chosen = os.environ.get("TINYGRAD_SEQ_CACHE")
    if chosen:
        folder = Path(chosen).expanduser()
    elif sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        folder = (Path(local) if local else Path.home() / "AppData" / "Local") / _PACKAGE / "kernels"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / _PACKAGE
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _PACKAGE
    return Path(os.path.abspath(folder))  # the program may change its working folder while it runs


@functools.cache
def cache_folder() -> Path | None:
    """The folder of kernels, made and private to the user; None, with a message, where that is not possible."""
    try:
        folder = folder_name()
    except RuntimeError:
        say_unused("the folder for caches", "the user has no home")
        return None
    complaint = _unfit(folder)
    if complaint:
        say_unused(folder, complaint)
        return None
    return folder


def _unfit(folder: Path) -> str:
    """Why a folder is not safe for code that we run, or ""."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        return f"it cannot be made ({error.strerror})"
    if hasattr(os, "getuid"):
        if facts.st_uid != os.getuid():
            return "it belongs to another user"
        if stat.S_IMODE(facts.st_mode) & 0o022:
            return "others can write to it"
    return "" if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else "it cannot be written to"


def numba_files(path: Path) -> Iterator[Path]:
    """Numba's cache files for the kernel of a source file, with their digests; `NUMBA_CACHE_DIR` moves them."""
    pattern = f"{path.stem}.*.nb[ic]*"
    yield from (path.parent / "__pycache__").glob(pattern)
    elsewhere = os.environ.get("NUMBA_CACHE_DIR")
    if elsewhere:
        yield from Path(elsewhere).glob(f"*/{pattern}")


# ---- what is said, once per process --------------------------------------------------------------------------
_said: set[str] = set()


def say_unused(folder: Path | str, why: str) -> None:
    """Print that a folder is not used."""
    say(
        "unused",
        f"{folder} is not used for kernels: {why}. They are built for this process alone; "
        "name a private folder in TINYGRAD_SEQ_CACHE.",
    )


def say_building(path: Path | None) -> None:
    """Print that a kernel is being built, which takes a moment."""
    where = f"kept in {path.parent}" if path else "for it alone"
    say("building", f"building kernels for this processor, {where}")


def say(kind: str, text: str) -> None:
    """Print a line to the error stream, once for each kind."""
    if kind not in _said and sys.stderr is not None:
        _said.add(kind)
        with contextlib.suppress(OSError, ValueError):  # a closed error stream must not stop the training
            print(visible(f"{_PACKAGE}: {text}"), file=sys.stderr)
