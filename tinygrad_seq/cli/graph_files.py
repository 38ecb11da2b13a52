"""The picture that a run leaves in its folder: the tape of its loss over a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygrad_seq import draw
from tinygrad_seq.training import Run

__all__ = ["save_graph"]

_STEPS = 3


def save_graph(
    run: Run, text: str, folder: Path, endings: Sequence[str] = ("svg",)
) -> tuple[list[Path], str]:
    """Draw the model's loss over the first characters of a text, one file `graph.*` for each ending.

    Returns the files, and what to install where nothing can draw: then there is one file, graph.dot.
    """
    ids = run.vocabulary.encode(text[: _STEPS + 1])
    loss, _ = run.model.loss(ids[:-1, None], ids[1:, None])
    drawing = draw(loss)
    files = [folder / f"graph.{ending}" for ending in endings]
    try:
        for file in files:
            drawing.save(file)
    except RuntimeError as error:
        dot = folder / "graph.dot"
        drawing.save(dot)
        return [dot], str(error)
    return files, ""
