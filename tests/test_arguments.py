"""What a program hands over by mistake, or by another library's habit: the right value, or one line of ours."""

import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import arguments, errors, nn, optim
from tinygrad_seq import functional as F
from tinygrad_seq.errors import ArgumentError, DataError

pytestmark = pytest.mark.engine

OWN = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))
WHOLE = [[1, 2, 3], [4, 5, 200]]


# ---- recording -------------------------------------------------------------------------------------------
def grows(x):
    """Whether what is made of x has a gradient."""
    return (x * 2).requires_grad


@pytest.mark.parametrize("form", ["no_grad", "no_grad()", "inference_mode", "inference_mode()"])
def test_a_decorated_function_is_not_recorded(form):
    """With parentheses and without; methods, arguments and results are the function's own."""
    switch = getattr(tgs, form.removesuffix("()"))
    switch = switch() if form.endswith("()") else switch
    x = tgs.ones(1, requires_grad=True)

    @switch
    def run(x, *, also=None):
        """Its words."""
        return grows(x), also, tgs.is_grad_enabled()

    assert run(x, also=3) == (False, 3, False)
    assert (run.__name__, run.__doc__) == ("run", "Its words.")
    assert tgs.is_grad_enabled()
    with tgs.no_grad():
        assert tgs.enable_grad(grows)(x)
        assert tgs.enable_grad()(grows)(x)


def test_a_decorated_generator_is_not_recorded():
    """Its steps are not, and what its user does between them is."""
    x, seen = tgs.ones(1, requires_grad=True), []

    @tgs.no_grad()
    def steps():
        for _ in range(2):
            seen.append((yield grows(x)))
        return "done"

    made = steps()
    assert next(made) is False
    assert grows(x)
    assert made.send("sent") is False
    with pytest.raises(StopIteration, match="done"):
        next(made)
    assert seen == ["sent", None]
    assert grows(x)


def test_set_grad_enabled_acts_at_once():
    """Called alone it holds from there on, as in PyTorch; as a block or a decorator, inside."""
    x = tgs.ones(1, requires_grad=True)
    try:
        tgs.set_grad_enabled(False)
        assert not grows(x)
        with tgs.set_grad_enabled(True):
            assert grows(x)
        assert not grows(x)
    finally:
        tgs.set_grad_enabled(True)
    assert grows(x)
    assert not tgs.set_grad_enabled(False)(grows)(x)
    assert grows(x)
    with tgs.no_grad(), tgs.no_grad():
        assert not grows(x)
    with pytest.raises(tgs.DTypeError, match="expected True or False"):
        tgs.set_grad_enabled("no")
    assert grows(x)


# ---- integers where floats are meant ---------------------------------------------------------------------
MEANT = {
    **{n: (lambda x, n=n: getattr(F, n)(x)) for n in (
        "sigmoid", "relu", "gelu", "silu", "softplus", "logsigmoid", "softmax", "log_softmax", "logsumexp", "tanh",
    )},
    "cross_entropy": lambda x: F.cross_entropy(x, [0, 1]),
    "cross_entropy of weights": lambda x: F.cross_entropy(x, [0, 1], [1, 2, 3]),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, tgs.ones(2, 3) / 3),
    "nll_loss": lambda x: F.nll_loss(x, [0, 1]),
    "mse_loss": lambda x: F.mse_loss(x, x.flip(0)),
    "l1_loss": lambda x: F.l1_loss(x, x.flip(0)),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, x.flip(0)),
    "layer_norm": lambda x: F.layer_norm(x, 3),
    "rms_norm": lambda x: F.rms_norm(x, 3),
    "norm": lambda x: x.norm(),
    "norm of 3": lambda x: x.norm(3, 1),
    "norm of infinity": lambda x: x.norm(math.inf),
    "mean": lambda x: x.mean(),
    "std": lambda x: x.std(1),
    "log1p": lambda x: x.log1p(),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("name", MEANT)
def test_integers_are_floats_first(name, dtype):
    """A loss of whole logits was 0, softplus of uint8 infinite: each is what float32 gives."""
    x = np.array(WHOLE).astype(dtype)
    found, right = (MEANT[name](tgs.tensor(values)) for values in (x, x.astype(np.float32)))
    assert found.dtype.kind == "f"
    np.testing.assert_allclose(found.numpy(), right.numpy(), rtol=2e-6)


def test_products():
    """NumPy's, of zeros and of nothing too; the gradient beside a zero is finite."""
    x = np.float32([[2.0, 0.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 6.0]])
    t = tgs.tensor(x, requires_grad=True)
    t.prod(1).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [[0, 120, 0, 0, 0], [144, 72, 48, 36, 24]])
    for axis, keeps in ((0, False), (1, True), ((0, 1), False), (None, True)):
        np.testing.assert_array_equal(tgs.tensor(x).prod(axis, keeps).numpy(), x.prod(axis, keepdims=keeps))
    assert tgs.prod(tgs.tensor([200, 200], dtype=tgs.uint8)).item() == 40_000
    assert tgs.zeros(0).prod().item() == 1.0
    assert tgs.ones(3, dtype=tgs.int64).sum(dtype=tgs.float32).dtype == np.float32
    assert tgs.ones(3).softmax(0, dtype=tgs.float64).dtype == np.float64


# ---- refused in our words ----------------------------------------------------------------------------------
REFUSED = {
    "None written": (lambda: tgs.ones(2).__setitem__(0, None), "NoneType cannot stand beside a tensor"),
    "text written": (lambda: tgs.ones(2).__setitem__(0, "1.5"), "str cannot stand beside a tensor"),
    "too large": (lambda: tgs.zeros(2, dtype=tgs.uint8).__setitem__(0, 300), "a number does not fit u8"),
    "NaN in integers": (lambda: tgs.zeros(2, dtype=tgs.int64).__setitem__(0, math.nan), "not a whole number"),
    "complex written": (lambda: tgs.ones(2).__setitem__(0, 1j), "complex cannot stand beside a tensor"),
    "out of uint8": (lambda: tgs.tensor([300], dtype=tgs.uint8), "tensor: not numbers"),
    "complex array": (lambda: tgs.ones(1).new_tensor(np.array([1j])), "no tensors of dtype complex128"),
    "pieces of nothing": (lambda: tgs.zeros(0).chunk(2**70), "chunks out of range"),
    "times": (lambda: tgs.ones(2).repeat_interleave(range(3)), "not a number for each"),
    "rows of times": (lambda: tgs.ones(2).repeat_interleave([[1], [2, 3]]), "repeats is no whole number"),
    "nearness": (lambda: tgs.allclose(tgs.ones(1), tgs.ones(1), [1, 2]), "rtol is no real number"),
    "dtype of eye": (lambda: tgs.eye(2, 2, 10**60), "eye: no tensors of dtype"),
    "bounds": (lambda: tgs.ones(2).uniform_(1, 0), "expected low at most high, got 1.0 and 0.0"),
    "one bound": (lambda: tgs.ones(2).uniform_(2), "expected low at most high, got 2.0 and 1.0"),
    "number into truth": (lambda: tgs.tensor([True]).add_(1), "add_: x cannot hold the result"),
    "alpha": (lambda: tgs.ones(2).add_(1, alpha="a"), "str cannot stand beside a tensor"),
    "clamp": (lambda: tgs.ones(2).clamp_("a"), "str cannot stand beside a tensor"),
    "text as numbers": (lambda: tgs.tensor(["1.5"], dtype=tgs.float32), "no tensors of dtype <U3"),
    "None as NaN": (lambda: tgs.tensor([None, 1.0], dtype=tgs.float32), "no tensors of dtype object"),
    "complex as real": (lambda: tgs.tensor(np.array([1 + 2j]), dtype=tgs.float32), "of dtype complex128"),
    "wants": (lambda: tgs.ones(2).requires_grad_("no"), "requires_grad_: on is no flag"),
    "contains": (lambda: "a" in tgs.ones(2), "str cannot stand beside a tensor"),
    "order": (lambda: tgs.ones(2).argsort(0, "down"), "descending is no flag"),
    "keepdims": (lambda: tgs.ones(2, 2).sum(0, 1), "keepdims is no flag"),
    "smoothing": (lambda: F.cross_entropy(tgs.ones(1, 2), [0], label_smoothing="a"), "label_smoothing is no real"),
    "ignored": (lambda: F.cross_entropy(tgs.ones(1, 2), [0], ignore_index=None), "ignore_index is no whole number"),
    "training": (lambda: F.dropout(tgs.ones(2), 0.5, "no"), "training is no flag"),
    "mode": (lambda: nn.Linear(1, 1).train("no"), "train: mode is no flag"),
    "modules": (lambda: nn.ModuleList(nn.Linear(1, 1)), "ModuleList: modules is no list"),
    "bias": (lambda: nn.Linear(1, 1, bias="no"), "Linear: bias is no flag"),
    "group rate": (lambda: optim.SGD([{"params": tgs.ones(1), "lr": -1}]), "expected lr of at least 0, got -1."),
    "added rate": (
        lambda: optim.Adam(tgs.ones(1)).add_param_group({"params": tgs.zeros(1), "betas": (1.5, 0.9)}),
        "beta1 from 0 to below 1, got 1.5",
    ),
    "rate": (lambda: optim.SGD(tgs.ones(1), lr="a"), "SGD: lr is no real number"),
    "no rate": (lambda: optim.Adam(tgs.ones(1), lr=None), "Adam: lr is no real number"),
    "betas": (lambda: optim.Adam(tgs.ones(1), betas=(0.9,)), "betas are two numbers"),
    "one beta": (lambda: optim.Adam(tgs.ones(1), betas=0.9), "betas is no list"),
    "eps": (lambda: optim.RMSprop(tgs.ones(1), eps=-1), "expected eps of at least 0"),
    "flag": (lambda: optim.Adam(tgs.ones(1), amsgrad="yes"), "amsgrad is no flag"),
    "rows": (lambda: tgs.eye(1, 2**70), "a shape beyond all memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_our_words(name):
    """None of these was: some gave a number, some an error from inside."""
    call, words = REFUSED[name]
    with pytest.raises(OWN) as error:
        call()
    assert type(error.value) in OWN
    assert words in str(error.value)


def test_what_is_written_is_what_is_meant():
    """Numbers, lists, arrays and tensors; a float into integers loses what is behind the point, as in NumPy."""
    x = tgs.zeros(2, 3)
    x[0] = 1.5
    x[1] = [1, 2, 3]
    x[:, 0] = np.array([7.0, 8.0])
    x[1, 1:] = tgs.tensor([4, 5])
    np.testing.assert_array_equal(x.numpy(), [[7, 1.5, 1.5], [8, 4, 5]])
    n = tgs.zeros(3, dtype=tgs.int64)
    n[0], n[1], n[2] = 1.7, -1.7, True
    assert n.tolist() == [1, -1, 1]


def test_in_asks_for_a_value():
    """As in NumPy and PyTorch; of rows, a row that broadcasts is one."""
    x = tgs.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 3 in x
    assert 5.0 not in x
    assert x[0] in x
    assert x in [tgs.zeros(2, 2), x][1:]


def test_names_that_are_not_here_say_what_is():
    """PyTorch's names, each with what stands for it."""
    for owner, name, words in (
        (tgs, "autograd", "a tensor needs no Variable"), (tgs, "utils", "tgs.data"), (nn, "BCELoss", "BCEWithLogits"),
        (tgs.ones(1), "expm1", "exp"), (tgs, "outer", "unsqueeze"), (optim, "lr_scheduler", "StepLR"),
        (F, "pad", "cat"), (F, "huber_loss", "l1_loss"), (nn, "LeakyReLU", "where"), (tgs, "median", "sort"),
        (tgs.ones(1), "nonzero", "argwhere"), (tgs, "pi", "math.pi"), (optim, "LBFGS", "Adam"),
    ):  # fmt: skip
        with pytest.raises(AttributeError) as error:
            getattr(owner, name)
        assert words in str(error.value).split("\n  docs/")[0].split(".\n", 1)[1]


@pytest.mark.parametrize("value", [True, np.True_, 0, -1, 2.0, np.float64(2), "2", None, [2]])
def test_a_count_is_a_whole_number(value):
    """True is none, and 2.0 is none; the name, the word and the kind of the error are the caller's."""
    with pytest.raises(DataError) as caught:
        arguments.count("f", "n", value, 1, "is no count", DataError)
    assert str(caught.value) == f"f: n is no count.\n  expected a whole number of at least 1, got {value!r}."
    with pytest.raises(
        ArgumentError, match=r"^f: n is no size\.\n  expected a whole number of at least 1, got "
    ):
        arguments.size("f", "n", value)


def test_counts_and_probabilities_come_back_as_pythons():
    """From NumPy's numbers too."""
    assert [type(arguments.count("f", "n", v, 0)) for v in (0, np.int8(3), 10**30)] == [int] * 3
    assert [arguments.probability("f", "p", p) for p in (0, 1, 0.5, np.float32(0.25))] == [0, 1, 0.5, 0.25]
    assert type(arguments.probability("f", "p", np.float32(0.25))) is float


@pytest.mark.parametrize("value", [True, "a", None, -0.1, 1.5, np.nan, np.float32(2)])
def test_a_probability_lies_from_0_to_1(value):
    """The full text."""
    with pytest.raises(ArgumentError) as caught:
        arguments.probability("f", "p", value)
    assert str(caught.value) == f"f: p out of range.\n  expected a probability from 0 to 1, got {value!r}."
