"""Derived kernels against their compositions: values, gradients, higher orders, and what cannot be fused."""

from types import FunctionType

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.creation import iota
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.fuser import plan
from tinygrad_seq.fuser.decorator import composed, fused, kernels_wanted

pytestmark = [
    pytest.mark.laws,
    pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed"),
]


@fused
def gates(z, c):
    """The pointwise part of an LSTM step."""
    i, f, g, o = z.chunk(4, -1)
    c = F.sigmoid(f) * c + F.sigmoid(i) * g.tanh()
    return F.sigmoid(o) * c.tanh(), c


@fused
def normalized(x, w, b):
    """Layer norm of the last axis."""
    centered = x - x.mean(-1, keepdims=True)
    return centered / ((centered * centered).mean(-1, keepdims=True) + 1e-5).sqrt() * w + b


@fused
def surprise(x, ids):
    """-log softmax(x)[id] for each row."""
    return -ops.gather(F.log_softmax(x), iota(x.shape[0]), ids.squeeze(-1))


@fused
def joined(x, y):
    """Columns joined, sliced across the seam, and reduced without keeping the axis."""
    z = tgs.concat([x, y * 2.0], axis=-1)
    return (z[:, 1:] * z[:, :-1]).sum(-1), z.max(-1, keepdims=True)


@fused
def scaled(x, k):
    """A factor for all."""
    return (x * k).exp() - k


FUNCTIONS = {
    "gates": (gates, [(5, 32), (5, 8)]),
    "gates of width 1": (gates, [(5, 4), (5, 1)]),
    "gates, state of one row": (gates, [(6, 2, 12), (1, 2, 3)]),
    "softmax": (fused(F.softmax), [(4, 3, 9)]),
    "softmax of a vector": (fused(F.softmax), [(7,)]),
    "log_softmax": (fused(F.log_softmax), [(6, 11)]),
    "gelu": (fused(F.gelu), [(4, 10)]),
    "silu": (fused(F.silu), [(4, 10)]),
    "relu": (fused(F.relu), [(4, 10)]),
    "softplus": (fused(F.softplus), [(4, 10)]),
    "layer norm": (normalized, [(6, 2, 10), (10,), (10,)]),
    "layer norm of another width": (normalized, [(3, 13), (13,), (13,)]),
    "column, row, number": (fused(lambda a, b, c: (a * b + c).tanh()), [(5, 1), (5, 7), (1,)]),
    "joined columns": (joined, [(4, 5), (4, 3)]),
    "one factor": (scaled, [(3, 4), (1,)]),
    "no rows": (gates, [(0, 8), (0, 2)]),
    "no columns": (fused(lambda a, b: a * b + 1.0), [(3, 0), (3, 0)]),
}


def tensors(shapes, dtype, seed=0):
    """Inputs that want gradients."""
    rng = np.random.default_rng(seed)
    return [tgs.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]


class Largest:
    """Watches a composed run: the largest term, which of a sum is the sum of all its absolute terms."""

    def __init__(self):
        self.value = 0.0

    def made(self, node, op, inputs, out):
        """Values in and out, forward or of a recorded gradient."""
        for array in (out, *(t.array for t in inputs)):
            self.see(array)
        if op.name == "sum":
            self.see(np.abs(finite(inputs[0].array)).sum(node.settings["axis"] if node else None))

    def sent(self, *_):
        """Seen where it was made."""

    arrived = sent

    def see(self, array):
        """The finite magnitudes."""
        if np.asarray(array).dtype.kind == "f":
            self.value = max(self.value, float(np.abs(finite(array)).max(initial=0.0)))


class Moved:
    """Watches a composed run and moves each result of a rounding op by one unit in its last place, or leaves it.

    Which of the three depends on the number and the seed: equal numbers stay equal, so that ties stay ties.
    """

    ROUNDING = frozenset(
        {
            "add",
            "sub",
            "mul",
            "div",
            "exp",
            "log",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "tanh",
            "sigmoid",
            "erf",
            "ndtr",
            "pow",
            "sum",
        }
    )

    def __init__(self, seed):
        self.seed = np.uint64(seed)

    def made(self, node, op, inputs, out):
        """The result, moved in its place."""
        if op.name in self.ROUNDING and out.dtype.kind == "f" and out.flags.writeable:
            words = np.ascontiguousarray(out, np.float64).view(np.uint64).reshape(out.shape)
            words = (words + self.seed) * np.uint64(0x9E3779B97F4A7C15)
            step = ((words >> np.uint64(40)) % np.uint64(3)).astype(out.dtype) - 1
            np.multiply(out, 1 + step * np.finfo(out.dtype).eps, out=out)

    def sent(self, *_):
        """Gradients are recorded, and so moved where they are made."""

    arrived = sent


def finite(array):
    """In float64, with 0 for what is not finite."""
    return np.nan_to_num(np.asarray(array, np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def results(fn, inputs, weights, create_graph=False):
    """Outputs and gradients of a weighted sum of them."""
    outs = fn(*inputs)
    outs = outs if isinstance(outs, (tuple, list)) else (outs,)
    floats = [x for x in inputs if x.requires_grad]
    total = sum((o * w).sum() for o, w in zip(outs, weights, strict=True))
    gradients = tgs.grad(total, floats, create_graph=create_graph) if total.requires_grad else []
    return [t.numpy().copy() for t in (*outs, *gradients)]


def watched(watch, *arguments):
    """The results of a run of the composition, its gradient recorded too, under a watch."""
    STATE.watch = watch
    try:
        return results(*arguments, create_graph=True)
    finally:
        STATE.watch = None


def agree(fn, inputs, ulps=4, moved=0):
    """Fused equals composed within 4 units in the last place of the largest term, NaN and inf in the same places.

    With `moved`, plus how far the composition itself gets in so many runs whose every rounding is moved by up
    to one unit: what a long chain makes of an error in its first link belongs to the formula, not to a kernel.
    """
    with np.errstate(all="ignore"):
        with composed():
            outs = fn(*inputs)
            outs = outs if isinstance(outs, (tuple, list)) else (outs,)
            weights = [
                np.random.default_rng(i).uniform(0.5, 1, o.shape).astype(o.dtype) for i, o in enumerate(outs)
            ]
            theirs = results(fn, inputs, weights)
            largest = Largest()
            watched(largest, fn, inputs, weights)
            runs = [watched(Moved(seed), fn, inputs, weights) for seed in range(moved)]
        ours = results(fn, inputs, weights)
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        if mine.dtype.kind != "f":
            np.testing.assert_array_equal(mine, other)
            continue
        bound = ulps * np.finfo(mine.dtype).eps * largest.value
        bound += max((np.abs(finite(run[i]) - finite(other)).max(initial=0.0) for run in runs), default=0.0)
        np.testing.assert_allclose(mine, other, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_fused_equals_composed(name, dtype):
    """Every output and every gradient, within 4 ulp of the largest term."""
    fn, shapes = FUNCTIONS[name]
    agree(fn, tensors(shapes, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_element_of_each_row(dtype):
    """The target's logit: cross-entropy is one kernel forward and one backward."""
    x = tensors([(5, 7)], dtype)[0]
    agree(surprise, [x, tgs.tensor([[0], [6], [3], [3], [1]])])
    assert "scatter" not in surprise.source("backward")


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("relu", "joined columns", "no columns")])
def test_gradcheck_through_the_kernels(name, order):
    """Finite differences in float64; at order 2 the composition takes over by itself."""
    fn, shapes = FUNCTIONS[name]
    assert tgs.gradcheck(fn, tensors(shapes, "float64"), order=order)


def test_layout_does_not_matter():
    """Transposed, strided and broadcast inputs give what their copies give."""
    rng = np.random.default_rng(1)
    base = tgs.tensor(rng.standard_normal((9, 4, 2)).astype("f4"), requires_grad=True)
    softmax = FUNCTIONS["softmax"][0]
    for view in (
        lambda t: t.T,
        lambda t: t[::2, :, :],
        lambda t: t[:, :1, :].expand(9, 4, 2),
        lambda t: t[::-1],
    ):
        agree(lambda t, v=view: softmax(v(t)), [base])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e4, -1e4])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "silu", "relu", "gelu"])
def test_special_values_come_out_as_composed(name, special):
    """NaN is never hidden, infinities are not wrapped: no flag assumes them away."""
    fn, _ = FUNCTIONS[name]
    x = np.linspace(-2, 2, 12).astype("f4").reshape(3, 4)
    x[1, 2] = special
    with np.errstate(all="ignore"):
        mine = fn(tgs.tensor(x)).numpy()
        with composed():
            other = fn(tgs.tensor(x)).numpy()
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(other))
    np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_only_what_is_used_is_computed():
    """Outputs without a gradient cost nothing in the backward kernel, nor inputs that want none.

    From the first call: a kernel that comes into use after a while comes later in a run that was resumed.
    """
    z, c = tensors([(5, 32), (5, 8)], "float32")
    gates(z, c)[1].sum().backward()
    with_c_only = gates.source("backward")
    h, c2 = gates(z, c)
    (h.sum() + c2.sum()).backward()
    assert with_c_only.count(" * ") < gates.source("backward").count(" * ")
    frozen = c.detach()
    gates(z, frozen)[0].sum().backward()
    assert "o1" not in gates.source("backward")


def test_a_fused_op_is_one_node():
    """On the tape it is one op; inside composed() it is its parts."""
    x = tensors([(3, 4)], "float32")[0]
    silu = FUNCTIONS["silu"][0]
    assert tgs.Tape.of(silu(x)).check().ops()["silu"] == 1
    with composed():
        assert "lesser" in tgs.Tape.of(silu(x)).ops()


def kept(*outputs):
    """The sizes of the arrays that the record of a fused op holds, besides its outputs."""
    node = outputs[0].node
    node = node.parents[0] if node.op.name == "pick" else node
    arrays = [a for a in (*node.saved, *node.out) if isinstance(a, np.ndarray)]
    return sorted(a.size for a in arrays if not any(a is o.array for o in outputs))


def test_the_record_keeps_what_is_cheapest():
    """What costs more to compute again than to keep is kept, with one number a row for each sum or maximum."""
    x, w, b = tensors([(6, 10), (10,), (10,)], "float32")
    assert kept(FUNCTIONS["softmax"][0](x)) == [
        6,
        60,
    ]  # the sum; x, for second derivatives
    assert kept(FUNCTIONS["gelu"][0](x)) == [60]
    assert kept(normalized(x, w, b)) == [6, 6, 10, 60]
    z, c = tensors([(5, 32), (5, 8)], "float32")
    # Four gates and the old cell: not z, nor the tanh of the new cell, which costs less than its memory.
    assert kept(*gates(z, c)) == [40] * 5
    assert kept(fused(lambda a, k: a * k)(x, w)) == [10, 60]
    assert kept(F.dropout(x, 0.5)) == [1]  # the key: the numbers are drawn again


ODD = {
    "sum of axis 1": (lambda x: x.sum(1), [(2, 3, 5)]),
    "slice of axis 1": (lambda x: x[:, 1:3] * 2.0, [(2, 3, 5)]),
    "sum of axis 0 of a vector": (lambda x: x.sum(0) * 1.0, [(5,)]),
    "two sums": (lambda x: x.sum(-1).sum(-1), [(2, 3, 5)]),
    "its own number of rows": (lambda x: x * float(x.shape[0]), [(4, 5)]),
    "its own number of axes": (lambda x: x * float(x.ndim), [(2, 3, 5)]),
    "outputs of different ranks": (lambda x, y: (x * 2.0, y * 2.0), [(2, 3, 5), (3, 5)]),
    "an output of one row": (lambda x, y: (x * 2.0, y * 2.0), [(3, 5), (1, 5)]),
    "a number without axes": (lambda x: x.exp(), [()]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_means_something_else_over_rows_and_columns_runs_composed(name):
    """The kernel is tried before it is used: value, shape and gradient are those of the composition."""
    fn, shapes = ODD[name]
    agree(fused(fn), tensors(shapes, "float32"))


def test_settings_are_told_apart_by_kind():
    """1 and True are equal, and not the same setting."""

    @fused
    def g(x, p):
        return x * 2.0 if p is True else x * 3.0

    x = tgs.ones(2, 3)
    assert g(x, p=1).numpy()[0, 0] == 3.0
    assert g(x, p=True).numpy()[0, 0] == 2.0
    assert g(x, p=[1]).numpy()[0, 0] == 3.0


@fused
def missing_a_name_when_wide(x):
    return x * 2.0 if x.shape[-1] <= 4 else undefined_here(x)  # noqa: F821


def test_a_slip_in_planning_is_heard_and_one_of_a_users_function_is_its_own(monkeypatch):
    """Another width that the function cannot do is no matter of this call; a name that a file of ours lacks is."""
    x = tgs.tensor(np.ones((2, 4)))
    np.testing.assert_array_equal(missing_a_name_when_wide(x).numpy(), np.full((2, 4), 2.0))
    ours = {"__name__": "tinygrad_seq.fuser.plan"}
    monkeypatch.setattr(plan, "taken_apart", FunctionType((lambda *_: not_there).__code__, ours))  # noqa: F821
    with pytest.raises(NameError, match="not_there"):
        fused(lambda x: x * 3.0)(x)


def test_small_integers_and_comparisons_run_composed():
    """What has no kernel type is not an error."""
    x = tgs.tensor(np.arange(6, dtype="uint8").reshape(2, 3))
    np.testing.assert_array_equal(fused(lambda i: i * i)(x).numpy(), np.arange(6).reshape(2, 3) ** 2)
    y = tgs.tensor([[1.0, -1.0]], requires_grad=True)
    assert not fused(lambda a: a > 0)(y).requires_grad


REFUSED = {
    "softmax of another axis": (
        lambda x: F.softmax(x, 0),
        "fused: cannot fuse permute: no kernel over rows and columns holds it.",
    ),
    "a product": (
        lambda x: x @ x.T,
        "fused: cannot fuse permute: no kernel over rows and columns holds it.",
    ),
    "a sum over rows": (
        lambda x: x - x.mean(0),
        "fused: cannot fuse sum: it reduces another axis than the last.",
    ),
    "an array from outside": (
        lambda x: x * np.arange(4, dtype="f4"),
        "fused: cannot fuse input: an array from outside was used; every array must be an argument.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fused_is_told(name):
    """One error that names the op and says what to do."""
    fn, first_line = REFUSED[name]
    with pytest.raises(tgs.TraceError) as error:
        fused(fn)(tgs.ones(4, 4))
    lines = str(error.value).splitlines()
    assert lines[0] == first_line
    assert f"of {__file__}: " in next(line for line in lines if line.startswith("  at: line "))
    assert lines[-1] == "  Move this op out of the fused function, and pass its result in."
