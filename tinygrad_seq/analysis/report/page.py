"""A record as one HTML file: style, scripts and data are inside, and a policy forbids everything else."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from tinygrad_seq.analysis.report.captions import readable
from tinygrad_seq.analysis.report.record import Record
from tinygrad_seq.analysis.report.record_json import plain
from tinygrad_seq.runtime.arrays import Array

__all__ = ["page_of"]

SCRIPTS = ("looks.js", "strip.js", "pieces.js", "attention.js", "sections.js")
NUMBERS = 500_000  # of units, and again of attention, that a page holds
CHARACTERS = 1000  # whose saliency a page holds, in half a million numbers
DIGITS = 4


def page_of(record: Record) -> str:
    """The page, about 8 bytes a number; units, saliency and attention are bounded, and a note says so.

    The policy names the style and the script by their SHA-256, so that no other runs, whatever a text holds.
    """
    style, script = _source("page.css"), _script()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return Template(_source("page.html")).substitute(
        policy=policy,
        title=escape(_sound(record.title)),
        style=style,
        script=script,
        data=_embedded(_data(record)),
    )


def _source(name: str) -> str:
    return (
        files("tinygrad_seq.analysis.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")
    )


def _script() -> str:
    body = "\n".join(_source(name) for name in SCRIPTS)
    return f"(() => {{\n{body}}})();\n"


def _digest(text: str) -> str:
    """As the policy wants it: of the text between the tags, byte for byte."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _sound(text: str) -> str:
    """A text that UTF-8 can write; names of files may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element: no character of it can end or begin a tag."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII, so U+2028 is written out as well
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(record: Record) -> dict[str, Any]:
    """The record as the page reads it: with 4 digits, and no more units and weights than it can hold."""
    notes = list(record.notes)
    parts, units = _fewer_units(record, notes)
    n = _fewer_steps(record, notes)
    attention = [dataclasses.replace(one, weights=one.weights[:, :n]) for one in record.attention]
    data = dataclasses.replace(
        record, notes=notes, parts=parts, attention=attention, **_whole(record, notes)
    ).data(DIGITS)
    data["parts"] = {name: plain(a.T, DIGITS - 1) for name, a in parts.items()}
    return {**data, "units": units, "characters": _characters(record)}


def _whole(record: Record, notes: list[str]) -> dict[str, Any]:
    """The saliency that the page shows: of characters, of which it holds the first."""
    own = record.saliency if record.by_character is None else record.by_character
    if own is not None and len(own) > CHARACTERS:
        notes.append(
            f"What each character depended on is shown for the first {CHARACTERS:,} of {len(own):,} characters. "
            "A .json file holds it all."
        )
        own = own[:CHARACTERS, :CHARACTERS]
    return {"saliency": own, "by_character": None}


def _characters(record: Record) -> list[list[Any]]:
    """Of each character its label, whether it is a space or ends a line, and its log P."""
    found: list[list[Any]] = []
    for first, last in record.spans:
        tokens = record.tokens[first:last]
        label, kind = tokens[0].label, tokens[0].kind
        if len(tokens) > 1:
            own = record.text[tokens[0].first : tokens[-1].last]
            label, kind = readable(own), "break" if own.endswith("\n") else ""
        found.append([label, kind, plain(float(record.log_p[first:last].sum()), DIGITS)])
    return found


def _fewer_units(record: Record, notes: list[str]) -> tuple[dict[str, Array], dict[str, list[int]]]:
    """The units of each part, all or those that vary most, and which they are."""
    total = sum(a.shape[1] for a in record.parts.values())
    most = NUMBERS // max(1, len(record.tokens) * len(record.parts))
    widest = max((a.shape[1] for a in record.parts.values()), default=0)
    units = {}
    for name, a in record.parts.items():
        with np.errstate(all="ignore"):
            spread = np.nan_to_num(a.std(0), nan=math.inf, posinf=math.inf)
        spread[[d.unit for d in record.found if d.part == name]] = math.inf
        units[name] = sorted(np.argsort(-spread, kind="stable")[: max(1, most)].tolist())
    if most < widest:
        notes.append(
            f"Of {total:,} units, {sum(map(len, units.values())):,} are on this page: those that the finder "
            "names and those that vary most. A .json file holds them all."
        )
    return {name: a[:, units[name]] for name, a in record.parts.items()}, units


def _fewer_steps(record: Record, notes: list[str]) -> int:
    """How many tokens' attention the page holds."""
    T, heads = len(record.tokens), sum(len(one.weights) for one in record.attention)
    starts = np.array(record.starts or [0] * T)
    numbers = heads * np.cumsum(np.arange(T) - starts + 0.5)
    most = max(1, int((numbers <= NUMBERS).sum()))
    if most < T:
        notes.append(
            f"Attention is shown for the first {most:,} tokens; entropy and distance are of all {T:,}. "
            "A .json file holds it all."
        )
    return min(most, T)
