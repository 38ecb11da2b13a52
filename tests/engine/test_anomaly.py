"""Laws of anomaly mode: the first NaN or infinity is named where it arose, and nothing else is."""

from __future__ import annotations

import gc
import math
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine.anomaly import Watcher, detect_anomaly
from tinygrad_seq.engine.apply import record
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import NonFiniteError

INF, NAN = float("inf"), float("nan")


def weight(*values: float) -> Tensor:
    """A parameter of these values."""
    return Tensor(list(values), requires_grad=True, name="w")


def report(run: Callable[[], object]) -> str:
    """The full text of the anomaly that a function runs into."""
    with pytest.raises(NonFiniteError) as caught, detect_anomaly():
        run()
    return str(caught.value)


def growth(run: Callable[[], object]) -> str:
    """The chain of largest values that the report shows."""
    (chain,) = [line for line in report(run).splitlines() if "growth before it" in line]
    return chain.removeprefix("  growth before it: ")


def finds_nothing(run: Callable[[], object]) -> None:
    """Run a function with anomaly mode on."""
    with detect_anomaly():
        run()


# ---------------------------------------------------------------- forward


def test_a_forward_overflow_names_op_place_inputs_and_growth() -> None:
    """The report has the op, pass, place, count, each input with its largest value, and the chain."""

    def run() -> None:
        h = weight(2.0, 0.0)
        with tgs.scope("cell"):
            for t in range(6):
                with tgs.time_step(t):
                    h = h * h + 3e6

    assert report(run) == (
        "mul: 2 of 2 elements are +inf in the forward pass, in cell, step 3.\n"
        "  x: f32(2,)   from add in cell, step 2, largest |x| 8.1e+25\n"
        "  y: f32(2,)   from add in cell, step 2, largest |y| 8.1e+25\n"
        "  expected finite numbers; the inputs were finite.\n"
        "  growth before it: const  3e+06 -> add step 0  3e+06 -> mul step 1  9e+12 -> add step 1  9e+12 -> "
        "mul step 2  8.1e+25 -> add step 2  8.1e+25 -> mul step 3  inf"
    )


def test_the_growth_has_at_most_eight_entries() -> None:
    """The last eight entries are shown, oldest first; ops that only move values are left out."""

    def run() -> None:
        h = weight(10.0)
        for t in range(40):
            with tgs.time_step(t):
                h = (h * 10.0).reshape(1, 1)[0]

    assert growth(run) == (
        "mul step 30  1e+32 -> mul step 31  1e+33 -> mul step 32  1e+34 -> "
        "mul step 33  1e+35 -> mul step 34  1e+36 -> mul step 35  1e+37 -> mul step 36  1e+38 -> "
        "mul step 37  inf"
    )


def test_the_growth_follows_the_largest_input() -> None:
    """Where two values meet, the chain goes on with the larger, be it a parameter, data or a constant."""

    def run() -> None:
        x = Tensor([1e30], name="x")
        small, large = weight(2.0).tanh(), weight(3.0) * x
        (small + large) * 1e30

    assert growth(run) == "x  1e+30 -> mul  3e+30 -> add  3e+30 -> mul  inf"


def test_mixed_kinds_are_counted_apart() -> None:
    """NaN, +inf and -inf are counted by kind."""
    x = weight(0.0, 1.0, -1.0, 2.0)
    assert report(lambda: x / Tensor([0.0, 0.0, 0.0, 1.0])) == (
        "div: 3 of 4 elements are not finite, 1 NaN and 1 +inf and 1 -inf, in the forward pass.\n"
        "  x: f32(4,)   parameter 'w', largest |x| 2\n"
        "  y: f32(4,)   largest |y| 1\n"
        "  expected finite numbers; the inputs were finite.\n"
        "  growth before it: w  2 -> div  nan\n"
        "  Keep the divisor away from 0."
    )


def test_ops_off_the_tape_are_watched_too() -> None:
    """Inside no_grad the op is reported just as well, without a history."""

    def run() -> None:
        with tgs.no_grad():
            weight(-1.0).log()

    assert report(run) == (
        "log: 1 of 1 elements is NaN in the forward pass.\n"
        "  x: f32(1,)   parameter 'w', largest |x| 1\n"
        "  expected finite numbers; the inputs were finite.\n"
        "  Keep the argument above 0: log(x + 1e-6), or log_softmax(x) for log(softmax(x))."
    )


def test_an_op_on_infinities_is_reported_and_says_whose_they_were() -> None:
    """A mask of -inf is reported at the op that applies it; the text names the input that held it."""
    keep = Tensor([True, False])
    assert report(lambda: tgs.where(keep, weight(1.0, 2.0), -INF)) == (
        "where: 1 of 2 elements is -inf in the forward pass.\n"
        "  condition: bool(2,)\n"
        "  x: f32(2,)   parameter 'w', largest |x| 2\n"
        "  y: f32()   largest |y| inf\n"
        "  expected finite numbers; y held some before.\n"
        "  growth before it: const  inf -> where  inf"
    )


def test_inputs_constants_integers_and_empty_arrays_are_not_reported() -> None:
    """Only what an op made is judged: infinite data is fine until an op hands it on."""

    def run() -> None:
        x = Tensor([INF, NAN], requires_grad=True)
        tgs.where(Tensor([False, False]), x, 1.0).sum().backward()
        assert (x < INF).tolist() == [False, False]
        (Tensor([2**62]) * 4).sum()
        (weight() * 2).sum()
        tgs.full((2,), INF)

    finds_nothing(run)


def test_a_checkpoint_does_not_cut_the_growth() -> None:
    """The chain goes through a checkpointed segment to what went into it."""

    def run() -> None:
        y = tgs.checkpoint(lambda a: a * 1e30, weight(3.0) * 2.0)
        y * y

    assert growth(run) == "w  3 -> mul  6 -> mul  inf"


def both(x: Any) -> tuple[Any, Any]:
    """Twice and thrice."""
    return x * 2, x * 3


BOTH = Op("both", both, "call", joint_vjp=lambda wanted, gs, outs, x: [sum(g for g in gs if g is not None)])


def test_ops_with_several_outputs_are_watched() -> None:
    """Each output of such an op is judged, and the chain names the op, not the pick; forward and backward."""

    def forward() -> None:
        record(BOTH, (weight(1.5e38),), {})

    assert report(forward).splitlines()[0] == "both: 1 of 1 elements is +inf in the forward pass."

    def later() -> None:
        a, b = record(BOTH, (weight(3e37),), {})
        (a + b) * 10

    assert growth(later) == "w  3e+37 -> both  9e+37 -> add  1.5e+38 -> mul  inf"

    def backward() -> None:
        a, b = record(BOTH, (weight(1.0) * 1e20,), {})
        (a * 1e-20 + b * 1e10).sum().backward(Tensor(1e15))

    assert growth(backward) == "sum  1e+15 -> add  1e+15 -> mul  1e+15 -> both  1e+25 -> mul  1e+25 -> w  inf"


# ---------------------------------------------------------------- backward


def test_each_gradient_that_comes_in_is_told() -> None:
    """Where an op has several outputs, the report has the gradient of each that had one."""

    def run() -> None:
        a, b = record(BOTH, (weight(1.0),), {})
        (a * 3e8 + b * 3e8).sum().backward(Tensor(1e30))

    assert report(run) == (
        "both: 1 of 1 elements is +inf in the gradient it sends back (backward pass).\n"
        "  g0: f32(1,)   gradient of its result, largest |g0| 3e+38\n"
        "  g1: f32(1,)   gradient of its result, largest |g1| 3e+38\n"
        "  flows to: f32(1,)   parameter 'w'\n"
        "  expected finite numbers; what came in was finite, the rule of both made them.\n"
        "  growth before it: sum  1e+30 -> add  1e+30 -> mul  1e+30 -> both  3e+38 -> w  inf"
    )


def test_a_rule_at_fault_is_named_with_what_it_flows_to() -> None:
    """Where only the backward pass fails, the op whose rule failed is named, its parent, the way there."""

    def run() -> None:
        w = weight(0.0, 4.0)
        with tgs.scope("norm"), tgs.time_step(2):
            y = w.sqrt()
        (y * 3.0).sum().backward()

    assert report(run) == (
        "sqrt: 1 of 2 elements is +inf in the gradient it sends back (backward pass, in norm, step 2).\n"
        "  g: f32(2,)   gradient of its result, largest |g| 3\n"
        "  flows to: f32(2,)   parameter 'w'\n"
        "  expected finite numbers; what came in was finite, the rule of sqrt made them.\n"
        "  growth before it: sum  1 -> mul  1 -> sqrt step 2  3 -> w  inf\n"
        "  Keep the argument above 0: at 0 the slope is infinite, below it there is no root."
    )


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_that_explodes_through_time_shows_its_growth(create_graph: bool) -> None:
    """The chain runs back through time with the largest gradients, recorded or not."""

    def run() -> None:
        h = weight(0.0)
        for t in range(6):
            with tgs.time_step(t):
                h = (h * 1e10).tanh()
        h.sum().backward(create_graph=create_graph)

    assert report(run).splitlines()[0] == (
        "mul: 1 of 1 elements is +inf in the gradient it sends back (backward pass, step 2)."
    )
    last = ["mul step 3  1e+20", "tanh step 2  1e+30", "mul step 2  1e+30", "tanh step 1  inf"]
    assert growth(run).split(" -> ")[-4:] == last


def test_gradients_whose_sum_overflows_are_reported_where_they_meet() -> None:
    """Finite gradients with an infinite sum are no rule's fault: the tensor where they meet is named."""

    def run() -> None:
        w = weight(1.0)
        ((w * 2e38) * 1e-30 + (w * 2e38) * 1e-30).sum().backward(Tensor(1e30))

    assert report(run) == (
        "backward: 1 of 1 elements is +inf in the gradients that meet at one tensor (backward pass).\n"
        "  tensor: f32(1,)   parameter 'w'\n"
        "  expected finite numbers; the largest that came in was 2e+38: their sum is too large.\n"
        "  growth before it: sum  1e+30 -> add  1e+30 -> mul  1e+30 -> mul  1 -> w  inf"
    )


def test_slices_whose_gradients_overflow_together_are_reported() -> None:
    """What meets through slices is judged like the rest."""

    def run() -> None:
        h = weight(1.0, 1.0) * 1.0
        (h[0:1] * 2e8 + h[0:1] * 2e8).sum().backward(Tensor(1e30))

    assert report(run).splitlines()[:2] == [
        "backward: 1 of 2 elements is +inf in the gradients that meet at one tensor (backward pass).",
        "  tensor: f32(2,)   from mul",
    ]


def test_a_hook_that_spoils_a_gradient_is_suspected() -> None:
    """A NaN that a hook puts in is reported at the tensor that carries the hook."""

    def run() -> None:
        w = weight(1.0)
        w.register_hook(lambda g: Tensor([NAN]))
        (w * 2.0).sum().backward()

    came_in = "expected finite numbers; the largest that came in was 2"
    assert report(run).splitlines()[2] == f"  {came_in}: a hook changed it, or their sum is too large."


def test_a_gradient_that_came_in_bad_is_not_blamed_on_the_rule() -> None:
    """With backward(NaN) the text says that the gradient held it before."""
    y = weight(1.0) * 2.0
    assert report(lambda: y.backward(Tensor([NAN]))) == (
        "mul: 1 of 1 elements is NaN in the gradient it sends back (backward pass).\n"
        "  g: f32(1,)   gradient of its result, largest |g| nan\n"
        "  flows to: f32(1,)   parameter 'w'\n"
        "  expected finite numbers; g held some before.\n"
        "  growth before it: mul  nan -> w  nan"
    )


def test_a_recorded_rule_is_judged_by_its_result() -> None:
    """A step inside a recorded rule may be infinite where its result is not."""

    def rule(g: Any, out: Any, x: Any) -> Any:
        return tgs.where(g < INF, g, g / 0.0)

    careful = Op("careful", lambda x: x + 0, "map", (rule,), ((),))
    w = weight(1.0)
    with detect_anomaly():
        assert tgs.grad(record(careful, (w,), {}).sum(), w, create_graph=True).tolist() == [1.0]


def test_a_rule_that_raises_leaves_no_trace_in_the_place() -> None:
    """After an anomaly in a recorded backward pass, ops are in the forward pass and its scope again."""
    report(lambda: weight(0.0).sqrt().sum().backward(create_graph=True))
    assert Place() == STATE.place


# ---------------------------------------------------------------- switching


def test_outside_of_the_block_nothing_is_watched() -> None:
    """Anomaly mode ends with its block, also when an error ends it."""
    report(lambda: weight(-1.0).log())
    assert STATE.watch is None
    with np.errstate(invalid="ignore"):
        assert np.isnan(weight(-1.0).log().item())


def test_it_works_as_a_decorator() -> None:
    """A decorated function is watched at each call."""

    @detect_anomaly()
    def root(x: float) -> Any:
        return weight(x).sqrt().item()

    for _ in range(2):
        with pytest.raises(NonFiniteError):
            root(-1.0)
    assert root(4.0) == 2.0
    assert STATE.watch is None


def test_blocks_nest() -> None:
    """The end of an inner block does not end the outer one, and the history goes through both."""

    def run() -> None:
        h = weight(1e30) * 2.0
        with detect_anomaly():
            h = h * 3.0
        h * 1e30

    assert growth(run) == "w  1e+30 -> mul  2e+30 -> mul  6e+30 -> mul  inf"


def test_each_thread_switches_for_itself() -> None:
    """A thread that did not ask is not watched, and one that did does not switch it on for others."""
    seen: list[object] = []

    def unwatched() -> None:
        with np.errstate(invalid="ignore"):
            seen.append(weight(-1.0).sqrt().item())

    def watched() -> None:
        seen.append(report(lambda: weight(-1.0).sqrt()).splitlines()[0])

    with detect_anomaly():
        thread = threading.Thread(target=unwatched)
        thread.start()
        thread.join()
    other = threading.Thread(target=watched)
    other.start()
    other.join()
    unwatched()
    assert [str(x) for x in seen] == ["nan", "sqrt: 1 of 1 elements is NaN in the forward pass.", "nan"]


def test_numpy_warns_no_second_time() -> None:
    """NumPy's own warning does not come before the report, nor without the block: infinity is an answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report(lambda: weight(1e5).exp()).startswith("exp: 1 of 1 elements is +inf")
        assert weight(1e5).exp().item() == math.inf


def test_the_history_keeps_no_graph_alive() -> None:
    """When a step is over its nodes go, though its parameters and the block live on."""
    w = weight(2.0)
    with detect_anomaly():
        watcher = STATE.watch
        assert isinstance(watcher, Watcher)
        loss = (w * w).sum()
        node = weakref.ref(loss.node)
        loss.backward()
        del loss
        gc.collect()
        assert node() is None
        assert set(watcher.sizes) == {w.node}
        assert set(watcher.arrivals) == {w.node}


def test_results_are_the_same_with_it_on() -> None:
    """Watching changes neither values nor gradients."""

    def train() -> tuple[Any, ...]:
        lstm = tgs.LSTM(3, 4)
        lstm.load_state_dict({k: np.full(v.shape, 0.1, np.float32) for k, v in lstm.state_dict().items()})
        out, _ = lstm(Tensor(np.ones((5, 2, 3), np.float32)))
        (out * out).sum().backward()
        return out.tolist(), [p.grad.tolist() for p in lstm.parameters()]  # type: ignore[union-attr]

    with tgs.composed():  # what is watched is not fused, and so differs from a kernel by roundings
        plain = train()
    with detect_anomaly():
        assert train() == plain
