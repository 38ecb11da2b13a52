"""The text of a run, found again, and its parts as the run divided them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_seq.analysis.compare.records import Record
from tinygrad_seq.data import TextSize, Tokenizer, Tokens, is_large, read_text, split, stored_tokens, tokenize
from tinygrad_seq.errors import DataError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.evaluation import parts_of
from tinygrad_seq.training.find_text import OLD_EXT, found_text

__all__ = ["Parts", "named_text", "own_parts"]

_HINT = "Name it where it is now: --data PATH. Other files are measured by: tgs eval RUN FILE..."


@dataclass(frozen=True)
class Parts:
    """The ids of a text by part, `train`, `validation` and `test`, or `text` where it is not divided.

    `left_out` characters were unknown to the tokenizer and skipped.
    """

    parts: dict[str, Array]
    tokenizer: Tokenizer
    name: str
    sha256: str
    left_out: int = 0

    def size(self, part: str) -> TextSize:
        """How many tokens, characters and bytes a part has."""
        return self.tokenizer.measure(self.parts[part])


def own_parts(record: Record, tokenizer: Tokenizer, data: Sequence[str] | None = None) -> Parts:
    """The parts of the text that a run was trained on: that of its settings, or of the names in `data`.

    The file is looked for at the path of the settings, at that path relative to the run's folder, and by its
    name in the current folder; its sha256 must be that of the run. Raises `DataError` where no such file is
    found, or where it has changed.
    """
    settings = record.settings
    sources = settings.get("corpus", ()) if data is None else data
    sources = [sources] if isinstance(sources, str) else list(sources)
    if not sources or "-" in sources:
        what = f"{record.name}: its text came through standard input and is kept nowhere"
        raise DataError(what, None, "", _HINT)
    how = {name: settings[name] for name in ("encoding", "bad_bytes", "max_size") if name in settings}
    how["ext"] = str(settings.get("ext", OLD_EXT))

    def read(names: Sequence[str]) -> Tokens:
        return _tokens(list(names), tokenizer, settings.get("tokenizer", "char"), record.sha256, how)

    if data is None:
        what = f"{record.name}: its text cannot be had again"
        tokens = found_text(what, sources, record.path, record.facts, read, _HINT).text
    else:
        tokens = read(sources)
    if record.sha256 is not None and tokens.sha256 != record.sha256:
        found = {"sha256 when it was trained": record.sha256, "sha256 now": tokens.sha256}
        what = f"{record.name}: its text, {tokens.name}, is not what it was"
        rule = "expected the same text: on another, its parts would not be what they were."
        raise DataError(what, found, rule, _HINT)
    return Parts(_divided(tokens.ids, record), tokenizer, tokens.name, tokens.sha256)


def named_text(files: Sequence[str], tokenizer: Tokenizer, **how: Any) -> Parts:
    """Files as one undivided text, in the ids of a tokenizer. Raises what `read_text` and `tokenize` raise."""
    on_unknown = how.pop("on_unknown", "error")
    if is_large(files, how.get("ext", "")):
        tokens = stored_tokens(files, tokenizer, on_unknown=on_unknown, **how)
    else:
        tokens = tokenize(read_text(files, **how), tokenizer, on_unknown=on_unknown)
    found = Parts({"text": tokens.ids}, tokenizer, tokens.name, tokens.sha256)
    if on_unknown != "skip":
        return found
    return replace(found, left_out=tokens.characters - found.size("text").characters)


def _tokens(
    sources: list[str], tokenizer: Tokenizer, spec: str, sha256: str | None, how: dict[str, Any]
) -> Tokens:
    if is_large(sources, how.get("ext", "")):
        return stored_tokens(sources, spec, **how)  # the entry of the cache that training made
    corpus = read_text(sources, **how)
    # A changed text may hold characters unknown to the tokenizer; the error must name the change, not these.
    changed = sha256 is not None and corpus.sha256 != sha256
    return tokenize(corpus, spec if changed else tokenizer)


def _divided(ids: Array, record: Record) -> dict[str, Array]:
    """The parts as the run's settings say, or by the lengths that it wrote down where they say nothing."""
    names = ("train", "validation", "test")
    if "split" in record.settings:
        found = parts_of(ids, str(record.settings["split"]), int(record.setting("batch", 32)))
        return {name: part for name, part in zip(names, found, strict=True) if len(part)}
    sizes = [record.facts.get(name) for name in names]
    known = [n for n in sizes if isinstance(n, int)]
    if len(known) < 3 or sum(known) != len(ids):
        return dict(zip(names, split(ids), strict=True))
    train, validation, _ = known
    cuts = (ids[:train], ids[train : train + validation], ids[train + validation :])
    return {name: part for name, part in zip(names, cuts, strict=True) if len(part)}
