"""Tokenizers by name: learnt from a text, or loaded from a file whatever their kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_seq.data.nearest import nearest
from tinygrad_seq.data.tokenizers.base import FORMAT, VERSION, Tokenizer
from tinygrad_seq.data.tokenizers.bpe import BPETokenizer, bpe_package
from tinygrad_seq.data.tokenizers.byte import ByteTokenizer
from tinygrad_seq.data.tokenizers.char import Vocabulary
from tinygrad_seq.data.tokenizers.jamo import JamoTokenizer
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, CheckpointError, explain
from tinygrad_seq.runtime.untrusted_files import LARGEST_TOKENIZER, read_file

__all__ = ["checked_spec", "learn_tokenizer", "load_tokenizer"]

_KINDS = ("char", "byte", "jamo", "bpe")
_USUAL_SIZE = 1024


def learn_tokenizer(spec: str, text: str | Iterable[str]) -> Tokenizer:
    """The tokenizer of a kind for a text, or for one that comes in pieces, which are read once at most.

    `char`: the characters of the text, in form NFC. `byte`: the bytes of UTF-8; nothing is read. `jamo`: the
    letters of Korean syllables and all other characters. `bpe:N`: N frequent runs of bytes (`bpe` alone is
    `bpe:1024`), with the extra `tinygrad_seq[bpe]`.

    Raises `ArgumentError` for another kind or size, and `DataError` where the text is empty or the extra is
    not installed.

    >>> learn_tokenizer("char", "hello")
    Vocabulary(4 symbols, 'e' to 'o')
    >>> len(learn_tokenizer("jamo", "hello")), len(learn_tokenizer("byte", "hello"))
    (71, 256)
    """
    kind, _, size = checked_spec(spec).partition(":")
    pieces = [text] if isinstance(text, str) else text
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe":
        return BPETokenizer.learn(pieces, int(size))
    return JamoTokenizer.learn(pieces) if kind == "jamo" else Vocabulary.learn(pieces)


def checked_spec(spec: str) -> str:
    """The full name of a kind of tokenizer, such as `bpe:1024` for `bpe`.

    Raises `ArgumentError` for an unknown kind, or a size that is none.

    >>> checked_spec("bpe")
    'bpe:1024'
    """
    kind, colon, size = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if kind in _KINDS and not colon:
        return f"bpe:{_USUAL_SIZE}" if kind == "bpe" else kind
    if kind == "bpe" and size.isdecimal() and size.isascii() and int(size) >= 256:
        return f"bpe:{int(size)}"
    raise ArgumentError(
        "tokenizer: there is no such tokenizer",
        {"tokenizer": spec},
        "expected char, byte, jamo, or bpe:N with N ids, 256 at least.",
        nearest(kind, list(_KINDS)).strip() if kind not in _KINDS else "",
    )


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that `save` wrote, whatever its kind.

    Raises `CheckpointError` if the file is missing, damaged or something else, and `DataError` where the
    extra that the tokenizer needs is not installed.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ByteTokenizer().save(Path(folder, "tokenizer.json"))
    ...     load_tokenizer(Path(folder, "tokenizer.json"))
    ByteTokenizer()
    """
    name = os.fspath(path)
    try:
        content = json.loads(read_file(path, LARGEST_TOKENIZER))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return Vocabulary.load(path)  # its error explains what is wrong with any other file
    if content.get("version") != VERSION:
        raise CheckpointError(_refusal(name, f"has version {content.get('version')!r} of the format"))
    make = _MAKERS.get(str(content.get("kind")))
    if make is None:
        raise CheckpointError(_refusal(name, f"is of an unknown kind: {content.get('kind')!r}"))
    if make is _bpe:
        bpe_package()
    try:
        tokenizer = make(content)
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(_refusal(name, "is damaged: its content does not fit its kind")) from error
    if tokenizer.fingerprint != content.get("fingerprint"):
        raise CheckpointError(_refusal(name, "is damaged: its content is not what was written"))
    return tokenizer


def _jamo(content: dict[str, Any]) -> Tokenizer:
    return JamoTokenizer(Vocabulary("".join(content["symbols"])))


def _bpe(content: dict[str, Any]) -> Tokenizer:
    return BPETokenizer(json.dumps(content["model"]))


def _byte(content: dict[str, Any]) -> Tokenizer:
    return ByteTokenizer()


_MAKERS: dict[str, Callable[[dict[str, Any]], Tokenizer]] = {
    "byte": _byte,
    "jamo": _jamo,
    "bpe": _bpe,
}


def _refusal(name: str, what: str) -> str:
    return explain(
        f"load: {name!r} {what}",
        expected=f"expected a JSON file that a tokenizer's save wrote, version {VERSION} of the format.",
        hint="Give the file that belongs to the model, or copy it anew from where the model was trained.",
    )


answer(globals(), "learn_tokenizer", "load_tokenizer")
