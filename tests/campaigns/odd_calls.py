"""Every public callable with an odd argument in each place: the right value, or an error of ours and no warning.

python -m tests.campaigns.odd_calls --calls 100000 --seed 0    (as many as there are: every argument, every odd value)
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import inspect
import io
import itertools
import os
import random
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

import tinygrad_seq as tgs
from tests.campaigns.fuzz_methods import little_memory
from tests.campaigns.odd_runs import TABLE
from tests.campaigns.odd_table import HOMES, new_folder
from tinygrad_seq import errors, nn

OWN = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))
ODD: dict[str, Callable[[], Any]] = {
    "text": lambda: "a", "no text": lambda: "", "None": lambda: None, "list": lambda: [1, 2], "empty": lambda: [],
    "huge": lambda: 2**40, "beyond": lambda: 10**400, "NaN": lambda: float("nan"), "infinite": lambda: float("inf"),
    "negative": lambda: -1, "far below": lambda: -(2**70), "zero": lambda: 0, "half": lambda: 0.5,
    "true": lambda: True,
    "module": lambda: nn.Linear(1, 1), "complex": lambda: 1j, "object": object, "dict": lambda: {"a": 1},
    "tensor": lambda: tgs.ones(2, 2), "bytes": lambda: b"a", "fraction": lambda: Fraction(1, 2),
    "function": lambda: len,
    "array": lambda: np.zeros((0, 2)), "words": lambda: ["a", None], "set": lambda: {1}, "class": lambda: int,
    "surrogate": lambda: "\udc80", "null": lambda: "a\0b",
}  # fmt: skip
LONGEST = 20.0
"""Seconds that one call may take, on a machine that is busy."""


# As long as it was told to: a number of symbols or of steps that no memory holds at once.
LONG = {
    ("n", "huge"),
    ("n", "beyond"),
    ("length", "huge"),
    ("length", "beyond"),
    ("steps", "huge"),
    ("steps", "None"),
}


# A function that is the user's, whose own error comes through as it is.
THEIRS = {(place, odd) for place in ("cell", "make", "decoder_layer", "encoder_layer", "progress", "fn", "0")
          for odd in ("function", "class")}  # fmt: skip


class StuckError(BaseException):
    """A call that does not end."""


def public() -> list[str]:
    """The names of all public callables outside of Tensor, whose methods `fuzz_methods` calls."""
    found = []
    for home, module in HOMES.items():
        if not home:
            continue
        for name in getattr(module, "__all__", None) or vars(module):
            value = getattr(module, name)
            made_here = getattr(value, "__module__", "").startswith(module.__name__)
            if callable(value) and not name.startswith("_") and (made_here or hasattr(module, "__all__")):
                found.append(f"{home}.{name}")
    return sorted(found)


def target(name: str) -> Any:
    """The callable of a name."""
    home, _, last = name.rpartition(".")
    return getattr(HOMES[home], last)


def called(f: Any, settings: dict[str, Any]) -> Any:
    """The call; a generator gives its first members, a layer its result."""
    given = dict(settings)
    made = f(*given.pop("_", ()), **given)
    if inspect.isgenerator(made):
        return list(itertools.islice(made, 100))
    return made


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """A call that takes too long ends in `StuckError`, where the system has such a clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise StuckError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def fault_of(name: str, place: str, odd: str) -> str:
    """What is wrong with one call, or nothing."""
    settings = TABLE[name]()
    value = ODD[odd]()
    if place.isdigit():
        settings["_"] = tuple(value if i == int(place) else v for i, v in enumerate(settings["_"]))
    else:
        settings[place] = value
    told = f"{name}({place}={odd})"
    try:
        with warnings.catch_warnings(), limited(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # ours: NumPy's and Python's have kinds of their own
            with contextlib.redirect_stdout(io.StringIO()):
                called(target(name), settings)
    except OWN as error:
        return "" if str(error).strip() else f"{told}: an error without words"
    except (Exception, StuckError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{frame.filename.split('/')[-1]}:{frame.lineno}"
        return f"{told}: {type(error).__name__}: {error!s:.120} ({at})"
    return ""


def cases() -> list[tuple[str, str, str]]:
    """Every (name, argument, odd value)."""
    found = []
    for name, make in TABLE.items():
        settings = make()
        places = [str(i) for i in range(len(settings.pop("_", ())))] + list(settings)
        found += [(name, place, odd) for place in places for odd in ODD if (place, odd) not in LONG | THEIRS]
    return found


def plain_calls() -> list[str]:
    """What is wrong with the calls whose arguments are none of them odd: a table that is wrong tries nothing."""
    wrong = []
    for name, make in TABLE.items():
        try:
            called(target(name), make())
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong


def run(
    calls: int, seed: int, skip: str = "", only: str = "", show: bool = False
) -> tuple[collections.Counter[str], list[str]]:
    """How often each name was called, and what was wrong; names that begin with `skip` are left out."""
    known = [c for c in cases() if c[0].startswith(only) and not (skip and c[0].startswith(skip))]
    random.Random(seed).shuffle(known)
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    here = os.getcwd()
    os.makedirs(new_folder())
    os.chdir(os.path.dirname(new_folder()))  # a word that is taken for a path lands there
    try:
        with little_memory():
            for case in known[:calls]:
                start = time.process_time()
                fault = fault_of(*case)
                counts[case[0]] += 1
                if fault:
                    wrong.append(fault)
                if show and (fault or time.process_time() - start > 2.0):
                    print(fault or f"slow: {case} {time.process_time() - start:.1f} s", flush=True)
    finally:
        os.chdir(here)
    return counts, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names that begin so alone")
    parser.add_argument("--skip", default="", help="leave out names that begin so")
    options = parser.parse_args()
    counts, wrong = run(options.calls, options.seed, options.skip, options.only, show=True)
    print(f"{sum(counts.values()):,} calls of {len(counts)} names: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
