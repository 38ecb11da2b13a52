"""Events as lines of text: a live line on a terminal, plain lines anywhere else.

The command line uses it; a script may use it as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from tinygrad_seq.terminal import bare, one_line, visible
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.events import Evaluated, Event, Finished, Interrupted, Sampled, Started, Step
from tinygrad_seq.training.gradient_flow import Flow
from tinygrad_seq.training.pace import span

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["HEAD", "Lines", "TerminalLines", "lines_for", "strip"]

HEAD = (
    f"{'step':>13}  {'nats':>6}  {'bits':>6}  {'validation':>10}  {'gradient':>8}  {'char/s':>8}  {'left':>7}"
)
_REFRESH = 0.1  # seconds
_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_PER_BLOCK = 10**0.25  # the factor between two blocks that follow each other: eight span two decades


def lines_for(stream: TextIO) -> Lines:
    """The object that prints events on `stream`: a live line where that is a terminal, plain lines otherwise.

    >>> import sys
    >>> from tinygrad_seq.training import Config, train
    >>> with lines_for(sys.stdout) as lines:  # doctest: +SKIP
    ...     for event in train(Config(minutes=1)):
    ...         lines.show(event)
    """
    return TerminalLines(stream) if stream.isatty() else Lines(stream)


class Lines:
    """One plain line for each report, without control codes. Losses in nats and bits per token (a character,
    where the tokenizer is `char`), validation in bits per character, the norm of the gradient before clipping.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.headed = False

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def show(self, event: Event) -> None:
        """Write the lines about an event."""
        if isinstance(event, Step):
            if event.note:
                self.write(f"note    {event.note}")
            if event.report:
                self._write_row(event)
        elif isinstance(event, Evaluated):
            self._write_row(event.step, event.rates.bits_per_character, "  best" if event.best else "")
            if event.risen:
                self.write(f"note    {event.risen}")
        elif isinstance(event, Started):
            for line in beginning(event):
                self.write(line)
        elif isinstance(event, Sampled):
            self.write(f"--- sample after step {event.step:,} ---", strong=True)
            self.write(event.text)
            self.write("---", strong=True)
        elif isinstance(event, Finished | Interrupted):
            self.write(ending(event))

    def write(self, text: str, strong: bool = False) -> None:
        """Write lines that stay."""
        self.stream.write(visible(text) + "\n")
        self.stream.flush()

    def _write_row(self, step: Step, validation: float | None = None, end: str = "") -> None:
        self._write_head()
        self.write(row(step, validation) + end, strong=validation is not None)

    def _write_head(self) -> None:
        """Write the head of the table, once."""
        if not self.headed:
            self.headed = True
            self.write(HEAD, strong=True)

    def close(self) -> None:
        """Leave the stream as it was."""


class TerminalLines(Lines):
    """The same lines, and below them one that follows every step and one with the gradient through time.

    No colour where NO_COLOR is set.
    """

    def __init__(self, stream: TextIO):
        super().__init__(stream)
        from rich.console import Console

        self.console = Console(file=bare(stream), highlight=False)
        self.live: Live | None = None
        self.shown_at = 0.0
        self.validation: float | None = None
        self.flow: Flow | None = None
        self.plain = not _can_write(stream, _BLOCKS)

    def show(self, event: Event) -> None:
        """Write lines that stay, and update the live line."""
        super().show(event)
        if isinstance(event, Step):
            self._follow(event)
        elif isinstance(event, Evaluated):
            self.validation = event.rates.bits_per_character
        elif isinstance(event, Finished | Interrupted):
            self.close()

    def write(self, text: str, strong: bool = False) -> None:
        """Write lines that stay, above the live one."""
        from rich.text import Text

        self.console.print(Text(visible(text), style="bold" if strong else ""), soft_wrap=True)

    def close(self) -> None:
        """Erase the live line."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _follow(self, step: Step) -> None:
        from rich.live import Live
        from rich.text import Text

        now = time.monotonic()
        if now - self.shown_at < _REFRESH:
            return
        self.shown_at = now
        self._write_head()
        if self.live is None:
            # Drawn by hand: a thread of its own would take time from the arithmetic.
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        text = row(step, self.validation)
        if step.flow is not None and (step.flow.looks or self.flow is None):
            self.flow = step.flow  # else the last measurement: not every step is measured
        if self.flow is not None and self.flow.looks:
            text += "\n" + strip(self.flow, self.plain)
        self.live.update(Text(visible(text), style="cyan", no_wrap=True, overflow="crop"), refresh=True)


def beginning(event: Started) -> list[str]:
    """The lines at the start of a run: text, model, plan, folder."""
    corpus, config = event.corpus, event.run.config
    train, validation, test = event.parts
    plan = [f"{config.steps:,} steps"] if config.steps is not None else []
    plan += [f"{config.epochs:g} epochs"] if config.epochs is not None else []
    plan += [f"{config.minutes:.3g} min"] if config.minutes is not None else []
    plan += [f"{config.patience} validations without a better one"] if config.patience else []
    vocabulary = event.run.vocabulary
    kinds = f"tokens  {vocabulary.spec}: {train + validation + test:,} of {len(vocabulary):,} kinds"
    return [
        f"text    {one_line(corpus.name)}: {corpus}, sha256 {corpus.sha256[:12]}",
        *([kinds] if vocabulary.kind != "char" else []),
        f"        {train:,} to train on, {validation:,} to validate with, {test:,} kept for a test",
        f"model   {config.model if config.model == 'transformer' else config.model.upper()} of "
        f"{config.layers} x {config.hidden}, {event.run.model.count():,} parameters",
        f"plan    {' or '.join(plan)}, {config.batch} x {config.window} tokens a step (batch x window), "
        f"{config.optimizer}, learning rate {config.lr:g}",
        *(["        /~N: about N steps in all, estimated anew after each"] if config.minutes else []),
        f"        {_reading(config)}",
        *(f"note    {note}" for note in event.notes),
        *([f"resumed after step {event.resumed:,}"] if event.resumed else []),
        *([f"folder  {one_line(event.folder)}"] if event.folder else []),
    ]


def _reading(config: Config) -> str:
    """A clause on how the text is read, and how far a gradient reaches."""
    if config.reading == "random":
        return f"windows drawn at random, each from nothing; the gradient reaches through all {config.window} steps"
    reach = config.reach or config.window
    return f"streams, their state carried on; the gradient reaches back at most {reach} steps"


def ending(event: Finished | Interrupted) -> str:
    """How a run ended, in one line."""
    if isinstance(event, Interrupted):
        return f"stopped after step {event.step:,}, {clock(event.seconds)}; every step before it is whole"
    patience = event.run.config.patience
    why = f": {patience:,} validations in a row were no better (--patience {patience})" if event.early else ""
    return f"done    {event.step:,} step{'s' * (event.step != 1)} in {clock(event.seconds)}{why}"


def row(step: Step, validation: float | None) -> str:
    """One line of the table; `~` before the number of steps where it is about that many."""
    done = f"{step.step:,}" + (f"/{'~' * step.about}{step.steps:,}" if step.steps is not None else "")
    measured = _decimal(validation) if validation is not None else ""
    left = clock(step.left) if step.left is not None else "?"
    if step.left_range is not None:
        left = span(*step.left_range) or left
    return (
        f"{done:>13}  {_decimal(step.recent):>6}  {_decimal(step.bits):>6}  {measured:>10}  "
        f"{step.gradient:>8.3g}  {step.rate:>z8,.0f}  {left:>7}"
    )


def _decimal(loss: float) -> str:
    """With three decimals, or shortened where that would be many digits."""
    return f"{loss:z.3f}" if abs(loss) < 1e5 else f"{loss:.2g}"


def strip(flow: Flow, plain: bool = False) -> str:
    """The gradient along the window, first step to last, on one line: a block for each norm, each 1.8 times the
    one below, and the largest as a number. Exactly 0 is a space, what is not finite a `!`.

    >>> strip(Flow(0.25, 0.002, {"dh_l0": {0: 0.001, 4: 0.01, 7: 0.1}, "dc_l0": {0: 0.05, 4: 0.1, 7: 0.0}}, 1))
    'dh_l0 |▁▄█| 0.1  dc_l0 |▇█ | 0.1  clipped 25%  update 0.002'
    """
    parts = [f"{name} |{_bars(norms, plain)}| {_largest(norms):.2g}" for name, norms in flow.norms.items()]
    parts.append(f"clipped {flow.clipped:z.0%}")
    if flow.update is not None:
        parts.append(f"update {flow.update:.2g}")
    return "  ".join(parts)


def _largest(norms: Mapping[int, float]) -> float:
    return max((n for n in norms.values() if math.isfinite(n)), default=math.nan)


def _bars(norms: Mapping[int, float], plain: bool) -> str:
    signs, top = _PLAIN if plain else _BLOCKS, _largest(norms)

    def sign(norm: float) -> str:
        if not math.isfinite(norm):
            return "!"
        if norm == 0:
            return " "
        return signs[max(0, len(signs) - 1 - round(math.log(top / norm, _PER_BLOCK)))]

    return "".join(map(sign, norms.values()))


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, or as hours, minutes and seconds.

    >>> clock(59.9), clock(3661)
    ('1:00', '1:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
