"""Emitted source into a compiled function: a file in the user's cache folder, and numba's cache beside it.

A file, because numba keeps no cache for text that was only executed; named by a hash of all that it depends on,
because numba does not notice when a function in another file changes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_seq.files import atomic_write_text

# One by one, and never "no NaNs" or "no infinities": masks and the search for the first NaN rest on them.
FLAGS = ("afn", "arcp", "contract", "nsz", "reassoc")


@functools.cache
def cache_folder() -> Path:
    """The folder of kernels: private to the user, or a fresh one for this process alone where it is not.

    `TINYGRAD_SEQ_CACHE` names another.
    """
    chosen = os.environ.get("TINYGRAD_SEQ_CACHE")
    if chosen:
        folder = Path(chosen)
    elif sys.platform == "win32":
        folder = (
            Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
            / "tinygrad_seq"
            / "kernels"
        )
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "tinygrad_seq"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_seq"
    complaint = _unfit(folder)
    if complaint:
        print(
            f"tinygrad_seq: {folder} is not used for kernels: {complaint}. They are built for this process alone; "
            "name a private folder in TINYGRAD_SEQ_CACHE.",
            file=sys.stderr,
        )
        return Path(tempfile.mkdtemp(prefix="tinygrad_seq-"))
    return folder


def _unfit(folder: Path) -> str:
    """Why a folder cannot hold code that we run, or nothing."""
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
    return "" if os.access(folder, os.W_OK) else "it cannot be written to"


@functools.cache
def _surroundings() -> str:
    """All that a kernel depends on besides its own text."""
    import llvmlite.binding
    import numba

    here = Path(__file__).parent
    texts = "".join(
        p.read_text(encoding="utf-8") for p in (here / "scalars.py", here / "intrinsics.py") if p.exists()
    )
    parts = (
        texts,
        *FLAGS,
        numba.__version__,
        sys.version,
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
    )
    return "\0".join(parts)


@functools.cache
def build(source: str, entry: str = "kernel") -> Callable[..., None]:
    """The compiled kernel of a source text; compiled when first called, or read from the cache."""
    import numba

    name = "k_" + hashlib.sha256((source + _surroundings()).encode()).hexdigest()[:24]
    path = cache_folder() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        atomic_write_text(path, source)
    spec = importlib.util.spec_from_file_location(f"tinygrad_seq_kernels.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    compile_it = numba.njit(cache=True, fastmath=set(FLAGS), error_model="numpy", nogil=True)
    if entry != "kernel":
        module.kernel = compile_it(module.kernel)
        compile_it = numba.njit(
            cache=True, fastmath=set(FLAGS), error_model="numpy", nogil=True, parallel=True
        )
    return _Announced(compile_it, getattr(module, entry), path)


class _Announced:
    """A kernel that says once what it is doing when its first call takes long, and mends a damaged cache."""

    def __init__(self, compile_it: Any, kernel: Any, path: Path):
        self.compile_it, self.kernel, self.path = compile_it, kernel, path
        self.run: Any = None

    def __call__(self, *arguments: Any) -> None:
        if self.run is not None:
            self.run(*arguments)
            return
        start = time.perf_counter()
        compiled = self.compile_it(self.kernel)
        try:
            compiled(*arguments)
        except Exception:
            # A cache file cut short by a crash: drop what numba kept for this kernel and compile afresh.
            for kept in (self.path.parent / "__pycache__").glob(f"{self.path.stem}.*.nb*"):
                kept.unlink(missing_ok=True)
            compiled = self.compile_it(self.kernel)
            compiled(*arguments)
        self.run = compiled
        if time.perf_counter() - start > 0.5:
            _say_once(self.path.parent)


@functools.cache
def _say_once(folder: Path) -> None:
    print(f"tinygrad_seq: building kernels for this processor, kept in {folder}", file=sys.stderr)
