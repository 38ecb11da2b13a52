"""The rules of the house: who may import whom, what is public, where a file is, how long it may be."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_seq as tgs
from docs import folders

pytestmark = pytest.mark.house

PACKAGE = Path(tgs.__file__).parent
TESTS = Path(__file__).parent
MODULES = folders.modules()
EDGES = folders.graph()
FILES = [path for name, path in MODULES.items() if name != "tinygrad_seq"]
# Measures of the house. They may go down; who raises one has a reason, and says it in the commit.
LINES = 45_730
READ = {  # what a backward pass through an LSTM stands on, and the engine alone: files and lines
    ("nn.rnn.recurrent", "engine.tensor", "engine.backward"): (97, 15_770),
    ("engine.tensor", "engine.backward"): (51, 7_830),
}
# Texts of errors, and a watch that is off: nothing that is computed needs them.
UNREAD = {
    f"tinygrad_seq.{name}"
    for name in ("errors", "engine.messages", "engine.anomaly", "engine.argument_kinds")
} | {"tinygrad_seq"}

# Folders of tests that are about something else than a folder of the package.
OTHER_TESTS = {"parity", "browser", "campaigns", "demos", "docs", "ported"}


def named(path: Path) -> str:
    """A file as it is called in a report of the tests."""
    return path.relative_to(PACKAGE).as_posix()


def test_the_root_holds_folders_and_few_files():
    """What is loose beside the folders is needed by all of them."""
    loose = {p.name for p in PACKAGE.iterdir() if p.is_file()}
    assert loose == {
        *(
            "__init__.py",
            "__init__.pyi",
            "__main__.py",
            "arguments.py",
            "errors.py",
            "terminal.py",
            "version.py",
            "py.typed",
        ),
    }
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir()} - {"__pycache__"} == {*folders.ORDER} - {"root"}


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name not in ("tinygrad_seq", "tinygrad_seq.__main__")]
)
def test_imports_go_down(name):
    """A file imports from its own folder and from lower ones, for type checkers alone too."""
    level = folders.ORDER.index(folders.folder(name))
    assert "tinygrad_seq" not in EDGES[name], "a name is imported from where it is, not from the package"
    for other in EDGES[name]:
        below = folders.ORDER.index(folders.folder(other))
        assert below <= level, f"{name} imports {other}"


def test_no_circle():
    """No file imports, by whatever way round, a file that imports it."""
    inside = {name: others - {"tinygrad_seq"} for name, others in EDGES.items() if name != "tinygrad_seq"}
    assert folders.circles(inside) == []


@pytest.mark.parametrize("name", folders.ORDER[1:])
def test_folders_within_a_folder_go_one_way(name):
    """Of two folders inside one folder at most one imports from the other, by whatever way round."""
    inner: dict[str, set[str]] = {p.name: set() for p in (PACKAGE / name).iterdir() if p.is_dir()}
    for module, others in EDGES.items():
        for other in others:
            above, below = (MODULES[m].relative_to(PACKAGE).parts for m in (module, other))
            if above[0] == below[0] == name and len(above) > 2 < len(below) and above[1] != below[1]:
                inner[above[1]].add(below[1])
    assert folders.circles(inner) == []


def test_circles_are_found():
    """The search itself: a ring of three, a pair, and nothing else."""
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a", "e"}}
    assert sorted(folders.circles(edges)) == [["a", "b", "c"], ["d", "e"]]


def test_names_of_files_are_unique():
    """A file's name says which file is meant."""
    names = Counter(p.stem for p in FILES if p.stem not in ("__init__", "__main__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_hides_a_public_name():
    """Importing a module binds its name in its folder: there it must not hide what the folder exports."""
    for name, path in MODULES.items():
        if path.name in ("__init__.py", "__main__.py"):
            continue
        home, _, leaf = name.rpartition(".")
        package = importlib.import_module(home)
        if leaf in getattr(package, "__all__", []):
            assert isinstance(getattr(package, leaf), ModuleType), f"{name} hides {home}'s {leaf}"


def test_tests_mirror_the_package():
    """Each folder of tests is a folder of the package, but for those that are about something else."""
    for path in TESTS.rglob("test_*.py"):
        parts = path.relative_to(TESTS).parts[:-1]
        assert not parts or parts[0] in OTHER_TESTS or (PACKAGE / Path(*parts)).is_dir(), path


def test_layers_reach_kernels_by_one_door():
    """Formulas and layers know of the fuser only `fuser.decorator`."""
    for name, others in EDGES.items():
        if folders.folder(name) in ("replay", "functional", "nn", "optim", "bptt", "models"):
            inside = {o for o in others if folders.folder(o) == "fuser"}
            assert inside <= {"tinygrad_seq.fuser.decorator"}, name


def test_readers_of_the_tape_and_layers_know_nothing_of_each_other():
    """What lists, compiles, draws or truncates a program takes any program; layers have one door to kernels."""
    readers, layers = ("tape", "fuser", "bptt", "viz"), ("functional", "nn", "models")
    door = "tinygrad_seq.fuser.decorator"
    for name, others in EDGES.items():
        home = folders.folder(name)
        beyond = layers if home in readers else readers if home in layers else ()
        assert not {o for o in others - {door} if folders.folder(o) in beyond}, name


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_and_functions_are_short(path):
    """About 300 lines a file and 50 a function, docstrings included."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 330
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno <= 60, node.name


def test_the_package_does_not_grow_unnoticed():
    """Lines of all modules, docstrings included."""
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path in MODULES.values())
    assert lines <= LINES


@pytest.mark.parametrize("start", READ, ids=lambda start: start[0])
def test_what_must_be_read_to_understand_a_backward_pass(start):
    """All that the modules import, at whatever time, and what that imports."""
    read = folders.closure({f"tinygrad_seq.{name}" for name in start}, EDGES, UNREAD)
    lines = sum(MODULES[name].read_text(encoding="utf-8").count("\n") for name in read)
    files, most = READ[start]
    assert len(read) <= files
    assert lines <= most


def test_all_lists_what_is_there():
    """Each name of `__all__` is there once and exists."""
    assert len(set(tgs.__all__)) == len(tgs.__all__)
    for name in tgs.__all__:
        assert getattr(tgs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lstm'"):
        _ = tgs.lstm


def test_names_come_when_they_are_asked_for():
    """`import tinygrad_seq` imports not even NumPy."""
    code = (
        "import sys, tinygrad_seq as tgs; assert 'numpy' not in sys.modules; "
        "import tinygrad_seq.engine.tensor; from tinygrad_seq import einsum, tensor; "
        "print(einsum('i,i->', tensor([1.0, 2.0]), tgs.tensor([3.0, 4.0])).item(), set(dir(tgs)) >= set(tgs.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "11.0 True\n"


def test_nothing_is_unpickled_or_executed():
    """No file of the package names pickle, eval or exec."""
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "__import__"), path
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {a.name for a in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve", "dill"}, path


def test_no_text_decides():
    """What happens next depends on the kind of an error, not on its words; what is called, on a table of names."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = isinstance(node, ast.Compare) and re.match(r"'.*' (not )?in str\(", ast.unparse(node))
            assert not words or named(path) == "engine/messages.py", path  # NumPy's errors have no kinds
            called = ast.unparse(node) if isinstance(node, ast.Call) else ""
            assert not re.match(r"getattr\(\w+, f'_", called), path


def test_durations_are_of_clocks_that_are_never_set_back():
    """The time of day is asked for where it is kept in a file, and nowhere else."""
    dated = {"runtime/jit.py", "cli/kernels.py", "data/store/cache_folder.py"}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert named(path) in dated or not re.search(
            r"\btime\.time\(|datetime|from time import time\b", text
        ), path


def test_import_is_light():
    """`import tinygrad_seq` brings in neither numba nor what only some programs use."""
    code = "import sys, tinygrad_seq; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numba", "graphviz", "rich", "safetensors", "matplotlib", "torch"} & set(
        loaded.stdout.split()
    )
    assert loaded.stderr == ""
