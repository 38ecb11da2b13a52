"""The picture that a run leaves in its folder: the tape of its loss over a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygrad_seq.errors import RenderError
from tinygrad_seq.training import Run

__all__ = ["save_graph"]

_STEPS = 3


def save_graph(
    run: Run, text: str, folder: Path, endings: Sequence[str] = ("svg",)
) -> tuple[list[Path], str]:
    """Draw the model's loss over the first characters of a text, one file `graph.*` for each ending.

    Returns the files, and what to install where nothing can draw: there is graph.dot then in their place.
    """
    from tinygrad_seq import Tensor, draw  # graphviz is not needed to train, and takes a while to import

    run.model.eval()
    ids = run.vocabulary.encode(text[: _STEPS + 1])
    inputs, targets = Tensor(ids[:-1, None], name="characters"), Tensor(ids[1:, None], name="next characters")
    loss, _ = run.model.loss(inputs, targets)
    run.model.train()
    picture = draw(loss)
    files = []
    try:
        for ending in endings:
            picture.save(folder / f"graph.{ending}")
            files.append(folder / f"graph.{ending}")
    except RenderError as error:
        picture.save(folder / "graph.dot")
        return [*files, folder / "graph.dot"], str(error)
    return files, ""
