"""Checks of an installation, in half a minute and without the tests.

Each check returns a short result, or raises. They find gross faults only; the proof is in `tests/`.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq import functional as F
from tinygrad_seq.data import Corpus
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.derivatives import grad
from tinygrad_seq.engine.gradcheck import gradcheck
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.engine.tensor import Tensor, where, wrap
from tinygrad_seq.errors import GradientError, explain
from tinygrad_seq.fuser.decorator import composed
from tinygrad_seq.models import GPT, CharLM, NeuralModel
from tinygrad_seq.nn.rnn import cells
from tinygrad_seq.runtime import jit

__all__ = ["PRIMITIVES", "Check", "Outcome", "checks", "run_checks"]

Function = Callable[..., Any]
_IDS = np.array([[2, 0, 2], [1, 1, 2]])

# Away from kinks and poles: numbers between 0.5 and 1.5, no two of them close.
PRIMITIVES: list[tuple[str, Function, list[tuple[int, ...]]]] = [
    ("add, sub, mul, div, neg", lambda x, y: -(x + y) * (x - y) / y, [(3, 4), (4,)]),
    ("exp, log, sqrt, pow", lambda x, y: x.exp() * y.log() + x.sqrt() ** y, [(3, 4), (3, 4)]),
    ("sin, cos, tanh, erf", lambda x: x.sin() * x.cos() + x.tanh() * x.erf(), [(3, 4)]),
    ("lesser, log1p, ndtr", lambda x: ops.lesser(x) * ops.log1p(x) + ops.ndtr(x), [(3, 4)]),
    ("floor_divide, remainder", lambda x, y: (x % y) * (x // y + 1.0), [(3, 4), (4,)]),
    ("sum, max, maximum", lambda x, y: x.sum(1) * x.max(1) + x.maximum(y).sum(0)[:3], [(3, 4), (3, 4)]),
    ("where, less, equal, floor", lambda x: where(x < 1.0, x * x, x + x.floor() + (x == 9.0)), [(3, 4)]),
    ("cast, cut, uniform", lambda x: ops.cast(x * x, dtype=x.dtype) * (ops.cut(x - x) + 1.0) * _noise(), [(3, 4)]),
    ("reshape, permute, expand", lambda x: (x.reshape(4, 3).permute(1, 0) * x[:, :1].expand(3, 4)).exp(), [(3, 4)]),
    ("slice, pad, concat", lambda x: ops.pad(x[1:, ::2] ** 2, index=(slice(0, 2), 1), shape=(2, 3, 2))
        * ops.concat(x[:1, :2], x[1:2, :2], axis=0).reshape(2, 1, 2), [(3, 4)]),
    ("gather, scatter", lambda x: ops.scatter(ops.gather(x, _IDS) ** 2, _IDS, shape=(4, 4)), [(3, 4)]),
    ("matmul", lambda x, y: (x @ y).tanh(), [(2, 3, 4), (4, 2)]),
]  # fmt: skip


def _noise() -> Any:
    return ops.uniform(wrap(np.array(1234567, np.uint64)), shape=(3, 4), dtype=np.dtype(np.float64))


@dataclass(frozen=True)
class Check:
    """A name, and the function that returns a short result, or raises where the check fails."""

    name: str
    run: Callable[[], str]


@dataclass(frozen=True)
class Outcome:
    """The result of a check: whether it passed, its seconds, and a short text: what it measured or what is wrong."""

    name: str
    ok: bool
    seconds: float
    words: str


def checks() -> list[Check]:
    """All checks, the basic ones first."""
    return [
        Check("gradients of the primitives", _primitives),
        Check("gradients of the models", _models),
        Check("kernels equal compositions", _kernels),
        Check("training, saving, sampling", _training),
    ]


def run_checks(chosen: Iterable[Check] | None = None) -> Iterator[Outcome]:
    """Yield the outcome of each check, in order; an exception is turned into a failed outcome.

    >>> [(o.name, o.ok, o.words) for o in run_checks([Check("a", lambda: "fine"), Check("b", lambda: 1 / 0)])]
    [('a', True, 'fine'), ('b', False, 'ZeroDivisionError: division by zero')]
    """
    for check in checks() if chosen is None else chosen:
        begin = time.perf_counter()
        try:
            ok, words = True, check.run()
        except Exception as error:  # that is what it is asked for
            ok, words = False, f"{type(error).__name__}: {error}"
        yield Outcome(check.name, ok, time.perf_counter() - begin, words)


def _drawn(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    rng = np.random.default_rng(7)
    total = sum(math.prod(shape) for shape in shapes)
    numbers = 0.5 + (rng.permutation(total) + rng.uniform(0.1, 0.4, total)) / total
    cuts = np.split(numbers, np.cumsum([math.prod(s) for s in shapes])[:-1])
    return [wrap(a.reshape(s)).requires_grad_() for a, s in zip(cuts, shapes, strict=True)]


def _primitives() -> str:
    for name, fn, shapes in PRIMITIVES:
        for order in (1, 2):
            try:
                gradcheck(fn, _drawn(shapes), order=order)
            except GradientError as error:
                raise GradientError(f"{name}: {error}") from error
    return f"{len(PRIMITIVES)} groups, float64, order 1 and 2, against finite differences"


def _small() -> dict[str, NeuralModel]:
    rng = Generator(3, "init")
    found: dict[str, NeuralModel] = {
        cell.upper(): CharLM(5, 4, cell=cell, rng=rng) for cell in ("rnn", "gru", "lstm")
    }
    found["GPT"] = GPT(5, block=4, layers=1, heads=2, width=4, rng=rng)
    return found


def _models() -> str:
    ids = np.array([[0, 3], [2, 4], [1, 1], [4, 0]])
    names = []
    for name, model in _small().items():
        model.double().eval()
        parameters = list(model.parameters())
        for order in (1, 2):
            # Kernels in float64 are used by nothing else, and take half a minute to build in a new folder.
            with composed():
                gradcheck(
                    lambda *_, m=model: m.loss(ids[:-1], ids[1:])[0], parameters, order=order, rtol=1e-5
                )
        names.append(name)
    return f"{', '.join(names)}: the loss by every weight, three steps, order 1 and 2"


_FUSED: list[tuple[str, Function, list[tuple[int, ...]]]] = [
    ("lstm_gates", cells.lstm_gates, [(5, 32), (5, 32), (5, 8)]),
    ("gru_gates", cells.gru_gates, [(5, 24), (5, 24), (5, 8)]),
    ("cross_entropy", lambda x: F.cross_entropy(x, np.arange(5)), [(5, 33)]),
    ("layer_norm", lambda x, w, b: F.layer_norm(x, 33, w, b), [(5, 33), (33,), (33,)]),
]


def _kernels() -> str:
    missing = jit.switched_off()
    if missing or not jit.kernels_wanted():
        return f"no kernels here ({missing or 'numba does not load'}): compositions run, slower, to the same effect"
    worst = 0.0
    for name, fn, shapes in _FUSED:
        inputs = [x.to(np.float32).detach().requires_grad_() for x in _drawn(shapes)]
        with composed():
            wanted = _value_and_slopes(fn, inputs)
        for a, b in zip(_value_and_slopes(fn, inputs), wanted, strict=True):
            off = float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-3))
            worst = max(worst, off)
            if not off < 1e-5:
                rule = "expected the kernel and its composition to agree to 1e-5 of the largest number."
                raise GradientError(f"selftest: {name} is off by {off:.1e}", None, rule)
    return f"{len(_FUSED)} functions, values and gradients, float32, at most {worst:.0e} apart"


def _value_and_slopes(fn: Function, inputs: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    value = fn(*inputs)
    outs = value if isinstance(value, tuple) else (value,)
    rng = np.random.default_rng(5)
    total: Any = 0.0
    for o in outs:
        # Unequal weights: a plain sum of a softmax or a norm has no gradient but rounding.
        total = (o * rng.uniform(0.5, 1.5, o.shape).astype(np.float32)).sum() + total
    return [o.numpy() for o in outs] + [g.numpy() for g in grad(total, inputs)]


_CYCLE = "abcdefgh"


def _training() -> str:
    # Only this check imports the training loop and the files; the others work even where these are broken.
    from tinygrad_seq.training import Config, evaluate, load_run, sample, train

    text = Corpus(_CYCLE * 400)
    config = Config(
        hidden=16, batch=8, window=8, steps=60, lr=3e-2, warmup=5, eval_every=60, sample_every=0, seed=1
    )
    with tempfile.TemporaryDirectory(prefix="tinygrad_seq-selftest-") as place:
        folder = Path(place, "run")
        events = list(train(config, corpus=text, folder=folder))
        run = load_run(folder)
        trained = getattr(events[-1], "run").model  # noqa: B009  Finished, whatever else its fields are
        ids = run.vocabulary.encode(text.text[:400])
        before, after = evaluate(trained, ids), evaluate(run.model, ids)
        if before != after:
            what = f"selftest: the loss was {before:.6f} before saving and is {after:.6f} after loading"
            raise AssertionError(explain(what, None, "expected the same number."))
        if not after < 0.1:
            rule = f"expected less than 0.1; knowing nothing is {math.log(8):.3f}."
            raise AssertionError(explain(f"selftest: 60 steps ended at {after:.3f} nats", None, rule))
        wrote = sample(run.model, run.vocabulary, _CYCLE, 24, 0.0, Generator(0, "sampling"))
    if wrote != _CYCLE * 3:
        rule = f"expected it to go on with {_CYCLE * 3!r}."
        raise AssertionError(explain(f"selftest: after {_CYCLE!r} the model wrote {wrote!r}", None, rule))
    return f"60 steps from {math.log(8):.2f} to {after:.3f} nats; saved, loaded to the bit; it writes what it read"
