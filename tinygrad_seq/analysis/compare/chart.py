"""Comparisons drawn by matplotlib (the extra `plot`), like the charts of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.analysis.compare.rungs import Rung
from tinygrad_seq.analysis.compare.runs import Compared
from tinygrad_seq.analysis.plots import Chart
from tinygrad_seq.analysis.plots.figure import BELOW, COLORS, GRAY, legend, new_axes, quiet, style

__all__ = ["draw_ladder", "draw_runs"]


def draw_runs(found: Sequence[Compared], *, ax: Any = None) -> Chart:
    """Validation in bits per character against the step, and against the seconds; the best has a ring.

    Data: for each run's name, (step, seconds, bits). Raises RenderError where matplotlib is missing.
    """
    axes = new_axes(ax, "draw_runs", [1.0, 1.0], (11.0, 4.8))
    several = len({one.text for one in found}) > 1
    data: dict[str, Any] = {}
    for i, one in enumerate(found):
        record = one.record
        bits = record.validation()
        seen = np.isfinite(bits)
        step, seconds = record.column("step")[seen], record.column("seconds")[seen]
        seconds = np.where(seconds >= 0, seconds, np.nan)  # earlier versions: a clock was set back
        name = f"{record.name}, {record.model}" + (f", text {one.text}" if several else "")
        data[record.name] = (step, seconds, bits[seen])
        for panel, x in zip(axes, (step, seconds), strict=True):
            panel.plot(x, bits[seen], label=name, **style(i))
            if seen.any():
                at = int(np.argmin(bits[seen]))
                panel.plot(
                    x[at], bits[seen][at], "o", markersize=10, markerfacecolor="none",
                    color=COLORS[i % len(COLORS)],
                )  # fmt: skip
    for panel, what in zip(axes, ("step", "seconds"), strict=True):
        panel.set_xlabel(what)
        panel.set_ylabel("validation, bits per character")
        quiet(panel)
    axes[0].set_title("By step")
    axes[1].set_title("By time on the machine of each run")
    legend(axes[0], **BELOW)
    return Chart(axes, data)


def draw_ladder(rungs: Sequence[Rung], *, title: str = "", ax: Any = None) -> Chart:
    """Bits per symbol of each model with its standard error; the rungs of the ladder are filled.

    Data: names, bits, errors. Raises RenderError where matplotlib is missing.
    """
    ax = new_axes(ax, "draw_ladder", size=(6.8, 0.38 * len(rungs) + 1.4))
    bits, errors = (np.array([getattr(r, n) for r in rungs]) for n in ("bits", "error"))
    y = np.arange(len(rungs))[::-1]
    for rung, at in zip(rungs, y, strict=True):
        fill = COLORS[0] if rung.judged else "none"
        ax.barh(at, rung.bits, color=fill, edgecolor=COLORS[0], hatch="" if rung.judged else "..", height=0.7)
        ax.text(
            rung.bits + np.nan_to_num(rung.error), at, f"  {rung.bits:z.3f}", va="center", fontsize="small"
        )
    ax.errorbar(bits, y, xerr=np.nan_to_num(errors), fmt="none", ecolor=GRAY, capsize=2)
    ax.set_yticks(y, [r.name for r in rungs])
    ax.set_xlabel("bits per symbol, with the standard error of the mean (dotted: no rung)")
    ax.margins(x=0.12)
    if title:
        ax.set_title(title, fontsize="medium")
    quiet(ax)
    return Chart(ax, {"names": [r.name for r in rungs], "bits": bits, "errors": errors})
