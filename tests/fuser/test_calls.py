"""Calls of fused functions: what shares a kernel, threads and forks, records, and gradient checks of all of them."""

import copy
import itertools
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tests.cases import Case
from tests.composed_cases import COMPOSED_CASES
from tests.fuser.test_fused import agree, normalized, tensors
from tests.fuser.test_laws import PACKAGE, uncompiled
from tinygrad_seq import functional as F
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.creation import iota
from tinygrad_seq.functional.activations import _softmax
from tinygrad_seq.fuser import remat, threads
from tinygrad_seq.fuser.decorator import composed, fused, kernels_wanted
from tinygrad_seq.nn.rnn.cells import lstm_gates
from tinygrad_seq.optim import clipping, optimizers

pytestmark = [
    pytest.mark.laws,
    pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed"),
]


# ---- every fused function of the package has its gradient checked, through kernels -------------------------
def rule(name, wide, numbers, **settings):
    """A case for a rule: vectors, numbers (1,), vectors; all near 0.6, where v - a^2 stays above 0."""
    before, after = wide
    function = getattr(optimizers, name)
    shapes = [*[(4,)] * before, *[(1,)] * numbers, *[(4,)] * after]
    title = f"{name} {' '.join(k for k, v in settings.items() if v)} {after}"
    return Case(title, lambda *given: function(*given, **settings), shapes, low=0.58, high=0.62)


def some(**settings):
    """Each way to set these switches."""
    return [dict(zip(settings, way, strict=True)) for way in itertools.product(*settings.values())]


BOTH = (False, True)
RULES = [
    *(rule("sgd", (2, 0), 4, moves=False, nesterov=False, **s) for s in some(decays=BOTH)),
    *(rule("sgd", (2, n), 4, moves=True, **s) for n in (0, 1) for s in some(decays=BOTH, nesterov=BOTH)),
    *(rule("adam", (4, n), 6, **s) for n in (0, 1) for s in some(decays=BOTH, decoupled=BOTH)),
    *(
        rule("rmsprop", (3, s["centered"] + s["moves"]), 5, **s)
        for s in some(decays=BOTH, centered=BOTH, moves=BOTH)
    ),
    *(rule("adagrad", (3, 0), 5, **s) for s in some(decays=BOTH)),
]
CLIPPING = [
    Case("_squares", clipping._squares, [(3, 4)], apart=0.1),
    Case("_powers", clipping._powers, [(3, 4), np.array([3.0])], low=0.5),
    Case("_largest", clipping._largest, [(3, 4)], low=-2.0, high=-0.5),
    Case("_held", lambda g: clipping._held(g, np.array([0.2])), [(3, 4)], apart=0.1),
]
CHECKS = [*COMPOSED_CASES, *RULES, *CLIPPING]
# The names whose kernels no case of the table runs under a layer's or function's own name.
NO_KERNEL = {
    "tanh", "mse_loss", "linear", "embedding", "einsum", "unroll", "checkpoint", "Linear", "Embedding",
    "SinusoidalPositions", "LearnedPositions", "Identity", "Flatten", "MSELoss", "Tanh", "L1Loss", "l1_loss",
}  # fmt: skip


def ran():
    """The package's functions whose backward kernel has run since this was last asked."""
    names = {n for n, f in PACKAGE.items() if f._kernels is not None and "backward" in f.kernels.last}
    for name in names:
        PACKAGE[name].kernels.last.clear()
    return names


def run(case, dtype="float64"):
    """The outputs of a case, and its gradient taken."""
    inputs = case.tensors(dtype)
    with np.errstate(all="ignore"):
        total = sum((o * o).sum() for o in case(*inputs))
        tgs.grad(total, [t for t in inputs if t.requires_grad])


def test_every_fused_function_is_checked_and_its_kernels_run():
    """What the gradient checks of the table run are kernels, and each fused function of the package is among it."""
    seen = {}
    with uncompiled():
        for case in CHECKS:
            run(case)
            seen[case.name] = ran()
            with composed():
                run(case)
            assert not ran()
    without = {name for name, kernels in seen.items() if not kernels}
    keys = {c.key for c in COMPOSED_CASES} & NO_KERNEL
    assert without == {c.name for c in COMPOSED_CASES if c.key in keys or c.name in NO_KERNEL}
    assert set().union(*seen.values()) == set(PACKAGE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", COMPOSED_CASES, ids=lambda c: c.name)
def test_functions_and_layers_agree_with_their_compositions(case, dtype):
    """As they are called: kernels inside against `composed()`, forward and every gradient."""
    with uncompiled():
        agree(case, case.tensors(dtype))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [*RULES, *CLIPPING], ids=lambda c: c.name)
def test_gradcheck_of_rules_and_clipping(case, order):
    """Finite differences in float64 through every form of every update rule, for its numbers too."""
    with uncompiled():
        assert tgs.gradcheck(case, case.tensors(), order=order)
        assert ran() or order > 1


@pytest.mark.parametrize(
    "name", ["sgd", "adam", "rmsprop", "adagrad", "_squares", "_powers", "_largest", "_held"]
)
def test_rules_agree_when_compiled(name):
    """The longest form of each rule, float32: fused equals composed."""
    case = [c for c in [*RULES, *CLIPPING] if c.key == name][-1]
    agree(lambda *given: case.fn(*given), case.tensors("float32"))
    assert ran()


# ---- what shares a plan ------------------------------------------------------------------------------------
def test_growing_widths_and_rows_share_kernels():
    """Attention rows grow by one a step: softmax over 2 to 200 columns is one forward and one backward text."""
    softmax = fused(_softmax.fn)
    with uncompiled():
        for n in range(2, 200, 11):
            agree(softmax, tensors([(1 + n % 4, n)], "float32", n))
    plans = [p for p in softmax.kernels.plans.values() if p]
    assert len(plans) <= 8  # tried again whenever the width has doubled
    assert len({p.keeping.kernel.source for p in plans}) == 1
    assert len({r.kernel.source for p in plans for r in p._backward.values()}) == 1


def test_settings_have_kernels_of_their_own():
    """Equal numbers of other kinds, and strings, are told apart; the same setting again is the same plan."""
    function = fused(lambda x, *, by: x * 2.0 if by is True else x * 3.0 if by == "b" else x * float(by))
    x = tgs.ones(2, 3)
    for by, expected in ((True, 2.0), (1, 1.0), ("b", 3.0), (1.5, 1.5), (1, 1.0)):
        assert function(x, by=by).numpy()[0, 0] == expected
    assert len(function.kernels.plans) == 4


def test_tensors_may_be_given_by_name():
    """By name they are inputs as by place; a gap is an error that says the order."""
    scale = fused(lambda x, y, z=None: x * y if z is None else x * y + z)
    x, y, z = tensors([(2, 3)] * 3, "float32")
    np.testing.assert_array_equal(scale(x, y=y).numpy(), scale(x, y).numpy())
    np.testing.assert_array_equal(scale(x, z=z, y=y).numpy(), scale(x, y, z).numpy())
    assert tgs.grad(scale(x, y=y).sum(), [y])[0].shape == (2, 3)
    with pytest.raises(tgs.ArgumentError, match="missing a required argument: 'y'"):
        scale(x, z=z)
    late = fused(lambda x, y=None, z=None: x * y if z is None else x * z)
    with pytest.raises(tgs.ArgumentError, match="tensors given by name leave a gap"):
        late(x, z=z)


# ---- the record ----------------------------------------------------------------------------------------------
def test_a_record_is_used_once_or_kept():
    """A second backward is refused; with retain_graph it gives the same again."""
    x = tensors([(3, 8)], "float32")[0]
    loss = (F.softmax(x) ** 2).sum()
    first = tgs.grad(loss, [x], retain_graph=True)[0].numpy()
    np.testing.assert_array_equal(tgs.grad(loss, [x])[0].numpy(), first)
    with pytest.raises(tgs.GraphError):
        tgs.grad(loss, [x])


def test_hidden_outputs_under_everything_that_walks():
    """LSTM gates keep values that no caller sees: higher orders, Jacobians, checkpoints and watching are right."""
    z, c = tensors([(2, 8), (2, 2)], "float64")

    def total(z, c):
        h, new = lstm_gates(z, z * 0.5, c)
        return (h * h * new).sum()

    def all_of_it():
        g = tgs.grad(total(z, c), [z, c], create_graph=True)
        second = tgs.grad(sum((a * a).sum() for a in g), [z, c])
        wanted = [*g, *second, *tgs.grad(tgs.checkpoint(total, z, c), [z, c])]
        frozen = c.detach()
        for one in (
            tgs.hvp(lambda a: total(a, frozen), z.detach(), tgs.ones(2, 8, dtype=np.float64)),
            tgs.jacobian(lambda a: lstm_gates(a, a, frozen)[0], z.detach()),
        ):
            wanted += one if isinstance(one, tuple) else (one,)
        with tgs.detect_anomaly():
            wanted += tgs.grad(total(z, c), [z, c])
        return [w.numpy() for w in wanted]

    ours = all_of_it()
    with composed():
        theirs = all_of_it()
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-14)


@settings(max_examples=30, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 9)), max_size=10))
def test_the_cut_that_decides_what_is_kept_is_the_cheapest(edges):
    """Of all ways to part the inputs (0) from the gradient (4), by trying each, none costs less."""
    flow = remat._Flow()
    flow.edge(0, 4, 1.0)
    for a, b, room in edges:
        flow.edge(a, b, float(room) * (a != b))
    pairs = [(0, 4, 1), *((a, b, n) for a, b, n in edges if a != b)]

    def cost(side):
        return sum(n for a, b, n in pairs if a in side and b not in side)

    sides = [{0, *extra} for r in range(4) for extra in itertools.combinations((1, 2, 3), r)]
    assert cost(flow.cut(0, 4)) == min(cost(side) for side in sides)


# ---- threads and processes -----------------------------------------------------------------------------------
@pytest.fixture
def always_several(monkeypatch):
    """Every call is cut into pieces, and goes to several threads."""
    monkeypatch.setattr(threads, "WORTH_THREADS", 0.0)
    monkeypatch.setattr(threads.Race, "choose", lambda race: True)


def large(seed=0, width=24):
    """Inputs whose gradients are sums over many rows."""
    return tensors([(997, 24), (width,), (24,)], "float32", seed)


def all_results(function, inputs):
    """Values and gradients as arrays."""
    out = function(*inputs)
    return [out.numpy(), *(g.numpy() for g in tgs.grad((out * out).sum(), inputs))]


THREADED = {
    "layer norm": normalized.fn,
    "pointwise": lambda x, w, b: (x * 0.5).tanh() * x,
    "a number": lambda x, k, b: (x * k).tanh() * b,
}


@pytest.mark.parametrize("name", THREADED)
def test_threads_change_no_bit(name, always_several):
    """One thread or several: the same pieces, so the same sums, bit for bit."""
    import numba

    function, before = fused(THREADED[name]), numba.get_num_threads()
    inputs = large(width=1 if name == "a number" else 24)
    several = all_results(function, inputs)
    assert any(
        call.chunks == threads.CHUNKS
        for f in function.kernels.specializations.values()
        for call in [f.keeping]
    )
    try:
        numba.set_num_threads(1)
        for one, many in zip(all_results(function, inputs), several, strict=True):
            np.testing.assert_array_equal(one, many)
    finally:
        numba.set_num_threads(before)
    agree(function, inputs)


def test_several_python_threads_may_call_at_once(always_several):
    """Numba's threads serve one caller; the others do their pieces themselves, to the same bits."""
    function = fused(normalized.fn)
    expected = [all_results(function, large(seed)) for seed in range(4)]
    found = [None] * 4

    def work(seed):
        for _ in range(10):
            found[seed] = all_results(function, large(seed))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for mine, other in zip(found, expected, strict=True):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)


def in_a_child(function, queue):
    """What a forked process gets."""
    queue.put(all_results(function, large()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_the_same(always_several):
    """Numba's threads do not live on in a child: it does the pieces one by one, and does not hang."""
    function = fused(normalized.fn)
    expected = all_results(function, large())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_a_child, args=(function, queue))
    child.start()
    try:
        found = queue.get(timeout=20)
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, other)


# ---- found by trying to break it -----------------------------------------------------------------------------
def test_inputs_that_share_a_gradient_do_not_share_what_is_added_to_it():
    """(x + y).tanh(): one array for both, and x is used elsewhere as well."""
    x, y = tensors([(4, 3), (1, 4, 3)], "float32")
    shared = fused(lambda a, b: (a + b).tanh())
    w = (x * 3.0).sum()
    (w + shared(x, y).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy()[0] + 3.0, rtol=1e-6)


def test_ids_out_of_range_read_nothing_beside_the_row():
    """A kernel raises nothing: NaN says so. A negative id counts from the end, in the gradient too."""
    taken = fused(lambda x, ids: ops.gather(x, iota(x.shape[0]), ids.squeeze(-1)) * 1.0)
    x = tensors([(3, 4)], "float32")[0]
    ids = tgs.tensor([[1], [0], [3]])
    assert np.isfinite(taken(x, ids).numpy()).all()
    assert list(np.isnan(taken(x, tgs.tensor([[100_000], [-5], [2]])).numpy())) == [True, True, False]
    taken(x, tgs.tensor([[-1], [0], [-4]])).sum().backward()
    assert np.argwhere(x.grad.numpy()).tolist() == [[0, 3], [1, 0], [2, 0]]


@pytest.mark.parametrize("rows", [3, 5, 7, 9])
def test_a_function_of_its_number_of_rows_runs_composed(rows):
    """Whatever number of rows comes first, it is not the one that was traced."""
    counted = fused(lambda x: x * float(x.shape[0]))
    for n in (rows, 4):
        assert counted(tgs.ones(n, 3)).numpy()[0, 0] == n


def test_a_value_that_is_looked_at_is_told():
    """A branch on a value would be frozen as the placeholder had it."""
    branching = fused(lambda x: x if x.sum().item() > 0 else -x)
    with pytest.raises(tgs.TraceError) as error:
        branching(tgs.ones(2, 3))
    assert str(error.value) == (
        "item: a value was looked at while a function was traced.\n"
        "  expected maths alone: a kernel is made once, and serves other values too.\n"
        "  Write a choice between values as where(condition, x, y)."
    )


def test_fused_functions_are_copied_and_pickled_as_functions():
    """A module that holds one can be copied; kernels stay what they are."""
    F.silu(tgs.ones(2, 3))
    assert copy.deepcopy([F.silu])[0] is F.silu
    assert pickle.loads(pickle.dumps(F.silu)) is F.silu
