"""The notebook among the demos, executed: graphs, charts and readings are pictures in what comes out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "demos" / "gradient_through_time.ipynb"

pytestmark = [pytest.mark.extra(name) for name in ("nbconvert", "ipykernel", "matplotlib")]


def kinds_of(cell: dict) -> set[str]:
    """What the outputs of a cell hold that is a picture, and `words` where a line of words comes before one."""
    found = set()
    for output in cell["outputs"]:
        assert output["output_type"] != "error", output
        assert output.get("name") != "stderr" or "building kernels" in "".join(output["text"]), output
        data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
        found |= {kind for kind in data if kind.startswith("image/")}
        if re.search(r"<p>\w+: .*</p><img [^>]*src=\"data:image/png;base64,", data.get("text/html", "")):
            found |= {"image in html", "words"}
        if "<polyline" in data.get("text/html", ""):
            found.add("curves")
    return found


def test_the_notebook_shows_pictures(tmp_path: Path) -> None:
    """Executed by nbconvert: one picture in each cell that asks for one, and no warning."""
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(NOTEBOOK)]
    done = subprocess.run(
        [*command, "--output-dir", str(tmp_path), "--output", "run.ipynb"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "run.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = {"".join(c["source"]).splitlines()[-1]: kinds_of(c) for c in cells if c["cell_type"] == "code"}
    asked = [kinds for kinds in shown.values() if kinds]
    assert asked[0] == {"image/svg+xml"}
    assert asked[1] == {"image in html", "words"}
    assert asked[2] == {"image/png"}
    assert asked[3:6] == [{"image in html", "words"}] * 3
    assert asked[6] == {"curves"}


def test_the_notebook_is_kept_without_its_outputs() -> None:
    """What changes from run to run does not stand in the repository."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in cells)
