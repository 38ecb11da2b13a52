"""The ladder: the kinds of models that the lecture notes list, each fitted to one text under one protocol.

The notes do not order them. That each rung is better than the one before is our expectation, which `broken` checks.

Each is fitted to the first nine tenths of the text and then asked, by `score`, for each symbol of the last
twentieth, given all before it there. The networks take the same number of steps over the same batches with one
optimiser and one schedule, none of it tuned; only the GPT has a learning rate of its own, because it does not
learn at that of the recurrent networks. Counts need no steps: on a short text, and with few steps, smoothed
counts of long contexts predict better than small networks do. They are in the table too, but they are no
rungs: the Markov model of the ladder is of order 1.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_seq import optim
from tinygrad_seq.data import Splits, Streams
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.models import GPT, CharLM, Markov, Naive, NeuralModel, SymbolAR, SymbolModel
from tinygrad_seq.nn import detach
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.evaluation import Measured, bits, scored

__all__ = ["Protocol", "Rung", "broken", "ladder"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all networks have in common. `test` bounds the symbols asked for, `orders` is the largest counted.

    `gpt_lr` is the GPT's rate, that of nanoGPT's recipe.
    """

    steps: int = 2000
    batch: int = 32
    window: int = 32
    hidden: int = 128
    lr: float = 4e-3
    gpt_lr: float = 1e-3
    tau: int = 3
    orders: int = 5
    test: int = 50_000
    seed: int = 1


@dataclass(frozen=True)
class Rung:
    """One model: its measured bits, how many numbers or contexts it holds, the seconds to fit and evaluate it.

    `judged` where it is expected to stand above the one before.
    """

    name: str
    measured: Measured
    numbers: int
    counts: bool
    seconds: float
    judged: bool

    @property
    def bits(self) -> float:
        """Bits per symbol."""
        return bits(self.measured.nats)

    @property
    def error(self) -> float:
        """The standard error of `bits`."""
        return bits(self.measured.error)


def ladder(parts: Splits, vocabulary_size: int, protocol: Protocol | None = None) -> Iterator[Rung]:
    """Yield each model of the family after it has been fitted and evaluated. Raises what `Streams` raises."""
    how = protocol or Protocol()
    test = parts.test[: how.test]
    for name, make, judged in _models(vocabulary_size, parts.train, how):
        start = time.perf_counter()
        model = make()
        found = scored(model, test)
        neural = isinstance(model, NeuralModel)
        numbers = model.count() if isinstance(model, NeuralModel) else int(getattr(model, "contexts", 0))
        yield Rung(name, found, numbers, not neural, time.perf_counter() - start, judged)


def broken(rungs: Sequence[Rung]) -> list[str]:
    """Where unigram > Markov > AR > RNN > GRU, LSTM does not hold, in words; empty where it does."""
    *lower, gru, lstm = [rung for rung in rungs if rung.judged]
    steps = [*itertools.pairwise(lower), (lower[-1], gru), (lower[-1], lstm)]
    return [f"{b.name} is not below {a.name}" for a, b in steps if not b.bits < a.bits]


Make = Callable[[], SymbolModel]


def _models(V: int, ids: Array, how: Protocol) -> Iterator[tuple[str, Make, bool]]:
    """Name, how the model comes to be, and whether it is judged."""
    # The evaluated text may begin like the training text: what did not follow there needs a probability above
    # 0.
    yield "naive, all the past", lambda: Naive(V, alpha=1.0).fit(ids), False
    for k in range(how.orders + 1):
        yield (
            f"Markov, order {k}" if k else "unigram",
            lambda k=k: Markov(V, k, smoothing="kneser-ney").fit(ids),  # type: ignore[misc]
            k < 2,
        )
    rng = Generator(how.seed, "init")
    yield f"AR({how.tau}), MLP", lambda: _trained(SymbolAR(V, how.tau, how.hidden, rng=rng), ids, how), True
    for cell in ("RNN", "GRU", "LSTM"):
        yield (
            cell,
            lambda cell=cell: _trained(CharLM(V, how.hidden, cell=cell.lower(), rng=rng), ids, how),  # type: ignore[misc]
            True,
        )
    heads = next(n for n in (4, 2, 1) if how.hidden % n == 0)
    yield (
        "GPT of 2 layers",
        lambda: _trained(GPT(V, how.window, 2, heads, how.hidden, rng=rng), ids, how, how.gpt_lr),
        False,
    )


def _trained(model: NeuralModel, ids: Array, how: Protocol, lr: float | None = None) -> NeuralModel:
    """The model after the steps; the state is carried from window to window and detached between."""
    streams = Streams(ids, how.batch, how.window)
    parameters = list(model.parameters())
    optimizer = optim.AdamW(parameters, lr=lr or how.lr, betas=(0.9, 0.99))
    schedule = optim.CosineWithWarmup(optimizer, how.steps, warmup=min(100, how.steps // 4), final=0.02)
    state: Any = None
    for _ in range(how.steps):
        batch = streams.next_batch()
        loss, state = model.loss(batch.inputs, batch.targets, None if batch.fresh else state)
        state = detach(state)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return model
