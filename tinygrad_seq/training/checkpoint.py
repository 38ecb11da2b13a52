"""One file of weights: safetensors, with the facts that tell which model they belong to.

Nothing is ever unpickled: a file from a stranger can be refused, but it cannot run code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq.data import Tokenizer
from tinygrad_seq.errors import CheckpointError, explain
from tinygrad_seq.nn import Module
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.files import atomic_write_bytes
from tinygrad_seq.runtime.untrusted_files import open_file, reason_of

__all__ = ["fingerprint", "load_state", "load_weights", "save_state", "save_weights"]

_FORMAT = "tinygrad_seq weights"
_VERSION = "1"
_STATE = "tinygrad_seq state"
_KEYS = ("format", "version", "vocabulary", "arrays")
_HINT = "Copy the whole folder anew from where the model was trained, or train again."


class _Saved(NamedTuple):
    arrays: dict[str, Array]
    metadata: dict[str, str]


def fingerprint(vocabulary: Tokenizer) -> str:
    """SHA-256 in hexadecimal: it says which vocabulary, or other tokenizer, some weights belong to."""
    return vocabulary.fingerprint


def save_weights(
    path: str | os.PathLike[str],
    model: Module,
    vocabulary: Tokenizer,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write all parameters of a model to one safetensors file, whole or not at all.

    The metadata hold the format and its version, the hash of the vocabulary, the hash of the arrays, and `facts`
    for a person who opens the file.

    Raises `CheckpointError` if the file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    metadata = {
        **(facts or {}),
        "format": _FORMAT,
        "version": _VERSION,
        "vocabulary": fingerprint(vocabulary),
        "arrays": _hash(arrays),
    }
    atomic_write_bytes(path, _ordered(save(arrays, metadata)))


def load_weights(path: str | os.PathLike[str], model: Module, vocabulary: Tokenizer) -> dict[str, str]:
    """Put the weights of a file into `model`, and return the facts stored with them.

    The model is only changed when everything fits. Raises `CheckpointError` for a file that is missing,
    damaged or of another format, for weights of another model (names and shapes are listed) and for weights
    that were trained with another vocabulary.
    """
    name = os.fspath(path)
    arrays, metadata = _read(name)
    known = metadata.get("format") == _FORMAT
    if known and metadata.get("version") != _VERSION:
        what = f"has version {metadata.get('version')!r} of the format, this package reads {_VERSION!r}"
        raise CheckpointError(_refusal(name, what, "Use the version of tinygrad_seq that wrote it."))
    if known and metadata.get("arrays") != _hash(arrays):
        raise CheckpointError(_refusal(name, "is damaged: its arrays are not those that were written", _HINT))
    own = model.state_dict()
    model_fits = own.keys() == arrays.keys() and all(own[key].shape == a.shape for key, a in arrays.items())
    if model_fits and not known:
        raise CheckpointError(
            _refusal(name, f"was not written by this package: no format {_FORMAT!r}", _HINT)
        )
    if model_fits and metadata.get("vocabulary") != fingerprint(vocabulary):
        what = "belongs to another vocabulary: the same number of symbols, but not the same symbols"
        raise CheckpointError(_refusal(name, what, "Put back the vocabulary.json that was saved beside it."))
    try:
        model.load_state_dict(arrays)
    except CheckpointError as error:
        what = "holds the weights of another model"
        raise CheckpointError(_refusal(name, what, error.details)) from error
    return {key: value for key, value in metadata.items() if key not in _KEYS}


def save_state(path: str | os.PathLike[str], arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write arrays and plain values to one safetensors file, whole or not at all: one cannot be newer than the other.

    Raises `CheckpointError` if the file cannot be written.
    """
    from safetensors.numpy import save

    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(facts)
    metadata = {"format": _STATE, "version": _VERSION, "facts": text, "arrays": _hash(whole, text)}
    atomic_write_bytes(path, _ordered(save(whole, metadata)))


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """What `save_state` wrote. Raises `CheckpointError` for a file that is missing, damaged or of another kind."""
    name = os.fspath(path)
    arrays, metadata = _read(name)
    if metadata.get("format") != _STATE:
        what = f"was not written by this package as the state of a run: no format {_STATE!r}"
        raise CheckpointError(_refusal(name, what, _HINT))
    if metadata.get("version") != _VERSION:
        what = f"has version {metadata.get('version')!r} of the format, this package reads {_VERSION!r}"
        raise CheckpointError(_refusal(name, what, "Use the version of tinygrad_seq that wrote it."))
    text = metadata.get("facts", "")
    if metadata.get("arrays") != _hash(arrays, text):
        what = "is damaged: its content is not what was written"
        raise CheckpointError(_refusal(name, what, _HINT))
    return arrays, json.loads(text)


def _read(name: str) -> _Saved:
    from safetensors import SafetensorError, safe_open

    try:
        # Opened by hand first: the errors of the system then have their usual classes on every platform.
        with open_file(name):
            pass
        with safe_open(name, framework="numpy") as file:
            narrow = {key for key in file.keys() if file.get_slice(key).get_dtype() == "BF16"}  # noqa: SIM118
            arrays: dict[str, Any] = {
                key: file.get_tensor(key)
                for key in file.keys()  # noqa: SIM118
                if key not in narrow
            }
            arrays |= _widened(name, narrow)
            return _Saved(arrays, dict(file.metadata() or {}))
    except FileNotFoundError as error:
        raise CheckpointError(_refusal(name, "does not exist", _HINT)) from error
    except OSError as error:
        what = f"cannot be read: {reason_of(error)}"
        raise CheckpointError(_refusal(name, what, "Check what stands under this name.")) from error
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        what = "is damaged: it is no complete safetensors file"
        raise CheckpointError(_refusal(name, what, _HINT)) from error


def _widened(name: str, narrow: set[str]) -> dict[str, Array]:
    """The bfloat16 arrays of a safetensors file as float32, whose upper half they are: NumPy has no such dtype."""
    if not narrow:
        return {}
    with open_file(name) as opened:
        data = opened.read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found = {}
    for key in sorted(narrow):
        first, stop = header[key]["data_offsets"]
        words = np.frombuffer(data[start + first : start + stop], "<u2").astype(np.uint32)
        found[key] = (words << np.uint32(16)).view(np.float32).reshape(header[key]["shape"])
    return found


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with its metadata in alphabetical order: equal content is then equal bytes.

    Eight bytes hold the length of a header of JSON, which blanks may fill up.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    facts = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": facts, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _hash(arrays: Mapping[str, Array], text: str = "") -> str:
    """SHA-256 over names, dtypes, shapes and values: the format itself would not notice a changed number."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _refusal(name: str, what: str, hint: str) -> str:
    return explain(f"load: {name!r} {what}", None, "", hint)
