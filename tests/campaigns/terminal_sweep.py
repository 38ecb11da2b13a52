"""Every command on a pseudo-terminal, over a run whose every name and text is hostile: nothing harmful may arrive.

    python tests/campaigns/terminal_sweep.py --full

One process runs the commands one after the other, with a terminal for its output. The names of its files and folders,
the text, so the vocabulary, what the model writes, the settings, the lines of the metrics and the metadata of the
weights hold escape sequences (titles, clearing, colours, links), C1 codes, marks of direction and markup. What
arrives at the terminal may hold the few sequences that the live line is drawn with, and no other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# A title, a screen that is cleared, a colour, a link, an answer-back, a C1 code, an override, markup, a forged line.
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x1b[38;5;123m\x1b]8;;http:x\x1b\\\x05\x9b31m\u202egnp\u2066\u200f[red]x[/red]\x7f"
NAME = f"a{HOSTILE}\nb".replace("/", "|")
# What the live line needs: colours of the first sixteen, erasing its own line, going up, hiding the cursor.
OURS = re.compile(r"\x1b\[(?:[0-9]{1,2}(?:;[0-9]{1,2})?)?m|\x1b\[2K|\x1b\[1A|\x1b\[\?25[lh]|\r")
TRAIN = [
    "--hidden", "4", "--window", "8", "--batch", "2", "--steps", "4", "--eval-every", "2", "--sample-every", "2",
]  # fmt: skip


def make() -> tuple[str, str]:
    """A text and a run folder of hostile names in the working folder; returns the names."""
    from safetensors.numpy import load_file, save_file

    from tinygrad_seq.data import read_text
    from tinygrad_seq.training import Config, train

    text, run = f"{NAME}.txt", f"run{NAME}"
    Path(text).write_text(f"{HOSTILE} to be or not to be\r\n" * 60, encoding="utf-8")
    config = Config(corpus=(text,), hidden=4, window=8, batch=2, steps=4, eval_every=2, sample_every=2)
    list(train(config, corpus=read_text(text), folder=run))
    # What a stranger may have written into a run: facts, metrics, metadata.
    settings = Path(run, "config.toml")
    lines = settings.read_text(encoding="utf-8").splitlines()
    escaped = json.dumps(HOSTILE).replace("\x7f", "\\u007f")
    lines = [
        f"corpus = {escaped}" if line.startswith("corpus = ") and i > 40 else line
        for i, line in enumerate(lines)
    ]
    settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with Path(run, "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(f'{HOSTILE}\n{{"step": 9, "bits": {escaped}, {escaped}: 1}}\n')
    weights = Path(run, "best.safetensors")
    arrays = load_file(weights)
    save_file({**arrays, HOSTILE: arrays[next(iter(arrays))].copy()}, "weights", {"format": HOSTILE})
    other = Path(f"other{NAME}")
    other.mkdir()
    for path in Path(run).iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    os.replace("weights", other / "best.safetensors")
    (other / "config.toml").write_text(f"model = {escaped}\nhidden = 4\n", encoding="utf-8")
    return text, run


def commands(text: str, run: str, full: bool) -> list[list[str]]:
    """What is run: each command well and badly; the long ones only where all are asked for."""
    other, gone = f"other{NAME}", f"gone{NAME}"
    short = [
        ["train", text, *TRAIN, "-o", f"new{NAME}"],
        ["train", gone, "-o", f"x{NAME}"],
        ["train", text, "--config", gone],
        ["train", text, *TRAIN, "-o", run],
        ["sample", run, "-n", "300", "--temperature", "9"],
        ["sample", run, "--prime", HOSTILE, "-n", "20", "--explain", "3"],
        ["sample", other],
        ["sample", gone],
        ["eval", run, text],
        ["eval", run, gone],
        ["compare", run, run, "--quick"],
        ["compare", run, other, "--quick", "--json"],
        ["doctor", run],
        ["doctor", other],
        ["graph", gone],
        ["graph", "rnn", "--expand", HOSTILE],
        ["inspect", run, "--only", HOSTILE],
        ["kernels", "--source", HOSTILE],
        [HOSTILE],
        ["demo", HOSTILE],
        ["selftest", HOSTILE],
    ]
    if not full:
        return short
    return [
        *short,
        ["train", text, *TRAIN, "--json", "-o", f"json{NAME}"],
        ["train", text, *TRAIN, "-q", "-o", f"quiet{NAME}"],
        ["train", text, *TRAIN, "--dry-run"],
        ["train", text, *TRAIN, "--dry-run", "--json"],
        ["train", "--resume", run],
        ["train", "--resume", run, "--steps", "6"],
        ["train", "--resume", other],
        ["sample", run, "-n", "50", "--json"],
        ["sample", run, "--prime-file", text, "-n", "20"],
        ["sample", run, "--prime", "\U0001f600" + HOSTILE],
        ["eval", run, "--json"],
        ["eval", run],
        ["compare", run, other],
        ["compare", "--ladder", text, "--minutes", "0.01"],
        ["inspect", run, "--text", HOSTILE * 2],
        ["inspect", run, "--file", text, "-o", f"report{NAME}.html"],
        ["inspect", run, "--gradients", "-o", f"charts{NAME}"],
        ["inspect", other],
        ["graph", run],
        ["graph", run, "-o", f"graph{NAME}.dot"],
        ["graph", other],
        ["kernels"],
        ["kernels", "--json"],
        ["doctor"],
        ["doctor", run, "--json"],
    ]


def child(full: bool) -> int:
    """Run all commands in this process, a line before each."""
    from tinygrad_seq.cli import main as tgs

    for i, arguments in enumerate(commands(f"{NAME}.txt", f"run{NAME}", full)):
        sys.stdout.flush()
        os.write(1, f"\n=== {i} ===\n".encode())
        tgs(arguments)
    return 0


def harmful(text: str) -> list[str]:
    """What of a command's output no terminal may see, once our own sequences are taken out."""
    rest = OURS.sub("", text)
    return [
        c
        for c in rest
        if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t")
        or unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or c in "\u061c\u200e\u200f"
    ]


def sweep(full: bool) -> list[tuple[list[str], str]]:
    """Each command and what it wrote to the terminal, in the working folder."""
    import pty

    text, run = make()
    process, ours = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        arguments = [sys.executable, os.path.abspath(__file__), "--child", *(["--full"] if full else [])]
        os.execv(sys.executable, arguments)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    status = os.waitpid(process, 0)[1]
    parts = re.split(r"\r?\n=== \d+ ===\r?\n", written.decode("utf-8", "surrogateescape"))
    asked = commands(text, run, full)
    assert status == 0, parts[-1]
    assert len(parts) == len(asked) + 1, written[-2000:]
    return list(zip(asked, parts[1:], strict=True))


def judged(full: bool) -> list[str]:
    """What is wrong: a line for each command that let something through, or wrote a traceback or nothing."""
    wrong = []
    for arguments, text in sweep(full):
        found = harmful(text)
        said = ascii(" ".join(arguments))[:70]
        if found:
            wrong.append(f"{said}: {sorted(set(map(ascii, found)))}")
        if "Traceback" in text or "Exception ignored" in text:
            wrong.append(f"{said}: a traceback\n{text[-1500:]}")
        if not text.strip():
            wrong.append(f"{said}: nothing")
        if "pwned" in text and "[red]" not in text and len(text) > 2000:
            wrong.append(f"{said}: markup was taken for markup")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The sweep from the command line; 1 where something came through."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all commands, also the long ones")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.child:
        return child(args.full)
    if os.name == "nt":
        print("this campaign needs pseudo-terminals, which this system has not")
        return 0
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            wrong = judged(args.full)
        finally:
            os.chdir(here)
    count = len(commands("", "", args.full))
    print("\n".join([*wrong, f"{count} commands on a pseudo-terminal, {len(wrong)} let something through"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
