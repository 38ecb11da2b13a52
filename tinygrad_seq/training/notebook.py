"""A run in a notebook: one display that is updated, with the numbers, both curves and the last sample.

This package does not depend on IPython; it is installed where a notebook runs.
"""

from __future__ import annotations

import html
import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TextIO

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.terminal import visible
from tinygrad_seq.training.console import HEAD, beginning, ending, lines_for, row
from tinygrad_seq.training.evaluation import bits
from tinygrad_seq.training.events import Evaluated, Event, Finished, Interrupted, Sampled, Started, Step

__all__ = ["Notebook", "in_notebook", "shown"]

_WIDTH, _HEIGHT, _MARGIN = 520, 180, 34
_POINTS = 400  # of a curve at most
_REFRESH = 0.5  # seconds


def in_notebook() -> bool:
    """Whether this program runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def shown(stream: TextIO | None = None) -> Callable[[Event], None]:
    """A function that shows each event: in a notebook as a display, else as lines on `stream` (stdout).

    >>> from tinygrad_seq.training import Config, fit
    >>> fit(Config(minutes=1), shown())  # doctest: +SKIP
    """
    if in_notebook():
        return Notebook().show
    return lines_for(stream or sys.stdout).show


class Notebook:
    """One display of a run. `page` is what it shows, as HTML."""

    def __init__(self, display: Callable[[Any], Any] | None = None):
        self.display = display
        self.handle: Any = None
        self.head: list[str] = []
        self.losses: list[tuple[int, float]] = []
        self.validations: list[tuple[int, float]] = []
        self.line = self.sample = ""
        self.shown_at = -math.inf

    def show(self, event: Event) -> None:
        """Take an event; the display is updated twice a second, and at once for rare events."""
        now = time.monotonic()
        if isinstance(event, Started):
            self.head = beginning(event)
        elif isinstance(event, Step):
            self.losses.append((event.step, bits(event.loss) / event.width))
            self.line = f"{HEAD}\n{row(event, self.validations[-1][1] if self.validations else None)}"
            if now - self.shown_at < _REFRESH:
                return
        elif isinstance(event, Evaluated):
            self.validations.append((event.step.step, event.rates.bits_per_character))
        elif isinstance(event, Sampled):
            self.sample = visible(event.text)
        elif isinstance(event, Finished | Interrupted):
            self.line = ending(event)
        self.shown_at = now
        self._update()

    @property
    def page(self) -> str:
        """The figures, the curves and the last sample."""
        text = "\n".join([*self.head, self.line])
        sample = f"<p>A sample:</p>{_fixed(self.sample)}" if self.sample else ""
        return f"{_fixed(text)}{self._curves()}{sample}"

    def _update(self) -> None:
        page = _Page(self.page)
        if self.display is not None:
            self.display(page)
        elif self.handle is None:
            ipython: Any = import_module("IPython.display")
            self.handle = ipython.display(page, display_id=True)
        else:
            self.handle.update(page)

    def _curves(self) -> str:
        points = [*self.losses, *self.validations]
        values = [value for _, value in points if math.isfinite(value)]
        if len(values) < 2:
            return ""
        low, high = min(values), max(max(values), min(values) + 1e-9)
        last = max(step for step, _ in points)

        def place(step: int, value: float) -> tuple[float, float]:
            x = _MARGIN + (_WIDTH - _MARGIN) * step / last
            return x, 8 + (_HEIGHT - 24) * (high - value) / (high - low)

        def line(curve: Sequence[tuple[int, float]], width: float, opacity: float) -> str:
            kept = curve[:: max(1, len(curve) // _POINTS)]
            found = [place(*point) for point in kept if math.isfinite(point[1])]
            dots = " ".join(f"{x:.1f},{y:.1f}" for x, y in found)
            style = f'stroke="currentColor" stroke-width="{width}" opacity="{opacity}"'
            return f'<polyline fill="none" {style} points="{dots}"/>'

        marks = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="currentColor"/>'
            for x, y in (place(*point) for point in self.validations if math.isfinite(point[1]))
        )
        words = "".join(
            f'<text x="0" y="{y}" font-size="11" fill="currentColor">{value:.2f}</text>'
            for value, y in ((high, 14), (low, _HEIGHT - 14))
        )
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="bits per character: '
            f'training thin, validation with dots">{line(self.losses, 1, 0.45)}{line(self.validations, 2, 1)}'
            f"{marks}{words}"
            f'<text x="{_MARGIN}" y="{_HEIGHT - 2}" font-size="11" fill="currentColor">bits per character by step, '
            f"0 to {last:,}: training thin, validation with dots</text></svg>"
        )


def _fixed(text: str) -> str:
    """A text in letters of one width, whatever the page makes of `pre`."""
    return f'<pre style="font-family: monospace">{html.escape(text)}</pre>'


class _Page:
    def __init__(self, page: str):
        self.page = page

    def _repr_html_(self) -> str:
        return self.page

    def __repr__(self) -> str:
        return "a run of tinygrad_seq"


answer(globals(), "shown")
