"""`tgs inspect`: what goes on in a trained model, as charts in a folder."""

from __future__ import annotations

import argparse
import math
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_seq import Generator
from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.errors import DataError, explain
from tinygrad_seq.numerics import Array
from tinygrad_seq.training import Run, load_run, sample

if TYPE_CHECKING:
    from tinygrad_seq.charts import Chart

EXAMPLE = """\
  tgs inspect runs/topics-lstm128 --gradients
  tgs inspect runs/topics-lstm128 --gradients --text "It was a dark night" --format svg -o charts"""

_WRITTEN_OUT = 64  # numbers in a state up to which its Jacobian's whole spectrum is found quickly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs inspect`."""
    parser.add_argument("run", metavar="RUN", help="folder that tgs train or tgs demo has made")
    parser.add_argument(
        "--gradients", action="store_true", help="charts of the gradient through time and of the run's course"
    )
    parser.add_argument(
        "--text", metavar="TEXT", help="what is read, in characters the model knows (default: it writes some)"
    )
    parser.add_argument(
        "--steps", type=int, default=64, metavar="N", help="steps to look back through (default 64)"
    )
    parser.add_argument(
        "--format", choices=("png", "svg", "pdf"), default="png", help="kind of the files (default png)"
    )
    parser.add_argument(
        "-o", "--out", metavar="FOLDER", help="where to (default: charts, in the run's folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Inspect what the arguments ask for."""
    if not args.gradients:
        way_out = "Say what to look at: --gradients. See tgs inspect --help."
        raise UsageError(explain("tgs inspect: nothing to look at", None, "", way_out))
    if args.steps < 2:
        rule = f"expected at least 2, got {args.steps}."
        raise UsageError(explain("tgs inspect: --steps is too small", None, rule))
    return _gradients(args)


def _gradients(args: argparse.Namespace) -> int:
    from tinygrad_seq.charts.paper import matplotlib

    matplotlib()  # asked for before anything is computed
    trained = load_run(args.run)
    text = _text(trained, args.text, args.steps)
    folder = Path(args.out) if args.out else Path(args.run, "charts")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"read    {text!r}")
    for name, draw in _charts(trained, text, Path(args.run)):
        chart, words = draw()
        path = chart.save(folder / f"{name}.{args.format}")
        print(f"{name:<11} {path}{f': {words}' if words else ''}")
    return 0


def _text(trained: Run, given: str | None, steps: int) -> str:
    """The characters to be read: those given, or some that the model writes, always the same ones."""
    if given is None:
        return sample(trained.model, trained.vocabulary, "", steps + 1, 0.8, Generator(0, "inspect"))
    text = unicodedata.normalize("NFC", given)[: steps + 1]
    if len(text) < 3:
        raise DataError(
            explain("inspect: the text is too short", {"text": text}, "expected at least 3 characters.")
        )
    return text


def _charts(trained: Run, text: str, folder: Path) -> Iterator[tuple[str, Callable[[], tuple[Chart, str]]]]:
    """Each chart's name, and what draws it and says it in words."""
    from tinygrad_seq import bptt, charts
    from tinygrad_seq.inspection import unrolled

    ids = trained.vocabulary.encode(text)
    model = trained.model.double()  # products of many small numbers
    tape = unrolled(model, ids)
    reach = bptt.reach(tape.losses, tape.last)

    def ledger() -> tuple[Chart, str]:
        name, weight = next((n, p) for n, p in reversed(list(model.named_parameters())) if "weight_hh" in n)
        found = bptt.ledger(tape.losses[-1], weight)
        return charts.ledger(
            found, title=f"{name}: where the gradient of the last loss comes from"
        ), found.words

    def spectra() -> tuple[Chart, str]:
        states, t = tape.last, len(tape.last) - 1
        size = sum(s.size for s in states[0])
        lags = [2**j for j in range(int(math.log2(max(t, 1))) + 1)]
        lags = sorted({*lags, t}) if size <= _WRITTEN_OUT else lags
        found = [bptt.jacobian_product(states, t - lag, t) for lag in lags]
        return charts.spectra(found), found[-1].words

    def truncation() -> tuple[Chart, str]:
        T = len(tape.losses)
        spans = sorted({min(2**j, T) for j in range(T.bit_length() + 1)})
        found = bptt.truncation_bias(tape.losses, tape.all_layers, list(model.parameters()), spans)
        return charts.bias(found), ""

    yield "reach", lambda: (charts.reach(reach), reach.words)
    yield "decay", lambda: (charts.decay(reach), "")
    yield "ledger", ledger
    yield "spectra", spectra
    yield "truncation", truncation
    yield "cells", lambda: (_cells(trained, ids), "")
    if (folder / "metrics.jsonl").exists():
        yield "learning", lambda: (charts.learning(folder), "")
        yield "gradients", lambda: (charts.gradients(folder), "")


def _cells(trained: Run, ids: Array) -> Chart:
    """The trained model beside an RNN, a GRU and an LSTM of its size that have learnt nothing."""
    from tinygrad_seq import bptt, charts
    from tinygrad_seq.inspection import unrolled
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
    return charts.side_by_side(found, title=f"{config.layers} x {config.hidden} units on the same text")
