"""`Picture`: a graph that folds itself, saves itself and shows itself in a notebook."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_seq.errors import DataError, RenderError
from tinygrad_seq.runtime.files import atomic_write_bytes
from tinygrad_seq.runtime.malloc import collector_paused
from tinygrad_seq.viz.fold.fold import folded
from tinygrad_seq.viz.fold.folder import LESSON, Wish
from tinygrad_seq.viz.fold.group import Folded
from tinygrad_seq.viz.graph.model import MOVES, Graph
from tinygrad_seq.viz.render import dot, graphviz, text_tree
from tinygrad_seq.viz.render.dark import with_dark
from tinygrad_seq.viz.render.scene import Scene
from tinygrad_seq.viz.render.svg import scaled, slimmed

MOST_NODES = 4000
_MOST_LINES = 200


class Picture:
    """A graph, and how it is to be drawn. Everything is computed at its first use.

    `graph` is everything, `folded` what is left of it at the wished level; `dot`, `text` and `svg()` show that.
    In a notebook it shows as SVG, or as the tree where nothing can render. `seconds` is how long each program that
    lays graphs out may take, None for the usual time.
    """

    def __init__(self, graph: Graph, wish: Wish | None = None, colored: bool = False):
        self.graph, self.wish, self.colored = graph, wish or Wish(), colored
        self.seconds: float | None = None

    @cached_property
    def _folded(self) -> Folded:
        with collector_paused():
            return folded(self.graph, self.wish)

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self._folded, self.colored)

    @property
    def folded(self) -> Graph:
        """The graph after folding, a node for each box that is drawn."""
        return self._folded.graph

    @property
    def nodes(self) -> int:
        """How many nodes are drawn, ghosts of weights included."""
        return self._scene.count

    @cached_property
    def dot(self) -> str:
        """The picture in the DOT language."""
        return dot.source(self._scene)

    @cached_property
    def text(self) -> str:
        """The picture as an indented tree with types and sums, for terminals."""
        return text_tree.text(self._folded)

    def svg(self) -> str:
        """The picture as SVG text: it shrinks with its page as long as it can be read; then the page scrolls.

        Raises RenderError where it is too large or no Graphviz is installed.
        """
        return scaled(self._rendered("svg").decode())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the name's ending decides.

            .svg .png .pdf    laid out by Graphviz
            .dot              its text in the DOT language
            .txt              an indented tree
            .json             the whole graph, not folded: `Graph.from_json` reads it

        Without a renderer the three kinds that need no Graphviz are written beside it, and the error says so.
        Raises DataError for another ending, RenderError where it is too large or no Graphviz is installed.

        >>> import tempfile
        >>> import tinygrad_seq as tgs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tgs.draw(tgs.ones(2, requires_grad=True).sum()).save(Path(folder, "sum.dot"))
        ...     Path(folder, "sum.dot").read_text()[:14]
        'digraph tape {'
        """
        form = Path(path).suffix.lower().removeprefix(".")
        texts = {
            "dot": lambda: self.dot,
            "txt": lambda: self.text + "\n",
            "json": self.graph.to_json,
            "svg": self.svg,
        }
        if form in texts or form in graphviz.FORMATS:
            if form in graphviz.FORMATS:
                self._refuse_large()  # its text would be as long: nothing is written instead
            try:
                found = (
                    texts[form]().encode(errors="backslashreplace") if form in texts else self._rendered(form)
                )
            except RenderError as error:
                raise RenderError(f"{error}{self._written_instead(Path(path))}") from None
            atomic_write_bytes(path, found)
        else:
            rule = "expected a name that ends in .svg, .png, .pdf, .dot, .json or .txt."
            raise DataError("picture: no such kind of file", {"path": os.fspath(path)}, rule)

    def _written_instead(self, path: Path) -> str:
        """Write the kinds that need no Graphviz beside the file that was asked for; existing files stay."""
        others = [path.with_suffix(ending) for ending in (".dot", ".json", ".txt")]
        others = [other for other in others if not other.exists()]
        try:
            self.dot  # noqa: B018
        except RenderError:
            others = [other for other in others if other.suffix != ".dot"]
        others = [other for other in others if other != path]
        for other in others:
            self.save(other)
        return f"\n  Written instead: {', '.join(other.name for other in others)}." if others else ""

    def _least(self) -> int:
        """A lower bound on the number of nodes, known before folding."""
        if self.wish.view != "unrolled" or self.wish.collapse:
            return len(self._folded.graph.nodes)
        ops = [n for n in self.graph.nodes if not n.is_leaf and n.op not in ("pick", "cut", *MOVES)]
        if self.wish.level == "op":
            return len({n.inside or n.id for n in ops})
        if self.wish.level in ("cell", "gate", LESSON):
            return len({(n.path, n.t) for n in ops if n.t is not None})
        return 0

    def _refuse_large(self) -> None:
        least = self._least()
        count = least if least > MOST_NODES else self.nodes
        if count > MOST_NODES:
            raise RenderError(
                f"picture: {count} nodes are more than anyone can read, or Graphviz lay out soon",
                None,
                f"expected at most {MOST_NODES}.",
                'Draw it folded, or at a higher level: draw(..., level="cell").\n'
                "  Files that end in .dot, .json and .txt still work.",
            )

    def _rendered(self, form: str) -> bytes:
        self._refuse_large()
        found = graphviz.render(self.dot, form, graphviz.SECONDS if self.seconds is None else self.seconds)
        return with_dark(slimmed(found.decode())).encode() if form == "svg" else found

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        wanted = {"image/svg+xml", "text/plain"} & set(include or ("image/svg+xml", "text/plain"))
        wanted -= set(exclude or ())
        bundle = {"text/plain": self._short_text()} if "text/plain" in wanted else {}
        if "image/svg+xml" in wanted:
            try:
                bundle["image/svg+xml"] = self.svg()
            except RenderError as error:
                bundle["text/plain"] = f"{self._short_text()}\n\n{error}"
        return bundle

    def _short_text(self) -> str:
        lines = self.text.splitlines()
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES - 3 : -3] = [f"... {len(lines) - _MOST_LINES} more ..."]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Picture({len(self.graph.nodes)} nodes)"
