"""Every kind of picture: python demos/draw_everything.py [FOLDER [NAME ...]], without a folder into docs/pictures.

One LSTM step op by op and as a cell, 64 steps folded, 6 unrolled, rolled up, truncated with its cuts, the backward
pass with the sum of W_hh, gradients of an RNN and an LSTM side by side, a GRU, a Transformer, a character model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.models import CharLM
from tinygrad_seq.viz import Picture

RNG = tgs.Generator(0, "init")
BEGUN = RNG.state_dict()
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"


def sequence(steps: int) -> tgs.Tensor:
    return RNG.randn(steps, 2, 3)


def step_of_ops() -> Picture:
    with tgs.composed():
        return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(1), level="op")


def step_of_gates() -> Picture:
    with tgs.composed():
        return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(1), level="gate")


def lesson() -> Picture:
    """One step of an LSTM in the letters of its formulas."""
    return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(1), level="lesson")


def lstm_cell() -> Picture:
    """The same of a cell, narrow enough for a telephone."""
    with tgs.time_step(0):
        return tgs.draw(nn.LSTMCell(8, 16, bias=False, rng=RNG), RNG.randn(1, 8), level="lesson")


def named_values() -> Picture:
    """Names of one's own, and the numbers of values and gradients."""
    x, h = tgs.Tensor([[1.0, -2.0]], name="x"), tgs.zeros(1, 2)
    w = tgs.Tensor([[0.5, 0.1], [0.2, 0.3]], requires_grad=True)
    for t in range(2):
        with tgs.time_step(t):
            h = (x + h @ w).tanh()
            h.name = f"h_{t}"
    loss = (h * h).sum()
    return tgs.draw(loss, values=True, names={"w": w, "loss": loss})


def step_as_cell() -> Picture:
    return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(1), level="cell")


def folded() -> Picture:
    return tgs.draw(nn.LSTM(3, 4, 2, rng=RNG), sequence(64))


def unrolled() -> Picture:
    return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(6))


def rolled() -> Picture:
    return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(64), view="rolled")


def opened() -> Picture:
    return tgs.draw(nn.LSTM(3, 4, rng=RNG), sequence(2), level="op", expand="lstm_gates")


def truncated() -> Picture:
    rnn, losses = nn.RNNCell(3, 4, rng=RNG), []

    def step(x: tgs.Tensor, h: tgs.Tensor) -> tuple[tgs.Tensor, tgs.Tensor]:
        h = rnn(x, h)
        losses.append((h * h).sum())
        return losses[-1], h

    tgs.bptt.TruncatedBPTT(16, 16).run(step, sequence(64), tgs.zeros(2, 4))
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return tgs.draw(total, level="cell")


def gradients_behind_cuts() -> Picture:
    w, h, loss = nn.Parameter(tgs.eye(3).numpy() * 0.9, name="w"), RNG.randn(2, 3), tgs.zeros(())
    h.requires_grad_()
    h.name = "h0"
    with tgs.scope("rnn"):
        for t in range(64):
            with tgs.time_step(t):
                h = tgs.cut(h) if t and t % 16 == 0 else h
                h = (h @ w).tanh()
                if t % 16 == 15 and t > 40:
                    loss = loss + (h * h).sum()
    return tgs.draw(loss, color="grad")


def backward() -> Picture:
    return tgs.draw(nn.RNN(3, 4, rng=RNG)(sequence(5))[0].sum(), which="backward")


def backward_folded() -> Picture:
    return tgs.draw(nn.RNN(3, 4, rng=RNG)(sequence(64))[0].sum(), which="backward")


def backward_cut() -> Picture:
    w, h, losses = nn.Parameter(RNG.randn(3, 3).numpy() * 0.5, name="w"), tgs.ones(2, 3), []
    with tgs.scope("rnn"):
        for t in range(6):
            with tgs.time_step(t):
                h = (h.detach() if t == 3 else h) @ w
                h = h.tanh()
                if t in (2, 5):
                    losses.append((h * h).sum())
    return tgs.draw(losses[0] + losses[1], which="backward")


def windows() -> Picture:
    layer, state, losses = nn.GRU(3, 4, rng=RNG), None, []
    for _ in range(3):
        out, state = layer(sequence(8), state)
        losses.append((out * out).sum())
        state = tgs.detach(state)
    return tgs.draw(*losses, level="cell")


def both() -> Picture:
    return tgs.draw(nn.RNN(3, 4, rng=RNG)(sequence(3))[0].sum(), which="both")


def rnn_beside_lstm() -> Picture:
    xs = sequence(64)
    with tgs.scope("RNN"):
        of_rnn = nn.RNN(3, 8, rng=RNG)(xs)[0][-1].sum()
    with tgs.scope("LSTM"):
        of_lstm = nn.LSTM(3, 8, forget_bias=1.0, rng=RNG)(xs)[0][-1].sum()
    return tgs.draw(of_rnn, of_lstm, color="grad", level="cell")


def gru() -> Picture:
    with tgs.composed():
        return tgs.draw(nn.GRU(3, 4, rng=RNG), sequence(2), level="gate")


def transformer() -> Picture:
    model = nn.Transformer(8, 2, 6, 6, 16, dropout=0.0)
    return tgs.draw(model, RNG.randn(5, 2, 8), RNG.randn(4, 2, 8), level="cell", collapse="layers.[1-9]*")


def char_model() -> Picture:
    return tgs.draw(CharLM(30, 16, 2, rng=RNG), level="cell")


PICTURES: dict[str, Callable[[], Picture]] = {
    fn.__name__: fn
    for fn in (
        lesson, lstm_cell, named_values, step_of_ops, step_as_cell, folded, unrolled, rolled, truncated,
        gradients_behind_cuts, backward,
        rnn_beside_lstm, gru, transformer, char_model,
    )
}  # fmt: skip
MORE: dict[str, Callable[[], Picture]] = {
    fn.__name__: fn for fn in (step_of_gates, opened, backward_folded, backward_cut, both, windows)
}


def main(names: list[str], folder: Path = FOLDER, endings: tuple[str, ...] = (".svg",)) -> None:
    """Draw those named, or all that the documents show."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (PICTURES | MORE).items():
        if name in names or (not names and (name in PICTURES or len(endings) > 1)):
            tgs.manual_seed(0)
            RNG.load_state_dict(BEGUN)  # so that a picture is the same whichever were drawn before it
            picture = make()
            for ending in endings:
                picture.save(folder / (name + ending))
            print(
                f"{name:<22} {len(picture.graph.nodes):>5} nodes, {len(picture.folded.nodes):>4} after folding"
            )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[2:], Path(sys.argv[1]), (".svg", ".png"))
    else:
        main([])
