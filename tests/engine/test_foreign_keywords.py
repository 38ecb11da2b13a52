"""Keywords of other libraries: taken where they ask for nothing, else refused in our words."""

import inspect

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import errors, nn, optim
from tinygrad_seq import functional as F
from tinygrad_seq.errors import SignatureError

OWN = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))

X = tgs.tensor([1.0, 2.0])
PARAMETERS = list(nn.Linear(2, 2).parameters())


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.relu(X, inplace=False),
        lambda: F.softmax(X, dim=-1, _stacklevel=3),
        lambda: X.sum(out=None),
        lambda: tgs.sigmoid(X, out=None),
        lambda: X.clone(memory_format=None),
        lambda: tgs.zeros(2, pin_memory=False, layout=None),
        lambda: nn.Embedding(3, 2, sparse=False, max_norm=None, norm_type=2.0, device="cpu"),
        lambda: nn.SiLU(inplace=False),
        lambda: nn.Dropout(0.5, inplace=False),
        lambda: optim.Adam(PARAMETERS, fused=True, foreach=None, maximize=False, capturable=False),
        lambda: nn.utils.clip_grad_norm_(PARAMETERS, 1.0, foreach=True),
    ],
)
def test_what_changes_nothing_is_taken(call):
    call()


def test_softmax_in_another_dtype():
    """PyTorch's dtype=: the numbers are converted first."""
    for f in (F.softmax, F.log_softmax):
        made = f(X, -1, dtype="float64")
        assert made.dtype == np.float64
        np.testing.assert_allclose(made.numpy(), f(X.double()).numpy(), rtol=0)


REFUSED = {
    "relu: no such setting: inplace.\n  inplace: True\n  expected x.\n"
    "  Results are tensors of their own; methods whose names end in _ write.": lambda: F.relu(
        X, inplace=True
    ),
    "Adam: no such setting: maximize.\n  maximize: True\n"
    "  expected some of params, lr, betas, eps, weight_decay, amsgrad.\n"
    "  To climb, call backward() on the negative of what is to grow.": lambda: optim.Adam(
        PARAMETERS, maximize=True
    ),
    "Linear: no such setting: biass.\n  biass: True\n"
    "  expected some of in_features, out_features, bias, dtype, rng.\n  Near it: bias.": lambda: nn.Linear(
        2, 2, biass=True
    ),
    "Linear: missing a required argument: 'out_features'.\n"
    "  expected Linear(in_features, out_features, bias=True, *, dtype=None, rng=None).": lambda: nn.Linear(2),
    "SiLU: no such setting: inplace.\n  inplace: True\n  expected none.\n"
    "  Results are tensors of their own; methods whose names end in _ write.": lambda: nn.SiLU(inplace=True),
    "zeros: no such setting: pin_memory.\n  pin_memory: True\n  expected some of dtype, requires_grad.\n"
    "  Everything is in the memory of the CPU.": lambda: tgs.zeros(2, pin_memory=True),
    "relu: missing a required argument: 'x'.\n  expected relu(x).": lambda: F.relu(),
    "relu: too many positional arguments.\n  expected relu(x).": lambda: F.relu(X, X),
    "sum: no such setting: out.\n  out: f32(2,)\n  expected some of axis, keepdims, dim, keepdim, dtype.\n"
    "  Results are tensors of their own; write them with x.copy_(...).": lambda: X.sum(out=X),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_asks_for_something_is_refused(text):
    with pytest.raises(SignatureError) as found:
        REFUSED[text]()
    assert str(found.value) == text
    assert isinstance(found.value, (ValueError, TypeError))


def test_an_error_from_inside_is_left_as_it_is():
    """A TypeError of a user's own function is the user's."""

    def mine(x):
        return len(3)

    with pytest.raises(TypeError, match="has no len") as found:
        tgs.value_and_grad(mine)(X)
    assert type(found.value) is TypeError


def public():
    """(name, callable) of functions, methods, modules, optimizers and what initialises."""
    for home in (F, nn, optim, nn.init, nn.utils):
        for name in getattr(home, "__all__", [n for n in vars(home) if not n.startswith("_")]):
            if getattr(getattr(home, name), "__module__", "").startswith(home.__name__):
                yield f"{home.__name__}.{name}", getattr(home, name)
    for name in tgs._HOME_OF:
        if callable(getattr(tgs, name)) and name != "backends":
            yield name, getattr(tgs, name)
    for name in dir(tgs.Tensor):
        if not name.startswith("_") and callable(getattr(tgs.Tensor, name, None)):
            yield f"Tensor.{name}", getattr(X, name)


@pytest.mark.parametrize("name", [n for n, _ in public()])
def test_every_public_callable_answers_in_our_words(name):
    """A word that nobody knows gives an error of ours, never Python's."""
    call = dict(public())[name]
    if isinstance(call, type) and (issubclass(call, (BaseException, tuple)) or call is nn.Module):
        return  # no call of a user's
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(call).parameters.values()):
        return
    with pytest.raises(SignatureError, match="no such setting: of_no_library"):
        call(of_no_library=1)


# ---- arguments of another kind --------------------------------------------------------------------------------
LAYER = nn.Linear(2, 2)
ODD = ["a", None, [1, 2], {"a": 1}, 2**70, -(2**70), 10**400, float("nan"), 1j, object()]
TAKEN = {
    "clip_grad_norm_": lambda odd: nn.utils.clip_grad_norm_(PARAMETERS, odd),
    "clip_grad_norm_ norm_type": lambda odd: nn.utils.clip_grad_norm_(PARAMETERS, 1.0, odd),
    "clip_grad_value_": lambda odd: nn.utils.clip_grad_value_(PARAMETERS, odd),
    "Module.load_state_dict": lambda odd: LAYER.load_state_dict(odd),
    "Optimizer.load_state_dict": lambda odd: optim.SGD(PARAMETERS, 0.1).load_state_dict(odd),
    "Generator.load_state_dict": lambda odd: tgs.Generator(0).load_state_dict(odd),
    "Generator.rand": lambda odd: tgs.Generator(0).rand(odd if odd != [1, 2] else "a"),
    "new_tensor": lambda odd: X.new_tensor(odd if odd != [1, 2] else "a"),
    "dropout rng": lambda odd: F.dropout(X, 0.5, rng="none" if odd is None else odd),
    "linear bias": lambda odd: F.linear(X, tgs.ones(2, 2), odd if odd != [1, 2] else "a"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_argument_meets_an_error_of_ours(name):
    """Strings, None, lists, dicts and numbers beyond all: a few are taken, none leads to Python's own words."""
    wrong = []
    for odd in ODD:
        try:
            with np.errstate(all="ignore"):
                TAKEN[name](odd)
        except OWN:
            continue
        except Exception as error:
            wrong.append(f"{name}({odd!r:.40}): {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda n: tgs.normal(0, 1, n),
        lambda n: tgs.zeros(n),
        lambda n: tgs.rand(n),
        lambda n: tgs.randint(0, 2, (n,)),
        lambda n: tgs.linspace(0, 1, n),
        lambda n: tgs.arange(n),
        lambda n: tgs.randperm(n),
        lambda n: X.repeat(n),
        lambda n: X.tile(n),
        lambda n: X.new_ones(n),
        lambda n: nn.Linear(n, 2),
        lambda n: nn.Embedding(n, 8),
    ],
)
def test_what_no_memory_holds_is_refused(call):
    """Each says so in our words, and is a MemoryError or a ShapeError all the same."""
    with pytest.raises(tgs.ShapeError, match="there is no memory for so many elements"):
        call(2**46)
