"""DOT text to SVG, PNG or PDF, by the Graphviz that is installed; it never runs inside the caller's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from tinygrad_seq.errors import RenderError

FORMATS = ("svg", "png", "pdf")
SECONDS = 60.0
_DPI = "144"
_HINT = (
    'Install one of them: pip install "tinygrad_seq[graph]", or Graphviz from graphviz.org.\n'
    '  Without either, the picture\'s .dot text and .save("picture.dot") still work.'
)


class _Refused(Exception):
    """Why one renderer failed."""


def render(dot: str, form: str, seconds: float = SECONDS) -> bytes:
    """The picture that a DOT text describes, as the bytes of an `svg`, `png` or `pdf` file.

    `dot` on PATH is tried first, then the package pygraphviz in a process of its own: Graphviz is native code, and
    a crash or an endless layout must not end the user's program. Raises RenderError with the reason of each where
    none can.
    """
    reasons = []
    for name, command in _renderers(form):
        try:
            return _run(command, dot.encode(), seconds)
        except _Refused as reason:
            reasons.append(f"{name}: {reason}")
    raise RenderError(f"picture: nothing here could draw it as {form}", None, "\n  ".join(reasons), _HINT)


def _renderers(form: str) -> Iterator[tuple[str, Sequence[str]]]:
    program, interpreter = which("dot"), sys.executable
    options = [f"-Gdpi={_DPI}"] if form == "png" else []
    yield "dot", [program, f"-T{form}", *options] if program else []
    # -P: the script's own folder must not shadow the modules that it imports. Its warnings are switched off.
    script = [interpreter, "-P", "-W", "ignore", str(Path(__file__).with_name("layout_process.py")), form]
    found = interpreter and find_spec("pygraphviz") is not None
    yield "pygraphviz", [*script, *([_DPI] if options else [])] if found else []


def _run(command: Sequence[str], data: bytes, seconds: float) -> bytes:
    """The output of a command for the input `data`; at the time limit it and its child processes are ended."""
    if not command:
        raise _Refused("not found.")
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise _Refused(f"cannot be started ({error.strerror}).") from None
    try:
        out, err = process.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise _Refused(f"not done after {seconds:g} s.") from None
    finally:
        _end(process)
    said = [
        text
        for text in err.decode(errors="replace").splitlines()
        if text.strip() and "Fontconfig" not in text
    ]
    # A label that Graphviz cannot read is left out with no more than a line on stderr.
    errors = [text for text in said if text.startswith("Error")]
    if process.returncode or errors or not out:
        detail = (errors or said[-1:] or ["it said nothing"])[0].strip()
        raise _Refused(f"failed with exit code {process.returncode}: {detail}")
    return out


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
