"""`tgs inspect`: measurements inside a trained model, as one HTML page or as charts in a folder."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_seq.analysis.probe import recurrent_layers
from tinygrad_seq.cli.parser import UsageError, nearest_to
from tinygrad_seq.cli.passage import passage_of
from tinygrad_seq.data.tokenizers.base import ON_UNKNOWN
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import CheckpointError, explain
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.terminal import one_line
from tinygrad_seq.training import Run, load_run

if TYPE_CHECKING:
    from tinygrad_seq.analysis.plots import Chart

    Drawings = Iterator[tuple[str, Callable[[], tuple[Chart, str]]]]

EXAMPLE = """\
  tgs inspect runs/topics-lstm128 --text "It was a dark night" -o report.html
  tgs inspect runs/topics-lstm128 --file letter.txt --only saliency,units -o letter.json
  tgs inspect runs/topics-lstm128 --gradients --format svg -o charts"""

_WRITTEN_OUT = 64  # numbers in a state up to which its Jacobian's whole spectrum is found quickly
_STEPS = 64
MOST = 2000  # the largest number of tokens in a report or in the charts of gradients
_SLOW = 400  # tokens from which on a line says that the command takes a while


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs inspect`."""
    parser.add_argument("run", metavar="RUN", help="folder that tgs train or tgs demo has made")
    parser.add_argument(
        "--text",
        metavar="TEXT",
        help="what is read, in characters the model knows (default: a passage of the run's own validation text, "
        "always the same; where that is gone, what the model writes)",
    )
    parser.add_argument(
        "--data", action="append", metavar="PATH",
        help="where the run's own text is now, if it is not found; may be given several times",
    )  # fmt: skip
    parser.add_argument("--file", metavar="PATH", help="a text file to read instead, - for standard input")
    parser.add_argument(
        "--on-unknown",
        choices=ON_UNKNOWN,
        default="error",
        help="what to do about characters of the text that the model does not know (default error)",
    )
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help="sections of the report, with commas: saliency, units, gates, attention, health (default all)",
    )
    parser.add_argument(
        "--gradients",
        action="store_true",
        help="no report but charts of the gradient through time and of the run's course",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"tokens of the text to look at (default {_STEPS} for charts, 400 for a report)",
    )
    parser.add_argument(
        "--format", choices=("png", "svg", "pdf"), default="png", help="kind of the charts (default png)"
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help="the report, .html to look at or .json with all numbers (default: report.html in the run's "
        "folder); with --gradients a folder (default: charts, there)",
    )


def run(args: argparse.Namespace) -> int:
    """Inspect what the arguments ask for."""
    if args.steps is not None and args.steps < 2:
        rule = f"expected at least 2, got {args.steps}."
        raise UsageError(explain("tgs inspect: --steps is too small", None, rule))
    if args.text is not None and args.file is not None:
        raise UsageError(
            explain("tgs inspect: --text and --file are both given", None, "expected one of them.")
        )
    if args.gradients and args.only is not None:
        rule = "expected --only without --gradients: it chooses sections of the report."
        raise UsageError(explain("tgs inspect: --only chooses no charts", None, rule))
    if args.steps is not None and args.steps > MOST:
        rule = f"expected at most {MOST:,}, got {args.steps:,}: time and memory grow with the square."
        hint = "Cut out the piece that you want to look at: --text, or --file and fewer --steps."
        raise UsageError(explain("tgs inspect: --steps is too large", None, rule, hint))
    if (args.steps or 0) > _SLOW:
        print(f"reading up to {args.steps:,} tokens; the time grows with their square")
    return _gradients(args) if args.gradients else _report(args)


def _report(args: argparse.Namespace) -> int:
    from tinygrad_seq.analysis.report import LONGEST, Report
    from tinygrad_seq.analysis.report.report import checked_name

    # Errors that do not depend on the model are raised before it is loaded.
    only = _sections(args.only)
    path = checked_name(args.out if args.out else Path(args.run, "report.html"))
    trained = load_run(args.run)
    longest = args.steps or LONGEST
    read = passage_of(args, trained, longest)
    report = Report.of(
        trained.model,
        trained.vocabulary,
        read.text,
        only=only,
        longest=longest,
        title=Path(args.run).resolve().name,
        source=read.source,
    )
    report.save(path)
    if read.source:
        print(f"read    {len(report.record.tokens):,} tokens, {one_line(read.source)}")
    for note in report.record.notes:
        print(f"note    {note}")
    # A section that this kind of model cannot have is reported only where the user asked for it.
    unasked = set() if args.only else {"attention", "gates"}
    for name, why in report.record.left_out.items():
        if name in unasked:
            continue
        print(f"without {name}: {why}")
    print(f"saved   {one_line(path)}")
    return 0


def _sections(names: str | None) -> list[str] | None:
    from tinygrad_seq.analysis.report import SECTIONS

    if names is None:
        return None
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    wrong = next((name for name in wanted if name not in SECTIONS), None)
    if wrong is not None or not wanted:
        what = f"tgs inspect: there is no section {wrong!r}" if wrong else "tgs inspect: --only names nothing"
        rule = f"expected some of {', '.join(SECTIONS)}."
        raise UsageError(explain(what, None, rule, nearest_to(wrong or "", SECTIONS).strip()))
    return wanted


def _gradients(args: argparse.Namespace) -> int:
    from tinygrad_seq.analysis.plots.figure import matplotlib

    matplotlib()  # asked for before anything is computed
    trained = load_run(args.run)
    steps = args.steps or _STEPS
    read = passage_of(args, trained, steps + 1)
    ids = read.ids[: min(steps + 1, getattr(trained.model, "block", None) or steps + 1)]
    folder = Path(args.out) if args.out else Path(args.run, "charts")
    _make(folder)
    print(f"read    {trained.vocabulary.decode(ids)!r}{f', {one_line(read.source)}' if read.source else ''}")
    recurrent = bool(recurrent_layers(trained.model))
    for name, draw in (_charts if recurrent else _attended)(trained, ids, Path(args.run)):
        chart, words = draw()
        path = chart.save(folder / f"{name}.{args.format}")
        print(f"{name:<11} {one_line(path)}{f': {words}' if words else ''}")
    if not recurrent:
        print("without ledger, spectra, truncation, cells: attention carries no state from step to step.")
    return 0


def _make(folder: Path) -> None:
    """Make a folder; raises CheckpointError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        what = f"tgs inspect: the folder {str(folder)!r} cannot be made: {reason}"
        raise CheckpointError(what, None, "", "Choose another place with -o.") from error


def _attended(trained: Run, ids: Array, folder: Path) -> Drawings:
    """The charts of a Transformer: how far its gradient reaches through attention, and the learning curves."""
    from tinygrad_seq import bptt
    from tinygrad_seq.analysis import plots
    from tinygrad_seq.analysis.probe import saliency

    # Row t is the loss of symbol t + 1, column s the embedding of symbol s.
    reach = bptt.Reach(saliency(trained.model.double(), ids)[1:, :-1])

    def matrix() -> tuple[Chart, str]:
        chart = plots.reach(reach, title="How far back each loss reaches through attention")
        chart.axes.set_xlabel("embedding e_s")
        for bar in chart.figure.axes[1:]:
            bar.set_ylabel("log10 of the norm of dL_t / de_s")
        return chart, reach.fading.origin("the gradient at the embeddings")

    def decay() -> tuple[Chart, str]:
        chart = plots.decay(reach)
        chart.axes.set_ylabel("mean norm of dL_t / de_s")
        return chart, reach.fading.fit.words

    yield "reach", matrix
    yield "decay", decay
    yield from _course(folder)


def _course(folder: Path) -> Drawings:
    from tinygrad_seq.analysis import plots

    if (folder / "metrics.jsonl").exists():
        yield "learning", lambda: (plots.learning(folder), "")
        yield "gradients", lambda: (plots.gradients(folder), "")


def _charts(trained: Run, ids: Array, folder: Path) -> Drawings:
    """Each chart's name, and the function that draws it and describes it in a sentence."""
    from tinygrad_seq import bptt
    from tinygrad_seq.analysis import plots
    from tinygrad_seq.analysis.probe import step_by_step, unrolled

    model = trained.model.double()  # products of many small numbers
    tape = unrolled(model, ids)
    reach = bptt.reach(tape.losses, tape.last)

    def ledger() -> tuple[Chart, str]:
        name, weight = next((n, p) for n, p in reversed(list(model.named_parameters())) if "weight_hh" in n)
        found = bptt.ledger(tape.losses[-1], weight)
        title = f"{name}: where the gradient of the last loss comes from"
        return plots.ledger(found, title=title), found.words

    def spectra() -> tuple[Chart, str]:
        states, t = tape.last, len(tape.last) - 1
        size = sum(s.size for s in states[0])
        lags = [2**j for j in range(int(math.log2(max(t, 1))) + 1)]
        lags = sorted({*lags, t}) if size <= _WRITTEN_OUT else lags
        found = [bptt.jacobian_product(states, t - lag, t) for lag in lags]
        return plots.spectra(found), found[-1].words

    def truncation() -> tuple[Chart, str]:
        losses, carried = step_by_step(model, ids)
        T = len(losses)
        spans = sorted({min(2**j, T) for j in range(T.bit_length() + 1)})
        found = bptt.truncation_bias(losses, carried, list(model.parameters()), spans)
        return plots.bias(found), _enough(found.k2, found.cosine)

    yield "reach", lambda: (plots.reach(reach), reach.fading.origin("the gradient at the states"))
    yield "decay", lambda: (plots.decay(reach), reach.fading.fit.words)
    yield "ledger", ledger
    yield "spectra", spectra
    yield "truncation", truncation
    yield "cells", lambda: (_cells(trained, ids), "")
    yield from _course(folder)


def _enough(k2: Array, cosine: Array) -> str:
    """The shortest truncation whose gradient has a cosine of at least 0.99 with the full gradient."""
    from tinygrad_seq.bptt.summary import counted

    # All longer ones must do so too.
    good = [int(k) for i, k in enumerate(k2) if (cosine[i:] >= 0.99).all()]
    if not good:
        return ""
    return f"cut after {counted(good[0])} or more, it points as the full gradient does (cosine 0.99)"


def _cells(trained: Run, ids: Array) -> Chart:
    """The trained model beside an RNN, a GRU and an LSTM of its size that have learnt nothing."""
    from tinygrad_seq import bptt
    from tinygrad_seq.analysis import plots
    from tinygrad_seq.analysis.probe import unrolled
    from tinygrad_seq.models import CharLM

    config, symbols = trained.config, len(trained.vocabulary)
    found = {}
    for cell in ("rnn", "gru", "lstm"):
        rng = Generator(config.seed, "init")
        fresh = CharLM(symbols, config.hidden, config.layers, config.embedding, cell=cell, rng=rng).double()
        tape = unrolled(fresh, ids)
        found[f"{cell.upper()}, untrained"] = bptt.reach(tape.losses, tape.last)
    tape = unrolled(trained.model, ids)
    found["this run"] = bptt.reach(tape.losses, tape.last)
    return plots.side_by_side(found, title=f"{config.layers} x {config.hidden} units on the same text")
