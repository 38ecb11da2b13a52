"""Plain values as TOML text: Python's library reads TOML but does not write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygrad_seq.terminal import visible

__all__ = ["TomlValue", "to_toml"]

TomlValue = str | int | float | bool | None | Sequence[str]

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def to_toml(values: Mapping[str, TomlValue]) -> str:
    r"""One line `key = value` for each value; `None`, which TOML has no word for, becomes a comment.

    >>> print(to_toml({"hidden": 128, "lr": 1e-3, "corpus": ("a.txt", 'b".txt'), "minutes": None}), end="")
    hidden = 128
    lr = 0.001
    corpus = ["a.txt", "b\".txt"]
    # minutes is not set
    """
    return "".join(
        f"# {key} is not set\n" if value is None else f"{key} = {_value(value)}\n"
        for key, value in values.items()
    )


def _value(value: str | int | float | bool | Sequence[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float):
        return repr(value)
    return f"[{', '.join(_quoted(one) for one in value)}]"


def _quoted(text: str) -> str:
    # A path may hold bytes that are no UTF-8; TOML cannot, so they become question marks.
    text = text.encode("utf-8", "replace").decode()
    return '"' + "".join(_ESCAPES.get(char) or _printable(char) for char in text) + '"'


def _printable(char: str) -> str:
    # Invisible characters are written as escapes, also where TOML allows them.
    if visible(char) == char:
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
