"""`tgs kernels`: the kernels compiled for this processor: list them, print their source, remove them."""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygrad_seq.cli.parser import nearest_to
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.runtime import jit, kernel_cache
from tinygrad_seq.terminal import one_line

EXAMPLE = """\
  tgs kernels
  tgs kernels --source softmax
  tgs kernels --clear"""

# Only the file names that `runtime/jit` and numba give: nothing else in the folder is read or removed.
_SOURCE = re.compile(r"k_[0-9a-f]{24}\.py")
_OURS = re.compile(r"k_[0-9a-f]{24}\.(py|json|.+\.(nbi|nbc|pyc)(\.digest)?)")
_APART = 60.0  # seconds by which the clocks of a network's machines may differ
_OLDEST = 20 * 365 * 86400.0
_TITLE = re.compile(r"`([^`]+)`(?:, (forward|backward)\b)?")


@dataclass(frozen=True)
class Kept:
    """A kernel on the disk; `seconds` is the time to build it, None where that was not stored."""

    path: Path
    name: str
    which: str
    size: int
    seconds: float | None
    built: float

    @property
    def hash(self) -> str:
        """The hash that distinguishes it from other kernels of this name."""
        return self.path.stem.removeprefix("k_")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs kernels`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--source", metavar="KERNEL", help="print the source of a kernel: its name, or the start of its hash"
    )
    what.add_argument("--clear", action="store_true", help="remove all of them; they are built again at need")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List, show or remove what is kept."""
    try:
        folder = kernel_cache.folder_name()
    except RuntimeError:
        rule = "TINYGRAD_SEQ_CACHE names the folder."
        raise ArgumentError("kernels: no folder, for the user has no home", None, rule) from None
    if args.clear:
        return _clear(folder, args.json)
    kept = kept_in(folder)
    if args.source is not None:
        return _show_sources(chosen(kept, args.source), args.json)
    missing = jit.switched_off()
    if args.json:
        rows = [_as_json(one) for one in kept]
        print(json.dumps({"folder": str(folder), "not_compiling": missing or None, "kernels": rows}))
    else:
        print("\n".join(_listing(folder, kept, missing)))
    return 0


def kept_in(folder: Path) -> list[Kept]:
    """The kernels of a folder by name, forward before backward, the latest first."""
    found = []
    for path in _files(folder):
        if _SOURCE.fullmatch(path.name):
            try:
                found.append(_read(path))
            except OSError:  # removed by another process in between
                continue
    return sorted(found, key=lambda one: (one.name, one.which == "backward", -one.built))


def _files(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _read(path: Path) -> Kept:
    text = path.read_text(encoding="utf-8", errors="replace")
    title = _TITLE.search(text.partition("\n")[0])
    sizes = [path.stat().st_size, *(file.stat().st_size for file in kernel_cache.numba_files(path))]
    try:
        facts = json.loads(path.with_suffix(".json").read_bytes())
        taken, built = float(facts["seconds"]), float(facts["built"])
        seconds = taken if 0 <= taken < _OLDEST and math.isfinite(built) else None
        built = built if math.isfinite(built) else path.stat().st_mtime
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        seconds, built = None, path.stat().st_mtime
    name, which = (title[1], title[2] or "") if title else ("?", "")
    return Kept(path, name if name.isprintable() else repr(name), which, sum(sizes), seconds, built)


def chosen(kept: Sequence[Kept], word: str) -> list[Kept]:
    """The kernels of a name, or with a hash that begins so. Raises ArgumentError where there is none."""
    start = word.removeprefix("k_").removesuffix(".py")
    found = [one for one in kept if one.name == word] or [
        one for one in kept if start and one.hash.startswith(start)
    ]
    if not found:
        names = sorted({one.name for one in kept})
        rule = f"expected one of {', '.join(names)}, or a hash." if names else "None is kept yet."
        what = f"kernels: there is no kernel {word!r}"
        raise ArgumentError(what, None, rule, nearest_to(word, names) + "See tgs kernels.")
    return found


def _show_sources(kept: Sequence[Kept], as_json: bool) -> int:
    texts = [one.path.read_text(encoding="utf-8", errors="replace") for one in kept]
    if as_json:
        rows = [{**_as_json(one), "source": text} for one, text in zip(kept, texts, strict=True)]
        print(json.dumps({"kernels": rows}))
        return 0
    for one, text in zip(kept, texts, strict=True):
        print(f"# {one_line(one.path)}\n{text.rstrip()}" + ("\n" if one is not kept[-1] else ""))
    return 0


def _clear(folder: Path, as_json: bool) -> int:
    sources = [path for path in _files(folder) if _OURS.fullmatch(path.name)]
    inside = folder / "__pycache__"
    files = {path for path in (*sources, *_files(inside)) if _OURS.fullmatch(path.name) and not path.is_dir()}
    for path in sources:
        files |= set(kernel_cache.numba_files(path))  # NUMBA_CACHE_DIR may have them
    size = 0
    for path in sorted(files):
        size += path.lstat().st_size
        path.unlink()
    if inside.is_dir() and not _files(inside):
        inside.rmdir()
    count = sum(bool(_SOURCE.fullmatch(path.name)) for path in files)
    if as_json:
        print(json.dumps({"folder": str(folder), "removed": count, "bytes": size}))
    else:
        print(f"{_kernels(count)} removed, {_bytes(size)}, from {one_line(folder)}")
    return 0


def _as_json(one: Kept) -> dict[str, object]:
    return {
        "name": one.name,
        "pass": one.which or None,
        "bytes": one.size,
        "seconds": one.seconds,
        "built": one.built,
        "hash": one.hash,
        "file": str(one.path),
    }


def _listing(folder: Path, kept: Sequence[Kept], missing: str) -> list[str]:
    lines = []
    if missing:
        lines.append(f"{missing}: fused functions run as their compositions, slower and to the same effect.")
    if not kept:
        return [*lines, f"no kernels in {folder}: each is built when a fused function first needs it."]
    rows = [("name", "pass", "size", "built in", "age", "hash")]
    for one in kept:
        seconds = "?" if one.seconds is None else f"{one.seconds:.2f} s"
        rows.append((one.name, one.which, _bytes(one.size), seconds, _age(one.built), one.hash[:8]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(n) if i in (2, 3, 4) else text.ljust(n)
            for i, (text, n) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    total = sum(one.seconds or 0.0 for one in kept)
    return [
        *lines,
        f"{_kernels(len(kept))}, {_bytes(sum(one.size for one in kept))}, built in {total:.1f} s, in {folder}",
    ]


def _kernels(count: int) -> str:
    return f"{count} kernel{'' if count == 1 else 's'}"


def _bytes(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 999_950 else f"{count / 1e6:.1f} MB"


def _age(built: float) -> str:
    """The age of a file in words; `?` where it lies in the future because a clock was wrong."""
    seconds = time.time() - built
    if not -_APART <= seconds < _OLDEST:
        return "?"
    seconds = max(0.0, seconds)
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
