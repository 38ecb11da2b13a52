"""What charts and readings show of themselves: words, shapes, a picture; and letters that the usual font lacks."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import bptt
from tinygrad_seq.analysis import probe
from tinygrad_seq.bptt.summary import Reading
from tinygrad_seq.models import GPT, CharLM

pytest.importorskip("matplotlib")

from tinygrad_seq.analysis import plots
from tinygrad_seq.analysis.plots import fonts
from tinygrad_seq.runtime import kernel_cache

HANGUL = "\uae30\uc6b8\uae30"


@pytest.fixture(scope="module")
def readings() -> list[Reading]:
    """One of each kind, of an LSTM over 12 steps: long enough that its arrays would fill a page."""
    cell, xs = tgs.LSTMCell(2, 3), tgs.randn(12, 1, 2)
    state: Any = (tgs.zeros(1, 3), tgs.zeros(1, 3))
    states, losses = [], []
    for t in range(12):
        with tgs.time_step(t):
            state = cell(xs[t], state)
            states.append(state)
            losses.append((state[0] * state[0]).sum())
    loss, hs = sum(losses), [h for h, _ in states]
    found: list[Any] = [
        bptt.reach(losses, states),
        bptt.ledger(loss, cell.weight_hh),
        bptt.parts(loss, hs[3]),
        bptt.lstm_paths(loss, states),
        bptt.jacobian_product(states, 0, 3),
        bptt.truncation_bias(losses, states, list(cell.parameters()), [1, 5]),
    ]
    assert {type(one) for one in found} == set(Reading.__subclasses__())
    return found


def test_readings_print_words_then_shapes(readings: list[Reading]) -> None:
    """Two short lines, however long the sequence."""
    for one in readings:
        first, second = repr(one).split("\n")
        assert first == f"{type(one).__name__}: {one.words}"
        assert second.startswith(f"  {type(one).__name__}(")
        assert len(second) < 120
        assert "array" not in second
    assert repr(readings[0]).endswith("  Reach(norms=f64(12, 12))")


def test_readings_show_words_and_their_chart(readings: list[Reading]) -> None:
    """In a notebook: a line, then the picture; the words are its description too."""
    for one in readings:
        bundle = one._repr_mimebundle_()
        assert bundle["text/plain"] == repr(one)
        assert bundle["text/html"].startswith(f"<p>{type(one).__name__}: ")
        assert '<img alt="' in bundle["text/html"]
        assert 'src="data:image/png;base64,iVBOR' in bundle["text/html"]


def test_without_matplotlib_readings_show_words(
    readings: list[Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how to get the picture."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shown = readings[0]._repr_mimebundle_()["text/html"]
    assert shown.startswith("<p>Reach: ")
    assert "<img" not in shown
    assert "python -m pip install &#x27;tinygrad_seq[plot]&#x27;" in shown


def test_what_is_made_of_arrays_prints_their_shapes() -> None:
    """All that the inspection of a model returns."""
    ids = np.arange(60) % 5
    seen = probe.activations(CharLM(5, 4), ids)
    attended = probe.attention_on_text(GPT(5, block=60, layers=2, heads=2, width=4), ids)
    assert repr(probe.gates(seen.parts)[0]) == (
        "Gate(name='i_l0', shut=f64(4,), open=f64(4,), mean=f64(4,), memory=None)"
    )
    assert repr(attended) == (
        "Attended(parts={'x_l0': f64(60, 4), 'x_l1': f64(60, 4)}, "
        "layers={'l0': Attention(weights=f64(1, 2, 60, 60)), 'l1': Attention(weights=f64(1, 2, 60, 60))})"
    )
    for one in (seen, *probe.health(seen.parts), probe.unrolled(CharLM(5, 4), ids)):
        assert len(repr(one)) < 700
        assert "array(" not in repr(one)


def test_charts_show_themselves(readings: list[Reading]) -> None:
    """A PNG in a notebook, the names and shapes of the numbers in a terminal."""
    chart = plots.reach(readings[0])
    assert repr(chart) == "Chart(norms: f64(12, 12), cuts: i64(0,))"
    shown = chart._repr_png_()
    assert shown is not None
    assert shown.startswith(b"\x89PNG")


def test_a_figure_of_pyplot_is_shown_once(readings: list[Reading]) -> None:
    """The notebook shows what pyplot holds when the cell ends; the chart then keeps quiet."""
    code = """if True:
        import matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plt, numpy as np
        from tinygrad_seq import bptt
        from tinygrad_seq.analysis import plots as charts
        found = bptt.Reach(np.eye(3))
        assert charts.reach(found)._repr_png_()
        assert charts.reach(found, ax=plt.subplots()[1])._repr_png_() is None
        plt.close("all")
        print("once")
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout == "once\n", done.stderr


def test_the_norms_of_parts_and_paths_are_those_of_the_readings(readings: list[Reading]) -> None:
    """What is drawn is what was read."""
    parts, paths = readings[2], readings[3]
    assert isinstance(parts, bptt.Parts)
    assert isinstance(paths, bptt.LSTMPaths)
    expected = [np.sqrt((np.asarray(a, float) ** 2).sum()) for a in (parts.own, parts.future, parts.whole)]
    np.testing.assert_allclose(plots.parts(parts).data["norms"], expected, rtol=1e-12)
    np.testing.assert_allclose(plots.paths(paths).data["norms"], paths.norms, rtol=1e-12)
    with pytest.raises(tgs.errors.DTypeError, match=r"charts\.paths: not what it draws"):
        plots.paths(parts)


# ---- letters -------------------------------------------------------------------------------------------------
@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been said yet; what fonts have is asked anew."""
    monkeypatch.setattr(kernel_cache, "_said", set())
    clear = fonts._family_with.cache_clear
    clear()
    yield
    clear()


def drawn(text: str, path: Path) -> Any:
    """A chart with a text in title and legend, saved; a warning of matplotlib's is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = plots.side_by_side({text: bptt.Reach(np.eye(4))}, title=text)
        chart.save(path)
        chart.save(path.with_suffix(".svg"))
    return chart.figure._suptitle


def test_letters_come_from_a_font_that_has_them(
    unsaid: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Here from one that matplotlib brings along; an installed one with Hangul is found the same way."""
    from matplotlib.font_manager import findfont

    usual = fonts._letters_of(findfont("DejaVu Sans"))
    (letter, *_) = (
        chr(c) for c in sorted(fonts._letters_of(findfont("STIXGeneral")) - usual) if chr(c).isprintable()
    )
    title = drawn(f"A {letter}", tmp_path / "chart.png")
    assert title.get_text() == f"A {letter}"
    path = findfont(title.get_fontfamily()[-1])
    assert ord(letter) in fonts._letters_of(path)
    assert capfd.readouterr().err == ""


def test_without_such_a_font_one_line_says_so(
    unsaid: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Boxes are drawn, once it is said why, and matplotlib does not warn."""
    monkeypatch.setattr(fonts, "_family_with", lambda letter: "")
    title = drawn(f"A {HANGUL}", tmp_path / "chart.png")
    assert title.get_text() == "A \u25a1\u25a1\u25a1"
    assert capfd.readouterr().err == (
        "tinygrad_seq: no installed font has \uae30\uc6b8: charts show \u25a1. "
        "For Korean install Noto Sans CJK or Nanum.\n"
    )


def test_a_font_of_boxes_does_not_count(unsaid: None) -> None:
    """Matplotlib brings one that has a box for every letter there is: nobody else has this one."""
    assert fonts._family_with("\U000f0f0f") == ""
