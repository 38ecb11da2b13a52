"""Infinity and NaN are answers, as in PyTorch: no op warns, whatever NumPy is set to."""

import threading
import warnings

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

pytestmark = pytest.mark.engine

X = np.float32([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BIG = np.float32([3e38, 3e38])
INF, NAN = np.inf, np.nan
# name: (what is computed, the right value in each element)
ANSWERS = {
    "log of 0": (lambda x: (x * 0).log(), -INF),
    "log below 0": (lambda x: (-x).log(), NAN),
    "log1p of -1": (lambda x: (x * 0 - 1).log1p(), -INF),
    "by 0": (lambda x: x / 0, INF),
    "0 by 0": (lambda x: (x * 0) / 0, NAN),
    "integers by 0": (lambda x: x.long() / 0, INF),
    "reciprocal": (lambda x: (x * 0).reciprocal(), INF),
    "rsqrt": (lambda x: (x * 0).rsqrt(), INF),
    "exp": (lambda x: (x * 1000).exp(), INF),
    "root": (lambda x: (-x).sqrt(), NAN),
    "power": (lambda x: (x + 1) ** 1000, INF),
    "half power": (lambda x: (-x) ** 0.5, NAN),
    "inverse": (lambda x: (x * 0) ** -1, INF),
    "to a tensor": (lambda x: (-x) ** (x * 0.3), NAN),
    "number to it": (lambda x: 9.0 ** (x * 100), INF),
    "sum of two": (lambda x: (x * 0 + 3e38) + 3e38, INF),
    "product": (lambda x: (x * 1e38) * 1e38, INF),
    "infinity less infinity": (lambda x: (x * INF) - INF, NAN),
    "nothing of infinity": (lambda x: (x * INF) * 0, NAN),
    "sine": (lambda x: (x * INF).sin(), NAN),
    "remainder": (lambda x: (x * INF) % 2, NAN),
    "floor division": (lambda x: x // 0.0, INF),
    "narrowed": (lambda x: (x.double() * 1e300).float(), INF),
    "matmul": (lambda x: (x * 3e38) @ tgs.ones(3, 2), INF),
    "sum": (lambda x: tgs.tensor(BIG).sum(), INF),
    "mean": (lambda x: tgs.tensor(BIG).mean(), INF),
    "product of all": (lambda x: tgs.tensor(BIG).prod(), INF),
    "cumsum": (lambda x: (x * 3e38).cumsum(0)[1], INF),
    "norm": (lambda x: (x * 0 + 3e38).norm(), INF),
    "softplus": (lambda x: F.softplus(x * INF), INF),
    "logsumexp": (lambda x: F.logsumexp(x * INF), INF),
    "mse": (lambda x: F.mse_loss(x * 1e38, x * -1e38), INF),
    "list": (lambda x: tgs.tensor([1e300, 1e300]), INF),
    "array": (lambda x: tgs.tensor(np.array([1e300]), dtype=tgs.float32), INF),
    "in place": (lambda x: x.div_(0), INF),
    "operator in place": (lambda x: x.__itruediv__(0), INF),
    "written": (lambda x: x.copy_(np.full(3, 1e300)), INF),
    "in a function": (lambda x: tgs.exp(x * 1000), INF),
    "NumPy's function": (lambda x: np.exp(x * 1000), INF),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("numpy_says", ["warn", "raise"])
def test_an_op_does_not_warn(name, numpy_says):
    """Neither where warnings are errors, nor where NumPy is told to raise."""
    call, right = ANSWERS[name]
    with warnings.catch_warnings(), np.errstate(all=numpy_says, under="ignore"):
        warnings.simplefilter("error")
        found = call(tgs.tensor(X))
    assert np.array_equal(found.array, np.full(found.shape, right), equal_nan=True)


def test_numpy_itself_still_warns():
    """What the package leaves alone is the setting of the program around it, in any thread."""
    before = np.geterr()

    def warned() -> None:
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            np.log(np.float64(0.0))

    assert tgs.log(tgs.zeros(1)).item() == -INF
    warned()
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(tgs.log(tgs.zeros(1)).item()))
    thread.start()
    thread.join()
    assert found == [-INF]
    assert np.geterr() == before


def test_an_op_inside_an_op_runs():
    """A fused function and a checkpointed one are ops of ops."""
    x = tgs.tensor(X, requires_grad=True)
    with tgs.composed():
        (F.softmax(x) * 2).sum().backward()
    tgs.checkpoint(lambda x: F.softmax(x / 0.0).log(), x).sum().backward()
    assert np.isnan(x.grad.array).all()
