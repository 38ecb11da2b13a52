"""Charts of which loss reaches which state, and of how fast the gradient decays with the lag."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.analysis.plots.figure import (
    BELOW,
    Chart,
    expect,
    legend,
    log_axis,
    marked,
    new_axes,
    numbers,
    positive,
    quiet,
    style,
)
from tinygrad_seq.analysis.plots.heatmap import cuts_in, heat, limits, numbers_by
from tinygrad_seq.bptt import Reach
from tinygrad_seq.bptt.decay import Fit
from tinygrad_seq.errors import ArgumentError, DTypeError
from tinygrad_seq.nn import RNN, RNNCell
from tinygrad_seq.runtime.arrays import Array

__all__ = ["decay", "reach", "rnn_bound", "side_by_side"]

_SCALE = "log10 of the norm of dL_t / dh_s"
# The largest slope of each nonlinearity.
_STEEPEST = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25, "identity": 1.0}


def rnn_bound(cell: RNNCell | RNN) -> float:
    """The factor a step that the gradient of a plain RNN cannot exceed: max phi' times s_max(W_hh), of layer 0.

    1 for tanh, ReLU and identity, 1/4 for sigmoid (Pascanu, Mikolov and Bengio, 2013). Raises DTypeError for
    anything but an RNN or RNNCell, ArgumentError where layer norm makes it no bound.

    >>> import tinygrad_seq as tgs
    >>> cell = tgs.RNNCell(1, 2)
    >>> _ = cell.weight_hh.assign([[0.0, 0.5], [0.5, 0.0]])
    >>> rnn_bound(cell)
    0.5
    """
    if not isinstance(cell, (RNN, RNNCell)):
        rule = "expected an RNN or RNNCell: gates have no such bound."
        raise DTypeError("charts.rnn_bound: not a plain RNN", {"cell": cell}, rule)
    if cell.layer_norm:
        rule = "expected layer_norm=False."
        raise ArgumentError("charts.rnn_bound: layer norm scales what the weight does", None, rule)
    weight = cell.weight_hh if isinstance(cell, RNNCell) else cell.weight_hh_l0  # type: ignore[attr-defined]
    largest = np.linalg.svd(weight.numpy().astype(np.float64), compute_uv=False)[0]
    return float(largest) * _STEEPEST[cell.nonlinearity]


def reach(found: Reach, *, cuts: Sequence[int] | None = None, title: str = "", ax: Any = None) -> Chart:
    """Which loss reaches which state: a heat map of log10 of the norms, loss t downwards, state s to the right.

    Cells that a gradient could reach and that hold exactly 0 are hatched, those that are not finite starred, the
    future is blank. Dashed lines are the cuts: between state s - 1 and s for each s of `cuts`, by default found in
    the numbers. Small matrices have the exponents written in, larger ones lines of equal norm.

    Data: norms (losses, states), cuts. Raises DTypeError for anything but a `Reach`.
    """
    expect("reach", found, Reach, "bptt.reach")
    norms = numbers("reach", "the matrix", found.norms, 2)
    lines = _checked_cuts(cuts, norms)
    ax = new_axes(ax, "reach", size=(6.0, 5.2))
    mesh = heat(ax, norms, limits(norms), lines)
    _label_matrix(ax)
    ax.set_title(title or "How far back each loss reaches")
    if (norms > 0).any():
        ax.figure.colorbar(mesh, ax=ax, label=_SCALE, shrink=0.85, extend=_extend(norms))
    legend(ax, loc="upper right")
    return Chart(ax, {"norms": norms, "cuts": np.array(lines, int)})


def decay(found: Reach | Mapping[str, Reach], *, bound: float | None = None, ax: Any = None) -> Chart:
    """The mean norm by lag on a logarithmic axis, with its fitted straight line, and its half-life where it has one.

    Where the line tells little of the curve (R^2 of ln(norm) below 0.8, or half is gone long before or after its
    half-life), the legend says so, and after how many steps half of the curve itself is gone.

    Several readings by name are drawn into one chart. `bound` is the factor a step that theory allows, as
    `rnn_bound` finds it for a plain RNN: drawn from the largest norm at lag 0, so that no mean can lie above it.
    Lags with a gradient of exactly 0 are crosses at the bottom.

    Data for each name: lag, norm; of the line fit, half_life and r2; half_gone, of the curve; and bound where there
    is one. Raises DTypeError for anything but `Reach`es, ArgumentError for a bound that is no factor.
    """
    named = {"": found} if isinstance(found, Reach) else found
    if not isinstance(named, Mapping) or not named:
        expect("decay", found, Reach, "bptt.reach")
    for one in named.values():
        expect("decay", one, Reach, "bptt.reach")
    if bound is not None and not (math.isfinite(bound) and bound > 0):
        rule = f"expected a factor a step above 0, got {bound}."
        raise ArgumentError("charts.decay: bound out of range", None, rule)
    ax = new_axes(ax, "decay")
    data: dict[str, Any] = {}
    for i, (name, one) in enumerate(named.items()):
        data[name] = _decaying(ax, name, one, i)
    everything = np.concatenate([d["norm"] for d in data.values()])
    result: dict[str, Any] = dict(data[""]) if list(data) == [""] else data
    if bound is not None:
        result["bound"] = _bounded(ax, list(named.values()), bound)
    log_axis(ax, everything)
    ax.set_xlabel("lag t - s, steps back")
    ax.set_ylabel("mean norm of dL_t / dh_s")
    ax.set_title("How fast the gradient fades")
    quiet(ax)
    legend(ax)
    return Chart(ax, result)


def _decaying(ax: Any, name: str, found: Reach, i: int) -> dict[str, Any]:
    with np.errstate(all="ignore"):  # norms that are not finite have no slope
        norm = found.by_lag
    fit = Fit.of(norm)
    lag = np.arange(len(norm))
    look = style(i)
    label = f"{name}: {fit.short}" if name else "mean over all losses"
    ax.plot(lag, positive(norm), label=label, **{**look, "markevery": max(1, len(lag) // 20)})
    line = fit.line(len(norm))
    if np.isfinite(line).any():
        ax.plot(
            lag, line, color=look["color"], linewidth=0.9, linestyle=(0, (1, 1)),
            label=None if name else f"straight line ({fit.short})",
        )  # fmt: skip
    marked(ax, lag, norm, color=look["color"])
    told = {"half_life": fit.half_life, "r2": fit.r2, "half_gone": fit.half_gone}
    return {"lag": lag, "norm": norm, "fit": line, **told}


def _bounded(ax: Any, found: Sequence[Reach], bound: float) -> Array:
    steps = max(r.norms.shape[1] for r in found)
    # The largest loss-to-own-state norm: the mean at any lag is at most that times bound^lag.
    start = max(float(np.diagonal(r.norms[:, r.norms.shape[1] - len(r.norms) :]).max()) for r in found)
    line = np.asarray(start * np.exp(np.arange(steps) * math.log(bound)))
    ax.plot(line, color="black", linewidth=1.2, linestyle="--", label=f"bound: x {bound:.3g} a step")
    return line


def side_by_side(found: Mapping[str, Reach], *, title: str = "", ax: Any = None) -> Chart:
    """Several reach matrices on one colour scale, and their decay curves: RNN, GRU and LSTM at equal size, say.

    All show their numbers in one way: in the cells, or by lines of equal norm.

    `ax` is one more axes than there are matrices. Data for each name: norms, and what `decay` has. Raises
    DTypeError for anything but a mapping from names to `Reach`es.
    """
    if not isinstance(found, Mapping) or not found:
        expect("side_by_side", found, Mapping, "{'RNN': bptt.reach(...), 'LSTM': ...}")
        raise ArgumentError("charts.side_by_side: nothing to draw", None, "expected one Reach at least.")
    for one in found.values():
        expect("side_by_side", one, Reach, "bptt.reach")
    count = len(found)
    columns = [1.0] * count + [1.5]
    axes = new_axes(ax, "side_by_side", columns, (2.7 * count + 4.4, 4.2))
    matrices = {name: numbers("side_by_side", name, one.norms, 2) for name, one in found.items()}
    span = limits(*matrices.values())
    written = numbers_by(list(matrices.values()), span)
    for i, (name, norms) in enumerate(matrices.items()):
        mesh = heat(axes[i], norms, span, cuts_in(norms), written)
        _label_matrix(axes[i])
        axes[i].set_title(name)
        legend(axes[i], loc="upper right")
        if i:
            axes[i].set_ylabel("")
    bar: dict[str, Any] = {
        "location": "bottom",
        "shrink": 0.5,
        "aspect": 40,
        "extend": _extend(*matrices.values()),
    }
    axes[0].figure.colorbar(mesh, ax=list(axes[:count]), label=_SCALE, **bar)
    curves = decay(found, ax=axes[-1])
    legend(axes[-1], **{**BELOW, "bbox_to_anchor": (0.5, -0.24)})
    if title:
        axes[0].figure.suptitle(title)
    data = {name: {"norms": matrices[name], **curves.data[name]} for name in found}
    return Chart(axes, data)


def _label_matrix(ax: Any) -> None:
    ax.set_xlabel("state s")
    ax.set_ylabel("loss t")


def _extend(*matrices: Array) -> str:
    low = limits(*matrices)[0]
    below = any(((m > 0) & (np.log10(np.where(m > 0, m, 1.0)) < low - 1e-9)).any() for m in matrices)
    return "min" if below else "neither"


def _checked_cuts(cuts: Sequence[int] | None, norms: Array) -> list[int]:
    if cuts is None:
        return cuts_in(norms)
    wrong = next((s for s in cuts if not 0 < s < norms.shape[1]), None)
    if wrong is not None:
        rule = f"expected states from 1 to {norms.shape[1] - 1}, got {wrong}."
        raise ArgumentError("charts.reach: no edge to cut there", None, rule)
    return sorted(cuts)
