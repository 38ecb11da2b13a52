"""The way of one array, as `docs/design.md` tells it: each function named there is in its file, and runs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType

import pytest

import tinygrad_seq as tgs
from tinygrad_seq.runtime.jit import kernels_wanted

pytestmark = [pytest.mark.house, pytest.mark.engine]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tinygrad_seq"
STEP = re.compile(r"`(\S+\.py)`\s+\(((?:`[\w.]+`(?:,\s)?)+)\)")


def told() -> list[tuple[str, str]]:
    """File and function, in the order of the page."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = page.partition("## The way of one array\n")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", section, re.MULTILINE) == [str(n) for n in range(1, 11)]
    assert set(re.findall(r"`(\S+\.py)`", section)) == {file for file, _ in STEP.findall(section)}
    return [(file, name) for file, names in STEP.findall(section) for name in re.findall(r"[\w.]+", names)]


def defined(file: str) -> set[str]:
    """The functions of a file, `Class.method` for those of classes."""
    body = ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body
    found = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    for owner in body:
        if isinstance(owner, ast.ClassDef):
            found |= {f"{owner.name}.{node.name}" for node in owner.body if isinstance(node, ast.FunctionDef)}
    return found


def trained() -> None:
    """One step of training, as the page has it."""
    layer = tgs.LSTM(4, 8)
    optimizer = tgs.optim.SGD(layer.parameters(), lr=0.1)
    out, _ = layer(tgs.randn(3, 2, 4))
    out.sum().backward()
    optimizer.step()


def called() -> set[tuple[str, str]]:
    """File and function of all of the package that runs in such a step, kernels having been built before."""
    trained()
    seen = set()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        trained()
    finally:
        sys.setprofile(before)
    return {
        (Path(file).relative_to(PACKAGE).as_posix(), name)
        for file, name in seen
        if Path(file).is_relative_to(PACKAGE)
    }


def test_the_functions_are_there():
    """In the files that are named with them."""
    assert [(file, name) for file, name in told() if name not in defined(file)] == []


def test_the_functions_run():
    """All of them, in a forward pass, a backward pass and an update of the weights."""
    ran = called()
    wanted = [
        (file, name) for file, name in told() if kernels_wanted() or not file.startswith("fuser/special")
    ]
    assert [step for step in wanted if step not in ran] == []


def test_what_does_not_run_is_seen():
    """The search itself."""
    ran = called()
    assert ("optim/optimizer.py", "Optimizer.step") in ran
    assert ("optim/optimizers.py", "AdamW.update") not in ran
    assert "Optimizer.step" in defined("optim/optimizer.py")
