"""Characters per second while sampling one text: `sample` beside PyTorch, batch 1, the same weights.

    pip install torch==2.13.0
    python benchmarks/sampling_against_pytorch.py --threads 1 --turns 5

Each side has a process of its own and they take turns (`in_turn.py` says why): medians and quartiles over turns,
and the ratios of neighbouring turns. PyTorch's LSTM is nn.LSTM, one step a call; its GPT is written out with a
cache of keys and values, and starts its window again from the last half as ours does. Both draw at temperature 1,
PyTorch by torch.multinomial. oneDNN, which PyTorch uses unless it is switched off, makes single steps of nn.LSTM
several times slower than PyTorch's own code, so both are measured. The logits of all must agree along a text of 150
symbols. Ours is timed as it is called: recording the step, laying out the weights and making text of ids are in the
time. `--before` adds the model called with Tensors for each character, as `sample` did before its step was recorded.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import in_turn
import numpy as np

SIZES = {"LSTM 1x128": (128, 1), "LSTM 2x256": (256, 2), "LSTM 2x512": (512, 2), "GPT 4x128, block 64": None}
SYMBOLS, CHECKED = 65, 150
Side = tuple[Callable[[int], float], Callable[[Any], Any]]


def model_of(name: str) -> Any:
    from tinygrad_seq import Generator
    from tinygrad_seq.models import GPT, CharLM

    size = SIZES[name]
    return GPT(SYMBOLS, rng=Generator(0)) if size is None else CharLM(SYMBOLS, *size, rng=Generator(0))


def ours(name: str, replay: bool) -> Side:
    from tinygrad_seq import Generator
    from tinygrad_seq.data import Vocabulary
    from tinygrad_seq.sampling import DecodingConfig, Sampler
    from tinygrad_seq.sampling.stepper import Stepper

    model, vocabulary = model_of(name), Vocabulary("".join(map(chr, range(33, 33 + SYMBOLS))))

    def run(n: int) -> float:
        start = time.perf_counter()
        sampler = Sampler(model, vocabulary, DecodingConfig(temperature=1.0))
        sampler.stepper = Stepper(model, replay=replay)
        text = "".join(sampler.text("!", n, rng=Generator(1)))
        assert len(text) == n
        return n / (time.perf_counter() - start)

    def logits(ids: Any) -> Any:
        stepper = Stepper(model, replay=replay)
        found, at = stepper.start(ids[:1])
        rows = [found]
        for i in ids[1:].tolist():
            found, at = stepper.step(i, at)
            rows.append(found)
        return np.array(rows)

    return run, logits


def theirs(name: str, threads: int, onednn: bool) -> Side:
    import torch

    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn
    weights = {k: torch.tensor(p.numpy().copy()) for k, p in model_of(name).state_dict().items()}
    step = _torch_gpt(torch, weights) if SIZES[name] is None else _torch_lstm(torch, weights, *SIZES[name])

    def run(n: int) -> float:
        symbol, state, found = torch.zeros(1, 1, dtype=torch.long), None, []
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(n):
                logits, state = step(symbol, state)
                symbol = torch.multinomial(torch.softmax(logits, -1), 1)
                found.append(symbol.item())
        return n / (time.perf_counter() - start)

    def logits(ids: Any) -> Any:
        rows, state = [], None
        with torch.inference_mode():
            for i in ids.tolist():
                found, state = step(torch.tensor([[i]]), state)
                rows.append(found.numpy().reshape(-1))
        return np.array(rows)

    return run, logits


def _torch_lstm(torch: Any, weights: Any, hidden: int, layers: int) -> Any:
    embedding = torch.nn.Embedding(SYMBOLS, hidden)
    lstm, head = torch.nn.LSTM(hidden, hidden, layers), torch.nn.Linear(hidden, SYMBOLS)
    for module, prefix in ((embedding, "embedding."), (lstm, "lstm."), (head, "head.")):
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        )

    def step(symbol: Any, state: Any) -> Any:
        h, state = lstm(embedding(symbol), state)
        return head(h[0]), state

    return step


def _torch_gpt(torch: Any, w: Any, block: int = 64, layers: int = 4, heads: int = 4) -> Any:
    F = torch.nn.functional

    def through(ids: Any, cache: Any) -> Any:
        past = 0 if cache is None else cache[0][0].shape[2]
        x = w["embedding.weight"][ids] + w["positions.weight"][past : past + ids.shape[1]]
        kept = []
        for k in range(layers):
            p = f"blocks.layers.{k}."
            y = F.layer_norm(x, x.shape[-1:], w[p + "norm1.weight"], w[p + "norm1.bias"])
            qkv = F.linear(y, w[p + "self_attn.in_proj_weight"], w[p + "self_attn.in_proj_bias"])
            query, key, value = (t.view(1, ids.shape[1], heads, -1).transpose(1, 2) for t in qkv.chunk(3, -1))
            if cache is not None:
                key, value = torch.cat([cache[k][0], key], 2), torch.cat([cache[k][1], value], 2)
            kept.append((key, value))
            y = F.scaled_dot_product_attention(query, key, value, is_causal=ids.shape[1] > 1)
            y = y.transpose(1, 2).reshape(x.shape)
            x = x + F.linear(y, w[p + "self_attn.out_proj.weight"], w[p + "self_attn.out_proj.bias"])
            y = F.layer_norm(x, x.shape[-1:], w[p + "norm2.weight"], w[p + "norm2.bias"])
            y = F.gelu(F.linear(y, w[p + "linear1.weight"], w[p + "linear1.bias"]))
            x = x + F.linear(y, w[p + "linear2.weight"], w[p + "linear2.bias"])
        x = F.layer_norm(x[:, -1:], x.shape[-1:], w["blocks.norm.weight"], w["blocks.norm.bias"])
        return F.linear(x, w["head.weight"])[0], kept

    def step(symbol: Any, state: Any) -> Any:
        seen, cache = state or ([], None)
        if len(seen) == block:
            seen, cache = seen[-(block // 2) :], None
            ids = torch.cat([*seen, symbol], 1)
        else:
            ids = symbol
        logits, cache = through(ids, cache)
        return logits, ([*seen, symbol], cache)

    return step


def child(side: str, threads: int) -> None:
    @functools.cache
    def case(name: str) -> Side:
        if side.startswith("torch"):
            return theirs(name, threads, side == "torch")
        return ours(name, side == "ours")

    def answer(request: Any) -> Any:
        name, n = request
        run, logits = case(name)
        if n:
            return run(n)
        ids = np.random.default_rng(0).integers(0, SYMBOLS, CHECKED)
        return logits(ids).astype(np.float64).tolist()

    in_turn.serve(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("-n", type=int, default=1000, help="characters a turn (default 1000)")
    parser.add_argument("--before", action="store_true", help="also the model called for each character")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, int(os.environ["OMP_NUM_THREADS"]))
    sides = ["ours", "torch", "torch, oneDNN off", *["before"] * args.before]
    print(in_turn.circumstances("numpy", "numba", "torch"))
    print(
        f"{args.threads} thread{'s' * (args.threads > 1)}; {args.n:,} characters a turn; characters per second"
    )
    with in_turn.children(sides, args.threads) as made:
        for name in SIZES:
            rows = [np.array(one.ask([name, 0])) for one in made]
            off = max(np.abs(rows[0] - row).max() for row in rows)
            if not off <= 1e-4 * np.abs(rows[0]).max():
                raise SystemExit(f"{name}: the logits differ by {off}")
            answers = in_turn.take_turns(made, [name, args.n], args.turns)
            print(name)
            for side, column in zip(sides, answers, strict=True):
                low, middle, high = in_turn.quartiles(column)
                ratio = in_turn.ratio(answers[0], column)
                print(f"  {side:17s} {middle:8,.0f} ({low:,.0f}-{high:,.0f})  ours / it {ratio}")
    return None


if __name__ == "__main__":
    main()
