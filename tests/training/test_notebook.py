"""A run in a notebook: what the display shows, and that nothing of a text can become HTML."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from tinygrad_seq.data import Corpus
from tinygrad_seq.training import Config, Notebook, fit, shown
from tinygrad_seq.training.console import HEAD
from tinygrad_seq.training.notebook import in_notebook

TEXT = Corpus("to <b>be</b> & not to be: " * 60, "<script>")
SMALL = Config(hidden=8, batch=3, window=6, steps=12, eval_every=4, sample_every=6, sample_length=9)


def test_display_follows_the_run() -> None:
    """Figures, two curves with as many points as there were steps and validations, the sample; the end in words."""
    pages: list[Any] = []
    notebook = Notebook(pages.append)
    fit(SMALL, notebook.show, corpus=TEXT)
    page = pages[-1]._repr_html_()
    assert "done    12 steps in " in page
    assert "&lt;script&gt;: 1,560 characters" in page
    assert "<script>" not in page
    tree = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    lines = [line.attrib["points"].split() for line in tree.iter("polyline")]
    assert [len(points) for points in lines] == [12, 3]
    assert len(list(tree.iter("circle"))) == 3
    assert "nan" not in page
    assert page.count("<pre ") == 2
    assert HEAD in next(page for page in (one._repr_html_() for one in pages) if "/12" in page)


def test_without_a_notebook_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The same call, in a script."""
    assert not in_notebook()
    fit(replace(SMALL, steps=2), shown(), corpus=TEXT)
    assert "done    2 steps" in capsys.readouterr().out


def test_in_a_kernel_one_display_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As IPython has it: made once with an id, then brought up to date."""
    made: list[Any] = []
    updates: list[Any] = []

    def display(page: Any, display_id: bool) -> Any:
        made.append((page, display_id))
        return types.SimpleNamespace(update=updates.append)

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    module: Any = types.ModuleType("IPython.display")
    module.display = display
    ipython.display = module
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    assert in_notebook()
    fit(SMALL, shown(), corpus=TEXT)
    assert len(made) == 1
    assert made[0][1] is True
    assert "done    12 steps" in updates[-1]._repr_html_()
