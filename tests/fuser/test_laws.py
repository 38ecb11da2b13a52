"""Fused = composed over the whole table of cases and over random trees; gradient checks through every kernel.

Emitted kernels are Python: over the table and most random trees they run as such, uncompiled, at every element.
Compiled are, in float32, the first case that shows each op of a kernel, and every eighth random tree.
"""

import importlib
import pkgutil
import types
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tests.cases import CASES, Case
from tests.composed_cases import FUNCTIONS
from tests.fuser.test_fused import agree
from tinygrad_seq import functional as F
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import wrap
from tinygrad_seq.engine.creation import iota
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.op import OPS
from tinygrad_seq.fuser import launch
from tinygrad_seq.fuser.decorator import Fused, composed, fused, kernels_wanted

pytestmark = [
    pytest.mark.laws,
    pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed"),
]
LIBRARY = types.SimpleNamespace(sqrt=np.sqrt, sin=np.sin, cos=np.cos, floor=np.floor)


def every_fused():
    """Each Fused object of the package, by module and name."""
    found = {}
    for info in pkgutil.walk_packages(tgs.__path__, "tinygrad_seq."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            own = [(n, f) for n, f in vars(module).items() if isinstance(f, Fused)]
            found |= {f"{info.name.rpartition('.')[2]}.{n}": f for n, f in own if f.__module__ == info.name}
    return found


PACKAGE = every_fused()


def narrow(scalar):
    """A float32 function, whose results numba hands to Python as Python's own wide floats, with narrow ones."""
    return lambda *numbers: np.float32(scalar(*numbers))


def as_python(source, function="kernel", *_, **__):
    """The kernel of a source text, uncompiled; NumPy's scalar maths keeps the dtype and raises nothing."""
    scope = {}
    exec(compile(source, "<kernel>", "exec"), scope)
    plain = {"math": LIBRARY, "maximum": np.maximum, "greatest": np.maximum, "added": lambda x, y: x + y}
    scope |= {name: plain[name] for name in plain if name in scope}
    scope |= {name: narrow(f) for name, f in scope.items() if name.endswith("_f32")}
    return scope[function]


@contextmanager
def uncompiled():
    """Kernels are run as the Python that they are written in."""
    build = launch.build
    caches = {f: f._kernels for f in PACKAGE.values()}
    try:
        launch.build = as_python
        for f in caches:
            f._kernels = None
        yield
    finally:
        launch.build = build
        for f, cache in caches.items():
            f._kernels = cache


# ---- the whole table ---------------------------------------------------------------------------------------
def outputs_of(case):
    """The case's function; a list of outputs as a tuple, which a fused function returns."""

    def compose(*tensors):
        value = case.fn(*tensors)
        return tuple(value) if isinstance(value, list) else value

    return compose


def outcome(case, dtype):
    """What becomes of a case under `fused`: "kernel", "composed" or "refused"; it agrees wherever it runs."""
    function = fused(outputs_of(case))
    try:
        agree(function, case.tensors(dtype))
    except tgs.TraceError:
        return "refused"
    if function.kernels.last:
        assert "def kernel(" in function.source("forward")
        return "kernel"
    with pytest.raises(tgs.ArgumentError, match="no forward kernel has run yet"):
        function.source("forward")
    return "composed"


# By key where all cases of a key have this outcome, by name else. What is in neither list runs a kernel.
REFUSED = {
    "rxor", "any", "argmax", "argmax flat", "argmin", "where one side", "maximum of numbers",
    "matmul of arrays", "add of arrays", "sum over no axis", "max", "max dim", "min", "mean axis",
    "var", "std kept", "view", "flatten", "permute", "permute back", "transpose", "T", "flip",
    "flip all", "split", "slice", "slice number", "slice steps", "slice new", "slice nothing",
    "slice tiles", "slice beside whole", "slice windows", "concat", "concat constant", "stack",
    "stack last", "gather", "gather empty", "gather two", "gather inner", "gather apart",
    "gather beside", "gather mask beside", "gather no axes", "take", "scatter stretched",
    "matmul 1 by 1", "matmul 1 by 2", "matmul 2 by 1", "matmul 1 by 3", "matmul 3 by 1",
    "matmul 1 by 4", "matmul 4 by 1", "rmatmul", "softmax of axis 0", "logsumexp keepdim",
    "cross_entropy of images", "dropout", "embedding", "embedding padded", "einsum diagonal", "unroll", "zoneout",
    "scaled_dot_product_attention",
}  # fmt: skip
COMPOSED = {
    "where constant", "amax",
    "neg number", "exp number", "log number", "sqrt number", "sin number", "cos number", "tanh number",
    "erf number", "floor number", "cut number", "abs number", "__abs__ number", "__pos__ number",
    "clone number", "clip number", "clip low number", "clip high number", "clamp number", "to number",
    "to whole number", "radd number", "rsub number", "rmul number", "rtruediv number", "rpow number",
    "rmod number", "rfloordiv number", "pow square number", "pow root number", "pow inverse number",
    "pow cube number", "pow nothing number", "pow part number", "mod number number", 
    "uniform", "sum axes kept", "sum dim", "sum of a number", "max axes kept", "max of a number",
    "mean", "reshape", "reshape number", "reshape empty", "flatten some", "flatten number", "expand",
    "expand kept", "expand number", "expand to nothing", "squeeze", "squeeze axis", "unsqueeze",
    "split sizes", "chunk uneven use", "pad", "pad steps", "slice of a number", "slice loop",
    "stack numbers", "gather mask", "gather vector", "scatter", "scatter two", "scatter empty",
    "cross_entropy", "cross_entropy of one", "cross_entropy sum", "cross_entropy smoothed, ignoring",
    "cross_entropy of probabilities", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits",
    "layer_norm of two axes", "rms_norm of two axes", "checkpoint", "_held in unroll", "held of two",
}  # fmt: skip
# Inputs whose leading axes do not broadcast: never a kernel.
UNLAID = {
    "concat empty", "gather ids", "matmul 2 by 2", "matmul 3 by 2", "matmul 2 by 3", "matmul 3 by 3",
    "matmul 3 by 3 stretched", "matmul 4 by 3", "matmul 4 by 4", "matmul 2 by 4",
    "matmul 2 by 2 no rows", "matmul 2 by 2 no inside", "matmul 3 by 2 no batch",
    "matmul 3 by 3 no batch", "matmul method", "recurrence", "linear", "linear without rows", "einsum",
}  # fmt: skip


def stated(case):
    """The outcomes that a case may have."""
    for names, allowed in (
        (REFUSED, {"refused"}),
        (COMPOSED, {"composed"}),
        (UNLAID, {"refused", "composed"}),
    ):
        if case.name in names or f"{case.key} *" in names:
            return allowed
    number = all(isinstance(x, tuple) and x == () for x in case.inputs)
    return {"composed" if number else "kernel"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*CASES, *FUNCTIONS], ids=lambda c: c.name)
def test_every_case_agrees_or_is_refused(case, dtype):
    """Fused, a case gives what it gives composed, forward and backward, or it is on a stated list."""
    with uncompiled():
        assert outcome(case, dtype) in stated(case)


def test_the_lists_name_cases_of_the_table():
    """A case that is gone, or listed twice, fails here."""
    names = {n for c in [*CASES, *FUNCTIONS] for n in (c.name, f"{c.key} *")}
    assert names >= REFUSED | COMPOSED | UNLAID
    assert len(REFUSED | COMPOSED | UNLAID) == len(REFUSED) + len(COMPOSED) + len(UNLAID)


COMPILED = [
    "neg matrix", "exp matrix", "log matrix", "log1p matrix", "sqrt matrix", "sin matrix", "cos matrix",
    "tanh matrix", "lesser matrix", "erf matrix", "ndtr matrix", "floor matrix", "cut matrix", "pow row",
    "remainder row", "maximum row", "equal row", "where row", "to matrix", "sum axis", "max axis", "var axis",
    "concat axis", "chunk", "take one", "cross_entropy compiled", "softmax", "floor_divide row",
]  # fmt: skip
IDS = np.array([[2], [0], [1]])
SHOWN = [
    *(c for c in CASES if c.name in COMPILED),
    Case(
        "cross_entropy compiled", lambda x, i: -ops.gather(x, iota(x.shape[0]), i.squeeze(-1)), [(3, 4), IDS]
    ),
]
IN_KERNELS = {
    "add", "sub", "mul", "div", "neg", "exp", "log", "log1p", "sqrt", "sin", "cos", "tanh",
    "lesser", "erf", "ndtr", "floor", "less", "equal",
    "pow", "maximum", "where", "cast", "cut", "sum", "max", "reshape", "expand", "slice", "pad", "concat",
    "gather", "scatter", "floor_divide", "remainder",
}  # fmt: skip
seen: dict[str, set[str]] = {}


@pytest.mark.parametrize("case", SHOWN, ids=lambda c: c.name)
def test_every_op_agrees_when_compiled(case):
    """What LLVM makes of a kernel is what the kernel says: float32, one case for each op."""
    function = fused(outputs_of(case))
    agree(function, case.tensors("float32"))
    assert function.kernels.last
    plans = [plan for plan in function.kernels.plans.values() if plan]
    seen[case.name] = {row.op for plan in plans for row in plan.program.tape}


def test_every_op_of_kernels_is_compiled_by_some_case():
    """A new op that kernels can hold needs a compiled case; `uniform` has its own tests with dropout."""
    assert len(COMPILED) == len(SHOWN)
    if len(seen) == len(SHOWN):  # where the whole file is run
        assert set().union(*seen.values()) >= IN_KERNELS
    never = {"matmul", "permute", "uniform"}
    assert set(OPS) == IN_KERNELS | never


# ---- random trees ------------------------------------------------------------------------------------------
LEAVES = ["x", "y", "column", "row", "one", "number", "x", "y"]
ONE = [
    "F.sigmoid({})",
    "({}).tanh()",
    "(({}) * 0.3).exp()",
    "-({})",
    "F.relu({})",
    "({}).sin()",
    "F.silu({})",
]
TWO = [
    "({} + {})", "({} * {})", "({} - {})", "({}).maximum({})", "({} / (1.5 + ({}) * ({})))", "({} * {} - x)",
    "tgs.where({} < {}, x, y)",
]  # fmt: skip
WIDE = [
    "(({}) + x).sum(-1, keepdims=True)", "(({}) + y).mean(-1, keepdims=True)", "seam(({}) + x, ({}) + x)",
    "(({}) + x)[..., :1]",
]  # fmt: skip
FULL = [
    "F.softmax(({}) + x)",
    "(({}) + x).max(-1, keepdims=True)",
    "F.log_softmax(({}) * x)",
    "taken(({}) + x, ids)",
]


@st.composite
def trees(draw, forms, depth=3):
    """The text of a random expression."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(LEAVES))
    form = draw(st.sampled_from(forms))
    parts = [draw(trees(forms, depth - 1)) for _ in range(min(2, form.count("{}")))]
    parts += parts[-1:] * (form.count("{}") - len(parts))
    return form.format(*parts)


def seam(a, b):
    """Columns from both sides of where two are joined."""
    return tgs.concat([a, b], axis=-1)[..., a.shape[-1] // 2 : a.shape[-1] // 2 + a.shape[-1]]


def taken(a, ids):
    """One element of each row; the first where there are more axes than rows and columns."""
    if a.ndim != 2 or ids.shape[0] != a.shape[0]:
        return a[..., :1]
    return ops.gather(a, iota(a.shape[0]), ids.squeeze(-1)).unsqueeze(-1)


class NearTies:
    """Watches for numbers compared that are equal but for rounding: there a gradient may jump."""

    def __init__(self):
        self.found = False

    def made(self, node, op, inputs, out):
        """Comparisons of two arrays, and maxima of one."""
        if op.name in ("less", "equal", "maximum"):
            a, b = np.broadcast_arrays(*(np.asarray(t.array, np.float64) for t in inputs))
            self.see(np.abs(a - b), np.maximum(np.abs(a), np.abs(b)))
        elif op.name == "max":
            a = np.sort(np.asarray(inputs[0].array, np.float64), -1)
            self.see(np.diff(a), np.abs(a[..., 1:]))

    def see(self, gap, size):
        """A gap that is not 0, and below what rounding can make."""
        self.found |= bool(((gap > 0) & (gap < 1e-4 * np.maximum(size, 1.0)) & np.isfinite(size)).any())

    def sent(self, *_):
        """No comparisons of their own."""

    arrived = sent


def laid_out(array, layout):
    """The same numbers, or for "stretched" those of the first row, in memory of another layout."""
    if layout == "transposed":
        return np.ascontiguousarray(array.T).T
    if layout == "strided":
        room = np.full(tuple(2 * n for n in array.shape), np.nan, array.dtype)
        room[(slice(None, None, -2),) * array.ndim] = array
        return room[(slice(None, None, -2),) * array.ndim]
    if layout == "stretched" and array.size:
        return np.broadcast_to(array[..., :1], array.shape)
    return array


@st.composite
def calls(draw):
    """A composition of one or two outputs, and arrays for it: any layout, any lead, some not finite."""
    columns, lead = draw(st.integers(0, 9)), draw(st.sampled_from([(0,), (1,), (2,), (4,), (2, 3), (2, 0)]))
    forms = [*ONE, *TWO, *WIDE, *(FULL if columns else [])]
    forms = forms if columns else [f for f in forms if "mean" not in f and ":1]" not in f]
    texts = draw(st.lists(trees(forms), min_size=1, max_size=2))
    closings = [draw(st.sampled_from(["", "", ".sum(-1)", ".sum(-1, keepdims=True)"])) for _ in texts]
    # Of joined columns no kernel gathers; that is refused.
    assume(not any("taken" in t and "seam" in t for t in texts))
    source = f"({''.join(f'(({t}) + 0.25 * x){c}, ' for t, c in zip(texts, closings, strict=True))})"
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    partly = (1, *lead[1:]) if len(lead) > 1 else lead
    shapes = [(*lead, columns), (*partly, columns), (*lead, 1), (columns,), (1,), ()]
    dtype = draw(st.sampled_from(["float32", "float64"]))
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    for array in arrays[:4] if arrays[0].size else []:  # in no rows, 0 times NaN may stay 0
        if draw(st.integers(0, 3)) == 0:
            array.flat[rng.integers(array.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    arrays[:2] = [
        laid_out(a, draw(st.sampled_from(["plain", "transposed", "strided", "stretched"])))
        for a in arrays[:2]
    ]
    return source, arrays, rng.integers(0, max(columns, 1), (*lead, 1))


def check_a_tree(source, arrays, ids):
    """Fused equals composed for a random tree."""
    code, scope = compile(source, "<tree>", "eval"), {"F": F, "tgs": tgs, "seam": seam, "taken": taken}
    names = ("x", "y", "column", "row", "one", "number", "ids")

    def compose(*tensors):
        return eval(code, scope, dict(zip(names, tensors, strict=True)))

    inputs = [*(wrap(a).requires_grad_() for a in arrays), wrap(ids)]
    STATE.watch = watch = NearTies()
    try:
        with np.errstate(all="ignore"), composed():
            compose(*inputs)
    finally:
        STATE.watch = None
    assume(not watch.found)
    function = fused(compose)
    agree(function, inputs, moved=3)
    if arrays[0].ndim == 2 or "taken" not in source:  # which counts its axes
        ran = function.kernels.last or function.kernels.reason.startswith("its gradient has")
        assert ran, function.kernels.reason


# A tree is small as it is drawn; to make it smaller takes minutes.
QUICK = settings(derandomize=True, phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False)


@settings(QUICK, max_examples=200)
@given(calls())
def test_random_trees(call):
    """Random ops, shapes, broadcasts, layouts, NaN and inf: a kernel runs, and says what the composition says."""
    with uncompiled():
        check_a_tree(*call)


@settings(QUICK, max_examples=25)
@given(calls())
def test_random_trees_compiled(call):
    """The same of kernels that LLVM has rearranged."""
    check_a_tree(*call)
