"""Random calls beside PyTorch: values, gradients of a random cotangent, and now and then second derivatives.

The inputs are of any small shape, read through a transpose, a slice, a reversal or a stretch that is on the tape
too; float32, float64 and, for values alone, integers and truth values; with NaN, infinities, ties and zero sizes.
The right numbers are PyTorch's in float64; ours may miss them by a bound, or by as much as PyTorch's own do.

    python tests/campaigns/fuzz_methods.py --torch --calls 20000 --seed 0
"""

from __future__ import annotations

import collections
import random
import warnings
from typing import Any

import numpy as np
import torch

import tinygrad_seq as tgs
from tests.campaigns import fuzz_torch_calls, fuzz_torch_shapes
from tests.campaigns.fuzz_methods import is_ours
from tests.campaigns.fuzz_torch_calls import NO_GRADIENT, Call, array

BOUND = {"float32": 3e-5, "float64": 1e-9}
CALLS = fuzz_torch_calls.CALLS | fuzz_torch_shapes.CALLS


class Side:
    """One library with its leaves: ours, or PyTorch in the dtype of the call or in float64."""

    def __init__(self, torchs: bool, arrays: list[np.ndarray], wide: bool, wants: bool):
        self.torchs = torchs
        make: Any = torch.tensor if torchs else tgs.tensor
        wider = [a.astype(np.float64) if wide and a.dtype.kind == "f" else a for a in arrays]
        self.leaves = [make(a.copy()) for a in wider]
        for leaf, a in zip(self.leaves, arrays, strict=True):
            if wants and a.dtype.kind == "f":
                leaf.requires_grad_()

    def array(self, x: Any) -> np.ndarray:
        return np.asarray(x.detach().numpy()) if self.torchs else x.detach().numpy()

    def flipped(self, x: Any) -> Any:
        return torch.flip(x, (-1,)) if self.torchs else x.flip(-1)

    def seen(self, x: Any, layout: str) -> Any:
        """A leaf through a view of it, whose gradient must come back to the leaf."""
        if layout == "flip":
            return self.flipped(x) if x.ndim else x
        if layout == "transpose":
            return x.transpose(0, -1) if x.ndim > 1 else x
        if layout == "slice":
            return x[..., 1::2] if x.ndim and x.shape[-1] > 1 else x
        if layout == "expand":
            return x.expand(2, *x.shape)
        return x

    def gradients(self, outs: list[Any], wanted: list[Any], seed: int, create: bool) -> list[Any]:
        """The gradients of a random weighted sum of the results, None where none flows."""
        rng, total = np.random.default_rng(seed), None
        for out in outs:
            weight = rng.normal(size=tuple(out.shape))
            if not out.requires_grad:
                continue
            typed = weight.astype(self.array(out).dtype)
            part = (out * (torch.tensor(typed) if self.torchs else tgs.tensor(typed))).sum()
            total = part if total is None else total + part
        if total is None or not wanted:
            return [None for _ in wanted]
        if self.torchs:
            return list(torch.autograd.grad(total, wanted, create_graph=create, allow_unused=True))
        for w in wanted:
            w.grad = None
        total.backward(create_graph=create)
        return [w.grad for w in wanted]


def results(
    side: Side, call: Call, layouts: list[str], settings: tuple[Any, ...], seed: int, second: bool
) -> Any:
    """What a call gives on one side: (values, gradients, second gradients), as arrays."""
    seen = [side.seen(x, how) for x, how in zip(side.leaves, layouts, strict=True)]
    out = (call.theirs if side.torchs else call.ours)(*seen, *settings)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    wanted = [x for x in side.leaves if x.requires_grad]
    first = side.gradients(outs, wanted, seed, second) if wanted else []
    # Arrays are taken now: a second walk may add to the first one's.
    told = [None if g is None else side.array(g).copy() for g in first]
    more: list[Any] = []
    if second and any(g is not None for g in first):
        kept = [g if side.torchs else g.clone() for g in first if g is not None]
        more = side.gradients(kept, wanted, seed + 1, False)
    return [side.array(o) for o in outs], told, [None if g is None else side.array(g) for g in more]


def tried(*args: Any) -> tuple[Any, BaseException | None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="torch")
        warnings.filterwarnings("ignore", message=".*deprecated.*|.*degrees of freedom.*|.*broadcasting.*")
        try:
            return results(*args), None
        except Exception as error:
            return None, error


def error_of(x: np.ndarray, true: np.ndarray) -> float:
    """The largest miss, NaN and infinities left to `fits`."""
    with np.errstate(all="ignore"):
        miss = np.abs(np.asarray(x, float) - np.asarray(true, float))
    return float(miss[np.isfinite(miss)].max(initial=0.0))


def fits(mine: Any, theirs: Any, true: Any, bound: float) -> str:
    """How our array differs from theirs, or nothing; no gradient counts as zeros."""
    if mine is None and theirs is None:
        return ""
    theirs = np.zeros_like(mine) if theirs is None else theirs
    mine = np.zeros_like(theirs) if mine is None else mine
    true = np.zeros_like(theirs) if true is None else true
    if mine.shape != theirs.shape:
        return f"shape {mine.shape}, not {theirs.shape}"
    if mine.dtype.kind in "iub":
        return "" if np.array_equal(mine, theirs) else f"{mine.tolist()}, not {theirs.tolist()}"
    theirs = theirs.astype(float)
    finite = np.isfinite(theirs) & np.isfinite(true)
    alike = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs)) | (np.isfinite(mine) & finite)
    size = float(np.abs(true[finite]).max(initial=0.0)) if true.size else 0.0
    allowed = bound * max(1.0, size) + 4.0 * error_of(theirs, true)
    if alike.all() and error_of(mine, true) <= allowed:
        return ""
    return f"{mine.tolist()}, not {theirs.tolist()}, in float64 {true.tolist()}"


def compared(rng: random.Random) -> tuple[str, str]:
    """One call beside PyTorch's: (name, what is wrong or nothing)."""
    name = rng.choice(sorted(CALLS))
    call = CALLS[name]
    kind = rng.choice(["float32", "float64"]) if call.floats or rng.random() < 0.85 else rng.choice(
        ["int64", "int32", "uint8", "int8", "bool"]
    )  # fmt: skip
    arrays, settings = call.draw(rng, lambda sizes=None: array(rng, kind, sizes))
    layouts = [
        rng.choice(["", "", "flip", "transpose", "slice", "expand"]) if call.views else "" for _ in arrays
    ]
    if call.views and len(arrays) > 1:  # operands must still fit one another
        layouts = [rng.choice(["", "flip"]) for _ in arrays]
    second, seed = name not in NO_GRADIENT and rng.random() < 0.3, rng.randrange(2**31)
    if call.apart(*arrays, *settings):
        return name, ""
    rest = (call, layouts, settings, seed, second)
    listed = [(str(a.dtype), a.shape, a.tolist()) for a in arrays]
    told = f"{name} of {listed!r:.700} {layouts} with {settings!r:.200}"
    theirs, refused = tried(Side(True, arrays, False, True), *rest)
    mine, error = tried(Side(False, arrays, False, True), *rest)
    if error is not None:
        if not is_ours(error):
            return name, f"{told}: {type(error).__name__}: {error}"
        wrong = refused is None and not call.refuses(*arrays, *settings)
        return name, f"{told}: refused: {error}" if wrong else ""
    true, unknown = tried(Side(True, arrays, True, True), *rest)
    if refused is not None or unknown is not None:
        return name, ""
    for what, a, b, c in zip(("values", "gradients", "second"), mine, theirs, true, strict=True):
        if len(a) != len(b):
            return name, f"{told}: {len(a)} {what}, not {len(b)}"
        for i, (x, y, z) in enumerate(zip(a, b, c, strict=True)):
            wrong_by = fits(x, y, z, BOUND.get(kind, 1e-5) * (10.0 if what == "second" else 1.0))
            if wrong_by:
                return name, f"{told} (cotangent {seed}): {what} {i}: {wrong_by}"
    return name, ""


def run(calls: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """How often each name was called, and what was wrong."""
    rng = random.Random(seed)
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for _ in range(calls):
        name, fault = compared(rng)
        counts[name] += 1
        if fault:
            wrong.append(fault)
    return counts, wrong
