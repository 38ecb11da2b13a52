"""Files and modules that the documents name are there, and the map of the house in `docs/design.md` is whole."""

from __future__ import annotations

import ast
import html
import importlib
import re
from pathlib import Path

import pytest

from docs import folders

pytestmark = pytest.mark.house

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tinygrad_seq"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
README, CONTRIBUTING, DESIGN = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "design.md"
# What looks like a path and is none of ours: a folder of the user's, a kind of data, an ending.
FOREIGN = re.compile(r"\.venv/|runs/|application/json|\.py$|\.+/")
# Folders whose every module stands in the map; of the others the subfolders do.
MAPPED = (
    *("runtime", "engine", "tape", "fuser", "fuser/scalars", "functional", "optim", "nn", "nn/rnn"),
    *("bptt", "models", "replay", "data", "sampling"),
)


def spans(page: Path) -> list[str]:
    """What stands between single backquotes, outside of blocks of code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def is_there(name: str, page: Path) -> bool:
    """A file or folder of the repository, of the package, or beside the page; modules without their ending."""
    places = (ROOT, PACKAGE, page.parent, ROOT / "benchmarks")
    return any((place / name).exists() or (place / f"{name}.py").exists() for place in places)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_are_there(page):
    """`engine/ops`, `tests/cases.py`, `viz/fold/`: whatever is written as a path."""
    paths = [span for span in spans(page) if re.fullmatch(r"[\w.-]*/[\w./-]*|[\w-]*\.py", span)]
    missing = [path for path in paths if not FOREIGN.match(path) and not is_there(path, page)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_and_programs_are_there(page):
    """`tinygrad_seq.data.idx`, `python -m tests.x`, `python demos/x.py`, in blocks of code too."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\btinygrad_seq(?:\.\w+)+", text):
        assert reached(name), name
    for name in re.findall(r"\bpython3? -m (tests[.\w]*)", text):
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").exists(), name
    for name in re.findall(r"\bpython3? ([\w/]+\.py)\b", text):
        assert (ROOT / name).exists(), name


def reached(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module has."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in folders.modules():
            found = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                found = getattr(found, part, None)
            return found is not None
    return False


def unknown(code: str) -> list[str]:
    """What a program imports from the package, or names as `tgs.a.b` and the like, and what is not there."""
    tree = ast.parse(code)
    homes: dict[str, str] = {}
    wanted = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tinygrad_seq":
            homes |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.partition(".")[0] == "tinygrad_seq"]
            homes |= {alias.asname or "tinygrad_seq": alias.name for alias in ours}
    for node in ast.walk(tree):
        said = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        first, _, rest = said.partition(".")
        if first in homes and re.fullmatch(r"[\w.]+", said):
            wanted.append(f"{homes[first]}.{rest}")
    return [name for name in (*homes.values(), *wanted) if not reached(name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_name_what_is_there(page):
    """Each block of Python in a document is Python, and what it takes from the package is there."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block in blocks:
        assert not unknown(block)


def test_a_missing_name_is_seen(tmp_path):
    """The search itself."""
    assert is_there("engine/ops", README)
    assert is_there("engine/", README)
    assert not is_there("engine/walk", README)
    assert not is_there("pictures/", README)
    assert reached("tinygrad_seq.engine.op.OPS")
    assert not reached("tinygrad_seq.engine.walk")
    assert not reached("tinygrad_seq.engine.ops.nothing")
    program = "import tinygrad_seq as tgs\nfrom tinygrad_seq.data import nothing\ntgs.bptt.reach, tgs.nn.Lost"
    assert unknown(program) == ["tinygrad_seq.data.nothing", "tinygrad_seq.nn.Lost"]
    (tmp_path / "page.md").write_text("`a/b` and\n```\n`c/d`\n```\n`e`\n", encoding="utf-8")
    assert spans(tmp_path / "page.md") == ["a/b", "e"]


def mapped() -> dict[str, list[str]]:
    """The modules that the map names, by folder."""
    table = DESIGN.read_text(encoding="utf-8").partition("<!-- modules -->\n")[2].partition("\n\n")[0]
    found: dict[str, list[str]] = {}
    folder = ""
    for row in table.splitlines()[2:]:
        first, second = row.split("|")[1:3]
        folder = re.sub(r"[` ]", "", first).rstrip("/") or (folder if not first.strip() else "")
        found.setdefault(folder, []).extend(re.findall(r"`(\w+)`", second))
    return found


def test_the_map_of_the_house_is_whole():
    """Each module once, beside its folder, and no other; folders in the order of imports."""
    found = mapped()
    assert [name for name in found if name and "/" not in name] == list(folders.ORDER[1:])
    for name in ("", *MAPPED):
        modules = {path.stem for path in (PACKAGE / name).glob("*.py")} - {"__init__", "__main__"}
        assert sorted(found[name]) == sorted(modules), f"docs/design.md: the modules of {name or 'the root'}"


def test_every_subfolder_is_named():
    """Also where the modules are not."""
    text = DESIGN.read_text(encoding="utf-8")
    inner = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    assert not [name for name in sorted(inner) if f"`{name}/`" not in text]


def engine(page: Path, heading: str) -> list[str]:
    """The engine's modules in the order in which a page wants them read: what stands before its `Then`."""
    section = page.read_text(encoding="utf-8").partition(f"{heading}\n")[2].partition("\n#")[0]
    return re.findall(r"`(engine/\w+)`", section.partition("Then")[0])


def test_engine_is_as_long_as_the_readme_says():
    """To the hundred; CONTRIBUTING has the same order."""
    order = engine(README, "## Read the code in this order")
    assert len(order) > 5
    assert order == engine(CONTRIBUTING, "## Read in this order")
    said = int(re.search(r"engine, ([\d,]+) lines", README.read_text(encoding="utf-8"))[1].replace(",", ""))
    lines = sum((PACKAGE / f"{name}.py").read_text(encoding="utf-8").count("\n") for name in order)
    assert abs(lines - said) <= 50, f"{lines} lines"


def test_nothing_is_read_before_what_it_is_made_of():
    """No file of the engine imports one that is to be read later, by whatever way round."""
    names = [
        "tinygrad_seq." + name.replace("/", ".") for name in engine(README, "## Read the code in this order")
    ]
    edges = folders.graph()
    later = [
        (a, b)
        for at, a in enumerate(names)
        for b in folders.closure({a}, edges, {"tinygrad_seq"})
        if b in names[at + 1 :]
    ]
    assert not later


def test_the_picture_of_the_folders_is_of_todays_imports():
    """Boxes, lines and words of `docs/pictures/folders.svg`; where they stand is the layout's matter."""
    svg = (ROOT / "docs" / "pictures" / "folders.svg").read_text(encoding="utf-8")
    boxes = re.findall(r'class="node">\s*<title>(.*?)</title>', svg)
    lines = [
        tuple(html.unescape(title).split("->"))
        for title in re.findall(r'class="edge">\s*<title>(.*?)</title>', svg)
    ]
    words = " ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))
    renew = "renew it: python docs/folders.py docs/pictures/folders.svg"
    assert sorted(boxes) == sorted(folders.ORDER[1:]), renew
    assert sorted(lines) == sorted(folders.flows()), renew
    least = int(re.search(r"min-width: (\d+)px", svg)[1])
    assert least <= 344, (
        "too wide for a telephone of 360 pixels: other words or other ranks in docs/folders.py"
    )
    for said in re.findall(r'">([^<]+)</font>|label=" ([^"]+)"', folders.drawn()):
        assert "".join(said) in html.unescape(words).replace("\u00a0", " "), renew
