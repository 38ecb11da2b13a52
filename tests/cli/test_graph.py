# ruff: noqa: RUF001
"""`tgs graph`: models by name, runs by folder, saved graphs; trees on the terminal and files of every kind."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tinygrad_seq import cli
from tinygrad_seq.cli.graph import MODELS
from tinygrad_seq.viz import Graph

needs_pygraphviz = pytest.mark.skipif(find_spec("pygraphviz") is None, reason="needs the extra [graph]")


def graph(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, and what was printed and complained."""
    code = cli.main(["graph", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "extra", [(), ("--level", "model", "--color", "grad"), ("--view", "rolled"), ("--composed",)]
)
def test_every_model_has_a_tree(
    model: str, extra: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, with its sums at the foot."""
    code, out, err = graph(capsys, model, "--steps", "8", "--hidden", "4", *extra)
    assert (code, err) == (0, "")
    assert "parameters, " in out
    assert ("gradient" in out.splitlines()[0]) == ("grad" in extra)


def test_the_options_reach_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps, layers and what is expanded or collapsed."""
    _, out, _ = graph(
        capsys, "rnn", "--steps", "20", "--layers", "2", "--expand", "t7", "--collapse", "layer0"
    )
    assert "t = 2 … 6 (×5)" in out
    assert "t = 8 … 18 (×11)" in out
    assert "layer0 (" in out


@needs_pygraphviz
@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "dot", "json", "txt"])
def test_files_of_every_kind(ending: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Written and named; the line below says how far gradients reach."""
    path = tmp_path / f"한글.{ending}"
    code, out, _ = graph(capsys, "gru", "--which", "both", "-o", str(path))
    assert code == 0
    assert out == f"wrote   {path}\ngradient reaches back through all 6 steps; no cuts\n"
    assert path.stat().st_size > 500


def test_a_saved_graph_is_drawn_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """At any level; one that is damaged is refused."""
    path = tmp_path / "lstm.json"
    graph(capsys, "lstm", "-o", str(path))
    assert Graph.from_json(path.read_text(encoding="utf-8")).totals.params == 4 * 8 * (8 + 8 + 2)
    code, out, _ = graph(capsys, str(path), "--level", "model")
    assert code == 0
    assert "576 parameters" in out
    path.write_bytes(b"\xff{")
    code, _, err = graph(capsys, str(path))
    assert (code, err) == (2, f"tgs graph: {str(path)!r} cannot be read: it is no UTF-8 text.\n")


def test_what_does_not_exist_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt model, a folder that is no run, a count below 1."""
    assert graph(capsys, "lsmt") == (
        2,
        "",
        "tgs graph: there is no 'lsmt'.\n"
        "  expected the folder of a run, or one of rnn, gru, lstm, transformer, char.\n"
        "  Did you mean 'lstm'?\n",
    )
    code, _, err = graph(capsys, "runs/none")
    assert code == 2
    assert "there is no folder 'runs/none'" in err
    assert graph(capsys, "rnn", "--steps", "0") == (
        2,
        "",
        "tgs graph: --steps out of range.\n  expected a whole number of at least 1, got 0.\n",
    )


def test_a_run_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The loss of its model on characters that it knows."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be " * 40, encoding="utf-8")
    run = tmp_path / "run"
    settings = ["--steps", "2", "--hidden", "4", "--batch", "2", "--window", "8"]
    assert cli.main(["train", str(text), "-o", str(run), *settings]) == 0
    capsys.readouterr()
    code, out, err = graph(capsys, str(run), "--color", "grad", "--level", "cell")
    assert (code, err) == (0, "")
    assert "head" in out
    assert "gradient" in out.splitlines()[0]
    some = "6 of 8 steps: the run's window is longer, --steps 8 draws all of it"
    assert out.splitlines()[-1] == some
    assert "of 8 steps" not in graph(capsys, str(run), "--steps", "8")[1]
    assert graph(capsys, str(run), "-o", str(tmp_path / "a.txt"))[1].splitlines()[-1] == some


def test_a_name_that_means_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest ones; names of steps, scopes, ops and what is inside a fused op that is shown are taken."""
    assert graph(capsys, "rnn", "--expand", "rnn_tan") == (
        2,
        "",
        "tgs graph: --expand 'rnn_tan' means nothing in this graph.\n"
        "  expected scopes, time steps or ops, also by a glob, such as rnn, layer0, t0, permute, matmul, reshape, "
        "add, slice.\n"
        "  Did you mean 'rnn_tanh' or 'rnn'?\n",
    )
    _, _, err = graph(capsys, "lstm", "--layers", "2", "--collapse", "layer")
    assert err.splitlines()[-1] == "  Did you mean 'layer1', 'layer0' or 'lstm/layer1'?"
    _, _, err = graph(capsys, "lstm", "--expand", "layer0", "--expand", "q*")
    assert err.startswith("tgs graph: --expand 'q*' means nothing in this graph.\n")
    for names in (("rnn_tanh",), ("layer0",), ("rnn.layer0.t3",), ("rnn/layer*",), ("rnn_tanh", "tanh")):
        options = [word for name in names for word in ("--expand", name)]
        assert graph(capsys, "rnn", *options)[0] == 0, names
    assert graph(capsys, "rnn", "--expand", "tanh")[0] == 2


@pytest.mark.parametrize(
    ("ending", "mine"),
    [("txt", b"see the FLOP rate"), ("dot", b"digraph g {}"), ("json", b'{"picture": 1}'), ("txt", b"mine")],
)
@pytest.mark.skipif(find_spec("graphviz") is None, reason="needs the package graphviz")
def test_text_of_another_kind_is_not_overwritten(
    ending: str, mine: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An older picture is, and an empty file."""
    path = tmp_path / f"notes.{ending}"
    path.write_bytes(mine)
    assert graph(capsys, "rnn", "-o", str(path)) == (
        2,
        "",
        f"tgs graph: {str(path)!r} is there already, and is no picture.\n"
        "  Give another name, or remove the file.\n",
    )
    assert path.read_bytes() == mine
    path.write_bytes(b"")
    assert graph(capsys, "rnn", "-o", str(path))[0] == 0
    assert graph(capsys, "gru", "-o", str(path))[0] == 0


def test_the_documents_show_what_is_there_and_no_more() -> None:
    """Each picture of docs/pictures is named by its page or the README, and together they stay small."""
    folder = Path(__file__).parents[2] / "docs" / "pictures"
    page = (folder / "README.md").read_text(encoding="utf-8")
    found = sorted(folder.glob("*.svg"))
    size = {path.name: path.stat().st_size for path in found}
    assert size.pop("folders.svg") < 20_000  # of the package's imports, the others are of tapes
    assert sum(size.values()) < 600_000
    assert [path.name for path in found if f"({path.name})" not in page] == []
    readme = (folder.parent.parent / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r'(?:\]\(|src=")docs/pictures/(\w+\.svg)[)"]', readme)
    assert len(shown) == 6
    assert set(shown) <= {path.name for path in found}


def test_without_the_package_graphviz(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One message; what needs no DOT text is written, and a picture of DOT text is no endless story."""
    monkeypatch.setitem(sys.modules, "graphviz", None)
    for ending in ("svg", "dot"):
        folder = tmp_path / ending
        folder.mkdir()
        code, _, err = graph(capsys, "rnn", "-o", str(folder / f"a.{ending}"))
        assert code == 2
        assert err.splitlines()[0] == "picture: the Python package graphviz is missing."
        assert sorted(p.name for p in folder.iterdir()) == ["a.json", "a.txt"]


def test_more_steps_than_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before an hour is spent on it."""
    code, _, err = graph(capsys, "lstm", "--steps", "60000", "--layers", "2")
    assert (code, err.splitlines()[1]) == (
        2,
        "  expected at most 100,000 steps over all layers, got 120,000.",
    )
