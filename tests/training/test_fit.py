"""`tgs.fit`: progress shown by default, any module with a loss, curves without a folder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq import nn
from tinygrad_seq.data import Corpus
from tinygrad_seq.errors import ArgumentError, DataError, NonFiniteError
from tinygrad_seq.training import Config, Finished, Fitted, fit

pytestmark = [pytest.mark.engine, pytest.mark.laws]

TEXT = Corpus("to be or not to be, that is the question:\n" * 40, "hamlet")
SMALL = Config(hidden=6, batch=3, window=6, steps=4, eval_every=2, sample_every=0)
X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]


def line(model: Any, x: Any, y: Any) -> Any:
    return F.mse_loss(model(tgs.tensor(x)), tgs.tensor(y))


def test_progress_is_shown_unless_asked_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a callback; with one, or `quiet`, nothing is printed."""
    fit(SMALL, corpus=TEXT)
    said = capsys.readouterr().out
    assert "text    hamlet: 1,680 characters" in said
    assert "done    4 steps" in said
    fit(SMALL, corpus=TEXT, quiet=True)
    fit(SMALL, lambda event: None, corpus=TEXT)
    assert capsys.readouterr().out == ""


def test_a_module_learns_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """y = 2 x + 1 by least squares, the batches again and again; the result holds every loss."""
    tgs.manual_seed(0)
    model = nn.Linear(1, 1)
    batches = [(X[:16], 2 * X[:16] + 1), (X[16:], 2 * X[16:] + 1)]
    end = tgs.fit(model, batches, line, steps=400, lr=0.05, optimizer="Adam")
    assert isinstance(end, Fitted)
    assert end.step == 400
    assert end.losses[-1] < 1e-4 < end.losses[0]
    np.testing.assert_allclose(model.weight.numpy(), [[2.0]], atol=0.02)
    np.testing.assert_allclose(model.bias.numpy(), [1.0], atol=0.02)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 21
    assert said[0].startswith(f"step 1/400  loss {end.losses[0]:.4f}  gradient ")


class Own(nn.Module):
    """A module with a loss of its own, without data, that gives a state too."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(tgs.tensor([3.0]))

    def loss(self) -> Any:
        return (self.w * self.w).sum(), None


def test_own_loss_and_what_is_refused() -> None:
    """A method, its first value; no loss, no number, too few batches, a number that is none."""
    end = fit(Own(), steps=3, quiet=True)
    assert end.losses[0] == 9.0
    assert repr(end) == f"Fitted(Own, 3 steps in {end.seconds:.1f} s, loss 9.0000 to {end.losses[-1]:.4f})"
    with pytest.raises(ArgumentError, match="fit: this module has no loss"):
        fit(nn.Linear(1, 1), steps=1)
    with pytest.raises(ArgumentError, match="the loss is not one number"):
        fit(nn.Linear(1, 1), [X], lambda model, x: model(tgs.tensor(x)), steps=1, quiet=True)
    for data in (iter([(X, X)]), []):
        with pytest.raises(ArgumentError, match="the data ended before the steps did"):
            fit(nn.Linear(1, 1), data, line, steps=2, quiet=True)
    for loss, name, why in (
        (F.mse_loss, "mse_loss", "too many positional arguments"),
        (nn.MSELoss(), "MSELoss", "too many positional arguments"),
        (lambda model, x, y, z: x, "<lambda>", "missing a required argument: 'z'"),
    ):
        with pytest.raises(ArgumentError) as caught:
            fit(nn.Linear(1, 1), [(X, X)], loss, steps=1, quiet=True)
        assert str(caught.value) == (
            f"fit: the loss cannot be called with what there is: {why}.\n  loss: {name!r}\n"
            "  given: 'Linear, ndarray, ndarray'\n  expected a function of the module and the parts of a batch.\n"
            "  For a batch (x, y): lambda model, x, y: F.mse_loss(model(x), y)"
        )
    with pytest.raises(NonFiniteError, match="step 1: a number is not finite"):
        fit(nn.Linear(1, 1), [(X * np.float32(np.nan), X)], line, steps=1, quiet=True)


def test_curves_without_a_folder() -> None:
    """Of a text: every report in bits, with validation; of a module: its losses."""
    pytest.importorskip("matplotlib")
    from tinygrad_seq.analysis import plots

    end = fit(SMALL, corpus=TEXT, quiet=True)
    assert isinstance(end, Finished)
    drawn = plots.learning(end).data
    assert drawn["step"].tolist() == [2, 4]
    np.testing.assert_allclose(drawn["validation_bits"][-1], end.rates.bits_per_character)
    own = fit(Own(), steps=3, quiet=True)
    found = plots.learning(own)
    assert found.data["bits"].tolist() == list(own.losses)
    assert found.axes.get_ylabel() == "loss"
    with pytest.raises(DataError, match="holds no report yet"):
        plots.learning(Fitted(Own(), (), 0.0))
