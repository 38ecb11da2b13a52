"""Colours after `backward()` are those of before, for every layer; where a value has changed since, that is said."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn, optim
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import GraphError
from tinygrad_seq.runtime.weakrefs import Memory
from tinygrad_seq.viz import draw

F64 = np.float64
T, B, SIZE = 4, 2, 4
Made = tuple[Tensor, Any]


def colors(loss: Tensor, level: str = "op") -> list[float | None]:
    """The norms at all nodes; nothing is laid out."""
    return [n.grad for n in draw(loss, color="grad", level=level).graph.nodes]


def recurrent(layer: Callable[..., nn.Module], how: dict[str, Any], given: dict[str, Any]) -> Made:
    """The loss of a recurrent layer on data that lives, and what must live beside it."""
    unit, x = layer(SIZE, SIZE, dtype=F64, **how), tgs.randn(T, B, SIZE, dtype=F64)
    out = unit(x, **given)[0]
    return (out * out).sum(), (unit, x)


def truncated() -> Made:
    """The last of three windows; the states between them live no longer than their window."""
    unit, xs, state = nn.LSTM(SIZE, SIZE, dtype=F64), tgs.randn(3 * T, B, SIZE, dtype=F64), None
    loss = tgs.zeros((), dtype=F64)
    for t in range(0, 3 * T, T):
        if loss.requires_grad:
            loss.backward()
        out, state = unit(xs[t : t + T], state and tuple(s.detach() for s in state))
        loss = (out * out).sum()
    return loss, (unit, xs)


def cut() -> Made:
    """One loss over two windows with a cut between them, of cells in a loop that keeps no step's data."""
    unit, xs, total = (
        nn.GRUCell(SIZE, SIZE, dtype=F64),
        tgs.randn(T, B, SIZE, dtype=F64),
        tgs.zeros((), dtype=F64),
    )
    h = unit.init_state(B)
    for t in range(T):
        with tgs.time_step(t):
            h = unit(xs[t], tgs.cut(h) if t == 2 else h)
            total = total + (h * h).sum()
    return total, (unit, xs)


def transformer() -> Made:
    """Encoder and decoder with dropout, masks made on the way and a head."""
    unit = nn.Transformer(SIZE, 2, 1, 1, 8, dropout=0.2, dtype=F64)
    x, y = tgs.randn(T, B, SIZE, dtype=F64), tgs.randn(3, B, SIZE, dtype=F64)
    out = unit(x, y, tgt_mask=nn.Transformer.generate_square_subsequent_mask(3))
    return (out * out).sum(), (unit, x, y)


def encoder(**how: Any) -> Made:
    """One layer of an encoder."""
    unit, x = (
        nn.TransformerEncoderLayer(SIZE, 2, 8, dropout=0.0, dtype=F64, **how),
        tgs.randn(T, B, SIZE, dtype=F64),
    )
    out = unit(x)
    return (out * out).sum(), (unit, x)


def characters() -> Made:
    """Ids of NumPy that are gone, an embedding, an LSTM, a head, cross-entropy."""
    parts = nn.Embedding(7, SIZE, dtype=F64), nn.LSTM(SIZE, SIZE, dtype=F64), nn.Linear(SIZE, 7, dtype=F64)
    ids = np.arange(T + 1)[:, None] % 7
    logits = parts[2](parts[1](parts[0](ids[:-1]))[0])
    return tgs.functional.cross_entropy(logits.reshape(-1, 7), ids[1:].reshape(-1)), parts


DEEP = {"num_layers": 2, "bidirectional": True}
MODELS: dict[str, Callable[[], Made]] = {
    "rnn": lambda: recurrent(nn.RNN, {}, {}),
    "gru": lambda: recurrent(nn.GRU, {}, {}),
    "lstm": lambda: recurrent(nn.LSTM, {}, {}),
    "rnn, 2 layers, both ways": lambda: recurrent(nn.RNN, DEEP, {}),
    "gru, 2 layers, both ways": lambda: recurrent(nn.GRU, DEEP, {}),
    "lstm, 2 layers, both ways, dropout": lambda: recurrent(nn.LSTM, {**DEEP, "dropout": 0.3}, {}),
    "lstm, lengths": lambda: recurrent(nn.LSTM, DEEP, {"lengths": [4, 2]}),
    "gru, batch first": lambda: recurrent(nn.GRU, {"batch_first": True}, {}),
    "windows": truncated,
    "a cut": cut,
    "encoder": encoder,
    "encoder, norm first": lambda: encoder(norm_first=True),
    "transformer": transformer,
    "characters": characters,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("composed", [False, True])
def test_colors_after_backward_are_those_of_before(name: str, composed: bool) -> None:
    """Also where the layer has looked at the data through views that nobody keeps, and made masks of its own."""
    with tgs.composed() if composed else recording(True):
        loss, alive = MODELS[name]()
    before = colors(loss)
    assert len([g for g in before if g]) > 5
    loss.backward()
    gc.collect()
    after = colors(loss)
    assert [g is None for g in after] == [g is None for g in before]
    np.testing.assert_allclose([g or 0.0 for g in after], [g or 0.0 for g in before], rtol=1e-9, atol=0)
    backward = draw(loss, which="both", color="grad", level="op").graph.nodes
    assert {"forward", "backward"} <= {n.phase for n in backward}
    del alive


def changes(w: Tensor) -> dict[str, Callable[[], object]]:
    """All ways in which a weight gets another value."""

    def less() -> None:
        nonlocal w
        w -= 0.1

    def inside(write: Callable[[], object]) -> Callable[[], object]:
        return recording(False)(write)

    return {
        "-=": inside(less),
        "assign": lambda: w.assign(-w.numpy()),
        "data": lambda: setattr(w, "data", -w.numpy()),
        "written to data": lambda: w.data.__setitem__(0, 3.0),
        "an item": inside(lambda: w.__setitem__(0, 3.0)),
        "copy_": inside(lambda: w.copy_(w * -1.0)),
        "SGD": optim.SGD([w], lr=0.1).step,
        "AdamW": optim.AdamW([w], lr=0.1).step,
    }


@pytest.mark.parametrize("way", changes(Tensor(1.0)))
def test_a_weight_that_has_changed_is_said(way: str) -> None:
    """Whatever changed it, though the loss of the new value be the same: its norms are not those of before."""
    w, x = Tensor(np.full((3, 3), 0.5), requires_grad=True, name="w"), Tensor(np.ones((2, 3)), name="x")
    h = (x @ w).tanh()
    loss = (h * h).sum()
    loss.backward()
    changes(w)[way]()
    for asked in ({"color": "grad"}, {"which": "backward"}, {"which": "both", "color": "grad"}):
        with pytest.raises(GraphError) as caught:
            draw(loss, **asked)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "draw: the graph cannot be run again, for w was changed since.\n"
            "  Draw before backward(), or call backward(retain_graph=True)."
        )
    shown = draw(loss, values=True)
    assert shown.folded.note == (
        "the graph cannot be run again, for w was changed since: some values are missing"
    )
    assert not [n for n in shown.graph.nodes if n.label == "w" and n.numbers]
    again = (x @ w).tanh().sum()  # what is recorded from now on reads the new value
    before = colors(again)
    again.backward()
    assert colors(again) == before


def test_data_that_is_renamed_or_written_to() -> None:
    """`x += 1` leaves the tape its numbers; what is written into them is said, also where nobody has noted it."""
    w = Tensor(np.full((3, 3), 0.5), requires_grad=True, name="w")
    x = Tensor(np.ones((2, 3)), name="x")
    loss = (x @ w).tanh().sum()
    before = colors(loss)
    loss.backward()
    x += 1.0
    assert colors(loss) == before
    x = Tensor(np.ones((2, 3)), name="x")
    loss = (x.T @ w[:2]).tanh().sum() + (x @ w).sum()
    loss.backward()
    x[0] = 5.0
    with pytest.raises(GraphError, match="was changed since"):
        draw(loss, color="grad")
    x = Tensor(np.ones((2, 3)))
    loss = (x @ w).tanh().sum()
    loss.backward()
    x.array[0] = 5.0  # behind our back
    with pytest.raises(GraphError, match="cannot be run again, for it comes to another value than before"):
        draw(loss, color="grad")


def test_memory_of_arrays() -> None:
    """Views of what lives are had again; small arrays and one number many times are kept; the rest is not."""
    size = Memory.KEPT // 8 + 1
    large = np.arange(float(size * 4)).reshape(2, -1)
    repeated = np.broadcast_to(large[1], large.shape)
    for view in (
        large,
        large.reshape(-1, 2),
        repeated,
        large[0],
        large[:, ::-2],
        large.T,
        large[1:, None, 3:900:7],
        large[:0],
        large[::-1, ::-1],
    ):
        found = Memory(view).array()
        np.testing.assert_array_equal(found, view)
        assert found.strides == view.strides
        assert not view.size or np.shares_memory(found, large)
    kept = [Memory(large[:, 5:9]), Memory(large)]
    del large, view, found, repeated
    gc.collect()
    assert [m.array() for m in kept] == [None, None]
    small = Memory(np.arange(6.0)[::2])
    zeros, signed = (
        Memory(np.zeros((size, 2), np.float32)),
        Memory(np.zeros(size) * np.r_[-1.0, np.ones(size - 1)]),
    )
    mixed = np.zeros(size * 4)
    mixed[1] = 1.0
    other = Memory(mixed)
    del mixed
    assert small.array().tolist() == [0.0, 2.0, 4.0]
    assert zeros.array().shape == (size, 2)
    assert not zeros.array().any()
    assert zeros.array().base.nbytes <= 8
    assert signed.array() is None
    assert other.array() is None
