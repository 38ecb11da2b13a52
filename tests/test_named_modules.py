"""Modules that docstrings and comments name exist: paths, files and dotted names between backquotes."""

import ast
import importlib
import io
import re
import sys
import tokenize

import pytest

from docs import folders

pytestmark = pytest.mark.house

ROOT = folders.PACKAGE.parent
FILES = [*folders.modules().values()]
FILES += [p for place in ("demos", "benchmarks") for p in sorted((ROOT / place).glob("*.py"))]
MODULES = folders.modules()
SOURCES = {p.name for place in ("tinygrad_seq", "demos", "benchmarks") for p in (ROOT / place).rglob("*.py*")}
# A module's last name, or a folder's, and the whole name.
BY_NAME = {name.rpartition(".")[2]: name for name in MODULES}
# First words that are objects in a sentence, not modules: `x.exp`, `model.loss`, `layers.0.weight`.
OBJECTS = {
    "cache",
    *(
        "backends",
        "config",
        "d",
        "h_t",
        "layers",
        "lstm",
        "metrics",
        "model",
        "module",
        "name",
        "np",
        "numba",
        "numpy",
    ),
    *("p", "rng", "self", "t", "x"),
}
SCOPES = {"a/b", "lstm/gates", "lstm/layer0"}  # paths of scopes on a tape
NAMED = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_]+(?:[./][A-Za-z_0-9]+)+)(?:\([^`]*\))?`")


# Household words and turns that a reader looks up in vain; the field has a word for each.
HOUSEHOLD = re.compile(
    r"\b(whoever|nobody|is had|had back|it is said|became of|lest|trips?|arrivals|nests?|(?<!os\.)walk(s|ed|ing)?)\b"
    r"(?![`_(])",
    re.IGNORECASE,
)


def prose(source):
    """The docstrings and comments of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def exists(name):
    """Whether a path or a dotted name leads to a file, a module, or something in a module."""
    if name in SCOPES:
        return True
    if "/" in name:
        place = name if re.search(r"\.[a-z]+$", name) else f"{name}.py"
        return any((base / place).exists() or (base / name).is_dir() for base in (ROOT, folders.PACKAGE))
    parts = name.split(".")
    if parts[0] in ("tgs", "tinygrad_seq"):
        parts = parts[1:]
    if not parts or parts[0] in OBJECTS:
        return True
    if parts[-1] in ("py", "pyi", "jsonl", "toml", "json", "txt", "svg", "md", "npy", "dot"):
        return parts[-1] not in ("py", "pyi") or name in SOURCES
    if ".".join(["tinygrad_seq", *parts]) in MODULES:
        return True
    if parts[0] in BY_NAME:
        thing = importlib.import_module(BY_NAME[parts[0]])
        parts = parts[1:]
    elif parts[0] in sys.stdlib_module_names:
        thing = importlib.import_module(parts[0])
        parts = parts[1:]
    else:
        thing = importlib.import_module("tinygrad_seq")
    for part in parts:
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_prose_names_exists(path):
    """After a move no docstring and no comment names what is not there."""
    missing = {
        name
        for text in prose(path.read_text(encoding="utf-8"))
        for name in NAMED.findall(text)
        if not exists(name)
    }
    assert not missing


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("runtime/arrays", True),
        ("viz/graph", True),
        ("tests/test_house.py", True),
        ("probe.activations", True),
        ("tgs.analysis.plots", True),
        ("sums.BLOCK", True),
        ("x.exp", True),
        ("copy.copy", True),
        ("numerics.uniform", False),
        ("inspection.saliency", False),
        ("charts.learning", False),
        ("arrays.no_such", False),
        ("runtime/numerics", False),
        ("walk.py", False),
        ("backward.py", True),
    ],
)
def test_the_search_finds(name, there):
    """The rule itself: what exists, what was moved, what never was."""
    assert exists(name) is there
    assert NAMED.findall(f"as `{name}` does") == [name]


@pytest.mark.parametrize("path", [*MODULES.values()], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_prose_has_the_words_of_the_field(path):
    """No docstring and no comment speaks of walks, nests or trips where the field has a term."""
    for text in prose(path.read_text(encoding="utf-8")):
        assert not HOUSEHOLD.search(re.sub(r"`[^`]*`", "", text)), text


def test_the_search_finds_household_words():
    """The rule itself: as words, not inside others or in code."""
    found = ["the walk stops", "Whoever reads it", "one nest", "what became of it"]
    assert all(HOUSEHOLD.search(text) for text in found)
    assert not any(
        HOUSEHOLD.search(text) for text in ("honest", "os.walk", "the sidewalks", "a backward pass")
    )
