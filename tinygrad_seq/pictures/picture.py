"""`draw`: a tape as a picture that saves itself and shows itself in a notebook."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_seq.errors import DataError, RenderError, explain
from tinygrad_seq.files import atomic_write_bytes
from tinygrad_seq.pictures import dot, render
from tinygrad_seq.pictures.scene import Scene
from tinygrad_seq.tape import Tape
from tinygrad_seq.tensor import Tensor

MOST_NODES = 4000
_MOST_LINES = 200


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn tape: its text in the DOT language in `dot`, the number of its nodes in `nodes`.

    In a notebook it shows as SVG, or as the tape's listing where nothing can render.
    """

    tape: Tape
    dot: str
    nodes: int

    def svg(self) -> str:
        """The picture as SVG text, no wider than the page it is put in.

        Raises RenderError where it is too large or no Graphviz is installed.
        """
        text = self._rendered("svg").decode()
        return re.sub(r"<svg ", '<svg style="max-width: 100%; height: auto" ', text, count=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the name's ending decides: `.svg`, `.png`, `.pdf`, or `.dot` for its text.

        Raises DataError for another ending, RenderError where it is too large or no Graphviz is installed.

        >>> import tempfile
        >>> import tinygrad_seq as tgs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(tgs.ones(2, requires_grad=True).sum()).save(Path(folder, "sum.dot"))
        ...     Path(folder, "sum.dot").read_text()[:14]
        'digraph tape {'
        """
        form = Path(path).suffix.lower().removeprefix(".")
        if form == "dot":
            atomic_write_bytes(path, self.dot.encode())
        elif form == "svg":
            atomic_write_bytes(path, self.svg().encode())
        elif form in render.FORMATS:
            atomic_write_bytes(path, self._rendered(form))
        else:
            rule = "expected a name that ends in .svg, .png, .pdf or .dot."
            raise DataError(explain("picture: no such kind of file", {"path": os.fspath(path)}, rule))

    def _rendered(self, form: str) -> bytes:
        if self.nodes > MOST_NODES:
            raise RenderError(
                explain(
                    f"picture: {self.nodes} nodes are more than anyone can read, or Graphviz lay out soon",
                    None,
                    f"expected at most {MOST_NODES}.",
                    "Draw fewer time steps, fewer layers, or one part of it: draw(h) for an early value h.\n"
                    '  The .dot text and .save("picture.dot") still work.',
                )
            )
        return render.render(self.dot, form)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        wanted = {"image/svg+xml", "text/plain"} & set(include or ("image/svg+xml", "text/plain"))
        wanted -= set(exclude or ())
        bundle = {"text/plain": self._text()} if "text/plain" in wanted else {}
        if "image/svg+xml" in wanted:
            try:
                bundle["image/svg+xml"] = self.svg()
            except RenderError as error:
                bundle["text/plain"] = f"{self._text()}\n\n{error}"
        return bundle

    def _text(self) -> str:
        lines = str(self.tape).splitlines()
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES - 1 : -1] = [f"... {len(lines) - _MOST_LINES} more ..."]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Picture({self.nodes} nodes)"


def draw(*outputs: Tensor | Tape) -> Picture:
    """The picture of what `outputs`, tensors or one Tape, were computed from.

    Values flow down; the time steps of a loop stand side by side, time running to the right. Boxes are scopes
    and time steps, green squares parameters, yellow ovals data; a parameter is drawn once in each box that uses it,
    and constants stand in the op they belong to. A double border marks the result, a dashed node with
    scissors a `cut`. Raises GraphError where nothing is given, DTypeError for what is not a tensor.

    >>> import tinygrad_seq as tgs
    >>> x = tgs.ones(3, requires_grad=True)
    >>> draw((x * x).sum())
    Picture(3 nodes)
    """
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape.of(*outputs)  # type: ignore[arg-type]
    scene = Scene(tape)
    return Picture(tape, dot.source(scene), scene.count)
