"""Who imports whom in the package: read from the source, checked by tests/test_house.py, drawn for docs/design.md.

python docs/folders.py docs/pictures/folders.svg
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "tinygrad_seq"
NAME = PACKAGE.name

# From the bottom to the top: a folder imports from those before it and from itself.
ORDER = (
    *("root", "runtime", "engine", "tape", "fuser", "functional", "optim", "nn", "bptt", "viz", "models"),
    *("replay", "data", "sampling", "training", "analysis", "cli"),
)
_WHAT = {
    "root": "errors, arguments, version",
    "runtime": "compiler, arrays, files",
    "engine": "primitives, Tensor, backward",
    "tape": "the frozen record",
    "fuser": "tape to kernels",
    "functional": "formulas",
    "nn": "layers, unrolled through time",
    "optim": "optimizers, schedules",
    "bptt": "truncation, gradient through time",
    "viz": "tape to pictures",
    "models": "models of sequences",
    "replay": "a step run again",
    "data": "texts, tokenizers",
    "sampling": "text from a model",
    "training": "runs and their folders",
    "analysis": "probes, plots, reports",
    "cli": "the command tgs",
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a file imports: anywhere in it, for type checkers alone too, and by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            module = node.module or ""
            if module.split(".")[0] == NAME:
                whole = {f"{module}.{a.name}" for a in node.names}
                found |= {name if name in known else module for name in whole}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == NAME}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.Constant) and str(first.value).split(".")[0] == NAME:
                found.add(str(first.value))
    return found


def graph() -> dict[str, set[str]]:
    """Each module and the modules of the package that it imports."""
    known = modules()
    return {name: imports(path, known) for name, path in known.items()}


def folder(module: str) -> str:
    """The folder directly below the package that a module is in, or `root` for the few files beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "root"


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import each other, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in number:
            visit(name)
    return found


def closure(start: set[str], edges: dict[str, set[str]], without: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    """Everything that the modules in `start` import, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [*start]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in without:
            found.add(name)
            waiting += edges[name]
    return found


def between_folders(edges: dict[str, set[str]]) -> Counter[tuple[str, str]]:
    """How many imports go from one folder to another."""
    pairs: Iterator[tuple[str, str]] = (
        (folder(name), folder(other))
        for name, others in edges.items()
        if name != NAME
        for other in others
        if other != NAME
    )
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def drawn() -> str:
    """The folders as DOT: what imports from what, without the lines that follow from others."""
    direct: dict[str, set[str]] = {name: set() for name in ORDER}
    for above, below in between_folders(graph()):
        if "root" not in (above, below):  # errors and arguments: everybody's
            direct[above].add(below)
    lines = [
        "digraph folders {",
        '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11]',
        "  edge [arrowsize=0.6]",
    ]
    lines += [f"  {name} [label=<<b>{name}/</b><br/>{_WHAT[name]}>]" for name in ORDER if name != "root"]
    for above in ORDER[1:]:
        implied = set().union(*(closure({b}, direct) - {b} for b in direct[above]))
        lines += [f"  {above} -> {below}" for below in ORDER if below in direct[above] - implied]
    return "\n".join([*lines, "}"]) + "\n"


if __name__ == "__main__":
    import graphviz

    target = Path(sys.argv[1])
    graphviz.Source(drawn(), engine="dot").render(outfile=str(target), cleanup=True)
    print(f"wrote {target}")
