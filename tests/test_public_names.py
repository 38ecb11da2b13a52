"""The public names: one table in the package's root, compared with what the modules and folders export, both ways."""

import ast
import builtins
import importlib
import inspect
from pathlib import Path

import pytest

import tinygrad_seq as tgs
from docs import folders

pytestmark = pytest.mark.house

PACKAGE = Path(tgs.__file__).parent
PUBLIC_FOLDERS = [f"tinygrad_seq.{name}" for name in tgs._FOLDERS]
PACKAGES = [
    name
    for name, path in folders.modules().items()
    if path.name == "__init__.py" and name not in ("tinygrad_seq", "tinygrad_seq.cli")
]
# Modules that most of the engine is built from: they give a few names to users and many to each other.
FOUNDATIONS = {"engine.node", "engine.ops", "engine.tensor"}
# What an `__init__` imports for its own use.
HELPERS = {"missing", "answer", "import_module", "TYPE_CHECKING", "Any", "annotations"}


def defined(module):
    """The public names that a module itself binds: its functions, classes and constants."""
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def imported(path):
    """(module, name, name here) of the imports at the top of a file, those for type checkers too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node.body for node in tree.body if isinstance(node, ast.If)]
    for node in [*tree.body, *(n for block in blocks for n in block)]:
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, a.name, a.asname or a.name) for a in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "", a.asname or a.name) for a in node.names)


@pytest.mark.parametrize("home", tgs._HOMES)
def test_each_name_is_what_its_home_exports(home):
    """From the table to the modules: the name is exported there, and the root gives that very object."""
    module = importlib.import_module(f"tinygrad_seq.{home}")
    exported = getattr(module, "__all__", None) or defined(module)
    for name in tgs._HOMES[home].split():
        assert name in exported
        assert getattr(tgs, name) is getattr(module, name)


@pytest.mark.parametrize("home", tgs._HOMES)
def test_each_exported_name_is_in_the_table(home):
    """From the modules to the table: a module of no public folder exports to users through the root alone."""
    module = importlib.import_module(f"tinygrad_seq.{home}")
    if home in FOUNDATIONS or module.__name__ in PUBLIC_FOLDERS:
        return
    assert {*getattr(module, "__all__", defined(module))} == {*tgs._HOMES[home].split()}


def test_a_name_has_one_home():
    """No name is listed twice, and no folder hides a name."""
    listed = [name for names in tgs._HOMES.values() for name in names.split()] + tgs._FOLDERS
    assert len(listed) == len({*listed})


def test_type_checkers_read_the_same_table():
    """`__init__.pyi` imports each name from the same home, in the form that re-exports it."""
    typed = list(imported(PACKAGE / "__init__.pyi"))
    table = {(f"tinygrad_seq.{home}", name) for name, home in tgs._HOME_OF.items()}
    table |= {("tinygrad_seq", name) for name in tgs._FOLDERS} | {("tinygrad_seq.version", "__version__")}
    assert {(module, name) for module, name, _ in typed} == table
    assert len(typed) == len(table)
    text = (PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
    assert all(f"import {name} as {name}\n" in text for _, name, _ in typed)


def test_star_import_hides_nothing_of_python():
    """`from tinygrad_seq import *` brings every name but those of Python's own functions."""
    assert {*tgs.__all__} == {*tgs._HOME_OF, *tgs._FOLDERS} - {*dir(builtins)}
    assert len(tgs.__all__) == len({*tgs.__all__})
    assert {"sum", "float", "Tensor"} <= {*dir(tgs)}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_folder_exports_what_it_imports(name):
    """`__all__` of a folder is what its `__init__` imports for users: sorted, each once, each there."""
    module = importlib.import_module(name)
    own = {here for _, _, here in imported(Path(module.__file__)) if here not in HELPERS}
    exported = getattr(module, "__all__", [])
    assert {*exported} == own
    assert len(exported) == len({*exported})
    for public in exported:
        assert getattr(module, public) is not None
    assert len(module.__doc__) > 40


@pytest.mark.parametrize("name", [n for n in PACKAGES if n in PUBLIC_FOLDERS])
def test_what_a_public_folder_exports_explains_itself(name):
    """Each function and class that a user can import has a docstring of its own."""
    module = importlib.import_module(name)
    for public in module.__all__:
        thing = getattr(module, public)
        if callable(thing) or inspect.ismodule(thing):
            assert thing.__doc__, f"{name}.{public}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("charts", "analysis.plots"),
        ("comparing", "analysis.compare"),
        ("diagnosis", "analysis.doctor"),
        ("inspection", "analysis.probe"),
        ("pictures", "viz"),
        ("report", "analysis.report"),
    ],
)
def test_an_old_name_says_where_its_part_is_now(old, new):
    """What was renamed is gone; the error names what stands for it, and that exists."""
    with pytest.raises(AttributeError) as found:
        getattr(tgs, old)
    lines = str(found.value).splitlines()
    assert lines[0] == f"module 'tinygrad_seq' has no attribute {old!r}."
    assert f"  It is tgs.{new} now." in lines
    importlib.import_module(f"tinygrad_seq.{new}")
