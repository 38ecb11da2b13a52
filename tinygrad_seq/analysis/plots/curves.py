"""Learning curves and gradient norms of a run, drawn from its `metrics.jsonl`."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq.analysis.plots.figure import (
    BELOW,
    COLORS,
    GRAY,
    Chart,
    legend,
    log_axis,
    marked,
    new_axes,
    positive,
    quiet,
    style,
)
from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.untrusted_files import read_file, reason_of

__all__ = ["gradients", "learning", "metrics"]

_NORM = re.compile(r"(d[a-z]+_.+)_t(\d+)")


def metrics(run: str | os.PathLike[str]) -> dict[str, Array]:
    """The columns of a run's `metrics.jsonl` in float64, NaN where a line has none.

    A last line that is cut short is left out. Raises DataError where there is no such file, no line,
    or a line that is no JSON object.
    """
    path = Path(run)
    path = path / "metrics.jsonl" if path.is_dir() or path.suffix != ".jsonl" else path
    name = os.fspath(path)
    try:
        lines = read_file(path, 1 << 28).decode().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        rule = "expected the folder of a run, as tgs train makes it."
        raise DataError(f"charts: {name!r} cannot be read: {reason}", None, rule) from error
    rows: list[dict[str, Any]] = []
    for i, line in enumerate(lines):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if i == len(lines) - 1 and not line.endswith("\n"):
                break  # a run that is still going on, or was killed
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            rule = "expected one JSON object with a step on each line."
            raise DataError(f"charts: line {i + 1} of {name!r} is no report", None, rule)
        rows.append(row)
    if not rows:
        raise DataError(f"charts: {name!r} holds no report yet", None, "expected one line at least.")
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([_number(row.get(key)) for row in rows]) for key in names}


def _columns(run: Any) -> dict[str, Array]:
    """The columns of a folder's metrics, or of the reports in what `fit` returned."""
    rows = getattr(run, "rows", None)
    if getattr(run, "folder", None) is not None:
        return metrics(run.folder)  # the file also has the steps before the run was resumed
    if rows is None:
        return metrics(run)
    if not rows:
        raise DataError("charts: this run holds no report yet", None, "expected one at least.")
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([_number(row.get(key)) for row in rows]) for key in names}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def learning(run: Any, *, ax: Any = None) -> Chart:
    """The learning curves of a run, by its folder or by what `fit` returns: bits per character in training and
    validation, against the step; of a module's own loss, that loss.

    The best validation has a ring and its number. Data: step, bits, validation_bits. Raises DataError for a
    folder without metrics.
    """
    columns = _columns(run)
    ax = new_axes(ax, "learning")
    step = columns["step"]
    unit = "bits per character" if "bits" in columns else "loss"
    bits = columns.get("bits", columns.get("loss", np.full(len(step), np.nan)))
    validation = columns.get("validation_bits", np.full(len(step), np.nan))
    ax.plot(step, bits, label="training, mean since the report before", **{**style(0), "marker": ""})
    seen = np.isfinite(validation)
    ax.plot(step[seen], validation[seen], label="validation", **style(1))
    if seen.any():
        best = int(np.nanargmin(validation))
        ax.plot(
            step[best],
            validation[best],
            "o",
            markersize=11,
            markerfacecolor="none",
            color="black",
            label="best",
        )
        ax.annotate(
            f"{validation[best]:z.3f}", (step[best], validation[best]), xytext=(0, -18),
            textcoords="offset points", ha="center", fontsize="small",
        )  # fmt: skip
    ax.set_xlabel("step")
    ax.margins(y=0.12)
    ax.set_ylabel(unit)
    ax.set_title("Learning curves")
    quiet(ax)
    legend(ax)
    return Chart(ax, {"step": step, "bits": bits, "validation_bits": validation})


def gradients(run: str | os.PathLike[str], *, ax: Any = None) -> Chart:
    """The gradient during a run, on three axes: through time, its whole norm, and the size of the updates.

    Left the norm of dL/dh_t in the last layer at the first, middle and last time step of the window; middle the whole
    gradient's norm before clipping and the mean over the window for each layer; right the update over the weights and
    the share of clipped steps. Data: step, gradient, clipped, update_ratio, and for each `dh_l0`, `dc_l0` the array
    (reports, time steps), with `dh_l0_t`, the time steps. Raises DataError for a run without metrics.
    """
    columns = metrics(run)
    axes = new_axes(ax, "gradients", [1.0, 1.0, 1.0], (13.5, 4.6))
    step, nothing = columns["step"], np.full(len(columns["step"]), np.nan)
    data: dict[str, Any] = {"step": step}
    data |= {name: columns.get(name, nothing) for name in ("gradient", "clipped", "update_ratio")}
    profiles: dict[str, dict[int, Array]] = {}
    for name, values in columns.items():
        if match := _NORM.fullmatch(name):
            profiles.setdefault(match[1], {})[int(match[2])] = values
    for name, found in profiles.items():
        times = sorted(found)
        data[name] = np.stack([found[t] for t in times], axis=1)
        data[f"{name}_t"] = np.array(times)
    states = [name for name in profiles if name.startswith("dh_")]
    _through_time(axes[0], data, states[-1] if states else None)
    _in_all(axes[1], data, list(profiles))
    _updates(axes[2], data)
    return Chart(axes, data)


def _through_time(ax: Any, data: dict[str, Any], name: str | None) -> None:
    ax.set_xlabel("training step")
    if name is None:
        ax.text(0.5, 0.5, "no norms in these metrics", ha="center", transform=ax.transAxes)
        return
    seen = np.isfinite(data[name]).all(1)
    times, norms, step = data[f"{name}_t"], data[name][seen], data["step"][seen]
    for i, k in enumerate(sorted({0, len(times) // 2, len(times) - 1})):
        ax.plot(step, positive(norms[:, k]), label=f"t = {times[k]}", **style(i))
        marked(ax, step, norms[:, k], color=COLORS[i])
    log_axis(ax, norms)
    ax.set_ylabel("norm of dL / dh_t")
    ax.set_title(
        f"Along the window, {name.removeprefix('dh_')}: first, middle and last step", fontsize="medium"
    )
    quiet(ax)
    legend(ax)


def _in_all(ax: Any, data: dict[str, Any], names: list[str]) -> None:
    ax.plot(data["step"], positive(data["gradient"]), label="all weights, before clipping", color="black")
    for i, name in enumerate(names):
        seen = np.isfinite(data[name]).all(1)
        if seen.any():
            ax.plot(
                data["step"][seen],
                positive(data[name][seen].mean(1)),
                label=f"{name}, mean over t",
                **style(i),
            )
    log_axis(ax, data["gradient"])
    ax.set_xlabel("training step")
    ax.set_ylabel("norm")
    ax.set_title("Gradients", fontsize="medium")
    quiet(ax)
    legend(ax, ncols=2, **BELOW)


def _updates(ax: Any, data: dict[str, Any]) -> None:
    seen = np.isfinite(data["update_ratio"])
    ax.plot(data["step"][seen], positive(data["update_ratio"][seen]), label="update over weights", **style(0))
    log_axis(ax, data["update_ratio"])
    ax.set_xlabel("training step")
    ax.set_ylabel("norm of the update over that of the weights")
    ax.set_title("Updates", fontsize="medium")
    quiet(ax)
    right = ax.twinx()
    right.bar(
        data["step"], 100 * np.nan_to_num(data["clipped"]), width=_width(data["step"]), color="none",
        edgecolor=GRAY, hatch="..", linewidth=0.4, label="clipped steps", zorder=0,
    )  # fmt: skip
    right.set_ylim(0, 300)
    right.set_yticks([0, 50, 100])
    right.set_ylabel("clipped steps, % (bars)", loc="bottom")
    right.spines[["top"]].set_visible(False)
    legend(ax)


def _width(step: Array) -> float:
    return float(np.diff(step).min()) * 0.8 if len(step) > 1 else 1.0
