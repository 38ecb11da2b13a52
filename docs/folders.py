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
    *("root", "runtime", "engine", "tape", "fuser", "replay", "functional", "optim", "nn", "bptt", "viz"),
    *("models", "data", "sampling", "training", "analysis", "cli"),
)
# What each folder holds, in two or three words, and its colours by the part of the house that it is in.
_WHAT = {
    "runtime": "compiler, arrays, files",
    "engine": "Tensor, backward pass",
    "tape": "the frozen record",
    "fuser": "tape to kernels",
    "functional": "formulas",
    "optim": "update rules",
    "nn": "layers over time",
    "bptt": "through time",
    "viz": "tape to pictures",
    "models": "sequence models",
    "replay": "a step run again",
    "data": "texts, tokenizers",
    "sampling": "text from a model",
    "training": "runs and their folders",
    "analysis": "probes, plots, doctor",
    "cli": "the command tgs",
}
_PARTS = {
    ("#f3f4f6", "#8c959f"): ("runtime", "data"),
    ("#cfe6f5", "#0072b2"): ("engine", "tape"),
    ("#fbe3cf", "#b8530a"): ("fuser", "replay"),
    ("#e3f1dc", "#2f7d4f"): ("functional", "optim", "nn", "models"),
    ("#f6e1ee", "#a0457d"): ("bptt", "viz", "analysis"),
    ("#fff3d1", "#a67c00"): ("sampling", "training", "cli"),
}
# What goes from a folder to one above it.
_FLOWS = {
    ("runtime", "engine"): "arrays",
    ("engine", "tape"): "graph",
    ("engine", "bptt"): "gradients",
    ("engine", "data"): "random",
    ("tape", "fuser"): "rows",
    ("fuser", "functional"): "kernels",
    ("fuser", "optim"): "kernels",
    ("fuser", "viz"): "fused ops",
    ("fuser", "replay"): "kernels",
    ("functional", "nn"): "formulas",
    ("optim", "nn"): "clipping",
    ("nn", "models"): "layers",
    ("models", "sampling"): "steps",
    ("replay", "sampling"): "replay",
    ("data", "sampling"): "symbols",
    ("bptt", "training"): "truncation",
    ("viz", "training"): "graph",
    ("sampling", "training"): "samples",
    ("training", "analysis"): "run folder",
    ("analysis", "cli"): "findings",
}
_FONT = "Helvetica,Arial,sans-serif"


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


def flows() -> list[tuple[str, str]]:
    """From which folder something goes to which above it: imports, without those that follow from others."""
    direct: dict[str, set[str]] = {name: set() for name in ORDER}
    for above, below in between_folders(graph()):
        if 0 < ORDER.index(below) < ORDER.index(above):  # the root's errors and arguments are everybody's
            direct[above].add(below)
    found = []
    for above in ORDER:
        implied = set().union(*(closure({b}, direct) - {b} for b in direct[above]))
        found += [(below, above) for below in ORDER if below in direct[above] - implied]
    return found


def drawn() -> str:
    """The folders as DOT, the lowest at the bottom; the lines say what goes up."""
    lines = [
        "digraph folders {",
        "  rankdir=BT; nodesep=0.08; ranksep=0.24; remincross=false",
        f'  node [shape=box, style="rounded,filled", fontname="{_FONT}", fontsize=10, fontcolor="#1b1f24",'
        ' margin="0.06,0.04", height=0.3]',
        f'  edge [arrowsize=0.5, color="#57606a", fontname="{_FONT}", fontsize=8, fontcolor="#57606a"]',
    ]
    for (fill, border), names in _PARTS.items():
        for name in names:
            label = f'<<b>{name}/</b><br/><font point-size="8">{_WHAT[name]}</font>>'
            lines.append(f'  {name} [label={label}, fillcolor="{fill}", color="{border}"]')
    for below, above in flows():  # with an id of its own a line keeps its title, which a test reads
        lines.append(f'  {below} -> {above} [label=" {_FLOWS[below, above]}", id="{below}-{above}"]')
    lines += ["  {rank=same; bptt; viz; nn}"]  # narrow enough for a telephone
    return "\n".join([*lines, "}"]) + "\n"


def picture() -> str:
    """The folders as SVG, in light and dark, by the means by which the package draws tapes."""
    from tinygrad_seq.viz.render import graphviz
    from tinygrad_seq.viz.render.dark import with_dark
    from tinygrad_seq.viz.render.svg import scaled, slimmed

    return scaled(with_dark(slimmed(graphviz.render(drawn(), "svg").decode())))


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGE.parent))
    target = Path(sys.argv[1])
    target.write_text(picture(), encoding="utf-8")
    print(f"wrote {target}")
