"""Folding: equal steps and equal blocks drawn as one, ops gathered into gates, cells and modules, loops rolled up.

Every op of the tape is in exactly one node of the result, which lists it.
"""

from __future__ import annotations

from tinygrad_seq.viz.fold import levels
from tinygrad_seq.viz.fold.composites import closed, ended
from tinygrad_seq.viz.fold.folder import LESSON, Folder, Wish
from tinygrad_seq.viz.fold.group import Folded, gathered
from tinygrad_seq.viz.graph.cuts import reach_line
from tinygrad_seq.viz.graph.fused_bodies import opened
from tinygrad_seq.viz.graph.labels import WHOLE
from tinygrad_seq.viz.graph.model import Graph

LEVELS = ("model", "cell", "gate", "op")
VIEWS = ("auto", "folded", "unrolled", "rolled")
MOST_NODES = 120
_ONE_BOX = ("relu", "biased_relu", "layer_norm", "rms_norm", "dropout", "attention_weights")


def folded(graph: Graph, wish: Wish) -> Folded:
    """The folded graph; without a level that of the deepest level with at most MOST_NODES nodes."""
    lesson = wish.level == LESSON
    graph = opened(graph, lambda n: wish.expand.takes(n, ()))
    if lesson:
        graph = opened(graph, lambda n: n.op.lstrip("_") not in (*WHOLE, *_ONE_BOX), boxed=False)
    graph = closed(graph, lambda n: wish.expand.takes(n, ()))
    graph = ended(graph) if lesson else graph
    folder = Folder(graph, wish)
    found = at_level(folder, LEVELS[-1] if lesson else wish.level or LEVELS[-1])
    for level in () if wish.level else reversed(LEVELS[:-1]):
        if len(found.graph.nodes) <= MOST_NODES:
            break
        fewer = at_level(folder, level)
        if len(fewer.graph.nodes) < len(found.graph.nodes):
            found = fewer
    found.graph.note = graph.note or reach_line(folder.wiring)
    return found


def at_level(folder: Folder, level: str) -> Folded:
    """The folded graph at one level."""
    return gathered(folder.wiring, levels.boxes(folder, level), folder.aliases, folder.rolled)
