"""Two trainings at once give, to the bit, what they give one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.engine.random import Generator, drawing_from, manual_seed, positions, replayed, stream
from tinygrad_seq.nn import Dropout, Linear, Module
from tinygrad_seq.training import Config

SMALL = Config(
    hidden=8, layers=2, heads=2, batch=3, window=5, steps=8, eval_every=1000, dropout=0.4, warmup=0
)
TEXT = "the quick brown fox jumps over the lazy dog. " * 8


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """What the jobs return, each run in a thread of its own, all begun together."""
    results: list[Any] = [None] * len(jobs)
    gate = threading.Barrier(len(jobs))

    def run(i: int) -> None:
        gate.wait()
        try:
            results[i] = jobs[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


class Noisy(Module):
    """An LSTM with every draw that training makes: a Dropout layer, the function, zoneout, and noise of its own."""

    def __init__(self, rng: Generator):
        self.lstm = tgs.LSTM(3, 5, num_layers=2, dropout=0.3, recurrent_dropout=0.2, zoneout=0.2, rng=rng)
        self.head, self.drop = Linear(5, 2, rng=rng), Dropout(0.5)

    def loss(self, x: tgs.Tensor, y: tgs.Tensor) -> tgs.Tensor:
        """Of a batch, with noise in its input."""
        h, _ = self.lstm(x + 0.1 * tgs.randn(*x.shape))
        h = tgs.checkpoint(lambda h: F.dropout(h, 0.3, self.training).tanh(), h)
        return F.mse_loss(self.head(self.drop(h)), y)


def module_run(seed: int) -> Callable[[], list[Any]]:
    """A module of one's own, made and trained by `tgs.fit`."""

    def run() -> list[Any]:
        rng = Generator(seed, "made")
        model = Noisy(rng)
        batch = (rng.randn(4, 2, 3), rng.randn(4, 2, 2))
        found = tgs.fit(model, [batch], steps=8, quiet=True, seed=seed)
        return [found.losses, *(p.numpy() for p in model.parameters())]

    return run


def character_run(model: str, seed: int) -> Callable[[], list[Any]]:
    """A character model trained by `tgs.fit`."""

    def run() -> list[Any]:
        end = tgs.fit(SMALL, corpus=[TEXT], model=model, seed=seed, quiet=True)
        return [p.numpy() for p in end.run.model.parameters()]

    return run


def seeded_run(seed: int) -> Callable[[], list[Any]]:
    """A thread that seeds itself, as a script of one's own would."""

    def run() -> list[Any]:
        manual_seed(seed)
        model = Noisy(stream("init"))
        x, y = tgs.randn(4, 2, 3), tgs.randn(4, 2, 2)
        return [*tgs.fit(model, [(x, y)], steps=8, quiet=True).losses, tgs.rand(2).tolist()]

    return run


def assert_equal(a: Sequence[Any], b: Sequence[Any]) -> None:
    """The same numbers to the bit."""
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), strict=True)


JOBS = {
    "module": (module_run(1), module_run(2), module_run(3)),
    "lstm": (character_run("lstm", 1), character_run("lstm", 2)),
    "transformer": (character_run("transformer", 1), character_run("transformer", 2)),
    "all": (module_run(4), character_run("lstm", 4), character_run("transformer", 4)),
}


@pytest.mark.parametrize("kind", JOBS)
def test_at_once_is_one_after_the_other(kind: str) -> None:
    """Draws of one run are never those of another, and the default streams stand where they stood."""
    jobs = JOBS[kind]
    manual_seed(7)
    before = positions()
    alone = [job() for job in jobs]
    together = at_once(*jobs)
    assert positions() == before
    for one, other in zip(alone, together, strict=True):
        assert_equal(one, other)


def test_a_run_with_dropout_draws() -> None:
    """The law above is about something: without dropout the runs end elsewhere."""
    assert (
        tgs.fit(SMALL, corpus=[TEXT], model="lstm", seed=1, quiet=True).run.model.head.weight.tolist()
        != tgs.fit(
            SMALL, corpus=[TEXT], model="lstm", seed=1, dropout=0.0, quiet=True
        ).run.model.head.weight.tolist()
    )


def test_threads_that_seed_themselves_give_what_they_give_alone() -> None:
    """manual_seed in a thread is for that thread, and leaves the process's streams alone."""
    manual_seed(7)
    before = positions()
    jobs = [seeded_run(seed) for seed in (1, 2, 3)]
    alone = [at_once(job)[0] for job in jobs]
    for one, other in zip(alone, at_once(*jobs), strict=True):
        assert_equal(one, other)
    assert positions() == before
    manual_seed(1)
    assert_equal(seeded_run(1)(), alone[0])


def test_threads_that_seed_nothing_share_the_process_s_streams() -> None:
    """Each number is drawn once, whichever thread draws it."""
    manual_seed(7)
    drawn = at_once(*[lambda: [stream("dropout").rand(1).item() for _ in range(200)]] * 3)
    together = sorted(x for one in drawn for x in one)
    manual_seed(7)
    assert together == sorted(stream("dropout").rand(1).item() for _ in range(600))


def test_a_run_without_a_seed_goes_on_in_the_default_streams() -> None:
    """Two in a row draw other masks; seeding before gives the first again."""

    def losses() -> tuple[float, ...]:
        rng = Generator(1)
        model = Noisy(rng)
        return tgs.fit(model, [(rng.randn(4, 2, 3), rng.randn(4, 2, 2))], steps=3, quiet=True).losses

    manual_seed(5)
    first, second = losses(), losses()
    assert first != second
    manual_seed(5)
    assert losses() == first


def test_drawing_from_is_of_one_thread() -> None:
    """Inside, this thread draws from the generator given, another from the default stream; held ones follow."""
    manual_seed(7)
    kept, own = stream("dropout"), Generator(3, "dropout")
    with drawing_from(own):
        assert stream("dropout") is own
        (other,) = at_once(lambda: stream("dropout").rand(2).tolist())
        here = [kept.rand(2).tolist(), F.dropout(tgs.ones(4), 0.5).tolist()]
        with pytest.raises(RuntimeError, match="broken"), drawing_from(Generator(4, "dropout")):
            raise RuntimeError("broken")
        assert stream("dropout") is own
        assert kept.state_dict() == own.state_dict() == {"seed": 3, "stream": "dropout", "drawn": 2}
        with replayed(positions()):
            again = kept.rand(2).tolist()
        assert own.drawn == 2
        assert own.rand(2).tolist() == again
    twin, plain = Generator(3, "dropout"), Generator(7, "dropout")
    assert here == [twin.rand(2).tolist(), F.dropout(tgs.ones(4), 0.5, True, twin).tolist()]
    assert other == plain.rand(2).tolist()
    assert stream("dropout") is kept
    assert kept.drawn == 1


def test_a_replay_in_one_thread_moves_nothing_in_another() -> None:
    """The backward pass of a checkpoint draws again, while another thread goes on drawing."""
    manual_seed(7)
    x = tgs.ones(5, requires_grad=True)
    again, done = threading.Event(), threading.Event()
    calls: list[int] = []

    def noisy(x: tgs.Tensor) -> tgs.Tensor:
        calls.append(1)
        if len(calls) == 2:
            again.set()
            assert done.wait(20)
        return F.dropout(x, 0.5)

    def draw() -> list[float]:
        assert again.wait(20)
        found: list[float] = stream("dropout").rand(3).tolist()
        done.set()
        return found

    y = tgs.checkpoint(noisy, x)
    gradient, drawn = at_once(lambda: tgs.grad(y.sum(), x).tolist(), draw)
    key = Generator(7, "dropout")
    assert gradient == F.dropout(tgs.ones(5), 0.5, True, key).tolist() == y.tolist()
    assert drawn == key.rand(3).tolist()
    assert stream("dropout").drawn == 2
