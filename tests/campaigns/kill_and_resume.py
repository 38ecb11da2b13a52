"""Training runs that are killed, at every kind of write and at any time, and gone on with: nothing may differ.

    python tests/campaigns/kill_and_resume.py --kills 200 --seed 0

A run is killed by SIGKILL: at a write (before it, in its middle, after it, at a flush, at a rename, at an append, at
a truncation) or after a time drawn at random. It is resumed, often killed again, and once it has ended every file of
its folder must be what it is where nobody killed anything, bit for bit; only times may differ. Each run is a fork of
a process that has everything imported, and begins with an allocation of random size, so that arrays lie elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import load_file

from tinygrad_seq.data import Corpus
from tinygrad_seq.runtime import files
from tinygrad_seq.training import Config, resume, train
from tinygrad_seq.training.checkpoint import load_state
from tinygrad_seq.training.run_folder import RunFolder

TEXT = Corpus(
    "".join(f"{n} to be, or not to be: 한글도 {n * n % 97} 있다.\n" for n in range(220)), "text.txt"
)
USUAL = {
    "hidden": 6, "batch": 3, "window": 8, "steps": 24, "warmup": 3, "report_every": 2, "eval_every": 6,
    "save_every": 4, "sample_every": 8, "sample_length": 12, "eval_tokens": 200,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "lstm, dropout": {"model": "lstm", "layers": 2, "dropout": 0.2},
    "gru, reach over three windows": {"model": "gru", "reach": 24},
    "rnn, reach within a window": {"model": "rnn", "reach": 4, "optimizer": "RMSprop"},
    "transformer, dropout": {"model": "transformer", "heads": 2, "dropout": 0.1},
    "lstm, bytes": {"model": "lstm", "tokenizer": "byte", "optimizer": "SGD"},
    "gru, jamo, random windows": {"model": "gru", "tokenizer": "jamo", "reading": "random"},
    "lstm, bpe": {"model": "lstm", "tokenizer": "bpe:280", "schedule": "decay"},
}
TIMES = ("seconds", "characters_per_second", "rate", "left", "sizes")  # the last is as long as the times are
WAIT = 300.0  # seconds after which a run hangs


class Killer:
    """Counts what a run does to the disk, and kills it at a certain one."""

    def __init__(self, at: int | None):
        self.at, self.count = at, 0

    def tick(self, kind: str) -> None:
        """One more moment in which a kill could come; its kind goes to the parent through a file."""
        self.count += 1
        if self.count == self.at:
            Path("killed").write_text(kind)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Put a moment before and one after each call of a function."""
        whole: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **settings: Any) -> Any:
            self.tick(f"before {name.strip('_')}")
            result = whole(*arguments, **settings)
            self.tick(f"after {name.strip('_')}")
            return result

        setattr(owner, name, call)

    def install(self) -> None:
        """Put a moment at everything that reaches the disk."""
        for owner, name in (
            (os, "replace"),
            (os, "fsync"),
            (os, "truncate"),
            (Path, "mkdir"),
            (Path, "unlink"),
        ):
            self.around(owner, name)
        files._write_flushed = self.write_in_halves  # type: ignore[assignment]
        RunFolder._append = lambda folder, name, text: self.append_in_halves(folder, name, text)  # type: ignore[method-assign]

    def write_in_halves(self, temporary: Path, write: Callable[[BinaryIO], None]) -> None:
        """What `files` does, with a moment in the middle of the file."""
        with temporary.open("xb") as file:
            write(_Halved(file, self))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def append_in_halves(self, folder: RunFolder, name: str, text: str) -> None:
        """What `RunFolder` does, with a moment in the middle of the line."""
        data = text.encode()
        self.tick("before append")
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            with (folder.path / name).open("ab") as file:
                file.write(part)
            self.tick("in or after append")


class _Halved:
    def __init__(self, file: BinaryIO, killer: Killer):
        self.file, self.killer = file, killer

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        self.killer.tick("in the middle of a file")
        self.file.write(data[len(data) // 2 :])
        return len(data)


def child(config: Config, at: int | None, padding: int) -> None:
    """Train, or go on, in the folder `run`; says at its end how many moments there were."""
    keep = [np.empty(padding, np.uint8), np.empty(padding * 64 + 8, np.uint8)]
    killer = Killer(at)
    killer.install()
    folder = Path("run")
    if (folder / "config.toml").exists():
        events = resume(folder, corpus=TEXT)
    else:
        events = train(config, corpus=TEXT, folder=folder)
    for _ in events:
        pass
    Path("moments").write_text(str(killer.count))
    del keep


def forked(config: Config, at: int | None, delay: float | None, padding: int) -> str:
    """One process that trains or goes on: "ended", or how it was killed."""
    Path("killed").unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        code = 1
        try:
            child(config, at, padding)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    end, killing = time.monotonic() + WAIT, time.monotonic() + (WAIT if delay is None else delay)
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        if time.monotonic() > killing or time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
    if time.monotonic() > end:
        raise AssertionError("a run hangs")
    if os.WIFSIGNALED(status):
        return Path("killed").read_text() if Path("killed").exists() else "at any time"
    if os.WEXITSTATUS(status):
        raise AssertionError(f"a run ended with code {os.WEXITSTATUS(status)}")
    return "ended"


def contents(folder: Path) -> dict[str, Any]:
    """Everything that a run folder holds, without times."""
    found: dict[str, Any] = {"names": sorted(path.name for path in folder.iterdir())}
    for name in ("config.toml", "vocabulary.json", "samples.txt"):
        found[name] = (folder / name).read_bytes()
    for name in ("last.safetensors", "best.safetensors"):
        found[name] = {key: (a.dtype.str, a.tobytes()) for key, a in load_file(folder / name).items()}
    arrays, facts = load_state(folder / "state.safetensors")
    found["state"] = {key: (a.dtype.str, a.tobytes()) for key, a in arrays.items()}
    found["facts"] = _timeless(facts)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found["metrics"] = [_timeless(json.loads(line)) for line in lines]
    found["README.md"] = re.sub(r" in [\d:]+, ", " ", (folder / "README.md").read_text())
    return found


def _timeless(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _timeless(value) for key, value in values.items() if key not in TIMES}
    return [_timeless(one) for one in values] if isinstance(values, list) else values


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The names of what differs."""
    return ", ".join(key for key in one if one[key] != other.get(key))


def campaign(kills: int, seed: int, names: list[str], say: Callable[[str], None] = print) -> Counter[str]:
    """So many kills over these settings; returns how often each kind of kill came. Raises AssertionError."""
    rng, told, runs = random.Random(seed), Counter[str](), 0
    wholes: dict[str, tuple[dict[str, Any], int, float]] = {}
    while sum(told.values()) < kills:
        name = names[runs % len(names)]
        runs += 1
        config = Config(**USUAL | SETTINGS[name], seed=3)
        if name not in wholes:
            for _ in train(config, corpus=TEXT):  # the kernels are then in memory, also in the forks
                pass
            begin = time.monotonic()
            assert forked(config, None, None, 0) == "ended"
            wholes[name] = contents(Path("run")), int(Path("moments").read_text()), time.monotonic() - begin
            shutil.rmtree("run")
        whole, moments, seconds = wholes[name]
        history = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            by_time = rng.random() < 0.25
            at, delay = (None, rng.random() * seconds) if by_time else (rng.randint(1, moments), None)
            how = forked(config, at, delay, rng.randrange(1, 4096))
            history += [how] if how != "ended" else []
            if over(Path("run")):  # even if it was killed: at the flush behind its very last write
                break
        else:
            assert forked(config, None, None, rng.randrange(1, 4096)) == "ended"
        told.update(history)
        wrong = difference(whole, contents(Path("run")))
        assert not wrong, f"{name}: after kills {history}, these differ: {wrong}"
        shutil.rmtree("run")
        if runs % 10 == 0:
            say(f"{sum(told.values())} kills over {runs} runs")
    say(
        f"{sum(told.values())} kills over {runs} runs of {len(wholes)} kinds, all equal to runs that nobody killed"
    )
    return told


def over(folder: Path) -> bool:
    """Whether a run has written its README, the last thing that it does."""
    return (folder / "README.md").exists()


def main(arguments: list[str] | None = None) -> int:
    """The campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="default 200")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    parser.add_argument("--settings", choices=list(SETTINGS), action="append", help="default: all kinds")
    args = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        print("this campaign needs fork, which this system has not")
        return 0
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            told = campaign(args.kills, args.seed, args.settings or list(SETTINGS))
        finally:
            os.chdir(here)
    for kind, count in told.most_common():
        print(f"{count:5}  {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
