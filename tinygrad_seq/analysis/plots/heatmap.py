"""A matrix of norms as a heat map: logarithmic, with what is exactly 0 hatched and cuts as lines."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from tinygrad_seq.analysis.plots.figure import HATCH, MAP, WARNING
from tinygrad_seq.runtime.arrays import Array

DECADES = 12  # powers of ten below the largest: smaller values get the colour of the lowest
FADED = 1e-30  # the smallest float32 is about 1e-45
WRITTEN_OUT = 12  # up to so many rows and columns the exponents stand in the cells


def causal(norms: Array) -> Array:
    """Which entries can be anything but 0: the loss stands at the state or after it."""
    losses, states = norms.shape
    t, s = np.arange(losses)[:, None] + states - losses, np.arange(states)
    return np.asarray(s <= t)


def cuts_in(norms: Array) -> list[int]:
    """The states s at which the tape was cut: no loss at s or later reaches s - 1, though a gradient reaches s."""
    losses, states = norms.shape
    offset = states - losses
    found = []
    for s in range(1, states):
        block = norms[max(0, s - offset) :, :s]
        # A gradient that underflowed to 0 earlier is no cut: only the edge from s to s - 1 itself counts.
        if block.size and not block.any() and norms[max(0, s - offset) :, s].max() > FADED:
            found.append(s)
    return found


def limits(*matrices: Array) -> tuple[float, float]:
    """The range of log10 that one colour scale needs for all of them."""
    kept = np.concatenate([m[np.isfinite(m) & (m > 0)] for m in matrices])
    if not len(kept):
        return -1.0, 0.0
    top = float(np.log10(kept.max()))
    low = max(float(np.log10(kept.min())), top - DECADES)
    return (low, top) if top - low > 1e-6 else (top - 0.5, top + 0.5)


def _logs(norms: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where((norms > 0) & np.isfinite(norms) & causal(norms), np.log10(norms), np.nan)


def numbers_by(matrices: Sequence[Array], span: tuple[float, float]) -> str:
    """How the numbers of all matrices are shown: in "cells", by "lines" of equal norm, or in "some" cells.

    Matrices that are compared are drawn alike: lines only where each of them can have some.
    """
    if all(max(m.shape) <= WRITTEN_OUT for m in matrices):
        return "cells"
    return "lines" if all(_levels(_logs(m), span) for m in matrices) else "some"


def heat(ax: Any, norms: Array, span: tuple[float, float], cuts: list[int], numbers: str = "") -> Any:
    """Draw the matrix; returns what a colour bar is made from. `numbers` as `numbers_by` says."""
    losses, states = norms.shape
    allowed = causal(norms)
    logs = _logs(norms)
    mesh = ax.pcolormesh(
        np.arange(states + 1) - 0.5, np.arange(losses + 1) - 0.5, np.ma.masked_invalid(logs),
        cmap=MAP, vmin=span[0], vmax=span[1], rasterized=True,
    )  # fmt: skip
    _hatched(ax, (norms == 0) & allowed)
    lost = np.argwhere(~np.isfinite(norms))
    if len(lost):
        ax.plot(
            lost[:, 1], lost[:, 0], "*", color=WARNING, markersize=7, linestyle="none", label="not finite"
        )
    numbers = numbers or numbers_by([norms], span)
    if numbers == "lines":
        _contours(ax, logs, _levels(logs, span))
    else:
        _written(ax, logs, span, every=1.0 if numbers == "cells" else max(1.0, max(logs.shape) / 8))
    for i, s in enumerate(cuts):
        top = max(0, s - (states - losses)) - 0.5
        ax.plot(
            [s - 0.5, s - 0.5], [top, losses - 0.5], color="black", linewidth=1.8, linestyle=(0, (3, 1.5)),
            label="cut" if not i else None,
        )  # fmt: skip
    ax.set_xlim(-0.5, states - 0.5)
    ax.set_ylim(losses - 0.5, -0.5)
    ax.set_aspect("equal" if losses == states else "auto")
    locator = import_module("matplotlib.ticker").MaxNLocator
    ax.xaxis.set_major_locator(locator(integer=True))
    ax.yaxis.set_major_locator(locator(integer=True))
    return mesh


def _hatched(ax: Any, zero: Array) -> None:
    """Hatch the cells: equal runs in rows that follow each other are one patch."""
    patch = import_module("matplotlib.patches").Rectangle
    open_runs: dict[tuple[int, int], int] = {}
    label: str | None = "exactly 0"
    for t in range(len(zero) + 1):
        row = zero[t] if t < len(zero) else np.zeros(zero.shape[1], bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        runs = set(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        for run in [r for r in open_runs if r not in runs]:
            start = open_runs.pop(run)
            ax.add_patch(
                patch(
                    (run[0] - 0.5, start - 0.5), run[1] - run[0], t - start, facecolor="#f2f2f2",
                    edgecolor="#8a8a8a", hatch=HATCH, linewidth=0.0, label=label,
                )
            )  # fmt: skip
            label = None
        for run in runs:
            open_runs.setdefault(run, t)


def _written(ax: Any, logs: Array, span: tuple[float, float], every: float = 1.0) -> None:
    """The exponents in the cells, or in some of them that stand `every` so many apart."""
    middle = (span[0] + span[1]) / 2
    rows, columns = (np.unique((np.arange(0, n, every) + (every - 1) / 2).astype(int)) for n in logs.shape)
    for t in rows[rows < len(logs)]:
        for s in columns[columns < logs.shape[1]]:
            if np.isfinite(logs[t, s]):
                color = "black" if logs[t, s] > middle else "white"
                ax.text(s, t, f"{logs[t, s]:z.1f}", ha="center", va="center", fontsize=6.5, color=color)


def _levels(logs: Array, span: tuple[float, float]) -> list[float]:
    """The exponents that lines of equal norm may have.

    None where rows differ so much from their neighbours that lines would be scribbles.
    """
    ticks = import_module("matplotlib.ticker").MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(*span)
    finite = logs[np.isfinite(logs)]
    if not len(finite) or min(logs.shape) < 2:
        return []
    levels = [v for v in ticks if 0.05 < (finite < v).mean() < 0.95]
    once, twice = (np.abs(np.diff(logs, n, axis=0)) for n in (1, 2))
    jagged = np.isfinite(twice).any() and np.nanmean(twice) > 1.2 * np.nanmean(once)
    return [] if jagged else levels


def _contours(ax: Any, logs: Array, levels: list[float]) -> None:
    """Lines of equal norm with their exponents, so that the numbers do not hang on the colours."""
    lines = ax.contour(np.ma.masked_invalid(logs), levels, colors="white", linewidths=0.7, linestyles="solid")
    ax.clabel(lines, fmt="%g", fontsize=6.5)
