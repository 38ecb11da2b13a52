"""A ladder of models on one text: same split, same protocol, bits per character in one table.

    python benchmarks/ladder.py                             # the language reference inside every Python
    python benchmarks/ladder.py --corpus book.txt --steps 4000

`tgs compare --ladder` with its circumstances, and with exit code 1 where the order of the rungs does not hold.
`tinygrad_seq/analysis/compare/rungs.py` describes the protocol.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os

# Products as small as these are not worth a second thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import in_turn

from tinygrad_seq import data
from tinygrad_seq.analysis.compare import Protocol, broken, ladder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="builtin:topics")
    for field in dataclasses.fields(Protocol):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=type(field.default), default=field.default)
    parser.add_argument("--unjudged", action="store_true", help="any order of the rungs will do")
    args = parser.parse_args()

    how = Protocol(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Protocol)})
    tokens = data.tokenize(data.read_text(args.corpus))
    parts, V = data.split(tokens.ids), len(tokens.tokenizer)
    print(in_turn.circumstances("numpy"))
    print(
        f"{tokens.name}: {tokens}\n{len(parts.train):,} characters to learn from, "
        f"{min(len(parts.test), how.test):,} asked for, {V} symbols ({math.log2(V):.3f} bits)\n"
        f"networks: {how.steps:,} steps of {how.batch} x {how.window}, H {how.hidden}, lr {how.lr:g}, "
        f"GPT {how.gpt_lr:g}\n"
    )
    print(f"  {'':22s}{'bits/char':>10s}{'+-':>8s}{'numbers':>12s}{'seconds':>9s}")
    rungs = []
    for rung in ladder(parts, V, how):
        rungs.append(rung)
        print(
            f"{'*' if rung.judged else ' '} {rung.name:22s}{rung.bits:10.3f}{rung.error:8.3f}"
            f"{rung.numbers:12,}{rung.seconds:9.1f}{' contexts' if rung.counts else ''}",
            flush=True,
        )
    wrong = broken(rungs)
    print("\n* unigram > Markov > AR > RNN > GRU, LSTM: " + ("; ".join(wrong) or "it holds"))
    if wrong and not args.unjudged:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
