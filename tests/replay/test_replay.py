"""Laws of `Replay`: a replayed function gives to the bit what the function gives, or is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import DTypeError, GraphError, ShapeError, TraceError
from tinygrad_seq.nn import GRU, LSTM, Dropout, Linear, MultiheadAttention
from tinygrad_seq.replay import Replay

pytestmark = pytest.mark.laws


def normal(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), np.float32)


def wide(*shape: int, seed: int) -> Any:
    return normal(*shape, seed=seed).astype(np.float64)


class State(NamedTuple):
    """A state with names."""

    h: Any
    c: Any


LSTM_LAYER, GRU_LAYER = LSTM(3, 5, 2, rng=Generator(0)), GRU(3, 5, rng=Generator(1)).double()
ATTENTION = MultiheadAttention(8, 2, rng=Generator(2)).eval()
W, TABLE = tgs.tensor(normal(4, 4, seed=9), requires_grad=True), tgs.tensor(normal(7, 4, seed=8))


def named(x: Any, state: State) -> Any:
    h = (x @ W + state.h).tanh()
    return {"h": h, "more": [State(h * 2, state.c), h.sum()]}


def masked(x: Any) -> Any:
    return tgs.where(F.silu(x) > 0.1, x.softmax(-1), -x)


CASES: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "pointwise": (lambda x: (x * 2 - 1).exp() / 3, lambda s: (normal(3, 4, seed=s),)),
    "a number": (lambda x: x * x, lambda s: (normal(seed=s),)),
    "empty": (lambda x: (x @ W).sum(0), lambda s: (normal(0, 4, seed=s),)),
    "nan and infinity": (lambda x: x.log() / (x - x), lambda s: (normal(5, seed=s),)),
    "fused": (lambda x: F.layer_norm(F.gelu(x), (4,)), lambda s: (normal(3, 4, seed=s),)),
    "masks": (masked, lambda s: (normal(6, 4, seed=s),)),
    "ids": (lambda ids: F.silu(TABLE[ids]), lambda s: (np.random.default_rng(s).integers(0, 7, (5, 2)),)),
    "names": (named, lambda s: (normal(2, 4, seed=s), State(normal(2, 4, seed=s + 1), normal(1, seed=s)))),
    "input comes back": (lambda x, y: (y, x, x[1:]), lambda s: (normal(3, seed=s), normal(2, seed=s))),
    "nothing is read": (lambda x: TABLE.exp(), lambda s: (normal(1, seed=s),)),
    "many columns": (lambda x: (x @ x.T).mean(-1), lambda s: (normal(300, 70, seed=s),)),
    "float64": (lambda x, h: GRU_LAYER(x, h), lambda s: (wide(4, 2, 3, seed=s), wide(1, 2, 5, seed=s))),
    "lstm": (lambda x, s: LSTM_LAYER(x, s), lambda s: (normal(4, 2, 3, seed=s), (normal(2, 2, 5, seed=s),) * 2)),
    "attention": (lambda x: ATTENTION(x, x, x)[0], lambda s: (normal(5, 2, 8, seed=s),)),
}  # fmt: skip


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in flat(part)]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flat(part)]
    return [tree]


def tensors(tree: Any) -> Any:
    if isinstance(tree, tuple):
        parts = [tensors(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tgs.tensor(tree)


@pytest.mark.parametrize("name", CASES)
def test_replayed_is_the_function_to_the_bit(name: str) -> None:
    """Also on arrays that lie otherwise, and with tensors in place of arrays; what comes back is the caller's own."""
    function, example = CASES[name]
    replay = Replay(function, *example(0))
    for seed in (0, 1, 2):
        args = example(seed)
        with tgs.no_grad():
            expected = function(*tensors(args))
        for given in (
            args,
            tensors(args),
            tuple(np.array(a, order="F") if isinstance(a, np.ndarray) else a for a in args),
        ):
            found = replay(*given)
            assert type(found) is type(expected) or isinstance(expected, tgs.Tensor)
            for mine, theirs in zip(flat(found), flat(expected), strict=True):
                assert type(mine) is np.ndarray
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs.numpy())
            before = [a.copy() for a in flat(args)]
            for mine in flat(found):
                mine[...] = 0
            for a, b in zip(flat(args), before, strict=True):
                np.testing.assert_array_equal(a, b)


def test_state_is_carried() -> None:
    """A result is an argument of the next call; a call keeps nothing of the one before."""
    layer = LSTM(3, 5, rng=Generator(0))
    xs, start = normal(20, 1, 2, 3), (np.zeros((1, 2, 5), np.float32),) * 2
    replay = Replay(layer, xs[0], start)
    for _ in range(2):
        state: Any = start
        with tgs.no_grad():
            theirs: Any = tensors(start)
            for x in xs:
                out, state = replay(x, state)
                expected, theirs = layer(x, theirs)
                np.testing.assert_array_equal(out, expected.numpy())
                np.testing.assert_array_equal(state[1], theirs[1].numpy())


def test_weights_that_change_between_calls_are_seen() -> None:
    """Assigned, trained, written in place, wanting a gradient or not; a new hook is seen too."""
    layer = Linear(4, 2, rng=Generator(0))
    other = tgs.tensor(normal(2))
    x = normal(3, 4)

    def function(x: Any) -> Any:
        return F.silu(layer(x)) * (other * 2)

    replay = Replay(function, x)

    def agrees() -> bool:
        with tgs.no_grad():
            return np.array_equal(replay(x), function(tgs.tensor(x)).numpy())

    assert agrees()
    seen = [replay(x)]
    other.assign(normal(2, seed=1))
    assert agrees()
    seen.append(replay(x))
    other.data[0] = 5.0
    assert agrees()
    seen.append(replay(x))
    layer.weight.assign(layer.weight.numpy() + 1)
    assert agrees()
    seen.append(replay(x))
    optimizer = tgs.optim.SGD(layer.parameters(), lr=0.5)
    layer(x).sum().backward()
    optimizer.step()
    assert agrees()
    seen.append(replay(x))
    with tgs.no_grad():
        layer.bias.add_(1.0)
    assert agrees()
    seen.append(replay(x))
    for a, b in itertools.pairwise(seen):
        assert not np.array_equal(a, b)


def test_while_ops_are_looked_at_the_function_itself_runs() -> None:
    """Under `composed()` and anomaly mode every op is there to be seen."""
    calls = []

    def function(x: Any) -> Any:
        calls.append(1)
        return F.silu(x)

    replay = Replay(function, normal(3))
    calls.clear()
    replay(normal(3))
    assert not calls
    with tgs.composed():
        np.testing.assert_allclose(replay(normal(3)), F.silu(tgs.tensor(normal(3))).numpy(), rtol=1e-6)
    with tgs.detect_anomaly():
        replay(normal(3))
    assert len(calls) == 2


COUNTED = tgs.zeros(3)
HOOKED = Linear(3, 3, rng=Generator(0))
HOOKED.register_forward_hook(lambda module, args, out: None)
BEFORE = W * 2


def switched_off(x: Any) -> Any:
    with tgs.no_grad():
        return x * 2


def counting(x: Any) -> Any:
    COUNTED.add_(1.0)
    return x + COUNTED


def branching_on_array(x: Any) -> Any:
    return x * 2 if x.array[0] > 0.5 else x * 3


ALIKE = "\n  expected the same ops at each call, on what it is given and on weights.\n  "
LOOK = "a value was looked at while a function was traced."
DRAWN = f"Replay: random numbers were drawn.{ALIKE}Draw outside, and hand over what was drawn."
CALLED = (
    f"Replay: hooks were called, which no record calls.{ALIKE}Remove the hooks, or call the function itself."
)
HIDDEN = f"Replay: a checkpoint hides its ops.{ALIKE}Call what is inside it."
OFF = "Replay: recording was switched off inside.\n  x: f32(3,)"
ELSE = (
    "Replay: the record gives something else."
    "\n  expected what the function gives, also for other numbers than the example's."
    "\n  It may look at a value, or take one off the tape by detach(), data or a gradient."
)
REFUSED: dict[str, tuple[Callable[..., Any], type[Exception], str]] = {
    "branch": (lambda x: x if x.sum() > 0 else -x, TraceError, f"bool: {LOOK}"),
    "item": (lambda x: x * x.sum().item(), TraceError, f"item: {LOOK}"),
    "sort": (lambda x: x.sort(-1), TraceError, f"argsort: {LOOK}"),
    "dropout": (Dropout(0.5), TraceError, DRAWN),
    "hook": (HOOKED, TraceError, CALLED),
    "checkpoint": (lambda x: tgs.checkpoint(lambda y: y.exp(), x), TraceError, HIDDEN),
    "no_grad": (switched_off, TraceError, OFF),
    "writes": (counting, TraceError, "Replay: a tensor from outside was written to.\n  x: f32(3,)"),
    "tape from before": (lambda x: (x @ BEFORE[:3, :3]), TraceError, "Replay: a tensor from outside is on the tape."),
    "detach": (lambda x: x * x.detach(), TraceError, ELSE),
    "array": (branching_on_array, TraceError, ELSE),
    "gradient": (lambda x: tgs.grad((x * x).sum(), x)[0], GraphError, "grad: an input does not want a gradient."),
    "no tensor": (lambda x: x.shape, DTypeError, "state: not made of tensors.\n  part: 3"),
    "nothing": (lambda x: None, DTypeError, "Replay: no tensor was returned.\n  expected one at least."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_is_refused(name: str) -> None:
    """A function that does not do the same at each call, in words that say what is in the way."""
    function, kind, text = REFUSED[name]
    with pytest.raises(kind) as caught:
        Replay(function, np.array([1.0, 0.25, 0.5], np.float32))
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        (
            (normal(4), normal(2)),
            ShapeError,
            "Replay: another shape than was recorded.\n  given: f32(4,)\n  expected (3,), as in the example.\n"
            "  Make another Replay for these.",
        ),
        (
            (normal(3), normal(2).astype(np.float64)),
            DTypeError,
            "Replay: another dtype than was recorded.\n  given: f64(2,)\n  expected float32, as in the example.\n"
            "  Make another Replay for these.",
        ),
        (
            (normal(3),),
            ShapeError,
            "Replay: the arguments change their form.\n  expected arguments of the form of the example's.\n"
            "  Make another Replay for these.",
        ),
        (
            (normal(3), 2.0),
            DTypeError,
            "Replay: an argument is no array.\n  x: 2.0\n"
            "  expected arrays or tensors, or tuples, lists and dicts of them.",
        ),
        (
            (tgs.ones(3, requires_grad=True), normal(2)),
            GraphError,
            "Replay: the gradient would be lost.\n  x: f32(3,)\n  expected arrays, or tensors without gradient.\n"
            "  Hand over x.detach().",
        ),
    ],
)
def test_arguments_unlike_the_example_are_refused(args: Any, kind: type[Exception], text: str) -> None:
    """Shapes, dtypes, forms, numbers, and tensors whose gradient would be lost."""
    replay = Replay(lambda x, y: (x.sum() * y).exp(), normal(3), normal(2))
    with pytest.raises(kind) as caught:
        replay(*args)
    assert str(caught.value) == text


def test_a_hook_that_comes_later_is_seen() -> None:
    """It would be called by the function, so the replay is refused from then on, and goes on when it is gone."""
    layer = Linear(3, 2, rng=Generator(0))
    replay = Replay(layer, normal(3))
    with (
        layer.register_forward_hook(lambda module, args, out: out * 2),
        pytest.raises(TraceError, match="hooks"),
    ):
        replay(normal(3))
    with tgs.no_grad():
        np.testing.assert_array_equal(replay(normal(3)), layer(normal(3)).numpy())
