"""`tgs eval`: how well a trained model predicts a text, in every unit, beside n-gram counts."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tinygrad_seq.analysis.compare import Parts, Record, baselines, named_text, own_parts, read_record
from tinygrad_seq.cli.cores import suit_threads
from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.cli.tables import as_json, lines_of, plus_minus
from tinygrad_seq.data import TextSize
from tinygrad_seq.data.sources.decode import BAD_BYTES
from tinygrad_seq.data.tokenizers.base import ON_UNKNOWN
from tinygrad_seq.errors import DataError, explain, first_line
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.terminal import one_line
from tinygrad_seq.training import Run, load_run
from tinygrad_seq.training.context_curve import ContextCurve, context_curve
from tinygrad_seq.training.evaluation import Measured, validate

EXAMPLE = """\
  tgs eval runs/topics-lstm128
  tgs eval runs/topics-lstm128 --part test --context
  tgs eval runs/topics-lstm128 other.txt --on-unknown skip --json"""

_MOST = 2_000_000  # tokens, from which on the error is small and counting needs much memory
_HEAD = ("", "nats/token", "bits/char", "bits/byte", "perplexity", "accuracy", "tokens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs eval`."""
    parser.add_argument("run", metavar="RUN", help="folder that tgs train or tgs demo has made")
    parser.add_argument(
        "files", nargs="*", metavar="FILE",
        help="text to evaluate on, as tgs train takes it (default: the run's own validation and test parts)",
    )  # fmt: skip
    parser.add_argument(
        "--part", action="append", choices=("train", "validation", "test"),
        help="a part of the run's own text; may be given several times (default: validation and test)",
    )  # fmt: skip
    parser.add_argument("--weights", choices=("best", "last"), help="which weights (default: the best)")
    parser.add_argument(
        "--most", type=int, default=_MOST, metavar="N",
        help=f"ask for N tokens at the most, in pieces spread over the text (default {_MOST:,})",
    )  # fmt: skip
    parser.add_argument(
        "--context", action="store_true", help="also the loss with 1, 2, 4, ... symbols of context alone"
    )
    parser.add_argument(
        "--on-unknown", choices=ON_UNKNOWN, default="error",
        help="what to do about characters of FILE that the model does not know (default error)",
    )  # fmt: skip
    parser.add_argument("--encoding", default="utf-8", metavar="NAME", help="of FILE (default utf-8)")
    parser.add_argument(
        "--bad-bytes", choices=BAD_BYTES, default="error",
        help="what to do about bytes of FILE that are not of the encoding (default error)",
    )  # fmt: skip
    parser.add_argument(
        "--ext",
        default="",
        metavar="ENDINGS",
        help="which files of a folder FILE, such as py,md (default: every text)",
    )
    parser.add_argument(
        "--data", action="append", metavar="PATH",
        help="where the run's own text is now, if it is not found; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--max-size", type=int, metavar="MB",
        help="megabytes that a packed FILE may expand to (default: 200 times its size, or 64), or a pipe hold",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure the model, and the baselines, on each part."""
    if args.files and args.part:
        what = "tgs eval: --part belongs to the run's own text, not to files"
        raise UsageError(explain(what, None, "", "Leave out one of them."))
    if args.most < 1:
        rule = f"expected at least 1, got {args.most}."
        raise UsageError(explain("tgs eval: --most is too small", None, rule))
    record = read_record(args.run)
    weights = args.weights or ("best" if os.path.lexists(Path(args.run, "best.safetensors")) else "last")
    trained = load_run(args.run, weights)
    suit_threads(vars(trained.config))
    parts, counted, why = _texts(args, record, trained)
    results = {}
    for name in _wanted(args, parts):
        ids = parts.parts[name]
        found = {record.model: validate(trained.model, trained.config, ids, args.most)}
        if counted is not None and name != "train":
            found |= baselines(counted, ids, len(trained.vocabulary), args.most)
        curve = context_curve(trained.model, ids) if args.context else None
        results[name] = (found, parts.size(name), curve)
    if args.json:
        print(json.dumps(_json(args.run, weights, record, parts, results), allow_nan=False))
        return 0
    print(f"run     {one_line(args.run)}: {record.model}, {trained.model.count():,} parameters, "
          f"{weights} weights")  # fmt: skip
    skipped = f"; {parts.left_out:,} unknown characters left out" if parts.left_out else ""
    print(f"text    {one_line(parts.name)}, sha256 {parts.sha256[:12]}{skipped}")
    if why:
        print(f"        no baselines: {why}")
    print("\n".join(["", *_table(results), *_after(results)]))
    return 0


Results = Mapping[str, tuple[Mapping[str, Measured], TextSize, ContextCurve | None]]


def _texts(args: argparse.Namespace, record: Record, trained: Run) -> tuple[Parts, Array | None, str]:
    """The text to evaluate on, the ids to count for the baselines, and why there are none."""
    if not args.files:
        parts = own_parts(record, trained.vocabulary, args.data)
        return parts, parts.parts["train"], ""
    parts = named_text(
        args.files,
        trained.vocabulary,
        on_unknown=args.on_unknown,
        encoding=args.encoding,
        bad_bytes=args.bad_bytes,
        max_size=args.max_size,
        ext=args.ext,
    )
    if len(parts.parts["text"]) < 2:
        rule = "expected at least two tokens that the model knows."
        raise DataError(f"eval: {parts.name} holds too little for this model", None, rule)
    try:
        return parts, own_parts(record, trained.vocabulary, args.data).parts["train"], ""
    except DataError as error:
        return parts, None, first_line(error)


def _wanted(args: argparse.Namespace, parts: Parts) -> list[str]:
    """The names of the parts to evaluate on."""
    if args.files:
        return ["text"]
    for name in args.part or ():
        if name not in parts.parts:
            rule = f"expected one of {', '.join(parts.parts)}."
            raise DataError(f"eval: this run kept no part {name!r}", None, rule)
    return list(dict.fromkeys(args.part or [n for n in ("validation", "test") if n in parts.parts]))


def _table(results: Results) -> list[str]:
    rows: list[tuple[str, ...]] = [_HEAD]
    for name, (found, size, _) in results.items():
        for k, (model, one) in enumerate(found.items()):
            rates, errors = one.rates(size), one.errors(size)
            rows.append((
                f"{name}: {model}" if k == 0 else f"  {model}",
                *(plus_minus(x, e, 4 if i == 0 else 3) for i, (x, e) in enumerate(zip(rates, errors, strict=True))),
                f"{one.perplexity:z,.2f}",
                "-" if one.accuracy is None else f"{one.accuracy:z.1%}",
                f"{one.tokens:,}" + ("" if one.whole else f" of {one.of:,}"),
            ))  # fmt: skip
    return lines_of(rows)


def _after(results: Results) -> list[str]:
    lines = ["", "± is the standard error of the mean, from the means of 30 contiguous blocks of the text."]
    for name, (_, _, curve) in results.items():
        if curve is None:
            continue
        rows = [("context", "nats/token"), *(
            (f"{n:,}", plus_minus(x, e, 4))
            for n, x, e in zip(curve.lengths, curve.nats, curve.errors, strict=True)
        )]  # fmt: skip
        lines += ["", f"{name}, {curve.tokens:,} tokens", *lines_of(rows, left=0), curve.words]
    return lines


def _json(run: str, weights: str, record: Record, parts: Parts, results: Results) -> dict[str, object]:
    return {
        "run": run,
        "model": record.model,
        "parameters": record.parameters,
        "weights": weights,
        "text": {"name": parts.name, "sha256": parts.sha256, "left_out": parts.left_out},
        "parts": {
            name: {
                "models": {model: _numbers(one, size) for model, one in found.items()},
                "context": curve and {
                    "lengths": curve.lengths, "nats": curve.nats, "errors": [as_json(e) for e in curve.errors],
                    "tokens": curve.tokens, "enough": curve.enough,
                },
            }
            for name, (found, size, curve) in results.items()
        },
    }  # fmt: skip


def _numbers(one: Measured, size: TextSize) -> dict[str, object]:
    errors = {f"{unit}_error": as_json(x) for unit, x in one.errors(size)._asdict().items()}
    rest = {"perplexity": one.perplexity, "accuracy": one.accuracy, "tokens": one.tokens, "of": one.of}
    return {**one.rates(size)._asdict(), **errors, **rest}
