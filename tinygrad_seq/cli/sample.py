"""`tgs sample`: text from a trained model, on standard output as it is drawn."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterable

from tinygrad_seq.cli.parser import UsageError
from tinygrad_seq.data import Tokenizer, read_text
from tinygrad_seq.data.symbols import placed_label_of, readable
from tinygrad_seq.data.tokenizers.base import ON_UNKNOWN
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import explain
from tinygrad_seq.sampling import Candidate, DecodingConfig, Sample, Sampler, characters_of
from tinygrad_seq.tape.row import width
from tinygrad_seq.terminal import bare
from tinygrad_seq.training import load_run

EXAMPLE = """\
  tgs sample runs/topics-lstm128 --prime "The " -n 300 --temperature 0.5 --seed 1
  tgs sample runs/topics-lstm128 --samples 3 --top-p 0.9 --until '\\n\\n'"""

_SPELT = (
    "each character, log P of its letters (ㄴ- begins a syllable, -ㄴ ends it) or bytes; below, each of them:"
)
_TOGETHER = 0.1  # seconds
_LARGEST_PRIME = 64  # MB
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "0": "\0", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.|$)", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs sample`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="folder that tgs train or tgs demo has made")
    prime = parser.add_mutually_exclusive_group()
    prime.add_argument("--prime", default="", metavar="TEXT", help="what the text begins with, of any length")
    prime.add_argument("--prime-file", metavar="FILE", help="the same, from a file; it is not repeated")
    add(
        "--on-unknown",
        choices=ON_UNKNOWN,
        default="error",
        help="what to do about characters of the prime that the model does not know (default error)",
    )
    add("-n", type=int, default=500, metavar="N", help="characters to write (default 500)")
    add("--until", metavar="TEXT", help=r"end where this was written; \n, \t, \\ and \uXXXX are understood")
    add("--samples", type=int, default=1, metavar="N", help="texts to write after the same prime (default 1)")
    add(
        "--temperature",
        type=float,
        default=0.8,
        metavar="T",
        help="0 takes the likeliest character, 1 draws as learnt, more is wilder (default 0.8)",
    )
    add("--top-k", type=int, metavar="K", help="draw from the K likeliest only")
    add(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="from the fewest that reach this chance together",
    )
    add("--min-p", type=float, default=0.0, metavar="P", help="from those with P times the largest chance")
    add(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="divide the logits of what has occurred by R; applied first, then temperature, top-k, top-p, min-p",
    )
    add("--seed", type=int, metavar="S", help="the same seed gives the same text (default: another)")
    add("--weights", choices=("best", "last"), help="which of the saved weights (default the best there are)")
    add(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="write each character as it is drawn (default: where a terminal shows it)",
    )
    add(
        "--explain",
        type=int,
        nargs="?",
        const=5,
        default=0,
        metavar="K",
        help="after the text, each token with the K likeliest at its place (default 5)",
    )
    add("--json", action="store_true", help="one JSON object a text: ids, log-probabilities, rates")


def run(args: argparse.Namespace) -> int:
    """Write the prime and the text that the model continues it with."""
    how = DecodingConfig(args.temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty)
    until = None if args.until is None else unescaped(args.until)
    trained = load_run(args.run, args.weights)
    # Corpora are in this form; some keyboards and file systems give the other.
    text = args.prime if args.prime_file is None else read_text(args.prime_file, max_size=_LARGEST_PRIME).text
    text = unicodedata.normalize("NFC", text)
    sampler = Sampler(trained.model, trained.vocabulary, how)
    prime = sampler.prime(text, args.on_unknown)
    if args.on_unknown != "error":
        text = trained.vocabulary.decode(prime.ids) if prime.given else ""
    rng = Generator(args.seed, "sampling")
    settings = {"until": until, "explain": args.explain}
    if args.json or args.explain:
        for i, sample in enumerate(sampler.samples(args.samples, prime, args.n, rng=rng, **settings)):
            told = (
                _as_json(i, rng.seed, sample, trained.vocabulary)
                if args.json
                else _explained(i, args.samples, text, sample, trained.vocabulary)
            )
            _write(told)
        return 0
    sampler.samples(args.samples, prime, 0, rng=rng, **settings)  # errors come before any output
    stream = sys.stdout.isatty() if args.stream is None else args.stream
    shown = "" if args.prime_file else text
    try:
        for i, own in enumerate(sampler.streams(rng, args.samples)):
            head = f"--- sample {i + 1} ---\n" if args.samples > 1 else ""
            pieces = sampler.text(prime, args.n, until=until, rng=own)
            _write(head + shown, end="")
            _write_all(pieces, stream)
            _write("")
    except KeyboardInterrupt:
        _write("")  # the line of text is ended; messages go to standard error
        raise
    return 0


def unescaped(text: str) -> str:
    r"""Text in which `\n`, `\t`, `\r`, `\0`, `\\`, `\xHH`, `\uHHHH` and `\UHHHHHHHH` stand for one character.

    Raises UsageError for a backslash with anything else behind it.

    >>> unescaped(r"\n\u0041")
    '\nA'
    """

    def one(found: re.Match[str]) -> str:
        code = found[1]
        if len(code) > 1 and int(code[1:], 16) < 0x110000:
            return chr(int(code[1:], 16))
        if code in _ESCAPES:
            return _ESCAPES[code]
        rule = r"expected \n, \t, \r, \0, \\, \xHH, \uHHHH or \UHHHHHHHH."
        what = f"tgs sample: there is no escape {found[0]!r}"
        raise UsageError(explain(what, {"--until": text}, rule, r"A backslash itself is written \\."))

    return _ESCAPE.sub(one, text)


def _write(text: str, end: str = "\n") -> None:
    """Write a text: with control characters made visible on a terminal, unchanged into a pipe or a file."""
    stream = sys.stdout if sys.stdout.isatty() else bare(sys.stdout)
    stream.write(text + end)
    stream.flush()


def _write_all(pieces: Iterable[str], stream: bool) -> None:
    """Write pieces as they come; into a pipe or a file, those of a tenth of a second together."""
    waiting: list[str] = []
    due = 0.0
    for piece in pieces:
        waiting.append(piece)
        if stream or time.monotonic() >= due:
            _write("".join(waiting), end="")
            waiting, due = [], time.monotonic() + _TOGETHER
    _write("".join(waiting), end="")


def _as_json(i: int, seed: int, sample: Sample, tokenizer: Tokenizer) -> str:
    content = {
        "sample": i,
        "seed": seed,
        "prime": sample.prime,
        "text": sample.text,
        "ended": sample.ended,
        "tokens": sample.ids,
        "log_probs": sample.log_probs,
        "log_prob": sample.log_prob,
        "bits_per_character": sample.bits_per_character,
        "bits_per_byte": sample.bits_per_byte,
    }
    if sample.candidates:
        content["candidates"] = [[one._asdict() for one in row] for row in sample.candidates]
        content["characters"] = [
            {"text": one.text, "tokens": one.ids, "log_prob": one.log_prob, "written": one.written}
            for one in characters_of(sample, tokenizer)
        ]
    return json.dumps(content, allow_nan=False)


def _explained(i: int, count: int, prime: str, sample: Sample, tokenizer: Tokenizer) -> str:
    """The text, what it cost, and a line for each character; its letters stand below where it has several."""
    lines = [f"--- sample {i + 1} ---"] if count > 1 else []
    found = characters_of(sample, tokenizer)
    spelt = any(len(one.ids) > 1 for one in found)
    lines += [
        prime + sample.text,
        "",
        f"log P {sample.log_prob:z.3f} nats, {sample.bits_per_character:z.3f} bits per character, "
        f"{sample.bits_per_byte:z.3f} per byte",
        *([_SPELT] if spelt else []),
        "each token, its log P, and the likeliest there in order: chance as learnt/as drawn, * the one drawn",
    ]
    for at, one in enumerate(found, 1):
        head = f"{at:5} {_wide(repr(one.text))} {one.log_prob:z8.3f}   "
        after = "" if one.written else "  (drawn after the end of the text)"
        rows = [_candidates(i, row, tokenizer) for i, row in zip(one.ids, one.candidates, strict=True)]
        if len(rows) == 1:
            lines.append(head + rows[0] + after)
            continue
        names = [placed_label_of(tokenizer, i) for i in one.ids]
        lines.append(head + " ".join(names) + after)
        lines += [
            f"      {_wide(repr(name))} {cost:z8.3f}   {row}"
            for name, cost, row in zip(names, one.log_probs, rows, strict=True)
        ]
    return "\n".join(lines)


def _wide(text: str) -> str:
    """A text at the right end of 8 columns."""
    return " " * (8 - width(text)) + text


def _candidates(chosen: int, row: Iterable[Candidate], tokenizer: Tokenizer) -> str:
    return " ".join(
        f"{'*' if one.id == chosen else ' '}{_name(one, tokenizer)!r} {one.learnt:z.1%}/{one.drawn:z.1%}"
        for one in row
    )


def _name(one: Candidate, tokenizer: Tokenizer) -> str:
    """Its text, or the name of what is a part of a character."""
    label = placed_label_of(tokenizer, one.id)
    return one.text if readable(one.text) == label else label
