"""`tgs selftest`: whether everything works here, in less than half a minute."""

from __future__ import annotations

import argparse
import json
import time

from tinygrad_seq.analysis.doctor import Outcome, run_checks
from tinygrad_seq.cli.cores import use_one_thread

EXAMPLE = """\
  tgs selftest
  tgs selftest --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs selftest`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run all checks; 1 where one of them fails."""
    use_one_thread()
    begin = time.perf_counter()
    done: list[Outcome] = []
    for one in run_checks():
        done.append(one)
        if not args.json:
            words = one.words.replace("\n", "\n        ")
            print(
                f"{'ok    ' if one.ok else 'FAILED'}  {one.name}, {one.seconds:.1f} s\n        {words}",
                flush=True,
            )
    failed = sum(not one.ok for one in done)
    seconds = time.perf_counter() - begin
    if args.json:
        print(json.dumps({"ok": not failed, "seconds": seconds, "checks": [vars(one) for one in done]}))
    elif failed:
        print(
            f"{failed} of {len(done)} checks failed, {seconds:.1f} s. tgs doctor says what is installed here."
        )
    else:
        print(f"all {len(done)} checks hold, {seconds:.1f} s")
    return 1 if failed else 0
