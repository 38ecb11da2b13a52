"""What a kernel carries besides its text: loops, costs, parameters, imports. The text is read here, and only here."""

import ast

import numpy as np
import pytest

from tests.fuser.test_fused import tensors
from tests.fuser.test_laws import uncompiled
from tinygrad_seq import functional as F
from tinygrad_seq.fuser import launch
from tinygrad_seq.fuser.decorator import kernels_wanted
from tinygrad_seq.fuser.kernel import Kernel, Loop

pytestmark = pytest.mark.skipif(not kernels_wanted(), reason="numba is switched off or not installed")

FUNCTIONS = {
    "softmax": lambda x: F.softmax(x),
    "gelu": lambda x: F.gelu(x),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1], x[0]),
    "cross_entropy": lambda x: F.cross_entropy(x, np.arange(len(x.array))),
    "dropout": lambda x: F.dropout(x, 0.25, True),
    "logsumexp": lambda x: x.logsumexp(-1),
    "log_softmax": lambda x: F.log_softmax(x),
}


def kernels_of(name, dtype, width, monkeypatch):
    """The kernels of a function and its gradient."""
    found = []
    emit = launch.emit

    def noting(*given):
        found.append(emit(*given))
        return found[-1]

    monkeypatch.setattr(launch, "emit", noting)
    with uncompiled():
        x = tensors([(5, width)], dtype)[0]
        out = FUNCTIONS[name](x)
        (out * out).sum().backward()
    return found


def loops_in(source):
    """Each loop over columns in a text: its length, its lines, and its calls of polynomials."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.For) and ast.unparse(node.iter).startswith("range(n"):
            calls = [
                c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)
            ]
            of = [sum(c.endswith(dtype) for c in calls) for dtype in ("_f32", "_f64")]
            yield int(ast.unparse(node.iter)[len("range(n") : -1]), len(node.body), *of


@pytest.mark.parametrize("width", [7, 9000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_kernel_knows_its_loops_and_its_names(name, dtype, width, monkeypatch):
    """Noted as it was written, and the same as the text says; no name is imported in vain, none is missing."""
    kernels = kernels_of(name, dtype, width, monkeypatch)
    assert len(kernels) >= 2
    for kernel in kernels:
        noted = sorted((p.size, p.lines, p.float32, p.float64) for p in kernel.loops)
        assert noted == sorted(loops_in(kernel.source))
        for text in (kernel.source, kernel.pieces(several=False), kernel.pieces(several=True)):
            tree = ast.parse(text)
            functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
            arguments = [a.arg for a in functions["kernel"].args.args]
            assert arguments == ["lo", "hi", *kernel.parameters]
            heads = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom, ast.Assign))]
            given = {a.asname or a.name for n in heads if not isinstance(n, ast.Assign) for a in n.names}
            given |= {n.targets[0].id for n in heads if isinstance(n, ast.Assign)}
            used = {n.id for f in functions.values() for n in ast.walk(f) if isinstance(n, ast.Name)}
            used |= {n.value.value.id for n in heads if isinstance(n, ast.Assign)}
            pair = {"inf", "nan"}  # imported in one line where either is needed
            assert given - used - pair <= {"np"}
            assert bool(given & pair) == bool(used & pair)
            known = {a.arg for f in functions.values() for a in f.args.args} | {"range", "min", "abs", "len"}
            known |= {
                n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            assert used - known - set(functions) <= given


def test_what_a_turn_of_a_loop_takes():
    """Nanoseconds of one core: 0.8 a polynomial in float32, 8 in float64, a twentieth a line."""
    assert Loop(0, lines=4).nanoseconds == pytest.approx(0.2)
    assert Loop(0, lines=4, float32=2).nanoseconds == pytest.approx(1.8)
    assert Loop(0, lines=4, float64=1).nanoseconds == pytest.approx(8.2)


def kernel_of(*loops, summed=(False, True)):
    """A kernel of one input and two outputs."""
    body = (
        "def kernel(lo, hi, n0, x0, o0, o1):",
        "    for r in range(lo, hi):",
        "        o1[0] += x0[r]",
        "",
    )
    return Kernel("A title.", body, ("n0", "x0", "o0", "o1"), (3,), (), (0,), (1, 2), summed, loops)


@pytest.mark.parametrize(("most", "vectors"), [(0, 2), (2, 2), (3, 4)])
def test_loops_of_several_polynomials_work_on_four_vectors(most, vectors):
    """What counts is the costliest loop, not their sum; float64 does not count."""
    assert kernel_of(Loop(0, 9, 1), Loop(0, 9, most), Loop(0, 9, 0, 9)).vectors == vectors
    assert kernel_of().vectors == 2


def test_the_driver_gives_each_piece_sums_of_its_own():
    """The text for several threads and for one: they differ in `prange` alone."""
    several = kernel_of().pieces(several=True)
    assert several == (
        '"""A title."""\n\nimport numpy as np\nfrom numba import prange\n\n\n\n'
        "def kernel(lo, hi, n0, x0, o0, o1):\n"
        "    for r in range(lo, hi):\n"
        "        o1[0] += x0[r]\n\n\n"
        "def pieces(chunks, rows, n0, x0, o0, o1):\n"
        "    step = (rows + chunks - 1) // chunks\n"
        "    for i in prange(chunks):\n"
        "        lo, hi = min(rows, i * step), min(rows, i * step + step)\n"
        "        kernel(lo, hi, n0, x0, o0, o1[i])\n"
    )
    one = several.replace("from numba import prange\n", "").replace("prange", "range")
    assert kernel_of().pieces(several=False) == one
