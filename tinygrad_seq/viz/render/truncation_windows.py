"""The windows of a truncated loop: a box around the time steps from one cut to the next."""

from __future__ import annotations

from collections.abc import Mapping

from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.model import FORWARD, Graph
from tinygrad_seq.viz.render.boxes import Box


def enclose(boxes: Mapping[Path, Box], graph: Graph, places: Mapping[int, Path]) -> None:
    """Put the steps between two cuts into a box for their window, named by its steps: `t = 0 ... 15`."""
    begins = _first_steps(graph, places)
    for box in boxes.values():
        steps = [path for path in box.inner if path[-1].kind == "step"]
        for run in sorted({path[-1].run for path in steps}):
            turns = sorted((p for p in steps if p[-1].run == run), key=lambda p: p[-1].first)
            found: list[list[Path]] = []
            for path in turns:
                if path in begins or not found:
                    found.append([])
                found[-1].append(path)
            # Around single steps it would add nothing to the scissors.
            if len(found) > 1 and any(len(window) > 1 or window[0][-1].times > 1 for window in found):
                box.windows += [(_name(window), window) for window in found]


def _first_steps(graph: Graph, places: Mapping[int, Path]) -> set[Path]:
    """The steps of the forward pass that begin behind a cut."""
    known = graph.by_id()
    cut = {e.dst for e in graph.edges if e.kind == "cut" and step_of(places.get(e.src, ()))}
    cut |= {e.dst for e in graph.edges if e.src in cut and known[e.src].is_leaf}
    steps = {step_of(places[slot]) for slot in cut if slot in places and known[slot].phase == FORWARD}
    return {step for step in steps if step is not None}


def _name(window: list[Path]) -> str:
    first, last = window[0][-1], window[-1][-1]
    end = last.first + last.times - 1
    return f"window: t = {first.first}" + (f" … {end}" if end > first.first else "")
