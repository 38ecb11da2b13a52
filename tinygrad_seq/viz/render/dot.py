"""A scene in the DOT language, by way of the `graphviz` package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_seq.errors import RenderError
from tinygrad_seq.viz.graph.clusters import Path
from tinygrad_seq.viz.render import style
from tinygrad_seq.viz.render.boxes import Box
from tinygrad_seq.viz.render.scene import Scene

if TYPE_CHECKING:
    from graphviz import Digraph


def source(scene: Scene) -> str:
    """The DOT text of a scene. Raises RenderError where the package graphviz is missing."""
    try:
        from graphviz import Digraph, escape
    except ImportError:
        hint = "Install it with: python -m pip install graphviz"
        raise RenderError("picture: the Python package graphviz is missing", None, "", hint) from None

    labels = _labels(scene.boxes)
    finished: dict[Path, Digraph] = {}
    for number, path in enumerate(sorted(scene.boxes, key=len, reverse=True)):  # from the inside out
        box = scene.boxes[path]
        if path and path not in labels:
            finished[path] = finished.pop(box.inner[0])
            continue
        graph = Digraph(f"cluster_{number}" if path else "tape")
        if path:
            graph.attr(**style.cluster(path[-1], labels[path]))
        else:
            for kind, attributes in (("graph", style.GRAPH), ("node", style.NODE), ("edge", style.EDGE)):
                graph.attr(kind, **attributes)
            if scene.caption:
                graph.attr("graph", **scene.caption)
        _fill(graph, box)
        for i, (name, steps) in enumerate(box.windows):
            window = Digraph(f"cluster_{number}_{i}")
            window.attr(**style.window(name))
            for step in steps:
                window.subgraph(finished.pop(step))
            graph.subgraph(window)
        for inner in box.inner:
            if inner in finished:
                graph.subgraph(finished.pop(inner))
        finished[path] = graph
    graph = finished[()]
    for edge in scene.edges:
        attributes = edge.look
        if "label" in attributes and edge.tail != edge.head:
            # Graphviz may abort over the label of an edge between nodes on one level; these stand beside their lines.
            attributes = {("xlabel" if k == "label" else k): v for k, v in attributes.items()}
        if "tooltip" in attributes:
            attributes = {**attributes, "tooltip": escape(attributes["tooltip"])}
        graph.edge(edge.tail, edge.head, **attributes)
    return str(graph.source)


def _labels(boxes: dict[Path, Box]) -> dict[Path, str]:
    """The label of each box that is drawn; a scope with nothing in it but one other is one with it: `a/b`."""
    labels: dict[Path, str] = {}
    before: dict[Path, str] = {}
    for path in sorted(boxes, key=len):
        box = boxes[path]
        if not path:
            continue
        label = before.get(path, "") + path[-1].label
        lone = path[-1].kind == "scope" and not box.nodes and len(box.inner) == 1
        if lone and box.inner[0][-1].kind == "scope":
            before[box.inner[0]] = label + "/"
        else:
            labels[path] = label
    return labels


def _fill(graph: Digraph, box: Box) -> None:
    from graphviz import Digraph, escape

    for node, attributes in box.nodes.items():
        quoted = {**attributes, "tooltip": escape(attributes["tooltip"])}
        graph.node(node, **quoted)
    for leaf, op in box.pairs:
        # A cluster of its own keeps the two together, the rank keeps them level.
        pair = Digraph(f"cluster_{op}", graph_attr=style.PAIR)
        pair.body.append(f"\t{{rank=same; {leaf}; {op}}}\n")
        graph.subgraph(pair)
    for order in box.orders:
        for anchor in order:
            if anchor not in box.nodes:
                graph.node(anchor, **style.UNSEEN_NODE)
        graph.body.append(f"\t{{rank=same; {' -> '.join(order)} [style=invis]}}\n")
