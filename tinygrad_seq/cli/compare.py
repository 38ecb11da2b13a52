"""`tgs compare`: runs side by side, or the family of models on one text; a table and a picture."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_seq.analysis.compare import Compared, Protocol, Rung, broken, compare, ladder, read_record
from tinygrad_seq.cli.cores import suit_threads
from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.cli.tables import as_json, lines_of, plus_minus, short_time
from tinygrad_seq.errors import RenderError, explain, first_line
from tinygrad_seq.terminal import one_line

if TYPE_CHECKING:
    from tinygrad_seq.analysis.plots import Chart

EXAMPLE = """\
  tgs compare runs/topics-lstm128 runs/topics-gru128 -o curves.svg
  tgs compare --ladder builtin:topics --steps 500"""

_OF_LADDER = {
    "steps": "updates of each network", "hidden": "width of the networks",
    "orders": "largest order that is counted", "test": "characters asked for at the most", "seed": "of the weights",
}  # fmt: skip
_USUAL = "compare.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs compare`."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders that tgs train or tgs demo has made")
    parser.add_argument(
        "--ladder", metavar="CORPUS",
        help="fit the family of models to a text instead: unigram, Markov, AR, RNN, GRU, LSTM, GPT",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", metavar="FILE", help=f"the picture: .png, .svg or .pdf (default {_USUAL})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="read the metrics alone: no standard errors, no weights loaded"
    )
    for name, what in _OF_LADDER.items():
        usual = getattr(Protocol(), name)
        help_text = f"with --ladder: {what} (default {usual:,})"
        parser.add_argument(f"--{name}", type=int, metavar="N", help=help_text)
    parser.add_argument(
        "--data", action="append", metavar="PATH",
        help="where the text of the runs is now, if it is not found; may be given several times",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object; a picture only with -o")


def run(args: argparse.Namespace) -> int:
    """Compare runs, or models."""
    given = {name: value for name in _OF_LADDER if (value := getattr(args, name)) is not None}
    if bool(args.runs) == bool(args.ladder):
        what = "tgs compare: expected either runs or --ladder CORPUS"
        raise UsageError(explain(what, None, "", "See tgs compare --help."))
    if given and not args.ladder:
        what = f"tgs compare: --{next(iter(given))} belongs to --ladder"
        raise UsageError(explain(what, None, "", "Leave it out, or see tgs compare --help."))
    if args.data and not args.runs:
        raise UsageError(
            explain("tgs compare: --data belongs to runs", None, "", "Name the text after --ladder.")
        )
    _check_out(args.out)
    return _ladder(args, given) if args.ladder else _runs(args)


def _runs(args: argparse.Namespace) -> int:
    records = [read_record(path) for path in args.runs]
    suit_threads(*(record.settings for record in records))
    found = compare(records, again=not args.quick, data=args.data)
    if args.json:
        print(json.dumps({"runs": [_run_json(one) for one in found]}, allow_nan=False))
    else:
        print("\n".join(_runs_table(found)))

    def draw() -> Chart:
        from tinygrad_seq.analysis.compare import draw_runs

        return draw_runs(found)

    return _picture(args, draw)


def _runs_table(found: Sequence[Compared]) -> list[str]:
    several = len({one.text for one in found}) > 1
    # Losses on different texts cannot be compared.
    found = sorted(found, key=lambda one: (one.text, math.isnan(one.best), one.best))
    head = ("run", "model", "parameters", "steps", "time", "best, bits/char", "at step", "behind", "char/s")
    rows = [head + (("text",) if several else ())]
    for one in found:
        r = one.record
        rows.append((
            r.name, r.model, "-" if r.parameters is None else f"{r.parameters:,}", f"{r.steps:,}",
            short_time(r.seconds), plus_minus(one.best, one.error), "-" if one.step is None else f"{one.step:,}",
            "" if one.behind is None else plus_minus(*one.behind), f"{r.rate:,.0f}" if math.isfinite(r.rate) else "-",
            *((one.text,) if several else ()),
        ))  # fmt: skip
    lines = lines_of(rows, left=2)
    if len(found) > 1:
        lines += [
            "",
            f"Best first{', text by text' if several else ''}: by validation in bits per character.",
        ]
    if any(math.isfinite(one.error) for one in found):
        lines += [
            "",
            "± is a standard error; that of `behind` is the difference's own, token by token the same text.",
        ]
    if several:
        lines += ["", "These runs are of different texts, and do not compare across them:"]
        texts = {one.text: one.record for one in found}
        lines += [
            f"  {letter}  {one_line(r.facts.get('corpus', 'unknown'))}, sha256 {(r.sha256 or 'unknown')[:12]}"
            for letter, r in texts.items()
        ]
    return lines + [f"{one_line(one.record.name)}: {note}" for one in found for note in one.notes]


def _run_json(one: Compared) -> dict[str, object]:
    r = one.record
    return {
        "run": str(r.path), "model": r.model, "parameters": r.parameters, "steps": r.steps,
        "seconds": as_json(r.seconds), "best_bits_per_character": as_json(one.best), "best_step": one.step,
        "error": as_json(one.error), "behind": one.behind and [as_json(x) for x in one.behind],
        "characters_per_second": as_json(r.rate), "text": one.text, "sha256": r.sha256, "notes": list(one.notes),
    }  # fmt: skip


def _ladder(args: argparse.Namespace, given: dict[str, int]) -> int:
    from tinygrad_seq.data import read_text, split, tokenize

    low = {"orders": 0, "seed": 0, "test": 2}
    for name, value in given.items():
        if value < low.get(name, 1):
            rule = f"expected at least {low.get(name, 1)}, got {value}."
            raise UsageError(explain(f"tgs compare: --{name} is too small", None, rule))
    how = dataclasses.replace(Protocol(), **given)
    suit_threads(vars(how))
    tokens = tokenize(read_text(args.ladder, max_size=256))
    parts, V = split(tokens.ids), len(tokens.tokenizer)
    asked = min(len(parts.test), how.test)
    rungs: list[Rung] = []
    if not args.json:
        print(
            f"text    {one_line(tokens.name)}: {len(parts.train):,} characters to learn from, {asked:,} asked for, "
            f"{V} symbols ({math.log2(V):z.3f} bits)\nplan    networks: {how.steps:,} steps of {how.batch} x "
            f"{how.window}, width {how.hidden}, learning rate {how.lr:g} (GPT {how.gpt_lr:g})\n"
        )
        print(f"  {'':20s}{'bits/char':>18s}{'numbers':>12s}{'seconds':>9s}", flush=True)
    for rung in ladder(parts, V, how):
        rungs.append(rung)
        if not args.json:
            print(_rung_line(rung), flush=True)
    wrong = broken(rungs)
    if args.json:
        rows = [_rung_json(rung) for rung in rungs]
        facts = {"text": tokens.name, "sha256": tokens.sha256, "protocol": dataclasses.asdict(how)}
        print(json.dumps({**facts, "models": rows, "broken": wrong}, allow_nan=False))
    else:
        print("\n* unigram > Markov > AR > RNN > GRU, LSTM: " + ("; ".join(wrong) or "it holds"))

    def draw() -> Chart:
        from tinygrad_seq.analysis.compare import draw_ladder

        return draw_ladder(rungs, title=f"{tokens.name}, networks of {how.steps:,} steps")

    return _picture(args, draw)


def _rung_line(rung: Rung) -> str:
    kind = " contexts" if rung.counts else ""
    bits = plus_minus(rung.bits, rung.error)
    star = "*" if rung.judged else " "
    return f"{star} {rung.name:20s}{bits:>18s}{rung.numbers:12,}{rung.seconds:z9.1f}{kind}"


def _rung_json(rung: Rung) -> dict[str, object]:
    return {
        "model": rung.name, "bits_per_character": rung.bits, "error": as_json(rung.error),
        "numbers": rung.numbers, "counts": rung.counts, "seconds": rung.seconds, "judged": rung.judged,
    }  # fmt: skip


def _check_out(out: str | None) -> None:
    """Refuse an ending before anything is computed."""
    if out is not None and Path(out).suffix.lower() not in (".png", ".svg", ".pdf"):
        rule = "expected a name that ends in .png, .svg or .pdf."
        raise UsageError(explain(f"tgs compare: {out!r} is no picture", None, rule))


def _picture(args: argparse.Namespace, draw: Callable[[], Chart]) -> int:
    """Draw the picture; where `--out` was not given, a picture that cannot be drawn is skipped."""
    if args.json and not args.out:
        return 0
    try:
        path = draw().save(Path(args.out or _USUAL))
    except RenderError as error:
        if args.out:
            raise
        print(f"\nNo picture: {first_line(error)}. {str(error).splitlines()[-1].strip()}")
        return 0
    if not args.json:
        print(f"\npicture {one_line(path)}")
    return 0
