"""The rules of the house: who may import whom, what is public, how long a file may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_seq as tgs

pytestmark = pytest.mark.house

PACKAGE = Path(tgs.__file__).parent
LEVELS = {
    0: (
        "terminal weak locks errors handles arguments reading files memory blas kernel_folder kernel_digests noalias "
        "compiling sums numerics special ops"
    ),
    1: (
        "origins nodes marks refusals recording arithmetic shapes reductions indexing inplace watched "
        "numpy_protocols tensor random creation "
        "absent dtypes keywords elementwise rearranging ordering converting writing"
    ),
    2: (
        "walk arrivals routes autodiff activations plain_losses losses attention_maths functional einsum "
        "numpy_functions anomaly fusing "
        "familiar functions"
    ),
    3: "tape shape_rules tape_check listing",
    4: "pictures check fuser",
    5: "nn optim",
    6: "bptt models",
    7: "data training inspection charts comparing diagnosis sampling",
    8: "report",
    9: "cli __main__",
}
LEVEL_OF = {name: level for level, names in LEVELS.items() for name in names.split()}
READERS = {"tape", "shape_rules", "tape_check", "listing", "pictures", "check", "fuser"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def module_of(path: Path) -> str:
    """The module or folder directly below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The package's modules that a file imports anywhere, not counting those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for n in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "tinygrad_seq":
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinygrad_seq."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tinygrad_seq.")}
    return found


def test_every_module_has_a_level():
    """A new file must say where it stands."""
    assert {module_of(p) for p in FILES} == set(LEVEL_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    """A module imports from its own level or a lower one; layers never import readers of the tape."""
    level = LEVEL_OF[module_of(path)]
    for name in imported(path):
        below = LEVEL_OF.get(name)
        if below is None:
            assert level >= 7 or hasattr(tgs, name), (
                f"{name} is no module"
            )  # public names, for the command line
            continue
        assert below <= level, f"{module_of(path)} (level {level}) imports {name} (level {below})"
        layers = ("nn", "optim", "functional", "activations", "attention_maths", "losses", "plain_losses")
        if module_of(path) in layers:
            assert name not in READERS, f"{module_of(path)} imports the reader {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_and_functions_are_short(path):
    """About 300 lines a file and 50 a function, docstrings included."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 330
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno <= 60, node.name


def test_all_lists_what_is_there():
    """`__all__` is sorted by kind and each name exists."""
    assert len(set(tgs.__all__)) == len(tgs.__all__)
    for name in tgs.__all__:
        assert getattr(tgs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lstm'"):
        _ = tgs.lstm


def test_names_come_when_they_are_asked_for():
    """`import tinygrad_seq` imports not even NumPy; functions keep their names though modules have them too."""
    code = (
        "import sys, tinygrad_seq as tgs; assert 'numpy' not in sys.modules; import tinygrad_seq.tensor; "
        "import tinygrad_seq.einsum; from tinygrad_seq import einsum, tensor; "
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


def test_durations_are_of_clocks_that_are_never_set_back():
    """The time of day is asked for where it is kept in a file, and nowhere else."""
    dated = {"compiling.py", "kernels.py", "cache_folder.py"}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert path.name in dated or not re.search(
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
