"""What users of PyTorch and of NumPy write by habit: it does what it does there, or it is refused in a clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.errors import ArgumentError, RangeError
from tinygrad_seq.runtime import kernel_cache

pytestmark = pytest.mark.engine

A = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def equal(mine, right):
    """The same values in the same shape."""
    np.testing.assert_array_equal(mine.numpy(), right)


# ---- max and min: NumPy's values, PyTorch's pair ---------------------------------------------------------
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_in_both_libraries_ways(name):
    """`axis=` gives values, `dim=` the pair; without a name the values cannot be taken for the pair."""
    x = tgs.tensor(A)
    find = getattr(x, name)
    values, places = getattr(A, name)(1), getattr(A, "arg" + name)(1)
    equal(find(), getattr(A, name)())
    equal(find(axis=1), values)
    equal(find(axis=(0, 1)), getattr(A, name)())
    equal(find(axis=1, keepdims=True), values[:, None])
    equal(find(1), values)
    equal(find(1, True) * 2, values[:, None] * 2)
    equal(find(1, keepdims=True)[0], values[:1])
    for pair in (find(dim=1), find(1, keepdim=False), find(dim=-1)):
        equal(pair.values, values)
        equal(pair.indices, places)
    kept, where = find(dim=1, keepdim=True)
    equal(kept, values[:, None])
    equal(where, places[:, None])
    equal(find(tgs.tensor(A[::-1].copy())), getattr(np, name + "imum")(A, A[::-1]))
    equal(getattr(tgs.tensor(2.0), name)(dim=0).values, np.float32(2))
    for use in (lambda: tuple(find(1)), lambda: find(1)[1], lambda: find(0)[-1]):
        with pytest.raises(ArgumentError, match=r"axis=1 gives values alone, as in NumPy; dim=1 gives \(val"):
            use()


def test_an_axis_and_a_dim_are_one_setting():
    """Both at once are refused; today's silent choice was wrong for one of them."""
    x = tgs.tensor(A)
    calls = "sum mean max min amax amin var std argmax argmin all any squeeze"
    for name in calls.split():
        with pytest.raises(ArgumentError) as caught:
            getattr(x, name)(axis=0, dim=1)
        assert str(caught.value) == (
            f"{name}: axis and dim are one setting.\n  axis: 0\n  dim: 1\n  expected one of them."
        )
        with pytest.raises(RangeError):
            getattr(x, name)(axis=True)


def test_the_pair_is_no_tensor():
    """What a tuple would do silently with `* 2`, `+` and NumPy is refused."""
    pair = tgs.tensor(A).max(dim=1)
    for use in (lambda: pair * 2, lambda: 2 * pair, lambda: pair + pair, lambda: np.asarray(pair)):
        with pytest.raises(ArgumentError, match=r"Take \.values, or write axis= for dim="):
            use()


def test_the_pairs_gradient_goes_to_one_place():
    """As in PyTorch; the values alone share it among equals."""
    x = tgs.tensor([[1.0, 3.0, 3.0]], requires_grad=True)
    x.max(dim=1).values.sum().backward()
    equal(x.grad, [[0, 1, 0]])
    x.grad = None
    x.max(axis=1).sum().backward()
    equal(x.grad, [[0, 0.5, 0.5]])


def test_a_variance_says_what_it_divides_by():
    """PyTorch's default is n - 1, NumPy's n: the names of both, and no truth value by its place."""
    x = tgs.tensor(A)
    for name in ("var", "std"):
        spread = getattr(x, name)
        for call, less in (
            (lambda s: s(1), 1),
            (lambda s: s(1, unbiased=False), 0),
            (lambda s: s(dim=1, unbiased=True), 1),
            (lambda s: s(axis=1, ddof=0), 0),
            (lambda s: s(1, correction=2), 2),
        ):
            right = getattr(A.astype(float), name)(1, ddof=less)
            np.testing.assert_allclose(call(spread).numpy(), right, rtol=1e-5)
        assert spread(1, keepdim=True).shape == spread(1, True, correction=1).shape == (3, 1)
        with pytest.raises(ArgumentError, match="in PyTorch a truth value here is unbiased=, in NumPy a dt"):
            spread(1, False)
        with pytest.raises(ArgumentError, match="one setting under two names"):
            spread(1, unbiased=False, correction=1)
        with pytest.raises(RangeError, match="got False"):
            spread(False)


def test_places_keep_their_axis():
    """`argmax(dim=1, keepdim=True)`, `all` and `any` likewise."""
    x = tgs.tensor(A)
    equal(x.argmax(dim=1, keepdim=True), A.argmax(1, keepdims=True))
    equal(x.argmin(axis=0, keepdims=True), A.argmin(0, keepdims=True))
    equal(x.argmax(0, True), A.argmax(0, keepdims=True))
    equal((x > 0).all(dim=1, keepdim=True), (A > 0).all(1, keepdims=True))
    equal((x > 0).any(axis=1, keepdims=True), (A > 0).any(1, keepdims=True))


def test_gather_is_pytorchs():
    """`gather(dim, index)`: values, gradient, and what does not fit."""
    ids = np.array([[0, 2], [1, 1], [3, 0]])
    x = tgs.tensor(A, requires_grad=True)
    y = x.gather(1, ids)
    equal(y, np.take_along_axis(A, ids, 1))
    y.sum().backward()
    right = np.zeros_like(A)
    np.add.at(right, (np.arange(3)[:, None], ids), 1)
    equal(x.grad, right)
    equal(x.gather(dim=0, index=tgs.tensor([[2, 0, 1]])), [A[[2, 0, 1], [0, 1, 2]]])
    for wrong in ([[4]], [[-1]]):
        with pytest.raises(RangeError, match="expected ids from 0 to 3"):
            x.gather(1, wrong)
    with pytest.raises(tgs.ShapeError, match="expected the axes of x"):
        x.gather(1, [0, 1])
    with pytest.raises(tgs.DTypeError, match="ids must be integers"):
        x.gather(1, [[0.5]])


# ---- numbers, texts, sizes, dtypes, devices --------------------------------------------------------------
def test_a_loss_is_written_as_a_number():
    """`f"{loss:.3f}"`, `round(loss, 3)`; several elements are refused in our words."""
    loss = tgs.tensor(1.23456, requires_grad=True) * 1
    assert (f"{loss:.3f}", f"{loss}", round(loss), f"{tgs.tensor([2.5]):.1f}") == (
        "1.235",
        "1.23456",
        1,
        "2.5",
    )
    assert round(loss, 3) == pytest.approx(1.235, abs=1e-6)
    equal(round(tgs.tensor([1.26, -0.5]), 1), np.round(np.float32([1.26, -0.5]), 1))
    with pytest.raises(tgs.DTypeError) as caught:
        f"{tgs.tensor(A):.3f}"
    assert str(caught.value) == (
        "format: '.3f' is for one number.\n  x: f32(3, 4)\n  expected 1 element, got 12.\n"
        "  Write each, or x.tolist()."
    )


def test_sizes_in_both_ways():
    """`x.size` is NumPy's number, `x.size()` PyTorch's shape."""
    x = tgs.tensor(A)
    assert (x.size, x.size(), x.size(0), x.size(-1), x.size(dim=1)) == (12, (3, 4), 3, 4, 4)
    assert (x.dim(), x.numel(), x.element_size(), x.nbytes, x.is_floating_point()) == (2, 12, 4, 48, True)
    with pytest.raises(RangeError):
        x.size(2)


def test_dtypes_and_the_one_device():
    """Names of all libraries; the CPU is accepted and nothing done; any other device is refused in our words."""
    x = tgs.tensor([1.7, -1.7, 0.0])
    for kind, right in ((tgs.long, np.int64), ("int32", np.int32), (bool, np.bool_), (float, np.float64)):
        assert x.to(kind).dtype == x.type(kind).dtype == right
    assert (x.long().dtype, x.int().dtype, x.bool().tolist(), x.type()) == (
        np.int64, np.int32, [True, True, False], "float32",
    )  # fmt: skip
    for same in (
        x.to("cpu"),
        x.cpu(),
        x.to(tgs.device("cpu")),
        x.to(device=None),
        x.to(x.device),
        x.contiguous(),
    ):
        assert same is x
    assert (str(x.device), x.device == "cpu", tgs.cuda.is_available(), tgs.backends.mps.is_available()) == (
        "cpu", True, False, False,
    )  # fmt: skip
    layer = tgs.nn.Linear(2, 2)
    assert layer.to("cpu").cpu() is layer
    for use in (
        lambda: x.to("cuda"), lambda: x.cuda(), lambda: tgs.zeros(2, device="mps"), lambda: layer.to("cuda:0"),
        lambda: layer.cuda(), lambda: tgs.device("cuda"), lambda: tgs.randn(2, device="meta"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match="no such device"):
            use()
    for use in (lambda: x.to("complex64"), lambda: tgs.zeros(2, dtype="text"), lambda: layer.to(tgs.long)):
        with pytest.raises(tgs.DTypeError):
            use()


DTYPES = {
    "tensor": lambda word: tgs.tensor([1.0], word), "zeros": lambda word: tgs.zeros(2, dtype=word),
    "to": lambda word: tgs.ones(2).to(word), "sum": lambda word: tgs.ones(2).sum(dtype=word),
    "arange": lambda word: tgs.arange(3, dtype=word), "new_zeros": lambda word: tgs.ones(2).new_zeros(2, dtype=word),
    **{
        f.__name__: lambda word, f=f, args=args: f(*args, dtype=word)
        for f, *args in (
            (nn.Linear, 2, 2), (nn.LSTM, 2, 2), (nn.Embedding, 2, 2), (nn.LayerNorm, 2), (nn.RMSNorm, 2),
            (nn.GRUCell, 2, 2), (nn.MultiheadAttention, 2, 1), (nn.TransformerEncoderLayer, 2, 1),
            (nn.generate_square_subsequent_mask, 2), (nn.LearnedPositions, 2, 2),
        )
    },
    "randn": lambda word: tgs.randn(2, dtype=word),
    "type": lambda word: tgs.ones(2).type(word), "asarray": lambda word: tgs.as_tensor([1.0], dtype=word),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("use", DTYPES)
@pytest.mark.parametrize(
    "word", ["a", "a5", ">a", "S", "2a", "f4,f4", "(2,)f4", "f4 ", "text", "", "O", "M8[s]", "c8"]
)
def test_a_word_for_no_dtype_of_numbers(use, word):
    """Refused in our words; NumPy's warning of the letter `a` does not come through."""
    with pytest.raises(
        tgs.DTypeError, match=r"no tensors of dtype .*\n.*\n  expected floats, integers or booleans"
    ):
        DTYPES[use](word)


def test_others_like_it():
    """`new_zeros` and its kin keep the dtype; typed constructors take lists and sizes."""
    x = tgs.tensor(A).double()
    for y, right in (
        (x.new_zeros(2, 3), np.zeros((2, 3))), (x.new_ones((2,)), np.ones(2)), (x.new_full((2,), 7), np.full(2, 7.0)),
        (x.new_empty(2), np.zeros(2)), (x.new_tensor([1, 2]), np.array([1.0, 2.0])),
    ):  # fmt: skip
        equal(y, right)
        assert y.dtype == np.float64
    assert tgs.LongTensor([1, 2]).dtype == tgs.LongTensor(2, 3).dtype == np.int64
    assert tgs.LongTensor(2, 3).shape == tgs.FloatTensor(2, 3).shape == (2, 3)
    equal(tgs.linspace(0, 1, 3), np.float32([0, 0.5, 1]))
    with pytest.raises(ArgumentError, match="expected a whole number of at least 0, got -1"):
        tgs.rand(-1, 3)


def test_draws_have_their_range():
    """randint, randperm, multinomial: what may come, and what cannot be drawn from."""
    tgs.manual_seed(3)
    assert set(tgs.randint(2, 5, (200,)).tolist()) == {2, 3, 4}
    assert set(tgs.randint(3, (200,)).tolist()) == {0, 1, 2}
    assert sorted(tgs.randperm(9).tolist()) == list(range(9))
    rows = tgs.multinomial(tgs.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 0.0]]), 1000, replacement=True).numpy()
    assert set(rows[1]) == {0}
    assert 0.7 < (rows[0] == 2).mean() < 0.8
    firsts = [tgs.multinomial(tgs.tensor([0.0, 1.0, 3.0]), 2).tolist() for _ in range(400)]
    assert {tuple(sorted(f)) for f in firsts} == {(1, 2)}
    assert 0.67 < np.mean([f[0] == 2 for f in firsts]) < 0.83
    for wrong, n in (([0.0, 0.0], 1), ([1.0, -1.0], 1), ([1.0, 0.0], 2), ([np.nan, 1.0], 1)):
        with pytest.raises(ArgumentError, match="cannot draw from these"):
            tgs.multinomial(tgs.tensor(wrong), n)


# ---- writing in place ------------------------------------------------------------------------------------
def test_writing_in_place():
    """As in PyTorch: what is on no tape is written to; a leaf that wants a gradient only inside no_grad."""
    x = tgs.tensor([1.0, -2.0, 3.0])
    array = x.array
    calls = {
        "add_": ((1,), [2, -1, 4]), "sub_": ((1,), [1, -2, 3]), "mul_": ((2,), [2, -4, 6]), "div_": ((2,), [1,
        -2, 3]),
        "neg_": ((), [-1, 2, -3]), "clamp_": ((-1, 1), [-1, 1, -1]), "pow_": ((2,), [1, 1, 1]),
        "masked_fill_": ((np.array([True, False, False]), 9), [9, 1, 1]), "sqrt_": ((), [3, 1, 1]),
        "copy_": (([1, 2, -3],), [1, 2, -3]), "relu_": ((), [1, 2, 0]), "fill_": ((0,), [0, 0, 0]),
        "exp_": ((), [1, 1, 1]), "zero_": ((), [0, 0, 0]),
    }  # fmt: skip
    for name, (args, right) in calls.items():
        assert getattr(x, name)(*args) is x
        equal(x, np.float32(right))
    assert x.array is array
    equal(x.add_(2, alpha=3), np.float32([6, 6, 6]))
    assert 0 <= x.uniform_(0, 1).min().item() <= x.max().item() <= 1
    leaf, made = tgs.ones(3, requires_grad=True), tgs.ones(3, requires_grad=True) * 2
    for tensor in (leaf, made):
        for use in (lambda t=tensor: t.add_(1), lambda t=tensor: t.zero_(), lambda t=tensor: t.normal_()):
            with pytest.raises(tgs.GraphError, match="x is on the tape and cannot be written to"):
                use()
    with tgs.no_grad():
        leaf.add_(1).mul_(2)
    equal(leaf, np.float32([4, 4, 4]))
    with pytest.raises(tgs.GraphError, match="gradient of the value would be lost"):
        tgs.zeros(3).copy_(leaf)
    with pytest.raises(tgs.DTypeError, match="x cannot hold the result"):
        tgs.tensor([1, 2]).add_(0.5)
    with pytest.raises(tgs.ShapeError, match="expected what broadcasts to"):
        tgs.zeros(3).add_(tgs.ones(2, 3))


# ---- modules ---------------------------------------------------------------------------------------------
def test_buffers_children_and_lists():
    """Buffers are saved and converted, not learnt; lists and dicts of modules are walked."""
    nn = tgs.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
            self.by_name = nn.ModuleDict({"head": nn.Linear(2, 1, bias=False)})
            self.register_buffer("mask", tgs.ones(2))
            self.register_buffer("cache", tgs.zeros(1), persistent=False)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.by_name["head"](x * self.mask)

    net = Net()
    assert list(net.state_dict()) == ["mask", "layers.0.weight", "layers.0.bias", "by_name.head.weight"]
    assert [n for n, _ in net.named_buffers()] == ["mask", "cache"]
    assert [n for n, _ in net.named_children()] == ["layers", "by_name"]
    assert sum(p.numel() for p in net.parameters()) == 8
    state = {**net.state_dict(), "mask": np.float32([2, 3])}
    net.load_state_dict(state)
    equal(net.mask, np.float32([2, 3]))
    assert net.double().mask.dtype == np.float64
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "ModuleList", "Linear", "ModuleDict", "Net"]
    assert len(net.layers.append(nn.Tanh())) == 3
    assert isinstance(net.layers[1:], nn.ModuleList)
    with pytest.raises(ArgumentError, match="not a module"):
        nn.ModuleList([1])
    with pytest.raises(ArgumentError, match="expected one of head"):
        net.by_name["tail"]
    with pytest.raises(ArgumentError, match="not a name for a module"):
        nn.ModuleDict({"items": nn.ReLU()})


def test_weights_start_as_they_are_asked_to():
    """nn.init against its formulas."""
    init = tgs.nn.init
    tgs.manual_seed(0)
    w = tgs.nn.Parameter(np.zeros((60, 40), np.float32))
    for call, spread in (
        (lambda: init.normal_(w, 1.0, 0.5), 0.5),
        (lambda: init.xavier_normal_(w), np.sqrt(2 / 100)),
        (lambda: init.xavier_uniform_(w), np.sqrt(2 / 100)),
        (lambda: init.kaiming_normal_(w, nonlinearity="relu"), np.sqrt(2 / 40)),
        (lambda: init.kaiming_uniform_(w, a=5**0.5), np.sqrt(1 / 3 / 40)),
        (lambda: init.kaiming_normal_(w, mode="fan_out", nonlinearity="linear"), np.sqrt(1 / 60)),
        (lambda: init.uniform_(w, -1, 1), np.sqrt(1 / 3)),
    ):
        assert call() is w
        assert w.requires_grad
        np.testing.assert_allclose(w.numpy().std(), spread, rtol=0.06)
    q = init.orthogonal_(w, 2.0).numpy()
    np.testing.assert_allclose(q.T @ q, 4 * np.eye(40), atol=1e-5)
    assert abs(init.trunc_normal_(w, std=3.0).numpy()).max() <= 2
    equal(init.eye_(w), np.eye(60, 40, dtype=np.float32))
    equal(init.zeros_(w), np.zeros((60, 40)))
    with pytest.raises(tgs.ShapeError, match="fan-in and fan-out"):
        init.xavier_uniform_(tgs.ones(3))


def test_steps_and_losses_in_pytorchs_way():
    """`step(closure)`, `zero_grad(set_to_none=False)`, `Adam(model)`; lists and arrays into layers and losses."""
    layer = tgs.nn.Linear(2, 3)
    optimizer = tgs.optim.SGD(layer, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = tgs.nn.CrossEntropyLoss()(layer([[1.0, 2.0]]), [2])
        loss.backward()
        return loss

    first, second = (optimizer.step(closure).item() for _ in range(2))
    assert second < first
    optimizer.zero_grad(set_to_none=False)
    equal(layer.bias.grad, np.zeros(3))
    layer.zero_grad(set_to_none=True)
    assert layer.bias.grad is None
    with pytest.raises(ArgumentError, match=r"expected parameters, as of model\.parameters"):
        tgs.optim.Adam(3)
    equal(tgs.nn.GRU(2, 3)([[1.0, 2.0]])[0].detach() * 0, np.zeros((1, 3)))
    equal(tgs.functional.mse_loss(tgs.ones(2), [1.0, 1.0]), np.float32(0))


def test_what_is_a_function_and_what_a_value():
    """`value_and_grad(f, x)` and `grad(f)` say what they expect."""
    x = tgs.tensor(2.0)
    with pytest.raises(ArgumentError, match=r"value, gradient = value_and_grad\(f\)\(x\)"):
        tgs.value_and_grad(lambda x: x * x, x)
    with pytest.raises(
        ArgumentError, match=r"For the gradient of a function itself: value_and_grad\(f\)\(x\)"
    ):
        tgs.grad(lambda x: x * x, x)


def test_methods_are_functions_too():
    """`tgs.exp(x)` is `x.exp()`, of lists too; the shapes of other libraries are refused, not guessed."""
    equal(tgs.exp([0.0, 0.0]), np.float32([1, 1]))
    equal(tgs.max(tgs.tensor(A), dim=1).indices, A.argmax(1))
    equal(tgs.tril(tgs.ones(2, 2)), np.tril(np.ones((2, 2))))
    equal(tgs.clamp(tgs.tensor(A), min=0, max=1), A.clip(0, 1))
    assert tgs.equal(tgs.tensor(A), A)
    assert tgs.allclose(tgs.tensor(A), A + 1e-7)
    x = tgs.tensor(A)
    equal(x.softmax(1), tgs.functional.softmax(x, 1).numpy())
    for use in (
        lambda: x.transpose(),
        lambda: x.transpose((1, 0)),
        lambda: x.repeat(2),
        lambda: x.repeat(2, axis=0),
    ):
        with pytest.raises(ArgumentError):
            use()
    with pytest.raises(tgs.DTypeError):
        tgs.tensor(2) * [1.0, 2.0]


@pytest.mark.parametrize("home", ["tgs", "nn", "functional", "optim", "tensor", "module"])
def test_a_name_that_is_not_here_says_what_is(home):
    """No bare AttributeError: what is near, what stands for it, where to read on."""
    owner = {
        "tgs": tgs, "nn": tgs.nn, "functional": tgs.functional, "optim": tgs.optim, "tensor": tgs.ones(1),
        "module": tgs.nn.Linear(1, 1),
    }[home]  # fmt: skip
    ours = r".*\n  docs/from_pytorch.md says" if home != "tensor" or sys.version_info >= (3, 12) else ""
    with pytest.raises(AttributeError, match=rf"has no attribute 'no_such'{ours}"):
        _ = owner.no_such
    assert not hasattr(owner, "no_such")
    for x in (tgs.Tensor, tgs.ones(3)):
        assert not hasattr(x, "median")
    assert {"median", "tan"}.isdisjoint(dir(tgs.ones(3)))
    assert {"shape", "sum", "node"} <= {*dir(tgs.ones(3))}
    with pytest.raises(AttributeError, match=r"PyTorch gives the lower of the two in the middle"):
        _ = tgs.ones(3).median


def test_the_pages_program_runs():
    """The code of docs/from_pytorch.md does what it says."""
    page = Path(__file__).parents[2] / "docs" / "from_pytorch.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loss, rounded, *shapes = done.stdout.split(" ", 2)
    assert float(loss) < 1.2
    assert float(rounded) == pytest.approx(float(loss), abs=0.006)
    assert shapes == ["(16, 4) 16 (16, 1)\n"]


def test_float64_data_is_said_once(capsys):
    """A float32 layer that is handed NumPy's float64 goes on in float64, and says so once in a process."""
    kernel_cache._said.discard("float64")
    layer = tgs.nn.Linear(2, 3)
    for _ in range(2):
        assert layer(np.ones((1, 2))).dtype == np.float64
    assert capsys.readouterr().err.count("a float64 input meets float32 weights") == 1


@pytest.mark.extra("torch")
def test_pytorchs_tensors_are_named():
    """They are refused beside ours and in layers; their values are taken where that is asked for."""
    import torch

    theirs, x = torch.ones(1, 2), tgs.ones(1, 2)
    uses = (
        lambda: x + theirs, lambda: theirs * x, lambda: tgs.nn.Linear(2, 3)(theirs), lambda: tgs.exp(theirs),
        lambda: tgs.functional.relu(theirs), lambda: tgs.functional.cross_entropy(x, theirs),
        lambda: x < theirs,
        lambda: tgs.nn.LSTM(2, 3)(theirs), lambda: tgs.functional.mse_loss(x, theirs),
        lambda: x.masked_fill(theirs, 0),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(tgs.DTypeError, match="a PyTorch tensor cannot stand beside ours"):
            use()
    with pytest.raises(tgs.DTypeError, match=r"torch\.relu: one argument is a tensor of ours"):
        torch.nn.functional.relu(x)
    equal(tgs.tensor(theirs), theirs.numpy())
    with pytest.raises(tgs.DTypeError, match="a PyTorch tensor that wants a gradient"):
        tgs.tensor(theirs.requires_grad_())
    assert tgs.zeros(2, dtype=torch.int64).dtype == np.int64


def test_what_is_no_number_or_size_is_refused_in_our_words():
    """No error of Python's or NumPy's from inside."""
    x, m = tgs.tensor([1.0, 2.0]), tgs.ones(2, 2)
    for use in (
        lambda: x.unfold(0, "a", 1), lambda: x.roll("a", 0), lambda: x.roll((1, 2), 0), lambda: x.narrow(0, 0, "a"),
        lambda: x.round("a"), lambda: x.repeat_interleave(-1), lambda: x.topk("a"), lambda: m.tril("a"),
        lambda: x.new_full((2,), "a"), lambda: x.uniform_("a"), lambda: x.normal_(0, None), lambda: x.tile(2.5),
        lambda: x.repeat("a"), lambda: x.norm("nuc"), lambda: x.copy_(None), lambda: x.index_select(0, None),
    ):  # fmt: skip
        with pytest.raises((ArgumentError, tgs.DTypeError)) as caught:
            use()
        assert type(caught.value).__module__ == "tinygrad_seq.errors"
