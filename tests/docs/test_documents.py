"""What the documents say is so: kernels printed in them, links, the README's programs and commands.

`python -m tests.docs.test_documents` writes the kernels into `docs/kernels.md` anew.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import re
import tomllib
from pathlib import Path

import pytest

import tinygrad_seq as tgs
from tinygrad_seq import cli
from tinygrad_seq.engine.op import OPS
from tinygrad_seq.functional import activations
from tinygrad_seq.fuser.scalars.maths import BOUNDS
from tinygrad_seq.nn.rnn.cells import lstm_gates
from tinygrad_seq.runtime.jit import FLAGS, kernels_wanted

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
README, KERNELS = ROOT / "README.md", ROOT / "docs" / "kernels.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE = re.compile(r"(<!-- source: (.+?) -->\n```python\n)(.*?)(```\n)", re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
RENEW = """docs/kernels.md shows another kernel than runs.
Renew it: python -m tests.docs.test_documents. Then read the table below the kernel again."""


def sources() -> dict[str, str]:
    """The kernels that `docs/kernels.md` prints, as they are."""
    # Of sizes that are settled: the names of columns in a kernel depend on them.
    xw, hu, c = (tgs.randn(2, n, requires_grad=True) for n in (64, 64, 16))
    h, new = lstm_gates(xw, hu, c)
    tgs.grad((h * new).sum(), [xw, hu, c])
    x = tgs.randn(2, 32, requires_grad=True)
    tgs.grad((tgs.functional.softmax(x) ** 2).sum(), x)
    fused = {"lstm_gates": lstm_gates, "softmax": activations._softmax}
    return {f"{name} backward": fn.source("backward") for name, fn in fused.items()}  # type: ignore[attr-defined]


def with_kernels(page: str, real: dict[str, str]) -> str:
    """The page with the kernels as they are."""
    return SOURCE.sub(lambda found: found[1] + real[found[2]] + found[4], page)


needs_kernels = pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed")


@needs_kernels
def test_kernels_are_printed_as_they_are():
    """A page that shows other code than runs is worse than none."""
    page, real = KERNELS.read_text(encoding="utf-8"), sources()
    assert {name for _, name, _, _ in SOURCE.findall(page)} == set(real)
    if page != with_kernels(page, real):
        pytest.fail(RENEW, pytrace=False)


def test_tables_name_what_the_kernels_compute():
    """Each name in the table below a kernel is in it, and each value that it computes is in the table."""
    page = KERNELS.read_text(encoding="utf-8")
    for found in SOURCE.finditer(page):
        table = page[found.end() :].partition("\n## ")[0]
        named = set(re.findall(r"`([vs]\d+)`", table))
        computed = set(re.findall(r"^ +([vs]\d+) \+?= ", found[3], re.MULTILINE))
        assert named == computed, f"{found[2]}: read the table below it again"


def test_bounds_and_flags_are_those_of_the_code():
    """The table of bounds is `scalars.BOUNDS`, and every flag is named."""
    page = KERNELS.read_text(encoding="utf-8")
    table = page.partition("<!-- bounds -->\n")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| (\w+) \| ([\d.]+) ", table, re.MULTILINE)) == {
        name: str(bound) for name, bound in BOUNDS.items()
    }
    assert not FLAGS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative links; names of files are for `test_named_files`."""
    text = page.read_text(encoding="utf-8")
    linked = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("#")]
    missing = [link for link in linked if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_readmes_programs_run(tmp_path, monkeypatch, capsys):
    """Python in the README runs as it stands, one block after the other, and prints what its comments say."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall(README.read_text(encoding="utf-8")):
        try:
            exec(compile(block, str(README), "exec"), names)
        except tgs.RenderError:
            pytest.skip("nothing here lays graphs out")
        said = re.findall(r"^print\(.*\)  # (.+)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == said


def test_programs_of_the_sequence_layers_page_run(tmp_path, monkeypatch):
    """Each block stands alone."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "sequence_layers.md"
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert len(blocks) > 4
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})


def test_picture_is_what_the_readme_draws(tmp_path, monkeypatch):
    """The picture has the boxes that the README's program draws; where they stand is the layout's matter."""
    code = next(block for block in BLOCK.findall(README.read_text(encoding="utf-8")) if ".draw(" in block)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("lstm.svg", "lstm.dot"), {"tgs": tgs})
    drawn = Path("lstm.dot").read_text(encoding="utf-8")
    picture = (ROOT / "docs" / "pictures" / "lstm.svg").read_text(encoding="utf-8")
    nodes = re.findall(r'<g id="[^"]*" class="node">\s*<title>(.*?)</title>', picture)
    boxes = re.findall(r"^\s*(\w+) \[(?!.*style=invis)", drawn, re.MULTILINE)
    assert nodes
    if (
        tgs.runtime.jit.kernels_wanted()
    ):  # a composition numbers the same boxes otherwise than a kernel's recipe
        assert sorted(nodes) == sorted(set(boxes) - {"graph", "node", "edge"})
    node = r'class="node">\s*<title>.*?</title>(.*?)</g>\s*(?=<g|<!--|</g>)'
    shown = [
        "".join(re.findall(r"<text[^>]*>(.*?)</text>", body)) for body in re.findall(node, picture, re.DOTALL)
    ]
    labels = re.findall(r"^\s*n\w+ \[label=<(.*?)> (?=\w+=)", drawn, re.MULTILINE | re.DOTALL)
    assert sorted(filter(None, map(bare, shown))) == sorted(map(bare, labels))


def test_pictures_can_be_read_on_a_telephone():
    """All scale, and scroll where their small print would be below 9 pixels; the README's first has a narrow form."""
    folder = ROOT / "docs" / "pictures"
    for path in sorted(folder.glob("*.svg")):
        opening = re.search(r"<svg [^>]*>", path.read_text(encoding="utf-8"))[0]
        width = float(re.search(r'width="([\d.]+)pt"', opening)[1])
        assert re.search(r'viewBox="[\d. ]+"', opening), path.name
        least = float(re.search(r"max-width: 100%; min-width: (\d+)px; height: auto", opening)[1])
        assert least >= width * 9 / 8 - 0.5, path.name
    narrow = re.findall(r'media="\(max-width: 600px\)" srcset="([^"]+)"', README.read_text(encoding="utf-8"))
    assert narrow == ["docs/pictures/lstm_cell.svg"]
    text = (ROOT / narrow[0]).read_text(encoding="utf-8")
    assert float(re.search(r'width="([\d.]+)pt"', text)[1]) * 9 / 8 <= 360


def bare(label):
    """The words of a label without markup and spaces."""
    return re.sub(r"\s", "", html.unescape(re.sub(r"<[^>]*>", "", label)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    """Every `tgs ...` is a command, and every option that is shown with it is one of its own."""
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"(?:`|^|/)tgs ([a-z]+)([^`\n#]*)", text, re.MULTILINE)
    for command, rest in shown:
        assert command in cli.COMMANDS, f"tgs {command}"
        with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
            cli.main([command, "--help"])
        options = re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)
        assert not [o for o in options if not re.search(rf"(?<![\w-]){o}\b", told.getvalue())], command


def test_design_lists_the_primitives():
    """Every op once, and no other."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    listed = page.partition("## Primitives and rules\n")[2].partition(" All else")[0]
    names = [name for said in re.findall(r"`([^`]+)`", listed) for name in said.split()]
    assert sorted(names) == sorted(OPS)


def test_extras_named_are_there():
    """`pip install .[extra]` names an extra of the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for page in PAGES:
        for group in re.findall(r'"?\.\[([\w,]+)\]', page.read_text(encoding="utf-8")):
            assert set(group.split(",")) <= set(extras), page.name


def main() -> None:
    """Write the kernels into the page anew."""
    argparse.ArgumentParser(description="Write the kernels into docs/kernels.md anew.").parse_args()
    page = KERNELS.read_text(encoding="utf-8")
    new = with_kernels(page, sources())
    KERNELS.write_text(new, encoding="utf-8")
    print("docs/kernels.md is renewed: read its tables again" if new != page else "nothing to renew")


if __name__ == "__main__":
    main()
