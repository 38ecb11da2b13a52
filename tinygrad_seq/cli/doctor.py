"""`tgs doctor`: a diagnosis of this machine, or of a run, in plain sentences."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_seq.cli.cores import suit_threads, use_one_thread
from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.cli.tables import as_json, short_time
from tinygrad_seq.errors import explain
from tinygrad_seq.terminal import one_line

EXAMPLE = """\
  tgs doctor
  tgs doctor runs/topics-lstm128
  tgs doctor --seconds 0 --json"""

_WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs doctor`."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run to examine (default: this machine)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="length of the speed test, 0 for none (default 2)"
    )
    parser.add_argument(
        "--data", action="append", metavar="PATH",
        help="where the run's own text is now, if it is not found; may be given several times",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Examine the machine or the run."""
    if args.seconds is not None and (args.run is not None or not 0 <= args.seconds <= 3600):
        what = (
            "--seconds belongs to the machine, not to a run"
            if args.run is not None
            else "--seconds is out of range"
        )
        raise UsageError(explain(f"tgs doctor: {what}", None, "", "See tgs doctor --help."))
    if args.data and args.run is None:
        raise UsageError(explain("tgs doctor: --data belongs to a run", None, "", "See tgs doctor --help."))
    return _run(args) if args.run is not None else _machine(args)


def _run(args: argparse.Namespace) -> int:
    from tinygrad_seq.analysis.compare import read_record
    from tinygrad_seq.analysis.doctor import verdicts

    record = read_record(args.run)
    suit_threads(record.settings)
    head = {
        "run": args.run, "model": record.model, "parameters": record.parameters, "steps": record.steps,
        "seconds": as_json(record.seconds), "notes": list(record.notes),
    }  # fmt: skip
    if not args.json:
        size = "" if record.parameters is None else f", {record.parameters:,} parameters"
        time = short_time(record.seconds)
        print(f"run        {one_line(args.run)}: {record.model}{size}, {record.steps:,} steps in {time}")
        for note in record.notes:
            print(f"           {note}")
    found = []
    for one in verdicts(record, args.data):
        found.append(one)
        if not args.json:
            print(_wrapped(f"{one.topic:<10} {one.level:<8}", one.words, 20), flush=True)
    if args.json:
        print(json.dumps({**head, "verdicts": [dataclasses.asdict(one) for one in found]}))
        return 0
    problems, hints = (sum(one.level == level for one in found) for level in ("problem", "hint"))
    print(f"in all     {_count(problems, 'problem')}, {_count(hints, 'hint')}")
    return 0


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _wrapped(head: str, words: str, indent: int) -> str:
    text = textwrap.wrap(words, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return head.ljust(indent) + ("\n" + " " * indent).join(text)


def _machine(args: argparse.Namespace) -> int:
    from tinygrad_seq.analysis.doctor import machine

    seconds = 2.0 if args.seconds is None else args.seconds

    def speed() -> dict[str, Any]:
        one = use_one_thread()  # as tgs train does
        return {**machine.speed(seconds), "one_thread": one}

    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "versions": machine.versions, "processor": machine.processor, "threads": machine.threads,
        "renderers": machine.renderers, "folders": machine.folders, "extras": machine.extras,
    }  # fmt: skip
    if seconds:
        sections["speed"] = speed
    if args.json:
        print(json.dumps(machine.examine(sections)))
        return 0
    for name, section in sections.items():
        found = machine.examine({name: section})[name]
        lines = [f"could not be looked at: {found['error']}"] if "error" in found else _SAID[name](found)
        print("\n".join(f"{name if i == 0 else '':<10} {line}" for i, line in enumerate(lines)), flush=True)
    return 0


Facts = Mapping[str, Any]


def _versions(found: Facts) -> list[str]:
    packages = [f"{name} {version or 'missing'}" for name, version in list(found.items())[3:]]
    return [
        f"tinygrad_seq {found['tinygrad_seq']}, Python {found['python']}, {found['system']}",
        ", ".join(packages),
    ]


def _processor(found: Facts) -> list[str]:
    return [
        f"{found['name']} ({found['machine']}), {found['cores']} cores, {found['usable']} for this process"
    ]


def _threads(found: Facts) -> list[str]:
    n = found["blas_threads"]
    chosen = ", ".join(f"{name}={value}" for name, value in found["set_by"].items())
    blas = f"matrix products: {found['blas']} {found['blas_version']}, "
    blas += "an unknown number of threads" if n is None else _count(n, "thread")
    kernels = f"kernels: up to {_count(found['kernel_threads'], 'thread')}"
    if not found["kernels"]:
        kernels = (
            f"kernels: none, {found['no_kernels_because']}; compositions run, slower, to the same effect"
        )
    return [blas + (f" ({chosen})" if chosen else ""), kernels]


def _renderers(found: Facts) -> list[str]:
    lines = []
    if found["dot"]:
        lines.append(f"dot {found['dot_version']} at {found['dot']}")
    if found["pygraphviz"]:
        lines.append(f"pygraphviz {found['pygraphviz']}")
    return lines or ["none: graphs are kept as .dot text. " + "python -m pip install 'tinygrad_seq[graph]'"]


def _folders(found: Facts) -> list[str]:
    lines = []
    for name, one in found.items():
        size = f"{one['bytes'] / 1e6:z,.1f} MB" if one["exists"] else "not there yet"
        count = f", {_count(one['count'], 'kernel')}" if "count" in one else ""
        lines.append(
            f"{name}: {one['path']}, {size}{count}{'' if one['writable'] else ', CANNOT BE WRITTEN TO'}"
        )
    return lines


def _extras(found: Facts) -> list[str]:
    return [
        f"{name}: {one['package']} {one['installed']}: {one['adds']}"
        if one["installed"]
        else f"{name}: not installed; would add {one['adds']}: {one['install']}"
        for name, one in found.items()
    ]


def _speed(found: Facts) -> list[str]:
    threads = ", products on one thread as tgs train has it" if found["one_thread"] else ""
    return [
        f"{found['characters_per_second']:z,.0f} characters per second in training ({found['model']}{threads}), "
        f"{found['milliseconds_per_step']:z.0f} ms a step; the first two steps took {found['warming']:z.1f} s"
    ]


_SAID: dict[str, Callable[[Facts], list[str]]] = {
    "versions": _versions,
    "processor": _processor,
    "threads": _threads,
    "renderers": _renderers,
    "folders": _folders,
    "extras": _extras,
    "speed": _speed,
}
