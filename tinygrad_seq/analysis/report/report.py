"""`Report`: a record, and the files that it can be saved to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tinygrad_seq.analysis.report.collect import checked_sections, gathered
from tinygrad_seq.analysis.report.page import page_of
from tinygrad_seq.analysis.report.record import Record
from tinygrad_seq.arguments import count
from tinygrad_seq.data import Tokenizer
from tinygrad_seq.errors import ArgumentError, DTypeError
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.runtime.files import atomic_write_text

__all__ = ["LONGEST", "Report", "checked_name"]

LONGEST = 400
"""Tokens of a text that a report shows."""


class Report:
    """What a model does on a text, as a page (`.html`) or as exact numbers (`.json`).

    >>> from tinygrad_seq.data import Vocabulary
    >>> from tinygrad_seq.models import CharLM
    >>> report = Report.of(CharLM(3, 4), Vocabulary("abc"), "abcab", only=["saliency"])
    >>> report.record.saliency.shape, "<!doctype html>" in report.html()
    ((5, 5), True)
    """

    def __init__(self, record: Record):
        self.record = record

    @classmethod
    def of(
        cls,
        model: NeuralModel,
        tokenizer: Tokenizer,
        text: str,
        *,
        only: Iterable[str] | None = None,
        longest: int = LONGEST,
        title: str = "",
        source: str = "",
    ) -> Report:
        """Look into a `CharLM`, a `LatentAR` of recurrent layers, or a `GPT`, over the beginning of a text.

        `only` are names of `SECTIONS`; `longest` bounds the tokens that are looked at; `source` says in a few words
        where the text is from, for the reader.

        Raises ArgumentError for another model, an unknown section or a bound below 2, DataError for a text that is
        too short or that the tokenizer does not know.
        """
        if not isinstance(text, str):
            raise DTypeError("report: this is not text", {"text": text}, "expected a str.")
        count("report", "longest", longest, 2)
        name = title or type(model).__name__
        return cls(gathered(model, tokenizer, text, checked_sections(only), longest, name, source))

    def html(self) -> str:
        """One page that loads nothing from the network."""
        return page_of(self.record)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a `.html` file or the numbers to a `.json` file, whole or not at all.

        Raises ArgumentError for another kind of name, CheckpointError where the file cannot be written.
        """
        target = checked_name(path)
        atomic_write_text(target, self.record.to_json() if target.suffix == ".json" else self.html())
        return target

    def _repr_html_(self) -> str:
        from html import escape

        frame = 'sandbox="allow-scripts" width="100%" height="640" style="border:0"'
        return f'<iframe {frame} title="report" srcdoc="{escape(self.html())}"></iframe>'


def checked_name(path: Any) -> Path:
    """The path, where it ends in .html or .json; raises ArgumentError for any other."""
    target = Path(path)
    if target.suffix not in (".html", ".json"):
        rule = "expected a name that ends in .html for the page or .json for the numbers."
        raise ArgumentError("report: no such kind of file", {"path": os.fspath(path)}, rule)
    return target
