"""Derived kernels beside PyTorch's: softmax, cross-entropy, layer norm, gelu and the gates of an LSTM.

    pip install torch==2.13.0
    python benchmarks/kernels_against_pytorch.py
    python benchmarks/kernels_against_pytorch.py --threshold

Public functions on float32 with recording on; backward is `grad(outputs, inputs, seeds, retain_graph=True)` on
either side, and freeing is not timed. Each side has a process of its own and they take turns (`in_turn.py` says
why); a turn is the median of 10 to 200 runs. Microseconds are medians over turns; ratios are ours / theirs of
neighbouring turns, median and quartiles, below 1 where ours is quicker. Before it is timed, each function is
checked: sums of its outputs and gradients agree with PyTorch's.

Then the gates of (32, 4x128) by kernel beside their composition run op by op in NumPy, both in one process, and
the bare kernels, called with arrays that are there already. `--threshold` measures where several threads begin to
pay: one process may use them for everything, one for nothing (`tinygrad_seq.fuser.threads`).
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import in_turn
import numpy as np

SHAPES = ((2048, 65), (2048, 256), (512, 4096))
GATES = ((32, 128), (64, 512))
FUNCTIONS = ("softmax", "log_softmax", "cross_entropy", "layer_norm", "gelu")
Case = tuple[Callable[..., Any], list[Any], list[Any]]  # function, inputs, seeds


# ---- one case on either side -------------------------------------------------------------------------------
def arrays_of(name: str, shape: list[int]) -> tuple[list[Any], list[Any], Any]:
    """Inputs that want a gradient, seeds, and ids: the same numbers on either side."""
    rng = np.random.default_rng(0)

    def normal(*sizes: int) -> Any:
        return rng.standard_normal(sizes).astype(np.float32)

    rows, width = shape
    if name == "lstm_gates":
        return (
            [normal(rows, 4 * width), normal(rows, 4 * width), normal(rows, width)],
            [normal(rows, width), normal(rows, width)],
            None,
        )
    inputs = [normal(rows, width)]
    if name == "layer_norm":
        inputs += [normal(width), normal(width)]
    seed = np.ones((), np.float32) if name == "cross_entropy" else normal(rows, width)
    return inputs, [seed], rng.integers(0, width, rows)


def our_case(name: str, shape: list[int]) -> Case:
    import tinygrad_seq as tgs
    from tinygrad_seq import functional as F
    from tinygrad_seq.nn.rnn.cells import lstm_gates

    inputs, seeds, ids = arrays_of(name, shape)
    target, width = tgs.tensor(ids) if ids is not None else None, shape[1]
    functions: dict[str, Callable[..., Any]] = {
        "lstm_gates": lstm_gates,
        "cross_entropy": lambda x: F.cross_entropy(x, target),
        "layer_norm": lambda x, w, b: F.layer_norm(x, width, w, b),
        "softmax": F.softmax,
        "log_softmax": F.log_softmax,
        "gelu": F.gelu,
    }
    return (
        functions[name],
        [tgs.tensor(a, requires_grad=True) for a in inputs],
        [tgs.tensor(s) for s in seeds],
    )


def their_case(name: str, shape: list[int]) -> Case:
    import torch
    from torch.nn import functional as F

    def gates(xw: Any, hu: Any, c: Any) -> tuple[Any, Any]:
        i, f, g, o = (xw + hu).chunk(4, 1)
        c2 = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c2), c2

    inputs, seeds, ids = arrays_of(name, shape)
    target, width = torch.tensor(ids) if ids is not None else None, shape[1]
    functions: dict[str, Callable[..., Any]] = {
        "lstm_gates": gates,
        "cross_entropy": lambda x: F.cross_entropy(x, target),
        "layer_norm": lambda x, w, b: F.layer_norm(x, (width,), w, b),
        "softmax": lambda x: F.softmax(x, -1),
        "log_softmax": lambda x: F.log_softmax(x, -1),
        "gelu": F.gelu,
    }
    return (
        functions[name],
        [torch.tensor(a, requires_grad=True) for a in inputs],
        [torch.tensor(s) for s in seeds],
    )


def timed(case: Case, grad: Callable[..., Any]) -> dict[str, float]:
    """Microseconds forward, backward and both."""
    fn, inputs, seeds = case
    start = time.perf_counter()
    outputs = fn(*inputs)
    middle = time.perf_counter()
    listed = outputs if isinstance(outputs, tuple) else (outputs,)
    before = time.perf_counter()
    gradients = grad(listed, inputs, seeds, retain_graph=True)
    stop = time.perf_counter()
    del gradients
    forward, backward = (middle - start) * 1e6, (stop - before) * 1e6
    return {"forward": forward, "backward": backward, "both": forward + backward}


def sums(case: Case, grad: Callable[..., Any]) -> list[list[float]]:
    """For each output and gradient the sum of its numbers and that of their sizes."""
    fn, inputs, seeds = case
    outputs = fn(*inputs)
    listed = outputs if isinstance(outputs, tuple) else (outputs,)
    found = [*listed, *grad(listed, inputs, seeds, retain_graph=True)]
    arrays = [x.detach().numpy().astype(np.float64) for x in found]
    return [[float(a.sum()), float(abs(a).sum())] for a in arrays]


# ---- the children ------------------------------------------------------------------------------------------
def child(side: str) -> None:
    if side == "theirs":
        import torch

        grad, case_of = torch.autograd.grad, functools.cache(lambda n, r, w: their_case(n, [r, w]))
    else:
        import tinygrad_seq as tgs
        from tinygrad_seq.fuser import threads

        if side != "ours":
            threads.WORTH_THREADS = 0.0
            threads.Race.choose = lambda race: side == "several"  # type: ignore[method-assign]
        grad, case_of = tgs.grad, functools.cache(lambda n, r, w: our_case(n, [r, w]))

    def answer(request: Any) -> Any:
        what, name, shape = request
        case = case_of(name, *shape)
        if what == "sums":
            return sums(case, grad)
        if what == "time":
            return in_turn.repeated(lambda: timed(case, grad))
        return {"composition": beside_composition, "work": forward_alone}[what](case)

    in_turn.serve(answer)


def forward_alone(case: Case) -> dict[str, float]:
    """Microseconds of the forward kernel without recording, and its work in nanoseconds as we estimate it."""
    import tinygrad_seq as tgs
    from tinygrad_seq.functional import activations

    fn, inputs, _ = case
    with tgs.no_grad():
        found = in_turn.repeated(lambda: {"us": lap(fn, *inputs)})
    cache = {activations.gelu: activations._gelu, activations.softmax: activations._softmax}[fn].kernels
    return found | {"work": list(cache.specializations.values())[-1].plain.cost}


def lap(fn: Callable[..., Any], *inputs: Any) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    result = fn(*inputs)
    stop = time.perf_counter()
    del result
    return (stop - start) * 1e6


def beside_composition(case: Case) -> dict[str, float]:
    """One turn of the gates in one process: by kernel, op by op, and the bare kernels."""
    import tinygrad_seq as tgs

    found = {}
    for way, context in (("fused", tgs.no_grad), ("composed", tgs.composed)):
        with context(), tgs.no_grad():
            found[f"{way} forward"] = in_turn.repeated(lambda: {"us": lap(case[0], *case[1])})["us"]
    found["fused both"] = in_turn.repeated(lambda: timed(case, tgs.grad))["both"]
    with tgs.composed():
        found["composed both"] = in_turn.repeated(lambda: timed(case, tgs.grad))["both"]
    cache = case[0].kernels  # type: ignore[attr-defined]
    for which in ("forward", "backward"):
        kernel, arguments = caught(cache.last[which], lambda: timed(case, tgs.grad))
        found[f"kernel {which}"] = in_turn.repeated(lambda k=kernel, a=arguments: {"us": lap(k, *a)})["us"]
    return found


def caught(kernel_of_plan: Any, run: Callable[[], Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A built kernel and what it is called with inside `run`."""
    kernel, seen = kernel_of_plan.function, []

    def watching(*arguments: Any) -> None:
        seen.append(arguments)
        kernel(*arguments)

    kernel_of_plan.function = watching
    try:
        run()
    finally:
        kernel_of_plan.function = kernel
    return kernel, seen[-1]


# ---- the tables --------------------------------------------------------------------------------------------
def check(name: str, shape: tuple[int, int], made: list[in_turn.Child]) -> None:
    ours, theirs = (c.ask(["sums", name, shape]) for c in made)
    for (mine, size), (yours, _) in zip(ours, theirs, strict=True):
        if not abs(mine - yours) <= 1e-5 * size + 1e-3:
            raise SystemExit(f"{name} {shape}: a sum of ours is {mine}, of theirs {yours}")


def against_pytorch(threads: int, turns: int) -> None:
    cases = [(name, shape) for shape in SHAPES for name in FUNCTIONS]
    cases += [("lstm_gates", shape) for shape in GATES]
    print(f"\n{threads} thread{'s' * (threads > 1)}; microseconds forward + backward; ratios ours / theirs")
    print(f"{'shape':12s} {'function':14s} {'ours':>15s} {'theirs':>15s}", end="")
    print("".join(f" {what:>18s}" for what in ("forward", "backward", "both")))
    with in_turn.children(["ours", "theirs"], threads) as made:
        for name, shape in cases:
            check(name, shape, made)
            answers = in_turn.take_turns(made, ["time", name, shape], turns)
            cells = []
            for column in answers:
                middle = [in_turn.quartiles([a[w] for a in column])[1] for w in ("forward", "backward")]
                cells.append(f"{middle[0]:.1f} + {middle[1]:.1f}")
            ratios = [
                in_turn.ratio(*([a[what] for a in column] for column in answers))
                for what in ("forward", "backward", "both")
            ]
            size = f"{shape[0]}, 4x{shape[1]}" if name == "lstm_gates" else f"{shape[0]}, {shape[1]}"
            print(f"{size:12s} {name:14s} {cells[0]:>15s} {cells[1]:>15s}", end="")
            print("".join(f" {r:>18s}" for r in ratios), flush=True)
        if threads == 1:
            print_composition(in_turn.take_turns(made[:1], ["composition", "lstm_gates", GATES[0]], turns)[0])


def print_composition(answers: list[dict[str, float]]) -> None:
    column = {name: [a[name] for a in answers] for name in answers[0]}
    middle = {name: in_turn.quartiles(values)[1] for name, values in column.items()}
    print(f"\nLSTM gates (32, 4x{GATES[0][1]}) against their composition in NumPy, one process; microseconds")
    for label, what in (("forward, not recorded", "forward"), ("forward + backward", "both")):
        fused, composed = f"fused {what}", f"composed {what}"
        times = in_turn.ratio(column[composed], column[fused])
        print(
            f"{label:22s} kernel {middle[fused]:7.1f}   composed {middle[composed]:7.1f}   {times} times as long"
        )
    bare = [f"{which} {middle[f'kernel {which}']:.1f}" for which in ("forward", "backward")]
    print(f"{'the bare kernels':22s} {', '.join(bare)}")


def threshold(threads: int, turns: int) -> None:
    print(f"\n{threads} threads beside one; forward, not recorded; work is as `fuser/launch.py` estimates it")
    print(
        f"{'function':10s} {'shape':>11s} {'work, ns':>10s} {'one, us':>9s} {'several, us':>12s} {'ratio':>18s}"
    )
    with in_turn.children(["several", "one thread"], threads) as made:
        for name in ("gelu", "softmax"):
            for rows in (8, 32, 64, 128, 256, 512, 1024, 2048, 4096):
                several, one = in_turn.take_turns(made, ["work", name, [rows, 256]], turns)
                times = [[a["us"] for a in column] for column in (several, one)]
                middle = [in_turn.quartiles(t)[1] for t in times]
                print(f"{name:10s} {f'{rows}, 256':>11s} {one[0]['work']:10.0f}", end="")
                print(f" {middle[1]:9.1f} {middle[0]:12.1f} {in_turn.ratio(*times):>18s}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threshold", action="store_true", help="where several threads begin to pay")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child)
    print(in_turn.circumstances("numpy", "numba", "torch"))
    if args.threshold:
        return threshold(max(args.threads), args.turns)
    for threads in args.threads:
        against_pytorch(threads, args.turns)
    return None


if __name__ == "__main__":
    main()
