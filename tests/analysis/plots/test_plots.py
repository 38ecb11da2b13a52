"""Laws of charts: what is drawn is what finite differences say, no mark hangs on colour alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import bptt, nn
from tinygrad_seq import functional as F
from tinygrad_seq.analysis.probe import (
    activations,
    attention_of,
    detectors,
    find_units,
    gates,
    health,
    saliency,
    states_of,
    step_by_step,
    unrolled,
)
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError, RangeError, RenderError, ShapeError
from tinygrad_seq.models import GPT, CharLM
from tinygrad_seq.training import Config, train

T, H, CUT = 5, 3, 2


@pytest.fixture(autouse=True)
def composed() -> Any:
    """A few tiny steps of many kinds: not worth a kernel for each."""
    with tgs.composed():
        yield


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The charts, where matplotlib is installed, on no screen."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    from tinygrad_seq.analysis import plots as charts

    return charts


def cell(kind: type[nn.Module] = nn.RNNCell) -> Any:
    """A cell in float64."""
    return kind(2, H, rng=tgs.Generator(3)).double()  # type: ignore[call-arg]


XS = np.random.default_rng(0).standard_normal((T, 2, 2))


def run(one: Any, cut: int | None = None) -> tuple[list[Any], list[Any]]:
    """Losses and states of T steps from zeros; the state is detached on its way into step `cut`."""
    h, losses, states = tgs.zeros(2, H, dtype=np.float64), [], []
    for t in range(T):
        with tgs.time_step(t):
            h = one(tgs.tensor(XS[t]), bptt.detach(h) if t == cut else h)
        states.append(h)
        losses.append((h * h).sum())
    return losses, states


def by_differences(f: Any, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of f at x."""
    g = np.zeros(x.shape)
    for i in np.ndindex(*x.shape):
        there, back = x.copy(), x.copy()
        there[i] += step
        back[i] -= step
        g[i] = (f(there) - f(back)) / (2 * step)
    return g


# ---- what is drawn -----------------------------------------------------------------------------------------
def test_reach_draws_central_differences_and_nothing_behind_a_cut(charts: Any) -> None:
    """Every cell of the drawn matrix, to 1e-7; exactly 0 behind the cut, which is drawn where it is."""
    one = cell()
    losses, states = run(one, CUT)
    chart = charts.reach(bptt.reach(losses, states))

    def loss_from(s: int, t: int, h: np.ndarray) -> float:
        x = tgs.tensor(h)
        for k in range(s + 1, t + 1):
            x = one(tgs.tensor(XS[k]), x)
        return float((x * x).sum().item())

    drawn = chart.data["norms"]
    for t in range(T):
        for s in range(T):
            if s > t or s < CUT <= t:
                assert drawn[t, s] == 0.0
                continue
            g = by_differences(lambda h, s=s, t=t: loss_from(s, t, h), states[s].numpy())
            assert drawn[t, s] == pytest.approx(np.linalg.norm(g), rel=1e-7)
    assert chart.data["cuts"].tolist() == [CUT]
    mesh = chart.axes.collections[0].get_array()
    shown = drawn > 0
    np.testing.assert_array_equal(~np.ma.getmaskarray(mesh).reshape(T, T), shown)
    np.testing.assert_allclose(mesh.reshape(T, T)[shown].data, np.log10(drawn[shown]), rtol=1e-12)
    hatched = [p for p in chart.axes.patches if p.get_hatch()]
    assert sum(p.get_width() * p.get_height() for p in hatched) == CUT * (T - CUT)
    assert [label.get_text() for label in chart.axes.get_legend().get_texts()] == ["exactly 0", "cut"]
    written = {t.get_position(): t.get_text() for t in chart.axes.texts}
    assert written == {(s, t): f"{np.log10(drawn[t, s]):.1f}" for t, s in np.argwhere(shown)}


def test_ledger_draws_central_differences_and_nothing_behind_a_cut(charts: Any) -> None:
    """Each bar is the norm of the differences with the weight of that step alone; hatched behind the cut."""
    one = cell()
    losses, _ = run(one, CUT)
    chart = charts.ledger(bptt.ledger(losses[-1], one.weight_hh))
    w = one.weight_hh.numpy()

    def loss_of(step: int, changed: np.ndarray) -> float:
        h = np.zeros((2, H))
        for t in range(T):
            use = changed if t == step else w
            h = np.tanh(
                XS[t] @ one.weight_ih.numpy().T + one.bias_ih.numpy() + one.bias_hh.numpy() + h @ use.T
            )
        return float((h * h).sum())

    assert chart.data["steps"] == tuple(range(T))
    for t in range(T):
        expected = np.linalg.norm(by_differences(lambda v, t=t: loss_of(t, v), w)) if t >= CUT else 0.0
        assert chart.data["norms"][t] == pytest.approx(expected, rel=1e-6)
    bars = [p for p in chart.axes.patches if not p.get_hatch()]
    assert [b.get_height() for b in bars] == chart.data["norms"].tolist()
    (zero,) = [p for p in chart.axes.patches if p.get_hatch()]
    assert zero.get_x() == -0.5
    floor, ceiling = chart.axes.get_ylim()
    to_axes = chart.axes.transData + chart.axes.transAxes.inverted()
    lowest = min(to_axes.transform((0, p.get_height()))[1] for p in bars if p.get_height())
    assert 0 < zero.get_height() < lowest <= 1
    assert floor < ceiling
    losses[-1].backward()
    assert chart.data["whole"] == pytest.approx(np.linalg.norm(one.weight_hh.grad.numpy()), rel=1e-12)


def test_a_ledger_outside_of_any_step(charts: Any) -> None:
    """One bar that says so."""
    w = tgs.tensor(2.0, requires_grad=True)
    chart = charts.ledger(bptt.ledger(w * w, w))
    assert chart.data["steps"] == (None,)
    assert chart.data["norms"].tolist() == [4.0]
    assert [t.get_text() for t in chart.axes.get_xticklabels()] == ["none"]


def test_decay_lies_below_the_bound_and_on_the_line_that_theory_gives(charts: Any) -> None:
    """A linear RNN of one unit: the fit is |w|^lag; of a plain RNN no mean lies above its bound."""
    w, s, states = tgs.tensor(np.array(-0.5), requires_grad=True), tgs.tensor(np.ones(2)), []
    for _ in range(8):
        s = s * w + 1.0
        states.append(s)
    data = charts.decay(bptt.reach(s.sum(), states)).data
    np.testing.assert_allclose(data["fit"] / data["fit"][0], 0.5 ** np.arange(8), rtol=1e-12)
    assert data["half_life"] == pytest.approx(1.0)
    one = cell()
    data = charts.decay(bptt.reach(*run(one)), bound=charts.rnn_bound(one)).data
    assert np.all(data["norm"] <= data["bound"] * (1 + 1e-12))
    flat = charts.rnn_bound(nn.RNN(2, H, nonlinearity="sigmoid", rng=tgs.Generator(3)))
    assert flat == pytest.approx(charts.rnn_bound(nn.RNN(2, H, rng=tgs.Generator(3))) / 4)


LAGS = np.arange(40)


@pytest.mark.parametrize(
    ("norms", "words"),
    [
        ([1e308, 1e-308], "it falls by a factor of 0 a step; half-life 0.00049 steps"),
        ([1.0, 1e-320], "it falls by a factor of 1e-320 a step; half-life 0.00094 steps"),
    ],
)
def test_norms_at_the_ends_of_the_range(norms: list[float], words: str) -> None:
    """No quotient leaves the range of floats."""
    from tinygrad_seq.bptt.decay import Fit

    assert Fit.of(np.array(norms)).words == words


def test_a_half_life_of_a_hundred_steps() -> None:
    """Two digits of 99.7 are 1e+02."""
    from tinygrad_seq.bptt.decay import Fit

    assert Fit.of(0.5 ** (np.arange(400) / 99.7)).words.endswith("half-life 100 steps")


@pytest.mark.parametrize(
    ("profile", "words", "short"),
    [
        (
            0.9**LAGS,
            "it falls by a factor of 0.9 a step; half-life 6.6 steps",
            "x 0.9 a step, half-life 6.6 steps",
        ),
        (0.5**LAGS, "it falls by a factor of 0.5 a step; half-life 1 step", "x 0.5 a step, half-life 1 step"),
        (
            0.999**LAGS,  # half is not gone within what is seen, and nothing speaks against the line
            "it falls by a factor of 0.999 a step; half-life 693 steps",
            "x 0.999 a step, half-life 693 steps",
        ),
        (
            np.where(LAGS < 3, 0.2**LAGS, 0.2**3),  # R^2 is 0.26
            "it does not fall like one exponential; half of it is gone after 1 step",
            "no single exponential; half gone after 1 step",
        ),
        (
            np.where(
                LAGS < 5, 0.2**LAGS, 0.2**5 * 0.8 ** (LAGS - 5.0)
            ),  # R^2 is 0.94, the half-life would be 3
            "it does not fall like one exponential; half of it is gone after 1 step",
            "no single exponential; half gone after 1 step",
        ),
        (
            np.where(LAGS < 20, 1.0, 0.1 ** (LAGS - 20)),  # R^2 is 0.76
            "it does not fall like one exponential; half of it is gone after 21 steps",
            "no single exponential; half gone after 21 steps",
        ),
        (
            np.where(LAGS % 2, 0.6, 1.0) * 0.999**LAGS,
            "more than half of it is left 39 steps back",
            "no single",
        ),
        (np.ones(40), "it neither falls nor grows", "does not fall"),
        (1.1**LAGS, "it grows by a factor of 1.1 a step", "x 1.1 a step"),
        (1.0 + LAGS % 7 + 0.01 * LAGS, "it does not fall", "does not fall"),
        (np.array([1.0]), "it arrives at too few steps to say how it falls", "too few lags for a slope"),
        (np.array([1.0, np.inf, 0.1]), "it arrives at too few steps to say how it falls", "too few lags"),
        (np.zeros(5), "it arrives at too few steps to say how it falls", "too few lags for a slope"),
        (np.array([1.0, 0.8, 0.0, 0.0]), "factor of 0.8 a step", "x 0.8 a step"),
    ],
)
def test_a_half_life_is_told_where_there_is_one(
    charts: Any, profile: np.ndarray, words: str, short: str
) -> None:
    """Of other curves, when half of them is gone; the legend of the chart says the same."""
    from tinygrad_seq.bptt.decay import Fit

    fit = Fit.of(profile)
    assert words in fit.words
    assert ("half-life" in fit.words) == ("half-life" in fit.short)
    assert fit.short.startswith(short)
    if np.isfinite(profile).all() and len(profile) > 1 and profile[0] > 0:
        found = bptt.Reach(profile[None, ::-1])
        np.testing.assert_array_equal(found.by_lag, profile)
        chart = charts.decay({"a": found})
        assert f"a: {fit.short}" in [t.get_text() for t in chart.axes.get_legend().get_texts()]
        assert chart.data["a"]["half_gone"] == fit.half_gone
        below = np.flatnonzero(profile <= profile[0] / 2)
        assert np.ceil(fit.half_gone - 1e-9) == (below[0] if len(below) else np.inf)


def test_side_by_side_has_one_scale(charts: Any) -> None:
    """RNN and GRU: equal colour limits, one curve each with a line style and marker of its own."""
    found = {"RNN": bptt.reach(*run(cell())), "GRU": bptt.reach(*run(cell(nn.GRUCell)))}
    chart = charts.side_by_side(found)
    assert len({ax.collections[0].get_clim() for ax in chart.axes[:2]}) == 1
    lines = [line for line in chart.axes[2].lines if line.get_marker() not in ("None", "x")]
    assert len({line.get_linestyle() for line in lines}) == len({line.get_marker() for line in lines}) == 2
    np.testing.assert_array_equal(chart.data["GRU"]["norms"], found["GRU"].norms)


def test_side_by_side_says_its_numbers_in_one_way(charts: Any) -> None:
    """A small matrix beside a large one, a smooth one beside a jagged one: both in lines, or both in cells."""

    def marks(ax: Any) -> set[str]:
        kinds = {"cells" if t.get_position()[0] % 1 == 0 else "lines" for t in ax.texts}
        return kinds | ({"contour"} if len(ax.collections) > 1 else set())

    t, s = np.arange(30)[:, None], np.arange(30)
    smooth = np.where(s <= t, 10.0 ** (-(t - s) / 4), 0.0)
    jagged = smooth * 10.0 ** ((-1.0) ** t * 2)
    small = smooth[:6, :6]
    for one in (jagged, small):
        chart = charts.side_by_side({"a": bptt.Reach(smooth), "b": bptt.Reach(one)})
        first, second = (("contour" in marks(ax)) for ax in chart.axes[:2])
        assert first == second
    alone = charts.reach(bptt.Reach(smooth))
    assert "contour" in marks(alone.axes)
    assert "contour" not in marks(charts.reach(bptt.Reach(jagged)).axes)


def test_spectra_and_bias(charts: Any) -> None:
    """The numbers of the readings, in base 10; a singular value of 0 is a cross, not a warning."""
    losses, states = run(cell())
    products = [bptt.jacobian_product(states, T - 1 - lag, T - 1) for lag in (1, 3)]
    data = charts.spectra(products).data
    assert data["lag"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(10 ** data["log10_values"][3], products[1].values, rtol=1e-12)
    np.testing.assert_allclose(10 ** data["log10_largest"][1], products[0].values[0], rtol=1e-12)
    gone = bptt.JacobianProduct(np.array([0.0, -np.inf]), np.array([0.0, 0.0]), 1)
    assert "exactly 0" in [t.get_text() for t in charts.spectra(gone).axes.get_legend().get_texts()]
    one = cell()
    losses, states = run(one)
    data = charts.bias(bptt.truncation_bias(losses, states, list(one.parameters()), [T, 1])).data
    assert data["k2"].tolist() == [1, T]
    np.testing.assert_allclose([data["cosine"][1], data["ratio"][1]], 1.0, rtol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 5), (40, 40)])
@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, 1.0, 1e-300])
def test_nothing_warns(charts: Any, size: tuple[int, int], fill: float, tmp_path: Path) -> None:
    """All of one number, whatever it is: drawn, saved, marked."""
    found = bptt.Reach(np.full(size, fill))
    for chart in (charts.reach(found), charts.decay(found), charts.side_by_side({"a": found})):
        assert chart.save(tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    labels = [t.get_text() for t in (charts.reach(found).axes.get_legend() or _NONE).get_texts()]
    assert ("not finite" in labels) == (not np.isfinite(fill))
    assert ("exactly 0" in labels) == (fill == 0)


class _None:
    def get_texts(self) -> list[Any]:
        return []


_NONE = _None()


def test_axes_may_be_given(charts: Any) -> None:
    """They are drawn on, and returned."""
    figure = __import__("matplotlib.figure").figure.Figure()
    ax = figure.subplots()
    chart = charts.decay(bptt.reach(*run(cell())), ax=ax)
    assert chart.axes is ax
    assert chart.figure is figure


def test_what_faded_is_no_cut(charts: Any) -> None:
    """Zeros far back, by underflow, are hatched without a line: their edges are open."""
    t = np.arange(9)
    norms = np.tril(np.where(t[:, None] - t > 3, 0.0, 1.0))
    assert charts.reach(bptt.Reach(norms)).data["cuts"].tolist() == []
    assert charts.reach(bptt.Reach(norms), cuts=[4]).data["cuts"].tolist() == [4]


# ---- bad inputs --------------------------------------------------------------------------------------------
def test_bad_inputs(charts: Any) -> None:
    """One clear error each."""
    found = bptt.Reach(np.ones((3, 3)))
    with pytest.raises(DTypeError) as error:
        charts.reach(np.ones(3))
    assert str(error.value) == (
        "charts.reach: not what it draws.\n  given: f64(3,)\n  expected a Reach, as bptt.reach returns."
    )
    with pytest.raises(DTypeError, match="expected matplotlib axes"):
        charts.reach(found, ax=3)
    with pytest.raises(ShapeError, match="expected 3, got 1"):
        charts.side_by_side({"a": found, "b": found}, ax=[None])
    with pytest.raises(ArgumentError, match="expected states from 1 to 2, got 3"):
        charts.reach(found, cuts=[3])
    with pytest.raises(ArgumentError, match=r"a factor a step above 0, got -1\.0"):
        charts.decay(found, bound=-1.0)
    with pytest.raises(DTypeError, match="gates have no such bound"):
        charts.rnn_bound(nn.GRUCell(1, 1))
    with pytest.raises(ShapeError, match="at least one number"):
        charts.reach(bptt.Reach(np.ones((0, 0))))
    for draw in (charts.ledger, charts.spectra, charts.bias, charts.side_by_side, charts.decay):
        with pytest.raises(DTypeError, match="not what it draws"):
            draw(3)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message with the command that helps."""
    from tinygrad_seq.analysis import plots as charts

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RenderError) as error:
        charts.reach(bptt.Reach(np.ones((2, 2))))
    assert str(error.value) == (
        "charts: matplotlib is not installed.\n"
        "  expected the package matplotlib.\n"
        "  Install it with: python -m pip install 'tinygrad_seq[plot]'"
    )


def test_matplotlib_waits_until_it_is_asked_for() -> None:
    """Importing the charts brings nothing of it."""
    code = (
        "import sys, tinygrad_seq.analysis.plots, tinygrad_seq.training; print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- the course of a run -------------------------------------------------------------------------------------
TEXT = Corpus('the "cat" (sat) on 12 mats. ' * 60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a short run."""
    config = Config(
        hidden=6, batch=3, window=5, steps=24, eval_every=8, report_every=4, sample_every=0, clip=0.5
    )
    for _ in train(config, corpus=TEXT, folder=tmp_path / "run"):
        pass
    return tmp_path / "run"


def test_learning_curves(charts: Any, folder: Path) -> None:
    """The numbers of the metrics; a last line that is cut short is left out, any other is an error."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    data = charts.learning(folder).data
    assert data["step"].tolist() == [4, 8, 12, 16, 20, 24]
    assert data["bits"].tolist() == [row["bits"] for row in rows]
    assert np.isfinite(data["validation_bits"]).tolist() == [False, True, False, True, False, True]
    found = charts.gradients(folder).data
    assert found["dh_l0_t"].tolist() == [0, 1, 2, 3, 4]
    assert found["dh_l0"][0].tolist() == [rows[0][f"dh_l0_t{t}"] for t in range(5)]
    assert np.isfinite(found["dh_l0"]).all(1).tolist() == [True, False, True, False, False, True]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 28, "bi')
    assert charts.learning(folder).data["step"].tolist() == [4, 8, 12, 16, 20, 24]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=r"line 7 of .* is no report"):
        charts.learning(folder)
    with pytest.raises(DataError, match="cannot be read"):
        charts.learning(folder / "nowhere")
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no report yet"):
        charts.gradients(folder)


def test_inspect_saves_all_charts(charts: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight files and a line for each; what the model wrote itself, where its text is gone, is said to be that."""
    assert main(["inspect", str(folder), "--gradients", "--steps", "8", "--format", "svg"]) == 0
    out = capsys.readouterr().out
    assert sorted(p.name for p in (folder / "charts").iterdir()) == [
        f"{name}.svg"
        for name in ("cells", "decay", "gradients", "learning", "ledger", "reach", "spectra", "truncation")
    ]
    read = out.splitlines()[0]
    assert re.match(r"read    ['\"].{9,12}['\"], written by the model itself, for .* its text", read), read
    assert len(out.splitlines()) == 9
    assert "90 % of the gradient at the states comes from the last" in out.splitlines()[1]
    assert re.search(r"half-life|half of it is gone after|falls", out.splitlines()[2])


def test_inspect_draws_the_gradient_of_the_runs_own_text(
    charts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same passage of the validation part each time, by its place; what is given is read as it is."""
    monkeypatch.setattr("tinygrad_seq.cli.inspect._charts", lambda *_: [])  # they take their time
    file = tmp_path / "book.txt"
    file.write_text("".join(f"line {k} of a book\n" for k in range(200)), encoding="utf-8")
    config = Config(corpus=(str(file),), hidden=4, batch=2, window=4, steps=2, sample_every=0)
    for _ in train(config, folder=tmp_path / "run"):
        pass
    command = ["inspect", str(tmp_path / "run"), "--gradients", "--steps", "9", "--format", "svg"]
    for _ in range(2):
        assert main(command) == 0
        read = capsys.readouterr().out.splitlines()[0]
        assert re.fullmatch(
            r"read    'line 18\d o', from the validation part of the run's own text, characters \d+ to \d+",
            read,
        ), read
    assert main([*command, "--text", "a book of line 7"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "read    'a book of '"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("rnn", {"layers": 2}), ("gru", {"layers": 3}), ("lstm", {"layers": 2, "embedding": 0})],
)
def test_inspect_charts_of_several_layers(
    charts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, settings: dict[str, Any]
) -> None:
    """What is carried from step to step is that of all layers together; a run of every kind has all its charts."""
    config = Config(model=kind, hidden=6, batch=3, window=5, steps=2, sample_every=0, **settings)
    for _ in train(config, corpus=TEXT, folder=tmp_path / "run"):
        pass
    assert main(["inspect", str(tmp_path / "run"), "--gradients", "--steps", "6", "--format", "svg"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_inspect_charts_of_a_transformer(
    charts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No states, but embeddings that a gradient reaches; one line says what is left out, none is too long."""
    settings = {"model": "transformer", "hidden": 8, "heads": 2, "layers": 1}
    config = Config(batch=3, window=12, steps=2, sample_every=0, **settings)
    for _ in train(config, corpus=TEXT, folder=tmp_path / "run"):
        pass
    assert main(["inspect", str(tmp_path / "run"), "--gradients", "--format", "svg"]) == 0
    out = capsys.readouterr().out.splitlines()
    files = [p.name for p in (tmp_path / "run" / "charts").iterdir()]
    assert sorted(files) == ["decay.svg", "gradients.svg", "learning.svg", "reach.svg"]
    assert out[0].startswith("read    ")
    assert "attention carries no state" in out[-1]
    assert main(["inspect", str(tmp_path / "run"), "--only", "attention"]) == 0
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert note.startswith("note    The model sees 12 tokens at once. The text is read in 39 windows")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gradients", "--steps", "1"], "expected at least 2, got 1"),
        (["--steps", "2001"], "expected at most 2,000, got 2,001"),
        (["--gradients", "--out", __file__], "cannot be made"),
        (["--gradients", "--text", "ab"], "expected at least 3 characters"),
        (["--gradients", "--text", "the 안녕"], "안"),
    ],
)
def test_inspect_refuses(
    charts: Any, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """A mistake is one message and exit code 2."""
    assert main(["inspect", str(folder), *arguments]) == 2
    assert told in capsys.readouterr().err


# ---- what a model does on a text ---------------------------------------------------------------------------
def model(cells: str = "lstm", layers: int = 2) -> Any:
    """A small character model in float64."""
    return CharLM(7, 5, layers, cell=cells, rng=tgs.Generator(1)).double()


IDS = np.array([3, 1, 4, 1, 5, 2, 6, 5, 3, 5])


@pytest.mark.parametrize("cells", ["rnn", "gru", "lstm"])
def test_saliency_is_what_central_differences_say(cells: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-6, whatever is taken together; nothing from the symbol itself or later; no `.grad` is touched."""
    from tinygrad_seq.analysis.probe import text as module

    one = model(cells)
    found = saliency(one, IDS)
    monkeypatch.setattr(module, "ROWS", 4)
    np.testing.assert_allclose(saliency(one, IDS), found, rtol=1e-10)
    e = one.embedding(IDS[:, None]).numpy()

    def log_p(t: int, s: int, row: np.ndarray) -> float:
        changed = e.copy()
        changed[s, 0] = row
        h, _ = getattr(one, cells)(tgs.tensor(changed[:t]))
        return float(F.log_softmax(one.head(h[-1]), -1)[0, int(IDS[t])].item())

    for t in range(len(IDS)):
        for s in range(len(IDS)):
            g = by_differences(lambda x, t=t, s=s: log_p(t, s, x), e[s, 0]) if s < t else np.zeros(1)
            assert found[t, s] == pytest.approx(np.linalg.norm(g), rel=1e-6)
    assert all(p.grad is None for p in one.parameters())


def test_on_text_is_what_the_model_computes() -> None:
    """Chances equal `score`; states equal those that the plain forward pass makes."""
    one = model()
    seen = activations(one, IDS)
    np.testing.assert_allclose(seen.log_p, one.score(IDS), rtol=1e-12)
    with states_of(one) as found:
        one(IDS[:, None])
    for layer, states in found.items():
        for k, kind in enumerate("hc"):
            expected = [states[t][k].numpy()[0] for t in range(len(IDS))]
            np.testing.assert_allclose(seen.parts[f"{kind}_{layer}"], expected, rtol=1e-12)
    assert seen.entropy[0] == pytest.approx(np.log(7))
    assert one.lstm._step_hook("l0", lambda *_: None) is None, "nobody looks on any more"
    with pytest.raises(ArgumentError, match="GPT has no gates"):
        activations(GPT(5, block=4, layers=1, heads=1, width=4), [1, 2])
    with pytest.raises(ArgumentError, match="no recurrent layer"):
        unrolled(GPT(5, block=4, layers=1, heads=1, width=4), [1, 2, 3])
    with pytest.raises(DataError):
        unrolled(one, [1, 2])
    with pytest.raises(RangeError):
        saliency(one, [1, 2, 7])


def test_unrolled_losses_are_the_models_loss() -> None:
    """Their mean; dropout is off, and on again afterwards."""
    one = CharLM(7, 5, 2, dropout=0.5, rng=tgs.Generator(1)).double()
    tape = unrolled(one, IDS)
    assert one.dropout.training
    one.eval()
    loss, _ = one.loss(IDS[:-1, None], IDS[1:, None])
    assert np.mean([x.item() for x in tape.losses]) == pytest.approx(loss.item(), rel=1e-12)
    losses, carried = step_by_step(one.train(), IDS)
    assert [x.item() for x in losses] == pytest.approx([x.item() for x in tape.losses], rel=1e-12)
    assert [len(s) for s in carried] == [2] * 9
    assert bptt.reach(tape.losses, tape.last).norms.shape == (9, 9)


def test_the_unit_finder_finds_what_is_there_and_nothing_else() -> None:
    """A unit that follows quotes is found; noise is told from it; what does not vary is left out."""
    text = 'he said "yes" and then "no" (but why) \n' * 8
    seen = detectors(text)
    rng = np.random.default_rng(1)
    units = rng.standard_normal((len(text), 6))
    units[:, 4] = -seen["inside quotes"] + 0.1 * units[:, 4]
    units[:, 5] = 3.0
    by_name = {d.detector: d for d in find_units({"h_l0": units}, seen)}
    best = by_name["inside quotes"]
    assert (best.part, best.unit, best.found) == ("h_l0", 4, True)
    assert best.correlation < -0.95
    assert "upper case" not in by_name
    noise = find_units({"h_l0": units[:, :3]}, {"column": rng.standard_normal(len(text))})
    assert not noise[0].found
    assert noise[0].words.endswith("no more than chance")
    with pytest.raises(ShapeError, match="differ in length"):
        find_units({"h": units[:-1]}, seen)
    with pytest.raises(ArgumentError, match="expected at least 100 tokens and 1 round, got 5 and 200"):
        find_units({"h": units[:5]}, {"x": np.arange(5.0)})


def test_gates_and_health() -> None:
    """Counted by hand; numbers that are not finite are told first."""
    f = np.array([[0.05, 0.95], [0.5, 0.99], [0.05, 0.97], [0.5, 0.93]])
    gate = gates({"f_l0": f, "h_l0": f})[0]
    assert gate.shut.tolist() == [0.5, 0.0]
    assert gate.open.tolist() == [0.0, 1.0]
    np.testing.assert_allclose(gate.memory, -1 / np.log(f.mean(0)))
    h = np.array([[np.nan, 0.0, 0.999, 0.1], [0.0, 0.0, 0.995, 0.2]])
    found = health({"h_l1": h})[0]
    assert (found.units, found.constant, found.stuck, found.lost) == (4, 1, 1, 1)
    assert found.words[0] == "1 numbers of layer l1 are not finite."


def test_attention_is_seen_and_changes_nothing() -> None:
    """Rows sum to 1, nothing ahead; entropy and distance by hand; the model is as before."""
    one = GPT(7, block=8, layers=2, heads=2, width=4, rng=tgs.Generator(0)).eval()
    ids = IDS[:6, None]
    expected, _ = one(ids)
    with attention_of(one) as found:
        logits, _ = one(ids)
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    weights = [calls[0] for calls in found.values()]
    assert [a.weights.shape for a in weights] == [(1, 2, 6, 6)] * 2
    np.testing.assert_allclose(weights[1].weights.sum(-1), 1.0, rtol=1e-6)
    assert np.all(np.triu(weights[0].weights[0, 0], 1) == 0)
    w = weights[0].weights[0, 1]
    apart = [sum(w[q, k] * (q - k) for k in range(q + 1)) for q in range(6)]
    assert weights[0].distance[1] == pytest.approx(np.mean(apart))
    assert weights[0].entropy[1] == pytest.approx(
        -np.mean([sum(p * np.log(p) for p in r if p > 0) for r in w])
    )
    assert "forward" not in vars(one.blocks.layers[0].self_attn)
