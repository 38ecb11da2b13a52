"""The data of a report: plain arrays and numbers, written to JSON and read from it. How it looks is decided
in `page`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq.analysis.probe import Detected
from tinygrad_seq.analysis.report.captions import Token
from tinygrad_seq.analysis.report.record_json import array_of, band, plain, seen_rows, triangle, whole
from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.arrays import Array

__all__ = ["SECTIONS", "GateOnText", "Heads", "Layer", "Record"]

SECTIONS = ("saliency", "units", "gates", "attention", "health")
FORMAT, VERSION = "tinygrad_seq report", 2
READ = (1, 2)  # in version 1 a text was one window, and every token was one character


@dataclass(frozen=True)
class GateOnText:
    """A gate by unit, (H,) each: share of steps below 0.1 and above 0.9, mean, and 1 / (1 - mean) where it keeps."""

    name: str
    shut: Array
    open: Array
    mean: Array
    lifetime: Array | None


@dataclass(frozen=True)
class Heads:
    """The attention of a layer: weights (heads, T, W), and of each head the entropy in nats and the mean distance.

    `weights[head, t, j]` is on token `starts[t]` + j of the record, W the longest window: T where all is one.
    """

    layer: str
    weights: Array
    entropy: Array
    distance: Array


@dataclass(frozen=True)
class Layer:
    """The health of a layer, counted, and in sentences."""

    layer: str
    units: int
    constant: int
    stuck: int
    lost: int
    std: float
    words: list[str]


@dataclass(frozen=True)
class Record:
    """What a model does on a text of T tokens; what was not asked for, or does not apply, is empty.

    `log_p[s]` and `entropy[s]` (T,) in nats, of token s given those before it; `likeliest[s]` the labels and
    probabilities that the model thought likeliest there. `saliency` (T, T) is that of `probe.saliency`. `parts`
    are states and gates by unit, (T, H) each. `left_out` says why a section is missing, `cannot_tell` why the unit
    finder says nothing of a property. `starts[t]` is the first token of the window that token t was read in. `spans`
    are the tokens of each character, from first to last - 1; where one has several, `by_character` is the saliency
    of the characters, (G, G), and log P of a character is the sum of that of its tokens.
    """

    title: str
    facts: dict[str, str]
    notes: list[str]
    left_out: dict[str, str]
    text: str
    tokens: list[Token]
    log_p: Array
    entropy: Array
    likeliest: list[list[list[Any]]]
    saliency: Array | None = None
    parts: Mapping[str, Array] = field(default_factory=dict)
    found: list[Detected] = field(default_factory=list)
    cannot_tell: dict[str, str] = field(default_factory=dict)
    gates: list[GateOnText] = field(default_factory=list)
    attention: list[Heads] = field(default_factory=list)
    health: list[Layer] = field(default_factory=list)
    shown: tuple[str, ...] = ()
    starts: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    by_character: Array | None = None

    def data(self, digits: int | None = None) -> dict[str, Any]:
        """The record as lists, numbers and words, with `digits` that count, or exact."""

        def heads(one: Heads) -> dict[str, Any]:
            starts = np.array(self.starts or [0] * one.weights.shape[1])
            weights = [seen_rows(w, starts, digits) for w in one.weights]
            told = {"entropy": plain(one.entropy, digits), "distance": plain(one.distance, digits)}
            return {"layer": one.layer, "weights": weights, **told}

        return {
            "format": FORMAT,
            "version": VERSION,
            "title": self.title,
            "facts": self.facts,
            "notes": self.notes,
            "left_out": self.left_out,
            "shown": list(self.shown),
            "text": self.text,
            "tokens": [[t.label, t.first, t.last, t.kind] for t in self.tokens],
            "log_p": plain(self.log_p, digits),
            "entropy": plain(self.entropy, digits),
            "likeliest": plain(self.likeliest, digits),
            "saliency": None if self.saliency is None else triangle(self.saliency, digits),
            "parts": {name: plain(a, digits) for name, a in self.parts.items()},
            "found": [{k: plain(v, digits) for k, v in asdict(one).items()} for one in self.found],
            "cannot_tell": self.cannot_tell,
            "gates": [{k: plain(v, digits) for k, v in vars(one).items()} for one in self.gates],
            "attention": [heads(one) for one in self.attention],
            "health": [{k: plain(v, digits) for k, v in asdict(one).items()} for one in self.health],
            "starts": self.starts,
            "spans": [list(one) for one in self.spans],
            "by_character": None if self.by_character is None else triangle(self.by_character, digits),
        }

    def to_json(self) -> str:
        """The record as JSON, every number exact; what is not finite is one of the words NaN, inf and -inf."""
        return json.dumps(self.data(), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record that `to_json` wrote.

        Raises DataError for a text that is none.
        """
        rule = f"expected what Record.to_json wrote, version {READ[0]} or {VERSION} of the format."
        try:
            found = json.loads(text)
            if not isinstance(found, dict) or found["format"] != FORMAT or found["version"] not in READ:
                raise ValueError
            return cls._read(found)
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError("report: this is no record of a report", None, rule) from error

    @classmethod
    def _read(cls, found: dict[str, Any]) -> Record:
        def gate(one: dict[str, Any]) -> GateOnText:
            arrays = {k: None if v is None else array_of(v) for k, v in one.items() if k != "name"}
            return GateOnText(one["name"], **arrays)  # type: ignore[arg-type]

        def heads(one: dict[str, Any]) -> Heads:
            weights = np.stack([band(w) for w in one["weights"]])
            return Heads(one["layer"], weights, array_of(one["entropy"]), array_of(one["distance"]))

        alone = [(t, t + 1) for t in range(len(found["tokens"]))]
        return cls(
            title=found["title"],
            facts=found["facts"],
            notes=found["notes"],
            left_out=found["left_out"],
            text=found["text"],
            tokens=[Token(*one) for one in found["tokens"]],
            log_p=array_of(found["log_p"]),
            entropy=array_of(found["entropy"]),
            likeliest=found["likeliest"],
            saliency=None if found["saliency"] is None else whole(found["saliency"]),
            parts={name: array_of(a) for name, a in found["parts"].items()},
            found=[Detected(**one) for one in found["found"]],
            cannot_tell=found.get("cannot_tell", {}),  # reports of the first versions have none
            gates=[gate(one) for one in found["gates"]],
            attention=[heads(one) for one in found["attention"]],
            health=[Layer(**{**one, "std": float(array_of(one["std"]))}) for one in found["health"]],
            shown=tuple(found["shown"]),
            starts=found.get("starts", [0] * len(alone)),
            spans=[(int(a), int(b)) for a, b in found.get("spans", alone)],
            by_character=None if found.get("by_character") is None else whole(found["by_character"]),
        )
