"""What all charts share: matplotlib, imported when the first chart is drawn, and marks that need no colour."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq.analysis.plots.fonts import use_fonts_for
from tinygrad_seq.errors import DTypeError, RenderError, ShapeError, describe, describe_shape
from tinygrad_seq.runtime.arrays import Array

__all__ = ["Chart"]

MAP = "cividis"  # readable with red-green blindness too; lightness rises from end to end
# Okabe and Ito, 2008, from dark to light; each comes with a line style and a marker of its own.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY, WARNING = "#777777", "#B00020"
HATCH = "////"


@dataclass(frozen=True, repr=False)
class Chart:
    """What was drawn: the axes (an array of them where there are several), and the numbers by name."""

    axes: Any
    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        use_fonts_for(self.figure)

    @property
    def figure(self) -> Any:
        """The matplotlib figure that the axes belong to."""
        return np.ravel(np.asarray(self.axes, dtype=object))[0].figure

    def save(self, path: str | Path, dpi: int = 150) -> Path:
        """Write the figure: the ending says how, .png, .svg, .pdf. Returns the path."""
        use_fonts_for(self.figure)  # texts that the user has added since
        self.figure.savefig(path, dpi=dpi)
        return Path(path)

    def png(self, dpi: int = 100) -> bytes:
        """The figure as the bytes of a PNG file."""
        use_fonts_for(self.figure)
        file = io.BytesIO()
        self.figure.savefig(file, dpi=dpi, format="png", bbox_inches="tight")
        return file.getvalue()

    def image(self, words: str) -> str:
        """The figure as an HTML element that needs no other file; `words` is its alternative text."""
        data = base64.b64encode(self.png()).decode()
        return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}"/>'

    def __repr__(self) -> str:
        kinds = ", ".join(
            f"{k}: {describe(v).partition('   ')[0]}"
            for k, v in self.data.items()
            if not isinstance(v, Mapping)
        )
        return f"Chart({kinds or ', '.join(map(repr, self.data))})"

    def _repr_png_(self) -> bytes | None:
        """The PNG for a notebook; None for a figure of pyplot, which the notebook shows already."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        theirs = pyplot is not None and getattr(self.figure, "number", None) in pyplot.get_fignums()
        return None if theirs else self.png()


def matplotlib() -> Any:
    """The package. Raises RenderError with the command that installs it, where it is missing."""
    try:
        return import_module("matplotlib")
    except ImportError as error:
        rule = "expected the package matplotlib."
        hint = "Install it with: python -m pip install 'tinygrad_seq[plot]'"
        raise RenderError("charts: matplotlib is not installed", None, rule, hint) from error


def new_axes(
    ax: Any, call: str, columns: Sequence[float] = (1.0,), size: tuple[float, float] = (6.4, 4.8)
) -> Any:
    """The axes given, or new ones side by side on a figure of their own, which no pyplot keeps alive.

    One where there is one column, else an array. Raises ShapeError for another number than is drawn on,
    DTypeError for what is no axes.
    """
    matplotlib()
    count = len(columns)
    if ax is None:
        figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
        made = figure.subplots(1, count, squeeze=False, gridspec_kw={"width_ratios": list(columns)})[0]
        return made[0] if count == 1 else made
    given = np.ravel(np.asarray(ax, dtype=object))
    if len(given) != count:
        rule = f"expected {count}, got {len(given)}."
        raise ShapeError(f"charts.{call}: another number of axes is drawn on", None, rule)
    wrong = next((a for a in given if not hasattr(a, "pcolormesh")), None)
    if wrong is not None:
        rule = "expected matplotlib axes, as plt.subplots() makes them."
        raise DTypeError(f"charts.{call}: ax is no axes", {"ax": wrong}, rule)
    return given[0] if count == 1 else given


def expect(call: str, value: Any, kind: type, maker: str) -> None:
    """Raises DTypeError where a chart is given anything but the type that it draws."""
    if not isinstance(value, kind):
        rule = f"expected a {kind.__name__}, as {maker} returns."
        raise DTypeError(f"charts.{call}: not what it draws", {"given": value}, rule)


def numbers(call: str, name: str, values: Any, ndim: int) -> Array:
    """The array in float64. Raises ShapeError for another number of axes, or none of anything."""
    found = np.asarray(values, np.float64)
    if found.ndim != ndim or not found.size:
        rule = f"expected {ndim} axes and at least one number, got {describe_shape(found.shape)}."
        raise ShapeError(f"charts.{call}: {name} cannot be drawn", None, rule)
    return found


def style(i: int) -> dict[str, Any]:
    """Colour, line and marker of the i-th line of a chart: no two lines differ by colour alone."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.4,
    }


def marked(ax: Any, x: Array, values: Array, *, color: str = GRAY, zeros: bool = True) -> None:
    """Mark the values that have no place on a logarithmic axis: crosses at the bottom for 0, at the top for
    NaN and infinity.
    """
    zero, lost = values == 0, ~np.isfinite(values)
    across = ax.get_xaxis_transform()
    if zeros and zero.any():
        ax.plot(
            x[zero], np.full(zero.sum(), 0.02), "x", color=color, transform=across, label="exactly 0",
            clip_on=False, markersize=4,
        )  # fmt: skip
    if lost.any():
        ax.plot(
            x[lost], np.full(lost.sum(), 0.98), "*", color=WARNING, transform=across,
            label="not finite", clip_on=False, markersize=8,
        )  # fmt: skip


def positive(values: Array) -> Array:
    """The values, NaN where there is no logarithm to be drawn."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def log_axis(ax: Any, values: Array, axis: str = "y") -> None:
    """A logarithmic axis; one without numbers where nothing on it is positive."""
    kept = values[np.isfinite(values) & (values > 0)]
    if len(kept):
        alike = kept.max() < 1.001 * kept.min()
        if alike:
            ax.autoscale(False, axis=axis)  # matplotlib would find no room between them, and warn
        ax.set(**{f"{axis}scale": "log"})
        if alike:
            ax.set(**{f"{axis}lim": (kept.min() / 10, kept.max() * 10)})
    else:
        ax.set(**{f"{axis}ticks": []})


def quiet(ax: Any) -> None:
    """No frame where there is no axis, and a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def legend(ax: Any, **settings: Any) -> None:
    """A legend where there is anything to explain."""
    handles, labels = ax.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    if known:
        ax.legend(known.values(), known.keys(), fontsize="small", framealpha=0.9, **settings)


BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
"""Where a legend covers nothing."""
