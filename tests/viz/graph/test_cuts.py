"""Where gradients stop: what `detach` leaves behind, windows of a layer, and the marks of the backward pass."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.engine import origins
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.models import CharLM
from tinygrad_seq.runtime.weakrefs import owner_of
from tinygrad_seq.viz import Picture, draw


def windows(layer: nn.Module, lengths: list[int], cut: bool = True) -> list[Tensor]:
    """The losses of a layer over windows of a sequence, the state handed over detached or as it is."""
    state, losses = None, []
    for steps in lengths:
        out, state = layer(tgs.randn(steps, 2, 3), state)
        losses.append((out * out).sum())
        state = tgs.detach(state) if cut else state
    return losses


def lines(drawn: Picture) -> int:
    """How many dashed lines with scissors are drawn."""
    return sum("headlabel" in line and "✂" in line for line in drawn.dot.splitlines())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("k", "steps"), [(8, 24), (7, 23), (5, 5)])
def test_windows_of_a_layer_have_their_cuts(kind: type[nn.Module], layers: int, k: int, steps: int) -> None:
    """ceil(T / k) - 1 cuts, however many layers and states; released graphs too; none where none was made."""
    lengths = [min(k, steps - start) for start in range(0, steps, k)]
    cuts = math.ceil(steps / k) - 1
    losses = windows(kind(3, 4, layers), lengths)
    expected = (
        f"gradient reaches at most {k} steps back; {cuts} cut{'s' * (cuts != 1)}"
        if cuts
        else f"gradient reaches back through all {steps} steps; no cuts"
    )
    drawn = draw(*losses, level="cell")
    assert drawn.folded.note == expected
    assert lines(drawn) >= cuts * layers
    for loss in losses:
        loss.backward()
    assert draw(*losses).folded.note == expected
    whole = draw(*windows(kind(3, 4, layers), lengths, cut=False))
    assert whole.folded.note == f"gradient reaches back through all {steps} steps; no cuts"


def test_a_window_alone_says_where_its_state_came_from() -> None:
    """The window before is not in the picture: the state is a leaf with a cut behind it."""
    losses = windows(nn.GRU(3, 4), [6, 6])
    drawn = draw(losses[1])
    (state,) = [n for n in drawn.graph.nodes if n.label == "detached"]
    assert state.detail == "in gru"
    assert {e.kind for e in drawn.graph.edges if e.src == state.id} == {"cut"}
    assert drawn.folded.note == "gradient reaches at most 6 steps back; 1 cut"
    assert lines(drawn) > 0


def test_windows_of_a_character_model_have_their_cuts() -> None:
    """Three windows of training, as the loop runs them."""
    model, state, losses = CharLM(20, 8, 2), None, []
    ids = np.arange(25)[:, None] % 20
    for start in (0, 8, 16):
        loss, state = model.loss(Tensor(ids[start : start + 8]), Tensor(ids[start + 1 : start + 9]), state)
        losses.append(loss)
        state = tgs.detach(state)
    assert draw(*losses).folded.note == "gradient reaches at most 8 steps back; 2 cuts"


@pytest.mark.parametrize(("k", "steps"), [(16, 64), (3, 10)])
def test_truncation_draws_a_line_for_each_cut(k: int, steps: int) -> None:
    """TruncatedBPTT(k, k) of an LSTM cell: cuts fall on the steps k, 2 k, ...; each with its scissors."""
    cell, losses = nn.LSTMCell(3, 4), []

    def step(x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = cell(x, state)
        losses.append((h * h).sum())
        return losses[-1], (h, c)

    tgs.bptt.TruncatedBPTT(k, k).run(step, tgs.randn(steps, 2, 3), (tgs.ones(2, 4), tgs.ones(2, 4)))
    drawn = draw(*losses, level="cell", view="unrolled")
    known = drawn.folded.by_id()
    cut = {known[e.dst].t for e in drawn.folded.edges if e.kind == "cut"}
    assert cut == set(range(k, steps, k))
    assert lines(drawn) >= math.ceil(steps / k) - 1


# ---------------------------------------------------------------- what detach leaves behind


def test_a_note_goes_with_the_memory_and_keeps_nothing() -> None:
    """Slices know it too; when the memory goes, the note goes; the graph behind is not kept."""
    w = tgs.ones(2, 3, requires_grad=True)
    with tgs.scope("a"), tgs.time_step(4):
        h = (w * 2).tanh()
    behind, index = weakref.ref(h.node), h.node.index
    state = h.detach()
    noted = id(owner_of(state[1].array))
    del h
    gc.collect()
    assert behind() is None
    found = origins.origin_of(state[1].array)
    assert found is not None
    assert (found.made, str(found.place)) == (index, "in a, step 4")
    assert noted in origins._notes
    del state, found
    gc.collect()
    assert noted not in origins._notes


def test_notes_do_not_pile_up() -> None:
    """A thousand windows leave as many notes as there are states; nor do those of one buffer."""
    w = tgs.ones(3, 3, requires_grad=True)
    gc.collect()
    h, before = tgs.ones(2, 3), len(origins._notes)
    for _ in range(1000):
        h = (h @ w).tanh().detach()
    gc.collect()
    assert len(origins._notes) <= before + 1
    whole = (tgs.ones(200, 3) @ w).tanh()
    rows = [whole[i].detach() for i in range(200)]
    assert len(origins._notes[id(owner_of(rows[0].array))][1]) <= 64
    assert origins.origin_of(rows[-1].array) is not None


def test_what_no_op_made_has_no_note() -> None:
    """Parameters, data, and what came before its memory was detached."""
    w, x = tgs.ones(3, requires_grad=True), tgs.ones(3)
    y = w * x
    for t in (w.detach(), x.detach(), y):
        assert origins.origin_of(t.array) is None
    assert origins.origin_of(np.zeros(0)) is None
    assert not [e for e in draw((w * x.detach()).sum()).graph.edges if e.kind == "cut"]


# ---------------------------------------------------------------- the backward pass


@pytest.mark.parametrize("how", [tgs.cut, Tensor.detach])
def test_the_backward_pass_ends_at_a_mark(how: object) -> None:
    """A dashed line with a bar, at the gradient that would have gone on; the line below says how far it got."""
    w, h, losses = tgs.ones(3, 3, requires_grad=True), tgs.ones(2, 3), []
    with tgs.scope("rnn"):
        for t in range(6):
            with tgs.time_step(t):
                h = ((how(h) if t == 3 else h) @ w).tanh()  # type: ignore[operator]
                if t in (2, 5):
                    losses.append((h * h).sum())
    total = losses[0] + losses[1]
    for which in ("backward", "both"):
        drawn = draw(total, which=which, level="op")
        (mark,) = [n for n in drawn.graph.nodes if n.op == "ground"]
        assert mark.t == 3
        (line,) = [line for line in drawn.dot.splitlines() if "arrowhead=tee" in line]
        assert "style=dashed" in line
        assert "the gradient of step 3 goes no further back" in drawn.dot
        assert drawn.folded.note == "gradient reaches at most 3 steps back; 1 cut"
        known = drawn.graph.by_id()
        (stopped,) = [known[e.dst] for e in drawn.graph.edges if e.src == mark.id]
        assert (stopped.t, stopped.phase, stopped.shape) == (3, "backward", (2, 3))
    assert not [n for n in draw(losses[0], which="backward").graph.nodes if n.op == "ground"]


def test_data_is_called_what_it_is() -> None:
    """Zeros, ones and single numbers without a name say so; names stay."""
    w = tgs.ones(2, requires_grad=True)
    data = tgs.zeros(2), tgs.ones(2), Tensor(2.5), Tensor([0.0, 0.0], name="h0"), Tensor([1.0, 2.0])
    y = sum((w * x for x in data[1:]), w * data[0])
    assert [n.label for n in draw(y).graph.nodes if n.op == "input"] == ["zeros", "ones", "2.5", "h0", ""]
