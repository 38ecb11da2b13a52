"""The same numbers in, the same bits out: wherever arrays lie, whatever shares the work, whatever ran before."""

import itertools
import re

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.engine.apply import wrap
from tinygrad_seq.functional.attention import attention_weights
from tinygrad_seq.fuser import threads
from tinygrad_seq.runtime import jit

pytestmark = [
    pytest.mark.laws,
    pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed"),
]


# ---- where arrays lie ------------------------------------------------------------------------------------------
FUNCTIONS = {
    "softmax": lambda x, y: F.softmax(x),
    "attention_weights": lambda x, y: attention_weights(x, y, scale=0.35, biased=True),
    "layer_norm": lambda x, y: F.layer_norm(x, x.shape[-1], y[0]),
    "cross_entropy": lambda x, y: F.cross_entropy(x, np.arange(len(x.array))),
}


def calls_of(function, inputs, monkeypatch):
    """Every kernel call of a value and its gradients: the kernel, and copies of what it was handed."""
    found = []
    call = jit._Kernel.__call__

    def noting(kernel, *arguments):
        found.append((kernel, [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]))
        return call(kernel, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(jit._Kernel, "__call__", noting)
        for x in inputs:
            x.requires_grad = True
        out = function(*inputs)
        (out * out).sum().backward()
    return found


def arguments_of(kernel, arguments):
    """The innermost function of a kernel, the names of its arguments, and they with its scratch rows."""
    which, names = re.search(r"def (over_rows|kernel)\((.*)\):", kernel.source).groups()
    names, width = names.split(", "), arguments[2]
    made = dict(re.findall(r"    (t\d+) = np.empty\(n0, np\.(\w+)\)", kernel.source))
    arguments = [*arguments, *(np.zeros(width, made[name]) for name in names[len(arguments) :])]
    return jit.build(kernel.source, which, kernel.flags, vectors=kernel.vectors), names, arguments


def laid_out(names, arguments, order, gap):
    """The arguments with all arrays in one buffer, so many bytes between them; and those that are results."""
    arrays = {name: a for name, a in zip(names, arguments, strict=True) if isinstance(a, np.ndarray)}
    read = [name for name in arrays if name[0] == "x"]
    written = [name for name in arrays if name[0] != "x"]
    pairs = itertools.zip_longest(written, read)
    places = {
        "behind": read + written,
        "before": written + read,
        "between": [n for p in pairs for n in p if n],
    }
    buffer = np.zeros(sum(a.nbytes + gap + 8 for a in arrays.values()) + 64, np.uint8)
    at, moved = -buffer.ctypes.data % 64, {}
    for name in places[order]:
        a = arrays[name]
        at += -at % a.itemsize
        moved[name] = buffer[at : at + a.nbytes].view(a.dtype).reshape(a.shape)
        moved[name][...] = a
        at += a.nbytes + gap
    results = {name: a for name, a in moved.items() if name[0] == "o"}
    return [moved.get(name, a) for name, a in zip(names, arguments, strict=True)], results


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_place_of_an_array_changes_no_bit(name, dtype, monkeypatch):
    """Inputs, outputs and scratch rows at every distance up to 512 bytes: LLVM must not test for overlap.

    Where it does, what lies 32 to 252 bytes apart goes to a scalar loop, which adds a row in another order.
    """
    tried = 0
    for width in (8, 16, 24, 33):
        rng = np.random.default_rng(width)
        inputs = [tgs.tensor(rng.standard_normal((3, width)).astype(dtype)) for _ in range(2)]
        for kernel, given in calls_of(FUNCTIONS[name], inputs, monkeypatch):
            run, names, arguments = arguments_of(kernel, given)
            expected = None
            step = 8 if dtype == "float64" else 4
            for order, gap in itertools.product(("behind", "before", "between"), range(0, 520, step)):
                moved, results = laid_out(names, arguments, order, gap)
                run(*moved)
                bits = {n: r.tobytes() for n, r in results.items()}
                expected = expected or bits
                assert bits == expected, (kernel.source.splitlines()[0], width, order, gap)
                tried += 1
    assert tried > 1000


def unaligned(array):
    """The same numbers one byte beside where they belong."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    moved = memory[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    """The same numbers, not to be written to."""
    copied = array.copy()
    copied.flags.writeable = False
    return copied


FORMS = {
    "unaligned": unaligned,
    "read-only": read_only,
    "transposed": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[:, ::2],
    "backwards": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_how_an_array_is_kept_changes_no_bit(form, monkeypatch):
    """Each is copied to what the kernel was built for: another build is by other options, and adds otherwise."""
    rng = np.random.default_rng(0)
    scores, bias = (rng.standard_normal((5, 24)).astype("float32") for _ in range(2))
    found = []
    for make in (np.copy, FORMS[form], np.copy):
        x, b = wrap(make(scores)), wrap(make(bias))
        calls = calls_of(FUNCTIONS["attention_weights"], [x, b], monkeypatch)
        found.append(x.grad.numpy().tobytes() + b.grad.numpy().tobytes())
        assert all(len(kernel.run.signatures) == 1 for kernel, _ in calls)
    assert found[0] == found[1] == found[2]


# ---- what shares a call -------------------------------------------------------------------------------------------
def results_of(function, *arrays):
    """A value and the gradients of its inputs, as arrays."""
    inputs = [wrap(a.copy()) for a in arrays]
    for x in inputs:
        x.requires_grad = True
    out = function(*inputs)
    (out * (out.detach() * 0.5 + 0.25)).sum().backward()
    return [out.numpy(), *(x.grad.numpy() for x in inputs if x.grad is not None)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["gelu", "silu", "softplus"])
def test_a_number_does_not_know_its_neighbors(name, dtype):
    """In the vector loop or among the columns left over: how many numbers stand beside it changes no bit."""
    function = getattr(F, name)
    x = (np.random.default_rng(0).standard_normal(150) * 3).astype(dtype)
    whole = results_of(function, x)
    for n in (1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 97, 149):
        for part, found in zip(results_of(function, x[-n:]), whole, strict=True):
            np.testing.assert_array_equal(part, found[-n:])


@pytest.mark.parametrize("width", [5, 16, 33, 65])
@pytest.mark.parametrize("name", ["softmax", "attention_weights"])
def test_a_row_does_not_know_its_neighbors(name, width):
    """Alone, among others, or first of many: the same row has the same bits."""
    rng = np.random.default_rng(width)
    rows = [rng.standard_normal((40, width)).astype("float32") for _ in range(2)]
    whole = results_of(FUNCTIONS[name], *rows)
    for n in (1, 2, 17):
        for part, found in zip(
            results_of(FUNCTIONS[name], *(a[7 : 7 + n] for a in rows)), whole, strict=True
        ):
            np.testing.assert_array_equal(part, found[7 : 7 + n])


@pytest.mark.parametrize("name", ["gelu", "softmax"])
def test_one_thread_or_several_change_no_bit(name, monkeypatch):
    """The race is settled by time. In gelu's gradient a product and a sum were one step on one side only."""
    found = []

    def both(call, arguments, results):
        others = [r.copy() for r in results]
        threads._one_by_one(call, arguments, results)
        if threads._on_threads(call, arguments, others, first=True):
            found.append(all(a.tobytes() == b.tobytes() for a, b in zip(results, others, strict=True)))

    monkeypatch.setattr(threads, "run", both)
    monkeypatch.setattr(threads, "count", lambda: 2)
    x = (np.random.default_rng(0).standard_normal((1024, 512)) * 2).astype("float32")
    results_of(getattr(F, name), x)
    assert len(found) >= 2
    assert all(found)


@pytest.mark.parametrize("width", [1, 7, 64, 257])
def test_the_greatest_of_a_row_is_that_of_numpy(width):
    """Wherever it stands, and NaN wherever one stands; of 0.0 and -0.0 it is either."""
    greatest = tgs.fused(lambda x: x.max(-1, keepdims=True) * 1.0)
    for dtype in ("float32", "float64"):
        rows = np.random.default_rng(width).standard_normal((3 * width + 3, width)).astype(dtype)
        for place in range(width):
            rows[3 * place, place] = np.nan
            rows[3 * place + 1, place] = 9.0
            rows[3 * place + 2, place] = np.inf
        rows[-1], rows[-2], rows[-3] = -np.inf, -1e-45, np.where(np.arange(width) % 2, 0.0, -0.0)
        with np.errstate(invalid="ignore"):
            expected = np.max(rows, -1, keepdims=True)
        np.testing.assert_array_equal(greatest(tgs.tensor(rows)).numpy(), expected)
