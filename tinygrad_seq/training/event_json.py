"""Events as plain values, one JSON object each: `tgs train --json` prints them."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tinygrad_seq.training.events import Event, Started
from tinygrad_seq.training.gradient_flow import Flow
from tinygrad_seq.training.run_folder import Run

__all__ = ["as_json"]


def as_json(event: Event) -> dict[str, Any]:
    """The event's name under `event`, and its fields; numbers that are none become None. The update ratio and the
    norms through time are measured in some steps only, and are in the events of these.

    >>> from tinygrad_seq.training import Sampled
    >>> as_json(Sampled(500, "to be"))
    {'event': 'Sampled', 'step': 500, 'text': 'to be'}
    """
    found: dict[str, Any] = {"event": type(event).__name__}
    if isinstance(event, Started):
        corpus = event.corpus
        found |= {"corpus": corpus.name, "characters": corpus.characters, "sha256": corpus.sha256}
        found |= {"parameters": event.run.model.count(), "parts": list(event.parts), "resumed": event.resumed}
        found["notes"] = list(event.notes)
        return found | {"folder": _plain(event.folder)}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "rows":
            continue  # each had its own event
        if isinstance(value, Flow):
            # Between two measurements the means do not change: only new ones are written, and all of them in a
            # report.
            new = value.looked or getattr(event, "report", False)
            found |= (value if new else replace(value, update=None, norms={})).scalars()
        elif not isinstance(value, Run):
            found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if hasattr(value, "__dataclass_fields__"):
        return {k: v for k, v in as_json(value).items() if k != "event"}
    return value
