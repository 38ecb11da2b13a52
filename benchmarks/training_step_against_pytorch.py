"""One training step of a character model, eager: ours beside PyTorch with `LSTMCell` in a loop, and with `LSTM`.

    pip install torch==2.13.0
    python benchmarks/training_step_against_pytorch.py

Embedding, LSTM of one layer, linear, cross-entropy, as in `models.CharLM`, H 128, V 65, float32. A step is:
zero_grad, forward and loss, backward, clip_grad_norm_(1.0), AdamW with its defaults (`--fused-adamw` lets PyTorch
use its fused one), and reading the loss. All sides start from the same weights and see the same ids; their first
losses must agree to 1e-4 before anything is timed. Each side has a process of its own and they take turns
(`in_turn.py` says why); a turn is the median of 10 or more steps, the ratios are those of neighbouring turns,
median and quartiles, below 1 where ours is quicker.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import in_turn
import numpy as np

VOCABULARY, HIDDEN, STEPS = 65, 128, 64
BATCHES = (32, 1)
SIDES = ("ours", "LSTMCell", "LSTM")
PHASES = ("forward", "backward", "optimiser")
FUSED_ADAMW = "BENCHMARK_FUSED_ADAMW"  # tells the children
Parts = tuple[Callable[[Any, Any], Any], list[Any], Any, Callable[..., Any]]  # loss, parameters, rule, clip


def weights() -> dict[str, Any]:
    """By PyTorch's names, drawn as our layers and PyTorch's draw them."""
    rng = np.random.default_rng(0)
    bound = HIDDEN**-0.5
    shapes = {
        "lstm.weight_ih_l0": (4 * HIDDEN, HIDDEN),
        "lstm.weight_hh_l0": (4 * HIDDEN, HIDDEN),
        "lstm.bias_ih_l0": (4 * HIDDEN,),
        "lstm.bias_hh_l0": (4 * HIDDEN,),
        "head.weight": (VOCABULARY, HIDDEN),
        "head.bias": (VOCABULARY,),
    }
    drawn = {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}
    drawn["embedding.weight"] = rng.standard_normal((VOCABULARY, HIDDEN))
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def our_parts() -> Parts:
    import tinygrad_seq as tgs
    from tinygrad_seq.models import CharLM

    model = CharLM(VOCABULARY, HIDDEN)
    model.load_state_dict(weights())
    parameters = list(model.parameters())
    return (
        lambda ids, targets: model.loss(ids, targets)[0],
        parameters,
        tgs.optim.AdamW(parameters),
        tgs.optim.clip_grad_norm_,
    )


def their_parts(side: str) -> Parts:
    import torch
    from torch import nn

    drawn = {name: torch.tensor(array) for name, array in weights().items()}
    embedding, head = nn.Embedding(VOCABULARY, HIDDEN), nn.Linear(HIDDEN, VOCABULARY)
    lstm = nn.LSTM(HIDDEN, HIDDEN) if side == "LSTM" else nn.LSTMCell(HIDDEN, HIDDEN)
    for name, module in (("embedding", embedding), ("lstm", lstm), ("head", head)):
        own = {k.removeprefix(f"{name}."): v for k, v in drawn.items() if k.startswith(f"{name}.")}
        if side == "LSTMCell":
            own = {k.removesuffix("_l0"): v for k, v in own.items()}
        module.load_state_dict(own)

    def in_a_loop(x: Any) -> Any:
        h = c = torch.zeros(x.shape[1], HIDDEN)
        outs = []
        for x_t in x:
            h, c = lstm(x_t, (h, c))
            outs.append(h)
        return torch.stack(outs)

    def loss(ids: Any, targets: Any) -> Any:
        x = embedding(ids)
        out = lstm(x)[0] if side == "LSTM" else in_a_loop(x)
        return nn.functional.cross_entropy(head(out).reshape(-1, VOCABULARY), targets.reshape(-1))

    parameters = [p for module in (embedding, lstm, head) for p in module.parameters()]
    fused = True if os.environ.get(FUSED_ADAMW) else None
    return loss, parameters, torch.optim.AdamW(parameters, fused=fused), nn.utils.clip_grad_norm_


def child(side: str) -> None:
    if side == "ours":
        import tinygrad_seq

        tensor = tinygrad_seq.tensor
    else:
        import torch

        tensor = torch.tensor
    learners: dict[int, Callable[[], dict[str, float]]] = {}

    def answer(request: Any) -> Any:
        what, batch = request
        if batch not in learners:
            learners[batch] = learner(side, batch, tensor)
        if what == "losses":
            return [learners[batch]()["loss"] for _ in range(5)]
        return in_turn.repeated(learners[batch])

    in_turn.serve(answer)


def learner(side: str, batch: int, tensor: Callable[[Any], Any]) -> Callable[[], dict[str, float]]:
    """A function that does the next step and says how many milliseconds its parts took, and the loss."""
    loss_of, parameters, optimiser, clip = our_parts() if side == "ours" else their_parts(side)
    texts = np.random.default_rng(1).integers(0, VOCABULARY, (8, STEPS + 1, batch))
    windows = itertools.cycle([(tensor(t[:-1].copy()), tensor(t[1:].copy())) for t in texts])
    clock = time.perf_counter

    def step() -> dict[str, float]:
        ids, targets = next(windows)
        start = clock()
        optimiser.zero_grad()
        loss = loss_of(ids, targets)
        value = loss.item()
        middle = clock()
        loss.backward()
        walked = clock()
        clip(parameters, 1.0)
        optimiser.step()
        stop = clock()
        # What the loss still holds of its tape is freed with it, and counts as part of backward.
        del loss
        freed = clock() - stop
        marks = (middle - start, walked - middle + freed, stop - walked)
        found = {name: 1e3 * seconds for name, seconds in zip(PHASES, marks, strict=True)}
        return found | {"step": sum(marks) * 1e3, "loss": value}

    return step


def measure(threads: int, turns: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}; milliseconds a step; ratios ours / it")
    print(f"{'side':10s} {'step':>20s}" + "".join(f" {phase:>16s}" for phase in PHASES) + f" {'ratio':>18s}")
    with in_turn.children(list(SIDES), threads) as made:
        for batch in BATCHES:
            losses = np.array([c.ask(["losses", batch]) for c in made])
            apart = float(np.ptp(losses, axis=0).max())
            if not apart <= 1e-4:
                raise SystemExit(f"B {batch}: the losses of the first steps differ by {apart:.1e}: {losses}")
            print(f"B {batch}, T {STEPS}, H {HIDDEN}, V {VOCABULARY}: first five losses agree to {apart:.0e}")
            answers = in_turn.take_turns(made, ["time", batch], turns)
            ours = [a["step"] for a in answers[0]]
            for side, column in zip(SIDES, answers, strict=True):
                times = [a["step"] for a in column]
                low, middle, high = in_turn.quartiles(times)
                cells = []
                for phase in PHASES:
                    own = in_turn.quartiles([a[phase] for a in column])[1]
                    share = in_turn.quartiles([a[phase] / a["step"] for a in column])[1]
                    cells.append(f" {f'{own:.2f} ({share:.0%})':>16s}")
                ratio = "" if side == "ours" else in_turn.ratio(ours, times)
                print(
                    f"{side:10s} {f'{middle:.2f} ({low:.2f}-{high:.2f})':>20s}{''.join(cells)} {ratio:>18s}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--fused-adamw", action="store_true", help="PyTorch's AdamW(fused=True)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child)
    if args.fused_adamw:
        os.environ[FUSED_ADAMW] = "1"
    rule = "PyTorch's AdamW fused" if args.fused_adamw else "PyTorch's AdamW as it comes"
    print(in_turn.circumstances("numpy", "numba", "torch"), rule, sep="; ")
    for threads in args.threads:
        measure(threads, args.turns)
    return None


if __name__ == "__main__":
    main()
