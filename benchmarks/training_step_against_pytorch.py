"""One training step of a character model, eager: ours beside PyTorch written out and PyTorch ready-made.

    pip install torch==2.13.0
    python benchmarks/training_step_against_pytorch.py

| model | ours | written out | ready-made |
|---|---|---|---|
| rnn, gru, lstm | `CharLM` | `RNNCell`, `GRUCell`, `LSTMCell` in a loop | `RNN`, `GRU`, `LSTM` |
| gpt | `GPT` | linear layers and `scaled_dot_product_attention` | `TransformerEncoder` |

Recurrent: embedding, one layer, linear, cross-entropy, B 32 and B 1, T 64, H 128. GPT: 4 layers, 4 heads, width 128,
block 64, B 12, no dropout, the head tied to the embedding. V 65, float32. A step is: zero_grad, forward and loss,
backward, clip_grad_norm_(1.0), AdamW with its defaults (`--fused-adamw` lets PyTorch use its fused one), and reading
the loss. All sides start from the same weights and see the same ids; their first five losses must agree to 1e-4
before anything is timed. Each side has a process of its own and they take turns (`in_turn.py` says why); a turn is
the median of 10 or more steps; the ratios are those of neighbouring turns, median and quartiles, below 1 where ours
is quicker.
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
LAYERS, HEADS = 4, 4
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
BATCHES = {"rnn": (32, 1), "gru": (32, 1), "lstm": (32, 1), "gpt": (12,)}
SIDES = ("ours", "written out", "ready-made")
PHASES = ("forward", "backward", "optimizer")
FUSED_ADAMW = "BENCHMARK_FUSED_ADAMW"  # tells the children
Parts = tuple[Callable[[Any, Any], Any], list[Any], Any, Callable[..., Any]]  # loss, parameters, rule, clip


def shapes_of(model: str) -> dict[str, tuple[int, ...]]:
    """The shape of each weight, by the names that both libraries give it."""
    H = HIDDEN
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (VOCABULARY, H)}
    if model in GATES:
        rows = GATES[model] * H
        for name, shape in (("weight_ih", (rows, H)), ("weight_hh", (rows, H)), ("bias_ih", (rows,))):
            shapes[f"{model}.{name}_l0"] = shape
        shapes[f"{model}.bias_hh_l0"] = (rows,)
        return shapes | {"head.weight": (VOCABULARY, H), "head.bias": (VOCABULARY,)}
    shapes["positions.weight"] = (STEPS, H)
    inner = {"self_attn.in_proj_": (3 * H, H), "self_attn.out_proj.": (H, H)}
    inner |= {"linear1.": (4 * H, H), "linear2.": (H, 4 * H), "norm1.": (H,), "norm2.": (H,)}
    for layer in range(LAYERS):
        for name, shape in inner.items():
            shapes |= {f"blocks.layers.{layer}.{name}weight": shape}
            shapes |= {f"blocks.layers.{layer}.{name}bias": shape[:1]}
    return shapes | {"blocks.norm.weight": (H,), "blocks.norm.bias": (H,)}


def weights(model: str) -> dict[str, Any]:
    """Drawn about as both libraries draw them; no bias is zero."""
    rng = np.random.default_rng(0)
    drawn = {}
    for name, shape in shapes_of(model).items():
        scale = 1.0 if model in GATES and name == "embedding.weight" else 0.05
        middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        drawn[name] = (middle + scale * rng.standard_normal(shape)).astype(np.float32)
    if model == "gpt":
        drawn["head.weight"] = drawn["embedding.weight"]
    return drawn


def our_parts(model: str) -> Parts:
    import tinygrad_seq as tgs
    from tinygrad_seq.models import GPT, CharLM

    made = (
        GPT(VOCABULARY, STEPS, LAYERS, HEADS, HIDDEN)
        if model == "gpt"
        else CharLM(VOCABULARY, HIDDEN, cell=model)
    )
    made.load_state_dict(weights(model))
    parameters = list(made.parameters())
    return (
        lambda ids, targets: made.loss(ids, targets)[0],
        parameters,
        tgs.optim.AdamW(parameters),
        tgs.optim.clip_grad_norm_,
    )


def their_parts(side: str, model: str) -> Parts:
    import torch
    from torch import nn

    net, loss = (their_gpt if model == "gpt" else their_recurrent)(model, side == "ready-made")
    parameters = list(net.parameters())
    fused = True if os.environ.get(FUSED_ADAMW) else None
    return loss, parameters, torch.optim.AdamW(parameters, fused=fused), nn.utils.clip_grad_norm_


def their_recurrent(model: str, ready: bool) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Embedding, cells in a loop or the layer, linear; and the loss."""
    import torch
    from torch import nn

    name = model.upper() if ready else f"{model.upper()}Cell"
    parts = {
        "embedding": nn.Embedding(VOCABULARY, HIDDEN),
        model: getattr(nn, name)(HIDDEN, HIDDEN),
        "head": nn.Linear(HIDDEN, VOCABULARY),
    }
    net = nn.ModuleDict(parts)
    own = {k if ready else k.removesuffix("_l0"): torch.tensor(v) for k, v in weights(model).items()}
    net.load_state_dict(own)
    embedding, layer, head = parts.values()
    pair = model == "lstm"

    def in_a_loop(x: Any) -> Any:
        h = c = torch.zeros(x.shape[1], HIDDEN)
        outs = []
        for x_t in x:
            if pair:
                h, c = layer(x_t, (h, c))
            else:
                h = layer(x_t, h)
            outs.append(h)
        return torch.stack(outs)

    def loss(ids: Any, targets: Any) -> Any:
        x = embedding(ids)
        out = layer(x)[0] if ready else in_a_loop(x)
        return nn.functional.cross_entropy(head(out).reshape(-1, VOCABULARY), targets.reshape(-1))

    return net, loss


def their_gpt(model: str, ready: bool) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The same GPT, written out as people write it, or from `TransformerEncoder`; and the loss."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    layer = nn.TransformerEncoderLayer(
        HIDDEN, HEADS, 4 * HIDDEN, 0.0, "gelu", batch_first=True, norm_first=True
    )
    blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(HIDDEN), enable_nested_tensor=False)
    embedding, positions = nn.Embedding(VOCABULARY, HIDDEN), nn.Embedding(STEPS, HIDDEN)
    head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
    head.weight = embedding.weight
    net = nn.ModuleDict({"embedding": embedding, "positions": positions, "blocks": blocks, "head": head})
    net.load_state_dict({name: torch.tensor(array) for name, array in weights(model).items()})
    mask, at = nn.Transformer.generate_square_subsequent_mask(STEPS), torch.arange(STEPS)

    def written_out(x: Any) -> Any:
        B, T, H = x.shape
        for block in blocks.layers:
            own = block.self_attn
            qkv = F.linear(block.norm1(x), own.in_proj_weight, own.in_proj_bias)
            q, k, v = (z.view(B, T, HEADS, H // HEADS).transpose(1, 2) for z in qkv.chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + own.out_proj(y.transpose(1, 2).reshape(B, T, H))
            x = x + block.linear2(F.gelu(block.linear1(block.norm2(x))))
        return blocks.norm(x)

    def loss(ids: Any, targets: Any) -> Any:
        x = embedding(ids.T) + positions(at)
        x = blocks(x, mask, is_causal=True) if ready else written_out(x)
        return F.cross_entropy(head(x).reshape(-1, VOCABULARY), targets.T.reshape(-1))

    return net, loss


def child(side: str) -> None:
    if side == "ours":
        import tinygrad_seq

        tensor = tinygrad_seq.tensor
    else:
        import torch

        tensor = torch.tensor
    learners: dict[tuple[str, int], Callable[[], dict[str, float]]] = {}

    def answer(request: Any) -> Any:
        what, model, batch = request
        if (model, batch) not in learners:
            learners[model, batch] = learner(side, model, batch, tensor)
        if what == "losses":
            return [learners[model, batch]()["loss"] for _ in range(5)]
        return in_turn.repeated(learners[model, batch])

    in_turn.serve(answer)


def learner(
    side: str, model: str, batch: int, tensor: Callable[[Any], Any]
) -> Callable[[], dict[str, float]]:
    """A function that does the next step and says how many milliseconds its parts took, and the loss."""
    loss_of, parameters, optimizer, clip = our_parts(model) if side == "ours" else their_parts(side, model)
    texts = np.random.default_rng(1).integers(0, VOCABULARY, (8, STEPS + 1, batch))
    windows = itertools.cycle([(tensor(t[:-1].copy()), tensor(t[1:].copy())) for t in texts])
    clock = time.perf_counter

    def step() -> dict[str, float]:
        ids, targets = next(windows)
        start = clock()
        optimizer.zero_grad()
        loss = loss_of(ids, targets)
        value = loss.item()
        middle = clock()
        loss.backward()
        walked = clock()
        clip(parameters, 1.0)
        optimizer.step()
        stop = clock()
        # What the loss still holds of its tape is freed with it, and counts as part of backward.
        del loss
        freed = clock() - stop
        marks = (middle - start, walked - middle + freed, stop - walked)
        found = {name: 1e3 * seconds for name, seconds in zip(PHASES, marks, strict=True)}
        return found | {"step": sum(marks) * 1e3, "loss": value}

    return step


def measure(models: list[str], threads: int, turns: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}; milliseconds a step; ratios ours / it")
    print(f"{'side':12s} {'step':>20s}" + "".join(f" {phase:>16s}" for phase in PHASES) + f" {'ratio':>18s}")
    found = []
    with in_turn.children(list(SIDES), threads) as made:
        for model, batch in [(m, b) for m in models for b in BATCHES[m]]:
            losses = np.array([c.ask(["losses", model, batch]) for c in made])
            apart = float(np.ptp(losses, axis=0).max())
            if not apart <= 1e-4:
                raise SystemExit(
                    f"{model}, B {batch}: the losses of the first steps differ by {apart:.1e}: {losses}"
                )
            print(f"{model}, B {batch}, T {STEPS}, H {HIDDEN}: first five losses agree to {apart:.0e}")
            answers = in_turn.take_turns(made, ["time", model, batch], turns)
            ratios = [in_turn.ratio([a["step"] for a in answers[0]], [a["step"] for a in c]) for c in answers]
            for side, column, ratio in zip(SIDES, answers, ["", *ratios[1:]], strict=True):
                print(row(side, column, ratio), flush=True)
            found.append(f"{f'{model}, B {batch}':12s}" + "".join(f" {ratio:>18s}" for ratio in ratios[1:]))
    print(f"\n{'ours beside':12s}" + "".join(f" {side:>18s}" for side in SIDES[1:]))
    print("\n".join(found))


def row(side: str, column: list[dict[str, float]], ratio: str) -> str:
    """One line of the table: medians and quartiles over turns, and each phase's share."""
    low, middle, high = in_turn.quartiles([a["step"] for a in column])
    cells = []
    for phase in PHASES:
        own = in_turn.quartiles([a[phase] for a in column])[1]
        share = in_turn.quartiles([a[phase] / a["step"] for a in column])[1]
        cells.append(f" {f'{own:.2f} ({share:.0%})':>16s}")
    return f"{side:12s} {f'{middle:.2f} ({low:.2f}-{high:.2f})':>20s}{''.join(cells)} {ratio:>18s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--models", choices=list(BATCHES), nargs="+", default=list(BATCHES))
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
        measure(args.models, threads, args.turns)
    return None


if __name__ == "__main__":
    main()
