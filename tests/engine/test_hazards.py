"""Hazards by name: sharing, memory, depth, writing in place, second walks, hooks, threads."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import GraphError, ShapeError, Tensor, gradcheck, no_grad
from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import TRACED, wrap
from tinygrad_seq.engine.node import Node
from tinygrad_seq.engine.op import Op
from tinygrad_seq.runtime.arrays import Array


def leaf(*values: float) -> Tensor:
    """A float32 leaf that wants a gradient."""
    return tgs.tensor(values, requires_grad=True)


def grad_of(t: Tensor) -> Any:
    """The `.grad` as nested lists."""
    assert t.grad is not None
    return t.grad.tolist()


def text_of(error: type[Exception], call: Callable[[], object]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


@contextmanager
def counted(op: Op) -> Iterator[list[int]]:
    """The places of the inputs for which a rule of `op` ran in the block."""
    places: list[int] = []

    def counting(i: int, rule: Any) -> Any:
        def call(*args: Any, **settings: Any) -> Any:
            places.append(i)
            return rule(*args, **settings)

        return call

    kept = op.active
    object.__setattr__(op, "active", tuple((i, counting(i, rule)) for i, rule in kept))
    try:
        yield places
    finally:
        object.__setattr__(op, "active", kept)


@pytest.fixture
def gc_off() -> Iterator[None]:
    """No garbage collector: what goes, goes because nothing refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ---- one value, many uses ----------------------------------------------------------------------------------
def test_diamond() -> None:
    """Two ways from one value to one loss add up: (x^2 + x^3)' = 2x + 3x^2."""
    x = leaf(2.0, -1.0)
    y = x * x
    (y + y * x).sum().backward()
    assert grad_of(x) == [16.0, 1.0]


def test_fan_out() -> None:
    """A value used in a hundred places gets a hundred gradients, and is walked through once."""
    x = leaf(2.0)
    y = x * 3.0
    total = y * 0.0
    for k in range(100):
        total = total + y * float(k)
    with counted(ops.mul) as places:
        total.sum().backward()
    assert grad_of(x) == [3.0 * 4950]
    assert len(places) == 102


@pytest.mark.parametrize(
    ("use", "slope"),
    [
        (lambda x: x * x, [6.0, 8.0]),
        (lambda x: x + x, [2.0, 2.0]),
        (lambda x: x - x, [0.0, 0.0]),
        (lambda x: x / x, [0.0, 0.0]),
        (lambda x: x.maximum(x), [1.0, 1.0]),
        (lambda x: x @ x, [6.0, 8.0]),
        (lambda x: tgs.concat([x, x * 2.0, x]), [4.0, 4.0]),
        (lambda x: tgs.stack([x, x]), [2.0, 2.0]),
        (lambda x: tgs.where(Tensor([True, False]), x, x), [1.0, 1.0]),
        (lambda x: x[[0, 0, 1]] * x[0], [16.0, 3.0]),
        (lambda x: x.split(1)[0] * x.split(1)[1], [4.0, 3.0]),
    ],
)
def test_the_same_tensor_twice(use: Callable[[Tensor], Tensor], slope: list[float]) -> None:
    """A tensor that is both inputs of an op gets both gradients."""
    x = leaf(3.0, 4.0)
    use(x).sum().backward()
    assert grad_of(x) == pytest.approx(slope)


def test_gradients_of_two_losses_add_up() -> None:
    """`.grad` grows with each backward until it is set to None."""
    x = leaf(1.0)
    (x * 2.0).sum().backward()
    first = x.grad
    (x * 3.0).sum().backward()
    assert grad_of(x) == [5.0]
    assert first is not None
    assert first.tolist() == [2.0]
    x.grad = None
    (x * 4.0).sum().backward()
    assert grad_of(x) == [4.0]


def test_a_leaf_may_be_the_loss() -> None:
    """A leaf's gradient at itself is 1."""
    x = tgs.tensor(3.0, requires_grad=True)
    x.backward()
    x.backward()
    assert grad_of(x) == 2.0


def test_gradients_are_not_aliased() -> None:
    """Leaves handed one array, a stretched view or the caller's own array each get memory of their own."""
    x, y, seed = leaf(1.0, 2.0), leaf(3.0, 4.0), np.ones(2, dtype=np.float32)
    (x + y).backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    x.grad.data -= 5.0
    assert (grad_of(x), grad_of(y), seed.tolist()) == ([-4.0, -4.0], [1.0, 1.0], [1.0, 1.0])
    a, b = tgs.grad((x + y).sum(), [x, y])
    a.data -= 5.0
    assert b.tolist() == [1.0, 1.0]


def test_a_slice_adds_to_a_gradient_of_its_own() -> None:
    """The part that comes through a slice is not added into an array that another tensor was handed too."""
    x, y, seed = leaf(1.0, 2.0), leaf(3.0, 4.0), np.ones(2, dtype=np.float32)
    part = x[0] * 5.0
    gx, gy = tgs.grad([x + y, part], [x, y], [seed, None])
    assert (gx.tolist(), gy.tolist(), seed.tolist()) == ([6.0, 1.0], [1.0, 1.0], [1.0, 1.0])


def test_a_hooks_tensor_does_not_become_the_gradient_itself() -> None:
    """What a hook returns is copied into `.grad`; writing there leaves the hook's tensor alone."""
    x, mine = leaf(1.0, 2.0), Tensor([7.0, 7.0])
    x.register_hook(lambda g: mine)
    (x * x).sum().backward()
    assert x.grad is not None
    x.grad.data -= 5.0
    assert mine.tolist() == [7.0, 7.0]


# ---- depth and memory --------------------------------------------------------------------------------------
def test_a_chain_of_300_000_ops_walks_and_frees() -> None:
    """Neither the walk nor the freeing of a long tape recurses; Python's limit stays untouched."""
    limit = sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(300_000):
        y = y + x
    y.backward()
    assert grad_of(x) == [300_001.0]
    ends = weakref.ref(y), weakref.ref(y.node)
    del y
    assert [end() for end in ends] == [None, None]
    assert sys.getrecursionlimit() == limit


def test_a_long_recorded_gradient_walks_and_frees() -> None:
    """The gradient of a chain of 30,000 ops is a tape of its own that can be walked again."""
    x = leaf(1.0)
    y = x
    for _ in range(30_000):
        y = y * 1.0
    (slope,) = tgs.grad(y * y, [x], create_graph=True)
    slope.backward()
    assert grad_of(x) == [2.0]
    del y, slope


def test_what_is_dropped_unwalked_is_freed(gc_off: None) -> None:
    """A tape that nobody holds is gone at once, with no cycle for the collector to find."""
    x = leaf(1.0, 2.0)
    y = (x * x).exp()
    saved = weakref.ref(y.node.out)
    y.retain_grad()
    y.register_hook(lambda g: g)
    del y
    assert saved() is None


def test_detach_lets_go_of_the_memory_behind(gc_off: None) -> None:
    """A detached state holds its own array and nothing of the tape that made it."""
    h = leaf(1.0, 2.0)
    x = h
    for _ in range(3):
        h = (h * x).tanh()
    behind = [weakref.ref(h.node), weakref.ref(h.node.parents[0]), weakref.ref(h.node.parents[0].saved[0])]
    state = h.detach()
    assert state.is_leaf
    assert state.array is h.array
    del h
    assert [r() for r in behind] == [None, None, None]


def test_backward_lets_go_of_saved_arrays(gc_off: None) -> None:
    """After backward the loss holds no activation; with retain_graph it holds them all."""
    x = leaf(1.0, 2.0)
    y = x.exp()
    loss = (y * y.tanh()).sum()
    activation = weakref.ref(y.array)
    del y
    loss.backward(retain_graph=True)
    assert activation() is not None
    loss.backward()
    assert activation() is None
    assert loss.item() > 0


def test_the_tape_keeps_only_what_rules_read() -> None:
    """Additions, sums and shapes keep no array; a product with a constant keeps the constant alone."""
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    nodes = [(x + c).node, x.sum().node, x.reshape(2, 1).node, (x - 1.0).node, x[0].node]
    assert not any(isinstance(kept, np.ndarray) for node in nodes for kept in (*node.saved, node.out))
    product = (x * c).node
    assert [kept is c.array for kept in product.saved] == [False, True]


def test_memory_is_flat_over_a_thousand_steps(gc_off: None) -> None:
    """Training with changing shapes leaves no object behind, without any help from the collector."""
    w = tgs.tensor(np.eye(4), requires_grad=True)

    def step(t: int) -> None:
        h = tgs.ones(2 + t % 5, 4, dtype=np.float64)
        loss: Any = 0.0
        for _ in range(2 + t % 3):
            h = (h @ w).tanh()
            loss = loss + h[:, 0].sum() + h[[0, 1], [1, 2]].sum()
        with pytest.raises(GraphError):
            loss.backward() or loss.backward()
        assert w.grad is not None
        w.data -= 1e-3 * w.grad.array
        w.assign(w.detach() * 0.999)
        w.grad = None

    for t in range(50):
        step(t)
    before = len(gc.get_objects())
    for t in range(1000):
        step(t)
    assert len(gc.get_objects()) - before < 100


# ---- what is not computed ----------------------------------------------------------------------------------
def test_unwanted_gradients_are_never_computed() -> None:
    """A rule runs only for an input that wants a gradient, or that leads to a target asked for."""
    x, w, data = leaf(1.0, 2.0), leaf(3.0, 4.0), Tensor([5.0, 6.0])
    with counted(ops.mul) as places:
        (data * w).sum().backward()
    assert places == [1]
    with counted(ops.mul) as places:
        tgs.grad(((x * data) * w).sum(), [w])
    assert places == [1]
    with counted(ops.mul) as places:
        tgs.grad((ops.cut(x * x) * w + w * x).sum(), [w, x])
    assert sorted(places) == [0, 1, 1]
    with counted(ops.matmul) as places, counted(ops.tanh) as dead:
        tgs.grad((x.tanh() @ w + w @ data).sum(), [w])
    # x^T g of a weight is no call of a rule: it waits for the products of other steps.
    assert (sorted(places), dead) == ([0], [])


def test_the_gradient_of_slices_in_a_loop_is_linear_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """T slices of one tensor meet in one array of full size, or in one concat where it is recorded."""

    def bytes_for(steps: int, create_graph: bool) -> int:
        xs = tgs.tensor(np.ones((steps, 8)), requires_grad=True)
        loss = sum((xs[t] * xs[t : t + 1] for t in range(steps)), Tensor(0.0)).sum()
        spent = 0
        zeros, concatenate = np.zeros, np.concatenate

        def counting(make: Any) -> Any:
            def call(*args: Any, **settings: Any) -> Array:
                nonlocal spent
                out = make(*args, **settings)
                spent += out.nbytes
                return out

            return call

        with monkeypatch.context() as patch:
            patch.setattr(np, "zeros", counting(zeros))
            object.__setattr__(ops.concat, "forward", lambda *xs, axis: counting(concatenate)(xs, axis=axis))
            (slope,) = tgs.grad(loss, [xs], create_graph=create_graph)
        object.__setattr__(ops.concat, "forward", lambda *xs, axis: concatenate(xs, axis=axis))
        assert slope.array.tolist() == [[2.0] * 8] * steps
        return spent

    assert bytes_for(64, create_graph=False) == 64 * 64
    assert bytes_for(256, create_graph=False) == 256 * 64


# ---- writing in place --------------------------------------------------------------------------------------
def _by_item(x: Tensor) -> None:
    with no_grad():
        x[0] = 9.0


def _by_data(x: Tensor) -> None:
    x.data -= 1.0


def _by_alias(x: Tensor) -> None:
    x.detach()[1] = 9.0


def _by_view(x: Tensor) -> None:
    x.detach().reshape(1, 2)[:, :1][...] = 9.0


def _by_view_data(x: Tensor) -> None:
    half = x.detach()[:1]
    half.data *= 2.0


WRITES = [_by_item, _by_data, _by_alias, _by_view, _by_view_data]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_change_in_place_is_detected(write: Callable[[Tensor], None], create_graph: bool) -> None:
    """A value that a rule reads and that was written to since is refused, however it was written to."""
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    write(x)
    assert text_of(GraphError, lambda: loss.backward(create_graph=create_graph)) == (
        "backward: a value that the gradient of mul reads was changed in place.\n"
        "  value: f32(2,)\n"
        "  read by: f32(2,)   from mul\n"
        "  expected the value to be what it was in the forward pass.\n"
        "  Make a new tensor (y = x + 1) instead of writing into x, or call backward() first."
    )


def test_a_changed_result_and_a_changed_constant_are_detected_too() -> None:
    """The output a rule reads and a constant factor are guarded as inputs are."""
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    y = x.exp()
    y.detach()[0] = 0.0
    with pytest.raises(GraphError, match="the gradient of exp reads"):
        tgs.grad(y.sum(), [x])
    loss = (x * c).sum()
    c[0] = 0.0
    with pytest.raises(GraphError, match="the gradient of mul reads"):
        loss.backward()


@pytest.mark.parametrize("write", WRITES)
def test_a_change_that_no_rule_reads_is_no_error(write: Callable[[Tensor], None]) -> None:
    """Sums do not read their inputs, and what is changed before the forward pass is not a change."""
    x = leaf(1.0, 2.0)
    loss = (x + x).sum()
    write(x)
    loss.backward()
    assert grad_of(x) == [2.0, 2.0]
    (x * 3.0).sum().backward()
    assert grad_of(x) == [5.0, 5.0]


def halves() -> tuple[Tensor, Tensor]:
    """Two leaves that share one buffer of 6 numbers, as parameters do after an optimiser's step."""
    buffer = np.arange(1.0, 7.0, dtype=np.float32)
    pair = wrap(buffer[:2]), wrap(buffer[2:].reshape(2, 2))
    for x in pair:
        x.requires_grad = True
    return pair


@pytest.mark.parametrize("write", WRITES)
def test_a_change_in_one_view_is_none_in_its_neighbor(write: Callable[[Tensor], None]) -> None:
    """The bytes that were written to count, not the buffer they lie in."""
    x, y = halves()
    loss_x, loss_y = (x * x).sum(), (y * y).sum()
    write(x)
    loss_y.backward()
    assert grad_of(y) == [[6.0, 8.0], [10.0, 12.0]]
    with pytest.raises(GraphError, match="changed in place"):
        loss_x.backward()


@pytest.mark.parametrize(
    ("index", "refused"),
    [(slice(0, 2), False), (slice(1, 3), True), (slice(5, 6), True), (slice(4, 4), False)],
)
def test_a_change_that_overlaps_is_refused(index: slice, refused: bool) -> None:
    """The second view holds numbers 2 to 5 of the buffer: touching one is enough, touching none is not."""
    _, y = halves()
    loss = (y * y).sum()
    base = y.array.base
    assert base is not None
    wrap(base[index]).data *= 1.0
    if refused:
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()
    else:
        loss.backward()


def test_a_change_behind_a_view_and_one_of_nothing_are_none() -> None:
    """The number behind the last is not part of a view, and no number written is no change."""
    x, y = halves()
    loss_x, loss_y = (x * x).sum(), (y * y).sum()
    wrap(y.array.reshape(-1)[2:][:0]).data *= 1.0
    loss_y.backward()
    y.data *= 1.0
    loss_x.backward()
    assert grad_of(x) == [2.0, 4.0]


def test_each_of_two_changes_has_its_own_time() -> None:
    """A later change elsewhere makes an earlier one neither newer nor forgotten."""
    x, y = halves()
    loss_y = (y * y).sum()
    y.data *= 1.0
    loss_x = (x * x).sum()
    again = (y * y).sum()
    x.data *= 1.0
    again.backward()
    for loss in (loss_x, loss_y):
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()


def test_many_changes_take_bounded_memory_and_none_is_forgotten() -> None:
    """A thousand single numbers written: few ranges are kept, and each number is known to have changed."""
    buffer = np.ones(1002, dtype=np.float32)
    x, untouched = wrap(buffer[1:-1]), wrap(buffer[-1:])
    for t in (x, untouched):
        t.requires_grad = True
    parts = [wrap(buffer[i : i + 1]) for i in range(1, 1001)]
    for part in parts:
        part.requires_grad = True
    losses = [(part * part).sum() for part in parts]
    other = (untouched * untouched).sum()
    for part in parts:
        part.data *= 1.0
    assert len(nodes._changed[id(buffer)][1]) <= 64
    other.backward()
    for loss in losses:
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()


def test_assign_never_disturbs_a_tape() -> None:
    """A new value leaves the tape its old one: the gradient is that of the value used."""
    w = leaf(3.0, 4.0)
    loss = (w * w).sum()
    w.assign(w.detach() - 1.0)
    loss.backward(retain_graph=True)
    w.data = np.zeros(2)
    loss.backward()
    assert grad_of(w) == [12.0, 16.0]
    assert w.tolist() == [0.0, 0.0]
    for _ in range(3):
        w.grad = None
        (w * w - w).sum().backward()
        assert w.grad is not None
        w.assign(w.detach() - 0.5 * w.grad)
    assert w.tolist() == [0.5, 0.5]


def test_writing_is_refused_where_a_gradient_would_be_lost() -> None:
    """Writing into what is on the tape, or a value that wants a gradient, is an error with a way out."""
    x = leaf(1.0, 2.0)
    refused = (
        "assignment: x is on the tape and cannot be written to.\n"
        "  x: {}\n"
        "  expected a leaf without gradient, or a leaf inside no_grad().\n"
        "  Build a new tensor with where() or concat(), or write to x.detach()."
    )
    y = x * 2.0
    assert text_of(GraphError, lambda: x.__setitem__(0, 1.0)) == refused.format("f32(2,)")
    assert text_of(GraphError, lambda: y.__setitem__(0, 1.0)) == refused.format("f32(2,)   from mul")
    buffer = tgs.zeros(2)
    assert text_of(GraphError, lambda: buffer.__setitem__(0, y[0])) == (
        "assignment: the gradient of the value would be lost.\n"
        "  x: f32(2,)\n"
        "  value: f32()   from slice\n"
        "  expected a value without gradient.\n"
        "  Build x with stack(), concat() or where(), or write value.detach()."
    )
    with no_grad():
        buffer[0] = y[0]
    assert buffer.tolist() == [2.0, 0.0]


# ---- second walks ------------------------------------------------------------------------------------------
def test_a_second_backward_says_what_to_do() -> None:
    """The same loss walked twice names its op and the two ways out."""
    loss = (leaf(1.0) * 2.0).sum()
    loss.backward()
    assert text_of(GraphError, loss.backward) == (
        "backward: this graph was walked before and its memory released.\n"
        "  output: f32()   from sum\n"
        "  expected one backward() per forward pass.\n"
        "  Compute the value again, or keep the graph with backward(retain_graph=True)."
    )


def test_a_carried_state_is_named_where_it_was_made() -> None:
    """A state carried into the next window is named with its scope and time step, and so is the remedy."""
    w = leaf(0.5)
    with tgs.scope("lstm"), tgs.time_step(34):
        h = (w * 2.0).tanh()
    (h * h).sum().backward()
    with tgs.scope("lstm"), tgs.time_step(35):
        loss = (h * w).sum()
    assert text_of(GraphError, loss.backward) == (
        "backward: the walk reached a graph that an earlier backward() released.\n"
        "  first released: f32(1,)   from tanh in lstm, step 34\n"
        "  a value carried over from there, such as a recurrent state, still hangs on it.\n"
        "  Cut a carried state between windows: state = detach(state), or let bptt.TruncatedBPTT do it. For two "
        "losses on one graph, pass retain_graph=True to the first backward()."
    )


def test_retain_graph_allows_another_walk() -> None:
    """Walks over a kept graph give the same gradient each time."""
    x = leaf(3.0)
    loss = (x * x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    assert grad_of(x) == [81.0]


def test_create_graph_twice() -> None:
    """The gradient of the gradient's gradient: x^4 gives 4x^3, 12x^2, 24x."""
    x = leaf(2.0)
    slope = (x * x * x * x).sum()
    for expected in (32.0, 48.0, 48.0):
        (slope,) = tgs.grad(slope, [x], create_graph=True)
        assert slope.tolist() == [expected]
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad is not None
    assert tgs.grad(x.grad, x).tolist() == [12.0]


def test_the_gradient_at_an_inner_tensor_leaves_the_graph_behind_it_whole() -> None:
    """Walking from a loss to a state releases what lies between, not what made the state."""
    x = leaf(2.0)
    h = x * x
    assert tgs.grad((h * h).sum(), h).tolist() == [8.0]
    assert tgs.grad(h.sum(), x).tolist() == [4.0]
    h = x * x
    y = h * h
    assert [g.tolist() for g in tgs.grad(y * y, [y, h, x])] == [[32.0], [256.0], [1024.0]]


def test_a_walk_that_fails_leaves_no_trace() -> None:
    """After an error in a hook, ops are again recorded in the place where they run."""
    x = leaf(1.0)
    y = x * x

    def fail(_: Tensor) -> Tensor:
        raise KeyError("mine")

    y.register_hook(fail)
    z = y * y
    for create_graph in (True, False):
        with pytest.raises(KeyError):
            z.backward(retain_graph=True, create_graph=create_graph)
        after = x * 2.0
        assert after.requires_grad
        assert after.origin == "from mul"


# ---- hooks -------------------------------------------------------------------------------------------------
def test_hooks_run_once_in_order_on_the_whole_gradient() -> None:
    """A hook sees the sum over all uses; each hook sees what the one before it made of it."""
    x = leaf(1.0, 2.0)
    y = x * 1.0
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10.0)
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y + y * 2.0).sum().backward()
    assert seen == [[3.0, 3.0], [30.0, 30.0]]
    assert grad_of(x) == [30.0, 30.0]


def test_hooks_on_a_leaf_change_its_gradient() -> None:
    """What a leaf's hook returns is what arrives in `.grad`."""
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.clip(high=1.5))
    (x * x).sum().backward()
    assert grad_of(x) == [1.5, 1.5]


def test_a_hook_may_be_taken_away_again() -> None:
    """Each registration has its own way out, even of one function twice; leaving twice is harmless."""
    x = leaf(1.0)
    seen: list[int] = []

    def hook(_: Tensor) -> None:
        seen.append(1)

    first, _ = x.register_hook(hook), x.register_hook(hook)
    (x * 2.0).backward()
    assert len(seen) == 2
    first()
    first()
    (x * 2.0).backward()
    assert len(seen) == 3


def test_a_hook_may_write_into_what_it_is_given() -> None:
    """The hook's gradient is a copy: writing into it changes no other gradient."""
    x, y = leaf(1.0), leaf(1.0)

    def scribble(g: Tensor) -> None:
        g[0] = 99.0

    x.register_hook(scribble)
    (x + y).backward()
    assert (grad_of(x), grad_of(y)) == ([1.0], [1.0])


def test_what_a_hook_returns_takes_the_dtype_of_its_tensor() -> None:
    """A float64 gradient from a hook does not widen the float32 gradients behind it."""
    x = leaf(1.0, 2.0)
    y = x * 2.0
    y.register_hook(lambda g: g.double() * 3.0)
    for create_graph in (True, False):
        slope = tgs.grad(y * 1.0, x, np.ones(2), create_graph=create_graph)
        assert (slope.dtype, slope.tolist()) == (np.float32, [6.0, 6.0])


def test_a_hook_that_changes_the_shape_is_an_error() -> None:
    """The text shows what came back and what was expected."""
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    assert text_of(ShapeError, (x * 2.0).sum().backward) == (
        "hook: it returned another shape.\n  gradient: f32()\n  expected shape (2,)."
    )


def test_hooks_are_differentiated_through() -> None:
    """Under create_graph a hook's own maths is on the tape."""
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (slope,) = tgs.grad(y, [x], create_graph=True)
    assert slope.tolist() == [18.0]
    assert tgs.grad(slope, x).tolist() == [12.0]


def test_retain_grad_keeps_the_gradient_of_what_is_between() -> None:
    """Once, however often it is asked for; a leaf keeps its gradient anyway."""
    x = leaf(3.0)
    y = x * x
    for t in (x, y, y):
        t.retain_grad()
    (y * y).backward()
    assert (grad_of(y), grad_of(x)) == ([18.0], [108.0])


# ---- switching recording off -------------------------------------------------------------------------------
def test_no_grad_as_block_and_decorator() -> None:
    """Nothing inside is recorded; afterwards, also after an error, recording is as it was."""
    x = leaf(1.0)

    @no_grad()
    def double(x: Tensor) -> Tensor:
        return x * 2.0

    for _ in range(2):
        assert not double(x).requires_grad
    with no_grad():
        with no_grad():
            pass
        assert not (x * 2.0).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2.0).requires_grad


def test_no_grad_is_one_threads_own_affair() -> None:
    """A thread that records nothing does not stop another from recording."""
    x = leaf(1.0)
    inside, checked = threading.Event(), threading.Event()
    wants: list[bool] = []

    def other() -> None:
        with no_grad():
            inside.set()
            checked.wait(10)
            wants.append((x * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    wants.append((x * 2.0).requires_grad)
    checked.set()
    thread.join()
    assert wants == [True, False]


def test_threads_walk_their_own_tapes() -> None:
    """Threads that record and walk at once get each its own gradient, and no place of another's."""
    results: list[Any] = [None] * 4

    def work(k: int) -> None:
        x = leaf(float(k + 1))
        with tgs.scope(f"thread{k}"):
            for _ in range(200):
                x.grad = None
                y = x * x * x
                tgs.grad(y, [x], create_graph=True)[0].backward()
        results[k] = (grad_of(x), y.origin)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [([6.0 * (k + 1)], f"from mul in thread{k}") for k in range(4)]


def test_what_is_traced_is_on_the_tape_without_wanting_a_gradient() -> None:
    """Everything that depends on a traced tensor is recorded, ids and truths included, and keeps no array."""
    x, ids, w = Tensor([1.0, 2.0, 3.0]), Tensor([2, 0]), leaf(1.0, 2.0, 3.0)
    x.mode = ids.mode = TRACED
    picked = x[ids]
    results = [
        x * 2.0,
        x.tanh(),
        x < 2.0,
        picked,
        (picked > 1.0) & True,
        ids + 1,
        tgs.concat([x, x]),
        x.floor(),
    ]
    assert all(isinstance(t.node, Node) and not t.requires_grad for t in results)
    assert not any(isinstance(kept, np.ndarray) for t in results for kept in (*t.node.saved, t.node.out))
    loss = (w[ids] * picked).sum() + (ops.cut(x) * w).sum()
    loss.backward()
    assert grad_of(w) == [1.0 + 1.0, 2.0, 3.0 + 3.0]
    assert x.grad is None


# ---- edges that carry nothing ------------------------------------------------------------------------------
@pytest.mark.parametrize("create_graph", [False, True])
def test_cut_stops_the_gradient_on_one_edge(create_graph: bool) -> None:
    """x cut(x) has the gradient x, by backward() and by grad() alike; a value all cut wants none."""
    x = leaf(3.0)
    (x * ops.cut(x)).backward(create_graph=create_graph)
    assert grad_of(x) == [3.0]
    assert tgs.grad(x * ops.cut(x * x), x, create_graph=create_graph).tolist() == [9.0]
    assert not ops.cut(x).requires_grad


def test_no_gradient_flows_through_whole_numbers() -> None:
    """Rounding to integers has slope 0, so nothing comes back through them."""
    x = leaf(2.5)
    assert not x.to(np.int64).requires_grad
    (x * x.to(np.int64)).backward()
    assert grad_of(x) == [2.0]


def test_a_gradient_returns_in_the_dtype_it_left() -> None:
    """A cast to float64 and back leaves a float32 gradient on a float32 leaf."""
    x, y = leaf(2.0), tgs.tensor(np.array([3.0]), requires_grad=True)
    (x.double() * y).float().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    assert (grad_of(x), grad_of(y)) == ([3.0], [2.0])


def test_no_gradient_leaks_from_the_side_not_taken() -> None:
    """`where` sends nothing to the other side, also where that side overflows; clip sends nothing beyond."""
    x = leaf(0.0, 1.0)
    with np.errstate(divide="ignore"):
        tgs.where(x > 0.5, x.log(), x * 2.0).sum().backward()
    assert x.grad is not None
    assert x.grad.array[1] == 1.0
    y = leaf(-2.0, -1.0, 0.0, 1.0, 2.0)
    y.clip(-1.0, 1.0).sum().backward()
    assert grad_of(y) == [0.0, 1.0, 1.0, 1.0, 0.0]


# ---- ops of several outputs --------------------------------------------------------------------------------
def _joint(wanted: Any, gs: Any, outs: Any, x: Any) -> list[Any]:
    e, xe = outs
    total: Any = 0.0
    if gs[0] is not None:
        total = total + gs[0] * e
    if gs[1] is not None:
        total = total + gs[1] * (e + xe)
    return [total]


TWO = Op("two", lambda x: (np.exp(x), x * np.exp(x)), "call", joint_vjp=_joint, joint_reads=(-1,))


def test_an_op_of_several_outputs_has_derivatives_of_any_order() -> None:
    """exp(x) and x exp(x) from one op, whose rule reads both: right at orders 1 to 3, whichever is used."""
    x = tgs.tensor(np.array([0.3, -0.7]), requires_grad=True)
    for order in (1, 2, 3):
        for use in (lambda a, b: a * b, lambda a, b: a, lambda a, b: b):
            assert gradcheck(lambda x, use=use: use(*TWO(x)), x, order=order)
    a, b = TWO(x)
    a.sum().backward()
    with pytest.raises(GraphError, match="earlier backward"):
        b.sum().backward()


def test_zero_and_minus_zero_are_two_constants() -> None:
    """Numbers share one tensor for each value, and the two zeros are equal but not the same."""
    x = Tensor([1.0])
    for _ in range(2):
        assert [np.signbit((x * zero).item()) for zero in (0.0, -0.0)] == [False, True]


# ---- copies ------------------------------------------------------------------------------------------------
def test_copies_of_leaves_are_their_own() -> None:
    """A deep copy, a shallow one and a pickle share no memory with the original and keep its setting."""
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    for twin in (copy.deepcopy(x), copy.copy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        assert twin.is_leaf
        assert not np.shares_memory(twin.array, x.array)
        assert twin.tolist() == x.tolist()
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    assert text_of(GraphError, lambda: copy.deepcopy(x * 2.0)) == (
        "deepcopy: x was made by a recorded op.\n  x: f32(2,)   from mul\n"
        "  only leaves can be copied with their gradient setting.\n  Use x.detach()."
    )


def test_numpy_gets_a_view_it_cannot_write_to() -> None:
    """`.numpy()` and `np.asarray` share the memory and refuse writing; a copy is free."""
    x = Tensor([1.0, 2.0])
    for view in (x.numpy(), np.asarray(x)):
        assert np.shares_memory(view, x.array)
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5.0
    mine = np.array(x)
    mine[0] = 5.0
    assert x.tolist() == [1.0, 2.0]
    data = np.array([1.0, 2.0])
    y = Tensor(data)
    data[0] = 5.0
    assert y.tolist() == [1.0, 2.0]
    assert wrap(data).array is data
