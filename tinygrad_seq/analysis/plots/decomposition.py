"""Contributions, products of Jacobians and what truncation costs, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.analysis.plots.figure import (
    COLORS,
    GRAY,
    HATCH,
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
from tinygrad_seq.bptt import JacobianProduct, Ledger, LSTMPaths, Parts, TruncationBias
from tinygrad_seq.runtime.arrays import Array

__all__ = ["bias", "ledger", "parts", "paths", "spectra"]

FLOOR = 0.012  # of the height of the axes: an exact 0 must be visible, and look smaller than any other value


def ledger(found: Ledger, *, title: str = "", ax: Any = None) -> Chart:
    """The contributions to a shared weight's gradient as bars over the steps, beside the norm of their sum.

    On a logarithmic axis where they differ by more than a factor of 50; steps that contribute exactly 0, or that
    no path leads to, are hatched; what is used outside of any step stands last. Data: steps (None last), norms,
    whole (of the sum). Raises DTypeError for anything but a `Ledger`.
    """
    expect("ledger", found, Ledger, "bptt.ledger")
    norms = numbers("ledger", "the contributions", found.norms, 1)
    whole = float(np.linalg.norm(np.asarray(found.gradient, np.float64)))
    ax = new_axes(ax, "ledger")
    marked_at = {s: n for s, n in zip(found.steps, norms, strict=True) if s is not None}
    # No path leads from the steps that are not in the ledger to the loss: they contribute exactly 0.
    every = range(min([0, *marked_at]), max(marked_at, default=-1) + 1)
    steps: list[int | None] = list(every)
    norms = np.array([*(marked_at.get(s, 0.0) for s in every), *norms[len(marked_at) :]])
    places = np.arange(len(steps), dtype=float) + (steps[0] or 0 if steps else 0)
    if None in found.steps:
        places = np.append(places, places[-1] + 2 if steps else 0.0)
        steps.append(None)
    shown = positive(norms)
    ax.bar(places, np.nan_to_num(shown), width=0.85, color=COLORS[0], label="contribution of a step")
    kept = shown[np.isfinite(shown)]
    if len(kept) and kept.max() > 50 * kept.min():
        ax.set_yscale("log")
        top = max(kept.max(), whole) * 12
        ax.set_ylim(kept.min() / max(3.0, (top / kept.min()) ** 0.05), top)  # above the zeros' mark
    if whole > 0 and math.isfinite(whole):
        ax.axhline(whole, color="black", linestyle="--", linewidth=1.2, label="norm of the whole gradient")
    _hatched(ax, places[norms == 0])
    marked(ax, places, norms, zeros=False)
    if steps[-1] is None:
        some = places[:-1][:: max(1, len(steps) // 8)]
        ax.set_xticks([*some, places[-1]], [*(str(int(x)) for x in some), "none"])
    ax.set_xlabel("time step" + (" (none: used outside of any)" if steps[-1] is None else ""))
    ax.set_ylabel("norm of the contribution")
    ax.set_title(title or "Where the gradient of a shared weight comes from")
    quiet(ax)
    legend(ax)
    return Chart(ax, {"steps": tuple(steps), "norms": norms, "whole": whole})


def _hatched(ax: Any, places: Array) -> None:
    """Hatch the floor where bars have no height: one low patch for those beside each other."""
    for i, run in enumerate(np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else ()):
        ax.axvspan(
            run[0] - 0.5, run[-1] + 0.5, ymax=FLOOR, facecolor="#f2f2f2", edgecolor="#8a8a8a", hatch=HATCH,
            linewidth=0.0, label=None if i else "exactly 0",
        )  # fmt: skip


def spectra(found: JacobianProduct | Sequence[JacobianProduct], *, ax: Any = None) -> Chart:
    """The singular values of d h_t / d h_(t - lag) against the lag, on a logarithmic axis (base 10).

    A line for the largest at every lag where it is known, dots for all values of each product given: hand over
    products of several lags to see the spectrum spread. Data: lag, log10_largest, and log10_values for each product
    by its lag. Raises DTypeError for anything but `JacobianProduct`s.
    """
    given = [found] if isinstance(found, JacobianProduct) else found
    if not isinstance(given, Sequence) or not len(given):
        expect("spectra", found, JacobianProduct, "bptt.jacobian_product")
    for one in given:
        expect("spectra", one, JacobianProduct, "bptt.jacobian_product")
    ax = new_axes(ax, "spectra")
    tens = math.log(10)
    longest = max(given, key=lambda p: (len(p.log_largest), p.lag))
    full = len(longest.log_largest) == longest.lag + 1
    line = {p.lag: p.log_largest[-1] / tens for p in given}
    if full:
        line |= dict(enumerate(longest.log_largest / tens))
    lag = np.array(sorted(line))
    largest = np.array([line[j] for j in lag])
    ax.plot(lag, _finite(largest), color=COLORS[0], linewidth=1.5, label="largest", zorder=3)
    for i, one in enumerate(given):
        values = _finite(one.log_values / tens)
        ax.plot(
            np.full(len(values), one.lag), values, "_", color=COLORS[1], markersize=9,
            label=None if i else "singular values found",
        )  # fmt: skip
        marked(ax, np.full(len(values), one.lag), np.where(np.isneginf(one.log_values), 0.0, 1.0))
    ax.axhline(0, color=GRAY, linewidth=0.9, linestyle=":", label="1: neither fades nor grows")
    ax.set_xlabel("lag, steps back")
    ax.set_ylabel("log10 of the singular values of dh_t / dh_(t - lag)")
    ax.set_title("What a product of Jacobians does to a gradient")
    quiet(ax)
    legend(ax)
    return Chart(
        ax,
        {"lag": lag, "log10_largest": largest, "log10_values": {p.lag: p.log_values / tens for p in given}},
    )


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def bias(found: TruncationBias, *, ax: Any = None) -> Chart:
    """What truncation costs: cosine and length of the truncated gradient beside the full one, against k2.

    Data: k2, cosine, ratio. Raises DTypeError for anything but a `TruncationBias`.
    """
    expect("bias", found, TruncationBias, "bptt.truncation_bias")
    ax = new_axes(ax, "bias")
    order = np.argsort(found.k2)
    k2, cosine, ratio = (np.asarray(a)[order] for a in (found.k2, found.cosine, found.ratio))
    ax.axhline(1, color=GRAY, linewidth=0.9, linestyle=":", label="the full gradient")
    for i, (values, label) in enumerate(
        [(cosine, "cosine with the full gradient"), (ratio, "its length over the full one's")]
    ):
        ax.plot(k2, _finite(values), label=label, **{**style(i), "markersize": 5})
        marked(ax, k2, values, zeros=False)
    if k2.max() > 8 * k2.min():
        ax.set_xscale("log", base=2)
        ax.set_xticks(k2, [str(int(k)) for k in k2])
        ax.minorticks_off()
    ax.set_xlabel("k2, steps that the gradient goes back")
    ax.set_title("What truncation costs")
    quiet(ax)
    legend(ax)
    return Chart(ax, {"k2": k2, "cosine": cosine, "ratio": ratio})


def parts(found: Parts, *, ax: Any = None) -> Chart:
    """The gradient at a state that comes from its own step's output and from the next step, as bars, beside
    their sum.

    The sum is that of vectors: it may be shorter than either. Data: norms (own, future, whole). Raises DTypeError for
    anything but a `Parts`.
    """
    expect("parts", found, Parts, "bptt.parts")
    norms = np.array([np.linalg.norm(np.asarray(a, float)) for a in (found.own, found.future, found.whole)])
    ax = new_axes(ax, "parts", size=(4.8, 3.6))
    names = ("its own output", "the next step", "together")
    for i, (name, norm) in enumerate(zip(names, norms, strict=True)):
        ax.bar(name, positive(norm), color=COLORS[i], hatch=("", "//", "..")[i], edgecolor="white")
        ax.annotate(f"{norm:.3g}", (i, norm if np.isfinite(norm) else 0.0), ha="center", va="bottom")
    ax.set_ylabel("norm of what comes from there")
    ax.set_title(f"What arrives at the state of step {found.step}")
    quiet(ax)
    ax.margins(y=0.12)
    return Chart(ax, {"norms": norms})


def paths(found: LSTMPaths, *, ax: Any = None) -> Chart:
    """The gradient at each cell state of an LSTM: along the path through the forget gates, along all others,
    and in sum.

    On a logarithmic axis; norms of exactly 0 are crosses at the bottom. Data: norms (T, 3). Raises DTypeError for
    anything but `LSTMPaths`.
    """
    expect("paths", found, LSTMPaths, "bptt.lstm_paths")
    norms = numbers("paths", "the norms", found.norms, 2)
    ax = new_axes(ax, "paths")
    steps = np.arange(len(norms))
    for i, name in enumerate(("straight through the forget gates", "by other ways", "together")):
        ax.plot(
            steps, positive(norms[:, i]), label=name, **{**style(i), "markevery": max(1, len(steps) // 20)}
        )
        marked(ax, steps, norms[:, i], color=COLORS[i])
    log_axis(ax, norms)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("time step of the cell state")
    ax.set_ylabel("norm of the gradient")
    ax.set_title("The ways back through an LSTM")
    quiet(ax)
    legend(ax)
    return Chart(ax, {"norms": norms})
