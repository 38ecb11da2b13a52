"""`draw`: the picture of tensors, of a tape, of a graph, or of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import Leaf
from tinygrad_seq.engine.node import Node as Live
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ArgumentError, GraphError, first_line
from tinygrad_seq.runtime.malloc import collector_paused
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz.fold.fold import LEVELS, VIEWS
from tinygrad_seq.viz.fold.folder import LESSON, Wish
from tinygrad_seq.viz.fold.select import Choice, Chosen
from tinygrad_seq.viz.graph import from_tape
from tinygrad_seq.viz.graph.cuts import add_grounds, reach_line
from tinygrad_seq.viz.graph.dataflow import Wiring
from tinygrad_seq.viz.graph.gradients import add_norms, backward_of, only_backward
from tinygrad_seq.viz.graph.labels import named, symbol
from tinygrad_seq.viz.graph.model import Graph
from tinygrad_seq.viz.graph.rerun import is_freed, node_behind, run_again
from tinygrad_seq.viz.picture import Picture

COLORS = ("kind", "grad")
PASSES = ("forward", "backward", "both")
EXAMPLE_STEPS = 6


def draw(
    *what: Any,
    level: str | None = None,
    view: str = "auto",
    expand: Chosen = (),
    collapse: Chosen = (),
    color: str = "kind",
    which: str = "forward",
    values: bool = False,
    names: Mapping[str, Any] | None = None,
) -> Picture:
    """The picture of what `what` was computed from: tensors, one Tape, a Graph, or a layer and an example input.

    A layer is run on its example, and the first tensor that it returns is drawn; a language model needs none.

        level       "model", "cell", "gate" or "op"; without it the deepest that has at most 120 nodes; "lesson": op
                    by op with gates taken apart, without what only moves numbers (reshape, permute, slice)
        view        "folded": equal neighbours among time steps and blocks are one box, but for the first two and
                    the last; "unrolled": all of them; "rolled": one cell with its way back marked t-1; "auto":
                    folded where a loop has more than 6 steps
        expand      names, globs or functions of a node: what is shown op by op, fused ops and steps too
        collapse    the same: what is shown as one box
        color       "kind" of op, or "grad": log10 of the norm of the gradient of the sum of the outputs
        which       "forward", "backward" (the recorded gradient at all parameters) or "both"
        values      write up to eight numbers of each value and of its gradient into the boxes, and what all are like
                    into the tooltips; the program is run again for values that are gone
        names       what tensors are called, such as `locals()`; `h.name = "h"` says the same of one

    Values flow down; the time steps of a loop stand side by side, time running to the right. Green squares are
    parameters, yellow ovals data; each is drawn once in each box that uses it. A double border marks a fused op, a
    dashed line with scissors a cut. After `backward()` the program is run again for its norms. Raises GraphError
    where nothing is given, no gradient flows or that cannot be done, DTypeError for what cannot be drawn,
    ArgumentError for a setting that does not exist.

    >>> import tinygrad_seq as tgs
    >>> x = tgs.ones(3, requires_grad=True)
    >>> print(draw((x * x).sum()).text.splitlines()[-1])
    3 parameters, 6 FLOP, 0 B kept for the backward pass
    """
    for name, value, known in (
        ("view", view, VIEWS),
        ("color", color, COLORS),
        ("which", which, PASSES),
        ("level", level, (None, *LEVELS, LESSON)),
    ):
        if value not in known:
            rule = f"expected one of {', '.join(repr(k) for k in known if k is not None)}."
            raise ArgumentError(f"draw: no such {name}", {name: value}, rule)
    wish = Wish(level, view, Choice("expand", expand), Choice("collapse", collapse))
    if len(what) == 1 and isinstance(what[0], (Graph, Tape)):
        graph = what[0] if isinstance(what[0], Graph) else from_tape.read(what[0])
        if color == "grad" and all(n.grad is None for n in graph.nodes):
            hint = "Draw the tensors themselves: draw(loss, color='grad')."
            raise GraphError("draw: this record holds no gradients", None, "", hint)
        return Picture(only_backward(graph) if which == "backward" else graph, wish, color == "grad")
    outputs = _outputs(what)
    with collector_paused():
        return Picture(_graph(outputs, color, which, values, named(names or {})), wish, color == "grad")


def _graph(
    outputs: Sequence[Tensor], color: str, which: str, values: bool, names: Mapping[Live | Leaf, str]
) -> Graph:
    if which != "forward" and is_freed(outputs):
        outputs, _ = run_again(outputs)
    gradients, called = backward_of(outputs) if which != "forward" else ([], [])
    tape, nodes = Tape.with_nodes(*outputs, *gradients)
    graph = from_tape.read(tape, nodes, names)
    if all(n.is_leaf for n in graph.nodes) and not any(n.wants for n in graph.nodes):
        graph.note = (
            "no op was recorded: nothing here wants a gradient (requires_grad=True), or no_grad() was on"
        )
    if gradients:
        known = graph.by_id()
        for slot, title in zip(tape.outputs[-len(gradients) :], called, strict=True):
            known[slot].result = title
            known[slot].label = "\u2202L/\u2202" + symbol(title.removeprefix("d loss / d "))
        graph.note = reach_line(Wiring(graph))
        add_grounds(graph)
    if (color == "grad" or values) and which != "backward":
        _add_live_numbers(graph, outputs, nodes, color, values)
    elif color == "grad":
        _add_own_norms(graph, nodes)
    return only_backward(graph) if which == "backward" else graph


def _add_live_numbers(
    graph: Graph, outputs: Sequence[Tensor], nodes: Mapping[int, Live | Leaf], color: str, values: bool
) -> None:
    """Add norms, values and gradients; those that are gone come from a second run of the program."""
    made: dict[Any, Any] = {}
    live = nodes
    if values or is_freed(outputs):
        try:
            outputs, made = run_again(outputs)
        except GraphError as error:
            if is_freed(outputs) and color == "grad":
                raise
            graph.note = f"{first_line(error).removeprefix('draw: ')}: some values are missing"
        live = {slot: node_behind(made[node]) if node in made else node for slot, node in nodes.items()}
    slopes: dict[int, Any] = {}
    if color == "grad" or (values and any(o.requires_grad for o in outputs) and not is_freed(outputs)):
        slopes = add_norms(graph, outputs, live, values, color == "grad")
    if values:
        arrays = from_tape.arrays_of(nodes)
        arrays |= {s: made[n].array for s, n in nodes.items() if isinstance(made.get(n), Tensor)}
        from_tape.add_values(graph, arrays, slopes)


def _add_own_norms(graph: Graph, nodes: Any) -> None:
    """In the backward pass the values are gradients themselves; those still in memory get a norm."""
    arrays = from_tape.arrays_of(nodes)
    for n in graph.nodes:
        if n.phase == "backward" and n.id in arrays:
            n.grad = float(np.linalg.norm(np.asarray(arrays[n.id], np.float64).ravel()))


# ---- what is given -----------------------------------------------------------------------------------------
def _outputs(what: Sequence[Any]) -> list[Tensor]:
    """The tensors to be drawn."""
    if what and hasattr(what[0], "named_parameters"):
        return [_run(what[0], what[1:])]
    found = leaves(what, object)
    if not found or any(not isinstance(t, Tensor) for t in found):
        Tape.of(*found)  # raises the error for other types
    return found


def _run(model: Any, example: Sequence[Any]) -> Tensor:
    """The first tensor that a layer returns; for a language model without an example its loss."""
    list(model.named_parameters())  # so that parameters bear their whole names
    if not example:
        return _loss_of(model)
    named = [
        Tensor(x, name="input" if i == 0 else f"input {i + 1}") if isinstance(x, np.ndarray) else x
        for i, x in enumerate(example)
    ]
    found: list[Tensor] = leaves(model(*named), ignore_others=True)
    if not found:
        name = type(model).__name__
        raise GraphError(f"draw: {name} returned no tensor", None, "expected one to draw.")
    return found[0]


def _loss_of(model: Any) -> Tensor:
    symbols = getattr(model, "vocabulary_size", None)
    if symbols is None or not hasattr(model, "loss"):
        name = type(model).__name__
        hint = "For example: draw(layer, tgs.randn(6, 1, 3))."
        raise GraphError(f"draw: {name} needs an example input", None, "", hint)
    ids = np.arange(EXAMPLE_STEPS + 1)[:, None] % symbols
    loss = model.loss(Tensor(ids[:-1], name="ids"), Tensor(ids[1:], name="next ids"))
    return loss[0] if isinstance(loss, tuple) else loss  # type: ignore[no-any-return]


answer(globals(), "draw")
