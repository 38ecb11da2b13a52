"""What this machine has: versions, threads, caches, renderers, speed. A missing part is reported, never an error.

Each function returns values that JSON can hold; `examine` runs all of them and reports the error of one that fails.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from tinygrad_seq import optim
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import CharLM
from tinygrad_seq.nn import detach
from tinygrad_seq.runtime import blas as openblas
from tinygrad_seq.runtime import jit, kernel_cache
from tinygrad_seq.version import __version__

__all__ = ["EXTRAS", "examine", "extras", "folders", "processor", "renderers", "speed", "threads", "versions"]

_NEEDED = ("numpy", "numba", "llvmlite", "graphviz", "safetensors", "rich")
EXTRAS = {
    "graph": ("pygraphviz", "graphs as SVG, PNG and PDF where no dot program is installed"),
    "plot": ("matplotlib", "the charts of tgs inspect and the pictures of tgs compare"),
    "bpe": ("tokenizers", "byte pairs: tgs train --tokenizer bpe:N"),
}
_SET_BY_USER = (*openblas.VARIABLES, "MKL_NUM_THREADS")

Facts = dict[str, Any]


def examine(sections: Mapping[str, Callable[[], Facts]]) -> dict[str, Facts]:
    """What each section says; where it failed, `{"error": why}` in its place.

    >>> examine({"a": lambda: {"x": 1}, "b": lambda: {"x": 1 // 0}})
    {'a': {'x': 1}, 'b': {'error': 'ZeroDivisionError: integer division or modulo by zero'}}
    """
    found = {}
    for name, section in sections.items():
        try:
            found[name] = section()
        except Exception as error:  # one section that fails must not hide the others
            lines = str(error).splitlines() or [""]
            found[name] = {"error": f"{type(error).__name__}: {lines[0]}"}
    return found


def installed(package: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> Facts:
    """Of this package, Python, the system, and the packages it stands on."""
    return {
        "tinygrad_seq": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        **{name: installed(name) for name in _NEEDED},
    }


def processor() -> Facts:
    """The processor by name, its cores, and how many of them this process may use."""
    name = platform.processor()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        name = found[1] if found else name
    return {
        "name": name or "unknown",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "usable": _usable(),
    }


def _usable() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def threads() -> Facts:
    """Which library multiplies matrices, on how many threads, and how many the kernels may use.

    `threads` is None where the library does not say. Numba is not imported for this: it fixes its number then.
    """
    blas: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # older NumPy print it, other builds have none
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
    chosen = os.environ.get("NUMBA_NUM_THREADS", "")
    missing = jit.switched_off()
    return {
        "blas": str(blas.get("name", "unknown")),
        "blas_version": str(blas.get("version", "unknown")),
        "blas_threads": openblas.threads(),
        "set_by": {name: os.environ[name] for name in _SET_BY_USER if name in os.environ},
        "kernels": not missing,
        "no_kernels_because": missing or None,
        "kernel_threads": (int(chosen) if chosen.isdecimal() else _usable()) if not missing else 1,
    }


def renderers() -> Facts:
    """What can draw graphs: the `dot` program and its version, the package pygraphviz."""
    program = which("dot")
    version = None
    if program:
        try:
            done = subprocess.run([program, "-V"], capture_output=True, timeout=10, check=False)
            said = (done.stderr + done.stdout).decode(errors="replace")
            found = re.search(r"version (\S+)", said)
            version = found[1] if found else f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            version = f"cannot be run ({type(error).__name__})"
    return {"dot": program, "dot_version": version, "pygraphviz": installed("pygraphviz")}


def folders() -> Facts:
    """The folders of kernels and of tokens: where, how large, whether they can be written to."""
    kernels = kernel_cache.folder_name()
    return {
        "kernels": {**_folder(kernels, skip="tokens"), "count": len(list(kernels.glob("k_*.py")))},
        "tokens": _folder(kernels / "tokens"),
    }


def _folder(path: Path, skip: str = "") -> Facts:
    size = 0
    for here, below, names in os.walk(path):
        if Path(here) == path and skip in below:
            below.remove(skip)
        for name in names:
            with contextlib.suppress(OSError):  # gone in between
                size += os.lstat(os.path.join(here, name)).st_size
    there = next(one for one in (path, *path.parents) if one.exists())
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return {"path": os.fspath(path), "exists": path.is_dir(), "bytes": size, "writable": usable}


def extras() -> Facts:
    """Each extra: the package it is, its version or None, what it adds, how it is installed."""
    return {
        name: {
            "package": package,
            "installed": installed(package),
            "adds": adds,
            "install": f"python -m pip install 'tinygrad_seq[{name}]'",
        }
        for name, (package, adds) in EXTRAS.items()
    }


def speed(seconds: float = 2.0, hidden: int = 128, batch: int = 32, window: int = 64) -> Facts:
    """Characters per second of training steps of an LSTM on noise, over so many seconds after the first steps.

    `warming` is how long the first two steps took, in which kernels are loaded or built.
    """
    rng = Generator(0, "speed")
    model = CharLM(65, hidden, rng=rng)
    parameters = list(model.parameters())
    optimizer = optim.AdamW(parameters, lr=1e-3)
    ids = np.random.default_rng(0).integers(0, 65, (window + 1, batch))
    state: Any = None

    def step() -> None:
        nonlocal state
        loss, after = model.loss(ids[:-1], ids[1:], state)
        state = detach(after)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    begin = time.perf_counter()
    step()
    step()
    start = now = time.perf_counter()
    taken: list[float] = []
    while now - start < seconds or len(taken) < 2:
        step()
        taken.append(time.perf_counter() - now)
        now += taken[-1]
    rate = batch * window / float(np.median(taken))
    return {
        "model": f"LSTM 1 x {hidden}, batch {batch}, window {window}",
        "characters_per_second": rate,
        "steps": len(taken),
        "milliseconds_per_step": 1000 * float(np.median(taken)),
        "warming": start - begin,
    }
