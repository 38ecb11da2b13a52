"""Source text to a compiled function, cached on disk: a file in the user's cache folder, numba's cache beside it.

A file, because numba has no cache for text that was only executed; named by a hash of everything it depends
on, because numba does not notice when a function in another file changes. Where no folder can be used, the
same text is compiled for this process only. The source text comes from the caller; no tape is read here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_seq.errors import CheckpointError
from tinygrad_seq.runtime import noalias
from tinygrad_seq.runtime.files import atomic_write_text
from tinygrad_seq.runtime.kernel_cache import cache_folder, numba_files, say_building, say_unused
from tinygrad_seq.runtime.kernel_digests import enable_checked_cache

# None. Not "contract" (a product and a sum in one step): LLVM does it in one copy of a loop and not in another, so
# that a number's last bit hung on how many stand beside it, and on which thread took it. Nothing that lets LLVM take
# a NaN or an infinity for absent: not "no NaNs", nor "reassoc" and "nsz", which fold x - x to 0, nor "arcp" and
# "afn", which make 1 / sqrt(inf) a NaN.
FLAGS: tuple[str, ...] = ()

_PACKAGE = __name__.partition(".")[0]


# ---- may we compile? -----------------------------------------------------------------------------------------
def switched_off() -> str:
    """The reason why nothing is compiled, as far as it can be known without importing numba, or ""."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set"
    try:
        there = importlib.util.find_spec("numba") is not None
    except Exception:  # an import hook, or a stand-in in sys.modules, may raise anything
        there = False
    return "" if there else "numba is not installed"


@functools.cache
def kernels_wanted() -> bool:
    """True where numba can be imported and its compiler is not switched off by NUMBA_DISABLE_JIT."""
    if switched_off():
        return False
    try:
        import numba
    except Exception:  # an llvmlite that does not load, a NumPy that is too new: the compositions still run
        return False
    return not getattr(numba.config, "DISABLE_JIT", 0)


# ---- the name of a kernel ------------------------------------------------------------------------------------
@functools.cache
def _surroundings() -> str:
    """Everything that all kernels depend on besides texts and flags."""
    import llvmlite
    import llvmlite.binding
    import numba

    from tinygrad_seq.version import __version__

    config = numba.config  # NUMBA_CPU_NAME and NUMBA_CPU_FEATURES: what to compile for, if not this processor
    parts = (
        __version__,
        numba.__version__,
        llvmlite.__version__,
        sys.version,
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
        repr((getattr(config, "CPU_NAME", None), getattr(config, "CPU_FEATURES", None))),
    )
    return "\0".join(parts)


# By a regular expression, because parsing a module takes ten times as long; a false match does no harm.
_IMPORT = re.compile(r"^\s*(?:from\s+([.\w]+)\s+)?import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)


@functools.cache
def _modules_named(text: str, package: str) -> set[str]:
    """The modules of this package that a text imports from, `package` being its own for relative imports."""
    found = set()
    for origin, imported in _IMPORT.findall(text):
        names = [name.split(" as ")[0].strip() for name in imported.strip("()").split(",")]
        if origin:
            module = importlib.util.resolve_name(origin, package)
            names = [module, *(f"{module}.{name}" for name in names)]
        found |= {name for name in names if name.startswith(f"{_PACKAGE}.") and name[-1] != "."}
    return found


@functools.cache
def _module_text(name: str) -> tuple[str, str]:
    """The text of a module and the package it is in; nothing for a name that is no module, or has no text."""
    try:
        spec = importlib.util.find_spec(name)
        text = spec.loader.get_source(name) if spec else None  # type: ignore[union-attr]
    except (ImportError, AttributeError, ValueError, OSError):
        return "", ""
    return (text or "", spec.parent or "") if spec else ("", "")


def _texts_behind(source: str) -> str:
    """The texts of this package's modules that a source is made with, those that they import included."""
    texts: dict[str, str] = {}
    waiting = sorted(_modules_named(source, _PACKAGE))
    while waiting:
        name = waiting.pop()
        if name not in texts:
            texts[name], package = _module_text(name)
            waiting += sorted(_modules_named(texts[name], package))
    return "\0".join(f"{name}\0{texts[name]}" for name in sorted(texts))


# ---- building ------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=1024)
def build(
    source: str,
    function: str = "kernel",
    flags: tuple[str, ...] = FLAGS,
    parallel: bool = False,
    vectors: int = 1,
) -> Callable[..., Any]:
    """The compiled `function` of a source text; compiled when first called, or read from the cache.

    `flags` are LLVM's fast-math flags. Another function than `kernel` may call that; with `parallel` its loops of
    `prange` run on numba's threads. `vectors` is how many vectors a loop works on side by side: of a chain of steps
    each waits for the last, so a second one hides the waiting, as long as the processor has names for the values of
    both. The kernel must not raise, for a call that does is taken for a damaged cache and repeated.
    """
    parts = (
        source,
        function,
        *flags,
        f"{parallel} {vectors} noalias exact, every signature alike",
        _texts_behind(source),
        _surroundings(),
    )
    name = "k_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    folder = cache_folder()
    path = _stored(folder / f"{name}.py", source) if folder else None
    text = _Text(f"{_PACKAGE}_kernels.{name}", source, path)
    spec = importlib.machinery.ModuleSpec(text.name, text, origin=str(path) if path else None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[text.name] = module  # where numba looks for the module of a function that it kept
    text.exec_module(module)
    for callee in ("over_rows", "kernel"):
        if callee != function and hasattr(module, callee):
            vars(module)[callee] = _compiled(vars(module)[callee], flags, vectors=vectors)
    return _Kernel(getattr(module, function), source, path, flags, parallel, vectors)


def _compiled(
    function: Callable[..., Any], flags: tuple[str, ...], parallel: bool = False, vectors: int = 1
) -> Any:
    import numba

    return numba.njit(
        fastmath=set(flags),
        error_model="numpy",
        nogil=True,
        parallel=parallel,
        pipeline_class=noalias.compiler(vectors),
    )(function)


def build_function(function: Callable[..., Any], flags: tuple[str, ...] = ()) -> Callable[..., Any] | None:
    """A function of this package compiled as `build` does; None where the package came without its source.

    The function may use only Python and its arguments, because only its own text is compiled.
    """
    try:
        text = inspect.getsource(function)
    except OSError:
        return None
    title = (
        f'"""`{function.__name__}` of {function.__module__}."""\n\nfrom __future__ import annotations\n\n\n'
    )
    return build(title + text, function.__name__, flags)


class _Text(importlib.abc.ExecutionLoader):
    """Loads a kernel from the text in memory: the file on the disk is for numba and for people, and is never
    executed.
    """

    def __init__(self, name: str, source: str, path: Path | None):
        self.name, self.source = name, source
        self.filename = str(path) if path else f"<{name}>"

    def get_source(self, fullname: str) -> str:
        """The text."""
        return self.source

    def get_filename(self, fullname: str) -> str:
        """The file whose lines a traceback names."""
        return self.filename


def _stored(path: Path, source: str) -> Path | None:
    """The file with this text, written if it does not exist; None, with a message, where it cannot be written."""
    try:
        path.parent.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # it may have been removed while the program ran
        with contextlib.suppress(OSError):
            if path.read_bytes() == source.encode():
                return path
        atomic_write_text(path, source)
    except (OSError, CheckpointError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        say_unused(path.parent, f"it cannot be written to ({getattr(cause, 'strerror', None) or cause})")
        return None
    return path


class _Kernel:
    """A function that is compiled at its first call, with one message, and repairs a damaged cache."""

    def __init__(
        self,
        function: Any,
        source: str,
        path: Path | None,
        flags: tuple[str, ...],
        parallel: bool = False,
        vectors: int = 1,
    ):
        self.function, self.source, self.path, self.flags = function, source, path, flags
        self.parallel, self.vectors = parallel, vectors
        self.run: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if self.run is not None:
            try:
                return self.run(*arguments)
            except Exception:
                self.run = None  # other dtypes, whose file in the cache is damaged or cannot be written
        return self._first(arguments)

    def _first(self, arguments: tuple[Any, ...]) -> Any:
        path = self.path
        if path is None or next(numba_files(path), None) is None:
            say_building(path)
        if path is None:
            return self._attempt(arguments, None)
        try:
            return self._attempt(arguments, path)
        except Exception as error:
            # A file truncated by a crash, or a removed folder: drop numba's cache, and compile again.
            for kept in numba_files(path):
                with contextlib.suppress(OSError):
                    kept.unlink()
            full = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
            if not full and _stored(path, self.source):
                with contextlib.suppress(Exception):
                    return self._attempt(arguments, path)
            why = getattr(error, "strerror", None) or type(error).__name__
        result = self._attempt(arguments, None)  # an error of the kernel itself is raised here
        say_unused(path.parent, f"numba cannot keep its files there ({why})")
        return result

    def _attempt(self, arguments: tuple[Any, ...], path: Path | None) -> Any:
        start = time.perf_counter()
        compiled = _compiled(self.function, self.flags, self.parallel, self.vectors)
        if path is not None:
            enable_checked_cache(compiled)
        result = compiled(*arguments)
        seconds = time.perf_counter() - start
        self.run = compiled
        if path is not None and not compiled.stats.cache_hits:
            if seconds > 0.5:
                say_building(path)
            facts = {"seconds": round(seconds, 3), "built": round(time.time(), 3)}
            with contextlib.suppress(CheckpointError):  # it only serves to be shown
                atomic_write_text(path.with_suffix(".json"), json.dumps(facts) + "\n")
        return result
