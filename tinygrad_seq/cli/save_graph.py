"""The picture in a run's folder: the tape of its loss over a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_seq.errors import RenderError
from tinygrad_seq.training import Run

if TYPE_CHECKING:
    from tinygrad_seq.viz import Picture

__all__ = ["save_graph"]

_STEPS = 3
_SECONDS = 10.0  # for each program that lays graphs out: training waits for it


def save_graph(
    run: Run, text: str, folder: Path, endings: Sequence[str] = ("svg",)
) -> tuple[list[Path], str]:
    """Draw the model's loss over the first characters of a text, one file `graph.*` for each ending.

    Returns the files, and why some are missing: without a renderer there is graph.dot in their place. It
    raises nothing and takes a few seconds at most, because the training must not suffer from it.
    """
    files: list[Path] = []
    try:
        picture = _picture(run, text)
        try:
            for ending in endings:
                picture.save(folder / f"graph.{ending}")
                files.append(folder / f"graph.{ending}")
        except RenderError as error:
            picture.save(folder / "graph.dot")
            return [*files, folder / "graph.dot"], str(error)
    except Exception as error:
        return files, f"no graph was drawn: {error or type(error).__name__}"
    return files, ""


def _picture(run: Run, text: str) -> Picture:
    from tinygrad_seq.engine.tensor import Tensor
    from tinygrad_seq.viz import draw  # graphviz is not needed to train, and takes a while to import

    training = run.model.training
    run.model.eval()
    try:
        ids = run.vocabulary.encode(text[: _STEPS + 1])[: _STEPS + 1]
        inputs = Tensor(ids[:-1, None], name="characters")
        targets = Tensor(ids[1:, None], name="next characters")
        loss, _ = run.model.loss(inputs, targets)
    finally:
        run.model.train(training)
    picture = draw(loss)
    picture.seconds = _SECONDS
    return picture
